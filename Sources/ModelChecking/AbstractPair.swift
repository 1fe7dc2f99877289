import Migration

/// What a QEMU says, and on which side.
struct Saying: Hashable, Sendable {
    var side: Side
    var fact: Fact
}

/// A pair of QEMUs with a migration stream between them: everything that can happen to it by itself, and what each command does.
///
/// The words move only along the rows of QEMU's transition table for the profile's version; the rows say what may follow, this
/// type says when. Unlike a real QEMU it does everything that it can do in every order.
struct AbstractPair: Hashable, Sendable {
    /// What goes wrong by itself; each is paid for from a budget.
    enum Trouble: Hashable, Sendable {
        case streamBreaks, loadFails, sourceDies, destinationDies, guestShutsDown, runRefused
    }

    let profile: QEMUProfile
    var source: AbstractQEMU
    var destination: AbstractQEMU
    /// The destination has accepted the source's connection.
    var isConnected = false
    /// The sockets were shut, or one end is gone.
    var isCut = false
    /// Pre-copy: everything was written to the stream. What was written may arrive although the stream is cut afterwards.
    var isAllSent = false
    /// Post-copy: the package with the device state was written.
    var isPackageSent = false
    /// Post-copy: every page was sent.
    var areAllPagesSent = false
    /// The guest has executed on the destination.
    var didDestinationRun = false
    /// A `migrate_cancel` was carried out in post-copy, which destroys the guest before 10.0.
    var wasDestroyed = false
    /// The destination cannot get its disks' locks: it refuses to run the guest.
    var isRunRefused = false
    /// The guest powered itself off.
    var didShutDown = false
    /// The capability that post-copy takes.
    static let postcopy = "postcopy-ram"

    init(_ profile: QEMUProfile, isGuestRunning: Bool = true) {
        self.profile = profile
        source = AbstractQEMU(.source, isGuestRunning: isGuestRunning)
        destination = AbstractQEMU(.destination, isGuestRunning: false)
    }

    subscript(side: Side) -> AbstractQEMU {
        get { side == .source ? source : destination }
        set { if side == .source { source = newValue } else { destination = newValue } }
    }

    var areBothRunning: Bool { source.isRunning && destination.isRunning }

    /// The source's process holds all of the guest's memory, as it is now, and QEMU can still be brought to run it.
    var isWholeOnSource: Bool {
        source.life != .dead && source.life != .exiting && !didDestinationRun && !source.isInPostcopy && !wasDestroyed
    }

    /// The destination's process holds all of it.
    var isWholeOnDestination: Bool { destination.isAlive && destination.word == .completed }

    // MARK: What is said

    private mutating func say(_ side: Side, _ word: StatusWord, _ sayings: inout [Saying]) {
        self[side].word = word
        if self[side].isOn("events") { sayings.append(Saying(side: side, fact: .event(.migration(word)))) }
    }

    private mutating func resume(_ side: Side, _ sayings: inout [Saying]) {
        self[side].runState = .running
        if side == .destination { didDestinationRun = true }
        sayings.append(Saying(side: side, fact: .event(.resume)))
    }

    // MARK: What happens by itself

    /// Everything that can happen next without anybody's doing: what it is, and what it leads to.
    func moves(_ troubles: [Trouble]) -> [(name: String, trouble: Trouble?, pair: AbstractPair, sayings: [Saying])] {
        var result: [(name: String, trouble: Trouble?, pair: AbstractPair, sayings: [Saying])] = []
        func add(_ name: String, _ trouble: Trouble?, _ change: (inout AbstractPair, inout [Saying]) -> Void) {
            var pair = self
            var sayings: [Saying] = []
            change(&pair, &sayings)
            if pair != self || !sayings.isEmpty { result.append((name, trouble, pair, sayings)) }
        }
        for side in Side.allCases where self[side].life == .exiting {
            add("the \(side.rawValue)'s process ends", nil) { pair, _ in pair.end(side) }
        }
        if source.isAlive {
            for edge in TransitionTable.edges(from: source.word ?? .none, on: .source, version: profile.version) {
                guard let way = sourceWay(edge.to) else { continue }
                add("source \(edge.from) → \(edge.to)", nil, way)
            }
            addSourceSteps(add)
        }
        if destination.isAlive {
            for edge in TransitionTable.edges(
                from: destination.word ?? .none, on: .destination, version: profile.version)
            {
                guard let way = destinationWay(edge.to) else { continue }
                add("destination \(edge.from) → \(edge.to)", nil, way)
            }
            addDestinationSteps(add)
        }
        for trouble in troubles { addTrouble(trouble, add) }
        return result
    }

    private typealias Way = (inout AbstractPair, inout [Saying]) -> Void
    private typealias Adder = (String, Trouble?, (inout AbstractPair, inout [Saying]) -> Void) -> Void

    /// Whether the other end still reads, as far as the source can tell.
    private var isPeerReading: Bool { !isCut && destination.isAlive && destination.word != .failed }

    /// The word an error begins with.
    private var errorWord: StatusWord { profile.hasFailing ? .failing : .failed }

    /// What a row of the table means for the source, if it can be taken now; commands take theirs themselves.
    private func sourceWay(_ to: StatusWord) -> Way? {
        let word = source.word
        switch (word, to) {
        case (.setup?, .active):
            guard destination.isAlive, destination.isListening, !isConnected, !isCut else { return nil }
            return { pair, sayings in
                pair.isConnected = true
                pair.source.work = .copying
                pair.say(.source, .active, &sayings)
            }
        case (.setup?, .failed), (.setup?, .failing):
            guard to == errorWord, !(destination.isAlive && destination.isListening && !isConnected) || isCut
            else { return nil }
            return { pair, sayings in pair.fail(&sayings) }
        case (.active?, .preSwitchover):
            guard source.work == .stopped, source.isOn("pause-before-switchover") else { return nil }
            return { pair, sayings in pair.say(.source, .preSwitchover, &sayings) }
        case (.active?, .device):
            guard source.work == .stopped, !source.isOn("pause-before-switchover") else { return nil }
            return { pair, sayings in
                pair.source.work = .writing
                pair.say(.source, .device, &sayings)
            }
        case (.active?, .postcopyActive):
            // Before 10.0 the word comes before the guest is stopped and before anything was sent.
            guard source.isPostcopyWanted, source.work == .copying, !source.isOn("pause-before-switchover") else {
                return nil
            }
            return { pair, sayings in pair.say(.source, .postcopyActive, &sayings) }
        case (.active?, .completed):
            guard source.work == .written, isArrivalKnown else { return nil }
            return { pair, sayings in pair.complete(&sayings) }
        case (.active?, .failed), (.active?, .failing), (.device?, .failed), (.device?, .failing),
            (.postcopyDevice?, .failed), (.postcopyDevice?, .failing):
            guard to == errorWord, !isPeerReading else { return nil }
            return { pair, sayings in pair.fail(&sayings) }
        case (.device?, .postcopyDevice):
            guard source.work == .written, source.isPostcopyWanted, source.isOn("return-path") else { return nil }
            return { pair, sayings in pair.say(.source, .postcopyDevice, &sayings) }
        case (.device?, .postcopyActive):
            guard source.work == .written, source.isPostcopyWanted,
                !(profile.hasPostcopyDevice && source.isOn("return-path"))
            else { return nil }
            return { pair, sayings in pair.say(.source, .postcopyActive, &sayings) }
        case (.device?, .completed):
            guard source.work == .written, !source.isPostcopyWanted, isArrivalKnown else { return nil }
            return { pair, sayings in pair.complete(&sayings) }
        case (.postcopyDevice?, .postcopyActive):
            guard destination.hasDevices, !isCut else { return nil }
            return { pair, sayings in pair.say(.source, .postcopyActive, &sayings) }
        case (.postcopyActive?, .postcopyPaused):
            guard isCut || !destination.isAlive, source.work != .copying else { return nil }
            return { pair, sayings in pair.say(.source, .postcopyPaused, &sayings) }
        case (.postcopyActive?, .completed):
            guard areAllPagesSent else { return nil }
            return { pair, sayings in pair.complete(&sayings) }
        case (.failing?, .failed):
            guard source.work == .freeing else { return nil }
            return { pair, sayings in
                pair.source.work = .none
                pair.source.hasResources = false
                pair.say(.source, .failed, &sayings)
            }
        case (.cancelling?, .cancelled), (.cancelling?, .failed):
            // Some error paths before 10.0 wrote `failed` over a cancel; there has to be an error for that.
            guard source.work == .freeing else { return nil }
            return { pair, sayings in
                pair.source.work = .none
                pair.source.hasResources = false
                pair.say(.source, to, &sayings)
            }
        case (.cancelling?, .completed):
            guard isAllSent, isLoaded, source.work == .unwinding, source.runState == .finishMigrate else { return nil }
            return { pair, sayings in pair.complete(&sayings) }
        case (.postcopyRecoverSetup?, .postcopyRecover):
            guard destination.isListeningAgain, destination.isAlive else { return nil }
            return { pair, sayings in pair.reconnect(&sayings) }
        case (.postcopyRecoverSetup?, .postcopyPaused):
            guard !(destination.isListeningAgain && destination.isAlive) else { return nil }
            return { pair, sayings in pair.say(.source, .postcopyPaused, &sayings) }
        case (.postcopyRecover?, .postcopyActive):
            guard !isCut, destination.word == .postcopyRecover || destination.word == .postcopyActive else {
                return nil
            }
            return { pair, sayings in pair.say(.source, .postcopyActive, &sayings) }
        case (.postcopyRecover?, .postcopyPaused):
            guard isCut || !destination.isAlive else { return nil }
            return { pair, sayings in pair.say(.source, .postcopyPaused, &sayings) }
        default: return nil
        }
    }

    /// Whether the destination has loaded everything of a pre-copy.
    private var isLoaded: Bool { destination.word == .completed }

    /// Whether the source may say completed: the return path told it, or there is none.
    private var isArrivalKnown: Bool { source.isOn("return-path") ? isLoaded && !isCut : isAllSent }

    private mutating func fail(_ sayings: inout [Saying]) {
        isCut = true
        source.work = .unwinding
        source.blocked = []
        say(.source, errorWord, &sayings)
    }

    private mutating func complete(_ sayings: inout [Saying]) {
        source.work = .freeing
        say(.source, .completed, &sayings)
    }

    private mutating func reconnect(_ sayings: inout [Saying]) {
        isCut = false
        destination.isListeningAgain = false
        say(.source, .postcopyRecover, &sayings)
    }

    /// What the source does without changing its word.
    private func addSourceSteps(_ add: Adder) {
        let isStopping = source.work == .copying && destination.word == .active && isPeerReading
        if source.word == .active && isStopping && !(source.isPostcopyWanted && announcesPostcopyFirst)
            || source.word == .postcopyActive && source.work == .copying
        {
            add("the source stops the guest for the switchover", nil) { pair, sayings in
                pair.stopForSwitchover(&sayings)
            }
        }
        if source.word == .active, source.work == .stopped, !profile.alwaysShowsDevice,
            !source.isOn("pause-before-switchover")
        {
            add("the source begins to write device state", nil) { pair, _ in pair.source.work = .writing }
        }
        if source.word == .postcopyActive, source.work == .stopped, isPeerReading {
            add("the source begins to write the package", nil) { pair, _ in pair.source.work = .writing }
        }
        if source.work == .writing, isPeerReading {
            add("the source has written device state", nil) { pair, sayings in pair.written(&sayings) }
        }
        if source.word == .postcopyActive, isPackageSent, !isCut, destination.isAlive, destination.hasDevices,
            !areAllPagesSent
        {
            add("the source has sent every page", nil) { pair, _ in pair.areAllPagesSent = true }
        }
        switch (source.word, source.work) {
        case (.completed?, .freeing):
            add("the source becomes postmigrate", nil) { pair, _ in
                pair.source.work = .none
                pair.source.runState = .postMigrate
                pair.source.hasResources = false
            }
        case (.failing?, .unwinding), (.failed?, .unwinding), (.cancelling?, .unwinding):
            add("the source takes the guest back", nil) { pair, sayings in pair.takeBack(&sayings) }
        case (.failed?, .freeing):
            add("the source frees the migration", nil) { pair, _ in
                pair.source.work = .none
                pair.source.hasResources = false
            }
        default: break
        }
        if source.word == .postcopyPaused, profile.hasRecoverSetup == false, source.isListeningAgain {
            add("the source connects again", nil) { pair, sayings in
                pair.source.isListeningAgain = false
                if pair.destination.isListeningAgain, pair.destination.isAlive { pair.reconnect(&sayings) }
            }
        }
    }

    /// Before 10.0 post-copy without a pause is announced while the guest still runs.
    private var announcesPostcopyFirst: Bool {
        profile.allows(.source, .active, .postcopyActive) && !source.isOn("pause-before-switchover")
    }

    private mutating func stopForSwitchover(_ sayings: inout [Saying]) {
        source.startsByItself = source.runState == .running
        if source.startsByItself { sayings.append(Saying(side: .source, fact: .event(.stop))) }
        source.runState = source.runState == .shutdown ? .shutdown : .finishMigrate
        source.work = .stopped
    }

    private mutating func written(_ sayings: inout [Saying]) {
        source.work = .written
        if source.isPostcopyWanted { isPackageSent = true } else { isAllSent = true }
        let waiting = source.blocked
        source.blocked = []
        for command in waiting {
            let reply = carryOut(command, on: .source, &sayings)
            sayings.append(Saying(side: .source, fact: .reply(command, reply)))
        }
    }

    /// An attempt that did not succeed: disks are re-activated and the guest is resumed if it ran before.
    private mutating func takeBack(_ sayings: inout [Saying]) {
        source.work = .freeing
        guard source.runState == .finishMigrate else { return }
        if source.startsByItself { resume(.source, &sayings) } else { source.runState = .paused }
    }

    private func destinationWay(_ to: StatusWord) -> Way? {
        switch (destination.word, to) {
        case (nil, .active), (.setup?, .active):
            guard destination.isListening, isConnected else { return nil }
            return { pair, sayings in
                pair.destination.hasResources = true
                pair.say(.destination, .active, &sayings)
            }
        case (.active?, .completed):
            // What was written can be loaded, whatever became of the writer.
            guard isAllSent else { return nil }
            return { pair, sayings in pair.load(&sayings) }
        case (.active?, .failed):
            guard isSourceGone else { return nil }
            return { pair, sayings in pair.failLoading(&sayings) }
        case (.active?, .postcopyDevice):
            guard isPackageSent, source.isOn("return-path") else { return nil }
            return { pair, sayings in pair.say(.destination, .postcopyDevice, &sayings) }
        case (.active?, .postcopyActive):
            guard isPackageSent, !(profile.hasPostcopyDevice && source.isOn("return-path")) else { return nil }
            return { pair, sayings in pair.say(.destination, .postcopyActive, &sayings) }
        case (.postcopyDevice?, .postcopyActive):
            return { pair, sayings in
                pair.destination.hasDevices = true
                pair.say(.destination, .postcopyActive, &sayings)
            }
        case (.postcopyDevice?, .failed):
            guard isSourceGone else { return nil }
            return { pair, sayings in pair.failLoading(&sayings) }
        case (.postcopyActive?, .failed):
            // Before its devices are loaded there is nothing to pause.
            guard isSourceGone, !destination.hasDevices else { return nil }
            return { pair, sayings in pair.failLoading(&sayings) }
        case (.postcopyActive?, .postcopyPaused):
            guard isCut || source.life == .dead, destination.hasDevices, !areAllPagesSent else { return nil }
            return { pair, sayings in pair.say(.destination, .postcopyPaused, &sayings) }
        case (.postcopyActive?, .completed):
            guard areAllPagesSent, destination.hasDevices, destination.runState != .inMigrate else { return nil }
            return { pair, sayings in
                pair.destination.hasResources = false
                pair.say(.destination, .completed, &sayings)
            }
        case (.postcopyPaused?, .postcopyRecover):
            guard source.word == .postcopyRecover, !isCut else { return nil }
            return { pair, sayings in pair.say(.destination, .postcopyRecover, &sayings) }
        case (.postcopyRecover?, .postcopyActive):
            guard !isCut, source.word == .postcopyRecover || source.word == .postcopyActive else { return nil }
            return { pair, sayings in pair.say(.destination, .postcopyActive, &sayings) }
        case (.postcopyRecover?, .postcopyPaused):
            guard isCut || source.life == .dead else { return nil }
            return { pair, sayings in pair.say(.destination, .postcopyPaused, &sayings) }
        default: return nil
        }
    }

    /// Whether the stream ends before everything came.
    private var isSourceGone: Bool {
        isCut || !source.isAlive || source.word == .cancelled || source.word == .failed
    }

    private mutating func load(_ sayings: inout [Saying]) {
        destination.hasResources = false
        if didShutDown {
            destination.runState = .shutdown
        } else if destination.startsByItself, source.startsByItself {
            resume(.destination, &sayings)
        } else {
            destination.runState = .paused
        }
        say(.destination, .completed, &sayings)
    }

    private mutating func failLoading(_ sayings: inout [Saying]) {
        isCut = true
        destination.hasResources = false
        say(.destination, .failed, &sayings)
        if !destination.staysOnError { destination.life = .exiting }
    }

    private func addDestinationSteps(_ add: Adder) {
        guard destination.word == .postcopyActive else { return }
        if !destination.hasDevices, isPackageSent, !profile.hasPostcopyDevice {
            add("the destination has loaded its devices", nil) { pair, _ in pair.destination.hasDevices = true }
        }
        if destination.hasDevices, destination.runState == .inMigrate {
            // The start is a later bottom half: `cont` before it only marks that the guest is to be started.
            add("the destination leaves inmigrate", nil) { pair, sayings in
                if pair.destination.startsByItself, pair.source.startsByItself {
                    pair.resume(.destination, &sayings)
                } else {
                    pair.destination.runState = .paused
                }
            }
        }
    }

    // MARK: Trouble

    private func addTrouble(_ trouble: Trouble, _ add: Adder) {
        switch trouble {
        case .streamBreaks:
            guard isConnected, !isCut, !(source.word?.isTerminal ?? true) || !(destination.word?.isTerminal ?? true)
            else { return }
            add("the stream breaks", trouble) { pair, _ in pair.isCut = true }
        case .loadFails:
            guard destination.isAlive, destination.word == .active || destination.word == .postcopyDevice else {
                return
            }
            add("the destination cannot load", trouble) { pair, sayings in pair.failLoading(&sayings) }
        case .sourceDies, .destinationDies:
            let side: Side = trouble == .sourceDies ? .source : .destination
            guard self[side].life != .dead else { return }
            add("the \(side.rawValue)'s process is killed", trouble) { pair, _ in pair.end(side) }
        case .runRefused:
            guard destination.isAlive, !destination.isRunning, !isRunRefused else { return }
            add("the destination's disks are locked by somebody", trouble) { pair, _ in pair.isRunRefused = true }
        case .guestShutsDown:
            guard source.isRunning, !didShutDown else { return }
            add("the guest powers itself off", trouble) { pair, sayings in
                pair.didShutDown = true
                pair.source.life = .exiting
                sayings.append(
                    Saying(side: .source, fact: .event(.shutdown(byGuest: true, reason: "guest-shutdown"))))
            }
        }
    }

    /// The end of a process; its monitor and whoever watches it learn of it by themselves.
    mutating func end(_ side: Side) {
        self[side].life = .dead
        self[side].blocked = []
        // What it said and had is nobody's business any more.
        self[side].word = nil
        self[side].work = .none
        self[side].runState = .shutdown
        self[side].hasResources = false
        if isConnected { isCut = true }
    }
}
