internal import Glibc
import JSONC
import Migration
import MigrationQMP
import Phases
public import QMP
public import QMPTransport

/// Reads what a check needs of one QEMU. Only queries are sent.
public struct QEMUInspection: Sendable {
    private let client: QMPClient
    private let address: QMPAddress
    private let identity: QEMUIdentity

    /// Connects to a monitor.
    ///
    /// - Throws: `QMPError` if it is busy, not there, or no monitor.
    public init(_ address: QMPAddress) async throws(QMPError) {
        self.address = address
        client = try await QMPClient.connect(to: address)
        identity = QEMUIdentity(peer: client.peer, socketPath: address.path)
    }

    /// Leaves the monitor.
    public func close() async { await client.close() }

    /// Reads everything.
    ///
    /// - Throws: `QMPError` naming the query.
    public func facts() async throws(QMPError) -> QEMUFacts {
        var survey = try await self.survey()
        survey.description.commandLine = identity.commandLine.map(Secrets.masking)
        guard case .status(let runState) = try await reply(to: .queryStatus),
            case .migration(let migration) = try await reply(to: .queryMigrate),
            case .capabilities(let capabilities) = try await reply(to: .queryCapabilities),
            case .parameters(let parameters) = try await reply(to: .queryParameters)
        else { throw QMPError(.invalidReply, "\(address): an answer is not what the command returns") }
        var facts = QEMUFacts(
            survey: survey, runState: runState, migration: migration, capabilities: capabilities,
            parameters: parameters)
        facts.media = try await media()
        facts.availableBytes = Self.kibibytes("MemAvailable:", in: "/proc/meminfo")
        if identity.doubt == nil, let process = identity.peer?.pid {
            facts.process = process
            facts.residentBytes = Self.kibibytes("VmRSS:", in: "/proc/\(process)/status")
            facts.mayFaultInUserspace = Self.mayFaultInUserspace(process)
        }
        return facts
    }

    private func value(_ request: QMPRequest) async throws(QMPError) -> JSONValue { try await client.execute(request) }

    private func reply(to command: Command) async throws(QMPError) -> Reply {
        Reply(to: command, value: try await value(command.request(outOfBand: false)))
    }

    private func survey() async throws(QMPError) -> Survey {
        var walk = SurveyWalk(version: QEMUVersion(client.greeting), features: nil, hasOutOfBand: false)
        var queries = walk.start()
        while !queries.isEmpty {
            let query = queries.removeFirst()
            var result: Result<JSONValue, QMPError>
            do throws(QMPError) { result = .success(try await value(query.request)) } catch { result = .failure(error) }
            queries += Self.answered(&walk, query, result)
        }
        switch walk.outcome {
        case .success(let survey): return survey
        case .failure(let error): throw QMPError(.invalidReply, "\(address): \(error)")
        case nil: throw QMPError(.invalidReply, "\(address): the survey has no end")
        }
    }

    private static func answered(
        _ walk: inout SurveyWalk, _ query: SurveyWalk.Query, _ result: Result<JSONValue, QMPError>
    ) -> [SurveyWalk.Query] {
        switch result {
        case .failure(let error): return walk.answered(query, .failure(error))
        case .success(let value):
            do throws(JSONError) {
                return try JSONDocument(parsing: value.serialized()).withRoot { walk.answered(query, .success($0)) }
            } catch {
                return walk.answered(query, .failure(QMPError(.invalidReply, "\(query.request.name): \(error)")))
            }
        }
    }

    // MARK: Disks

    private func media() async throws(QMPError) -> [QEMUFacts.Medium] {
        let blocks = try await value(QMPRequest(name: "query-block", arguments: nil, kind: .query))
        var media: [QEMUFacts.Medium] = []
        for block in blocks.array ?? [] {
            guard let inserted = block["inserted"], let file = inserted["file"]?.string else { continue }
            let node = inserted["node-name"]?.string ?? "#"
            var medium = QEMUFacts.Medium(
                name: node.hasPrefix("#") ? block["qdev"]?.string ?? block["device"]?.string ?? node : node,
                file: file, driver: inserted["drv"]?.string ?? "?")
            medium.bytes = inserted["image"]?["virtual-size"]?.int64
            medium.allocatedBytes = inserted["image"]?["actual-size"]?.int64
            medium.isReadOnly = inserted["ro"]?.bool ?? false
            medium.isDirect = inserted["cache"]?["direct"]?.bool ?? false
            if file.hasPrefix("/") { place(&medium, at: file) }
            media.append(medium)
        }
        return media
    }

    /// Looks at the file as QEMU sees it.
    private func place(_ medium: inout QEMUFacts.Medium, at path: String) {
        var seen = path
        if identity.doubt == nil, let process = identity.peer?.pid { seen = "/proc/\(process)/root\(path)" }
        var information = stat()
        guard stat(seen, &information) == 0 else { return }
        medium.identity =
            information.st_mode & S_IFMT == S_IFBLK
            ? "device \(information.st_rdev)" : "\(information.st_dev):\(information.st_ino)"
        var system = statvfs()
        guard information.st_mode & S_IFMT == S_IFREG, statvfs(seen, &system) == 0 else { return }
        let (bytes, overflow) = Int64(clamping: system.f_bavail).multipliedReportingOverflow(
            by: Int64(clamping: system.f_frsize))
        medium.freeBytes = overflow ? .max : bytes
    }

    // MARK: The host

    /// A number of kibibytes out of a file of `/proc`, in bytes.
    private static func kibibytes(_ name: String, in path: String) -> Int64? {
        guard let bytes = SmallFile.read(path, limit: 65536) else { return nil }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where line.hasPrefix(name) {
            let digits = line.dropFirst(name.utf8.count).drop { $0 == " " || $0 == "\t" }.prefix { $0.isNumber }
            return Int64(digits).flatMap { $0 < 1 << 50 ? $0 << 10 : nil }
        }
        return nil
    }

    /// Whether the process has the right that `userfaultfd` asks for: CAP_SYS_PTRACE, or everybody has it, or the device
    /// can be opened.
    private static func mayFaultInUserspace(_ process: Int32) -> Bool? {
        guard let switched = SmallFile.read("/proc/sys/vm/unprivileged_userfaultfd", limit: 16),
            let status = SmallFile.read("/proc/\(process)/status", limit: 65536)
        else { return nil }
        if switched.first == UInt8(ascii: "1") { return true }
        for line in String(decoding: status, as: UTF8.self).split(separator: "\n") where line.hasPrefix("CapEff:") {
            guard let rights = UInt64(line.dropFirst(7).drop { $0 == " " || $0 == "\t" }, radix: 16) else { return nil }
            return rights & (1 << 19) != 0 ? true : nil
        }
        return nil
    }

    // MARK: Dirty rate

    /// Has QEMU measure how fast the guest writes.
    ///
    /// It samples pages: what is written often counts once, so that the guest writes no less than this.
    /// - Parameter seconds: For how long, 1 to 60.
    /// - Returns: Bytes each second.
    /// - Throws: `QMPError` with QEMU's refusal: it has no such command (before 5.2), or measures already.
    public func dirtyRate(seconds: Int) async throws(QMPError) -> Int64 {
        let arguments: JSONValue = ["calc-time": .integer(Int64(seconds)), "sample-pages": 4096]
        _ = try await value(
            QMPRequest(name: "calc-dirty-rate", arguments: arguments.serialized(), kind: .configure))
        let end = Clock.microseconds + Int64(seconds + 10) * 1_000_000
        while Clock.microseconds < end {
            // QEMU has no event for the end of a measurement.
            do { try await Task.sleep(for: .milliseconds(100)) } catch {
                throw QMPError(.timeout, "\(address): interrupted while it measured")
            }
            let answer = try await value(QMPRequest(name: "query-dirty-rate", arguments: nil, kind: .query))
            guard answer["status"]?.string == "measured" else { continue }
            guard let rate = answer["dirty-rate"]?.int64, (0...(1 << 40)).contains(rate) else {
                throw QMPError(.invalidReply, "\(address): query-dirty-rate tells no rate")
            }
            return rate << 20
        }
        throw QMPError(.timeout, "\(address): the measurement has not ended \(seconds + 10) s after it began")
    }
}
