enum ReplayStory {
    static func print(_ path: String) throws {}
}
