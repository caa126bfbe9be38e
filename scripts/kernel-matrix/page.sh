#!/usr/bin/env bash
# docs/KERNELS.md on stdout: a text, a summary, and a section for each architecture.
# usage: page.sh OLD_PAGE DIR…      DIR/section.md: a section, as section.sh writes it
# A section that is not among the new ones is taken from the old page, where that exists and has it. The summary is made of
# the sections' tables of runs; it stands between the comments `kernels`, and docs/PROBES.md carries it too.
set -euo pipefail
old=$1
shift
sections=$(mktemp -d)
trap 'rm -rf "$sections"' EXIT
order=(x86_64 aarch64)
for arch in "${order[@]}"; do
  for file in "$old" "${@/%//section.md}"; do
    [ -e "$file" ] || continue
    sed -n "/^<!-- $arch -->\$/,/^<!-- \\/$arch -->\$/p" "$file" >"$sections/new"
    [ ! -s "$sections/new" ] || mv "$sections/new" "$sections/$arch"
  done
done
cd "$sections"
rm -f new

cat <<'X'
# Kernels

`scripts/kernel-matrix.sh` generates this page. Each kernel was booted in QEMU (software emulation, two CPUs) and ran the kernel
tests (`tui/tests/kernel`) against the static release binary. tracefs was not mounted.

| run | meaning |
|---|---|
| default | the default preemption model of the kernel |
| full | `preempt=full`; storms and exits only |
| lockdown | `lockdown=confidentiality` |
| mte | a CPU with memory tagging |
| 16k | a kernel with 16 KiB pages |

In emulation, tracing takes a larger share of the CPU, so more events are lost than on hardware. The accounting is the same.

## Summary

Tests passed, of the tests run, over all runs of a kernel:

X

# `arch label release pass fail cannot` of each run.
rows() {
  local arch
  for arch in "${order[@]}"; do
    [ -e "$arch" ] || continue
    sed -n '/^### Runs$/,/^### Checks$/p' "$arch" | awk -F ' *[|] *' -v arch="$arch" \
      'NF == 9 && $5 ~ /^[0-9]+$/ { split($2, name, " "); print arch, name[1], $3, $5, $6, $7 }'
  done
}

echo '<!-- kernels -->'
rows >runs
cut -d' ' -f2 runs | LC_ALL=C sort -uV >labels
awk '
  FILENAME == "labels" { labels[++columns] = $1; next }
  {
    if (!($1 in met)) { met[$1] = 1; archs[++n] = $1 }
    version = $3; sub(/[-+].*/, "", version)
    pass[$1, $2] += $4; fail[$1, $2] += $5; all[$1, $2] += $4 + $5 + $6
    if ($2 == "newest") newest = newest == "" || newest == version ? version : "newest"
  }
  END {
    header = "| |"; line = "|---|"
    for (i = 1; i <= columns; i++) { header = header " " (labels[i] == "newest" ? newest : labels[i]) " |"; line = line "---|" }
    print header; print line
    for (a = 1; a <= n; a++) {
      row = "| " (archs[a] == "x86_64" ? "x86-64" : archs[a]) " |"
      for (i = 1; i <= columns; i++) {
        at = archs[a] SUBSEP labels[i]
        row = row " " (at in all ? pass[at] " of " all[at] (fail[at] ? ", **" fail[at] " FAIL**" : "") : "") " |"
      }
      print row
    }
  }
' labels runs
cat <<'X'
<!-- /kernels -->

A failed test is run once more. The reason for the first failure is listed under Reasons.

`pass`: passed · `FAIL`: failed · `cannot`: not possible on this kernel or machine (see Reasons) · empty: not run.
X
for arch in "${order[@]}"; do
  [ ! -e "$arch" ] || { echo && cat "$arch"; }
done
