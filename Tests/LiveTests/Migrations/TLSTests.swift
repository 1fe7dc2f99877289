import Glibc
import GuestLab
import JSONC
import Testing

extension MigrationTests {
    /// Encrypted streams, and what keeps a stream from being one: nothing of it is left behind, and nobody could have read a byte.
    @Suite(.enabled(if: Certificates.canBeMade, "not in PATH: openssl")) struct TLS {
        /// What the oracle finds of an attempt's objects.
        private func objects(_ monitor: BlockingQMP) throws -> [String] {
            (try monitor.execute("qom-list", ["path": "/objects"]).array ?? []).compactMap { $0["name"]?.string }
                .filter { $0.hasPrefix("godwit") }
        }

        /// The way of the stream through a relay: where the destination listens, where the source connects.
        private func relay(_ lab: MigrationLab) throws -> (relay: StreamRelay, arguments: [String]) {
            let relay = try StreamRelay(
                listeningOn: lab.directory.file("front"), forwardingTo: lab.directory.file("back"))
            return (relay, ["--uri", "unix:\(lab.directory.file("back"))", "--connect-uri", "unix:\(relay.path)"])
        }

        private func expectEncrypted(
            _ relay: StreamRelay, connections: Int, sourceLocation: SourceLocation = #_sourceLocation
        ) {
            relay.stop()
            let seen = relay.connections
            #expect(seen.count == connections, sourceLocation: sourceLocation)
            for connection in seen {
                for bytes in [connection.fromSource, connection.fromDestination] {
                    #expect(isTLS(bytes), sourceLocation: sourceLocation)
                }
            }
        }

        private func move(_ lab: MigrationLab, connections: Int, _ arguments: [String]) throws {
            let before = try MigrationLab.settings(lab.destinationMonitor)
            let path = lab.directory.file("tls.qmptrace")
            let way = try relay(lab)
            let outcome = try lab.migrate(["--keep-source", "--trace", path] + way.arguments + arguments).finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
            try lab.expectSettingsRestored()
            #expect(try MigrationLab.settings(lab.destinationMonitor) == before)
            for monitor in [lab.sourceMonitor, lab.destinationMonitor] { #expect(try objects(monitor) == []) }
            expectEncrypted(way.relay, connections: connections)
            #expect(way.relay.connections.map(\.fromSource.count).reduce(0, +) > 32 << 20)
            let replay = try lab.godwit("replay", "--drive", path).finish()
            #expect(replay.code == 0, "\(replay)")
        }

        @Test func certificatesOnSeveralConnections() throws {
            let lab = try MigrationLab()
            let pki = try Certificates(in: lab.directory)
            try move(
                lab, connections: 3,
                [
                    "--multifd", "--tls-dir", pki.directory, "--tls-hostname", "host.example", "--tls-authz",
                    "O=Lab,CN=*",
                ])
        }

        @Test(Live.wide) func aSharedKey() throws {
            let lab = try MigrationLab()
            try move(lab, connections: 1, ["--tls-psk", try Certificates.sharedKey(in: lab.directory, "keys")])
        }

        /// The name is the host of the address then.
        @Test(Live.wide) func overTCP() throws {
            let lab = try MigrationLab()
            let pki = try Certificates(in: lab.directory)
            let outcome = try lab.migrate([
                "--uri", "tcp:127.0.0.1:0", "--tls-dir", pki.directory, "--tls-hostname", "host.example",
            ]).finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
        }

        /// The certificate is for host.example and the source connects to 127.0.0.1.
        @Test(Live.wide) func theNameOfTheAddressCounts() throws {
            let lab = try MigrationLab()
            let pki = try Certificates(in: lab.directory)
            let outcome = try lab.migrate(["--uri", "tcp:127.0.0.1:0", "--tls-dir", pki.directory]).finish()
            #expect(outcome.output.contains("does not match the hostname 127.0.0.1"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:")
            #expect(try objects(lab.sourceMonitor) == [])
            try lab.expectNextMigrationWorks()
        }

        @Test(Live.wide) func postcopy() throws {
            let lab = try MigrationLab()
            let pki = try Certificates(in: lab.directory)
            let way = try relay(lab)
            let outcome = try lab.migrate(
                way.arguments + [
                    "--postcopy-after", "300ms", "--bandwidth", "8MiB", "--tls-dir", pki.directory, "--tls-hostname",
                    "host.example",
                ]
            ).finish()
            #expect(outcome.code == 0, "\(outcome)")
            try lab.expectGuest(runsOn: .destination)
            #expect(try objects(lab.destinationMonitor) == [])
            expectEncrypted(way.relay, connections: 1)
        }

        @Test(Live.wide) func cancelled() throws {
            let lab = try MigrationLab()
            let pki = try Certificates(in: lab.directory)
            let way = try relay(lab)
            let run = try lab.migrateSlowly(
                way.arguments + ["--tls-dir", pki.directory, "--tls-hostname", "host.example"])
            #expect(try objects(lab.sourceMonitor).count == 1)
            run.interrupt()
            try lab.expect(try run.finish(), code: 11, says: "cancelled:")
            #expect(try objects(lab.sourceMonitor) == [])
            expectEncrypted(way.relay, connections: 1)
        }

        // MARK: What is refused

        /// A wrong authority, a wrong name, a source that is not on the list, another key: not a byte of the guest leaves, and the guest goes on.
        @Test(
            Live.wide,
            arguments: [
                ("authority", "issuer"), ("name", "does not match the hostname other.example"),
                ("list", "authz check for O=Lab,CN=client is denied"), ("key", "TLS handshake failed"),
            ]) func refused(what: String, why: String) throws
        {
            let lab = try MigrationLab()
            let pki = try Certificates(in: lab.directory)
            var arguments = ["--tls-dir", pki.directory, "--tls-hostname", "host.example"]
            switch what {
            case "authority":
                arguments += ["--destination-tls-dir", try Certificates(in: lab.directory, "other").directory]
            case "name": arguments[3] = "other.example"
            case "list": arguments += ["--tls-authz", "O=Lab,CN=other"]
            default:
                arguments = [
                    "--tls-psk", try Certificates.sharedKey(in: lab.directory, "a"), "--destination-tls-dir",
                    try Certificates.sharedKey(in: lab.directory, "b", digit: "b"),
                ]
            }
            let way = try relay(lab)
            let outcome = try lab.migrate(
                way.arguments + ["--destination-log", lab.destination.stderrPath] + arguments
            ).finish()
            // A wrong name only the source sees: for the destination all is well until nothing comes.
            #expect(outcome.output.contains("no TLS connection was made") || what == "name", "\(outcome)")
            #expect(outcome.output.contains(why), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:")
            #expect(try objects(lab.sourceMonitor) == [])
            expectEncrypted(way.relay, connections: 1)
            try lab.expectDestinationEnded()
            try lab.expectNextMigrationWorks()
        }

        /// QEMU itself looks at the files: what it does not like it says, and both QEMUs are as before.
        @Test(Live.wide) func anExpiredCertificate() throws {
            let lab = try MigrationLab()
            let pki = try Certificates(in: lab.directory, flaw: .expired)
            let outcome = try lab.migrate(["--tls-dir", pki.directory, "--tls-hostname", "host.example"]).finish()
            #expect(outcome.output.contains("object-add on the destination: The server certificate"), "\(outcome)")
            #expect(outcome.output.contains("has expired"), "\(outcome)")
            try lab.expect(outcome, code: 10, says: "failed:")
            for monitor in [lab.sourceMonitor, lab.destinationMonitor] {
                #expect(try objects(monitor) == [])
                #expect(try MigrationLab.settings(monitor) == lab.settings)
            }
            try lab.expectNextMigrationWorks()
        }

        @Test(arguments: [
            (["--tls-dir", "/pki"], "TLS over a Unix socket needs the name"),
            (["--tls-dir", "/pki", "--uri", "fd:stream"], "TLS over a descriptor, VM sockets or a command"),
            (["--tls-psk", "/keys", "--tls-hostname", "h"], "no name that one must have"),
            (["--tls-psk", "/keys", "--tls-authz", "CN=a"], "no names that could be let in"),
            (["--tls-psk", "/keys", "--multifd", "--zero-copy-send"], "no TLS without copying"),
        ]) func excluded(arguments: [String], why: String) throws {
            let directory = try LabDirectory()
            let one = try QEMUProcess.start(QEMUProcess.Options(label: "one"), in: directory)
            let other = try QEMUProcess.start(QEMUProcess.Options(label: "other").destination(), in: directory)
            let run = try Godwit(
                ["migrate", "--source", one.qmpPath, "--destination", other.qmpPath] + arguments, in: directory,
                number: 1)
            let outcome = try run.finish()
            #expect(outcome.code == 10, "\(outcome)")
            #expect(outcome.output.contains(why), "\(outcome)")
        }
    }
}
