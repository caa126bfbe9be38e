//! The [encodings](https://parquet.apache.org/docs/file-format/data-pages/encodings/) of Parquet that are used here.

use super::thrift::{varint, zigzag};

/// Values in a group of the hybrid encoding.
const GROUP: usize = 8;

/// The hybrid of run lengths and bit packing (`RLE`): levels, and indices into a dictionary.
#[derive(Debug)]
pub(super) struct Hybrid<'a> {
    width: u32,
    /// The value that may still repeat, and how often it came.
    run: (u32, usize),
    /// Values that are packed. Whole groups of 8, except before the end.
    packed: Vec<u32>,
    out: &'a mut Vec<u8>,
}

impl<'a> Hybrid<'a> {
    /// Appends to `out`. The values have at most `width` bits.
    pub(super) fn new(width: u32, out: &'a mut Vec<u8>) -> Hybrid<'a> {
        Hybrid { width, run: (0, 0), packed: Vec::new(), out }
    }

    /// Adds a value `count` times.
    pub(super) fn put(&mut self, value: u32, count: usize) {
        if self.run.0 == value {
            self.run.1 += count;
        } else {
            self.end_run();
            self.run = (value, count);
        }
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) {
        self.end_run();
        self.end_packed();
    }

    fn end_run(&mut self) {
        let (value, mut count) = self.run;
        let fill = (GROUP - self.packed.len() % GROUP) % GROUP;
        let some = if count - fill.min(count) < GROUP { count } else { fill };
        self.packed.extend(std::iter::repeat_n(value, some));
        count -= some;
        if count > 0 {
            self.end_packed();
            varint((count as u64) << 1, self.out);
            let bytes = self.width.div_ceil(8) as usize;
            self.out.extend(value.to_le_bytes().into_iter().take(bytes));
        }
    }

    fn end_packed(&mut self) {
        if self.packed.is_empty() {
            return;
        }
        let groups = self.packed.len().div_ceil(GROUP);
        self.packed.resize(groups * GROUP, 0);
        varint((groups as u64) << 1 | 1, self.out);
        pack(self.packed.iter().map(|value| u64::from(*value)), self.width, self.out);
        self.packed.clear();
    }
}

/// Values in a block of [`delta`], and in each of its parts.
const BLOCK: usize = 128;
const PART: usize = 32;

/// Appends integers as differences (`DELTA_BINARY_PACKED`).
pub(super) fn delta(values: &[i64], out: &mut Vec<u8>) {
    for number in [BLOCK, BLOCK / PART, values.len()] {
        varint(number as u64, out);
    }
    varint(zigzag(values.first().copied().unwrap_or_default()), out);
    let mut deltas = [0i64; BLOCK];
    for block in values.get(1..).unwrap_or_default().chunks(BLOCK).enumerate() {
        let (number, block) = block;
        // The value before the first one of the block.
        let mut last = values.get(number * BLOCK).copied().unwrap_or_default();
        for (delta, value) in deltas.iter_mut().zip(block) {
            *delta = value.wrapping_sub(last);
            last = *value;
        }
        delta_block(deltas.get(..block.len()).unwrap_or_default(), out);
    }
}

fn delta_block(deltas: &[i64], out: &mut Vec<u8>) {
    let least = deltas.iter().copied().min().unwrap_or_default();
    varint(zigzag(least), out);
    let above = |delta: &i64| delta.wrapping_sub(least) as u64;
    let width = |part: &[i64]| u64::BITS - part.iter().map(above).fold(0, |all, bits| all | bits).leading_zeros();
    let widths = out.len();
    out.resize(widths + BLOCK / PART, 0);
    for (number, part) in deltas.chunks(PART).enumerate() {
        let width = width(part);
        if let Some(place) = out.get_mut(widths + number) {
            *place = width as u8;
        }
        let rest = std::iter::repeat_n(0, PART - part.len());
        pack(part.iter().map(above).chain(rest), width, out);
    }
}

/// Appends the lowest `width` bits of each value, the first value in the lowest bits.
fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u128, 0);
    for value in values {
        bits |= u128::from(value) << held;
        held += width;
        if held >= u64::BITS {
            out.extend_from_slice(&(bits as u64).to_le_bytes());
            bits >>= u64::BITS;
            held -= u64::BITS;
        }
    }
    out.extend(bits.to_le_bytes().into_iter().take(held.div_ceil(8) as usize));
}

/// Appends yes and no as bits (`PLAIN`).
pub(super) fn bits(values: &[bool], out: &mut Vec<u8>) {
    pack(values.iter().map(|value| u64::from(*value)), 1, out);
}
