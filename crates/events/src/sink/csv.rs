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
}

impl Csv {
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
            Value::Args(area) | Value::SomeArgs(area, _) => self.write_guarded(out, |raw| {
                raw.extend_from_slice(args(area).map(shell::word).collect::<Vec<_>>().join(" ").as_bytes());
            }),
            other => self.write_guarded(out, |raw| other.write(raw)),
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
mod tests;
