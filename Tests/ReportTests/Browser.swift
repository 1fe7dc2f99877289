import Glibc
import GuestLab
import JSONC
import Replay
import Testing
import Trace

/// A headless Chromium that loads a page, lets a script of the test act in it, and gives back what the script found.
enum Browser {
    static let program: String? = ["chromium-headless-shell", "chromium", "chromium-shell", "google-chrome"].lazy
        .compactMap { find($0) }.first

    static var isWide: Bool { getenv("GODWIT_BROWSER").map { String(cString: $0) == "all" } ?? false }

    private static func find(_ name: String) -> String? {
        guard let path = getenv("PATH").map({ String(cString: $0) }) else { return nil }
        return path.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }

    struct Failure: Error, CustomStringConvertible { var description: String }

    /// What a script returned, run when the page has drawn itself. It is the body of an async function; `problems`
    /// are uncaught errors so far.
    static func run(
        _ script: String, in page: [UInt8], size: String = "1280,1600", hash: String = ""
    ) throws -> JSONValue {
        let directory = try LabDirectory()
        let marker = "id=\"checked\">"
        let before =
            "<script>window.problems=[];addEventListener('error',(e)=>problems.push(e.message));"
            + "addEventListener('unhandledrejection',(e)=>problems.push(String(e.reason)));</script>"
        let after =
            "<script>(async()=>{const wait=(ms)=>new Promise((r)=>setTimeout(r,ms));let found;try{await wait(100);"
            + "found=await (async()=>{\(script)})()}catch(e){found={thrown:String(e.stack??e)}}"
            + "const pre=document.createElement('pre');pre.id='checked';"
            + "pre.textContent=JSON.stringify({found,problems});document.body.append(pre)})()</script>"
        let html = String(decoding: page, as: UTF8.self)
        let parts = html.split(separator: "<body>", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { throw Failure(description: "no body in the page") }
        try write("\(parts[0])<body>\(before)\(parts[1])\(after)", to: directory.file("page.html"))
        let dom = try load(directory, size: size, hash: hash, output: "--dump-dom", file: "dom.html")
        guard
            let text = dom.split(separator: marker, maxSplits: 1).last?.split(separator: "</pre>", maxSplits: 1).first,
            dom.contains(marker)
        else { throw Failure(description: "the script did not come to its end: \(dom.suffix(400))") }
        return try JSONValue(parsing: Array(unescaped(String(text)).utf8))
    }

    /// A picture of a page: PNG.
    static func picture(of page: [UInt8], to path: String, size: String, hash: String) throws {
        let directory = try LabDirectory()
        try write(String(decoding: page, as: UTF8.self), to: directory.file("page.html"))
        _ = try load(directory, size: size, hash: hash, output: "--screenshot=\(path)", file: "out")
    }

    private static func load(
        _ directory: LabDirectory, size: String, hash: String, output: String, file: String
    ) throws -> String {
        guard let program else { throw Failure(description: "no Chromium") }
        let arguments = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--no-first-run", "--window-size=\(size)", "--user-data-dir=\(directory.file("profile"))",
            "--virtual-time-budget=20000", output, "file://\(directory.file("page.html"))\(hash)",
        ]
        let child = try ChildProcess(
            arguments, output: directory.file(file), error: directory.file("log"))
        guard let status = child.waitForExit(timeout: .seconds(240)) else {
            throw Failure(description: "Chromium did not end")
        }
        guard status == .exited(0) else {
            throw Failure(
                description: "Chromium ended with \(status): \(Samples.read(directory.file("log")).suffix(600))")
        }
        return Samples.read(directory.file(file))
    }

    private static func write(_ text: String, to path: String) throws {
        guard let file = fopen(path, "w") else { throw Failure(description: "cannot write \(path)") }
        defer { fclose(file) }
        let bytes = Array(text.utf8)
        guard fwrite(bytes, 1, bytes.count, file) == bytes.count else {
            throw Failure(description: "cannot write \(path)")
        }
    }

    private static func unescaped(_ text: String) -> String {
        var result = text
        for (entity, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")] {
            result = result.split(separator: entity, omittingEmptySubsequences: false).joined(separator: character)
        }
        return result
    }
}
