import ArgumentParser
import BenchSupport
import CBench
import Glibc

/// Replays of generated traces.
struct ReplayBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Replay generated traces, beside python's orjson, wc and a C program that only finds the lines.",
        discussion: """
            The runs of all programs are interleaved, on files in the page cache. orjson is taken from --python; `make \
            bench-replay` makes an environment that has it. Needs the size of the largest trace on the disk.
            """)
    @OptionGroup var options: BenchOptions

    @Option(name: .long, help: "The size of each trace in MiB.")
    var size = 1024

    @Option(name: .long, help: "The seed.")
    var seed: UInt64 = 1

    @Option(name: .long, help: "Only this mix: \(TraceMix.allCases.map(\.rawValue).joined(separator: ", ")).")
    var mix: TraceMix?

    @Option(name: .long, help: "Where the traces are made and removed again.")
    var directory = "/tmp"

    @Flag(name: .long, help: "Measure twice and four times the size too.")
    var linear = false

    func validate() throws {
        if size < 1 || size > 1 << 14 { throw ValidationError("--size: between 1 and 16384") }
    }

    func run() throws {
        let bench = ReplayBench(options: options, seed: seed, directory: directory)
        var isReached = true
        for mix in mix.map({ [$0] }) ?? TraceMix.allCases {
            isReached = options.show([try bench.measure(mix, megabytes: size)]) && isReached
        }
        if linear { isReached = options.show([try bench.linearity(megabytes: size)]) && isReached }
        if options.strict, !isReached { throw ExitCode(1) }
    }
}

/// Times of other programs and ours on the same trace.
struct ReplayBench {
    let options: BenchOptions
    let seed: UInt64
    let directory: String

    private static let goals: [TraceMix: (orjson: Double?, wc: Double?)] = [
        .recorded: (15, 0.3), .events: (10, nil), .large: (nil, 0.5),
    ]

    /// The loop that only looks for MIGRATION events.
    private static let script = """
        import orjson, sys
        count = 0
        with open(sys.argv[1], 'rb') as trace:
            for line in trace:
                message = orjson.loads(line).get('recv')
                if message is not None and message.get('event') == 'MIGRATION':
                    count += 1
        print(count)
        """

    private var hasOrjson: Bool { (try? Self.time([options.python, "-c", "import orjson"]))?.status == 0 }

    func measure(_ mix: TraceMix, megabytes: Int) throws -> ResultTable {
        let path = "\(directory)/godwit-bench.\(getpid()).qmptrace"
        defer { unlink(path) }
        try GeneratedTrace.write(mix, megabytes: megabytes, seed: seed, to: path)
        let hasOrjson = hasOrjson
        var (own, orjson, wc, floor, memory) = (Samples(), Samples(), Samples(), Samples(), Samples())
        var lines: UInt64 = 0
        // The first round only warms up.
        for round in 0...min(options.runs, 20) {
            let replay = try Self.time([options.program, "replay", "--format", "json", path])
            guard replay.status == 0 else { throw ValidationError("godwit replay failed with \(replay.status)") }
            let count = try Self.time(["wc", "-l", path])
            var nanoseconds: UInt64 = 0
            guard godwit_bench_count_lines(path, &lines, &nanoseconds) == 0 else { throw ValidationError("no floor") }
            let loop = hasOrjson ? try Self.time([options.python, "-c", Self.script, path]) : nil
            guard round > 0 else { continue }
            own.add(replay.seconds)
            memory.add(Double(replay.kilobytes) / 1024)
            wc.add(count.seconds)
            floor.add(Double(nanoseconds) / 1e9)
            if let loop { orjson.add(loop.seconds) }
        }
        let bytes = Double(try Self.size(path))
        var table = ResultTable(
            title: "replay: \(mix.rawValue), \(ResultTable.text(bytes / 1e9)) GB, \(lines) lines (load \(Machine.load))"
        )
        func perLine(_ samples: Samples) -> Samples { Samples(samples.values.map { $0 * 1e9 / Double(max(lines, 1)) }) }
        table.add("C, lines by memchr", "s", floor)
        table.add("wc -l", "s", wc, floor: floor)
        table.add("godwit replay", "s", own, floor: floor)
        table.add("godwit replay, a record", "ns", perLine(own))
        if hasOrjson {
            table.add("python with orjson", "s", orjson, floor: floor)
        } else {
            table.note("python with orjson", "\(options.python) has no orjson; make bench-replay gets it")
        }
        let goals = Self.goals[mix]
        if let ours = own.median, let theirs = orjson.median {
            table.add("times as fast as orjson", "", Samples([theirs / ours]), goal: goals?.orjson.map { .atLeast($0) })
        }
        if let ours = own.median, let theirs = wc.median {
            table.add("of the speed of wc -l", "", Samples([theirs / ours]), goal: goals?.wc.map { .atLeast($0) })
        }
        table.add("godwit replay, resident memory", "MiB", memory, goal: .atMost(64))
        return table
    }

    /// Whether the time grows as the size does.
    func linearity(megabytes: Int) throws -> ResultTable {
        var table = ResultTable(title: "replay: time by size, recorded (load \(Machine.load))")
        var first: Double?
        for factor in [1, 2, 4] {
            let path = "\(directory)/godwit-bench.\(getpid()).qmptrace"
            defer { unlink(path) }
            try GeneratedTrace.write(.recorded, megabytes: megabytes * factor, seed: seed, to: path)
            var (times, memory) = (Samples(), Samples())
            for round in 0...min(options.runs, 5) {
                let replay = try Self.time([options.program, "replay", "--format", "json", path])
                guard replay.status == 0 else { throw ValidationError("godwit replay failed with \(replay.status)") }
                guard round > 0 else { continue }
                times.add(replay.seconds / Double(factor))
                memory.add(Double(replay.kilobytes) / 1024)
            }
            table.add("\(megabytes * factor) MiB, time for each \(megabytes)", "s", times)
            table.add("\(megabytes * factor) MiB, resident memory", "MiB", memory, goal: .atMost(64))
            if let first, let median = times.median {
                table.add(
                    "\(factor) times the size, time for a part", "", Samples([median / first]), goal: .atMost(1.25))
            }
            first = first ?? times.median
        }
        return table
    }

    private static func size(_ path: String) throws -> Int {
        var status = stat()
        guard stat(path, &status) == 0 else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
        return Int(status.st_size)
    }

    /// Runs a program with its output thrown away.
    private static func time(_ arguments: [String]) throws -> (seconds: Double, kilobytes: Int, status: Int32) {
        var seconds = 0.0
        var kilobytes = 0
        var status: Int32 = 0
        let words = arguments.map { strdup($0) } + [nil]
        defer { words.forEach { free($0) } }
        let result = words.withUnsafeBufferPointer { words in
            godwit_bench_run(words.baseAddress, &seconds, &kilobytes, &status)
        }
        guard result == 0 else { throw ValidationError("\(arguments[0]): \(String(cString: strerror(errno)))") }
        return (seconds, kilobytes, status)
    }
}
