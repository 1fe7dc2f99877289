import Glibc
import GuestLab
import Testing

/// A QEMU that the tests can start.
struct PreparedQEMU: Sendable, Hashable, CustomStringConvertible {
    /// The release it comes from ("trixie"), or "host".
    var name: String
    /// The root it is in; nil: this system's own.
    var root: String?

    var description: String { name }

    /// This system's own.
    static let host = PreparedQEMU(name: "host", root: nil)

    /// This system's own, and those of `make qemus`: GODWIT_QEMUS names the directory with their roots, or a single root.
    static let all: [PreparedQEMU] = {
        guard let directory = getenv("GODWIT_QEMUS").map({ String(cString: $0) }), !directory.isEmpty else {
            return [host]
        }
        func prepared(_ root: String) -> PreparedQEMU? {
            guard access("\(root)/usr/bin/qemu-system-x86_64", X_OK) == 0 else { return nil }
            return PreparedQEMU(name: root.split(separator: "/").last.map(String.init) ?? root, root: root)
        }
        // Another root and its mounts are for root only.
        guard geteuid() == 0 else { return [host] }
        if let single = prepared(directory) { return [single] }
        return [host] + names(in: directory).sorted().compactMap { prepared("\(directory)/\($0)") }
    }()

    static func named(_ name: String) -> PreparedQEMU? { all.first { $0.name == name } }
}

/// The QEMUs of a migration.
struct QEMUPair: Sendable, Hashable, CustomStringConvertible {
    var source: PreparedQEMU
    var destination: PreparedQEMU
    /// `-machine` of both.
    var machine = "pc"

    var description: String { source == destination ? "\(source)" : "\(source) to \(destination)" }

    /// What a test that says nothing runs with.
    @TaskLocal static var current = QEMUPair(source: .host, destination: .host)

    /// Each by itself.
    static let same = PreparedQEMU.all.map { QEMUPair(source: $0, destination: $0) }

    /// From each generation to the next one, and back, with the older one's machine type.
    static let across: [QEMUPair] = [
        ("bullseye", "host", "pc-i440fx-5.2"), ("host", "trixie", "pc-i440fx-7.2"),
        ("trixie", "sid", "pc-i440fx-10.0"), ("bullseye", "sid", "pc-i440fx-5.2"), ("sid", "trixie", "pc-i440fx-10.0"),
        ("trixie", "host", "pc-i440fx-7.2"),
    ].compactMap { source, destination, machine in
        guard let source = PreparedQEMU.named(source), let destination = PreparedQEMU.named(destination) else {
            return nil
        }
        return QEMUPair(source: source, destination: destination, machine: machine)
    }
}

/// Runs a test with each of some pairs of QEMUs, one after the other; what goes wrong says with which.
struct EachPair: TestTrait, SuiteTrait, TestScoping {
    var pairs: [QEMUPair]
    var isAcross = false

    var isRecursive: Bool { true }

    func scopeProvider(for test: Test, testCase: Test.Case?) -> EachPair? {
        guard testCase != nil else { return nil }
        // Within a suite for every QEMU one for neighbours stands by itself.
        let isOverruled = !isAcross && test.traits.contains { ($0 as? EachPair)?.isAcross == true }
        return isOverruled ? nil : self
    }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        for pair in pairs {
            let naming = IssueHandlingTrait.compactMapIssues { issue in
                var issue = issue
                issue.comments.append("with QEMU of \(pair)")
                return issue
            }
            try await naming.provideScope(for: test, testCase: testCase) {
                do {
                    try await QEMUPair.$current.withValue(pair) { try await function() }
                } catch {
                    // The others are looked at all the same.
                    Issue.record(error)
                }
            }
        }
    }
}

extension QEMUPair {
    /// Says that a test is not done with these QEMUs, as they lack what it is about.
    func leavesOut(_ what: String, function: String = #function) {
        print("left out with QEMU of \(self): \(function): it lacks \(what)")
    }
}

extension Trait where Self == EachPair {
    /// With every QEMU that is there.
    static var everyQEMU: Self { EachPair(pairs: QEMUPair.same) }

    /// From each generation to its neighbours, where there are any.
    static var acrossQEMUs: Self { EachPair(pairs: QEMUPair.across, isAcross: true) }
}

extension Live {
    /// For what needs more than one QEMU.
    static var several: ConditionTrait {
        .enabled(if: !QEMUPair.across.isEmpty, "needs other QEMUs: `make qemus`, then GODWIT_QEMUS=DIRECTORY, as root")
    }
}
