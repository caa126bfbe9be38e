//! Reads the columns of earlier recordings (codecs 2 and 3): the same word of all frames of a kind in a row, as differences, byte by
//! byte. New ones have [rows](super::rows).
//!
//! | bytes | what |
//! |---|---|
//! | 4 | number of frames |
//! | 4 | number of groups, at most 255 |
//! | 8 for each group | kind (2), words of the fixed part (2), number of frames (4) |
//! | 1 for each frame | its group |
//! | for each group, word and byte of a word: 1 for each frame | the byte of the difference to the word of the frame before in the group, modulo 2⁶⁴ |
//! | for each group, for each frame | what follows the fixed part, without padding |
//!
//! The first word of a frame contains its length.

use super::planes::{last, transposed};
use crate::frame::HEADER;
use zerocopy::FromBytes;

/// The maximum size of the columns of `plain` bytes of frames. Each frame has at least 96 bytes and costs one byte more.
pub(super) fn most(plain: usize) -> usize {
    8 + 255 * 8 + plain + plain / HEADER
}

/// A group while it is read.
#[derive(Debug, Default)]
struct Rows {
    words: usize,
    count: usize,
    planes: usize,
    /// The first word of each frame, which contains its length.
    lengths: Vec<u64>,
    places: Vec<usize>,
}

/// Reads columns. Its buffers are reused.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    groups: Vec<Rows>,
    /// The words of eight frames.
    rows: Vec<u64>,
    /// The words that differ between the frames of a group, with their values so far.
    changing: Vec<(usize, u64)>,
}

impl Decoder {
    /// The frames, if they have `plain` bytes and the columns are valid. `frames` must be empty.
    pub(super) fn decode(&mut self, columns: &[u8], plain: usize, frames: &mut Vec<u8>) -> Option<()> {
        let (count, rest) = u32::read_from_prefix(columns).ok()?;
        let (number, mut rest) = u32::read_from_prefix(rest).ok()?;
        let number = number.min(u8::MAX.into()) as usize;
        self.groups.resize_with(number, Rows::default);
        for group in &mut self.groups {
            let (_kind, after) = u16::read_from_prefix(rest).ok()?;
            let (words, after) = u16::read_from_prefix(after).ok()?;
            let (count, after) = u32::read_from_prefix(after).ok()?;
            (group.words, group.count) = (words.into(), count as usize);
            group.places.clear();
            rest = after;
        }
        let (order, mut rest) = rest.split_at_checked(count as usize)?;
        for group in &mut self.groups {
            let len = group.words.checked_mul(8)?.checked_mul(group.count)?;
            group.planes = columns.len() - rest.len();
            let (planes, after) = rest.split_at_checked(len)?;
            // Every frame has a length. Without words it would have none.
            let first = planes.get(..8 * group.count).filter(|_| group.words > 0 || group.count == 0)?;
            group.lengths.clear();
            let mut length = 0;
            for at in (0..group.count).step_by(8) {
                sum(first, group.count, at, &mut length, |_, value| group.lengths.push(value));
            }
            group.lengths.truncate(group.count);
            rest = after;
        }
        let mut end = 0usize;
        for group in order {
            let group = self.groups.get_mut(usize::from(*group))?;
            let length = *group.lengths.get(group.places.len())? as u32 as usize;
            if length < HEADER || length < group.words * 8 {
                return None;
            }
            group.places.push(end);
            end = end.checked_add(length)?.checked_next_multiple_of(8).filter(|end| *end <= plain)?;
        }
        if end != plain || self.groups.iter().any(|group| group.places.len() != group.count) {
            return None;
        }
        frames.resize(plain, 0);
        let Decoder { groups, rows, changing } = self;
        for group in groups.iter().filter(|group| group.count > 0) {
            let planes = columns.get(group.planes..)?.get(..8 * group.words * group.count)?;
            rest = group.write(planes, rest, rows, changing, frames)?;
        }
        rest.is_empty().then_some(())
    }
}

/// Adds up eight differences of a word, beginning at one frame. Their bytes are in eight `planes` of `count` bytes each.
/// Differences after the last frame are zeros.
fn sum(planes: &[u8], count: usize, from: usize, before: &mut u64, mut to: impl FnMut(usize, u64)) {
    let mut rows = [0; 8];
    for (row, plane) in rows.iter_mut().zip(planes.chunks_exact(count)) {
        let bytes = plane.get(from..).unwrap_or_default();
        *row = bytes.first_chunk().map_or_else(|| last(bytes), |bytes| u64::from_le_bytes(*bytes));
    }
    for (row, difference) in transposed(rows).into_iter().enumerate() {
        *before = before.wrapping_add(difference);
        to(row, *before);
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    // In chunks, so that the processor handles many bytes at once and the loop can stop early.
    bytes.chunks(128).all(|piece| piece.iter().fold(0, |any, byte| any | byte) == 0)
}

impl Rows {
    /// Writes the frames. Returns the rest of `tails`, which holds the bytes after their fixed parts.
    fn write<'a>(
        &self,
        planes: &[u8],
        mut tails: &'a [u8],
        rows: &mut Vec<u64>,
        changing: &mut Vec<(usize, u64)>,
        frames: &mut [u8],
    ) -> Option<&'a [u8]> {
        let (words, count) = (self.words, self.count);
        rows.clear();
        rows.resize(8 * words, 0);
        changing.clear();
        for (word, planes) in planes.chunks_exact(8 * count).enumerate() {
            if planes.chunks_exact(count).all(|plane| is_zero(&plane[1..])) {
                sum(planes, count, 0, &mut 0, |row, value| rows[row * words + word] = value);
            } else {
                changing.push((word, 0));
            }
        }
        for (at, places) in (0..).step_by(8).zip(self.places.chunks(8)) {
            for (word, before) in &mut *changing {
                let planes = planes.get(8 * count * *word..)?.get(..8 * count)?;
                sum(planes, count, at, before, |row, value| rows[row * words + *word] = value);
            }
            for ((place, length), row) in places.iter().zip(self.lengths.get(at..)?).zip(rows.chunks_exact(words)) {
                let frame = frames.get_mut(*place..place + *length as u32 as usize)?;
                let (fixed, tail) = frame.split_at_mut_checked(8 * words)?;
                fixed.as_chunks_mut().0.iter_mut().zip(row).for_each(|(to, word)| *to = word.to_le_bytes());
                let (text, rest) = tails.split_at_checked(tail.len())?;
                tail.copy_from_slice(text);
                tails = rest;
            }
        }
        Some(tails)
    }
}

/// The frames, if they have `plain` bytes and the columns are valid.
#[cfg(test)]
pub(super) fn decode(columns: &[u8], plain: usize) -> Option<Vec<u8>> {
    let mut frames = Vec::new();
    Decoder::default().decode(columns, plain, &mut frames)?;
    Some(frames)
}
