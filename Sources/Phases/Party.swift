public import Migration

/// What the coordinator and a side tell one another. Between agents these travel over the network, in one process they
/// are calls.
///
/// Any of them may be lost with its connection, come twice or come late; what a receiver does about it is part of its
/// machine.
public enum PartyMessage: Hashable, Sendable {
    /// Coordinator to side: a step. `Cookie.isSuccess` tells what Confirm confirms. Said again until it is answered.
    case call(Step, Cookie)
    /// Coordinator to side: somebody asks something of the attempt.
    case ask(Request, Origin)
    /// Coordinator to source: the destination cannot go on.
    case abort
    /// Coordinator to side: give the job back without having migrated, or go back to an interrupted post-copy.
    case release
    /// Coordinator to source: the destination is in post-copy or done, so that the guest may be given away once that is
    /// proven safe.
    case allowHandOver
    /// Coordinator to source: the guest may run on the destination and must not run here.
    case stopAtOnce
    /// Coordinator to side: where do you stand?
    case inquire
    /// Side to coordinator: the step was heard and is being worked on; its answer comes later.
    case accepted(Step)
    /// Side to coordinator: how a step went, and where the side stands with it, so that both are judged together.
    case answer(Step, StepResult, SideStanding)
    /// Side to coordinator: what changed, or what `inquire` asked for.
    case report(SideStanding)
}

/// Where a side stands: what its QEMU shows and what its ledger proves.
public struct SideStanding: Hashable, Sendable {
    /// Grows with every change on this side, also over restarts: an older standing that arrives late is told by it.
    public var serial: Int
    /// The attempt it speaks of.
    public var attempt: String
    /// The phase of the job.
    public var phase: Phase
    /// How many recoveries of a post-copy were begun on this side.
    public var recoveries: Int
    /// What QEMU shows.
    public var report: SideReport
    /// The source has given the guest away.
    public var isSurrendered: Bool
    /// The destination's commit point is recorded.
    public var isRunRecorded: Bool
    /// The destination will never run this attempt.
    public var isRefused: Bool
    /// The last step on this side is done: the destination has the guest whole, the source's QEMU is ended.
    public var isFinished: Bool
    /// Somebody paused the guest while it was copied.
    public var wasPausedOnTheWay: Bool
    /// A wait of this side's ran out that the coordinator has to act upon: a source that cannot be stopped, a
    /// destination whose monitor is lost.
    public var isStuck: Bool
    /// The side was restarted and has not re-read its QEMU yet: the report is empty, the rest comes from the ledger.
    public var isCatchingUp: Bool
}

/// What goes into a side.
public enum SideInput: Hashable, Sendable {
    /// Something was observed of its QEMU.
    case fact(Fact)
    /// A command left for its QEMU.
    case sent(Command)
    /// The survey of its QEMU is there.
    case surveyed(Survey)
    /// The survey could not be made, and why.
    case surveyFailed(String)
    /// The side's lock manager answers.
    case lease(LeaseResult)
    /// A bounded wait ran out.
    case timeout(Deadline)
    /// Time for a look.
    case tick
    /// The coordinator says something.
    case message(PartyMessage)
    /// The coordinator's connection came or went.
    case peer(isConnected: Bool)
    /// A new process has taken up the ledger.
    case restarted
}

/// What comes out of a side, to be carried out in this order.
public enum SideEffect: Hashable, Sendable {
    /// A command leaves for the side's QEMU.
    case send(Command, outOfBand: Bool)
    /// The side's QEMU is to be surveyed.
    case survey
    /// To be written before the effects after it.
    case persist(JournalRecord)
    /// The phase moved: to be written like a record (`JournalRecord.phase`) before the effects after it.
    case phase(PhaseMove)
    /// For the coordinator, if it can be reached. What is lost is asked for again.
    case message(PartyMessage)
    /// A bounded wait begins.
    case arm(Deadline, milliseconds: Int)
    /// It is over.
    case disarm(Deadline)
    /// The side's QEMU process is to be killed.
    case kill
    /// The side's lock manager is asked; `SideInput.lease` brings its answer.
    case lease(LeaseAction)
}

/// What goes into a coordinator.
public enum CoordinatorInput: Hashable, Sendable {
    /// Somebody asks.
    case request(Request, Origin)
    /// A side says something.
    case message(from: Side, PartyMessage)
    /// A side's connection came or went.
    case peer(Side, isConnected: Bool)
    /// A bounded wait ran out.
    case timeout(Deadline)
    /// A new process has taken up the ledger.
    case restarted
}

/// What comes out of a coordinator, to be carried out in this order.
public enum CoordinatorEffect: Hashable, Sendable {
    /// For a side, if it can be reached. What is lost is said again.
    case message(to: Side, PartyMessage)
    /// The world may know.
    case publish(PublishedStatus)
    /// To be written before the effects after it.
    case persist(JournalRecord)
    /// A bounded wait begins.
    case arm(Deadline, milliseconds: Int)
    /// It is over.
    case disarm(Deadline)
    /// A request is not carried out, and why.
    case refused(Request, String)
    /// The attempt is over. One that ended undecided can be taken up again and end for good later.
    case finished(AttemptResult)
}
