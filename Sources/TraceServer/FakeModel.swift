public import JSONC

/// What a modelled fake is and how it behaves.
public struct FakeOptions: Hashable, Sendable {
    /// How loading the stream ends on a destination.
    public enum Load: Hashable, Sendable {
        /// The guest arrives.
        case succeeds
        /// It fails while RAM is copied.
        case failsWhileActive
        /// It fails with the device state, which the source learns only over a return path.
        case failsInDevice
        /// The device state is never loaded.
        case hangs
    }

    /// The release.
    public var release: FakeRelease
    /// The guest's name.
    public var name = "fake"
    /// The guest's UUID.
    public var uuid = "11111111-2222-3333-4444-555555555555"
    /// RAM in bytes.
    public var memoryBytes: Int64 = 256 << 20
    /// The machine's type.
    public var machineType = "pc-i440fx-7.2"
    /// The QOM type of the CPU.
    public var cpuType = "qemu64-x86_64-cpu"
    /// The number of CPUs.
    public var cpus = 1
    /// The user's devices: id, type, address on the bus.
    public var devices: [Device] = [Device("net0", "virtio-net-pci", address: 3)]
    /// Whether it was started with `-incoming defer`.
    public var isIncoming: Bool
    /// Whether it was started with `-S`.
    public var isPaused: Bool
    /// The time that one step of a migration takes.
    public var stepMicroseconds: Int64 = 300
    /// Passes over the RAM before the switchover; nil: it never converges.
    public var passes: Int64? = 2
    /// A disk fails in this pass and stops the guest (`io-error`).
    public var diskFailsInPass: Int64?
    /// A source stays in `device` and answers no in-band command there, until something cuts the stream.
    public var blocksInDevice = false
    /// How loading ends.
    public var load = Load.succeeds
    /// Why `migrate` is refused.
    public var blockers: [String] = []
    /// A network device with a standby, which the guest is asked to release before memory is copied.
    public var failoverDevice: String?
    /// Whether the guest releases it.
    public var releasesFailoverDevice = true
    /// Whether out-of-band commands are offered.
    public var offersOutOfBand = true
    /// The schema's size in entities beyond those that have a meaning.
    public var schemaPadding = 0

    /// A device.
    public struct Device: Hashable, Sendable {
        /// Its id.
        public var id: String
        /// Its QOM type.
        public var type: String
        /// Its place on the PCI bus.
        public var address: Int64

        /// A device.
        public init(_ id: String, _ type: String, address: Int64) {
            self.id = id
            self.type = type
            self.address = address
        }
    }

    /// A running guest.
    public static func source(_ release: FakeRelease) -> FakeOptions {
        FakeOptions(release: release, isIncoming: false, isPaused: false)
    }

    /// A QEMU that waits for a guest, started with `-S`.
    public static func destination(_ release: FakeRelease) -> FakeOptions {
        FakeOptions(release: release, isIncoming: true, isPaused: true)
    }
}

/// A command as it arrived at a fake.
public struct FakeCommand: Hashable, Sendable {
    /// Its name.
    public var name: String
    /// Its arguments.
    public var arguments: JSONObject = [:]
    /// Its id, as it came.
    public var id: JSONValue?
    /// Whether it came as `exec-oob`.
    public var isOutOfBand = false

    init(name: String, arguments: JSONObject = [:], id: JSONValue? = nil, isOutOfBand: Bool = false) {
        self.name = name
        self.arguments = arguments
        self.id = id
        self.isOutOfBand = isOutOfBand
    }
}

/// What travels between two modelled fakes instead of a migration stream.
enum StreamSignal: Hashable, Sendable {
    /// The destination took the connection.
    case opened
    /// Nobody listens there.
    case refused(String)
    /// Everything was sent; whether the guest ran before, and whether the source waits for an answer.
    case deviceState(guestRan: Bool, hasReturnPath: Bool)
    /// The destination's answer over the return path.
    case loaded(Bool)
    /// The connection ended.
    case broken
}

/// What a model does.
enum ModelOutput: Hashable, Sendable {
    /// A command is answered.
    case reply(FakeCommand, FakeAnswer)
    /// An event is said.
    case event(String, JSONObject?)
    /// A migration stream is opened to whoever listens at the URI.
    case connect(String)
    /// Something is sent over the stream.
    case stream(StreamSignal)
    /// The process ends.
    case exit(Int)
}

/// An answer to a command.
enum FakeAnswer: Hashable, Sendable {
    /// The value of `return`.
    case success(JSONValue)
    /// The members of `error`.
    case failure(errorClass: String, desc: String)

    static func refusal(_ desc: String) -> FakeAnswer { .failure(errorClass: "GenericError", desc: desc) }
}

/// A rule-based QEMU: enough state to answer what a controller sends and to move a guest that does not exist. Pure: time is handed in.
public struct FakeModel: Sendable {
    /// A step of a migration that is due at some time.
    enum Step: Hashable, Sendable {
        case connected
        case released
        case pass(Int64)
        case switchover
        case device
        case sendState
        case completed
        case postmigrate
        case failed(String)
        case cleanedUp(String)
        case load(guestRan: Bool, hasReturnPath: Bool)
        case incomingFailed
        case exit(Int)
    }

    /// What it is.
    public var options: FakeOptions
    /// QEMU's word of `query-status`.
    public internal(set) var runState: String
    /// QEMU's status word of the outgoing migration, if there was one.
    public internal(set) var outgoingStatus: String?
    /// QEMU's status word of the incoming migration, as far as this release shows it.
    public internal(set) var incomingStatus: String?
    /// What is switched on.
    public internal(set) var enabledCapabilities: Set<String> = []
    /// As `query-migrate-parameters` tells them.
    public internal(set) var parameters: JSONObject
    /// Where it listens for a stream.
    public internal(set) var listeningURI: String?
    /// Whether the process has ended, and how.
    public internal(set) var exitCode: Int?

    var startsWhenLoaded: Bool
    var exitsOnError = true
    var hasIncomingBegun = false
    var hasStream = false
    var isStreamBroken = false
    var errorDesc: String?
    var runStateBefore = "running"
    var passNumber: Int64 = 0
    var startedAt: Int64 = 0
    var stoppedAt: Int64?
    var finishedAt: Int64?
    /// The yank instance exists.
    var hasResources = false
    var isMonitorBlocked = false
    var blockedCommands: [FakeCommand] = []
    var scheduled: [(at: Int64, step: Step)] = []
    var output: [ModelOutput] = []
    var now: Int64 = 0

    /// A QEMU that was just started.
    public init(_ options: FakeOptions) {
        self.options = options
        startsWhenLoaded = !options.isPaused
        runState = options.isIncoming ? "inmigrate" : options.isPaused ? "prelaunch" : "running"
        parameters = Self.defaultParameters
        if options.release.hasDirtyLimit { parameters["vcpu-dirty-limit"] = 1 }
    }

    /// Whether the guest executes.
    public var isGuestRunning: Bool { exitCode == nil && runState == "running" }

    var release: FakeRelease { options.release }
    var nextDeadline: Int64? { scheduled.map(\.at).min() }

    // MARK: Inputs

    /// A command arrived.
    mutating func execute(_ command: FakeCommand, at now: Int64) -> [ModelOutput] {
        self.now = now
        if isMonitorBlocked, !command.isOutOfBand || blockedCommands.count >= 8 {
            // With eight queued QEMU reads no further, not even for out-of-band commands.
            blockedCommands.append(command)
        } else {
            dispatch(command)
        }
        return drain()
    }

    /// Something came over the migration stream.
    mutating func received(_ signal: StreamSignal, at now: Int64) -> [ModelOutput] {
        self.now = now
        if options.isIncoming, outgoingStatus == nil { incoming(signal) } else { outgoing(signal) }
        return drain()
    }

    /// A stream arrives.
    mutating func accepted(at now: Int64) -> [ModelOutput] {
        self.now = now
        listeningURI = nil
        hasStream = true
        incomingStatus = "active"
        migrationEvent("active")
        if options.load == .failsWhileActive { schedule(.incomingFailed, steps: 3) }
        return drain()
    }

    /// Time passed.
    mutating func advance(to now: Int64) -> [ModelOutput] {
        self.now = now
        while let index = nextStep(at: now) {
            let step = scheduled.remove(at: index).step
            perform(step)
        }
        return drain()
    }

    /// A new client may not get the answers to the last one's queued commands.
    mutating func clientLeft() { blockedCommands = [] }

    // MARK: Helpers

    private func nextStep(at now: Int64) -> Int? {
        var best: Int?
        for (index, entry) in scheduled.enumerated() where entry.at <= now {
            if let current = best, scheduled[current].at <= entry.at { continue }
            best = index
        }
        return best
    }

    mutating func schedule(_ step: Step, steps: Int64 = 1) {
        scheduled.append((now + steps * Swift.max(1, options.stepMicroseconds), step))
    }

    mutating func drain() -> [ModelOutput] {
        defer { output = [] }
        return output
    }

    mutating func event(_ name: String, _ data: JSONObject? = nil) { output.append(.event(name, data)) }

    mutating func migrationEvent(_ status: String) {
        if enabledCapabilities.contains("events") { event("MIGRATION", ["status": .string(status)]) }
    }

    mutating func answer(_ command: FakeCommand, _ value: JSONValue = [:]) {
        output.append(.reply(command, .success(value)))
    }

    mutating func refuse(_ command: FakeCommand, _ desc: String, errorClass: String = "GenericError") {
        output.append(.reply(command, .failure(errorClass: errorClass, desc: desc)))
    }

    mutating func runGuest() {
        runState = "running"
        event("RESUME")
    }

    mutating func end(_ code: Int) {
        guard exitCode == nil else { return }
        exitCode = code
        listeningURI = nil
        scheduled = []
        if hasStream { output.append(.stream(.broken)) }
        hasStream = false
        output.append(.exit(code))
    }

    /// The process is killed.
    mutating func kill(at now: Int64) -> [ModelOutput] {
        self.now = now
        end(-9)
        return drain()
    }
}
