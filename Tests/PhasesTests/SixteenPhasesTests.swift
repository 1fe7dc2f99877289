import Migration
import Phases
import Testing

/// A side machine that is given steps and rows and nothing else. What it asks of QEMU is done and answered as QEMU
/// would, without a QMP message.
private struct Rows {
    var source: SourceMachine?
    var destination: DestinationMachine?
    private(set) var phases: [Phase] = []
    private(set) var answers: [Step: StepResult] = [:]
    private var sequence = 0
    private var runState: RunState
    private var word: StatusWord?

    init(_ side: Side, _ options: MigrateOptions) {
        if side == .source {
            source = SourceMachine(options: options)
        } else {
            destination = DestinationMachine(options: options)
        }
        runState = side == .source ? .running : .inMigrate
        note(.monitor(.connected))
        let description = DomainDescription(
            version: QEMUVersion(10, 2, 0), machineType: "q35", memoryBytes: 1 << 28, cpuModel: "qemu64")
        let survey = Survey(
            description: description,
            features: QEMUFeatures(hasYank: true, hasOutOfBand: true, hasPostcopyDevice: true), isProcessWatched: true)
        carryOut((source?.surveyed(survey) ?? []) + (destination?.surveyed(survey) ?? []))
    }

    /// A step is entered.
    mutating func step(_ step: Step, isSuccess: Bool = true) {
        var cookie = Cookie(attempt: "a1")
        if step == .perform { cookie.uri = "unix:/run/m.sock" }
        if step == .confirm { cookie.isSuccess = isSuccess }
        let effects: [Effect] =
            switch step {
            case .dumpXML, .begin: source?.begin(cookie) ?? []
            case .perform: source?.perform(cookie) ?? []
            case .confirm: source?.confirm(cookie) ?? []
            case .prepare: destination?.prepare(cookie) ?? []
            case .finish: destination?.finish(cookie) ?? []
            case .abandon: destination?.abandon() ?? []
            }
        carryOut(effects)
    }

    /// Rows are added to the event table.
    mutating func rows(_ words: StatusWord..., runState: RunState? = nil) {
        if let runState { self.runState = runState }
        for word in words {
            self.word = word
            note(.event(.migration(word)))
        }
    }

    mutating func allowHandOver() { carryOut(source?.allowHandOver() ?? []) }

    private mutating func note(_ fact: Fact) {
        sequence += 1
        let (sequence, time) = (sequence, Instant(microseconds: Int64(sequence)))
        carryOut(
            (source?.observe(fact, sequence: sequence, at: time) ?? [])
                + (destination?.observe(fact, sequence: sequence, at: time) ?? []))
    }

    private mutating func carryOut(_ effects: [Effect]) {
        for effect in effects {
            switch effect {
            case .phase(let move): phases.append(move.to)
            case .answer(let step, let result): answers[step] = result
            case .send(_, let command, _): answer(command)
            default: break
            }
        }
    }

    private mutating func answer(_ command: Command) {
        sequence += 1
        let (sequence, time) = (sequence, Instant(microseconds: Int64(sequence)))
        source?.sent(command, origin: .controller, sequence: sequence, at: time)
        destination?.sent(command, origin: .controller, sequence: sequence, at: time)
        if command == .cont { runState = .running }
        let reply: Reply =
            switch command {
            case .queryStatus: .status(runState)
            case .queryMigrate: .migration(MigrationSample(status: word))
            case .queryCapabilities:
                .capabilities(
                    ["events", "return-path", "pause-before-switchover", "postcopy-ram"].map {
                        CapabilitySetting($0, false)
                    })
            case .queryParameters: .parameters([])
            default: .done
            }
        note(.reply(command, reply))
        if command == .quit { note(.process(.exited(0))) }
    }
}

/// All sixteen phases, from rows and steps alone.
@Suite struct SixteenPhasesTests {
    private static func options(_ change: (inout MigrateOptions) -> Void = { _ in }) -> MigrateOptions {
        var options = MigrateOptions(attempt: "a1", uri: "unix:/run/m.sock")
        options.postcopy = PostcopyWish()
        change(&options)
        return options
    }

    private static func v2(_ side: Side) -> Rows {
        var rows = Rows(side, options { $0.protocolVersion = .v2 })
        if side == .source {
            rows.step(.dumpXML)
            rows.step(.perform)
            rows.rows(.setup, .active, .preSwitchover, .device, .completed, runState: .postMigrate)
        } else {
            rows.step(.prepare)
            rows.rows(.setup, .active)
            rows.step(.finish)
            rows.rows(.completed, runState: .paused)
        }
        return rows
    }

    private static func v3(
        _ side: Side, isSuccess: Bool = true, _ change: (inout MigrateOptions) -> Void = { _ in }
    ) -> Rows {
        var rows = Rows(side, options(change))
        if side == .source {
            rows.step(.begin)
            rows.step(.perform)
            rows.rows(.setup, .active, .preSwitchover, .device, .completed, runState: .postMigrate)
            rows.step(.confirm, isSuccess: isSuccess)
        } else {
            rows.step(.prepare)
            rows.rows(.setup, .active, .completed, runState: .paused)
            rows.step(.finish)
        }
        return rows
    }

    private static func resumed(_ side: Side) -> Rows {
        var rows = Rows(side, options())
        if side == .source {
            rows.step(.begin)
            rows.step(.perform)
            rows.rows(
                .setup, .active, .preSwitchover, .device, .postcopyDevice, .postcopyActive, runState: .finishMigrate)
            rows.allowHandOver()
            for _ in 0..<2 {
                rows.rows(.postcopyPaused)
                rows.step(.begin)
                rows.step(.perform)
                rows.rows(.postcopyRecoverSetup, .postcopyRecover, .postcopyActive)
            }
            rows.rows(.completed, runState: .postMigrate)
            rows.step(.confirm)
        } else {
            rows.step(.prepare)
            rows.rows(.setup, .active, .postcopyDevice, .postcopyActive, runState: .paused)
            rows.step(.finish)
            for _ in 0..<2 {
                rows.rows(.postcopyPaused)
                rows.step(.prepare)
                rows.step(.finish)
                rows.rows(.postcopyRecover, .postcopyActive)
            }
            rows.rows(.completed)
        }
        return rows
    }

    @Test func protocol2() {
        let (source, destination) = (Self.v2(.source), Self.v2(.destination))
        #expect(source.phases == [.perform2, .none])
        #expect(destination.phases == [.prepare, .finish2, .none])
        #expect(source.answers.keys.contains(.dumpXML) && !source.answers.keys.contains(.begin))
    }

    @Test func protocol3() {
        #expect(Self.v3(.source).phases == [.begin3, .perform3, .perform3Done, .confirm3, .none])
        #expect(
            Self.v3(.source, isSuccess: false).phases == [.begin3, .perform3, .perform3Done, .confirm3Cancelled, .none])
        #expect(Self.v3(.destination).phases == [.prepare, .finish3, .none])
        #expect(Self.v3(.source) { $0.hasChangeProtection = false }.phases.first == .perform3)
    }

    @Test(arguments: MigrationMode.allCases) func everyModeGoesThroughProtocol3(mode: MigrationMode) {
        #expect(
            Self.v3(.source) { $0.mode = mode }.phases == [.begin3, .perform3, .perform3Done, .confirm3, .none])
    }

    @Test func offline() {
        for side in Side.allCases {
            var rows = Rows(side, Self.options { $0.isOffline = true })
            for step in side == .source ? [Step.begin, .confirm] : [.prepare, .finish] { rows.step(step) }
            #expect(rows.phases == (side == .source ? [.begin3, .confirm3, .none] : [.prepare, .finish3, .none]))
        }
    }

    @Test func recoveryTwice() {
        let again: [Phase] = [.postcopyFailed, .beginResume, .performResume]
        #expect(
            Self.resumed(.source).phases
                == [.begin3, .perform3, .perform3Done] + again + again + [.confirmResume, .none])
        let there: [Phase] = [.postcopyFailed, .prepareResume, .finishResume]
        #expect(Self.resumed(.destination).phases == [.prepare, .finish3] + there + there + [.none])
    }

    /// An attempt that takes up an interrupted one begins where that one stands.
    @Test func aRecoveryOfItsOwn() {
        var source = Rows(.source, Self.options { $0.isPostcopyResume = true })
        source.rows(.postcopyPaused, runState: .finishMigrate)
        source.step(.begin)
        source.step(.perform)
        source.rows(.postcopyRecoverSetup, .postcopyRecover, .postcopyActive, .completed)
        source.step(.confirm)
        #expect(source.phases == [.beginResume, .performResume, .confirmResume, .none])
        var destination = Rows(.destination, Self.options { $0.isPostcopyResume = true })
        destination.rows(.postcopyPaused, runState: .running)
        destination.step(.prepare)
        destination.step(.finish)
        destination.rows(.postcopyRecover, .postcopyActive, .completed)
        #expect(destination.phases == [.prepareResume, .finishResume, .none])
    }

    @Test func allSixteen() {
        var entered: Set<Phase> = []
        for side in Side.allCases {
            entered.formUnion(Self.v2(side).phases)
            entered.formUnion(Self.v3(side).phases)
            entered.formUnion(Self.v3(side, isSuccess: false).phases)
            entered.formUnion(Self.resumed(side).phases)
        }
        #expect(entered == Set(Phase.allCases))
        #expect(entered.count == 16)
    }
}
