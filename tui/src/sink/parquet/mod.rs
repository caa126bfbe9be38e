//! Events as [Parquet](https://parquet.apache.org/docs/file-format/): a row for each event, a column for each field of
//! any kind. The tables of [`describe`](crate::event::describe) define the columns.
//!
//! A column has the name of the key in JSON. Fields of nested objects have the name of the object in front
//! (`prog.name`: `prog_name`), and fields of several kinds share a column (`ret`). Columns of other kinds are null.
//! There are three more: `host`, `boot_id` and `user`.
//!
//! Rows are written in row groups, so memory is limited. The writer is our own: it looks up only the texts that differ
//! from the previous row, and writes a column without values in constant time. That is more than twice as fast as the
//! crate `parquet`, which reads it back in the tests.

mod column;
mod encode;
#[cfg(test)]
mod tests;
mod thrift;

use super::Sink;
use crate::event::describe::{self, Field, Shape, Value, args};
use crate::event::{EventContext, names};
use crate::limits;
use crate::text::json::hex;
use column::{Column, Pages, Presence, Type};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use thrift::Struct;
use tracetui_shared::kind::Kind;

/// The first and the last bytes of a file.
const MAGIC: &[u8] = b"PAR1";

/// The columns that do not come from a field, after `time`, `ns` and `kind`.
const HOST: &str = "host";
const BOOT_ID: &str = "boot_id";
const USER: &str = "user";

/// Numbers that may need all 64 bits. All others are signed: Spark has no unsigned integers.
const UNSIGNED: &[&str] = &["flags_raw", "resolve", "attach_cookie"];

/// Columns without nulls.
const REQUIRED: &[&str] = &["kind", "time", "ns", HOST, BOOT_ID];

/// Columns that may be unknown: they have a column `<name>_why`.
const WITH_WHY: &[&str] = &[
    "comm",
    "cgroup",
    "mnt_ns",
    "pid_ns",
    "ns_pid",
    "filename",
    "exe",
    "interp",
    "argv",
    "argc",
    "cwd",
    "path",
    "abs_path",
    "fs_path",
    "cwd_fs_path",
    "fs_type",
    "fs_device",
    "fs_mount_id",
    "cwd_fs_type",
    "cwd_fs_device",
    "cwd_fs_mount_id",
    "created",
    "root",
    "dirfd",
    "flags",
    "flags_raw",
    "mode",
    "resolve",
    "ret",
    "prog_id",
    "prog_name",
    "prog_type",
    "prog_attach_type",
    "prog_tag",
    "prog_uid",
    "prog_helpers",
    "attach_type",
    "attach_target",
    "attach_symbol",
    "attach_offset",
    "attach_addr",
    "attach_module",
    "attach_multi",
    "stack",
];

/// Columns of bytes from outside, which may not be UTF-8: they have a column `<name>_hex`.
const WITH_HEX: &[&str] = &[
    "comm",
    "cgroup",
    "filename",
    "exe",
    "interp",
    "argv",
    "cwd",
    "path",
    "abs_path",
    "fs_path",
    "cwd_fs_path",
    "created",
    "root",
    "prog_name",
    "attach_target",
    "attach_symbol",
];

/// Writes events as a Parquet file.
#[derive(Debug)]
pub struct Parquet<'w> {
    columns: Vec<Column>,
    /// The fields of each kind, by the number of the kind.
    plans: Vec<Vec<Step>>,
    /// The columns without a field.
    extra: Extra,
    group: Group,
    pages: Pages<'w>,
    /// The metadata of the row groups, their number, and that of all rows.
    groups: Vec<u8>,
    count: usize,
    rows: u64,
    scratch: Scratch,
    /// The key/value metadata of the file, by names without `tracetui.`.
    metadata: Vec<(&'static str, String)>,
}

/// The columns `host`, `boot_id` and `user`.
#[derive(Clone, Copy, Debug, Default)]
struct Extra {
    host: usize,
    boot_id: usize,
    user: usize,
}

/// The current row group.
#[derive(Clone, Copy, Debug)]
struct Group {
    rows: usize,
    bytes: usize,
    last: i128,
    sorted: bool,
}

impl Default for Group {
    fn default() -> Group {
        Group { rows: 0, bytes: 0, last: i128::MIN, sorted: true }
    }
}

/// A field and its columns.
#[derive(Debug)]
struct Step {
    field: &'static Field,
    column: usize,
    why: Option<usize>,
    hex: Option<usize>,
    sub: Vec<Step>,
}

/// Buffers for texts that are put together.
#[derive(Debug, Default)]
struct Scratch {
    text: Vec<u8>,
    hex: Vec<u8>,
}

impl<'w> Parquet<'w> {
    /// Writes the file to `out`, which needs no buffer.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn new(out: impl Write + 'w) -> io::Result<Parquet<'w>> {
        let mut schema = Schema::default();
        let mut plans = Vec::new();
        // Those that every query needs come first.
        ["time", "ns", "kind"].into_iter().for_each(|name| drop(schema.common(name)));
        let host = schema.column(HOST, Type::Text);
        let boot_id = schema.column(BOOT_ID, Type::Text);
        let mut user = 0;
        for kind in Kind::ALL {
            let at = usize::from(kind as u16);
            if plans.len() <= at {
                plans.resize_with(at + 1, Vec::new);
            }
            let plan = describe::fields(kind).map(|field| {
                let step = schema.step("", field);
                if field.name == "uid" {
                    user = schema.column(USER, Type::Text);
                }
                step
            });
            plans[at] = plan.collect();
        }
        let mut pages = Pages::new(out)?;
        pages.raw(MAGIC)?;
        Ok(Parquet {
            columns: schema.columns,
            plans,
            extra: Extra { host, boot_id, user },
            group: Group::default(),
            pages,
            groups: Vec::new(),
            count: 0,
            rows: 0,
            scratch: Scratch::default(),
            metadata: Vec::new(),
        })
    }

    fn end_group(&mut self) -> io::Result<()> {
        let Group { rows, sorted, .. } = std::mem::take(&mut self.group);
        if rows == 0 {
            return Ok(());
        }
        let start = self.pages.at;
        let (mut plain, mut stored) = (0, 0);
        let mut chunks = Vec::new();
        for column in &mut self.columns {
            let sizes = column.write(rows, &mut self.pages, &mut chunks)?;
            plain += sizes.plain;
            stored += sizes.stored;
        }
        let mut sorting = Vec::new();
        // The column `time` is the first.
        Struct::write(&mut sorting, |column| {
            column.i32(1, 0);
            column.bool(2, false);
            column.bool(3, false);
        });
        let (number, columns) = (self.count, self.columns.len());
        Struct::write(&mut self.groups, |group| {
            group.written(1, columns, &chunks);
            group.i64(2, plain as i64);
            group.i64(3, rows as i64);
            if sorted {
                group.written(4, 1, &sorting);
            }
            group.i64(5, start as i64);
            group.i64(6, stored as i64);
            // A file may have more than this number can hold; it is optional.
            if let Ok(number) = i16::try_from(number) {
                group.i16(7, number);
            }
        });
        self.count += 1;
        self.rows += rows as u64;
        Ok(())
    }

    /// The schema: the root, and the columns.
    fn schema(&self) -> (usize, Vec<u8>) {
        let (mut count, mut out) = (1, Vec::new());
        Struct::write(&mut out, |root| {
            root.binary(4, b"schema");
            root.i32(5, self.columns.len() as i32);
        });
        for column in &self.columns {
            count += schema_of(column, &mut out);
        }
        (count, out)
    }

    fn footer(&mut self) -> io::Result<()> {
        let (elements, schema) = self.schema();
        let mut orders = Vec::new();
        for _ in &self.columns {
            // TypeDefinedOrder
            Struct::write(&mut orders, |order| order.structure(1, |_| {}));
        }
        let mut metadata = Vec::new();
        for (name, value) in &self.metadata {
            Struct::write(&mut metadata, |entry| {
                entry.binary(1, format!("tracetui.{name}").as_bytes());
                entry.binary(2, value.as_bytes());
            });
        }
        let mut footer = Vec::new();
        Struct::write(&mut footer, |file| {
            file.i32(1, 2);
            file.written(2, elements, &schema);
            file.i64(3, self.rows as i64);
            file.written(4, self.count, &self.groups);
            if !self.metadata.is_empty() {
                file.written(5, self.metadata.len(), &metadata);
            }
            file.binary(6, concat!("tracetui version ", env!("CARGO_PKG_VERSION")).as_bytes());
            file.written(7, self.columns.len(), &orders);
        });
        let length = u32::try_from(footer.len()).map_err(|_| io::Error::other("too many events for a Parquet file"))?;
        self.pages.raw(&footer)?;
        self.pages.raw(&length.to_le_bytes())?;
        self.pages.raw(MAGIC)?;
        self.pages.flush()
    }
}

impl Sink for Parquet<'_> {
    fn event(&mut self, seen: &EventContext<'_>) -> io::Result<()> {
        let Parquet { columns, plans, extra, group, scratch, .. } = self;
        let mut row = Row { columns, scratch, row: group.rows, bytes: 0 };
        if let Some(steps) = plans.get(usize::from(seen.event.kind() as u16)) {
            row.fields(steps, seen);
        }
        let host = seen.world.host();
        row.text(extra.host, None, host.name.as_bytes());
        row.text(extra.boot_id, None, host.boot_id.as_bytes());
        if let Some(user) = seen.process.and_then(|_| seen.world.user(seen.event.header.uid)) {
            row.text(extra.user, None, user.as_bytes());
        }
        group.bytes += row.bytes;
        group.rows += 1;
        let time = seen.unix_nanos();
        group.sorted &= time >= group.last;
        group.last = time;
        if group.rows >= limits::PARQUET_ROWS || group.bytes >= limits::PARQUET_TEXT {
            self.end_group()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end_group()?;
        self.footer()
    }

    fn set_metadata(&mut self, values: Vec<(&'static str, String)>) {
        self.metadata = values;
    }
}

/// The columns, while they are collected.
#[derive(Default)]
struct Schema {
    columns: Vec<Column>,
    numbers: HashMap<String, usize>,
}

impl Schema {
    fn common(&mut self, name: &str) -> Option<Step> {
        let field = describe::COMMON.iter().find(|field| field.name == name)?;
        Some(self.step("", field))
    }

    fn step(&mut self, prefix: &str, field: &'static Field) -> Step {
        let name = format!("{prefix}{}", field.name);
        if field.shape == Shape::Object {
            let prefix = format!("{name}_");
            let sub = field.sub.iter().map(|field| self.step(&prefix, field)).collect();
            return Step { field, column: 0, why: None, hex: None, sub };
        }
        let column = self.column(&name, type_of(&name, field.shape));
        let why = WITH_WHY.contains(&&*name).then(|| self.column(&format!("{name}_why"), Type::Text));
        let hex_type = if field.shape == Shape::List { Type::List } else { Type::Text };
        let hex = WITH_HEX.contains(&&*name).then(|| self.column(&format!("{name}_hex"), hex_type));
        Step { field, column, why, hex, sub: Vec::new() }
    }

    /// The number of the column with this name. Kinds share it.
    fn column(&mut self, name: &str, of: Type) -> usize {
        *self.numbers.entry(name.to_owned()).or_insert_with(|| {
            let presence = if REQUIRED.contains(&name) { Presence::Required } else { Presence::Optional };
            self.columns.push(Column::new(name, of, presence));
            self.columns.len() - 1
        })
    }
}

fn type_of(name: &str, shape: Shape) -> Type {
    match shape {
        _ if name == "time" => Type::Time,
        _ if UNSIGNED.contains(&name) => Type::Uint,
        Shape::Number | Shape::Duration | Shape::User | Shape::Group => Type::Int,
        Shape::Bool => Type::Bool,
        Shape::List => Type::List,
        Shape::Text | Shape::Object => Type::Text,
    }
}

/// Numbers of [parquet.thrift](https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift).
mod id {
    pub(super) const REQUIRED: i32 = 0;
    pub(super) const OPTIONAL: i32 = 1;
    pub(super) const REPEATED: i32 = 2;
    /// `ConvertedType`.
    pub(super) const UTF8: i32 = 0;
    pub(super) const LIST: i32 = 3;
    pub(super) const UINT_64: i32 = 14;
    /// Fields of `LogicalType`.
    pub(super) const LOGICAL_STRING: i16 = 1;
    pub(super) const LOGICAL_LIST: i16 = 3;
    pub(super) const LOGICAL_TIMESTAMP: i16 = 8;
    pub(super) const LOGICAL_INTEGER: i16 = 10;
    /// Field of `TimeUnit`.
    pub(super) const NANOS: i16 = 3;
}

/// Appends the elements of a column: one, or the three of a list. Returns how many.
fn schema_of(column: &Column, out: &mut Vec<u8>) -> usize {
    let repetition = if column.presence == Presence::Required { id::REQUIRED } else { id::OPTIONAL };
    if column.of == Type::List {
        Struct::write(out, |list| {
            list.i32(3, id::OPTIONAL);
            list.binary(4, column.name.as_bytes());
            list.i32(5, 1);
            list.i32(6, id::LIST);
            list.structure(10, |logical| logical.structure(id::LOGICAL_LIST, |_| {}));
        });
        Struct::write(out, |repeated| {
            repeated.i32(3, id::REPEATED);
            repeated.binary(4, b"list");
            repeated.i32(5, 1);
        });
        leaf("element", column.of, id::OPTIONAL, out);
        return 3;
    }
    leaf(&column.name, column.of, repetition, out);
    1
}

fn leaf(name: &str, of: Type, repetition: i32, out: &mut Vec<u8>) {
    Struct::write(out, |leaf| {
        leaf.i32(1, of.physical());
        leaf.i32(3, repetition);
        leaf.binary(4, name.as_bytes());
        match of {
            Type::Text | Type::List => {
                leaf.i32(6, id::UTF8);
                leaf.structure(10, |logical| logical.structure(id::LOGICAL_STRING, |_| {}));
            }
            Type::Uint => {
                leaf.i32(6, id::UINT_64);
                leaf.structure(10, |logical| {
                    logical.structure(id::LOGICAL_INTEGER, |integer| {
                        integer.byte(1, 64);
                        integer.bool(2, false);
                    });
                });
            }
            Type::Time => leaf.structure(10, |logical| {
                logical.structure(id::LOGICAL_TIMESTAMP, |time| {
                    time.bool(1, true);
                    time.structure(2, |unit| unit.structure(id::NANOS, |_| {}));
                });
            }),
            Type::Int | Type::Bool => {}
        }
    });
}

/// The row of an event.
struct Row<'c> {
    columns: &'c mut [Column],
    scratch: &'c mut Scratch,
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
            Value::Word(word) => self.text(step.column, None, word.as_bytes()),
            Value::Unread(_) => self.text(step.column, None, b""),
            Value::Bytes(bytes) | Value::Cut(bytes) => self.text(step.column, step.hex, bytes),
            Value::Pair(..) | Value::AttachPoint(_) | Value::Addr(_) | Value::Tag(_) | Value::Device(_) => {
                self.text(step.column, step.hex, &value.text().unwrap_or_default());
            }
            Value::Path(path) => self.put_together(step, |out| path.write(out)),
            Value::Flags(flags) => self.put_together(step, |out| names::open_flags(flags, out)),
            Value::Args(area) | Value::SomeArgs(area, _) => self.args(step, area),
            Value::Words(words) => {
                if let Some(column) = self.columns.get_mut(step.column) {
                    self.bytes += column.list(self.row, words.iter().copied().map(Some));
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

    fn put_together(&mut self, step: &Step, write: impl FnOnce(&mut Vec<u8>)) {
        let mut text = std::mem::take(&mut self.scratch.text);
        text.clear();
        write(&mut text);
        self.text(step.column, step.hex, &text);
        text.clear();
        text.shrink_to(limits::SCRATCH);
        self.scratch.text = text;
    }

    /// A text. Bytes that are not UTF-8 become U+FFFD, and all bytes stand in the column `hex`.
    fn text(&mut self, column: usize, hexes: Option<usize>, bytes: &[u8]) {
        let Some(texts) = self.columns.get_mut(column) else { return };
        if texts.same_text(self.row, bytes) {
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        self.bytes += texts.text(self.row, &text);
        if let (Cow::Owned(_), Some(column)) = (&text, hexes.and_then(|at| self.columns.get_mut(at))) {
            self.bytes += column.text(self.row, hex_of(bytes, &mut self.scratch.hex));
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
            let hexes: Vec<_> = args(area).map(hex_if_needed).collect();
            self.bytes += column.list(self.row, hexes.iter().map(Option::as_deref));
        }
    }
}

fn hex_of<'h>(bytes: &[u8], out: &'h mut Vec<u8>) -> &'h str {
    out.clear();
    out.shrink_to(limits::SCRATCH);
    hex(bytes, out);
    str::from_utf8(out).unwrap_or_default()
}

/// The hex digits of bytes that are not UTF-8.
fn hex_if_needed(bytes: &[u8]) -> Option<String> {
    str::from_utf8(bytes).is_err().then(|| hex_of(bytes, &mut Vec::new()).to_owned())
}
