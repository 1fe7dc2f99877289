import Policy
import PolicyDocuments
import Testing

@Suite("Policy documents")
struct DocumentTests {
    @Test(
        "those that come with the program can be read and are called what they are",
        arguments: NamedPolicies.all.map(\.name))
    func named(_ name: String) throws {
        let policy = try #require(NamedPolicies.document(name)).policy()
        #expect(policy.name == name)
        #expect(!policy.summary.isEmpty)
    }

    private static func error(_ text: String) -> String? {
        do throws(PolicyDocumentError) {
            _ = try ConvergencePolicy(document: Array(text.utf8), file: "p.json")
            return nil
        } catch {
            return "\(error)"
        }
    }

    private static func rule(_ text: String) -> String? {
        error(
            "{\"godwit-policy\": 1, \"name\": \"a\",\n \"deadlines\": [\"d\"], \"variables\": {\"v\": 0},\n \"rules\": [\n\(text)]}"
        )
    }

    @Test("what is wrong is told with member, line and column")
    func places() {
        #expect(Self.error("[]") == "p.json:1:1: an object is wanted here, not a list")
        #expect(Self.error("{\n \"x\" 1}") == "p.json:2:6: unexpected '1' where ':' is expected")
        #expect(Self.error("{\"name\": \"a\", \"rules\": []}") == "p.json:1:1: the member `godwit-policy` is missing")
        #expect(
            Self.error("{\"godwit-policy\": 2}") == "p.json:1:19: godwit-policy: this program knows version 1")
        #expect(Self.error("{\"godwit-policy\": 1, \"name\": \"a\"}") == "p.json:1:1: the member `rules` is missing")
        #expect(
            Self.error("{\"godwit-policy\": 1,\n\"ruls\": []}")?.hasPrefix("p.json:2:9: ruls: unknown; known here are")
                == true)
        #expect(
            Self.rule("{\"name\": \"r\", \"on\": \"tick\",\n  \"when\": \"elapsd > 3\", \"do\": []}")
                == "p.json:5:11: rules[0].when: character 1: nothing is called `elapsd`")
        #expect(
            Self.rule("{\"name\": \"r\", \"on\": [\"tick\", \"tock\"], \"do\": []}")?
                .hasPrefix("p.json:4:30: rules[0].on[1]: `tock` is none of") == true)
        #expect(
            Self.rule("{\"name\": \"r\", \"on\": \"tick\", \"do\": [\n\"pause-guest\", {\"set-downtime\": true}]}")
                == "p.json:5:33: rules[0].do[1].set-downtime: a number or an expression is wanted here, not a truth value"
        )
    }

    @Test(
        "what is refused",
        arguments: [
            ("{\"name\": \"r\", \"on\": \"status:activ\", \"do\": []}", "no QEMU says"),
            ("{\"name\": \"r\", \"on\": \"deadline:e\", \"do\": []}", "not among the deadlines"),
            ("{\"name\": \"r\", \"on\": \"tick\"}", "the member `do` is missing"),
            ("{\"name\": \"r\", \"on\": \"tick\", \"do\": [], \"steps\": []}", "either"),
            ("{\"name\": \"r\", \"on\": \"tick\", \"steps\": []}", "no steps"),
            ("{\"name\": \"r\", \"on\": \"tick\", \"do\": [\"jump\"]}", "none of"),
            ("{\"name\": \"r\", \"on\": \"tick\", \"do\": [{\"set\": {\"w\": 1}}]}", "not among the variables"),
            ("{\"name\": \"r\", \"on\": \"tick\", \"do\": [{\"note\": \"a\", \"cancel\": \"b\"}]}", "one action"),
            ("{\"name\": \"r\", \"on\": \"tick\", \"times\": 0, \"do\": []}", "positive"),
            (
                "{\"name\": \"r\", \"on\": \"tick\", \"do\": []}, {\"name\": \"r\", \"on\": \"tick\", \"do\": []}",
                "another rule has this name"
            ),
        ])
    func refused(_ rule: String, _ message: String) {
        let error = Self.rule(rule)
        #expect(error?.contains(message) == true, "\(error ?? "accepted")")
        #expect(error?.hasPrefix("p.json:4:") == true)
    }

    @Test("names are free, and constants do not change")
    func names() {
        func document(_ members: String) -> String? {
            Self.error("{\"godwit-policy\": 1, \"name\": \"a\", \(members), \"rules\": []}")
        }
        #expect(document("\"constants\": {\"elapsed\": 1}")?.contains("is taken") == true)
        #expect(document("\"constants\": {\"a\": \"remaining\"}")?.contains("only numbers and constants") == true)
        #expect(document("\"constants\": {\"a\": 1, \"b\": \"a * 2s\"}") == nil)
        #expect(document("\"constants\": {\"a\": 1}, \"variables\": {\"a\": 1}")?.contains("is taken") == true)
        #expect(document("\"variables\": {\"a\": \"b\", \"b\": 1}")?.contains("nothing is called `b`") == true)
        #expect(document("\"stall\": {\"window\": -1}")?.contains("less than nothing") == true)
        #expect(
            Self.error("{\"godwit-policy\": 1, \"name\": \"a b\", \"rules\": []}")?.contains("without blanks") == true)
    }

    @Test("a document that is damaged at any byte is read or refused, never more")
    func damaged() throws {
        let bytes = try #require(NamedPolicies.document("kubevirt-stall")).bytes
        var refused = 0
        for place in stride(from: 0, to: bytes.count, by: 7) {
            for byte in [UInt8(ascii: "\""), UInt8(ascii: "}"), UInt8(ascii: "9"), 0x00] {
                var damaged = bytes
                damaged[place] = byte
                do throws(PolicyDocumentError) {
                    _ = try ConvergencePolicy(document: damaged, file: "p.json")
                } catch {
                    refused += 1
                    #expect(error.line > 0, "\(error)")
                }
            }
        }
        #expect(refused > 100)
    }
}
