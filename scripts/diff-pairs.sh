#!/usr/bin/env bash
# Records pairs of clean builds and counts those that `tracetui diff` reports as equal. Prints a row for each tool, which docs/DIFF.md sums up.
# usage: scripts/diff-pairs.sh [--pairs N] [--good N] [--tracetui FILE] [TOOL…]   (as root; 10 pairs of each tool that is installed)
#   --good N  compare each build with N good ones instead of one
#   TOOL  cargo-debug cargo-release cargo-elsewhere make cmake meson go npm pip ccache apt unshare
set -euo pipefail
pairs=10 good=1 tracetui=$(dirname "$0")/../target/release/tracetui
tools=()
while [ $# -gt 0 ]; do
  case $1 in
    --pairs) pairs=$2 && shift ;;
    --good) good=$2 && shift ;;
    --tracetui) tracetui=$2 && shift ;;
    -*) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" && exit 2 ;;
    *) tools+=("$1") ;;
  esac
  shift
done
[ ${#tools[@]} -gt 0 ] ||
  tools=(cargo-debug cargo-release cargo-elsewhere make cmake meson go npm pip ccache apt unshare)
tracetui=$(realpath "$tracetui")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Meson uses ccache where it is.
export CCACHE_DIR=$work/ccache

# Makes twelve C files with a header in the directory $1.
c_files() {
  mkdir -p "$1/inc"
  echo 'int add(int, int);' >"$1/inc/add.h"
  for n in $(seq 12); do
    printf '#include <stdio.h>\n#include "add.h"\nint f%s(void) { return add(%s, 1); }\n' "$n" "$n" >"$1/f$n.c"
  done
  printf '#include "add.h"\nint add(int a, int b) { return a + b; }\nint main(void) { return 0; }\n' >"$1/main.c"
}

# The project of a tool, in the directory $2.
project() {
  mkdir -p "$2" && cd "$2"
  case $1 in
    cargo-*)
      cargo init --quiet --name sample --vcs none
      printf 'itoa = "1"\nserde = { version = "1", features = ["derive"] }\n' >>Cargo.toml
      echo 'fn main() { println!("cargo:rerun-if-changed=build.rs"); }' >build.rs
      printf '#[derive(serde::Serialize)]\nstruct A { x: u32 }\nfn main() {\n let mut text = itoa::Buffer::new();\n println!("{}", text.format(A { x: 1 }.x));\n}\n' >src/main.rs
      cargo fetch --quiet
      ;;
    make | ccache | unshare)
      c_files .
      printf 'CC = %s\nx: $(patsubst %%.c,%%.o,$(wildcard *.c))\n\t$(CC) -o $@ $^\n%%.o: %%.c\n\t$(CC) -O1 -Iinc -c $<\n' \
        "$([ "$1" = ccache ] && echo 'ccache gcc' || echo gcc)" >Makefile
      ;;
    cmake)
      c_files .
      printf 'cmake_minimum_required(VERSION 3.10)\nproject(x C)\nfile(GLOB files *.c)\nadd_executable(x ${files})\ntarget_include_directories(x PRIVATE inc)\n' >CMakeLists.txt
      ;;
    meson)
      c_files .
      printf "project('x', 'c')\nexecutable('x', %s, include_directories: 'inc')\n" \
        "$(printf "'%s', " *.c | sed 's/, $//')" >meson.build
      ;;
    go)
      printf 'module x\n\ngo 1.18\n' >go.mod
      printf 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("x") }\n' >main.go
      ;;
    npm)
      echo '{"name":"x","version":"1.0.0","dependencies":{"is-number":"7.0.0","ms":"2.1.3"}}' >package.json
      npm install --silent --no-audit --no-fund
      ;;
    pip)
      pip install --quiet setuptools wheel
      mkdir x && touch x/__init__.py
      printf '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "x"\nversion = "1"\n' >pyproject.toml
      ;;
  esac
}

# A clean build in the working directory: what is removed before it, and the command.
clean() {
  case $1 in
    cargo-*) rm -rf target ;;
    make | ccache | unshare) rm -f ./*.o x ;;
    cmake | meson) rm -rf build ;;
    go) rm -f x && go clean -cache ;;
    npm) rm -rf node_modules ;;
    pip) rm -rf build ./*.egg-info ./*.whl ;;
  esac
}

command_of() {
  case $1 in
    cargo-release) echo cargo build --offline --release ;;
    cargo-*) echo cargo build --offline ;;
    make | ccache) echo make -j4 ;;
    cmake) echo 'cmake -S . -B build -G Ninja && ninja -C build' ;;
    meson) echo 'meson setup build && ninja -C build' ;;
    go) echo go build -o x . ;;
    npm) echo npm ci --prefer-offline --no-audit --no-fund ;;
    pip) echo pip wheel --no-build-isolation --no-deps -w . . ;;
    apt) echo apt-get install -y --reinstall hostname ;;
    unshare) echo unshare --fork --pid --mount --net make -j4 ;;
  esac
}

printf '| tool | pairs | equal |\n|---|---|---|\n'
for tool in "${tools[@]}"; do
  program=${tool%%-*}
  [ "$tool" != apt ] || program=apt-get
  command -v "$program" >/dev/null || { echo "not checked: $tool is not installed" >&2 && continue; }
  dirs=("$work/$tool")
  [ "$tool" != cargo-elsewhere ] || dirs+=("$work/elsewhere")
  for dir in "${dirs[@]}"; do
    (project "$tool" "$dir" >/dev/null 2>&1)
  done
  equal=0
  for _ in $(seq "$pairs"); do
    for side in $(seq 0 "$good"); do
      cd "${dirs[side % ${#dirs[@]}]}"
      clean "$tool" >/dev/null 2>&1
      "$tracetui" record -o "$work/$side" --force -- sh -c "$(command_of "$tool")" >/dev/null 2>"$work/said" ||
        { cat "$work/said" >&2 && exit 1; }
    done
    # shellcheck disable=SC2046 # no name has a space
    if "$tracetui" diff $(seq -f "$work/%g" 0 "$good") >"$work/differs" 2>&1; then
      equal=$((equal + 1))
    else
      echo "$tool:" >&2 && cut -c1-240 "$work/differs" | head -8 >&2
    fi
  done
  echo "| $tool | $pairs | $equal |"
done
