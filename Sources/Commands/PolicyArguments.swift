public import ArgumentParser
import Migration
import MigrationQMP
import Phases
import Policy
import PolicyDocuments

/// The options of `godwit migrate` about what is done with a guest that does not converge.
public struct PolicyArguments: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Follow this convergence policy: a name that `godwit simulate --list` knows, or a file. Default: \(Self.usual), unless --downtime-limit is given; `none` leaves all to QEMU.",
            valueName: "name|file"))
    var policy: String?

    @Flag(name: .long, help: "Let the policy only note what it would have done.")
    var observePolicy = false

    static let usual = "godwit"
    static let no = "none"

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        guard let policy, !PolicyFile.isFile(policy), NamedPolicies.document(policy) == nil else { return }
        throw ValidationError("--policy: \(PolicyFile.unknown(policy))")
    }

    /// - Parameter hasLimit: Whether the user has set a downtime limit.
    func validate(hasLimit: Bool) throws {
        if let policy, policy != Self.no, hasLimit, !observePolicy {
            throw ValidationError("--downtime-limit is the policy's to set; with --observe-policy it is yours")
        }
    }

    /// The policy, with what it wants switched on, into the options.
    ///
    /// - Throws: `ExitCode` after a file that cannot be read was told.
    func apply(to options: inout MigrateOptions, hasLimit: Bool) throws {
        guard let name = policy ?? (hasLimit && !observePolicy ? nil : Self.usual), name != Self.no else { return }
        let wish: PolicyWish
        do {
            let document = String(decoding: try PolicyFile.document(name), as: UTF8.self)
            wish = try PolicyWish(document: document, file: name, isObserving: observePolicy)
        } catch let problem as any CommandProblem {
            throw problem.told()
        }
        options.policy = wish
        // Who only observes changes nothing.
        guard !observePolicy else { return }
        for capability in wish.policy.capabilities {
            switch (capability.name, capability.isOn) {
            case ("postcopy-ram", true): options.postcopy = options.postcopy ?? PostcopyWish()
            case (let name, true):
                if !options.capabilities.contains(name) { options.capabilities.append(name) }
            case (let name, false):
                if options.capabilities.contains(name) || name == "postcopy-ram" && options.postcopy != nil {
                    throw ValidationError("--policy \(wish.policy.name) wants \(name) off, and it is asked for")
                }
            }
        }
    }
}
