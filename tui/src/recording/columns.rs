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
        for byte in 0..8 {
            out.extend(differences.iter().map(|difference| (difference >> (8 * byte)) as u8));
        }
    }
}

/// A group that is read back.
struct Rows<'a> {
    words: usize,
    count: usize,
    /// The first word of each frame, then the second, and so on.
    values: Vec<u64>,
    tails: &'a [u8],
    next: usize,
}

/// The frames, if they have `plain` bytes and the columns are right.
pub(super) fn decode(columns: &[u8], plain: usize) -> Option<Vec<u8>> {
    let (count, rest) = u32::read_from_prefix(columns).ok()?;
    let (number, mut rest) = u32::read_from_prefix(rest).ok()?;
    let mut groups = Vec::new();
    for _ in 0..number.min(u8::MAX.into()) {
        let (_kind, after) = u16::read_from_prefix(rest).ok()?;
        let (words, after) = u16::read_from_prefix(after).ok()?;
        let (count, after) = u32::read_from_prefix(after).ok()?;
        groups.push(Rows { words: words.into(), count: count as usize, values: Vec::new(), tails: &[], next: 0 });
        rest = after;
    }
    let (order, mut rest) = rest.split_at_checked(count as usize)?;
    for group in &mut groups {
        let len = group.words.checked_mul(8)?.checked_mul(group.count)?;
        let (planes, after) = rest.split_at_checked(len)?;
        group.values = values(planes, group.words, group.count);
        rest = after;
    }
    for group in &mut groups {
        (group.tails, rest) = rest.split_at_checked(group.tails_len()?)?;
    }
    let mut frames = Vec::with_capacity(plain);
    for group in order {
        groups.get_mut(usize::from(*group))?.append(&mut frames, plain)?;
    }
    let whole = groups.iter().all(|group| group.next == group.count);
    (whole && rest.is_empty() && frames.len() == plain).then_some(frames)
}

/// The words whose differences are in `planes`.
fn values(planes: &[u8], words: usize, count: usize) -> Vec<u64> {
    let mut values = vec![0u64; words * count];
    if count == 0 {
        return values;
    }
    for (column, planes) in values.chunks_exact_mut(count).zip(planes.chunks_exact(8 * count)) {
        for (byte, plane) in planes.chunks_exact(count).enumerate() {
            column.iter_mut().zip(plane).for_each(|(value, part)| *value |= u64::from(*part) << (8 * byte));
        }
        let mut before = 0u64;
        for value in column {
            *value = value.wrapping_add(before);
            before = *value;
        }
    }
    values
}

impl Rows<'_> {
    /// Bytes after the fixed part of the frame in this row. `None` if the frame is shorter.
    fn tail_len(&self, row: usize) -> Option<usize> {
        let len = *self.values.get(row)? as u32 as usize;
        len.checked_sub(self.words * 8).filter(|_| len >= HEADER)
    }

    fn tails_len(&self) -> Option<usize> {
        (0..self.count).try_fold(0usize, |sum, row| sum.checked_add(self.tail_len(row)?))
    }

    /// Appends the next frame with its padding, up to `most` bytes in all.
    fn append(&mut self, frames: &mut Vec<u8>, most: usize) -> Option<()> {
        let (tail, rest) = self.tails.split_at_checked(self.tail_len(self.next)?)?;
        if self.next >= self.count || frames.len() + self.words * 8 + tail.len() > most {
            return None;
        }
        for column in self.values.chunks_exact(self.count) {
            frames.extend_from_slice(&column.get(self.next)?.to_le_bytes());
        }
        frames.extend_from_slice(tail);
        frames.resize(frames.len().next_multiple_of(8), 0);
        (self.next, self.tails) = (self.next + 1, rest);
        Some(())
    }
}
