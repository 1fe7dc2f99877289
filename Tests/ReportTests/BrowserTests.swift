import Glibc
import JSONC
import Replay
import Testing
import Trace

/// The page in a real browser. `GODWIT_BROWSER=all` runs the wider tests; `GODWIT_PICTURES=DIRECTORY` keeps pictures
/// of the pages.
@Suite(
    .enabled(if: Browser.program != nil, "no Chromium in PATH: make check-browser installs one"), .serialized)
struct BrowserTests {
    private func page(_ reports: (text: String, name: String)...) throws -> [UInt8] {
        var report = Report()
        for one in reports {
            try report.add(reader: try TraceReader(bytes: Array(one.text.utf8), name: one.name), name: one.name)
        }
        return report.html
    }

    private func found(
        _ script: String, in page: [UInt8], size: String = "1280,1600", hash: String = ""
    ) throws -> JSONValue {
        let result = try Browser.run(script, in: page, size: size, hash: hash)
        #expect(result["problems"] == [], "\(result["problems"]?.text() ?? "")")
        let found = try #require(result["found"])
        #expect(found["thrown"] == nil, "\(found["thrown"]?.string ?? "")")
        return found
    }

    @Test("the page draws itself, is searched, stepped through by keys, and switches its colours")
    func smoke() throws {
        let script = """
            const all = (selector) => [...document.querySelectorAll(selector)];
            const result = {};
            result.loaded = performance.getEntriesByType("resource").length;
            result.drawings = all("svg[role=img]").length;
            result.named = all("svg[role=img]").every((svg) => svg.getAttribute("aria-label") || document.getElementById(svg.getAttribute("aria-labelledby").split(" ")[1]).textContent.length > 20);
            result.bands = all(".band").length;
            result.refs = all(".ref").length;
            const grid = document.querySelector("[role=grid]");
            result.rows = Number(grid.getAttribute("aria-rowcount")) - 1;
            const input = document.querySelector("input[type=search]");
            input.value = "migration completed";
            input.dispatchEvent(new Event("input"));
            await wait(200);
            result.searched = Number(grid.getAttribute("aria-rowcount")) - 1;
            const box = document.querySelector(".drawing");
            box.focus();
            for (const key of ["Home", "ArrowRight", "ArrowRight"]) box.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
            result.said = document.querySelector("[role=status]").textContent;
            box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
            result.selected = document.getElementById(grid.getAttribute("aria-activedescendant"))?.textContent ?? "";
            result.focused = document.activeElement === grid;
            result.detail = document.querySelector(".detail").textContent;
            const colours = [];
            for (const choice of ["dark", "light"]) {
              document.querySelector(`[data-choice=${choice}]`).click();
              colours.push(getComputedStyle(document.documentElement).backgroundColor);
            }
            result.colours = colours;
            result.unnamed = all("button, input, select, [tabindex='0']").filter((node) => !(node.getAttribute("aria-label") || node.textContent.trim() || node.tagName === "PRE")).length;
            return result;
            """
        let found = try found(script, in: page((Samples.text("7.2.22/precopy-unix"), "one")))
        #expect(found["loaded"]?.int64 == 0)
        #expect((found["drawings"]?.int64 ?? 0) >= 1)
        #expect(found["named"]?.bool == true)
        #expect((found["bands"]?.int64 ?? 0) >= 12)
        #expect((found["refs"]?.int64 ?? 0) > 20)
        #expect(found["rows"]?.int64 == 39)
        // The events of both QEMUs, and no reply.
        #expect(found["searched"]?.int64 == 2)
        #expect(found["said"]?.string?.contains("record ") == true)
        #expect(found["selected"]?.string?.isEmpty == false)
        #expect(found["focused"]?.bool == true)
        #expect(found["detail"]?.string?.hasPrefix("Record ") == true)
        let colours = found["colours"]?.array?.compactMap(\.string) ?? []
        #expect(Set(colours).count == 2)
        #expect(found["unnamed"]?.int64 == 0)
    }

    @Test("nothing in a recording is executed", .enabled(if: Browser.isWide, "GODWIT_BROWSER=all runs it"))
    func hostile() throws {
        let script = """
            return { title: document.title, images: document.images.length, scripts: document.scripts.length,
              shown: document.querySelector("h1").textContent, words: document.querySelector(".hero").textContent };
            """
        let found = try found(script, in: page((Samples.hostile, Samples.evil)))
        let plain = try self.found(script, in: page((Samples.text("7.2.22/precopy-unix"), "one")))
        #expect(found["title"]?.string != "taken")
        #expect(found["images"]?.int64 == 0)
        #expect(found["scripts"] == plain["scripts"])
        #expect(found["shown"]?.string?.contains("<img src=x") == true)
    }

    @Test(
        "of 100,000 records only those in sight are in the document",
        .enabled(if: Browser.isWide, "GODWIT_BROWSER=all runs it"))
    func large() throws {
        let script = """
            const grid = document.querySelector("[role=grid]"), viewport = document.querySelector(".viewport");
            const rows = () => grid.querySelectorAll(".row").length;
            const result = { count: Number(grid.getAttribute("aria-rowcount")) - 1, first: rows(), nodes: document.querySelectorAll("*").length };
            viewport.scrollTop = viewport.scrollHeight;
            viewport.dispatchEvent(new Event("scroll"));
            await wait(50);
            result.last = [...grid.querySelectorAll(".row")].at(-1).textContent;
            result.lastRows = rows();
            const input = document.querySelector("input[type=search]");
            input.value = '"id":49999}';
            input.dispatchEvent(new Event("input"));
            await wait(300);
            result.searched = Number(grid.getAttribute("aria-rowcount")) - 1;
            grid.focus();
            grid.dispatchEvent(new KeyboardEvent("keydown", { key: "End", bubbles: true, cancelable: true }));
            result.detail = document.querySelector(".detail").textContent.length;
            return result;
            """
        let found = try found(script, in: page((Samples.long(looks: 50_000), "long")))
        #expect(found["count"]?.int64 == 100_003)
        #expect((1...80).contains(found["first"]?.int64 ?? 0))
        #expect((1...80).contains(found["lastRows"]?.int64 ?? 0))
        #expect((found["nodes"]?.int64 ?? .max) < 12_000)
        #expect(found["last"]?.string?.hasPrefix("100004") == true)
        #expect(found["searched"]?.int64 == 2)
        #expect((found["detail"]?.int64 ?? 0) > 50)
    }

    @Test(
        "the time line is zoomed by buttons, keys and dragging",
        .enabled(if: Browser.isWide, "GODWIT_BROWSER=all runs it"))
    func zoom() throws {
        let script = """
            const axis = () => [...document.querySelector(".drawing svg").querySelectorAll(".axis")].map((t) => t.textContent).join("|");
            const seen = [axis()];
            const buttons = [...document.querySelectorAll(".tools button")];
            for (const button of buttons) { button.click(); seen.push(axis()); }
            const box = document.querySelector(".drawing"), svg = box.querySelector("svg"), place = svg.getBoundingClientRect();
            box.dispatchEvent(new KeyboardEvent("keydown", { key: "0", bubbles: true }));
            const before = axis();
            const send = (type, x) => svg.dispatchEvent(new PointerEvent(type, { clientX: place.left + x, clientY: place.top + 100, button: 0, bubbles: true, pointerId: 1 }));
            svg.setPointerCapture = () => {};
            send("pointerdown", 300); send("pointermove", 420); send("pointerup", 420);
            return { buttons: buttons.map((b) => b.textContent), views: new Set(seen).size, dragged: axis() !== before };
            """
        let found = try found(script, in: page((Samples.text("7.2.22/pre-switchover"), "one")))
        #expect(found["buttons"]?.array?.count == 5)
        #expect((found["views"]?.int64 ?? 0) >= 4)
        #expect(found["dragged"]?.bool == true)
    }

    @Test("several recordings are compared", .enabled(if: Browser.isWide, "GODWIT_BROWSER=all runs it"))
    func comparison() throws {
        let script = """
            const rows = [...document.querySelectorAll("section[aria-label='Side by side'] tbody "
                + "tr")].map((row) => row.textContent);
            const tabs = [...document.querySelectorAll("[role=tab]")];
            const verdicts = [];
            for (let i = 0; i < tabs.length; i++) { document.querySelectorAll("[role=tab]")[i].click(); verdicts.push(document.querySelector(".verdict").textContent); }
            return { rows, tabs: tabs.length, verdicts, selected: document.querySelectorAll(
                "[role=tab][aria-selected=true]").length };
            """
        let found = try found(
            script,
            in: page(
                (Samples.text("7.2.22/precopy-unix"), "first"), (Samples.text("10.0.13/precopy-unix"), "second"),
                (Samples.text("10.0.13/dst-killed"), "third")))
        #expect(found["rows"]?.array?.count == 3)
        #expect(found["rows"]?.array?[1].string?.contains("device instead of completed") == true)
        #expect(found["tabs"]?.int64 == 3)
        #expect(found["verdicts"]?.array?.last?.string?.hasPrefix("Failed") == true)
        #expect(found["selected"]?.int64 == 1)
    }

    @Test(
        "every kind of ending is drawn without an error", .enabled(if: Browser.isWide, "GODWIT_BROWSER=all runs it"),
        arguments: Samples.all)
    func endings(_ name: String) throws {
        let found = try found(
            "return { text: document.querySelector('main').innerText.length, wide: "
                + "document.documentElement.scrollWidth - innerWidth };",
            in: page((Samples.text(name), name)), size: "390,1200")
        #expect((found["text"]?.int64 ?? 0) > 400)
        // On a telephone nothing stands out to the right.
        #expect((found["wide"]?.int64 ?? 1) <= 0)
    }

    @Test("curves are drawn, and tell their values", .enabled(if: Browser.isWide, "GODWIT_BROWSER=all runs it"))
    func curves() throws {
        let script = """
            const figures = [...document.querySelectorAll(".curves figure")];
            const before = figures.map((f) => f.querySelector("figcaption").textContent);
            const svg = figures[0].querySelector("svg"), place = svg.getBoundingClientRect();
            svg.dispatchEvent(new PointerEvent("pointermove", { clientX: place.left + place.width / 2, clientY: place.top + 40, bubbles: true }));
            return { names: figures.map((f) => f.querySelector("b").textContent), points: figures.map((f) => f.querySelector(".curve").getAttribute("d").split("L").length),
              lines: figures.map((f) => f.querySelectorAll(".curve").length), passes: figures[0].querySelectorAll(".boundary").length,
              before, under: figures.map((f) => f.querySelector("figcaption").textContent),
              labels: figures.map((f) => f.querySelector("svg").getAttribute("aria-label")) };
            """
        let found = try found(script, in: page((Samples.text("10.0.13/autoconverge"), "one")))
        #expect(
            found["names"]?.array?.compactMap(\.string) == [
                "Memory left", "Sent and dirtied", "Downtime", "Guest throttled",
            ])
        #expect((found["points"]?.array?.first?.int64 ?? 0) > 50)
        #expect(found["lines"]?.array?[1].int64 == 2)
        #expect((found["passes"]?.int64 ?? 0) > 10)
        #expect(found["before"] != found["under"])
        #expect(found["labels"]?.array?.allSatisfy { $0.string?.contains("samples, from") ?? false } == true)
    }

    @Test("what is written can be read on what is under it", .enabled(if: Browser.isWide, "GODWIT_BROWSER=all runs it"))
    func contrast() throws {
        let script = """
            const light = (colour) => {
              const canvas = document.createElement("canvas").getContext("2d");
              canvas.fillStyle = colour;
              canvas.fillRect(0, 0, 1, 1);
              const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255)
                .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
              return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const low = [];
            let pairs = 0;
            for (const theme of ["light", "dark"]) {
              document.querySelector(`[data-choice=${theme}]`).click();
              const style = getComputedStyle(document.documentElement), value = (name) => style.getPropertyValue(name).trim();
              const check = (ink, under) => {
                const [a, b] = [light(value(ink)), light(value(under))].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
                pairs++;
                if (!(ratio >= 4.5)) low.push(`${theme}: ${ink} on ${under}: ${ratio.toFixed(2)}`);
              };
              for (const ink of ["--ink", "--soft", "--faint", "--accent", "--good", "--bad", "--warn", "--quiet"])
                for (const under of ["--paper", "--surface", "--sunken"]) check(ink, under);
              for (const word of ["start", "copy", "hold", "switch", "done", "post", "broken", "recover", "fail", "cancel", "odd"])
                check("--on-dark", `--c-${word}`);
              check("--on-light", "--c-phase");
              check("--accent", "--accent-soft");
            }
            return { low, pairs };
            """
        let found = try found(script, in: page((Samples.text("7.2.22/precopy-unix"), "one")))
        #expect(found["pairs"]?.int64 == 74)
        #expect(found["low"] == [], "\(found["low"]?.text() ?? "")")
    }

    @Test(
        "light and dark can be looked at", .enabled(if: Browser.isWide, "GODWIT_BROWSER=all runs it"),
        arguments: ["light", "dark"])
    func pictures(_ theme: String) throws {
        let directory = getenv("GODWIT_PICTURES").map { String(cString: $0) }
        let path = "\(directory ?? "/tmp")/godwit-report-\(theme).png"
        defer { if directory == nil { unlink(path) } }
        try Browser.picture(
            of: page((Samples.text("10.0.13/precopy-slow-polled"), "one")), to: path, size: "1280,2700",
            hash: "#theme=\(theme)")
        var status = stat()
        #expect(stat(path, &status) == 0)
        // A page that drew nothing is a few kilobytes of one colour.
        #expect(status.st_size > 100_000)
    }
}
