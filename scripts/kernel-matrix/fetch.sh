#!/usr/bin/env bash
# Debian's kernels as plain files, and a static busybox; of each package only the one file is kept.
# usage: fetch.sh ARCH DIR LABEL…     ARCH: x86_64 or aarch64
#   LABEL: a version such as 6.12, or `newest`: Debian's cloud kernel; with `-16k`: the one with pages of 16 KiB (aarch64)
# Writes DIR/LABEL (the kernel), DIR/LABEL.package (where it came from) and DIR/busybox. What cannot be had has no file.
# Packages are found by pattern, the highest version first, and the next one where that cannot be downloaded (archives
# list some that are gone). apt works in DIR/apt with sources and an architecture of its own: nothing on the system
# changes. What was fetched less than a week ago is kept. Exit status 0 also when some cannot be had.
set -euo pipefail
usage='usage: fetch.sh ARCH DIR LABEL…'
arch=${1:?$usage}
dir=$(realpath -m "${2:?$usage}")
shift 2
case $arch in
  x86_64) debian=amd64 ;;
  aarch64) debian=arm64 ;;
  *) echo "$usage" >&2 && exit 2 ;;
esac
mkdir -p "$dir"

# A pattern for the labels' packages. From 6.19 on the kernel is in linux-binary-*, and linux-image-* is almost empty.
pattern() {
  local version=${1%-16k} flavour=cloud-$debian
  [ "$version" = "$1" ] || flavour=$debian-16k
  version=${version/./\\.}
  [ "$version" != newest ] || version='[0-9]+\.[0-9]+'
  echo "^linux-(image|binary)(-unsigned)?-${version}[-.~+](.*[-+])?${flavour}(-unsigned)?\$"
}

# A private apt: Debian's suites from the site that this machine uses for Debian already.
prepare_apt() {
  mkdir -p "$dir"/apt/{lists/partial,archives/partial,download}
  local site suite
  # shellcheck disable=SC2016  # apt expands it
  site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep '/debian/*$' | sort -u | head -1 || true)
  for suite in bullseye bookworm trixie trixie-backports sid experimental; do
    echo "deb [arch=$debian signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
      "${site:-http://deb.debian.org/debian} $suite main"
  done >"$dir/apt/sources.list"
  # What is installed here, for another architecture perhaps, plays no part.
  : >"$dir/apt/status"
  cat >"$dir/apt/apt.conf" <<X
Dir::State::lists "$dir/apt/lists";
Dir::State::status "$dir/apt/status";
Dir::Cache::archives "$dir/apt/archives";
Dir::Cache::srcpkgcache "";
Dir::Cache::pkgcache "";
Dir::Etc::sourcelist "$dir/apt/sources.list";
Dir::Etc::sourceparts "-";
APT::Sandbox::User "root";
APT::Architecture "$debian";
APT::Architectures { "$debian"; };
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
X
  export APT_CONFIG=$dir/apt/apt.conf
  # A suite that is gone does not take the others with it.
  apt-get -qq update || echo "some suites are not available" >&2
}

# All kernel packages, the highest version first; of one version the signed one first. Read once: apt parses its lists
# anew for each question. The names alone do not sort: a release candidate is called 7.3, the release that follows 7.3.4,
# and its version is 7.3~rc7-1.
list_kernels() {
  local names
  names=$(apt-cache search --names-only '^linux-(image|binary)(-unsigned)?-[0-9]' | awk '{ print $1 }' | grep -v -e '-rt-' -e '-dbg$')
  # shellcheck disable=SC2086  # names are words
  apt-cache show --no-all-versions $names | awk '/^Package: / { name = $2 } /^Version: / { print $2, name }' |
    sort -k1,1rV -k2,2 | awk '{ print $2 }' >"$dir/apt/kernels"
}

# The files of the package $1, as the other words, which are options of tar, say. apt compares the checksum.
content() {
  local package=$1
  shift
  rm -f "$dir"/apt/download/*.deb
  (cd "$dir/apt/download" && apt-get -qq download "$package" 2>/dev/null) || return
  dpkg-deb --fsys-tarfile "$dir"/apt/download/*.deb | tar -x --wildcards "$@" 2>/dev/null || true
  rm -f "$dir"/apt/download/*.deb
}

# Takes DIR/$1 from the first of the packages $2… that has it. The other words are in `files`.
get() {
  local label=$1 package
  shift
  for package in "$@"; do
    content "$package" -O "${files[@]}" >"$dir/$label.part" || true
    if [ -s "$dir/$label.part" ]; then
      mv "$dir/$label.part" "$dir/$label"
      echo "$package" >"$dir/$label.package"
      echo "$arch $label: $package"
      return
    fi
  done
  rm -f "$dir/$label.part"
  echo "$arch $label: no package available"
}

prepared=
for label in busybox "$@"; do
  if [ -s "$dir/$label" ] && [ -n "$(find "$dir/$label" -mtime -7)" ]; then
    echo "$arch $label: $(cat "$dir/$label.package") (fetched before)"
    continue
  fi
  if [ -z "$prepared" ]; then
    prepare_apt
    list_kernels
    prepared=1
  fi
  if [ "$label" = busybox ]; then
    files=('./bin/busybox' './usr/bin/busybox')
    get "$label" busybox-static/trixie busybox-static
    chmod -f 755 "$dir/$label" || true
  else
    files=('./boot/vmlinuz*' './usr/lib/modules/*/vmlinuz*')
    # shellcheck disable=SC2046  # names are words
    get "$label" $(grep -E "$(pattern "$label")" "$dir/apt/kernels" || true)
  fi
done
