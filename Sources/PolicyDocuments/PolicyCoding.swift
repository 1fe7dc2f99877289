import JSONC
import Migration
public import Policy

extension ConvergencePolicy {
    /// The version of the documents.
    public static let documentVersion: Int64 = 1
    /// The largest document that is read, in bytes.
    public static let maximumDocumentBytes = 1 << 20

    /// Reads a policy document.
    ///
    /// - Parameters:
    ///   - bytes: The JSON text.
    ///   - file: What it is called in errors.
    /// - Throws: The first thing that is wrong, with its member, line and column.
    public init(document bytes: [UInt8], file: String) throws(PolicyDocumentError) {
        let places = DocumentPlaces(bytes)
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONValue(
                parsing: bytes, limits: JSONLimits(maximumDepth: 16, maximumBytes: Self.maximumDocumentBytes))
        } catch {
            let place = error.offset.map { places.place(of: $0) }
            throw PolicyDocumentError(
                file: file, line: place?.line ?? 0, column: place?.column ?? 0, member: "", message: error.message)
        }
        let root = PolicyReader(value: value, path: [], file: file, places: places)
        self = try PolicyDecoder(root: root).policy()
    }
}

/// Makes a policy of a document.
private struct PolicyDecoder {
    let root: PolicyReader

    private static let members: Set<String> = [
        "godwit-policy", "name", "summary", "source", "every", "capabilities", "constants", "variables", "deadlines",
        "stall", "rules",
    ]

    func policy() throws(PolicyDocumentError) -> ConvergencePolicy {
        _ = try root.members(Self.members)
        let version = try root.required("godwit-policy")
        guard version.value.int64 == ConvergencePolicy.documentVersion else {
            throw version.failure("this program knows version \(ConvergencePolicy.documentVersion)")
        }
        let name = try root.required("name")
        let title = try name.string()
        guard !title.isEmpty, title.utf8.count <= 100, title.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw name.failure("a name of 1 to 100 bytes without blanks is wanted here")
        }
        var policy = ConvergencePolicy(name: title, rules: [])
        policy.summary = try root["summary"]?.string() ?? ""
        _ = try root["source"]?.string()
        var parser = ExpressionParser()
        for (name, reader) in try root["constants"]?.members(nil) ?? [] {
            try checkNew(name, reader, parser)
            let value = try reader.constant(parser)
            parser.constants[name] = value
            policy.constants.append(
                .init(name: name, value: value, text: reader.value.string ?? reader.value.text()))
        }
        for (name, reader) in try root["variables"]?.members(nil) ?? [] {
            try checkNew(name, reader, parser)
            // It sees those before it only.
            policy.variables.append(.init(name: name, initial: try reader.expression(parser)))
            parser.variables[name] = policy.variables.count - 1
        }
        for reader in try root["deadlines"]?.elements(atMost: 20) ?? [] {
            let name = try reader.string()
            guard ExpressionParser.isFree(name), !policy.deadlines.contains(name) else {
                throw reader.failure("`\(name)` is no name, or is taken")
            }
            policy.deadlines.append(name)
        }
        for (name, reader) in try root["capabilities"]?.members(nil) ?? [] {
            policy.capabilities.append(CapabilitySetting(name, try reader.bool()))
        }
        policy.every = try root["every"]?.expression(parser)
        if let stall = root["stall"] { policy.stall = try self.stall(stall, parser) }
        let rules = RuleDecoder(parser: parser, deadlines: policy.deadlines, variables: policy.variables.map(\.name))
        for reader in try root.required("rules").elements(atMost: 200) {
            let rule = try rules.rule(reader)
            guard !policy.rules.contains(where: { $0.name == rule.name }) else {
                throw (reader["name"] ?? reader).failure("another rule has this name")
            }
            policy.rules.append(rule)
        }
        return policy
    }

    private func checkNew(
        _ name: String, _ reader: PolicyReader, _ parser: ExpressionParser
    ) throws(PolicyDocumentError) {
        guard ExpressionParser.isFree(name), parser.constants[name] == nil, parser.variables[name] == nil else {
            throw reader.failure("`\(name)` is no name (letters and digits), or is taken")
        }
    }

    private func stall(
        _ reader: PolicyReader, _ parser: ExpressionParser
    ) throws(PolicyDocumentError) -> StallDetector.Settings {
        var settings = StallDetector.Settings()
        for (key, value) in try reader.members(["margin", "window", "decay"]) {
            let number = try value.constant(parser)
            guard number >= 0, number.isFinite else { throw value.failure("less than nothing") }
            switch key {
            case "margin": settings.margin = number
            case "window": settings.windowMilliseconds = number
            default: settings.decay = number
            }
        }
        return settings
    }
}

/// Makes rules of their objects.
private struct RuleDecoder {
    let parser: ExpressionParser
    let deadlines: [String]
    let variables: [String]

    func rule(_ reader: PolicyReader) throws(PolicyDocumentError) -> ConvergencePolicy.Rule {
        _ = try reader.members(["name", "on", "when", "times", "last", "do", "steps"])
        let name = try reader.required("name").string()
        var rule = ConvergencePolicy.Rule(name: name, triggers: try triggers(try reader.required("on")))
        rule.condition = try reader["when"]?.expression(parser)
        rule.times = try reader["times"]?.positiveInteger()
        rule.isLast = try reader["last"]?.bool() ?? false
        if let steps = reader["steps"] {
            if let actions = reader["do"] { throw actions.failure("a rule has either `do` or `steps`") }
            for step in try steps.elements(atMost: 200) {
                _ = try step.members(["when", "do"])
                rule.steps.append(
                    .init(
                        condition: try step["when"]?.expression(parser),
                        actions: try actions(try step.required("do"))))
            }
            guard !rule.steps.isEmpty else { throw steps.failure("no steps") }
        } else {
            rule.actions = try actions(try reader.required("do"))
        }
        return rule
    }

    private func triggers(_ reader: PolicyReader) throws(PolicyDocumentError) -> [ConvergencePolicy.Trigger] {
        guard reader.value.array != nil else { return [try trigger(reader)] }
        var triggers: [ConvergencePolicy.Trigger] = []
        for element in try reader.elements(atMost: 20) { triggers.append(try trigger(element)) }
        return triggers
    }

    private func trigger(_ reader: PolicyReader) throws(PolicyDocumentError) -> ConvergencePolicy.Trigger {
        let text = try reader.string()
        switch text {
        case "start": return .start
        case "tick": return .tick
        case "iteration": return .iteration
        default: break
        }
        if text.hasPrefix("status:") {
            let word = StatusWord(rawValue: String(text.dropFirst(7)))
            guard !word.isUnknown, word != .none else { throw reader.failure("no QEMU says `\(word.rawValue)`") }
            return .status(word)
        }
        if text.hasPrefix("deadline:") {
            let name = String(text.dropFirst(9))
            return .deadline(try deadline(name, reader), name)
        }
        throw reader.failure("`\(text)` is none of start, tick, iteration, status:WORD, deadline:NAME")
    }

    private func deadline(_ name: String, _ reader: PolicyReader) throws(PolicyDocumentError) -> Int {
        guard let place = deadlines.firstIndex(of: name) else {
            throw reader.failure("`\(name)` is not among the deadlines")
        }
        return place
    }

    // MARK: Actions

    private func actions(_ reader: PolicyReader) throws(PolicyDocumentError) -> [ConvergencePolicy.Action] {
        var actions: [ConvergencePolicy.Action] = []
        for element in try reader.elements(atMost: 20) { actions += try self.action(element) }
        return actions
    }

    private static let words = [
        "set-downtime", "set-bandwidth", "set-throttle", "cancel", "note", "set", "arm", "disarm",
    ]

    private func action(_ reader: PolicyReader) throws(PolicyDocumentError) -> [ConvergencePolicy.Action] {
        switch reader.value.string {
        case "start-postcopy": return [.startPostcopy]
        case "pause-guest": return [.pauseGuest]
        case "hard-switchover": return [.hardSwitchover]
        case "observe-stall": return [.observeStall]
        case let word?:
            throw reader.failure(
                "`\(word)` is none of start-postcopy, pause-guest, hard-switchover, observe-stall, or needs a value")
        case nil: break
        }
        let members = try reader.members(Set(Self.words))
        guard members.count == 1, let (word, value) = members.first else {
            throw reader.failure("one action is wanted here: \(Self.words.joined(separator: ", "))")
        }
        switch word {
        case "set-downtime": return [.setDowntime(try value.expression(parser))]
        case "set-bandwidth": return [.setBandwidth(try value.expression(parser))]
        case "set-throttle": return [.setThrottle(try value.expression(parser))]
        case "cancel": return [.cancel(try value.string())]
        case "note": return [.note(try value.string())]
        case "disarm": return [.disarm(try deadline(try value.string(), value))]
        case "arm":
            var armed: [ConvergencePolicy.Action] = []
            for (name, time) in try value.members(nil) {
                armed.append(.arm(try deadline(name, time), try time.expression(parser)))
            }
            return armed
        default:
            var set: [ConvergencePolicy.Action] = []
            for (name, expression) in try value.members(nil) {
                guard let place = variables.firstIndex(of: name) else {
                    throw expression.failure("`\(name)` is not among the variables")
                }
                set.append(.set(place, try expression.expression(parser)))
            }
            return set
        }
    }
}
