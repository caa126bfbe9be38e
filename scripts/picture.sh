#!/usr/bin/env bash
# Makes assets/dashboard.svg: the real dashboard under tmux while a program is compiled. Needs root, tmux and cc.
# usage: scripts/picture.sh [COLUMNS [ROWS]]
set -euo pipefail
cd "$(dirname "$0")/.."
columns=${1:-120} rows=${2:-34}
cargo build --release --locked
cargo build --release --locked --example picture
work=$(mktemp -d)
trap 'tmux -L tracetui-picture kill-server 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/app"
printf '#include <stdio.h>\nint main(void) { return puts("hello") < 0; }\n' > "$work/app/main.c"
printf 'app: main.c\n\tcc -O2 -o app main.c\n' > "$work/app/Makefile"
tmux -L tracetui-picture new-session -d -x "$columns" -y "$rows" "$PWD/target/release/tracetui"
sleep 2
(cd "$work/app" && make >/dev/null && ./app >/dev/null; cat missing.h 2>/dev/null || true)
sleep 1
tmux -L tracetui-picture capture-pane -ep > "$work/screen"
target/release/examples/picture < "$work/screen" > assets/dashboard.svg
tmux -L tracetui-picture send-keys q
