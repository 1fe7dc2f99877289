public import ArgumentParser
import Controller

/// The program.
public struct GodwitCommand: AsyncParsableCommand {
    /// Name, help and verbs.
    public static let configuration = CommandConfiguration(
        commandName: "godwit",
        abstract: "Moves live guests from one QEMU to another over QMP, and shows what happened.",
        version: Version.current,
        subcommands: [
            MigrateCommand.self,
            CheckCommand.self,
            DescribeCommand.self,
            SaveCommand.self,
            RestoreCommand.self,
            StatusCommand.self,
            CancelCommand.self,
            ContinueCommand.self,
            SetCommand.self,
            PauseGuestCommand.self,
            PostcopyCommand.self,
            PausePostcopyCommand.self,
            RecoverCommand.self,
            ReplayCommand.self,
            IndexCommand.self,
            ExplainCommand.self,
            DiffCommand.self,
            ReportCommand.self,
            RecordCommand.self,
            ServeCommand.self,
            ConvertCommand.self,
            SimulateCommand.self,
            TableCommand.self,
            DemoCommand.self,
        ])

    /// Made by the parser.
    public init() {}
}
