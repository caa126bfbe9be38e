#!/usr/bin/env bash
# The consoles of an architecture's machines as a section of the report, on stdout: checks by subject, then each run, then
# check × kernel, then every reason. Two comments enclose it, by which page.sh finds it again.
# usage: section.sh ARCH "ABSENT…" LOG…      ABSENT: kernels that are not available; a LOG is called KERNEL.RUN.log
set -euo pipefail
arch=$1
absent=$2
shift 2
printf '<!-- %s -->\n## %s\n\n' "$arch" "${arch/x86_64/x86-64}"
awk -v absent="$absent" '
  function subject(check) {
    sub(/::.*/, "", check)
    if (check ~ /^(execs|programs)$/) return "exec: success, failure, scripts, descriptors, setuid"
    if (check == "exits") return "exit: status, signals, threads, out of memory"
    if (check == "paths") return "open: paths, flags, namespaces, 32-bit callers"
    if (check == "races") return "open: races with other threads"
    if (check == "uring") return "open through io_uring"
    if (check == "tcp") return "tcp: connect, accept, close, io_uring, MPTCP"
    if (check == "bpf_inventory") return "`tracetui bpf`"
    if (check ~ /^(bpf|attachments)$/) return "BPF program loads and attachments"
    if (check ~ /^(storm|crowd)$/) return "storms: every event is shown once or counted as lost"
    if (check == "hostile") return "unsafe names and arguments"
    if (check ~ /^(filters|trees|live)$/) return "capture filters"
    if (check == "command") return "`-- COMMAND`"
    if (check ~ /^(endings|formats)$/) return "`print`: end of the trace, formats"
    return "environment: doctor, privileges, cleanup"
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
    header = "| tests passed |"; line = "|---|"
    for (i = 1; i <= n; i++) {
      short = release[i]; sub(/-(cloud-)?a(md|rm)64.*|\+deb.*/, "", short)
      if (labels[i] ~ /-16k$/) short = short " 16k"
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
    print "\n### Runs\n"
    print "| kernel | release | preemption | pass | fail | cannot | seconds |"
    print "|---|---|---|--:|--:|--:|--:|"
    for (i = 1; i <= n; i++)
      printf "| %s %s | %s | %s | %d | %d | %d | %d |\n", labels[i], runs[i], release[i], model[i], count[i, "pass"], count[i, "fail"], count[i, "cannot"], wall[i]
    gone = split(absent, missing, " ")
    for (i = 1; i <= gone; i++) printf "| %s | not available | | | | | |\n", missing[i]
    print "\n### Checks\n"
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
      print "\n### Reasons\n\n| kernel | check | | reason |\n|---|---|---|---|"
      printf "%s", reasons
    }
    print "\n### Probes listed by doctor\n"
    for (i = 1; i <= n; i++) if (notes[i]) print "- " labels[i] " " runs[i] ": " notes[i]
  }
' "$@"
printf '<!-- /%s -->\n' "$arch"
