import CLinux
import Dispatch
import Glibc
import QMPTransport
import Testing

/// A temporary directory that goes away with the value.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/godwit-test-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) } != nil
        }
        try #require(made)
        self.path = template.withUnsafeBufferPointer { buffer in
            buffer.baseAddress.map { String(cString: $0) } ?? ""
        }
    }

    func file(_ name: String) -> String { self.path + "/" + name }

    deinit {
        if let directory = opendir(self.path) {
            while let entry = readdir(directory) {
                let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != ".", name != ".." { unlink(self.file(name)) }
            }
            closedir(directory)
        }
        rmdir(self.path)
    }
}

/// The reading and the writing end.
func makePipe() throws -> [CInt] {
    var ends: [CInt] = [-1, -1]
    try #require(pipe(&ends) == 0)
    return ends
}

struct FakeError: Error {
    var what: String
}

/// The monitor's end of one connection, with blocking calls that give up after some seconds.
final class FakePeer: Sendable {
    let socket: CInt

    init(_ socket: CInt) { self.socket = socket }

    deinit { Glibc.close(self.socket) }

    static let greeting =
        #"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#

    func send(_ text: String) throws { try self.send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.send(self.socket, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw FakeError(what: "send: \(errno)") }
            rest = rest.dropFirst(written)
        }
    }

    /// The next line; throws at the end of the stream.
    func line() throws -> String { try self.lineWithDescriptors().line }

    /// The next line, and the descriptors that came with its bytes. Reads byte by byte, so that nothing is read ahead.
    func lineWithDescriptors() throws -> (line: String, descriptors: [CInt]) {
        var line: [UInt8] = []
        var descriptors: [CInt] = []
        while true {
            try self.awaitReadable()
            var byte: UInt8 = 0
            var received = [CInt](repeating: -1, count: 8)
            var count = received.count
            let result = godwit_receive_descriptors(self.socket, &byte, 1, &received, &count)
            if result < 0, errno == EINTR { continue }
            guard result > 0 else { throw FakeError(what: "the client is gone") }
            descriptors += received.prefix(count)
            if byte == UInt8(ascii: "\n") { break }
            if byte != UInt8(ascii: "\r") { line.append(byte) }
        }
        return (String(decoding: line, as: UTF8.self), descriptors)
    }

    /// Greets and answers the negotiation.
    func open() throws {
        try self.send(Self.greeting + "\r\n")
        #expect(try self.line() == #"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]},"id":1}"#)
        try self.send("{\"return\": {}, \"id\": 1}\r\n")
    }

    /// Waits until the client has closed.
    func awaitEnd() {
        while (try? self.line()) != nil {}
    }

    private func awaitReadable() throws {
        var poll = pollfd(fd: self.socket, events: Int16(POLLIN), revents: 0)
        guard Glibc.poll(&poll, 1, 20_000) > 0 else { throw FakeError(what: "the client is silent") }
    }
}

/// A monitor that does what real ones will not: each connection is served by `serve` on a thread of its own.
final class FakeMonitor: Sendable {
    let path: String
    let address: QMPAddress
    private let listener: CInt
    private let done = DispatchGroup()

    init(at path: String, connections: Int = 1, serve: @escaping @Sendable (FakePeer) throws -> Void) throws {
        self.path = path
        self.address = .unix(path: path)
        let listener = try Self.bind(path)
        self.listener = listener
        try #require(listen(listener, 8) == 0)
        DispatchQueue(label: "fake monitor").async(group: self.done) {
            for _ in 0..<connections {
                var poll = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
                guard Glibc.poll(&poll, 1, 20_000) > 0 else { return }
                let socket = accept(listener, nil, nil)
                guard socket >= 0 else { return }
                do {
                    try serve(FakePeer(socket))
                } catch {
                    Issue.record("the fake monitor failed: \(error)")
                }
            }
        }
    }

    /// Waits until all connections were served.
    func wait() async {
        await withCheckedContinuation { continuation in
            self.done.notify(queue: .global()) { continuation.resume() }
        }
    }

    deinit { Glibc.close(self.listener) }

    static func bind(_ path: String) throws -> CInt {
        let socket = Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        try #require(socket >= 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { field in
            for (index, byte) in path.utf8.prefix(field.count - 1).enumerated() { field[index] = byte }
        }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(result == 0)
        return socket
    }
}
