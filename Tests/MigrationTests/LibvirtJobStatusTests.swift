import Testing

@testable import Migration

/// libvirt's view, against what its handler does.
@Suite struct LibvirtJobStatusTests {
    /// The handler's table as libvirt has it, an oracle of its own: QEMU's word, libvirt's name, the status it sets.
    private static let handler: [(String, String, LibvirtJobStatus?)] = [
        ("setup", "SETUP", nil), ("active", "ACTIVE", nil), ("wait-unplug", "WAIT_UNPLUG", nil),
        ("cancelling", "CANCELLING", nil), ("pre-switchover", "PRE_SWITCHOVER", .paused),
        ("device", "DEVICE", .migrating), ("postcopy-active", "POSTCOPY", .postcopy),
        ("postcopy-paused", "POSTCOPY_PAUSED", .postcopyPaused), ("completed", "COMPLETED", .hypervisorCompleted),
        ("failed", "ERROR", .failed), ("cancelled", "CANCELLED", .canceled),
    ]

    private static let unknownToLibvirt = [
        "none", "colo", "postcopy-recover-setup", "postcopy-device", "failing", "never-heard-of",
    ]

    @Test(arguments: LibvirtGeneration.allCases) func everyWordIsReadAsLibvirtDoes(generation: LibvirtGeneration) {
        for (word, name, status) in Self.handler {
            let reading = generation.reading(of: StatusWord(rawValue: word))
            #expect(reading.libvirtName == name)
            #expect(reading.sets == status)
            #expect(!reading.isFilledIn)
        }
        for word in Self.unknownToLibvirt {
            let reading = generation.reading(of: StatusWord(rawValue: word))
            #expect(reading.isFilledIn, "\(word)")
            #expect(reading.libvirtName == nil)
        }
        let filled = generation.readings.filter(\.isFilledIn).map(\.word.rawValue)
        #expect(Set(filled + ["never-heard-of"]) == Set(Self.unknownToLibvirt))
        #expect(generation.readings.map(\.word) == StatusWord.known)
    }

    @Test func theGenerationsDifferInOneWord() {
        let before = LibvirtGeneration.recoverCountsAsPostcopy.readings
        let after = LibvirtGeneration.recoverIsWaitedFor.readings
        let different = zip(before, after).filter { $0 != $1 }
        #expect(different.map(\.0.word) == [.postcopyRecover])
        #expect(different.first?.0.sets == .postcopy)
        #expect(different.first?.1.sets == nil)
    }

    @Test func whatIsFilledIn() {
        func sets(_ word: StatusWord) -> LibvirtJobStatus? {
            LibvirtGeneration.recoverIsWaitedFor.reading(of: word).sets
        }
        #expect(sets(.none) == LibvirtJobStatus.none)
        #expect(sets(.colo) == .migrating)
        #expect(sets(.postcopyDevice) == sets(.device))
        #expect(sets(.failing) == sets(.cancelling))
        #expect(sets(.postcopyRecoverSetup) == sets(.postcopyRecover))
        #expect(sets(StatusWord(rawValue: "never-heard-of")) == nil)
    }

    // MARK: From evidence

    private static let begun: [Line] = [.state(.running), .send(migrate), .accept(migrate)]

    private func job(_ lines: [Line]) -> LibvirtJob { job(.source, lines) }

    private func job(_ side: Side, _ lines: [Line]) -> LibvirtJob { Evidence(side, lines).libvirtJob() }

    private func job(_ generation: LibvirtGeneration, _ lines: [Line]) -> LibvirtJob {
        Evidence(.source, lines).libvirtJob(generation)
    }

    @Test func theBeginning() {
        #expect(job([]).status == LibvirtJobStatus.none)
        #expect(job([.state(.running)]).status == LibvirtJobStatus.none)
        #expect(job([.send(migrate)]).status == .active)
        #expect(job(Self.begun).status == .migrating)
        #expect(job([.word(.setup)]).status == .migrating, "somebody else's command")
        #expect(job([.send(migrate), .refuse(migrate, "no")]).status == .failed)
        #expect(job(.destination, [.send(listen), .word(.setup), .word(.active)]).status == .active)
    }

    /// Each word alone, after `migrate`: what libvirt would show, and what we show where it would not know.
    @Test(arguments: LibvirtGeneration.allCases) func eachWord(generation: LibvirtGeneration) {
        for (word, _, status) in Self.handler {
            let seen = job(generation, Self.begun + [.word(StatusWord(rawValue: word))])
            #expect(seen.status == status ?? .migrating, "\(word)")
            #expect(seen.libvirtStatus == seen.status)
            #expect(seen.unknownWord == nil)
        }
        for word in Self.unknownToLibvirt where word != "none" {
            let word = StatusWord(rawValue: word)
            let seen = job(generation, Self.begun + [.word(.preSwitchover), .word(word)])
            #expect(seen.libvirtStatus == .paused, "\(word) is dropped")
            #expect(seen.status == generation.reading(of: word).sets ?? .paused)
            #expect(seen.unknownWord == word)
        }
    }

    @Test func aWholeMigration() {
        var lines = Self.begun + [.word(.active), .event(.stop), .word(.preSwitchover)]
        #expect(job(lines).status == .paused)
        lines += [.word(.device)]
        #expect(job(lines).status == .migrating)
        lines += [.word(.completed)]
        #expect(job(lines).status == .hypervisorCompleted)
        #expect(job(lines + [.process(.exited(0))]).status == .completed)
        #expect(job(lines + [.send(.quit)]).status == .completed)
        let arrived: [Line] = [.send(listen), .word(.active), .word(.completed)]
        #expect(job(.destination, arrived).status == .hypervisorCompleted)
        #expect(job(.destination, arrived + [.event(.resume)]).status == .completed)
    }

    @Test func cancelAndFailure() {
        let cancelling = Self.begun + [.word(.active), .send(.migrateCancel), .word(.cancelling)]
        #expect(job(cancelling).status == .migrating)
        #expect(job(cancelling + [.word(.cancelled)]).status == .canceled)
        #expect(job(cancelling + [.word(.cancelled), .process(.gone)]).status == .canceled)
        // libvirt believes the last word, whatever came first.
        #expect(job(cancelling + [.word(.failed)]).status == .failed)
        #expect(job(Self.begun + [.word(.active), .process(.gone)]).status == .failed)
        let failing = job(Self.begun + [.word(.active), .word(.failing)])
        #expect(failing == LibvirtJob(status: .migrating, libvirtStatus: .migrating, unknownWord: .failing))
        #expect(job(Self.begun + [.word(.failing), .word(.failed)]).unknownWord == nil)
    }

    @Test func recovery() {
        let resume = Command.migrate(uri: "unix:/r", resume: true)
        let paused = Self.begun + [.word(.active), .word(.postcopyActive), .word(.postcopyPaused)]
        for generation in LibvirtGeneration.allCases {
            #expect(job(generation, paused).status == .postcopyPaused)
            #expect(job(generation, paused + [.send(resume)]).status == .postcopyPaused)
            #expect(job(generation, paused + [.send(resume), .accept(resume)]).status == .migrating)
            let connecting = paused + [.send(resume), .accept(resume), .word(.postcopyRecoverSetup)]
            #expect(
                job(generation, connecting)
                    == LibvirtJob(status: .migrating, libvirtStatus: .migrating, unknownWord: .postcopyRecoverSetup))
            #expect(job(generation, connecting + [.word(.postcopyPaused)]).status == .postcopyPaused)
            let again = connecting + [.word(.postcopyRecover)]
            #expect(
                job(generation, again).status
                    == (generation == .recoverCountsAsPostcopy ? .postcopy : .migrating))
            #expect(job(generation, again + [.word(.postcopyActive)]).status == .postcopy)
            // The recovery that somebody else began.
            #expect(job(generation, paused + [.word(.postcopyRecover)]).libvirtStatus != .postcopyPaused)
        }
        #expect(Evidence(.source, paused).libvirtJobStatus == .postcopyPaused)
    }

    // MARK: What clients are told

    @Test func thePublicNames() {
        let unbounded: Set<LibvirtJobStatus> = [
            .active, .migrating, .hypervisorCompleted, .paused, .postcopy, .postcopyPaused,
        ]
        for status in LibvirtJobStatus.allCases { #expect((status.type == .unbounded) == unbounded.contains(status)) }
        #expect(LibvirtJobStatus.none.type == LibvirtJobType.none)
        #expect(LibvirtJobStatus.completed.type == .completed)
        #expect(LibvirtJobStatus.failed.type == .failed)
        #expect(LibvirtJobStatus.canceled.type == .cancelled)
        let errors: Set<LibvirtJobStatus> = [LibvirtJobStatus.none, .failed, .canceled, .postcopyPaused]
        #expect(Set(LibvirtJobStatus.allCases.filter(\.isError)) == errors)
    }
}
