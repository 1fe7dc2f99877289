import Glibc
import ModelChecking

@main
struct ModelCheckerProgram {
    static func main() async {
        exit(await ModelCheckerCommand.run(Array(CommandLine.arguments.dropFirst())))
    }
}
