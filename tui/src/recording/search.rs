//! Finds the blocks of a recording that may have what is looked for, by its index.

use super::block::{Contents, HEADER, INDEXED};
use super::index::{Entry, KeysOf, Wanted, hashes_of};
use super::map::Map;
use crate::frame::Frames;
use std::io;

/// A part of a recording that may have what is looked for, in bytes from the start of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Where the last state before it begins. `None`: a reader must begin at the start of the file.
    pub state: Option<u64>,
    /// Where it begins.
    pub from: u64,
    /// Where it ends. `u64::MAX`: it is all that follows.
    pub until: u64,
}

/// Goes through a recording, from a place on.
#[derive(Debug)]
pub struct Search {
    map: Map,
    keys: KeysOf,
    /// Where the index blocks begin that were not read yet, the next one last.
    index: Vec<u64>,
    /// The blocks of the last one that were not looked at yet, the next one last, each with whether it may have what is looked for.
    blocks: Vec<(Entry, bool)>,
    /// The last state so far.
    state: Option<u64>,
    /// Where the next block begins.
    at: u64,
    /// The last block of frames, unless it was found.
    last: Option<Place>,
    /// Where it begins: blocks before are not looked at, and the first one after it is found whatever is in it, for events that wait
    /// in the state.
    start: Option<u64>,
    /// The blocks that were read since [`Search::take_read`].
    read: u64,
}

/// Records are out of order by less than this.
const DISORDER_NS: u64 = 10_000_000_000;

impl Search {
    /// Looks for parts of a recording, from a time on (CLOCK_BOOTTIME, ns). `None` if its index does not describe all of it, or not
    /// well enough.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn new(map: Map, keys: KeysOf, from_ns: u64) -> io::Result<Option<Search>> {
        let described = map.header().flags & INDEXED != 0 && map.is_complete() && map.rest().is_empty();
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
        let (state, last) = (None, None);
        Ok(Some(Search { map, keys, index, blocks: Vec::new(), state, at, last, start, read: 0 }))
    }

    /// How many blocks were read since the last call.
    pub fn take_read(&mut self) -> u64 {
        std::mem::take(&mut self.read)
    }

    /// Leaves out what is later than a time (CLOCK_BOOTTIME, ns), also the end of the trace.
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

    /// The next part, of a reader that has read so many bytes. The last block of frames is always one: the end of the trace is in
    /// it. Where the index is damaged, all that follows is one.
    pub fn next(&mut self, read: u64, wanted: Wanted<'_>) -> Option<Place> {
        loop {
            while let Some((entry, may)) = self.blocks.pop() {
                if let Some(place) = self.look(&entry, may, read, wanted) {
                    return Some(place);
                }
            }
            let Some(at) = self.index.pop() else { return self.last.take() };
            if !self.read_index(at, wanted) {
                self.index.clear();
                self.last = None;
                return Some(Place { state: self.state, from: self.at, until: u64::MAX });
            }
        }
    }

    fn look(&mut self, entry: &Entry, may: bool, read: u64, wanted: Wanted<'_>) -> Option<Place> {
        if self.start.is_some_and(|start| entry.offset < start) {
            return None;
        }
        if Contents::from(entry.contents) != Contents::Frames {
            if entry.part == 0 {
                self.state = Some(entry.offset);
            }
            return None;
        }
        let place =
            Place { state: self.state, from: entry.offset, until: entry.offset.saturating_add(entry.bytes.into()) };
        self.last = Some(place);
        if self.start.take().is_some() {
            return self.last.take();
        }
        // It costs less to look into a block than to go to it, but not if the reader comes by.
        let comes_by = self.state.is_none_or(|state| state < read);
        (may && (comes_by || self.has(entry, wanted))).then(|| self.last.take()).flatten()
    }

    /// Whether a frame of a block may be what is looked for.
    fn has(&mut self, entry: &Entry, wanted: Wanted<'_>) -> bool {
        // Not because of a key: then the index is exact.
        if wanted(entry, &|_| false) {
            return true;
        }
        self.read += 1;
        let Ok(Some(frames)) = self.map.frames(entry) else { return true };
        let mut hashes = Vec::new();
        Frames::of(&frames).any(|frame| {
            hashes_of(self.keys, &frame, &mut hashes).is_some_and(|one| wanted(&one, &|hash| hashes.contains(&hash)))
        })
    }

    /// Reads an index block. `false` if it is damaged, or does not describe the blocks that follow the last one.
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
