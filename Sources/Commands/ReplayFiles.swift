internal import Glibc

/// The traces that a command line names: files, and all in its directories.
enum ReplayFiles {
    private static let endings = [".qmptrace", ".qmptrace.gz", ".qmptrace.zst"]
    private static let maximumDepth = 32

    /// The files that are meant: a directory stands for the traces in it and below, in the order of their names.
    static func expand(_ name: String) -> Result<[String], InputError> {
        var status = stat()
        // What is no directory is opened as it is, whatever comes of it.
        guard name != "-", stat(name, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return .success([name]) }
        var files: [String] = []
        if let problem = collect(name, depth: 0, into: &files) { return .failure(problem) }
        guard !files.isEmpty else {
            return .failure(
                InputError(
                    description: "\(name): no traces in there (names ending with \(endings.joined(separator: ", ")))"))
        }
        return .success(files)
    }

    /// Whether it is something that grows while it is read: standard input, a pipe.
    static func isStream(_ name: String) -> Bool {
        var status = stat()
        return name == "-" || stat(name, &status) == 0 && status.st_mode & S_IFMT != S_IFREG
    }

    private static func collect(_ directory: String, depth: Int, into files: inout [String]) -> InputError? {
        guard let handle = opendir(directory) else {
            return InputError(description: "\(directory): \(String(cString: strerror(errno)))")
        }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        closedir(handle)
        for name in names.sorted() {
            let path = directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)"
            var status = stat()
            // Links to directories are not followed: they may go round in circles.
            guard lstat(path, &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                guard depth < maximumDepth else { return InputError(description: "\(path): too deep") }
                if let problem = collect(path, depth: depth + 1, into: &files) { return problem }
            } else if endings.contains(where: { name.hasSuffix($0) }) {
                files.append(path)
            }
        }
        return nil
    }
}
