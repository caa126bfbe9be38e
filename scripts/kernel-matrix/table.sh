#!/usr/bin/env bash
# The consoles of machines as a Markdown page on stdout: a summary, checks by subject, then check × kernel, then every reason.
# The part between the two comments `kernels` is what README.md and docs/PROBES.md carry too.
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

A check that fails is run once more; what was the matter at first stands below.

`pass` as it should be · `FAIL` not · `cannot` this kernel or machine cannot show it (the reason is below) · empty: not run.

X
awk -v absent="$absent" '
  function subject(check) {
    sub(/::.*/, "", check)
    if (check ~ /^(execs|programs)$/) return "exec: succeeded and failed, scripts, descriptors, setuid"
    if (check == "exits") return "exit: status, signals, threads, out of memory"
    if (check == "paths") return "open: paths, flags, namespaces, 32-bit callers"
    if (check == "races") return "open: descriptors that other threads take"
    if (check == "uring") return "open through io_uring"
    if (check == "bpf") return "BPF programs loaded and attached"
    if (check ~ /^(storm|crowd)$/) return "storms: each event once, or counted"
    if (check == "hostile") return "hostile names and arguments"
    if (check ~ /^(filters|trees|live)$/) return "capture filters"
    if (check == "command") return "`-- COMMAND`"
    if (check ~ /^(endings|formats)$/) return "endings and formats of `print`"
    return "the machine: doctor, privileges, nothing left behind"
  }
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
    about = subject(check); if (!(about in met)) { met[about] = 1; subjects[++topics] = about }
    by[about, n, result]++
    if (result != "pass" || NF > 3) {
      reason = $0; sub(/^CHECK [^ ]+ [^ ]+ ?/, "", reason); gsub(/\|/, "\\|", reason); gsub(/</, "\\&lt;", reason)
      reasons = reasons "| " label " " run " | " check " | " mark(result) " | " reason " |\n"
    }
  }
  END {
    print "<!-- kernels -->"
    header = "| checks that pass |"; line = "|---|"
    for (i = 1; i <= n; i++) {
      short = release[i]; sub(/-(cloud-)?amd64.*|\+deb.*/, "", short)
      header = header " " (short ? short : labels[i]) (runs[i] == "default" ? "" : "<br>" runs[i]) " |"; line = line "---|"
    }
    print header; print line
    for (t = 1; t <= topics; t++) {
      row = "| " subjects[t] " |"
      for (i = 1; i <= n; i++) {
        good = by[subjects[t], i, "pass"] + 0; bad = by[subjects[t], i, "fail"] + 0; unable = by[subjects[t], i, "cannot"] + 0
        all = good + bad + unable
        row = row " " (all == 0 ? "" : good == all ? all : good " of " all (bad ? " **FAIL**" : "")) " |"
      }
      print row
    }
    print "<!-- /kernels -->\n"
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
