//! Events as CSV (RFC 4180): a header line, CRLF line ends, quotes around fields with a comma, a quote or a line break.
//! After the first columns come those of a Parquet file, but no `_hex`: escaped text has all bytes. A list
//! of arguments is written as a command line for a shell. Values that do not apply are empty, and unknown ones have a reason in
//! `_why`. On request, the last column is the whole event as JSON.
//!
//! Text from outside is escaped as in text output. A spreadsheet evaluates a
//! cell that starts with `=`, `+`, `-` or `@`: such a cell gets a leading `'`. Some spreadsheets split cells at `;`,
//! even in quotes: these characters are escaped after a `;`. The `json` column contains the whole bytes.

use super::memo::{Memo, Source, parts};
use super::ndjson::Object;
use super::{Format, Style};
use crate::event::EventContext;
use crate::event::describe::{self, COMMON, Field, Shape, Value, args, props};
use crate::limits;
use crate::text::time::Rfc3339;
use crate::text::{Charset, Text as _, escape, integer, shell};
use tracetui_shared::kind::Kind;

/// The columns that are fields.
const FIELDS: [&str; 11] = ["time", "ns", "kind", "cpu", "pid", "tid", "ppid", "comm", "uid", "gid", "cgroup"];

#[derive(Debug)]
pub struct Csv {
    columns: Vec<(Source, Vec<Column>)>,
    cells: Cells,
    object: Object,
    memo: Memo,
    /// The names of the columns after the first ones.
    names: Vec<String>,
    /// The fields in these columns, by the number of the kind.
    plans: Vec<Vec<Step>>,
    /// Whether there are the columns `host` and `boot_id`, and `json`.
    host: bool,
    json: bool,
}

/// A field and its columns. A field of the first columns has none but that of the reason.
#[derive(Debug)]
struct Step {
    field: &'static Field,
    column: Option<usize>,
    why: Option<usize>,
    sub: Vec<Step>,
}

/// The column of the user's name, after the fields.
const USER: &str = "user";

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
        let (mut names, mut plans) = (vec![USER.to_owned()], Vec::new());
        let mut kinds = Kind::ALL;
        kinds.sort_unstable();
        for (later, kind) in [false, true].into_iter().flat_map(|later| kinds.map(|kind| (later, kind))) {
            let at = usize::from(kind as u16);
            plans.resize_with(plans.len().max(at + 1), Vec::new);
            let fields = describe::fields(kind).filter(|field| field.has(props::LATER) == later);
            plans[at].extend(fields.map(|field| step(&mut names, "", field)));
        }
        Csv {
            columns: parts(fields.chain([(Source::Kind, Column::Result), (Source::Kind, Column::Detail)])),
            cells: Cells::default(),
            object: Object::default(),
            memo: Memo::default(),
            names,
            plans,
            host: false,
            json: false,
        }
    }

    /// Adds the columns `host` and `boot_id`, and the column `json`.
    #[must_use]
    pub(crate) fn with(self, host: bool, json: bool) -> Csv {
        Csv { host, json, ..self }
    }
}

/// The columns of a field. Kinds share those of the same name.
fn step(names: &mut Vec<String>, prefix: &str, field: &'static Field) -> Step {
    let name = format!("{prefix}{}", field.name);
    let mut column = |name: String| {
        names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        })
    };
    let has_own = field.shape != Shape::Object && !FIELDS.contains(&&*name);
    let own = has_own.then(|| column(name.clone()));
    let why = field.has(props::LACKS | props::LACKS_LATER).then(|| column(format!("{name}_why")));
    let sub = field.sub.iter().map(|field| step(names, &format!("{name}_"), field)).collect();
    Step { field, column: own, why, sub }
}

impl Cells {
    fn column(&mut self, column: &Column, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        match column {
            Column::Field(field) => self.value((field.get)(seen), out),
            Column::Result => self.write_guarded(out, |raw| seen.result(raw)),
            Column::Detail => self.write_guarded(out, |raw| seen.detail(raw)),
        }
        out.push(b',');
    }

    fn value(&mut self, value: Value<'_>, out: &mut Vec<u8>) {
        match value {
            Value::Time(ns) => self.time.write(ns, out),
            Value::Uint(n) => integer(n, out),
            Value::Word(word) => out.extend_from_slice(word.as_bytes()),
            Value::Bytes(bytes) => self.write_guarded(out, |raw| raw.extend_from_slice(bytes)),
            Value::Args(area) | Value::SomeArgs(area, _) => self.write_guarded(out, |raw| {
                raw.extend_from_slice(args(area).map(shell::word).collect::<Vec<_>>().join(" ").as_bytes());
            }),
            other => self.write_guarded(out, |raw| raw.extend_from_slice(&other.text().unwrap_or_default())),
        }
    }

    /// Collects the cells of fields: the number of the column, and where the text is in `texts`.
    fn fields(
        &mut self,
        steps: &[Step],
        seen: &EventContext<'_>,
        cells: &mut Vec<(usize, usize)>,
        texts: &mut Vec<u8>,
    ) {
        for step in steps {
            if step.column.is_none() && step.why.is_none() && step.sub.is_empty() {
                continue;
            }
            let value = (step.field.get)(seen);
            if let (Some(column), Some(why)) = (step.why, value.why()) {
                cells.push((column, texts.len()));
                texts.extend_from_slice(why.word().as_bytes());
            }
            match (value, step.column) {
                (Value::Omitted | Value::Null | Value::Unknown(_), _) => {}
                (Value::Object, _) => self.fields(&step.sub, seen, cells, texts),
                (value, Some(column)) => {
                    cells.push((column, texts.len()));
                    self.value(value, texts);
                }
                (_, None) => {}
            }
        }
    }

    /// A column of raw bytes: escaped, and guarded against evaluation by a spreadsheet.
    fn write_guarded(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
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
        out.extend_from_slice(b",result,detail,");
        out.extend_from_slice(self.names.join(",").as_bytes());
        out.extend_from_slice(if self.host { b",host,boot_id" } else { b"" });
        out.extend_from_slice(if self.json { b",json\r\n" } else { b"\r\n" });
    }

    fn line(&mut self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        let Csv { columns, cells, object, memo, names, plans, host, json } = self;
        let mut line = memo.line(seen);
        line.write(columns, out, |columns, out| columns.iter().for_each(|column| cells.column(column, seen, out)));
        let (mut found, mut texts) = (Vec::new(), Vec::new());
        if let Some(user) = seen.process.and_then(|_| seen.user(seen.event.header.uid)) {
            found.push((0, 0));
            cells.write_guarded(&mut texts, |raw| raw.extend_from_slice(user.as_bytes()));
        }
        let plan = plans.get(usize::from(seen.event.kind() as u16));
        cells.fields(plan.map_or(&[], Vec::as_slice), seen, &mut found, &mut texts);
        let ends: Vec<_> = found.iter().skip(1).map(|(_, start)| *start).chain([texts.len()]).collect();
        let mut found: Vec<_> = found.into_iter().zip(ends).collect();
        found.sort_unstable();
        let mut at = 0;
        for ((column, start), end) in found {
            out.resize(out.len() + column - at, b',');
            at = column;
            out.extend_from_slice(texts.get(start..end).unwrap_or_default());
        }
        out.resize(out.len() + names.len() - 1 - at, b',');
        if *host {
            let host = seen.world.host();
            for text in [&host.name, &host.boot_id] {
                out.push(b',');
                cells.write_guarded(out, |raw| raw.extend_from_slice(text.as_bytes()));
            }
        }
        if *json {
            out.extend_from_slice(b",\"");
            object.write(&mut line, seen, out, |out, from| cells.quoted(out, from));
            out.push(b'"');
        }
        out.extend_from_slice(b"\r\n");
    }

    fn set_style(&mut self, Style { charset, .. }: Style) {
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
}
