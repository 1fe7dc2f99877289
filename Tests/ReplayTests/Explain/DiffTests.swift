import JSONC
import Migration
import Replay
import Testing
import Trace

/// Where two recordings part.
struct DiffTests {
    private func diff(_ left: String, _ right: String) throws -> TraceDiff {
        try TraceDiff.compare(Fixtures.trace(left), Fixtures.trace(right))
    }

    @Test(arguments: Fixtures.names)
    func aRecordingIsTheSameAsItself(_ name: String) throws {
        let diff = try diff(name, name)
        #expect(diff.parting == nil)
        #expect(diff.commonCount > 3)
        #expect(diff.text.hasPrefix("the same"))
    }

    @Test func twoRunsOfOneThingAreTheSame() throws {
        // Other times, other ids, another number of passes.
        let first = try TraceDiff.compare(
            "\(Fixtures.root)/driven/completed.qmptrace", "\(Fixtures.root)/driven/completed.qmptrace")
        #expect(first.parting == nil)
        let tcp = try diff("7.2.22/precopy-unix", "7.2.22/precopy-tcp")
        // unix and tcp are told apart, paths and ports are not.
        #expect(tcp.parting?.left?.text == "migrate-incoming on unix")
        #expect(tcp.parting?.right?.text == "migrate-incoming on tcp")
    }

    @Test func attemptsOfOneRecordingAreTheSame() throws {
        // Eight migrations in a row with fresh QEMUs: every one of them but the first begins with what was set up
        // before.
        let path = Fixtures.trace("7.2.22/fast-cont")
        let diff = try TraceDiff.compare(path, path, kinds: [.published])
        #expect(diff.outcomes.count == 8)
        #expect(diff.parting == nil)
    }

    @Test func theDestinationThatDied() throws {
        let diff = try diff("7.2.22/precopy-unix", "7.2.22/dst-killed")
        let parting = try #require(diff.parting)
        // Both set things up alike but for the bandwidth.
        #expect(parting.side == .source)
        #expect(parting.left?.kind == .triggers)
        let events = try TraceDiff.compare(
            Fixtures.trace("7.2.22/precopy-unix"), Fixtures.trace("7.2.22/dst-killed"), kinds: [.events, .published])
        let first = try #require(events.parting)
        #expect(first.side == .source || first.side == .destination)
        #expect(events.outcomes.first?.left == .completed)
        #expect(events.outcomes.first?.right == .failed)
        #expect(events.text.contains("- completed, + failed"))
    }

    @Test func theDeviceWordOfLaterReleases() throws {
        let diff = try TraceDiff.compare(
            Fixtures.trace("7.2.22/precopy-unix"), Fixtures.trace("10.0.13/precopy-unix"), kinds: [.events])
        let parting = try #require(diff.parting)
        #expect(parting.side == .source)
        #expect(parting.common.last?.text == "STOP")
        #expect(parting.left?.text == "completed")
        #expect(parting.right?.text == "device")
        // What is published does not differ.
        let published = try TraceDiff.compare(
            Fixtures.trace("7.2.22/precopy-unix"), Fixtures.trace("10.0.13/precopy-unix"), kinds: [.published])
        #expect(published.parting == nil)
    }

    @Test func aCutRecordingHasNothingMore() throws {
        let bytes = Fixtures.bytes(Fixtures.trace("7.2.22/precopy-unix"))
        let lines = bytes.split(separator: 0x0A).prefix(27)
        let cut = Array(lines.joined(separator: [0x0A])) + [0x0A]
        var whole = try TraceReader(bytes: bytes, name: "whole")
        var part = try TraceReader(bytes: cut, name: "part")
        var left = TraceAnalysis(name: "whole", header: whole.header)
        while let record = try whole.next() { left.apply(record) }
        var right = TraceAnalysis(name: "part", header: part.header)
        while let record = try part.next() { right.apply(record) }
        let parting = try #require(TraceDiff(left, right).parting)
        #expect(parting.right == nil)
        #expect(parting.left?.record == 28)
    }

    @Test func theObjectSaysTheSame() throws {
        let diff = try TraceDiff.compare(
            Fixtures.trace("7.2.22/precopy-unix"), Fixtures.trace("10.0.13/precopy-unix"), kinds: [.events])
        let json = try JSONValue(parsing: diff.json.serialized())
        #expect(json["same"]?.bool == false)
        #expect(json["parting"]?["lane"]?.string == "source")
        #expect(json["parting"]?["right"]?["what"]?.string == "device")
    }
}
