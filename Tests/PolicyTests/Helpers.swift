import Migration
import Policy
import PolicyDocuments
import Testing

/// A named policy, with other values for some of its constants.
func named(_ name: String, _ constants: [String: String] = [:]) throws -> ConvergencePolicy {
    let document = try #require(NamedPolicies.document(name))
    var text = String(decoding: document.bytes, as: UTF8.self)
    for (constant, value) in constants {
        let start = try #require(text.range(of: "\"\(constant)\": "))
        let end = try #require(text[start.upperBound...].firstIndex { ",}\n".contains($0) })
        text.replaceSubrange(start.upperBound..<end, with: value)
    }
    return try ConvergencePolicy(document: Array(text.utf8), file: "\(name).json")
}

extension String {
    /// The first place of a text.
    func range(of wanted: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(wanted) { return start..<index(start, offsetBy: wanted.count) }
            start = index(after: start)
        }
        return nil
    }
}

/// What a policy is told in tests, with everything that a running migration tells.
struct Telling {
    var engine: PolicyEngine
    var memory: Int64 = 4 << 30
    var transferred: Int64 = 0

    init(_ policy: ConvergencePolicy, postcopy: Bool = false, hostDevices: Bool = false, memory: Int64 = 4 << 30) {
        var context = PolicyContext()
        context.isPostcopyPossible = postcopy
        context.hasHostDevices = hostDevices
        engine = PolicyEngine(policy, context: context)
        self.memory = memory
    }

    /// What is decided at a time in milliseconds.
    @discardableResult
    mutating func at(
        _ elapsed: Int64, remaining: Int64 = 1 << 30, iteration: Int64 = 1, bandwidth: Double? = 1e9
    ) -> [PolicyEffect] {
        var sample = PolicySample(elapsedMilliseconds: elapsed)
        transferred += 1
        sample.memoryBytes = memory
        sample.remainingBytes = remaining
        sample.transferredBytes = transferred
        sample.bandwidthBytesPerSecond = bandwidth
        sample.iteration = iteration
        return engine.apply(.sample(sample)).map(\.effect)
    }
}
