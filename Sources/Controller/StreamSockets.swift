internal import Glibc
import Migration

/// The pair of connected sockets that an `fd:` address stands for, one end for each QEMU. Confined to the event loop.
///
/// An end is kept only until its QEMU has it: a copy that stays open here would hide from one QEMU that the other is
/// gone.
final class StreamSockets {
    private var ends: [Side: CInt] = [:]
    private var isMade = false

    /// The end of a side, to be passed on; -1, which no process has, where none could be made or it was passed on
    /// before.
    func end(of side: Side) -> CInt {
        if !isMade {
            isMade = true
            var pair: [CInt] = [-1, -1]
            if socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0 {
                ends = [.source: pair[0], .destination: pair[1]]
            }
        }
        return ends[side] ?? -1
    }

    /// The side's QEMU has its end, or will not get it any more.
    func passed(_ side: Side) {
        if let end = ends.removeValue(forKey: side) { Glibc.close(end) }
    }

    /// Nobody will ask for an end any more.
    func close() {
        isMade = true
        passed(.source)
        passed(.destination)
    }
}
