import QMP
import Synchronization
import Trace

/// Lets two served sides in two processes wait for each other: they meet at the address of the migration, as their QEMUs did, and tell
/// each other over it how many of their moves are behind them. A side that meets nobody goes on by recorded times alone.
public final class ServeCoupling: Sendable {
    private struct State {
        var progress = 0
        /// The number of the last meeting: earlier ones have nothing to say any more.
        var number = 0
        var meeting: ServeMeeting?
    }

    private let state = Mutex(State())
    private let server = Mutex<FakeQEMUServer?>(nil)
    private let tell: @Sendable (String) -> Void

    /// `tell` hears what a person should know, on any thread.
    public init(tell: @escaping @Sendable (String) -> Void) { self.tell = tell }

    /// The server whose only fake is coupled.
    public func attach(_ server: FakeQEMUServer) { self.server.withLock { $0 = server } }

    /// Something that the server's fake did. Does not block and does not call the server.
    public func noticed(_ effect: FakeNetwork.Effect) {
        switch effect.action {
        case .progressed(ServedSide.gone):
            // That the process is gone, the end of the connection tells.
            break
        case .progressed(let count):
            let meeting = state.withLock { state in
                state.progress = count
                return state.meeting
            }
            meeting?.wake.notify()
        case .meet(let uri, let isListening): meet(uri, isListening)
        default: break
        }
    }

    /// Meets nobody any more. No socket is left.
    public func close() {
        let meeting = state.withLock { state in
            state.number += 1
            defer { state.meeting = nil }
            return state.meeting
        }
        meeting?.wake.notify()
        meeting?.removeSocket()
    }

    /// As with QEMU, the command that says where is answered when somebody listens there, and what connects finds it or fails.
    private func meet(_ uri: String, _ isListening: Bool) {
        close()
        var meeting: ServeMeeting?
        var problem: String?
        do throws(MeetingError) {
            meeting = try ServeMeeting(at: uri, isListening: isListening)
        } catch {
            problem = error.message
        }
        let number = state.withLock { state in
            state.meeting = meeting
            return state.number
        }
        let code = spawnThread { [self, meeting, problem] in
            // A side that has said all it had to say just goes.
            let why = meeting?.run(progress: { progress(number) }, hear: { advance(to: $0) }) ?? problem
            guard progress(number) != nil else { return }
            if let why { tell("\(why): going on by recorded times alone") }
            advance(to: .max)
        }
        if code != 0 { tell("no thread to meet the other side (\(systemMessage(code))): serve it with --alone") }
    }

    /// How far the own side is; nil once the meeting of this number is over.
    private func progress(_ number: Int) -> Int? { state.withLock { $0.number == number ? $0.progress : nil } }

    private func advance(to progress: Int) {
        server.withLock(\.self)?.change(0) { fake, now in fake.otherSideProgressed(to: progress, at: now) }
    }
}
