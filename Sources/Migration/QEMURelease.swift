/// A release of QEMU, without the third number: what is true of a release is true of all its bug-fix versions.
public struct QEMURelease: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// First number.
    public var major: Int
    /// Second number.
    public var minor: Int

    /// A release.
    public init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// The release that a version belongs to. A development version (third number 50 and above) counts as the release
    /// before it.
    public init(_ version: QEMUVersion) { self.init(version.major, version.minor) }

    /// The release after this one, by the numbering in use since 4.0: `.0`, `.1`, `.2`, then the next first number.
    var next: QEMURelease {
        let (following, overflow) = major.addingReportingOverflow(1)
        if minor < 2 { return QEMURelease(major, minor + 1) }
        return overflow ? self : QEMURelease(following, 0)
    }

    /// Older than.
    public static func < (left: QEMURelease, right: QEMURelease) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    /// As QEMU's releases are called.
    public var description: String { "\(major).\(minor)" }
}

/// A range of releases, both ends included. `nil` is no bound.
public struct ReleaseRange: Hashable, Sendable, CustomStringConvertible {
    /// The first release, `nil` for "ever since there is something to speak of".
    public var first: QEMURelease?
    /// The last release, `nil` for "to this day".
    public var last: QEMURelease?

    /// The releases from one to another.
    public init(first: QEMURelease? = nil, last: QEMURelease? = nil) {
        self.first = first
        self.last = last
    }

    /// Every release.
    public static let all = ReleaseRange()

    /// From a release to this day.
    static func since(_ major: Int, _ minor: Int) -> ReleaseRange { ReleaseRange(first: QEMURelease(major, minor)) }

    /// Up to and with a release.
    static func until(_ major: Int, _ minor: Int) -> ReleaseRange { ReleaseRange(last: QEMURelease(major, minor)) }

    /// The range that ends with a release.
    func until(_ major: Int, _ minor: Int) -> ReleaseRange {
        ReleaseRange(first: first, last: QEMURelease(major, minor))
    }

    /// Whether a release is within the range.
    public func contains(_ release: QEMURelease) -> Bool {
        if let first, release < first { return false }
        if let last, last < release { return false }
        return true
    }

    /// Whether something true of this range can be true of a version. A development version may already do what the
    /// next release does.
    public func covers(_ version: QEMUVersion) -> Bool {
        let release = QEMURelease(version)
        return contains(release) || (version.isDevelopment && contains(release.next))
    }

    /// The range for a person.
    public var description: String {
        switch (first, last) {
        case (nil, nil): "all releases"
        case (let first?, nil): "\(first) and later"
        case (nil, let last?): "up to \(last)"
        case (let first?, let last?): first == last ? "\(first)" : "\(first) to \(last)"
        }
    }
}

extension QEMUVersion {
    /// Whether this is a version between two releases: QEMU counts those from 50 in the third number.
    public var isDevelopment: Bool { micro >= 50 }
}

extension StatusWord {
    /// The release of QEMU that first had this word, `nil` for a word that no known QEMU says.
    public var introduced: QEMURelease? { Self.introductions[self] }

    /// Every word of every known QEMU, `none` included, in the order in which they came.
    public static let known: [StatusWord] = [
        .none, .setup, .cancelling, .cancelled, .active, .completed, .failed, .postcopyActive, .colo, .preSwitchover,
        .device, .postcopyPaused, .postcopyRecover, .waitUnplug, .postcopyRecoverSetup, .postcopyDevice, .failing,
    ]

    private static let introductions: [StatusWord: QEMURelease] = [
        .none: QEMURelease(2, 3), .setup: QEMURelease(2, 3), .cancelling: QEMURelease(2, 3),
        .cancelled: QEMURelease(2, 3), .active: QEMURelease(2, 3), .completed: QEMURelease(2, 3),
        .failed: QEMURelease(2, 3), .postcopyActive: QEMURelease(2, 5), .colo: QEMURelease(2, 8),
        .preSwitchover: QEMURelease(2, 11), .device: QEMURelease(2, 11), .postcopyPaused: QEMURelease(3, 0),
        .postcopyRecover: QEMURelease(3, 0), .waitUnplug: QEMURelease(4, 2),
        .postcopyRecoverSetup: QEMURelease(9, 1), .postcopyDevice: QEMURelease(10, 2),
        // 11.1 has it and 10.2 has not; 11.0 was not seen.
        .failing: QEMURelease(11, 1),
    ]
}
