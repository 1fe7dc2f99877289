import JSONC
import QMP
import Testing
import TraceServer

/// Talks to fakes without sockets, in virtual time.
struct Talk {
    var network: FakeNetwork
    var now: Int64 = 0
    /// What each fake has written.
    var heard: [[UInt8]]
    var ends: [Int: FakeAction] = [:]
    private var nextID: Int64 = 0

    init(_ fakes: [FakeQEMU]) {
        network = FakeNetwork(fakes)
        heard = fakes.map { _ in [] }
    }

    /// A migration's two ends, connected and negotiated, with these faults at the source.
    init(
        _ release: FakeRelease, faults: [Fault] = [], source: (inout FakeOptions) -> Void = { _ in },
        destination: (inout FakeOptions) -> Void = { _ in }
    ) {
        var here = FakeOptions.source(release)
        source(&here)
        var there = FakeOptions.destination(release)
        destination(&there)
        self.init([FakeQEMU(here, faults: faults), FakeQEMU(there)])
        for fake in 0...1 {
            connect(fake)
            say(fake, "qmp_capabilities", ["enable": ["oob"]])
        }
    }

    mutating func note(_ effects: [FakeNetwork.Effect]) {
        for effect in effects {
            switch effect.action {
            case .write(let bytes): heard[effect.fake] += bytes
            case .progressed, .meet: break
            default: ends[effect.fake] = effect.action
            }
        }
    }

    mutating func connect(_ fake: Int) { note(network.connected(fake, at: now)) }

    mutating func change(_ fake: Int, _ body: (inout FakeQEMU, Int64) -> [FakeAction]) {
        let now = now
        note(network.apply(fake, now) { body(&$0, now) })
    }

    mutating func send(_ fake: Int, _ message: JSONValue) {
        note(network.received(message.serialized(), by: fake, at: now))
    }

    mutating func say(_ fake: Int, _ name: String, _ arguments: JSONObject? = nil, outOfBand: Bool = false) {
        nextID += 1
        var message: JSONObject = [(outOfBand ? "exec-oob" : "execute"): .string(name), "id": .integer(nextID)]
        if let arguments { message["arguments"] = .object(arguments) }
        send(fake, .object(message))
    }

    /// The value of `return` of the last command, or `error`.
    mutating func ask(
        _ fake: Int, _ name: String, _ arguments: JSONObject? = nil, outOfBand: Bool = false
    ) -> JSONValue? {
        say(fake, name, arguments, outOfBand: outOfBand)
        let id = JSONValue.integer(nextID)
        let reply = messages(fake).last { $0["id"] == id }
        return reply?["return"] ?? reply?["error"]
    }

    /// Lets time pass until nothing is due, or as long as said.
    mutating func run(milliseconds: Int64 = 10_000) {
        let end = now + milliseconds * 1000
        while let deadline = network.nextDeadline, deadline <= end {
            now = max(now, deadline)
            note(network.advance(to: now))
        }
        now = end
    }

    /// Lets time pass until a fake has said the event.
    mutating func run(until word: String, by fake: Int) {
        while !words(fake).contains(word), let deadline = network.nextDeadline {
            now = max(now, deadline)
            note(network.advance(to: now))
        }
    }

    /// Whole messages that a fake has said, in order; what is no JSON is left out.
    func messages(_ fake: Int) -> [JSONValue] {
        var framer = QMPFramer()
        var found: [JSONValue] = []
        heard[fake].withUnsafeBytes { bytes in
            var offset = 0
            while let frame = framer.next(in: bytes, from: &offset) {
                if case .message(let range) = frame, let value = try? JSONValue(parsing: Array(bytes[range])) {
                    found.append(value)
                }
            }
        }
        return found
    }

    /// The events in order: status words, or names where there is no status.
    func words(_ fake: Int) -> [String] { messages(fake).compactMap(Self.word) }

    static func word(_ message: JSONValue) -> String? {
        message["event"] == nil ? nil : message["data"]?["status"]?.string ?? message["event"]?.string
    }

    /// Sets both sides up and begins to migrate.
    mutating func begin(_ capabilities: [String] = ["events", "pause-before-switchover", "return-path"]) {
        for fake in 0...1 {
            let list = capabilities.map { name -> JSONValue in ["capability": .string(name), "state": true] }
            say(fake, "migrate-set-capabilities", ["capabilities": .array(list)])
        }
        say(1, "migrate-incoming", ["uri": "unix:/nowhere"])
        say(0, "migrate", ["uri": "unix:/nowhere"])
    }

    /// A whole migration by hand, to the destination's RESUME.
    mutating func migrate() {
        begin()
        run()
        say(0, "migrate-continue", ["state": "pre-switchover"])
        run()
        say(1, "cont")
        run()
    }
}
