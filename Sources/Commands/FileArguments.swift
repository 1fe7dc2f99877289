public import ArgumentParser
import Migration
import Phases

/// How a guest stands in a file: what QEMU has to be told at both ends.
public struct FileArguments: ParsableArguments {
    @Flag(name: .long, help: "Give each page of memory its place in the file (QEMU 9.0): no page is there twice.")
    var mappedRam = false

    @Option(name: .long, help: ArgumentHelp("Use so many threads; needs --mapped-ram.", valueName: "number"))
    var multifdChannels: Int64?

    @Flag(name: .long, help: "Go past the host's cache; needs --multifd-channels.")
    var directIo = false

    @Flag(name: .long, help: "Leave out memory that is shared with a file of its own.")
    var ignoreShared = false

    @Option(
        name: .long,
        help: ArgumentHelp("cpr-reboot: keep the guest's devices as they are for a restart of QEMU or of the host."))
    var mode: RestartMode?

    /// QEMU's modes of a migration that fit a file.
    public enum RestartMode: String, ExpressibleByArgument, CaseIterable, Sendable {
        /// QEMU or its host is started again in between.
        case cprReboot = "cpr-reboot"
    }

    /// Made by the parser.
    public init() {}

    /// Checks what the parser cannot.
    public func validate() throws {
        if let multifdChannels {
            guard (1...255).contains(multifdChannels) else {
                throw ValidationError("--multifd-channels \(multifdChannels): QEMU takes 1 to 255")
            }
        }
    }

    /// Adds what is asked for to an attempt's options.
    func apply(to options: inout MigrateOptions) {
        for (name, isAsked) in [
            ("mapped-ram", mappedRam), ("multifd", multifdChannels != nil), ("x-ignore-shared", ignoreShared),
        ] where isAsked && !options.capabilities.contains(name) {
            options.capabilities.append(name)
        }
        if let multifdChannels { set("multifd-channels", .integer(multifdChannels), &options) }
        if directIo { set("direct-io", .bool(true), &options) }
        if let mode { set("mode", .string(mode.rawValue), &options) }
        options.file?.isDirect = options.parameters.contains { $0.name == "direct-io" && $0.value == .bool(true) }
    }

    private func set(_ name: String, _ value: SettingValue, _ options: inout MigrateOptions) {
        options.parameters.removeAll { $0.name == name }
        options.parameters.append(Setting(name, value))
    }
}
