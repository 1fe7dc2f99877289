import ArgumentParser
import BenchSupport
import Glibc

/// What all benchmarks share.
struct BenchOptions: ParsableArguments {
    @Option(name: .long, help: "Runs of each kind.")
    var runs = 20

    @Option(name: .long, help: "The program to be measured; the one beside this program if not given.")
    var godwit: String?

    @Option(name: .long, help: "The Python whose qemu.qmp is measured.")
    var python = "python3"

    @Option(name: .long, help: "The guest's memory in MiB.")
    var memory = 128

    @Flag(name: .long, help: "A missed goal is exit code 1.")
    var strict = false

    @Option(name: .long, help: "Keep the logs of the last migration in this directory.")
    var keep: String?

    func validate() throws {
        if runs < 1 || runs > 10_000 { throw ValidationError("--runs: between 1 and 10000") }
        if memory < 64 || memory > 65536 { throw ValidationError("--memory: between 64 and 65536") }
    }

    /// The program to be measured.
    var program: String {
        if let godwit { return godwit }
        let own = Machine.ownPath
        guard let slash = own.lastIndex(of: "/") else { return "godwit" }
        return "\(own[..<slash])/godwit"
    }

    /// Prints tables; whether all goals in them are met.
    func show(_ tables: [ResultTable]) -> Bool {
        for table in tables {
            table.lines.forEach { print($0) }
            print("")
        }
        fflush(nil)
        return tables.allSatisfy(\.isReached)
    }
}

/// The machine under us.
enum Machine {
    /// The load averages, as the kernel writes them.
    static var load: String {
        (BenchFile.text("/proc/loadavg") ?? "?").split(separator: " ").prefix(3).joined(separator: " ")
    }

    /// Microseconds since 1970, the clock that QEMU stamps its log with.
    static var microseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }

    /// The path of this program.
    static var ownPath: String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let length = buffer.withUnsafeMutableBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { chars in
                chars.baseAddress.map { readlink("/proc/self/exe", $0, chars.count) } ?? -1
            }
        }
        return length > 0 ? String(decoding: buffer[..<length], as: UTF8.self) : "godwit-bench"
    }
}

/// Whole files.
enum BenchFile {
    /// The bytes; `nil` if it cannot be read.
    static func bytes(_ path: String) -> [UInt8]? {
        guard let file = fopen(path, "re") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            guard count > 0 else { return bytes }
            bytes += buffer[..<count]
        }
    }

    /// The text; `nil` if it cannot be read.
    static func text(_ path: String) -> String? { bytes(path).map { String(decoding: $0, as: UTF8.self) } }

    /// Writes a file; whether that worked.
    @discardableResult
    static func write(_ path: String, _ text: some Sequence<UInt8>) -> Bool {
        guard let file = fopen(path, "we") else { return false }
        let bytes = Array(text)
        let count = fwrite(bytes, 1, bytes.count, file)
        return fclose(file) == 0 && count == bytes.count
    }
}
