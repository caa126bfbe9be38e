"""A large fleet from the parts of one host, and what queries of it cost. docs/FLEET.md has the figures.

scale.py make FROM TO HOSTS    copies the last 24 objects of FROM/events, 12 for each of HOSTS hosts, and their manifest rows
scale.py compact TO            writes TO/hot: the columns of the hot table (hot.sql) in one sorted file, without successful opens
scale.py ask TO ns/events|hot [ENGINE]    asks questions.sql in DuckDB and ClickHouse

FROM is what tracetui-ship stored of a recording with the host name host00000 (unshare --uts). The copies are its objects, byte for
byte, except for the host name, boot id and trace; their times and process ids are equal.
"""

import json
import pathlib
import sys
import time
import uuid

HERE = pathlib.Path(__file__).parent
EACH = 12  # Parts of five minutes.
COLUMNS = """time, ns, kind, host, boot_id, pid, ppid, comm, uid, filename, argv, path, err, exit_code, signal, op, prog_name, prog_type,
  raddr, rport, outcome, dur_ns"""


def make(source, directory, hosts):
    rows = [(path, json.loads(path.read_text())) for path in sorted(pathlib.Path(source).glob("manifest/*/*/*.json"))]
    rows = [(path, row, (pathlib.Path(source) / row["file"]).read_bytes()) for path, row in rows[-2 * EACH :]]
    begun = time.time()
    for host in range(hosts):
        for part in range(EACH):
            path, row, contents = rows[(host + part) % len(rows)]
            # Of equal length, so that the file stays valid: a dictionary of one short value is not compressed.
            changes = {row["host"]: f"host{host:05}", row["boot_id"]: str(uuid.UUID(int=host + 1 << 96))}
            for old, new in changes.items():
                assert contents.count(old.encode()) > 1, "the column is compressed"
                contents = contents.replace(old.encode(), new.encode())
            text = json.dumps(row | {"part": part})
            for old, new in (changes | {row["trace"]: f"{host:016x}"}).items():
                text = text.replace(old, new)
            hour = pathlib.Path(row["file"]).parent.relative_to("events")
            name = hour / f"host{host:05}-{host + 1:08x}-{host:016x}-{part:06}"
            text = text.replace(json.dumps(row["file"]), json.dumps(f"events/{name}.parquet"))
            for kind, end, data in [("events", "parquet", contents), ("manifest", "json", text.encode())]:
                file = pathlib.Path(directory) / "ns" / kind / f"{name}.{end}"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
    print(f"{hosts * EACH} parts in {time.time() - begun:.0f} s")


def duck(files):
    import duckdb

    run = duckdb.connect()
    run.sql(f"CREATE VIEW events AS FROM read_parquet('{files}', hive_partitioning = true)")
    return run


def compact(directory):
    from chdb import session

    begun, place = time.time(), pathlib.Path(directory) / "hot"
    place.mkdir()
    session.Session().query(f"""INSERT INTO FUNCTION file('{place}/all.parquet', 'Parquet') SELECT {COLUMNS}
      FROM file('{directory}/ns/events/**/*.parquet', 'Parquet') WHERE kind <> 'open' OR err IS NOT NULL ORDER BY kind, host, ns""")
    print(f"the hot table in {time.time() - begun:.0f} s, {(place / 'all.parquet').stat().st_size} bytes")


def engines(directory, files):
    """A function that asks a question of these files, for each engine."""
    from chdb import session

    run = duck(files)
    rows = f"{directory}/ns/manifest/**/*.json"
    run.sql(f"CREATE VIEW manifest AS FROM read_json('{rows}')")
    yield "duckdb", lambda sql: run.sql(sql).fetchall()
    house = session.Session()
    house.query("CREATE DATABASE fleet; USE fleet")
    for name, paths, form in [("events", files, "Parquet"), ("manifest", rows, "JSONEachRow")]:
        house.query(f"CREATE VIEW {name} AS SELECT * FROM file('{paths}', '{form}') SETTINGS use_hive_partitioning = 1")
    yield "clickhouse", lambda sql: house.query(sql, "JSONCompactEachRow")


def ask(directory, files, asked_engine):
    lines = (HERE / "questions.sql").read_text().splitlines()
    asked = list(zip((line[3:] for line in lines[::2]), (line.rstrip(";") for line in lines[1::2])))
    asked.append(("events of one host", "SELECT kind, count(*) FROM events WHERE host = 'host00007' GROUP BY kind"))
    for engine, run in engines(directory, f"{directory}/{files}/**/*.parquet"):
        for question, sql in asked if engine.startswith(asked_engine) else []:
            begun = time.time()
            try:
                run(sql)
                result = f"{time.time() - begun:7.1f} s"
            except Exception as error:  # A limit of memory is a result, too.
                result = f"failed: {str(error)[:200]}"
            print(f"{files:9} {engine:10} {question}: {result}", flush=True)


match sys.argv[1:]:
    case ["make", source, directory, hosts]:
        make(source, directory, int(hosts))
    case ["compact", directory]:
        compact(directory)
    case ["ask", directory, files, *engine]:
        ask(directory, files, *engine or [""])
    case _:
        sys.exit(__doc__)
