# SPDX-License-Identifier: Apache-2.0
# The common tasks, by name. The work is meson's and scripts/'s.
#   make build    the three programs, in build/
#   make deb      the Debian package, build/horcrux_*.deb
#   make check    unit, golden and fake-kernel tests (no root, minutes)
#   make lab      the tests in virtual machines (root); T=name runs those whose name matches
#   make test     every ring there is (root)
#   make demo     the whole journey in a lab host, shown (root)
#   make bench    benchmarks, as ratios against peers
#   make tidy     clang's warnings and clang-tidy
#   make format   clang-format on every source file
MAKEFLAGS += --no-print-directory
JOBS ?= $(shell nproc)
PROGRAMS = horcruxd horcrux-privd horcrux

.PHONY: build deb deps check laws lab test demo bench tidy format clean

build: deps
	@test -f build/meson/build.ninja || meson setup -Dbuildtype=debugoptimized build/meson >/dev/null
	@ninja -C build/meson -j $(JOBS) --quiet
	@for p in $(PROGRAMS); do find build/meson/src -type f -name $$p -exec ln -f {} build/$$p \; ; done
	@for p in $(PROGRAMS); do echo "build/$$p"; done

deb:
	@scripts/deps build deb
	@scripts/deb

deps:
	@scripts/deps build

check:
	@scripts/deps build check
	@scripts/rings check

laws:
	@scripts/deps check
	@scripts/laws

lab:
	@scripts/deps build check lab
	@scripts/rings lab $(T)

test:
	@scripts/deps build check lab bench tidy
	@scripts/rings all

demo:
	@scripts/deps lab
	@scripts/demo

bench: build
	@scripts/deps bench
	@scripts/rings bench $(T)

tidy:
	@scripts/deps build tidy
	@scripts/tidy

format:
	@git ls-files 'src/*.[ch]' 'tests/*.[ch]' | xargs clang-format -i

clean:
	rm -rf build
