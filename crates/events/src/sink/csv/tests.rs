use super::super::{FormatName, testing};
use crate::text::{Charset, is_hostile, unescape};
use proptest::prelude::*;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::kind::Kind;

fn read(header: FrameHeader, payload: &[u8]) -> (Vec<String>, Vec<String>) {
    let text = testing::line(FormatName::CsvWithJson, header, payload);
    let without = testing::line(FormatName::Csv, header, payload);
    assert!(without.len() < text.len() && !without.ends_with(b"}\"\r\n"));
    assert!(text.ends_with(b"\r\n"));
    let mut reader = ::csv::ReaderBuilder::new().flexible(false).from_reader(text.as_slice());
    let head = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    let rows: Vec<_> = reader.records().collect::<Result<_, _>>().expect("as many fields as columns");
    assert_eq!(rows.len(), 1);
    (head, rows[0].iter().map(str::to_owned).collect())
}

#[track_caller]
fn check_row(header: FrameHeader, payload: &[u8], expected: &str) -> serde_json::Value {
    let (_, row) = read(header, payload);
    assert_eq!(row[..13].join("|"), expected);
    serde_json::from_str(row.last().expect("a cell")).expect("JSON")
}

const TIME: &str = "2026-11-20T10:02:11.500000001Z|3731500000001";

#[test]
fn the_columns_are_those_that_were_promised_and_the_cells_those_of_the_object() {
    let (head, row) = read(testing::header(Kind::Exit), &testing::exit(0));
    assert_eq!(head[..13].join(","), "time,ns,kind,cpu,pid,tid,ppid,comm,uid,gid,cgroup,result,detail");
    assert_eq!(head.last().map(String::as_str), Some("json"));
    let distinct: std::collections::BTreeSet<_> = head.iter().collect();
    assert_eq!(distinct.len(), head.len());
    let cell = |name: &str| &row[head.iter().position(|column| column == name).expect(name)];
    assert_eq!((cell("exit_code").as_str(), cell("signal").as_str(), cell("path").as_str()), ("0", "", ""));
    let short = String::from_utf8(testing::line(FormatName::Csv, testing::header(Kind::Exit), &testing::exit(0)));
    let short = short.expect("UTF-8");
    assert!(short.starts_with(&format!("{}\r\n", head[..head.len() - 1].join(","))), "{short}");
    for (kind, payload) in [
        (Kind::Open, testing::opened(b"/etc/pass,wd")),
        (Kind::Exec, testing::execed(b"cc\0-c\0a b.c\0\0")),
        (Kind::Exit, testing::exit(9)),
        (Kind::Bpf, testing::attached()),
        (Kind::Tcp, testing::refused()),
        (Kind::Lost, testing::lost(Some(Kind::Open), 1204, 5)),
    ] {
        let (head, row) = read(testing::header(kind), &payload);
        let json: serde_json::Value = serde_json::from_str(row.last().expect("a cell")).expect("JSON");
        let mut compared = 0;
        for (name, cell) in head.iter().zip(&row) {
            let expected = match json.get(name) {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(serde_json::Value::Null) => String::new(),
                Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => value.to_string(),
                _ => continue,
            };
            compared += usize::from(!expected.is_empty());
            assert_eq!(*cell, expected, "{name} of {}", kind.name());
        }
        assert!(compared > 8, "{}: {compared}", kind.name());
    }
    let (head, row) = read(testing::header(Kind::Exec), &testing::execed(b"cc\0-c\0a b.c\0\0"));
    assert_eq!(row[head.iter().position(|name| name == "argv").expect("a column")], "cc -c 'a b.c' ''");
}

#[test]
fn every_kind_has_its_row() {
    let who = "1|48214|48215|48213|cc|1000|1001|/user.slice/app.scope";
    for (kind, payload, rest) in [
        (Kind::Open, testing::opened(b"/etc/passwd"), "3|r  /etc/passwd"),
        (Kind::Exec, testing::execed(b"cc\0-c\0a,b.c\0"), "ok|cc -c a,b.c"),
        (Kind::Exit, testing::exit(9), "SIGKILL|ran 81 ms"),
        (Kind::Fork, testing::fork(7), "7|child 7"),
        (Kind::Bpf, testing::attached(), "ok|attach fentry tcp_connect prog#88 on_connect"),
        (Kind::Tcp, testing::refused(), "refused|'-> 10.0.0.7:443"),
    ] {
        let expected = format!("{TIME}|{}|{who}|{rest}", kind.name());
        assert_eq!(check_row(testing::header(kind), &payload, &expected)["kind"], kind.name());
    }
    let lost = testing::lost(Some(Kind::Open), 1204, 5);
    let row = format!("{TIME}|lost|1||||||||1204|1,204 open events lost here: kernel ring full");
    let json = check_row(testing::header(Kind::Lost), &lost, &row);
    assert_eq!(json["count"], 1204);
}

#[test]
fn hostile_names_stay_in_their_column() {
    let header = testing::named(Kind::Open, b"a\",\r\nb");
    let (_, row) = read(header, &testing::opened(b"/tmp/\"x\",\n\xff"));
    assert_eq!(row[7], r#"a",\r\nb"#);
    assert_eq!(row[12], r#"r  /tmp/"x",\n\xff"#);
    let json: serde_json::Value = serde_json::from_str(row.last().expect("a cell")).expect("JSON");
    assert_eq!((&json["comm"], &json["path"]), (&"a\",\r\nb".into(), &"/tmp/\"x\",\n\u{fffd}".into()));
    let (_, row) = read(testing::named(Kind::Exit, b"\xffx"), &testing::exit(0));
    assert_eq!(row[7], r"\xffx");
    // In another locale, everything is ASCII.
    let payload = testing::execed("\u{c6db}\0".as_bytes());
    let header = testing::named(Kind::Exec, "é".as_bytes());
    let line = testing::line_in(Charset::Ascii, FormatName::CsvWithJson, header, &payload);
    let line = String::from_utf8(line).expect("UTF-8");
    assert!(line.is_ascii() && line.contains(r"\u{c6db}") && line.contains(r"\uc6db"), "{line}");
}

fn texts(comm: &[u8], argv: &[u8]) -> (String, String, serde_json::Value) {
    let (_, row) = read(testing::named(Kind::Exec, comm), &testing::execed(argv));
    (row[7].clone(), row[12].clone(), serde_json::from_str(row.last().expect("a cell")).expect("JSON"))
}

#[test]
fn what_a_spreadsheet_would_run_is_text() {
    for run in ["=cmd|' /C calc'!A0", "+1+x", "-2+3", "@SUM(A1)", " =1", "\"=1", "-", "\u{ff1d}1", "-bash"] {
        let (comm, detail, json) = texts(&run.as_bytes()[..run.len().min(15)], format!("{run}\0").as_bytes());
        assert!(comm.starts_with('\'') && detail.starts_with('\''), "{run}: {comm} {detail}");
        assert_eq!(json["argv"][0], run);
    }
    for text in ["sh", "-5", "a=b", "a@b", "", "'=1"] {
        assert_eq!(texts(text.as_bytes(), b"x\0").0, text);
    }
    // Nor after a semicolon.
    let run = "a;=1; \"+2;;-3;@;b;\u{ff1d}4";
    let exec = testing::execed(format!("{run}\0").as_bytes());
    let line = testing::line(FormatName::CsvWithJson, testing::header(Kind::Exec), &exec);
    let line = String::from_utf8(line).expect("UTF-8");
    assert!(line.split(';').skip(1).all(|cell| super::sign(cell.as_bytes()).is_none()), "{line}");
    let (_, detail, json) = texts(b"x", format!("{run}\0").as_bytes());
    assert_eq!((json["argv"][0].as_str(), unescape(&detail)), (Some(run), format!("'{run}'").into_bytes()));
}

proptest! {
    #[test]
    fn any_event_is_one_row(
        comm in prop::collection::vec(1u8.., 0..16),
        argv in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let (head, row) = read(testing::named(Kind::Exec, &comm), &testing::execed(&argv));
        prop_assert_eq!(row.len(), head.len());
        if *unescape(&row[7]) != *comm {
            // The cell is guarded, so it must have needed the guard.
            let name = row[7].strip_prefix('\'').unwrap_or_default();
            prop_assert!(super::is_run(name.as_bytes()), "{:?}", row[7]);
            prop_assert_eq!(unescape(name), comm.clone());
        }
        let json: serde_json::Value = serde_json::from_str(row.last().expect("a cell")).expect("JSON");
        prop_assert_eq!(json["comm"].as_str(), Some(&*String::from_utf8_lossy(&comm)));
        for cell in &row {
            prop_assert!(!cell.chars().any(is_hostile), "{cell:?}");
            prop_assert!(!super::is_run(cell.as_bytes()), "{cell:?}");
        }
    }
}
