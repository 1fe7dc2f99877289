import Replay
import Trace

/// The importers: whatever comes in, an error with a place, or traces that can be read and replayed.
enum ImportFuzz {
    /// The format's importer, or for nil the one that its content chooses.
    static func convert(_ bytes: [UInt8], as format: ImportFormat?) {
        guard let file = try? ImportFile(bytes: bytes, name: "fuzz", format: format) else { return }
        for lenient in [true, false] {
            guard let conversion = try? Conversion([file], lenient: lenient) else { continue }
            for guest in conversion.guests.prefix(4) {
                guard let trace = try? conversion.bytes(of: guest, options: .init(isRedacted: lenient)) else {
                    continue
                }
                do {
                    _ = try ReplayReport(reader: TraceReader(bytes: trace, name: "converted"), name: "converted")
                } catch {
                    fatalError("what was written cannot be read: \(error)")
                }
            }
        }
    }
}
