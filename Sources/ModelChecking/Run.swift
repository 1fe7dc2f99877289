import Migration
import Phases

/// One step of the joint system, carried out on a state.
struct Run {
    let system: JointSystem
    /// Whose input it was.
    var actor: Part?
    /// How many effects were carried out.
    var carriedOut = 0
    /// Numbers of effects after which a crash differs from a crash before or after all of them.
    var cuts: [Int] = []
    /// What was taken and done, for a person; only gathered on demand.
    var isTelling = false
    var told: [Telling] = []

    enum Telling: Hashable, Sendable {
        case input(Part, UInt32)
        case item(String, UInt32)
        case move(UInt32)
        case effect(Part, PartyEffect)
        case note(String)
        case saying(Side, Fact)
    }

    init(system: JointSystem) { self.system = system }

    var configuration: Configuration { system.configuration }

    mutating func take(_ action: JointAction, _ state: inout JointState) {
        let cut = action.cut
        switch action.kind {
        case .migrate:
            change(&state) { $0.isAsked = true }
            deliver(.coordinator(.request(.migrate, .operator)), to: .coordinator, cut, &state)
        case .request(let request):
            state.budget.spend(.request)
            deliver(.coordinator(.request(request, .operator)), to: .coordinator, cut, &state)
        case .move(let index): move(index, &state)
        case .monitor(let side):
            let queue = system.lists[state.monitors[side]]
            guard let first = queue.first else { return }
            state.monitors[side] = system.lists.remove(at: 0, from: state.monitors[side])
            deliver(number: first, to: Part(side), cut, &state)
        case .processEnd(let side):
            state.isEndUntold[side] = false
            deliver(.side(.fact(.process(.gone))), to: Part(side), cut, &state)
        case .message(let direction, let delivery): message(direction, delivery, cut, &state)
        case .lateMessage(let index): lateMessage(index, cut, &state)
        case .timeout(let part, let deadline, let isEarly):
            if isEarly { state.budget.spend(.earlyTimeout) }
            state.armed[part] &= ~deadline.bit
            deliver(part.timeout(deadline), to: part, cut, &state)
        case .tick(let side): deliver(.side(.tick), to: Part(side), cut, &state)
        case .execute(let part):
            actor = part
            carryOut(part, cut, &state)
        case .crash(let part):
            state.budget.spend(part.crash)
            crash(part, &state)
        case .restart(let part): restart(part, &state)
        case .rest: break
        case .loseMonitor(let side, let keepsReplies):
            state.budget.spend(.loseMonitor)
            loseMonitor(side, keepsReplies: keepsReplies, &state)
        case .reconnectMonitor(let side):
            state.isMonitorOpen[side] = true
            hear(side, .fact(.monitor(.connected)), &state)
        case .breakLink(let side):
            state.budget.spend(.breakLink)
            breakLink(side, &state)
        case .reconnectLink(let side):
            state.isLinkUp[side] = true
            for isToCoordinator in [false, true] {
                let index = Direction(side: side, isToCoordinator: isToCoordinator).index
                state.links[index] = system.lists.append(JointSystem.linkMade, to: state.links[index])
            }
        }
        drainDirectLinks(&state)
        judge(&state)
    }

    mutating func note(_ telling: @autoclosure () -> Telling) {
        guard isTelling else { return }
        let new = telling()
        told.append(new)
    }

    // MARK: QEMU

    private mutating func move(_ index: Int, _ state: inout JointState) {
        let move = system.moves(of: state.pair)[index]
        if let fault = move.fault {
            state.budget.spend(fault)
            if fault == .killSource || fault == .killDestination || fault == .shutDownGuest {
                change(&state) {
                    $0.isLossExcused = true
                    if fault != .killDestination { $0.isSourceKilled = true }
                }
            }
        }
        note(.move(move.name))
        become(move.pair, move.sayings, &state)
    }

    /// The pair moved on: what it says is queued, what ended is told.
    mutating func become(_ pair: UInt32, _ sayings: [HeardSaying], _ state: inout JointState) {
        let before = system.facts(of: state.pair).isDead
        let after = system.facts(of: pair).isDead
        state.pair = pair
        for saying in sayings where state.isMonitorOpen[saying.side] { hearAnyway(saying.side, saying.input, &state) }
        for side in Side.allCases where !before[side] && after[side] {
            if state.isMonitorOpen[side] {
                state.isMonitorOpen[side] = false
                hearAnyway(side, .fact(.monitor(.lost)), &state)
            }
            state.isEndUntold[side] = true
        }
    }

    /// Puts something into what a program will read from its monitor.
    private mutating func hear(_ side: Side, _ input: SideInput, _ state: inout JointState) {
        guard state.isMonitorOpen[side] else { return }
        hearAnyway(side, input, &state)
    }

    private mutating func hearAnyway(_ side: Side, _ input: SideInput, _ state: inout JointState) {
        hearAnyway(side, system.inputs.number(of: .side(input)), &state)
    }

    private mutating func hearAnyway(_ side: Side, _ number: UInt32, _ state: inout JointState) {
        guard state.parties[Part(side)] != 0 else { return }
        if isTelling, case .side(.fact(let fact)) = system.inputs[number] { told.append(.saying(side, fact)) }
        state.monitors[side] = system.lists.append(number, to: state.monitors[side])
    }

    private mutating func loseMonitor(_ side: Side, keepsReplies: Bool, _ state: inout JointState) {
        state.isMonitorOpen[side] = false
        let waiting = system.lists[state.monitors[side]]
        if !keepsReplies { state.monitors[side] = 0 }
        hearAnyway(side, .fact(.monitor(.lost)), &state)
        guard !keepsReplies else { return }
        for number in waiting {
            // What was answered and not read yet counts as not answered.
            guard case .side(.fact(.reply(let command, _))) = system.inputs[number] else { continue }
            hearAnyway(side, .fact(.unanswered(command)), &state)
        }
    }

    private mutating func send(
        _ command: Command, outOfBand: Bool, _ receipt: UInt32, from side: Side, _ state: inout JointState
    ) {
        guard state.isMonitorOpen[side] else {
            return hearAnyway(side, .fact(.unanswered(command)), &state)
        }
        let receipt = system.receipts.value(state.pair, receipt) {
            var pair = system.pairs[state.pair]
            let sayings = pair.receive(command, on: side, outOfBand: outOfBand)
            return (system.pairs.number(of: pair), sayings.map(system.heard))
        }
        become(receipt.pair, receipt.sayings, &state)
    }

    // MARK: The network

    private mutating func message(
        _ direction: Direction, _ delivery: JointAction.Delivery, _ cut: Int?, _ state: inout JointState
    ) {
        let index = direction.index
        guard let first = system.lists[state.links[index]].first else { return }
        state.links[index] = system.lists.remove(at: 0, from: state.links[index])
        switch delivery {
        case .lost:
            state.budget.spend(.lose)
            note(.item("lost", first))
            return
        case .late:
            state.budget.spend(.delay)
            note(.item("held up", first))
            return keep(first, direction, &state)
        case .twice:
            state.budget.spend(.duplicate)
            note(.item("doubled", first))
            keep(first, direction, &state)
        case .normal: break
        }
        hand(first, direction, cut, &state)
    }

    private mutating func keep(_ message: UInt32, _ direction: Direction, _ state: inout JointState) {
        let late = system.lateMessages.number(of: .init(direction: direction, message: message))
        state.late = system.lists.number(of: (system.lists[state.late] + [late]).sorted())
    }

    private mutating func lateMessage(_ index: Int, _ cut: Int?, _ state: inout JointState) {
        let late = system.lateMessages[system.lists[state.late][index]]
        state.late = system.lists.remove(at: index, from: state.late)
        note(.item("late", late.message))
        hand(late.message, late.direction, cut, &state)
    }

    private mutating func hand(_ item: UInt32, _ direction: Direction, _ cut: Int?, _ state: inout JointState) {
        let side = direction.side
        if system.isPeerNote(item) {
            let isConnected = item == JointSystem.linkMade
            deliver(
                direction.isToCoordinator
                    ? .coordinator(.peer(side, isConnected: isConnected)) : .side(.peer(isConnected: isConnected)),
                to: direction.receiver, cut, &state)
        } else {
            let serial = system.serial(of: item)
            if serial > Party.knownSerial { renumber(side, serial, &state) }
            deliver(number: system.input(of: item, direction), to: direction.receiver, cut, &state)
        }
    }

    /// The coordinator knows a newer standing of a side: those still under way are numbered around it.
    private mutating func renumber(_ side: Side, _ known: Int, _ state: inout JointState) {
        let index = Direction(side: side, isToCoordinator: true).index
        if state.links[index] == 0, state.late == 0 { return }
        let waiting = system.lists[state.links[index]]
        let late = system.lists[state.late].map { system.lateMessages[$0] }
        let isOurs = { (item: JointSystem.LateMessage) in item.direction.isToCoordinator && item.direction.side == side
        }
        let serials = (waiting + late.filter(isOurs).map(\.message)).filter { !system.isPeerNote($0) }
            .map { system.serial(of: $0) }.filter { $0 >= 0 }
        let newer = Ranks(serials.filter { $0 > known })
        let older = Ranks(serials.filter { $0 < known }.map { -$0 })
        let anew = { [system] (item: UInt32) -> UInt32 in
            guard !system.isPeerNote(item) else { return item }
            let serial = system.serial(of: item)
            guard serial >= 0 else { return item }
            return system.message(
                item,
                numbered: serial == known
                    ? Party.knownSerial
                    : serial > known ? Party.knownSerial + newer[serial] : Party.knownSerial - older[-serial])
        }
        state.links[index] = system.lists.number(of: waiting.map(anew))
        let lateAnew = late.map {
            system.lateMessages.number(of: isOurs($0) ? .init(direction: $0.direction, message: anew($0.message)) : $0)
        }
        state.late = system.lists.number(of: lateAnew.sorted())
    }

    /// A message that leaves now.
    private mutating func post(_ message: UInt32, _ direction: Direction, _ state: inout JointState) {
        guard state.isLinkUp[direction.side] else { return }
        var number = message
        if system.serial(of: message) >= 0 {
            var last = Party.knownSerial
            if state.links[direction.index] != 0 || state.late != 0 {
                let late = system.lists[state.late].map { system.lateMessages[$0] }
                    .filter { $0.direction == direction }.map(\.message)
                for item in system.lists[state.links[direction.index]] + late where !system.isPeerNote(item) {
                    last = max(last, system.serial(of: item))
                }
            }
            number = system.message(message, numbered: last + 1)
        }
        state.links[direction.index] = system.lists.append(number, to: state.links[direction.index])
    }

    private mutating func breakLink(_ side: Side, _ state: inout JointState) {
        guard state.isLinkUp[side] else { return }
        state.isLinkUp[side] = false
        for isToCoordinator in [false, true] {
            let direction = Direction(side: side, isToCoordinator: isToCoordinator)
            guard state.parties[direction.receiver] != 0 else { continue }
            state.links[direction.index] = system.lists.append(
                JointSystem.linkLost, to: state.links[direction.index])
        }
    }

    /// A side whose link is a call has nothing under way between two steps.
    private mutating func drainDirectLinks(_ state: inout JointState) {
        guard !configuration.calledDirectly.isEmpty, state.violation == 0 else { return }
        for _ in 0..<1000 {
            let next = Direction.all.first {
                state.links[$0.index] != 0 && system.isCalledDirectly($0) && state.parties[$0.receiver] != 0
                    && state.pending[$0.receiver] == 0
            }
            guard let next else { return }
            message(next, .normal, nil, &state)
        }
    }

    // MARK: The programs

    private mutating func deliver(_ input: PartyInput, to part: Part, _ cut: Int?, _ state: inout JointState) {
        deliver(number: system.inputs.number(of: input), to: part, cut, &state)
    }

    private mutating func deliver(number input: UInt32, to part: Part, _ cut: Int?, _ state: inout JointState) {
        note(.input(part, input))
        let outcome = system.outcome(part, state.parties[part], input)
        state.parties[part] = outcome.party
        if outcome.violation != 0 { state.violation = outcome.violation }
        state.pending[part] = system.lists.join(outcome.effects, state.pending[part])
        guard configuration.isReduced else { return }
        actor = actor ?? part
        carryOut(part, cut, &state)
    }

    /// Carries out what is pending: all of it, or one effect where every effect is a step of its own.
    private mutating func carryOut(_ part: Part, _ cut: Int?, _ state: inout JointState) {
        while state.pending[part] != 0 {
            if let cut, actor == part, carriedOut >= cut {
                state.budget.spend(part.crash)
                return crash(part, &state)
            }
            let number = system.lists[state.pending[part]][0]
            state.pending[part] = system.lists.remove(at: 0, from: state.pending[part])
            let effect = system.compiled(number, part)
            if actor == part, effect.matters, carriedOut > 0 { cuts.append(carriedOut) }
            if actor == part { carriedOut += 1 }
            if isTelling { told.append(.effect(part, system.effects[number])) }
            carryOut(effect.kind, part, &state)
            guard configuration.isReduced, state.violation == 0, state.parties[part] != 0 else { return }
            // QEMU can move on between two commands; between anything else nobody can tell the difference.
            if effect.isSend, system.hasSend(state.pending[part]) { return }
        }
    }

    private mutating func carryOut(_ effect: CompiledEffect.Kind, _ part: Part, _ state: inout JointState) {
        switch effect {
        case .send(let command, let outOfBand, let sent, let receipt):
            guard let side = part.side else { return }
            check(command, on: side, &state)
            let outcome = system.outcome(part, state.parties[part], sent)
            state.parties[part] = outcome.party
            state.pending[part] = system.lists.join(outcome.effects, state.pending[part])
            send(command, outOfBand: outOfBand, receipt, from: side, &state)
        case .survey(let input):
            if let side = part.side { hearAnyway(side, input, &state) }
        case .persist(let number, let record, let isTombstone):
            if isTombstone { change(&state) { $0.wasAbandoned = true } }
            persist(number, record, part, &state)
        case .phase(let move, let number, let record):
            moved(move, &state)
            persist(number, record, part, &state)
        case .message(let direction, let message): post(message, direction, &state)
        case .arm(let bit): state.armed[part] |= bit
        case .disarm(let bit): state.armed[part] &= ~bit
        case .kill:
            guard let side = part.side else { return }
            checkEnd(of: side, by: "kill", &state)
            var pair = system.pairs[state.pair]
            pair.end(side)
            become(system.pairs.number(of: pair), [], &state)
        case .publish(let word): published(word, &state)
        case .finished(let result): finished(result, &state)
        case .nothing: break
        }
    }

    private mutating func persist(
        _ number: UInt32, _ record: JournalRecord?, _ part: Part, _ state: inout JointState
    ) {
        guard let record else { return }
        state.ledgers[part] = system.foldings.value(state.ledgers[part], number) {
            var ledger = system.ledgers[state.ledgers[part]]
            ledger.note(record)
            return system.ledgers.number(of: ledger)
        }
    }

    private mutating func crash(_ part: Part, _ state: inout JointState) {
        note(.note("\(part) crashes"))
        state.parties[part] = 0
        state.pending[part] = 0
        state.armed[part] = 0
        if let side = part.side {
            state.monitors[side] = 0
            state.isMonitorOpen[side] = false
            state.isEndUntold[side] = false
        }
        for side in part.side.map({ [$0] }) ?? Side.allCases {
            // What it had sent arrives before the end of the connection; what it had not read is gone.
            let own = Direction(side: side, isToCoordinator: part == .coordinator)
            state.links[own.index] = 0
            breakLink(side, &state)
        }
    }

    private mutating func restart(_ part: Part, _ state: inout JointState) {
        let ledger = system.ledgers[state.ledgers[part]]
        state.parties[part] = system.parties.number(of: system.restarted(part, ledger).canonical)
        if let side = part.side {
            if !system.isQEMUAlive(side, state) { state.isEndUntold[side] = true }
            deliver(.side(.restarted), to: part, nil, &state)
        } else {
            for side in Side.allCases { renumber(side, 0, &state) }
            // What a new process publishes begins anew.
            change(&state) { $0.published = .idle }
            deliver(.coordinator(.restarted), to: part, nil, &state)
        }
    }
}

extension Part {
    func timeout(_ deadline: Deadline) -> PartyInput {
        self == .coordinator ? .coordinator(.timeout(deadline)) : .side(.timeout(deadline))
    }
}
