import Migration

/// Recovery of an interrupted post-copy on the source: Begin, Perform and Confirm once more, by their resume phases.
extension SourceMachine {
    /// How far a recovery got.
    enum Recovering: Hashable {
        /// QEMU is asked whether the post-copy is interrupted at all.
        case asking(Cookie)
        /// Begin was answered.
        case begun
        /// Commands are being sent; the ones not sent yet.
        case configuring([Command])

        /// Whether Begin is the step that is not answered.
        var isBegin: Bool { if case .asking = self { true } else { false } }
    }

    mutating func beginResume(_ cookie: Cookie) -> [Effect] {
        guard evidence.monitor == .connected else {
            return [.answer(.begin, .failed(StepError(.failed, "the source's monitor is lost")))]
        }
        let owner = options.mode.isHeldThroughout ? "perform" : "begin"
        if let error = core.refusal(ofResumeBy: .begin, owner: owner, options) {
            return [.answer(.begin, .failed(error))]
        }
        switch core.enter(.beginResume, owner: owner) {
        case .failure(let error): return [.answer(.begin, .failed(StepError(.refused, error.description)))]
        case .success(let phase):
            state = .recovering(.asking(cookie))
            return [phase, core.send(.queryMigrate), .arm(.begin, milliseconds: options.deadlines[.begin])]
        }
    }

    /// Perform of a recovery: connect again. Where the guest was given away before that is all, else the hand-over is
    /// still to be proven.
    mutating func performResume(_ cookie: Cookie) -> [Effect] {
        guard let uri = cookie.uri else {
            return [.answer(.perform, .failed(StepError(.refused, "Perform without an address")))]
        }
        if let error = core.refusal(ofResumeBy: .perform, owner: "perform", options) {
            return [.answer(.perform, .failed(error))]
        }
        switch core.enter(.performResume, owner: "perform") {
        case .failure(let error): return [.answer(.perform, .failed(StepError(.refused, error.description)))]
        case .success(let phase):
            let first = postcopyParameters.isEmpty ? [] : [Command.setParameters(postcopyParameters)]
            return [phase, .arm(.start, milliseconds: options.deadlines[.start])]
                + send(first + [.migrate(uri: core.address(uri), resume: true)])
        }
    }

    private mutating func send(_ commands: [Command]) -> [Effect] {
        guard let first = commands.first else { return [] }
        state = .recovering(.configuring(Array(commands.dropFirst())))
        return [core.send(first)]
    }

    mutating func recovered(_ command: Command, _ reply: Reply, _ recovering: Recovering) -> [Effect] {
        switch recovering {
        case .begun: return []
        case .asking(let cookie):
            guard command == .queryMigrate else { return [] }
            guard case .migration(let sample) = reply else {
                return interrupt(because: "query-migrate on the source: \(reply.problem ?? "no sample")")
            }
            guard sample.status == .postcopyPaused else {
                return interrupt(
                    because: "the source's QEMU reports that the migration is still running "
                        + "(status \(sample.status?.rawValue ?? "none"))")
            }
            core.continueJob()
            state = .recovering(.begun)
            return [.disarm(.begin), .answer(.begin, .done(cookie))]
        case .configuring(let rest):
            guard command.trigger == .configure || command.trigger == .resume else { return [] }
            if let text = reply.problem { return interrupt(because: "\(command.name) on the source: \(text)") }
            return rest.isEmpty ? connecting() : send(rest)
        }
    }

    private mutating func connecting() -> [Effect] {
        isReconnecting = true
        guard isSurrendered else {
            // The destination was never told to run the guest: that has still to be proven safe.
            handOver = .none
            stopping = .none
            state = .migrating
            return [.disarm(.start)]
        }
        return [.disarm(.start)] + surrender()
    }

    mutating func unanswered(_ command: Command, _ recovering: Recovering) -> [Effect] {
        switch recovering {
        case .asking where command == .queryMigrate, .configuring where command.trigger == .configure:
            return interrupt(because: "the source did not answer \(command.name)")
        // Not answered is not undone: what comes of it is seen.
        case .configuring where command.trigger == .resume: return connecting()
        default: return []
        }
    }
}
