import JSONC
import Testing

@Suite struct JSONValueTests {
    @Test func literals() throws {
        let value: JSONValue = ["a": 1, "b": [true, nil, 1.5, "x"], "c": ["d": "e"]]
        #expect(value.text() == "{\"a\":1,\"b\":[true,null,1.5,\"x\"],\"c\":{\"d\":\"e\"}}")
        #expect(try JSONValue(parsing: value.text()) == value)
        #expect(value["c"]?["d"]?.string == "e")
        #expect(value["b"]?.array?.count == 4)
        #expect(value["x"] == nil)
        #expect(value["a"]?["x"] == nil)
    }

    @Test func orderOfMembersDoesNotCount() throws {
        let left = try JSONValue(parsing: "{\"a\":1,\"b\":{\"c\":2,\"d\":3}}")
        let right = try JSONValue(parsing: "{\"b\":{\"d\":3,\"c\":2},\"a\":1}")
        #expect(left == right)
        #expect(left.hashValue == right.hashValue)
        #expect(left != (try JSONValue(parsing: "{\"a\":1,\"b\":{\"c\":2,\"d\":4}}")))
        #expect(left != (try JSONValue(parsing: "{\"a\":1,\"x\":{\"c\":2,\"d\":3}}")))
        #expect(left.text() != right.text())
    }

    @Test func numbersCompareByValueAndKeepTheirText() throws {
        #expect(try JSONValue(parsing: "1.50") == 1.5)
        #expect(try JSONValue(parsing: "1.50").text() == "1.50")
        #expect(try JSONValue(parsing: "1e400") != JSONValue(parsing: "2e400"))
        #expect(try JSONValue(parsing: "1.0") != 1)
        #expect(JSONValue(Double.nan) == .null)
        #expect(JSONValue(UInt64.max) == .unsigned(.max))
        #expect(JSONValue(UInt64(7)) == 7)
        #expect(JSONValue.unsigned(.max).int64 == nil)
        #expect(JSONValue.integer(-1).uint64 == nil)
        #expect(try JSONValue(parsing: "1e400").double == nil)
    }

    @Test(arguments: [3, 15, 16, 17, 100])
    func objectsFindTheirMembers(count: Int) {
        var object = JSONObject()
        for number in 0..<count { object["k\(number)"] = .integer(Int64(number)) }
        #expect(object.count == count)
        for number in 0..<count { #expect(object["k\(number)"]?.int64 == Int64(number)) }
        object["k1"] = "new"
        #expect(object.count == count)
        #expect(object.keys[1] == "k1")
        object["k0"] = nil
        #expect(object.count == count - 1)
        #expect(object["k0"] == nil)
        #expect(object["k1"] == "new")
        #expect(object["k\(count - 1)"]?.int64 == Int64(count - 1))
        object["k0"] = 0
        #expect(object.keys.last == "k0")
        #expect(object["k0"] == 0)
    }

    @Test func namesAreComparedByBytes() throws {
        // String takes these two for equal.
        let object = try JSONValue(parsing: "{\"\u{E9}\":1,\"e\u{301}\":2}").object
        #expect(object?.count == 2)
        #expect(object?["\u{E9}"] == 1)
        #expect(object?["e\u{301}"] == 2)
    }
}
