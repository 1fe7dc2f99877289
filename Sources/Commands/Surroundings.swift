internal import Glibc

/// Addresses for the migration stream.
enum MigrationURI {
    /// The longest path a Unix socket address holds.
    static let maximumPathBytes = 107

    /// What is wrong with an address, if anything can be said without QEMU.
    static func problem(_ uri: String) -> String? {
        if uri.hasPrefix("unix:") {
            let path = uri.dropFirst(5)
            if path.isEmpty { return "no path" }
            return path.utf8.count > maximumPathBytes ? "the path is longer than \(maximumPathBytes) bytes" : nil
        }
        if uri.hasPrefix("tcp:") {
            let rest = uri.dropFirst(4)
            guard let colon = rest.lastIndex(of: ":") else { return "no port" }
            guard rest.startIndex < colon else { return "no host" }
            guard UInt16(rest[rest.index(after: colon)...]) != nil else { return "no port number at its end" }
            return nil
        }
        if uri.hasPrefix("vsock:") {
            let parts = uri.dropFirst(6).split(separator: ":", omittingEmptySubsequences: false)
            let isWhole = parts.count == 2 && parts.allSatisfy { UInt32($0) != nil }
            return isWhole ? nil : "vsock:CID:PORT has two numbers"
        }
        if uri.hasPrefix("exec:") { return uri.utf8.count == 5 ? "no command" : nil }
        if uri.hasPrefix("fd:") {
            // QEMU takes what begins with a digit for the number of a descriptor that it has already.
            let isName = uri.dropFirst(3).first.map { !("0"..."9").contains($0) } ?? false
            return isName ? nil : "fd:NAME needs a name that does not begin with a digit"
        }
        if uri.hasPrefix("file:") {
            return "a file cannot be written and loaded at the same time"
        }
        if uri.hasPrefix("rdma:") {
            return "RDMA is not supported: no other part of QEMU's migration is tested with it here"
        }
        return "it begins with none of tcp:, unix:, vsock:, exec:, fd:"
    }

    /// The kind of an address: what stands before its first colon.
    static func scheme(_ uri: String) -> Substring { uri.prefix { $0 != ":" } }

    /// A socket beside the destination's monitor, where that QEMU can surely write; the loopback interface if the path would be too long.
    static func beside(_ monitor: String, attempt: String) -> String {
        let directory = monitor.lastIndex(of: "/").map { monitor[..<$0] } ?? "."
        let path = FilePlace.absolute("\(directory)/godwit-\(attempt).sock")
        return path.utf8.count <= maximumPathBytes ? "unix:\(path)" : "tcp:127.0.0.1:0"
    }

}

/// Paths of files that other programs shall find, which have another working directory.
enum FilePlace {
    /// The path from the root.
    static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let current = getcwd(nil, 0) else { return path }
        defer { free(current) }
        return "\(String(cString: current))/\(path.hasPrefix("./") ? String(path.dropFirst(2)) : path)"
    }
}

/// Where files go.
enum Directories {
    /// Journals: `GODWIT_STATE_DIR`, else the runtime directory of the user or of the host.
    static var state: String {
        variable("GODWIT_STATE_DIR") ?? variable("XDG_RUNTIME_DIR").map { "\($0)/godwit" }
            ?? (geteuid() == 0 ? "/run/godwit" : "/tmp/godwit-\(geteuid())")
    }

    /// What was learned about QEMU binaries: `GODWIT_CACHE_DIR`, else the user's or the host's cache.
    static var cache: String {
        variable("GODWIT_CACHE_DIR") ?? variable("XDG_CACHE_HOME").map { "\($0)/godwit" }
            ?? (geteuid() == 0
                ? "/var/cache/godwit" : variable("HOME").map { "\($0)/.cache/godwit" } ?? "/tmp/godwit-\(geteuid())")
    }

    private static func variable(_ name: String) -> String? {
        guard let value = getenv(name), value.pointee != 0 else { return nil }
        return String(cString: value)
    }
}

/// This host.
enum Host {
    /// Its name.
    static var name: String? {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, 255) == 0 else { return nil }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Its machine id.
    static var uuid: String? {
        guard let file = fopen("/etc/machine-id", "r") else { return nil }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = fread(&buffer, 1, 64, file)
        let text = String(decoding: buffer[..<count].prefix { $0 > 0x20 }, as: UTF8.self)
        return text.isEmpty ? nil : text
    }
}

/// Names for attempts.
enum AttemptIdentifier {
    /// Sixteen random hexadecimal digits.
    static func make() -> String {
        let number = UInt64.random(in: .min ... .max)
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
