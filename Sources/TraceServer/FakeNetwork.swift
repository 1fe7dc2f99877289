/// Fakes that can reach each other: a migration between two models really happens. Pure, as its fakes are.
public struct FakeNetwork: Sendable {
    /// What the fake of this number does.
    public struct Effect: Hashable, Sendable {
        /// Whose act it is.
        public var fake: Int
        /// `write`, `close`, `exit`, and of a recorded side `progressed` and `meet`; the rest stays in the network.
        public var action: FakeAction
    }

    /// The fakes, by number.
    public private(set) var fakes: [FakeQEMU]
    /// Whether there was a moment in which two modelled guests executed at once.
    public private(set) var ranTwice = false

    /// What happened at all fakes, in one order.
    public private(set) var history: [Entry] = []

    private var noted: [Int]
    private var streams: [Int: Int] = [:]

    /// What happened at one fake.
    public struct Entry: Hashable, Sendable {
        /// The fake's number.
        public var fake: Int
        /// What happened.
        public var note: FakeNote
    }

    /// A network of these.
    public init(_ fakes: [FakeQEMU]) {
        self.fakes = fakes
        noted = fakes.map { _ in 0 }
    }

    /// A source and a destination that listens nowhere yet.
    public init(source: FakeQEMU, destination: FakeQEMU) { self.init([source, destination]) }

    /// When `advance` is due.
    public var nextDeadline: Int64? { fakes.compactMap(\.nextDeadline).min() }

    /// A client connected to a fake.
    public mutating func connected(_ fake: Int, at now: Int64) -> [Effect] {
        apply(fake, now) { $0.connected(at: now) }
    }

    /// A fake's client left.
    public mutating func disconnected(_ fake: Int, at now: Int64) -> [Effect] {
        apply(fake, now) { $0.disconnected(at: now) }
    }

    /// A fake's client sent bytes.
    public mutating func received(_ bytes: [UInt8], by fake: Int, at now: Int64) -> [Effect] {
        apply(fake, now) { $0.received(bytes, at: now) }
    }

    /// Time passed.
    public mutating func advance(to now: Int64) -> [Effect] {
        fakes.indices.flatMap { index in apply(index, now) { $0.advance(to: now) } }
    }

    /// Does something to a fake: kills it, lets it go on, sends it a command from elsewhere.
    public mutating func apply(
        _ fake: Int, _ now: Int64, _ body: (inout FakeQEMU) -> [FakeAction]
    ) -> [Effect] {
        guard fakes.indices.contains(fake) else { return [] }
        var effects: [Effect] = []
        var pending = body(&fakes[fake]).map { (fake, $0) }
        look()
        while !pending.isEmpty {
            let (index, action) = pending.removeFirst()
            switch action {
            case .write, .close, .exit: effects.append(Effect(fake: index, action: action))
            case .connectStream(let uri):
                if let listener = fakes.indices.first(where: { $0 != index && fakes[$0].acceptsStream(uri) }) {
                    streams[index] = listener
                    streams[listener] = index
                    pending += fakes[listener].accepted(at: now).map { (listener, $0) }
                    pending += fakes[index].received(.opened, at: now).map { (index, $0) }
                } else {
                    let desc = "Failed to connect to '\(uri)': Connection refused"
                    pending += fakes[index].received(.refused(desc), at: now).map { (index, $0) }
                }
            case .stream(let message):
                guard let peer = streams[index] else { continue }
                if message.signal == .broken {
                    streams[index] = nil
                    streams[peer] = nil
                }
                pending += fakes[peer].received(message.signal, at: now).map { (peer, $0) }
            case .meet: effects.append(Effect(fake: index, action: action))
            case .progressed(let count):
                effects.append(Effect(fake: index, action: action))
                for other in fakes.indices where other != index {
                    pending += fakes[other].otherSideProgressed(to: count, at: now).map { (other, $0) }
                }
            }
            look()
        }
        look()
        return effects
    }

    private mutating func look() {
        for index in fakes.indices {
            let notes = fakes[index].notes
            history += notes[noted[index]...].map { Entry(fake: index, note: $0) }
            noted[index] = notes.count
        }
        if fakes.count(where: { $0.model?.isGuestRunning ?? false }) > 1 { ranTwice = true }
    }
}
