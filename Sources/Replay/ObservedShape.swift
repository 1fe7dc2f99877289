import JSONC
import Migration
import MigrationQMP
import Trace

/// What an observer reads of all lines of one shape.
final class ObservedShape {
    enum Kind {
        /// A command to QEMU.
        case sent(Command)
        case event(QEMUEvent)
        /// `MIGRATION_PASS`, whose number is in the line.
        case pass
        case returned
        case refused(errorClass: String, description: String)
        /// Nothing varies but the time.
        case constant
        /// Numbers decide: every line is decoded in full.
        case each
    }

    /// The short way that a line of this shape may take.
    enum Way: UInt8 {
        case none
        /// A command without a meaning for the migration.
        case query
        case queryMigrate
        case queryStatus
        /// An event without a meaning for the migration.
        case event
        case pass
        case returned
    }

    /// What of a reply to `query-migrate` decides.
    struct Summary {
        var word: StatusWord
        var errorDescription: String?
        var total: Int64?
        var downtime: Int64?
    }

    /// Where a number of `query-migrate` goes.
    enum Field: Int, CaseIterable {
        case total, downtime, expectedDowntime, throttle, remaining, blocktime
        case transferred, ramRemaining, ramTotal, dirtyPages, pageSize, mbps, iteration
        case pass

        /// Where it is in a record.
        var path: [StaticString] {
            switch self {
            case .total: ["recv", "return", "total-time"]
            case .downtime: ["recv", "return", "downtime"]
            case .expectedDowntime: ["recv", "return", "expected-downtime"]
            case .throttle: ["recv", "return", "cpu-throttle-percentage"]
            case .remaining: ["recv", "return", "remaining"]
            case .blocktime: ["recv", "return", "postcopy-blocktime"]
            case .transferred: ["recv", "return", "ram", "transferred"]
            case .ramRemaining: ["recv", "return", "ram", "remaining"]
            case .ramTotal: ["recv", "return", "ram", "total"]
            case .dirtyPages: ["recv", "return", "ram", "dirty-pages-rate"]
            case .pageSize: ["recv", "return", "ram", "page-size"]
            case .mbps: ["recv", "return", "ram", "mbps"]
            case .iteration: ["recv", "return", "ram", "dirty-sync-count"]
            case .pass: ["recv", "data", "pass"]
            }
        }
    }

    /// The numbers that a scanner hands on.
    static let wanted = Field.allCases.map(\.path)

    /// The number of the shape among all of a replay.
    let number: Int
    let kind: Kind
    let way: Way
    /// The number of its command.
    var name: Int32 = -1
    /// Where the connection was found last, and when.
    var place = -1
    var version = -1
    let side: Side?
    let key: ConversationKey?
    /// The message without its numbers, if it is one.
    private let value: JSONValue?
    private let slots: [TraceShape.Slot]
    private let fields: [Field]
    private var isPrepared = false
    private var migration = Reply.done
    /// What it was last as an answer to another query.
    private var last: (command: Command, reply: Reply)?
    /// What answers `query-migrate`, but for the numbers of a line; `nil` if it is something else or numbers decide
    /// in another way.
    private var first: MigrationSample?
    private var told: Summary?
    /// The run state that answers `query-status`.
    private var state: RunState?
    private var totalPlace: Int?
    private var constantTotal: Int64?
    private var constantDowntime: Int64?
    private var downtimePlace: Int?

    init(_ shape: TraceShape, number: Int) {
        self.number = number
        let record = shape.record
        slots = shape.slots
        fields = shape.slots.map { Field(rawValue: $0.path) ?? .pass }
        side = record.side.map { $0 == .source ? .source : .destination }
        key = side.map { ConversationKey($0, record) }
        var value: JSONValue?
        // A named QEMU may change its side.
        guard side != nil, record.qemu == nil else {
            kind = record.member.isMessage ? .each : .constant
            way = .none
            self.value = nil
            return
        }
        switch record.member {
        case .send(let message):
            kind = Command(message: message).map { .sent($0) } ?? .each
        case .recv(let message):
            switch RecordedMessage(message) {
            case .event(.pass): kind = Self.isPass(shape, message) ? .pass : .each
            case .event(let event): kind = .event(event)
            case .reply(let returned):
                kind = .returned
                value = returned
            case .error(let errorClass, let description):
                // Where there is no text, all of the error stands for it, numbers included.
                kind =
                    message["error"]?["desc"]?.string == nil
                    ? .each : .refused(errorClass: errorClass, description: description)
            case .greeting, .rubbish: kind = .each
            }
        default: kind = .constant
        }
        self.value = value
        way =
            switch kind {
            case .sent(.queryMigrate): .queryMigrate
            case .sent(.queryStatus): .queryStatus
            case .sent(.other): .query
            case .event(.other): .event
            case .pass: .pass
            case .returned: .returned
            default: .none
            }
    }

    private static func isPass(_ shape: TraceShape, _ message: JSONValue) -> Bool {
        let expected = TraceShape.Slot(path: Field.pass.rawValue, isNegative: false, isFraction: false)
        return shape.slots == [expected] && message["data"]?["pass"]?.int64 != nil
    }

    private func prepare() {
        guard !isPrepared else { return }
        isPrepared = true
        guard let value else { return }
        if case .status(let told) = Reply(to: .queryStatus, value: value) { state = told }
        migration = Reply(to: .queryMigrate, value: value)
        guard case .migration(let sample) = migration else { return }
        hasRAM = value["ram"]?.kind == .object
        hasRemaining = value["remaining"] != nil
        let isExact = zip(slots, fields).allSatisfy { !$0.isFraction || $1 == .mbps }
        guard isExact, !hasRemaining || fields.contains(.remaining) else { return }
        first = sample
        if let word = sample.status {
            told = Summary(
                word: word, errorDescription: sample.errorDescription, total: sample.totalMilliseconds,
                downtime: sample.downtimeMilliseconds)
        }
        constantTotal = sample.totalMilliseconds
        constantDowntime = sample.downtimeMilliseconds
        totalPlace = fields.firstIndex(of: .total)
        downtimePlace = fields.firstIndex(of: .downtime)
    }

    /// The reply that a line is to a command; `nil` if that line has to be decoded in full.
    func reply(to command: Command, _ line: ScannedLine, _ block: TraceBlock) -> Reply? {
        guard let value else { return nil }
        switch command {
        case .queryMigrate:
            prepare()
            guard case .migration = migration else { return migration }
            guard var sample = first else { return nil }
            fill(&sample, line, block)
            return .migration(sample)
        case .queryStatus, .queryCapabilities, .queryYank:
            if let last, last.command == command { return last.reply }
            let reply = Reply(to: command, value: value)
            last = (command, reply)
            return reply
        case .queryParameters: return nil
        default: return .done
        }
    }

    /// What answers `query-migrate`, but for the numbers of a line; `nil` if a line has to be decoded in full.
    var sample: MigrationSample? {
        prepare()
        return first
    }

    /// Its status word, error and `total-time`, for a quick look.
    @inline(__always)
    var summary: Summary? {
        prepare()
        return told
    }

    /// The run state that a line tells, if it answers `query-status`.
    var runState: RunState? {
        prepare()
        return state
    }

    /// `total-time` of a line that answers `query-migrate`.
    @inline(__always)
    func total(_ line: ScannedLine, _ block: TraceBlock) -> Int64? {
        totalPlace.map { number($0, line, block) } ?? constantTotal
    }

    /// `downtime` of a line that answers `query-migrate`.
    @inline(__always)
    func downtime(_ line: ScannedLine, _ block: TraceBlock) -> Int64? {
        downtimePlace.map { number($0, line, block) } ?? constantDowntime
    }

    /// What is needed of it while nothing happens, as far as it was looked at before.
    ///
    /// - Parameter place: Where its connection is.
    func quiet(at place: Int?) -> QuietShape {
        guard let side, way != .none else { return QuietShape() }
        var quiet = QuietShape(way: way, side: side, number: number, place: place ?? -1, name: name)
        if let totalPlace {
            // A sign is for the way at length.
            if slots[totalPlace].isNegative { quiet.way = .none }
            quiet.total = totalPlace
        } else if constantTotal != nil {
            quiet.way = .none
        }
        return quiet
    }

    @inline(__always)
    private func number(_ place: Int, _ line: ScannedLine, _ block: TraceBlock) -> Int64 {
        let number = block.number(place, of: line)
        return slots[place].isNegative ? 0 &- number : number
    }

    private var hasRAM = false
    private var hasRemaining = false

    /// Puts the numbers of a line into the sample of its shape.
    func fill(_ sample: inout MigrationSample, _ line: ScannedLine, _ block: TraceBlock) {
        for place in slots.indices {
            let number = number(place, line, block)
            switch fields[place] {
            case .total: sample.totalMilliseconds = number
            case .downtime: sample.downtimeMilliseconds = number
            case .expectedDowntime: sample.expectedDowntimeMilliseconds = number
            case .throttle: if hasRAM { sample.throttlePercentage = number }
            case .remaining: if hasRAM { sample.remainingBytes = number }
            case .blocktime: sample.postcopyBlocktimeMilliseconds = number
            case .transferred: sample.transferredBytes = number
            case .ramRemaining: if !hasRemaining { sample.remainingBytes = number }
            case .ramTotal: sample.totalBytes = number
            case .dirtyPages: sample.dirtyPagesPerSecond = number
            case .pageSize: sample.pageBytes = number
            case .mbps:
                sample.megabitsPerSecond =
                    slots[place].isFraction ? Double(bitPattern: UInt64(bitPattern: number)) : Double(number)
            case .iteration: sample.iteration = number
            case .pass: break
            }
        }
    }
}

extension TraceMember {
    fileprivate var isMessage: Bool {
        switch self {
        case .send, .recv: true
        default: false
        }
    }
}
