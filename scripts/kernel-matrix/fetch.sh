#!/usr/bin/env bash
# Debian's cloud kernels as plain files; of each package only the kernel itself is kept.
# usage: fetch.sh DIR LABEL…     LABEL: a version such as 6.12, or `newest`
# Writes DIR/LABEL (the kernel) and DIR/LABEL.package (where it came from); a kernel that cannot be had has no file.
# Packages are found by pattern, the newest first, and the next older one where that cannot be downloaded (archives list
# some that are gone). apt works in DIR/apt with sources of its own: nothing on the system changes. Kernels fetched less
# than a week ago are kept. Exit status 0 also when some cannot be had.
set -euo pipefail
dir=$(realpath -m "${1:?usage: fetch.sh DIR LABEL…}")
shift
mkdir -p "$dir"

# A pattern for the labels' packages. From 6.19 on the kernel is in linux-binary-*, and linux-image-* is almost empty.
pattern() {
  local version=${1/./\\.}
  [ "$1" != newest ] || version='[0-9]+\.[0-9]+'
  echo "^linux-(image|binary)(-unsigned)?-${version}[-.~+].*cloud-amd64(-unsigned)?\$"
}

# A private apt: Debian's suites from the site that this machine uses for Debian already.
prepare_apt() {
  mkdir -p "$dir"/apt/{lists/partial,archives/partial,download}
  local site suite
  # shellcheck disable=SC2016  # apt expands it
  site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep '/debian/*$' | sort -u | head -1 || true)
  for suite in bullseye bookworm trixie trixie-backports sid experimental; do
    echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
      "${site:-http://deb.debian.org/debian} $suite main"
  done >"$dir/apt/sources.list"
  cat >"$dir/apt/apt.conf" <<X
Dir::State::lists "$dir/apt/lists";
Dir::Cache::archives "$dir/apt/archives";
Dir::Cache::srcpkgcache "";
Dir::Cache::pkgcache "";
Dir::Etc::sourcelist "$dir/apt/sources.list";
Dir::Etc::sourceparts "-";
APT::Sandbox::User "root";
APT::Architecture "amd64";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
X
  export APT_CONFIG=$dir/apt/apt.conf
  # A suite that is gone does not take the others with it.
  apt-get -qq update || echo "some suites cannot be had" >&2
}

# Packages of a label, the newest version first; of one version the signed one first.
packages() {
  apt-cache search --names-only "$(pattern "$1")" | awk '{ print $1 }' |
    sed -E 's/^(linux-(image|binary)(-unsigned)?-)(.*)$/\4 \1\4/' | sort -k1,1rV -k2,2 | awk '{ print $2 }' |
    grep -v -e '-dbg$'
}

get() {
  local label=$1 package
  for package in $(packages "$label" || true); do
    (cd "$dir/apt/download" && apt-get -qq download "$package" 2>/dev/null) || continue
    dpkg-deb --fsys-tarfile "$dir"/apt/download/*.deb |
      tar -xO --wildcards './boot/vmlinuz*' './usr/lib/modules/*/vmlinuz*' >"$dir/$label.part" 2>/dev/null || true
    rm -f "$dir"/apt/download/*.deb
    if [ -s "$dir/$label.part" ]; then
      mv "$dir/$label.part" "$dir/$label"
      echo "$package" >"$dir/$label.package"
      echo "$label: $package"
      return
    fi
  done
  rm -f "$dir/$label.part"
  echo "$label: no package can be had"
}

prepared=
for label in "$@"; do
  if [ -s "$dir/$label" ] && [ -n "$(find "$dir/$label" -mtime -7)" ]; then
    echo "$label: $(cat "$dir/$label.package") (fetched before)"
    continue
  fi
  [ -n "$prepared" ] || prepare_apt
  prepared=1
  get "$label"
done
