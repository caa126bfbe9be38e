#!/usr/bin/env bash
# Installs what scripts/build-probes.sh needs: rust-src, and bpf-linker linked to the toolchain's own LLVM (a linker with
# another LLVM may not read this compiler's bitcode). Does nothing where both are there already.
# usage: scripts/install-bpf-toolchain.sh     (BPF_LINKER_VERSION, default 0.13.0)
set -euo pipefail
version=${BPF_LINKER_VERSION:-0.13.0}
sysroot=$(rustc --print sysroot)
if [ ! -d "$sysroot/lib/rustlib/src/rust/library/core" ]; then
  rustup component add rust-src
fi
if [ "$(bpf-linker --version 2>/dev/null)" = "bpf-linker $version" ]; then
  echo "bpf-linker $version is there"
  exit 0
fi
# libLLVM.so.22.1-rust-1.95.0-stable and the like; its first number selects bpf-linker's feature.
llvm=$(find "$sysroot/lib" -maxdepth 1 -name 'libLLVM.so.*' -o -maxdepth 1 -name 'libLLVM-*.so' | sort | tail -1)
[ -n "$llvm" ] || { echo "no libLLVM in $sysroot/lib: this toolchain links LLVM statically" >&2; exit 1; }
major=$(basename "$llvm" | sed 's/^libLLVM\(\.so\.\|-\)\([0-9]*\).*/\2/')
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
mkdir "$prefix/lib"
ln -s "$llvm" "$prefix/lib/libLLVM.so"
LLVM_PREFIX=$prefix RUSTFLAGS="-C link-arg=-Wl,-rpath,$sysroot/lib" \
  cargo install bpf-linker --version "$version" --no-default-features --features "llvm-$major"
