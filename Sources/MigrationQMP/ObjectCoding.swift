import JSONC
import Migration

extension QEMUObject {
    /// QEMU's name of the type.
    var type: String {
        switch kind {
        case .x509: "tls-creds-x509"
        case .psk: "tls-creds-psk"
        case .allowed: "authz-list"
        case .other(let type): type
        }
    }

    /// The properties that it is made with.
    var properties: JSONObject {
        switch kind {
        case .x509(let directory, let isServer):
            ["dir": .string(directory), "endpoint": Self.endpoint(isServer), "verify-peer": true]
        case .psk(let directory, let isServer):
            ["dir": .string(directory), "endpoint": Self.endpoint(isServer)]
        case .allowed(let names):
            [
                "policy": "deny",
                "rules": .array(
                    names.map { name in
                        [
                            "match": .string(name), "policy": "allow",
                            "format": .string(name.contains("*") ? "glob" : "exact"),
                        ]
                    }),
            ]
        case .other: [:]
        }
    }

    private static func endpoint(_ isServer: Bool) -> JSONValue { isServer ? "server" : "client" }

    /// An object from the arguments of `object-add`.
    init(arguments: JSONValue?) {
        let properties = arguments?["props"] ?? arguments
        let directory = properties?["dir"]?.string ?? ""
        let isServer = properties?["endpoint"]?.string == "server"
        let type = arguments?["qom-type"]?.string ?? ""
        let kind: Kind =
            switch type {
            case "tls-creds-x509": .x509(directory: directory, isServer: isServer)
            case "tls-creds-psk": .psk(directory: directory, isServer: isServer)
            case "authz-list": .allowed((properties?["rules"]?.array ?? []).compactMap { $0["match"]?.string })
            default: .other(type: type)
            }
        self.init(id: arguments?["id"]?.string ?? "", kind)
    }
}
