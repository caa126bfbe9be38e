#!/usr/bin/env bash
# The report on stdout: a text, a summary, and a section for each architecture.
# usage: page.sh OLD_REPORT DIR…      DIR/section.md: a section, as section.sh writes it
# A section that is not among the new ones is taken from the old report, if that exists and has it. The summary is made of the
# sections' tables of runs. It is between the comments `kernels`; scripts/kernel-matrix.sh copies its rows to docs/KERNELS.md.
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

echo '<!-- kernels -->'
echo '| kernel | runs | tests passed |'
echo '|---|---|---|'
for arch in "${order[@]}"; do
  [ -e "$arch" ] || continue
  awk -F ' *[|] *' -v arch="${arch/x86_64/x86-64}" '
    /^### / { part = $2 = substr($0, 5) }
    { split($2, name, " "); label = name[1] }
    part == "Runs" && NF == 9 && $5 ~ /^[0-9]+$/ {
      if (!(label in runs)) order[++n] = label
      version = $3; sub(/-(cloud-)?a(md|rm)64.*|\+deb.*/, "", version)
      title[label] = version (label ~ /-16k$/ ? "-16k" : "")
      runs[label] = runs[label] (runs[label] ? ", " : "") name[2]
      pass[label] += $5; all[label] += $5 + $6 + $7
    }
    part == "Reasons" && $4 == "**FAIL**" { failed[label] = failed[label] ", **FAIL** `" $3 "`" }
    END {
      for (i = 1; i <= n; i++) {
        label = order[i]
        printf "| %s %s | %s | %d of %d%s |\n", arch, title[label], runs[label], pass[label], all[label], failed[label]
      }
    }
  ' "$arch"
done
cat <<'X'
<!-- /kernels -->

A failed test is run once more. The reason for the first failure is listed under Reasons.

`pass`: passed · `FAIL`: failed · `cannot`: not possible on this kernel or machine (see Reasons) · empty: not run.
X
for arch in "${order[@]}"; do
  [ ! -e "$arch" ] || { echo && cat "$arch"; }
done
