//! Events for other programs: as Perfetto traces ([`perfetto`]), and as
//! [Parquet](https://parquet.apache.org/docs/file-format/): a row for each event, a column for each field of any kind.
//! The tables of [`describe`] define the columns.
//!
//! A column has the name of the key in JSON. Fields of nested objects have the name of the object in front
//! (`prog.name`: `prog_name`), and fields of several kinds share a column (`ret`). Columns of other kinds are null.
//! There are three more: `host`, `boot_id` and `user`.
//!
//! Rows are written in row groups, so memory is limited.

mod column;
pub mod perfetto;
#[cfg(test)]
#[allow(dead_code, reason = "the lines of text are for the sinks of tracetui_events")]
#[path = "../../events/src/sink/testing.rs"]
mod testing;
#[cfg(test)]
mod tests;

use column::{ParquetColumn, Type};
use parquet::basic::{Compression, Encoding, Repetition, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type as Element};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use tracetui_events::event::EventContext;
use tracetui_events::event::describe::{self, Field, Shape, Value, args, props};
use tracetui_events::limits;
use tracetui_events::sink::Sink;
use tracetui_events::text::json::hex_text;
use tracetui_shared::kind::Kind;

/// Rows in a row group: the number that DuckDB reads in one piece.
const ROWS: usize = 122_880;

/// Bytes of texts in a row group. A row group may exceed it by one event.
const TEXT: usize = 32 << 20;

/// Bytes of the dictionary of a column of a row group. Further rows have their texts in full.
const DICTIONARY: usize = 1 << 20;

/// Bytes of the least and the greatest text of a column in the footer. A longer one is cut.
const BOUND: usize = 64;

/// The columns that do not come from a field, after `time`, `ns` and `kind`.
const HOST: &str = "host";
const BOOT_ID: &str = "boot_id";
const USER: &str = "user";

/// Columns without nulls.
const REQUIRED: &[&str] = &["kind", "time", "ns", HOST, BOOT_ID];

/// Columns that queries compare with one value, for Bloom filters.
const LOOKED_UP: &[&str] = &["path", "comm"];

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Times in microseconds, for readers without nanoseconds (Spark).
    pub micros: bool,
    /// Bloom filters for paths and process names: a reader skips the row groups without a value.
    pub bloom: bool,
}

/// Writes events as a Parquet file.
#[derive(Debug)]
pub struct Parquet<'w> {
    columns: Vec<ParquetColumn>,
    /// The fields of each kind, by the number of the kind.
    plans: Vec<Vec<Step>>,
    /// The columns without a field.
    host: usize,
    boot_id: usize,
    user: usize,
    group: Group,
    file: SerializedFileWriter<Box<dyn Write + Send + 'w>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    rows: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Step {
    field: &'static Field,
    column: usize,
    why: Option<usize>,
    hex: Option<usize>,
    sub: Vec<Step>,
}

impl<'w> Parquet<'w> {
    /// Writes the file to `out`, which needs no buffer.
    pub fn new(out: impl Write + Send + 'w, options: Options) -> io::Result<Parquet<'w>> {
        let mut schema = Schema { micros: options.micros, ..Schema::default() };
        let mut plans = Vec::new();
        // The columns that every query needs come first.
        ["time", "ns", "kind"].into_iter().for_each(|name| drop(schema.common(name)));
        let host = schema.column(HOST, Type::Text);
        let boot_id = schema.column(BOOT_ID, Type::Text);
        let mut user = 0;
        // The order of the numbers: the columns of a new kind are the last ones.
        let mut kinds = Kind::ALL;
        kinds.sort_unstable();
        for (later, kind) in [false, true].into_iter().flat_map(|later| kinds.map(|kind| (later, kind))) {
            let at = usize::from(kind as u16);
            if plans.len() <= at {
                plans.resize_with(at + 1, Vec::new);
            }
            let fields = describe::fields(kind).filter(|field| field.has(props::LATER) == later);
            plans[at].extend(fields.map(|field| {
                let step = schema.step(kind, "", field);
                if field.name == "uid" {
                    user = schema.column(USER, Type::Text);
                }
                step
            }));
        }
        for step in plans.iter_mut().flatten().filter(|step| step.field.has(props::LACKS_LATER)) {
            step.why = Some(schema.column(&format!("{}_why", step.field.name), Type::Text));
        }
        let columns = schema.columns;
        let out: Box<dyn Write + Send + 'w> = Box::new(BufWriter::with_capacity(limits::SCRATCH, out));
        let file = file(out, &columns, options).map_err(io_error)?;
        Ok(Parquet { columns, plans, host, boot_id, user, group: Group::default(), file })
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let Group { rows, .. } = std::mem::take(&mut self.group);
        if rows == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            if let Some(writer) = group.next_column()? {
                column.write(rows, writer)?;
            }
        }
        group.close()?;
        Ok(())
    }
}

fn file<W: Write + Send>(
    out: W,
    columns: &[ParquetColumn],
    options: Options,
) -> Result<SerializedFileWriter<W>, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("tracetui version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(Some(BOUND))
        .set_dictionary_page_size_limit(DICTIONARY)
        .set_data_page_row_count_limit(ROWS)
        .set_offset_index_disabled(true);
    let mut elements = Vec::new();
    for column in columns {
        // Ids, times and counters: few values are equal, and neighbours are close.
        if matches!(column.of, Type::Time | Type::Micros | Type::Int | Type::Uint) {
            let path = ColumnPath::from(&*column.name);
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
        if options.bloom && LOOKED_UP.contains(&&*column.name) {
            properties = properties.set_column_bloom_filter_enabled(ColumnPath::from(&*column.name), true);
        }
        elements.push(column.of.element(&column.name, column.presence)?);
    }
    let schema = Element::group_type_builder("schema").with_fields(elements).build()?;
    SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties.build()))
}

/// The names of the columns.
#[cfg(test)]
fn columns() -> io::Result<Vec<String>> {
    Ok(Parquet::new(io::sink(), Options::default())?.columns.into_iter().map(|column| column.name.into()).collect())
}

/// Converts an error. An error of the output itself is returned unchanged.
fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(source) => io::Error::other(source),
        },
        error => io::Error::other(error),
    }
}

impl Sink for Parquet<'_> {
    fn event(&mut self, seen: &EventContext<'_>) -> io::Result<()> {
        let Parquet { columns, plans, group, .. } = self;
        let mut row = Row { columns, row: group.rows, bytes: 0 };
        if let Some(steps) = plans.get(usize::from(seen.event.kind() as u16)) {
            row.fields(steps, seen);
        }
        let host = seen.world.host();
        row.text(self.host, None, host.name.as_bytes());
        row.text(self.boot_id, None, host.boot_id.as_bytes());
        if let Some(user) = seen.process.and_then(|_| seen.user(seen.event.header.uid)) {
            row.text(self.user, None, user.as_bytes());
        }
        group.bytes += row.bytes;
        group.rows += 1;
        if group.rows >= ROWS || group.bytes >= TEXT {
            self.end_group().map_err(io_error)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_group().map_err(io_error)?;
        self.file.finish().map_err(io_error)?;
        self.file.inner_mut().flush()
    }

    fn set_metadata(&mut self, values: Vec<(&'static str, String)>) {
        for (name, value) in values {
            self.file.append_key_value_metadata(KeyValue::new(format!("tracetui.{name}"), value));
        }
    }
}

#[derive(Default)]
struct Schema {
    columns: Vec<ParquetColumn>,
    numbers: HashMap<String, usize>,
    /// Whether times are in microseconds.
    micros: bool,
}

impl Schema {
    fn common(&mut self, name: &str) -> Option<Step> {
        let field = describe::COMMON.iter().find(|field| field.name == name)?;
        Some(self.step(Kind::ALL[0], "", field))
    }

    fn step(&mut self, kind: Kind, prefix: &str, field: &'static Field) -> Step {
        let name = format!("{prefix}{}", field.name);
        if field.shape == Shape::Object {
            let prefix = format!("{name}_");
            let sub = field.sub.iter().map(|field| self.step(kind, &prefix, field)).collect();
            let why = field.has(props::LACKS).then(|| self.column(&format!("{name}_why"), Type::Text));
            return Step { field, column: 0, why, hex: None, sub };
        }
        let has = props_of(kind, &name);
        let of = if has & props::UNSIGNED != 0 { Type::Uint } else { type_of(&name, field.shape) };
        let column = self.column(&name, of);
        let why = (has & props::LACKS != 0).then(|| self.column(&format!("{name}_why"), Type::Text));
        let hex_type = if field.shape == Shape::List { Type::List } else { Type::Text };
        let hex = (has & props::BYTES != 0).then(|| self.column(&format!("{name}_hex"), hex_type));
        Step { field, column, why, hex, sub: Vec::new() }
    }

    /// The number of the column with this name. Kinds share it.
    fn column(&mut self, name: &str, of: Type) -> usize {
        let of = if of == Type::Time && self.micros { Type::Micros } else { of };
        *self.numbers.entry(name.to_owned()).or_insert_with(|| {
            let presence = if REQUIRED.contains(&name) { Repetition::REQUIRED } else { Repetition::OPTIONAL };
            self.columns.push(ParquetColumn::new(name, of, presence));
            self.columns.len() - 1
        })
    }
}

/// The properties of the fields that share a column. A later kind shares its own only, so that it adds columns at the end.
fn props_of(kind: Kind, column: &str) -> u16 {
    let of = |field: &Field| match column.strip_prefix(field.name) {
        Some("") => field.props,
        Some(inner) => {
            field.sub.iter().filter(|sub| inner.strip_prefix('_') == Some(sub.name)).fold(0, |all, sub| all | sub.props)
        }
        None => 0,
    };
    let shares = |other: &Kind| *other == kind || kind.max(*other) <= Kind::Lost;
    Kind::ALL.into_iter().filter(shares).flat_map(describe::fields).fold(0, |all, field| all | of(field))
}

fn type_of(name: &str, shape: Shape) -> Type {
    match shape {
        _ if name == "time" || name.ends_with("ctime") => Type::Time,
        Shape::Number | Shape::Duration | Shape::User | Shape::Group => Type::Int,
        Shape::Bool => Type::Bool,
        Shape::List => Type::List,
        Shape::Text | Shape::Address | Shape::Object => Type::Text,
    }
}

struct Row<'c> {
    columns: &'c mut [ParquetColumn],
    row: usize,
    bytes: usize,
}

impl Row<'_> {
    fn fields(&mut self, steps: &[Step], seen: &EventContext<'_>) {
        for step in steps {
            let value = (step.field.get)(seen);
            if let Some(why) = value.why() {
                debug_assert!(step.why.is_some(), "{}", step.field.name);
                step.why.into_iter().for_each(|column| self.text(column, None, why.word().as_bytes()));
            }
            self.value(step, &value, seen);
        }
    }

    fn value(&mut self, step: &Step, value: &Value<'_>, seen: &EventContext<'_>) {
        match *value {
            Value::Omitted | Value::Null | Value::Unknown(_) => {}
            Value::Int(n) => self.int(step.column, n),
            Value::Uint(n) => self.uint(step.column, n),
            Value::Time(ns) => self.int(step.column, i64::try_from(ns).unwrap_or(i64::MAX)),
            Value::Bool(yes) => {
                if let Some(column) = self.columns.get_mut(step.column) {
                    column.bool(self.row, yes);
                }
            }
            Value::Word(_)
            | Value::Unread(_)
            | Value::Bytes(_)
            | Value::Cut(_)
            | Value::Path(_)
            | Value::Flags(_)
            | Value::Pair(..)
            | Value::Joined(..)
            | Value::Unit(_)
            | Value::AttachPoint(_)
            | Value::Addr(_)
            | Value::Tag(_)
            | Value::Device(_)
            | Value::Ip(_)
            | Value::CallFlags(..)
            | Value::Peer(_) => {
                self.text(step.column, step.hex, &value.text().unwrap_or_default());
            }
            Value::Args(area) | Value::SomeArgs(area, _) => self.args(step, area),
            Value::Words(words) => {
                if let Some(column) = self.columns.get_mut(step.column) {
                    self.bytes += column.list(self.row, words.map(Some));
                }
            }
            Value::Stack(stack) => {
                let calls = stack.texts();
                if let Some(column) = self.columns.get_mut(step.column) {
                    self.bytes += column.list(self.row, calls.iter().map(|call| Some(call.as_str())));
                }
            }
            Value::Object => self.fields(&step.sub, seen),
        }
    }

    fn int(&mut self, column: usize, value: i64) {
        if let Some(column) = self.columns.get_mut(column) {
            column.int(self.row, value);
        }
    }

    /// A signed column has at most 2⁶³−1.
    fn uint(&mut self, column: usize, value: u64) {
        if let Some(column) = self.columns.get_mut(column) {
            let signed = i64::try_from(value).unwrap_or(i64::MAX);
            column.int(self.row, if column.of == Type::Uint { value as i64 } else { signed });
        }
    }

    /// A text. Bytes that are not UTF-8 become U+FFFD, and the column `hex` then has all bytes.
    fn text(&mut self, column: usize, hexes: Option<usize>, bytes: &[u8]) {
        let Some(texts) = self.columns.get_mut(column) else { return };
        if texts.same_text(self.row, bytes) {
            return;
        }
        // Nearly all are UTF-8, and this check is faster.
        let text = str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
        self.bytes += texts.text(self.row, &text);
        if let (Cow::Owned(_), Some(column)) = (&text, hexes.and_then(|at| self.columns.get_mut(at))) {
            self.bytes += column.text(self.row, &hex_text(bytes));
        }
    }

    fn args(&mut self, step: &Step, area: &[u8]) {
        let text = String::from_utf8_lossy(area);
        let Some(column) = self.columns.get_mut(step.column) else { return };
        let Cow::Owned(_) = text else {
            self.bytes += column.list(self.row, args(area).map(|arg| str::from_utf8(arg).ok()));
            return;
        };
        let whole: Vec<_> = args(area).map(String::from_utf8_lossy).collect();
        self.bytes += column.list(self.row, whole.iter().map(|arg| Some(&**arg)));
        if let Some(column) = step.hex.and_then(|at| self.columns.get_mut(at)) {
            // Only of arguments that are not UTF-8.
            let hexes: Vec<_> = args(area).map(|arg| str::from_utf8(arg).is_err().then(|| hex_text(arg))).collect();
            self.bytes += column.list(self.row, hexes.iter().map(Option::as_deref));
        }
    }
}
