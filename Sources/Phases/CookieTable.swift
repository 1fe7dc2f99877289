/// A part of a cookie. The words are the names of the document's members.
public enum CookiePart: String, Hashable, Sendable, CaseIterable {
    /// Attempt, guest and host.
    case identity
    /// What the writer's QEMU can do, and what it switches on by itself.
    case capabilities
    /// What the source is made of.
    case description
    /// The state of the guest's leases.
    case lease
    /// The disks that are copied along.
    case storage
    /// The port of the disks' exports.
    case nbdPort = "nbd-port"
    /// Dirty bitmaps, offered or accepted.
    case bitmaps
    /// What the source's network knows of the guest's interfaces.
    case network
    /// The destination's display.
    case graphics
    /// Where the destination listens.
    case uri
    /// Whether the guest is to run on the destination.
    case runIntended = "run-intended"
    /// Whether the guest has arrived.
    case success
    /// Numbers.
    case statistics
}

/// A row of the table of cookie parts.
public struct CookieRow: Hashable, Sendable {
    /// When a reader that does not know the part must refuse the cookie.
    public enum Duty: String, Hashable, Sendable, CaseIterable {
        /// Never: it can be ignored.
        case optional
        /// Whenever it is there.
        case mandatory
        /// Whenever it holds a state that the other side's lock manager must get.
        case withState = "mandatory-with-state"
    }

    /// The part.
    public var part: CookiePart
    /// Whether it may be ignored.
    public var duty: Duty
    /// The steps whose answer brings it.
    public var producers: [Step]
    /// The steps that take it.
    public var consumers: [Step]
    /// What is in it.
    public var content: String
}

/// Which step makes and which takes each part of a cookie.
public enum CookieTable {
    /// The rows, in the order of ``CookiePart``.
    public static let rows: [CookieRow] = [
        CookieRow(
            part: .identity, duty: .mandatory, producers: Step.allCases, consumers: Step.allCases,
            content: "attempt id and number of the recovery; the guest's name and UUID; the writer's host name and UUID"
        ),
        CookieRow(
            part: .capabilities, duty: .optional, producers: [.begin, .prepare], consumers: [.prepare, .perform],
            content: "names of QEMU's capabilities, the automatic ones marked"),
        CookieRow(
            part: .description, duty: .mandatory, producers: [.dumpXML, .begin], consumers: [.prepare, .finish],
            content: "what the source is made of; into Finish what is to be kept of it there"),
        CookieRow(
            part: .lease, duty: .withState, producers: [.begin], consumers: [.prepare],
            content: "the lock manager's name and its state"),
        CookieRow(
            part: .storage, duty: .optional, producers: [.begin, .perform], consumers: [.prepare, .finish],
            content: "disk and capacity in bytes; into Finish only that there are exports to be stopped"),
        CookieRow(
            part: .nbdPort, duty: .optional, producers: [.prepare], consumers: [.perform],
            content: "a TCP port; never echoed"),
        CookieRow(
            part: .bitmaps, duty: .optional, producers: [.begin, .prepare], consumers: [.prepare, .perform],
            content: "disk, name and alias: the offer, then the accepted subset"),
        CookieRow(
            part: .network, duty: .optional, producers: [.perform], consumers: [.finish],
            content: "for each interface the kind of its port and the port's data"),
        CookieRow(
            part: .graphics, duty: .optional, producers: [.prepare], consumers: [.perform],
            content: "kind, address, ports and certificate of the display"),
        CookieRow(
            part: .uri, duty: .optional, producers: [.prepare], consumers: [.perform], content: "where QEMU listens"),
        CookieRow(
            part: .runIntended, duty: .optional, producers: [.dumpXML, .begin, .prepare, .perform],
            consumers: [.prepare, .perform, .finish], content: "whether the guest is to run when it has arrived"),
        CookieRow(
            part: .success, duty: .mandatory, producers: [.finish], consumers: [.confirm],
            content: "whether the guest has arrived, which decides what Confirm does"),
        CookieRow(
            part: .statistics, duty: .optional, producers: [.perform, .finish, .confirm],
            consumers: [.finish, .confirm], content: "times and bytes, and when the writer wrote them"),
    ]

    /// A part's row.
    public static func row(of part: CookiePart) -> CookieRow? { rows.first { $0.part == part } }

    /// Whether a part may come into a step.
    public static func isExpected(_ part: CookiePart, into step: Step) -> Bool {
        row(of: part)?.consumers.contains(step) ?? false
    }
}

extension Cookie {
    /// Whether a part is there.
    public func has(_ part: CookiePart) -> Bool {
        switch part {
        case .identity: true
        case .capabilities: !capabilities.isEmpty || !automaticCapabilities.isEmpty
        case .description: description != nil
        case .lease: lease != nil
        case .storage: !storage.isEmpty
        case .nbdPort: nbdPort != nil
        case .bitmaps: !bitmaps.isEmpty
        case .network: !network.isEmpty
        case .graphics: graphics != nil
        case .uri: uri != nil
        case .runIntended: isRunIntended != nil
        case .success: isSuccess != nil
        case .statistics: statistics != nil
        }
    }

    /// The parts that are there, in the table's order.
    public var parts: [CookiePart] { CookiePart.allCases.filter(has) }

    /// The parts that a reader has to know, those of a later version included. Identity is in every version and not
    /// named.
    public var mandatoryNames: [String] {
        let known = CookieTable.rows.filter { row in
            guard row.part != .identity, has(row.part) else { return false }
            return switch row.duty {
            case .optional: false
            case .mandatory: true
            case .withState: lease?.state != nil
            }
        }
        return known.map(\.part.rawValue) + mandatory
    }

    /// Takes a part away. Identity stays: without it there is no cookie.
    public mutating func drop(_ part: CookiePart) {
        switch part {
        case .identity: break
        case .capabilities:
            capabilities = []
            automaticCapabilities = []
        case .description: description = nil
        case .lease: lease = nil
        case .storage: storage = []
        case .nbdPort: nbdPort = nil
        case .bitmaps: bitmaps = []
        case .network: network = []
        case .graphics: graphics = nil
        case .uri: uri = nil
        case .runIntended: isRunIntended = nil
        case .success: isSuccess = nil
        case .statistics: statistics = nil
        }
    }

    /// What of this cookie may go into a step: parts that it does not take are not echoed.
    public func sparing(_ step: Step) -> Cookie {
        var result = self
        for part in CookiePart.allCases where !CookieTable.isExpected(part, into: step) { result.drop(part) }
        return result
    }

    /// The bitmaps of an offer that a destination takes: those of disks it can keep them for and does not have already.
    ///
    /// - Parameters:
    ///   - offer: What the source has.
    ///   - present: What is there already, by disk and name.
    ///   - canKeep: Whether a disk can hold bitmaps.
    public static func acceptedBitmaps(
        of offer: [CookieBitmap], present: [CookieBitmap], canKeep: (String) -> Bool
    ) -> [CookieBitmap] {
        offer.filter { bitmap in
            canKeep(bitmap.target) && !present.contains { $0.target == bitmap.target && $0.name == bitmap.name }
        }
    }
}
