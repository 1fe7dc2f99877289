import JSONC
import NIOCore
import QMP

/// Why a command on the control socket is not carried out.
struct ControlError: Error {
    var errorClass = "GenericError"
    var description: String
}

/// One client of the control socket, at the end of its channel's pipeline.
final class ControlClient: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias Answer = (Result<JSONValue, ControlError>) -> Void
    /// Carries a command out.
    typealias Execute = (_ command: String, _ arguments: JSONObject, _ answer: @escaping Answer) -> Void

    /// The largest command, in bytes; what is legitimate has some hundred.
    private static let maximumBytes = 64 << 10
    /// What a client may leave unread before it is put out.
    private static let maximumBacklog = 1 << 20

    private let channel: any Channel
    private let execute: Execute
    private let left: (ControlClient) -> Void
    private var framer = QMPFramer(maximumBytes: maximumBytes)
    private var isNegotiated = false
    private var isClosing = false
    private var backlog = 0

    init(channel: any Channel, execute: @escaping Execute, left: @escaping (ControlClient) -> Void) {
        self.channel = channel
        self.execute = execute
        self.left = left
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) { if context.channel.isActive { greet() } }

    func channelActive(context: ChannelHandlerContext) { greet() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = unwrapInboundIn(data)
        buffer.withUnsafeReadableBytes { bytes in
            var offset = 0
            while !isClosing, let frame = framer.next(in: bytes, from: &offset) {
                switch frame {
                case .message(let range): take(UnsafeRawBufferPointer(rebasing: bytes[range]))
                case .carriedMessage: framer.takeCarried().withUnsafeBytes { take($0) }
                case .garbage: refuse(nil, ControlError(description: "not a JSON object"))
                case .carriedGarbage:
                    _ = framer.takeCarried()
                    refuse(nil, ControlError(description: "not a JSON object"))
                case .tooLarge: close()
                }
            }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { close() }

    func channelInactive(context: ChannelHandlerContext) {
        isClosing = true
        left(self)
    }

    // MARK: Words

    private func greet() {
        send([
            "QMP": [
                "version": [
                    "qemu": ["major": 0, "minor": 0, "micro": 0], "package": .string("godwit \(Version.current)"),
                ], "capabilities": ["godwit-attempt"],
            ]
        ])
    }

    private func take(_ line: UnsafeRawBufferPointer) {
        var limits = JSONLimits()
        limits.maximumDepth = 16
        limits.maximumBytes = Self.maximumBytes
        let message: JSONValue
        do throws(JSONError) {
            message = try JSONDocument(parsing: Array(line), limits: limits).withRoot { $0.value() }
        } catch {
            return refuse(nil, ControlError(description: "not JSON: \(error)"))
        }
        let id = message["id"]
        guard let name = message["execute"]?.string else {
            return refuse(id, ControlError(description: "no member 'execute'"))
        }
        guard message["arguments"].map({ $0.object != nil }) ?? true else {
            return refuse(id, ControlError(description: "'arguments' is no object"))
        }
        if name == "qmp_capabilities" {
            guard !isNegotiated else {
                return refuse(
                    id, ControlError(errorClass: "CommandNotFound", description: "negotiation is complete already"))
            }
            isNegotiated = true
            return reply(id, [:])
        }
        guard isNegotiated else {
            return refuse(
                id,
                ControlError(errorClass: "CommandNotFound", description: "expecting negotiation with qmp_capabilities"))
        }
        execute(name, message["arguments"]?.object ?? [:]) { [weak self] result in
            switch result {
            case .success(let value): self?.reply(id, value)
            case .failure(let error): self?.refuse(id, error)
            }
        }
    }

    private func reply(_ id: JSONValue?, _ value: JSONValue) {
        var object: JSONObject = ["return": value]
        if let id { object["id"] = id }
        send(.object(object))
    }

    private func refuse(_ id: JSONValue?, _ error: ControlError) {
        var object: JSONObject = [
            "error": ["class": .string(error.errorClass), "desc": .string(error.description)]
        ]
        if let id { object["id"] = id }
        send(.object(object))
    }

    /// An event, as JSON.
    func tell(_ bytes: [UInt8], isDispensable: Bool) {
        guard isNegotiated, !(isDispensable && !channel.isWritable) else { return }
        write(bytes)
    }

    private func send(_ message: JSONValue) { write(message.serialized()) }

    private func write(_ bytes: [UInt8]) {
        guard !isClosing else { return }
        guard backlog + bytes.count <= Self.maximumBacklog else { return channel.close(promise: nil) }
        var buffer = channel.allocator.buffer(capacity: bytes.count + 2)
        buffer.writeBytes(bytes)
        buffer.writeStaticString("\r\n")
        let count = buffer.readableBytes
        backlog += count
        channel.writeAndFlush(buffer).assumeIsolated().whenComplete { [weak self] _ in self?.backlog -= count }
    }

    /// No more words; those that were said still leave, as far as the client reads them now.
    func close() {
        guard !isClosing else { return }
        isClosing = true
        channel.close(promise: nil)
    }
}
