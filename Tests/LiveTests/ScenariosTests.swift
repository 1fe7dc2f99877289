import Testing

/// The document that names the tests for each scenario.
@Suite struct ScenariosTests {
    private static let root = String(#filePath.dropLast("/Tests/LiveTests/ScenariosTests.swift".count))
    private static let document = fileText("\(root)/Sources/Phases/Phases.docc/Scenarios.md")

    /// The functions of each suite, of all its extensions together.
    private static func suites(below directory: String = "\(root)/Tests") -> [String: Set<String>] {
        var suites: [String: Set<String>] = [:]
        for name in names(in: directory) where !name.hasPrefix(".") {
            guard name.hasSuffix(".swift") else {
                suites.merge(Self.suites(below: "\(directory)/\(name)")) { $0.union($1) }
                continue
            }
            let text = fileText("\(directory)/\(name)")
            let functions = Set(text.matches(of: /func (\w+)/).map { String($0.output.1) })
            for match in text.matches(of: /(?:struct|enum|extension) (\w+)/) {
                suites[String(match.output.1), default: []].formUnion(functions)
            }
        }
        return suites
    }

    @Test func theTestsThatAreNamedExist() {
        let suites = Self.suites()
        let named = Self.document.matches(of: /`(\w+)\/(\w+)`/)
        #expect(named.count > 80)
        for match in named {
            let (suite, test) = (String(match.output.1), String(match.output.2))
            #expect(suites[suite]?.contains(test) == true, "\(suite)/\(test)")
        }
    }

    @Test func everyRowNamesATest() {
        let rows = Self.document.split(separator: "\n").filter { $0.hasPrefix("|") }
        for row in rows where !row.contains("---") && !row.contains("| tests |") {
            #expect(row.contains(/`\w+\/\w+`/), "\(row)")
        }
    }
}
