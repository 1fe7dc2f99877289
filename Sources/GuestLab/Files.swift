import Glibc

/// The text of errno.
func systemMessage(_ number: Int32 = errno) -> String {
    String(cString: strerror(number))
}

/// The whole file, or nil when it cannot be opened or read.
func readFile(_ path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = read(descriptor, &buffer, buffer.count)
        if count > 0 {
            bytes.append(contentsOf: buffer[..<count])
        } else if count == 0 {
            return bytes
        } else if errno != EINTR {
            return nil
        }
    }
}

func writeFile(_ path: String, _ bytes: [UInt8]) throws(LabError) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw LabError(.file, "cannot create \(path): \(systemMessage())") }
    defer { close(descriptor) }
    var done = 0
    while done < bytes.count {
        let count = bytes.withUnsafeBytes { buffer in
            write(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done)
        }
        if count > 0 {
            done += count
        } else if errno != EINTR {
            throw LabError(.file, "cannot write \(path): \(systemMessage())")
        }
    }
}

/// Where a program stands, by PATH unless its name holds a slash.
func findProgram(_ name: String) -> String? {
    if name.utf8.contains(UInt8(ascii: "/")) { return access(name, X_OK) == 0 ? name : nil }
    let search = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin"
    for directory in search.split(separator: ":") {
        let path = "\(directory)/\(name)"
        if access(path, X_OK) == 0 { return path }
    }
    return nil
}

/// The last lines of a file, for an error message.
func lastLines(of path: String, count: Int = 5) -> String {
    let text = String(decoding: readFile(path) ?? [], as: UTF8.self)
    return text.split(whereSeparator: \.isNewline).suffix(count).joined(separator: "; ")
}

/// Removes a directory with all that is in it; follows no symbolic link.
func removeTree(_ path: String) {
    if let directory = opendir(path) {
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        closedir(directory)
        for name in names {
            let inner = "\(path)/\(name)"
            var information = stat()
            if lstat(inner, &information) == 0, information.st_mode & S_IFMT == S_IFDIR {
                removeTree(inner)
            } else {
                unlink(inner)
            }
        }
    }
    rmdir(path)
}
