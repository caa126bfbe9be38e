//! Finds the blocks of a recording that may contain wanted events, by its index.

use super::block::{Contents, HEADER, Unsealer};
use super::index::{IndexEntry, KeysOf, Sought, Wanted, filter, hashes_of};
use super::map::Map;
use super::texts::Texts;
use crate::frame::Frames;
use regex::bytes::Regex;
use std::io;

/// A part of a recording that may contain wanted events, in bytes from the start of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The offset of the last state before it. If it is `None`, a reader must begin at the start of the file.
    pub state: Option<u64>,
    pub from: u64,
    /// The offset of its end. `u64::MAX`: the end of the recording.
    pub until: u64,
}

/// Goes through a recording from an offset on.
#[derive(Debug)]
pub struct Candidates {
    map: Map,
    keys: KeysOf,
    /// The offsets of the unread index blocks, the next one last.
    index: Vec<u64>,
    /// The unexamined blocks of the current index block, the next one last. Those that may contain wanted events have their filters.
    blocks: Vec<(IndexEntry, Option<Box<[u8]>>)>,
    /// The last state so far.
    state: Option<u64>,
    /// The offset of the next block.
    at: u64,
    /// The last blocks of frames that were not read, since the beginning of their zstd stream.
    stream: Vec<IndexEntry>,
    unsealer: Unsealer,
    texts: Texts,
    /// The last block of frames, unless it was found already.
    last: Option<Candidate>,
    /// The offset at which the search starts. Earlier blocks are ignored. The first block after it is always found, whatever it
    /// contains, because of the events that wait in the state.
    start: Option<u64>,
    /// The number of blocks whose frames were read since [`Candidates::take_read`].
    read: u64,
}

/// The upper limit of how far records are out of order.
const DISORDER_NS: u64 = 10_000_000_000;

impl Candidates {
    /// A search for parts of a recording from a time on (CLOCK_BOOTTIME, ns). `texts` are the texts that a [`Sought`] numbers: each
    /// matches at most 256 bytes. `None` if the index does not describe the whole recording, or not in enough detail.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn new(map: Map, keys: KeysOf, texts: Vec<Regex>, from_ns: u64) -> io::Result<Option<Candidates>> {
        let described = map.is_complete() && map.rest().is_empty();
        if !described {
            return Ok(None);
        }
        let start = map.state_before(from_ns)?;
        let mut index: Vec<u64> = map.spine()?.into_iter().map(|(at, _)| at).collect();
        let before = start.map_or(0, |start| index.partition_point(|at| *at < start));
        let at = match before.checked_sub(1).and_then(|last| index.get(last)) {
            Some(last) => last + map.length_of(*last)?.unwrap_or(0),
            None => HEADER as u64,
        };
        index.drain(..before);
        index.reverse();
        let (blocks, stream, unsealer) = (Vec::new(), Vec::new(), Unsealer::default());
        let (state, last, texts) = (None, None, Texts::new(texts, &map));
        Ok(Some(Candidates { map, keys, index, blocks, state, at, stream, unsealer, texts, last, start, read: 0 }))
    }

    /// The number of blocks read since the last call.
    pub fn take_read(&mut self) -> u64 {
        std::mem::take(&mut self.read)
    }

    /// Leaves out everything after a time (CLOCK_BOOTTIME, ns), including the end of the trace.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn end_at(&mut self, ns: u64) -> io::Result<()> {
        let late = ns.saturating_add(DISORDER_NS);
        let heads = self.map.spine()?;
        let later = heads.iter().filter(|(at, before)| before.last_ns > late && *at > self.at).map(|(at, _)| *at).min();
        self.index.retain(|at| later.is_none_or(|later| *at <= later));
        Ok(())
    }

    /// The next part, for a reader that has read this many bytes. The last block of frames is always a part, because it contains
    /// the end of the trace. If the index is damaged, everything that follows is one part.
    pub fn next(&mut self, read: u64, wanted: Wanted<'_>) -> Option<Candidate> {
        loop {
            while let Some((entry, filter)) = self.blocks.pop() {
                if let Some(place) = self.look(&entry, filter.as_deref(), read, wanted) {
                    return Some(place);
                }
            }
            let Some(at) = self.index.pop() else { return self.last.take() };
            if !self.read_index(at, wanted) {
                self.index.clear();
                self.last = None;
                return Some(Candidate { state: self.state, from: self.at, until: u64::MAX });
            }
        }
    }

    fn look(&mut self, entry: &IndexEntry, filter: Option<&[u8]>, read: u64, wanted: Wanted<'_>) -> Option<Candidate> {
        if self.start.is_some_and(|start| entry.offset < start) {
            return None;
        }
        let is_state = Contents::from(entry.contents) != Contents::Frames;
        self.texts.add(entry, is_state && entry.part == 0);
        if is_state {
            if entry.part == 0 {
                self.state = Some(entry.offset);
            }
            return None;
        }
        if entry.part == 0 {
            self.stream.clear();
        }
        self.stream.push(*entry);
        let place =
            Candidate { state: self.state, from: entry.offset, until: entry.offset.saturating_add(entry.bytes.into()) };
        self.last = Some(place);
        if self.start.take().is_some() {
            return self.last.take();
        }
        // Examining a block costs less than a seek to it, but not if the reader passes it anyway.
        let comes_by = self.state.is_none_or(|state| state < read);
        let found = filter.is_some_and(|filter| self.has_texts(entry, filter, wanted));
        (found && (comes_by || self.has(entry, wanted))).then(|| self.last.take()).flatten()
    }

    /// Whether the texts from the last state up to a block allow a wanted event in it.
    fn has_texts(&mut self, entry: &IndexEntry, filter: &[u8], wanted: Wanted<'_>) -> bool {
        self.texts.read(&self.map);
        wanted(entry, &|sought| match sought {
            Sought::Key(_) => filter::may_have(filter, sought),
            Sought::Text(text) => self.texts.has(text),
        })
    }

    /// Whether a frame of a block may be a wanted event.
    fn has(&mut self, entry: &IndexEntry, wanted: Wanted<'_>) -> bool {
        // If the match does not depend on a key, the index is exact.
        let texts = &self.texts;
        if wanted(entry, &|sought| matches!(sought, Sought::Text(text) if texts.has(text))) {
            return true;
        }
        let mut frames = Ok(None);
        for entry in self.stream.drain(..) {
            self.read += 1;
            frames = self.map.frames(&entry, &mut self.unsealer);
        }
        let Ok(Some(frames)) = frames else { return true };
        let mut hashes = Vec::new();
        Frames::of(&frames).any(|frame| {
            let Some(one) = hashes_of(self.keys, &frame, &mut hashes) else { return false };
            wanted(&one, &|sought| match sought {
                Sought::Key(hash) => hashes.contains(&hash),
                Sought::Text(text) => texts.has(text),
            })
        })
    }

    /// Reads an index block. Returns `false` if it is damaged or does not describe the blocks after the last one.
    fn read_index(&mut self, at: u64, wanted: Wanted<'_>) -> bool {
        self.read += 1;
        let Ok(Some(block)) = self.map.index_block(at) else { return false };
        self.blocks = block.marked(wanted);
        let mut next = self.at;
        let follow = self.blocks.iter().all(|(entry, _)| {
            let follows = entry.offset == next;
            next = next.saturating_add(entry.bytes.into());
            follows
        });
        let Ok(Some(length)) = self.map.length_of(at) else { return false };
        if !follow || next != at {
            self.blocks.clear();
            return false;
        }
        self.at = at + length;
        self.blocks.reverse();
        true
    }
}
