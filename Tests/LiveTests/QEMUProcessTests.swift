import Glibc
import GuestLab
import Testing

@Suite(.serialized, Live.available) struct QEMUProcessTests {
    /// A second descriptor of the same process: still valid when the object is gone.
    private func ended(_ pidfd: Int32, within milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) == 1
    }

    @Test func endsWithItsObjectAndItsFilesWithIt() throws {
        var directory: LabDirectory? = try LabDirectory()
        let path = try #require(directory?.path)
        var qemu: QEMUProcess? = try QEMUProcess.start(.init(label: "source"), in: #require(directory))
        directory = nil
        let witness = dup(try #require(qemu?.pidfd))
        defer { close(witness) }
        #expect(access(path, F_OK) == 0)
        #expect(!ended(witness, within: 0))
        qemu = nil
        #expect(ended(witness, within: 0))
        #expect(access(path, F_OK) != 0)
    }

    @Test func aStoppedProcessCanBeKilled() throws {
        let directory = try LabDirectory()
        let qemu = try QEMUProcess.start(.init(label: "source"), in: directory)
        #expect(qemu.signal(SIGSTOP))
        #expect(qemu.waitForExit(timeout: .milliseconds(50)) == nil)
        qemu.kill()
        #expect(qemu.status == .signalled(SIGKILL))
        #expect(!qemu.signal(SIGCONT))
    }

    /// The kernel's parent-death signal comes when the thread that forked ends; threads of a pool do.
    @Test func outlivesTheThreadThatStartedIt() async throws {
        let directory = try LabDirectory()
        let qemu = try await onThread { try QEMUProcess.start(.init(label: "source"), in: directory) }
        #expect(try await qemu.waitForExit(timeout: .milliseconds(300)) == nil)
    }

    /// In a root of its own, with the same paths as outside and as the same process.
    @Test(Live.several) func startsInAnotherRoot() throws {
        for qemu in PreparedQEMU.all {
            let directory = try LabDirectory()
            var options = QEMUProcess.Options(label: "other", image: try GuestImage.build(in: directory.path))
            options.root = qemu.root
            let process = try QEMUProcess.start(options, in: directory)
            try process.waitForHeartbeat(after: 1)
            let mounted = fileText("/proc/self/mounts")
            #expect(qemu.root.map { !mounted.contains($0) } ?? true, "\(qemu): its mounts are its own")
            process.kill()
            #expect(process.status == .signalled(SIGKILL), "\(qemu)")
        }
    }

    @Test func tellsWhyQEMUDidNotStart() throws {
        let directory = try LabDirectory()
        var options = QEMUProcess.Options(label: "source")
        options.extraArguments = ["-device", "no-such-device"]
        let error = #expect(throws: LabError.self) { try QEMUProcess.start(options, in: directory) }
        #expect(error?.code == .ended)
        #expect(error?.message.contains("no-such-device") == true)
        #expect(error?.message.contains("exit status 1") == true)

        options.binary = "qemu-system-nowhere"
        #expect(throws: LabError(.programMissing, "qemu-system-nowhere is not in PATH")) {
            try QEMUProcess.start(options, in: directory)
        }
    }

    @Test func refusesAbsurdNumbers() throws {
        let directory = try LabDirectory()
        for (rate, dirty, beat) in [(-1, 1, 1), (1, -1, 1), (1, 5000, 1), (1, 1, 0), (2_000_000, 1, 1)] {
            let error = #expect(throws: LabError.self) {
                try GuestImage.build(
                    in: directory.path,
                    dirtyMiBPerSecond: rate,
                    dirtyMemoryMiB: dirty,
                    heartbeatMilliseconds: beat
                )
            }
            #expect(error?.code == .parameter)
        }
        let image = try GuestImage.build(in: directory.path, dirtyMemoryMiB: 512)
        let error = #expect(throws: LabError.self) {
            try QEMUProcess.start(.init(label: "source", image: image), in: directory)
        }
        #expect(error?.message == "memoryMiB is 128, the guest needs at least 516")
    }

    @Test func aDirectoryIsRemovedWithAllInIt() throws {
        let directory = try LabDirectory()
        #expect(directory.path.utf8.count < 80)
        mkdir(directory.file("inner"), 0o700)
        symlink("/", directory.file("inner/root"))
        directory.remove()
        #expect(access(directory.path, F_OK) != 0)
        #expect(access("/etc", F_OK) == 0)
    }
}
