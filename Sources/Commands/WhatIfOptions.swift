import ArgumentParser
import JSONC
import Replay
import Trace

/// The options of `godwit replay` that change the record.
struct WhatIfOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Something happens at a time after migrate, and both QEMUs do what they are known to do then: "
                + Assumption.allCases.map(\.rawValue).joined(separator: ", ")
                + ", such as cancel@12.5s. The recording counts up to there.",
            valueName: "what@time"))
    var assume: [String] = []

    @Option(name: .long, help: ArgumentHelp("What QEMU said in this record was never heard.", valueName: "record"))
    var dropEvent: [Int] = []

    @Option(
        name: .long,
        help: ArgumentHelp("What QEMU said in this record was heard later, such as 124=2s.", valueName: "record=time"))
    var delayEvent: [String] = []

    @Option(name: .long, help: ArgumentHelp("What QEMU said in this record was heard twice.", valueName: "record"))
    var duplicateEvent: [Int] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "This status word, or the one in this record, is one that nobody knows.", valueName: "word|record"))
    var unknownStatus: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("A further record, as a line of the trace format, by its time t.", valueName: "json"))
    var insert: [String] = []

    /// The changes: first what was heard or not, then what is assumed to have happened instead of the rest.
    var changes: [Change] {
        dropEvent.map { .drop($0) } + delayEvent.compactMap(Change.delay) + duplicateEvent.map { .duplicate($0) }
            + unknownStatus.map { .unknownStatus(Int($0).map { .record($0) } ?? .word($0)) }
            + insert.compactMap { (try? Self.record($0)).map { .insert($0) } } + assume.compactMap(Change.assumption)
    }

    func validate() throws {
        for text in assume where Change.assumption(text) == nil {
            let known = Assumption.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--assume \(text): WHAT@TIME is wanted, such as cancel@12.5s; there are \(known)")
        }
        for text in delayEvent where Change.delay(text) == nil {
            throw ValidationError("--delay-event \(text): RECORD=TIME is wanted, such as 124=2s")
        }
        for line in insert {
            do throws(TraceError) {
                _ = try Self.record(line)
            } catch {
                throw ValidationError("--insert: \(error.message)")
            }
        }
    }

    /// Reads a line of the trace format.
    private static func record(_ line: String) throws(TraceError) -> TraceRecord {
        guard !line.contains("\n") else { throw TraceError(file: "--insert", message: "one line is wanted") }
        var reader = try TraceReader(bytes: Array("{\"qmptrace\":1}\n\(line)\n".utf8), name: "--insert")
        guard let record = try reader.next() else {
            throw TraceError(file: "--insert", message: "it is empty")
        }
        return record
    }

    /// Tells for each file what changes; one that cannot be read is told and does not stop the others.
    func run(_ files: [String], format: OutputFormat, lenient: Bool, _ problems: inout FileProblems) throws {
        for (index, file) in files.enumerated() {
            do {
                let whatIf = try WhatIf(path: file, lenient: lenient, changes: changes)
                Console.print(format == .json ? whatIf.json.text() : (index == 0 ? "" : "\n") + whatIf.text)
            } catch let error as ChangeError {
                problems.tell(ChangeError("\(file): \(error)"))
            } catch let problem as any CommandProblem {
                problems.tell(problem)
            }
        }
    }
}
