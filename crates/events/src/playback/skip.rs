//! Skips the parts of a recording in which no event passes the filters and the times.

use super::files::reader_at;
use super::scan::{Candidate, Next, Scan};
use crate::filter::Needs;
use crate::limits;
use crate::pipeline::Pipeline;
use crate::recording::file::RecordingFile;
use crate::recording::frames::FrameReader;
use crate::recording::{Item, Map};
use std::io::Read;
use tracetui_shared::time::BootNanos;

/// Finds and skips the parts of a file in which no event passes the filters.
pub(super) struct Skip {
    file: RecordingFile,
    scan: Scan,
    /// The part being read, or read next. `None` at the start.
    place: Option<Candidate>,
    /// Set once the part was read: its events are delivered when all events up to this time are.
    until: Option<BootNanos>,
}

/// Where the reader continues.
pub(super) enum Over {
    Nothing,
    /// No part was found yet, up to a time (CLOCK_BOOTTIME, ns).
    Searching(u64),
    /// With the frames after a later state, which the pipeline has taken over.
    To(Box<FrameReader<Box<dyn Read + Send>>>),
}

impl Skip {
    /// `None` if everything must be read: for a file that is not a whole recording, or whose index does not cover all of it.
    pub(super) fn new(file: &RecordingFile, needs: Needs, (from_ns, to_ns): (u64, u64)) -> Option<Skip> {
        if file.header.part().is_some() {
            return None;
        }
        let map = Map::of(file.clone()).ok()?;
        // The event of an attachment that only the inventory reports is later than its frame.
        // A loss is known by a later event or count.
        let (before, after) = (limits::BPF_LOAD_NS, limits::LOSS_KNOWN_NS);
        let needs = needs.between(from_ns.saturating_sub(before), to_ns.saturating_add(after));
        let scan = Scan::new(map, needs, from_ns)?;
        Some(Skip { file: file.clone(), scan, place: None, until: None })
    }

    /// Skips the next part without wanted events, for a reader that has read this many bytes. `None` if no more frames can be
    /// skipped: the index or a state is damaged or does not fit, or the index ends here.
    pub(super) fn over(&mut self, read: u64, pipeline: &mut Pipeline) -> Option<Over> {
        let place = loop {
            if let Some(place) = self.place {
                if place.until >= read {
                    break place;
                }
                if self.is_waiting(pipeline) {
                    return Some(Over::Nothing);
                }
            }
            match self.scan.next()? {
                Next::Nothing(until) => return Some(Over::Searching(until)),
                Next::Part(place) => (self.place, self.until) = (Some(place), None),
            }
        };
        // A state that comes next leaves out nothing, and costs more than the frames of a block.
        let Some(at) = place.state.filter(|state| *state > read) else { return Some(Over::Nothing) };
        let mut reader = reader_at(&self.file, at);
        reader.state_max = pipeline.budget.state();
        match reader.next() {
            Ok(Some(Item::State(state))) if pipeline.pass_over(&state) => {
                Some(Over::To(Box::new(FrameReader::of(reader))))
            }
            _ => None,
        }
    }

    /// Whether events of the part that was read are not delivered yet.
    fn is_waiting(&mut self, pipeline: &mut Pipeline) -> bool {
        let (first, last) = pipeline.waiting();
        self.until = self.until.or(last);
        self.until.is_none_or(|until| first.is_some_and(|first| first <= until))
    }
}
