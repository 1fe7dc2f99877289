import Glibc

/// Traces for pages.
enum Samples {
    static let root: String = {
        "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/Fixtures"
    }()

    /// A few of each kind of ending.
    static let all = [
        "7.2.22/precopy-unix", "7.2.22/cancel", "7.2.22/precopy-noevents", "10.0.13/connect-fail",
        "10.0.13/incoming-rubbish",
        "10.0.13/postcopy-recover-net", "10.0.13/dst-hung-device-yank", "10.0.13/guest-poweroff",
        "10.0.13/cpr-transfer",
        "11.1.3/postcopy", "7.2.22/fast-cont",
    ]

    static func text(_ name: String) -> String { read("\(root)/traces/\(name).qmptrace") }

    /// A file's text, empty if there is none.
    static func read(_ path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk.prefix(count)
        }
    }

    /// Text that would run if it were taken for markup.
    static let evil =
        "</script><script>document.title='taken'</script><img src=x "
        + "onerror=\"document.title='taken'\"><!--<noscript>&amp;"

    /// A recording in which everything that a peer says is hostile.
    static var hostile: String {
        let text = evil.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\\\"")
        let lines = [
            "{\"qmptrace\":1,\"recorder\":\"\(text)\",\"title\":\"\(text)\"}",
            "{\"t\":0.1,\"side\":\"source\",\"recv\":{\"QMP\":{\"version\":{\"qemu\":{\"major\":10,\"minor\":0,\"micro\":13}},\"capabilities\":[]}}}",
            "{\"t\":0.2,\"side\":\"source\",\"send\":{\"execute\":\"migrate\",\"id\":\"\(text)\",\"arguments\":{\"uri\":\"unix:\(text)\"}}}",
            "{\"t\":0.3,\"side\":\"source\",\"recv\":{\"return\":{},\"id\":\"\(text)\"}}",
            "{\"t\":0.4,\"side\":\"source\",\"recv\":{\"event\":\"MIGRATION\",\"data\":{\"status\":\"\(text)\"}}}",
            "{\"t\":0.5,\"side\":\"source\",\"recv\":{\"event\":\"\(text)\"}}",
            "{\"t\":0.6,\"side\":\"source\",\"mark\":\"\(text)\"}",
            "{\"t\":0.7,\"\(text)\":\"\(text)\"}",
            "{\"t\":0.8,\"side\":\"source\",\"send\":{\"execute\":\"query-migrate\",\"id\":3}}",
            "{\"t\":0.9,\"side\":\"source\",\"recv\":{\"return\":{\"status\":\"failed\",\"error-desc\":\"\(text)\"},\"id\":3}}",
        ]
        return lines.joined(separator: "\n") + "\n"
    }

    /// A long migration with that many looks, each of two records.
    static func long(looks: Int) -> String {
        var text = "{\"qmptrace\":1,\"recorder\":\"hand\",\"title\":\"a long one\"}\n"
        func add(_ time: Int, _ side: String, _ member: String) {
            let fraction = String(1_000_000 + time % 1_000_000).dropFirst()
            text += "{\"t\":\(time / 1_000_000).\(fraction),\"side\":\"\(side)\",\(member)}\n"
        }
        add(1, "source", "\"send\":{\"execute\":\"migrate\",\"id\":0,\"arguments\":{\"uri\":\"tcp:host:4444\"}}")
        add(2, "source", "\"recv\":{\"event\":\"MIGRATION\",\"data\":{\"status\":\"active\"}}")
        add(3, "source", "\"recv\":{\"return\":{},\"id\":0}")
        let total = 64 << 30
        for look in 1...max(looks, 1) {
            let time = look * 50_000
            add(time, "source", "\"send\":{\"execute\":\"query-migrate\",\"id\":\(look)}")
            let left = total / (1 + look / 100)
            let ram =
                "{\"total\":\(total),\"remaining\":\(left),\"transferred\":\(look * 1_000_000),\"mbps\":9000.5,"
                + "\"dirty-pages-rate\":\(20_000 + look % 300),\"page-size\":4096,\"dirty-sync-count\":\(1 + look / 500)}"
            add(
                time + 300, "source",
                "\"recv\":{\"return\":{\"status\":\"active\",\"total-time\":\(look * 50),\"ram\":\(ram)},\"id\":\(look)}"
            )
        }
        return text
    }
}
