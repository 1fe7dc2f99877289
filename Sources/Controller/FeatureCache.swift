internal import Glibc
import JSONC
import Phases

/// What QEMU binaries can do, kept between runs: `query-qmp-schema` is 200 kB and 20 ms, and a binary does not change
/// its mind.
struct FeatureCache: Sendable {
    /// Where the files are; `nil` turns the cache off.
    let directory: String?

    func features(of binary: String) -> QEMUFeatures? {
        guard let path = path(binary), let bytes = SmallFile.read(path, limit: 4096),
            let value = try? JSONValue(parsing: bytes), value["version"]?.int64 == 3,
            let hasExitOnError = value["exit-on-error"]?.bool, let hasYank = value["yank"]?.bool,
            let hasPostcopyDevice = value["postcopy-device"]?.bool,
            let nestsObjectProperties = value["nested-properties"]?.bool, let hasChannels = value["channels"]?.bool,
            let hasFiles = value["files"]?.bool
        else { return nil }
        return QEMUFeatures(
            hasExitOnError: hasExitOnError, hasYank: hasYank, hasPostcopyDevice: hasPostcopyDevice,
            nestsObjectProperties: nestsObjectProperties, hasChannels: hasChannels, hasFiles: hasFiles)
    }

    func store(_ features: QEMUFeatures, of binary: String) {
        guard let path = path(binary), let directory, SmallFile.makeDirectory(directory) else { return }
        let value: JSONValue = [
            "version": 3, "exit-on-error": .bool(features.hasExitOnError), "yank": .bool(features.hasYank),
            "postcopy-device": .bool(features.hasPostcopyDevice),
            "nested-properties": .bool(features.nestsObjectProperties), "channels": .bool(features.hasChannels),
            "files": .bool(features.hasFiles),
        ]
        SmallFile.replace(path, with: value.serialized())
    }

    private func path(_ binary: String) -> String? { directory.map { "\($0)/features-\(binary).json" } }
}

/// What is known in this attempt about the binaries of both QEMUs, so that two of one binary are asked once. Confined
/// to the event loop.
final class KnownFeatures {
    /// How to come by what a binary can do.
    enum Access {
        case known(QEMUFeatures)
        /// It must be asked for.
        case ask
        /// The other QEMU is being asked.
        case wait
    }

    private let cache: FeatureCache
    private var known: [String: QEMUFeatures] = [:]
    private var waiting: [String: [(QEMUFeatures) -> Void]] = [:]

    init(cache: FeatureCache) { self.cache = cache }

    func access(_ binary: String?) -> Access {
        guard let binary else { return .ask }
        if let features = known[binary] ?? cache.features(of: binary) { return .known(features) }
        if waiting[binary] != nil { return .wait }
        waiting[binary] = []
        return .ask
    }

    /// Calls back at once if the features are known, else when they are; never if the one who asks fails, which fails
    /// the attempt.
    func whenKnown(_ binary: String?, _ body: @escaping (QEMUFeatures) -> Void) {
        guard let binary else { return }
        if let features = known[binary] { return body(features) }
        waiting[binary, default: []].append(body)
    }

    func learned(_ features: QEMUFeatures, of binary: String?) {
        guard let binary else { return }
        known[binary] = features
        cache.store(features, of: binary)
        waiting.removeValue(forKey: binary)?.forEach { $0(features) }
    }
}
