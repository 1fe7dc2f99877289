import JSONC
import QMP

/// What a proxy does, in this order.
enum ProxyAction: Hashable, Sendable {
    /// Bytes go to QEMU, and these descriptors along with the first of them.
    case toQEMU([UInt8], [CInt])
    /// Bytes go to the client of this number, and these descriptors along with the first of them.
    case toClient(Int, [UInt8], [CInt])
    /// A client's connection ends once everything was sent.
    case closeClient(Int)
    /// Nobody is there any more to take these descriptors.
    case discard([CInt])
    /// Something for the trace.
    case record(ProxyRecord)
}

/// What a proxy saw.
enum ProxyRecord: Hashable, Sendable {
    /// A message from QEMU; `isSecret`: what it returns is one.
    case received([UInt8], isSecret: Bool = false)
    /// A message to QEMU, as it was sent, and which client's it is.
    case sent([UInt8], client: Int)
    /// Bytes from QEMU that were no message.
    case noise([UInt8])
    /// So many descriptors came along with the next message.
    case descriptors(Int)
    /// The session was opened, or lost.
    case monitor(String)
    /// QEMU's process ended.
    case ended
    /// A note for the reader.
    case mark(String)
}

/// Stands between one QEMU and its clients. Pure: bytes go in, actions come out.
///
/// A single client's bytes pass as they are, in both directions; only the beginning of an unfinished command waits for its end, as QEMU could not do
/// anything with it, so that a client that leaves in the midst of one does no harm. QEMU's session outlives its clients: whoever comes later gets
/// QEMU's own greeting, and its `qmp_capabilities` is answered here. While answers to somebody who left are still to come, and whenever
/// more than one client is allowed at once, commands go to QEMU with ids of the proxy's own and answers come back with the client's.
struct MonitorProxy: ~Copyable {
    enum Session: Hashable {
        /// Not greeted, or not negotiated.
        case closed
        /// A client's `qmp_capabilities` is on its way.
        case opening
        /// Negotiated.
        case open(outOfBand: Bool)
    }

    struct Client {
        var number: Int
        var framer: QMPFramer
        var isGreeted = false
        var isNegotiated = false
        var hasOutOfBand = false
        /// Came before what they go along with could be passed on.
        var descriptors: [CInt] = []
        /// Sent while somebody else's negotiation was under way.
        var held: [[UInt8]] = []
    }

    /// A command that QEMU has not answered.
    struct Pending {
        var client: Int
        var wireID: JSONValue?
        var clientID: JSONValue?
        var name: String
        /// Answers go to somebody who left, or their ids have to be changed.
        var isForeign: Bool
        var wantsOutOfBand = false
        var isSecret = false
    }

    /// How many clients may be there at once.
    let maximumClients: Int
    var session = Session.closed
    private(set) var clients: [Client] = []
    var pending: [Pending] = []
    var parser = JSONParser()
    private(set) var role: InferredRole
    private let maximumBytes: Int
    private var framer: QMPFramer
    private var greeting: [UInt8]?
    /// Who has got the beginning of the message that QEMU is in the midst of; 0: nobody.
    private var partialOwner = 0
    private var foreignCount = 0
    private var lastID = 0
    /// A message was beyond all bounds: bytes pass, but cannot be told apart any more.
    private var isBlind = false
    private var actions: [ProxyAction] = []

    init(maximumClients: Int = 1, maximumBytes: Int = 64 << 20, role: InferredRole = InferredRole()) {
        self.role = role
        self.maximumClients = Swift.max(1, maximumClients)
        self.maximumBytes = maximumBytes
        framer = QMPFramer(maximumBytes: maximumBytes)
    }

    /// Whether another client would be taken.
    var hasRoom: Bool { clients.count < maximumClients }

    // MARK: Clients

    /// A client of a new number came; `description` says who, for the reader.
    mutating func clientCame(_ number: Int, _ description: String = "") -> [ProxyAction] {
        record(.mark("client \(number) came\(description.isEmpty ? "" : " (\(description))")"))
        clients.append(Client(number: number, framer: QMPFramer(maximumBytes: maximumBytes)))
        greet()
        return finish()
    }

    /// A client left. What it was not answered yet, nobody will be told.
    mutating func clientLeft(_ number: Int) -> [ProxyAction] {
        guard let index = clients.firstIndex(where: { $0.number == number }) else { return finish() }
        var client = clients.remove(at: index)
        if !client.descriptors.isEmpty { actions.append(.discard(client.descriptors)) }
        for index in pending.indices where pending[index].client == number && !pending[index].isForeign {
            pending[index].isForeign = true
            foreignCount += 1
        }
        let rest = client.framer.takeRemainder()?.count ?? 0
        record(.mark("client \(number) left\(rest > 0 ? " in the midst of a command (\(rest) bytes)" : "")"))
        return finish()
    }

    private mutating func greet() {
        guard let greeting else { return }
        for index in clients.indices where !clients[index].isGreeted {
            clients[index].isGreeted = true
            var bytes = greeting
            // A session without out-of-band has none to offer.
            if session == .open(outOfBand: false), var object = (try? JSONValue(parsing: greeting))?.object,
                var inner = object["QMP"]?.object
            {
                inner["capabilities"] = []
                object["QMP"] = .object(inner)
                bytes = JSONValue.object(object).serialized()
            }
            actions.append(.toClient(clients[index].number, bytes + lineEnd, []))
        }
    }

    // MARK: From QEMU

    /// The client that gets QEMU's bytes as they come.
    private var directClient: Int? {
        guard maximumClients == 1, let client = clients.first else { return nil }
        if isBlind { return client.number }
        guard client.isNegotiated, foreignCount == 0, framer.carriedCount == 0 || partialOwner == client.number
        else { return nil }
        return client.number
    }

    /// QEMU sent bytes.
    ///
    /// - Parameter pass: Gets what goes to a client as it is, before anybody looks at it: a long reply takes a while to be understood.
    mutating func fromQEMU(
        _ bytes: UnsafeRawBufferPointer, descriptors: [CInt] = [], pass: (_ client: Int, [UInt8], [CInt]) -> Void
    ) -> [ProxyAction] {
        let direct = directClient
        if let direct {
            pass(direct, Array(bytes), descriptors)
        } else if !descriptors.isEmpty {
            giveAway(descriptors)
        }
        if !descriptors.isEmpty { record(.descriptors(descriptors.count)) }
        guard !isBlind else { return finish() }
        var offset = 0
        var isContinued = framer.carriedCount > 0
        while let frame = framer.next(in: bytes, from: &offset) {
            var isDelivered = direct != nil
            switch frame {
            case .message(let range): received(Array(bytes[range]), isDelivered: isDelivered)
            case .carriedMessage:
                // The end of a message that somebody who left got the beginning of is for nobody.
                isDelivered = isDelivered || partialOwner != 0
                received(framer.takeCarried(), isDelivered: isDelivered)
            case .garbage(let range): record(.noise(Array(bytes[range])))
            case .carriedGarbage: record(.noise(framer.takeCarried()))
            case .tooLarge:
                isBlind = true
                record(.mark("\(framer.limitError.message): nothing after it can be recorded"))
            }
            isContinued = false
        }
        if !isContinued { partialOwner = framer.carriedCount > 0 ? direct ?? 0 : 0 }
        return finish()
    }

    /// QEMU closed its monitor.
    mutating func qemuLeft() -> [ProxyAction] {
        if let rest = framer.takeRemainder() { record(.noise(rest)) }
        record(.monitor("lost"))
        session = .closed
        for client in clients { actions.append(.closeClient(client.number)) }
        return finish()
    }

    private mutating func giveAway(_ descriptors: [CInt]) {
        // Without bytes of their own they would be lost on the way: they go along with a line end.
        if let client = clients.first(where: \.isNegotiated) {
            actions.append(.toClient(client.number, lineEnd, descriptors))
        } else {
            actions.append(.discard(descriptors))
        }
    }

    private mutating func received(_ message: [UInt8], isDelivered: Bool) {
        let heading = message.withUnsafeBytes { MessageHeading($0, &parser) }
        guard let heading else { return record(.noise(message)) }
        switch heading.kind {
        case .greeting:
            record(.received(message))
            greeting = message
            greet()
        case .reply(let isError):
            let answered = takePending(heading.id)
            if let answered, !isError { role.succeeded(answered.name) }
            record(.received(message, isSecret: answered?.isSecret ?? false))
            if let answered {
                negotiated(answered, isError)
                if !isDelivered { deliver(message, to: answered, heading) }
            } else if !isDelivered {
                tell(message)
            }
        case .command, .other:
            record(.received(message))
            if !isDelivered { tell(message) }
        }
    }

    private mutating func tell(_ message: [UInt8]) {
        for client in clients where client.isNegotiated {
            actions.append(.toClient(client.number, message + lineEnd, []))
        }
    }

    private mutating func takePending(_ id: JSONValue?) -> Pending? {
        guard let index = pending.firstIndex(where: { $0.wireID == id }) else { return nil }
        let found = pending.remove(at: index)
        if found.isForeign { foreignCount -= 1 }
        return found
    }

    private mutating func deliver(_ message: [UInt8], to answered: Pending, _ heading: MessageHeading) {
        guard clients.contains(where: { $0.number == answered.client }) else { return }
        let bytes = answered.wireID == answered.clientID ? message : heading.replacingID(of: message, answered.clientID)
        actions.append(.toClient(answered.client, bytes + lineEnd, []))
    }

    private mutating func negotiated(_ answered: Pending, _ isError: Bool) {
        guard session == .opening, answered.name == "qmp_capabilities" else { return }
        session = isError ? .closed : .open(outOfBand: answered.wantsOutOfBand)
        if !isError {
            if let index = clients.firstIndex(where: { $0.number == answered.client }) {
                clients[index].isNegotiated = true
                clients[index].hasOutOfBand = answered.wantsOutOfBand
            }
            record(.monitor("connected"))
        }
        for index in clients.indices {
            let held = clients[index].held
            clients[index].held = []
            for message in held {
                var output = Output()
                handle(message, of: index, &output)
                flush(&output, of: index)
            }
        }
    }

    // MARK: From clients

    /// What is to be sent to QEMU after some input of a client.
    private struct Output {
        var bytes: [UInt8] = []
        var records: [ProxyRecord] = []
        var replies: [JSONValue] = []
    }

    /// A client sent bytes.
    mutating func fromClient(
        _ number: Int, _ bytes: UnsafeRawBufferPointer, descriptors: [CInt] = []
    ) -> [ProxyAction] {
        guard let index = clients.firstIndex(where: { $0.number == number }) else {
            if !descriptors.isEmpty { actions.append(.discard(descriptors)) }
            return finish()
        }
        clients[index].descriptors += descriptors
        var output = Output()
        // Where what was not looked at yet begins. Between messages everything is passed on too, for a single client.
        var (start, offset) = (0, 0)
        while let frame = clients[index].framer.next(in: bytes, from: &offset) {
            switch frame {
            case .message(let range):
                pass(bytes[start..<range.lowerBound], &output)
                handle(Array(bytes[range]), of: index, &output)
                start = range.upperBound
            case .carriedMessage:
                handle(clients[index].framer.takeCarried(), of: index, &output)
                start = offset
            case .garbage(let range):
                pass(bytes[start..<range.lowerBound], &output)
                refuse(Array(bytes[range]), of: index, &output)
                start = range.upperBound
            case .carriedGarbage:
                refuse(clients[index].framer.takeCarried(), of: index, &output)
                // The byte that cut it off is looked at, but belongs to what follows.
                start = Swift.max(0, offset - 1)
            case .tooLarge:
                output.replies.append(MessageHeading.error(nil, clients[index].framer.limitError.message))
                output.records.append(.mark("client \(number) sent a command beyond all bounds"))
                flush(&output, of: index)
                actions.append(.closeClient(number))
                return finish()
            }
        }
        pass(bytes[start..<Swift.max(start, bytes.count - clients[index].framer.carriedCount)], &output)
        flush(&output, of: index)
        return finish()
    }

    private func pass(_ bytes: Slice<UnsafeRawBufferPointer>, _ output: inout Output) {
        if maximumClients == 1 { output.bytes += bytes }
    }

    private mutating func refuse(_ bytes: [UInt8], of index: Int, _ output: inout Output) {
        output.records.append(.mark("client \(clients[index].number) sent \(bytes.count) bytes that are no command"))
        if maximumClients == 1, session != .opening {
            output.bytes += bytes
        } else {
            output.replies.append(MessageHeading.error(nil, "JSON parse error, invalid JSON syntax"))
        }
    }

    private mutating func handle(_ message: [UInt8], of index: Int, _ output: inout Output) {
        let heading = message.withUnsafeBytes { MessageHeading($0, &parser) }
        guard let heading, case .command(let command) = heading.kind else {
            return refuse(message, of: index, &output)
        }
        let client = clients[index]
        if !client.isNegotiated, session != .closed {
            if session == .opening {
                if client.held.count < 64 { clients[index].held.append(message) }
            } else {
                output.replies.append(negotiate(command, heading.id, of: index))
            }
            return
        }
        if command.isOutOfBand, client.isNegotiated, !client.hasOutOfBand {
            output.replies.append(MessageHeading.error(heading.id, "QMP input member 'exec-oob' is unexpected"))
            return
        }
        var entry = Pending(
            client: client.number, wireID: heading.id, clientID: heading.id, name: command.name, isForeign: false)
        if session == .closed, command.name == "qmp_capabilities" {
            session = .opening
            entry.wantsOutOfBand = command.enables.contains("oob")
        }
        entry.isSecret = command.asksForSecret
        var wire = message
        if maximumClients > 1 || foreignCount > 0 {
            lastID += 1
            let id = JSONValue.string("godwit-record-\(lastID)")
            entry.wireID = id
            entry.isForeign = true
            foreignCount += 1
            wire = heading.replacingID(of: message, id)
        }
        role.sent(command.name)
        pending.append(entry)
        output.bytes += wire
        if maximumClients > 1 { output.bytes += lineEnd }
        output.records.append(.sent(wire, client: client.number))
    }

    /// Answers a client that came when the session was open already.
    private mutating func negotiate(_ command: MessageHeading.Command, _ id: JSONValue?, of index: Int) -> JSONValue {
        guard command.name == "qmp_capabilities" else {
            return MessageHeading.error(
                id, "Expecting capabilities negotiation with 'qmp_capabilities'", errorClass: "CommandNotFound")
        }
        let offered = session == .open(outOfBand: true)
        guard command.enables.allSatisfy({ $0 == "oob" && offered }) else {
            return MessageHeading.error(id, "Capability \(command.enables.joined(separator: ", ")) not available")
        }
        clients[index].isNegotiated = true
        clients[index].hasOutOfBand = !command.enables.isEmpty
        record(.mark("client \(clients[index].number) takes part in the open session"))
        var reply: JSONObject = ["return": [:]]
        if let id { reply["id"] = id }
        return .object(reply)
    }

    private mutating func flush(_ output: inout Output, of index: Int) {
        if !output.bytes.isEmpty {
            let descriptors = clients[index].descriptors
            clients[index].descriptors = []
            actions.append(.toQEMU(output.bytes, descriptors))
            if !descriptors.isEmpty { record(.descriptors(descriptors.count)) }
        }
        output.records.forEach { record($0) }
        for reply in output.replies {
            actions.append(.toClient(clients[index].number, reply.serialized() + lineEnd, []))
        }
    }

    // MARK: Details

    private var lineEnd: [UInt8] { [0x0D, 0x0A] }

    private mutating func record(_ record: ProxyRecord) { actions.append(.record(record)) }

    private mutating func finish() -> [ProxyAction] {
        defer { actions = [] }
        return actions
    }
}
