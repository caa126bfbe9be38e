//! Remarks about the unreadable and missing parts of recordings.

use super::Playback;
use super::recording::Recording;
use crate::recording::block::Damage;
use crate::recording::holes::{Hole, Holes};
use crate::recording::reader::Ending;
use crate::text::{counted, grouped};

impl Playback {
    /// The unreadable and missing parts of all recordings, and the events that recordings have in common.
    pub fn remarks(&self) -> Vec<String> {
        let name = |number: usize| self.recordings.get(number).map_or("", Recording::name);
        let common = self.common.counts.iter().map(|((one, other), events)| {
            let (one, other, events) = (name(*one), name(*other), grouped(*events));
            format!("{one} and {other} share {events} events: each is shown and counted twice")
        });
        common.chain(self.recordings.iter().flat_map(Recording::remarks)).collect()
    }
}

impl Recording {
    fn remarks(&self) -> Vec<String> {
        let parts = self.input.parts.iter();
        let mut remarks: Vec<_> = parts.filter_map(|part| earlier(&part.name, part.elsewhere)).collect();
        remarks.extend(self.damage());
        remarks.extend(self.pipeline.continues.then(|| continues(&self.input.part().name)));
        remarks
    }

    /// The unreadable parts.
    pub fn damage(&self) -> Vec<String> {
        let of_trace = |is_so: bool, text: &str| is_so.then(|| format!("{}: {text}", self.name()));
        let odd = "cannot parse the filter of the recording: all events are counted";
        let mut remarks: Vec<_> = of_trace(self.odd_filter, odd).into_iter().collect();
        for part in &self.input.parts {
            let (name, reader) = (&part.name, &part.frames.reader);
            remarks.extend(of_holes(name, &part.holes()));
            if let Some(Ending::Early(at)) = reader.ending {
                remarks.push(format!("{name}: ends early, at offset {at}: {}", part.why_early()));
            }
            if reader.after_end() > 0 {
                let bytes = counted(reader.after_end(), ["byte", "bytes"]);
                remarks.push(format!("{name}: ignored {bytes} after the end of the recording"));
            }
        }
        let unknown = "the number of events in the damaged parts is unknown";
        remarks.extend(of_trace(self.lost_unknown(), unknown));
        // This can happen without damage: whole blocks may be missing.
        let wrong =
            "the account does not add up: blocks are missing, duplicated or reordered, or their contents are wrong";
        remarks.extend(of_trace(self.is_wrong(), wrong));
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

/// The remarks on the unreadable parts of a file.
pub fn of_holes(name: &str, holes: &Holes) -> Vec<String> {
    let of_hole = |Hole { offset, bytes, why, .. }: &Hole| match why {
        Damage::StateTooLarge => format!("{name}: at offset {offset}: {why}"),
        _ => format!("{name}: cannot read {} at offset {offset}: {why}", counted(*bytes, ["byte", "bytes"])),
    };
    let others = || format!("{name}: cannot read {}", counted(holes.others, ["further part", "further parts"]));
    holes.first.iter().map(of_hole).chain((holes.others > 0).then(others)).collect()
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
pub fn missing(mut files: Vec<Stretch>) -> Vec<String> {
    files.sort();
    let mut lines = Vec::new();
    for files in files.chunk_by(|one, other| one.trace == other.trace) {
        let mut known = 0;
        for file in files {
            lines.extend(earlier(&file.name, file.first.saturating_sub(known)));
            known = file.end;
            if file.continues && files.iter().all(|next| Some(next.number) != file.number.checked_add(1)) {
                lines.push(continues(&file.name));
            }
        }
    }
    lines
}

pub(super) fn earlier(name: &str, events: u64) -> Option<String> {
    let text = || format!("{name}: {} earlier events of the trace are in files that were not read", grouped(events));
    (events > 0).then(text)
}

pub(super) fn continues(name: &str) -> String {
    format!("{name}: the trace continues in the next file")
}
