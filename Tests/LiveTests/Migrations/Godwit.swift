import Glibc
import GuestLab
import JSONC
import Testing

/// What did not happen in time.
struct Unfulfilled: Error, CustomStringConvertible {
    var description: String
}

/// Looks every millisecond until the condition holds.
func eventually(_ what: String, timeout: Duration = .seconds(20), _ condition: () throws -> Bool) throws {
    let deadline = ContinuousClock.now + timeout
    while !(try condition()) {
        guard ContinuousClock.now < deadline else { throw Unfulfilled(description: "not within \(timeout): \(what)") }
        usleep(1000)
    }
}

/// A run of the built program, as a user would start it, with what it says kept in files.
final class Godwit {
    /// How a run ended.
    struct Outcome: CustomStringConvertible {
        var status: GuestLab.ExitStatus
        var output: String
        var errors: String

        var code: Int32? { if case .exited(let code) = status { code } else { nil } }
        var lines: [Substring] { output.split(separator: "\n") }
        var description: String { "\(status)\n--- output\n\(output)--- errors\n\(errors)---" }
    }

    /// The program, beside this test's own: built by the same `swift build`.
    static let path: String = {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let own = String(decoding: buffer[..<max(0, length)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let beside = own.lastIndex(of: "/").map { "\(own[..<$0])/godwit" } ?? "godwit"
        if access(beside, X_OK) == 0 { return beside }
        // Where the tests were started by a helper from the toolchain, the bundle is an argument of it.
        for argument in CommandLine.arguments {
            guard let slash = argument.lastIndex(of: "/") else { continue }
            let candidate = "\(argument[..<slash])/godwit"
            if argument.contains(".build/"), access(candidate, X_OK) == 0 { return candidate }
        }
        return beside
    }()

    /// Whether all tests run, the wider ones too.
    static let isWide = getenv("GODWIT_LIVE").map { String(cString: $0) } == "all"

    let child: ChildProcess
    private let outputPath: String
    private let errorPath: String

    /// Starts it; `number` tells the runs in a directory apart.
    init(_ arguments: [String], in directory: LabDirectory, number: Int, program: String = Godwit.path) throws {
        outputPath = directory.file("godwit\(number).out")
        errorPath = directory.file("godwit\(number).err")
        let environment = [
            "env", "GODWIT_STATE_DIR=\(directory.file("state"))", "GODWIT_CACHE_DIR=\(directory.file("cache"))",
        ]
        child = try ChildProcess(environment + [program] + arguments, output: outputPath, error: errorPath)
    }

    var output: String { fileText(outputPath) }
    var errors: String { fileText(errorPath) }

    /// Blocks until it has ended.
    func finish(timeout: Duration = .seconds(60)) throws -> Outcome {
        guard let status = child.waitForExit(timeout: timeout) else {
            throw Unfulfilled(description: "godwit did not end within \(timeout)\n\(output)\n\(errors)")
        }
        return Outcome(status: status, output: output, errors: errors)
    }

    /// Ctrl-C.
    func interrupt() { child.signal(SIGINT) }

    /// Blocks until it has said this on standard error.
    func waitForNote(_ text: String, timeout: Duration = .seconds(20)) throws {
        try eventually("\(text) on standard error", timeout: timeout) {
            if errors.contains(text) { return true }
            if let status = child.status, !errors.contains(text) {
                throw Unfulfilled(description: "godwit ended (\(status)) without \(text)\n\(output)\n\(errors)")
            }
            return false
        }
    }
}

/// A whole file as text; one that is not there is empty.
func fileText(_ path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer[..<count] }
    return String(decoding: bytes, as: UTF8.self)
}

/// Makes a file of a text.
func writeText(_ text: String, to path: String) throws {
    guard let file = fopen(path, "w") else { throw SocketError(path) }
    fputs(text, file)
    guard fclose(file) == 0 else { throw SocketError(path) }
}

/// The names in a directory; none if it is not there.
func names(in directory: String) -> [String] {
    guard let handle = opendir(directory) else { return [] }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names
}
