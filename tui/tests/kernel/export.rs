//! Exports of a recording have the events of the recording.

use crate::prelude::*;
use crate::recording::lines;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;

const WORK: &str = "for i in 1 2 3; do ls /usr/lib >/dev/null; cat /etc/hostname /no/such-$i >/dev/null 2>&1; done; \
                    cat \"$(printf 'bad\\377name')\" 2>/dev/null; (exit 3); kill -9 $$";

fn recorded(file: &str) -> Option<()> {
    let kinds = "exec,exit,open,fork,bpf,lost";
    record(file, &["--kind", kinds, "--", "sh", "-c", WORK], |_| {}).map(|_| ())
}

fn export(file: &str, format: &str, out: &str) -> Output {
    read(&["export", file, "--format", format, "-o", out])
}

#[test]
fn an_export_has_the_events_of_the_recording() {
    let dir = Dir::alone();
    let file = dir.at("run.ttr");
    if recorded(&file).is_none() {
        return;
    }
    let lines = lines(&read(&["print", &file, "--format", "json"]).stdout);
    for kind in ["exec", "exit", "open", "fork"] {
        assert!(lines.iter().any(|line| line["kind"] == kind), "{kind}");
    }
    for format in ["json", "csv"] {
        let out = dir.at(format);
        assert!(export(&file, format, &out).status.success());
        let printed = read(&["print", &file, "--format", format]).stdout;
        assert!(fs::read(&out).expect("a file") == printed && export(&file, format, "-").stdout == printed, "{format}");
    }
    check_parquet(&file, &dir.at("run.parquet"), &lines);
    check_perfetto(&file, &dir.at("run.pftrace"), &lines);
}

fn check_parquet(file: &str, out: &str, lines: &[Value]) {
    let done = export(file, "parquet", out);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(fs::metadata(out).expect("a file").mode() & 0o777, 0o600);
    let reader = SerializedFileReader::new(File::open(out).expect("a file")).expect("a Parquet file");
    let rows: Vec<_> = reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), lines.len());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("an id");
    for (row, line) in rows.iter().zip(lines) {
        for (name, field) in row.get_column_iter() {
            let expected = match (&**name, line) {
                ("host", _) => host.trim().into(),
                ("boot_id", _) => boot_id.trim().into(),
                ("time" | "file_ctime" | "user", _) => continue,
                (name, line) => {
                    let of = |object: &str| line.get(object)?.get(name.strip_prefix(object)?.strip_prefix('_')?);
                    let inner = || ["killed_by", "stdin", "stdout", "stderr", "env", "file"].into_iter().find_map(of);
                    line.get(name).or_else(inner).cloned().unwrap_or_default()
                }
            };
            // Objects of bpf events are tested with made events.
            if !name.starts_with("prog_") && !name.starts_with("attach_") {
                assert_eq!(value(field), expected, "{name} of {line}");
            }
        }
    }
    assert!(lines.iter().any(|line| line["argv_hex"].is_array() && line["kind"] == "exec"));
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(yes) => (*yes).into(),
        Field::Long(n) => (*n).into(),
        Field::ULong(n) => (*n).into(),
        Field::Str(text) => text.as_str().into(),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        other => panic!("{other:?}"),
    }
}

/// The trace is whole packets, at least one for each event, and the texts of the events are in it.
fn check_perfetto(file: &str, out: &str, lines: &[Value]) {
    let done = export(file, "perfetto", out);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let trace = fs::read(out).expect("a file");
    let (mut rest, mut packets) = (trace.as_slice(), 0);
    while let Some((tag, after)) = rest.split_first() {
        assert_eq!(*tag, 0x0a);
        let bytes = after.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
        let length = after[..bytes].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        rest = after[bytes..].get(length..).expect("a packet is whole");
        packets += 1;
    }
    assert!(packets > lines.len());
    let has = |part: &str| trace.windows(part.len()).any(|window| window == part.as_bytes());
    for part in ["open /etc/hostname", "open /no/such-2 ENOENT", "exit SIGKILL", "ls /usr/lib"] {
        assert!(has(part), "{part}");
    }
}

#[test]
fn an_export_that_fails_leaves_what_was_there() {
    let dir = Dir::new();
    let (file, out) = (dir.at("none.ttr"), dir.at("out"));
    fs::write(&file, "no recording").expect("room");
    for format in ["perfetto", "parquet", "json", "csv"] {
        assert_eq!(export(&file, format, &out).status.code(), Some(1));
        assert!(!fs::exists(&out).expect("a directory"), "{format}");
    }
    alone();
    let file = dir.at("run.ttr");
    if recorded(&file).is_none() {
        return;
    }
    fs::write(&out, "before").expect("room");
    let refused = export(&file, "parquet", &out);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("exists; --force replaces it"), "{}", text(&refused.stderr));
    assert_eq!(fs::read_to_string(&out).expect("a file"), "before");
    assert!(read(&["export", &file, "--format", "parquet", "-o", &out, "--force"]).status.success());
    assert!(fs::read(&out).expect("a file").ends_with(b"PAR1"));
    // Not over the recording itself.
    let before = fs::read(&file).expect("the recording");
    let refused = read(&["export", &file, "--format", "json", "-o", &file, "--force"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(fs::read(&file).expect("the recording") == before);
    // No device, and no room: then the file is removed.
    let device = read(&["export", &file, "--format", "parquet", "-o", "/dev/full", "--force"]);
    assert_eq!(device.status.code(), Some(1));
    let out = dir.at("limited");
    let done = neutral("sh")
        .args(["-c", "ulimit -f 1; exec \"$0\" \"$@\""])
        .arg(tracetui().get_program())
        .args(["export", &file, "--format", "json", "-o", &out])
        .output()
        .expect("sh runs");
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
    assert!(!fs::exists(&out).expect("a directory"));
}
