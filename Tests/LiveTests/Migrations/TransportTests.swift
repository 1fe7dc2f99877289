import Glibc
import GuestLab
import JSONC
import Synchronization
import Testing

extension MigrationTests {
    /// Ways for the memory, and what makes it travel faster; everything is found as it was afterwards.
    @Suite struct Transports {
        /// A guest that moved, its settings on both sides, its sockets, and what its trace says was sent and received.
        private func move(_ lab: MigrationLab, _ arguments: [String]) throws -> String {
            let before = try MigrationLab.settings(lab.destinationMonitor)
            let path = lab.directory.file("transport.qmptrace")
            let outcome = try lab.migrate(["--keep-source", "--trace", path] + arguments).finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
            try lab.expectSettingsRestored()
            #expect(try MigrationLab.settings(lab.destinationMonitor) == before)
            #expect(!names(in: lab.directory.path).contains { $0.hasSuffix(".sock") })
            let replay = try lab.godwit("replay", "--drive", path).finish()
            #expect(replay.code == 0, "\(replay)")
            return fileText(path)
        }

        private static let returnPath = #"{"capability":"return-path","state":true}"#

        @Test(.enabled(if: access("/proc/net/if_inet6", R_OK) == 0, "this host has no IPv6"))
        func overIPv6() throws {
            let trace = try move(try MigrationLab(), ["--uri", "tcp:[::1]:0"])
            #expect(trace.contains(#""execute":"migrate","arguments":{"uri":"tcp:[::1]:"#))
            #expect(!trace.contains(#""execute":"migrate","arguments":{"uri":"tcp:[::1]:0""#))
        }

        @Test(
            Live.wide, .enabled(if: VMSockets.hasLoopback, "this kernel has no VM sockets with itself (vsock_loopback)")
        )
        func overVMSockets() throws {
            _ = try move(try MigrationLab(), ["--uri", "vsock:1:\(20_000 + Int(getpid()) % 20_000)"])
        }

        /// It listens on all addresses, where nobody can connect to, and is reached by one of them.
        @Test(Live.wide) func anotherNameOfTheSameHost() throws {
            let trace = try move(
                try MigrationLab(), ["--uri", "tcp:0.0.0.0:0", "--connect-uri", "tcp:127.0.0.1:0"])
            #expect(trace.contains(#""execute":"migrate-incoming","arguments":{"uri":"tcp:0.0.0.0:0""#))
            #expect(trace.contains(#""execute":"migrate","arguments":{"uri":"tcp:127.0.0.1:"#))
        }

        /// Nobody listens anywhere: each QEMU gets one end of a pair of sockets over its monitor.
        @Test func overAPassedDescriptor() throws {
            let lab = try MigrationLab()
            let trace = try move(lab, ["--uri", "fd:stream"])
            #expect(trace.contains(#""side":"source","fds":1}"#))
            #expect(trace.contains(#""side":"destination","fds":1}"#))
            #expect(trace.contains(Self.returnPath))
        }

        /// One end dies and the other one notices: no copy of its socket is left open in this program.
        @Test func aPassedDescriptorIsNotKept() throws {
            let lab = try MigrationLab()
            let run = try lab.migrateSlowly(["--uri", "fd:stream"])
            lab.destination.kill()
            try lab.expect(try run.finish(), code: 10, says: "failed:")
            try lab.expectNextMigrationWorks()
        }

        /// Two commands with a pipe between them: nothing comes back, so the destination's own word is waited for.
        @Test func throughCommands() throws {
            let lab = try MigrationLab()
            let pipe = lab.directory.file("pipe")
            #expect(mkfifo(pipe, 0o600) == 0)
            let trace = try move(lab, ["--uri", "exec:cat \(pipe)", "--connect-uri", "exec:cat > \(pipe)"])
            #expect(!trace.contains(Self.returnPath))
        }

        /// The command fails, so nothing arrives.
        @Test(Live.wide) func aCommandThatFails() throws {
            let lab = try MigrationLab()
            let outcome = try lab.migrate(["--uri", "exec:false", "--connect-uri", "exec:cat > /dev/null"]).finish()
            try lab.expect(outcome, code: 10, says: "failed:")
            try lab.expectNextMigrationWorks()
        }

        // MARK: Several connections

        @Test(arguments: ["none", "zlib", "zstd"]) func severalConnections(compression: String) throws {
            let lab = try MigrationLab()
            if compression == "zstd", !(try lab.hasZstd()) {
                // Built without it, as 5.2 of Debian is: its own words say so.
                let outcome = try lab.migrate(["--multifd", "--multifd-compression", "zstd"]).finish()
                #expect(outcome.output.contains("Invalid parameter 'zstd'"), "\(outcome)")
                return try lab.expect(outcome, code: 10, says: "failed:")
            }
            let trace = try move(
                lab, ["--multifd", "--multifd-channels", "4", "--multifd-compression", compression])
            let sent = try lab.sourceMonitor.execute("query-migrate")["ram"]?["multifd-bytes"]?.int64 ?? 0
            // The guest has 32 MiB of noise, which no method makes smaller.
            #expect(sent > 32 << 20)
            #expect(trace.contains(#""multifd-channels":4"#))
        }

        /// Somebody else changes one side after it was told. Without reading it back the stream would hang: one side
        /// would wait for connections that the other never makes.
        @Test(arguments: [MigrationLab.Place.destination, .source])
        func aMismatchIsFoundBeforeItHangs(place: MigrationLab.Place) throws {
            let lab = try MigrationLab()
            let relay = try place == .source ? lab.relaySource() : lab.relayDestination()
            let questions = Mutex(0)
            relay.setRule { direction, line in
                guard direction == .toQEMU, line.contains("query-migrate-capabilities") else { return .pass }
                // The first is asked before anything is changed.
                return questions.withLock { count in
                    count += 1
                    return count == 2
                } ? .holdFromHere : .pass
            }
            let run = try lab.migrate(["--multifd"])
            try relay.awaitHeld()
            let monitor = place == .source ? lab.sourceMonitor : lab.destinationMonitor
            // QEMU takes turns with its monitors: what was sent before may not have been carried out yet.
            try eventually("what was set") { try MigrationLab.settings(monitor).capabilities["multifd"] == true }
            try monitor.execute(
                "migrate-set-capabilities", ["capabilities": [["capability": "multifd", "state": false]]])
            relay.release()
            let outcome = try run.finish()
            let side = place == .source ? "source" : "destination"
            #expect(
                outcome.output.contains("the \(side)'s QEMU was told to switch multifd on and has it off"),
                "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:")
            try lab.expectNextMigrationWorks()
        }

        /// QEMU 7.2 takes a level of compression and does not keep it; that is told instead of doing something else.
        @Test(Live.wide) func aLevelIsKeptOrRefused() throws {
            let lab = try MigrationLab()
            guard try lab.hasZstd() else { return QEMUPair.current.leavesOut("zstd") }
            let level = "multifd-zstd-level"
            try lab.sourceMonitor.execute("migrate-set-parameters", [level: 7])
            let isKept = try lab.sourceMonitor.execute("query-migrate-parameters")[level] == 7
            try lab.sourceMonitor.execute("migrate-set-parameters", [level: 1])
            let outcome = try lab.migrate(["--multifd", "--multifd-compression", "zstd", "--\(level)", "7"]).finish()
            #expect(outcome.code == (isKept ? 0 : 10), "\(outcome)")
            #expect(outcome.output.contains("set \(level) to 7 and has 1") == !isKept, "\(outcome)")
            try lab.expectGuest(runsOn: isKept ? .destination : .source)
        }

        // MARK: Compression and throttling

        @Test func differencesOfPages() throws {
            let lab = try MigrationLab(rate: 20)
            let run = try lab.migrate(
                MigrationLab.slow + ["--xbzrle", "--xbzrle-cache-size", "32MiB", "--downtime-limit", "10ms"])
            try lab.waitUntilCopying()
            let cache = try lab.sourceMonitor.execute("query-migrate")["xbzrle-cache"]
            #expect(cache?["cache-size"] == 33_554_432, "\(String(describing: cache))")
            run.interrupt()
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
        }

        @Test func theGuestIsThrottled() throws {
            let lab = try MigrationLab(rate: GuestImage.unlimitedRate, dirtyMiB: 32)
            let run = try lab.migrate([
                "--bandwidth", "16MiB", "--downtime-limit", "1ms", "--auto-converge", "--cpu-throttle-initial", "60",
                "--cpu-throttle-increment", "15", "--max-cpu-throttle", "75",
            ])
            let throttled = try lab.sourceMonitor.pollMigration { $0["cpu-throttle-percentage"] != nil }
            #expect(throttled["cpu-throttle-percentage"] == 60)
            let parameters = try lab.sourceMonitor.execute("query-migrate-parameters")
            #expect(parameters["cpu-throttle-increment"] == 15)
            #expect(parameters["max-cpu-throttle"] == 75)
            run.interrupt()
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
        }

        // MARK: Refusals

        @Test(arguments: [
            (["--multifd", "--uri", "fd:stream"], "parallel connections need an address"),
            (["--multifd", "--xbzrle"], "compress one connection, not parallel ones"),
            (["--multifd-compression", "zlib"], "compress parallel connections only"),
            (["--multifd-channels", "3"], "a number of connections needs parallel ones"),
            (["--cpu-throttle-initial", "30"], "throttling is tuned without auto-converge"),
            (["--zero-copy-send"], "sending without copying needs parallel connections"),
        ]) func excluded(arguments: [String], why: String) throws {
            let lab = try MigrationLab()
            let outcome = try lab.migrate(arguments).finish()
            #expect(outcome.output.contains(why), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:", runs: false)
            #expect(try lab.destinationMonitor.runState() == "inmigrate")
        }

        /// Known to QEMU and to this program, and not done by it: told before anything is done.
        @Test(arguments: [
            (["--compress"], "--compress:"), (["--block"], "--block:"), (["--x-colo"], "--x-colo: COLO keeps"),
            (["--background-snapshot"], "--background-snapshot:"), (["--rdma-pin-all"], "--rdma-pin-all:"),
            (["--uri", "rdma:host:1"], "RDMA is not supported"), (["--uri", "file:/tmp/x"], "a file cannot be"),
            (["--uri", "fd:3"], "does not begin with a digit"), (["--uri", "exec:"], "no command"),
            (["--uri", "vsock:host:1"], "two numbers"), (["--connect-uri", "tcp:h:1"], "needs a --uri"),
            (["--mode", "cpr-reboot"], "godwit save --mode cpr-reboot"),
            (["--mode", "cpr-transfer"], "no monitor before it was given"),
            (["--mode", "cpr-exec"], "the QEMU replaces itself"),
            (["--multifd-channels", "0"], "QEMU takes 1 to 255"),
            (["--xbzrle", "--xbzrle-cache-size", "3MiB"], "a power of two"),
        ]) func refusedByName(arguments: [String], why: String) throws {
            let directory = try LabDirectory()
            let run = try Godwit(
                ["migrate", "--source", "/nowhere/s", "--destination", "/nowhere/d"] + arguments, in: directory,
                number: 1)
            let outcome = try run.finish()
            #expect(outcome.code == 64, "\(outcome)")
            #expect(outcome.errors.contains(why), "\(outcome)")
        }
    }
}

/// VM sockets of this host.
private enum VMSockets {
    /// Whether one can listen to itself, under the address that is for that.
    static var hasLoopback: Bool {
        let descriptor = socket(AF_VSOCK, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        // struct sockaddr_vm: family, two bytes of nothing, port (any), cid (VMADDR_CID_LOCAL).
        var address: [UInt8] = Array(repeating: 0, count: 16)
        address[0] = UInt8(AF_VSOCK)
        for index in 4..<8 { address[index] = 0xff }
        address[8] = 1
        return address.withUnsafeBytes { bytes in
            guard let pointer = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return false }
            return bind(descriptor, pointer, socklen_t(bytes.count)) == 0
        }
    }
}

extension MigrationLab {
    /// Whether QEMU was built with zstd for its parallel connections.
    fileprivate func hasZstd() throws -> Bool {
        let schema = try sourceMonitor.execute("query-qmp-schema").array ?? []
        return schema.contains { entity in
            let values = entity["values"]?.array ?? []
            return entity["meta-type"] == "enum" && values.contains("zstd") && values.contains("zlib")
                && values.contains("none")
        }
    }
}
