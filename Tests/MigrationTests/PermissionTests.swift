import Testing

@testable import Migration

/// What is allowed when: every act in every stage on both sides, and QEMU's own table as a second opinion.
@Suite struct PermissionTests {
    private static let running: [Line] = [.state(.running), .send(migrate), .accept(migrate), .word(.setup)]
    private static let copying = running + [.word(.active)]
    private static let stopped = copying + [.event(.stop)]
    private static let sentAway = stopped + [.word(.device), .word(.completed)]
    private static let following = stopped + [.word(.device), .word(.postcopyActive)]
    private static let listening: [Line] = [.state(.inMigrate), .send(listen), .accept(listen), .word(.setup)]
    private static let loading = listening + [.word(.active)]
    private static let loaded = loading + [.word(.completed)]
    private static let entered = loading + [.word(.postcopyActive)]

    /// A way into each stage.
    static func story(_ stage: StageKind, _ side: Side) -> [Line]? {
        switch (side, stage) {
        case (.source, .idle): [.state(.running)]
        case (.source, .starting): running
        case (.source, .waiting): running + [.word(.waitUnplug)]
        case (.source, .copying): copying
        case (.source, .held): stopped + [.word(.preSwitchover)]
        case (.source, .switchover): stopped + [.word(.device)]
        case (.source, .postcopyDevice): stopped + [.word(.device), .word(.postcopyDevice)]
        case (.source, .postcopyActive): following
        case (.source, .postcopyPaused): following + [.word(.postcopyPaused)]
        case (.source, .postcopyRecovering): following + [.word(.postcopyPaused), .word(.postcopyRecover)]
        case (.source, .stopping): copying + [.word(.cancelling)]
        case (.source, .ended): copying + [.word(.failed)]
        case (.source, .completed): sentAway
        case (.source, .gone): copying + [.process(.gone)]
        case (.destination, .idle): [.state(.inMigrate)]
        case (.destination, .starting): listening
        case (.destination, .copying): loading
        case (.destination, .postcopyDevice): loading + [.word(.postcopyDevice)]
        case (.destination, .postcopyActive): entered
        case (.destination, .postcopyPaused): entered + [.word(.postcopyPaused)]
        case (.destination, .postcopyRecovering): entered + [.word(.postcopyPaused), .word(.postcopyRecover)]
        case (.destination, .ended): loading + [.word(.failed)]
        case (.destination, .completed): loaded
        case (.destination, .gone): loading + [.process(.exited(1))]
        // No QEMU says these words on a destination.
        case (.destination, .waiting), (.destination, .held), (.destination, .switchover), (.destination, .stopping):
            nil
        }
    }

    /// Lines that change what is allowed within a stage.
    private static let variants: [[Line]] = [
        [], [.state(.postMigrate)], [.state(.finishMigrate)], [.state(.inMigrate)], [.state(.running)],
        [.state(.paused)], [.state(.shutdown)], [.yankInstances(false)], [.word(.setup)], [.refuse(listen, "no")],
        [.refuse(migrate, "no")], [.send(.cont)], [.send(.cont), .refuse(.cont, "no")], [.event(.resume)],
        [.send(.cont), .event(.resume)], [.monitor(.lost)], [.send(.migrateCancel)], [.word(.postcopyRecoverSetup)],
    ]

    private static let versions: [QEMUVersion?] = [
        nil, QEMUVersion(5, 2), QEMUVersion(7, 0), QEMUVersion(7, 2, 22), QEMUVersion(8, 1), QEMUVersion(8, 2),
        QEMUVersion(9, 0), QEMUVersion(9, 2), QEMUVersion(10, 0, 13), QEMUVersion(10, 2), QEMUVersion(11, 1, 3),
    ]

    private static func contexts(_ side: Side) -> [PermissionContext] {
        let others: [SideReport?] =
            side == .source
            ? [
                nil, evidence(.destination, loaded).report, evidence(.destination, loaded + [.event(.resume)]).report,
                evidence(.destination, entered + [.word(.postcopyPaused)]).report,
            ]
            : [nil, evidence(.source, sentAway).report, evidence(.source, sentAway + [.process(.gone)]).report]
        return others.flatMap { other in
            (0..<5).map { bit in
                var context = PermissionContext(other: other)
                switch bit {
                case 1: context.isRunRecorded = true
                case 2: context.isRefused = true
                case 3: context.isNeverRunProven = true
                case 4: context.isSurrendered = true
                default: break
                }
                return context
            }
        }
    }

    private static func evidence(_ side: Side, _ lines: [Line], _ version: QEMUVersion? = nil) -> Evidence {
        var evidence = Evidence(side, lines)
        if let version {
            evidence.note(.greeting(version), sequence: 0, at: Instant(microseconds: 0))
        }
        return evidence
    }

    private func allowed(
        _ trigger: TriggerKind, _ side: Side, _ lines: [Line], _ version: QEMUVersion? = nil,
        _ context: PermissionContext = PermissionContext()
    ) -> Bool { Self.evidence(side, lines, version).allowed(trigger, in: context).isAllowed }

    // MARK: Every act in every stage

    @Test(arguments: StageKind.allCases) func theStoriesLeadThere(stage: StageKind) throws {
        for side in Side.allCases {
            guard let story = Self.story(stage, side) else { continue }
            #expect(StageKind(Evidence(side, story).stage) == stage, "\(side)")
        }
    }

    /// Whatever is asked for in whatever stage: there is an answer, and a refusal is two sentences that name the act,
    /// the side and the state.
    @Test(arguments: Side.allCases) func everyActHasAnAnswerEverywhere(side: Side) {
        for stage in StageKind.allCases {
            guard let story = Self.story(stage, side) else { continue }
            for version in Self.versions {
                let evidence = Self.evidence(side, story, version)
                for context in Self.contexts(side) {
                    for act in PermittedAct.allCases {
                        let permission = evidence.permission(for: act, in: context)
                        #expect(permission == evidence.permission(for: act, in: context))
                        guard let text = permission.refusal else { continue }
                        #expect(text.hasPrefix("\(act) is refused: on the \(side.rawValue) "), "\(text)")
                        #expect(text.hasSuffix("."), "\(text)")
                        #expect(text.split(separator: ". ").count >= 2, "\(text)")
                        #expect(!text.contains(".."), "\(text)")
                    }
                }
            }
        }
    }

    /// No row is dead: each one decides somewhere. And for every act, side and stage it is a row that decides.
    @Test(arguments: Side.allCases) func everyRowDecidesSomewhere(side: Side) throws {
        func key(_ row: PermissionRow) -> String {
            "\(row.act) \(row.stages.map(\.rawValue)) \(row.releases) \(row.condition?.name ?? "")"
        }
        let own = PermissionTable.rows.filter { $0.side == side }
        var dead = Set(own.map(key))
        #expect(dead.count == own.count, "a row that another one repeats")
        let known = Self.versions.map { ($0, PermissionContext()) }
        let told = Self.contexts(side).map { (nil as QEMUVersion?, $0) }
        for story in StageKind.allCases.compactMap({ Self.story($0, side) }) {
            for variant in Self.variants {
                for (version, context) in known + told {
                    let evidence = Self.evidence(side, story + variant, version)
                    for act in PermittedAct.allCases {
                        dead.remove(key(try #require(evidence.permissionRow(for: act, in: context))))
                    }
                }
            }
        }
        #expect(dead.isEmpty)
    }

    // MARK: Against QEMU's own table

    /// What QEMU from 10.2 on does with commands in each status: yes, `-` (no effect) or no. In its columns' order.
    private static let oracle: [(StatusWord?, String)] = [
        // migrate cancel continue start-postcopy pause resume capabilities parameters
        (nil, "yes - no no no no yes yes"),
        (.setup, "no yes no flag no no no yes"),
        (.waitUnplug, "no yes no flag no no no yes"),
        (.active, "no yes no flag no no no yes"),
        (.preSwitchover, "no yes yes flag no no no yes"),
        (.device, "no yes no - no no no yes"),
        (.postcopyDevice, "no no no - no no no yes"),
        (.postcopyActive, "no no no - yes no no yes"),
        (.postcopyPaused, "no no no - no yes no yes"),
        (.postcopyRecoverSetup, "no no no - no no no yes"),
        (.postcopyRecover, "no no no - yes no no yes"),
        (.cancelling, "no - no - no no no yes"),
        (.failing, "no yes no - no no no yes"),
        (.completed, "no - no flag no no yes yes"),
        (.failed, "yes - no flag no no yes yes"),
        (.cancelled, "yes - no flag no no yes yes"),
    ]

    private static let columns: [PermittedAct] = [
        .trigger(.migrate), .trigger(.cancel), .trigger(.continueSwitchover), .trigger(.startPostcopy),
        .trigger(.pausePostcopy), .trigger(.resume), .trigger(.configure), .parameters,
    ]

    /// Where we refuse what QEMU would do: it would do harm, or nothing.
    private static let stricter: [(StatusWord, PermittedAct)] = [
        (.device, .trigger(.cancel)), (.failing, .trigger(.cancel)), (.failed, .trigger(.migrate)),
        (.failed, .trigger(.configure)), (.preSwitchover, .trigger(.startPostcopy)),
        (.completed, .trigger(.startPostcopy)), (.failed, .trigger(.startPostcopy)),
        (.cancelled, .trigger(.startPostcopy)),
    ]

    /// Where we allow what QEMU may refuse: it does no harm, and can free a QEMU that waits for nothing else.
    private static let looser: [(StatusWord, PermittedAct)] = [(.cancelling, .trigger(.continueSwitchover))]

    @Test(arguments: [QEMUVersion(10, 2), QEMUVersion(11, 1, 3)])
    func nothingIsAllowedThatQEMURefuses(version: QEMUVersion) {
        for (word, row) in Self.oracle {
            // `failing` goes before `failed` where there is the word; here it is left out, so that nothing is tidied up
            // yet.
            let state: RunState = word == .completed ? .postMigrate : .running
            let lines: [Line] =
                word.map { [.state(.running), .send(migrate), .accept(migrate), .word($0), .state(state)] } ?? []
            let evidence = Self.evidence(.source, lines, version)
            for (act, answer) in zip(Self.columns, row.split(separator: " ")) {
                let isAllowed = evidence.permission(for: act).isAllowed
                switch answer {
                case "no", "-":
                    let isLooser = Self.looser.contains { $0.0 == word && $0.1 == act }
                    #expect(isAllowed == isLooser, "\(act) in \(word?.rawValue ?? "none")")
                default:
                    let isStricter = Self.stricter.contains { $0.0 == word && $0.1 == act }
                    #expect(isAllowed != isStricter, "\(act) in \(word?.rawValue ?? "none")")
                }
            }
        }
    }

    // MARK: What depends on more than the stage

    /// More proof never allows less, on either side, except the records that forbid: that the destination may run, or
    /// never will.
    @Test(arguments: Side.allCases) func moreProofAllowsMore(side: Side) {
        for stage in StageKind.allCases {
            guard let story = Self.story(stage, side) else { continue }
            let evidence = Evidence(side, story)
            for act in PermittedAct.allCases where evidence.permission(for: act).isAllowed {
                for context in Self.contexts(side)
                where !context.isRunRecorded && !context.isRefused && context.other?.postcopy != .paused
                    && context.other?.gone == nil
                {
                    #expect(evidence.permission(for: act, in: context).isAllowed, "\(act) in \(stage)")
                }
            }
        }
    }

    @Test func theSourceIsContinuedOnProofAlone() {
        var proven = PermissionContext()
        proven.isNeverRunProven = true
        var recorded = PermissionContext()
        recorded.isSurrendered = true
        for stage in StageKind.allCases {
            guard var story = Self.story(stage, .source) else { continue }
            if stage == .ended { story.append(.event(.stop)) }
            let withProof = allowed(.run, .source, story, nil, proven)
            let without = allowed(.run, .source, story, nil, recorded)
            switch stage {
            case .idle: #expect(withProof && without, "no migration, a plain cont")
            case .ended, .completed: #expect(withProof && !without, "\(stage)")
            default: #expect(!withProof && !without, "\(stage)")
            }
        }
        let left = Self.sentAway + [.state(.finishMigrate)]
        #expect(!allowed(.run, .source, left, nil, proven), "QEMU is not through yet")
        #expect(!allowed(.run, .source, [.state(.postMigrate)]), "the attempt before sent it away")
        #expect(allowed(.run, .source, [.state(.postMigrate)], nil, proven))
        // QEMU resumed it by itself: nothing changes.
        #expect(allowed(.run, .source, Self.stopped + [.word(.failed), .event(.resume)]))
    }

    @Test func theDestinationRunsWhatTheSourceGaveAway() {
        #expect(!allowed(.run, .destination, Self.loaded))
        var context = PermissionContext()
        context.isSurrendered = true
        #expect(allowed(.run, .destination, Self.loaded, nil, context))
        #expect(allowed(.run, .destination, Self.entered, nil, context))
        #expect(!allowed(.run, .destination, Self.loading, nil, context), "it would run unasked later")
        for lines in [Self.sentAway, Self.copying + [.process(.gone)]] {
            let other = PermissionContext(other: Evidence(.source, lines).report)
            #expect(allowed(.run, .destination, Self.loaded, nil, other))
        }
        let other = PermissionContext(other: Evidence(.source, Self.copying).report)
        #expect(!allowed(.run, .destination, Self.loaded, nil, other), "not running now proves nothing")
        context.isRefused = true
        #expect(!allowed(.run, .destination, Self.loaded, nil, context), "the tombstone")
        #expect(!allowed(.run, .destination, Self.loaded + [.state(.shutdown)], nil, other))
    }

    @Test func cancelInTheSwitchoverNeedsToKnowTheDestination() {
        let sending = Self.stopped + [.word(.device)]
        #expect(!allowed(.cancel, .source, sending))
        var context = PermissionContext(other: Evidence(.destination, Self.loading).report)
        #expect(allowed(.cancel, .source, sending, nil, context))
        #expect(allowed(.yank, .source, sending, nil, context))
        context.isRunRecorded = true
        #expect(!allowed(.cancel, .source, sending, nil, context))
        let told = PermissionContext(other: Evidence(.destination, Self.loaded + [.send(.cont)]).report)
        #expect(!allowed(.cancel, .source, sending, nil, told))
    }

    @Test func versionsDiffer() throws {
        func refusal(_ version: QEMUVersion?) -> String {
            Self.evidence(.source, Self.following, version).allowed(.cancel).refusal ?? ""
        }
        #expect(refusal(QEMUVersion(9, 2)).contains("would obey and destroy the guest"))
        #expect(!refusal(QEMUVersion(10, 0)).contains("destroy"))
        #expect(refusal(nil).contains("each side has a part of the guest"))
        let recovering = Self.following + [.word(.postcopyPaused), .word(.postcopyRecover)]
        #expect(!allowed(.pausePostcopy, .source, recovering, QEMUVersion(8, 1)))
        #expect(allowed(.pausePostcopy, .source, recovering, QEMUVersion(8, 2)))
        #expect(!allowed(.yank, .source, Self.copying, QEMUVersion(5, 2)))
        #expect(allowed(.yank, .source, Self.copying, QEMUVersion(6, 0)))
        let refused = Self.listening + [.refuse(listen, "no")]
        #expect(allowed(.listen, .destination, refused, QEMUVersion(9, 0)))
        #expect(!allowed(.listen, .destination, refused, QEMUVersion(9, 1)))
        let paused = Self.loaded + [.state(.paused)]
        #expect(!allowed(.migrate, .destination, paused, QEMUVersion(9, 2)))
        #expect(allowed(.migrate, .destination, paused, QEMUVersion(10, 0)))
        #expect(allowed(.migrate, .destination, Self.loaded + [.event(.resume)], QEMUVersion(9, 2)))
    }

    @Test func nothingNewBeforeTheOldIsTidiedUp() {
        for trigger in [TriggerKind.migrate, .configure] {
            let failed = Self.copying + [.word(.failed)]
            let looked: [Line] = [.state(.running)]
            #expect(!allowed(trigger, .source, failed))
            #expect(!allowed(trigger, .source, failed + looked))
            #expect(allowed(trigger, .source, failed + [.yankInstances(false)] + looked))
            #expect(!allowed(trigger, .source, failed + [.yankInstances(true)] + looked))
            #expect(!allowed(trigger, .source, failed + [.yankInstances(false), .state(.finishMigrate)]))
            let afterFailing = Self.copying + [.word(.failing), .word(.failed)]
            #expect(allowed(trigger, .source, afterFailing + looked), "failed comes last there")
            #expect(allowed(trigger, .source, Self.copying + [.word(.cancelled)] + looked))
            #expect(allowed(trigger, .source, [.send(migrate), .refuse(migrate, "no")]), "it touched nothing")
            // A QEMU that cannot be asked is given time.
            var waited = Evidence(.source, failed)
            waited.note(timeout: "cleanup", sequence: 90, at: Instant(microseconds: 90_000))
            waited.take(.state(.running), 91)
            #expect(waited.allowed(trigger).isAllowed)
        }
    }

    @Test func theRunStateCanForbidAMigration() {
        #expect(allowed(.migrate, .source, [.state(.running)]))
        #expect(allowed(.migrate, .source, [.state(.paused)]))
        for state in [RunState.inMigrate, .finishMigrate, .postMigrate] {
            #expect(!allowed(.migrate, .source, [.state(state)]), "\(state)")
        }
        #expect(!allowed(.migrate, .source, Self.sentAway))
        #expect(allowed(.migrate, .source, Self.sentAway + [.send(.cont), .event(.resume)]), "continued here")
    }

    @Test func processesAreEndedWhenNothingIsLostByIt() {
        #expect(!allowed(.kill, .source, Self.sentAway))
        let there = PermissionContext(other: Evidence(.destination, Self.loaded + [.event(.resume)]).report)
        #expect(allowed(.kill, .source, Self.sentAway, nil, there))
        let paused = PermissionContext(other: Evidence(.destination, Self.loaded + [.state(.paused)]).report)
        #expect(allowed(.kill, .source, Self.sentAway, nil, paused))
        let loading = PermissionContext(other: Evidence(.destination, Self.loading).report)
        #expect(!allowed(.kill, .source, Self.sentAway, nil, loading))
        #expect(!allowed(.kill, .source, Self.following, nil, there))

        #expect(allowed(.kill, .destination, Self.loading))
        #expect(!allowed(.kill, .destination, Self.loaded), "first the tombstone")
        var refused = PermissionContext()
        refused.isRefused = true
        #expect(allowed(.kill, .destination, Self.loaded, nil, refused))
        #expect(!allowed(.kill, .destination, Self.loaded + [.send(.cont)], nil, refused), "it may run")
        #expect(!allowed(.kill, .destination, Self.entered))
        var recorded = PermissionContext()
        recorded.isRunRecorded = true
        #expect(!allowed(.kill, .destination, Self.loading, nil, recorded))
    }

    @Test func recoveryInItsOrder() {
        let paused = Self.following + [.word(.postcopyPaused)]
        var broken = Self.entered + [.word(.postcopyPaused)]
        #expect(
            !allowed(.resume, .source, paused, nil, PermissionContext(other: Evidence(.destination, broken).report)))
        let recover = Command.migrateRecover(uri: "unix:/r")
        broken += [.send(recover), .accept(recover)]
        #expect(allowed(.resume, .source, paused, nil, PermissionContext(other: Evidence(.destination, broken).report)))
        #expect(allowed(.resume, .source, paused), "unknown is for QEMU to say")
        #expect(allowed(.recover, .destination, Self.entered + [.word(.postcopyPaused)]))
        let again = Self.entered + [.word(.postcopyPaused), .word(.setup)]
        #expect(!allowed(.recover, .destination, again, QEMUVersion(7, 0)))
        #expect(allowed(.recover, .destination, again, QEMUVersion(7, 2, 22)))
        #expect(!allowed(.recover, .source, paused))
        #expect(!allowed(.hold, .source, paused))
    }

    // MARK: Commands

    @Test func commandsAreTheirTriggers() {
        let copying = Evidence(.source, Self.copying)
        #expect(copying.allowed(.queryMigrate).isAllowed)
        #expect(copying.allowed(.other("device_add")).isAllowed)
        #expect(copying.allowed(.setParameters([])).isAllowed)
        #expect(!copying.allowed(.setCapabilities([])).isAllowed)
        #expect(copying.allowed(.migrateCancel) == .allowed)
        #expect(
            copying.allowed(.migrateContinue(state: "pre-switchover")).refusal
                == "migrate-continue is refused: on the source memory is being copied. "
                + "Wait for pre-switchover, where QEMU asks for it.")
        #expect(
            copying.allowed(.migratePause).refusal
                == "migrate-pause is refused: on the source memory is being copied. "
                + "QEMU can interrupt only post-copy; pause-guest stops the guest.")
    }
}
