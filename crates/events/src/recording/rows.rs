//! Stores frames as differences to earlier frames of the same thread.
//!
//! A frame is a row of 8-byte words and a tail. Eight of the words are those of its thread: they are stored as a place in the list of
//! the threads seen last. The others are differences to the thread's last frame of the same shape, or to what other words suggest
//! ([`Model::row`]). The differences are stored in columns of bytes, without the columns of zeros. The names of an opened file are
//! stored only as far as they are not in the path that was passed, and neither is stored if it is what followed last time.
//!
//! Writer and reader keep the same [`Model`] of the earlier frames, through all blocks of a stream. `docs/RECORDING.md` describes the
//! bytes.

use super::differs::Differs;
use super::planes::{WORDS, last, pass_columns, put_columns, take_columns};
use crate::frame::host::{FIRST_KIND, Layout};
use crate::frame::{FrameRef, HEADER};
use tracetui_shared::header::flag;
use tracetui_shared::kind::Kind;
use zerocopy::FromBytes;

/// The most threads in the list. The one not seen for longest is dropped.
const THREADS: usize = 126;
/// The code of a thread that is not in the list.
const NEW: u8 = 127;
/// Added to the code of a thread whose words have changed.
const CHANGED: u8 = 128;
/// The words of a header that belong to the thread.
const THREAD: std::ops::Range<usize> = 4..HEADER / 8;
/// The number of words of the header before them.
const OWN: usize = THREAD.start;
/// The most groups.
const GROUPS: usize = 64;
/// The words of a frame whose payload is one word, such as the one after each read of the ring.
const SHORT: usize = HEADER / 8 + 1;
/// The code of an open whose tail is stored as it is.
const RAW: u8 = u8::MAX;
/// The code of an open with the tail of the expected one.
const EXPECTED: u8 = u8::MAX - 1;
/// The code of an open whose names share nothing with its path.
const APART: u8 = u8::MAX - 2;
/// Streams of events whose next number is expected.
const NUMBERS: usize = 1024;
/// Opens that are remembered, and the most bytes of the stored tail of each.
const OPENS: usize = 4096;
const OPEN_TAIL: usize = 512;

/// How a word of an open differs from the expected one, from [`OWN`] on: the result and the directory are two numbers, the others
/// flags and short lengths.
const OF_OPEN: [Differs; open::WORDS - OWN] =
    [Differs::Halves, Differs::Bits, Differs::Bits, Differs::Bits, Differs::Bits];
/// How the words of a thread differ: two 64-bit numbers, then pairs of ids, then the comm.
const OF_THREAD: [Differs; THREAD.end - THREAD.start] = {
    use Differs::{Bits, Halves, Number};
    [Number, Number, Halves, Halves, Halves, Halves, Bits, Bits]
};

/// The lower half of a word.
const LOW: u64 = u32::MAX as u64;

/// The words that belong to a thread: from the start of the process to the comm.
type Thread = [u64; THREAD.end - THREAD.start];

/// The most bytes that frames of `plain` bytes take. Each frame has at least 96 bytes and costs three more.
pub(super) fn most(plain: usize) -> usize {
    16 + GROUPS * (8 + WORDS) + plain + plain / 32
}

/// Frames of the same shape.
#[derive(Debug, Default)]
struct Group {
    kind: u16,
    continues: bool,
    /// Words of a row, without those of the thread.
    words: usize,
    /// Bit n: whether the thread at place n has a row.
    known: u128,
    /// The last row, and then the last row of each thread.
    last: Vec<u64>,
    /// In this block: the differences of all rows, and the bytes after the rows.
    rows: Vec<u64>,
    tails: Vec<u8>,
}

impl Group {
    fn new(kind: u16, continues: bool, words: usize) -> Group {
        Group { kind, continues, words, last: vec![0; words], ..Group::default() }
    }

    /// Bytes of a frame without its tail.
    fn fixed(&self) -> usize {
        (self.words + THREAD.len()) * 8
    }

    fn is_open(&self) -> bool {
        self.kind == Kind::Open as u16 && self.words >= open::WORDS
    }

    fn is_fork(&self) -> bool {
        self.kind == Kind::Fork as u16 && self.words == fork::WORDS
    }

    /// Where `last` has the row that the next row of a thread resembles.
    fn base(&self, place: usize) -> usize {
        if self.known >> place & 1 == 1 { (place + 1) * self.words } else { 0 }
    }

    fn keep(&mut self, place: usize, row: &[u64]) {
        let at = (place + 1) * self.words;
        if self.last.len() < at + self.words {
            self.last.resize(at + self.words, 0);
        }
        self.last[at..at + self.words].copy_from_slice(row);
        self.last[..self.words].copy_from_slice(row);
        self.known |= 1 << place;
    }
}

/// Places of words in a row of `open` ([`tracetui_shared::record::open::OpenRecord`]).
mod open {
    pub(super) const WORDS: usize = super::OWN + 5;
    /// Its bits from 32 on: the length of the names.
    pub(super) const NAMES: usize = super::OWN + 3;
    /// Its lowest 16 bits: the length of the path.
    pub(super) const PATH: usize = super::OWN + 4;
}

/// Places of words in a row of `fork` ([`tracetui_shared::record::fork::ForkRecord`]).
mod fork {
    pub(super) const WORDS: usize = super::OWN + 4;
    pub(super) const CHILD: usize = super::OWN;
    pub(super) const START: usize = super::OWN + 1;
    pub(super) const PARENT: usize = super::OWN + 2;
    pub(super) const PARENT_START: usize = super::OWN + 3;
}

/// An open as it is stored.
#[derive(Debug, Default)]
struct Opened {
    code: u8,
    row: [u64; open::WORDS],
    tail: Vec<u8>,
    hash: u32,
}

/// What writer and reader know of the earlier frames of a stream. Its buffers are reused.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Whether all words are stored as [`Differs::Number`], as in early files.
    pub(super) early: bool,
    groups: Vec<Group>,
    threads: Vec<Thread>,
    /// The places of the threads, that of the last frame first.
    recent: Vec<u8>,
    /// The next number of a stream of events, by its hash.
    numbers: Vec<u64>,
    time: u64,
    /// Opens by what came before them, and for each thread the hash of its last open.
    opens: Vec<Opened>,
    opens_kept: bool,
    before: Vec<u32>,
    /// Of this block: the group of each frame, the code of its thread, the differences of changed threads, and the code of each open.
    order: Vec<u8>,
    codes: Vec<u8>,
    changes: Vec<u64>,
    shared: Vec<u8>,
    /// The row that is written or read.
    row: Vec<u64>,
}

impl Model {
    /// Begins a new stream.
    pub(super) fn restart(&mut self) {
        self.groups.clear();
        self.threads.clear();
        self.recent.clear();
        self.numbers.clear();
        self.numbers.resize(NUMBERS, 0);
        self.time = 0;
        self.before.resize(THREADS, 0);
        self.opens.resize_with(OPENS, Opened::default);
        // Hostile files begin a stream with every block.
        if std::mem::take(&mut self.opens_kept) {
            self.opens.iter_mut().for_each(|open| open.tail.clear());
        }
    }

    fn begin_block(&mut self) {
        self.order.clear();
        self.codes.clear();
        self.changes.clear();
        self.shared.clear();
        for group in &mut self.groups {
            group.rows.clear();
            group.tails.clear();
        }
    }

    /// Appends the rows of frames. Returns the length of `out` up to the tails, or `None` if the bytes are not whole frames with zeros
    /// between them, or if there are too many groups. The stream then ends.
    pub(super) fn encode(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        self.begin_block();
        let known = self.groups.len();
        let mut rest = bytes;
        while let Some((frame, after)) = FrameRef::first(rest) {
            let padding = rest.get(frame.bytes.len()..rest.len() - after.len()).unwrap_or_default();
            let padded = rest.len() - after.len() == frame.bytes.len().next_multiple_of(8);
            if !padded || padding.iter().any(|byte| *byte != 0) || self.add(&frame).is_none() {
                return None;
            }
            rest = after;
        }
        if !rest.is_empty() {
            return None;
        }
        out.extend_from_slice(&(self.order.len() as u32).to_le_bytes());
        out.extend_from_slice(&((self.groups.len() - known) as u32).to_le_bytes());
        for group in &self.groups[known..] {
            out.extend_from_slice(&group.kind.to_le_bytes());
            out.extend_from_slice(&(group.words as u16).to_le_bytes());
        }
        for group in &self.groups {
            out.extend_from_slice(&(group.tails.len() as u32).to_le_bytes());
        }
        for part in [&self.order, &self.codes, &self.shared] {
            out.extend_from_slice(part);
        }
        put_columns(&self.changes, THREAD.len(), out);
        self.groups.iter().for_each(|group| put_columns(&group.rows, group.words, out));
        let columns = out.len();
        self.groups.iter().for_each(|group| out.extend_from_slice(&group.tails));
        Some(columns)
    }

    /// Adds a frame to the block that is written.
    fn add(&mut self, frame: &FrameRef<'_>) -> Option<()> {
        let at = self.group_of(frame)?;
        let fixed = self.groups[at].fixed();
        let (words, tail) = frame.bytes.split_at_checked(fixed)?;
        let words = words.as_chunks().0;
        let thread = std::array::from_fn(|word| u64::from_le_bytes(words[OWN + word]));
        let place = self.thread(&thread);
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        row.extend(words[..OWN].iter().chain(&words[THREAD.end..]).map(|word| u64::from_le_bytes(*word)));
        row[0] -= fixed as u64;
        let group = &mut self.groups[at];
        let (from, start) = (group.rows.len(), group.tails.len());
        group.rows.resize(from + row.len(), 0);
        self.order.push(at as u8);
        if group.is_open() {
            let mut tails = std::mem::take(&mut group.tails);
            let (mut code, rest) = fold(&mut row, tail, &mut tails);
            let (opened, stored) = (self.opened(place, &thread), &tails[start..]);
            let known = &self.opens[opened];
            if code != RAW && known.code == code && known.tail == stored {
                code = EXPECTED;
            }
            self.shared.push(code);
            self.row::<false>(at, place, &mut row, from, Some(opened).filter(|_| code == EXPECTED));
            self.keep_open(opened, place, &row, code, stored);
            if code == EXPECTED {
                tails.truncate(start);
            }
            tails.extend_from_slice(rest);
            self.groups[at].tails = tails;
        } else {
            group.tails.extend_from_slice(tail);
            self.row::<false>(at, place, &mut row, from, None);
        }
        self.row = row;
        Some(())
    }

    /// Where `opens` has the open that is expected next of a thread.
    fn opened(&self, place: usize, thread: &Thread) -> usize {
        let [.., comm, rest] = *thread;
        hash([self.before[place].into(), comm, rest]) as usize % OPENS
    }

    /// Keeps an open, as it is stored, for the next one that is expected in the same place. Without a tail, it is that one.
    fn keep_open(&mut self, at: usize, place: usize, row: &[u64], code: u8, tail: &[u8]) {
        let open = &mut self.opens[at];
        if code == RAW || tail.len() > OPEN_TAIL {
            return;
        }
        if code != EXPECTED {
            (open.code, open.hash) = (code, hash_of(tail));
            open.tail.clear();
            open.tail.extend_from_slice(tail);
        }
        open.row.copy_from_slice(&row[..open::WORDS]);
        self.before[place] = open.hash;
        self.opens_kept = true;
    }

    /// The number of the group of a frame. `None` if there are too many.
    fn group_of(&mut self, frame: &FrameRef<'_>) -> Option<usize> {
        let (kind, continues) = (frame.header.kind, frame.header.has(flag::CONTINUES));
        let words = match frame.bytes.len() / 8 {
            _ if continues => HEADER / 8,
            SHORT if kind >= FIRST_KIND => SHORT,
            _ => HEADER / 8 + Layout::fixed_of_own(kind) / 8,
        };
        // A frame that ends early gets a group of its own shape.
        let words = if frame.bytes.len() < words * 8 || words > WORDS { HEADER / 8 } else { words };
        let words = words - THREAD.len();
        let same = |group: &Group| (group.kind, group.continues, group.words) == (kind, continues, words);
        self.groups.iter().position(same).or_else(|| {
            self.groups.push(Group::new(kind, continues, words));
            (self.groups.len() <= GROUPS).then_some(self.groups.len() - 1)
        })
    }

    /// The place of a thread, whose code is written.
    fn thread(&mut self, thread: &Thread) -> usize {
        // Process and thread id.
        let same = |place: &u8| self.threads[usize::from(*place)][2] == thread[2];
        let Some(rank) = self.recent.iter().position(same) else {
            let base = self.recent.first().map_or([0; 8], |place| self.threads[usize::from(*place)]);
            self.codes.push(NEW);
            self.changes.extend(self.changed(thread, base));
            return self.insert(0, *thread);
        };
        let place = self.move_to_front(rank);
        let known = std::mem::replace(&mut self.threads[place], *thread);
        if known == *thread {
            self.codes.push(rank as u8);
        } else {
            self.codes.push(rank as u8 | CHANGED);
            self.changes.extend(self.changed(thread, known));
        }
        place
    }

    fn of_thread(&self, at: usize) -> Differs {
        if self.early { Differs::Number } else { OF_THREAD[at] }
    }

    fn changed(&self, thread: &Thread, known: Thread) -> Thread {
        std::array::from_fn(|at| self.of_thread(at).put(thread[at], known[at]))
    }

    fn move_to_front(&mut self, rank: usize) -> usize {
        self.recent[..=rank].rotate_right(1);
        self.recent[0].into()
    }

    /// Adds a thread to the list. Returns its place.
    fn insert(&mut self, rank: usize, thread: Thread) -> usize {
        let mut place = self.threads.len();
        if place < THREADS {
            self.threads.push(thread);
        } else {
            place = self.recent.pop().map_or(0, usize::from);
            self.threads[place] = thread;
            self.groups.iter_mut().for_each(|group| group.known &= !(1 << place));
        }
        self.before[place] = 0;
        self.recent.insert(rank.min(self.recent.len()), place as u8);
        place
    }

    /// Turns a row into differences, which are stored from `from` on in its group, or the other way round. `opened` is the place of
    /// the expected open, if it is that one.
    fn row<const READS: bool>(&mut self, at: usize, place: usize, row: &mut [u64], from: usize, opened: Option<usize>) {
        let (thread, group) = (self.threads[place], &mut self.groups[at]);
        let (is_fork, at_base) = (group.is_fork(), group.base(place));
        let base = &group.last[at_base..at_base + group.words];
        let differences = &mut group.rows[from..from + row.len()];
        let of_open = if group.kind == Kind::Open as u16 && !self.early { &OF_OPEN[..] } else { &[] };
        let of_stream = if self.early { Differs::Number } else { Differs::Bits };
        let mut differing = |differs: Differs, at: usize, expected: u64| {
            if READS {
                row[at] = differs.take(differences[at], expected);
            } else {
                differences[at] = differs.put(row[at], expected);
            }
            row[at]
        };
        let first = differing(Differs::Number, 0, base[0]);
        let stream = differing(of_stream, 1, base[1]);
        let mut word = |at, expected| differing(Differs::Number, at, expected);
        let of_probe = group.kind < FIRST_KIND;
        let is_short = !of_probe && group.words == SHORT - THREAD.len();
        if of_probe {
            let flags = (first >> 48) as u16;
            let (books, again) = (flags & flag::BOOKKEEPING, flags & flag::CONTINUES != 0);
            // By slot, CPU, and whether the event is wanted.
            let number = &mut self.numbers[hash([stream ^ u64::from(books) << 31]) as usize % NUMBERS];
            *number = word(2, number.wrapping_sub(again.into())).wrapping_add(1);
        } else {
            word(2, base[2]);
        }
        let time = word(3, if of_probe || is_short { self.time } else { base[3] });
        if of_probe || is_short {
            self.time = time;
        }
        let base = match opened {
            Some(opened) if group.words == open::WORDS => &self.opens[opened].row[..],
            _ => base,
        };
        if is_fork {
            word(fork::CHILD, group.last[fork::CHILD]);
            word(fork::START, time);
            word(fork::PARENT, thread[2] & LOW);
            word(fork::PARENT_START, thread[0]);
        } else if is_short {
            word(OWN, time);
        } else {
            for (at, expected) in (0..).zip(base).skip(OWN) {
                differing(*of_open.get(at - OWN).unwrap_or(&Differs::Number), at, *expected);
            }
        }
        group.keep(place, row);
        if is_fork {
            self.insert(1, child_of(&thread, row));
        }
    }

    /// The frames, if they have `plain` bytes and the rows are valid. `frames` must be empty. After an error, only a new stream can be
    /// read.
    pub(super) fn decode(&mut self, rows: &[u8], plain: usize, frames: &mut Vec<u8>) -> Option<()> {
        self.read::<false>(rows, plain, frames, &mut Vec::new())
    }

    /// Appends the texts of the frames: the frames without opens to `frames`, and to `texts` the new texts and threads of the opens,
    /// one after another. Other opens have texts and threads of earlier ones in the stream. All blocks of a stream are read in this
    /// way, or none. Otherwise like [`decode`](Self::decode).
    pub(super) fn texts(&mut self, rows: &[u8], plain: usize, frames: &mut Vec<u8>, texts: &mut Vec<u8>) -> Option<()> {
        self.read::<true>(rows, plain, frames, texts)
    }

    fn read<const TEXTS: bool>(
        &mut self,
        rows: &[u8],
        plain: usize,
        frames: &mut Vec<u8>,
        texts: &mut Vec<u8>,
    ) -> Option<()> {
        self.begin_block();
        let (count, rest) = u32::read_from_prefix(rows).ok()?;
        let (new, mut rest) = u32::read_from_prefix(rest).ok()?;
        let (count, new) = (count as usize, new as usize);
        if count > plain / HEADER || new > GROUPS - self.groups.len() {
            return None;
        }
        for _ in 0..new {
            let (kind, after) = u16::read_from_prefix(rest).ok()?;
            let (words, after) = u16::read_from_prefix(after).ok()?;
            let words = Some(usize::from(words)).filter(|words| (OWN..=WORDS).contains(words))?;
            self.groups.push(Group::new(kind, false, words));
            rest = after;
        }
        let mut lengths = [0; GROUPS];
        for length in &mut lengths[..self.groups.len()] {
            (*length, rest) = u32::read_from_prefix(rest).ok()?;
        }
        let (order, rest) = rest.split_at_checked(count)?;
        let (codes, rest) = rest.split_at_checked(count)?;
        let mut counts = [0; GROUPS];
        for group in order {
            *counts[..self.groups.len()].get_mut(usize::from(*group))? += 1;
        }
        let groups = || self.groups.iter().zip(counts);
        if groups().map(|(group, count)| group.fixed() * count).sum::<usize>() > plain {
            return None;
        }
        let opens = groups().filter(|(group, _)| group.is_open()).map(|(_, count)| count).sum();
        let (shared, mut rest) = rest.split_at_checked(opens)?;
        let changes = codes.iter().filter(|code| **code >= NEW).count();
        take_columns(&mut rest, THREAD.len(), changes, &mut self.changes)?;
        for (group, count) in self.groups.iter_mut().zip(counts) {
            match TEXTS && group.is_open() {
                true => pass_columns(&mut rest, group.words, count)?,
                false => take_columns(&mut rest, group.words, count, &mut group.rows)?,
            }
        }
        let mut tails = [&rest[..0]; GROUPS];
        let mut room = 0;
        for ((tail, length), (group, count)) in tails.iter_mut().zip(lengths).zip(self.groups.iter().zip(counts)) {
            (*tail, rest) = rest.split_at_checked(length as usize)?;
            if TEXTS && group.is_open() {
                texts.extend_from_slice(std::mem::take(tail));
            } else {
                room += (group.fixed() + 8) * count + length as usize;
            }
        }
        frames.resize(if TEXTS { room.min(plain) } else { plain }, 0);
        let mut left = &mut frames[..];
        let (mut shared, mut changed, mut taken) = (shared.iter(), 0, [0; GROUPS]);
        let mut row = std::mem::take(&mut self.row);
        for (at, code) in order.iter().map(|at| usize::from(*at)).zip(codes) {
            let place = self.thread_of(*code, &mut changed)?;
            let (thread, is_open) = (self.threads[place], self.groups[at].is_open());
            if TEXTS && is_open {
                if *code >= NEW {
                    let [.., comm, rest] = thread.map(u64::to_le_bytes);
                    texts.extend_from_slice([comm, rest].as_flattened());
                }
                continue;
            }
            let code = if is_open { *shared.next()? } else { RAW };
            let opened = if is_open { self.opened(place, &thread) } else { 0 };
            row.clear();
            row.resize(self.groups[at].words, 0);
            self.row::<true>(at, place, &mut row, taken[at], Some(opened).filter(|_| code == EXPECTED));
            taken[at] += row.len();
            let mut stored = &[][..];
            if is_open {
                if code < EXPECTED {
                    let names = lengths_of_open(&row).0;
                    let path = memchr::memchr(0, tails[at].get(names..)?)?;
                    (stored, tails[at]) = tails[at].split_at(names + path + 1);
                }
                self.keep_open(opened, place, &row, code, stored);
            }
            let known = &self.opens[opened];
            let (code, stored) = if code == EXPECTED { (known.code, &known.tail[..]) } else { (code, stored) };
            left = write(left, &thread, &mut row, code, stored, &mut tails[at])?;
        }
        self.row = row;
        let whole = rest.is_empty() && tails.iter().all(|tail| tail.is_empty());
        let left = left.len();
        if TEXTS {
            frames.truncate(frames.len() - left);
        }
        (whole && (TEXTS || left == 0)).then_some(())
    }

    /// The place of the thread with a code. `changed` counts the words of changed threads that were taken.
    fn thread_of(&mut self, code: u8, changed: &mut usize) -> Option<usize> {
        let front = self.recent.first().map_or([0; 8], |place| self.threads[usize::from(*place)]);
        let rank = usize::from(code & !CHANGED);
        let mut thread = front;
        if code != NEW {
            let place = self.move_to_front(Some(rank).filter(|rank| *rank < self.recent.len())?);
            if code < CHANGED {
                return Some(place);
            }
            thread = self.threads[place];
        }
        let changes = self.changes.get(*changed..*changed + THREAD.len())?;
        for ((at, word), change) in thread.iter_mut().enumerate().zip(changes) {
            *word = self.of_thread(at).take(*change, *word);
        }
        *changed += THREAD.len();
        if code == NEW {
            return Some(self.insert(0, thread));
        }
        let place = usize::from(self.recent[0]);
        self.threads[place] = thread;
        Some(place)
    }
}

/// Writes a frame with its padding to the start of `frames`. Returns what follows it. An open has a stored tail.
fn write<'a>(
    frames: &'a mut [u8],
    thread: &Thread,
    row: &mut [u64],
    code: u8,
    stored: &[u8],
    tails: &mut &[u8],
) -> Option<&'a mut [u8]> {
    let fixed = (row.len() + THREAD.len()) * 8;
    let (mut text, mut path) = (&[][..], &[][..]);
    let mut length = fixed;
    if code != RAW {
        let (names, _) = lengths_of_open(row);
        text = stored.split_last()?.1;
        path = text.get(names..)?;
        let names = u16::try_from(names + shared(path, code).map(|part| part.len() + 1).sum::<usize>()).ok()?;
        let root = ((row[open::NAMES] >> 48) as u16).wrapping_add(names);
        set_lengths_of_open(row, names, root, u16::try_from(path.len()).ok()?);
        length += usize::from(names) + path.len();
    }
    let length = (row[0] as u32).checked_add(length as u32)?;
    row[0] = with_length(row[0], length);
    let length = length as usize;
    let (frame, rest) = frames.split_at_mut_checked(length.next_multiple_of(8))?;
    let (head, mut tail) = frame.get_mut(..length)?.split_at_mut_checked(fixed)?;
    let words = row[..OWN].iter().chain(thread).chain(&row[OWN..]);
    head.as_chunks_mut().0.iter_mut().zip(words).for_each(|(to, word)| *to = word.to_le_bytes());
    for part in shared(path, code) {
        tail.split_off_mut(..part.len())?.copy_from_slice(part);
        tail.split_off_first_mut()?;
    }
    tail.split_off_mut(..text.len())?.copy_from_slice(text);
    tail.copy_from_slice(tails.split_off(..tail.len())?);
    Some(rest)
}

/// Prepares an open to be stored: `row` gets the lengths that a reader cannot derive, and `stored` what remains of the names, the path,
/// and a NUL. Returns its code, and the bytes after the path. Without a path that ends, all is left as it is.
fn fold<'a>(row: &mut [u64], tail: &'a [u8], stored: &mut Vec<u8>) -> (u8, &'a [u8]) {
    let (names, path) = lengths_of_open(row);
    let split = tail.split_at_checked(names + path).map(|(text, rest)| (text.split_at(names), rest));
    let Some(((names, path), rest)) = split.filter(|((_, path), _)| memchr::memchr(0, path).is_none()) else {
        return (RAW, tail);
    };
    let (mut own, mut parts) = (names, parts(path).peekable());
    while let Some(part) = parts.peek()
        && let Some([0, after @ ..]) = own.strip_prefix(*part)
    {
        own = after;
        parts.next();
    }
    let code = if own.len() == names.len() { APART } else { u8::try_from(parts.count()).unwrap_or(APART).min(APART) };
    let own = if code == APART { names } else { own };
    let root = ((row[open::NAMES] >> 48) as u16).wrapping_sub(names.len() as u16);
    set_lengths_of_open(row, own.len() as u16, root, 0);
    row[0] -= (names.len() + path.len()) as u64;
    stored.extend_from_slice(own);
    stored.extend_from_slice(path);
    stored.push(0);
    (code, rest)
}

/// The names in a path, the last one first.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.rsplit(|byte| *byte == b'/').filter(|part| !part.is_empty())
}

/// The parts of a path that are names of the opened file: all but `code` of them.
fn shared(path: &[u8], code: u8) -> impl Iterator<Item = &[u8]> {
    let count = if code >= APART { 0 } else { parts(path).count().saturating_sub(code.into()) };
    parts(path).take(count)
}

/// The lengths of the names and of the path of an open, in bytes.
fn lengths_of_open(row: &[u64]) -> (usize, usize) {
    (usize::from((row[open::NAMES] >> 32) as u16), usize::from(row[open::PATH] as u16))
}

fn set_lengths_of_open(row: &mut [u64], names: u16, root: u16, path: u16) {
    row[open::NAMES] = row[open::NAMES] & LOW | u64::from(names) << 32 | u64::from(root) << 48;
    row[open::PATH] = row[open::PATH] & !0xffff | u64::from(path);
}

fn hash_of(text: &[u8]) -> u32 {
    let (words, rest) = text.as_chunks();
    hash(words.iter().map(|word| u64::from_le_bytes(*word)).chain([last(rest)]))
}

fn hash(words: impl IntoIterator<Item = u64>) -> u32 {
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    (words.into_iter().fold(0, mix) >> 32) as u32
}

fn with_length(word: u64, length: u32) -> u64 {
    word & !LOW | u64::from(length)
}

/// The first frame of a process has these words, if it is as the `fork` says.
fn child_of(parent: &Thread, row: &[u64]) -> Thread {
    let [_, cgroup, ids, parent_user, group, namespace, comm @ ..] = *parent;
    let (child, of_child) = (row[fork::CHILD], row[fork::PARENT]);
    // In the initial namespace, the process has the same number there.
    let number = if namespace >> 32 == ids & LOW { child & LOW } else { 0 };
    let [first, second] = comm;
    [
        row[fork::START],
        cgroup,
        child,
        parent_user & !LOW | of_child & LOW,
        group,
        namespace & LOW | number << 32,
        first,
        second,
    ]
}
