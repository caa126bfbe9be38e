#!/usr/bin/env bash
# The checks of containers' names, run by root in the machine (scripts/packages.sh puts it there). Prints a line for each.
# What tracetui shows is compared with what each runtime itself lists.
export LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin TMPDIR=/tmp
cd /tmp || exit 1
# All functions, for check.
set -a
same() { [ "$1" = "$2" ] || { printf 'want %s\nhave %s\n' "$1" "$2" && return 1; }; }

# What each container runs: its name as an argument, again and again.
# shellcheck disable=SC2016  # the container's shell expands it
work='while :; do /bin/busybox true "tracetui-$0"; /bin/busybox sleep 3; done'
# Ann's own systemd runs it, outside the cgroups of root.
ann() {
  runuser -u ann -- env -C /home/ann HOME=/home/ann XDG_RUNTIME_DIR=/run/user/1000 \
    systemd-run --user --quiet --wait --pipe --expand-environment=no --property=KillMode=process --property=Delegate=yes --setenv=work="$work" "$@"
}
id_of() { sha256sum <<<"$1" | cut -c1-64; }

# How a runtime starts the container $1, and what it lists: runtime, id, name, image.
start_docker() { docker run -d --name "$1" --network none image:1 /bin/sh -c "$work" "$1"; }
list_docker() { docker ps --no-trunc --filter "name=^$1\$" --format '["docker","{{.ID}}","{{.Names}}","{{.Image}}"]'; }
start_podman() { podman run -d --name "$1" --network none localhost/image:1 /bin/sh -c "$work" "$1"; }
list_podman() { podman ps --no-trunc --filter "name=^$1\$" --format '["podman","{{.ID}}","{{.Names}}","{{.Image}}"]'; }
start_rootless() { ann podman run -d --name "$1" --network none localhost/image:1 /bin/sh -c "$work" "$1"; }
list_rootless() { ann podman ps --no-trunc --filter "name=^$1\$" --format '["podman","{{.ID}}","{{.Names}}","{{.Image}}"]'; }
# ctr has no names, and the name of the image is in containerd's database alone. The second container is in a scope.
start_containerd() {
  local id scope=()
  id=$(id_of "$1")
  [ "$1" = containerd-before ] || scope=(--runc-systemd-cgroup --cgroup "system.slice:cri-containerd:$id")
  ctr run -d --snapshotter native "${scope[@]}" docker.io/library/image:1 "$id" /bin/sh -c "$work" "$1"
}
list_containerd() { ctr containers ls | awk -v id="$(id_of "$1")" '$1 == id { printf "[\"containerd\",\"%s\",null,null]\n", id }'; }
# The first machine is in a scope, the second in the service of a template.
start_nspawn() {
  if [ "$1" = nspawn-before ]; then
    systemd-run --quiet systemd-nspawn --quiet --machine "$1" --directory /srv/image --volatile=no --as-pid2 /bin/sh -c "$work" "$1"
  else
    mkdir -p /etc/systemd/nspawn /var/lib/machines
    cp -a /srv/image "/var/lib/machines/$1"
    printf '[Exec]\nBoot=no\nPrivateUsers=no\nParameters=/bin/sh -c %s %s\n[Network]\nPrivate=no\nVirtualEthernet=no\n' "'$work'" "$1" \
      >"/etc/systemd/nspawn/$1.nspawn"
    systemctl start "systemd-nspawn@$1"
  fi
}
list_nspawn() { machinectl list --no-legend | awk -v name="$1" '$1 == name { printf "[\"%s\",\"%s\",\"%s\",null]\n", substr($3, 9), $1, $1 }'; }

# What --container selects it by: its name, if it has one.
key() { [ "$1" = containerd ] && id_of "$2" || echo "$2"; }

# The execs of the container $2 that the file $1 has.
execs() { jq -c --arg word "tracetui-$2" 'select(.argv[1:] == ["true", $word])' "$1"; }
named() { same "$(cat "$2.want")" "$(execs "$1" "$2" | jq -c '.container | [.runtime, .id, .name, .image]' | sort -u)"; }
# The unit of the process that runs the container, as ps(1) has it, with the user's manager before it.
unit_of() {
  local unit user
  read -r unit user < <(ps -o unit:200=,uunit:200= -p "$(execs live.json "$1" | jq .ppid | tail -1)")
  [ "$user" = - ] || unit+=/$user
  [ "$unit" = - ] || echo "$unit"
}
in_unit() { same "$(cat "$2.unit")" "$(execs "$1" "$2" | jq -r '.unit // empty' | sort -u)"; }
# Whether what the command $4… prints is of the container $1 alone: by the field $2, which is $3, and by what it ran. What ann moves
# into a cgroup of hers with her container's name is her container's.
only() {
  local printed
  printed=$("${@:4}") || return
  same "$3" "$(jq -r "$2" <<<"$printed" | sort -u)" &&
    same "tracetui-$1" "$(jq -r '.argv[2] // empty | select(startswith("tracetui-") and . != "tracetui-forged-own")' <<<"$printed" | sort -u)"
}
# The recording, without any file of a runtime. Filters are further arguments.
# shellcheck disable=SC2016,SC2119,SC2120  # the inner shell expands it
replay() {
  unshare --mount sh -c 'for dir in /run /var/lib /home; do mount -t tmpfs tmpfs $dir; done && exec "$@"' replay \
    tracetui print /tmp/all.ttr --kind exec --format json "$@" 2>/dev/null
}
live() { timeout 120 tracetui print --kind exec --format json -n 2 "$@" 2>/dev/null; }
by_container() { only "$3" '.container | .name // .id' "$(key "$2" "$3")" "$1" --container "$(key "$2" "$3")"; }
by_unit() { only "$2" .unit "$(cat "$2.unit")" "$1" --unit "$(sed 's/\\/\\\\/g' "$2.unit")"; }
# Whether the trace with --container has all execs of $1 from the first on, as far as it goes.
whole() {
  local pids
  pids=$(execs after.json "$1" | jq .pid)
  same "$(execs live.json "$1" | jq .pid | head -n "$(wc -l <<<"$pids")")" "$pids"
}
# A cgroup of ann's has the name $1.
# shellcheck disable=SC2016  # ann's shell expands it
forge() {
  ann sh -c 'cd "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)" && mkdir -p "$1" && echo $$ >"$1/cgroup.procs" &&
    for n in 1 2 3; do /srv/image/bin/busybox true "tracetui-$2"; sleep 0.5; done' sh "$1" "$2"
}
forged() { same "$2" "$(execs all.json "$1" | jq -c '[.container.name, .container_why]' | sort -u)"; }
set +a

kinds='docker podman rootless containerd nspawn'
echo "| $(uname -r), $(docker --version), $(podman --version), $(containerd --version | cut -d' ' -f1,3), $(systemctl --version | head -1)"
systemctl start docker && loginctl enable-linger ann
check "docker: the image" docker import /srv/image.tar image:1
check "containerd: the image" bash -c 'docker save image:1 -o saved.tar && ctr image import --snapshotter native saved.tar'
check "podman: the image" podman import --quiet /srv/image.tar localhost/image:1
check "rootless: the image" ann podman import --quiet /srv/image.tar localhost/image:1
for kind in $kinds; do check "$kind: a container starts before the trace" "start_$kind" "$kind-before"; done

tracetui record -o all.ttr --kind exec 2>record.err &
tracetui print --kind exec --format json >live.json 2>live.err &
tracetui print --kind exec --format json --container '*-after' --container "$(id_of containerd-after)" >after.json 2>after.err &
check "the trace starts" until_true grep -q tracetui-nspawn-before live.json
sleep 10
for kind in $kinds; do check "$kind: a container starts after it" "start_$kind" "$kind-after"; done
for kind in $kinds; do
  check "$kind: --container, live" by_container live "$kind" "$kind-before"
  for name in "$kind"-{before,after}; do
    "list_$kind" "$name" >"$name.want"
    unit_of "$name" >"$name.unit"
    echo "| $name: $(cat "$name.want"), unit $(cat "$name.unit")"
  done
  [ ! -s "$kind-before.unit" ] || check "$kind: --unit, live" by_unit live "$kind-before"
done
id() { jq -r '.[1]' "$1.want"; }
check "ann forges a container of docker" forge "docker-$(id docker-before).scope" forged-docker
check "ann forges a container of root's podman" forge "libpod-$(id podman-before).scope" forged-podman
check "ann forges one of containerd" forge "default/$(id containerd-before)" forged-containerd
check "ann forges a machine" forge "machine.slice/machine-nspawn\\x2dbefore.scope" forged-nspawn
check "ann forges one of her own" forge "libpod-$(id rootless-before).scope" forged-own
# shellcheck disable=SC2046  # ids are words
kill -INT $(jobs -p)
wait
replay >all.json
tail -1 record.err | sed 's/^/| /'

for kind in $kinds; do
  for name in "$kind"-{before,after}; do
    check "$name: as the runtime lists it, live" named live.json "$name"
    check "$name: as the runtime lists it, replayed" named all.json "$name"
    check "$name: its unit" in_unit all.json "$name"
    check "$name: --container, replayed" by_container replay "$kind" "$name"
    [ ! -s "$name.unit" ] || check "$name: --unit, replayed" by_unit replay "$name"
  done
  check "$kind-after: --container has its first exec" whole "$kind-after"
done
for kind in docker podman containerd nspawn; do
  check "forged, $kind: no container" forged "forged-$kind" '[null,"not_collected"]'
  echo "| $(execs all.json "forged-$kind" | jq -c '[.cgroup, .unit, .container]' | tail -1)"
done
check "forged, her own: her container" forged forged-own '["rootless-before",null]'
echo END
