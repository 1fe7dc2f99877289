import JSONC
import MigrationQMP
import Testing

@Suite struct JobStatisticsTests {
    private func note(_ text: String, in statistics: inout JobStatistics) throws {
        try JSONDocument(parsing: Array(text.utf8)).withRoot { statistics.note($0) }
    }

    private let copying = """
        {"status":"active","total-time":2000,"expected-downtime":300,"setup-time":3,"cpu-throttle-percentage":20,
         "vfio":{"transferred":77},
         "ram":{"total":1000,"transferred":600,"remaining":400,"duplicate":1,"normal":2,"normal-bytes":8192,
                "dirty-pages-rate":5,"dirty-sync-count":4,"page-size":4096,"postcopy-requests":6,"multifd-bytes":9,"mbps":0.0016},
         "xbzrle-cache":{"cache-size":64,"bytes":10,"pages":11,"cache-miss":12,"overflow":13}}
        """

    @Test func allThatLibvirtHas() throws {
        var statistics = JobStatistics()
        #expect(statistics.isEmpty)
        try note(copying, in: &statistics)
        #expect(
            JSONValue.object(statistics.json)
                == [
                    "operation": "outgoing", "timeElapsedMilliseconds": 2000, "timeRemainingMilliseconds": 2000,
                    "downtimeMilliseconds": 300, "setupMilliseconds": 3, "memoryTotalBytes": 1000,
                    "memoryProcessedBytes": 600, "memoryRemainingBytes": 400, "memoryBytesPerSecond": 200,
                    "memoryConstantPages": 1, "memoryNormalPages": 2, "memoryNormalBytes": 8192,
                    "memoryDirtyPagesPerSecond": 5, "memoryIteration": 4, "memoryPageBytes": 4096,
                    "memoryPostcopyRequests": 6, "multifdBytes": 9, "xbzrleCacheBytes": 64, "xbzrleBytes": 10,
                    "xbzrlePages": 11, "xbzrleCacheMisses": 12, "xbzrleOverflows": 13,
                    "autoConvergeThrottlePercent": 20, "vfioBytes": 77,
                ])
    }

    /// A migration that failed has nothing but its status.
    @Test func theLastNumbersStay() throws {
        var statistics = JobStatistics()
        try note(copying, in: &statistics)
        let before = statistics
        try note(#"{"status":"failed","error-desc":"no"}"#, in: &statistics)
        #expect(statistics == before)
        try note(#"{"status":"completed","downtime":7,"total-time":2100}"#, in: &statistics)
        #expect(statistics[.downtimeMilliseconds] == 7)
        #expect(statistics[.timeElapsedMilliseconds] == 2100)
        #expect(statistics[.memoryIteration] == 4)
    }

    @Test func nonsenseIsLeftOut() throws {
        var statistics = JobStatistics()
        try note(
            #"{"total-time":-1,"downtime":"long","ram":{"total":9223372036854775807,"mbps":1e300,"remaining":[]}}"#,
            in: &statistics)
        #expect(statistics[.timeElapsedMilliseconds] == nil)
        #expect(statistics[.memoryTotalBytes] == .max)
        #expect(statistics[.memoryBytesPerSecond] == nil)
        try note(#"[1, 2]"#, in: &statistics)
    }
}
