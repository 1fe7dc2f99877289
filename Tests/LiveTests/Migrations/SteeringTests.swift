import Glibc
import GuestLab
import JSONC
import Testing

extension MigrationLab {
    /// Runs a verb that acts on the attempt that runs.
    func steer(_ arguments: String...) throws -> Godwit.Outcome { try godwit(arguments).finish() }

    /// The control socket of the only attempt.
    func controlSocket() throws -> String {
        let sockets = names(in: directory.file("state")).filter { $0.hasSuffix(".ctl") }
        return try directory.file("state/\(#require(sockets.first))")
    }

    /// A program of a few lines, to be a hook.
    func program(_ lines: String) throws -> String {
        let path = directory.file("hook")
        try writeText("#!/bin/sh\n\(lines)\n", to: path)
        guard chmod(path, 0o700) == 0 else { throw SocketError(path) }
        return path
    }
}

extension MigrationTests {
    /// What others can do with a migration while it runs.
    @Suite struct Steering {
        @Test func status() throws {
            let lab = try MigrationLab()
            let nothing = try lab.steer("status")
            #expect(nothing.code == 0)
            #expect(nothing.output == "no migration runs here\n")
            let run = try lab.migrateSlowly()
            let text = try lab.steer("status")
            #expect(text.code == 0, "\(text)")
            #expect(text.lines.first?.hasSuffix("  copying, QEMU says active") == true, "\(text)")
            #expect(text.output.contains("  from \(lab.source.qmpPath)\n"))
            #expect(text.output.contains("  to   \(lab.destination.qmpPath)\n"))
            let id = try #require(text.lines.first?.prefix { $0 != " " })
            var value = JSONValue.null
            // The attempt looks at QEMU's numbers a few times a second.
            try eventually("numbers") {
                value = try JSONValue(parsing: try lab.steer("status", String(id.prefix(6)), "--format", "json").output)
                return value["progress"] != nil
            }
            #expect(value["attempt"]?.string == String(id))
            #expect(value["status"]?["status"] == "copying")
            #expect((value["progress"]?["totalBytes"]?.int64 ?? 0) > 96 << 20)
            #expect(try lab.steer("status", "nosuch").code == 75)
            #expect(try lab.steer("cancel", "nosuch").code == 75)
            run.interrupt()
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
            #expect(names(in: lab.directory.file("state")).isEmpty)
        }

        @Test func cancelledByAnother() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly()
            let watch = try lab.godwit("status", "--watch")
            try eventually("the first look") { watch.output.contains("copying") }
            let cancel = try lab.steer("cancel")
            #expect(cancel.code == 0, "\(cancel)")
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
            let seen = try watch.finish()
            #expect(seen.code == 11, "\(seen)")
            #expect(seen.errors.contains("stopping: cancel"), "\(seen)")
            #expect(seen.output.contains("cancelled: the guest's place is source"), "\(seen)")
            try lab.expectNextMigrationWorks()
        }

        /// New limits have an effect at once, and are put back with the old ones.
        @Test func limitsInFlight() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly()
            let refused = try lab.steer("set", "--xbzrle-cache-size", "3MiB")
            #expect(refused.code == 18, "\(refused)")
            #expect(refused.errors.contains("QEMU refuses: "), "\(refused)")
            let done = try lab.steer("set", "--bandwidth", "200MiB", "--downtime-limit", "2s")
            #expect(done.code == 0, "\(done)")
            let outcome = try run.finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
        }

        @Test func limitsArePutBack() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly()
            #expect(try lab.steer("set", "--bandwidth", "5MiB", "--cpu-throttle-initial", "42").code == 0)
            let parameters = try lab.sourceMonitor.execute("query-migrate-parameters")
            #expect(parameters["max-bandwidth"] == 5_242_880)
            #expect(parameters["cpu-throttle-initial"] == 42)
            #expect(try lab.steer("cancel").code == 0)
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
        }

        // MARK: Held before the switchover

        @Test func heldUntilSomebodySaysSo() throws {
            let lab = try MigrationLab()
            let run = try lab.migrate(["--hold"])
            try lab.sourceMonitor.pollMigration { $0["status"] == "pre-switchover" }
            try eventually("the attempt knows") { try lab.steer("status").output.contains("pre-switchover") }
            #expect(try lab.sourceMonitor.runState() == "finish-migrate")
            #expect(try lab.destinationMonitor.runState() == "inmigrate")
            #expect(try lab.steer("continue").code == 0)
            let outcome = try run.finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
        }

        @Test func nobodySaysSo() throws {
            let lab = try MigrationLab()
            let outcome = try lab.migrate(["--hold", "--hold-timeout", "300ms"]).finish()
            #expect(outcome.output.contains("nobody let the guest go on to the switchover in time"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:")
            try lab.expectNextMigrationWorks()
        }

        @Test(Live.wide) func heldAndCancelled() throws {
            let lab = try MigrationLab()
            let run = try lab.migrate(["--hold"])
            try lab.sourceMonitor.pollMigration { $0["status"] == "pre-switchover" }
            #expect(try lab.steer("cancel").code == 0)
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
            try lab.expectNextMigrationWorks()
        }

        @Test(Live.wide) func tooEarlyToContinue() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly(["--hold"])
            let early = try lab.steer("continue")
            #expect(early.code == 18, "\(early)")
            #expect(early.errors.contains("Wait for pre-switchover"), "\(early)")
            run.interrupt()
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
        }

        // MARK: Hooks

        @Test func theHookSeesEveryMoment() throws {
            let lab = try MigrationLab()
            let log = lab.directory.file("hook.log")
            let hook = try lab.program(
                #"echo "$GODWIT_PHASE $GODWIT_SIDE $GODWIT_STATUS $GODWIT_SOURCE $GODWIT_DESTINATION" >>\#(log)"#)
            let outcome = try lab.migrate(["--hook", hook]).finish()
            #expect(outcome.code == 0, "\(outcome)")
            let monitors = "\(lab.source.qmpPath) \(lab.destination.qmpPath)"
            #expect(
                fileText(log) == """
                    begin source idle \(monitors)
                    pre-switchover source switchover \(monitors)
                    end destination completed \(monitors)

                    """)
            try lab.expectGuest(runsOn: .destination)
        }

        /// What it says before the switchover counts: the guest stays, and goes on.
        @Test func aHookThatFailsBeforeTheSwitchover() throws {
            let lab = try MigrationLab()
            let log = lab.directory.file("hook.log")
            let hook = try lab.program(
                #"echo "$GODWIT_PHASE $GODWIT_STATUS" >>\#(log); test "$GODWIT_PHASE" != pre-switchover || exit 3"#)
            let outcome = try lab.migrate(["--hook", hook]).finish()
            #expect(
                outcome.output.contains("the hook before the switchover failed: \(hook): exit status 3"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:")
            #expect(fileText(log) == "begin idle\npre-switchover switchover\nend failed\n")
            try lab.expectNextMigrationWorks()
        }

        @Test func aHookThatFailsAtTheBeginning() throws {
            let lab = try MigrationLab()
            let outcome = try lab.migrate(["--hook", "false"]).finish()
            #expect(outcome.output.contains("the hook at the beginning failed: false: exit status 1"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:")
            #expect(try lab.destinationMonitor.runState() == "inmigrate")
            let missing = try lab.migrate(["--hook", "/no/such/program"]).finish()
            #expect(missing.output.contains("/no/such/program: No such file or directory"), "\(missing)")
            try lab.expectNextMigrationWorks()
        }

        /// One that does not come to an end is ended, with all that it started.
        @Test func aHookThatHangs() throws {
            let lab = try MigrationLab()
            let pid = lab.directory.file("hook.pid")
            let hook = try lab.program(
                "test $GODWIT_PHASE = pre-switchover || exit 0; sleep 1000 & echo $! >\(pid); wait")
            let outcome = try lab.migrate(["--hook", hook, "--hook-timeout", "400ms"]).finish()
            #expect(outcome.output.contains("did not end within 400 ms and was killed"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:")
            let child = try #require(Int32(fileText(pid).split(separator: "\n").first ?? ""))
            try eventually("what the hook started is gone") { kill(child, 0) != 0 }
        }

        /// A cancel does not wait for it.
        @Test(Live.wide) func cancelledWhileTheHookRuns() throws {
            let lab = try MigrationLab()
            let hook = try lab.program("test $GODWIT_PHASE = pre-switchover || exit 0; sleep 1000")
            let run = try lab.migrate(["--hook", hook, "--hold"])
            try lab.sourceMonitor.pollMigration { $0["status"] == "pre-switchover" }
            try eventually("the attempt knows") { try lab.steer("status").output.contains("pre-switchover") }
            let early = try lab.steer("continue")
            #expect(
                early.code == 18 && early.errors.contains("the hook before the switchover has not ended"), "\(early)")
            run.interrupt()
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
        }

        // MARK: The socket

        /// It is QMP: any client can use it, and none can disturb the attempt.
        @Test func theControlSocketSpeaksQMP() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly()
            let path = try lab.controlSocket()
            var information = stat()
            #expect(stat(path, &information) == 0 && information.st_mode & 0o777 == 0o600)
            let client = try BlockingQMP(path)
            #expect(client.greeting["QMP"]?["capabilities"]?.array?.contains("godwit-attempt") == true)
            #expect(try client.execute("query-attempt")["status"]?["status"] == "copying")
            let commands = try client.execute("query-commands").array ?? []
            #expect(commands.contains { $0["name"] == "cancel" })
            for (name, arguments, problem) in [
                ("quit", nil, "CommandNotFound"), ("cancel", ["now": true], "takes no argument 'now'"),
                ("set", nil, "no object with settings"), ("set", ["parameters": ["tls-creds": "x"]], "no effect"),
                ("recover", ["uri": 7], "no string"), ("pause-postcopy", nil, "not in post-copy"),
                ("qmp_capabilities", nil, "complete already"),
            ] as [(String, JSONValue?, String)] {
                let error = #expect(throws: BlockingQMP.Failure.self) { try client.execute(name, arguments) }
                #expect(error.map { "\($0)".contains(problem) } == true, "\(name): \(String(describing: error))")
            }
            // Rubbish, half a message, an endless one, words before the negotiation.
            for bytes in ["}}}\n", "{\"execute\":", String(repeating: "[", count: 200_000), "{\"execute\":\"cancel\"}"]
            {
                let descriptor = try UnixSocket.connect(to: path)
                _ = UnixSocket.send(Array(bytes.utf8), to: descriptor)
                close(descriptor)
            }
            #expect(try client.execute("query-attempt")["status"]?["stopping"] == "none")
            try client.execute("cancel")
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
            try client.waitForEvent("FINISHED") { $0["outcome"] == "cancelled" }
        }

        /// A socket that a killed attempt has left is no attempt, and goes away.
        @Test(Live.wide) func aLeftOverSocket() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly()
            let path = try lab.controlSocket()
            run.child.signal(SIGKILL)
            _ = try run.finish()
            #expect(access(path, F_OK) == 0)
            let status = try lab.steer("status")
            #expect(status.output == "no migration runs here\n")
            #expect(status.errors.contains("ended without a word, killed perhaps"), "\(status)")
            #expect(status.errors.contains(".qmptrace: nobody answers for this attempt"), "\(status)")
            #expect(access(path, F_OK) != 0)
        }

        @Test(Live.wide) func twoAttemptsAtOnce() throws {
            let lab = try MigrationLab()
            // A machine that runs nothing but its firmware will do for the other.
            let options = QEMUProcess.Options(label: "second")
            let second = try QEMUProcess.start(options, in: lab.directory)
            let other = try QEMUProcess.start(options.destination(label: "other"), in: lab.directory)
            let run = try lab.migrateSlowly()
            let secondRun = try lab.godwit(
                "migrate", "--source", second.qmpPath, "--destination", other.qmpPath, "--bandwidth", "64KiB")
            try secondRun.waitForNote("copying, QEMU says active")
            let ambiguous = try lab.steer("cancel")
            #expect(ambiguous.code == 64, "\(ambiguous)")
            #expect(ambiguous.errors.contains("several attempts run here, say which one: "), "\(ambiguous)")
            let status = try lab.steer("status")
            #expect(status.output.contains("from \(lab.source.qmpPath)\n"))
            #expect(status.output.contains("from \(second.qmpPath)\n"))
            for attempt in names(in: lab.directory.file("state")) where attempt.hasSuffix(".ctl") {
                #expect(try lab.steer("cancel", String(attempt.dropLast(4))).code == 0)
            }
            let outcome = try run.finish()
            #expect(try secondRun.finish().code == 11)
            try lab.expect(outcome, code: 11, says: "cancelled:")
        }
    }
}
