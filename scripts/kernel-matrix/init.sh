#!/bin/sh
# Init of the machine that checks tracetui on one kernel (busybox sh; laid into the initramfs by kernel-matrix.sh).
# Runs the test programs of /tests, each test in a process of its own, and prints for every check one line
#   CHECK name pass|fail|cannot reason
# on the console, then powers off. What a failed test said stands above its line, marked with `| `.
# Kernel command line: checks=all|most|storm|lockdown   which checks   clock=SECONDS   what date(1) shall say
# shellcheck shell=dash
checks=all clock=0 storm=20000
export PATH=/bin HOME=/root TMPDIR=/tmp TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
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
    clock=*) clock=${word#*=} ;;
    storm=*) storm=${word#*=} ;;
  esac
done
date -s "@$clock" >/dev/null
export TRACETUI_BIN=/bin/tracetui TRACETUI_EMULATED=1 TRACETUI_STORM="$storm"

check() { echo "CHECK $*"; }

# One line without what would end it, from what a test or program said.
one_line() { tr -s '\n\t ' '   ' | cut -c1-300; }

# Why a test failed: what its first panic said.
reason() {
  sed -n '/panicked at/,/^note: run with\|^stack backtrace/{/panicked at\|^note: run with/!p;}' "$1" | head -3 | one_line
}

# Runs one test: program, name. Where it failed and the kernel had skipped probes meanwhile (7.0 and later, counted by
# tracetui), it may have looked for an event that was skipped: then it is run again.
run_test() {
  for try in 1 2 3 4 5; do
    try_test "$1" "$2"
    [ $status != 0 ] || break
    grep -q 'the kernel skipped [0-9]* events' /tmp/said || break
  done
  if [ $status = 137 ]; then
    sed 's/^/| /' /tmp/said | tail -40
    check "$2" fail "did not end within ${limit:-120}s"
  elif [ $status != 0 ]; then
    cut -c1-2000 /tmp/said | sed 's/^/| /' | tail -60
    check "$2" fail "$(reason /tmp/said)"
  elif grep -q 'cannot run: ' /tmp/said; then
    # Behind `test NAME ... ` when the tests run in one thread.
    check "$2" cannot "$(sed -n 's/.*cannot run: //p' /tmp/said | head -1 | one_line)"
  else
    grep -o -e 'storm: {.*' -e 'small ring: {.*' -e 'latency: .*' -e 'crowd: .*' /tmp/said | cut -c1-1000 | sed 's/^/FIGURE /'
    again=
    [ "$try" = 1 ] || again="at try $try: in those before the kernel skipped probes, as tracetui counted"
    check "$2" pass ${again:+"$again"}
  fi
}

try_test() {
  before=$(cut -d. -f1 /proc/uptime)
  timeout -s KILL "${limit:-120}" "$1" --exact "$2" --nocapture --test-threads=1 </dev/null >/tmp/said 2>&1
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

# Where the kernel forbids to read its memory, a sentence says so and nothing else happens.
lockdown() {
  tracetui print -n 1 >/tmp/out 2>/tmp/err
  status=$?
  sed 's/^/| /' /tmp/err
  if ! grep -q '\[confidentiality\]' /sys/kernel/security/lockdown 2>/dev/null; then
    check lockdown cannot "this kernel knows no lockdown=confidentiality"
  elif [ $status = 1 ] && [ ! -s /tmp/out ] && grep -q lockdown /tmp/err && [ "$(wc -l </tmp/err)" -le 2 ]; then
    check lockdown pass
  else
    check lockdown fail "exit status $status: $(one_line </tmp/err)"
  fi
}

echo "KERNEL $(uname -r)"
model=$(dmesg | sed -n 's/.*Dynamic Preempt: //p' | head -1)
echo "MODEL ${model:-fixed}"
if [ "$checks" = lockdown ]; then
  lockdown
else
  doctor
  while read -r name; do
    case "$checks:$name" in
      # What user space alone decides.
      most:filters::expressions_* | most:filters::different_* | most:filters::several_* | most:filters::kind_* | most:formats::* | \
        most:command::the_exit_status_*) ;;
      storm:storm::* | storm:crowd::* | storm:exits::* | storm:endings::two_* | most:* | all:*)
        run_test /tests/kernel "$name"
        ;;
    esac
  done </tests/names
  mounts
fi
dmesg | grep -e 'BUG:' -e 'Oops' -e 'WARNING:' -e 'RIP:' -e 'rcu.*stall' | sed 's/^/DMESG /'
echo "END"
poweroff -f
