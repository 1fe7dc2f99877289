import ArgumentParser
import BenchSupport
import CBench
import Glibc
import GuestLab
import JSONC
import NIOCore
import NIOPosix
import QMP
import QMPTransport

/// Round trips of query-status to one real QEMU, by each client in turn.
struct RoundTripBench {
    let options: BenchOptions
    private let tripsPerRun = 500

    func run() async throws -> ResultTable {
        let directory = try LabDirectory()
        var machine = QEMUProcess.Options(label: "rtt")
        machine.paused = true
        machine.qmpSockets = 2
        let qemu = try QEMUProcess.start(machine, in: directory)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let address = try QMPAddress(parsing: qemu.qmpPath)
        var (floor, recorded, loop, client, python) = (Samples(), Samples(), Samples(), Samples(), Samples())
        // The same C program through the recorder, whose monitor is QEMU's other one.
        let proxy = directory.file("recorded.qmp")
        let words = try ListeningPipe(directory.file("record.log"))
        let recorder = try ChildProcess(
            [
                options.program, "record", "--qmp", qemu.secondQMPPath, "--listen", proxy, "--output",
                directory.file("rtt.qmptrace"),
            ], error: words.path)
        try words.wait(for: "clients connect to", timeout: .seconds(10))
        let script = directory.file("trips.py")
        BenchFile.write(script, Self.script.utf8)
        var pythonProblem = Self.problem(python: options.python, log: directory.file("python.log"))
        for number in 0...options.runs {
            let floorRun = try floorTrips(qemu.qmpPath)
            let recordedRun = try floorTrips(proxy)
            let loopRun = try await LoopTrips.run(address, count: tripsPerRun, on: group.next())
            let clientRun = try await clientTrips(address, on: group.next())
            var pythonRun: [Double] = []
            if pythonProblem == nil {
                let log = directory.file("python.log")
                let child = try ChildProcess(
                    [options.python, script, qemu.qmpPath, String(tripsPerRun)], output: log, error: log)
                if try await child.waitForExit(timeout: .seconds(60)) == .exited(0) {
                    pythonRun = (BenchFile.text(log) ?? "").split(separator: "\n").compactMap { Double($0) }
                } else {
                    pythonProblem = "failed: \((BenchFile.text(log) ?? "").suffix(200))"
                }
            }
            guard number > 0 else { continue }
            floor.add(floorRun)
            recorded.add(recordedRun)
            loop.add(loopRun)
            client.add(clientRun)
            python.add(pythonRun)
        }
        var table = ResultTable(title: "rtt: round trips of query-status (load \(Machine.load))")
        table.add("C, epoll", "us", floor)
        table.add("QMPConnection on its event loop", "us", loop, floor: floor, goal: .ratio(1.05))
        table.add("QMPClient, async", "us", client, floor: floor, goal: .ratio(1.12))
        table.add("C, epoll, through godwit record", "us", recorded, floor: floor)
        if let pythonProblem {
            table.note("python's qemu.qmp", "skipped, \(pythonProblem)")
        } else {
            table.add("python's qemu.qmp", "us", python, floor: floor)
        }
        recorder.kill()
        qemu.kill()
        try await group.shutdownGracefully()
        return table
    }

    private func floorTrips(_ path: String) throws -> [Double] {
        var times = [UInt64](repeating: 0, count: tripsPerRun)
        guard godwit_bench_round_trips(path, times.count, &times) == 0 else {
            throw ValidationError("the C loop failed on \(path)")
        }
        return times.map { Double($0) / 1000 }
    }

    private func clientTrips(_ address: QMPAddress, on loop: any EventLoop) async throws -> [Double] {
        let client = try await QMPClient.connect(to: address, on: loop)
        var times: [Double] = []
        times.reserveCapacity(tripsPerRun)
        for _ in 0..<tripsPerRun {
            let start = NIODeadline.now()
            _ = try await client.execute(QueryStatus())
            times.append(Double((NIODeadline.now() - start).nanoseconds) / 1000)
        }
        await client.close()
        return times
    }

    private static func problem(python: String, log: String) -> String? {
        guard let child = try? ChildProcess([python, "-c", "import qemu.qmp"], output: log, error: log) else {
            return "\(python) is not there"
        }
        return child.waitForExit(timeout: .seconds(20)) == .exited(0) ? nil : "\(python) has no module qemu.qmp"
    }

    private static let script = """
        import asyncio, sys, time
        from qemu.qmp import QMPClient

        async def main():
            client = QMPClient('bench')
            await client.connect(sys.argv[1])
            times = []
            for _ in range(int(sys.argv[2])):
                start = time.perf_counter_ns()
                await client.execute('query-status')
                times.append(time.perf_counter_ns() - start)
            await client.disconnect()
            for each in times:
                print(each / 1000)

        asyncio.run(main())

        """
}

/// Round trips as the controller makes them: on the event loop, from one completion to the next.
private final class LoopTrips {
    private let promise: EventLoopPromise<[Double]>
    private var connection: QMPConnection?
    private var left: Int
    private var times: [Double] = []

    private init(count: Int, promise: EventLoopPromise<[Double]>) {
        left = count
        self.promise = promise
        times.reserveCapacity(count)
    }

    static func run(_ address: QMPAddress, count: Int, on loop: any EventLoop) async throws -> [Double] {
        try await loop.flatSubmit {
            let trips = LoopTrips(count: count, promise: loop.makePromise(of: [Double].self))
            let connection = QMPConnection.connect(to: address, on: loop)
            trips.connection = connection
            connection.ready.assumeIsolated().whenComplete { result in
                switch result {
                case .success: trips.next()
                case .failure(let error): trips.promise.fail(error)
                }
            }
            return trips.promise.futureResult
        }.get()
    }

    private func next() {
        guard left > 0 else {
            connection?.close()
            connection = nil
            return promise.succeed(times)
        }
        left -= 1
        let start = NIODeadline.now()
        connection?.submit(QueryStatus()) { [self] result in
            times.append(Double((NIODeadline.now() - start).nanoseconds) / 1000)
            switch result {
            case .success: next()
            case .failure(let error): promise.fail(error)
            }
        }
    }
}

/// A pipe with a name, which a child takes for a file, so that one need not look again and again whether it has said something.
private final class ListeningPipe {
    let path: String
    private let reader: CInt

    init(_ path: String) throws {
        self.path = path
        guard mkfifo(path, 0o600) == 0 else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
        reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard reader >= 0 else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
    }

    deinit { close(reader) }

    /// Blocks until these words were written, or nobody is left who could.
    func wait(for words: String, timeout: Duration) throws {
        let deadline = ContinuousClock.now + timeout
        var heard = ""
        var buffer = [UInt8](repeating: 0, count: 4096)
        while !heard.contains(words) {
            let left = Int32(clamping: Int64((deadline - ContinuousClock.now) / .milliseconds(1)))
            var entry = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
            let count = left > 0 && poll(&entry, 1, left) > 0 ? read(reader, &buffer, buffer.count) : 0
            guard count > 0 else { throw ValidationError("not said within \(timeout): \(words). Said was: \(heard)") }
            heard += String(decoding: buffer[..<count], as: UTF8.self)
        }
    }
}
