import Glibc
import GuestLab
import JSONC
import Testing
import Trace

/// What a trace of Godwit's own says that it did, without times, ids, and how often it looked.
struct Deeds: Equatable {
    /// One side's. What it does and which step the attempt is in are decided apart, so that their order among each other is nobody's promise.
    struct Lane: Equatable {
        /// Commands with their arguments, and the records that come before them.
        var acts: [String] = []
        /// Phases, and the steps that were called and answered.
        var steps: [String] = []
    }

    var source = Lane()
    var destination = Lane()
    var statuses: [String] = []
    var result: String?

    init(_ path: String) throws {
        var reader = try TraceReader(path: path)
        let uri = reader.header.other["options"]?["uri"]?.string ?? ""
        while let record = try reader.next() {
            var line: String?
            var isStep = true
            switch record.member {
            case .send(let message):
                let name = message["execute"]?.string ?? message["exec-oob"]?.string ?? ""
                guard !name.hasPrefix("query-"), !name.hasPrefix("qom-") else { continue }
                line = "\(name) \(message["arguments"]?.text() ?? "")"
                isStep = false
            case .phase(let value): line = "phase \(value["from"]?.string ?? "") \(value["to"]?.string ?? "")"
            case .call(let value): line = "call \(value["step"]?.string ?? "")"
            case .answer(let value):
                line = "answer \(value["step"]?.string ?? "")\(value["error"] == nil ? "" : " with an error")"
            case .run, .refused, .surrendered:
                line = record.member.name
                isStep = false
            case .status(let value):
                let word = "\(value["status"]?.string ?? "") \(value["stopping"]?.string ?? "")"
                if statuses.last != word { statuses.append(word) }
            case .result(let value):
                result =
                    "\(value["outcome"]?.text() ?? "") \(value["guest"]?.text() ?? "") \(value["running"]?.text() ?? "")"
            default: break
            }
            guard var line else { continue }
            if let range = line.firstRange(of: uri) { line.replaceSubrange(range, with: "URI") }
            switch (record.side == .destination, isStep) {
            case (true, true): destination.steps.append(line)
            case (true, false): destination.acts.append(line)
            case (false, true): source.steps.append(line)
            case (false, false): source.acts.append(line)
            }
        }
    }
}

/// Both sides of a trace, served by two processes that pass for QEMUs: each is the program under a name that begins with `qemu`, so that
/// its end and its identity count as a QEMU's do.
final class Played {
    let directory: LabDirectory
    let source: Godwit
    let destination: Godwit
    private var runs = 0

    init(_ trace: String, speed: String, faults: [String] = []) throws {
        let directory = try LabDirectory()
        self.directory = directory
        let program = directory.file("qemu-served")
        guard link(Godwit.path, program) == 0 || Self.copy(Godwit.path, program) else { throw SocketError(program) }
        func serve(_ side: String, _ number: Int, _ extra: [String]) throws -> Godwit {
            let godwit = try Godwit(
                ["serve", trace, "--side", side, "--listen", directory.file("\(side).qmp"), "--speed", speed] + extra,
                in: directory, number: number, program: program)
            try godwit.waitForNote("listens at")
            return godwit
        }
        source = try serve("source", 1, faults.flatMap { ["--fault", $0] })
        destination = try serve("destination", 2, [])
    }

    /// Starts a migration between them.
    func migrate(_ arguments: [String]) throws -> Godwit {
        runs += 1
        return try Godwit(
            [
                "migrate", "--policy", "none", "--source", directory.file("source.qmp"), "--destination",
                directory.file("destination.qmp"),
                "--trace", trace,
            ] + arguments, in: directory, number: 2 + runs)
    }

    /// What that migration did.
    var trace: String { directory.file("played.qmptrace") }

    private static func copy(_ from: String, _ to: String) -> Bool {
        guard let run = try? ChildProcess(["cp", from, to]) else { return false }
        return run.waitForExit(timeout: .seconds(60)) == .exited(0)
    }
}
