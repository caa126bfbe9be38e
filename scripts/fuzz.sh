#!/usr/bin/env bash
# Fuzzes the parsers of bytes from outside (tui/fuzz), as many targets at a time as there are CPUs. What makes one panic, take 10 s
# or more than 1 GiB is kept in target/fuzz/artifacts/TARGET/, and fails.
# usage: scripts/fuzz.sh [TARGET...]     TRACETUI_FUZZ_SECONDS: for each target (default 60)
#        scripts/fuzz.sh --build         only builds them
#        scripts/fuzz.sh --minimize [TARGET...]   writes to tui/fuzz/corpus/ what was found: small inputs that add many branches
# It needs a C++ compiler (installed if it is missing), and neither a nightly toolchain nor cargo-fuzz. With both,
# `cargo +nightly fuzz run TARGET` adds the address sanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${TRACETUI_FUZZ_SECONDS:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
out=$PWD/target/fuzz
mapfile -t all < <(sed -n 's|^path = "fuzz_targets/\(.*\)\.rs"|\1|p' tui/fuzz/Cargo.toml)

# libFuzzer is in C++.
if ! command -v c++ >/dev/null; then
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  echo "installing g++"
  "${as_root[@]}" apt-get -qq update
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y g++ >/dev/null
fi

# The flags of cargo-fuzz, but those of the sanitizer, which are not stable. With --target, build scripts get none of them.
flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS=$flags CARGO_TARGET_DIR=$out cargo build --locked --release --manifest-path tui/fuzz/Cargo.toml --target "$host"

# The largest input, in bytes.
largest() {
  case $1 in
    recording) echo 32768 ;;
    btf | diff | frames) echo 16384 ;;
    dashboard | symbols) echo 8192 ;;
    *) echo 2048 ;;
  esac
}

# Runs a target with these arguments. What it says goes to target/fuzz/TARGET.log.
run() {
  local target=$1 dict=tui/fuzz/$1.dict
  shift
  mkdir -p "$out/corpus/$target" "$out/artifacts/$target"
  # A size that an input claims is an address space that is refused, also where nothing is written to it.
  (
    ulimit -v 4194304
    exec "$out/$host/release/$target" -rss_limit_mb=1024 -timeout=10 -max_len="$(largest "$target")" \
      -artifact_prefix="$out/artifacts/$target/" ${dict:+$([ -f "$dict" ] && echo "-dict=$dict")} "$@"
  ) >"$out/$target.log" 2>&1
}

fuzz() {
  local target=$1 seeds=("tui/fuzz/corpus/$1")
  case $target in
    btf) seeds+=(tui/tests/data/btf) ;;
    recording) seeds+=(tui/tests/data/recordings) ;;
  esac
  if run "$target" -max_total_time="$seconds" -print_final_stats=1 "$out/corpus/$target" "${seeds[@]}"; then
    echo "$target: $(grep -aE '^#[0-9]+' "$out/$target.log" | tail -1 | tr '\t' ' ')"
  else
    tail -40 "$out/$target.log"
    echo "$target: failed; its input is in $out/artifacts/$target/"
    return 1
  fi
}

# The fuzzer lists the inputs from the smallest on, each with the branches that no smaller one took.
minimize() {
  local target=$1 corpus=tui/fuzz/corpus/$1 dir input
  dir=$(mktemp -d)
  mkdir "$dir/all" "$dir/few"
  run "$target" -merge=1 -merge_control_file="$dir/control" "$dir/all" "$corpus" "$out/corpus/$target"
  awk 'NR > 2 && !/^(STARTED|FT|COV) / { names[NR - 3] = $0 } /^COV / && NF >= 18 { print names[$2] }' "$dir/control" |
    while read -r input; do
      # A name that is no checksum was given by hand.
      if [ "$(stat -c %s "$input")" -le 1536 ] && [[ ${input##*/} =~ ^[0-9a-f]{40}$ ]]; then
        cp "$input" "$dir/few/"
      fi
    done
  find "$corpus" -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -delete
  find "$dir/few" -type f -exec cp -t "$corpus" {} +
  echo "$target: $(find "$corpus" -type f | wc -l) inputs, $(du -bs "$corpus" | cut -f1) bytes"
  rm -rf "$dir"
}

work=fuzz
case ${1:-} in
  --build) exit ;;
  --minimize) work=minimize; shift ;;
esac
[ $# -gt 0 ] || set -- "${all[@]}"
failed=0
for target; do
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
    wait -n || failed=1
  done
  "$work" "$target" &
done
while [ -n "$(jobs -p)" ]; do
  wait -n || failed=1
done
exit "$failed"
