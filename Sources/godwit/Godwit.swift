import ArgumentParser
import Commands

@main
enum Godwit {
    static func main() async {
        // The whole tree of commands costs milliseconds to set up, and a migration has few. Whatever is not plainly one goes the usual way,
        // errors and help included.
        let arguments = CommandLine.arguments.dropFirst()
        if arguments.first == "migrate", let command = try? MigrateCommand.parse(Array(arguments.dropFirst())) {
            do {
                try await command.run()
            } catch {
                GodwitCommand.exit(withError: error)
            }
            return
        }
        await GodwitCommand.main()
    }
}
