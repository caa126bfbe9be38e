#!/usr/bin/env bash
# What .ci/run leaves out to stay short: the kernel tests with the program that plain cargo builds, with one ring and with two; a fleet
# in small; ten minutes of fuzzing for each target; and the kernel matrix of both architectures. It takes about three hours on
# two processors. Run it before a release, and after a change of the probes or of a parser.
# usage: scripts/full.sh
set -euo pipefail
cd "$(dirname "$0")/.."
.ci/run
export TRACETUI_REQUIRE_KERNEL=1
TRACETUI_PROFILE=release scripts/test.sh --kernel
TRACETUI_PROFILE=release TRACETUI_RINGS=2 scripts/test.sh --kernel
scripts/fleet.sh
TRACETUI_FUZZ_SECONDS=${TRACETUI_FUZZ_SECONDS:-600} scripts/fuzz.sh
scripts/kernel-matrix.sh --arch all
