public import JSONC
import QMP

/// A QEMU that does what a real one will not do on demand: a monitor in front of a rule-based model or of a recording, with faults between it
/// and its client. Pure: bytes and times go in, actions come out.
public struct FakeQEMU: Sendable {
    enum Backend: Sendable {
        case model(FakeModel)
        case replay(any RecordedQEMU)
    }

    /// What goes wrong. May be changed at any time.
    public var faults: [Fault] {
        get { desk.faults }
        set { desk.faults = newValue }
    }
    /// What happened; of one that is served for days, what happened first.
    public private(set) var notes: [FakeNote] = []
    private static let maximumNotes = 100_000
    /// Whether a client is connected.
    public private(set) var isConnected = false
    /// Whether it stands still, as under SIGSTOP.
    public private(set) var isFrozen = false
    /// How the process ended.
    public private(set) var exitCode: Int?

    private var backend: Backend
    private var desk: FaultDesk
    private var framer = QMPFramer()
    private var connections = 0
    private var isNegotiated = false
    private var hasOutOfBand = false
    private var offersOutOfBand = false
    private var isMuted = false
    private var heldForCommand: [[UInt8]] = []
    private var heldForEvent: [[UInt8]] = []
    private var swapped: [UInt8]?
    private var timed: [(at: Int64, bytes: [UInt8])] = []
    private var frozenInput: [UInt8] = []
    private var frozenSignals: [StreamSignal] = []
    private var lastRunState: String?
    private var actions: [FakeAction] = []
    private var now: Int64 = 0

    /// A modelled QEMU.
    public init(_ options: FakeOptions, faults: [Fault] = []) {
        backend = .model(FakeModel(options))
        desk = FaultDesk(faults)
        lastRunState = model?.runState
    }

    /// A recorded QEMU.
    public init(replaying replay: TraceReplay, faults: [Fault] = []) {
        backend = .replay(replay)
        desk = FaultDesk(faults)
    }

    /// A recorded QEMU that goes on by itself.
    public init(serving side: ServedSide, faults: [Fault] = []) {
        backend = .replay(side)
        desk = FaultDesk(faults)
    }

    /// The model, if it is one.
    public var model: FakeModel? { if case .model(let model) = backend { model } else { nil } }

    /// The replayed recording, if it is one.
    public var replay: TraceReplay? { if case .replay(let replay as TraceReplay) = backend { replay } else { nil } }

    /// The played recording, if it is one.
    public var served: ServedSide? { if case .replay(let side as ServedSide) = backend { side } else { nil } }

    /// The commands that took effect, by name.
    public var executed: [String] {
        notes.compactMap { if case .executed(let command) = $0 { command.name } else { nil } }
    }

    /// The commands that arrived, by name.
    public var arrived: [String] {
        notes.compactMap { if case .command(let command) = $0 { command.name } else { nil } }
    }

    /// When `advance` is due.
    public var nextDeadline: Int64? {
        guard exitCode == nil, !isFrozen else { return nil }
        let own: Int64? =
            switch backend {
            case .model(let model): model.nextDeadline
            case .replay(let replay): replay.nextDeadline
            }
        return ([own].compactMap(\.self) + timed.map(\.at)).min()
    }

    // MARK: Inputs

    /// A client connected.
    public mutating func connected(at now: Int64) -> [FakeAction] {
        begin(now)
        connections += 1
        isConnected = true
        isNegotiated = false
        hasOutOfBand = false
        isMuted = false
        framer = QMPFramer()
        note(.connected(connections))
        if !isFrozen { greetClient() }
        return finish()
    }

    /// The client's connection ended.
    public mutating func disconnected(at now: Int64) -> [FakeAction] {
        begin(now)
        leave()
        return finish()
    }

    /// The client sent bytes.
    public mutating func received(_ bytes: [UInt8], at now: Int64) -> [FakeAction] {
        begin(now)
        if isFrozen { frozenInput += bytes } else { read(bytes) }
        return finish()
    }

    /// Time passed.
    public mutating func advance(to now: Int64) -> [FakeAction] {
        begin(now)
        if !isFrozen {
            flushTimed()
            switch backend {
            case .model: withModel { $0.advance(to: now) }
            case .replay: withReplay { $0.advance(to: now) }
            }
        }
        return finish()
    }

    /// The process is killed.
    public mutating func kill(at now: Int64) -> [FakeAction] {
        begin(now)
        end(-9)
        return finish()
    }

    /// Stands still until `thaw`.
    public mutating func freeze() { isFrozen = true }

    /// Goes on after `freeze`; what came in between is handled now.
    public mutating func thaw(at now: Int64) -> [FakeAction] {
        begin(now)
        guard isFrozen else { return finish() }
        isFrozen = false
        let signals = frozenSignals
        frozenSignals = []
        for signal in signals { withModel { $0.received(signal, at: now) } }
        if isConnected, !isNegotiated, frozenInput.isEmpty { greetClient() }
        let input = frozenInput
        frozenInput = []
        read(input)
        return finish()
    }

    /// Somebody else sends a command, through another monitor.
    public mutating func executeElsewhere(_ name: String, _ arguments: JSONObject = [:], at now: Int64) -> [FakeAction]
    {
        begin(now)
        let command = FakeCommand(name: name, arguments: arguments)
        withModel { model in
            model.execute(command, at: now).filter { if case .reply(command, _) = $0 { false } else { true } }
        }
        return finish()
    }

    /// A modelled stream arrives; false if nobody listens there.
    mutating func acceptsStream(_ uri: String) -> Bool { exitCode == nil && model?.listeningURI == uri }

    mutating func accepted(at now: Int64) -> [FakeAction] {
        begin(now)
        withModel { $0.accepted(at: now) }
        return finish()
    }

    mutating func received(_ signal: StreamSignal, at now: Int64) -> [FakeAction] {
        begin(now)
        if isFrozen { frozenSignals.append(signal) } else { withModel { $0.received(signal, at: now) } }
        return finish()
    }

    mutating func otherSideProgressed(to count: Int, at now: Int64) -> [FakeAction] {
        begin(now)
        withReplay { $0.otherSideProgressed(to: count, at: now) }
        return finish()
    }

    // MARK: The session

    private mutating func begin(_ now: Int64) {
        self.now = now
        actions = []
    }

    private mutating func finish() -> [FakeAction] {
        if let state = model?.runState, state != lastRunState {
            lastRunState = state
            note(.runState(state))
        }
        defer { actions = [] }
        return actions
    }

    private mutating func note(_ note: FakeNote) {
        if notes.count < Self.maximumNotes { notes.append(note) }
    }

    private mutating func leave() {
        guard isConnected else { return }
        isConnected = false
        isNegotiated = false
        heldForCommand = []
        heldForEvent = []
        swapped = nil
        timed = []
        frozenInput = []
        note(.disconnected)
        switch backend {
        case .model(var model):
            model.clientLeft()
            backend = .model(model)
        case .replay(var replay):
            replay.disconnected()
            backend = .replay(replay)
        }
    }

    private mutating func close() {
        guard isConnected else { return }
        actions.append(.close)
        leave()
    }

    private mutating func end(_ code: Int) {
        guard exitCode == nil else { return }
        exitCode = code
        if case .model(var model) = backend {
            for case .stream(let signal) in model.kill(at: now) {
                actions.append(.stream(FakeStreamMessage(signal: signal)))
            }
            backend = .model(model)
        }
        leave()
        note(.exited(code))
        actions.append(.exit(code))
    }

    private mutating func greetClient() {
        for case .beforeGreeting(connections, let message) in faults {
            write(FakeMessage(kind: .other, message: message).bytes)
        }
        for case .noGreeting(let number) in faults where number == nil || number == connections {
            isMuted = true
            return
        }
        switch backend {
        case .model(let model):
            offersOutOfBand = model.options.offersOutOfBand
            say(FakeMessage(kind: .greeting, message: greeting))
        case .replay: withReplay { [now] in $0.connected(at: now) }
        }
    }

    private var greeting: JSONValue {
        guard let model else { return ["QMP": [:]] }
        return [
            "QMP": [
                "version": ["qemu": model.versionNumbers, "package": "fake"],
                "capabilities": model.options.offersOutOfBand ? ["oob"] : [],
            ]
        ]
    }

    private mutating func read(_ bytes: [UInt8]) {
        var offset = 0
        while isConnected, !isFrozen {
            let found: (isMessage: Bool, bytes: [UInt8])? = bytes.withUnsafeBytes { buffer in
                guard let frame = framer.next(in: buffer, from: &offset) else { return nil }
                return switch frame {
                case .message(let range): (true, Array(buffer[range]))
                case .carriedMessage: (true, framer.takeCarried())
                case .garbage(let range): (false, Array(buffer[range]))
                case .carriedGarbage: (false, framer.takeCarried())
                case .tooLarge: (false, [])
                }
            }
            guard let found else { return }
            guard found.isMessage, let message = try? JSONValue(parsing: found.bytes) else {
                sayError(nil, "JSON parse error, expecting value")
                continue
            }
            handle(message)
        }
        if isFrozen, offset < bytes.count { frozenInput += bytes[offset...] }
    }

    private mutating func handle(_ message: JSONValue) {
        guard let command = FakeCommand(message) else {
            return sayError(message["id"], "QMP input lacks member 'execute'")
        }
        note(.command(command))
        let held = heldForCommand
        heldForCommand = []
        for bytes in held { write(bytes) }
        for fault in desk.take(command) {
            switch fault {
            case .refuse(_, let errorClass, let desc):
                return reply(to: command, .failure(errorClass: errorClass, desc: desc))
            case .pretend: return reply(to: command, .success([:]))
            case .ignore, .drop: return
            default: guard applyAnywhere(fault) else { return }
            }
        }
        execute(command)
    }

    private mutating func execute(_ command: FakeCommand) {
        if case .replay(let replay) = backend, !replay.negotiates {
            note(.executed(command))
            return withReplay { [now] in $0.received(command, at: now) }
        }
        if command.name == "qmp_capabilities" {
            guard !isNegotiated else {
                return reply(
                    to: command,
                    .failure(
                        errorClass: "CommandNotFound",
                        desc: "Capabilities negotiation is already complete, command ignored"))
            }
            let enabled = command.arguments["enable"]?.array ?? []
            guard enabled.allSatisfy({ $0 == "oob" && offersOutOfBand }) else {
                return reply(to: command, .refusal("Parameter 'enable' contains an unsupported capability"))
            }
            isNegotiated = true
            hasOutOfBand = !enabled.isEmpty
            reply(to: command, .success([:]))
            return withReplay { [now] in $0.opened(at: now) }
        }
        guard isNegotiated else {
            return reply(
                to: command,
                .failure(
                    errorClass: "CommandNotFound", desc: "Expecting capabilities negotiation with 'qmp_capabilities'"))
        }
        guard !command.isOutOfBand || hasOutOfBand else {
            return reply(to: command, .refusal("QMP input member 'exec-oob' is unexpected"))
        }
        note(.executed(command))
        switch backend {
        case .model: withModel { [now] in $0.execute(command, at: now) }
        case .replay: withReplay { [now] in $0.received(command, at: now) }
        }
    }

    private mutating func withModel(_ body: (inout FakeModel) -> [ModelOutput]) {
        guard case .model(var model) = backend, exitCode == nil else { return }
        let output = body(&model)
        backend = .model(model)
        for item in output {
            guard exitCode == nil else { return }
            switch item {
            case .reply(let command, let answer): reply(to: command, answer)
            case .event(let name, let data):
                var event: JSONObject = ["timestamp": timestamp, "event": .string(name)]
                if let data { event["data"] = .object(data) }
                sayEvent(.object(event))
            case .connect(let uri): actions.append(.connectStream(uri))
            case .stream(let signal): actions.append(.stream(FakeStreamMessage(signal: signal)))
            case .exit(let code): end(code)
            }
        }
    }

    private mutating func withReplay(_ body: (inout any RecordedQEMU) -> [RecordedOutput]) {
        guard case .replay(var replay) = backend, exitCode == nil else { return }
        let before = replay.progress
        let output = body(&replay)
        backend = .replay(replay)
        for item in output {
            guard exitCode == nil else { return }
            switch item {
            case .greet(let message, let record):
                isNegotiated = !replay.negotiates
                offersOutOfBand = message["QMP"]?["capabilities"]?.array?.contains("oob") ?? false
                say(FakeMessage(kind: .greeting, message: message, record: record))
            case .reply(let command, let message, let record):
                var object = message.object ?? [:]
                // Where the recording has no id, QEMU gave none, or the client had none.
                if object["id"] != nil || command.id != nil { object["id"] = command.id }
                say(FakeMessage(kind: .reply(command.name), message: .object(object), record: record))
            case .answer(let command, let answer): reply(to: command, answer)
            case .say(let message, let record): sayEvent(message, record: record)
            case .meets(let uri, let isListening): actions.append(.meet(uri, isListening: isListening))
            case .raw(let bytes): write(bytes)
            case .close: close()
            case .exit(let code): end(code)
            }
        }
        if replay.progress > before { actions.append(.progressed(replay.progress)) }
    }

    private var timestamp: JSONValue {
        ["seconds": .integer(1_700_000_000 + now / 1_000_000), "microseconds": .integer(now % 1_000_000)]
    }

    // MARK: Saying, with faults

    private mutating func reply(to command: FakeCommand, _ answer: FakeAnswer) {
        say(.reply(to: command, answer))
    }

    private mutating func sayError(_ id: JSONValue?, _ desc: String) { say(.error(id, desc)) }

    private mutating func sayEvent(_ message: JSONValue, record: Int = 0) {
        let name = message["event"]?.string ?? ""
        let status = message["data"]?["status"]?.string
        note(.event(name, status: status))
        say(FakeMessage(kind: .event(name, status: status), message: message, record: record))
    }

    private mutating func say(_ original: FakeMessage) {
        var message = original
        var copies = 1
        var delay: Fault.Delay?
        var isSwapped = false
        for fault in desk.take(message) {
            switch fault {
            case .drop, .ignore: copies = 0
            case .duplicate: copies += 1
            case .delay(_, let until): delay = until
            case .swap: isSwapped = true
            case .rename(_, let word): message.rename(to: word)
            case .wrongID: message.setID(["wrong": true])
            case .missingID: message.setID(nil)
            case .answerWithError(_, let errorClass, let desc): message.fail(errorClass, desc)
            default: guard applyAnywhere(fault) else { return }
            }
        }
        // QEMU tells events to those only who have negotiated.
        guard isConnected, !message.isEvent || isNegotiated else { return }
        let bytes = message.bytes
        for _ in 0..<copies {
            switch delay {
            case .nextCommand?: heldForCommand.append(bytes)
            case .nextEvent?: heldForEvent.append(bytes)
            case .milliseconds(let count)?:
                timed.append((now + Int64(Swift.max(0, Swift.min(count, 3_600_000))) * 1000, bytes))
            case nil:
                if isSwapped { swapped = (swapped ?? []) + bytes } else { write(bytes) }
            }
        }
        guard delay == nil, !isSwapped, copies > 0 else { return }
        if let late = swapped {
            swapped = nil
            write(late)
        }
        if message.isEvent {
            let held = heldForEvent
            heldForEvent = []
            for bytes in held { write(bytes) }
        }
    }

    /// Faults that need no message. False: there is nobody to go on for.
    private mutating func applyAnywhere(_ fault: Fault) -> Bool {
        switch fault {
        case .noise(_, let noise): write(noise.bytes)
        case .say(_, let message): write(FakeMessage(kind: .other, message: message).bytes)
        case .greetAgain: write(FakeMessage(kind: .other, message: greeting).bytes)
        case .mute: isMuted = true
        case .freeze:
            isFrozen = true
            return false
        case .close:
            close()
            return false
        case .exit(_, let code):
            end(code)
            return false
        default: break
        }
        return true
    }

    private mutating func flushTimed() {
        let due = timed.filter { $0.at <= now }.sorted { $0.at < $1.at }
        timed.removeAll { $0.at <= now }
        for entry in due { write(entry.bytes) }
    }

    private mutating func write(_ bytes: [UInt8]) {
        guard isConnected, !isMuted else { return }
        actions.append(.write(bytes))
    }
}
