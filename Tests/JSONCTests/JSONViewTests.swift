import JSONC
import Testing

@Suite struct JSONViewTests {
    static let event = """
        {"timestamp": {"seconds": 1700000000, "microseconds": 123456}, "event": "MIGRATION", \
        "data": {"status": "active"}}
        """

    @Test func readsAnEvent() throws {
        try JSONDocument(parsing: Self.event).withRoot { root in
            #expect(root.kind == .object)
            #expect(root.count == 3)
            #expect(root["event"]?.equals("MIGRATION") == true)
            #expect(root["event"]?.equals("MIGRATIO") == false)
            #expect(root["event"]?.equals("MIGRATIOM") == false)
            #expect(root["event"]?.equals("") == false)
            #expect(root["data"]?["status"]?.string == "active")
            #expect(root["timestamp"]?["seconds"]?.int64 == 1_700_000_000)
            #expect(root["nothing"] == nil)
            #expect(root["event"]?["x"] == nil)
            #expect(root["event"]?.count == 0)
            var keys: [String] = []
            root.forEachMember { key, _ in keys.append(key) }
            #expect(keys == ["timestamp", "event", "data"])
        }
    }

    @Test func tellsTypesApart() throws {
        try JSONDocument(parsing: "{\"n\":null,\"b\":false,\"i\":1,\"d\":1.0,\"s\":\"1\",\"a\":[1],\"o\":{\"x\":1}}")
            .withRoot {
                root in
                #expect(root["n"]?.isNull == true)
                #expect(root["n"]?.kind == .null)
                #expect(root["b"]?.bool == false)
                #expect(root["b"]?.int64 == nil)
                #expect(root["i"]?.bool == nil)
                #expect(root["i"]?.double == 1)
                #expect(root["i"]?.string == nil)
                #expect(root["d"]?.kind == .number)
                #expect(root["s"]?.int64 == nil)
                #expect(root["s"]?.double == nil)
                #expect(root["s"]?.uint64 == nil)
                #expect(root["a"]?.element(at: 0)?.int64 == 1)
                #expect(root["o"]?.element(at: 0) == nil)
                #expect(root["a"]?["x"] == nil)
                var visited = 0
                root["o"]?.forEachElement { _ in visited += 1 }
                root["a"]?.forEachMember { _, _ in visited += 1 }
                #expect(visited == 0)
            }
    }

    @Test func passesErrorsOutOfClosures() throws {
        struct Stop: Error {}
        let document = try JSONDocument(parsing: "[1,2,3]")
        var visited = 0
        #expect(throws: Stop.self) {
            try document.withRoot { root throws(Stop) in
                try root.forEachElement { (element: JSONView) throws(Stop) in
                    visited += 1
                    if element.int64 == 2 { throw Stop() }
                }
            }
        }
        #expect(visited == 2)
    }

    @Test(arguments: [
        event.filter { $0 != " " }, "[]", "{}", "[null,true,false,-1,18446744073709551615,1.50,\"a\\\"\\\\/\",[],{}]",
        "{\"a\":{\"b\":{}}}",
    ])
    func serializesWhatItRead(text: String) throws {
        try JSONDocument(parsing: text).withRoot { root in
            #expect(String(decoding: root.serialized(), as: UTF8.self) == text)
            #expect(root.value().text() == text)
        }
    }
}
