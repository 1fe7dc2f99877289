import JSONC
import Migration
import MigrationQMP

/// The migration itself. Events are ordered as each release orders them.
extension FakeModel {
    // MARK: Commands

    mutating func migrateIncoming(_ command: FakeCommand) {
        guard options.isIncoming else {
            return refuse(command, "'-incoming' was not specified on the command line")
        }
        guard !hasIncomingBegun else { return refuse(command, "The incoming migration has already been started") }
        let uri = StreamAddress(arguments: .object(command.arguments)).uri
        guard Self.socketAddress(uri) != nil else {
            return refuse(command, "unknown migration protocol: \(uri)")
        }
        if let exits = command.arguments["exit-on-error"]?.bool {
            guard release.hasExitOnError else { return refuse(command, "Parameter 'exit-on-error' is unexpected") }
            exitsOnError = exits
        }
        hasIncomingBegun = true
        hasResources = true
        // The kernel would choose a free port; two fakes of a test never choose at all.
        listeningURI = uri.hasSuffix(":0") ? uri.dropLast(1) + "49152" : uri
        if release.hasIncomingSetup {
            incomingStatus = "setup"
            migrationEvent("setup")
        } else {
            event("MIGRATION", ["status": "setup"])
        }
        answer(command)
    }

    mutating func migrate(_ command: FakeCommand) {
        guard !isMigrating else { return refuse(command, "There's a migration process in progress") }
        if runState == "inmigrate" { return refuse(command, "Guest is waiting for an incoming migration") }
        if runState == "postmigrate" {
            return refuse(command, "Can't migrate the vm that was paused due to previous migration")
        }
        if let blocker = options.blockers.first { return refuse(command, blocker) }
        guard command.arguments["resume"]?.bool != true else {
            return refuse(command, "Cannot resume if there is no paused migration")
        }
        let uri = StreamAddress(arguments: .object(command.arguments)).uri
        guard Self.socketAddress(uri) != nil else {
            return refuse(command, "unknown migration protocol: \(uri)")
        }
        outgoingStatus = "setup"
        hasResources = true
        isStreamBroken = false
        errorDesc = nil
        passNumber = 0
        startedAt = now
        stoppedAt = nil
        finishedAt = nil
        migrationEvent("setup")
        answer(command)
        output.append(.connect(uri))
    }

    mutating func migrateContinue(_ command: FakeCommand) {
        let state = command.arguments["state"]?.string ?? ""
        guard outgoingStatus == "pre-switchover", state == "pre-switchover" else {
            return refuse(command, "Migration not in expected state: \(outgoingStatus ?? "none")")
        }
        answer(command)
        perform(.device)
    }

    mutating func migrateCancel(_ command: FakeCommand) {
        guard let status = outgoingStatus,
            ["setup", "wait-unplug", "active", "pre-switchover", "device"].contains(status)
        else {
            return answer(command)
        }
        outgoingStatus = "cancelling"
        migrationEvent("cancelling")
        answer(command)
        cutStream()
        scheduled = []
        schedule(.cleanedUp("cancelled"))
    }

    mutating func yank(_ command: FakeCommand) {
        let instances = command.arguments["instances"]?.array ?? []
        for instance in instances {
            guard instance["type"]?.string == "migration", hasResources else {
                return refuse(command, "Instance not found", errorClass: "DeviceNotFound")
            }
        }
        answer(command)
        guard !instances.isEmpty else { return }
        cutStream()
        if isMigrating {
            fail("Unable to write to socket: Broken pipe")
        } else if incomingStatus == "active" {
            perform(.incomingFailed)
        }
    }

    // MARK: What comes over the stream

    mutating func outgoing(_ signal: StreamSignal) {
        switch signal {
        case .opened:
            guard outgoingStatus == "setup" else { return }
            hasStream = true
            schedule(.connected)
        case .refused(let desc):
            guard outgoingStatus == "setup" else { return }
            schedule(.failed(desc))
        case .loaded(let isLoaded):
            guard outgoingStatus == "device" || isWaitingWithoutDevice else { return }
            if isLoaded { schedule(.completed) } else { fail("Sibling indicated error 1") }
        case .broken:
            hasStream = false
            switch outgoingStatus {
            // Nobody writes while the pause lasts.
            case "pre-switchover": isStreamBroken = true
            case "setup", "wait-unplug", "active", "device": fail("Unable to write to socket: Broken pipe")
            default: break
            }
        case .deviceState: break
        }
    }

    mutating func incoming(_ signal: StreamSignal) {
        switch signal {
        case .deviceState(let guestRan, let hasReturnPath):
            guard incomingStatus == "active" else { return }
            switch options.load {
            case .succeeds: schedule(.load(guestRan: guestRan, hasReturnPath: hasReturnPath))
            case .failsInDevice:
                if hasReturnPath { output.append(.stream(.loaded(false))) }
                perform(.incomingFailed)
            case .failsWhileActive, .hangs: break
            }
        case .broken:
            hasStream = false
            // What was sent before the end is still read and loaded.
            let isLoading = scheduled.contains { if case .load = $0.step { true } else { false } }
            if incomingStatus == "active", !isLoading, options.load != .hangs { perform(.incomingFailed) }
        case .opened, .refused, .loaded: break
        }
    }

    // MARK: Steps

    mutating func perform(_ step: Step) {
        switch step {
        case .connected: askForRelease()
        case .released: begin()
        case .pass(let number): pass(number)
        case .switchover: switchOver()
        case .device: enterDevice()
        case .sendState: sendState()
        case .completed:
            outgoingStatus = "completed"
            finishedAt = now
            migrationEvent("completed")
            schedule(.postmigrate)
        case .postmigrate:
            hasStream = false
            hasResources = false
            if runState == "finish-migrate" { runState = "postmigrate" }
        case .failed(let desc): fail(desc)
        case .cleanedUp(let word): cleanUp(word)
        case .load(let guestRan, let hasReturnPath): load(guestRan: guestRan, hasReturnPath: hasReturnPath)
        case .incomingFailed:
            guard incomingStatus == "active" else { return }
            incomingStatus = "failed"
            errorDesc = "error while loading state for instance 0x0 of device 'fake'"
            migrationEvent("failed")
            if hasStream { output.append(.stream(.broken)) }
            hasStream = false
            hasResources = false
            if exitsOnError { schedule(.exit(1)) }
        case .exit(let code): end(code)
        }
    }

    /// Up to 9.2 there is no `device` without a pause: the status stays `active` to the end.
    private var isWaitingWithoutDevice: Bool { outgoingStatus == "active" && runState == "finish-migrate" }

    /// The standby takes over while the failover device is gone.
    private mutating func askForRelease() {
        guard let device = options.failoverDevice else { return begin() }
        event("UNPLUG_PRIMARY", ["device-id": .string(device)])
        outgoingStatus = "wait-unplug"
        migrationEvent("wait-unplug")
        if options.releasesFailoverDevice { schedule(.released, steps: 10) }
    }

    private mutating func begin() {
        if !release.startsWithPassTwo { pass(1) } else { passNumber = 1 }
        outgoingStatus = "active"
        migrationEvent("active")
        scheduleNextPass()
    }

    private mutating func pass(_ number: Int64) {
        passNumber = number
        if enabledCapabilities.contains("events") { event("MIGRATION_PASS", ["pass": .integer(number)]) }
        if number == options.diskFailsInPass, runState == "running" {
            runState = "io-error"
            event("BLOCK_IO_ERROR", ["device": "disk0", "operation": "read", "action": "stop", "nospace": false])
            event("STOP")
        }
        if outgoingStatus == "active" { scheduleNextPass() }
    }

    private mutating func scheduleNextPass() {
        if let passes = options.passes, passNumber >= passes {
            schedule(.switchover)
        } else {
            // A guest that dirties memory faster than it is copied; slower, so that it costs nothing to wait for its end.
            schedule(.pass(passNumber + 1), steps: options.passes == nil ? 50 : 1)
        }
    }

    private mutating func switchOver() {
        runStateBefore = runState
        let isRunning = runState == "running"
        runState = "finish-migrate"
        stoppedAt = now
        if isRunning { event("STOP") }
        if enabledCapabilities.contains("pause-before-switchover") {
            outgoingStatus = "pre-switchover"
            migrationEvent("pre-switchover")
        } else {
            enterDevice()
        }
    }

    private mutating func enterDevice() {
        if release.alwaysHasDevice || outgoingStatus == "pre-switchover" {
            outgoingStatus = "device"
            migrationEvent("device")
        }
        if isStreamBroken { return fail("Unable to write to socket: Broken pipe") }
        isMonitorBlocked = options.blocksInDevice
        if !isMonitorBlocked { schedule(.sendState) }
    }

    private mutating func sendState() {
        passNumber += 1
        if enabledCapabilities.contains("events"), !release.startsWithPassTwo {
            event("MIGRATION_PASS", ["pass": .integer(passNumber)])
        }
        let hasReturnPath = enabledCapabilities.contains("return-path")
        output.append(.stream(.deviceState(guestRan: runStateBefore == "running", hasReturnPath: hasReturnPath)))
        if !hasReturnPath { schedule(.completed) }
    }

    private mutating func load(guestRan: Bool, hasReturnPath: Bool) {
        guard incomingStatus == "active" else { return }
        if startsWhenLoaded, guestRan { runGuest() } else { runState = "paused" }
        incomingStatus = "completed"
        migrationEvent("completed")
        if hasReturnPath { output.append(.stream(.loaded(true))) }
        hasStream = false
        hasResources = false
    }

    private mutating func fail(_ desc: String) {
        guard isMigrating, outgoingStatus != "cancelling" else { return }
        scheduled = []
        errorDesc = desc
        if release.hasFailing {
            outgoingStatus = "failing"
            migrationEvent("failing")
        } else {
            outgoingStatus = "failed"
            migrationEvent("failed")
        }
        releaseMonitor()
        restoreGuest()
        cutStream()
        schedule(.cleanedUp("failed"))
    }

    private mutating func cleanUp(_ word: String) {
        if word == "cancelled" {
            releaseMonitor()
            restoreGuest()
        }
        hasResources = false
        guard outgoingStatus != word else { return }
        outgoingStatus = word
        migrationEvent(word)
    }

    private mutating func restoreGuest() {
        guard runState == "finish-migrate" else { return }
        if runStateBefore == "running" {
            runGuest()
        } else {
            runState = release.restoresRunState ? runStateBefore : "postmigrate"
        }
    }

    private mutating func cutStream() {
        if hasStream { output.append(.stream(.broken)) }
        hasStream = false
    }

    private mutating func releaseMonitor() {
        guard isMonitorBlocked else { return }
        isMonitorBlocked = false
        let commands = blockedCommands
        blockedCommands = []
        for command in commands { dispatch(command) }
    }
}
