import CLinux
import Glibc
import QMPTransport
import Synchronization

/// The thread that passes bytes on between QEMUs and their clients.
final class ProxyLoop: Sendable {
    private let journal: ProxyJournal
    private let tell: @Sendable (String) -> Void
    private let wake: Wakeup
    private let isStopped = Atomic(false)

    init(journal: ProxyJournal, tell: @escaping @Sendable (String) -> Void) throws(ProxyError) {
        self.journal = journal
        self.tell = tell
        do throws(WakeupFailure) { wake = try Wakeup() } catch { throw ProxyError("a pipe", error.code) }
    }

    /// Begins; `end` is called when nothing is left. Returns 0 or an errno.
    func start(_ box: LinkBox, end: @escaping @Sendable () -> Void) -> CInt {
        spawnThread { [self] in
            var turn = Turn(links: box.links, journal: journal, tell: tell, wake: wake)
            while !isStopped.load(ordering: .acquiring), turn.run() {}
            turn.end()
            end()
        }
    }

    func stop() {
        isStopped.store(true, ordering: .releasing)
        wake.notify()
    }
}

/// Hands links to the thread that has them to itself from then on.
struct LinkBox: @unchecked Sendable {
    let links: [ProxyLink]
}

/// What is done in each turn of the loop.
private struct Turn {
    let links: [ProxyLink]
    let journal: ProxyJournal
    let tell: @Sendable (String) -> Void
    let wake: Wakeup
    private var buffer = [UInt8](repeating: 0, count: 256 << 10)
    private var descriptors: [pollfd] = []
    private var entries: [ProxyJournal.Entry] = []

    init(
        links: [ProxyLink], journal: ProxyJournal, tell: @escaping @Sendable (String) -> Void, wake: Wakeup
    ) {
        self.links = links
        self.journal = journal
        self.tell = tell
        self.wake = wake
    }

    /// Waits for something and does what is due. False: nothing is left to do.
    mutating func run() -> Bool {
        guard links.contains(where: { $0.isOpen || $0.endDeadline != nil || !$0.clients.isEmpty }) else { return false }
        let deadline = interests()
        let wait = deadline.map { CInt(clamping: max(0, $0 - journal.now + 999) / 1000) } ?? -1
        if poll(&descriptors, nfds_t(descriptors.count), wait) < 0, errno != EINTR { return false }
        if isReady(wake.descriptor) { wake.drain() }
        for link in links { serve(link) }
        writeDown()
        return true
    }

    /// Nothing is passed on any more.
    mutating func end() {
        for link in links {
            if link.isOpen { note(.mark("the recording was ended"), of: link, at: journal.now) }
            link.close()
        }
        writeDown()
    }

    private mutating func writeDown() {
        journal.append(entries)
        entries.removeAll(keepingCapacity: true)
    }

    // MARK: Waiting

    private mutating func interests() -> Int64? {
        var deadline: Int64?
        descriptors.removeAll(keepingCapacity: true)
        descriptors.append(pollfd(fd: wake.descriptor, events: Int16(POLLIN), revents: 0))
        func add(_ descriptor: CInt, reads: Bool, writes: Bool) {
            descriptors.append(
                pollfd(fd: descriptor, events: Int16((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)), revents: 0))
        }
        for link in links {
            if link.isOpen {
                // With one client QEMU is read no faster than its client reads; of several none holds up the others.
                let lag = link.proxy.maximumClients == 1 ? link.clients.map(\.outbox.count).max() ?? 0 : 0
                add(link.qemu, reads: lag < ProxyLink.comfortableLag, writes: !link.qemuOutbox.isEmpty)
            }
            for client in link.clients {
                let reads = !client.isClosing && link.qemuOutbox.count < ProxyLink.comfortableLag
                add(client.socket, reads: reads, writes: !client.outbox.isEmpty)
            }
            if link.takesClients { add(link.listener, reads: true, writes: false) }
            if let due = link.endDeadline {
                deadline = min(deadline ?? due, due)
                if let pidfd = link.peer?.pidfd { add(pidfd, reads: true, writes: false) }
            }
        }
        return deadline
    }

    private func isReady(_ descriptor: CInt) -> Bool {
        descriptors.contains { $0.fd == descriptor && $0.revents != 0 }
    }

    // MARK: One QEMU

    private mutating func serve(_ link: ProxyLink) {
        if link.isOpen, isReady(link.qemu) { readQEMU(link) }
        for number in link.clients.map(\.number) {
            guard let index = link.clients.firstIndex(where: { $0.number == number }) else { continue }
            if isReady(link.clients[index].socket) { readClient(number, link) }
        }
        if link.takesClients, isReady(link.listener), let client = link.accept() {
            carryOut(link.proxy.clientCame(client.number, client.description), link, at: journal.now)
        }
        flush(link)
        watchEnd(link)
    }

    private mutating func readQEMU(_ link: ProxyLink) {
        guard let (count, descriptors) = receive(link.qemu) else { return }
        let now = journal.now
        guard count > 0 else { return qemuLeft(link) }
        let actions = buffer.withUnsafeBytes { bytes in
            link.proxy.fromQEMU(UnsafeRawBufferPointer(rebasing: bytes[..<count]), descriptors: descriptors) {
                Self.send($1, $2, toClient: $0, link)
            }
        }
        carryOut(actions, link, at: now)
    }

    private mutating func readClient(_ number: Int, _ link: ProxyLink) {
        guard let index = link.clients.firstIndex(where: { $0.number == number }), !link.clients[index].isClosing,
            let (count, descriptors) = receive(link.clients[index].socket)
        else { return }
        let now = journal.now
        guard count > 0 else { return clientLeft(number, link) }
        let actions = buffer.withUnsafeBytes { bytes in
            link.proxy.fromClient(number, UnsafeRawBufferPointer(rebasing: bytes[..<count]), descriptors: descriptors)
        }
        carryOut(actions, link, at: now)
    }

    /// Nil: nothing is there after all. No bytes: the end.
    private mutating func receive(_ socket: CInt) -> (count: Int, descriptors: [CInt])? {
        var found = [CInt](repeating: -1, count: 253)
        var room = found.count
        while true {
            let count = buffer.withUnsafeMutableBytes { bytes in
                godwit_receive_descriptors(socket, bytes.baseAddress, bytes.count, &found, &room)
            }
            if count >= 0 { return (count, Array(found[..<room])) }
            switch errno {
            case EINTR: room = found.count
            case EAGAIN: return nil
            default: return (0, [])
            }
        }
    }

    private mutating func clientLeft(_ number: Int, _ link: ProxyLink) {
        guard let index = link.clients.firstIndex(where: { $0.number == number }) else { return }
        link.closeClient(at: index)
        carryOut(link.proxy.clientLeft(number), link, at: journal.now)
    }

    private mutating func qemuLeft(_ link: ProxyLink) {
        let now = journal.now
        link.closeQEMU()
        carryOut(link.proxy.qemuLeft(), link, at: now)
        link.closeListener()
        // A process ends within moments of its connections, if that is why they ended.
        link.endDeadline = link.peer?.pidfd == nil ? nil : now + 1_000_000
        tell("\(link.monitor.qemu): QEMU closed its monitor")
    }

    private mutating func watchEnd(_ link: ProxyLink) {
        guard let deadline = link.endDeadline else { return }
        let now = journal.now
        if link.peer?.hasExited == true {
            note(.ended, of: link, at: now)
            link.endDeadline = nil
        } else if now >= deadline {
            link.endDeadline = nil
        }
    }

    // MARK: Doing it

    private mutating func carryOut(_ actions: [ProxyAction], _ link: ProxyLink, at now: Int64) {
        for action in actions {
            switch action {
            case .toQEMU(let bytes, let descriptors):
                link.qemuOutbox.append(bytes, descriptors)
                // At once: what is only written down can wait.
                if link.qemuOutbox.send(to: link.qemu) == .broken { link.qemuOutbox.discard() }
            case .toClient(let number, let bytes, let descriptors):
                Self.send(bytes, descriptors, toClient: number, link)
            case .closeClient(let number):
                guard let index = link.clients.firstIndex(where: { $0.number == number }) else { continue }
                link.clients[index].isClosing = true
            case .discard(let descriptors): descriptors.forEach { Glibc.close($0) }
            case .record(let record): note(record, of: link, at: now)
            }
        }
    }

    private static func send(_ bytes: [UInt8], _ descriptors: [CInt], toClient number: Int, _ link: ProxyLink) {
        guard let index = link.clients.firstIndex(where: { $0.number == number }) else {
            descriptors.forEach { Glibc.close($0) }
            return
        }
        link.clients[index].outbox.append(bytes, descriptors)
        if link.clients[index].outbox.send(to: link.clients[index].socket) == .broken {
            link.clients[index].outbox.discard()
        }
    }

    private mutating func note(_ record: ProxyRecord, of link: ProxyLink, at now: Int64) {
        entries.append(
            ProxyJournal.Entry(
                microseconds: now, side: link.side, qemu: link.monitor.name, record: record))
    }

    private mutating func flush(_ link: ProxyLink) {
        if link.isOpen, link.qemuOutbox.send(to: link.qemu) == .broken { link.qemuOutbox.discard() }
        for number in link.clients.map(\.number) {
            guard let index = link.clients.firstIndex(where: { $0.number == number }) else { continue }
            let outcome = link.clients[index].outbox.send(to: link.clients[index].socket)
            let isLagging = link.proxy.maximumClients > 1 && link.clients[index].outbox.count > ProxyLink.maximumLag
            if isLagging { note(.mark("client \(number) does not read: it is cut off"), of: link, at: journal.now) }
            if outcome == .broken || isLagging || (link.clients[index].isClosing && link.clients[index].outbox.isEmpty)
            {
                clientLeft(number, link)
            }
        }
    }
}
