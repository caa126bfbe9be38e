# shellcheck shell=bash
# What the checks in an emulated machine have in common: scripts/packages.sh puts it before them, with the machine's name in $machine.
# Waits until the command succeeds.
until_true() {
  for _ in {1..60}; do
    ! "$@" || return 0
    sleep 2
  done
  return 1
}
export -f until_true
# Runs the command $2…, which may be a function that is exported, and prints a line about $1. What it said is shown if it failed.
check() {
  local said
  if said=$(timeout 300 bash -c '"$@"' check "${@:2}" 2>&1 </dev/null); then
    echo "CHECK ${machine:?}: $1: pass"
  else
    tail -30 <<<"$said" | cut -c1-400 | sed 's/^/| /'
    echo "CHECK ${machine:?}: $1: FAIL"
  fi
}
