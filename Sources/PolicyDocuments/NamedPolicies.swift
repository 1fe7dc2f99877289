public import Policy

/// The policies that come with the program, as the documents that they are.
public enum NamedPolicies {
    /// A document.
    public struct Document: Sendable {
        /// The policy's name.
        public let name: String
        /// The JSON text.
        public let bytes: [UInt8]

        /// The policy in it.
        public func policy() throws(PolicyDocumentError) -> ConvergencePolicy {
            try ConvergencePolicy(document: bytes, file: "\(name).json")
        }
    }

    /// All of them; the project's own first.
    public static let all: [Document] = [
        Document(name: "godwit", bytes: PackageResources.godwit_json),
        Document(name: "none", bytes: PackageResources.none_json),
        Document(name: "nova", bytes: PackageResources.nova_json),
        Document(name: "kubevirt-legacy", bytes: PackageResources.kubevirt_legacy_json),
        Document(name: "kubevirt-stall", bytes: PackageResources.kubevirt_stall_json),
        Document(name: "ovirt-minimal-downtime", bytes: PackageResources.ovirt_minimal_downtime_json),
        Document(name: "ovirt-suspend-workload", bytes: PackageResources.ovirt_suspend_workload_json),
        Document(name: "ovirt-postcopy", bytes: PackageResources.ovirt_postcopy_json),
        Document(name: "ovirt-very-large", bytes: PackageResources.ovirt_very_large_json),
        Document(name: "proxmox", bytes: PackageResources.proxmox_json),
        Document(name: "virsh-timeout-suspend", bytes: PackageResources.virsh_timeout_suspend_json),
        Document(name: "virsh-timeout-postcopy", bytes: PackageResources.virsh_timeout_postcopy_json),
        Document(name: "virsh-postcopy-after-precopy", bytes: PackageResources.virsh_postcopy_after_precopy_json),
        Document(name: "ganeti", bytes: PackageResources.ganeti_json),
    ]

    /// The document of a name.
    public static func document(_ name: String) -> Document? { all.first { $0.name == name } }
}
