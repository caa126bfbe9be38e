#!/bin/sh
# Takes the BTF out of a kernel that lies there as a plain or gzip-compressed Image, as those of aarch64 do.
# usage: scripts/kernel-btf.sh IMAGE OUT.btf
# A kernel that is running has it in /sys/kernel/btf/vmlinux. An x86_64 bzImage is compressed in other ways: not read here.
# Wants GNU grep, od, gzip. No privileges.
set -eu

[ $# = 2 ] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
image=$work/image
# What is not compressed goes through as it is.
gzip -dcf "$1" >"$image"

# A header has the magic number, version 1, no flags, its own length (24, or more in later formats) and then pairs of offset
# and length, counted from the header's end. Programs inside of the kernel have small BTFs of their own: the largest counts.
LC_ALL=C grep -obUaP '\x9f\xeb\x01\x00[\x18-\x40]\x00\x00\x00' "$image" >"$work/headers" || true
best=0
while IFS=: read -r at _; do
    size=$(od -A n -t u4 -j $((at + 4)) -N 64 -v "$image" | tr -s '\n ' '  ' | awk '{
        for (i = 2; i + 1 <= $1 / 4 - 1; i += 2) { end = $i + $(i + 1); if (end > most) most = end }
        printf "%.0f", $1 + most }')
    if [ "$size" -gt "$best" ] && [ $((at + size)) -le "$(wc -c <"$image")" ]; then
        best=$size from=$at
    fi
done <"$work/headers"
[ "$best" -gt 100000 ] || { echo "$1: no BTF of a kernel in it" >&2; exit 1; }
tail -c "+$((from + 1))" "$image" | head -c "$best" >"$2"
