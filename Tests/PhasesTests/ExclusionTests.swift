import Migration
import Phases
import Testing

private func wish(_ flags: MigrationFlags, _ change: (inout MigrationWish) -> Void = { _ in }) -> MigrationWish {
    var wish = MigrationWish(flags: flags)
    change(&wish)
    return wish
}

/// For each rule a wish that breaks it and no other, and the same without what is wrong with it.
private let table: [(rule: String, broken: MigrationWish, whole: MigrationWish)] = [
    (
        "tls-nameless-name", wish([.live, .tls]) { $0.transport = .fd },
        wish([.live, .tls]) {
            $0.transport = .fd
            $0.isKeyShared = true
        }
    ),
    (
        "tls-key-name",
        wish([.live, .tls]) {
            $0.isKeyShared = true
            $0.parameters = [.tlsDestination]
        }, wish([.live, .tls]) { $0.parameters = [.tlsDestination] }
    ),
    (
        "tls-key-authorisation",
        wish([.live, .tls]) {
            $0.isKeyShared = true
            $0.hasAllowedNames = true
        }, wish([.live, .tls]) { $0.hasAllowedNames = true }
    ),
    ("disk-twice", wish([.live, .nonSharedDisk, .nonSharedIncremental]), wish([.live, .nonSharedDisk])),
    (
        "sync-writes-alone", wish([.live, .synchronousWrites]),
        wish([.live, .synchronousWrites, .nonSharedIncremental])
    ),
    (
        "disks-alone", wish(.live) { $0.parameters = [.migrateDisks] },
        wish([.live, .nonSharedDisk]) { $0.parameters = [.migrateDisks] }
    ),
    (
        "disks-port-and-uri", wish(.live) { $0.parameters = [.disksPort, .disksURI] },
        wish(.live) { $0.parameters = [.disksURI] }
    ),
    ("tunnel-peer-to-peer", wish([.live, .tunnelled]), wish([.live, .tunnelled, .peerToPeer])),
    (
        "tunnel-parallel", wish([.live, .tunnelled, .peerToPeer, .parallel]), wish([.live, .peerToPeer, .parallel])
    ),
    (
        "tunnel-postcopy", wish([.live, .tunnelled, .peerToPeer, .postcopy]), wish([.live, .peerToPeer, .postcopy])
    ),
    (
        "tunnel-disks", wish([.live, .tunnelled, .peerToPeer, .nonSharedIncremental]),
        wish([.live, .peerToPeer, .nonSharedIncremental])
    ),
    (
        "tunnel-uri", wish([.live, .tunnelled, .peerToPeer]) { $0.parameters = [.migrateURI] },
        wish([.live, .peerToPeer]) { $0.parameters = [.migrateURI] }
    ),
    (
        "tunnel-listen", wish([.live, .tunnelled, .peerToPeer]) { $0.parameters = [.listenAddress] },
        wish([.live, .peerToPeer]) { $0.parameters = [.listenAddress] }
    ),
    (
        "tunnel-disks-port", wish([.live, .tunnelled, .peerToPeer]) { $0.parameters = [.disksPort] },
        wish([.live, .peerToPeer]) { $0.parameters = [.disksPort] }
    ),
    ("postcopy-live", wish(.postcopy), wish([.postcopy, .live])),
    ("postcopy-paused", wish([.live, .postcopy, .paused]), wish([.live, .paused])),
    (
        "postcopy-one-way", wish([.live, .postcopy]) { $0.transport = .oneWay },
        wish([.live, .postcopy]) { $0.transport = .vsock }
    ),
    (
        "resume-postcopy", wish([.live, .postcopyResume, .changeProtection]),
        wish([.live, .postcopy, .postcopyResume, .changeProtection])
    ),
    (
        "resume-protection", wish([.live, .postcopy, .postcopyResume]),
        wish([.live, .postcopy, .postcopyResume, .peerToPeer])
    ),
    (
        "offline-live", wish([.offline, .persistDestination, .live]), wish([.offline, .persistDestination])
    ),
    (
        "offline-disks", wish([.offline, .persistDestination, .nonSharedDisk]), wish([.live, .nonSharedDisk])
    ),
    (
        "offline-tunnel", wish([.offline, .persistDestination, .tunnelled, .peerToPeer]),
        wish([.offline, .persistDestination, .peerToPeer])
    ),
    ("offline-persist", wish(.offline), wish([.offline, .persistDestination])),
    ("zero-copy-parallel", wish([.live, .zeroCopy]), wish([.live, .zeroCopy, .parallel])),
    ("zero-copy-tls", wish([.live, .zeroCopy, .parallel, .tls]), wish([.live, .parallel, .tls])),
    (
        "zero-copy-compression", wish([.live, .zeroCopy, .parallel, .compressed]),
        wish([.live, .parallel, .compressed])
    ),
    (
        "compression-tuning", wish([.live, .compressed]) { $0.parameters = [.compressionXBZRLECache] },
        wish([.live, .compressed]) {
            $0.parameters = [.compressionXBZRLECache]
            $0.compression = [.xbzrle]
        }
    ),
    (
        "compression-one-connection", wish([.live, .parallel]) { $0.compression = [.mt] },
        wish(.live) { $0.compression = [.mt] }
    ),
    (
        "compression-parallel", wish(.live) { $0.compression = [.zstd] },
        wish([.live, .parallel]) { $0.compression = [.zstd] }
    ),
    (
        "auto-converge-tuning", wish(.live) { $0.parameters = [.autoConvergeIncrement] },
        wish([.live, .autoConverge]) { $0.parameters = [.autoConvergeIncrement] }
    ),
    (
        "connections-parallel", wish(.live) { $0.parameters = [.parallelConnections] },
        wish([.live, .parallel]) { $0.parameters = [.parallelConnections] }
    ),
    (
        "preempt-postcopy", wish(.live) { $0.isPreempting = true },
        wish([.live, .postcopy]) { $0.isPreempting = true }
    ),
    (
        "preempt-address",
        wish([.live, .postcopy]) {
            $0.isPreempting = true
            $0.transport = .fd
        }, wish([.live, .postcopy]) { $0.isPreempting = true }
    ),
    ("parallel-address", wish([.live, .parallel]) { $0.transport = .fd }, wish([.live, .parallel])),
    (
        "tls-disks-unix", wish([.live, .tls, .nonSharedDisk]) { $0.diskTransport = .unix },
        wish([.live, .tls, .nonSharedDisk])
    ),
    (
        "tls-unix-name", wish([.live, .tls]) { $0.transport = .unix },
        wish([.live, .tls]) {
            $0.transport = .unix
            $0.parameters = [.tlsDestination]
        }
    ),
    (
        "tls-forced", wish(.live) { $0.isTLSForced = true },
        wish([.live, .tunnelled, .peerToPeer]) { $0.isTLSForced = true }
    ),
    (
        "rdma-limit", wish(.live) { $0.transport = .rdma },
        wish(.live) {
            $0.transport = .rdma
            $0.hasMemoryLimit = true
        }
    ),
    (
        "timeouts",
        wish([.live, .postcopy]) {
            $0.suspendsOnTimeout = true
            $0.switchesOnTimeout = true
        }, wish([.live, .postcopy]) { $0.switchesOnTimeout = true }
    ),
    ("timeout-postcopy", wish(.live) { $0.switchesOnTimeout = true }, wish(.live) { $0.suspendsOnTimeout = true }),
    (
        "after-precopy", wish(.live) { $0.switchesAfterPrecopy = true },
        wish([.live, .postcopy]) { $0.switchesAfterPrecopy = true }
    ),
]

@Suite struct ExclusionTests {
    @Test func everyRuleHasItsCase() {
        #expect(Exclusions.rules.map(\.name).sorted() == table.map(\.rule).sorted())
        #expect(Set(Exclusions.rules.map(\.message)).count == Exclusions.rules.count)
        #expect(
            Exclusions.rules.filter(\.isOurs).map(\.name) == [
                "postcopy-one-way", "preempt-postcopy", "preempt-address", "parallel-address", "tls-nameless-name",
                "tls-key-name", "tls-key-authorisation",
            ])
    }

    @Test(arguments: table.indices) func oneRuleAtATime(index: Int) {
        let (rule, broken, whole) = table[index]
        #expect(Exclusions.broken(by: broken).map(\.name) == [rule])
        #expect(Exclusions.broken(by: whole).map(\.name).isEmpty)
    }

    /// Every parameter that tunes a method needs it.
    @Test(arguments: MigrationParameter.allCases) func tuning(parameter: MigrationParameter) {
        var asked = MigrationWish(flags: [.live, .nonSharedDisk, .autoConverge, .parallel])
        asked.parameters = [parameter]
        let names = Exclusions.broken(by: asked).map(\.name)
        #expect(names == (parameter.tunes == nil ? [] : ["compression-tuning"]))
        #expect((parameter.tunes != nil) == (parameter.rawValue.hasPrefix("compression.")))
    }

    @Test func theWordsAreLibvirts() {
        #expect(MigrationFlags.names.count == 21)
        for bit in 0..<32 {
            let flag = MigrationFlags(rawValue: 1 << UInt32(bit))
            #expect(flag.description == (bit < 21 ? MigrationFlags.names[bit] : ""))
        }
        let known: [(MigrationFlags, UInt32, String)] = [
            (.live, 0, "live"), (.paused, 5, "paused"), (.changeProtection, 8, "change_protection"),
            (.offline, 10, "offline"), (.postcopy, 15, "postcopy"), (.parallel, 17, "parallel"),
            (.postcopyResume, 19, "postcopy_resume"), (.zeroCopy, 20, "zerocopy"),
        ]
        for (flag, bit, name) in known { #expect(flag.rawValue == 1 << bit && flag.description == name) }
        #expect("\(MigrationFlags([.tls, .live]))" == "live, tls")
    }

    /// What an attempt's options ask for, in libvirt's words.
    @Test func wishesOfAnAttempt() {
        var options = MigrateOptions(attempt: "a", uri: "tcp:h:0")
        #expect(MigrationWish(options).flags == [.live, .changeProtection])
        #expect(Exclusions.broken(by: MigrationWish(options)).isEmpty)
        options.postcopy = PostcopyWish(afterPasses: 1)
        #expect(MigrationWish(options).flags == [.live, .changeProtection, .postcopy])
        #expect(Exclusions.broken(by: MigrationWish(options)).isEmpty)
        options.isPausedIntended = true
        #expect(Exclusions.broken(by: MigrationWish(options)).map(\.name) == ["postcopy-paused"])
        options.isPausedIntended = false
        options.uri = "exec:cat"
        #expect(Exclusions.broken(by: MigrationWish(options)).map(\.name) == ["postcopy-one-way"])
        options.mode = .tunnelled
        #expect(Exclusions.broken(by: MigrationWish(options)).map(\.name) == ["tunnel-postcopy", "postcopy-one-way"])
        options = MigrateOptions(attempt: "a", uri: "")
        options.isOffline = true
        #expect(MigrationWish(options).flags == [.offline, .persistDestination, .changeProtection])
        #expect(Exclusions.broken(by: MigrationWish(options)).isEmpty)
        options.isPostcopyResume = true
        #expect(Exclusions.broken(by: MigrationWish(options)).map(\.name) == ["resume-postcopy"])
        options = MigrateOptions(attempt: "a", uri: "unix:/x")
        options.timeoutMilliseconds = 1
        options.timeoutAction = .pauseGuest
        #expect(MigrationWish(options).suspendsOnTimeout && MigrationWish(options).transport == .unix)
    }

    /// QEMU's own words for what has a flag or a parameter at libvirt.
    @Test func wishesInQEMUsWords() {
        var options = MigrateOptions(attempt: "a", uri: "unix:/x")
        options.capabilities = ["multifd", "zero-copy-send", "auto-converge", "something-new"]
        options.parameters = [
            Setting("multifd-channels", .integer(4)), Setting("cpu-throttle-initial", .integer(20)),
            Setting("something-new", .bool(true)),
        ]
        var wish = MigrationWish(options)
        #expect(wish.flags == [.live, .changeProtection, .parallel, .zeroCopy, .autoConverge])
        #expect(wish.parameters == [.parallelConnections, .autoConvergeInitial])
        #expect(Exclusions.broken(by: wish).isEmpty)
        options.parameters.append(Setting("multifd-compression", .string("zstd")))
        wish = MigrationWish(options)
        #expect(wish.compression == [.zstd])
        #expect(Exclusions.broken(by: wish).map(\.name) == ["zero-copy-compression"])
        options = MigrateOptions(attempt: "a", uri: "unix:/x")
        options.parameters = [Setting("multifd-compression", .string("none"))]
        #expect(MigrationWish(options).compression.isEmpty)
        options.capabilities = ["xbzrle"]
        options.parameters = [Setting("xbzrle-cache-size", .integer(4096))]
        #expect(MigrationWish(options).compression == [.xbzrle])
        #expect(Exclusions.broken(by: MigrationWish(options)).isEmpty)
        options.parameters.append(Setting("multifd-zlib-level", .integer(1)))
        #expect(Exclusions.broken(by: MigrationWish(options)).map(\.name) == ["compression-tuning"])
    }

    @Test(arguments: [
        ("tcp:h:1", MigrationWish.Transport.tcp), ("unix:/x", .unix), ("rdma:h:1", .rdma), ("vsock:1:2", .vsock),
        ("exec:cat", .oneWay), ("fd:3", .fd), ("file:/x", .oneWay), ("", .oneWay), (":", .oneWay),
        ("one-way:x", .oneWay),
    ]) func transports(uri: String, transport: MigrationWish.Transport) {
        #expect(MigrationWish.Transport(uri: uri) == transport)
        var options = MigrateOptions(attempt: "a", uri: uri)
        options.uri = uri
        #expect(options.isTwoWay == (transport != .oneWay))
    }
}
