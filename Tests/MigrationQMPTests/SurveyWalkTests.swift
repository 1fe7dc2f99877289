import JSONC
import Migration
import MigrationQMP
import Phases
import QMP
import Testing

/// Answers as a QEMU 7.2 gives them, by query; shortened to what tells something.
private struct Recorded {
    var answers: [SurveyWalk.Query: String] = [
        .machineType: #""pc-i440fx-7.2-machine""#,
        .children("/machine/peripheral"): """
        [{"name":"type","type":"string"},{"name":"disk0","type":"child<virtio-blk-pci>"},
         {"name":"net0","type":"child<virtio-net-pci>"}]
        """,
        .children("/machine/peripheral-anon"): #"[{"name":"type","type":"string"}]"#,
        .children("/machine/unattached"): """
        [{"name":"type","type":"string"},{"name":"device[0]","type":"child<qemu64-x86_64-cpu>"},
         {"name":"device[1]","type":"child<i440FX>"},{"name":"io[0]","type":"child<qemu:memory-region>"},
         {"name":"non-qdev-gpio[0]","type":"child<irq>"},{"name":"device[2]","type":"link<PIIX3>"}]
        """,
        .parts("/machine/unattached/device[1]"): """
        [{"name":"type","type":"string"},{"name":"rtc","type":"child<mc146818rtc>"},{"name":"dma[1]","type":"child<i8257>"},
         {"name":"dma[0]","type":"child<i8257>"},{"name":"mem[0]","type":"child<memory-region>"},
         {"name":"io[0]","type":"child<qemu:memory-region>"},{"name":"gpio[0]","type":"child<irq>"},
         {"name":"bus","type":"link<PCI>"}]
        """,
        .cpus: """
        [{"thread-id":77,"props":{"core-id":0,"thread-id":0,"socket-id":0},"qom-path":"/machine/unattached/device[0]",
          "cpu-index":0,"target":"x86_64"}]
        """,
        .cpuFeatures("/machine/unattached/device[0]"): """
        [{"cpuid-register":"ECX","cpuid-input-eax":7,"cpuid-input-ecx":0,"features":0},
         {"cpuid-register":"EDX","cpuid-input-eax":1,"features":126614525},
         {"cpuid-register":"EBX","cpuid-input-eax":7,"cpuid-input-ecx":0,"features":2}]
        """,
        .memory: #"{"base-memory":268435456,"plugged-memory":0}"#,
        .memoryBackends: #"[{"id":"mem0","size":268435456,"merge":true},{"size":1}]"#,
        .block: """
        [{"device":"","qdev":"/machine/peripheral/disk0/virtio-backend","removable":false,"type":"unknown",
          "inserted":{"node-name":"root","drv":"raw","ro":false,"image":{"virtual-size":1073741824,"filename":"/a"}}},
         {"device":"ide1-cd0","qdev":"/machine/unattached/device[23]","removable":true,"type":"unknown"},
         {"device":"floppy0","inserted":{"node-name":"#block123","drv":"raw","ro":true,"image":{"virtual-size":1474560}}}]
        """,
        .blockNodes: """
        [{"node-name":"root","drv":"raw","ro":false,"image":{"virtual-size":1073741824}},
         {"node-name":"spare","drv":"qcow2","ro":true,"image":{"virtual-size":10}},
         {"node-name":"#block123","drv":"raw","ro":true}]
        """,
        .name: #"{"name":"guest"}"#, .uuid: #"{"UUID":"00000000-0000-0000-0000-000000000000"}"#,
        .properties("/machine/peripheral/disk0"): """
        [{"name":"addr","type":"int32"},{"name":"drive","type":"str"},{"name":"realized","type":"bool"},
         {"name":"parent_bus","type":"link<bus>"}]
        """,
        .properties("/machine/peripheral/net0"): #"[{"name":"mac","type":"str"},{"name":"addr","type":"int32"}]"#,
        .property("/machine/peripheral/disk0", "addr"): #""04.0""#,
        .property("/machine/peripheral/disk0", "parent_bus"): #""/machine/i440fx/pci.0""#,
        .property("/machine/peripheral/net0", "addr"): #""05.0""#,
        .property("/machine/peripheral/net0", "mac"): #""52:54:00:12:34:56""#,
        .schema: """
        [{"name":"migrate-incoming","meta-type":"command","arg-type":"77","ret-type":"0"},
         {"name":"yank","meta-type":"command","arg-type":"78","ret-type":"0"},
         {"name":"77","meta-type":"object","members":[{"name":"uri","type":"str"},{"name":"exit-on-error","type":"bool"}]}]
        """,
    ]
    var refusals: Set<SurveyWalk.Query> = []
    var failures: Set<SurveyWalk.Query> = []

    /// Walks to the end, answering in the order that `pick` chooses.
    func walk(
        features: QEMUFeatures? = nil, pick: ([SurveyWalk.Query]) -> Int = { _ in 0 }
    ) throws -> (walk: SurveyWalk, asked: [SurveyWalk.Query]) {
        var walk = SurveyWalk(version: QEMUVersion(7, 2, 22), features: features, hasOutOfBand: true)
        var pending = walk.start()
        var asked: [SurveyWalk.Query] = []
        while !pending.isEmpty {
            let query = pending.remove(at: pick(pending))
            asked.append(query)
            if refusals.contains(query) {
                let error = QMPError.refused(query.request.name, errorClass: "GenericError", desc: "no")
                pending += walk.answered(query, .failure(error))
            } else if failures.contains(query) {
                pending += walk.answered(query, .failure(QMPError(.closed, "the connection ended")))
            } else {
                pending += try withView(answers[query] ?? "{}") { walk.answered(query, .success($0)) }
            }
        }
        return (walk, asked)
    }

    func survey() throws -> Survey { try #require(try walk().walk.outcome).get() }
}

@Suite struct SurveyWalkTests {
    @Test func everythingIsRead() throws {
        let (walk, asked) = try Recorded().walk()
        let survey = try #require(walk.outcome).get()
        #expect(Set(asked).count == asked.count)
        #expect(Set(asked) == Set(Recorded().answers.keys))
        let machine = survey.description
        #expect(machine.version == QEMUVersion(7, 2, 22))
        #expect(machine.machineType == "pc-i440fx-7.2")
        #expect(machine.name == "guest")
        #expect(machine.uuid == nil, "all zeros is none")
        #expect(machine.memoryBytes == 256 << 20)
        #expect(machine.cpuModel == "qemu64-x86_64-cpu")
        #expect(machine.cpuFeatures == "1.EDX=78bfbfd 7.0.EBX=2")
        #expect(machine.cpus == ["core-id 0, socket-id 0, thread-id 0 at /machine/unattached/device[0]"])
        #expect(
            machine.devices == [
                .init(
                    path: "/machine/peripheral/disk0", type: "virtio-blk-pci",
                    properties: [
                        Setting("addr", .string("04.0")), Setting("parent_bus", .string("/machine/i440fx/pci.0")),
                    ]),
                .init(
                    path: "/machine/peripheral/net0", type: "virtio-net-pci",
                    properties: [Setting("addr", .string("05.0")), Setting("mac", .string("52:54:00:12:34:56"))]),
                .init(path: "/machine/unattached/device[1]", type: "i440FX", properties: []),
            ])
        #expect(
            machine.blockNodes == [
                .init(name: "floppy0", driver: "raw", bytes: 1_474_560, isReadOnly: true, node: "#block123"),
                .init(
                    name: "root (/machine/peripheral/disk0)", driver: "raw", bytes: 1 << 30, isReadOnly: false,
                    node: "root"),
                .init(name: "spare", driver: "node", bytes: 10, isReadOnly: true),
            ])
        #expect(machine.memoryBackends == [.init(id: "mem0", bytes: 256 << 20)])
        #expect(machine.boardParts == ["i8257", "i8257", "mc146818rtc"])
        #expect(survey.features == QEMUFeatures(hasExitOnError: true, hasYank: true, hasOutOfBand: true))
        #expect(walk.learnedFeatures == survey.features)
    }

    @Test func theOrderOfTheAnswersDoesNotMatter() throws {
        let straight = try Recorded().survey()
        let backwards = try #require(try Recorded().walk(pick: { $0.count - 1 }).walk.outcome).get()
        let middle = try #require(try Recorded().walk(pick: { $0.count / 2 }).walk.outcome).get()
        #expect(straight == backwards)
        #expect(straight == middle)
    }

    @Test func theLargeReplyIsAskedForLastAndOnlyIfNeeded() throws {
        var walk = SurveyWalk(version: QEMUVersion(7, 2), features: nil, hasOutOfBand: false)
        #expect(walk.start().last == .schema)
        let (other, asked) = try Recorded().walk(features: QEMUFeatures(hasExitOnError: false, hasYank: true))
        #expect(!asked.contains(.schema))
        #expect(try #require(other.outcome).get().features == QEMUFeatures(hasYank: true, hasOutOfBand: true))
        #expect(other.learnedFeatures == nil)
    }

    @Test func thereIsNoOutcomeBeforeTheLastAnswer() throws {
        var walk = SurveyWalk(version: QEMUVersion(7, 2), features: QEMUFeatures(), hasOutOfBand: false)
        _ = walk.start()
        #expect(walk.outcome == nil)
        _ = try withView(#""q35-machine""#) { walk.answered(.machineType, .success($0)) }
        #expect(walk.outcome == nil)
    }

    /// What an older QEMU lacks makes a smaller description; what every QEMU has is required.
    @Test func everyQueryRefused() throws {
        var required: Set<String> = []
        for query in Recorded().answers.keys {
            var recorded = Recorded()
            recorded.refusals = [query]
            if case .failure(let error) = try #require(try recorded.walk().walk.outcome) {
                required.insert(query.request.name)
                #expect(error.description.contains(query.request.name), "\(error)")
            }
        }
        #expect(
            required == [
                "qom-get", "qom-list", "query-cpus-fast", "query-block", "query-memory-size-summary",
                "query-qmp-schema",
            ])
    }

    @Test func everyQueryCutOff() throws {
        for query in Recorded().answers.keys {
            var recorded = Recorded()
            recorded.failures = [query]
            let outcome = try #require(try recorded.walk().walk.outcome)
            #expect(throws: SurveyError.self, "\(query)") { try outcome.get() }
        }
    }

    /// Rubbish in place of each answer: an outcome, and no trap.
    @Test(arguments: ["[]", "{}", #""x""#, "[[],{},null,1]", #"[{"name":"a","type":"child<"},{"inserted":{}}]"#])
    func rubbish(text: String) throws {
        for query in Recorded().answers.keys {
            var recorded = Recorded()
            recorded.answers[query] = text
            let outcome = try #require(try recorded.walk().walk.outcome)
            switch query {
            case .memory: #expect(throws: SurveyError.self) { try outcome.get() }
            case .machineType where text != #""x""#: #expect(throws: SurveyError.self) { try outcome.get() }
            default: _ = try outcome.get()
            }
        }
    }

    @Test func aTwinIsTheSameMachine() throws {
        let source = try Recorded().survey().description
        var other = Recorded()
        #expect(source.differences(from: try other.survey().description).isEmpty)
        other.answers[.property("/machine/peripheral/disk0", "addr")] = #""07.0""#
        #expect(
            source.differences(from: try other.survey().description).map(\.subject) == [
                "device /machine/peripheral/disk0"
            ])
    }
}
