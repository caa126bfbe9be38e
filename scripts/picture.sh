#!/usr/bin/env bash
# Makes assets/dashboard.svg: the real dashboard, under tmux, over a shell in which a program is built and run.
# Needs root, tmux, make and cc. usage: scripts/picture.sh [COLUMNS [ROWS]]
set -euo pipefail
cd "$(dirname "$0")/.."
columns=${1:-110} rows=${2:-32}
cargo build --release --locked
cargo build --release --locked --example picture
tmux() { command tmux -L tracetui-picture "$@"; }
work=$(mktemp -d)
trap 'tmux kill-server 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/hello"
printf '#include <stdio.h>\nint main(void) { return fopen("hello.conf", "r") == NULL; }\n' > "$work/hello/hello.c"
printf 'hello: hello.c\n\tcc -O2 -o $@ $<\n' > "$work/hello/Makefile"

tmux new-session -d -x "$columns" -y "$rows" -s shell "env -i PATH=$PATH HOME=/root LANG=C bash --norc"
tmux send-keys -t shell "cd $work/hello && echo \$\$ > ../pid" Enter
until [ -s "$work/pid" ]; do sleep 0.1; done
tmux new-session -d -x "$columns" -y "$rows" -s dashboard \
  "LANG=C.UTF-8 $PWD/target/release/tracetui --tree $(cat "$work/pid")"
sleep 2
tmux send-keys -t shell "make && ./hello; ls --no-such-option" Enter
sleep 3
# The newest exec that says what was built, with what is known of it.
tmux send-keys -t dashboard "/bin/cc -O2" Enter "N" Enter
sleep 1
tmux capture-pane -epN -t dashboard > "$work/screen"
tmux send-keys -t dashboard q
target/release/examples/picture < "$work/screen" > assets/dashboard.svg
