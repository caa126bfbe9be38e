#!/bin/sh
# Makes what the offset tests compare with, from the BTFs of some kernels:
#
#   tui/tests/data/offsets.tsv      kernel, field or constant, byte offset or value, bytes of the field (`-`: none)
#   tui/tests/data/btf/NAME.btf     the part of each BTF that the resolution needs
#
# usage: scripts/btf-truth.sh DIR     DIR holds NAME.btf or NAME.btf.zst: copies of /sys/kernel/btf/vmlinux
#
# NAME is the version of the kernel, with `arm64-` before it for aarch64. scripts/kernel-btf.sh takes the BTF out of a kernel:
#
#   for kernel in 5.10 6.1 6.12 6.18-16k 7.1; do
#       scripts/kernel-btf.sh target/kernels/aarch64/$kernel DIR/arm64-$kernel.btf
#   done
#
# Sizes and alignment are the same on both architectures, so one gcc serves for both, and what it finds is compared with the
# sizes in the BTF.
#
# The table owes nothing to our reader: bpftool writes each BTF as a C header, and gcc says offsetof and sizeof for the
# fields in shared/src/offsets.rs, whose table is read here with sed. A member that a kernel does not have is a line
# that gcc refuses. Run it after each change of that table, read the diff of offsets.tsv, and test with
# TRACETUI_BTF_DIR=DIR, which compares the full BTFs too.
#
# Wants bpftool, gcc, zstd, and cargo. No privileges.
set -eu

if [ $# != 1 ] || [ ! -d "$1" ]; then sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; fi
dir=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# `Field structure path`, one line for each member path.
paths() {
    sed -n 's/^    \([A-Z][A-Za-z0-9]*\) = "\([a-z0-9_]*\)" \(".*"\);$/\1 \2 \3/p' shared/src/offsets.rs |
        awk '{ field = $1; structure = $2
               for (i = 3; i <= NF; i++) if ($i != "|") { gsub(/"/, "", $i); print field, structure, $i } }'
}

# One line of C for each thing to know; the first that compiles for a name counts.
rows() {
    paths | while read -r field structure path; do
        offset="__builtin_offsetof(struct $structure, $path)"
        echo "{ \"$field\", $offset, sizeof(((struct $structure *)0)->$path) },"
        # An array without a length has no size for gcc.
        echo "{ \"$field\", $offset, 0 },"
    done
    echo '{ "ExitHasGroupDead", exit_has_group_dead, -1 },'
    echo '{ "UringCqe", uring_cqe, -1 },'
    for name in d_shortname d_iname; do
        echo "{ \"InlineNameLen\", sizeof(((struct dentry *)0)->$name), -1 },"
    done
    echo '{ "TraceFlagTracepoint", TRACE_EVENT_FL_TRACEPOINT, -1 },'
    echo '{ "TraceFlagKprobe", TRACE_EVENT_FL_KPROBE, -1 },'
    echo '{ "TraceFlagUprobe", TRACE_EVENT_FL_UPROBE, -1 },'
    echo '{ "LinkTypePerf", BPF_LINK_TYPE_PERF_EVENT, -1 },'
    echo '{ "LinkTypeRawTp", BPF_LINK_TYPE_RAW_TRACEPOINT, -1 },'
}

program() {
    cat <<-'C'
	#include "vmlinux.h"
	extern int printf(const char *, ...);
	enum { exit_has_group_dead = __builtin_types_compatible_p(
	    btf_trace_sched_process_exit, void (*)(void *, struct task_struct *, _Bool)) };
	enum { uring_cqe = __builtin_types_compatible_p(
	    btf_trace_io_uring_complete, void (*)(void *, struct io_ring_ctx *, void *, struct io_uring_cqe *)) };
	static const struct { const char *name; long value, size; } rows[] = {
	C
    cat "$1"
    cat <<-'C'
	};
	int main(void) {
	    for (unsigned long i = 0; i < sizeof rows / sizeof *rows; i++)
	        printf("%s %ld %ld\n", rows[i].name, rows[i].value, rows[i].size);
	    return 0;
	}
	C
}

# `name value size` for everything that the BTF $1 has.
truth() {
    bpftool btf dump file "$1" format c >"$work/vmlinux.h"
    # Older versions of bpftool leave out that an enum is smaller than an int.
    bpftool btf dump file "$1" format raw | sed -n "s/^\[[0-9]*\] ENUM '\([a-z_0-9]*\)'.* size=1 .*/\1/p" |
        while read -r name; do sed -i "s/^enum $name {/enum __attribute__((packed)) $name {/" "$work/vmlinux.h"; done
    # bpftool renames all but the first of equal names, which may be another than the one that we take.
    for structure in $(paths | cut -d' ' -f2 | sort -u); do
        if grep -qE "^(struct|union) ${structure}___[0-9]+ \{" "$work/vmlinux.h"; then
            echo "$1: several structures are called $structure: settle by hand which one counts" >&2
            exit 1
        fi
    done
    # From 6.19 on the kernel has `struct ns_tree;` as an anonymous member: nothing at all without the extension.
    flags="-std=gnu11 -w -fno-builtin -fms-extensions"
    # A header that means something else than the BTF should not compile: all structures must have their sizes.
    bpftool btf dump file "$1" format raw >"$work/raw"
    for structure in $(paths | cut -d' ' -f2 | sort -u); do
        size=$(sed -n "s/^\[[0-9]*\] STRUCT '$structure' size=\([0-9]*\) .*/\1/p" "$work/raw")
        [ -z "$size" ] || echo "_Static_assert(sizeof(struct $structure) == $size, \"$structure\");"
    done >>"$work/vmlinux.h"
    first=$(program /dev/null | grep -n ' rows\[\]' | cut -d: -f1)
    program "$work/rows" >"$work/try.c"
    # shellcheck disable=SC2086
    gcc $flags -fsyntax-only "$work/try.c" 2>"$work/errors" || true
    if grep -E 'vmlinux\.h:[0-9]+:[0-9]+: error' "$work/errors" >&2; then exit 1; fi
    sed -n 's/^.*try\.c:\([0-9]*\):[0-9]*: error.*/\1/p' "$work/errors" | sort -un |
        awk -v first="$first" 'NR == FNR { refused[$1 - first]; next } !(FNR in refused)' - "$work/rows" >"$work/good"
    program "$work/good" >"$work/good.c"
    # shellcheck disable=SC2086
    gcc $flags -o "$work/good.out" "$work/good.c"
    "$work/good.out"
}

rows >"$work/rows"
{ paths | cut -d' ' -f1 | uniq; sed -n 's/^{ "\([A-Z][A-Za-z]*\)", [^_].*/\1/p' "$work/rows" | uniq; } >"$work/names"
[ -s "$work/names" ]

printf 'kernel\tname\tvalue\tsize\n' >"$work/table"
for file in "$dir"/*.btf "$dir"/*.btf.zst; do
    [ -e "$file" ] || continue
    name=$(basename "${file%.zst}" .btf)
    case $file in
        *.zst) zstd -dqf "$file" -o "$work/$name.btf" ;;
        *) cp "$file" "$work/$name.btf" ;;
    esac
    truth "$work/$name.btf" >"$work/values"
    awk -v kernel="$name" 'BEGIN { OFS = "\t" }
        NR == FNR { if (!($1 in value)) { value[$1] = $2; size[$1] = $3 < 0 ? "-" : $3 } next }
        { print kernel, $1, ($1 in value) ? value[$1] : "-", ($1 in size) ? size[$1] : "-" }' \
        "$work/values" "$work/names" >>"$work/table"
    rm "$work/$name.btf"
done

# Nothing is replaced unless all went well. The test writes the parts of the BTFs, and compares.
rm -f tui/tests/data/btf/*.btf
cp "$work/table" tui/tests/data/offsets.tsv
UPDATE_BTF=1 TRACETUI_BTF_DIR=$dir cargo test --quiet --package tracetui --test btf_offsets
