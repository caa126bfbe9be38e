//! Events as CSV (RFC 4180): a header line, lines end in CRLF, a field with a comma, a quote or a line break stands in
//! quotes. What does not apply or is not known is empty; the `json` column has all of the event, and why.
//!
//! `comm` and `cgroup` are the values as the JSON has them. `result` and `detail` are what text output shows, escaped
//! the same way.

use super::ndjson::Json;
use super::{Format, integer};
use crate::enrich::time::Rfc3339;
use crate::event::Seen;
use crate::event::describe::{COMMON, Field, Value};
use crate::limits;
use crate::view::escape::{Mode, escape};

/// The columns that are fields.
const FIELDS: [&str; 11] = ["time", "ns", "kind", "cpu", "pid", "tid", "ppid", "comm", "uid", "gid", "cgroup"];

/// Makes CSV lines.
#[derive(Debug)]
pub struct Csv {
    fields: Vec<&'static Field>,
    json: Json,
    time: Rfc3339,
    raw: Vec<u8>,
    shown: Vec<u8>,
}

impl Default for Csv {
    fn default() -> Csv {
        Csv::new()
    }
}

impl Csv {
    /// A maker of lines.
    pub fn new() -> Csv {
        let field = |name: &&str| COMMON.iter().find(|field| field.name == *name);
        Csv {
            fields: FIELDS.iter().filter_map(field).collect(),
            json: Json::new(),
            time: Rfc3339::default(),
            raw: Vec::new(),
            shown: Vec::new(),
        }
    }

    fn value(&mut self, value: Value<'_>, out: &mut Vec<u8>) {
        match value {
            Value::Time(ns) => self.time.write(ns, out),
            Value::Uint(n) => integer(n, out),
            Value::Word(word) => out.extend_from_slice(word.as_bytes()),
            Value::Bytes(bytes) => lossy(bytes, &mut self.shown, out),
            other => lossy(&other.text().unwrap_or_default(), &mut self.shown, out),
        }
    }

    /// A column that is made of raw bytes, escaped as on a screen.
    fn shown(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        self.raw.clear();
        write(&mut self.raw);
        self.shown.clear();
        escape(&self.raw, Mode::Reversible, &mut self.shown);
        quote(&self.shown, out);
    }
}

impl Format for Csv {
    fn head(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(FIELDS.join(",").as_bytes());
        out.extend_from_slice(b",result,detail,json\r\n");
    }

    fn line(&mut self, seen: &Seen<'_>, out: &mut Vec<u8>) {
        for i in 0..self.fields.len() {
            if let Some(field) = self.fields.get(i).copied() {
                self.value((field.get)(seen), out);
                out.push(b',');
            }
        }
        self.shown(out, |raw| seen.result(raw));
        out.push(b',');
        self.shown(out, |raw| seen.detail(raw));
        out.push(b',');
        self.raw.clear();
        self.json.object(seen, &mut self.raw);
        quote(&self.raw, out);
        self.raw.clear();
        self.raw.shrink_to(limits::SCRATCH);
        self.shown.clear();
        self.shown.shrink_to(limits::SCRATCH);
        out.extend_from_slice(b"\r\n");
    }
}

/// A value of outside; U+FFFD for what is not UTF-8.
fn lossy(bytes: &[u8], buffer: &mut Vec<u8>, out: &mut Vec<u8>) {
    if str::from_utf8(bytes).is_ok() {
        return quote(bytes, out);
    }
    buffer.clear();
    buffer.extend_from_slice(String::from_utf8_lossy(bytes).as_bytes());
    quote(buffer, out);
}

/// A field, in quotes where it needs them.
fn quote(field: &[u8], out: &mut Vec<u8>) {
    if !field.iter().any(|b| matches!(b, b',' | b'"' | b'\r' | b'\n')) {
        return out.extend_from_slice(field);
    }
    out.push(b'"');
    let mut pieces = field.split(|b| *b == b'"');
    out.extend_from_slice(pieces.next().unwrap_or_default());
    for piece in pieces {
        out.extend_from_slice(b"\"\"");
        out.extend_from_slice(piece);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::{FormatName, sample};
    use proptest::prelude::*;
    use tracetui_shared::header::FrameHeader;
    use tracetui_shared::kind::Kind;

    /// Reads an event's CSV back: column names and values.
    fn read(header: FrameHeader, payload: &[u8]) -> (Vec<String>, Vec<String>) {
        let text = sample::line(FormatName::Csv, header, payload);
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
        serde_json::from_str(&row[13]).expect("JSON")
    }

    const TIME: &str = "2026-11-20T10:02:11.500000001Z|3731500000001";

    #[test]
    fn the_columns_are_those_that_were_promised() {
        let (head, _) = read(sample::header(Kind::Exit), &sample::exit(0));
        assert_eq!(head.join(","), "time,ns,kind,cpu,pid,tid,ppid,comm,uid,gid,cgroup,result,detail,json");
    }

    #[test]
    fn every_kind_has_its_row() {
        let who = "1|48214|48215|48213|cc|1000|1001|/user.slice/app.scope";
        for (kind, payload, rest) in [
            (Kind::Open, sample::opened(b"/etc/passwd"), "3|r  /etc/passwd"),
            (Kind::Exec, sample::execed(b"cc\0-c\0a,b.c\0"), "ok|cc -c a,b.c"),
            (Kind::Exit, sample::exit(9), "SIGKILL|ran 81 ms"),
            (Kind::Fork, sample::fork(7), "7|child 7"),
            (Kind::Bpf, sample::attached(), "ok|attach fentry tcp_connect prog#88 on_connect"),
        ] {
            let expected = format!("{TIME}|{}|{who}|{rest}", kind.name());
            let json = check_row(sample::header(kind), &payload, &expected);
            assert_eq!(json["kind"], kind.name());
        }
        let json = check_row(
            sample::header(Kind::Lost),
            &sample::lost(Some(Kind::Open), 1204, 5),
            &format!("{TIME}|lost|1||||||||1204|1,204 open events lost here: kernel ring full"),
        );
        assert_eq!(json["count"], 1204);
    }

    #[test]
    fn hostile_names_stay_in_their_column() {
        let header = sample::named(Kind::Open, b"a\",\r\nb");
        let (_, row) = read(header, &sample::opened(b"/tmp/\"x\",\n\xff"));
        assert_eq!(row[7], "a\",\r\nb");
        assert_eq!(row[12], r#"r  /tmp/"x",\n\xff"#);
        let json: serde_json::Value = serde_json::from_str(&row[13]).expect("JSON");
        assert_eq!((&json["comm"], &json["path"]), (&"a\",\r\nb".into(), &"/tmp/\"x\",\n\u{fffd}".into()));
        let (_, row) = read(sample::named(Kind::Exit, b"\xffx"), &sample::exit(0));
        assert_eq!(row[7], "\u{fffd}x");
    }

    proptest! {
        #[test]
        fn any_event_is_one_row(
            comm in prop::collection::vec(1u8.., 0..16),
            argv in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let (_, row) = read(sample::named(Kind::Exec, &comm), &sample::execed(&argv));
            prop_assert_eq!(row.len(), 14);
            prop_assert_eq!(row[7].as_str(), String::from_utf8_lossy(&comm));
            let json: serde_json::Value = serde_json::from_str(&row[13]).expect("JSON");
            prop_assert_eq!(json["comm"].as_str(), Some(row[7].as_str()));
        }
    }
}
