/// The rows of the permission table.
extension PermissionTable {
    private typealias Stages = [StageKind]

    private static let underWay: Stages = [.starting, .waiting, .copying, .held, .switchover]
    private static let postcopy: Stages = [.postcopyDevice, .postcopyActive, .postcopyPaused, .postcopyRecovering]

    // MARK: Of the source

    static let source: [PermissionRow] =
        sourceConfigure + sourceMigrate + sourceSwitchover + sourceCancel + sourcePostcopy + sourceYank + sourceRun
        + sourceProcess

    private static let sourceConfigure: [PermissionRow] = [
        allow(.configure, .source, [.idle, .completed]),
        allow(.configure, .source, [.ended], when: isCleaned),
        refuse(
            .configure, .source, [.ended], because: "QEMU may still be tidying up after the attempt",
            "Ask query-yank until it lists no migration, and query-status"),
        refuse(
            .configure, .source, [],
            "Capabilities can be changed when the migration is over; parameters can be changed now"),
        PermissionRow(
            act: .parameters, side: .source, stages: [], releases: .all, condition: nil, answer: .allowed),
    ]

    private static let sourceMigrate: [PermissionRow] = [
        refuse(
            .listen, .source, [],
            "migrate-incoming is for a QEMU that was started to receive a guest: send it to the destination"),
        refuse(
            .migrate, .source, [.idle, .ended, .completed], when: isIncoming,
            because: "the QEMU itself waits for a guest to arrive (run state inmigrate)",
            "Let that migration end first, or name the QEMU that has the guest"),
        refuse(
            .migrate, .source, [.idle, .ended, .completed], when: isLeaving,
            because: "QEMU is not through with a migration (run state finish-migrate)",
            "Ask for its run state until it is another one"),
        refuse(
            .migrate, .source, [.idle, .ended], when: isLeft,
            because: "the guest was sent away before (run state postmigrate)",
            "The QEMU it was sent to can send it on; if it is proven that it never ran there, continue it here first"),
        allow(.migrate, .source, [.idle]),
        allow(.migrate, .source, [.ended], when: isCleaned),
        refuse(
            .migrate, .source, [.ended], because: "QEMU may still be tidying up after the attempt",
            "Ask query-yank until it lists no migration, and query-status; then try again"),
        allow(.migrate, .source, [.completed], when: isRunning),
        refuse(
            .migrate, .source, [.completed],
            "The QEMU it was sent to can send it on; if it is proven that it never ran there, continue it here first"),
        refuse(.migrate, .source, postcopy, "It can only go on from here; recover it if its channel broke"),
        refuse(.migrate, .source, [], "One migration at a time: wait for its end, or cancel it"),
    ]

    private static let sourceSwitchover: [PermissionRow] = [
        allow(.startPostcopy, .source, [.starting, .waiting, .copying]),
        refuse(.startPostcopy, .source, [.idle], "Start a migration with post-copy allowed first"),
        refuse(
            .startPostcopy, .source, [.held, .switchover], "It is too late for post-copy: let the switchover go on"),
        refuse(.startPostcopy, .source, postcopy, "Post-copy was started already"),
        refuse(.startPostcopy, .source, [], "Nothing is left for post-copy to do"),
        allow(.continueSwitchover, .source, [.held]),
        // A cancel right after the guest was stopped can leave QEMU waiting for a continue, even if it names the state
        // it is in.
        allow(.continueSwitchover, .source, [.stopping], when: isCancelling),
        refuse(
            .continueSwitchover, .source, [.starting, .waiting, .copying],
            "Wait for pre-switchover, where QEMU asks for it"),
        refuse(.continueSwitchover, .source, [], "Only a guest held before the switchover can be let go"),
    ]

    private static let sourceCancel: [PermissionRow] = [
        allow(.cancel, .source, [.starting, .waiting, .copying, .held]),
        allow(.cancel, .source, [.switchover], when: isNeverTold),
        refuse(
            .cancel, .source, [.switchover],
            because: "the guest's last state is being sent, and the destination may run it already",
            "Wait: this ends by itself; if it fails, the guest goes on here"),
        refuse(
            .cancel, .source, [.postcopyDevice],
            "QEMU takes no cancel here: wait, and if the package cannot be loaded, the guest goes on here"),
        refuse(
            .cancel, .source, [.postcopyActive, .postcopyPaused, .postcopyRecovering], releases: .until(9, 2),
            because: "post-copy has begun, and this QEMU would obey and destroy the guest",
            "Let it finish; recover it if its channel broke"),
        refuse(
            .cancel, .source, [.postcopyActive, .postcopyPaused, .postcopyRecovering],
            because: "post-copy has begun: each side has a part of the guest",
            "Let it finish; recover it if its channel broke"),
        refuse(.cancel, .source, [.idle], "There is nothing to cancel"),
        allow(.cancel, .source, [.stopping], when: isUnheard),
        refuse(.cancel, .source, [.stopping], "It is ending already: wait for the end"),
        refuse(
            .cancel, .source, [.completed], "It is too late: the destination has the guest, or its Finish tells why not"
        ),
        refuse(.cancel, .source, [.ended], "There is nothing left to cancel"),
    ]

    private static let sourcePostcopy: [PermissionRow] =
        pausePostcopy(.source) + [
            refuse(
                .recover, .source, [],
                "The destination listens for a recovery: send migrate-recover there, then resume here"),
            refuse(
                .resume, .source, [.postcopyPaused], when: isKnownNotListening,
                because: "post-copy has lost its channel, and the destination does not listen for another one",
                "Let the destination listen with migrate-recover first"),
            allow(.resume, .source, [.postcopyPaused]),
            refuse(.resume, .source, [.postcopyRecovering], "Wait: it succeeds, or comes back to paused"),
            refuse(
                .resume, .source, [.postcopyActive], "Its channel works; interrupt it with pause-postcopy to change it"),
            refuse(.resume, .source, [], "Only a post-copy migration that has lost its channel can be resumed"),
        ]

    private static let sourceYank: [PermissionRow] = [
        refuse(
            .yank, .source, [], releases: .until(5, 2), because: "QEMU is too old to have yank",
            "Cancel, or end the destination"),
        allow(
            .yank, .source,
            [.starting, .waiting, .copying, .held, .stopping, .postcopyActive, .postcopyRecovering]),
        allow(.yank, .source, [.switchover, .postcopyDevice], when: isNeverTold),
        refuse(
            .yank, .source, [.switchover, .postcopyDevice],
            because: "the guest's last state is being sent, and the destination may run it already",
            "Wait: this ends by itself; if it fails, the guest goes on here"),
        refuse(.yank, .source, [.postcopyPaused], "There is no channel to cut: recover it over another one"),
        refuse(.yank, .source, [], "There is no channel to cut"),
    ]

    private static let sourceRun: [PermissionRow] = [
        refuse(
            .run, .source, [.idle, .ended, .completed], when: isIncoming,
            because: "the QEMU itself waits for a guest to arrive (run state inmigrate)",
            "It would run the guest unasked as soon as it is loaded: wait for that"),
        refuse(
            .run, .source, [.idle, .ended, .completed], when: isLeaving,
            because: "QEMU is not through with a migration (run state finish-migrate)",
            "Ask for its run state until it is another one"),
        allow(.run, .source, [.idle, .ended, .completed], when: isNeverRunProven),
        refuse(
            .run, .source, [.idle], when: isLeft,
            because: "the guest was sent away before (run state postmigrate), and may run elsewhere",
            "Prove first that it does not: abandon the destination, or state it as the operator"),
        allow(.run, .source, [.idle]),
        allow(.run, .source, [.ended], when: isRunning),
        refuse(
            .run, .source, [.ended, .completed],
            because: "it is not proven that the destination will never run the guest",
            "Abandon the destination: its answer is the proof, or its QEMU seen dead before it was told to run, "
                + "or an operator's statement"),
        refuse(
            .run, .source, postcopy, because: "post-copy has begun: the memory here is not the guest's any more",
            "Let it finish; recover it if its channel broke"),
        refuse(
            .run, .source, [],
            "QEMU could carry it out after the guest has left: wait for the end, or cancel"),
    ]

    private static let sourceProcess: [PermissionRow] = [
        refuse(
            .hold, .source, [.postcopyPaused], "QEMU's monitor can hang over it here, and the guest does not run anyway"
        ),
        allow(.hold, .source, []),
        allow(.kill, .source, [.completed], when: hasArrived),
        refuse(
            .kill, .source, [.completed],
            because: "the guest was not seen on the destination in its intended run state",
            "Wait for Finish: until then this is the copy to go back to"),
        refuse(.kill, .source, postcopy, "The destination still needs the memory here: let it finish"),
        refuse(.kill, .source, [], "The guest lives here: cancel the migration to keep it here"),
    ]

    // MARK: Of the destination

    static let destination: [PermissionRow] =
        destinationConfigure + destinationListen + destinationNever + destinationPostcopy + destinationRun
        + destinationProcess

    private static let destinationConfigure: [PermissionRow] = [
        allow(.configure, .destination, [.idle, .completed]),
        allow(.configure, .destination, [.starting], when: isNotListening),
        refuse(
            .configure, .destination, [.starting, .copying] + postcopy,
            "QEMU would take them and be at odds with the source: set them before migrate-incoming"),
        refuse(.configure, .destination, [], "A QEMU can be a destination once: start a new one"),
        PermissionRow(
            act: .parameters, side: .destination, stages: [], releases: .all, condition: nil, answer: .allowed),
    ]

    private static let destinationListen: [PermissionRow] = [
        refuse(
            .listen, .destination, [.idle], when: isNotWaiting,
            because: "the QEMU was not started to receive a guest",
            "Start it with -incoming defer"),
        allow(.listen, .destination, [.idle]),
        refuse(
            .listen, .destination, [.starting], releases: .since(9, 1), when: isStuckInSetup,
            because: "the QEMU could not listen, and from 9.1 on it takes no second try after that",
            "Start a new QEMU with -incoming defer"),
        allow(.listen, .destination, [.starting], when: isListenRefused),
        refuse(.listen, .destination, [.starting], "It listens already: start the migration on the source"),
        refuse(.listen, .destination, postcopy, "To recover a broken channel send migrate-recover"),
        refuse(.listen, .destination, [.copying], "One migration at a time: wait for its end"),
        refuse(.listen, .destination, [], "A QEMU can be a destination once: start a new one"),
    ]

    private static let destinationNever: [PermissionRow] = [
        allow(.migrate, .destination, [.completed], when: isRunning),
        PermissionRow(
            act: .trigger(.migrate), side: .destination, stages: [.completed], releases: .since(10, 0),
            condition: isAtRest, answer: .allowed),
        refuse(
            .migrate, .destination, [.completed], releases: .until(9, 2), when: isAtRest,
            because: "the guest never ran, and this QEMU would crash over its disks",
            "Let it run for a moment, or pause it only after that"),
        refuse(.migrate, .destination, [.completed], "Run the guest here first, then it can be sent on"),
        refuse(.migrate, .destination, [], "Send migrate to the source"),
        refuse(.startPostcopy, .destination, [], "Post-copy is started on the source"),
        refuse(.continueSwitchover, .destination, [], "The guest is held on the source: send migrate-continue there"),
        refuse(
            .cancel, .destination, [],
            "QEMU ignores a cancel here: cancel on the source, or abandon the destination"),
        refuse(.resume, .destination, [], "Let the destination listen with migrate-recover, then resume on the source"),
    ]

    private static let destinationPostcopy: [PermissionRow] =
        pausePostcopy(.destination) + [
            refuse(
                .recover, .destination, [.postcopyPaused], releases: .until(7, 0), when: isListeningAgain,
                because: "a recovery is listened for already, and this QEMU cannot listen somewhere else instead",
                "Resume on the source"),
            allow(.recover, .destination, [.postcopyPaused]),
            refuse(.recover, .destination, [.postcopyRecovering], "Wait: it succeeds, or comes back to paused"),
            refuse(
                .recover, .destination, [.postcopyActive],
                "Its channel works; interrupt it with pause-postcopy to change it"),
            refuse(.recover, .destination, [], "Only a post-copy migration that has lost its channel can be recovered"),
            refuse(
                .yank, .destination, [], releases: .until(5, 2), because: "QEMU is too old to have yank",
                "Cancel on the source"),
            allow(.yank, .destination, [.copying, .postcopyDevice, .postcopyActive, .postcopyRecovering]),
            refuse(.yank, .destination, [.postcopyPaused], "There is no channel to cut: recover it over another one"),
            refuse(.yank, .destination, [], "There is no channel to cut"),
        ]

    private static let destinationRun: [PermissionRow] = [
        refuse(
            .run, .destination, [], when: isRefused, because: "this attempt was refused for ever",
            "The guest goes on at the source; start a new attempt with a new QEMU"),
        refuse(
            .run, .destination, [.completed], when: isShutDown, because: "the guest has shut itself down",
            "Reset it, or end its QEMU"),
        allow(.run, .destination, [.completed, .postcopyActive], when: hasLeftSource),
        refuse(
            .run, .destination, [.completed, .postcopyActive],
            because: "it is not proven that the source has given the guest away",
            "Ask the source: it must have surrendered the guest, completed, or be seen dead"),
        refuse(
            .run, .destination, [.postcopyPaused, .postcopyRecovering],
            "Recover it first: the guest would wait for memory that cannot come"),
        refuse(
            .run, .destination, [.idle, .starting, .copying, .postcopyDevice],
            "QEMU would only remember it and run the guest unasked later: wait until it is loaded"),
        refuse(.run, .destination, [], "What was loaded is no whole guest: it goes on at the source"),
    ]

    private static let destinationProcess: [PermissionRow] = [
        refuse(
            .hold, .destination, [.postcopyPaused], "QEMU's monitor can hang over it here: recover the migration first"),
        allow(.hold, .destination, []),
        refuse(
            .kill, .destination, [], when: mayRunHere, because: "the guest may run here",
            "It would be lost: if it must end, end it as a guest"),
        allow(.kill, .destination, [], when: isRefused),
        refuse(
            .kill, .destination, [.completed], when: isSourceGone,
            because: "the only copy of the guest is here", "Run it, or state as the operator that it is to be given up"),
        refuse(
            .kill, .destination, [.completed], because: "the guest is here completely, and nothing refuses it yet",
            "Abandon this destination: that is recorded before its QEMU ends"),
        refuse(
            .kill, .destination, [.postcopyActive, .postcopyPaused, .postcopyRecovering],
            because: "post-copy has begun: the guest's newest state is here",
            "Let it finish; recover it if its channel broke"),
        allow(.kill, .destination, []),
    ]

    // MARK: Of both

    private static func pausePostcopy(_ side: Side) -> [PermissionRow] {
        [
            allow(.pausePostcopy, side, [.postcopyActive]),
            PermissionRow(
                act: .trigger(.pausePostcopy), side: side, stages: [.postcopyRecovering], releases: .since(8, 2),
                condition: isShakingHands, answer: .allowed),
            refuse(
                .pausePostcopy, side, [.postcopyRecovering],
                "It cannot be interrupted now: it succeeds, or comes back to paused"),
            refuse(.pausePostcopy, side, [.postcopyPaused], "It is interrupted already: recover it"),
            refuse(
                .pausePostcopy, side, [], "QEMU can interrupt only post-copy; pause-guest stops the guest"),
        ]
    }
}
