#!/bin/sh
# What one host of scripts/fleet.sh does, for a few seconds. $1 is the number of the host.
cp /bin/true "$PWD/only-$1"
cat /etc/shadow >/dev/null
[ "$1" = 2 ] && setpriv --reuid 65534 --clear-groups cat /etc/shadow >/dev/null
ls /nonexistent
for _ in 1 2 3; do
  "$PWD/only-$1" --host "$1" 'two words' "tab	and é"
  uname -n
  sleep 1
done
[ "$1" = 3 ] && cat /etc/missing-on-3
# Attaches BPF programs.
[ "$1" = 1 ] && "$TRACETUI" record -o inner.ttr --duration 1s
(exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null || bash -c 'exec 3<>/dev/tcp/127.0.0.1/9'
exit 0
