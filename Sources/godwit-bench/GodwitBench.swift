@main
enum GodwitBench {
    static func main() async {}
}
