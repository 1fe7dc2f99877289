import GuestLab
import JSONC
import Testing

extension MigrationTests {
    /// What Prepare refuses by name, before a byte of memory moves.
    @Suite struct Refusal {
        struct Difference: Sendable, CustomTestStringConvertible {
            var testDescription: String
            /// What the refusal must say.
            var words: [String]
            var change: @Sendable (inout QEMUProcess.Options) -> Void

            init(_ name: String, _ words: [String], _ change: @escaping @Sendable (inout QEMUProcess.Options) -> Void) {
                testDescription = name
                self.words = words
                self.change = change
            }
        }

        private static let block = ["-blockdev", "driver=null-co,node-name=scratch,size=1048576"]
        private static let rng = [
            "-object", "rng-builtin,id=rng", "-device", "virtio-rng-pci,id=noise,rng=rng,addr=0x9",
        ]
        private static let arguments = block + rng

        private static let differences: [Difference] = [
            Difference("RAM", ["memory: 96 MiB on the source, 128 MiB on the destination"]) { $0.memoryMiB = 128 },
            Difference("CPU model", ["CPU model", "Nehalem"]) { $0.cpu = "Nehalem" },
            Difference("CPU count", ["CPUs"]) { $0.processors = 2 },
            Difference("machine type", ["machine type", "q35"]) { $0.machine = "q35" },
            Difference("a missing device", ["noise", "the destination has none"]) {
                $0.replace(rng, by: [])
            },
            Difference("a further device", ["more", "the source has none"]) {
                $0.extraArguments += ["-device", "virtio-balloon-pci,id=more"]
            },
            Difference("another device", ["noise", "virtio-balloon"]) {
                $0.replace(rng, by: ["-device", "virtio-balloon-pci,id=noise,addr=0x9"])
            },
            Difference("a bus address", ["noise", "addr"]) {
                $0.replace(rng, by: rng.map { $0.replacing("addr=0x9", with: "addr=0xa") })
            },
            Difference("a block node", ["block node scratch", "1 MiB", "2 MiB"]) {
                $0.replace(block, by: block.map { $0.replacing("1048576", with: "2097152") })
            },
            Difference("a missing block node", ["block node scratch", "the destination has none"]) {
                $0.replace(block, by: [])
            },
        ]

        /// One guest, many destinations that are not made like it, and then one that is.
        @Test func differencesAreNamed() throws {
            let lab = try MigrationLab(extra: Self.arguments)
            for difference in Self.differences {
                try lab.replaceDestination(difference.change)
                let outcome = try lab.migrate().finish()
                #expect(outcome.code == 10, "\(difference.testDescription): \(outcome)")
                #expect(outcome.output.hasPrefix("failed: the guest runs on the source"), "\(outcome)")
                for word in difference.words {
                    #expect(outcome.output.contains(word), "\(difference.testDescription): \(outcome)")
                }
                #expect(try lab.sourceMonitor.execute("query-migrate")["status"] == nil)
                #expect(try MigrationLab.settings(lab.sourceMonitor) == lab.settings)
                // It waits as it did before, for a guest that fits.
                #expect(try lab.destinationMonitor.runState() == "inmigrate")
                #expect(try lab.destinationMonitor.execute("query-migrate")["status"] == nil)
            }
            try lab.expectGuest(runsOn: .source)
            try lab.replaceDestination()
            try lab.expectNextMigrationWorks()
        }

        /// The commonest mistake, in full: the destination stays usable for the guest that fits.
        @Test func otherMemorySize() throws {
            let lab = try MigrationLab(disk: false) { $0.memoryMiB = 64 }
            let outcome = try lab.migrate().finish()
            #expect(outcome.output.contains("memory: 96 MiB on the source, 64 MiB on the destination"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            #expect(try lab.destinationMonitor.runState() == "inmigrate")
            var small = lab.options
            small.label = "small"
            small.memoryMiB = 64
            let source = try QEMUProcess.start(small, in: lab.directory)
            let second = try lab.godwit("migrate", "--source", source.qmpPath, "--destination", lab.destination.qmpPath)
                .finish()
            #expect(second.code == 0, "\(second)")
            try lab.destination.waitForHeartbeat(after: 3)
        }

        /// Names that QEMU or a person made up, and files in other places, do not matter to the stream.
        @Test func whatMayDiffer() throws {
            let lab = try MigrationLab(extra: Self.arguments) {
                $0.name = "another-name"
                $0.extraArguments += ["-object", "secret,id=unused,data=unused"]
            }
            let outcome = try lab.migrate().finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
        }

        /// A QEMU that runs, or could, but was not told to wait.
        @Test func theDestinationDoesNotWait() throws {
            let lab = try MigrationLab(disk: false) { $0.incoming = nil }
            let outcome = try lab.migrate().finish()
            #expect(outcome.output.contains("-incoming defer"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            #expect(try lab.destinationMonitor.runState() == "prelaunch")
        }

        /// It listens already, as somebody else's destination may.
        @Test func theDestinationListensAlready() throws {
            let lab = try MigrationLab()
            let uri = "unix:" + lab.directory.file("other")
            try lab.destinationMonitor.execute("migrate-incoming", ["uri": .string(uri)])
            let outcome = try lab.migrate().finish()
            #expect(outcome.output.contains("listens already"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            #expect(lab.destination.status == nil)
        }

        @Test func theSourceMigratesAlready() throws {
            let lab = try MigrationLab()
            let other = try QEMUProcess.start(lab.options.destination(label: "other"), in: lab.directory)
            let monitor = try BlockingQMP(other.qmpPath)
            let uri = JSONValue.string("unix:" + lab.directory.file("other"))
            try monitor.execute("migrate-incoming", ["uri": uri])
            try lab.sourceMonitor.execute("migrate-set-parameters", ["max-bandwidth": 1_048_576])
            try lab.sourceMonitor.execute("migrate", ["uri": uri])
            let outcome = try lab.migrate().finish()
            #expect(outcome.code == 10, "\(outcome)")
            #expect(outcome.output.contains("the source is migrating already"), "\(outcome)")
            #expect(try lab.sourceMonitor.execute("query-migrate")["status"] == "active")
            try lab.sourceMonitor.execute("migrate_cancel")
            try lab.expectGuest(runsOn: .source)
        }

        /// What Godwit would not ask for, somebody has left switched on. A QEMU that was built without it, or has it no more, says so itself.
        @Test(Live.wide) func somebodyLeftItOn() throws {
            let lab = try MigrationLab()
            var refused: [String] = []
            for name in ["x-colo", "background-snapshot", "block", "compress"] {
                let on = { (state: JSONValue) throws in
                    try lab.sourceMonitor.execute(
                        "migrate-set-capabilities", ["capabilities": [["capability": .string(name), "state": state]]])
                }
                guard (try? on(true)) != nil else { continue }
                let outcome = try lab.migrate().finish()
                #expect(outcome.code == 10, "\(outcome)")
                #expect(outcome.output.contains("the source's QEMU has \(name) switched on"), "\(outcome)")
                _ = try on(false)
                refused.append(name)
            }
            // Each generation has one of them at least.
            #expect(!refused.isEmpty)
            try lab.expectNextMigrationWorks()
        }

        /// QEMU itself says what stands in the way, in its own words.
        @Test func theGuestCannotBeMigrated() throws {
            let blocker = [
                "-object", "memory-backend-ram,id=shm,size=1M,share=on", "-device",
                "ivshmem-plain,memdev=shm,master=off",
            ]
            let lab = try MigrationLab(extra: blocker)
            let outcome = try lab.migrate().finish()
            #expect(outcome.output.contains("peer mode"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed: the guest runs on the source")
            // Before 6.0 QEMU says it only when it is to migrate, when the destination listens already and is used up.
            if lab.destination.waitForExit(timeout: .zero) == nil {
                #expect(try lab.destinationMonitor.runState() == "inmigrate")
            } else {
                #expect(try !lab.sourceHasCommand("yank"))
            }
        }
    }
}

extension MigrationLab {
    fileprivate func sourceHasCommand(_ name: String) throws -> Bool {
        let commands = try sourceMonitor.execute("query-commands").array ?? []
        return commands.contains { $0["name"] == .string(name) }
    }
}

extension QEMUProcess.Options {
    /// Puts other arguments in the place of these.
    fileprivate mutating func replace(_ old: [String], by new: [String]) {
        guard let start = extraArguments.indices.first(where: { extraArguments[$0...].starts(with: old) }) else {
            return
        }
        extraArguments.replaceSubrange(start..<start + old.count, with: new)
    }
}
