public import Trace

/// A guest that foreign recordings tell of: what of which file belongs to it, and to which side.
public struct ImportedGuest {
    /// The domain's name, or how the recording calls its monitor; nil if there is but one and it has no name.
    public let name: String?
    /// How many commands to QEMU were recorded.
    public var commands: Int { parts.reduce(0) { $0 + $1.connection.commands } }
    /// How many messages from QEMU were recorded.
    public var messages: Int { parts.reduce(0) { $0 + $1.connection.messages } }
    /// The sides that it shows.
    public var sides: Set<TraceSide> { Set(parts.flatMap { [$0.side, $0.turn == nil ? $0.side : .source] }) }

    /// One connection to one of its QEMUs.
    struct Part {
        /// The index of the file, and that of the connection in it.
        var file: Int
        var index: Int
        var connection: ImportSurvey.Connection
        var side = TraceSide.source
        /// From this line on it is the source.
        var turn: Int?
        var qemu: String?
        var number: Int?

        func side(at line: Int) -> TraceSide {
            if let turn, line >= turn { return .source }
            return side
        }
    }

    let parts: [Part]

    /// The earliest time in it, since 1970.
    var first: Int64? { parts.compactMap(\.connection.first).min() }

    private init(name: String?, parts: [Part], files: [ImportFile]) {
        self.name = name
        self.parts = Self.numbered(Self.placed(parts, files))
    }

    /// Sorts what several files have.
    ///
    /// Connections of one domain belong together; if each file has but one guest it is the same one, whatever it is
    /// called there.
    static func guests(in surveys: [ImportSurvey]) -> [ImportedGuest] {
        let files = surveys.map(\.file)
        func parts(_ file: Int, _ connections: [Int]) -> [Part] {
            connections.map { Part(file: file, index: $0, connection: surveys[file].connections[$0]) }
        }
        let groups = surveys.map(\.groups)
        if groups.allSatisfy({ $0.count <= 1 }) {
            let all = groups.enumerated().flatMap { file, groups in
                groups.flatMap { parts(file, $0.connections) }
            }
            let name = groups.lazy.flatMap { $0 }.compactMap(\.domain).first
            return all.isEmpty ? [] : [ImportedGuest(name: name, parts: all, files: files)]
        }
        var named: [(name: String, parts: [Part])] = []
        for (file, groups) in groups.enumerated() {
            for group in groups {
                let monitor = surveys[file].connections[group.connections[0]].channel.name
                let name = group.domain ?? (monitor.isEmpty ? files[file].name : monitor)
                if let found = named.firstIndex(where: { $0.name == name }) {
                    named[found].parts += parts(file, group.connections)
                } else {
                    named.append((name, parts(file, group.connections)))
                }
            }
        }
        return named.map { ImportedGuest(name: $0.name, parts: $0.parts, files: files) }
    }

    /// Finds the side of each connection.
    private static func placed(_ parts: [Part], _ files: [ImportFile]) -> [Part] {
        var parts = parts
        var known: [Bool] = []
        for index in parts.indices {
            let hint = parts[index].connection.hint
            if let side = files[parts[index].file].side {
                parts[index].side = side
                known.append(true)
            } else if let hint, hint.isStrong {
                parts[index].side = hint.isSource ? .source : .destination
                parts[index].turn = hint.isSource ? nil : parts[index].connection.turn
                known.append(true)
            } else {
                known.append(false)
            }
        }
        for index in parts.indices where !known[index] {
            let others = parts.indices.filter { known[$0] }
            // Another connection to the same process, or to a QEMU of the same host, is on its side.
            if let same = others.first(where: {
                parts[$0].file == parts[index].file
                    && parts[$0].connection.channel.process == parts[index].connection.channel.process
            }) {
                parts[index].side = parts[same].side
            } else if let hint = parts[index].connection.hint {
                parts[index].side = hint.isSource ? .source : .destination
            } else if let other = others.first {
                parts[index].side = parts[other].side == .source ? .destination : .source
            }
        }
        return parts
    }

    /// Numbers the connections to one QEMU, and names the QEMUs where a side has several.
    private static func numbered(_ parts: [Part]) -> [Part] {
        var parts = parts
        let order = parts.indices.sorted {
            (parts[$0].file, parts[$0].connection.firstLine) < (parts[$1].file, parts[$1].connection.firstLine)
        }
        var counts: [String: (qemu: Int, connections: Int, hasEnded: Bool)] = [:]
        var qemus = 0
        for index in order {
            let key = "\(parts[index].file) \(parts[index].side.rawValue) \(parts[index].connection.channel.process)"
            var count = counts[key] ?? (0, 0, true)
            if count.hasEnded {
                qemus += 1
                count = (qemus, 0, false)
            }
            count.connections += 1
            count.hasEnded = parts[index].connection.hasEnded
            counts[key] = count
            parts[index].qemu = "qemu-\(count.qemu)"
            if count.connections > 1 { parts[index].number = count.connections }
        }
        let isPlain = TraceSide.allCases.allSatisfy { side in
            Set(parts.filter { $0.side == side }.map(\.qemu)).count <= 1
        }
        if isPlain, parts.allSatisfy({ $0.turn == nil }) {
            for index in parts.indices { parts[index].qemu = nil }
        }
        return parts
    }
}
