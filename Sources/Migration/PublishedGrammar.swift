/// The grammar of the published words: which may follow which. Every sequence of words that is ever published is a word
/// of it.
///
/// The words go forward: nothing is started, memory moves, the guest is stopped, it may run on the other side, an end.
/// There are three ways back: a guest that was stopped and is continued before it has left is being copied again
/// (`switchover`, then `copying`); a post-copy whose channel breaks and is mended goes through `postcopy-paused` and
/// `recovering` as often as it likes; and an attempt that ended `undecided` can be taken up again, and then stands
/// wherever it stands. A coordinator that was restarted begins anew with `idle`.
public enum PublishedGrammar {
    /// For each word, those that may be published next.
    public static let successors: [PublishedWord: Set<PublishedWord>] = [
        .idle: ending(ends, [.starting, .copying, .switchover, .postcopy, .postcopyPaused, .recovering]),
        .starting: ending(ends, [.copying, .switchover, .postcopy]),
        .copying: ending(ends, [.switchover, .postcopy]),
        .switchover: ending(ends, [.copying, .postcopy, .postcopyPaused]),
        // Both said so, and a program crashed before anybody let the guest run: then it is still the source's.
        .postcopy: ending(endsOfPostcopy, [.postcopyPaused, .recovering, .failed]),
        .postcopyPaused: ending(endsOfPostcopy, [.recovering, .postcopy]),
        .recovering: ending(endsOfPostcopy, [.postcopy, .postcopyPaused]),
        .undecided: Set(PublishedWord.allCases).subtracting([.undecided]),
    ]

    private static func ending(_ ends: Set<PublishedWord>, _ words: Set<PublishedWord>) -> Set<PublishedWord> {
        ends.union(words)
    }

    /// The words after which nothing follows; `undecided` can be taken up again.
    public static let ends: Set<PublishedWord> = [.completed, .failed, .cancelled, .undecided, .lost, .ended]

    /// Once the guest was let run on the destination there is no way back to the source: an attempt cannot fail or be
    /// cancelled any more.
    public static let endsOfPostcopy: Set<PublishedWord> = [.completed, .undecided, .lost, .ended]

    /// Whether a word may be published after another one.
    public static func mayFollow(_ word: PublishedWord, after last: PublishedWord) -> Bool {
        successors[last]?.contains(word) ?? false
    }

    /// Whether a sequence, from the first word after `idle`, is a word of the grammar.
    public static func accepts(_ words: some Sequence<PublishedWord>) -> Bool {
        var last = PublishedWord.idle
        for word in words {
            guard mayFollow(word, after: last) else { return false }
            last = word
        }
        return true
    }
}
