public import ArgumentParser
import Phases

/// The options of `godwit migrate` about QEMU's own TLS.
public struct TLSArguments: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Encrypt by certificates: ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem, client-key.pem, as both QEMUs see them.",
            valueName: "directory"))
    var tlsDir: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Encrypt by a key that both ends know, in keys.psk.", valueName: "directory"))
    var tlsPsk: String?

    @Option(name: .long, help: ArgumentHelp("The destination's files, if elsewhere.", valueName: "directory"))
    var destinationTlsDir: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The name that the destination's certificate must have. Default: the host of tcp:HOST:PORT.",
            valueName: "name"))
    var tlsHostname: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Let in only a source whose certificate has this distinguished name, `*` for anything; may be repeated.",
            valueName: "name"))
    var tlsAuthz: [String] = []

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if tlsDir != nil, tlsPsk != nil {
            throw ValidationError("--tls-dir and --tls-psk exclude each other: certificates, or a shared key")
        }
        for (name, value) in [
            ("--tls-dir", tlsDir), ("--tls-psk", tlsPsk), ("--destination-tls-dir", destinationTlsDir),
            ("--tls-hostname", tlsHostname),
        ] where value?.isEmpty == true {
            throw ValidationError("\(name): empty")
        }
        if tlsAuthz.contains("") { throw ValidationError("--tls-authz: empty") }
        guard tlsDir == nil, tlsPsk == nil else { return }
        for (name, isGiven) in [
            ("--destination-tls-dir", destinationTlsDir != nil), ("--tls-hostname", tlsHostname != nil),
            ("--tls-authz", !tlsAuthz.isEmpty),
        ] where isGiven {
            throw ValidationError("\(name) needs --tls-dir or --tls-psk")
        }
    }

    /// What is asked for; `nil` for a stream that is not encrypted.
    var wish: TLSWish? {
        guard let directory = tlsDir ?? tlsPsk else { return nil }
        // QEMU has a working directory of its own.
        var wish = TLSWish(tlsPsk == nil ? .x509 : .psk, directory: FilePlace.absolute(directory))
        if let destinationTlsDir { wish.destinationDirectory = FilePlace.absolute(destinationTlsDir) }
        wish.hostname = tlsHostname
        wish.allowedNames = tlsAuthz
        return wish
    }
}
