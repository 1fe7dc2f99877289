import ModelChecking

@main
struct ModelCheckerProgram {
    static func main() {
        print(ExplorationBounds())
    }
}
