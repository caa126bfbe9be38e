#!/usr/bin/env bash
# Boots Linux kernels under software emulation and runs the kernel tests in each, with the static binary that is shipped;
# for --quick and --core with one that is built faster: once for the tests and itself, and for --quick with fewer optimizations.
# Writes a report (kernel × check) to target/kernel-matrix/KERNELS.md, and its summary into docs/KERNELS.md.
# usage: scripts/kernel-matrix.sh [--arch ARCH]… [--quick | --core] [--tests PATTERN] [--build] [--jobs N] [--out FILE] [KERNEL…]
#   --arch ARCH x86_64, aarch64 or all; may be repeated; without it, the architecture of this machine
#   KERNEL     a version (6.12) or `newest`; with `-16k` (aarch64), the kernel with pages of 16 KiB. Without any, those of
#              the plan below, and the report is written: the sections of the architectures that ran are replaced
#   --quick    the storms and the exits only, without the preemption models
#   --core     some sixty checks on 5.10 and the newest kernel; on 6.12 the start, whose verifier takes the most instructions, and
#              lockdown. 6.1, 6.18 and 7.1 are left out: no fault was seen on them alone
#   --tests PATTERN only the tests whose names match, as in case of sh(1): 'tcp::*'
#   --build    only builds the programs and fetches the kernels, for a run that follows
#   --cpus N   each machine has N processors instead of 2; above 8, the tracer has a ring for each
#   --jobs N   machines that run at once (as many as there are processors)
#   --out FILE writes the report to FILE, and nothing to docs/. With kernels named and without it, to stdout only
# What is built and the console of each machine (*.log) are kept in target/kernel-matrix/ARCH, the kernels in
# target/kernels/ARCH.
# Exit status 1 when a check failed or fewer than three kernels (or, where fewer were named, not all of them) of an
# architecture ran. Needs Debian or a relative of it, and root or sudo only to install packages that are missing.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
parts=$root/scripts/kernel-matrix

quick='' core='' tests='' build_only='' out='' named=() archs=()
jobs=$(nproc) cpus=2
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=1 ;;
    --core) core=1 ;;
    --tests) tests=${2:?--tests PATTERN} && shift ;;
    --build) build_only=1 ;;
    --arch)
      case ${2:?--arch ARCH} in
        x86_64 | aarch64) archs+=("$2") ;;
        all) archs+=(x86_64 aarch64) ;;
        *) echo "unknown architecture $2: x86_64, aarch64 or all" >&2 && exit 2 ;;
      esac
      shift
      ;;
    --cpus) cpus=${2:?--cpus N} && shift ;;
    --jobs) jobs=${2:?--jobs N} && shift ;;
    --out) out=${2:?--out FILE} && shift ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
    -*) echo "unknown option $1; try --help" >&2 && exit 2 ;;
    *) named+=("$1") ;;
  esac
  shift
done
host=$(uname -m)
[ ${#archs[@]} -gt 0 ] || archs=("$host")
mapfile -t archs < <(printf '%s\n' "${archs[@]}" | sort -ru)
case ${archs[*]} in
  x86_64 | aarch64 | 'x86_64 aarch64') ;;
  *) echo "unsupported architecture ${archs[*]}: use --arch x86_64 or aarch64" >&2 && exit 2 ;;
esac

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
# The kernels lie apart from the rest of `work`, so that they can be kept when the rest is removed.
work=$CARGO_TARGET_DIR/kernel-matrix
kernel_dir=$CARGO_TARGET_DIR/kernels
sysroot=$(rustc --print sysroot)
mkdir -p "$work"
summary=''
[ -n "$out" ] || [ ${#named[@]} -gt 0 ] || { out=$work/KERNELS.md && summary=1; }
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

# The kernels of an architecture that run when none are named, and the checks that run on each. Both leave out what user
# space alone decides.
plan() {
  case $1 in
    x86_64) echo 5.10=all 6.1=core 6.12=core 6.18=core 7.1=core newest=all ;;
    aarch64) echo 5.10=core 6.1=core 6.12=core 6.18-16k=core 7.1=core newest=all ;;
  esac
}

kernels() {
  local pair
  if [ ${#named[@]} -gt 0 ]; then
    echo "${named[@]}"
  elif [ -n "$core" ]; then
    echo 5.10 6.12 newest
  else
    for pair in $(plan "$1"); do
      echo "${pair%=*}"
    done
  fi
}

# --- what a bare machine lacks -------------------------------------------------------------------------------------

install_needs() {
  local missing=() arch
  for arch in "${archs[@]}"; do
    case $arch in
      x86_64) command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86) ;;
      aarch64) command -v qemu-system-aarch64 >/dev/null || missing+=(qemu-system-arm) ;;
    esac
    # zstd is in C.
    [ "$arch" = "$host" ] || command -v "$arch-linux-gnu-gcc" >/dev/null ||
      missing+=("gcc-${arch//_/-}-linux-gnu" "libc6-dev-$([ "$arch" = aarch64 ] && echo arm64 || echo amd64)-cross")
    rustup target list --installed | grep -qx "$arch-unknown-linux-musl" || rustup target add "$arch-unknown-linux-musl"
  done
  command -v cpio >/dev/null || missing+=(cpio)
  command -v readelf >/dev/null || missing+=(binutils)
  [ -s /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
  if [ ${#missing[@]} -gt 0 ]; then
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    echo "installing ${missing[*]}"
    "${as_root[@]}" apt-get -qq update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get -qq install --no-install-recommends -y "${missing[@]}" >/dev/null
  fi
}

# --- what runs in the machines -------------------------------------------------------------------------------------

# Copies the program $1 to $2, unless it is there: tests may run it, and a file that runs is not written.
place() {
  cmp -s "$1" "$2" || { cp "$1" "$2.new" && mv "$2.new" "$2"; }
}

build() {
  local arch=$1 target=$1-unknown-linux-musl bin=$work/$1/bin profile=release linker test_program program
  mkdir -p "$bin"
  # The linker of the toolchain links for every architecture; a C compiler compiles for one only.
  linker=CARGO_TARGET_${arch^^}_UNKNOWN_LINUX_MUSL_LINKER
  if [ "$arch" != "$host" ]; then
    export "$linker=${!linker:-rust-lld}" "CC_${arch}_unknown_linux_musl=$arch-linux-gnu-gcc"
  else
    export "CC_${arch}_unknown_linux_musl=cc"
  fi
  # With the tests cargo builds a binary of its own: some crates have more features then. The whole matrix takes the one that is
  # installed.
  if [ -z "$quick$core$build_only" ]; then
    cargo build --release --locked --target "$target" -p tracetui
    place "$CARGO_TARGET_DIR/$target/release/tracetui" "$bin/tracetui"
  fi
  [ -z "$quick" ] || profile=quick
  test_program=$(cargo test --profile "$profile" --locked --target "$target" -p tracetui --test kernel --no-run \
    --message-format=json-render-diagnostics |
    sed -n 's/.*"executable":"\([^"]*\/kernel-[^"]*\)".*/\1/p' | tail -1)
  [ -z "$quick$core$build_only" ] || place "$CARGO_TARGET_DIR/$target/$profile/tracetui" "$bin/tracetui"
  # The strip of this machine may know its own architecture only.
  env "LD_LIBRARY_PATH=$sysroot/lib" "$sysroot/lib/rustlib/$(rustc --print host-tuple)/bin/rust-objcopy" \
    --strip-debug "$test_program" "$work/$arch/kernel-tests"
  place "$work/$arch/kernel-tests" "$bin/kernel-tests"
  # A program that does nothing, whatever it is called: busybox would look at its name.
  echo 'fn main() {}' | rustc --edition 2024 --target "$target" -C "linker=${!linker:-cc}" -O -C strip=symbols -o "$bin/true" -
  for program in tracetui kernel-tests true; do
    static "$arch" "$bin/$program"
  done
}

# The program $2 must run on any machine of the architecture $1: for that processor, without interpreter and libraries.
static() {
  local expected='Advanced Micro Devices X86-64' found
  [ "$1" = x86_64 ] || expected=AArch64
  found=$(LC_ALL=C readelf --file-header --program-headers --dynamic --wide "$2")
  if ! grep -q "Machine: *$expected\$" <<<"$found"; then
    echo "$2 is not for $1" >&2 && return 1
  elif grep -e '^ *INTERP ' -e '(NEEDED)' <<<"$found"; then
    echo "$2 is not static" >&2 && return 1
  fi
  echo "$1 ${2##*/}: static, $(stat -c %s "$2") bytes"
}

# The initramfs: busybox, a table of users, the programs, and init.sh. Removed first, so that nothing old remains.
initramfs() {
  local arch=$1 tree=$work/$1/initramfs applet
  rm -rf "$tree"
  mkdir -p "$tree"/{bin,dev,etc,proc,root,sys,tests,tmp}
  # Other users than root must get at the programs.
  chmod 755 "$tree"
  cp "$kernel_dir/$arch/busybox" "$tree/bin/busybox"
  for applet in cat cut date dmesg echo env false grep head id kill ls mkdir mount poweroff rm sed sh sleep sort tail \
    timeout touch tr umount uname unshare wc; do
    ln -s busybox "$tree/bin/$applet"
  done
  cp "$work/$arch/bin/true" "$work/$arch/bin/tracetui" "$tree/bin/"
  cp "$work/$arch/bin/kernel-tests" "$tree/tests/kernel"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$tree/etc/passwd"
  echo machine >"$tree/etc/hostname"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$tree/etc/group"
  cp "$parts/init.sh" "$tree/init"
  chmod 755 "$tree/init"
  (cd "$tree" && find . | LC_ALL=C sort | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$work/$arch/initramfs.gz"
}

# --- the machines --------------------------------------------------------------------------------------------------

# The runs of an architecture: label of the kernel, name of the run, words for the kernel's command line.
runs() {
  local arch=$1 kernel pair checks
  for kernel in $(kernels "$arch"); do
    [ -s "$kernel_dir/$arch/$kernel" ] || continue
    checks=all
    if [ -n "$tests" ]; then
      checks="only tests=$tests"
    elif [ -n "$quick" ]; then
      checks=storm
    elif [ -n "$core" ]; then
      [ "$kernel" = 6.12 ] && checks=start || checks=core
    elif [ ${#named[@]} = 0 ]; then
      for pair in $(plan "$arch"); do
        [ "${pair%=*}" != "$kernel" ] || checks=${pair#*=}
      done
    fi
    echo "$kernel default checks=$checks"
  done
  [ -z "$tests$quick" ] || return 0
  # A kernel that has one preemption model only says so (`LACKS`), and that run is dropped.
  [ -n "$core" ] || for kernel in $(kernels "$arch"); do
    [ ! -s "$kernel_dir/$arch/$kernel" ] || echo "$kernel full checks=storm preempt=full rings=2"
  done
  if [ -s "$kernel_dir/$arch/6.12" ] && kernels "$arch" | grep -qwF 6.12; then
    echo "6.12 lockdown checks=lockdown lockdown=confidentiality"
    # A processor with memory tagging.
    [ "$arch:$core" != aarch64: ] || echo "6.12 mte checks=mte"
  fi
}

# One machine; its console becomes a log. Software emulation only: it is the same everywhere.
machine() {
  local arch=$1 kernel=$2 log=$3 limit=1800 emulator words board=virt
  shift 3
  words="panic=-1 quiet clock=$(date +%s) $*"
  case " $words " in
    *' checks=all '*) limit=3000 ;;
    *' checks=mte '*) board=virt,mte=on ;;
  esac
  case $arch in
    x86_64)
      # Without cmpxchg16b, at which one died with garbled flags; the kernels do without it.
      emulator=(qemu-system-x86_64 -cpu "qemu64,-cx16")
      words="console=ttyS0 syscall.x32=y $words"
      ;;
    aarch64)
      # Pointers are authenticated by a hash of the emulator's own, which costs less than the architecture's.
      emulator=(qemu-system-aarch64 -M "$board" -cpu "max,pauth-impdef=on")
      words="console=ttyAMA0 $words"
      ;;
  esac
  # One thread emulates both processors. With a thread for each, QEMU 7.2 may run on with the translation of code that the kernel
  # patched meanwhile: a tracepoint is never reached, or a breakpoint that is gone is met for ever (`asm_exc_int3`, a machine
  # that stands still). It takes the same time, since as many machines run at once as there are processors.
  timeout -k 5 "${TRACETUI_BOOT_LIMIT:-$limit}" "${emulator[@]}" -accel tcg,thread=single -m $((1024 + cpus * 16)) -smp "$cpus" -no-reboot \
    -nodefaults -display none -monitor none -serial stdio -kernel "$kernel_dir/$arch/$kernel" \
    -initrd "$work/$arch/initramfs.gz" -append "$words" </dev/null 2>&1 | sed -u 's|\r||g' >"$log" || true
}

# Boots a machine, once more when the kernel itself dies, which the table then says.
boot() {
  local arch=$1 kernel=$2 run=$3 log=$work/$1/$2.$3.log began=$SECONDS checks failed died lacks release
  shift 3
  machine "$arch" "$kernel" "$log" "$@"
  if died=$(grep -m 1 -o 'Kernel panic - .*' "$log"); then
    mv "$log" "$log.died"
    machine "$arch" "$kernel" "$log" "$@"
    echo "CHECK first_boot cannot $died" >>"$log"
  fi
  release=$(sed -n 's/^KERNEL //p' "$log")
  if lacks=$(grep '^LACKS ' "$log"); then
    printf '%-7s %-8s %-9s %-28s dropped, it lacks %s\n' "$arch" "$kernel" "$run" "$release" "${lacks#LACKS }"
    mv "$log" "$log.dropped"
    return
  fi
  checks=$(grep -c '^CHECK ' "$log" || true)
  failed=$(grep -c '^CHECK [^ ]* fail' "$log" || true)
  if ! grep -qx END "$log"; then
    echo "CHECK finishes fail the machine did not reach its end after $((SECONDS - began))s" >>"$log"
    failed=$((failed + 1))
  fi
  echo "WALL $((SECONDS - began))" >>"$log"
  printf '%-7s %-8s %-9s %-28s %3s checks, %s failed (%ss)\n' "$arch" "$kernel" "$run" "$release" "$checks" "$failed" \
    "$((SECONDS - began))"
}

boot_all() {
  local arch kernel run words
  for arch in "${archs[@]}"; do
    rm -f "$work/$arch"/*.log "$work/$arch"/*.died "$work/$arch"/*.dropped
  done
  # By the name of their checks (all, core, storm): those that take longest begin first.
  while read -r arch kernel run words; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
      wait -n || true
    done
    # shellcheck disable=SC2086  # words are words
    boot "$arch" "$kernel" "$run" $words &
  done < <(for arch in "${archs[@]}"; do runs "$arch" | sed "s/^/$arch /"; done | sort --stable -k4,4)
  wait
}

# --- the report ----------------------------------------------------------------------------------------------------

# The section of an architecture, from the logs of its machines.
section() {
  local arch=$1 kernel run logs=() absent=()
  while read -r kernel run _; do
    [ ! -e "$work/$arch/$kernel.$run.log" ] || logs+=("$work/$arch/$kernel.$run.log")
  done < <(runs "$arch")
  for kernel in $(kernels "$arch"); do
    [ -s "$kernel_dir/$arch/$kernel" ] || absent+=("$kernel")
  done
  "$parts/section.sh" "$arch" "${absent[*]}" "${logs[@]}"
}

# Replaces the rows of a report's architectures in the summary of docs/KERNELS.md, between the same comments.
summarize() {
  local report=$1 page=docs/KERNELS.md
  awk '
    /<!-- kernels -->/ { inside = 1 }
    inside && /^\| (x86-64|aarch64) / { rows[NR == FNR, $2] = rows[NR == FNR, $2] $0 "\n"; next }
    /<!-- \/kernels -->/ {
      inside = 0
      if (NR != FNR) printf "%s%s", latest("x86-64"), latest("aarch64")
    }
    NR != FNR { print }
    function latest(arch) { return (1, arch) in rows ? rows[1, arch] : rows[0, arch] }
  ' "$report" "$page" >"$work/summary.md"
  cp "$work/summary.md" "$page"
}

# All in one function, read whole before it runs: the file may change meanwhile.
main() {
  local arch fetching=() one failed='' ran wanted
  step "packages"
  install_needs
  step "build, and kernels meanwhile"
  for arch in "${archs[@]}"; do
    mkdir -p "$work/$arch"
    # shellcheck disable=SC2046  # labels are words
    "$parts/fetch.sh" "$arch" "$kernel_dir/$arch" $(kernels "$arch") >"$work/$arch/fetch.txt" 2>&1 &
    fetching+=($!)
  done
  for arch in "${archs[@]}"; do
    build "$arch"
  done
  for one in "${fetching[@]}"; do
    wait "$one" || true
  done
  for arch in "${archs[@]}"; do
    cat "$work/$arch/fetch.txt"
    initramfs "$arch"
  done
  [ -z "$build_only" ] || return 0
  step "machines, $jobs at once"
  boot_all
  step "report"
  for arch in "${archs[@]}"; do
    section "$arch" >"$work/$arch/section.md"
  done
  if [ -n "$out" ]; then
    "$parts/page.sh" "$out" "${archs[@]/#/$work/}" >"$work/report.md"
    cp "$work/report.md" "$out"
    echo "written to $out"
    [ -z "$summary" ] || summarize "$out"
  else
    for arch in "${archs[@]}"; do
      cat "$work/$arch/section.md"
    done
  fi
  step "done"

  for arch in "${archs[@]}"; do
    ran=$(grep -lx END "$work/$arch"/*.default.log | wc -l || true)
    wanted=$(kernels "$arch" | wc -w)
    [ "$wanted" -lt 3 ] || wanted=3
    if [ "$ran" -lt "$wanted" ]; then
      echo "only $ran kernels of $arch ran" >&2
      failed=1
    fi
    if grep -H '^CHECK [^ ]* fail' "$work/$arch"/*.log | sed "s|^$work/||; s|\.log:CHECK| |" >&2; then
      failed=1
    fi
  done
  [ -z "$failed" ] || exit 1
}

main
exit
