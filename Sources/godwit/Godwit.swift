import ArgumentParser
import Commands

@main
enum Godwit {
    static func main() async {
        await GodwitCommand.main()
    }
}
