import Migration

/// What differs where somebody else calls the steps, where there is nobody on the other side, or nothing that runs.
extension Coordinator {
    /// What is said of a destination that nobody watches.
    static let unverified =
        "nobody watches the destination: that the guest runs there follows only from the source's word that it was sent"

    /// Whether a failed Perform is followed by a Confirm whatever the guest does. Between a client and two sides it is
    /// not: Perform has given the job back, and the client has nobody to tell. A source that calls the destination's
    /// steps itself still holds the job, and confirms to itself.
    var needsConfirm: Bool {
        options.mode.isHeldThroughout && options.protocolVersion == .v3 && performed == nil && prepared != nil
    }

    // MARK: Direct

    mutating func performDirectly(_ cookie: Cookie) -> [CoordinatorAction] {
        var cookie = cookie
        cookie.uri = options.uri
        prepared = cookie
        state = .performing
        isPerforming = true
        let wait: [CoordinatorAction] =
            options.timeoutMilliseconds.map { [.effect(.arm(.migration, milliseconds: $0))] } ?? []
        // Nobody waits for a guest in a file: it stands still from the beginning, so that no page is written twice.
        let hold: [CoordinatorAction] = options.mode == .save ? [.hold(.policy)] : []
        return wait + [call(.perform, cookie)] + hold
    }

    /// The guest has left for a destination that runs it by itself: what is left here is ended.
    mutating func performedDirectly() -> [CoordinatorAction] { [.effect(.disarm(.migration))] + confirm() }

    /// Nobody can be asked whether the destination runs the guest, so this side never continues it: QEMU does, or
    /// nobody.
    mutating func unperformedDirectly(
        _ why: StepError, _ source: SideReport, _ destination: SideReport
    ) -> [CoordinatorAction] {
        error = why
        let isOnlyHere = source.isRunning == true || source.wasRunning == false && source.ended != nil
        if source.gone != nil, source.guestShutdown != nil { return end(.guestShutDown, source, destination) }
        if source.gone != nil, source.stopped == nil { return end(.sourceGone, source, destination) }
        if isOnlyHere, why.kind != .unproven, why.kind != .gone {
            return [.release(.source)] + end(stays(.neverLeft), source, destination)
        }
        return undecided(
            .leftUnwatched,
            "\(why.description); nobody watches the destination: find out whether it runs the guest before the source "
                + "is continued", source, destination)
    }

    // MARK: Offline

    /// Perform is skipped: there is no memory.
    mutating func finishOffline(_ cookie: Cookie) -> [CoordinatorAction] {
        if cancelOrigin != nil {
            state = .unwinding
            error = StepError(.cancelled, "cancelled")
            return abandon()
        }
        state = .finishing
        isFinishing = true
        var cookie = cookie
        cookie.isRunIntended = false
        return [call(.finish, cookie)]
    }
}
