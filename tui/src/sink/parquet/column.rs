//! A column of a row group: values are collected, then written as pages.

use super::encode::{Hybrid, bits, delta};
use super::thrift::Struct;
use crate::limits;
use std::collections::HashMap;
use std::io::{self, BufWriter, Write};

/// The type of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Type {
    /// A time: nanoseconds since 1970, UTC.
    Time,
    /// A signed integer of 64 bits.
    Int,
    /// An unsigned integer of 64 bits.
    Uint,
    /// Yes or no.
    Bool,
    /// UTF-8.
    Text,
    /// A list of texts, any of which may be null.
    List,
}

/// Numbers of [parquet.thrift](https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift).
mod id {
    pub(super) const BOOLEAN: i32 = 0;
    pub(super) const INT64: i32 = 2;
    pub(super) const BYTE_ARRAY: i32 = 6;
    pub(super) const PLAIN: i32 = 0;
    pub(super) const RLE: i32 = 3;
    pub(super) const DELTA_BINARY_PACKED: i32 = 5;
    pub(super) const RLE_DICTIONARY: i32 = 8;
    pub(super) const DATA_PAGE: i32 = 0;
    pub(super) const DICTIONARY_PAGE: i32 = 2;
    pub(super) const UNCOMPRESSED: i32 = 0;
    pub(super) const ZSTD: i32 = 6;
}

impl Type {
    /// `Type` in the file.
    pub(super) fn physical(self) -> i32 {
        match self {
            Type::Time | Type::Int | Type::Uint => id::INT64,
            Type::Bool => id::BOOLEAN,
            Type::Text | Type::List => id::BYTE_ARRAY,
        }
    }

    /// The definition level of a value.
    fn top(self) -> u8 {
        if self == Type::List { 3 } else { 1 }
    }
}

/// Whether each row has a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// Each has one.
    Required,
    /// Some are null.
    Optional,
}

/// Bytes of an element of a list beside its text: its levels and its index.
const ELEMENT: usize = 16;

/// Bytes of a text in a dictionary beside the text: its places in the tables, and the overhead of the allocator.
const ENTRY: usize = 64;

/// A column and its values in the current row group.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: Box<str>,
    pub(super) of: Type,
    pub(super) presence: Presence,
    rows: usize,
    /// Definition and repetition levels.
    definitions: Runs,
    repetitions: Runs,
    ints: Vec<i64>,
    bools: Vec<bool>,
    texts: Texts,
}

impl Column {
    pub(super) fn new(name: &str, of: Type, presence: Presence) -> Column {
        Column {
            name: name.into(),
            of,
            presence,
            rows: 0,
            definitions: Runs::default(),
            repetitions: Runs::default(),
            ints: Vec::new(),
            bools: Vec::new(),
            texts: Texts::default(),
        }
    }

    /// Fills the rows before `row` with null, and begins its value.
    fn begin(&mut self, row: usize) {
        self.fill(row);
        self.rows += 1;
    }

    fn fill(&mut self, row: usize) {
        if self.rows < row {
            let missing = row - self.rows;
            self.definitions.put(0, missing);
            self.repetitions.put(0, missing);
            self.rows = row;
        }
    }

    pub(super) fn int(&mut self, row: usize, value: i64) {
        self.begin(row);
        self.definitions.put(1, 1);
        self.ints.push(value);
    }

    pub(super) fn bool(&mut self, row: usize, value: bool) {
        self.begin(row);
        self.definitions.put(1, 1);
        self.bools.push(value);
    }

    /// Adds a text; the number of its bytes that are new.
    pub(super) fn text(&mut self, row: usize, value: &str) -> usize {
        self.begin(row);
        self.texts.begin(value.len(), &self.definitions);
        self.definitions.put(1, 1);
        self.texts.put(value)
    }

    /// Adds the same text as last time, if it is this one.
    pub(super) fn same_text(&mut self, row: usize, value: &[u8]) -> bool {
        if self.texts.same(value) {
            self.begin(row);
            self.definitions.put(1, 1);
            return true;
        }
        false
    }

    /// Adds a list; the number of its bytes that are new.
    pub(super) fn list<'t>(&mut self, row: usize, values: impl Iterator<Item = Option<&'t str>>) -> usize {
        self.begin(row);
        self.texts.begin(0, &self.definitions);
        let (mut first, mut bytes) = (true, 0);
        for value in values {
            self.repetitions.put(u8::from(!std::mem::take(&mut first)), 1);
            self.definitions.put(if value.is_some() { 3 } else { 2 }, 1);
            bytes += ELEMENT + value.map_or(0, |value| self.texts.put(value));
        }
        if first {
            self.repetitions.put(0, 1);
            self.definitions.put(1, 1);
        }
        bytes
    }

    /// Writes the values of a row group as pages, and forgets them. Appends the `ColumnChunk` to `metadata`.
    pub(super) fn write(&mut self, rows: usize, pages: &mut Pages<'_>, metadata: &mut Vec<u8>) -> io::Result<Sizes> {
        self.fill(rows);
        let start = pages.at;
        pages.sizes = Sizes::default();
        let values = self.definitions.count();
        let nulls = self.definitions.below(self.of.top());
        // A page of nulls is a dozen bytes.
        let codec = if nulls == values { id::UNCOMPRESSED } else { id::ZSTD };
        let dictionary = self.dictionary(codec, pages)?;
        let data = pages.at;
        let encodings = self.data(codec, pages)?;
        let sizes = pages.sizes;
        let path: &[&str] = if self.of == Type::List { &[&self.name, "list", "element"] } else { &[&self.name] };
        Struct::write(metadata, |chunk| {
            chunk.i64(2, start as i64);
            chunk.structure(3, |meta| {
                meta.i32(1, self.of.physical());
                meta.numbers(2, encodings);
                meta.texts(3, path);
                meta.i32(4, codec);
                meta.i64(5, values as i64);
                meta.i64(6, sizes.plain as i64);
                meta.i64(7, sizes.stored as i64);
                meta.i64(9, data as i64);
                if dictionary {
                    meta.i64(11, start as i64);
                }
                meta.structure(12, |statistics| self.statistics(nulls, statistics));
            });
        });
        self.clear();
        Ok(sizes)
    }

    /// Writes the dictionary page, if there is a dictionary.
    fn dictionary(&self, codec: i32, pages: &mut Pages<'_>) -> io::Result<bool> {
        let count = self.texts.ends.len();
        if count == 0 {
            return Ok(false);
        }
        pages.page.clear();
        for at in 0..count {
            plain(self.texts.get(at).as_bytes(), &mut pages.page);
        }
        pages.write(codec, id::DICTIONARY_PAGE, |header| {
            header.structure(7, |page| {
                page.i32(1, count as i32);
                page.i32(2, id::PLAIN);
            });
        })?;
        Ok(true)
    }

    /// Writes the data pages; their encodings.
    fn data(&self, codec: i32, pages: &mut Pages<'_>) -> io::Result<&'static [i32]> {
        if !self.is_text() {
            let encoding = if self.of == Type::Bool { id::PLAIN } else { id::DELTA_BINARY_PACKED };
            self.page(codec, encoding, 0..self.definitions.count(), pages)?;
            return Ok(if self.of == Type::Bool { &[id::PLAIN, id::RLE] } else { &[id::DELTA_BINARY_PACKED, id::RLE] });
        }
        let all = self.definitions.count();
        if self.texts.ends.is_empty() {
            self.page(codec, id::PLAIN, 0..all, pages)?;
            return Ok(&[id::PLAIN, id::RLE]);
        }
        let split = self.texts.full.unwrap_or(all);
        self.page(codec, id::RLE_DICTIONARY, 0..split, pages)?;
        if split < all {
            self.page(codec, id::PLAIN, split..all, pages)?;
        }
        Ok(&[id::PLAIN, id::RLE, id::RLE_DICTIONARY])
    }

    /// Writes a page with these levels.
    fn page(&self, codec: i32, encoding: i32, levels: std::ops::Range<usize>, pages: &mut Pages<'_>) -> io::Result<()> {
        let count = levels.len();
        pages.page.clear();
        if self.of == Type::List {
            self.repetitions.write(1, levels.clone(), &mut pages.page);
        }
        if self.presence == Presence::Optional {
            self.definitions.write(if self.of == Type::List { 2 } else { 1 }, levels, &mut pages.page);
        }
        match encoding {
            id::DELTA_BINARY_PACKED => delta(&self.ints, &mut pages.page),
            id::RLE_DICTIONARY => self.texts.indices(&mut pages.page),
            _ if self.of == Type::Bool => bits(&self.bools, &mut pages.page),
            _ => pages.page.extend_from_slice(&self.texts.plain),
        }
        pages.write(codec, id::DATA_PAGE, |header| {
            header.structure(5, |page| {
                page.i32(1, count as i32);
                page.i32(2, encoding);
                page.i32(3, id::RLE);
                page.i32(4, id::RLE);
            });
        })
    }

    fn statistics(&self, nulls: usize, out: &mut Struct<'_>) {
        out.i64(3, nulls as i64);
        match self.of {
            Type::Time | Type::Int => self.bounds(|value| value, out),
            Type::Uint => self.bounds(|value| value as u64, out),
            Type::Bool | Type::List => {}
            Type::Text => self.texts.bounds(out),
        }
    }

    fn bounds<K: Ord>(&self, key: impl Fn(i64) -> K, out: &mut Struct<'_>) {
        let (Some(most), Some(least)) =
            (self.ints.iter().max_by_key(|n| key(**n)), self.ints.iter().min_by_key(|n| key(**n)))
        else {
            return;
        };
        out.binary(5, &most.to_le_bytes());
        out.binary(6, &least.to_le_bytes());
    }

    fn is_text(&self) -> bool {
        matches!(self.of, Type::Text | Type::List)
    }

    fn clear(&mut self) {
        self.rows = 0;
        self.definitions.clear();
        self.repetitions.clear();
        self.ints.clear();
        self.bools.clear();
        self.texts.clear();
    }
}

/// Levels, as runs of equal ones.
#[derive(Debug, Default)]
struct Runs(Vec<(u8, usize)>);

impl Runs {
    fn put(&mut self, level: u8, count: usize) {
        match self.0.last_mut() {
            Some((last, times)) if *last == level => *times += count,
            _ => self.0.push((level, count)),
        }
    }

    fn count(&self) -> usize {
        self.0.iter().map(|(_, count)| count).sum()
    }

    fn below(&self, top: u8) -> usize {
        self.0.iter().filter(|(level, _)| *level < top).map(|(_, count)| count).sum()
    }

    /// Appends the levels in `range`, with the length in bytes before them.
    fn write(&self, width: u32, range: std::ops::Range<usize>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut levels = Hybrid::new(width, out);
        let mut at = 0;
        for (level, count) in &self.0 {
            let some = (at + count).min(range.end).saturating_sub(at.max(range.start));
            if some > 0 {
                levels.put((*level).into(), some);
            }
            at += count;
        }
        levels.finish();
        let bytes = (out.len() - start - 4) as u32;
        if let Some(length) = out.get_mut(start..start + 4) {
            length.copy_from_slice(&bytes.to_le_bytes());
        }
    }

    fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(limits::SCRATCH / size_of::<(u8, usize)>());
    }
}

/// Texts: a dictionary and indices into it. Once the dictionary is full, whole texts.
#[derive(Debug, Default)]
struct Texts {
    known: HashMap<Box<str>, u32>,
    /// The dictionary, one text after another, and where each ends.
    bytes: String,
    ends: Vec<usize>,
    indices: Vec<u32>,
    /// The number of levels before those of `plain`.
    full: Option<usize>,
    plain: Vec<u8>,
    least: Option<Box<str>>,
    most: Option<Box<str>>,
}

impl Texts {
    fn get(&self, at: usize) -> &str {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        self.ends.get(at).and_then(|end| self.bytes.get(start..*end)).unwrap_or_default()
    }

    /// Adds the last text once more, if it is this one.
    fn same(&mut self, text: &[u8]) -> bool {
        let Some(last) = self.indices.last().copied().filter(|_| self.full.is_none()) else { return false };
        let same = self.get(last as usize).as_bytes() == text;
        if same {
            self.indices.push(last);
        }
        same
    }

    /// Before a row with texts: whether the dictionary has room for one of `len` bytes. It changes between rows only,
    /// because a page begins with a row.
    fn begin(&mut self, len: usize, before: &Runs) {
        let (count, bytes) = limits::PARQUET_DICTIONARY;
        if self.full.is_none() && (self.ends.len() >= count || self.bytes.len() + len > bytes) {
            self.full = Some(before.count());
        }
    }

    fn put(&mut self, text: &str) -> usize {
        if self.full.is_some() {
            self.bound(text);
            plain(text.as_bytes(), &mut self.plain);
            return text.len() + 4;
        }
        if let Some(index) = self.known.get(text) {
            self.indices.push(*index);
            return 0;
        }
        self.learn(text)
    }

    fn learn(&mut self, text: &str) -> usize {
        let index = self.ends.len() as u32;
        self.bound(text);
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
        self.known.insert(text.into(), index);
        self.indices.push(index);
        2 * text.len() + ENTRY
    }

    fn bound(&mut self, text: &str) {
        if self.least.as_deref().is_none_or(|least| text < least) {
            self.least = Some(text.into());
        }
        if self.most.as_deref().is_none_or(|most| text > most) {
            self.most = Some(text.into());
        }
    }

    fn indices(&self, out: &mut Vec<u8>) {
        let most = self.ends.len().saturating_sub(1) as u32;
        let width = (u32::BITS - most.leading_zeros()).max(1);
        out.push(width as u8);
        let mut indices = Hybrid::new(width, out);
        self.indices.iter().for_each(|index| indices.put(*index, 1));
        indices.finish();
    }

    /// The bounds, if they are short enough. A long least one is cut, which makes it a lower bound.
    fn bounds(&self, out: &mut Struct<'_>) {
        let (Some(least), Some(most)) = (&self.least, &self.most) else { return };
        let whole = |text: &str| text.len() <= limits::PARQUET_BOUND;
        if whole(most) {
            out.binary(5, most.as_bytes());
        }
        let cut = least.floor_char_boundary(limits::PARQUET_BOUND);
        out.binary(6, least.get(..cut).unwrap_or_default().as_bytes());
        if whole(most) {
            out.bool(7, true);
        }
        out.bool(8, whole(least));
    }

    fn clear(&mut self) {
        *self = Texts {
            known: std::mem::take(&mut self.known),
            bytes: std::mem::take(&mut self.bytes),
            ends: std::mem::take(&mut self.ends),
            indices: std::mem::take(&mut self.indices),
            ..Texts::default()
        };
        self.known.clear();
        self.bytes.clear();
        self.ends.clear();
        self.indices.clear();
    }
}

/// Appends a text as it stands in a page (`PLAIN`).
fn plain(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text);
}

/// Bytes of pages with their headers, before and after compression.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    pub(super) plain: u64,
    pub(super) stored: u64,
}

/// Writes pages.
pub(super) struct Pages<'w> {
    out: BufWriter<Box<dyn Write + 'w>>,
    zstd: zstd::bulk::Compressor<'static>,
    /// Bytes that were written.
    pub(super) at: u64,
    sizes: Sizes,
    /// The page that is being made, its header, and the page compressed.
    page: Vec<u8>,
    header: Vec<u8>,
    compressed: Vec<u8>,
}

impl<'w> Pages<'w> {
    pub(super) fn new(out: impl Write + 'w) -> io::Result<Pages<'w>> {
        Ok(Pages {
            out: BufWriter::with_capacity(limits::SCRATCH, Box::new(out)),
            zstd: zstd::bulk::Compressor::new(1)?,
            at: 0,
            sizes: Sizes::default(),
            page: Vec::new(),
            header: Vec::new(),
            compressed: Vec::new(),
        })
    }

    /// Writes bytes between pages.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes the page. `rest` are the fields of its header for its kind.
    fn write(&mut self, codec: i32, kind: i32, rest: impl FnOnce(&mut Struct<'_>)) -> io::Result<()> {
        self.compressed.clear();
        if codec == id::ZSTD {
            self.compressed.reserve(zstd::zstd_safe::compress_bound(self.page.len()));
            self.zstd.compress_to_buffer(&self.page, &mut self.compressed)?;
        }
        let stored = if codec == id::ZSTD { &self.compressed } else { &self.page };
        self.header.clear();
        Struct::write(&mut self.header, |header| {
            header.i32(1, kind);
            header.i32(2, self.page.len() as i32);
            header.i32(3, stored.len() as i32);
            header.i32(4, crc32fast::hash(stored) as i32);
            rest(header);
        });
        self.out.write_all(&self.header)?;
        self.out.write_all(stored)?;
        let (header, plain, stored) = (self.header.len() as u64, self.page.len() as u64, stored.len() as u64);
        self.at += header + stored;
        self.sizes.plain += header + plain;
        self.sizes.stored += header + stored;
        self.page.shrink_to(limits::PARQUET_TEXT);
        Ok(())
    }
}

impl std::fmt::Debug for Pages<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").field("at", &self.at).finish_non_exhaustive()
    }
}
