#!/usr/bin/env bash
# Breaks fifty builds, each in one place, and checks that `tracetui diff` names the cause in its first line. Prints a row for each
# kind, which docs/DIFF.md sums up. Fails if fewer than 48 first lines, or any first three lines, name the cause.
# usage: scripts/diff-broken.sh [--tracetui FILE] [--keep DIR] [--only KIND]      (as root)
#   --keep DIR   keep the recordings in DIR; those that are there already are compared again
# Needs gcc, g++, make, cmake, ninja, meson, cargo, python3, perl, node.
# shellcheck disable=SC2016  # the projects and `check` expand their texts
set -euo pipefail
tracetui=$(dirname "$0")/../target/release/tracetui keep='' only=''
while [ $# -gt 0 ]; do
  case $1 in
    --tracetui) tracetui=$2 && shift ;;
    --keep) keep=$2 && shift ;;
    --only) only=$2 && shift ;;
    *) sed -n '2,/^# shellcheck /{/^# shellcheck /!s/^# \{0,1\}//p}' "$0" && exit 2 ;;
  esac
  shift
done
tracetui=$(realpath "$tracetui")
work=$(mktemp -d)
chmod 755 "$work"
trap 'umount "$work"/*/small 2>/dev/null || true; rm -rf "$work"' EXIT
[ -z "$keep" ] || { mkdir -p "$keep" && keep=$(realpath "$keep"); }
keep=${keep:-$work}
# Meson uses ccache where it is.
export CCACHE_DISABLE=1

# A program of six files, a header, a generated file, two libraries, and a tool in PATH that checks it.
c_files() {
  mkdir inc bin lib newlib
  printf '#define UNIT "unit"\nint add(int, int);\n' >inc/add.h
  for n in 1 2 3 4 5 6; do
    printf '#include <stdio.h>\n#include "add.h"\nint f%s(void) { return puts(UNIT) + add(%s, 1); }\n' "$n" "$n" >"f$n.c"
  done
  printf '#include "add.h"\n#ifdef __cplusplus\nextern "C"\n#endif\nint sum(void);\nint add(int a, int b) { return a + b; }\nint main(void) { return sum() != 3; }\n' >main.c
  printf '#!/bin/sh\nset -e\nread -r text <%s/version.txt\necho "char version[] = \\"$text\\";" >"$1"\n' "$PWD" >gen.sh
  echo 1.0 >version.txt
  printf '#!/bin/sh\n"$1"\n' >bin/frob
  chmod 755 gen.sh bin/frob
  echo 'int sum(void) { return 3; }' | gcc -shared -o lib/libsum.so -x c -
  echo 'int sum(void) { return 4; }' | gcc -shared -o newlib/libsum.so -x c -
}

# The project of a tool, in the working directory. Sets the command that builds it.
project() {
  case $1 in
    make | make-j | nobody | include)
      c_files
      printf 'CFLAGS = -Iinc\nx: f1.o f2.o f3.o f4.o f5.o f6.o main.o version.o\n\tgcc -o $@ $^ -Llib -lsum\n\tfrob ./x\n%%.o: %%.c\n\tgcc -O1 $(CFLAGS) -c $<\nversion.c:\n\t./gen.sh $@\n' >Makefile
      command='make'
      [ "$1" != make-j ] || command='make -j4'
      [ "$1" != nobody ] || { chmod 777 . && command='setpriv --reuid=65534 --regid=65534 --clear-groups make'; }
      # The directory of the header is in the environment.
      [ "$1" != include ] || { sed -i 's/-Iinc//' Makefile && export CPATH=inc; }
      ;;
    cmake)
      c_files
      printf 'cmake_minimum_required(VERSION 3.13)\nproject(x C)\nadd_custom_command(OUTPUT version.c COMMAND ${CMAKE_SOURCE_DIR}/gen.sh version.c)\nadd_executable(x f1.c f2.c f3.c f4.c f5.c f6.c main.c version.c)\ntarget_include_directories(x PRIVATE inc)\ntarget_link_libraries(x PRIVATE -L${CMAKE_SOURCE_DIR}/lib sum)\nadd_custom_command(TARGET x POST_BUILD COMMAND frob ./x)\n' >CMakeLists.txt
      command='cmake -S . -B build -G Ninja && ninja -C build'
      ;;
    meson)
      c_files
      printf "project('x', 'c')\nsum = meson.get_compiler('c').find_library('sum', dirs: meson.current_source_dir() / 'lib')\nexecutable('x', 'f1.c', 'f2.c', 'f3.c', 'f4.c', 'f5.c', 'f6.c', 'main.c', include_directories: 'inc', dependencies: sum)\n" >meson.build
      command='meson setup build && ninja -C build'
      ;;
    sh)
      c_files
      echo 'options="-O1 -Iinc"' >options.sh
      printf 'set -e\n. ./options.sh\n./gen.sh version.c\nfor file in *.c; do g++ $options -c $file; done\ngcc -o x *.o -Llib -lsum\nfrob ./x\n' >build.sh
      command='sh build.sh'
      ;;
    cargo)
      mkdir -p src bin part/src
      printf '[package]\nname = "sample"\nversion = "1.0.0"\nedition = "2021"\n[dependencies]\npart = { path = "part" }\n' >Cargo.toml
      printf '[package]\nname = "part"\nversion = "1.0.0"\nedition = "2021"\n' >part/Cargo.toml
      echo 'pub fn part() -> u32 { 3 }' >part/src/lib.rs
      printf 'use std::process::Command;\nfn main() {\n  assert!(Command::new("frob").arg("/bin/true").status().expect("frob").success());\n  println!("cargo:rustc-link-search=native={}/lib", std::env::var("CARGO_MANIFEST_DIR").unwrap());\n  println!("cargo:rustc-link-lib=sum");\n}\n' >build.rs
      printf 'mod util;\nextern "C" { fn sum() -> i32; }\nfn main() { println!("{} {} {} {}", util::util(), part::part(), unsafe { sum() }, include_str!("../text.txt")); }\n' >src/main.rs
      echo 'pub fn util() -> u32 { 1 }' >src/util.rs
      echo text >text.txt
      printf '#!/bin/sh\n"$1"\n' >bin/frob
      chmod 755 bin/frob
      mkdir lib && echo 'int sum(void) { return 3; }' | gcc -shared -o lib/libsum.so -x c -
      command='cargo build --offline'
      ;;
    python)
      mkdir part bin
      printf '#!/usr/bin/env python3\nimport json, subprocess, part.util\nsettings = json.load(open("settings.json"))\nsubprocess.run(["frob", "/bin/true"], check=True)\nsubprocess.run(["./step.sh"], check=True)\nopen("out", "w").write(part.util.text + settings["name"])\n' >build.py
      touch part/__init__.py
      echo 'text = "x"' >part/util.py
      echo '{"name": "x"}' >settings.json
      printf '#!/bin/sh\n"$1"\n' >bin/frob
      printf '#!/bin/sh\necho step\n' >step.sh
      chmod 755 build.py step.sh bin/frob
      command='python3 build.py'
      ;;
    perl)
      mkdir lib
      printf 'use lib "./lib";\nuse Part;\nopen(my $in, "<", "list.txt") or die "list.txt: $!";\nopen(my $out, ">", "out") or die;\nprint $out Part::text($_) while <$in>;\n' >build.pl
      printf 'package Part;\nsub text { "<$_[0]>" }\n1;\n' >lib/Part.pm
      seq 9 >list.txt
      command='perl build.pl'
      ;;
    node)
      mkdir -p node_modules/part bin
      echo 'module.exports = text => `<${text}>`;' >node_modules/part/index.js
      printf '#!/bin/sh\n"$1"\n' >bin/frob
      printf '#!/bin/sh\necho step\n' >step.sh
      chmod 755 step.sh bin/frob
      echo '{"name":"x","version":"1.0.0","scripts":{"build":"./step.sh && node build.js"}}' >package.json
      printf 'const fs = require("fs");\nrequire("child_process").execFileSync("frob", ["/bin/true"]);\nfs.writeFileSync("out", require("part")(fs.readFileSync("input.txt", "utf8")));\n' >build.js
      echo text >input.txt
      command='npm run build'
      ;;
    small)
      # A file system for five files.
      mkdir small && mount -t tmpfs -o nr_inodes=6 none small
      printf 'for n in 1 2 3 4; do sort -o small/$n list || exit 1; done\n' >build.sh
      seq 9 >list
      command='sh build.sh'
      ;;
  esac
}

clean() {
  rm -rf ./*.o x version.c build target out small/*
  find . -name __pycache__ -prune -exec rm -r {} +
}

record() {
  "$tracetui" record -o "$1" --force -- sh -c "$command" </dev/null >"$1.said" 2>&1
}

number=0 total=0 first=0 third=0 last='' row_first=0 row_third=0 row_total=0

row() {
  [ "$row_total" -eq 0 ] || echo "| $last | $row_first of $row_total | $row_third of $row_total |"
  row_first=0 row_third=0 row_total=0
}

# check KIND TOOL BREAK PATTERN: builds the project of TOOL, breaks it, builds it again, and looks for the cause.
check() {
  local kind=$1 tool=$2 break=$3 pattern=$4 text
  number=$((number + 1))
  [ -z "$only" ] || [ "$only" = "$kind" ] || [ "$only" = "$number" ] || return 0
  [ "$kind" = "$last" ] || row
  last=$kind
  a=$keep/$number.a b=$keep/$number.b
  if [ ! -e "$b" ]; then
    mkdir "$work/$number.dir"
    (
      cd "$work/$number.dir"
      project "$tool"
      export PATH=$PWD/bin:$PATH LD_LIBRARY_PATH=$PWD/lib
      clean
      record "$a" || { cat "$a.said" && echo "$number $tool: the good build fails" && exit 1; } >&2
      clean
      eval "$break"
      ! record "$b" || { rm "$b" && echo "$number $tool, $break: the broken build succeeds" >&2 && exit 1; }
    )
  fi
  text=$("$tracetui" diff "$a" "$b" 2>/dev/null) || true
  row_total=$((row_total + 1)) total=$((total + 1))
  if head -1 <<<"$text" | grep -qE "$pattern"; then
    row_first=$((row_first + 1)) first=$((first + 1))
  else
    printf '%s\n' "$number $tool, $break: the first line is not $pattern" "$(head -5 <<<"$text" | cut -c1-200)" >&2
  fi
  if head -3 <<<"$text" | grep -qE "$pattern"; then
    row_third=$((row_third + 1)) third=$((third + 1))
  fi
}

printf '| kind | first line | first three |\n|---|---|---|\n'

k='header removed'
gone='^missing +(add\.h|\./inc/add\.h) by cc1(plus)? (.*/)?f[0-9]\.c.*: (found|\./inc/add\.h) in A, '
check "$k" make 'rm inc/add.h' "$gone"
check "$k" make-j 'rm inc/add.h' "$gone"
check "$k" cmake 'rm inc/add.h' "$gone"
check "$k" meson 'rm inc/add.h' "$gone"
check "$k" sh 'rm inc/add.h' "$gone"

k='header found elsewhere'
elsewhere='mkdir other && sed "/UNIT/d" inc/add.h >other/add.h'
check "$k" include 'export CPATH=incX' "$gone"
check "$k" include "$elsewhere && export CPATH=other:inc" '^opened +add\.h by cc1 f[0-9]\.c.*: \./inc/add\.h in A, \./other/add\.h in B'
check "$k" make 'sed -i s/-Iinc/-IincX/ Makefile' "$gone"
check "$k" cmake 'sed -i "s/PRIVATE inc/PRIVATE incX/" CMakeLists.txt' "$gone"
check "$k" sh "$elsewhere && cp other/add.h ." '^opened +add\.h by cc1plus .*: \./inc/add\.h in A, \./add\.h in B'

k='new include'
new='sed -i "1i #include \"nope/new.h\"" f3.c'
added='^missing +(nope/)?new\.h by cc1(plus)? (.*/)?f3\.c: not tried in A, in none of [0-9]+ directories in B'
check "$k" make "$new" "$added"
check "$k" make-j "$new" "$added"
check "$k" cmake "$new" "$added"
check "$k" meson "$new" "$added"
check "$k" sh "$new" "$added"

k='tool removed'
tool='^missing +program frob by |^exec +(sh [^ ]*/)?frob [^ ]+: executed only in A'
check "$k" make 'rm bin/frob' "$tool"
check "$k" cmake 'rm bin/frob' "$tool"
check "$k" sh 'rm bin/frob' "$tool"
check "$k" cargo 'rm bin/frob' "$tool"
check "$k" node 'rm bin/frob' "$tool"

k='mode 0644'
mode='^missing +program (gen|step)\.sh by .*: found in A, EACCES in B'
check "$k" make 'chmod 644 gen.sh' "$mode|^exec +sh \./gen\.sh version\.c: executed only in A"
check "$k" cmake 'chmod 644 gen.sh' "$mode"
check "$k" sh 'chmod 644 gen.sh' "$mode"
check "$k" python 'chmod 644 step.sh' "$mode"
check "$k" node 'chmod 644 step.sh' "$mode"

k='source removed'
check "$k" make 'rm f3.c' '^exec +gcc -O1 -Iinc -c f3\.c: executed only in A'
check "$k" sh 'rm options.sh' '^missing +\./options\.sh by sh build.sh: found in A, ENOENT in B'
check "$k" cargo 'rm src/util.rs' '^opened +\./src/util\.rs by rustc src/main\.rs: opened only in A'
check "$k" cargo 'rm build.rs' '^exec +rustc build\.rs: executed only in A'
check "$k" cargo 'rm -r part' '^missing +\./part/Cargo\.toml by .*: found in A, ENOENT in B'

k='unreadable'
check "$k" nobody 'chmod 600 inc/add.h' '^missing +(\./inc/)?add\.h by cc1 f[0-9]\.c.*: found in A, EACCES in B'
check "$k" nobody 'chmod 700 inc' '^missing +\./inc/[a-z-]+\.h by cc1 f[0-9]\.c.*, EACCES in B'
check "$k" nobody 'chmod 600 f3.c' '^missing +\./f3\.c by cc1 f3\.c: found in A, EACCES in B'
check "$k" nobody 'chmod 600 version.txt' '^missing +\./version\.txt by (sh|.*gen\.sh).*: found in A, EACCES in B'
check "$k" nobody 'chmod 600 Makefile' '^missing +\./Makefile by make: found in A, EACCES in B'

k='library'
lib='^missing +(\./lib/)?libsum\.so by .*: (found|\./lib/libsum\.so) in A, '
check "$k" make 'rm lib/libsum.so' "$lib"
check "$k" cmake 'rm lib/libsum.so' "$lib"
check "$k" cargo 'rm lib/libsum.so' "$lib|^opened +\./lib/libsum\.so by rust-lld .*: opened only in A"
check "$k" make 'export LD_LIBRARY_PATH=$PWD/none' "$lib"
check "$k" sh 'export LD_LIBRARY_PATH=$PWD/newlib' '^opened +libsum\.so by x: \./lib/libsum\.so in A, \./newlib/libsum\.so in B'

k='module or data removed'
check "$k" python 'rm part/util.py' '^opened +\./part/util\.py by python3? build\.py: opened only in A'
check "$k" perl 'rm lib/Part.pm' '^opened +\./lib/Part\.pm by perl build\.pl: opened only in A'
check "$k" python 'rm settings.json' '^missing +\./settings\.json by python3? build.py: found in A, ENOENT in B'
check "$k" perl 'rm list.txt' '^missing +\./list\.txt by perl build.pl: found in A, ENOENT in B'
check "$k" cargo 'rm text.txt' '^missing +\./text\.txt by .*: found in A, ENOENT in B'

k='machine'
check "$k" small 'touch small/x small/y' '^missing +\./small/4 by sort .*: found in A, ENOSPC in B'
check "$k" python 'sed -i "4i import os; os.kill(os.getpid(), 9)" build.py' '^exit +python3? build.py: 0 in A, SIGKILL in B'
check "$k" make 'sed -i "2i kill -SEGV \\$\\$" bin/frob' '^exit +.*frob.*: 0 in A, SIGSEGV in B'
check "$k" perl 'mkdir sub && cd sub && cp ../build.pl . && cp -r ../lib .' '^missing +\./list\.txt by perl build.pl: found in A, ENOENT in B'
check "$k" node 'rm input.txt && ln -s /nowhere/input input.txt' '^missing +\./input\.txt by node build.js: found in A, ENOENT in B'
row
echo "| all | $first of $total | $third of $total |"
[ -n "$only" ] || [ "$first" -ge 48 ] && [ "$third" -eq "$total" ]
