#!/usr/bin/env bash
# Builds tracetui and starts it as root. usage: scripts/run.sh [ARGUMENT…]
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
cargo build --release --locked --manifest-path "$here/Cargo.toml"
if [ "$(id -u)" = 0 ]; then
  exec "$here/target/release/tracetui" "$@"
fi
exec sudo "$here/target/release/tracetui" "$@"
