/// Several threads that scan blocks, of which one at a time also takes the scanned blocks in their order.
///
/// Whoever is free does what is due: taking comes first, then reading and scanning. So the threads share the work
/// evenly, whatever scanning and taking cost.
final class BlockPipeline: @unchecked Sendable {
    private let source: BlockSource
    private let makeScanner: () -> LineScanner
    private let isExact: Bool
    private let consume: (TraceBlock) -> Bool
    private let blockBytes: Int

    private let crew = ThreadCrew()
    // Under the crew's lock:
    private var free: [TraceBlock] = []
    private var ready: [Int: TraceBlock] = [:]
    private var first: TraceBlock?
    private var made = 0
    private var maximumBlocks = 0
    private var filled = 0
    private var taken = 0
    private var isFilling = false
    private var isTaking = false
    private var isOver = false
    private var isStopped = false

    init(
        source: BlockSource, first: TraceBlock, blockBytes: Int, scanner: @escaping () -> LineScanner, isExact: Bool,
        consume: @escaping (TraceBlock) -> Bool
    ) {
        self.source = source
        self.first = first
        self.blockBytes = blockBytes
        self.makeScanner = scanner
        self.isExact = isExact
        self.consume = consume
    }

    /// Runs until the source is over or the consumer does not want more. The caller's thread takes part.
    func run(threads: Int) {
        let threads = min(max(threads, 1), 64)
        maximumBlocks = threads == 1 ? 1 : 2 * threads + 1
        crew.run(threads: threads) { work() }
    }

    private func work() {
        let scanner = makeScanner()
        crew.lock()
        while !isStopped {
            if !isTaking, let block = ready.removeValue(forKey: taken) {
                isTaking = true
                crew.unlock()
                let isMoreWanted = consume(block)
                crew.lock()
                isTaking = false
                taken += 1
                free.append(block)
                if !isMoreWanted { isStopped = true }
                crew.wake()
            } else if !isFilling, !isOver, let block = freeBlock() {
                let number = filled
                filled += 1
                isFilling = true
                let isFull = first != nil
                first = nil
                crew.unlock()
                let isBlock = isFull || source.fill(block)
                crew.lock()
                isFilling = false
                crew.wake()
                guard isBlock else {
                    isOver = true
                    filled = number
                    continue
                }
                crew.unlock()
                block.scan(scanner, isExact: isExact)
                crew.lock()
                ready[number] = block
                crew.wake()
            } else if isOver, taken == filled {
                break
            } else {
                crew.wait()
            }
        }
        crew.wake()
        crew.unlock()
    }

    /// A block to be filled: at first the one that has the header's rest.
    private func freeBlock() -> TraceBlock? {
        if let first {
            made += 1
            return first
        }
        if let block = free.popLast() { return block }
        guard made < maximumBlocks else { return nil }
        made += 1
        return TraceBlock(capacity: blockBytes)
    }
}
