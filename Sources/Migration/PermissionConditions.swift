/// What rows of the permission table ask besides the stage.
extension PermissionTable {
    static let isCleaned = PermissionCondition(name: "QEMU was seen to have tidied up") { evidence, _ in
        evidence.isCleaned
    }

    static let isIncoming = PermissionCondition(name: "run state inmigrate") { evidence, _ in
        evidence.runState == .inMigrate
    }

    static let isLeaving = PermissionCondition(name: "run state finish-migrate") { evidence, _ in
        evidence.runState == .finishMigrate
    }

    static let isLeft = PermissionCondition(name: "run state postmigrate") { evidence, _ in
        evidence.runState == .postMigrate
    }

    static let isShutDown = PermissionCondition(name: "run state shutdown") { evidence, _ in
        evidence.runState == .shutdown
    }

    static let isRunning = PermissionCondition(name: "the guest runs here") { evidence, _ in
        evidence.isRunning == true && !evidence.isRunningInDoubt
    }

    static let isAtRest = PermissionCondition(name: "the loaded guest was seen stopped and never ran") {
        evidence, _ in
        guard let state = evidence.runState, !evidence.events.has(.ran) else { return false }
        return state != .inMigrate && state != .running
    }

    static let isNotWaiting = PermissionCondition(name: "a run state other than inmigrate was seen") { evidence, _ in
        evidence.runState.map { $0 != .inMigrate } ?? false
    }

    static let isStuckInSetup = PermissionCondition(name: "migrate-incoming was refused, status setup") { evidence, _ in
        evidence.triggers[.listen]?.refusal != nil && evidence.words.last?.word == .setup
    }

    static let isListenRefused = PermissionCondition(name: "migrate-incoming was refused") { evidence, _ in
        evidence.triggers[.listen]?.refusal != nil
    }

    static let isNotListening = PermissionCondition(name: "migrate-incoming was not accepted") { evidence, _ in
        evidence.triggers[.listen].map { $0.state != .accepted } ?? false
    }

    static let isListeningAgain = PermissionCondition(name: "it listens for a recovery") { evidence, _ in
        evidence.postcopy == .reconnecting
    }

    static let isShakingHands = PermissionCondition(name: "status postcopy-recover") { evidence, _ in
        evidence.words.last?.word == .postcopyRecover
    }

    static let isKnownNotListening = PermissionCondition(name: "the destination does not listen for a recovery") {
        _, context in context.other?.postcopy == .paused
    }

    /// Seen on the other side, and nothing recorded to the contrary. A `cont` that QEMU refused told nobody.
    static let isNeverTold = PermissionCondition(name: "the destination was never told to run the guest") {
        _, context in
        guard let other = context.other, other.ran == nil else { return false }
        return other.isRunRefused || (other.runSent == nil && !context.isRunRecorded)
    }

    static let isCancelling = PermissionCondition(name: "status cancelling") { evidence, _ in
        evidence.words.last?.word == .cancelling
    }

    /// A cancel can be lost with its connection: it may be said again.
    static let isUnheard = PermissionCondition(name: "QEMU has not said that it stops, and a cancel is safe") {
        evidence, context in
        let events = evidence.events
        if events.has(.cancelling) || events.has(.failing) { return false }
        return !events.has(.device) || isNeverTold.isMet(evidence, context)
    }

    static let mayRunHere = PermissionCondition(name: "it ran, was told to run, or may have been by the record") {
        evidence, context in
        if evidence.events.has(.ran) { return true }
        let run = evidence.triggers[.run]
        return run?.refusal == nil && (context.isRunRecorded || run?.wasSent ?? false)
    }

    static let isRefused = PermissionCondition(name: "this attempt is refused by the record") { _, context in
        context.isRefused
    }

    static let isNeverRunProven = PermissionCondition(name: "it is proven that the guest never ran elsewhere") {
        _, context in context.isNeverRunProven
    }

    static let isSourceGone = PermissionCondition(name: "the source is gone") { _, context in
        context.other?.gone != nil
    }

    static let hasLeftSource = PermissionCondition(name: "the source surrendered it, completed, or is gone") {
        _, context in context.isSurrendered || context.other?.completed != nil || context.other?.gone != nil
    }

    static let hasArrived = PermissionCondition(name: "the destination completed and the guest was seen there") {
        _, context in
        guard let other = context.other, other.completed != nil, other.gone == nil else { return false }
        if other.ran != nil { return true }
        guard let state = other.runState, other.isRunning == false else { return false }
        return state != .inMigrate && state != .running
    }

    // MARK: Rows

    static func allow(
        _ kind: TriggerKind, _ side: Side, _ stages: [StageKind], when condition: PermissionCondition? = nil
    ) -> PermissionRow {
        PermissionRow(
            act: .trigger(kind), side: side, stages: stages, releases: .all, condition: condition, answer: .allowed)
    }

    static func refuse(
        _ kind: TriggerKind, _ side: Side, _ stages: [StageKind], releases: ReleaseRange = .all,
        when condition: PermissionCondition? = nil, because why: String? = nil, _ instead: String
    ) -> PermissionRow {
        PermissionRow(
            act: .trigger(kind), side: side, stages: stages, releases: releases, condition: condition,
            answer: .refused(why: why, instead: instead))
    }
}
