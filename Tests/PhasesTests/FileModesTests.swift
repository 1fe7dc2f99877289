import Migration
import Phases
import Testing

/// A guest that goes into a file or comes out of one: one QEMU, and a disk.
@Suite struct FileModesTests {
    /// One QEMU that does as it is told, and a driver that asks the machine about everything it says.
    private struct OneSided {
        var machine: AttemptMachine
        let side: Side
        let hasFiles: Bool
        var log: [Effect] = []
        var runState: RunState
        var capabilities = ["events", "pause-before-switchover", "late-block-activate", "mapped-ram"].map {
            CapabilitySetting($0, false)
        }
        var parameters = [
            Setting("max-bandwidth", .integer(134_217_728)), Setting("downtime-limit", .integer(300)),
            Setting("direct-io", .bool(false)),
        ]
        var sets: [Int64: Int] = [:]
        /// What becomes of the file.
        var storeFailure: String?
        /// What QEMU says instead of loading the guest.
        var loadFailure: String?
        /// What QEMU says instead of writing all of the guest.
        var writeFailure: String?
        /// A request right after this command.
        var request: (after: String, request: Request)?
        private var queue: [Input] = []
        private var sequence = 0
        private var armed: [(deadline: Deadline, at: Int64)] = []
        private var now: Int64 = 0
        private var isEnded = false

        init(_ mode: MigrationMode, hasFiles: Bool = true, _ change: (inout MigrateOptions) -> Void = { _ in }) {
            var options = MigrateOptions(attempt: "a1", uri: "file:/saves/guest")
            options.mode = mode
            options.file = FileWish(path: "/saves/guest")
            change(&options)
            machine = AttemptMachine(options: options)
            side = mode == .save ? .source : .destination
            self.hasFiles = hasFiles
            runState = mode == .save ? .running : .inMigrate
        }

        static let description = DomainDescription(
            version: QEMUVersion(10, 0), machineType: "pc-i440fx-10.0", memoryBytes: 1 << 28, cpuModel: "qemu64")

        var sends: [Command] { log.compactMap { if case .send(_, let command, _) = $0 { command } else { nil } } }
        var steps: [Step] { log.compactMap { if case .call(let step, _) = $0 { step } else { nil } } }
        var records: [JournalRecord] { log.compactMap { if case .persist(let record) = $0 { record } else { nil } } }

        mutating func run() -> AttemptResult? {
            queue = [
                .fact(side, .monitor(.connected)), .fact(side, .greeting(QEMUVersion(10, 0))),
                .request(.migrate, .operator),
            ]
            for _ in 0..<1000 where machine.result == nil {
                if queue.isEmpty {
                    guard let next = armed.min(by: { $0.at < $1.at }) else { break }
                    armed.removeAll { $0.deadline == next.deadline }
                    now = max(now, next.at)
                    queue.append(.timeout(next.deadline))
                }
                take(queue.removeFirst())
            }
            return machine.result
        }

        private mutating func take(_ input: Input) {
            sequence += 1
            now += 1
            for effect in machine.apply(input, sequence: sequence, at: Instant(microseconds: now * 1000)) {
                log.append(effect)
                switch effect {
                case .send(_, let command, _): carryOut(command)
                case .survey:
                    let features = QEMUFeatures(
                        hasExitOnError: true, hasYank: true, hasChannels: true, hasFiles: hasFiles)
                    queue.append(
                        .surveyed(
                            side, Survey(description: Self.description, features: features, isProcessWatched: true)))
                case .hook(let point): queue.append(.hooked(point, failure: storeFailure))
                case .arm(let deadline, let milliseconds):
                    armed.removeAll { $0.deadline == deadline }
                    armed.append((deadline, now + Int64(milliseconds)))
                case .disarm(let deadline): armed.removeAll { $0.deadline == deadline }
                default: break
                }
            }
        }

        private mutating func say(_ event: QEMUEvent) { queue.append(.fact(side, .event(event))) }

        private mutating func carryOut(_ command: Command) {
            take(.sent(side, command))
            var reply = Reply.done
            switch command {
            case .queryStatus: reply = .status(runState)
            case .queryMigrate:
                var sample = MigrationSample(status: isEnded ? .failed : nil)
                sample.errorDescription = isEnded ? loadFailure : nil
                reply = .migration(sample)
            case .queryCapabilities: reply = .capabilities(capabilities)
            case .queryParameters: reply = .parameters(parameters)
            case .queryYank: reply = .yankInstances(migration: false)
            case .setCapabilities(let changes):
                for change in changes {
                    for index in capabilities.indices where capabilities[index].name == change.name {
                        capabilities[index] = change
                    }
                }
            case .setParameters(let changes):
                for change in changes {
                    for index in parameters.indices where parameters[index].name == change.name {
                        parameters[index] = change
                    }
                }
            case .addFD(let set, _): sets[set, default: 0] += 1
            case .removeFD(let set): sets[set] = nil
            case .migrate:
                say(.migration(.setup))
                say(.migration(.active))
                // Else it is still copying.
                if writeFailure == nil, request?.after != command.name {
                    say(.migration(.preSwitchover))
                    runState = .finishMigrate
                }
            case .stop:
                guard runState == .running else { break }
                runState = .paused
                say(.stop)
                if writeFailure != nil { say(.migration(.failed)) }
            case .migrateContinue:
                say(.migration(.device))
                say(.migration(.completed))
                runState = .postMigrate
            case .migrateCancel:
                say(.migration(.cancelling))
                say(.migration(.cancelled))
            case .migrateIncoming:
                say(.migration(.setup))
                say(.migration(.active))
                if loadFailure != nil {
                    isEnded = true
                    say(.migration(.failed))
                } else {
                    runState = .paused
                    say(.migration(.completed))
                }
            case .cont:
                runState = .running
                say(.resume)
            case .quit:
                say(.shutdown(byGuest: false, reason: "host-qmp-quit"))
                queue.append(.fact(side, .reply(command, .done)))
                queue += [.fact(side, .monitor(.lost)), .fact(side, .process(.exited(0)))]
                return
            default: break
            }
            queue.append(.fact(side, .reply(command, reply)))
            if let request, request.after == command.name {
                self.request = nil
                queue.append(.request(request.request, .operator))
            }
        }

        /// What was changed is as it was.
        func expectPutBack(sourceLocation: SourceLocation = #_sourceLocation) {
            let before = OneSided(.save)
            #expect(parameters == before.parameters, sourceLocation: sourceLocation)
            #expect(sets.isEmpty, sourceLocation: sourceLocation)
            #expect(
                capabilities.filter { $0.name != "events" } == before.capabilities.filter { $0.name != "events" },
                sourceLocation: sourceLocation)
        }
    }

    private static let wishes: @Sendable (inout MigrateOptions) -> Void = {
        $0.capabilities = ["mapped-ram"]
        $0.parameters = [Setting("max-bandwidth", .integer(0)), Setting("direct-io", .bool(true))]
        $0.file?.isDirect = true
    }

    // MARK: Save

    @Test(arguments: [true, false]) func saved(hasFiles: Bool) throws {
        var run = OneSided(.save, hasFiles: hasFiles)
        let end = run.run()
        let result = try #require(end)
        #expect(result.verdict == .saved)
        #expect(result.place == .file)
        #expect(run.steps == [.begin, .perform, .confirm])
        let migrate = try #require(run.sends.first { $0.trigger == .migrate })
        let passed = try #require(run.sends.firstIndex { ["getfd", "add-fd"].contains($0.name) })
        #expect(try passed < #require(run.sends.firstIndex(of: migrate)))
        guard case .addFD(let set, false) = run.sends[passed] else {
            #expect(!hasFiles)
            #expect(migrate.argument == "fd:godwit-file")
            return
        }
        #expect(migrate.argument == "file:/dev/fdset/\(set)")
        // Nothing comes back from a file.
        #expect(!run.log.contains { "\($0)".contains("return-path") })
    }

    /// The QEMU ends when the file is safe and not before.
    @Test func endedWhenTheFileIsSafe() throws {
        var run = OneSided(.save)
        _ = run.run()
        let stored = try #require(run.log.firstIndex(of: .hook(.store)))
        let completed = try #require(
            run.log.firstIndex { if case .answer(.perform, .done) = $0 { true } else { false } })
        let quit = try #require(run.log.firstIndex(of: .send(.source, .quit, outOfBand: false)))
        #expect(completed < stored && stored < quit)
        #expect(!run.records.contains(.surrendered(attempt: "a1")))
    }

    /// No file, no end: the guest goes on where it is, and what was changed is put back.
    @Test func theDiskDoesNotTakeIt() throws {
        var run = OneSided(.save, Self.wishes)
        run.storeFailure = "/saves/guest: Input/output error"
        let end = run.run()
        let result = try #require(end)
        #expect(result.verdict == .continued)
        #expect(result.place == .source)
        #expect(result.isRunning == true)
        #expect(result.error == "the file could not be kept: /saves/guest: Input/output error")
        #expect(run.sends.contains(.cont))
        #expect(!run.sends.contains(.quit))
        run.expectPutBack()
    }

    @Test func qemuCannotWriteIt() throws {
        var run = OneSided(.save, Self.wishes)
        run.writeFailure = "No space left on device"
        let end = run.run()
        let result = try #require(end)
        #expect(result.verdict == .continued)
        #expect(!run.log.contains(.hook(.store)))
        #expect(run.sends.contains(.cont))
        #expect(run.runState == .running)
        run.expectPutBack()
    }

    @Test(arguments: ["query-status", "add-fd", "migrate"]) func cancelled(after command: String) throws {
        var run = OneSided(.save, Self.wishes)
        run.request = (command, .cancel)
        let end = run.run()
        let result = try #require(end)
        #expect(result.word == .cancelled)
        #expect(result.place == .source)
        #expect(run.runState == .running)
        #expect(!run.log.contains(.hook(.store)))
        run.expectPutBack()
    }

    @Test func keptAfterwards() throws {
        var run = OneSided(.save) {
            Self.wishes(&$0)
            $0.keepsSource = true
        }
        let end = run.run()
        #expect(end?.verdict == .saved)
        #expect(!run.sends.contains(.quit))
        run.expectPutBack()
    }

    // MARK: Restore

    @Test(arguments: [nil, true, false]) func restored(wasRunning: Bool?) throws {
        var run = OneSided(.restore) {
            Self.wishes(&$0)
            $0.parameters.removeFirst()
            $0.file?.description = OneSided.description
            $0.file?.wasRunning = wasRunning
        }
        let end = run.run()
        let result = try #require(end)
        #expect(result.verdict == .restored)
        #expect(result.place == .destination)
        #expect(result.isRunning == (wasRunning ?? true))
        #expect(run.steps == [.prepare, .finish])
        #expect(run.sends.contains(.cont) == (wasRunning ?? true))
        #expect(run.records.contains(.run(attempt: "a1")))
        run.expectPutBack()
    }

    /// Found before the QEMU is spent on it.
    @Test func anotherMachine() throws {
        var run = OneSided(.restore) {
            $0.file?.description = OneSided.description
            $0.file?.description?.memoryBytes = 1 << 30
        }
        let end = run.run()
        let result = try #require(end)
        #expect(result.verdict == .notRestored)
        #expect(result.place == .file)
        #expect(result.error?.hasPrefix("the destination is not made like the source") == true)
        #expect(!run.sends.contains { $0.trigger != nil })
    }

    /// It cannot be used again, and says why before it ends.
    @Test func itCannotBeLoaded() throws {
        var run = OneSided(.restore, Self.wishes)
        run.loadFailure = "Not a migration stream"
        let end = run.run()
        let result = try #require(end)
        #expect(result.verdict == .notRestored)
        #expect(result.error?.contains("Not a migration stream") == true)
        #expect(run.steps == [.prepare, .finish, .abandon])
        #expect(!run.sends.contains(.cont))
        #expect(run.sends.last == .quit)
    }

    @Test(arguments: ["query-status", "migrate-incoming"]) func notRestoredByCancel(after command: String) throws {
        var run = OneSided(.restore, Self.wishes)
        run.request = (command, .cancel)
        let end = run.run()
        let result = try #require(end)
        // Told as early as it is, it has not run yet; later it does.
        #expect([.notRestoredByCancel, .restored].contains(result.verdict))
        #expect(run.sends.contains(.cont) == (result.verdict == .restored))
    }
}
