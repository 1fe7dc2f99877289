import Glibc
import JSONC

/// A QMP client for tests that shares nothing with the one under test: blocking, one thread, no cleverness. What it says about
/// a QEMU is the truth that our own reports are compared with.
final class BlockingQMP {
    /// What went wrong in an exchange.
    enum Failure: Error, CustomStringConvertible {
        case refused(command: String, errorClass: String, description: String)
        case closed(String)
        case timeout(String)
        case garbage(String)

        var description: String {
            switch self {
            case .refused(let command, let errorClass, let description): "\(command): \(errorClass): \(description)"
            case .closed(let what): "connection closed: \(what)"
            case .timeout(let what): "timeout: \(what)"
            case .garbage(let what): "not a QMP message: \(what)"
            }
        }
    }

    let greeting: JSONValue
    /// Events in the order they came, all of them since the connection was made.
    private(set) var events: [JSONValue] = []

    private let descriptor: Int32
    private var input: [UInt8] = []
    private var replies: [Int64: JSONValue] = [:]
    private var lastID: Int64 = 0

    /// Connects and leaves negotiation mode.
    init(_ path: String, outOfBand: Bool = false, timeout: Duration = .seconds(30)) throws {
        descriptor = try UnixSocket.connect(to: path)
        let deadline = ContinuousClock.now + timeout
        var first: JSONValue?
        do {
            while first == nil {
                first = try Self.nextMessage(descriptor, &input, deadline: deadline, what: "greeting of \(path)")
            }
        } catch {
            close(descriptor)
            throw error
        }
        guard let first, first["QMP"] != nil else {
            close(descriptor)
            throw Failure.garbage("\(String(describing: first)) instead of a greeting")
        }
        greeting = first
        try execute("qmp_capabilities", outOfBand ? ["enable": ["oob"]] : nil)
    }

    deinit { close(descriptor) }

    /// Sends a command and returns its id.
    @discardableResult
    func send(_ command: String, _ arguments: JSONValue? = nil, outOfBand: Bool = false) throws -> Int64 {
        lastID += 1
        var message: JSONObject = [outOfBand ? "exec-oob" : "execute": .string(command), "id": .integer(lastID)]
        if let arguments { message["arguments"] = arguments }
        guard UnixSocket.send(JSONValue.object(message).serialized() + Array("\r\n".utf8), to: descriptor) else {
            throw Failure.closed(command)
        }
        return lastID
    }

    /// The value of "return" in the reply to a command.
    func reply(to id: Int64, command: String = "command", timeout: Duration = .seconds(30)) throws -> JSONValue {
        let deadline = ContinuousClock.now + timeout
        while true {
            if let reply = replies.removeValue(forKey: id) {
                if let value = reply["return"] { return value }
                throw Failure.refused(
                    command: command,
                    errorClass: reply["error"]?["class"]?.string ?? "",
                    description: reply["error"]?["desc"]?.string ?? ""
                )
            }
            try receive(until: deadline, what: "reply to \(command)")
        }
    }

    /// Sends a command and waits for its reply.
    @discardableResult
    func execute(_ command: String, _ arguments: JSONValue? = nil, timeout: Duration = .seconds(30)) throws -> JSONValue
    {
        try reply(to: send(command, arguments), command: command, timeout: timeout)
    }

    /// Waits until an event with this name, for which the condition holds, is or was there.
    @discardableResult
    func waitForEvent(
        _ name: String,
        timeout: Duration = .seconds(30),
        where condition: (JSONValue) -> Bool = { _ in true }
    ) throws -> JSONValue {
        let deadline = ContinuousClock.now + timeout
        while true {
            if let found = events.first(where: { $0["event"]?.string == name && condition($0["data"] ?? .null) }) {
                return found
            }
            try receive(until: deadline, what: "event \(name) after \(eventNames)")
        }
    }

    private var eventNames: [String] {
        events.map { ($0["event"]?.string ?? "?") + ($0["data"]?["status"]?.string.map { " " + $0 } ?? "") }
    }

    /// Waits until the migration has had this status, by events (capability `events`).
    func waitForMigration(_ status: String, timeout: Duration = .seconds(30)) throws {
        try waitForEvent("MIGRATION", timeout: timeout) { $0["status"]?.string == status }
    }

    /// Asks with query-migrate until the condition holds, every 10 ms.
    @discardableResult
    func pollMigration(timeout: Duration = .seconds(30), until condition: (JSONValue) -> Bool) throws -> JSONValue {
        let deadline = ContinuousClock.now + timeout
        while true {
            let information = try execute("query-migrate")
            if condition(information) { return information }
            guard ContinuousClock.now < deadline else { throw Failure.timeout("query-migrate: \(information)") }
            usleep(10_000)
        }
    }

    /// Switches capabilities on.
    func enable(_ capabilities: String...) throws {
        let list = capabilities.map { JSONValue.object(["capability": .string($0), "state": true]) }
        try execute("migrate-set-capabilities", ["capabilities": .array(list)])
    }

    /// Asks with query-status until the run state is the one. After `completed` a source is in finish-migrate for another moment, and no event tells its end.
    func waitForRunState(_ state: String, timeout: Duration = .seconds(30)) throws {
        let deadline = ContinuousClock.now + timeout
        while true {
            let found = try runState()
            if found == state { return }
            guard ContinuousClock.now < deadline else { throw Failure.timeout("query-status: \(found)") }
            usleep(2000)
        }
    }

    /// The word of query-status.
    func runState() throws -> String {
        try execute("query-status")["status"]?.string ?? ""
    }

    /// Says `quit` and reads until the connection ends.
    func quit(timeout: Duration = .seconds(30)) throws {
        try send("quit")
        let deadline = ContinuousClock.now + timeout
        do {
            while true { try receive(until: deadline, what: "end after quit") }
        } catch Failure.closed {}
    }

    private func receive(until deadline: ContinuousClock.Instant, what: String) throws {
        guard let message = try Self.nextMessage(descriptor, &input, deadline: deadline, what: what) else { return }
        if message["event"] != nil {
            events.append(message)
        } else if let id = message["id"]?.int64 {
            replies[id] = message
        } else {
            throw Failure.garbage(message.description)
        }
    }

    /// The next complete line as JSON, nil when only a part of it came.
    private static func nextMessage(
        _ descriptor: Int32,
        _ input: inout [UInt8],
        deadline: ContinuousClock.Instant,
        what: String
    ) throws -> JSONValue? {
        if let end = input.firstIndex(of: UInt8(ascii: "\n")) {
            let line = Array(input[..<end])
            input.removeSubrange(...end)
            return try JSONValue(parsing: line)
        }
        let left = (deadline - ContinuousClock.now) / .milliseconds(1)
        guard left > 0 else { throw Failure.timeout(what) }
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        if poll(&entry, 1, Int32(min(left, 60_000).rounded(.up))) > 0 {
            guard let bytes = UnixSocket.receive(from: descriptor) else { throw Failure.closed(what) }
            input += bytes
        }
        return nil
    }
}
