#!/usr/bin/env bash
# Makes the files of a release in DIR, for x86-64 and aarch64: tarballs, deb, rpm, an OCI image, SBOMs (CycloneDX) and SHA256SUMS.
# Two clones of one commit give the same bytes, if their toolchains and packages are the same.
# usage: scripts/release.sh VERSION [--arch ARCH]… [--out DIR]
#   VERSION     the version in Cargo.toml, without v
#   --arch ARCH x86_64 or aarch64; may be repeated; without it, both
#   --out DIR   target/release-VERSION without it; must not exist
# Needs Debian or a relative of it, and root or sudo only to install packages that are missing.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

version='' archs=() out=''
while [ $# -gt 0 ]; do
  case $1 in
    --arch)
      case ${2:?--arch ARCH} in
        x86_64 | aarch64) archs+=("$2") ;;
        *) echo "unknown architecture $2: x86_64 or aarch64" >&2 && exit 2 ;;
      esac
      shift
      ;;
    --out) out=$(realpath "${2:?--out DIR}") && shift ;;
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
    -*) echo "unknown option $1; try --help" >&2 && exit 2 ;;
    *) version=$1 ;;
  esac
  shift
done
[ -z "$(git status --porcelain)" ] || { echo "there are changes without a commit: the files would be of no commit" >&2 && exit 1; }
stated=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
[ -n "$version" ] || { echo "missing VERSION; Cargo.toml has $stated" >&2 && exit 2; }
[ "$version" = "$stated" ] || { echo "Cargo.toml has version $stated, not $version" >&2 && exit 2; }
[ ${#archs[@]} -gt 0 ] || archs=(x86_64 aarch64)
out=${out:-$root/target/release-$version}
[ ! -e "$out" ] || { echo "$out exists: remove it, or use --out" >&2 && exit 1; }
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

# All times in the files are that of the commit, and all modes those of a checkout with this mask.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8 TZ=UTC
umask 022
host=$(uname -m)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tools=$root/target/tools

install_needs() {
  local missing=() arch as_root=()
  command -v jq >/dev/null || missing+=(jq)
  command -v rpmbuild >/dev/null || missing+=(rpm)
  command -v dpkg-deb >/dev/null || missing+=(dpkg)
  for arch in "${archs[@]}"; do
    # zstd and the allocator are in C.
    command -v "$(compiler "$arch")" >/dev/null || case $arch in
      "$host") missing+=(musl-tools) ;;
      x86_64) missing+=(gcc-x86-64-linux-gnu libc6-dev-amd64-cross) ;;
      aarch64) missing+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross) ;;
    esac
    rustup target list --installed | grep -qx "$arch-unknown-linux-musl" || rustup target add "$arch-unknown-linux-musl"
  done
  if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get -qq update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "${missing[@]}" >/dev/null
  fi
  cargo install --quiet --locked --root "$tools" cargo-auditable@0.7.7 auditable2cdx@0.1.0
}

# Headers of the host's C library would do as well: the code calls few functions, and has no macros that differ.
compiler() { if [ "$1" = "$host" ]; then echo musl-gcc; else echo "$1-linux-gnu-gcc"; fi; }

# The binaries of architecture $1, each with its own features of their dependencies. No path of this machine is in them. The sources of
# the standard library, where they are installed, have the path that it has without them. `cargo auditable build` would set the wrapper
# to its own path, which cargo hashes into the names of symbols; so this does what it does, with its name.
build() {
  local arch=$1 upper=${1^^} home=${CARGO_HOME:-$HOME/.cargo} sources program
  sources=$(rustc --print sysroot)/lib/rustlib/src/rust=/rustc/$(rustc -vV | sed -n 's/^commit-hash: //p')
  for program in tracetui tracetui-ship; do
    env "CARGO_TARGET_${upper}_UNKNOWN_LINUX_MUSL_LINKER=rust-lld" \
      "CARGO_TARGET_${upper}_UNKNOWN_LINUX_MUSL_RUSTFLAGS=--remap-path-prefix=$root=. --remap-path-prefix=$home=cargo --remap-path-prefix=$sources" \
      "CC_${arch}_unknown_linux_musl=$(compiler "$arch")" \
      "CFLAGS_${arch}_unknown_linux_musl=-ffile-prefix-map=$root=. -ffile-prefix-map=$home=cargo -U_FORTIFY_SOURCE" \
      "PATH=$tools/bin:$PATH" RUSTC_WORKSPACE_WRAPPER=cargo-auditable \
      'CARGO_AUDITABLE_ORIG_ARGS={"config":[],"offline":false,"locked":true,"frozen":false}' \
      cargo build --quiet --profile dist --locked -p "$program" --target "$arch-unknown-linux-musl"
    cp "target/$arch-unknown-linux-musl/dist/$program" "$work/$program.$arch"
  done
}

# The texts that the licences of the crates in the binary demand, once each.
third_party() {
  local name manifest file
  cargo metadata --format-version 1 --locked --filter-platform x86_64-unknown-linux-musl |
    jq -r '. as $all | (.resolve.nodes | map({key: .id, value: [.deps[] | select(any(.dep_kinds[]; .kind == null)) | .pkg]}) | from_entries) as $deps
      | [.packages[] | select(.name == ("tracetui", "tracetui-ship")).id] as $start
      | {seen: {}, next: $start}
      | until(.next == []; .next[0] as $id | .next |= .[1:]
          | if .seen[$id] then . else .seen[$id] = true | .next += $deps[$id] end) as {$seen}
      | $all.packages[] | select($seen[.id] and .source != null) | "\(.name) \(.version) (\(.license // "see below"))\t\(.manifest_path)"' |
    sort | while IFS=$'\t' read -r name manifest; do
      printf '%s\n' "$name"
      for file in "${manifest%/*}"/{LICEN[SC]E,COPYING,NOTICE,COPYRIGHT,UNLICENSE}*; do
        [ ! -f "$file" ] || { printf -- '---- %s\n' "${file##*/}" && cat "$file" && echo; }
      done
      printf '\n'
    done
}

# What is the same for every architecture, as it is installed below a root directory.
common() {
  local tree=$work/common/usr/share runs=$work/tracetui.$host ships=$work/tracetui-ship.$host
  [ -x "$runs" ] || { build "$host" && mv "$runs" "$work/runs" && mv "$ships" "$work/ships" && runs=$work/runs ships=$work/ships; }
  mkdir -p "$tree"/{man/man1,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d,doc/tracetui}
  "$runs" man >"$tree/man/man1/tracetui.1"
  "$ships" man >"$tree/man/man1/tracetui-ship.1"
  "$runs" completions bash >"$tree/bash-completion/completions/tracetui"
  "$runs" completions zsh >"$tree/zsh/vendor-completions/_tracetui"
  "$runs" completions fish >"$tree/fish/vendor_completions.d/tracetui.fish"
  cp README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE "$tree/doc/tracetui/"
  # Where README's links lead.
  install -Dm644 -t "$tree/doc/tracetui/docs" docs/*.md docs/events.schema.json
  install -Dm644 -t "$work/common/usr/lib/systemd/system" packaging/systemd/*.service
  third_party >"$tree/doc/tracetui/THIRD-PARTY"
}

# Writes the tree $1 as a tar archive.
archive() { tar --directory "$1" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=gnu -c "${@:2}"; }

tarball() {
  local arch=$1 name=tracetui-$version-$1-unknown-linux-musl share=$work/common/usr/share
  mkdir -p "$work/tar/$name"/{completions,systemd}
  cp packaging/systemd/*.service "$work/tar/$name/systemd/"
  cp "$work/tracetui.$arch" "$work/tar/$name/tracetui"
  cp "$work/tracetui-ship.$arch" "$work/tar/$name/tracetui-ship"
  cp -r "$share/doc/tracetui/"* "$share/man/man1/"*.1 "$work/tar/$name/"
  cp "$share/bash-completion/completions/tracetui" "$work/tar/$name/completions/tracetui.bash"
  cp "$share/zsh/vendor-completions/_tracetui" "$share/fish/vendor_completions.d/tracetui.fish" "$work/tar/$name/completions/"
  archive "$work/tar" "$name" | gzip -9n >"$out/$name.tar.gz"
}

deb() {
  local arch=amd64 tree=$work/deb-$1 doc
  [ "$1" = x86_64 ] || arch=arm64
  cp -a "$work/common" "$tree"
  doc=$tree/usr/share/doc/tracetui
  install -D "$work/tracetui.$1" "$tree/usr/bin/tracetui"
  install -D "$work/tracetui-ship.$1" "$tree/usr/bin/tracetui-ship"
  install -Dm644 packaging/deb/lintian-overrides "$tree/usr/share/lintian/overrides/tracetui"
  rm "$doc/LICENSE-APACHE" "$doc/LICENSE-MIT"
  cp packaging/deb/copyright "$doc/copyright"
  printf 'tracetui (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' "$version" \
    "$(sed -n 's/^Maintainer: //p' packaging/deb/control)" "$(date -Rud "@$SOURCE_DATE_EPOCH")" >"$doc/changelog"
  gzip -9n "$tree"/usr/share/man/man1/*.1 "$doc"/{changelog,CHANGELOG.md,THIRD-PARTY}
  mkdir "$tree/DEBIAN"
  sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$(du -sk --apparent-size "$tree" | cut -f1)/" \
    packaging/deb/control >"$tree/DEBIAN/control"
  (cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
  find "$tree" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group -Zxz --build "$tree" "$out/tracetui_${version}_$arch.deb" >/dev/null
}

rpm() {
  local tree=$work/rpm-$1
  cp -a "$work/common" "$tree"
  install -D "$work/tracetui.$1" "$tree/usr/bin/tracetui"
  install -D "$work/tracetui-ship.$1" "$tree/usr/bin/tracetui-ship"
  mv "$tree/usr/share/zsh/vendor-completions" "$tree/usr/share/zsh/site-functions"
  gzip -9n "$tree"/usr/share/man/man1/*.1
  rpmbuild -bb --quiet --target "$1-linux" --define "_topdir $work/rpmbuild" --define "_rpmdir $work/rpms" --define "tree $tree" \
    --define "version_of_release $version" --define '_buildhost reproducible' --define 'use_source_date_epoch_as_buildtime 1' \
    --define 'clamp_mtime_to_source_date_epoch 1' --define '_build_id_links none' --define 'build_mtime_policy clamp_to_source_date_epoch' \
    --define '_binary_payload w19.zstdio' packaging/tracetui.spec
  mv "$work/rpms/$1/"*.rpm "$out/"
}

# An OCI image layout with an image for each architecture: the binary, and nothing else.
oci() {
  local layout=$work/oci arch go layer config manifests='[]'
  mkdir -p "$layout/blobs/sha256"
  # Stores stdin as a blob; prints its descriptor, of media type $1.
  blob() {
    local digest size
    cat >"$work/blob"
    digest=$(sha256sum "$work/blob" | cut -d' ' -f1)
    size=$(stat -c %s "$work/blob")
    mv "$work/blob" "$layout/blobs/sha256/$digest"
    jq -nc --arg type "$1" --arg digest "sha256:$digest" --argjson size "$size" '{mediaType: $type, digest: $digest, size: $size}'
  }
  for arch in "${archs[@]}"; do
    go=amd64
    [ "$arch" = x86_64 ] || go=arm64
    mkdir -p "$work/image-$arch/usr/bin" "$work/image-$arch/tmp"
    cp "$work/tracetui.$arch" "$work/image-$arch/usr/bin/tracetui"
    archive "$work/image-$arch" . >"$work/layer.tar"
    layer=$(gzip -9n <"$work/layer.tar" | blob application/vnd.oci.image.layer.v1.tar+gzip)
    config=$(jq -nc --arg arch "$go" --arg diff "sha256:$(sha256sum "$work/layer.tar" | cut -d' ' -f1)" \
      --arg created "$(date -ud "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" --arg version "$version" '{
        created: $created, architecture: $arch, os: "linux", rootfs: {type: "layers", diff_ids: [$diff]},
        config: {Entrypoint: ["/usr/bin/tracetui"], Env: ["PATH=/usr/bin", "TERM=xterm-256color"],
          Labels: {"org.opencontainers.image.title": "tracetui", "org.opencontainers.image.version": $version,
            "org.opencontainers.image.licenses": "MIT OR Apache-2.0"}}}' | blob application/vnd.oci.image.config.v1+json)
    manifests=$(jq -nc --argjson config "$config" --argjson layer "$layer" \
      '{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", config: $config, layers: [$layer]}' |
      blob application/vnd.oci.image.manifest.v1+json |
      jq -c --arg arch "$go" --argjson manifests "$manifests" '$manifests + [. + {platform: {architecture: $arch, os: "linux"}}]')
  done
  # The name refers to the index of all architectures, so that a reader takes that of its machine.
  jq -nc --argjson manifests "$manifests" '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: $manifests}' |
    blob application/vnd.oci.image.index.v1+json |
    jq -c --arg version "$version" '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
      manifests: [. + {annotations: {"org.opencontainers.image.ref.name": "tracetui:\($version)"}}]}' >"$layout/index.json"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  archive "$layout" . >"$out/tracetui-$version.oci.tar"
}

# What the binaries say that they contain.
sbom() {
  local program
  for program in tracetui tracetui-ship; do
    "$tools/bin/auditable2cdx" "$work/$program.$1" >"$out/$program-$version-$1.cdx.json"
  done
}

step "tools"
install_needs
for arch in "${archs[@]}"; do
  step "$arch"
  build "$arch"
done
step "packages"
mkdir -p "$out"
common
for arch in "${archs[@]}"; do
  tarball "$arch"
  deb "$arch"
  rpm "$arch"
  sbom "$arch"
done
oci
(cd "$out" && sha256sum -- * >"$work/sums" && mv "$work/sums" SHA256SUMS && cat SHA256SUMS)
