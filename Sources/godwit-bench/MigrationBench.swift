import ArgumentParser
import BenchSupport
import Glibc
import GuestLab

/// Migrations between two real QEMUs, by Godwit and by the C program that only reacts, in turn.
struct MigrationBench {
    let options: BenchOptions

    /// Who migrates.
    enum Kind: CaseIterable {
        case floor
        case warm
        /// With nothing known about the QEMU binary.
        case cold
    }

    /// One migration.
    struct Run {
        var kind: Kind
        var times: MigrationTimes
        var spawned: Int64
        var exited: Int64
        var memoryKiB: Double?
        var threads: Double?
    }

    func run() throws -> [Run] {
        let program = options.program
        guard access(program, X_OK) == 0 else {
            throw ValidationError("\(program) is not there: build it, or name it with --godwit")
        }
        let home = try LabDirectory()
        let image = try GuestImage.build(in: home.path, dirtyMiBPerSecond: 8, dirtyMemoryMiB: 8, filledMemoryMiB: 8)
        setenv("GODWIT_CACHE_DIR", home.file("cache"), 1)
        setenv("GODWIT_STATE_DIR", home.file("state"), 1)
        var runs: [Run] = []
        // The first of each kind finds cold caches of other kinds (the kernel's), and is dropped.
        for number in 0...options.runs {
            for kind in Kind.allCases {
                if kind == .cold { rename(home.file("cache"), home.file("cache-\(number)")) }
                let run = try migrate(kind, image, program)
                if kind == .cold { rename(home.file("cache-\(number)"), home.file("cache")) }
                if number > 0 { runs.append(run) }
            }
        }
        return runs
    }

    private func migrate(_ kind: Kind, _ image: GuestImage, _ program: String) throws -> Run {
        let directory = try LabDirectory()
        var machine = QEMUProcess.Options(label: "source", image: image)
        machine.memoryMiB = options.memory
        machine.traceEvents = ["runstate_set", "migrate_set_state", "handle_qmp_command"]
        let source = try QEMUProcess.start(machine, in: directory, timeout: .zero)
        let destination = try QEMUProcess.start(machine.destination(), in: directory)
        try source.waitUntilListening()
        try source.waitForHeartbeat(after: 4)
        let parameters = (bandwidth: 1 << 30, downtime: 300)
        var arguments: [String]
        switch kind {
        case .floor:
            arguments = [
                Machine.ownPath, "floor", source.qmpPath, destination.qmpPath, "unix:\(directory.file("m.sock"))",
                "{\"max-bandwidth\": \(parameters.bandwidth), \"downtime-limit\": \(parameters.downtime)}",
            ]
        case .warm, .cold:
            arguments = [
                program, "migrate", "--source", source.qmpPath, "--destination", destination.qmpPath, "--bandwidth",
                "1GiB", "--downtime-limit", "\(parameters.downtime)ms", "--uri", "unix:\(directory.file("m.sock"))",
            ]
        }
        let log = directory.file("controller.log")
        let spawned = Machine.microseconds
        let child = try ChildProcess(arguments, output: log, error: log)
        let (exited, memory, threads) = watch(child)
        guard child.waitForExit(timeout: .seconds(1)) == .exited(0) else {
            throw ValidationError("\(arguments.prefix(2).joined(separator: " ")) failed: \(BenchFile.text(log) ?? "")")
        }
        source.waitForExit(timeout: .seconds(2))
        // RESUME is told a moment before the run state is logged.
        var found: MigrationTimes?
        for _ in 0..<200 {
            let logs = [source, destination].map { QEMUTraceLog(BenchFile.bytes($0.tracePath) ?? []) }
            found = MigrationTimes(source: logs[0], destination: logs[1], since: spawned)
            if found != nil { break }
            usleep(2000)
        }
        if let keep = options.keep {
            mkdir(keep, 0o755)
            for path in [source.tracePath, destination.tracePath, log] {
                let name = path.split(separator: "/").last ?? "log"
                BenchFile.write("\(keep)/\(kind)-\(name)", BenchFile.bytes(path) ?? [])
            }
        }
        guard let times = found else {
            throw ValidationError("the logs of QEMU do not show a migration: \(BenchFile.text(log) ?? "")")
        }
        return Run(kind: kind, times: times, spawned: spawned, exited: exited, memoryKiB: memory, threads: threads)
    }

    /// Waits for the end, and meanwhile looks now and then how much memory and how many threads the process has.
    private func watch(_ child: ChildProcess) -> (exited: Int64, memoryKiB: Double?, threads: Double?) {
        var memory: Double?
        var threads: Double?
        for _ in 0..<6000 {
            var descriptor = pollfd(fd: child.pidfd, events: Int16(POLLIN), revents: 0)
            if poll(&descriptor, 1, 20) > 0 { break }
            for line in (BenchFile.text("/proc/\(child.pid)/status") ?? "").split(separator: "\n") {
                let words = line.split(whereSeparator: { $0 == "\t" || $0 == " " })
                guard words.count > 1, let number = Double(words[1]) else { continue }
                if words[0] == "VmHWM:" { memory = max(memory ?? 0, number) }
                if words[0] == "Threads:" { threads = max(threads ?? 0, number) }
            }
        }
        return (Machine.microseconds, memory, threads)
    }

    private func samples(_ runs: [Run], _ kind: Kind, _ value: (Run) -> Double?) -> Samples {
        Samples(runs.filter { $0.kind == kind }.compactMap(value))
    }

    /// Our share of the pause.
    func gap(_ runs: [Run]) -> ResultTable {
        var table = ResultTable(title: "gap: our share of the guest's pause (load \(Machine.load))")
        func add(_ name: String, goal: ResultTable.Goal? = nil, _ value: (Run) -> Double?) {
            let floor = samples(runs, .floor, value)
            table.add("\(name), C that only reacts", "ms", floor)
            var own = samples(runs, .warm, value)
            own.add(samples(runs, .cold, value).values)
            table.add("\(name), godwit", "ms", own, floor: floor, goal: goal)
        }
        add("pre-switchover to migrate-continue") { Double($0.times.toContinue) / 1000 }
        add("both completed to cont") { Double($0.times.toRun) / 1000 }
        add("gap", goal: .ratio(1.25)) { Double($0.times.gap) / 1000 }
        add("whole pause") { Double($0.times.pause) / 1000 }
        return table
    }

    /// Before and after.
    func startup(_ runs: [Run]) -> ResultTable {
        var table = ResultTable(title: "startup: the time before and after, and what it costs (load \(Machine.load))")
        func add(_ name: String, _ kind: Kind, goal: ResultTable.Goal? = nil, _ value: (Run) -> Double?) {
            table.add(name, "ms", samples(runs, kind, value), floor: samples(runs, .floor, value), goal: goal)
        }
        add("process start to first command", .warm) { Double($0.times.firstCommand - $0.spawned) / 1000 }
        add("first command to migrate-incoming", .warm) { Double($0.times.listen - $0.times.firstCommand) / 1000 }
        add("migrate-incoming to migrate", .warm) { Double($0.times.migrate - $0.times.listen) / 1000 }
        add("command line to migrate, warm", .warm, goal: .atMost(25)) { Double($0.times.migrate - $0.spawned) / 1000 }
        add("command line to migrate, cold cache", .cold, goal: .atMost(80)) {
            Double($0.times.migrate - $0.spawned) / 1000
        }
        add("RESUME to quit at the source", .warm) { run in run.times.quit.map { Double($0 - run.times.running) / 1000 }
        }
        add("quit at the source to exit", .warm) { run in run.times.quit.map { Double(run.exited - $0) / 1000 } }
        add("RESUME to exit", .warm, goal: .atMost(20)) { Double($0.exited - $0.times.running) / 1000 }
        table.add("commands before migrate, warm", "", samples(runs, .warm) { Double($0.times.commandsBefore) })
        table.add(
            "most resident memory", "MB", samples(runs, .warm) { $0.memoryKiB.map { $0 * 1024 / 1_000_000 } },
            goal: .atMost(16))
        table.add("threads", "", samples(runs, .warm, \.threads))
        return table
    }
}
