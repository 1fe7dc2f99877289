public import ArgumentParser
public import BenchSupport
import Glibc

/// Makes traces.
struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Make a trace of any size, the same one for the same seed.")

    @Option(name: .long, help: "What it consists of: \(TraceMix.allCases.map(\.rawValue).joined(separator: ", ")).")
    var mix: TraceMix = .recorded

    @Option(name: .long, help: "Its size in MiB; the last migration is finished.")
    var size = 1024

    @Option(name: .long, help: "The seed.")
    var seed: UInt64 = 1

    @Argument(help: "The file; - is standard output.")
    var output: String

    func validate() throws {
        if size < 1 || size > 1 << 20 { throw ValidationError("--size: between 1 and 1048576") }
    }

    func run() throws {
        try GeneratedTrace.write(mix, megabytes: size, seed: seed, to: output)
    }
}

extension TraceMix: ExpressibleByArgument {}

/// A trace in a file.
enum GeneratedTrace {
    /// Writes a trace of at least this size.
    static func write(_ mix: TraceMix, megabytes: Int, seed: UInt64, to path: String) throws {
        let descriptor = path == "-" ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
        defer { if path != "-" { close(descriptor) } }
        var generator = TraceGenerator(mix: mix, seed: seed)
        var left = megabytes << 20
        while left > 0 {
            while generator.pending.count < 1 << 20 { generator.next() }
            let bytes = generator.takePending()
            left -= bytes.count
            var written = 0
            while written < bytes.count {
                let count = bytes.withUnsafeBytes { buffer in
                    buffer.baseAddress.map { Glibc.write(descriptor, $0 + written, buffer.count - written) } ?? 0
                }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
                written += count
            }
        }
    }
}
