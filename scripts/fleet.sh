#!/usr/bin/env bash
# A fleet in small: records on three "hosts" (UTS namespaces), ships while shippers are killed, and asks ten questions in
# ClickHouse (chdb), DuckDB, Spark and Iceberg. All give the same answers, or this fails. Needs root, and on Debian installs Java
# and venv if they are missing. Python's packages (600 MB) are installed under target/fleet. After that it takes about two minutes.
# With TRACETUI and TRACETUI_SHIP set, these programs are used; otherwise they are built.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD/scripts/fleet place=$PWD/target/fleet
step() { printf -- '-- %s (%ss)\n' "$1" "$SECONDS"; }

need() { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$1" >/dev/null; }
# Spark needs Java.
command -v java >/dev/null || need default-jre-headless
python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv

step "programs"
if [ -z "${TRACETUI_SHIP:-}" ]; then
  cargo build --quiet --locked -p tracetui -p tracetui-ship
  target=${CARGO_TARGET_DIR:-target}/debug
  TRACETUI=$(realpath "$target/tracetui") TRACETUI_SHIP=$(realpath "$target/tracetui-ship")
fi
export TRACETUI TRACETUI_SHIP
mkdir -p "$place"
python=$place/venv/bin/python
if ! [ -e "$place/venv/ready" ]; then
  python3 -m venv "$place/venv"
  "$place/venv/bin/pip" -q install -r "$here/requirements.txt"
  touch "$place/venv/ready"
fi

work=$(mktemp -d)
cleanup() {
  kill "${moto:-}" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

step "server"
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$place/venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$work/moto.log" 2>&1 &
moto=$!
export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ACCESS_KEY_ID=id AWS_SECRET_ACCESS_KEY=secret AWS_REGION=us-east-1
bucket=fleet
"$python" "$here/bucket.py" make "$bucket"

step "recordings"
hosts=(1 2 3)
# One after another: each tracer gets the machine that it needs. Shippers work meanwhile, and are killed again and again.
for host in "${hosts[@]}"; do
  mkdir -p "$work/$host/spool"
  (cd "$work/$host" && unshare --uts bash -c '
    hostname "web$0"
    "$TRACETUI" record -o spool/web.ttr --rotate 64MiB,1s,100 -- sh "$1" "$0"' "$host" "$here/workload.sh" >out.log 2>&1) &
  recorder=$!
  while kill -0 "$recorder" 2>/dev/null; do
    "$TRACETUI_SHIP" --spool "$work/$host/spool" --to "s3://$bucket/ns" >/dev/null 2>&1 &
    shipper=$!
    sleep "0.$((RANDOM % 8 + 1))"
    kill -KILL "$shipper"
    wait "$shipper" 2>/dev/null || true
    sleep 0.5
  done
  wait "$recorder" || { cat "$work/$host/out.log" && exit 1; }
done

step "ship"
for host in "${hosts[@]}"; do
  "$TRACETUI_SHIP" --spool "$work/$host/spool" --to "s3://$bucket/ns" --once
  "$TRACETUI_SHIP" --spool "$work/$host/spool" --to "s3://$bucket/us" --state "$work/$host/us" --time us --once
done
"$python" "$here/bucket.py" copy "$bucket" "$work/copy"
# Every event that was recorded is stored once: the sums of tracetui itself and of the manifest are equal.
recorded=0
for host in "${hosts[@]}"; do
  recorded=$((recorded + $("$TRACETUI" print --format json "$work/$host"/spool/web.*.ttr 2>/dev/null | wc -l)))
done
stored=$(cat "$work"/copy/ns/manifest/*/*/*.json | "$python" -c 'import json, sys; print(sum(json.loads(line)["events"] for line in sys.stdin))')
[ "$recorded" = "$stored" ] || { echo "$recorded events were recorded, $stored are stored" && exit 1; }
echo "$stored events, each stored once"

step "gaps"
# Without two of the parts, the manifest still accounts for all events.
seen_in_all() {
  cat "$@" | "$python" -c 'import json, sys; rows = map(json.loads, sys.stdin); print(max(row["seen_before"] + row["seen"] for row in rows))'
}
parts=("$work"/1/spool/web.*.ttr)
mkdir "$work/gaps"
cp -p "${parts[@]}" "$work/gaps"
rm "$work/gaps/${parts[0]##*/}" "$work/gaps/${parts[2]##*/}"
"$TRACETUI_SHIP" --spool "$work/gaps" --to "file://$work/gapped" --once
all=$(seen_in_all "$work"/copy/ns/manifest/*/*/web1-*.json) accounted=$(seen_in_all "$work"/gapped/manifest/*/*/*.json)
[ "$all" = "$accounted" ] || { echo "$all events were seen, $accounted are accounted for" && exit 1; }

step "questions"
answers=()
for engine in clickhouse duckdb spark iceberg; do
  "$python" "$here/ask.py" "$engine" "$work/copy" "$bucket" >"$work/$engine.json" 2>"$work/$engine.log" ||
    { tail -30 "$work/$engine.log" && exit 1; }
  tail -1 "$work/$engine.log"
  answers+=("$work/$engine.json")
done
"$python" "$here/ask.py" compare "${answers[@]}"
step "done"
