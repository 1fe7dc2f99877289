import JSONC
import QMP
import Testing

private typealias Session = QMPSession<Int>

private let second: UInt64 = 1_000_000_000

extension QMPSession {
    /// The ids that leave now.
    fileprivate mutating func writes() -> [UInt64] {
        var ids: [UInt64] = []
        while let write = self.nextWrite() { ids.append(write.id) }
        return ids
    }
}

private let greeting = QMPGreeting(major: 7, minor: 2, micro: 0, capabilities: ["oob"])
private let plainGreeting = QMPGreeting(major: 7, minor: 2, micro: 0)

private func query(_ name: String = "query-status") -> QMPRequest { QMPRequest(name: name, kind: .query) }
private let outOfBand = QMPRequest(name: "query-yank", outOfBand: true, kind: .query)
private let poll = QMPRequest(polling: QueryMigrate())

private func reply(_ id: UInt64) -> QMPMessage { .return(id: .integer(Int64(id))) }
private func refusal(_ id: UInt64?) -> QMPMessage {
    .error(id: id.map { .integer(Int64($0)) }, errorClass: "GenericError", desc: "no")
}

/// The states that a session can be in.
private enum Target: CaseIterable {
    case idle, awaitingGreeting, negotiationUnsent, negotiating, ready, readyWithoutOutOfBand, heldUp, closed

    /// A session in that state, at time 0 (10 s for `heldUp`). In `ready` and `heldUp` command 2 is in flight for token
    /// 20.
    func make() -> Session {
        var timeouts = QMPTimeouts(all: .seconds(10))
        timeouts.greeting = .seconds(2)
        timeouts.negotiation = .seconds(5)
        var session = Session(timeouts: timeouts)
        if self == .idle { return session }
        _ = session.connected(at: 0)
        if self == .awaitingGreeting { return session }
        if self == .closed {
            _ = session.closed(QMPError(.closed, "gone"))
            return session
        }
        _ = session.received(.greeting(self == .readyWithoutOutOfBand ? plainGreeting : greeting), at: 0)
        if self == .negotiationUnsent { return session }
        _ = session.writes()
        if self == .negotiating { return session }
        _ = session.received(reply(1), at: 0)
        if self == .readyWithoutOutOfBand { return session }
        _ = session.submit(query(), token: 20, at: 0)
        _ = session.writes()
        if self == .heldUp { _ = session.hitDeadline(at: 10 * second) }
        return session
    }
}

private func code(_ action: Session.ReceiveAction) -> String {
    switch action {
    case .negotiate: "negotiate"
    case .ready: "ready"
    case .event: "event"
    case .succeed: "succeed"
    case .fail: "fail"
    case .problem(let error): "problem \(error.code)"
    case .close(let error, _): "close \(error.code)"
    case .ignore: "ignore"
    }
}

@Suite struct QMPSessionEveryStateTests {
    @Test(arguments: Target.allCases)
    fileprivate func connected(_ target: Target) {
        var session = target.make()
        let action = session.connected(at: 7)
        #expect(action == (target == .idle ? .awaitGreeting(deadline: 2 * second + 7) : .ignore))
    }

    @Test(arguments: Target.allCases)
    fileprivate func greetingComes(_ target: Target) {
        var session = target.make()
        let expected =
            switch target {
            case .idle, .awaitingGreeting: "negotiate"
            case .closed: "ignore"
            default: "problem protocol"
            }
        #expect(code(session.received(.greeting(greeting), at: 0)) == expected)
    }

    @Test(arguments: Target.allCases)
    fileprivate func eventComes(_ target: Target) {
        var session = target.make()
        let expected: Session.ReceiveAction = target == .closed ? .ignore : .event(name: "STOP")
        #expect(session.received(.event(name: "STOP"), at: 0) == expected)
    }

    @Test(arguments: Target.allCases)
    fileprivate func replyToTheNegotiation(_ target: Target) {
        var session = target.make()
        let expected =
            switch target {
            case .negotiating: "ready"
            case .closed: "ignore"
            default: "problem protocol"
            }
        #expect(code(session.received(reply(1), at: 0)) == expected)
    }

    @Test(arguments: Target.allCases)
    fileprivate func refusalOfTheNegotiation(_ target: Target) {
        var session = target.make()
        let expected =
            switch target {
            case .negotiating: "close negotiation"
            case .closed: "ignore"
            default: "problem protocol"
            }
        #expect(code(session.received(refusal(1), at: 0)) == expected)
        #expect(session.isClosed == (target == .negotiating || target == .closed))
    }

    @Test(arguments: Target.allCases)
    fileprivate func replyToACommand(_ target: Target) {
        var session = target.make()
        let expected =
            switch target {
            case .ready: "succeed"
            case .heldUp: "problem timeout"
            case .closed: "ignore"
            default: "problem protocol"
            }
        #expect(code(session.received(reply(2), at: 0)) == expected)
        #expect(session.isHeldUp == false)
    }

    @Test(
        arguments: Target.allCases,
        [
            .return(id: nil), refusal(nil), .return(id: "2"), .return(id: -1), .return(id: .null), reply(99),
            refusal(99),
            .return(id: .unsigned(.max)), .return(id: ["a": [1]]),
        ] as [QMPMessage])
    fileprivate func repliesThatNothingWaitsFor(_ target: Target, _ message: QMPMessage) {
        var session = target.make()
        #expect(code(session.received(message, at: 0)) == (target == .closed ? "ignore" : "problem protocol"))
        #expect(session.isClosed == (target == .closed))
        #expect(session.inFlightCount == (target == .ready || target == .heldUp ? 1 : 0))
    }

    @Test(arguments: Target.allCases)
    fileprivate func unknownMessageAndGarbage(_ target: Target) {
        var session = target.make()
        var other = target.make()
        let expected =
            switch target {
            case .idle, .awaitingGreeting: "close notQMP"
            case .closed: "ignore"
            default: "problem protocol"
            }
        #expect(code(session.received(.unknown, at: 0)) == expected)
        #expect(code(other.receivedGarbage("junk")) == expected)
    }

    @Test(arguments: Target.allCases)
    fileprivate func submitInBand(_ target: Target) {
        var session = target.make()
        let action = session.submit(query(), token: 5, at: 1)
        let writes = session.writes()
        switch target {
        case .closed:
            guard case .refused(5, let error) = action else {
                Issue.record("\(action)")
                return
            }
            #expect(error.code == .closed)
            #expect(error.message == "query-status: gone")
            #expect(!error.wasSent)
        case .idle, .awaitingGreeting:
            #expect(action == .accepted(id: 2, deadline: 10 * second + 1))
            #expect(writes == [])
        case .negotiationUnsent:
            #expect(action == .accepted(id: 2, deadline: 10 * second + 1))
            #expect(writes == [1])
        case .negotiating:
            #expect(action == .accepted(id: 2, deadline: 10 * second + 1))
            #expect(writes == [])
        case .readyWithoutOutOfBand:
            #expect(writes == [2])
        case .ready:
            #expect(writes == [3])
        case .heldUp:
            #expect(action == .accepted(id: 3, deadline: 10 * second + 1))
            #expect(writes == [])
        }
    }

    @Test(arguments: Target.allCases)
    fileprivate func submitOutOfBand(_ target: Target) {
        var session = target.make()
        let action = session.submit(outOfBand, token: 5, at: 1)
        let writes = session.writes()
        switch target {
        case .closed, .readyWithoutOutOfBand:
            guard case .refused(5, let error) = action else {
                Issue.record("\(action)")
                return
            }
            #expect(error.code == (target == .closed ? .closed : .outOfBandUnavailable))
        case .idle, .awaitingGreeting, .negotiating:
            #expect(writes == [])
        case .negotiationUnsent:
            #expect(writes == [1])
        case .ready, .heldUp:
            #expect(writes == [3])
        }
    }

    @Test(arguments: Target.allCases)
    fileprivate func deadlines(_ target: Target) {
        var session = target.make()
        let expected: UInt64? =
            switch target {
            case .idle, .readyWithoutOutOfBand, .heldUp, .closed: nil
            case .awaitingGreeting: 2 * second
            case .negotiationUnsent, .negotiating: 5 * second
            case .ready: 10 * second
            }
        #expect(session.nextDeadline == expected)
        if let expected {
            #expect(session.hitDeadline(at: expected - 1) == .none)
            switch (target, session.hitDeadline(at: expected)) {
            case (.awaitingGreeting, .close(let error, failed: [])):
                #expect(error.code == .busy)
                #expect(error.message.contains("monitor busy: another client is connected"))
            case (.negotiating, .close(let error, failed: [])), (.negotiationUnsent, .close(let error, failed: [])):
                #expect(error.code == .negotiation)
            case (.ready, .fail(let failures)):
                #expect(failures.map(\.token) == [20])
                #expect(failures.first?.error.code == .timeout)
                #expect(failures.first?.error.wasSent == true)
            case (_, let action):
                Issue.record("\(action)")
            }
        }
        #expect(session.hitDeadline(at: .max) == .none)
        #expect(session.nextDeadline == nil)
    }

    @Test(arguments: Target.allCases)
    fileprivate func closing(_ target: Target) {
        var session = target.make()
        switch session.closed(QMPError(.closed, "gone away")) {
        case .ignore: #expect(target == .closed)
        case .fail(let failures): #expect(failures.map(\.token) == (target == .ready ? [20] : []))
        }
        #expect(session.isClosed)
        #expect(session.closed(QMPError(.closed, "again")) == .ignore)
        #expect(session.nextWrite() == nil)
        #expect(session.nextDeadline == nil)
    }
}

@Suite struct QMPSessionTests {
    @Test func opening() {
        var session = Session()
        #expect(session.connected(at: 0) == .awaitGreeting(deadline: 2 * second))
        #expect(session.received(.greeting(greeting), at: second) == .negotiate(deadline: 6 * second))
        let write = session.nextWrite()
        #expect(write?.request.name == "qmp_capabilities")
        #expect(write?.request.arguments == Array(#"{"enable":["oob"]}"#.utf8))
        #expect(session.nextWrite() == nil)
        #expect(session.received(.event(name: "RESUME"), at: second) == .event(name: "RESUME"))
        #expect(session.received(reply(1), at: second) == .ready(greeting, failed: []))
        #expect(session.greeting == greeting)
        #expect(session.hasOutOfBand)
    }

    @Test func nothingIsEnabledThatIsNotOfferedOrNotWanted() {
        for (offer, wants) in [(plainGreeting, true), (greeting, false)] {
            var session = Session(wantsOutOfBand: wants)
            _ = session.connected(at: 0)
            _ = session.received(.greeting(offer), at: 0)
            #expect(session.nextWrite()?.request.arguments == nil)
            _ = session.received(reply(1), at: 0)
            #expect(!session.hasOutOfBand)
        }
    }

    @Test func whatIsSubmittedEarlyWaitsForTheNegotiation() {
        var session = Session()
        _ = session.submit(query(), token: 1, at: 0)
        _ = session.connected(at: 0)
        _ = session.submit(query(), token: 2, at: 0)
        _ = session.received(.greeting(greeting), at: 0)
        _ = session.submit(outOfBand, token: 3, at: 0)
        #expect(session.writes() == [1])
        #expect(session.received(reply(1), at: 0) == .ready(greeting, failed: []))
        #expect(session.writes() == [4, 2, 3])
    }

    @Test func earlyOutOfBandFailsWhenItIsNotOnOffer() {
        var session = Session()
        _ = session.connected(at: 0)
        _ = session.submit(outOfBand, token: 3, at: 0)
        _ = session.received(.greeting(plainGreeting), at: 0)
        _ = session.writes()
        guard case .ready(_, let failed) = session.received(reply(1), at: 0) else {
            Issue.record("not ready")
            return
        }
        #expect(failed.map(\.token) == [3])
        #expect(failed.first?.error.code == .outOfBandUnavailable)
    }

    @Test func sevenInFlightTheOthersInOrder() {
        var session = Target.readyWithoutOutOfBand.make()
        for token in 0..<20 { _ = session.submit(query(), token: token, at: 0) }
        #expect(session.writes() == [2, 3, 4, 5, 6, 7, 8])
        #expect(session.inFlightCount == 7)
        #expect(session.waitingCount == 13)
        #expect(session.received(reply(2), at: 0) == .succeed(0))
        #expect(session.writes() == [9])
        #expect(session.received(reply(3), at: 0) == .succeed(1))
        #expect(
            session.received(refusal(4), at: 0)
                == .fail(2, .refused("query-status", errorClass: "GenericError", desc: "no")))
        #expect(session.writes() == [10, 11])
    }

    @Test func outOfBandPassesSevenInFlight() {
        var session = Target.ready.make()
        for token in 0..<9 { _ = session.submit(query(), token: token, at: 0) }
        _ = session.writes()
        #expect(session.inFlightCount == 7)
        guard case .accepted(let id, _) = session.submit(outOfBand, token: 100, at: 0) else {
            Issue.record("refused")
            return
        }
        #expect(session.writes() == [id])
        #expect(session.received(reply(id), at: 0) == .succeed(100))
        #expect(session.writes() == [])
        #expect(session.inFlightCount == 7)
    }

    @Test func repliesOutOfOrderAreMatchedById() {
        var session = Target.readyWithoutOutOfBand.make()
        for token in 0..<3 { _ = session.submit(query(), token: token, at: 0) }
        _ = session.writes()
        #expect(session.received(reply(4), at: 0) == .succeed(2))
        #expect(session.received(reply(2), at: 0) == .succeed(0))
        #expect(code(session.received(reply(2), at: 0)) == "problem protocol")
        #expect(session.received(reply(3), at: 0) == .succeed(1))
    }

    @Test func aMissedDeadlineHoldsTheLineUntilItsReply() {
        var session = Target.ready.make()
        _ = session.submit(query("query-name"), token: 30, at: 9 * second)
        #expect(session.writes() == [3])
        _ = session.hitDeadline(at: 10 * second)
        #expect(session.isHeldUp)
        _ = session.submit(query(), token: 40, at: 10 * second)
        _ = session.submit(outOfBand, token: 50, at: 10 * second)
        #expect(session.writes() == [5])
        // The one behind it is answered: the overdue one still is not.
        #expect(session.received(reply(3), at: 10 * second) == .succeed(30))
        #expect(session.writes() == [])
        #expect(code(session.received(reply(2), at: 10 * second)) == "problem timeout")
        #expect(!session.isHeldUp)
        #expect(session.writes() == [4])
    }

    @Test func aLateRefusalFreesTheLineToo() {
        var session = Target.heldUp.make()
        _ = session.submit(query(), token: 40, at: 10 * second)
        #expect(code(session.received(refusal(2), at: 10 * second)) == "problem timeout")
        #expect(session.writes() == [3])
    }

    @Test func whatWaitsTooLongIsNeverSent() {
        var session = Target.heldUp.make()
        _ = session.submit(query(), token: 40, at: 10 * second)
        #expect(session.nextDeadline == 20 * second)
        guard case .fail(let failures) = session.hitDeadline(at: 20 * second) else {
            Issue.record("nothing failed")
            return
        }
        #expect(failures.map(\.token) == [40])
        #expect(failures.first?.error.wasSent == false)
        _ = session.received(reply(2), at: 21 * second)
        #expect(session.writes() == [])
    }

    @Test func anOverdueOutOfBandCommandHoldsNothingUp() {
        var session = Target.ready.make()
        _ = session.received(reply(2), at: 0)
        _ = session.submit(outOfBand, token: 50, at: 0)
        #expect(session.writes() == [3])
        guard case .fail(let failures) = session.hitDeadline(at: 10 * second) else {
            Issue.record("nothing failed")
            return
        }
        #expect(failures.map(\.token) == [50])
        _ = session.submit(query(), token: 60, at: 10 * second)
        #expect(session.writes() == [4])
        #expect(code(session.received(reply(3), at: 11 * second)) == "problem timeout")
    }

    @Test func onePollAtATime() {
        var session = Target.readyWithoutOutOfBand.make()
        func isRefused(_ token: Int) -> Bool {
            guard case .refused(token, let error) = session.submit(poll, token: token, at: 0) else { return false }
            return error.code == .pollOutstanding
        }
        #expect(session.submit(poll, token: 1, at: 0) == .accepted(id: 2, deadline: 10 * second))
        #expect(isRefused(2))
        #expect(session.writes() == [2])
        #expect(isRefused(3))
        #expect(session.received(reply(2), at: 0) == .succeed(1))
        #expect(!isRefused(4))
        #expect(session.writes() == [3])
        // Told that it is late, but its reply is still to come.
        _ = session.hitDeadline(at: 10 * second)
        #expect(isRefused(5))
        _ = session.received(reply(3), at: 10 * second)
        #expect(!isRefused(6))
    }

    @Test func aPollThatWasNeverSentIsForgotten() {
        var session = Target.heldUp.make()
        _ = session.submit(poll, token: 1, at: 10 * second)
        _ = session.hitDeadline(at: 20 * second)
        #expect(session.submit(poll, token: 2, at: 20 * second) == .accepted(id: 4, deadline: 30 * second))
    }

    @Test func oneCommandWithDescriptorsAtATime() {
        var session = Target.readyWithoutOutOfBand.make()
        let getfd = QMPRequest(GetFD(fdname: "x"))
        _ = session.submit(query(), token: 1, at: 0)
        _ = session.submit(getfd, token: 2, carriesDescriptors: true, at: 0)
        _ = session.submit(query(), token: 3, at: 0)
        _ = session.submit(getfd, token: 4, carriesDescriptors: true, at: 0)
        _ = session.submit(query(), token: 5, at: 0)
        #expect(session.writes() == [2, 3, 4])
        #expect(session.received(reply(2), at: 0) == .succeed(1))
        #expect(session.writes() == [])
        #expect(
            session.received(refusal(3), at: 0) == .fail(2, .refused("getfd", errorClass: "GenericError", desc: "no")))
        #expect(session.writes() == [5, 6])
    }

    @Test func theEndFailsEverythingInTheOrderOfAsking() {
        var session = Target.heldUp.make()
        _ = session.submit(query("a"), token: 1, at: 10 * second)
        _ = session.submit(outOfBand, token: 2, at: 10 * second)
        _ = session.submit(query("b"), token: 3, at: 10 * second)
        _ = session.writes()
        guard case .fail(let failures) = session.closed(QMPError(.closed, "gone")) else {
            Issue.record("ignored")
            return
        }
        #expect(failures.map(\.token) == [1, 2, 3])
        #expect(failures.map(\.error.wasSent) == [false, true, false])
        #expect(failures.map(\.error.code) == [.closed, .closed, .closed])
        #expect(failures.map(\.error.message) == ["a: gone", "query-yank: gone", "b: gone"])
    }

    @Test func aBusyMonitorFailsWhatWaits() {
        var session = Session()
        _ = session.connected(at: 0)
        _ = session.submit(query(), token: 1, at: 0)
        guard case .close(_, let failed) = session.hitDeadline(at: 2 * second) else {
            Issue.record("not closed")
            return
        }
        #expect(failed.map(\.token) == [1])
        #expect(failed.first?.error.code == .busy)
        #expect(session.received(.greeting(greeting), at: 3 * second) == .ignore)
    }

    @Test func anUnreadableReplyEndsItsCommand() {
        func unreadable(_ session: inout Session, _ text: String) -> Session.ReceiveAction {
            Array(text.utf8).withUnsafeBytes { session.receivedUnreadable($0, "junk") }
        }
        var session = Target.ready.make()
        #expect(code(unreadable(&session, #"{"return": {"mbps": nan}, "id": 99}"#)) == "problem protocol")
        #expect(code(unreadable(&session, #"{"return": {"mbps": nan}}"#)) == "problem protocol")
        #expect(code(unreadable(&session, #"{"return": {"mbps": nan}, "id": }"#)) == "problem protocol")
        #expect(code(unreadable(&session, #"{"id": 99999999999999999999999}"#)) == "problem protocol")
        #expect(code(unreadable(&session, "")) == "problem protocol")
        #expect(code(unreadable(&session, "}")) == "problem protocol")
        guard case .fail(20, let error) = unreadable(&session, "{\"return\": {\"mbps\": nan}, \"id\": 2\r\n}") else {
            Issue.record("not matched")
            return
        }
        #expect(error.code == .invalidReply)
        #expect(session.inFlightCount == 0)
        var early = Target.awaitingGreeting.make()
        #expect(code(unreadable(&early, #"{"id": 1}"#)) == "close notQMP")
    }

    @Test func timesNearTheEndOfTheClockDoNotOverflow() {
        var session = Session(timeouts: QMPTimeouts(all: .seconds(Int64.max)))
        #expect(session.connected(at: .max) == .awaitGreeting(deadline: .max))
        #expect(session.submit(query(), token: 1, at: .max - 1) == .accepted(id: 2, deadline: .max))
        var hasty = Session(timeouts: QMPTimeouts(all: .seconds(-1)))
        #expect(hasty.connected(at: 5) == .awaitGreeting(deadline: 5))
    }

    @Test func aThousandCommandsEachAnsweredOnce() {
        var session = Target.readyWithoutOutOfBand.make()
        var answered: [Int] = []
        for token in 0..<1000 { _ = session.submit(query(), token: token, at: 0) }
        var open = session.writes()
        while !open.isEmpty {
            #expect(open.count <= 7)
            if case .succeed(let token) = session.received(reply(open.removeFirst()), at: 0) { answered.append(token) }
            open += session.writes()
        }
        #expect(answered == Array(0..<1000))
    }
}
