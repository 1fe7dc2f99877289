import Glibc
import GuestLab

/// Certificates and keys for tests, made by openssl, under the names that QEMU looks for.
struct Certificates {
    /// What is wrong with them.
    enum Flaw { case none, expired }

    let directory: String

    /// Whether they can be made here.
    static let canBeMade = missingPrograms(qemu: "openssl").isEmpty

    /// An authority of its own, a server called `host.example` and a client called `CN=client,O=Lab`.
    init(in lab: LabDirectory, _ name: String = "pki", flaw: Flaw = .none) throws {
        directory = lab.file(name)
        guard mkdir(directory, 0o700) == 0 else { throw SocketError(directory) }
        let days = flaw == .expired ? "-1" : "2"
        try run(
            lab, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            file("ca-key.pem"), "-out",
            file("ca-cert.pem"), "-days", "2", "-subj", "/CN=lab", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign")
        for who in ["server", "client"] {
            try run(
                lab, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                file("\(who)-key.pem"), "-out",
                file("\(who).csr"), "-subj", "/O=Lab/CN=\(who)")
            try write(
                """
                subjectAltName=DNS:host.example
                extendedKeyUsage=\(who)Auth
                keyUsage=critical,digitalSignature,keyEncipherment
                basicConstraints=critical,CA:FALSE

                """, to: file("\(who).ext"))
            try run(
                lab, "x509", "-req", "-in", file("\(who).csr"), "-CA", file("ca-cert.pem"), "-CAkey",
                file("ca-key.pem"), "-CAcreateserial", "-out", file("\(who)-cert.pem"), "-days", days, "-extfile",
                file("\(who).ext"))
        }
    }

    /// A directory with a key that two ends can share.
    static func sharedKey(in lab: LabDirectory, _ name: String, digit: Character = "a") throws -> String {
        let directory = lab.file(name)
        guard mkdir(directory, 0o700) == 0 else { throw SocketError(directory) }
        try write("qemu:\(String(repeating: digit, count: 64))\n", to: "\(directory)/keys.psk")
        return directory
    }

    private func file(_ name: String) -> String { "\(directory)/\(name)" }

    private func run(_ lab: LabDirectory, _ arguments: String...) throws {
        let log = lab.file("openssl.log")
        let child = try ChildProcess(["openssl"] + arguments, output: log, error: log)
        guard child.waitForExit(timeout: .seconds(20)) == .exited(0) else {
            throw Unfulfilled(description: "openssl \(arguments): \(fileText(log))")
        }
    }
}

private func write(_ text: String, to path: String) throws {
    guard let file = fopen(path, "w") else { throw SocketError(path) }
    defer { fclose(file) }
    guard fputs(text, file) >= 0 else { throw SocketError(path) }
}
