use super::{BOOT_ID, DICTIONARY, HOST, Options, Parquet, ROWS, columns, testing};
use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::record::Field;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use tracetui_events::frame::Batch;
use tracetui_events::sink::ndjson::Json;
use tracetui_events::sink::{Format, FormatName, Sink};
use tracetui_events::text::time::Moment;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::kind::Kind;

type Events = [(FrameHeader, Vec<u8>)];

fn written(host: &Batch, events: &Events) -> (Bytes, Vec<Value>) {
    let (mut file, mut lines, mut json) = (Vec::new(), Vec::new(), Json::default());
    let mut sink = Parquet::new(&mut file, Options::default()).expect("a vector takes all");
    testing::with_all(host, events, |seen| {
        sink.event(seen).expect("a vector takes all");
        let mut line = Vec::new();
        json.line(seen, &mut line);
        lines.push(serde_json::from_slice(&line).expect("JSON"));
    });
    sink.finish().expect("a vector takes all");
    drop(sink);
    (file.into(), lines)
}

fn reader(file: Bytes) -> SerializedFileReader<Bytes> {
    SerializedFileReader::new(file).expect("a Parquet file")
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(yes) => json!(yes),
        Field::Long(n) => json!(n),
        Field::ULong(n) => json!(n),
        Field::Str(text) => json!(text),
        Field::ListInternal(list) => Value::Array(list.elements().iter().map(value).collect()),
        other => panic!("{other:?}"),
    }
}

fn rows(file: Bytes) -> Vec<Map<String, Value>> {
    let reader = reader(file);
    let rows = reader.get_row_iter(None).expect("rows");
    rows.map(|row| {
        let row = row.expect("a row");
        row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
    })
    .collect()
}

/// The keys of a JSON object. Keys of inner objects have the outer key in front.
fn flat(object: &Value, prefix: &str, out: &mut Map<String, Value>) {
    for (key, value) in object.as_object().expect("an object") {
        match value {
            Value::Object(_) => flat(value, &format!("{prefix}{key}_"), out),
            _ => drop(out.insert(format!("{prefix}{key}"), value.clone())),
        }
    }
}

fn unix_ns(time: &Value) -> i64 {
    match time.as_str().and_then(Moment::parse) {
        Some(Moment::At(ns)) => i64::try_from(ns).expect("a time of the samples"),
        _ => panic!("{time}"),
    }
}

#[track_caller]
fn check_rows(events: &Events) -> BTreeSet<String> {
    let (file, lines) = written(&testing::host(), events);
    let rows = rows(file);
    assert_eq!(rows.len(), lines.len());
    let mut used = BTreeSet::new();
    for (row, line) in rows.iter().zip(&lines) {
        let mut expected = Map::new();
        flat(line, "", &mut expected);
        for name in ["time", "file_ctime"] {
            expected
                .get_mut(name)
                .into_iter()
                .filter(|time| time.is_string())
                .for_each(|time| *time = json!(unix_ns(time)));
        }
        for (name, found) in row {
            if ["host", "boot_id", "user"].contains(&&**name) {
                continue;
            }
            let mut expected = expected.remove(name).unwrap_or_default();
            if expected.as_u64().is_some_and(|n| i64::try_from(n).is_err())
                && super::props_of(Kind::Exec, name) & super::props::UNSIGNED == 0
            {
                expected = json!(i64::MAX);
            }
            assert_eq!(*found, expected, "{name} of {line}");
            if !found.is_null() {
                used.insert(name.clone());
            }
        }
        expected.retain(|_, value| !value.is_null());
        assert!(expected.is_empty(), "without a column: {expected:?}");
    }
    used
}

#[test]
fn a_row_has_what_json_has_and_each_key_a_column() {
    let used = check_rows(&testing::all());
    for name in ["comm_hex", "path_hex", "argv_hex", "prog_tag", "attach_type", "prog_helpers_why", "signal", "of"] {
        assert!(used.contains(name), "{name} in {used:?}");
    }
    // A text that is longer than a dictionary is whole.
    let long = vec![b'x'; DICTIONARY + 1];
    let exec = |argv: &[u8]| (testing::header(Kind::Exec), testing::execed(argv));
    check_rows(&[exec(&long), exec(b"a\0"), exec(b""), exec(&[b"\xff\0".as_slice(), &long].concat())]);
    // Each key of json has a column.
    let (file, _) = written(&testing::host(), &[]);
    let reader = reader(file);
    let schema = reader.metadata().file_metadata().schema();
    let columns: BTreeSet<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
    assert_eq!(columns.len(), schema.get_fields().len());
    let check = |name: &str| assert!(columns.contains(name), "{name}");
    for kind in Kind::ALL {
        for field in tracetui_events::event::describe::fields(kind) {
            match field.sub {
                [] => check(field.name),
                sub => sub.iter().for_each(|inner| check(&format!("{}_{}", field.name, inner.name))),
            }
        }
    }
    let first: Vec<_> = schema.get_fields().iter().take(5).map(|field| field.name()).collect();
    assert_eq!(first, ["time", "ns", "kind", "host", "boot_id"]);
}

fn opens(count: usize, path: impl Fn(usize) -> String) -> Vec<(FrameHeader, Vec<u8>)> {
    let open = |number: usize| {
        let mut header = testing::header(Kind::Open);
        header.time.0 += number as u64 % 4 * 1_000_000_000;
        (header, testing::opened(path(number).as_bytes()))
    };
    (0..count).map(open).collect()
}

#[test]
fn many_rows_are_groups_with_bounds_and_a_full_dictionary_is_followed_by_texts() {
    let mut events = opens(ROWS + 5, |number| format!("/{}", number % 3));
    events.sort_by_key(|(header, _)| header.time.0);
    let (file, _) = written(&testing::host(), &events);
    let reader = reader(file);
    let metadata = reader.metadata();
    let counts: Vec<_> = metadata.row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(counts, [ROWS as i64, 5]);
    for group in metadata.row_groups() {
        let Some(Statistics::Int64(time)) = group.column(0).statistics() else { panic!("no statistics") };
        assert!(time.min_opt() <= time.max_opt() && time.null_count_opt() == Some(0));
    }
    let path = metadata.row_group(0).columns().iter().find(|column| column.column_path().string() == "path");
    let Some(Statistics::ByteArray(path)) = path.and_then(|column| column.statistics()) else {
        panic!("no statistics")
    };
    let bytes = |value: Option<&::parquet::data_type::ByteArray>| value.map(|value| value.data().to_vec());
    assert_eq!((bytes(path.min_opt()), bytes(path.max_opt())), (Some(b"/0".to_vec()), Some(b"/2".to_vec())));
    // A full dictionary is followed by whole texts.
    let full = DICTIONARY;
    let events = opens(full / 4000 + 100, |number| format!("/{number:04000}"));
    check_rows(&events);
    // Lists too: no list is divided.
    let exec = |number: usize| {
        let argv: String = (0..20).map(|arg| format!("{number}-{arg:01000}\0")).collect();
        (testing::header(Kind::Exec), testing::execed(argv.as_bytes()))
    };
    let execs: Vec<_> = (0..full / 20_000 + 50).map(exec).collect();
    check_rows(&execs);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_events_are_rows(events in prop::collection::vec(testing::any(), 0..40)) {
        check_rows(&events);
    }

    #[test]
    fn any_levels_and_indices_are_read_back(paths in prop::collection::vec((0u8..5, 1usize..30), 0..60)) {
        let mut events = Vec::new();
        for (path, count) in paths {
            let payload = if path == 0 { testing::exit(0) } else { testing::opened(format!("/{path}").as_bytes()) };
            let kind = if path == 0 { Kind::Exit } else { Kind::Open };
            events.extend(std::iter::repeat_n((testing::header(kind), payload), count));
        }
        check_rows(&events);
    }

    #[test]
    fn any_integers_are_read_back(times in prop::collection::vec(any::<u64>(), 0..300)) {
        let fork = |ns: &u64| {
            let mut header = testing::header(Kind::Fork);
            header.start.0 = *ns;
            (header, testing::fork(*ns as u32))
        };
        let events: Vec<_> = times.iter().map(fork).collect();
        let (file, _) = written(&testing::host(), &events);
        let found: Vec<_> = rows(file).iter().map(|row| (row["start_ns"].clone(), row["child_pid"].clone())).collect();
        let expected = |ns: &u64| (json!(i64::try_from(*ns).unwrap_or(i64::MAX)), json!(*ns as u32));
        prop_assert_eq!(found, times.iter().map(expected).collect::<Vec<_>>());
    }
}

#[test]
fn the_file_has_its_columns_and_metadata() {
    let (file, _) = written(&testing::host(), &[]);
    let schema = reader(file).metadata().file_metadata().schema_descr().root_schema().clone();
    // Those of the first six kinds stay where they are.
    assert_eq!(schema.get_fields().iter().position(|column| column.name() == "to_ns"), Some(148));
    // Metadata.
    let mut file = Vec::new();
    let mut sink = Parquet::new(&mut file, Options::default()).expect("a vector takes all");
    sink.set_metadata(vec![("host", "a".to_owned()), ("complete", "false".to_owned())]);
    sink.finish().expect("a vector takes all");
    drop(sink);
    let reader = reader(file.into());
    let found = reader.metadata().file_metadata().key_value_metadata().expect("metadata");
    let found: Vec<_> = found.iter().map(|entry| (entry.key.as_str(), entry.value.as_deref())).collect();
    assert_eq!(found, [("tracetui.host", Some("a")), ("tracetui.complete", Some("false"))]);
    // No events are an empty table.
    let (file, _) = written(&testing::host(), &[]);
    assert!(rows(file).is_empty());
    // Csv has the same columns.
    let csv = testing::line(FormatName::Csv, testing::header(Kind::Exit), &testing::exit(0));
    let csv = String::from_utf8(csv).expect("UTF-8");
    let head: Vec<&str> = csv.lines().next().expect("a header").split(',').collect();
    // Escaped text has all bytes. Only the lines of several recordings name the host.
    let elsewhere = |name: &String| name.ends_with("_hex") || [HOST, BOOT_ID].contains(&name.as_str());
    let columns: Vec<String> = self::columns().expect("a schema").into_iter().filter(|name| !elsewhere(name)).collect();
    let lacking: Vec<_> = columns.iter().filter(|name| !head.contains(&name.as_str())).collect();
    assert!(lacking.is_empty(), "{lacking:?}");
}
