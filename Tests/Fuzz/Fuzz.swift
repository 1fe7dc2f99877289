import Glibc
import JSONC
import Replay
import Trace

/// Feeds one reader at a time. To add one: a function here, its name in `targets` and in FUZZ_TARGETS of the Makefile, and
/// its seeds in FUZZ_SEEDS.
///
/// Built by `make fuzz` alone: GODWIT_FUZZ in the environment makes Package.swift know it.
@main enum Fuzz {
    /// What is fed to what, by the name that GODWIT_FUZZ has.
    private static let targets: [String: @Sendable ([UInt8]) -> Void] = [
        "trace": trace, "scan": scan, "index": index, "explain": explain, "proxy": { ProxyFuzz.talk($0) },
        "convert": { ImportFuzz.convert($0, as: nil) }, "qmp": { ImportFuzz.convert($0, as: .qmp) },
        "replies": { ImportFuzz.convert($0, as: .replies) }, "libvirt": { ImportFuzz.convert($0, as: .libvirt) },
        "qmp-shell": { ImportFuzz.convert($0, as: .qmpShell) },
        "qemu-trace": { ImportFuzz.convert($0, as: .qemuTrace) },
    ]

    static func main() {
        guard let name = getenv("GODWIT_FUZZ").map({ String(cString: $0) }), targets[name] != nil else {
            print("GODWIT_FUZZ is one of \(targets.keys.sorted().joined(separator: ", "))")
            exit(64)
        }
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        exit(
            runDriver(&count, &arguments) { bytes, length in
                Fuzz.one(Array(UnsafeBufferPointer(start: bytes, count: length)))
                return 0
            })
    }

    private static func one(_ bytes: [UInt8]) {
        guard let name = getenv("GODWIT_FUZZ").map({ String(cString: $0) }) else { return }
        targets[name]?(bytes)
    }

    /// The reader of single records: records or errors, and an end.
    @Sendable private static func trace(_ bytes: [UInt8]) {
        guard var reader = try? TraceReader(bytes: bytes, name: "fuzz", lenient: true, maximumLineBytes: 4096) else {
            return
        }
        while let record = try? reader.next() { _ = (record, reader.verbatimValue) }
    }

    /// The scanner against json-c: the same report or the same error. What comes in is put behind itself, so that its shapes are known.
    @Sendable private static func scan(_ bytes: [UInt8]) {
        let header = Array("{\"qmptrace\":1}\n".utf8)
        let whole = header + bytes + [0x0A] + bytes
        for lenient in [true, false] {
            let results = [true, false].map { isExact in
                Result { () throws(TraceError) -> ReplayReport in
                    let scan = try TraceScan(bytes: whole, name: "fuzz", maximumLineBytes: 4096, blockBytes: 512)
                    return try ReplayReport(scanning: scan, lenient: lenient, isExact: isExact)
                }
            }
            guard results[0] == results[1] else { fatalError("the two ways part: \(results)") }
        }
    }

    /// A page of text and a page of HTML about anything that can be read at all.
    @Sendable private static func explain(_ bytes: [UInt8]) {
        guard let reader = try? TraceReader(bytes: bytes, name: "fuzz", lenient: true, maximumLineBytes: 4096),
            let explanation = try? Explanation(reader: reader, name: "fuzz")
        else { return }
        guard explanation.text().utf8.allSatisfy({ $0 >= 0x20 || $0 == 0x0A }) else { fatalError("not plain text") }
        guard (try? JSONValue(parsing: explanation.json.serialized())) != nil else { fatalError("no JSON") }
        var report = Report()
        if let again = try? TraceReader(bytes: bytes, name: "fuzz", lenient: true, maximumLineBytes: 4096) {
            try? report.add(reader: again, name: "fuzz")
        }
        _ = report.html
    }

    /// The index of a trace that is not there.
    @Sendable private static func index(_ bytes: [UInt8]) {
        var stamp = TraceIndex.Stamp(size: 1000, modified: 1, beginning: "1")
        _ = try? TraceIndex(bytes: bytes, path: "fuzz", now: stamp)
        stamp.size = .max
        _ = try? TraceIndex(bytes: bytes, path: "fuzz", now: stamp)
    }
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ one: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt
