import Migration

/// A guest that goes into a file or comes out of one: the steps of the one side that there is.
extension Coordinator {
    /// The end of an attempt that changed nothing: where its guest is.
    func unbegun(isCancel: Bool) -> Verdict {
        let verdict: Verdict = options.mode == .restore ? .notRestored : .notBegun
        return isCancel ? verdict.byCancel : verdict
    }

    // MARK: Save

    /// QEMU has written everything. Only a file that survives a crash of the host is a guest, so that its QEMU waits.
    mutating func store() -> [CoordinatorAction] {
        state = .storing
        return [.effect(.disarm(.migration)), .effect(.hook(.store))]
    }

    /// The file is safe under its name, or never will be: then the guest goes on where it was.
    mutating func stored(_ failure: String?) -> [CoordinatorAction] {
        guard state == .storing else { return [] }
        guard let failure else { return confirm() }
        error = StepError(.failed, "the file could not be kept: \(failure)")
        return resumeSource()
    }

    /// A file runs nothing: the guest goes on at the source, by QEMU's own doing or by ours.
    mutating func unsaved(
        _ why: StepError, _ source: SideReport, _ destination: SideReport
    ) -> [CoordinatorAction] {
        error = why
        if source.gone != nil { return end(nowhere(source), source, destination) }
        if why.kind == .unproven, source.isRunning != true {
            return undecided(.performUnproven, why.description, source, destination)
        }
        let ranBefore = source.wasRunning == true && !wasPausedOnTheWay
        if ranBefore, source.isRunning != true, source.opened != nil, source.guestShutdown == nil {
            return resumeSource()
        }
        return [.release(.source)] + end(stays(.neverLeft), source, destination)
    }

    private mutating func resumeSource() -> [CoordinatorAction] {
        isResumeTried = true
        state = .resuming
        return [.call(.confirm, Cookie(attempt: options.attempt))]
    }

    // MARK: Restore

    /// What is known of the guest stands in for a source's Begin.
    mutating func restore(_ cookie: Cookie) -> [CoordinatorAction] {
        state = .preparing
        var cookie = cookie
        cookie.description = options.file?.description
        cookie.isRunIntended = !options.isPausedIntended && options.file?.wasRunning ?? true
        return [.effect(.survey(.destination)), call(.prepare, cookie)]
    }

    /// QEMU reads the file from the moment it is told to.
    mutating func arrive(_ cookie: Cookie) -> [CoordinatorAction] {
        state = .finishing
        isFinishing = true
        var cookie = cookie
        cookie.isRunIntended = !options.isPausedIntended && options.file?.wasRunning ?? true
        return cancelOrigin == nil ? [call(.finish, cookie)] : stopRestoring()
    }

    /// Somebody does not want it any more. The file stays as it is.
    mutating func stopRestoring() -> [CoordinatorAction] {
        error = StepError(.cancelled, "cancelled")
        state = .unwinding
        return abandon()
    }

    mutating func unrestored(
        _ why: StepError, _ source: SideReport, _ destination: SideReport
    ) -> [CoordinatorAction] {
        if state == .unwinding { return settle(source, destination) }
        error = sharpen(why, with: destination)
        if why.kind == .unproven { return undecided(.finishUnproven, why.description, source, destination) }
        state = .unwinding
        return abandon() + settle(source, destination)
    }

    /// The destination's QEMU was ended, or was not.
    mutating func settleRestoring(_ source: SideReport, _ destination: SideReport) -> [CoordinatorAction] {
        if case .failed(let why) = abandonment {
            return undecided(.abandonUnproven, why.description, source, destination)
        }
        return end(stays(.notRestored), source, destination)
    }
}
