#!/usr/bin/env bash
# Tests the packages of a release, as a user would meet them.
# usage: scripts/packages.sh DIR [CHECK…]
#   DIR    what scripts/release.sh made, for the architecture of this machine
#   CHECK  trixie, forky, sid   a chroot of that Debian: install, trace, upgrade, remove, purge
#          lint                 lintian and rpmlint, both of sid
#          rpm                  rpm(8) in an empty root: install, verify, upgrade, erase
#          image                the OCI image in podman, which sees the processes of the host
#          machine              a whole Debian stable with systemd, booted in software emulation: sudo, dashboard, unit
#          runtimes             such a machine with docker, podman (rootless too), containerd and systemd-nspawn: names of containers
# Without any, all of them. Chroots are kept in target/packages and used again. Needs root, and Debian or a relative of it;
# installs packages that are missing. Prints a line for each check; exit status 1 if one failed.
set -euo pipefail
case ${1:--h} in -*) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" && exit 2 ;; esac
# All mounts are of this script, and end with it.
[ "${in_namespace:-}" = "$$" ] || exec env in_namespace=$$ unshare --mount --propagation private "$0" "$@"
release=$(realpath "$1") && shift
root=$(cd "$(dirname "$0")/.." && pwd)
kept=$root/target/packages
[ $# -gt 0 ] || set -- trixie forky sid lint rpm image machine runtimes
deb=$(echo "$release"/tracetui_*_"$(dpkg --print-architecture)".deb)
rpm=$(echo "$release"/tracetui-*."$(uname -m)".rpm)
version=$(dpkg-deb -f "$deb" Version)
failed=0
mkdir -p "$kept"
work=$(mktemp -d "$kept/work.XXXXXX") short=$(mktemp -d)
cleanup() {
  awk -v below="$work/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount --lazy
  rm -rf --one-file-system "$work" "$short"
}
trap cleanup EXIT

# Runs the command $3… of check $1, which is about $2. What it said is shown if it failed.
check() {
  local said
  if said=$("${@:3}" 2>&1); then
    printf 'CHECK %s: %s: pass\n' "$1" "$2"
  else
    printf '%s\n' "$said" | tail -40 | sed 's/^/| /'
    printf 'CHECK %s: %s: FAIL\n' "$1" "$2"
    failed=1
  fi
}
# Whether the output of the command $2… has a line that matches $1.
says() { local said && said=$("${@:2}" 2>&1) && echo "$said" && grep -qE -- "$1" <<<"$said"; }

need() {
  local program missing=()
  for program in "$@"; do
    command -v "${program#*:}" >/dev/null || missing+=("${program%:*}")
  done
  [ ${#missing[@]} = 0 ] || { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "${missing[@]}" >/dev/null; }
}

in_root() {
  chroot "$merged" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive "$@"
}

# A fresh copy of Debian $1 in $merged, with the kernel's file systems and the packages $2….
debian() {
  local suite=$1 base
  shift
  base=$kept/$suite
  if [ ! -e "$base.made" ]; then
    need debootstrap:debootstrap
    rm -rf --one-file-system "$base"
    # Older versions of debootstrap do not know the names of newer suites; their script is that of sid.
    debootstrap --variant=minbase "$suite" "$base" http://deb.debian.org/debian /usr/share/debootstrap/scripts/sid >"$base.log"
    touch "$base.made"
  fi
  merged=$work/$suite
  mkdir "$merged"{,.upper,.work}
  mount -t overlay overlay -o "lowerdir=$base,upperdir=$merged.upper,workdir=$merged.work" "$merged"
  mount -t proc proc "$merged/proc"
  mount -t sysfs sysfs "$merged/sys"
  mount --bind /dev "$merged/dev"
  cp /etc/resolv.conf "$merged/etc/resolv.conf"
  if [ $# -gt 0 ]; then
    # Mirrors may be older than they say that they are valid.
    in_root apt-get -qq update -o Acquire::Check-Valid-Until=false
    in_root apt-get -qq install --no-install-recommends -y "$@" >"$base.log" 2>&1
  fi
}
# Removes the copy.
leave() {
  umount --recursive "$merged"
  rm -rf --one-file-system "$merged" "$merged.upper" "$merged.work"
}

# The files that are installed, without what dpkg and apt write for themselves.
listing() {
  find "$merged" -xdev \( -path "$merged/var/lib/dpkg" -o -path "$merged/var/lib/apt" -o -path "$merged/var/cache" -o -path "$merged/var/log" \
    -o -path "$merged/tmp" \) -prune -o -printf '%P %y %m %l\n' | sort
}

# The deb with a higher version.
newer_deb() {
  dpkg-deb -R "$deb" "$work/newer"
  sed -i "s/^Version: .*/Version: $version+newer/" "$work/newer/DEBIAN/control"
  dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/newer" "$work/newer.deb" >/dev/null
}

# The same files with a higher version.
newer_rpm() {
  mkdir "$work/tree" && (cd "$work/tree" && rpm2cpio "$rpm" | cpio -idm --quiet)
  rpmbuild -bb --quiet --define "_topdir $work/rpmbuild" --define "_rpmdir $work/rpms" --define "tree $work/tree" \
    --define 'version_of_release 9999' --define '_binary_payload w1.gzdio' "$root/packaging/tracetui.spec"
}

no_scripts() { ! dpkg-deb --ctrl-tarfile "$deb" | tar -t | grep -vxE '\./|\./control|\./md5sums'; }
not_enabled() { ! find "$merged/etc" "$merged/usr/lib/systemd" -lname '*tracetui*' | grep .; }
same_listing() { diff "$work/before" <(listing); }
completes() { in_root bash -c '. /usr/share/bash-completion/completions/tracetui && complete -p tracetui'; }
has_files() {
  local file
  for file in man/man1/tracetui.1.gz man/man1/tracetui-ship.1.gz bash-completion/completions/tracetui zsh/vendor-completions/_tracetui \
    fish/vendor_completions.d/tracetui.fish doc/tracetui/copyright doc/tracetui/THIRD-PARTY.gz doc/tracetui/docs/events.schema.json; do
    [ -s "$merged/usr/share/$file" ] || { echo "no $file" && return 1; }
  done
  [[ $(gzip -dc "$merged/usr/share/man/man1/tracetui.1.gz") == *'.TH tracetui 1'* ]]
}
live() { says '"argv":\["/bin/echo","unusual-words"\]' in_root tracetui print --format json --kind exec -- /bin/echo unusual-words; }

chroot_of() {
  local suite=$1
  debian "$suite"
  listing >"$work/before"
  cp "$deb" "$merged/tmp/tracetui.deb"
  cp "$work/newer.deb" "$merged/tmp/newer.deb"
  cp "$root/assets/failed-build.ttr" "$merged/tmp/"
  check "$suite" "apt installs it" in_root apt-get install -y --no-install-recommends /tmp/tracetui.deb
  check "$suite" "its files are there" has_files
  check "$suite" "dpkg verifies them" in_root dpkg --verify tracetui
  check "$suite" "its version" says "^tracetui $version" in_root tracetui --version
  check "$suite" "prints a recording" says '^account: seen [0-9]+ ' in_root tracetui print /tmp/failed-build.ttr
  check "$suite" "doctor" in_root tracetui doctor
  check "$suite" "traces a command" live
  check "$suite" "bash completes it" completes
  check "$suite" "no unit is enabled" not_enabled
  check "$suite" "apt upgrades it" in_root apt-get install -y --no-install-recommends /tmp/newer.deb
  check "$suite" "the newer version is installed" says newer in_root dpkg-query -W tracetui
  check "$suite" "prints a recording after the upgrade" says '^account: seen [0-9]+ ' in_root tracetui print /tmp/failed-build.ttr
  check "$suite" "apt removes it" in_root apt-get remove -y tracetui
  check "$suite" "no file is left" same_listing
  check "$suite" "apt installs it again" in_root apt-get install -y --no-install-recommends /tmp/tracetui.deb
  check "$suite" "apt purges it" in_root apt-get purge -y tracetui
  check "$suite" "no file is left after the purge" same_listing
  leave
}

lint() {
  debian sid lintian rpmlint rpm
  cp "$deb" "$rpm" "$root/packaging/rpmlint.toml" "$merged/tmp/"
  check lint lintian in_root lintian --allow-root --fail-on error,warning --tag-display-limit 0 "/tmp/${deb##*/}"
  check lint rpmlint in_root rpmlint --strict --config /tmp/rpmlint.toml "/tmp/${rpm##*/}"
  leave
}

rpm_root() {
  need rpm:rpm rpm:rpmbuild rpm2cpio:rpm2cpio cpio:cpio
  merged=$work/root
  mkdir "$merged"
  newer_rpm
  check rpm "no scripts" test -z "$(rpm -qp --scripts "$rpm")"
  check rpm installs rpm --root "$merged" -i "$rpm"
  check rpm verifies rpm --root "$merged" -V tracetui
  check rpm "its version" says "^tracetui $version" chroot "$merged" /usr/bin/tracetui --version
  check rpm upgrades rpm --root "$merged" -U "$work/rpms"/*/*.rpm
  check rpm "verifies after the upgrade" rpm --root "$merged" -V tracetui
  check rpm erases rpm --root "$merged" -e tracetui
  check rpm "no file is left" test -z "$(find "$merged" -path '*racetui*')"
}

image() {
  local name=localhost/tracetui:$version host=$work/on-the-host podman run
  need podman:podman
  # A store of its own, with a short path for what runs. No network, and limits that a machine without CAP_SYS_RESOURCE can set.
  podman=(podman --root "$work/podman" --runroot "$short")
  run=("${podman[@]}" run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024)
  # Where both versions of cgroups are mounted, crun wants the second without controllers, or not at all.
  [ ! -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified
  check image loads "${podman[@]}" load -i "$release/tracetui-$version.oci.tar"
  check image "its version" says "^tracetui $version" "${run[@]}" "$name" --version
  cp /bin/true "$host"
  (while sleep 0.2; do "$host"; done) &
  check image "sees a process of the host" says "$host" timeout 60 \
    "${run[@]}" --privileged --pid host "$name" print --kind exec --comm on-the-host -n 1
  kill $!
}

# Debian stable with systemd, tracetui, the user ann and the packages $2…, in $merged. Its service runs $1.sh.
whole() {
  local name=$1
  "$root/scripts/kernel-matrix/fetch.sh" x86_64 "$root/target/kernels/x86_64" 6.12
  debian trixie systemd systemd-sysv dbus sudo procps "${@:2}"
  cp "$deb" "$merged/root/tracetui.deb"
  check "$name" "apt installs it" in_root apt-get install -y --no-install-recommends /root/tracetui.deb
  in_root useradd --create-home --shell /bin/bash ann
  echo 'ann ALL=(ALL) NOPASSWD: ALL' >"$merged/etc/sudoers.d/ann"
  echo machine >"$merged/etc/hostname"
  printf '#!/bin/bash\nmachine=%s\n' "$name" | cat - "$root/scripts/packages"/{checks,"$name"}.sh >"$merged/root/machine.sh"
  chmod 755 "$merged/root/machine.sh"
  install -m644 "$root/scripts/packages/machine.service" "$merged/etc/systemd/system/machine.service"
  in_root systemctl --quiet enable machine.service
}
# Boots $merged from a file system in memory. The script of the check $1 prints its checks on the console.
boot() {
  local name=$1 log=$kept/$1.log
  need qemu-system-x86:qemu-system-x86_64 cpio:cpio
  umount "$merged/proc" "$merged/sys" "$merged/dev"
  rm -rf "$merged"/{var/cache/apt,var/lib/apt/lists,usr/share/{locale,i18n,zoneinfo},root/tracetui.deb}
  (cd "$merged" && find . -xdev | LC_ALL=C sort | cpio -o -H newc --quiet | gzip -1) >"$work/initramfs.gz"
  # One thread emulates both processors: see kernel-matrix.sh.
  timeout -k 5 "${TRACETUI_BOOT_LIMIT:-1500}" qemu-system-x86_64 -cpu "qemu64,-cx16" -accel tcg,thread=single -m 3072 -smp 2 -no-reboot \
    -nodefaults -display none -monitor none -serial stdio -kernel "$root/target/kernels/x86_64/6.12" -initrd "$work/initramfs.gz" \
    -append "console=ttyS0 panic=-1 quiet systemd.show_status=0 systemd.mask=serial-getty@ttyS0.service" </dev/null 2>&1 | tr -d '\r' >"$log" || true
  grep -E '^(CHECK|\|) ' "$log" || true
  check "$name" "reaches its end, see $log" grep -qx END "$log"
  ! grep -q '^CHECK .*: FAIL' "$log" || failed=1
  leave
}

machine() {
  whole machine make tmux
  ln -s /sbin/init "$merged/init"
  boot machine
}

runtimes() {
  local image=srv/image applet
  whole runtimes libpam-systemd dbus-user-session systemd-container docker.io docker-cli containerd podman crun uidmap jq
  grep -q '^ann:' "$merged/etc/subuid" || in_root usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ann
  in_root systemctl --quiet disable docker.service docker.socket containerd.service
  # The root of all containers.
  mkdir -p "$merged/$image"/{bin,dev,etc,proc,root,run,sys,tmp,usr,var}
  install -m755 "$root/target/kernels/x86_64/busybox" "$merged/$image/bin/busybox"
  for applet in sh sleep true; do ln -s busybox "$merged/$image/bin/$applet"; done
  echo ID=image >"$merged/$image/etc/os-release"
  tar -C "$merged/$image" -cf "$merged/srv/image.tar" .
  # The kernel's modules are not there, among them overlay, veth and nf_tables.
  mkdir -p "$merged/etc"/{docker,containers}
  echo '{"storage-driver": "vfs", "iptables": false, "ip6tables": false, "bridge": "none"}' >"$merged/etc/docker/daemon.json"
  printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' >"$merged/etc/containers/storage.conf"
  # pivot_root(2) refuses the root that the kernel has unpacked, but not a second mount of it.
  printf '#!/%s/bin/sh\n' "$image" >"$merged/init"
  cat >>"$merged/init" <<'X'
export PATH=/srv/image/bin
busybox mount -o bind / /mnt
cd /mnt
busybox mount -o move . /
exec busybox chroot . /sbin/init
X
  chmod 755 "$merged/init"
  boot runtimes
}

newer_deb
check deb "no maintainer scripts" no_scripts
for name in "$@"; do
  case $name in
    trixie | forky | sid) chroot_of "$name" ;;
    lint | image | machine | runtimes) "$name" ;;
    rpm) rpm_root ;;
    *) echo "unknown check $name; try --help" >&2 && exit 2 ;;
  esac
done
exit "$failed"
