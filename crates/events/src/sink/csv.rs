//! Events as CSV (RFC 4180): a header line, CRLF line ends, quotes around fields with a comma, a quote or a line break.
//! Unknown values and values that do not apply are empty; the `json` column has the whole event, with the reasons.
//!
//! Text from outside (`comm`, `cgroup`, `result`, `detail`) is escaped as in text output. A spreadsheet evaluates a
//! cell that starts with `=`, `+`, `-` or `@`: such a cell gets a leading `'`. Some spreadsheets split cells at `;`,
//! even in quotes: these characters are escaped after a `;`. The `json` column contains the whole bytes.

use super::memo::{Memo, Source, parts};
use super::ndjson::Object;
use super::{Format, integer};
use crate::event::EventContext;
use crate::event::describe::{COMMON, Field, Value};
use crate::limits;
use crate::text::time::Rfc3339;
use crate::text::{Charset, Text as _, escape};

/// The columns that are fields.
const FIELDS: [&str; 11] = ["time", "ns", "kind", "cpu", "pid", "tid", "ppid", "comm", "uid", "gid", "cgroup"];

#[derive(Debug)]
pub struct Csv {
    columns: Vec<(Source, Vec<Column>)>,
    cells: Cells,
    object: Object,
    memo: Memo,
    /// Whether the last two columns are the host and the boot.
    host: bool,
}

/// A column before the object.
#[derive(Debug)]
enum Column {
    Field(&'static Field),
    Result,
    Detail,
}

/// Writes cells.
#[derive(Debug, Default)]
struct Cells {
    time: Rfc3339,
    raw: Vec<u8>,
    shown: Vec<u8>,
    charset: Charset,
}

impl Default for Csv {
    fn default() -> Csv {
        Csv::new()
    }
}

impl Csv {
    pub fn new() -> Csv {
        let field = |name: &&str| COMMON.iter().find(|field| field.name == *name);
        let fields = FIELDS.iter().filter_map(field).map(|field| (Source::of(field), Column::Field(field)));
        Csv {
            columns: parts(fields.chain([(Source::Kind, Column::Result), (Source::Kind, Column::Detail)])),
            cells: Cells::default(),
            object: Object::default(),
            memo: Memo::default(),
            host: false,
        }
    }

    /// Adds the columns `host` and `boot_id` at the end.
    #[must_use]
    pub(crate) fn with_host(self) -> Csv {
        Csv { host: true, ..self }
    }
}

impl Cells {
    fn column(&mut self, column: &Column, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        match column {
            Column::Field(field) => self.value((field.get)(seen), out),
            Column::Result => self.shown(out, |raw| seen.result(raw)),
            Column::Detail => self.shown(out, |raw| seen.detail(raw)),
        }
        out.push(b',');
    }

    fn value(&mut self, value: Value<'_>, out: &mut Vec<u8>) {
        match value {
            Value::Time(ns) => self.time.write(ns, out),
            Value::Uint(n) => integer(n, out),
            Value::Word(word) => out.extend_from_slice(word.as_bytes()),
            Value::Bytes(bytes) => self.shown(out, |raw| raw.extend_from_slice(bytes)),
            other => self.shown(out, |raw| raw.extend_from_slice(&other.text().unwrap_or_default())),
        }
    }

    /// A column of raw bytes: escaped, and guarded against evaluation by a spreadsheet.
    fn shown(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        self.raw.clear();
        write(&mut self.raw);
        self.shown.clear();
        escape(&self.raw, self.charset.reversible(), &mut self.shown);
        if is_run(&self.shown) {
            self.shown.insert(0, b'\'');
        }
        disarm(&mut self.shown, |sign, out| match sign {
            0..0x80 => out.put(&format!("\\x{sign:02x}")),
            _ => out.put(&format!("\\u{{{sign:x}}}")),
        });
        quote(&self.shown, out);
        self.shown.shrink_to(limits::SCRATCH);
        self.raw.shrink_to(limits::SCRATCH);
    }

    /// Quotes the part of an object that begins at `from`.
    fn quoted(&mut self, out: &mut Vec<u8>, from: usize) {
        self.raw.clear();
        self.raw.extend_from_slice(out.get(from..).unwrap_or_default());
        out.truncate(from);
        disarm(&mut self.raw, |sign, out| out.put(&format!("\\u{sign:04x}")));
        double_quotes(&self.raw, out);
        self.raw.clear();
        self.raw.shrink_to(limits::SCRATCH);
    }
}

impl Format for Csv {
    fn head(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(FIELDS.join(",").as_bytes());
        out.extend_from_slice(b",result,detail,json");
        out.extend_from_slice(if self.host { b",host,boot_id\r\n" } else { b"\r\n" });
    }

    fn line(&mut self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        let Csv { columns, cells, object, memo, host } = self;
        let mut line = memo.line(seen);
        line.write(columns, out, |columns, out| columns.iter().for_each(|column| cells.column(column, seen, out)));
        out.push(b'"');
        object.write(&mut line, seen, out, |out, from| cells.quoted(out, from));
        out.push(b'"');
        if *host {
            let host = seen.world.host();
            for text in [&host.name, &host.boot_id] {
                out.push(b',');
                cells.shown(out, |raw| raw.extend_from_slice(text.as_bytes()));
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn set_charset(&mut self, charset: Charset) {
        self.cells.charset = charset;
        self.object.set_charset(charset);
        self.memo = Memo::default();
    }
}

/// The first character of a text and the number of bytes before it, if a spreadsheet would evaluate a text that starts
/// with this character. Quotes and spaces may precede it, because some programs drop them. The full-width forms count
/// in some languages.
fn sign(text: &[u8]) -> Option<(usize, char)> {
    let before = text.iter().take_while(|byte| matches!(byte, b' ' | b'"')).count();
    let first = text.get(before..)?.utf8_chunks().next()?.valid().chars().next()?;
    matches!(first, '=' | '+' | '-' | '@' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}')
        .then_some((before, first))
}

/// Whether a spreadsheet would evaluate the cell. It does not evaluate a plain number.
fn is_run(cell: &[u8]) -> bool {
    let number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    sign(cell).is_some() && !cell.strip_prefix(b"-").is_some_and(number)
}

/// Escapes, with `escape`, the [`sign`] of each cell for programs that also split cells at `;`.
fn disarm(text: &mut Vec<u8>, escape: impl Fn(u32, &mut Vec<u8>)) {
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| memchr::memchr(b';', rest)) {
        from += at + 1;
        if let Some((before, sign)) = text.get(from..).and_then(sign) {
            let at = from + before;
            let mut escaped = Vec::new();
            escape(sign.into(), &mut escaped);
            text.splice(at..at + sign.len_utf8(), escaped);
        }
    }
}

/// Appends a field, quoted if necessary.
fn quote(field: &[u8], out: &mut Vec<u8>) {
    if !field.iter().any(|b| matches!(b, b',' | b'"' | b'\r' | b'\n')) {
        return out.extend_from_slice(field);
    }
    out.push(b'"');
    double_quotes(field, out);
    out.push(b'"');
}

fn double_quotes(text: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    for at in memchr::memchr_iter(b'"', text) {
        out.extend_from_slice(text.get(from..=at).unwrap_or_default());
        // The next piece begins with the same quote: it is doubled.
        from = at;
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::super::{FormatName, sample};
    use crate::text::{Charset, is_hostile, unescape};
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
            (Kind::Tcp, sample::refused(), "refused|'-> 10.0.0.7:443"),
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
        assert_eq!(row[7], r#"a",\r\nb"#);
        assert_eq!(row[12], r#"r  /tmp/"x",\n\xff"#);
        let json: serde_json::Value = serde_json::from_str(&row[13]).expect("JSON");
        assert_eq!((&json["comm"], &json["path"]), (&"a\",\r\nb".into(), &"/tmp/\"x\",\n\u{fffd}".into()));
        let (_, row) = read(sample::named(Kind::Exit, b"\xffx"), &sample::exit(0));
        assert_eq!(row[7], r"\xffx");
    }

    /// The columns comm and detail of an exec.
    fn texts(comm: &[u8], argv: &[u8]) -> (String, String, serde_json::Value) {
        let (_, row) = read(sample::named(Kind::Exec, comm), &sample::execed(argv));
        (row[7].clone(), row[12].clone(), serde_json::from_str(&row[13]).expect("JSON"))
    }

    #[test]
    fn nothing_acts_on_a_terminal() {
        let (comm, detail, json) = texts("\x1b[2J\u{202e}\u{9b}m\\".as_bytes(), "a\u{200b}\x07\0".as_bytes());
        assert_eq!((comm.as_str(), detail.as_str()), (r"\x1b[2J\u{202e}\u{9b}m\\", r"a\u{200b}\x07"));
        assert_eq!(json["comm"], "\x1b[2J\u{202e}\u{9b}m\\");
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_text() {
        for run in ["=cmd|' /C calc'!A0", "+1+x", "-2+3", "@SUM(A1)", " =1", "\"=1", "-", "\u{ff1d}1", "-bash"] {
            let (comm, detail, json) = texts(&run.as_bytes()[..run.len().min(15)], format!("{run}\0").as_bytes());
            assert!(comm.starts_with('\'') && detail == format!("'{run}"), "{run}: {comm} {detail}");
            assert_eq!(json["argv"][0], run);
        }
        for text in ["sh", "-5", "a=b", "a@b", "", "'=1"] {
            assert_eq!(texts(text.as_bytes(), b"x\0").0, text);
        }
    }

    #[test]
    fn nor_after_a_semicolon() {
        let run = "a;=1; \"+2;;-3;@;b;\u{ff1d}4";
        let line =
            sample::line(FormatName::Csv, sample::header(Kind::Exec), &sample::execed(format!("{run}\0").as_bytes()));
        let line = String::from_utf8(line).expect("UTF-8");
        assert!(line.split(';').skip(1).all(|cell| super::sign(cell.as_bytes()).is_none()), "{line}");
        let (_, detail, json) = texts(b"x", format!("{run}\0").as_bytes());
        assert_eq!((json["argv"][0].as_str(), unescape(&detail)), (Some(run), run.as_bytes().to_vec()));
    }

    #[test]
    fn in_another_locale_all_is_ascii() {
        let payload = sample::execed("\u{c6db}\0".as_bytes());
        let line =
            sample::line_in(Charset::Ascii, FormatName::Csv, sample::named(Kind::Exec, "é".as_bytes()), &payload);
        let line = String::from_utf8(line).expect("UTF-8");
        assert!(line.is_ascii() && line.contains(r"\u{c6db}") && line.contains(r"\uc6db"), "{line}");
    }

    proptest! {
        #[test]
        fn any_event_is_one_row(
            comm in prop::collection::vec(1u8.., 0..16),
            argv in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let (_, row) = read(sample::named(Kind::Exec, &comm), &sample::execed(&argv));
            prop_assert_eq!(row.len(), 14);
            if *unescape(&row[7]) != *comm {
                // The cell is guarded, so it must have needed the guard.
                let name = row[7].strip_prefix('\'').unwrap_or_default();
                prop_assert!(super::is_run(name.as_bytes()), "{:?}", row[7]);
                prop_assert_eq!(unescape(name), comm.clone());
            }
            let json: serde_json::Value = serde_json::from_str(&row[13]).expect("JSON");
            prop_assert_eq!(json["comm"].as_str(), Some(&*String::from_utf8_lossy(&comm)));
            for cell in &row {
                prop_assert!(!cell.chars().any(is_hostile), "{cell:?}");
                prop_assert!(!super::is_run(cell.as_bytes()), "{cell:?}");
            }
        }
    }
}
