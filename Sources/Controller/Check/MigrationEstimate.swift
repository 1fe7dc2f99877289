import Phases
public import Policy

/// How long a migration will take and how long the guest will stand still, guessed from a measured dirty rate.
public struct MigrationEstimate: Hashable, Sendable {
    /// What comes of one bandwidth.
    public struct Line: Hashable, Sendable {
        /// Bytes each second.
        public var bandwidthBytesPerSecond: Int64
        /// If all of the guest's memory has to be sent.
        public var full: PolicyTrial
        /// If only what is resident has to be sent; the rest would be zero pages.
        public var resident: PolicyTrial
    }

    /// How fast the guest writes, in bytes each second.
    public var dirtyBytesPerSecond: Int64
    /// The guest's memory in bytes.
    public var memoryBytes: Int64
    /// What of it is resident in the host, in bytes; never more than `memoryBytes`.
    public var residentBytes: Int64
    /// One line for each bandwidth.
    public var lines: [Line]

    /// An estimate by the model of the policies.
    ///
    /// - Parameters:
    ///   - facts: The source.
    ///   - dirtyBytesPerSecond: What was measured.
    ///   - bandwidths: To be tried, in bytes each second.
    ///   - policy: What is followed.
    ///   - context: The limits at the beginning.
    public init(
        of facts: QEMUFacts, dirtyBytesPerSecond: Int64, bandwidths: [Int64], policy: ConvergencePolicy,
        context: PolicyContext
    ) {
        let description = facts.survey.description
        let memory = max(
            0, description.memoryBytes.addingReportingOverflow(description.pluggedMemoryBytes).partialValue)
        let resident = min(memory, facts.residentBytes ?? memory)
        self.dirtyBytesPerSecond = dirtyBytesPerSecond
        memoryBytes = memory
        residentBytes = resident
        lines = bandwidths.map { bandwidth in
            func trial(_ bytes: Int64) -> PolicyTrial {
                var model = CopyModel(
                    memoryBytes: Double(bytes), bandwidthBytesPerSecond: Double(bandwidth),
                    dirtyBytesPerSecond: Double(dirtyBytesPerSecond))
                model.context = context
                return model.run(policy)
            }
            return Line(bandwidthBytesPerSecond: bandwidth, full: trial(memory), resident: trial(resident))
        }
    }
}
