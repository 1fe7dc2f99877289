internal import CLinux
internal import Glibc
public import JSONC
import Migration
public import MigrationQMP
public import Phases
import Synchronization

/// What is known of a guest in a file, in a second file beside it: whoever restores it can compare before a QEMU is spent
/// on it, and need not say again how it was saved. A guest can be restored without.
public struct SavedGuest: Sendable {
    /// How large the file is.
    public var bytes: Int64
    /// Whether the guest ran.
    public var wasRunning: Bool
    /// Capabilities that the destination has to have on.
    public var capabilities: [String]
    /// Parameters that the destination has to have.
    public var parameters: JSONObject
    /// What the guest was made of.
    public var description: DomainDescription

    /// The name of the second file.
    public static func path(beside file: String) -> String { "\(file).godwit" }

    /// What is known of the guest in a file; `nil` if there is no second file.
    ///
    /// - Throws: `DocumentError` naming the second file, if it is none or is about another one.
    public static func read(beside file: String) throws(DocumentError) -> SavedGuest? {
        let beside = path(beside: file)
        guard access(beside, F_OK) == 0 else { return nil }
        guard let bytes = SmallFile.read(beside, limit: 16 << 20) else {
            throw DocumentError("\(beside): \(String(cString: strerror(errno)))")
        }
        guard let value = try? JSONValue(parsing: bytes) else { throw DocumentError("\(beside): not JSON") }
        do throws(DocumentError) {
            let saved = try SavedGuest(json: value)
            var status = stat()
            guard stat(file, &status) == 0, Int64(status.st_size) == saved.bytes else {
                throw DocumentError("of a file with \(saved.bytes) bytes; this one has \(status.st_size)")
            }
            return saved
        } catch {
            throw DocumentError("\(beside): \(error)")
        }
    }

    /// The document.
    public var json: JSONValue {
        [
            "godwit-save": 1, "bytes": .integer(bytes), "running": .bool(wasRunning),
            "capabilities": .array(capabilities.map { .string($0) }), "parameters": .object(parameters),
            "description": description.json,
        ]
    }

    /// What of an attempt's options the other side has to have too; the size is known when the file is.
    init?(_ machine: AttemptMachine, _ options: MigrateOptions) {
        guard let description = machine.source.description else { return nil }
        self.description = description
        bytes = 0
        wasRunning = machine.source.firstRunState == .running && !machine.source.wasPausedOnTheWay
        capabilities = options.capabilities.filter { SettingScope.capability($0) == .both }
        parameters = [:]
        for parameter in options.parameters where SettingScope.parameter(parameter.name) == .both {
            parameters[parameter.name] = parameter.value.json
        }
    }

    /// From a document.
    ///
    /// - Throws: `DocumentError` if it is none, or of a later version.
    public init(json: JSONValue) throws(DocumentError) {
        guard json["godwit-save"]?.int64 == 1, let bytes = json["bytes"]?.int64,
            let wasRunning = json["running"]?.bool
        else { throw DocumentError("not the description of a saved guest that this version knows") }
        self.bytes = bytes
        self.wasRunning = wasRunning
        capabilities = (json["capabilities"]?.array ?? []).compactMap(\.string)
        parameters = json["parameters"]?.object ?? [:]
        description = try DomainDescription(json: json["description"] ?? .null)
    }
}

/// The file that a guest goes into or comes out of, open for QEMU.
public final class GuestFile: Sendable {
    private struct State: ~Copyable {
        var draft: FileDraft?
        var isGivenUp = false
    }

    private let path: String
    private let isReplaced: Bool
    /// For QEMU, which wants one that can do what it is to do and no more.
    private let descriptor: CInt
    private let direct: CInt
    private let state: Mutex<State>

    /// A file to be written; it gets its name when all of it is safe.
    ///
    /// - Parameters:
    ///   - path: Its name.
    ///   - isReplaced: Whether a file of that name is.
    ///   - isDirect: Whether a descriptor past the host's cache is wanted as well.
    public init(saving path: String, isReplaced: Bool, isDirect: Bool) throws(FileDraft.Problem) {
        // Before the work is done; what comes in between is seen to when the file gets its name.
        if !isReplaced, access(path, F_OK) == 0 { throw FileDraft.Problem(path, EEXIST) }
        let draft = try FileDraft(of: path)
        self.path = path
        self.isReplaced = isReplaced
        descriptor = try Self.open(draft.descriptor, isWriting: true, isDirect: false, path)
        direct = try isDirect ? Self.open(draft.descriptor, isWriting: true, isDirect: true, path) : -1
        state = Mutex(State(draft: draft))
    }

    /// A file to be read.
    public init(restoring path: String, isDirect: Bool) throws(FileDraft.Problem) {
        self.path = path
        isReplaced = false
        let opened = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard opened >= 0 else { throw FileDraft.Problem(path, errno) }
        descriptor = opened
        direct = try isDirect ? Self.open(opened, isWriting: false, isDirect: true, path) : -1
        state = Mutex(State())
    }

    deinit {
        if direct >= 0 { close(direct) }
        close(descriptor)
    }

    private static func open(
        _ descriptor: CInt, isWriting: Bool, isDirect: Bool, _ path: String
    ) throws(FileDraft.Problem) -> CInt {
        let opened = godwit_reopen(descriptor, isWriting, isDirect)
        guard opened >= 0 else { throw FileDraft.Problem(path, errno) }
        return opened
    }

    /// What is passed to QEMU; -1, which no process has, where there is none.
    func descriptor(isDirect: Bool) -> CInt { isDirect ? direct : descriptor }

    /// Makes the file safe on its disk and gives it its name. Blocks for as long as the disk takes.
    ///
    /// - Returns: Why not; `nil` if it is there. What is wrong with the description alone is no reason.
    func store(_ saved: SavedGuest?) -> String? {
        guard fsync(descriptor) == 0 else { return "\(path): \(String(cString: strerror(errno)))" }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return "\(path): \(String(cString: strerror(errno)))" }
        let beside = SavedGuest.path(beside: path)
        return state.withLock { state in
            guard !state.isGivenUp, let draft = state.draft else { return "\(path): given up" }
            // One of another guest must not be taken for this one's.
            if isReplaced { unlink(beside) }
            do throws(FileDraft.Problem) {
                try draft.publish(isReplaced: isReplaced)
                state.draft = nil
            } catch {
                return "\(error.path): \(String(cString: strerror(error.number)))"
            }
            if var saved {
                saved.bytes = Int64(status.st_size)
                SmallFile.replace(beside, with: saved.json.serialized())
            }
            Self.syncDirectory(of: path)
            return nil
        }
    }

    /// From now on it does not get its name any more.
    func giveUp() { state.withLock { $0.isGivenUp = true } }

    private static func syncDirectory(of path: String) {
        let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        let opened = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard opened >= 0 else { return }
        fsync(opened)
        close(opened)
    }
}
