//! Skips the parts of a recording in which no event passes the filters and the times.

use super::AtEnd;
use super::files::reader_at;
use crate::filter::Needs;
use crate::limits;
use crate::pipeline::Pipeline;
use crate::recording::disk::Unreadable;
use crate::recording::follow::RecordingFile;
use crate::recording::frames::FrameReader;
use crate::recording::index_keys::keys_of;
use crate::recording::search::{Candidate, Candidates};
use crate::recording::{Item, Map};
use std::io::Read;
use tracetui_shared::time::BootNanos;

/// Finds and skips the parts of a file in which no event passes the filters.
pub(super) struct Skip {
    file: RecordingFile,
    unreadable: Unreadable,
    search: Candidates,
    needs: Needs,
    /// The part being read, or read next.
    place: Candidate,
    /// Set once the part was read: its events are delivered when all events up to this time are.
    until: Option<BootNanos>,
}

/// Where the reader continues.
pub(super) enum Over {
    Nothing,
    /// With the frames after a later state, which the pipeline has taken over.
    To(Box<FrameReader<Box<dyn Read + Send>>>),
}

/// No more frames can be skipped: the index or a state is damaged or does not fit, or the index ends here.
pub(super) struct Odd;

impl Skip {
    /// `None` if everything must be read: for a file that is not a whole recording, or whose index does not cover all of it.
    pub(super) fn new(
        file: &RecordingFile,
        unreadable: &Unreadable,
        needs: Needs,
        (from_ns, to_ns): (u64, u64),
    ) -> Option<Skip> {
        if file.header().part().is_some() {
            return None;
        }
        let map = Map::of(file.clone()).ok()?;
        let mut search = Candidates::new(map, keys_of, needs.texts().to_vec(), from_ns).ok()??;
        // The event of an attachment that only the inventory reports is later than its frame.
        let needs = needs.between(from_ns.saturating_sub(limits::BPF_LOAD_NS), to_ns);
        let place = search.next(0, &|entry, has| needs.may_be(entry, has))?;
        Some(Skip { file: file.clone(), unreadable: unreadable.clone(), search, needs, place, until: None })
    }

    /// The number of blocks read to find the places since the last call.
    pub(super) fn take_read(&mut self) -> u64 {
        self.search.take_read()
    }

    /// Leaves out everything after the time span, including the end of the trace.
    pub(super) fn end_at(&mut self, ns: u64) {
        // On failure, more is read than needed.
        let _ = self.search.end_at(ns);
    }

    /// Skips the next part without wanted events, for a reader that has read this many bytes.
    pub(super) fn over(&mut self, read: u64, pipeline: &mut Pipeline) -> Result<Over, Odd> {
        while self.place.until < read {
            let (first, last) = pipeline.waiting();
            let Some(until) = self.until.or(last) else { return Ok(Over::Nothing) };
            self.until = Some(until);
            if first.is_some_and(|first| first <= until) {
                return Ok(Over::Nothing);
            }
            let Skip { search, needs, .. } = self;
            self.place = search.next(read, &|entry, has| needs.may_be(entry, has)).ok_or(Odd)?;
            self.until = None;
        }
        // A state that comes next leaves out nothing, and costs more than the frames of a block.
        let Some(at) = self.place.state.filter(|state| *state > read) else { return Ok(Over::Nothing) };
        let mut reader = reader_at(&self.file, at, &self.unreadable, AtEnd::Stop);
        reader.limit_states(pipeline.budget().state());
        match reader.next() {
            Ok(Some(Item::State(state))) if pipeline.pass_over(&state) => {
                Ok(Over::To(Box::new(FrameReader::of(reader))))
            }
            _ => Err(Odd),
        }
    }
}
