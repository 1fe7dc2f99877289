import Migration
import Phases
import Testing

/// A machine with everything in it that a description tells of.
let describedMachine: DomainDescription = {
    var machine = DomainDescription(
        version: QEMUVersion(7, 2, 22), machineType: "pc-i440fx-7.2", memoryBytes: 256 << 20,
        cpuModel: "qemu64-x86_64-cpu")
    machine.uuid = "8c0d4a0b-1111-2222-3333-444455556666"
    machine.cpuFeatures = "1.EDX=783fbfd"
    machine.cpus = ["core-id 0, socket-id 0, thread-id 0 at /machine/unattached/device[0]"]
    machine.devices = [
        .init(
            path: "/machine/peripheral/disk0", type: "virtio-blk-pci",
            properties: [Setting("addr", .string("04.0")), Setting("bus", .string("pci.0"))]),
        .init(
            path: "/machine/peripheral/net0", type: "virtio-net-pci",
            properties: [Setting("addr", .string("05.0")), Setting("mac", .string("52:54:00:12:34:56"))]),
        .init(
            path: "/machine/peripheral/net1", type: "virtio-net-pci",
            properties: [Setting("addr", .string("06.0")), Setting("mac", .string("52:54:00:12:34:57"))]),
        .init(path: "/machine/unattached/device[1]", type: "i440FX", properties: []),
        .init(path: "/machine/unattached/device[2]", type: "PIIX3", properties: []),
        .init(path: "/machine/unattached/device[3]", type: "isa-fdc", properties: []),
        .init(path: "/machine/unattached/device[4]", type: "VGA", properties: []),
    ]
    machine.blockNodes = [
        .init(name: "root (disk0)", driver: "raw", bytes: 1 << 30, isReadOnly: false),
        .init(name: "cd (ide0)", driver: "raw", bytes: 300 << 20, isReadOnly: true),
    ]
    machine.memoryBackends = [.init(id: "mem0", bytes: 256 << 20)]
    machine.boardParts = ["mc146818rtc"]
    return machine
}()

@Suite struct DomainDescriptionTests {
    private typealias Change = @Sendable (inout DomainDescription) -> Void

    /// One difference each, in the destination, and what the one report has to say.
    private static let differences: [(name: String, says: [String], change: Change)] = [
        (
            "version of the machine type", ["machine type", "pc-i440fx-7.2", "pc-i440fx-7.1"],
            { $0.machineType = "pc-i440fx-7.1" }
        ),
        ("memory", ["memory", "256 MiB", "512 MiB"], { $0.memoryBytes = 512 << 20 }),
        ("memory by a byte", ["memory", "268435457 bytes"], { $0.memoryBytes += 1 }),
        ("hot-plugged memory", ["hot-plugged memory", "1024 MiB"], { $0.pluggedMemoryBytes = 1 << 30 }),
        ("CPU model", ["CPU model", "host-x86_64-cpu"], { $0.cpuModel = "host-x86_64-cpu" }),
        (
            "CPU model and features", ["CPU model"],
            {
                $0.cpuModel = "host-x86_64-cpu"
                $0.cpuFeatures = "1.EDX=1"
            }
        ),
        ("CPU features", ["CPU features", "1.EDX=783fbff"], { $0.cpuFeatures = "1.EDX=783fbff" }),
        (
            "topology", ["CPUs", "core-id 1"],
            { $0.cpus.append("core-id 1, socket-id 0, thread-id 0 at /machine/unattached/device[9]") }
        ),
        ("uuid", ["UUID", "8c0d4a0b", "deadbeef"], { $0.uuid = "deadbeef-1111-2222-3333-444455556666" }),
        ("missing device", ["/machine/peripheral/disk0", "the destination has none"], { $0.devices.remove(at: 0) }),
        (
            "missing one of two alike", ["/machine/peripheral/net1", "the destination has none"],
            { $0.devices.remove(at: 2) }
        ),
        (
            "extra device", ["/machine/peripheral/x", "usb-tablet", "the source has none"],
            { $0.devices.append(.init(path: "/machine/peripheral/x", type: "usb-tablet", properties: [])) }
        ),
        (
            "missing board device, the others renumbered", ["isa-fdc", "the destination has none"],
            {
                $0.devices.remove(at: 5)
                $0.devices[5].path = "/machine/unattached/device[3]"
            }
        ),
        (
            "extra board device in the midst", ["isa-parallel", "the source has none"],
            {
                $0.devices[5].path = "/machine/unattached/device[4]"
                $0.devices[6].path = "/machine/unattached/device[5]"
                $0.devices.insert(
                    .init(path: "/machine/unattached/device[3]", type: "isa-parallel", properties: []), at: 5)
            }
        ),
        (
            "bus address", ["/machine/peripheral/disk0", "addr 04.0", "addr 07.0"],
            { $0.devices[0].properties[0] = Setting("addr", .string("07.0")) }
        ),
        (
            "MAC of one of two", ["/machine/peripheral/net1", "52:54:00:12:34:57", "52:54:00:12:34:99"],
            { $0.devices[2].properties[1] = Setting("mac", .string("52:54:00:12:34:99")) }
        ),
        (
            "type in the same place", ["/machine/peripheral/disk0", "virtio-blk-pci", "virtio-scsi-pci"],
            { $0.devices[0].type = "virtio-scsi-pci" }
        ),
        (
            "missing block node", ["block node root (disk0)", "the destination has none"],
            { $0.blockNodes.remove(at: 0) }
        ),
        ("block size", ["block node root (disk0)", "1024 MiB", "2048 MiB"], { $0.blockNodes[0].bytes = 2 << 30 }),
        ("block driver", ["block node root (disk0)", "qcow2"], { $0.blockNodes[0].driver = "qcow2" }),
        ("block read-only", ["block node root (disk0)", "read-only"], { $0.blockNodes[0].isReadOnly = true }),
        ("memory backend size", ["memory backend mem0", "512 MiB"], { $0.memoryBackends[0].bytes = 512 << 20 }),
        (
            "a user's device that is a part of a built-in one there", ["net1", "the destination has none"],
            {
                $0.devices.remove(at: 2)
                $0.boardParts.append("virtio-net-pci")
            }
        ),
        (
            "more built-in devices than parts", ["device[9]", "the source has none"],
            {
                for index in 8...9 {
                    $0.devices.append(
                        .init(path: "/machine/unattached/device[\(index)]", type: "mc146818rtc", properties: []))
                }
            }
        ),
        ("missing memory backend", ["memory backend mem0", "the destination has none"], { $0.memoryBackends = [] }),
    ]

    @Test func equalPairsPass() {
        #expect(describedMachine.differences(from: describedMachine).isEmpty)
        let empty = DomainDescription(version: QEMUVersion(7, 2), machineType: "none", memoryBytes: 0, cpuModel: "")
        #expect(empty.differences(from: empty).isEmpty)
    }

    @Test(arguments: differences.map(\.name)) func eachDifferenceIsToldOnceByName(name: String) throws {
        let row = try #require(Self.differences.first { $0.name == name })
        var destination = describedMachine
        row.change(&destination)
        let found = describedMachine.differences(from: destination)
        #expect(found.count == 1, "\(found)")
        for part in row.says { #expect(found.first?.description.contains(part) == true, "\(found)") }
    }

    /// Two differences are two reports, whichever they are.
    @Test func differencesDoNotHideEachOther() {
        let memory = "memory"
        for row in Self.differences where !row.name.contains(memory) {
            var destination = describedMachine
            row.change(&destination)
            destination.memoryBytes = 1 << 30
            #expect(describedMachine.differences(from: destination).count == 2, "\(row.name)")
        }
    }

    private static let harmless: [(name: String, change: Change)] = [
        ("version of QEMU", { $0.version = QEMUVersion(10, 0) }), ("name", { $0.name = "other" }),
        ("no uuid", { $0.uuid = nil }), ("run state", { $0.runState = .inMigrate }),
        ("command line", { $0.commandLine = ["qemu", "-incoming", "defer"] }),
        ("no CPU features told", { $0.cpuFeatures = nil }),
        ("id of a device", { $0.devices[1].path = "/machine/peripheral/nic" }),
        ("ids exchanged", { $0.devices.swapAt(1, 2) }),
        (
            "ids of both",
            {
                $0.devices[1].path = "/machine/peripheral/net1"
                $0.devices[2].path = "/machine/peripheral/net0"
            }
        ),
        (
            "board numbers",
            { for index in 3..<7 { $0.devices[index].path = "/machine/unattached/device[\(index + 20)]" } }
        ),
        (
            "a built-in device that is a part of another one there",
            {
                $0.devices.removeAll { $0.type == "isa-fdc" }
                $0.boardParts = ["i8257", "isa-fdc"]
            }
        ),
        (
            "a built-in device beside others there, and a part of one here",
            { $0.devices.append(.init(path: "/machine/unattached/device[9]", type: "mc146818rtc", properties: [])) }
        ),
        (
            "an unused medium more",
            { $0.blockNodes.append(.init(name: "spare", driver: "raw", bytes: 1, isReadOnly: false)) }
        ),
        ("an unused backend more", { $0.memoryBackends.append(.init(id: "mem9", bytes: 1)) }),
    ]

    @Test(arguments: harmless.map(\.name)) func whatTheStreamDoesNotCarryMayDiffer(name: String) throws {
        let row = try #require(Self.harmless.first { $0.name == name })
        var destination = describedMachine
        row.change(&destination)
        #expect(describedMachine.differences(from: destination).isEmpty)
    }

    /// Odd descriptions of a peer are compared and never trap.
    @Test func doubledEntriesAreCompared() {
        var odd = describedMachine
        odd.devices += odd.devices
        odd.blockNodes += odd.blockNodes
        odd.memoryBackends += odd.memoryBackends
        #expect(odd.differences(from: odd).isEmpty)
        #expect(odd.differences(from: describedMachine).count == describedMachine.devices.count)
    }
}
