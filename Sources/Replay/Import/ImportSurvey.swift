import Trace

/// What is in a foreign file, found by reading it once.
struct ImportSurvey {
    /// One connection.
    struct Connection {
        var channel: ImportedChannel
        var firstLine = 0
        var commands = 0
        /// Replies, events, greetings.
        var messages = 0
        /// The earliest time, since 1970.
        var first: Int64?
        var hasMigrationEvents = false
        var hasStatusWords = false
        /// QEMU's end was seen.
        var hasEnded = false
        /// The strongest thing that tells its side.
        var hint: MessageLook.Hint?
        /// The line of the first `migrate` after it was a destination.
        var turn: Int?

        var isEmpty: Bool { commands + messages == 0 && !hasStatusWords }

        fileprivate mutating func take(_ entry: ImportedEntry) {
            if firstLine == 0 { firstLine = entry.line }
            if let time = entry.microseconds { first = min(first ?? time, time) }
            switch entry.what {
            case .send: commands += 1
            case .recv: messages += 1
            case .process: hasEnded = true
            case .statusWord: hasStatusWords = true
            case .descriptors, .monitor, .mark: break
            }
            guard let look = entry.look else { return }
            if look.isMigrationEvent { hasMigrationEvents = true }
            if hint == .destination, turn == nil, look.kind == .command("migrate") { turn = entry.line }
            // Of what is equally strong the first counts: a destination may become a source later.
            if let new = look.hint, hint.map({ new.isStrong && !$0.isStrong }) ?? true { hint = new }
        }
    }

    let file: ImportFile
    private(set) var connections: [Connection] = []
    private(set) var warnings: [TraceWarning] = []
    /// Those of which QEMU's own events tell the status words that its tracing shows.
    private(set) var processesWithEvents: Set<String> = []

    init(_ file: ImportFile, lenient: Bool) throws(TraceError) {
        self.file = file
        let reader = try ImportReader(file, lenient: lenient)
        while let entry = try reader.read() {
            while connections.count <= entry.channel {
                connections.append(Connection(channel: reader.channels[connections.count]))
            }
            connections[entry.channel].take(entry)
        }
        for index in connections.indices { connections[index].channel = reader.channels[index] }
        processesWithEvents = Set(connections.filter(\.hasMigrationEvents).map(\.channel.process))
        warnings = reader.warnings
    }

    /// The connections that belong together: a domain's, or all of a format that knows no domains.
    var groups: [(domain: String?, connections: [Int])] {
        let all = connections.indices.filter { !connections[$0].isEmpty }
        guard file.format == .libvirt else { return all.isEmpty ? [] : [(nil, all)] }
        var groups: [(domain: String?, connections: [Int])] = []
        for index in all {
            let domain = connections[index].channel.domain
            if let domain, let found = groups.firstIndex(where: { $0.domain == domain }) {
                groups[found].connections.append(index)
            } else {
                groups.append((domain, [index]))
            }
        }
        // Libvirt also asks QEMUs what they can do that run no guest; who wants them has only them.
        let guests = groups.filter { group in
            group.domain != nil || group.connections.contains { connections[$0].hint?.isStrong ?? false }
        }
        return guests.isEmpty ? groups : guests
    }
}
