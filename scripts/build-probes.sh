#!/usr/bin/env bash
# Builds the kernel probes into crates/live/src/probes.bpf.o, byte for byte the same wherever it is built.
# usage: scripts/build-probes.sh [OUT.o]     (BPF_LINKER: the linker's path; CARGO_TARGET_DIR: where cargo works)
# Needs what scripts/install-bpf-toolchain.sh installs.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=$(realpath -m "${1:-$root/crates/live/src/probes.bpf.o}")
target=bpfel-unknown-none
sysroot=$(rustc --print sysroot)
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/probes
# build-std is not stable; the compiler is.
export RUSTC_BOOTSTRAP=1 CARGO_INCREMENTAL=0
export CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER=${BPF_LINKER:-bpf-linker}
# This variable replaces every other source of flags, so all of them stand here. No path of this machine may remain.
# No BTF from the compiler: it would be 60 % of the object, and the little that is needed is in functions.rs.
# A reference is not the only way to its value: helpers, other programs and functions of the same program write to map values.
# Blocks stay in source order: 5.10's verifier refuses a loop whose last block falls through into its first one.
flags=(
  -Cdebuginfo=0
  -Clink-arg=--llvm-args=-disable-block-placement
  -Zmutable-noalias=no
  "--remap-path-prefix=$root=/src"
  "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
  "--remap-path-prefix=$sysroot=/rust"
)
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; printf '%s' "${flags[*]}")
export CARGO_ENCODED_RUSTFLAGS
cd "$root/probes-ebpf"
cargo build --release --locked --target "$target" -Z build-std=core
mkdir -p "$(dirname "$out")"
LD_LIBRARY_PATH=$sysroot/lib "$sysroot/lib/rustlib/$host/bin/rust-objcopy" --strip-debug \
  "$CARGO_TARGET_DIR/$target/release/tracetui-probes" "$out"
sha256sum "$out"
