-- A hot table of ClickHouse, fed by S3Queue: all events but successful opens (docs/FLEET.md).

CREATE TABLE hot (
  time DateTime64(9, 'UTC'), kind LowCardinality(String), host LowCardinality(String), boot_id String, pid Int64, ppid Int64,
  comm LowCardinality(String), uid Int64, filename String, argv Array(String), path String, err LowCardinality(String),
  exit_code Nullable(Int64), signal LowCardinality(String), op LowCardinality(String), prog_name String, prog_type String,
  raddr String, rport Nullable(Int64), outcome LowCardinality(String)
) ENGINE = MergeTree PARTITION BY toDate(time) ORDER BY (kind, host, time) TTL toDateTime(time) + INTERVAL 14 DAY;

-- S3Queue inserts a file again that it has forgotten: by default it remembers 1,000, here all of the last 30 days.
CREATE TABLE queue AS hot ENGINE = S3Queue('https://BUCKET.s3.amazonaws.com/PREFIX/events/**/*.parquet', 'Parquet')
  SETTINGS mode = 'unordered', tracked_files_limit = 0, tracked_file_ttl_sec = 2592000, input_format_null_as_default = 1;

CREATE MATERIALIZED VIEW hot_from_queue TO hot AS SELECT * FROM queue WHERE kind != 'open' OR err != '';
