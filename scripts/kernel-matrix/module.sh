#!/usr/bin/env bash
# Compiles a kernel module for x86-64 from one C file, which contains what kbuild would add. Kbuild itself is not used, since
# its programs are made for Debian's newest libraries.
# usage: module.sh HEADERS FILE.c DIR     HEADERS: what fetch.sh unpacks beside a kernel; CC: the compiler (cc)
# Writes DIR/FILE-RELEASE.ko.
set -euo pipefail
file=$(realpath "$2") dir=$(realpath "$3") name=$(basename "$2" .c)
cd "$1"/linux-headers-*-cloud-amd64
release=$(basename "$PWD") common=$(echo ../*-common)
flags=(-c -O2 -std=gnu11 -fms-extensions -nostdinc -fshort-wchar -fno-strict-aliasing -fno-common -fno-pie -fno-stack-protector
  -fno-asynchronous-unwind-tables -mcmodel=kernel -mno-red-zone -mno-80387 -mno-mmx -mno-sse
  -D__KERNEL__ -DMODULE -DKBUILD_MODNAME="\"$name\"" -D__KBUILD_MODNAME="kmod_$name" -DKBUILD_BASENAME="\"$name\""
  -DKBUILD_MODFILE="\"$name\"" -DCC_USING_FENTRY -DINCLUDE_VERMAGIC)
for tree in arch/x86/include include; do
  flags+=(-isystem "$common/$tree" -isystem "$tree" -isystem "$common/$tree/uapi")
done
flags+=(-isystem arch/x86/include/generated -isystem arch/x86/include/generated/uapi -isystem include/generated/uapi)
for header in compiler-version kconfig compiler_types; do
  flags+=(-include "$common/include/linux/$header.h")
done
"${CC:-cc}" "${flags[@]}" -o "$dir/$name-${release#linux-headers-}.ko" "$file"
