# Needs Swift 6.2 or newer in PATH; Debian has no package of it. Everything else comes from Debian, see PACKAGES.

PACKAGES = binutils ca-certificates g++ git libjson-c-dev libzstd-dev pkg-config qemu-system-x86 zlib1g-dev

# The smoke test of `godwit report` draws a page in a real browser: 64 MB to fetch, some ten seconds, so that `make test` has it and
# who only builds or looks at the demonstration has not. Without it the test is skipped and says so. The tests of TLS make certificates.
TEST_PACKAGES = chromium-headless-shell openssl

PREFIX ?= /usr/local
DESTDIR ?=
DEMO_ARGUMENTS ?=

# Roots with the QEMUs of other Debian releases (`make qemus`), for the live tests.
GODWIT_QEMUS ?= .build/qemus
BENCH_ARGUMENTS ?=

# What `make fuzz` feeds, and for how many seconds each.
FUZZ_TARGETS ?= trace scan index explain proxy convert qmp replies libvirt qmp-shell qemu-trace
SECONDS ?= 60

SWIFT ?= swift
SOURCES = Package.swift Sources Tests

.DEFAULT_GOAL := help
.PHONY: help demo test qemus check-live check-modes check-peers check-thorough check-browser check-model check-model-quick test-deps build install docs lint bench bench-replay fuzz clean deps \
	swift-version

help:
	@echo 'make demo      boot two QEMUs with a small guest, migrate it, show what happened'
	@echo 'make test      build, lint, run all tests, live migrations included'
	@echo 'make check-live  the live migrations, the wider ones too (some minutes)'
	@echo 'make qemus     install the QEMUs of other Debian releases below GODWIT_QEMUS ($(GODWIT_QEMUS)), for check-modes'
	@echo 'make check-modes  the live migrations, all of them, with each QEMU of `make qemus` (an hour)'
	@echo 'make check-peers  what is served and recorded, with clients of other people (Python, PyPI)'
	@echo 'make check-thorough  the sweeps with faults, nothing left out (some minutes)'
	@echo 'make check-browser  the pages of godwit report in a headless Chromium, all of it (a minute)'
	@echo 'make check-model  explore everything that can befall a migration, with its figures (many minutes)'
	@echo 'make build     build for release: .build/release/godwit'
	@echo 'make install   install it into $$DESTDIR$$PREFIX/bin (PREFIX=$(PREFIX))'
	@echo 'make bench     build for release and measure (BENCH_ARGUMENTS=...)'
	@echo 'make bench-replay  measure replays of large traces beside orjson and wc (some minutes, 4 GB of disk)'
	@echo 'make docs      write the tables in the documentation anew, from the program'
	@echo 'make fuzz      feed mutated recordings to every reader, SECONDS=60 each (FUZZ_TARGETS=...)'
	@echo 'make lint      check the form of all Swift files'
	@echo 'make deps      install the Debian packages that are missing'
	@echo 'make clean     remove what was built'

demo: swift-version deps
	$(SWIFT) build --product godwit
	.build/debug/godwit demo $(DEMO_ARGUMENTS)

test: swift-version deps test-deps lint check-model-quick
	$(SWIFT) build --build-tests
	@! ldd .build/debug/godwit | grep -E 'libFoundation(Networking|XML)?\.so' || { echo 'godwit links the full Foundation' >&2; exit 1; }
	$(SWIFT) test --skip-build --disable-xctest

check-live: swift-version deps
	$(SWIFT) build --build-tests
	GODWIT_LIVE=all $(SWIFT) test --skip-build --disable-xctest --filter LiveTests

# 5.2, 10.0 and 11.1 beside the 7.2 of this system; 250 MiB each. What is there already is not fetched again.
qemus:
	Tests/qemus.sh '$(GODWIT_QEMUS)'

# One of them alone: GODWIT_QEMUS=.build/qemus/trixie.
check-modes: swift-version deps
	$(SWIFT) build --build-tests
	GODWIT_QEMUS='$(abspath $(GODWIT_QEMUS))' GODWIT_LIVE=all $(SWIFT) test --skip-build --disable-xctest --filter LiveTests

# GODWIT_PICTURES=DIRECTORY keeps pictures of the page in light and dark.
check-browser: swift-version deps test-deps
	$(SWIFT) build --build-tests
	GODWIT_BROWSER=all $(SWIFT) test --skip-build --disable-xctest --filter ReportTests

# Clients that nobody here wrote, from PyPI.
check-peers: swift-version deps
	@python3 -c 'import venv, ensurepip' 2>/dev/null || { echo 'Needs python3-venv.' >&2; exit 1; }
	test -x .build/peers/bin/qmp-shell || { python3 -m venv .build/peers && .build/peers/bin/pip install -q 'qemu.qmp>=0.0.3'; }
	$(SWIFT) build --build-tests
	GODWIT_PEER_PYTHON='$(CURDIR)/.build/peers/bin/python' $(SWIFT) test --skip-build --disable-xctest --filter PeerTests

check-thorough: swift-version deps
	$(SWIFT) build --build-tests
	GODWIT_THOROUGH=1 $(SWIFT) test --skip-build --disable-xctest --filter 'PhasesTests|ControllerTests|ReplayTests'

# The model checker needs optimised code; three small modules, nothing else.
check-model-quick: swift-version
	$(SWIFT) build -c release --product ModelChecker
	.build/release/ModelChecker --bounds quick
	.build/release/ModelChecker --mutant quick

check-model: swift-version
	$(SWIFT) build -c release --product ModelChecker
	.build/release/ModelChecker --mutant all
	.build/release/ModelChecker --bounds deep

build: swift-version deps
	$(SWIFT) build -c release --static-swift-stdlib --product godwit

install: build
	install -D -s -m 755 .build/release/godwit '$(DESTDIR)$(PREFIX)/bin/godwit'

bench: swift-version deps
	$(SWIFT) build -c release --static-swift-stdlib --product godwit
	$(SWIFT) build -c release --static-swift-stdlib --product godwit-bench
	.build/release/godwit-bench $(BENCH_ARGUMENTS)

# Replays of generated traces beside orjson, which comes from PyPI into an environment of its own. Needs some gigabytes of disk.
bench-replay: swift-version deps
	$(SWIFT) build -c release --static-swift-stdlib --product godwit
	$(SWIFT) build -c release --static-swift-stdlib --product godwit-bench
	@test -x .build/orjson/bin/python || python3 -m venv .build/orjson
	@.build/orjson/bin/python -c 'import orjson' 2>/dev/null || .build/orjson/bin/pip -q install orjson || \
		echo 'Going on without orjson.' >&2
	.build/release/godwit-bench replay --runs 5 --linear --python .build/orjson/bin/python $(BENCH_ARGUMENTS)

# Between `<!-- table: NAME ... -->` and `<!-- end -->` stands what `godwit table NAME ... --format markdown` prints.
docs: swift-version deps
	$(SWIFT) build --product godwit
	@for file in README.md Sources/*/*.docc/*.md; do \
		awk '/^<!-- table: .* -->$$/ { print; print ""; skipping = 1; \
			name = $$0; sub(/^<!-- table: /, "", name); sub(/ -->$$/, "", name); \
			if (system(".build/debug/godwit table " name " --format markdown >.build/table.md") != 0) exit 1; \
			while ((getline line < ".build/table.md") > 0) print line; close(".build/table.md"); print ""; next } \
			/^<!-- end -->$$/ { skipping = 0 } !skipping' "$$file" >.build/document.md || exit 1; \
		cmp -s .build/document.md "$$file" || { cp .build/document.md "$$file"; echo "$$file"; }; \
	done

lint: swift-version
	$(SWIFT) format lint --strict --recursive $(SOURCES)

# Each target by itself, from the fixtures; a finding stops it and is left in .build/fuzz/found. Never part of `make test`.
fuzz: swift-version deps
	GODWIT_FUZZ=1 $(SWIFT) build -c release --scratch-path .build/fuzz --sanitize address --product Fuzz
	@mkdir -p .build/fuzz/found; \
	for target in $(FUZZ_TARGETS); do \
		mkdir -p ".build/fuzz/corpus/$$target"; \
		echo "fuzzing $$target for $(SECONDS) s"; \
		GODWIT_FUZZ=$$target SWIFT_BACKTRACE=enable=no .build/fuzz/release/Fuzz -max_total_time=$(SECONDS) -max_len=8192 \
			-rss_limit_mb=2048 -timeout=20 -print_final_stats=1 -verbosity=0 -artifact_prefix=".build/fuzz/found/$$target-" \
			".build/fuzz/corpus/$$target" Fixtures/traces/7.2.22 Fixtures/foreign || exit 1; \
	done

clean:
	rm -rf .build

# Only what is missing is installed, so that a machine that has everything needs neither root nor a network.
deps:
	@command -v dpkg-query >/dev/null || { echo 'Not a Debian system. Needed are the likes of: $(PACKAGES)'; exit 0; }; \
	missing=; \
	for package in $(PACKAGES); do \
		test "$$(dpkg-query -W -f '$${db:Status-Status}' "$$package" 2>/dev/null)" = installed || missing="$$missing $$package"; \
	done; \
	test -n "$$missing" || exit 0; \
	if test "$$(id -u)" = 0; then sudo=; \
	elif command -v sudo >/dev/null; then sudo=sudo; \
	else echo "Missing:$$missing. Install them as root, or install sudo." >&2; exit 1; fi; \
	echo "Installing:$$missing"; \
	$$sudo apt-get -q update && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $$missing

# What a test can do without, it is asked for and not insisted on.
test-deps:
	@$(MAKE) --no-print-directory deps PACKAGES='$(TEST_PACKAGES)' || echo 'Going on without: $(TEST_PACKAGES). What needs them is skipped.' >&2

swift-version:
	@version=$$($(SWIFT) --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1); \
	if test -z "$$version"; then \
		echo 'Swift 6.2 or newer must be in PATH, and there is none: https://www.swift.org/install/linux/' >&2; exit 1; \
	elif test "$${version%%.*}" -lt 6 || { test "$${version%%.*}" -eq 6 && test "$${version#*.}" -lt 2; }; then \
		echo "Swift 6.2 or newer must be in PATH, this is $$version: https://www.swift.org/install/linux/" >&2; exit 1; \
	fi
