import Trace

/// Something that a foreign recording tells, before it is known which side it concerns.
struct ImportedEntry {
    enum What {
        /// A command, one valid JSON text.
        case send([UInt8])
        /// A message from QEMU, one valid JSON text.
        case recv([UInt8])
        /// Descriptors passed with the next command.
        case descriptors(Int)
        /// The state of the connection, in the trace's words.
        case monitor(String)
        /// QEMU's end.
        case process(TraceProcessEnd)
        /// The status word that QEMU's tracing shows. A message only where QEMU sent no event of it.
        case statusWord(String)
        /// Something a reader of the trace wants to see.
        case mark(String)
    }

    /// The line it begins in, from 1.
    var line: Int
    /// Since 1970, UTC; nil if the recording does not tell.
    var microseconds: Int64?
    /// The index of its monitor in the importer's list.
    var channel: Int
    var what: What
    /// What the message shows, if it is one.
    var look: MessageLook?
}

/// One QMP connection in a foreign recording.
struct ImportedChannel: Hashable {
    /// How the recording calls it, such as the address of libvirt's monitor object; empty if it has but one.
    var name: String
    /// The process it belongs to, if the recording tells; empty if not.
    var process = ""
    /// The domain's name, as soon as it is known.
    var domain: String?
}

/// Why something in a foreign recording cannot be understood, and where.
struct ImportProblem: Error {
    var line: Int
    /// The byte in the line, from 1; 0 if it concerns the line as a whole.
    var column = 0
    var message: String
    /// It is the end of the file that is missing, not something in the middle.
    var isTorn = false
}

/// Turns the lines of one foreign format into entries. Pure: no I/O, no clock; its memory is bounded.
protocol LineImporter: AnyObject {
    /// Takes the next line, without its line end, and appends what it tells.
    ///
    /// After a problem the next line may be taken.
    func take(_ line: ArraySlice<UInt8>, number: Int, into entries: inout [ImportedEntry]) throws(ImportProblem)

    /// Nothing follows: what was held back is appended now.
    func finish(into entries: inout [ImportedEntry]) throws(ImportProblem)

    /// The connections seen so far; those of entries always among them.
    var channels: [ImportedChannel] { get }
}

/// Bounds of what an importer keeps in memory.
enum ImportLimits {
    /// Of a line, and of a message over several lines.
    static let messageBytes = 64 << 20
    /// Of connections, domains, threads in one recording.
    static let names = 10_000
    /// Of monitors that libvirt has at once.
    static let openMonitors = 1_000
    /// Of a message that is held for each of them without asking how much is held already.
    static let heldBytes = 64 << 10
    /// Of text that becomes a mark.
    static let markBytes = 400
}
