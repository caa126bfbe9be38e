#!/usr/bin/env bash
# The checks of a whole Debian, run by root in the machine (scripts/packages.sh puts it there). Prints a line for each.
export LC_ALL=C.UTF-8 TERM=xterm-256color PATH=/usr/sbin:/usr/bin
says() { local said && said=$("${@:2}" 2>&1) && echo "$said" && grep -qE -- "$1" <<<"$said"; }
# Ann runs $1, on a terminal of her own.
ann() { runuser -l ann -c "script -qec '$1' /dev/null"; }
# Waits until ann's screen shows $1.
screen() { until_true says "$1" runuser -l ann -c 'tmux capture-pane -p'; }
keys() { runuser -l ann -c "tmux send-keys $1"; }
export -f says ann screen keys

printf 'all: copy\n\tcat missing.h\ncopy:\n\tcp Makefile copy\n' >/home/ann/Makefile
echo "| $(uname -r), $(systemctl --version | head -1)"

check "no unit is enabled" says '^disabled' bash -c 'systemctl is-enabled tracetui-record || true'
check "no shipper is enabled" says '^disabled' bash -c 'systemctl is-enabled tracetui-ship || true'
check "ann: doctor" ann "sudo tracetui doctor"
check "ann: make's commands" says 'cp Makefile copy' ann 'sudo tracetui print --kind exec -- make copy'
check "ann: make runs as ann" says '^ann' stat -c %U /home/ann/copy
check "ann: why make failed" says 'ENOENT.*missing\.h.*why' bash -c 'ann "sudo tracetui print --failed --why -- make" || test $? = 2'

check "ann: the dashboard starts" runuser -l ann -c 'tmux new-session -d -x 120 -y 40 "sudo tracetui"'
check "ann: it shows execs" bash -c 'for n in {1..30}; do timeout 5 true; done; screen "exec .*true"'
check "ann: 2, the tree" bash -c 'keys 2 && screen "systemd"'
check "ann: 4, BPF programs" bash -c 'keys 4 && screen "cgroup"'
check "ann: ?, the keys" bash -c 'keys ? && screen "quit"'
check "ann: q" bash -c 'keys Escape && sleep 2 && keys q && until_true bash -c "! pgrep -x tracetui"'

printf '%s\n' "TRACETUI_OPTIONS=--label site=fra1 --filter 'kind != tcp || err'" TRACETUI_ROTATE=64MiB,1m,5 >/etc/default/tracetui-record
parts() { ls /var/lib/tracetui/*.ttr; }
in_parts() { tracetui print /var/lib/tracetui/*.ttr --kind exec; }
export -f parts in_parts
check "the unit starts" systemctl start tracetui-record
check "it writes a part" until_true parts
check "it traces" until_true bash -c 'journalctl -u tracetui-record | grep -q tracing:'
check "something happens" cp /etc/hostname /tmp/unusual-name
sleep 5
check "it has its options" says "'--filter' 'kind != tcp \|\| err'|kind != tcp \|\| err" cat "/proc/$(systemctl show -P MainPID tracetui-record)/cmdline"
check "it is active" systemctl is-active tracetui-record
check "it has no uid 0" says '^[^r]' ps -o user= -p "$(systemctl show -P MainPID tracetui-record)"
check "everybody may read its metrics" until_true says '^tracetui_' runuser -u nobody -- sh -c 'cat /run/tracetui/*.prom'
check "its memory" says 'Memory' bash -c 'systemctl status tracetui-record'
check "it restarts" systemctl restart tracetui-record
check "the parts are two" until_true bash -c '[ "$(parts | wc -l)" -ge 2 ]'
check "it stops" systemctl stop tracetui-record
check "it did not fail" says '^success' systemctl show -P Result tracetui-record
check "the parts have what happened" says 'unusual-name' in_parts
check "the parts are whole" says 'lost 0' bash -c 'tracetui print /var/lib/tracetui/*.ttr --kind exec -n 1 2>&1 | tail -3; tracetui info /var/lib/tracetui/*.ttr'
check "nobody else reads them" says '^700|^750' stat -Lc %a /var/lib/tracetui
systemd-analyze security --no-pager tracetui-record | tail -1 | sed 's/^/| /'
check "exposure at most 2.5" systemd-analyze security --threshold=25 --no-pager tracetui-record
journalctl -b -u tracetui-record --no-pager | sed 's/^/| /' | tail -20

# Both units, with a directory in place of a bucket.
echo 'TRACETUI_SHIP_TO=file:///var/lib/tracetui-ship/store' >/etc/default/tracetui-ship
pid() { systemctl show -P MainPID "$1"; }
id_of() { ps -o "$2=" -p "$(pid "$1")" | tr -d ' '; }
in_shipper() {
  nsenter -t "$(pid tracetui-ship)" -m setpriv --reuid="$(id_of tracetui-ship uid)" --regid="$(id_of tracetui-ship gid)" --groups 65534 "$@"
}
export -f pid id_of in_shipper
ships() {
  check "$1: both units start" systemctl start tracetui-record tracetui-ship
  sleep 20
  systemctl restart tracetui-record
  check "$1: parts are shipped" until_true bash -c 'find /var/lib/private/tracetui-ship/store -name "*.parquet" | grep -q .'
  check "$1: the shipper has no uid 0" test "$(id_of tracetui-ship uid)" -gt 0
  check "$1: the shipper has another user than the recorder" bash -c '[ "$(id_of tracetui-ship uid)" != "$(id_of tracetui-record uid)" ]'
  check "$1: its user can read recordings" in_shipper bash -c 'cat /var/lib/private/tracetui/*.ttr | grep -q .'
  check "$1: its user cannot remove recordings" bash -c '! in_shipper bash -c "rm -f /var/lib/private/tracetui/*.ttr"'
  check "$1: its user cannot change recordings" bash -c '! in_shipper bash -c "for part in /var/lib/private/tracetui/*.ttr; do echo >>\$part && exit; done; exit 1"'
  check "$1: the shipper has no capabilities" says '^CapPrm:.0*$' cat "/proc/$(pid tracetui-ship)/status"
  check "$1: the units stop" systemctl stop tracetui-ship tracetui-record
  check "$1: the shipper did not fail" says '^success' systemctl show -P Result tracetui-ship
}
ships "a file system without ID-mapped mounts"
mount -t tmpfs -o mode=700 private /var/lib/private
ships "ID-mapped mounts"
check "the shipper's exposure is at most 1.5" systemd-analyze security --threshold=15 --no-pager tracetui-ship
journalctl -b -u tracetui-ship --no-pager | sed 's/^/| /' | tail -20
umount /var/lib/private
rm /etc/default/tracetui-*

check "apt removes it" apt-get -y purge tracetui
check "no file is left but recordings" bash -c '! find /etc /usr -name "*tracetui*" | grep .'
echo END
