import Migration
import Phases

/// A small generator with a seed, so that what a random run finds can be run again.
struct SeededRandom: RandomNumberGenerator, Hashable {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}

/// One QEMU, as far as a migration can tell: what it says when it is told something. The truth of the tests.
struct ScriptedQEMU: Hashable {
    let side: Side
    var isAlive = true
    /// `quit` was carried out: no vCPU will run again.
    var isExiting = false
    /// The tests' end of the monitor is open.
    var isConnected = true
    /// Hangs: nothing is said and nothing happens any more.
    var isSilent = false
    var runState: RunState
    var status: StatusWord?
    var errorText: String?
    var capabilities = [
        "events", "pause-before-switchover", "return-path", "late-block-activate", "auto-converge", "postcopy-ram",
        "multifd",
        "postcopy-blocktime",
    ].map { CapabilitySetting($0, $0 == "auto-converge") }
    var parameters = [
        Setting("max-bandwidth", .integer(134_217_728)), Setting("downtime-limit", .integer(300)),
        Setting("multifd-channels", .integer(2)), Setting("tls-creds", .string("")),
        Setting("tls-hostname", .string("")), Setting("tls-authz", .string("")),
    ]
    /// Objects that somebody made.
    var objects: [String] = []
    var isListening = false
    var startsByItself: Bool
    var hasEverything = false
    /// The stream's sockets were shut.
    var isBroken = false
    var isCancelled = false
    /// Whether QEMU itself will resume the guest when the migration does not succeed.
    var resumesItself = false
    var hasResources = false
    var passes = 0
    /// `migrate-start-postcopy` was accepted.
    var isPostcopyAsked = false
    /// A source that writes the post-copy package and hears nothing in band meanwhile.
    var isPackaging = false
    /// A destination that listens for a recovery, and where.
    var recoveryAddress: String?
    /// A source that connects for a recovery, and to where.
    var isReconnecting = false
    /// The guest has executed here.
    var hasRun = false

    init(_ side: Side, runState: RunState) {
        self.side = side
        self.runState = runState
        startsByItself = true
    }

    /// Whether vCPUs execute here.
    var isRunning: Bool { isAlive && !isExiting && runState == .running }

    /// Whether vCPUs can never execute here again.
    var isOver: Bool { !isAlive || isExiting }

    mutating func set(_ changes: [CapabilitySetting]) {
        for change in changes {
            for index in capabilities.indices where capabilities[index].name == change.name {
                capabilities[index].isOn = change.isOn
            }
        }
    }

    mutating func set(_ changes: [Setting]) {
        for change in changes {
            for index in parameters.indices where parameters[index].name == change.name { parameters[index] = change }
        }
    }

    func isOn(_ capability: String) -> Bool { capabilities.contains { $0.name == capability && $0.isOn } }
}

/// What the pair does other than a well-behaved pair does.
struct Script: Hashable {
    /// A command of one side.
    struct Target: Hashable {
        var side: Side
        var name: String
    }

    var hasYank = true
    /// The ends of the processes are seen by other means than their connections.
    var isProcessWatched = true
    var hasOutOfBand = true
    var hasExitOnError = false
    var isGuestPaused = false
    var passes = 2
    /// Commands that are refused, and how often.
    var refusals: [Target: Int] = [:]
    /// Capabilities and parameters that are accepted and not kept.
    var forgotten: Set<Target> = []
    /// Commands that are carried out without a reply.
    var mutes: Set<Target> = []
    /// Whether a missing reply is told, or never heard of.
    var tellsUnanswered = true
    /// The destination accepts `cont` and does not run.
    var neverRuns = false
    /// Somebody else lets the destination run.
    var runsByItself = false
    /// The source says completed before the destination does.
    var isSourceFirst = false
    /// How much happens elsewhere before the destination has loaded what it got.
    var loadingTurns = 0
    /// Device state is never read by the destination.
    var isDeviceStuck = false
    /// The destination refuses the source's credentials, and nothing arrives.
    var refusesHandshake = false
    /// The destination cannot load what it gets.
    var failsLoading = false
    /// A cancel while device state is sent comes too late.
    var isCancelTooLate = false
    /// The copy goes on for ever while the guest runs.
    var failsToConverge = false
    /// A yank does nothing.
    var isYankDeaf = false
    /// Processes that cannot be killed.
    var unkillable: Set<Side> = []
    /// `quit` is heard and nothing follows.
    var ignoresQuit: Set<Side> = []
    var surveyFailure: Side?
    var neverSurveyed: Side?
    /// Events by their number over both sides, which are not sent.
    var droppedEvents: Set<Int> = []
    /// Events that are sent twice.
    var doubledEvents: Set<Int> = []
    /// Events that overtake nothing but are sent after the next message.
    var delayedEvents: Set<Int> = []
    var sourceBlockers: [String] = []
    var destinationMemoryBytes: Int64 = 256 << 20
    /// What post-copy does.
    var postcopy = PostcopyScript()
    /// What copies of disks do.
    var disks = DiskScript()
}

/// A pair of QEMUs with a stream between them.
struct ScriptedPair: Hashable {
    /// What is read in its own order.
    struct Channel: Hashable, Comparable, CaseIterable {
        static let allCases = Side.allCases.flatMap { side in (0...2).map { Channel(side: side, kind: $0) } }
        var side: Side
        /// 0 monitor, 1 process, 2 survey.
        var kind: Int

        static func < (left: Self, right: Self) -> Bool {
            (left.kind, left.side.rawValue) < (right.kind, right.side.rawValue)
        }
    }

    var source: ScriptedQEMU
    var destination: ScriptedQEMU
    var disks = ScriptedDisks()
    /// What was done that must not be done.
    var wrongs: [String] = []
    var script: Script
    var pending: [Channel: [Input]] = [:]
    private var events = 0
    private var delayed: [Side: Fact] = [:]
    /// Commands that wait for the source's main loop.
    var heldUp: [Command] = []
    /// How long the network takes to give up on a connection.
    var connectionTurns = 0

    init(_ script: Script) {
        self.script = script
        source = ScriptedQEMU(.source, runState: script.isGuestPaused ? .paused : .running)
        destination = ScriptedQEMU(.destination, runState: .inMigrate)
        source.passes = script.passes
        for side in Side.allCases { emit(side, .monitor(.connected)) }
    }

    subscript(side: Side) -> ScriptedQEMU {
        get { side == .source ? source : destination }
        set { if side == .source { source = newValue } else { destination = newValue } }
    }

    var areBothRunning: Bool { source.isRunning && destination.isRunning }

    // MARK: What is said

    mutating func emit(_ side: Side, _ fact: Fact) {
        guard self[side].isConnected else { return }
        let channel = Channel(side: side, kind: 0)
        if case .event = fact {
            events += 1
            if script.droppedEvents.contains(events) || self[side].isSilent { return }
            if script.delayedEvents.contains(events), delayed[side] == nil {
                delayed[side] = fact
                return
            }
            if script.doubledEvents.contains(events) { pending[channel, default: []].append(.fact(side, fact)) }
        }
        pending[channel, default: []].append(.fact(side, fact))
        if let late = delayed.removeValue(forKey: side) { pending[channel, default: []].append(.fact(side, late)) }
    }

    mutating func say(_ side: Side, _ word: StatusWord) {
        self[side].status = word
        emit(side, .event(.migration(word)))
    }

    mutating func run(_ side: Side) {
        guard !self[side].isOver else { return }
        self[side].runState = .running
        if side == .destination { destination.hasRun = true }
        emit(side, .event(.resume))
    }

    // MARK: What is heard

    /// A command arrives.
    mutating func receive(_ side: Side, _ command: Command, outOfBand: Bool) {
        guard self[side].isAlive, self[side].isConnected, !self[side].isExiting else {
            return unanswered(side, command)
        }
        let isBlocked = side == .source && script.isDeviceStuck && source.status == .device && !outOfBand
        if self[side].isSilent || (isBlocked && !source.isBroken) { return unanswered(side, command) }
        if side == .source, source.isPackaging, !outOfBand {
            heldUp.append(command)
            return
        }
        carryOut(side, command)
    }

    /// A command is read and done.
    mutating func carryOut(_ side: Side, _ command: Command) {
        let target = Script.Target(side: side, name: command.name)
        if let left = script.refusals[target], left > 0 {
            script.refusals[target] = left - 1
            return emit(
                side, .reply(command, .refused(errorClass: "GenericError", description: "refused by the script")))
        }
        if let wrong = wrong(with: command, on: side) { wrongs.append(wrong) }
        let reply: Reply
        if case .storage(let storage) = command {
            reply = carryOut(storage, on: side)
        } else {
            reply = side == .source ? carryOutOnSource(command) : carryOutOnDestination(command)
        }
        if script.mutes.contains(target) { return unanswered(side, command) }
        emit(side, .reply(command, reply))
        if command == .quit, !script.ignoresQuit.contains(side) {
            self[side].isExiting = true
            emit(side, .event(.shutdown(byGuest: false, reason: "host-qmp-quit")))
        }
    }

    private mutating func unanswered(_ side: Side, _ command: Command) {
        if script.tellsUnanswered {
            pending[Channel(side: side, kind: 0), default: []].append(.fact(side, .unanswered(command)))
        }
    }

    func refused(_ text: String) -> Reply { .refused(errorClass: "GenericError", description: text) }

    private mutating func carryOutCommon(_ side: Side, _ command: Command) -> Reply {
        switch command {
        case .queryStatus: return .status(self[side].runState)
        case .queryMigrate:
            var sample = MigrationSample(status: self[side].status)
            sample.errorDescription = self[side].errorText
            if side == .source { sample.blockedReasons = script.sourceBlockers }
            if side == .destination, destination.isListening { sample.listeningURIs = ["tcp:127.0.0.1:49152"] }
            return .migration(sample)
        case .queryCapabilities: return .capabilities(self[side].capabilities)
        case .queryParameters: return .parameters(self[side].parameters)
        case .queryYank: return .yankInstances(migration: self[side].hasResources)
        case .setCapabilities(let changes): self[side].set(changes.filter { isKept($0.name, side) })
        case .setParameters(let changes): self[side].set(changes.filter { isKept($0.name, side) })
        case .objectAdd(let object, _): self[side].objects.append(object.id)
        case .objectDel(let id):
            guard self[side].objects.contains(id) else { return refused("object '\(id)' not found") }
            // Whoever removes what is still in use has not waited.
            guard !self[side].hasResources, !self[side].parameters.contains(where: { $0.value == .string(id) }) else {
                return refused("object '\(id)' is in use")
            }
            self[side].objects.removeAll { $0 == id }
        default: break
        }
        return .done
    }

    private func isKept(_ name: String, _ side: Side) -> Bool {
        !script.forgotten.contains(Script.Target(side: side, name: name))
    }

    private mutating func carryOutOnSource(_ command: Command) -> Reply {
        switch command {
        case .startPostcopy: return startPostcopy()
        case .migratePause: return pausePostcopy(.source)
        case .migrate(let uri, resume: true): return resumePostcopy(uri.uri)
        case .migrate:
            guard source.status.map(\.isTerminal) ?? true else {
                return refused("There's a migration process in progress")
            }
            source.hasResources = true
            say(.source, .setup)
        case .migrateContinue(let state):
            guard let status = source.status, status.rawValue == state else {
                return refused("Migration not in expected state")
            }
            if status == .preSwitchover { leavePreSwitchover() }
        case .migrateCancel:
            guard let status = source.status, !status.isTerminal, status != .cancelling else { break }
            guard !isInPostcopy(source) else { return refused("Postcopy migration cannot be cancelled") }
            source.isCancelled = true
            if status != .device { say(.source, .cancelling) }
        case .yank:
            guard source.hasResources, !script.isYankDeaf else { return refused("no instance") }
            source.isBroken = true
        case .cont:
            switch source.runState {
            case .finishMigrate: return refused("Migration is not finalized yet")
            case .running, .shutdown: break
            default: run(.source)
            }
        case .stop:
            guard source.runState == .running else { break }
            source.runState = .paused
            emit(.source, .event(.stop))
        default: return carryOutCommon(.source, command)
        }
        return .done
    }

    private mutating func carryOutOnDestination(_ command: Command) -> Reply {
        switch command {
        case .migratePause: return pausePostcopy(.destination)
        case .migrateRecover(let uri): return listenAgain(uri)
        case .migrateIncoming:
            guard !destination.isListening else { return refused("The incoming migration has already been started") }
            destination.isListening = true
            destination.hasResources = true
            say(.destination, .setup)
        case .stop:
            if destination.runState == .inMigrate { destination.startsByItself = false }
        case .cont:
            if destination.runState == .inMigrate {
                destination.startsByItself = true
            } else if destination.hasEverything || isInPostcopy(destination), !script.neverRuns {
                run(.destination)
            }
        default: return carryOutCommon(.destination, command)
        }
        return .done
    }

    // MARK: What happens by itself

    /// The next thing that happens by itself. `false` if nothing can.
    mutating func work(preferring first: Side = .source) -> Bool {
        for side in [first, first.other] {
            if end(side) { return true }
            if side == .source, workOnDisks() { return true }
            if side == .source ? workOnSource() : workOnDestination() { return true }
        }
        return false
    }

    private mutating func end(_ side: Side) -> Bool {
        guard self[side].isExiting, self[side].isAlive else { return false }
        die(side, .exited(0))
        return true
    }

    var isPeerReading: Bool {
        destination.isAlive && !destination.isExiting && destination.status != .failed && destination.isListening
    }

    private mutating func workOnSource() -> Bool {
        guard source.isAlive, !source.isExiting, !source.isSilent, let status = source.status else { return false }
        switch status {
        case .setup:
            guard isPeerReading, !source.isBroken, !script.refusesHandshake else { return fail("Connection refused") }
            say(.source, .active)
            destination.hasResources = true
            say(.destination, .active)
        case .active:
            guard isPeerReading, !source.isBroken else { return fail("Broken pipe") }
            // A load that fails does so on the first pages.
            if destination.isSilent || (script.failsLoading && destination.status == .active) { return false }
            if source.isPostcopyAsked { source.passes = 1 }
            source.passes -= 1
            if source.passes > 0 || !source.isPostcopyAsked, script.failsToConverge, source.runState == .running {
                // A QEMU that is asked for nothing says nothing new.
                return false
            }
            if source.passes > 0 {
                emit(.source, .event(.pass(Int64(source.passes))))
            } else {
                source.resumesItself = source.runState == .running
                if source.resumesItself { emit(.source, .event(.stop)) }
                source.runState = .finishMigrate
                say(.source, source.isOn("pause-before-switchover") ? .preSwitchover : .device)
            }
        case .device: return source.isPostcopyAsked ? sendPackage() : sendDevices()
        case .postcopyDevice, .postcopyActive, .postcopyPaused, .postcopyRecoverSetup, .postcopyRecover:
            return workInPostcopy()
        case .cancelling:
            goOn()
            say(.source, .cancelled)
            source.hasResources = false
        case .failed:
            guard source.hasResources else { return false }
            source.hasResources = false
            goOn()
        case .completed:
            guard source.runState == .finishMigrate else { return false }
            source.runState = .postMigrate
            source.hasResources = false
        default: return false
        }
        return true
    }

    private mutating func sendDevices() -> Bool {
        if destination.hasEverything {
            // The return path brings the destination's word that it has loaded everything.
            if destination.status != .completed, !destination.isOver { return false }
            if destination.status != .completed { return fail("the return path broke") }
            say(.source, .completed)
            return true
        }
        if source.isCancelled, !script.isCancelTooLate {
            source.status = .cancelling
            emit(.source, .event(.migration(.cancelling)))
            return true
        }
        guard isPeerReading, !source.isBroken else { return fail("Broken pipe") }
        if script.isDeviceStuck || destination.isSilent { return false }
        destination.hasEverything = true
        if script.isSourceFirst { say(.source, .completed) }
        return true
    }

    mutating func fail(_ text: String) -> Bool {
        source.errorText = text
        say(.source, source.isCancelled ? .cancelling : .failed)
        return true
    }

    /// QEMU itself resumes the guest, if it was running.
    private mutating func goOn() {
        guard source.runState == .finishMigrate else { return }
        if source.resumesItself { run(.source) } else { source.runState = .paused }
    }

    private mutating func workOnDestination() -> Bool {
        guard destination.isAlive, !destination.isExiting, !destination.isSilent else { return false }
        if destination.status == .failed {
            guard !script.hasExitOnError, !destination.isExiting else { return false }
            die(.destination, .exited(1))
            return true
        }
        if destination.status == .completed, destination.hasResources {
            destination.hasResources = false
            return true
        }
        if isInPostcopy(destination) { return workOnPostcopyDestination() }
        guard destination.status == .active else { return false }
        if destination.hasEverything {
            if script.loadingTurns > 0 {
                script.loadingTurns -= 1
                return true
            }
            destination.runState = .paused
            if destination.startsByItself || script.runsByItself { run(.destination) }
            say(.destination, .completed)
            return true
        }
        let isSourceThere =
            source.isAlive && !source.isBroken && source.status != .failed && source.status != .cancelled
        guard isSourceThere, !script.failsLoading else {
            destination.errorText = script.failsLoading ? "error while loading state" : "Unable to read from socket"
            say(.destination, .failed)
            return true
        }
        return false
    }

    // MARK: What goes wrong

    mutating func die(_ side: Side, _ how: ProcessEnd) {
        guard self[side].isAlive else { return }
        self[side].isAlive = false
        if self[side].isConnected {
            pending[Channel(side: side, kind: 0), default: []].append(.fact(side, .monitor(.lost)))
            self[side].isConnected = false
        }
        pending[Channel(side: side, kind: 1), default: []].append(.fact(side, .process(how)))
    }

    mutating func kill(_ side: Side) {
        guard self[side].isAlive else { return }
        guard !script.unkillable.contains(side) else {
            pending[Channel(side: side, kind: 1), default: []].append(
                .fact(side, .unkillable("pid 4711 is another program")))
            return
        }
        die(side, .signalled(9))
    }

    mutating func loseMonitor(_ side: Side) {
        guard self[side].isConnected else { return }
        pending[Channel(side: side, kind: 0), default: []].append(.fact(side, .monitor(.lost)))
        self[side].isConnected = false
    }

    mutating func reconnect(_ side: Side) {
        guard self[side].isAlive, !self[side].isConnected else { return }
        self[side].isConnected = true
        emit(side, .monitor(.connected))
    }

    /// The guest powers itself off; QEMU ends with it.
    mutating func shutDownGuest() {
        guard source.isRunning else { return }
        emit(.source, .event(.shutdown(byGuest: true, reason: "guest-shutdown")))
        source.isExiting = true
    }

    /// Somebody else's `stop` or `cont` on the source.
    mutating func interfere(_ isRunning: Bool) {
        guard source.isAlive, !source.isExiting else { return }
        if isRunning {
            if source.runState == .paused || source.runState == .postMigrate { run(.source) }
        } else if source.runState == .running {
            source.runState = .paused
            emit(.source, .event(.stop))
        }
    }

    // MARK: What it is made of

    func survey(_ side: Side) -> Survey {
        var description = DomainDescription(
            version: QEMUVersion(7, 2, 22), machineType: "pc-i440fx-7.2",
            memoryBytes: side == .source ? 256 << 20 : script.destinationMemoryBytes, cpuModel: "qemu64-x86_64-cpu")
        description.name = "guest"
        description.blockNodes = blockNodes(side)
        return Survey(
            description: description,
            features: QEMUFeatures(
                hasExitOnError: script.hasExitOnError, hasYank: script.hasYank, hasOutOfBand: script.hasOutOfBand,
                hasPostcopyDevice: script.postcopy.hasDeviceWord),
            isProcessWatched: script.isProcessWatched)
    }

    mutating func answerSurvey(_ side: Side) {
        if script.neverSurveyed == side { return }
        let input: Input =
            script.surveyFailure == side ? .surveyFailed(side, "no") : .surveyed(side, survey(side))
        pending[Channel(side: side, kind: 2), default: []].append(input)
    }
}
