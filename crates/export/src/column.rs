//! A column of a row group: values are collected, then written.

use bytes::Bytes;
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::errors::Result;
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::{Type as Element, TypePtr};
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    /// A time: nanoseconds since 1970, UTC.
    Time,
    /// The same in microseconds, rounded down.
    Micros,
    /// A signed integer of 64 bits.
    Int,
    /// An unsigned integer of 64 bits.
    Uint,
    Bool,
    /// UTF-8.
    Text,
    /// A list of texts, any of which may be null.
    List,
}

impl Type {
    pub(crate) fn element(self, name: &str, presence: Repetition) -> Result<TypePtr> {
        let (physical, logical) = match self {
            Type::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::NANOS))),
            Type::Micros => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
            Type::Int => (Physical::INT64, None),
            Type::Uint => (Physical::INT64, Some(LogicalType::integer(64, false))),
            Type::Bool => (Physical::BOOLEAN, None),
            Type::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Type::List => {
                let element = Type::Text.element("element", Repetition::OPTIONAL)?;
                let list = Element::group_type_builder("list").with_repetition(Repetition::REPEATED);
                let list = list.with_fields(vec![element]).build()?;
                let column = Element::group_type_builder(name).with_repetition(presence);
                let column = column.with_logical_type(Some(LogicalType::List)).with_fields(vec![Arc::new(list)]);
                return Ok(Arc::new(column.build()?));
            }
        };
        let column = Element::primitive_type_builder(name, physical).with_repetition(presence);
        Ok(Arc::new(column.with_logical_type(logical).build()?))
    }
}

/// Bytes of an element of a list beside its text: its levels, its range, and its value while the group is written.
const ELEMENT: usize = 2 * size_of::<i16>() + size_of::<Range<usize>>() + size_of::<ByteArray>();

#[derive(Debug)]
pub(crate) struct ParquetColumn {
    pub(crate) name: Box<str>,
    pub(crate) of: Type,
    pub(crate) presence: Repetition,
    rows: usize,
    /// The level of each value. For a list, 0 is null, 1 an empty list, 2 a null element, 3 a text.
    definitions: Vec<i16>,
    /// For a list: 0 begins a row, 1 continues it.
    repetitions: Vec<i16>,
    ints: Vec<i64>,
    bools: Vec<bool>,
    texts: Texts,
}

impl ParquetColumn {
    pub(crate) fn new(name: &str, of: Type, presence: Repetition) -> ParquetColumn {
        ParquetColumn {
            name: name.into(),
            of,
            presence,
            rows: 0,
            definitions: Vec::new(),
            repetitions: Vec::new(),
            ints: Vec::new(),
            bools: Vec::new(),
            texts: Texts::default(),
        }
    }

    /// Fills the rows before `row` with null, and begins its value.
    fn begin(&mut self, row: usize) {
        if self.rows < row {
            self.fill(row);
        }
        self.rows += 1;
    }

    fn fill(&mut self, row: usize) {
        let missing = row.saturating_sub(self.rows);
        self.definitions.resize(self.definitions.len() + missing, 0);
        self.repetitions.resize(if self.of == Type::List { self.repetitions.len() + missing } else { 0 }, 0);
        self.rows += missing;
    }

    pub(crate) fn int(&mut self, row: usize, value: i64) {
        self.begin(row);
        self.definitions.push(1);
        self.ints.push(if self.of == Type::Micros { value.div_euclid(1000) } else { value });
    }

    pub(crate) fn bool(&mut self, row: usize, value: bool) {
        self.begin(row);
        self.definitions.push(1);
        self.bools.push(value);
    }

    /// Adds a text. Returns its size in bytes.
    pub(crate) fn text(&mut self, row: usize, value: &str) -> usize {
        self.begin(row);
        self.definitions.push(1);
        self.texts.put(value)
    }

    /// Adds the last text once more if it is `value`.
    pub(crate) fn same_text(&mut self, row: usize, value: &[u8]) -> bool {
        let same = self.texts.same(value);
        if same {
            self.begin(row);
            self.definitions.push(1);
        }
        same
    }

    /// Adds a list. Returns its size in bytes.
    pub(crate) fn list<'t>(&mut self, row: usize, values: impl Iterator<Item = Option<&'t str>>) -> usize {
        self.begin(row);
        let before = self.repetitions.len();
        let mut bytes = 0;
        for value in values {
            self.repetitions.push(i16::from(self.repetitions.len() > before));
            self.definitions.push(if value.is_some() { 3 } else { 2 });
            bytes += ELEMENT + value.map_or(0, |value| self.texts.put(value));
        }
        if self.repetitions.len() == before {
            self.repetitions.push(0);
            self.definitions.push(1);
        }
        bytes
    }

    /// Writes the values of a row group and clears them.
    pub(crate) fn write(&mut self, rows: usize, mut to: SerializedColumnWriter<'_>) -> Result<()> {
        self.fill(rows);
        let levels = (self.presence != Repetition::REQUIRED).then_some(&*self.definitions);
        let repeated = (self.of == Type::List).then_some(&*self.repetitions);
        match self.of {
            Type::Time | Type::Micros | Type::Int | Type::Uint => {
                to.typed::<Int64Type>().write_batch(&self.ints, levels, repeated)?
            }
            Type::Bool => to.typed::<BoolType>().write_batch(&self.bools, levels, repeated)?,
            Type::Text | Type::List => {
                let texts = self.texts.take();
                to.typed::<ByteArrayType>().write_batch(&texts, levels, repeated)?
            }
        };
        to.close()?;
        self.rows = 0;
        self.definitions.clear();
        self.repetitions.clear();
        self.ints.clear();
        self.bools.clear();
        Ok(())
    }
}

/// Texts, one after another, with their positions. Equal neighbours share their bytes.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl Texts {
    /// Adds the last text once more if it is `text`.
    fn same(&mut self, text: &[u8]) -> bool {
        let last = self.ranges.last().filter(|last| self.bytes.get((*last).clone()) == Some(text)).cloned();
        let same = last.is_some();
        self.ranges.extend(last);
        same
    }

    fn put(&mut self, text: &str) -> usize {
        if self.same(text.as_bytes()) {
            return 0;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text.as_bytes());
        self.ranges.push(start..self.bytes.len());
        text.len()
    }

    fn take(&mut self) -> Vec<ByteArray> {
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        self.ranges.drain(..).map(|range| bytes.slice(range).into()).collect()
    }
}
