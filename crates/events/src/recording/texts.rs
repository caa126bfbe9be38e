//! Finds texts in the blocks of a recording.
//!
//! The names, paths and arguments in an event are in a frame or state since the last state before it, byte for byte.

use super::block::Unsealer;
use super::index::IndexEntry;
use super::map::Map;
use crate::event::split;
use crate::frame::Frames;
use foldhash::HashMap;
use regex::bytes::Regex;
use tracetui_shared::header::flag;
use tracetui_shared::id::Tid;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::exec::ExecChunk;

/// The bytes of arguments on each side of the place where one frame ends and the next one continues it.
const SEAM: usize = 256;

/// The texts of a search, and which of them the blocks since the last state contain.
#[derive(Debug, Default)]
pub(super) struct Texts {
    wanted: Vec<Regex>,
    found: Vec<bool>,
    /// Blocks since the last state that were not read.
    unread: Vec<IndexEntry>,
    unsealer: Unsealer,
    /// By thread: the end of the last frame that may be continued.
    ends: HashMap<Tid, Vec<u8>>,
}

impl Texts {
    /// Texts that match at most [`SEAM`] bytes each.
    pub(super) fn new(wanted: Vec<Regex>, map: &Map) -> Texts {
        let unsealer = map.file().unsealer_at(u64::MAX);
        Texts { found: vec![false; wanted.len()], wanted, unsealer, ..Texts::default() }
    }

    /// Adds a block. With `begins`, it is the first one of a state.
    pub(super) fn add(&mut self, entry: &IndexEntry, begins: bool) {
        if self.wanted.is_empty() {
            return;
        }
        if begins {
            self.found.fill(false);
            self.unread.clear();
            self.ends.clear();
        }
        self.unread.push(*entry);
    }

    /// Whether the blocks read since the last state may contain a text.
    pub(super) fn has(&self, number: usize) -> bool {
        self.found.get(number).is_none_or(|found| *found)
    }

    /// Reads the blocks added so far, until all texts are found.
    pub(super) fn read(&mut self, map: &Map) {
        for entry in std::mem::take(&mut self.unread) {
            if self.found.iter().all(|found| *found) {
                break;
            }
            match map.frames(&entry, &mut self.unsealer) {
                Ok(Some(frames)) if self.search(&frames) => {}
                _ => self.found.fill(true),
            }
        }
    }

    /// Searches a block. `false` if the arguments that a frame continues are not known.
    fn search(&mut self, frames: &[u8]) -> bool {
        let Texts { wanted, found, ends, .. } = self;
        let mut look = |bytes: &[u8]| {
            wanted.iter().zip(&mut *found).for_each(|(wanted, found)| *found = *found || wanted.is_match(bytes));
        };
        look(frames);
        for frame in Frames::of(frames).filter(|frame| frame.header.kind == Kind::Exec as u16) {
            let Some((record, _)) = split(&frame) else { return false };
            let mut end = record.get(record.len().saturating_sub(SEAM)..).unwrap_or_default().to_vec();
            if frame.header.has(flag::CONTINUES) {
                let arguments = frame.payload.get(size_of::<ExecChunk>()..).unwrap_or_default();
                let Some(mut seam) = ends.remove(&frame.header.tid) else { return false };
                seam.extend_from_slice(arguments.get(..SEAM).unwrap_or(arguments));
                look(&seam);
                end = seam.split_off(seam.len().saturating_sub(SEAM));
                if arguments.len() > SEAM {
                    end = arguments[arguments.len() - SEAM..].to_vec();
                }
            }
            ends.insert(frame.header.tid, end);
        }
        true
    }
}
