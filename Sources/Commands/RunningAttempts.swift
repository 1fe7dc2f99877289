import Controller
internal import Glibc
import JSONC
import QMP
import QMPTransport

/// Why a running attempt cannot be asked.
struct RunningAttemptError: Error {
    var outcome: CommandOutcome
    var description: String
}

/// The attempts that run on this host for this user, by their control sockets in the run directory.
enum RunningAttempts {
    private static let suffix = ".ctl"

    /// The control socket of an attempt.
    static func path(of attempt: String) -> String { "\(Directories.state)/\(attempt)\(suffix)" }

    /// Connects to an attempt: the one whose id begins so, or the only one there is.
    static func connect(_ prefix: String?) async throws(RunningAttemptError) -> QMPClient {
        var clients = try await all(beginningWith: prefix ?? "")
        guard clients.count < 2 else {
            let ids = clients.map(\.id).joined(separator: ", ")
            throw RunningAttemptError(
                outcome: .usage, description: "several attempts run here, say which one: \(ids)")
        }
        guard let found = clients.popLast() else {
            let which = prefix.map { "no attempt \($0)... runs" } ?? "no attempt runs"
            throw RunningAttemptError(
                outcome: .unavailable, description: "\(which) here (\(Directories.state))")
        }
        return found.client
    }

    /// Connects to all attempts whose ids begin so. Sockets of attempts that ended without tidying up are removed.
    static func all(
        beginningWith prefix: String
    ) async throws(RunningAttemptError) -> [(id: String, client: QMPClient)] {
        var clients: [(id: String, client: QMPClient)] = []
        for id in ids where id.hasPrefix(prefix) {
            do throws(QMPError) {
                clients.append((id, try await connection(path(of: id))))
            } catch {
                switch error.code {
                case .connectionRefused:
                    unlink(path(of: id))
                    Console.note(
                        "godwit: the controller of attempt \(id) ended without a word, killed perhaps: nobody drives the attempt any more"
                    )
                // It ended between the look and the call.
                case .noSuchSocket, .closed: break
                default: throw RunningAttemptError(outcome: .unavailable, description: error.message)
                }
            }
        }
        return clients
    }

    private static func connection(_ path: String) async throws(QMPError) -> QMPClient {
        let client = try await QMPClient.connect(to: .unix(path: path))
        guard client.greeting.capabilities.contains("godwit-attempt") else {
            await client.close()
            throw QMPError(.notQMP, "\(path): this is no attempt of Godwit's")
        }
        return client
    }

    /// Journals of attempts whose ids begin so and of which none is among `running`: a journal that is still there was
    /// left by an attempt that nobody drives any more, or that ended undecided.
    static func leftBehind(beginningWith prefix: String, besides running: [String]) -> [String] {
        names(ending: ".qmptrace").filter { $0.hasPrefix(prefix) && !running.contains($0) }
            .map { "\(Directories.state)/\($0).qmptrace" }
    }

    private static var ids: [String] { names(ending: suffix) }

    private static func names(ending suffix: String) -> [String] {
        guard let directory = opendir(Directories.state) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(suffix) { names.append(String(name.dropLast(suffix.count))) }
        }
        return names.sorted()
    }
}

extension QMPClient {
    /// Asks the attempt for something.
    func ask(_ name: String, _ arguments: JSONObject = [:]) async throws(RunningAttemptError) -> JSONValue {
        do throws(QMPError) {
            let encoded = arguments.isEmpty ? nil : JSONValue.object(arguments).serialized()
            return try await execute(QMPRequest(name: name, arguments: encoded, kind: .slow))
        } catch {
            let outcome: CommandOutcome = error.code == .refused ? .refused : .unavailable
            throw RunningAttemptError(outcome: outcome, description: error.desc ?? error.message)
        }
    }
}
