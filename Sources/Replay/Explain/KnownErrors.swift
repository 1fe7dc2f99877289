import Migration

/// A text of QEMU's that is known to mean something. Texts change between releases: what follows from one is likely,
/// never proven, unless the rest of the record
/// shows it too.
struct KnownError {
    /// What it means.
    enum Meaning {
        /// The address or the command that was given cannot work.
        case address
        /// Nobody listens there.
        case nobodyThere
        /// The certificate, the credentials or the names in them.
        case tls
        /// The destination told the source that it could not load.
        case loadReported
        /// The destination says what it could not load.
        case load
        /// The other end of the stream was closed.
        case closed
        /// Nothing came through any more.
        case silent
        /// The guest has something that cannot be migrated.
        case blocked
        /// This guest was migrated away before and was not started again.
        case gone
        /// Another migration goes on.
        case busy
        /// The program that the stream was given to failed.
        case helper
    }

    var fragment: String
    var meaning: Meaning

    /// The texts, by what is typical in them. The first that fits counts.
    static let table: [KnownError] = [
        KnownError(fragment: "Sibling indicated error", meaning: .loadReported),
        KnownError(fragment: "postmigrate", meaning: .gone),
        KnownError(fragment: "paused due to previous migration", meaning: .gone),
        KnownError(fragment: "migration process in progress", meaning: .busy),
        KnownError(fragment: "migration protocol", meaning: .address),
        KnownError(fragment: "need either 'uri' or 'channels'", meaning: .address),
        KnownError(fragment: "address resolution failed", meaning: .address),
        KnownError(fragment: "Name or service not known", meaning: .address),
        KnownError(fragment: "has not been found", meaning: .address),
        KnownError(fragment: "Failed to connect", meaning: .nobodyThere),
        KnownError(fragment: "Connection refused", meaning: .nobodyThere),
        KnownError(fragment: "No route to host", meaning: .silent),
        KnownError(fragment: "Network is unreachable", meaning: .silent),
        KnownError(fragment: "Connection timed out", meaning: .silent),
        KnownError(fragment: "ertificate", meaning: .tls),
        KnownError(fragment: "TLS", meaning: .tls),
        KnownError(fragment: "write to command", meaning: .helper),
        KnownError(fragment: "ram_save_setup", meaning: .helper),
        KnownError(fragment: "while loading state", meaning: .load),
        KnownError(fragment: "Length mismatch", meaning: .load),
        KnownError(fragment: "Unknown savevm section", meaning: .load),
        KnownError(fragment: "Missing section", meaning: .load),
        KnownError(fragment: "Machine type", meaning: .load),
        KnownError(fragment: "does not support migration", meaning: .blocked),
        KnownError(fragment: "non-migratable", meaning: .blocked),
        KnownError(fragment: "blocked", meaning: .blocked),
        KnownError(fragment: "Broken pipe", meaning: .closed),
        KnownError(fragment: "Connection reset", meaning: .closed),
        KnownError(fragment: "Bad file descriptor", meaning: .closed),
        KnownError(fragment: "Input/output error", meaning: .closed),
        KnownError(fragment: "end of file", meaning: .closed),
        KnownError(fragment: "Channel error", meaning: .closed),
    ]

    /// What a text means, if it is a known one.
    static func meaning(of text: String?) -> Meaning? {
        guard let text else { return nil }
        return table.first { text.contains($0.fragment) }?.meaning
    }

    /// Capabilities that QEMU needs on both sides or on neither.
    static let pairedCapabilities = [
        "multifd", "postcopy-ram", "postcopy-preempt", "compress", "x-colo", "x-ignore-shared", "mapped-ram",
        "rdma-pin-all", "switchover-ack",
    ]
}
