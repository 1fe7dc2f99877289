import JSONC
import Replay
import Testing
import Trace

/// The page as a file.
struct ReportTests {
    private func page(_ reports: (text: String, name: String)...) throws -> String {
        var report = Report()
        for one in reports {
            try report.add(reader: try TraceReader(bytes: Array(one.text.utf8), name: one.name), name: one.name)
        }
        return String(decoding: report.html, as: UTF8.self)
    }

    /// The data in the page.
    private func data(_ page: String) throws -> JSONValue {
        let marker = "<script type=\"application/json\" id=\"data\">"
        let parts = page.split(separator: marker, maxSplits: 1, omittingEmptySubsequences: false)
        let rest = try #require(parts.count == 2 ? parts[1] : nil)
        let json = try #require(rest.split(separator: "</script>", maxSplits: 1).first)
        return try JSONValue(parsing: Array(json.utf8))
    }

    private func count(_ needle: String, in page: String) -> Int {
        page.split(separator: needle, omittingEmptySubsequences: false).count - 1
    }

    @Test func needsNothingElse() throws {
        let page = try page((Samples.text("7.2.22/precopy-unix"), "one"))
        #expect(page.contains("default-src 'none'"))
        // The only address in it is the name of SVG.
        #expect(
            count("http", in: page) == count("http-equiv", in: page) + count("http://www.w3.org/2000/svg", in: page))
        for word in [
            "src=", "url(http", "@import", "fetch(", "XMLHttpRequest", "innerHTML", "insertAdjacentHTML", "eval(",
        ] {
            #expect(!page.contains(word), "\(word)")
        }
    }

    @Test func holdsEveryRecord() throws {
        let page = try page((Samples.text("7.2.22/precopy-unix"), "one"))
        let trace = try #require(try data(page)["traces"]?.array?.first)
        #expect(trace["rows"]?.array?.count == 39)
        let row = try #require(trace["rows"]?.array?.first { $0.array?.first?.int64 == 26 }?.array)
        #expect(row[1].int64 == 2_880_102)
        #expect(row[4].string == "STOP")
        #expect(trace["explanation"]?["attempts"]?.array?.first?["outcome"]?.string == "completed")
        let lanes = try #require(trace["lanes"]?.array?.first)
        #expect(lanes["source"]?["words"]?.array?.map { $0.array?.first?.string } == ["setup", "active", "completed"])
        #expect(
            lanes["published"]?.array?.map { $0.array?.first?.string } == [
                "starting", "copying", "switchover", "completed",
            ])
        // The guest ran on the source up to STOP, on the destination from RESUME on.
        #expect(lanes["source"]?["running"]?.array?.first?.array?[1].int64 == 2_880_102)
        #expect(lanes["destination"]?["running"]?.array?.first?.array?.first?.int64 == 2_972_928)
        #expect(lanes["triggers"]?.array?.compactMap { $0.array?[3].string }.contains("cont") == true)
    }

    @Test func hostileTextStaysText() throws {
        let plain = try page((Samples.text("7.2.22/precopy-unix"), "one"))
        let page = try page((Samples.hostile, Samples.evil))
        for tag in ["</script", "<script", "<img", "<!--", "<noscript"] {
            #expect(count(tag, in: page) == count(tag, in: plain), "\(tag)")
        }
        // It is there all the same.
        let row = try #require(
            try data(page)["traces"]?.array?.first?["rows"]?.array?.first {
                $0.array?[4].string?.hasPrefix("MIGRATION <") ?? false
            })
        #expect(row.array?[4].string?.contains(Samples.evil) == true)
    }

    @Test func longMessagesAreShortened() throws {
        let long = String(repeating: "x", count: 100_000)
        let text = "{\"qmptrace\":1}\n{\"t\":0.1,\"side\":\"source\",\"recv\":{\"event\":\"\(long)\"}}\n"
        let page = try page((text, "long"))
        let row = try #require(try data(page)["traces"]?.array?.first?["rows"]?.array?.first?.array)
        #expect((row[5].string ?? "").utf8.count < 5000)
        #expect(row[5].string?.hasSuffix("(100012 bytes in all)") == true)
    }

    @Test func severalAreCompared() throws {
        let page = try page(
            (Samples.text("7.2.22/precopy-unix"), "first"), (Samples.text("10.0.13/precopy-unix"), "second"))
        let data = try data(page)
        #expect(data["traces"]?.array?.count == 2)
        #expect(data["diffs"]?.array?.count == 1)
        #expect(data["diffs"]?.array?.first?["same"]?.bool == false)
    }

    @Test func anEmptyTraceIsAPageToo() throws {
        let page = try page(("{\"qmptrace\":1}\n", "empty"))
        #expect(try data(page)["traces"]?.array?.first?["rows"]?.array?.isEmpty == true)
        #expect(page.contains("No attempt"))
        #expect(page.hasSuffix("</html>\n"))
    }

    @Test(arguments: Samples.all)
    func everyRecordingMakesAPage(_ name: String) throws {
        let page = try page((Samples.text(name), name))
        let trace = try #require(try data(page)["traces"]?.array?.first)
        #expect(trace["lanes"]?.array?.count == trace["explanation"]?["attempts"]?.array?.count)
        let lanes = trace["lanes"]?.array ?? []
        for side in ["source", "destination"] {
            for span in lanes.flatMap({ $0[side]?["words"]?.array ?? [] }) {
                #expect((span.array?[1].int64 ?? 1) <= (span.array?[2].int64 ?? 0))
            }
        }
    }
}
