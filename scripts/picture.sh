#!/usr/bin/env bash
# Makes the pictures of README.md in assets/: a build that fails, in the real dashboard under tmux. Events, tree and the reason.
# Needs root, tmux, make and cc. usage: scripts/picture.sh [COLUMNS [ROWS]]
set -euo pipefail
cd "$(dirname "$0")/.."
columns=${1:-110} rows=${2:-26}
cargo build --release --locked
cargo build --release --locked --example picture
tmux() { command tmux -L tracetui-picture "$@"; }
work=$(mktemp -d)
trap 'tmux kill-server 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir -p "$work/app/tools" "$work/app/include"
printf 'int main(void) { return 0; }\n' > "$work/app/main.c"
printf '#include "config.h"\nint port(void) { return PORT; }\n' > "$work/app/net.c"
printf 'all: net.o app\napp: main.o\n\t./tools/pack main.o -o app\n%%.o: %%.c\n\tcc -O2 -Iinclude -c $< -o $@\n' > "$work/app/Makefile"
printf '#!/usr/bin/pyhton3\n' > "$work/app/tools/pack"
chmod 755 "$work/app/tools/pack"

# Draws what the dashboard shows as assets/$1.svg.
picture() {
  sleep 2
  tmux capture-pane -epN -t dashboard > "$work/screen"
  target/release/examples/picture < "$work/screen" > "assets/$1.svg"
}

tmux new-session -d -x "$columns" -y "$rows" -s dashboard \
  "cd $work/app && env -i PATH=$PATH HOME=/root LANG=C.UTF-8 TERM=tmux-256color $PWD/target/release/tracetui -- make -k"
sleep 4
picture dashboard
tmux send-keys -t dashboard 2
picture tree
# The events of the branch that failed, the failed exec first, and its reason.
tmux send-keys -t dashboard Enter
sleep 1
tmux send-keys -t dashboard Enter
picture why
tmux send-keys -t dashboard q
