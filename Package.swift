// swift-tools-version: 6.2
import PackageDescription

/// One list for every Swift target, so that no target is laxer than its neighbour.
let swiftSettings: [SwiftSetting] = [
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0335-existential-any.md
    .enableUpcomingFeature("ExistentialAny"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0444-member-import-visibility.md
    .enableUpcomingFeature("MemberImportVisibility"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0409-access-level-on-imports.md
    .enableUpcomingFeature("InternalImportsByDefault"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0461-async-function-isolation.md
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0443-warning-control-flags.md
    .treatAllWarnings(as: .error),
]

/// A static Swift binary holds fifty thousand relative relocations: packed, they cost a megabyte of memory and a millisecond of every start less.
let executableLinkerSettings: [LinkerSetting] = [
    .unsafeFlags(
        ["-use-ld=lld", "-Xlinker", "-z", "-Xlinker", "pack-relative-relocs"],
        .when(platforms: [.linux], configuration: .release))
]

let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]

/// `make fuzz` sets it: the libraries are instrumented for libFuzzer, and there is a program that feeds them.
let isFuzzing = Context.environment["GODWIT_FUZZ"] != nil
let instrumentation: [SwiftSetting] = isFuzzing ? [.unsafeFlags(["-sanitize=fuzzer"])] : []

func library(_ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource] = []) -> Target {
    .target(
        name: name, dependencies: dependencies, resources: resources, swiftSettings: swiftSettings + instrumentation)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

let package = Package(
    name: "godwit",
    products: [
        .executable(name: "godwit", targets: ["godwit"]),
        .executable(name: "godwit-bench", targets: ["godwit-bench"]),
        .executable(name: "ModelChecker", targets: ["ModelChecker"]),
        .library(name: "Godwit", targets: ["Controller", "Replay"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .systemLibrary(name: "CJSONC", pkgConfig: "json-c", providers: [.apt(["libjson-c-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .target(name: "CLinux"),
        library("JSONC", ["CJSONC"]),
        library("QMP", ["JSONC", .product(name: "DequeModule", package: "swift-collections")]),
        library("Migration"),
        library("Phases", ["Migration", "Policy"]),
        library("Policy", ["Migration"]),
        library(
            "PolicyDocuments", ["Policy", "Migration", "JSONC"],
            resources: [
                "godwit", "none", "nova", "kubevirt-legacy", "kubevirt-stall", "ovirt-minimal-downtime",
                "ovirt-suspend-workload", "ovirt-postcopy", "ovirt-very-large", "proxmox", "virsh-timeout-suspend",
                "virsh-timeout-postcopy", "virsh-postcopy-after-precopy", "ganeti",
            ].map { .embedInCode("Policies/\($0).json") }),
        library("ModelChecking", ["Phases", "Migration"]),
        .executableTarget(
            name: "ModelChecker", dependencies: ["ModelChecking", "Phases", "Migration"], swiftSettings: swiftSettings),
        library("MigrationQMP", ["QMP", "Phases", "Migration", "Policy", "PolicyDocuments", "JSONC"]),
        library("Trace", ["JSONC", "CZlib", "CZstd"]),
        library(
            "Replay", ["Trace", "MigrationQMP", "Policy", "CLinux"],
            resources: ["report.css", "dom.js", "timeline.js", "curves.js", "messages.js", "sections.js", "page.js"]
                .map { .embedInCode("Report/Resources/\($0)") }),
        library("QMPTransport", ["QMP", "JSONC", "CLinux"] + nio),
        library("TraceServer", ["Trace", "QMPTransport", "MigrationQMP", "CLinux"] + nio),
        library(
            "Controller",
            [
                "Trace", "QMPTransport", "MigrationQMP", "Policy", "CLinux",
                .product(name: "Logging", package: "swift-log"),
            ]
                + nio
        ),
        library("GuestLab", ["CLinux", "JSONC"], resources: [.embedInCode("Resources/guest.s")]),
        library(
            "Commands",
            [
                "Controller", "Replay", "GuestLab", "QMPTransport", "TraceServer", "Policy", "PolicyDocuments",
                "CLinux",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ] + nio
        ),
        .executableTarget(
            name: "godwit",
            dependencies: ["Commands", .product(name: "ArgumentParser", package: "swift-argument-parser")],
            swiftSettings: swiftSettings,
            linkerSettings: executableLinkerSettings
        ),
        .target(name: "CBench", dependencies: ["CJSONC"]),
        library("BenchSupport"),
        .executableTarget(
            name: "godwit-bench",
            dependencies: [
                "BenchSupport", "CBench", "GuestLab", "QMPTransport", "QMP", "JSONC",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ] + nio,
            swiftSettings: swiftSettings,
            linkerSettings: executableLinkerSettings
        ),
        tests("JSONCTests", ["JSONC"]),
        tests("QMPTests", ["QMP", "JSONC"]),
        tests("MigrationTests", ["Migration"]),
        tests("PhasesTests", ["Phases", "Migration", "Policy"]),
        tests("PolicyTests", ["Policy", "PolicyDocuments", "Migration"]),
        tests("ModelCheckerTests", ["ModelChecking", "Phases", "Migration"]),
        tests("MigrationQMPTests", ["MigrationQMP"]),
        tests("TraceTests", ["Trace", "JSONC", "CZlib", "CZstd"]),
        tests("ReplayTests", ["Replay", "Trace", "MigrationQMP", "Policy"]),
        tests("ReportTests", ["Replay", "Trace", "JSONC", "GuestLab"]),
        tests("QMPTransportTests", ["QMPTransport", "CLinux"] + nio),
        tests("TraceServerTests", ["TraceServer", "Controller", "CLinux"] + nio),
        tests("ControllerTests", ["Controller", "TraceServer", "Replay", "Phases", "Policy", "Migration"] + nio),
        tests("CommandsTests", ["Commands", "Migration", "Phases", "Policy", "PolicyDocuments", "Replay", "Trace"]),
        tests("LiveTests", ["GuestLab", "JSONC", "QMP", "QMPTransport", "Trace", "godwit"]),
        tests("BenchSupportTests", ["BenchSupport", "Replay", "Trace"]),
    ],
    swiftLanguageModes: [.v6]
)

if isFuzzing {
    package.products.append(.executable(name: "Fuzz", targets: ["Fuzz"]))
    package.targets.append(
        .executableTarget(
            name: "Fuzz", dependencies: ["Replay", "Trace", "TraceServer", "JSONC"], path: "Tests/Fuzz",
            swiftSettings: swiftSettings + instrumentation,
            // gold cannot link it.
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]))
}
