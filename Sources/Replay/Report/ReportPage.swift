/// Puts the page together: what is fixed comes from the resources, what comes from a recording is escaped.
///
/// The data stands in a script element of a type that is not executed. Within it no `<` is left, so nothing in a
/// recording can end the
/// element; the scripts put text into the page as text only.
struct ReportPage {
    private var bytes: [UInt8] = []

    init(title: String, fallback: String) {
        bytes.reserveCapacity(1 << 17)
        raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        // Nothing is loaded, sent or framed, whatever a recording says.
        raw(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
                + "script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">\n")
        raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        raw(
            "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"godwit\">\n<title>"
        )
        escaped(title)
        raw("</title>\n<style>\n")
        bytes += PackageResources.report_css
        raw("</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">To the content</a>\n")
        raw("<div id=\"app\"></div>\n<noscript><main><h1>")
        escaped(title)
        raw("</h1><p>Drawings and the table of messages need JavaScript. The explanation as text:</p><pre>")
        escaped(fallback)
        raw("</pre></main></noscript>\n<script type=\"application/json\" id=\"data\">")
    }

    /// Appends a piece of the data, which is JSON: only strings in it can hold what is escaped here.
    mutating func append(data text: String) { append(data: Array(text.utf8)) }

    /// The same of bytes.
    mutating func append(data json: [UInt8]) {
        bytes.reserveCapacity(bytes.count + json.count + json.count / 16)
        for byte in json {
            switch byte {
            case UInt8(ascii: "<"): raw("\\u003c")
            case UInt8(ascii: ">"): raw("\\u003e")
            case UInt8(ascii: "&"): raw("\\u0026")
            default: bytes.append(byte)
            }
        }
    }

    /// Ends the page.
    consuming func finish() -> [UInt8] {
        raw("</script>\n<script>\n\"use strict\";\n(() => {\n")
        for part in [
            PackageResources.dom_js, PackageResources.timeline_js, PackageResources.curves_js,
            PackageResources.messages_js,
            PackageResources.sections_js, PackageResources.page_js,
        ] {
            bytes += part
        }
        raw("})();\n</script>\n</body>\n</html>\n")
        return bytes
    }

    private mutating func raw(_ text: StaticString) { text.withUTF8Buffer { bytes.append(contentsOf: $0) } }

    private mutating func raw(_ text: String) { bytes += text.utf8 }

    private mutating func escaped(_ text: String) {
        for byte in PlainText.lines(text).utf8 {
            switch byte {
            case UInt8(ascii: "<"): raw("&lt;")
            case UInt8(ascii: ">"): raw("&gt;")
            case UInt8(ascii: "&"): raw("&amp;")
            case UInt8(ascii: "\""): raw("&quot;")
            default: bytes.append(byte)
            }
        }
    }
}
