import JSONC
import Migration
import MigrationQMP
import NIOCore
import Phases
import QMP
import QMPTransport

/// One QEMU as the driver sees it: its connection, who it is, and which command each reply belongs to. Confined to the
/// event loop.
final class Monitor: QMPObserver {
    let side: Side
    let address: QMPAddress
    private unowned let driver: AttemptDriver
    private let configuration: QMPConfiguration
    private(set) var connection: QMPConnection?
    private(set) var identity: QEMUIdentity?
    private(set) var greeting: QMPGreeting?
    private var connectionNumber = 0
    private var sequence = 0
    private var time = Instant(microseconds: 0)
    /// Commands handed to the connection that have not left yet, oldest first; replies and sends are told apart by
    /// them.
    private var unsent: [(token: Int, command: Command?, outOfBand: Bool)] = []
    private var nextToken = 0
    private(set) var isReady = false
    /// Whether the socket was seen to belong to another process now, so that connecting again is of no use.
    private(set) var isStranger = false
    /// Keeps the driver until the connection has said its last word.
    private var retained: AttemptDriver?
    private var walk: SurveyWalk?
    private var binary: String?
    /// Whether the other QEMU, of the same binary, is asked what both can do.
    private var borrowsFeatures = false

    init(side: Side, address: QMPAddress, configuration: QMPConfiguration, driver: AttemptDriver) {
        self.side = side
        self.address = address
        self.configuration = configuration
        self.driver = driver
    }

    /// Connects, or connects again.
    func connect(waiting: Duration? = nil) {
        connectionNumber += 1
        unsent = []
        isReady = false
        var configuration = configuration
        if let waiting { configuration.waitForSocket = waiting }
        connection = QMPConnection.connect(
            to: address, on: driver.eventLoop, configuration: configuration, observer: self)
    }

    /// Closes the connection, if there is one, and lives on with the driver until it is closed.
    func close() {
        guard let connection, !connection.isClosed else { return }
        retained = driver
        connection.close()
    }

    // MARK: Commands

    /// Sends a command of the migration; its reply becomes a fact.
    func send(_ command: Command, outOfBand: Bool) {
        let isOutOfBand = outOfBand && (connection?.hasOutOfBand ?? false)
        let diskSocket = command == .getFD(name: driver.diskSocket?.name ?? "") ? driver.diskSocket : nil
        let descriptors = diskSocket.map { [$0.end] } ?? driver.descriptors(for: command, side)
        submit(command.request(outOfBand: isOutOfBand), command: command, descriptors: descriptors) {
            [side, unowned driver] result, sequence, time in
            if let diskSocket {
                diskSocket.close()
            } else if case .getFD = command {
                driver.streamSockets.passed(side)
            }
            switch result {
            case .success(let view):
                if command == .queryMigrate, side == .source { driver.statistics.note(view) }
                driver.enqueue(
                    .fact(side, .reply(command, Reply(to: command, value: view))), sequence: sequence, at: time)
            case .failure(let error):
                if let reply = Reply(error) {
                    driver.enqueue(.fact(side, .reply(command, reply)), sequence: sequence, at: time)
                } else if error.code != .closed {
                    driver.unanswered(side, command, error)
                }
            }
        }
    }

    private func submit(
        _ request: QMPRequest, command: Command?, descriptors: [CInt] = [],
        completion: @escaping (Result<JSONView, QMPError>, Int, Instant) -> Void
    ) {
        guard let connection, !connection.isClosed else { return }
        nextToken += 1
        let token = nextToken
        unsent.append((token, command, request.outOfBand))
        connection.submit(request, descriptors: descriptors) { [unowned self] result in
            if case .failure(let error) = result, !error.wasSent { unsent.removeAll { $0.token == token } }
            completion(result, sequence, time)
        }
    }

    // MARK: Survey

    /// Reads what this QEMU is made of.
    func survey(_ features: KnownFeatures) {
        guard let greeting, let connection else { return }
        binary = identity?.binaryKey
        let known: QEMUFeatures?
        borrowsFeatures = false
        switch features.access(binary) {
        case .known(let found): known = found
        case .ask: known = nil
        case .wait:
            // The schema is 200 kB and QEMU takes 20 ms to write it: of two QEMUs of one binary, one is enough.
            borrowsFeatures = true
            known = QEMUFeatures()
        }
        var walk = SurveyWalk(
            version: QEMUVersion(greeting), features: known, hasOutOfBand: connection.hasOutOfBand)
        let first = walk.start()
        self.walk = walk
        first.forEach { ask($0, features) }
    }

    private func ask(_ query: SurveyWalk.Query, _ features: KnownFeatures) {
        submit(query.request, command: nil) { [unowned self] result, _, _ in
            // That it is lost is a fact of its own, which comes next and must not come late.
            if case .failure(let error) = result, error.code == .closed { return }
            guard let next = walk?.answered(query, result) else { return }
            next.forEach { ask($0, features) }
            guard let outcome = walk?.outcome else { return }
            let learned = walk?.learnedFeatures
            walk = nil
            switch outcome {
            case .success(let survey): surveyed(survey, features)
            case .failure: driver.surveyed(side, outcome)
            }
            if let learned { features.learned(learned, of: binary) }
        }
    }

    private func surveyed(_ survey: Survey, _ features: KnownFeatures) {
        var survey = survey
        survey.isProcessWatched = identity?.hasEnded != nil
        survey.description.commandLine = identity?.commandLine.map(Secrets.masking)
        guard borrowsFeatures else {
            driver.surveyed(side, .success(survey))
            return
        }
        features.whenKnown(binary) { [weak self] found in
            guard let self else { return }
            // Out of band is a matter of the connection, all else of the binary.
            let hasOutOfBand = survey.features.hasOutOfBand
            survey.features = found
            survey.features.hasOutOfBand = hasOutOfBand
            driver.surveyed(side, .success(survey))
        }
    }

    // MARK: QMPObserver

    func connection(_ connection: QMPConnection, received line: UnsafeRawBufferPointer) {
        driver.notice(endOf: .destination)
        time = driver.journal.now
        sequence = driver.journal.message("recv", side, line, connection: connectionNumber, at: time)
    }

    func connection(_ connection: QMPConnection, receivedGarbage bytes: UnsafeRawBufferPointer) {
        time = driver.journal.now
        sequence = driver.journal.garbage(side, bytes, connection: connectionNumber, at: time)
    }

    func connection(_ connection: QMPConnection, sent line: UnsafeRawBufferPointer, descriptors: Int) {
        let time = driver.journal.now
        if descriptors > 0 { driver.journal.record("fds", side, .integer(Int64(descriptors)), at: time) }
        let sequence = driver.journal.message("send", side, line, connection: connectionNumber, at: time)
        let isOutOfBand = line.starts(with: Self.outOfBandStart)
        guard let index = unsent.firstIndex(where: { $0.outOfBand == isOutOfBand }) else { return }
        if let command = unsent.remove(at: index).command {
            driver.enqueue(.sent(side, command), sequence: sequence, at: time)
        }
    }

    private static let outOfBandStart = Array(#"{"exec-oob""#.utf8)

    func connection(_ connection: QMPConnection, ready greeting: QMPGreeting) {
        if let identity, identity.peer?.pid != connection.peer?.pid {
            // Somebody started another QEMU on the same path: it knows nothing of this attempt.
            driver.problem(side, QMPError(.closed, "\(address): another process answers there now"))
            isStranger = true
            return connection.close()
        }
        isReady = true
        self.greeting = greeting
        if identity == nil { identity = QEMUIdentity(peer: connection.peer, socketPath: address.path) }
        driver.becameReady(self, greeting)
    }

    func connection(_ connection: QMPConnection, event name: String, message: JSONView) {
        let event = QEMUEvent(name: name, message: message)
        driver.enqueue(.fact(side, .event(event)), sequence: sequence, at: time)
    }

    func connection(_ connection: QMPConnection, problem: QMPError) {
        driver.problem(side, problem)
    }

    func connectionClosed(_ connection: QMPConnection, error: QMPError?) {
        defer { retained = nil }
        guard connection === self.connection else { return }
        let wasReady = isReady
        isReady = false
        walk = nil
        driver.closed(self, wasReady: wasReady, error: error)
    }
}
