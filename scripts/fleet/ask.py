"""Asks the ten questions of questions.sql in an engine, or compares the answers of several.

ask.py ENGINE DIR BUCKET > answers.json    DIR has a copy of the bucket; ClickHouse reads the bucket itself
ask.py compare A.json B.json ...
"""

import glob
import json
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).parent


def questions():
    lines = (HERE / "questions.sql").read_text().splitlines()
    return list(zip((line[3:] for line in lines[::2]), (line.rstrip(";") for line in lines[1::2])))


def plain(value):
    """The same value in each engine."""
    if isinstance(value, (list, tuple)) or hasattr(value, "tolist"):
        return [plain(one) for one in value]
    if isinstance(value, (int, str, type(None))):
        return value
    return int(value)


def clickhouse(directory, bucket):
    from chdb import session

    run = session.Session()
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    keys = "'{AWS_ACCESS_KEY_ID}', '{AWS_SECRET_ACCESS_KEY}'".format(**os.environ)
    run.query("CREATE DATABASE fleet; USE fleet")
    for name, files, form in [("events", "**/*.parquet", "Parquet"), ("manifest", "**/*.json", "JSONEachRow")]:
        table = f"s3('{endpoint}/{bucket}/ns/{name}/{files}', {keys}, '{form}')"
        run.query(f"CREATE VIEW {name} AS SELECT * FROM {table} SETTINGS use_hive_partitioning = 1")
    settings = "SETTINGS output_format_json_quote_64bit_integers = 0"

    def ask(sql):
        text = str(run.query(f"{sql} {settings}", "JSONCompactEachRow"))
        return [json.loads(line) for line in text.splitlines()]

    return ask


def duck(directory, bucket, events=None):
    import duckdb

    run = duckdb.connect()
    parquet = f"read_parquet('{directory}/ns/events/**/*.parquet', hive_partitioning = true)"
    if events is None:
        run.sql(f"CREATE VIEW events AS FROM {parquet}")
    else:
        run.register("events", events)
    run.sql(f"CREATE VIEW manifest AS FROM read_json('{directory}/ns/manifest/**/*.json')")
    # Nulls first or last is the only order that the engines do not share.
    run.sql("SET default_null_order = 'nulls_last'")
    return lambda sql: run.sql(sql).fetchall()


def spark(directory, bucket):
    from pyspark.sql import SparkSession

    run = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    run = run.config("spark.sql.shuffle.partitions", "2").getOrCreate()
    run.read.parquet(f"{directory}/us/events").createOrReplaceTempView("events")
    run.read.option("recursiveFileLookup", "true").json(f"{directory}/us/manifest").createOrReplaceTempView("manifest")
    return lambda sql: [tuple(row) for row in run.sql(sql).collect()]


def iceberg(directory, bucket):
    import pyarrow.parquet
    from pyiceberg.catalog.sql import SqlCatalog

    place = pathlib.Path(directory) / "iceberg"
    place.mkdir(exist_ok=True)
    catalog = SqlCatalog("fleet", uri=f"sqlite:///{place}/catalog.db", warehouse=f"file://{place}")
    catalog.create_namespace_if_not_exists("fleet")
    files = sorted(glob.glob(f"{directory}/us/events/**/*.parquet", recursive=True))
    schema = pyarrow.parquet.read_schema(files[0])
    table = catalog.create_table("fleet.events", schema=schema)
    table.add_files([f"file://{file}" for file in files])
    return duck(directory, bucket, table.scan().to_arrow())


ENGINES = {"clickhouse": clickhouse, "duckdb": duck, "spark": spark, "iceberg": iceberg}


def compare(names):
    answers = {name: json.loads(pathlib.Path(name).read_text()) for name in names}
    first, *others = names
    wrong = 0
    for question, rows in answers[first].items():
        # The order of nulls differs.
        key = lambda row: json.dumps(row)
        for other in others:
            if sorted(rows, key=key) != sorted(answers[other][question], key=key):
                wrong += 1
                print(f"{question}: {first}: {rows[:5]}\n  {other}: {answers[other][question][:5]}")
        print(f"{len(rows):5} rows  {question}")
        if not rows:
            wrong += 1
            print("  no answer")
    sys.exit(wrong > 0)


def main():
    if sys.argv[1] == "compare":
        return compare(sys.argv[2:])
    begun = time.time()
    ask = ENGINES[sys.argv[1]](*sys.argv[2:4])
    answers, times = {}, []
    for question, sql in questions():
        start = time.time()
        answers[question] = [plain(row) for row in ask(sql)]
        times.append(time.time() - start)
    print(json.dumps(answers, ensure_ascii=False))
    slowest = max(times)
    print(f"{sys.argv[1]}: {time.time() - begun:.1f} s, the slowest question {slowest:.1f} s", file=sys.stderr)


main()
