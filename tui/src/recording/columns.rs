//! The bytes of frames in another order: the words of all frames of a kind below each other, as differences, byte by byte.
//! Compressed, an event takes a third of the bytes that it takes in its own order (a storm of opens: 1.9 bytes, not 6.2; a
//! build: 8.9, not 15).
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

use crate::frame::host::Layout;
use crate::frame::{FrameRef, HEADER};
use tracetui_shared::header::flag;
use zerocopy::FromBytes;

/// Most bytes of columns of `plain` bytes of frames. Each frame has 96 bytes at least and costs one byte more.
pub(super) fn most(plain: usize) -> usize {
    8 + 255 * 8 + plain + plain / HEADER
}

/// Frames of the same shape.
struct Group<'a> {
    kind: u16,
    continues: bool,
    words: usize,
    frames: Vec<&'a [u8]>,
}

/// Appends the columns of frames; `false` if they are not whole frames with zeros between, or of too many kinds.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut order = Vec::new();
    let mut rest = bytes;
    while let Some((frame, after)) = FrameRef::first(rest) {
        let padding = rest.get(frame.bytes.len()..rest.len() - after.len()).unwrap_or_default();
        if padding.iter().any(|byte| *byte != 0) || rest.len() - after.len() != frame.bytes.len().next_multiple_of(8) {
            return false;
        }
        let Some(group) = group_of(&frame, &mut groups) else { return false };
        order.push(group);
        rest = after;
    }
    if !rest.is_empty() {
        return false;
    }
    out.extend_from_slice(&(order.len() as u32).to_le_bytes());
    out.extend_from_slice(&(groups.len() as u32).to_le_bytes());
    for group in &groups {
        out.extend_from_slice(&group.kind.to_le_bytes());
        out.extend_from_slice(&(group.words as u16).to_le_bytes());
        out.extend_from_slice(&(group.frames.len() as u32).to_le_bytes());
    }
    out.extend_from_slice(&order);
    groups.iter().for_each(|group| planes(group, out));
    for group in &groups {
        group.frames.iter().for_each(|frame| out.extend_from_slice(&frame[group.words * 8..]));
    }
    true
}

/// Adds a frame to its group; the number of the group. `None` if there are too many groups.
fn group_of<'a>(frame: &FrameRef<'a>, groups: &mut Vec<Group<'a>>) -> Option<u8> {
    let (kind, continues) = (frame.header.kind, frame.header.has(flag::CONTINUES));
    let fixed = if continues { HEADER } else { HEADER + Layout::fixed_of_own(kind) };
    let words = fixed / 8;
    // A frame that ends early is in a group of its own shape.
    let words = if frame.bytes.len() < words * 8 { HEADER / 8 } else { words };
    let same = |group: &Group<'_>| group.kind == kind && group.continues == continues && group.words == words;
    let at = groups.iter().position(same).unwrap_or_else(|| {
        groups.push(Group { kind, continues, words, frames: Vec::new() });
        groups.len() - 1
    });
    groups.get_mut(at)?.frames.push(frame.bytes);
    u8::try_from(at).ok().filter(|at| *at < u8::MAX)
}

fn planes(group: &Group<'_>, out: &mut Vec<u8>) {
    let mut differences = Vec::with_capacity(group.frames.len());
    for word in 0..group.words {
        let mut before = 0u64;
        differences.clear();
        differences.extend(group.frames.iter().map(|frame| {
            let value = u64::read_from_prefix(&frame[word * 8..]).map_or(0, |(value, _)| value);
            value.wrapping_sub(std::mem::replace(&mut before, value))
        }));
        let any = differences.iter().fold(0, |any, difference| any | difference);
        for byte in 0..8 {
            // Most of them are zeros.
            match (any >> (8 * byte)) as u8 {
                0 => out.resize(out.len() + differences.len(), 0),
                _ => out.extend(differences.iter().map(|difference| (difference >> (8 * byte)) as u8)),
            }
        }
    }
}

/// A group that is read back.
#[derive(Debug, Default)]
struct Rows {
    words: usize,
    count: usize,
    /// Where its planes begin.
    planes: usize,
    /// The first word of each frame, which contains its length.
    lengths: Vec<u64>,
    /// Where each frame begins.
    places: Vec<usize>,
}

/// Reads columns. Its buffers are reused.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    groups: Vec<Rows>,
    values: Vec<u64>,
}

impl Decoder {
    /// The frames, if they have `plain` bytes and the columns are right. `frames` is empty before.
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
            // A frame has a length; without words it would have none.
            let first = planes.get(..8 * group.count).filter(|_| group.words > 0 || group.count == 0)?;
            values(first, group.count, &mut group.lengths);
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
        for group in &self.groups {
            rest = group.write_tails(rest, frames)?;
        }
        for group in self.groups.iter().filter(|group| group.count > 0) {
            let planes = columns.get(group.planes..)?;
            for (word, planes) in planes.chunks_exact(8 * group.count).take(group.words).enumerate() {
                // The frames are zeros so far, and many words are.
                if is_zero(planes) {
                    continue;
                }
                values(planes, group.count, &mut self.values);
                for (place, value) in group.places.iter().zip(&self.values) {
                    let at = place + 8 * word;
                    frames.get_mut(at..at + 8)?.copy_from_slice(&value.to_le_bytes());
                }
            }
        }
        rest.is_empty().then_some(())
    }
}

/// The words whose differences are in the eight `planes` of a column.
fn values(planes: &[u8], count: usize, values: &mut Vec<u64>) {
    values.clear();
    values.resize(count, 0);
    if count == 0 {
        return;
    }
    for (byte, plane) in planes.chunks_exact(count).enumerate() {
        let Some((first, later)) = plane.split_first() else { return };
        values[0] |= u64::from(*first) << (8 * byte);
        if !is_zero(later) {
            values[1..].iter_mut().zip(later).for_each(|(value, part)| *value |= u64::from(*part) << (8 * byte));
        }
    }
    let mut before = 0u64;
    for value in values {
        *value = value.wrapping_add(before);
        before = *value;
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    // In pieces, so that the processor takes many bytes at once, and stops early.
    bytes.chunks(128).all(|piece| piece.iter().fold(0, |any, byte| any | byte) == 0)
}

impl Rows {
    /// Writes what follows the fixed parts; what is left of `tails`.
    fn write_tails<'a>(&self, mut tails: &'a [u8], frames: &mut [u8]) -> Option<&'a [u8]> {
        for (place, length) in self.places.iter().zip(&self.lengths) {
            let (from, to) = (place + self.words * 8, place + *length as u32 as usize);
            let (tail, rest) = tails.split_at_checked(to - from)?;
            frames.get_mut(from..to)?.copy_from_slice(tail);
            tails = rest;
        }
        Some(tails)
    }
}

/// The frames, if they have `plain` bytes and the columns are right.
#[cfg(test)]
pub(super) fn decode(columns: &[u8], plain: usize) -> Option<Vec<u8>> {
    let mut frames = Vec::new();
    Decoder::default().decode(columns, plain, &mut frames)?;
    Some(frames)
}
