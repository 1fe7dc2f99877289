public import ArgumentParser
internal import Glibc
import QMP
import QMPTransport
import Replay
import Synchronization
import Trace
import TraceServer
import UnixSignals

/// `godwit serve`
public struct ServeCommand: AsyncParsableCommand {
    /// Name and help.
    public static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Be the QEMU of a recording: a QMP server that answers and speaks as it did.",
        discussion: """
            Greets, negotiates, answers the recorded commands with what was answered (ids are the client's), and says the \
            recorded events at their recorded distance from the command that caused them. Commands that move a migration \
            have their order in the recording; everything else may be asked at any time and is answered as it was at that \
            moment.

            Where the trace has both sides, what the other side caused waits for it: serve it too, in a process of its own or \
            by a second --side and --listen here. Two processes meet at the address of the migration (unix:PATH), as the \
            QEMUs did. --alone goes by recorded times.

            A fault is VERB:PLACE, with the verbs drop, delay, duplicate, reorder, garbage, close, silence. A place is an \
            event (`STOP`, `MIGRATION/completed`, `MIGRATION/active#2` for the second one) or `@LINE`, a line of the trace; \
            garbage, close and silence at a line come with the first thing said from there on. delay takes a time at its end:
              --fault drop:MIGRATION/completed --fault delay:RESUME:200ms --fault close:@120

            It ends as the recorded QEMU did, with its exit code, or by Ctrl-C. Other exit codes: \
            \(CommandOutcome.usage.rawValue) usage, \(CommandOutcome.data.rawValue) a recording that makes no sense or has \
            nothing of that side, \(CommandOutcome.noInput.rawValue) none is there, \
            \(CommandOutcome.unavailable.rawValue) no socket to listen on.
            """)

    @Argument(
        help: ArgumentHelp(
            "The recording, of any format that `godwit convert` knows; - is standard input.", valueName: "trace"))
    var trace: String

    @Option(name: .long, help: "Which QEMU of the recording: source or destination.")
    var side: [TraceSide]

    @Option(name: .long, help: ArgumentHelp("Where clients connect.", valueName: "socket"))
    var listen: [String]

    @Option(name: .long, help: ArgumentHelp("How many times faster than recorded, or max.", valueName: "factor"))
    var speed: PlaySpeed = PlaySpeed(factor: 1)

    @Flag(name: .long, help: "A command that was not recorded, with the same arguments, is an error.")
    var strict = false

    @Flag(name: .long, help: "Do not wait for the other side.")
    var alone = false

    @Option(name: .long, help: ArgumentHelp("What goes wrong; may be given more than once.", valueName: "fault"))
    var fault: [PlayFault] = []

    @Flag(name: .long, help: "Say only what goes wrong.")
    var quiet = false

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        guard side.count == listen.count, Set(side).count == side.count else {
            throw ValidationError("one --listen for each --side, and each side once")
        }
        guard Set(listen).count == listen.count else {
            throw ValidationError("--listen: a socket of its own for each side")
        }
        for path in listen {
            do throws(QMPError) { _ = try QMPAddress(parsing: path) } catch {
                throw ValidationError("--listen: \(error.message)")
            }
        }
    }

    /// The recorded QEMUs.
    private func read(_ options: ServeOptions) throws(TraceError) -> [FakeQEMU] {
        var reader = try TraceReader(opening: trace)
        var records: [TraceRecord] = []
        while let record = try reader.next() { records.append(record) }
        reader.warnings.forEach { Console.note("godwit: warning: \(Console.safe($0.description))") }
        var fakes: [FakeQEMU] = []
        for side in side {
            let recorded = try ServedSide(records, of: trace, side: side, options: options)
            if !recorded.hasOwnGreeting, !quiet {
                Console.note("\(trace) has no greeting of the \(side.rawValue): it is greeted as its messages allow")
            }
            fakes.append(FakeQEMU(serving: recorded, faults: fault.map(\.fault)))
        }
        return fakes
    }

    /// Serves until the recorded QEMUs have ended or somebody interrupts.
    public func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup)
        var options = ServeOptions()
        options.speed = speed.factor
        options.isStrict = strict
        options.isCoupled = !alone
        let fakes: [FakeQEMU]
        do throws(TraceError) {
            fakes = try read(options)
        } catch {
            throw error.told()
        }
        let coupling = ServeCoupling { Console.note("godwit: \(Console.safe($0))") }
        let play = Play(
            sides: side, paths: listen.map { (try? QMPAddress(parsing: $0))?.path ?? $0 }, coupling: coupling,
            isQuiet: quiet)
        let isPair = fakes.count > 1
        let server: FakeQEMUServer
        do throws(FakeServerError) {
            server = try FakeQEMUServer(
                FakeNetwork(fakes), paths: play.paths,
                watch: { if !isPair { coupling.noticed($0) } }, ended: { play.ended($0, $1) })
        } catch {
            Console.note("godwit: \(Console.safe("\(error)"))")
            throw CommandOutcome.unavailable.exitCode
        }
        if !isPair { coupling.attach(server) }
        if !quiet {
            for (side, listen) in zip(side, listen) {
                Console.note("the \(side.rawValue) of \(trace) listens at \(listen)")
            }
        }
        for await _ in signals { break }
        server.close()
        coupling.close()
        for fake in fakes.indices { play.tell(fake, server.fake(fake)) }
    }
}

/// How the process ends.
private final class Play: Sendable {
    let sides: [TraceSide]
    let paths: [String]
    let coupling: ServeCoupling
    let isQuiet: Bool
    private let left: Mutex<Int>

    init(sides: [TraceSide], paths: [String], coupling: ServeCoupling, isQuiet: Bool) {
        self.sides = sides
        self.paths = paths
        self.coupling = coupling
        self.isQuiet = isQuiet
        left = Mutex(sides.count)
    }

    /// A recorded QEMU ended. With the last one the process ends at once, as that QEMU did: clients may be watching it.
    func ended(_ number: Int, _ fake: FakeQEMU) {
        tell(number, fake)
        let isLast = left.withLock { left in
            left -= 1
            return left == 0
        }
        guard isLast else { return }
        for path in paths { unlink(path) }
        coupling.close()
        let code = fake.exitCode ?? 0
        // One that a signal ended is told from one that exited as a shell does it.
        _exit(Int32(clamping: code < 0 ? 128 - code : code))
    }

    /// Says what a client asked for in vain, or was answered without the recording's help.
    func tell(_ number: Int, _ fake: FakeQEMU) {
        guard let served = fake.served, !served.unmatched.isEmpty, !isQuiet else { return }
        let names = served.unmatched.sorted().joined(separator: ", ")
        Console.note("\(sides[number].rawValue): not in the recording, or not at that place: \(Console.safe(names))")
    }
}

/// How fast a recording is played.
public struct PlaySpeed: Hashable, Sendable, ExpressibleByArgument {
    /// The factor; 0: as fast as possible.
    var factor: Double

    init(factor: Double) { self.factor = factor }

    /// A positive number, or `max`.
    public init?(argument: String) {
        if argument == "max" {
            factor = 0
            return
        }
        guard let (number, unit) = Quantity.split(argument[...]), unit.isEmpty || unit == "x", number >= 0.001,
            number <= 1e6
        else { return nil }
        factor = number
    }

    /// As it can be typed, for the help.
    public var defaultValueDescription: String { factor == 0 ? "max" : factor == 1 ? "1" : "\(factor)" }
}

/// Something that goes wrong while a recording is played.
public struct PlayFault: Hashable, Sendable, ExpressibleByArgument {
    /// What, and where.
    var fault: Fault

    /// `VERB:PLACE`, for `delay` followed by `:TIME`.
    public init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count >= 2, parts.count == (parts[0] == "delay" ? 3 : 2) else { return nil }
        let isSweeping = ["garbage", "close", "silence"].contains(parts[0])
        guard let point = Self.point(parts[1], isSweeping: isSweeping) else { return nil }
        switch parts[0] {
        case "drop": fault = .drop(point)
        case "duplicate": fault = .duplicate(point)
        case "reorder": fault = .swap(point)
        case "garbage": fault = .noise(point, .garbage)
        case "close": fault = .close(point)
        case "silence": fault = .mute(point)
        case "delay":
            guard let time = TimeQuantity(argument: String(parts[2])), time.milliseconds <= 3_600_000 else {
                return nil
            }
            fault = .delay(point, .milliseconds(Int(time.milliseconds)))
        default: return nil
        }
    }

    private static func point(_ text: Substring, isSweeping: Bool) -> FaultPoint? {
        if text.hasPrefix("@") {
            guard let line = Int(text.dropFirst()), line > 0 else { return nil }
            return isSweeping ? .fromRecord(line) : .record(line)
        }
        var name = text
        var number: Int? = 1
        if let mark = text.firstIndex(of: "#") {
            guard let wanted = Int(text[text.index(after: mark)...]), wanted > 0 else { return nil }
            number = wanted
            name = text[..<mark]
        }
        let words = name.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(words.count), words.allSatisfy({ !$0.isEmpty }) else { return nil }
        return .event(String(words[0]), status: words.count == 2 ? String(words[1]) : nil, number: number)
    }
}
