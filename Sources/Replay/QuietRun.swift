import Migration
import Phases
import Trace

/// What a line of a shape has to be known by while nothing happens; without references, so that it is read at no cost.
struct QuietShape {
    var way = ObservedShape.Way.none
    var side = Side.source
    /// The number of the shape.
    var number = -1
    /// Where its connection is; -1 if it has none.
    var place = -1
    /// The number of its command.
    var name: Int32 = -1
    /// Where `total-time` is among the numbers of a line; -1 if nothing varies in it.
    var total = -1
}

/// A run of lines of which each one changes counts only, and that are counted together when it is over.
///
/// Most of a recording is polls and their answers. While these show what they showed before, only how often and the
/// last one matter: nothing of the evidence is touched until something else comes.
struct QuietRun {
    /// A connection with one query under way at most.
    struct Lane {
        /// Whether nothing else is under way on it.
        var isClear = false
        var isOpen = false
        var query = Conversation.Query(id: .none, ask: .other, name: -1, order: 0, microseconds: 0, attempt: 0)
    }

    /// Something that was seen again.
    struct Repetition {
        var count = 0
        var order = 0
        var microseconds: Int64 = 0
        /// The place of the last line's shape in the block.
        var shape = 0
        var line = ScannedLine()

        @inline(__always)
        mutating func add(_ line: borrowing ScannedLine, _ shape: Int, _ order: Int) {
            count &+= 1
            self.order = order
            microseconds = line.microseconds
            self.shape = shape
            self.line = copy line
        }

        var time: Instant { Instant(microseconds: microseconds) }
    }

    /// What one side repeated.
    struct SideRun {
        var queries = 0
        var samples = Repetition()
        var states = Repetition()
        var passes = Repetition()
    }

    static let laneCount = 4

    /// Whether a line may be taken at all.
    var isReady = false
    /// Whether there is anything to be counted.
    var isDirty = false
    /// The sides that the attempt has seen.
    var seen = SideSet()
    var lanes = InlineArray<4, Lane>(repeating: Lane())
    var source = SideRun()
    var destination = SideRun()
}

extension Observer {
    /// Takes a line that changes counts only and is as the one before; returns false, having done nothing, for any
    /// other.
    ///
    /// - Parameter place: The place of its shape in the block.
    @inline(__always)
    mutating func applyQuietly(
        _ line: borrowing ScannedLine, _ shape: QuietShape, at place: Int, in block: TraceBlock, named name: Int
    ) -> Bool {
        guard quiet.isReady, quiet.seen.contains(shape.side) else { return false }
        let side = shape.side
        switch shape.way {
        case .none: return false
        case .query, .queryMigrate, .queryStatus:
            guard shape.place >= 0, shape.place < QuietRun.laneCount, !line.identifier.isLong, !line.identifier.isNone,
                quiet.lanes[shape.place].isClear, !quiet.lanes[shape.place].isOpen,
                shape.way != .query || shape.name >= 0
            else { return false }
            quiet.lanes[shape.place].query = Conversation.Query(
                id: line.identifier, ask: Conversation.Query.Ask(shape.way), name: shape.name, order: order &+ 1,
                microseconds: line.microseconds, attempt: current)
            quiet.lanes[shape.place].isOpen = true
            if shape.way == .queryMigrate {
                if side == .source { quiet.source.queries &+= 1 } else { quiet.destination.queries &+= 1 }
            }
        case .returned:
            guard shape.place >= 0, shape.place < QuietRun.laneCount, quiet.lanes[shape.place].isOpen,
                quiet.lanes[shape.place].query.id == line.identifier
            else { return false }
            switch quiet.lanes[shape.place].query.ask {
            case .migration:
                if side == .source {
                    guard Self.repeats(&repeated.source, line, shape, block) else { return false }
                    quiet.source.samples.add(line, place, order &+ 1)
                } else {
                    guard Self.repeats(&repeated.destination, line, shape, block) else { return false }
                    quiet.destination.samples.add(line, place, order &+ 1)
                }
            case .state:
                guard repeated.value(side).state == shape.number else { return false }
                if side == .source {
                    quiet.source.states.add(line, place, order &+ 1)
                } else {
                    quiet.destination.states.add(line, place, order &+ 1)
                }
            case .other: break
            }
            quiet.lanes[shape.place].isOpen = false
        case .event:
            guard noticed.value(side) == changes else { return false }
        case .pass:
            guard noticed.value(side) == changes, repeated.value(side).hasPass else { return false }
            if side == .source {
                quiet.source.passes.add(line, place, order &+ 1)
            } else {
                quiet.destination.passes.add(line, place, order &+ 1)
            }
        }
        quiet.isDirty = true
        step(name, line.microseconds)
        return true
    }

    /// Whether a reply to `query-migrate` shows what the last one showed; its total may not be lower.
    @inline(__always)
    private static func repeats(
        _ last: inout Repeated, _ line: borrowing ScannedLine, _ shape: QuietShape, _ block: TraceBlock
    ) -> Bool {
        guard last.migration == shape.number else { return false }
        guard shape.total >= 0 else { return true }
        let total = block.number(shape.total, of: copy line)
        if let before = last.total, total < before { return false }
        last.total = total
        return true
    }

    /// Counts what was quiet, before something else is applied or the block is over.
    mutating func settle(_ block: TraceBlock, _ shapes: [ObservedShape]) {
        quiet.isReady = false
        guard quiet.isDirty else { return }
        quiet.isDirty = false
        for place in 0..<QuietRun.laneCount where quiet.lanes[place].isOpen {
            conversations.resume(quiet.lanes[place].query, at: place)
            quiet.lanes[place].isOpen = false
        }
        settle(quiet.source, .source, block, shapes)
        settle(quiet.destination, .destination, block, shapes)
        quiet.source = QuietRun.SideRun()
        quiet.destination = QuietRun.SideRun()
    }

    private mutating func settle(
        _ run: QuietRun.SideRun, _ side: Side, _ block: TraceBlock, _ shapes: [ObservedShape]
    ) {
        if run.queries > 0 { attempts.last[side].repeatQuery(count: run.queries) }
        // Each answer came after its query.
        for _ in run.samples.count..<max(run.queries, run.samples.count) {
            attempts.last.inference.repeatQuery(to: side)
        }
        if run.samples.count > 0, let sample = shapes[run.samples.shape].sample {
            let shape = shapes[run.samples.shape]
            let line = run.samples.line
            attempts.last[side].repeat(
                sample, count: run.samples.count, sequence: run.samples.order, at: run.samples.time
            ) { shape.fill(&$0, line, block) }
            if side == .source {
                attempts.last.totalMilliseconds = shape.total(line, block)
                attempts.last.downtimeMilliseconds = shape.downtime(line, block)
            }
        }
        if run.states.count > 0, let state = shapes[run.states.shape].runState {
            attempts.last[side].repeat(
                state, count: run.states.count, sequence: run.states.order, at: run.states.time)
        }
        if run.passes.count > 0 {
            _ = attempts.last[side].repeatPass(
                block.number(0, of: run.passes.line), count: run.passes.count, sequence: run.passes.order,
                at: run.passes.time)
        }
    }

    /// What is needed of shapes while nothing happens.
    func quiet(_ shapes: [ObservedShape]) -> [QuietShape] { shapes.map { quiet($0) } }

    func quiet(_ shape: ObservedShape) -> QuietShape { shape.quiet(at: place(of: shape)) }

    /// Looks what may be taken quietly from here on.
    mutating func prepareQuiet() {
        guard !isTold, adopted == nil else { return }
        quiet.seen = attempts.last.seen
        for place in 0..<QuietRun.laneCount { quiet.lanes[place].isClear = conversations.isClear(at: place) }
        quiet.isReady = true
    }
}

extension Conversation.Query.Ask {
    /// What a command of a shape asks for.
    @inline(__always)
    init(_ way: ObservedShape.Way) {
        self =
            switch way {
            case .queryMigrate: .migration
            case .queryStatus: .state
            default: .other
            }
    }
}
