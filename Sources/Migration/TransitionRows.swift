/// The rows of the transition table. `Fixtures/transitions.tsv` holds the same table in another form; a test keeps both
/// alike.
extension TransitionTable {
    // MARK: Source

    /// From the command to the first memory page.
    static let sourceStart: [StatusEdge] = [
        source(.none, .setup, .all, .mainLoop, "migrate was accepted"),
        source(.completed, .setup, .all, .mainLoop, "migrate again; refused as long as the run state is postmigrate"),
        source(.failed, .setup, .all, .mainLoop, "migrate again after a failure"),
        source(.cancelled, .setup, .all, .mainLoop, "migrate again after a cancel"),
        source(.setup, .active, .all, .migrationThread, "everything is set up and no device has to be released"),
        source(.setup, .waitUnplug, .since(4, 2), .migrationThread, "a failover network device is still plugged in"),
        source(.waitUnplug, .active, .since(4, 2), .migrationThread, "the guest has released the device"),
        source(
            .setup, .failed, .until(11, 0), .mainLoop, or: .migrationThread,
            "connecting, TLS, multifd or a notifier went wrong"),
        source(
            .setup, .failing, .since(11, 1), .mainLoop, or: .migrationThread,
            "connecting, TLS, multifd or a notifier went wrong"),
    ]

    /// What a cancel does, wherever it lands.
    static let sourceCancel: [StatusEdge] = [
        source(.setup, .cancelling, .all, .mainLoop, "migrate_cancel"),
        source(
            .waitUnplug, .cancelling, .since(4, 2), .mainLoop,
            "migrate_cancel; QEMU goes on waiting for the guest for up to 30 s"),
        source(.active, .cancelling, .all, .mainLoop, "migrate_cancel"),
        source(.preSwitchover, .cancelling, .since(2, 11), .mainLoop, "migrate_cancel, which also ends the pause"),
        source(
            .device, .cancelling, .since(2, 11), .mainLoop,
            "migrate_cancel; it is served only after all device state was written"),
        source(.failing, .cancelling, .since(11, 1), .mainLoop, "migrate_cancel while an error is cleaned up"),
        source(
            .postcopyActive, .cancelling, .since(2, 5).until(9, 2), .mainLoop,
            "migrate_cancel in post-copy, which costs the guest; refused from 10.0 on"),
        source(
            .postcopyPaused, .cancelling, .since(2, 5).until(9, 2), .mainLoop,
            "migrate_cancel in post-copy, which costs the guest; refused from 10.0 on"),
        source(
            .postcopyRecover, .cancelling, .since(2, 5).until(9, 2), .mainLoop,
            "migrate_cancel in post-copy, which costs the guest; refused from 10.0 on"),
    ]

    /// From the last pass to the device state, or into post-copy.
    static let sourceSwitchover: [StatusEdge] = [
        source(
            .active, .preSwitchover, .since(2, 11), .migrationThread,
            "the guest is stopped and pause-before-switchover is on"),
        source(
            .active, .device, .since(10, 0), .migrationThread,
            "the switchover begins; before 10.0 this word came only after pre-switchover"),
        source(.preSwitchover, .device, .since(2, 11), .migrationThread, "migrate-continue"),
        source(
            .preSwitchover, .postcopyActive, .since(2, 11).until(9, 2), .migrationThread,
            "migrate-continue, with post-copy asked for"),
        source(
            .active, .postcopyActive, .since(2, 5).until(9, 2), .migrationThread,
            "post-copy was asked for and pause-before-switchover is off; the guest stops after this event"),
    ]

    /// Post-copy.
    static let sourcePostcopy: [StatusEdge] = [
        source(
            .device, .postcopyDevice, .since(10, 2), .migrationThread,
            "the package of device state was sent and there is a return path"),
        source(
            .device, .postcopyActive, .since(10, 0), .migrationThread,
            "the package of device state was sent; from 10.2 on only without a return path"),
        source(
            .postcopyDevice, .postcopyActive, .since(10, 2), .migrationThread,
            "the destination has told that it loaded the package"),
        source(
            .postcopyDevice, .failed, .since(10, 2).until(11, 0), .migrationThread,
            "the channel broke before the package was loaded; the guest runs on here"),
        source(
            .postcopyDevice, .failing, .since(11, 1), .migrationThread,
            "the channel broke before the package was loaded; the guest runs on here"),
        source(.postcopyActive, .postcopyPaused, .since(3, 0), .migrationThread, "the channel broke, or migrate-pause"),
        source(
            .postcopyActive, .failed, .since(2, 5).until(2, 12), .migrationThread,
            "the channel broke; the guest is lost"),
        source(
            .postcopyPaused, .postcopyRecoverSetup, .since(9, 1), .mainLoop, "migrate with resume connects"),
        source(
            .postcopyPaused, .postcopyRecover, .since(3, 0).until(9, 0), .mainLoop, "migrate with resume is connected"),
        source(.postcopyRecoverSetup, .postcopyRecover, .since(9, 1), .mainLoop, "the new channel is connected"),
        source(
            .postcopyRecoverSetup, .postcopyPaused, .since(9, 1), .mainLoop, "the new channel could not be connected"),
        source(.postcopyRecover, .postcopyActive, .since(3, 0), .returnPathThread, "the destination agreed to go on"),
        source(
            .postcopyRecover, .postcopyPaused, .since(8, 2), .migrationThread,
            "the recovery failed, or migrate-pause; older releases stay in the recovery"),
    ]

    /// How pre-copy and post-copy end.
    static let sourceEnd: [StatusEdge] = [
        source(.active, .failed, .until(11, 0), .migrationThread, "the channel or a device failed"),
        source(.active, .failing, .since(11, 1), .migrationThread, "the channel or a device failed"),
        source(.preSwitchover, .failed, .since(2, 11), .migrationThread, "a multifd channel failed"),
        source(
            .device, .failed, .since(2, 11).until(11, 0), .migrationThread,
            "writing, handing over the disks or the destination failed"),
        source(
            .device, .failing, .since(11, 1), .migrationThread,
            "writing, handing over the disks or the destination failed"),
        source(.failing, .failed, .since(11, 1), .mainLoop, "cleaned up after an error"),
        source(.cancelling, .cancelled, .all, .mainLoop, "cleaned up after a cancel"),
        source(
            .cancelling, .failed, .until(9, 2), .migrationThread,
            "an error of the cancelled stream overwrote the cancel"),
        source(
            .cancelling, .completed, .all, .migrationThread, "the cancel came after QEMU had looked for the last time"),
        source(.active, .completed, .until(9, 2), .migrationThread, "all sent, and pause-before-switchover is off"),
        source(.device, .completed, .since(2, 11), .migrationThread, "all sent"),
        source(.postcopyActive, .completed, .since(2, 5), .migrationThread, "the last page has followed the guest"),
    ]

    /// Snapshots, checkpointing, a QEMU that replaces itself.
    static let sourceOther: [StatusEdge] = [
        source(.active, .completed, .since(6, 0), .migrationThread, "a background snapshot is written"),
        source(.setup, .completed, .all, .mainLoop, "a snapshot is saved"),
        source(.setup, .failed, .all, .mainLoop, "a snapshot could not be saved"),
        source(.device, .colo, .since(10, 2), .migrationThread, "checkpointing begins after the first full copy"),
        source(
            .active, .colo, .since(2, 8).until(9, 2), .migrationThread, "checkpointing begins after the first full copy"
        ),
        source(.colo, .completed, .since(2, 8), .mainLoop, "checkpointing ends with a failover"),
        source(
            .completed, .failed, .since(10, 2), .mainLoop,
            "cpr-exec: QEMU could not replace itself after all had been written"),
    ]

    // MARK: Destination

    /// The destination's moves. It never says cancelling, cancelled or failing: a cancelled source looks like a broken
    /// stream from here.
    static let destination: [StatusEdge] = [
        destination(.setup, .active, .all, .loader, "the source has connected all channels"),
        destination(.setup, .failed, .since(10, 0), .mainLoop, "a channel could not be set up"),
        destination(.active, .completed, .all, .mainLoop, "all is loaded, and the guest was started if it is to run"),
        destination(.active, .failed, .all, .loader, "loading failed; QEMU exits unless told not to"),
        destination(
            .active, .postcopyDevice, .since(10, 2), .loader, "post-copy begins and there is a return path"),
        destination(
            .active, .postcopyActive, .since(2, 5), .loader, "post-copy begins; from 10.2 on only without a return path"
        ),
        destination(
            .postcopyDevice, .postcopyActive, .since(10, 2), .mainLoop, "all device state is loaded, the guest may run"),
        destination(.postcopyDevice, .failed, .since(10, 2), .loader, "device state could not be loaded"),
        destination(.postcopyActive, .completed, .since(2, 5), .loader, "the last page has come"),
        destination(.postcopyActive, .failed, .since(2, 5), .loader, "an error that no recovery helps"),
        destination(.postcopyActive, .postcopyPaused, .since(3, 0), .loader, "the channel broke, or migrate-pause"),
        destination(
            .postcopyPaused, .postcopyRecover, .since(3, 0), .loader, "the source has connected after migrate-recover"),
        destination(.postcopyRecover, .postcopyActive, .since(3, 0), .loader, "the source wants to go on"),
        destination(.postcopyRecover, .postcopyPaused, .since(3, 0), .loader, "the channel broke, or migrate-pause"),
        destination(.active, .colo, .since(2, 8), .loader, "checkpointing begins"),
        destination(.colo, .completed, .since(2, 8), .mainLoop, "checkpointing ends with a failover"),
        destination(.none, .setup, .since(8, 2), .mainLoop, "it listens"),
        destination(
            .none, .active, .since(2, 5).until(8, 1), .loader,
            "the source has connected; the event setup sent before is no status, a query shows none"),
    ]

    // MARK: Seen, not read

    /// Moves that recordings show and that were not expected from the sources.
    static let recorded: [StatusEdge] = [
        seen(
            .destination, .postcopyPaused, .setup, .since(5, 2).until(7, 2), .mainLoop,
            "migrate-recover listens again, and says so as at the beginning"),
        seen(
            .destination, .setup, .postcopyRecover, .since(5, 2).until(7, 2), .loader,
            "the source has connected after that"),
        seen(
            .destination, .setup, .setup, .since(5, 2), .mainLoop,
            "migrate-incoming again after it could not listen"),
        seen(
            .source, .failing, .failing, .since(11, 1), .migrationThread, "the event is repeated while QEMU cleans up"),
    ]

    // MARK: Rows

    private static func source(
        _ from: StatusWord, _ to: StatusWord, _ releases: ReleaseRange, _ mover: StatusMover,
        or other: StatusMover? = nil, _ condition: String
    ) -> StatusEdge {
        StatusEdge(
            side: .source, from: from, to: to, releases: releases, movers: [mover] + [other].compactMap(\.self),
            condition: condition, basis: .sources)
    }

    private static func destination(
        _ from: StatusWord, _ to: StatusWord, _ releases: ReleaseRange, _ mover: StatusMover, _ condition: String
    ) -> StatusEdge {
        StatusEdge(
            side: .destination, from: from, to: to, releases: releases, movers: [mover], condition: condition,
            basis: .sources)
    }

    private static func seen(
        _ side: Side, _ from: StatusWord, _ to: StatusWord, _ releases: ReleaseRange, _ mover: StatusMover,
        _ condition: String
    ) -> StatusEdge {
        StatusEdge(
            side: side, from: from, to: to, releases: releases, movers: [mover], condition: condition,
            basis: .recordings)
    }
}
