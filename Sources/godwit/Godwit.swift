import Commands

@main
enum Godwit {
    static func main() async {}
}
