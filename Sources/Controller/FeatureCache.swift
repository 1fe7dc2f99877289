internal import Glibc
import JSONC
import Phases

/// What QEMU binaries can do, kept between runs: `query-qmp-schema` is 200 kB and 20 ms, and a binary does not change its mind.
struct FeatureCache: Sendable {
    /// Where the files are; `nil` turns the cache off.
    let directory: String?

    func features(of binary: String) -> QEMUFeatures? {
        guard let path = path(binary), let bytes = SmallFile.read(path, limit: 4096),
            let value = try? JSONValue(parsing: bytes), value["version"]?.int64 == 1,
            let hasExitOnError = value["exit-on-error"]?.bool, let hasYank = value["yank"]?.bool
        else { return nil }
        return QEMUFeatures(hasExitOnError: hasExitOnError, hasYank: hasYank)
    }

    func store(_ features: QEMUFeatures, of binary: String) {
        guard let path = path(binary), let directory, SmallFile.makeDirectory(directory) else { return }
        let value: JSONValue = [
            "version": 1, "exit-on-error": .bool(features.hasExitOnError), "yank": .bool(features.hasYank),
        ]
        SmallFile.replace(path, with: value.serialized())
    }

    private func path(_ binary: String) -> String? { directory.map { "\($0)/features-\(binary).json" } }
}
