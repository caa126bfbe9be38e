#!/usr/bin/env bash
# The consoles of machines as a Markdown page on stdout: a summary, then check × kernel, then every reason.
# usage: table.sh "ABSENT…" LOG…      ABSENT: kernels that could not be had; a LOG is called KERNEL.RUN.log
set -euo pipefail
absent=$1
shift
cat <<'X'
# Kernels

Written by `scripts/kernel-matrix.sh`: each kernel is booted under software emulation with two processors, and the kernel
tests (`tui/tests/kernel`) run in it with the static binary that is shipped. tracefs is not mounted there. *Default* is the
preemption model that the kernel starts with, *full* is `preempt=full`, where only storms and exits are run.
Emulation makes our programs a large share of what the processor does, so losses are far above those of real hardware;
whether they can happen, and whether they are counted, is the same.

`pass` as it should be · `FAIL` not · `cannot` this kernel or machine cannot show it (the reason is below) · empty: not run.

X
awk -v absent="$absent" '
  function mark(result) { return result == "fail" ? "**FAIL**" : result }
  FNR == 1 {
    name = FILENAME; sub(/.*\//, "", name); sub(/\.log$/, "", name)
    run = name; sub(/.*\./, "", run); label = substr(name, 1, length(name) - length(run) - 1)
    n++; labels[n] = label; runs[n] = run
  }
  /^KERNEL / { release[n] = $2 }
  /^MODEL / { model[n] = $2 }
  /^WALL / { wall[n] = $2 }
  /^NOTE / { sub(/^NOTE /, ""); notes[n] = notes[n] (notes[n] ? "; " : "") $0 }
  /^CHECK / {
    check = $2; result = $3
    if (!(check in known)) { known[check] = 1; order[++checks] = check }
    results[check, n] = result; count[n, result]++
    if (result != "pass" || NF > 3) {
      reason = $0; sub(/^CHECK [^ ]+ [^ ]+ ?/, "", reason); gsub(/\|/, "\\|", reason); gsub(/</, "\\&lt;", reason)
      reasons = reasons "| " label " " run " | " check " | " mark(result) " | " reason " |\n"
    }
  }
  END {
    print "| kernel | release | preemption | pass | fail | cannot | seconds |"
    print "|---|---|---|--:|--:|--:|--:|"
    for (i = 1; i <= n; i++)
      printf "| %s %s | %s | %s | %d | %d | %d | %d |\n", labels[i], runs[i], release[i], model[i], count[i, "pass"], count[i, "fail"], count[i, "cannot"], wall[i]
    gone = split(absent, missing, " ")
    for (i = 1; i <= gone; i++) printf "| %s | could not be had | | | | | |\n", missing[i]
    print ""
    header = "| check |"; line = "|---|"
    for (i = 1; i <= n; i++) { header = header " " labels[i] (runs[i] == "default" ? "" : " " runs[i]) " |"; line = line "---|" }
    print header; print line
    for (c = 1; c <= checks; c++) {
      title = order[c]; sub(/::/, ": ", title); gsub(/_/, " ", title)
      row = "| " title " |"
      for (i = 1; i <= n; i++) row = row " " mark(results[order[c], i]) " |"
      print row
    }
    if (reasons) {
      print "\n## Reasons\n\n| kernel | check | | reason |\n|---|---|---|---|"
      printf "%s", reasons
    }
    print "\n## What the probes say\n"
    for (i = 1; i <= n; i++) if (notes[i]) print "- " labels[i] " " runs[i] ": " notes[i]
  }
' "$@"
