public import JSONC
public import Migration
public import QMP

extension Command {
    /// The command as QMP says it.
    ///
    /// - Parameters:
    ///   - outOfBand: Whether it overtakes what is queued; only where QEMU allows that.
    ///   - isPoll: Whether it is one of the regular looks, of which only one may be on its way.
    public func request(outOfBand: Bool = false, isPoll: Bool = false) -> QMPRequest {
        switch self {
        case .queryStatus: QMPRequest(QueryStatus())
        case .queryMigrate: isPoll ? QMPRequest(polling: QueryMigrate()) : QMPRequest(QueryMigrate())
        case .queryCapabilities: QMPRequest(QueryMigrateCapabilities())
        case .queryParameters: QMPRequest(QueryMigrateParameters())
        case .queryYank: QMPRequest(QueryYank(), outOfBand: outOfBand)
        case .setCapabilities(let settings):
            QMPRequest(MigrateSetCapabilities(settings.map { MigrationCapability($0.name, $0.isOn) }))
        case .setParameters(let settings):
            QMPRequest(MigrateSetParameters(Self.object(settings)))
        case .getFD(let name): QMPRequest(GetFD(fdname: name))
        case .closeFD(let name): QMPRequest(CloseFD(fdname: name))
        case .addFD(let set, let isDirect):
            QMPRequest(AddFD(fdsetID: set, opaque: isDirect ? Self.directMark : Self.mark))
        case .removeFD(let set): QMPRequest(RemoveFD(fdsetID: set))
        case .objectAdd(let object, let isNested):
            QMPRequest(
                ObjectAdd(qomType: object.type, id: object.id, properties: object.properties, isNested: isNested))
        case .objectDel(let id): QMPRequest(ObjectDel(id: id))
        case .migrateIncoming(let address, let exitOnError):
            QMPRequest(MigrateIncoming(address.argument, exitOnError: exitOnError))
        case .migrate(let address, let resume): QMPRequest(Migrate(address.argument, resume: resume))
        case .migrateContinue(let state): QMPRequest(MigrateContinue(state: state))
        case .migrateCancel: QMPRequest(MigrateCancel())
        case .startPostcopy: QMPRequest(MigrateStartPostcopy())
        case .migratePause: QMPRequest(MigratePause(), outOfBand: outOfBand)
        case .migrateRecover(let uri): QMPRequest(MigrateRecover(uri: uri), outOfBand: outOfBand)
        case .yank: QMPRequest(Yank([.migration]), outOfBand: outOfBand)
        case .cont: QMPRequest(Cont())
        case .stop: QMPRequest(Stop())
        case .quit: QMPRequest(Quit())
        case .storage(let command): command.request(outOfBand: outOfBand)
        case .other(let name): QMPRequest(name: name, kind: .query)
        }
    }

    /// The command that a message to QEMU is; `nil` for a message that is no command.
    public init?(message: JSONValue) {
        guard let name = message["execute"]?.string ?? message["exec-oob"]?.string else { return nil }
        let arguments = message["arguments"]
        switch name {
        case "query-status": self = .queryStatus
        case "query-migrate": self = .queryMigrate
        case "query-migrate-capabilities": self = .queryCapabilities
        case "query-migrate-parameters": self = .queryParameters
        case "query-yank": self = .queryYank
        case "migrate-set-capabilities":
            self = .setCapabilities(
                (arguments?["capabilities"]?.array ?? []).compactMap { entry in
                    guard let name = entry["capability"]?.string, let isOn = entry["state"]?.bool else { return nil }
                    return CapabilitySetting(name, isOn)
                })
        case "migrate-set-parameters":
            self = .setParameters((arguments?.object ?? [:]).map { Setting($0.key, SettingValue($0.value)) })
        case "getfd": self = .getFD(name: arguments?["fdname"]?.string ?? "")
        case "closefd": self = .closeFD(name: arguments?["fdname"]?.string ?? "")
        case "add-fd":
            self = .addFD(
                set: arguments?["fdset-id"]?.int64 ?? -1, isDirect: arguments?["opaque"]?.string == Self.directMark)
        case "remove-fd": self = .removeFD(set: arguments?["fdset-id"]?.int64 ?? -1)
        case "object-add":
            self = .objectAdd(QEMUObject(arguments: arguments), isNested: arguments?["props"] != nil)
        case "object-del": self = .objectDel(id: arguments?["id"]?.string ?? "")
        case "migrate-incoming":
            self = .migrateIncoming(
                uri: StreamAddress(arguments: arguments), exitOnError: arguments?["exit-on-error"]?.bool)
        case "migrate":
            self = .migrate(uri: StreamAddress(arguments: arguments), resume: arguments?["resume"]?.bool ?? false)
        case "migrate-continue": self = .migrateContinue(state: arguments?["state"]?.string ?? "")
        case "migrate_cancel": self = .migrateCancel
        case "migrate-start-postcopy": self = .startPostcopy
        case "migrate-pause": self = .migratePause
        case "migrate-recover": self = .migrateRecover(uri: arguments?["uri"]?.string ?? "")
        case "yank":
            self = Command(yank: arguments) ?? .other(name)
        case "cont": self = .cont
        case "stop": self = .stop
        case "quit": self = .quit
        default: self = StorageCommand(name: name, arguments: arguments).map { .storage($0) } ?? .other(name)
        }
    }

    /// What QEMU shows of a descriptor of ours.
    private static let mark = "godwit"
    private static let directMark = "godwit, past the cache"

    private static func object(_ settings: [Setting]) -> JSONObject {
        var object: JSONObject = [:]
        for setting in settings { object[setting.name] = setting.value.json }
        return object
    }
}

extension SettingValue {
    /// The value in JSON.
    public var json: JSONValue {
        switch self {
        case .integer(let value): .integer(value)
        case .string(let value): .string(value)
        case .bool(let value): .bool(value)
        case .json(let text): (try? JSONValue(parsing: text)) ?? .string(text)
        }
    }

    /// A value from JSON.
    public init(_ value: JSONValue) {
        switch value {
        case .integer(let integer): self = .integer(integer)
        case .string(let string): self = .string(string)
        case .bool(let bool): self = .bool(bool)
        default: self = .json(value.text())
        }
    }
}
