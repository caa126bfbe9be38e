#!/usr/bin/env bash
# Runs every test. Those that need the kernel run as root (sudo when you are not); where that is refused they say so.
# Each file of tests has a line with its result; failures are shown in full. The output ends with the ten slowest tests, and the tests
# that could not check something on this machine, and why. The harness reports them as "ok".
# usage: scripts/test.sh        TRACETUI_REQUIRE_KERNEL=1: fail when the kernel tests cannot run
#                               TRACETUI_PROFILE=release: cargo's profile, if not dev
#        scripts/test.sh --user          only those that do not need the kernel
#        scripts/test.sh --kernel [DIR]  only those that do; DIR/kernel-tests, with the program DIR/tracetui, instead of building them
set -euo pipefail
cd "$(dirname "$0")/.."
user=1 kernel=1 built=''
case ${1:-} in
  '') ;;
  --user) kernel='' ;;
  --kernel) user='' built=${2:-} ;;
  *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" && exit 2 ;;
esac

log=$(mktemp)
: >"$log.kernel"
# What the logs say of each test. Only with one thread does the harness print the name before the test runs.
summary() {
  echo "== the ten slowest tests"
  awk '/ Running / { file = $0; sub(/.*\//, "", file); sub(/-[0-9a-f]*\).*/, "", file) }
    FILENAME ~ /kernel$/ { file = "kernel" }
    /^test .* \.\.\. / { test = $2 }
    match($0, /<[0-9.]+s>$/) { printf "%9.1f s  %s %s\n", substr($0, RSTART + 1), file, test }' "$log" "$log.kernel" |
    sort -rn | awk 'NR <= 10'
  echo "== not checked on this machine"
  awk '/^test .* \.\.\. / { test = $2 ": " }
    match($0, /(cannot run|not checked): .*/) { print "  " test substr($0, RSTART, RLENGTH); found = 1 }
    /(ok|FAILED)( <.*>)?$/ { test = "" }
    END { if (!found) print "  nothing: every test ran" }' "$log" "$log.kernel"
  rm -f "$log" "$log.kernel"
}
trap summary EXIT
# Passes on the output of a harness, but for the tests that passed. Of the kernel tests, prints a line after each file.
progress() {
  local line test='' file='' passed=0 ms=0
  end_file() {
    [ -z "$file" ] || printf '%-24s %3d passed in %d.%d s\n' "$file" "$passed" $((ms / 1000)) $((ms % 1000 / 100))
    file=${1:-} passed=0 ms=0
  }
  while IFS= read -r line; do
    case $line in
      failures: | 'test result: '*) end_file ;;
      'test '*' ... '*)
        test=${line#test } test=${test%%::*}
        [ -z "${1:-}" ] || [ "$test" = "$file" ] || end_file "$test"
        ;;
    esac
    if [[ $line =~ (^|\ )ok(\ \<([0-9]+)\.([0-9]{3})s\>)?$ ]]; then
      passed=$((passed + 1)) ms=$((ms + 10#0${BASH_REMATCH[3]}${BASH_REMATCH[4]}))
    elif [ -n "$line" ] && [[ $line != 'running '* ]]; then
      printf '%s\n' "$line"
    fi
  done
}
# The harness reports the time of each test only with an unstable option.
timed=(-Z unstable-options --report-time)
# The log is a pipe for cargo, which would then leave out the colours.
[ -t 1 ] && export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-always}

# One build for all: the features of dependencies are those of the whole workspace in each call.
build=(--workspace --locked --profile "${TRACETUI_PROFILE:-dev}")

# All but the kernel tests, which come below. One that hangs is named in the output, and stopped if there is no terminal: timeout(1)
# would keep Ctrl-C from the tests.
limit=()
[ -t 0 ] || limit=(timeout --kill-after=10 30m)
if [ -n "$user" ]; then
  "${limit[@]}" cargo test "${build[@]}" --lib --bins --examples --tests \
    --config "target.'cfg(all())'.runner = ['env', 'RUSTC_BOOTSTRAP=1']" -- "${timed[@]}" 2>&1 | tee "$log" | progress
  "${limit[@]}" cargo test "${build[@]}" --doc 2>&1 | tee -a "$log" | progress
fi
[ -n "$kernel" ] || exit 0

echo "== tests that need the kernel"
as_root=()
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null; then
    as_root=(sudo "--preserve-env=TRACETUI_REQUIRE_KERNEL,TRACETUI_BTF_DIR,TRACETUI_BIN,TRACETUI_RINGS,TRACETUI_INVENTORY")
  else
    echo "neither root nor sudo: the tests report what they cannot check"
  fi
fi
if [ -n "$built" ]; then
  test_binary=$built/kernel-tests
  TRACETUI_BIN=$(realpath "$built/tracetui")
  export TRACETUI_BIN
else
  test_binary=$(cargo test "${build[@]}" --test kernel --no-run --message-format=json-render-diagnostics |
    sed -n 's/.*"executable":"\([^"]*\/kernel-[^"]*\)".*/\1/p' | tail -1)
fi
# They take about 10 minutes. The log of one that hangs ends with its name.
# The log is a file for them, not a pipe: tee would wait for every process that a failed test leaves behind.
"${as_root[@]}" timeout --foreground --kill-after=10 40m env RUSTC_BOOTSTRAP=1 "$test_binary" --test-threads=1 "${timed[@]}" \
  >"$log.kernel" 2>&1 &
tail --quiet --lines=+1 --follow --pid=$! "$log.kernel" | progress kernel
wait $! || { tail -1 "$log.kernel" && exit 1; }
