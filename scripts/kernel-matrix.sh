#!/usr/bin/env bash
# Boots Linux kernels under software emulation and runs the kernel tests in each, with the static binary that is shipped.
# Writes the table kernel × check to docs/KERNELS.md, and its summary into README.md and docs/PROBES.md.
# usage: scripts/kernel-matrix.sh [--quick | --core] [--jobs N] [--out FILE] [KERNEL…]
#   KERNEL     a version (6.12) or `newest`; without any: 5.10 6.1 6.12 6.18 7.1 newest, and docs/KERNELS.md is written
#   --quick    the storms and the exits only, without the preemption models
#   --core     some fifty checks on each kernel, of every subject, and `preempt=full` on two: in a quarter of an hour
#   --jobs N   machines that run at once (as many as there are processors)
#   --out FILE where the table goes; with kernels named: to stdout only, unless this says otherwise
# Everything is kept in target/kernel-matrix: the kernels, the initramfs, and the console of each machine (*.log).
# Exit status 1 when a check failed or fewer than three kernels (or, where fewer were named, not all of them) ran.
# Needs Debian or a relative of it, and root or sudo only to install packages that are missing.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
parts=$root/scripts/kernel-matrix

quick='' core='' out='' named=()
jobs=$(nproc)
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1 ;;
    --core) core=1 ;;
    --jobs) jobs=${2:?--jobs N} && shift ;;
    --out) out=${2:?--out FILE} && shift ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
    -*) echo "unknown option $1; try --help" >&2 && exit 2 ;;
    *) named+=("$1") ;;
  esac
  shift
done
kernels=(5.10 6.1 6.12 6.18 7.1 newest)
if [ ${#named[@]} -gt 0 ]; then
  kernels=("${named[@]}")
else
  out=${out:-docs/KERNELS.md}
fi

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
# The kernels lie apart from the rest of `work`, so that they can be kept when the rest is removed.
work=$CARGO_TARGET_DIR/kernel-matrix
kernel_dir=$CARGO_TARGET_DIR/kernels
target=x86_64-unknown-linux-musl
mkdir -p "$work"
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

# --- what a bare machine lacks -------------------------------------------------------------------------------------

install_needs() {
  local missing=()
  command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
  command -v cpio >/dev/null || missing+=(cpio)
  [ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1 || missing+=(busybox-static)
  [ -s /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
  if [ ${#missing[@]} -gt 0 ]; then
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    echo "installing ${missing[*]}"
    "${as_root[@]}" apt-get -qq update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get -qq install --no-install-recommends -y "${missing[@]}" >/dev/null
  fi
  rustup target list --installed | grep -qx "$target" || rustup target add "$target"
}

# --- what runs in the machines -------------------------------------------------------------------------------------

build() {
  cargo build --release --locked --target "$target" -p tracetui
  mkdir -p "$work/bin"
  # Before the tests are built: cargo then builds a binary of its own, which is not the shipped one.
  cp "$CARGO_TARGET_DIR/$target/release/tracetui" "$work/bin/tracetui"
  local test_program
  test_program=$(cargo test --release --locked --target "$target" -p tracetui --test kernel --no-run \
    --message-format=json-render-diagnostics |
    sed -n 's/.*"executable":"\([^"]*\/kernel-[^"]*\)".*/\1/p' | tail -1)
  cp "$test_program" "$work/bin/kernel-tests"
  strip --strip-debug "$work/bin/kernel-tests"
  # A program that does nothing, whatever it is called: busybox would look at its name.
  echo 'fn main() {}' | rustc --edition 2024 --target "$target" -O -C strip=symbols -o "$work/bin/true" -
}

# The initramfs: busybox, a table of users, the programs, and init.sh. Removed first, so that nothing old remains.
initramfs() {
  local tree=$work/initramfs applet
  rm -rf "$tree"
  mkdir -p "$tree"/{bin,dev,etc,proc,root,sys,tests,tmp}
  cp /bin/busybox "$tree/bin/busybox"
  for applet in cat cut date dmesg echo env false grep head id kill ls mkdir mount poweroff rm sed sh sleep sort tail \
    timeout touch tr umount uname wc; do
    ln -s busybox "$tree/bin/$applet"
  done
  cp "$work/bin/true" "$work/bin/tracetui" "$tree/bin/"
  cp "$work/bin/kernel-tests" "$tree/tests/kernel"
  "$work/bin/kernel-tests" --list 2>/dev/null | sed -n 's/: test$//p' >"$tree/tests/names"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$tree/etc/passwd"
  echo machine >"$tree/etc/hostname"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$tree/etc/group"
  cp "$parts/init.sh" "$tree/init"
  chmod 755 "$tree/init"
  (cd "$tree" && find . | LC_ALL=C sort | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$work/initramfs.gz"
}

# --- the machines --------------------------------------------------------------------------------------------------

# The runs: label of the kernel, name of the run, words for the kernel's command line. Preemption models that a kernel
# lacks are found out by booting: it says so, and the run is dropped.
runs() {
  local kernel checks
  for kernel in "${kernels[@]}"; do
    [ -s "$kernel_dir/$kernel" ] || continue
    # What user space alone decides is checked on the first and the last kernel only.
    checks=most
    if [ -n "$quick" ]; then
      checks=storm
    elif [ -n "$core" ]; then
      checks=core
    elif [ "$kernel" = "${kernels[0]}" ] || [ "$kernel" = "${kernels[-1]}" ]; then
      checks=all
    fi
    echo "$kernel default checks=$checks"
  done
  [ -z "$quick" ] || return 0
  for kernel in "${kernels[@]}"; do
    [ -s "$kernel_dir/$kernel" ] || continue
    # 5.10 of Debian's cloud flavour has one model only.
    [ "$kernel" = 5.10 ] || { [ -n "$core" ] && [ "$kernel" != 6.12 ] && [ "$kernel" != newest ]; } || echo "$kernel full checks=storm preempt=full"
  done
  [ ! -s "$kernel_dir/6.12" ] || echo "6.12 lockdown checks=lockdown lockdown=confidentiality"
}

# One machine; its console becomes a log. Software emulation only: it is the same everywhere. Without cmpxchg16b, at which
# one died with garbled flags; the kernels do without it.
machine() {
  local kernel=$1 log=$2
  shift 2
  timeout -k 5 "${TRACETUI_BOOT_LIMIT:-600}" qemu-system-x86_64 -accel tcg,thread=multi -cpu qemu64,-cx16 -m 1024 -smp 2 -no-reboot \
    -nodefaults -display none -monitor none -serial stdio -kernel "$kernel_dir/$kernel" -initrd "$work/initramfs.gz" \
    -append "console=ttyS0 panic=-1 quiet syscall.x32=y clock=$(date +%s) $*" </dev/null 2>&1 | sed -u 's|\r||g' >"$log" || true
}

# Boots a machine, once more when the kernel itself dies, which the table then says.
boot() {
  local kernel=$1 run=$2 log=$work/$1.$2.log began=$SECONDS checks failed died
  shift 2
  machine "$kernel" "$log" "$@"
  if died=$(grep -m 1 -o 'Kernel panic - .*' "$log"); then
    mv "$log" "$log.died"
    machine "$kernel" "$log" "$@"
    echo "CHECK first_boot cannot $died" >>"$log"
  fi
  checks=$(grep -c '^CHECK ' "$log" || true)
  failed=$(grep -c '^CHECK [^ ]* fail' "$log" || true)
  if ! grep -qx END "$log"; then
    echo "CHECK finishes fail the machine did not reach its end after $((SECONDS - began))s" >>"$log"
    failed=$((failed + 1))
  fi
  echo "WALL $((SECONDS - began))" >>"$log"
  printf '%-8s %-9s %-28s %3s checks, %s failed (%ss)\n' "$kernel" "$run" \
    "$(sed -n 's/^KERNEL //p' "$log")" "$checks" "$failed" "$((SECONDS - began))"
}

boot_all() {
  rm -f "$work"/*.log "$work"/*.died
  local kernel run words
  while read -r kernel run words; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
      wait -n || true
    done
    # shellcheck disable=SC2086  # words are words
    boot "$kernel" "$run" $words &
  done < <(runs)
  wait
}

# Puts the part of the page that others carry into them, between the same comments.
carry() {
  local page=$1 file
  shift
  for file in "$@"; do
    awk -v page="$page" '
      /<!-- kernels -->/ { while ((getline line < page) > 0) if (line ~ /<!-- kernels -->/ || on) { print line; on = line !~ /<!-- \/kernels -->/ }; skip = 1 }
      !skip { print }
      /<!-- \/kernels -->/ { skip = 0 }
    ' "$file" >"$file.new"
    mv "$file.new" "$file"
  done
}

# All in one function, read whole before it runs: the file may change meanwhile.
main() {
  step "packages"
  install_needs
  step "build, and kernels meanwhile"
  "$parts/fetch.sh" "$kernel_dir" "${kernels[@]}" >"$work/fetch.log" 2>&1 &
  fetching=$!
  build
  initramfs
  wait "$fetching" || true
  cat "$work/fetch.log"
  step "machines, $jobs at once"
  boot_all
  step "table"
  logs=()
  while read -r kernel run _; do
    logs+=("$work/$kernel.$run.log")
  done < <(runs)
  absent=()
  for kernel in "${kernels[@]}"; do
    [ -s "$kernel_dir/$kernel" ] || absent+=("$kernel")
  done
  "$parts/table.sh" "${absent[*]}" "${logs[@]}" >"$work/table.md"
  if [ -n "$out" ]; then
    cp "$work/table.md" "$out"
    echo "written to $out"
    [ "$out" != docs/KERNELS.md ] || carry "$out" README.md docs/PROBES.md
  else
    cat "$work/table.md"
  fi
  step "done"

  ran=$(grep -lx END "$work"/*.default.log | wc -l || true)
  wanted=$((${#kernels[@]} < 3 ? ${#kernels[@]} : 3))
  if [ "$ran" -lt "$wanted" ]; then
    echo "only $ran kernels ran" >&2
    exit 1
  fi
  if grep -H '^CHECK [^ ]* fail' "$work"/*.log | sed "s|^$work/||; s|\.log:CHECK| |" >&2; then
    exit 1
  fi
}

main
exit
