//! Remarks about the unreadable and missing parts of recordings.

use super::Playback;
use super::files::Files;
use super::recording::Recording;
use crate::recording::block::Damage;
use crate::recording::holes::{Hole, Holes};
use crate::recording::reader::Ending;
use crate::text::{counted, grouped};
use std::fmt::{Display, Formatter, Result};

/// An unreadable or missing part. The first value is the name of the recording or the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Remark {
    /// This version cannot parse the filter of the recording.
    OddFilter(String),
    /// Events that two recordings have in common.
    Common(String, String, u64),
    /// Earlier events of the trace are in unread files: their number.
    Earlier(String, u64),
    Continues(String),
    Hole(String, Hole),
    /// The number of unreadable parts that are not listed.
    MoreHoles(String, u64),
    EndsEarly(String, u64, &'static str),
    /// Bytes after the end.
    AfterEnd(String, u64),
    /// The number of events in the damaged parts is unknown.
    LostUnknown(String),
    /// The account does not add up. This can happen without damage: whole blocks may be missing.
    Wrong(String),
}

impl Display for Remark {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Remark::OddFilter(name) => {
                write!(f, "{name}: cannot parse the filter of the recording: all events are counted")
            }
            Remark::Common(one, other, events) => {
                let events = grouped(*events);
                write!(f, "{one} and {other} share {events} events: each is shown and counted twice")
            }
            Remark::Earlier(name, events) => {
                write!(f, "{name}: {} earlier events of the trace are in files that were not read", grouped(*events))
            }
            Remark::Continues(name) => write!(f, "{name}: the trace continues in the next file"),
            Remark::Hole(name, Hole { offset, why: why @ Damage::StateTooLarge, .. }) => {
                write!(f, "{name}: at offset {offset}: {why}")
            }
            Remark::Hole(name, Hole { offset, bytes, why, .. }) => {
                write!(f, "{name}: cannot read {} at offset {offset}: {why}", counted(*bytes, ["byte", "bytes"]))
            }
            Remark::MoreHoles(name, parts) => {
                write!(f, "{name}: cannot read {}", counted(*parts, ["further part", "further parts"]))
            }
            Remark::EndsEarly(name, at, why) => write!(f, "{name}: ends early, at offset {at}: {why}"),
            Remark::AfterEnd(name, bytes) => {
                let bytes = counted(*bytes, ["byte", "bytes"]);
                write!(f, "{name}: ignored {bytes} after the end of the recording")
            }
            Remark::LostUnknown(name) => write!(f, "{name}: the number of events in the damaged parts is unknown"),
            Remark::Wrong(name) => write!(
                f,
                "{name}: the account does not add up: blocks are missing, duplicated or reordered, or their contents are wrong"
            ),
        }
    }
}

impl Playback {
    /// The unreadable and missing parts of all recordings, and the events that recordings have in common.
    pub fn remarks(&self) -> Vec<Remark> {
        let name = |number: usize| self.recordings.get(number).map_or("", Recording::name).to_owned();
        let common = self.common.counts.iter();
        let common = common.map(|((one, other), count)| Remark::Common(name(*one), name(*other), *count));
        common.chain(self.recordings.iter().flat_map(Recording::remarks)).collect()
    }
}

impl Recording {
    /// The unreadable and missing parts.
    fn remarks(&self) -> Vec<Remark> {
        let mut remarks: Vec<_> =
            self.input.parts.iter().filter_map(|part| earlier(&part.name, part.elsewhere)).collect();
        remarks.extend(self.damage());
        remarks.extend(self.pipeline.continues.then(|| Remark::Continues(self.input.part().name.clone())));
        remarks
    }

    /// The unreadable parts.
    pub fn damage(&self) -> Vec<Remark> {
        let name = || self.name().to_owned();
        let mut remarks: Vec<_> = self.odd_filter.then(|| Remark::OddFilter(name())).into_iter().collect();
        remarks.extend(self.input.damage());
        remarks.extend(self.lost_unknown().then(|| Remark::LostUnknown(name())));
        remarks.extend(self.is_wrong().then(|| Remark::Wrong(name())));
        remarks
    }

    /// The part of the trace that a file holds. `None` unless the trace was recorded in several files and one of them was read.
    pub fn stretch(&self) -> Option<Stretch> {
        let [part] = self.input.parts.as_slice() else { return None };
        let (trace, number) = part.place()?;
        let (first, end, continues) = (part.elsewhere, self.events, self.pipeline.continues);
        Some(Stretch { trace, number, name: part.name.clone(), first, end, continues })
    }
}

impl Files {
    /// The unreadable parts.
    fn damage(&self) -> Vec<Remark> {
        let mut remarks = Vec::new();
        for part in &self.parts {
            let name = || part.name.clone();
            remarks.extend(of_holes(&part.name, &part.holes()));
            if let Some(Ending::Early(at)) = part.frames.reader.ending {
                remarks.push(Remark::EndsEarly(name(), at, part.why_early()));
            }
            let after = part.frames.reader.after_end();
            remarks.extend((after > 0).then(|| Remark::AfterEnd(name(), after)));
        }
        remarks
    }
}

/// The remarks on the unreadable parts of a file.
pub fn of_holes(name: &str, holes: &Holes) -> Vec<Remark> {
    let first = holes.first.iter().map(|hole| Remark::Hole(name.to_owned(), *hole));
    first.chain((holes.others > 0).then(|| Remark::MoreHoles(name.to_owned(), holes.others))).collect()
}

/// The part of a trace that a file holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stretch {
    pub(super) trace: [u8; 8],
    pub(super) number: u32,
    pub(super) name: String,
    /// The number of the trace's events before this file. `end` includes the file's own.
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) continues: bool,
}

/// The parts of the traces that none of these files holds, one remark each.
pub fn missing(mut files: Vec<Stretch>) -> Vec<Remark> {
    files.sort();
    let mut lines = Vec::new();
    for files in files.chunk_by(|one, other| one.trace == other.trace) {
        let mut known = 0;
        for file in files {
            lines.extend(earlier(&file.name, file.first.saturating_sub(known)));
            known = file.end;
            if file.continues && files.iter().all(|next| Some(next.number) != file.number.checked_add(1)) {
                lines.push(Remark::Continues(file.name.clone()));
            }
        }
    }
    lines
}

fn earlier(name: &str, events: u64) -> Option<Remark> {
    (events > 0).then(|| Remark::Earlier(name.to_owned(), events))
}
