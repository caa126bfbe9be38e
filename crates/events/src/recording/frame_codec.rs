//! Stores frames as differences to the last frame of the same kind and thread.
//!
//! The words of a header that belong to the thread are in a table of the threads of the block. The other words, and the place of the
//! thread in the table, are a row, which is stored in columns of bytes ([`super::planes`]). The payload is stored as it is, unless it is
//! what followed last time.
//!
//! Writer and reader keep the same [`Model`] of the earlier frames, through all blocks of a stream. `docs/RECORDING.md` describes the
//! bytes.

use super::planes::{put_columns, take_columns};
use crate::frame::host::FIRST_KIND;
use crate::frame::{Frames, HEADER};
use foldhash::HashMap;
use tracetui_shared::header::{FrameHeader, flag};
use zerocopy::{FromBytes, IntoBytes};

/// The word of a header with its time. Words have 8 bytes.
const TIME: usize = 3;
/// The place of the thread in a row, after the words of the header before those of the thread.
const PLACE: usize = 4;
const WORDS: usize = PLACE + 1;
/// Groups of rows: by kind, and whether they continue an event.
const GROUPS: usize = 256;
/// Places for the last rows of groups and threads, for payloads that are expected, and for the next numbers of streams of events.
const ROWS: usize = 4096;
const EXPECTED: usize = 4096;
const NUMBERS: usize = 1024;
/// The most bytes of a payload that is expected.
const PAYLOAD: usize = 512;

/// The words of a header that belong to the thread: from the start of the process to the comm.
pub(super) type Thread = [u8; HEADER - 8 * PLACE];
/// The words of it that are the ids of process and thread, and the comm.
const IDS: usize = 2;
const COMM: usize = 6;

type Row = [u64; WORDS];

/// The headers of threads, without the fields that do not belong to the thread.
pub(super) fn headers(threads: &[u8]) -> Vec<FrameHeader> {
    let header = |thread: &Thread| {
        let mut bytes = [0; HEADER];
        bytes[8 * PLACE..].copy_from_slice(thread);
        zerocopy::transmute!(bytes)
    };
    threads.as_chunks().0.iter().map(header).collect()
}

/// The most bytes of the rows and payloads of `plain` bytes of frames.
pub(super) fn most(plain: usize) -> usize {
    4 + GROUPS * WORDS + plain
}

#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    /// The number of its stream.
    stream: u64,
    row: Row,
    /// The hash of its payload.
    payload: u64,
}

/// Where the earlier frames are kept that a frame is compared with.
struct Like {
    /// The places of the last rows of its group and thread, and of its group.
    last: [usize; 2],
    /// The place of the expected payload.
    expected: usize,
}

/// What writer and reader know of the earlier frames of a stream. Its buffers are reused.
pub(super) struct Model {
    stream: u64,
    /// The last row of each group, and then those of groups and threads.
    last: Vec<Kept>,
    /// Payloads by what was before them in their group and thread, and by the comm.
    expected: Vec<(Kept, Vec<u8>)>,
    /// The next number of a stream of events, by its hash.
    numbers: [u64; NUMBERS],
    time: u64,
    /// Of this block: the rows of each group, the group of each frame, the payloads, and the places of the threads.
    groups: Vec<Vec<Row>>,
    order: Vec<u8>,
    payloads: Vec<u8>,
    places: HashMap<Thread, u64>,
}

impl Default for Model {
    fn default() -> Model {
        Model {
            stream: 0,
            last: vec![Kept::default(); GROUPS + ROWS],
            expected: vec![Default::default(); EXPECTED],
            numbers: [0; NUMBERS],
            time: 0,
            groups: vec![Vec::new(); GROUPS],
            order: Vec::new(),
            payloads: Vec::new(),
            places: HashMap::default(),
        }
    }
}

impl Model {
    /// Begins a new stream.
    pub(super) fn restart(&mut self) {
        (self.stream, self.numbers, self.time) = (self.stream + 1, [0; NUMBERS], 0);
    }

    /// Appends the threads and the rows of whole frames with zeros between them. Returns where the payloads begin.
    pub(super) fn encode(&mut self, bytes: &[u8], threads: &mut Vec<u8>, out: &mut Vec<u8>) -> usize {
        self.order.clear();
        self.payloads.clear();
        self.places.clear();
        self.groups.iter_mut().for_each(Vec::clear);
        for frame in Frames::of(bytes) {
            let (words, _) = frame.bytes.as_chunks();
            let thread: Thread = frame.bytes[8 * PLACE..].first_chunk().copied().unwrap_or([0; _]);
            let next = self.places.len() as u64;
            let place = *self.places.entry(thread).or_insert_with(|| {
                threads.extend_from_slice(&thread);
                next
            });
            let mut row = [0; WORDS];
            row.iter_mut().zip(words).for_each(|(to, word)| *to = u64::from_le_bytes(*word));
            let (group, time) = (group_of(row[0]), row[TIME]);
            let like = self.like(group, &thread);
            let expected = self.expected_at(&like, row[0], &time);
            let is_expected = expected == Some(frame.payload);
            row[PLACE] = place << 1 | u64::from(is_expected);
            let differences = self.row::<false>(&like, &row);
            if !is_expected {
                self.payloads.extend_from_slice(frame.payload);
                self.keep_payload(&like, frame.payload);
            }
            self.order.push(group);
            self.groups[usize::from(group)].push(differences);
        }
        out.extend_from_slice(&(self.order.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.order);
        self.groups.iter().for_each(|rows| put_columns(rows, out));
        let payloads = out.len();
        out.extend_from_slice(&self.payloads);
        payloads
    }

    fn like(&self, group: u8, thread: &Thread) -> Like {
        let word = |at: usize| thread.as_chunks().0.get(at).map_or(0, |word| u64::from_le_bytes(*word));
        let last = GROUPS + hash(word(IDS) ^ u64::from(group) << 56) % ROWS;
        let before = Some(&self.last[last]).filter(|kept| kept.stream == self.stream).map_or(0, |kept| kept.payload);
        let expected = [word(COMM), word(COMM + 1), u64::from(group)].into_iter().fold(before, mixed);
        Like { last: [last, group.into()], expected: hash(expected) % EXPECTED }
    }

    /// The payload that is expected after a header with this first word and time.
    fn expected_at<'a>(&'a self, like: &Like, first: u64, time: &'a u64) -> Option<&'a [u8]> {
        if is_time(first) {
            return Some(time.as_bytes());
        }
        let (kept, payload) = &self.expected[like.expected];
        (kept.stream == self.stream).then_some(payload)
    }

    /// Keeps a payload that was not expected.
    fn keep_payload(&mut self, like: &Like, payload: &[u8]) {
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let hash = payload.chunks(8).map(word).fold(1, mixed);
        like.last.into_iter().for_each(|at| self.last[at].payload = hash);
        let (kept, known) = &mut self.expected[like.expected];
        known.clear();
        kept.payload = hash;
        match payload.len() <= PAYLOAD {
            true => known.extend_from_slice(payload),
            false => kept.stream = 0,
        }
    }

    /// The differences of a row, or the row of these differences. Keeps the row.
    fn row<const READS: bool>(&mut self, like: &Like, from: &Row) -> Row {
        let expected = Some(&self.expected[like.expected].0).filter(|_| from[PLACE] & 1 == 1);
        let mut all = expected.into_iter().chain(like.last.iter().map(|at| &self.last[*at]));
        let base = all.find(|kept| kept.stream == self.stream).map_or([0; WORDS], |kept| kept.row);
        let mut to = *from;
        let mut number = |at: usize, expected: u64| {
            to[at] = match READS {
                true => expected.wrapping_add(unfolded(from[at])),
                false => folded(from[at].wrapping_sub(expected)),
            };
            if READS { to[at] } else { from[at] }
        };
        let first = number(0, base[0]);
        let (of_probe, flags) = (kind_of(first) < FIRST_KIND, flags_of(first));
        let stream = if READS { from[1] ^ base[1] } else { from[1] };
        let next = &mut self.numbers[hash(stream ^ u64::from(flags & flag::BOOKKEEPING) << 31) % NUMBERS];
        let again = u64::from(flags & flag::CONTINUES != 0);
        let seq = number(2, if of_probe { next.wrapping_sub(again) } else { base[2] });
        if of_probe {
            *next = seq.wrapping_add(1);
        }
        let is_timed = of_probe || is_time(first);
        let time = number(TIME, if is_timed { self.time } else { base[TIME] });
        if is_timed {
            self.time = time;
        }
        to[1] = from[1] ^ base[1];
        let (kept, known) = &mut self.expected[like.expected];
        // A reader that begins at this stream does not know the earlier ones.
        if kept.stream != self.stream {
            kept.payload = 0;
            known.clear();
        }
        *kept = Kept { stream: self.stream, row: if READS { to } else { *from }, ..*kept };
        like.last.into_iter().for_each(|at| self.last[at] = *kept);
        to
    }

    /// The frames, if they have `plain` bytes and the rows are valid. `frames` must be empty. After an error, only a new stream can be
    /// read.
    pub(super) fn decode(&mut self, threads: &[u8], rows: &[u8], plain: usize, frames: &mut Vec<u8>) -> Option<()> {
        let (count, rest) = u32::read_from_prefix(rows).ok()?;
        let count = Some(count as usize).filter(|count| *count <= plain / HEADER)?;
        let (order, mut rest) = rest.split_at_checked(count)?;
        let mut counts = [0; GROUPS];
        order.iter().for_each(|group| counts[usize::from(*group)] += 1);
        for (group, count) in self.groups.iter_mut().zip(counts) {
            take_columns(&mut rest, count, group)?;
        }
        frames.resize(plain, 0);
        let mut left = &mut frames[..];
        let (mut taken, threads) = ([0; GROUPS], threads.as_chunks().0);
        for group in order {
            let at = &mut taken[usize::from(*group)];
            let differences = *self.groups[usize::from(*group)].get(*at)?;
            *at += 1;
            let thread = threads.get(usize::try_from(differences[PLACE] >> 1).ok()?)?;
            let (like, is_expected) = (self.like(*group, thread), differences[PLACE] & 1 == 1);
            let is_known = self.expected[like.expected].0.stream == self.stream;
            let row = self.row::<true>(&like, &differences);
            let length = row[0] as u32 as usize;
            let payload = length.checked_sub(HEADER)?;
            let frame = left.split_off_mut(..length.checked_next_multiple_of(8)?)?;
            let (header, to) = frame[..length].split_at_mut(HEADER);
            let (own, of_thread) = header.split_at_mut(8 * PLACE);
            own.copy_from_slice(row[..PLACE].as_bytes());
            of_thread.copy_from_slice(thread);
            if is_expected {
                let known = self.expected_at(&like, row[0], &row[TIME]).filter(|_| is_known || is_time(row[0]))?;
                to.copy_from_slice(Some(known).filter(|known| known.len() == payload)?);
            } else {
                to.copy_from_slice(rest.split_off(..payload)?);
                self.keep_payload(&like, to);
            }
        }
        (left.is_empty() && rest.is_empty()).then_some(())
    }
}

/// Whether the payload of a frame with this first word is expected to be its time: those of reads of the ring are.
fn is_time(first: u64) -> bool {
    kind_of(first) >= FIRST_KIND && first as u32 as usize == HEADER + 8
}

fn kind_of(first: u64) -> u16 {
    (first >> 32) as u16
}

fn flags_of(first: u64) -> u16 {
    (first >> 48) as u16
}

fn group_of(first: u64) -> u8 {
    kind_of(first) as u8 & 127 | u8::from(flags_of(first) & flag::CONTINUES != 0) << 7
}

fn mixed(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

fn hash(word: u64) -> usize {
    (mixed(0, word) >> 32) as usize
}

/// A difference, so that small negative ones are small numbers too.
fn folded(difference: u64) -> u64 {
    difference << 1 ^ ((difference as i64) >> 63) as u64
}

fn unfolded(word: u64) -> u64 {
    word >> 1 ^ (word & 1).wrapping_neg()
}
