#!/bin/sh
# Init of the machine that checks tracetui on one kernel (busybox sh; laid into the initramfs by kernel-matrix.sh).
# Runs the test programs of /tests, each test in a process of its own, and prints for every check one line
#   CHECK name pass|fail|cannot reason
# on the console, then powers off. What a failed test said stands above its line, marked with `| `.
# Kernel command line: checks=all|core|start|storm|mte|lockdown|only   which checks   tests=PATTERN   with `only`: the names
#   clock=SECONDS   what date(1) shall say   rings=N   TRACETUI_RINGS
# A line `LACKS word` means that the kernel does not know that word of its command line, and nothing was run.
# shellcheck shell=dash
checks=all tests='' rings='' clock=0 storm=20000 preempt=
export PATH=/bin HOME=/root TMPDIR=/tmp TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mount -t securityfs securityfs /sys/kernel/security
# tracefs stays unmounted: tracetui must reach it by itself.
exec </dev/null
ulimit -n 4096
# Before 5.11 BPF maps of all programs of a user count against this limit.
ulimit -l unlimited
read -r words </proc/cmdline
for word in $words; do
  case $word in
    checks=*) checks=${word#*=} ;;
    tests=*) tests=${word#*=} ;;
    rings=*) rings=${word#*=} ;;
    clock=*) clock=${word#*=} ;;
    storm=*) storm=${word#*=} ;;
    preempt=*) preempt=${word#*=} ;;
  esac
done
date -s "@$clock" >/dev/null
export TRACETUI_BIN=/bin/tracetui TRACETUI_EMULATED=1 TRACETUI_STORM="$storm"
[ -z "$rings" ] || export TRACETUI_RINGS="$rings"

check() { echo "CHECK $*"; }

# One line without what would end it, from what a test or program said.
one_line() { tr -s '\n\t ' '   ' | cut -c1-300; }

# Why a test failed: what its first panic said.
reason() {
  sed -n '/panicked at/,/^note: run with\|^stack backtrace/{/panicked at\|^note: run with/!p;}' "$1" | head -3 | one_line
}

# Runs one test: program, name. One that fails is run once more, more often where the kernel had skipped probes meanwhile
# (counted by tracetui): it may have looked for an event that was skipped. The table says of what was the matter at first.
run_test() {
  at_first=
  for try in 1 2 3 4 5; do
    try_test "$1" "$2"
    [ $status != 0 ] || break
    [ -n "$at_first" ] || at_first=$(reason /tmp/said)
    sed 's/^/| /' /tmp/said | cut -c1-2000 | tail -40
    [ "$try" = 1 ] || grep -q 'the kernel skipped [0-9]* events' /tmp/said || break
  done
  if [ $status = 137 ]; then
    check "$2" fail "did not end within ${limit:-300}s"
  elif [ $status != 0 ]; then
    check "$2" fail "$(reason /tmp/said)"
  # The name of the test may stand before it.
  elif grep -e 'cannot run: ' -e 'not checked: ' /tmp/said | grep -qv 'not checked: [0-9]* of [0-9]* cases: '; then
    check "$2" cannot "$(sed -n -e 's/.*cannot run: //p' -e 's/.*\(not checked: \)/\1/p' /tmp/said | head -1 | one_line)"
  else
    sed -n "s/.*the kernel skipped/SKIPPED $2/p" /tmp/said
    grep -o -e 'storm: {.*' -e 'small ring: {.*' -e 'latency: .*' -e 'crowd: .*' /tmp/said | cut -c1-1000 | sed 's/^/FIGURE /'
    # Of a table of cases, those that did run passed.
    note=$(sed -n 's/.*\(not checked: \)/\1/p' /tmp/said | head -1 | one_line)
    [ "$try" = 1 ] || note="at try $try; at first: $at_first $note"
    check "$2" pass ${note:+"$note"}
  fi
}

try_test() {
  before=$(cut -d. -f1 /proc/uptime)
  timeout -s KILL "${limit:-300}" "$1" --exact "$2" --nocapture --test-threads=1 </dev/null >/tmp/said 2>&1
  status=$?
  echo "TOOK $2 $(($(cut -d. -f1 /proc/uptime) - before))s"
}

# The text of doctor, and whether every kind has a probe that works.
doctor() {
  tracetui doctor >/tmp/doctor 2>&1
  status=$?
  sed 's/^/| /' /tmp/doctor
  grep -v ' not attached ' /tmp/doctor | sed -n 's/^[a-z_]* .* attached  *\(.*\)$/\1;/p' | one_line | sed 's/^/NOTE /; s/; $/\n/'
  if [ $status = 0 ]; then
    check doctor pass
  else
    check doctor fail "exit status $status: $(grep -i -e 'not attached' -e error /tmp/doctor | one_line)"
  fi
}

# Nothing that was not mounted is mounted afterwards.
mounts() {
  if grep -q -e tracefs -e debugfs /proc/mounts; then
    check mounts_stay fail "$(grep -e tracefs -e debugfs /proc/mounts | one_line)"
  else
    check mounts_stay pass
  fi
}

# Where the kernel forbids to read its memory, a sentence says so and nothing else happens: also where securityfs, which
# tells of that, is not mounted.
lockdown() {
  if grep -q '\[confidentiality\]' /sys/kernel/security/lockdown 2>/dev/null; then
    says_locked_down lockdown
    umount /sys/kernel/security
    says_locked_down lockdown_without_securityfs
  else
    check lockdown cannot "this kernel knows no lockdown=confidentiality"
  fi
}

says_locked_down() {
  what='kernel lockdown (confidentiality): BPF programs cannot read kernel memory'
  remedy='boot without lockdown=confidentiality (lockdown=integrity works)'
  tracetui print -n 1 >/tmp/out 2>/tmp/err
  status=$?
  tracetui doctor >/tmp/doctor 2>&1
  examined=$?
  sed 's/^/| /' /tmp/err /tmp/doctor
  if [ "$status $examined" != "1 1" ]; then
    check "$1" fail "exit status of print $status, of doctor $examined"
  elif [ -s /tmp/out ] || [ "$(cat /tmp/err)" != "tracetui: $what: $remedy" ]; then
    check "$1" fail "print: $(one_line </tmp/err)"
  elif ! grep -qxF "cannot trace: $what" /tmp/doctor || ! grep -qxF "    remedy:  $remedy" /tmp/doctor ||
    grep -q 'not attached' /tmp/doctor; then
    check "$1" fail "doctor: $(one_line </tmp/doctor)"
  else
    check "$1" pass
  fi
}

# Storms, exits and the start.
storms() {
  case $1 in
    storm::* | crowd::* | tcp::what_a_crowd_* | live::starts_* | exits::ends_* | exits::costs_* | exits::processes_*) ;;
    *) return 1 ;;
  esac
}

# What the kernel's version decides, and what few machines can check: kprobes, trampolines, falsified views, x32.
cores() {
  case $1 in
    attachments::* | bpf_inventory::every_way_* | rootkit::* | stream::an_xdp_program_* | *_32_bit_* | *_x32_* | *tagged* | \
      execs::failed_* | execs::programs_* | hostile::the_longest_* | lies::calls_* | paths::opens_by_other_views_* | \
      uring::opens_through_* | uring::*_no_completion_is_* | trees::several_* | unfit::two_* | \
      tcp::a_request_* | tcp::connections_* | tcp::ends_* | tcp::failures_* | tcp::what_is_older_* | tcp::unreported::*_counted_once) ;;
    *) return 1 ;;
  esac
}

# Whether the test $1 is one of those that `checks` asks for.
wanted() {
  # shellcheck disable=SC2254  # $tests is a pattern
  case "$checks:$1" in
    only:*) case $1 in $tests) ;; *) return 1 ;; esac ;;
    # What user space alone decides is left out, but for these.
    all:filters::pid_lets_* | all:endings::two_* | all:endings::a_line_* | all:command::only_*) ;;
    all:around::* | all:command::* | all:command_terminal::* | all:cut::* | all:diff::* | all:endings::* | all:export::* | \
      all:filters::* | all:follow::* | all:formats::* | all:hostile::text_* | all:outputs::* | all:rotation::* | \
      all:recording::* | all:schema::* | all:stdio::*) return 1 ;;
    all:*) ;;
    core:*) storms "$1" || cores "$1" ;;
    storm:*) storms "$1" ;;
    start:live::starts_*) ;;
    # Pointers with a tag, on a processor with memory tagging.
    mte:*mte* | mte:*tagged*) ;;
    *) return 1 ;;
  esac
}

echo "KERNEL $(uname -r)"
model=$(dmesg | sed -n 's/.*Dynamic Preempt: //p' | head -1)
echo "MODEL ${model:-fixed}"
if [ -n "$preempt" ] && [ "$model" != "$preempt" ]; then
  echo "LACKS preempt=$preempt"
elif [ "$checks" = lockdown ]; then
  lockdown
else
  doctor
  # The list is made here: the machine that made the initramfs may have another architecture.
  /tests/kernel --list 2>/dev/null | sed -n 's/: test$//p' >/tmp/names
  ran=0
  while read -r name; do
    wanted "$name" || continue
    run_test /tests/kernel "$name"
    ran=$((ran + 1))
  done </tmp/names
  [ "$ran" -gt 0 ] || check tests fail "checks=$checks selects no test"
  mounts
fi
dmesg | grep -e 'BUG:' -e 'Oops' -e 'WARNING:' -e 'RIP:' -e 'pc :' -e 'rcu.*stall' | sed 's/^/DMESG /'
echo "END"
poweroff -f
