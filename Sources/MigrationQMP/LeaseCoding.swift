public import JSONC
public import Phases

extension LeaseAction {
    /// The value of a `lease` record: what a lock manager is asked.
    public var json: JSONValue {
        switch self {
        case .inquire: ["do": "inquire"]
        case .release: ["do": "release"]
        case .acquire(let state):
            if let state { ["do": "acquire", "lease": state.json] } else { ["do": "acquire"] }
        }
    }
}

extension LeaseResult {
    /// The value of a `lease` record: what a lock manager answers.
    public var json: JSONValue {
        switch self {
        case .inquired(let state): ["inquired": state.json]
        case .released(let state): ["released": state.json]
        case .acquired: ["acquired": true]
        case .refused(let why): ["refused": .string(why)]
        }
    }

    /// An answer from the value of a `lease` record; `nil` for one that asks.
    ///
    /// - Throws: `DocumentError` if it is neither.
    public init?(json: JSONValue) throws(DocumentError) {
        if json["do"] != nil { return nil }
        if let state = json["inquired"] {
            self = .inquired(try LeaseState(json: state, path: "lease.inquired"))
        } else if let state = json["released"] {
            self = .released(try LeaseState(json: state, path: "lease.released"))
        } else if json["acquired"]?.bool == true {
            self = .acquired
        } else if let why = json["refused"]?.string {
            self = .refused(why)
        } else {
            throw DocumentError("lease: neither a question nor an answer: \(json.text().prefix(80))")
        }
    }
}
