import JSONC
import QMP
import Testing

private func arguments(_ command: some QMPCommand) -> String? {
    QMPRequest(command).arguments.map { String(decoding: $0, as: UTF8.self) }
}

private func decode<C: QMPCommand>(_ command: C.Type, _ text: String) throws -> C.Reply {
    let document = try JSONDocument(parsing: text)
    return try document.withRoot { view throws(QMPError) in try C.decodeReply(view) }
}

@Suite struct QMPCommandTests {
    @Test(
        arguments: [
            (QMPCapabilities(), nil),
            (QMPCapabilities(enable: ["oob"]), #"{"enable":["oob"]}"#),
            (QueryStatus(), nil),
            (MigrateSetCapabilities([]), #"{"capabilities":[]}"#),
            (
                MigrateSetCapabilities([MigrationCapability("events", true), MigrationCapability("xbzrle", false)]),
                #"{"capabilities":[{"capability":"events","state":true},{"capability":"xbzrle","state":false}]}"#
            ),
            (
                MigrateSetParameters(["max-bandwidth": .unsigned(.max), "tls-creds": ""]),
                #"{"max-bandwidth":18446744073709551615,"tls-creds":""}"#
            ),
            (MigrateIncoming(uri: "tcp:[::]:0"), #"{"uri":"tcp:[::]:0"}"#),
            (MigrateIncoming(uri: "unix:/a", exitOnError: false), #"{"uri":"unix:/a","exit-on-error":false}"#),
            (Migrate(uri: "exec:cat >\"x\""), #"{"uri":"exec:cat >\"x\""}"#),
            (Migrate(uri: "unix:/a", resume: true), #"{"uri":"unix:/a","resume":true}"#),
            (MigrateContinue(), #"{"state":"pre-switchover"}"#),
            (MigrateRecover(uri: "unix:/a"), #"{"uri":"unix:/a"}"#),
            (
                Yank([.migration, .blockNode("n"), .chardev("c"), .other("new")]),
                #"{"instances":[{"type":"migration"},{"type":"block-node","node-name":"n"},"#
                    + #"{"type":"chardev","id":"c"},{"type":"new"}]}"#
            ),
            (QueryNamedBlockNodes(), nil),
            (QueryNamedBlockNodes(flat: true), #"{"flat":true}"#),
            (QueryRxFilter(name: "net0"), #"{"name":"net0"}"#),
            (QOMList(path: "/machine"), #"{"path":"/machine"}"#),
            (QOMGet(path: "/machine", property: "type"), #"{"path":"/machine","property":"type"}"#),
            (HumanMonitorCommand("info qtree"), #"{"command-line":"info qtree"}"#),
            (GetFD(fdname: "f"), #"{"fdname":"f"}"#),
            (CloseFD(fdname: "f"), #"{"fdname":"f"}"#),
            (AddFD(), nil),
            (AddFD(fdsetID: 1, opaque: "o"), #"{"fdset-id":1,"opaque":"o"}"#),
            (RemoveFD(fdsetID: 1), #"{"fdset-id":1}"#),
            (RemoveFD(fdsetID: 1, fd: 2), #"{"fdset-id":1,"fd":2}"#),
        ] as [(any QMPCommand, String?)])
    func argumentsOnTheWire(_ command: any QMPCommand, _ expected: String?) {
        #expect(arguments(command) == expected)
    }

    @Test func outOfBandIsForTheFourThatQEMUAllows() {
        let commands: [any QMPCommand.Type] = [
            QMPCapabilities.self, QueryVersion.self, QueryCommands.self, QueryQMPSchema.self, HumanMonitorCommand.self,
            Quit.self, QueryStatus.self, Cont.self, Stop.self, QueryMigrate.self, QueryMigrateCapabilities.self,
            MigrateSetCapabilities.self, QueryMigrateParameters.self, MigrateSetParameters.self, MigrateIncoming.self,
            Migrate.self, MigrateContinue.self, MigrateCancel.self, MigrateStartPostcopy.self, MigratePause.self,
            MigrateRecover.self, QueryYank.self, Yank.self, QueryName.self, QueryUUID.self, QueryTarget.self,
            QueryKVM.self, QueryMemorySizeSummary.self, QueryMemdev.self, QueryMemoryDevices.self, QueryCPUsFast.self,
            QueryHotpluggableCPUs.self, QueryBlock.self, QueryNamedBlockNodes.self, QueryPCI.self, QueryChardev.self,
            QueryRxFilter.self, QOMList.self, QOMGet.self, GetFD.self, CloseFD.self, AddFD.self, RemoveFD.self,
            QueryFDSets.self,
        ]
        #expect(
            commands.filter { $0.allowsOutOfBand }.map { $0.name }
                == ["migrate-pause", "migrate-recover", "query-yank", "yank"])
        #expect(Set(commands.map { $0.name }).count == commands.count)
        // QEMU's two with underscores.
        #expect(commands.map { $0.name }.filter { $0.contains("_") } == ["qmp_capabilities", "migrate_cancel"])
    }

    @Test func replies() throws {
        let running = RunState(status: "running", running: true)
        #expect(try decode(QueryStatus.self, #"{"status":"running","singlestep":false,"running":true}"#) == running)
        #expect(
            try decode(QueryVersion.self, #"{"qemu":{"micro":22,"minor":2,"major":7},"package":"x"}"#)
                == QMPGreeting(major: 7, minor: 2, micro: 22, package: "x"))
        #expect(try decode(QueryCommands.self, #"[{"name":"a"},{"name":"b"}]"#) == ["a", "b"])
        #expect(
            try decode(QueryYank.self, #"[{"type":"migration"},{"type":"chardev","id":"c"},{"type":"new","x":1}]"#)
                == [.migration, .chardev("c"), .other("new")])
        #expect(try decode(QueryName.self, "{}") == nil)
        #expect(
            try decode(QueryMemorySizeSummary.self, #"{"base-memory":134217728}"#)
                == MemorySizeSummary(baseMemory: 134_217_728))
        #expect(try decode(QOMGet.self, "[1]") == [1])
        #expect(
            try decode(QueryFDSets.self, #"[{"fds":[{"fd":9}],"fdset-id":1}]"#)
                == [FDSet(fdsetID: 1, fds: [FDSet.Member(fd: 9)])])
        #expect(try decode(AddFD.self, #"{"fd":9,"fdset-id":1}"#) == AddedFD(fdsetID: 1, fd: 9))
        try decode(Cont.self, "{}")
        try decode(Cont.self, "5")
    }

    @Test(arguments: ["{}", "[]", "null", "5", "\"x\"", #"[5]"#, #"{"status":5,"running":true}"#, #"[{"type":5}]"#])
    func repliesThatLackWhatTheyPromise(_ text: String) throws {
        let commands: [(any QMPCommand.Type, Bool)] = [
            (QueryStatus.self, false), (QueryVersion.self, false), (QueryUUID.self, false), (QueryKVM.self, false),
            (QueryTarget.self, false), (AddFD.self, false), (QueryMemorySizeSummary.self, false),
            (QueryCommands.self, text == "[]"), (QueryYank.self, text == "[]"), (QOMList.self, text == "[]"),
            (QueryFDSets.self, text == "[]"), (QueryMigrateCapabilities.self, text == "[]"),
            (QueryMigrate.self, text.hasPrefix("{")), (QueryMigrateParameters.self, text.hasPrefix("{")),
            (HumanMonitorCommand.self, text.hasPrefix("\"")),
        ]
        for (command, isFine) in commands {
            do {
                _ = try decode(command, text)
                #expect(isFine, "\(command.name)")
            } catch let error as QMPError {
                #expect(!isFine, "\(command.name)")
                #expect(error.code == .invalidReply)
                #expect(error.message.hasPrefix(command.name))
            }
        }
    }
}

@Suite struct MigrationInfoTests {
    @Test func aSourceAtWork() throws {
        let info = try decode(
            QueryMigrate.self,
            """
            {"expected-downtime": 300, "status": "active", "setup-time": 1, "total-time": 1022.0,
             "ram": {"total": 135.0e6, "postcopy-requests": 0, "dirty-sync-count": 1, "multifd-bytes": 0,
              "pages-per-second": 18446744073709551615, "downtime-bytes": 0, "page-size": 4096, "remaining": 1007616,
              "postcopy-bytes": 0, "mbps": 268.63999999999999, "transferred": 34347, "dirty-sync-missed-zero-copy": 0,
              "precopy-bytes": 34347, "duplicate": 32, "dirty-pages-rate": 0, "normal-bytes": 1, "normal": 2},
             "cpu-throttle-percentage": 20, "x-new": [1]}
            """)
        #expect(info.status == "active")
        #expect(info.expectedDowntime == 300)
        #expect(info.totalTime == 1022)
        #expect(info.setupTime == 1)
        #expect(info.downtime == nil)
        #expect(info.cpuThrottlePercentage == 20)
        #expect(info.ram?.total == 135_000_000)
        #expect(info.ram?.mbps == 268.64)
        #expect(info.ram?.remaining == 1_007_616)
        #expect(info.ram?.pagesPerSecond == .max)
        #expect(info.ram?.precopyBytes == 34_347)
    }

    @Test func aDestinationThatListens() throws {
        let info = try decode(
            QueryMigrate.self,
            """
            {"socket-address": [{"port": "44321", "ipv4": true, "host": "0.0.0.0", "type": "inet"},
             {"path": "/tmp/m", "type": "unix"}, {"type": "vsock", "cid": "2", "port": 7}, {"host": "no type"}, 5],
             "blocked-reasons": ["a", 5, "b"]}
            """)
        #expect(info.status == nil)
        #expect(info.ram == nil)
        #expect(info.blockedReasons == ["a", "b"])
        #expect(
            info.socketAddresses == [
                MigrationInfo.SocketAddress(type: "inet", host: "0.0.0.0", port: "44321"),
                MigrationInfo.SocketAddress(type: "unix", path: "/tmp/m"),
                MigrationInfo.SocketAddress(type: "vsock", host: "2", port: "7"),
            ])
    }

    @Test(arguments: [
        ("{}", nil), (#"{"expected-downtime": 9223372036854775807}"#, nil), (#"{"expected-downtime": 1e300}"#, nil),
        (#"{"expected-downtime": "soon"}"#, nil), (#"{"expected-downtime": -5}"#, -5),
        (#"{"expected-downtime": 2.6}"#, 3), (#"{"expected-downtime": 18446744073709551615}"#, nil),
        (#"{"ram": 5, "expected-downtime": 7, "socket-address": {}, "blocked-reasons": "x"}"#, 7),
    ])
    func absurdNumbers(_ text: String, _ expected: Int64?) throws {
        #expect(try decode(QueryMigrate.self, text).expectedDowntime == expected)
    }
}
