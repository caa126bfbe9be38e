#!/usr/bin/env bash
# Runs every test. Those that need the kernel run as root (sudo when you are not); where that is refused they say so.
# The output ends with the tests that could not check something on this machine, and why. The harness reports them as "ok".
# usage: scripts/test.sh        TRACETUI_REQUIRE_KERNEL=1: fail when the kernel tests cannot run
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
not_checked() {
  echo "== not checked on this machine"
  awk '/^test .* \.\.\. / { test = $2 ": " }
    match($0, /(cannot run|not checked): .*/) { print "  " test substr($0, RSTART, RLENGTH); found = 1 }
    /(ok|FAILED)$/ { test = "" }
    END { if (!found) print "  nothing: every test ran" }' "$log" "$log.kernel"
  rm -f "$log" "$log.kernel"
}
trap not_checked EXIT
# The log is a pipe for cargo, which would then leave out the colours.
[ -t 1 ] && export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-always}

# All but the kernel tests, which come below. They take about 3 minutes after the build. One that hangs is named in the output, and
# stopped if there is no terminal: timeout(1) would keep Ctrl-C from the tests.
limit=()
[ -t 0 ] || limit=(timeout --kill-after=10 30m)
[ -z "$user" ] || "${limit[@]}" cargo test --workspace --locked 2>&1 | tee "$log"
[ -n "$kernel" ] || exit 0

echo "== tests that need the kernel"
as_root=()
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null; then
    as_root=(sudo "--preserve-env=TRACETUI_REQUIRE_KERNEL,TRACETUI_BTF_DIR,TRACETUI_BIN,TRACETUI_RINGS")
  else
    echo "neither root nor sudo: the tests report what they cannot check"
  fi
fi
# The optimised binary: the account must also hold where a slow reader would hide a fast kernel.
if [ -n "$built" ]; then
  test_binary=$built/kernel-tests
  TRACETUI_BIN=$(realpath "$built/tracetui")
  export TRACETUI_BIN
else
  test_binary=$(cargo test --locked --release -p tracetui --test kernel --no-run --message-format=json-render-diagnostics |
    sed -n 's/.*"executable":"\([^"]*\/kernel-[^"]*\)".*/\1/p' | tail -1)
fi
# They take about 10 minutes. One that hangs is the last in the output.
# The log is a file for them, not a pipe: tee would wait for every process that a failed test leaves behind.
"${as_root[@]}" timeout --foreground --kill-after=10 40m "$test_binary" --test-threads=1 >"$log.kernel" 2>&1 &
tail --quiet --lines=+1 --follow --pid=$! "$log.kernel"
wait $!
