import ArgumentParser
import BenchSupport
import CBench
import GuestLab
import JSONC
import NIOCore
import NIOPosix
import QMP
import QMPTransport

/// A flood of MIGRATION events: how many are parsed and looked at each second.
struct EventsBench {
    let options: BenchOptions
    private let eventsPerRun = 100_000

    func run() throws -> ResultTable {
        let directory = try LabDirectory()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let path = directory.file("flood.qmp")
        let address = try QMPAddress(parsing: path)
        var (floor, own) = (Samples(), Samples())
        for number in 0...options.runs {
            guard godwit_bench_flood(path, eventsPerRun) == 0 else { throw ValidationError("no flood at \(path)") }
            var (count, time) = (0, UInt64(0))
            guard godwit_bench_read_flood(path, &count, &time) == 0, count == eventsPerRun else {
                throw ValidationError("the C program saw \(count) of \(eventsPerRun) events")
            }
            let floorTime = Double(time) / Double(eventsPerRun)
            guard godwit_bench_flood(path, eventsPerRun) == 0 else { throw ValidationError("no flood at \(path)") }
            let loop = group.next()
            let (seen, ownTime) = try loop.flatSubmit {
                let counter = EventCounter(promise: loop.makePromise(of: (Int, Double).self))
                _ = QMPConnection.connect(to: address, on: loop, observer: counter)
                return counter.promise.futureResult
            }.wait()
            guard seen == eventsPerRun else {
                throw ValidationError("QMPConnection handed on \(seen) of \(eventsPerRun) events")
            }
            guard number > 0 else { continue }
            floor.add(floorTime)
            own.add(ownTime / Double(eventsPerRun))
        }
        try group.syncShutdownGracefully()
        var table = ResultTable(title: "events: a flood of 130-byte events (load \(Machine.load))")
        func rates(_ samples: Samples) -> Samples { Samples(samples.values.map { 1_000_000 / $0 }) }
        table.add("C with json-c, time for each", "ns", floor)
        table.add("QMPConnection, time for each", "ns", own, floor: floor)
        table.add("C with json-c, in a millisecond", "", rates(floor))
        table.add("QMPConnection, in a millisecond", "", rates(own))
        return table
    }
}

/// Looks at each event as the controller does.
private final class EventCounter: QMPObserver {
    let promise: EventLoopPromise<(Int, Double)>
    private var start: NIODeadline?
    private var count = 0

    init(promise: EventLoopPromise<(Int, Double)>) { self.promise = promise }

    func connection(_ connection: QMPConnection, event name: String, message: JSONView) {
        if start == nil { start = .now() }
        guard name == "MIGRATION", !(message["data"]?["status"]?.equals("") ?? true),
            message["timestamp"]?["seconds"]?.int64 ?? 0 > 0
        else { return }
        count += 1
    }

    func connectionClosed(_ connection: QMPConnection, error: QMPError?) {
        let time = start.map { Double((NIODeadline.now() - $0).nanoseconds) } ?? 0
        promise.succeed((count, time))
    }
}
