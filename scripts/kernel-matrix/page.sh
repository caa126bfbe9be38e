#!/usr/bin/env bash
# docs/KERNELS.md on stdout: a text, a summary, and a section for each architecture.
# usage: page.sh OLD_PAGE DIR…      DIR/section.md: a section, as section.sh writes it
# A section that is not among the new ones is taken from the old page, where that exists and has it. The summary is made of
# the sections' tables of runs; it stands between the comments `kernels`, and README.md and docs/PROBES.md carry it too.
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

Written by `scripts/kernel-matrix.sh`: each kernel is booted under software emulation with two processors, and the kernel
tests (`tui/tests/kernel`) run in it with the static binary that is shipped. tracefs is not mounted there. *Default* is the
preemption model that the kernel starts with; *full* is `preempt=full`, where only storms and exits are run; *lockdown* is
`lockdown=confidentiality`; *mte* is a processor with memory tagging. *16k* has pages of 16 KiB.
Emulation makes our programs a large share of what the processor does, so losses are far above those of real hardware;
whether they can happen, and whether they are counted, is the same.

The checks that pass, of those that were run, in all runs of a kernel:

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

A check that fails is run once more; what was the matter at first stands among the reasons.

`pass` as it should be · `FAIL` not · `cannot` this kernel or machine cannot show it (the reason is below) · empty: not run.
X
for arch in "${order[@]}"; do
  [ ! -e "$arch" ] || { echo && cat "$arch"; }
done
