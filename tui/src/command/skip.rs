//! What is not read of a recording: parts in which no event passes the filters and the times.

use crate::event::keys::keys_of;
use crate::filter::Needs;
use crate::pipeline::Pipeline;
use crate::recording::disk::Unreadable;
use crate::recording::follow::{FileFrom, RecordingFile};
use crate::recording::frames::FrameReader;
use crate::recording::search::{Place, Search};
use crate::recording::{Item, Map, Reader};
use crate::text::time::Moment;
use std::io::Read;
use tracetui_shared::time::BootNanos;

/// The times of the events that are passed on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) from: Option<Moment>,
    pub(super) to: Option<Moment>,
    pub(super) zone_s: i32,
    /// CLOCK_REALTIME − CLOCK_BOOTTIME at the start of the recording. Times are those of this clock, whatever was set later.
    pub(super) clock_offset: i64,
    /// Its first and its last time (CLOCK_BOOTTIME, ns), once it is known when the recording starts.
    pub(super) bounds: Option<(u64, u64)>,
}

impl Span {
    /// Of a recording that starts at this time (nanoseconds since 1970).
    pub(super) fn start_at(&mut self, start: i128) -> (u64, u64) {
        let boot = |moment: Moment| {
            let ns = moment.unix_ns(start, self.zone_s) - i128::from(self.clock_offset);
            u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
        };
        *self.bounds.insert((self.from.map_or(0, boot), self.to.map_or(u64::MAX, boot)))
    }

    /// Whether an event of this time is in it. A pipe starts with the first event, so call it for each event of the recording.
    pub(super) fn has(&mut self, boot_ns: u64) -> bool {
        let (from, to) = match self.bounds {
            Some(bounds) => bounds,
            None => self.start_at(i128::from(boot_ns) + i128::from(self.clock_offset)),
        };
        (from..=to).contains(&boot_ns)
    }
}

/// Passes over parts of a file in which no event passes the filters.
pub(super) struct Skip {
    file: RecordingFile,
    unreadable: Unreadable,
    search: Search,
    needs: Needs,
    /// The part that is read, or read next.
    place: Place,
    /// The part was read; its events are passed on when all up to this time are.
    until: Option<BootNanos>,
}

/// Where the reader goes on.
pub(super) enum Over {
    /// Where it is.
    Nothing,
    /// The pipeline goes on from a later state, with the frames after it.
    To(Box<FrameReader<Box<dyn Read + Send>>>),
}

/// No more frames can be passed over: the index or a state is damaged or does not fit, or the index ends here.
pub(super) struct Odd;

impl Skip {
    /// `None` if all must be read: of a pipe, of a file that is no whole recording, or that has no index of all of it.
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
        let mut search = Search::new(map, keys_of, from_ns).ok()??;
        let needs = needs.between(from_ns, to_ns);
        let place = search.next(0, &|entry, has| needs.may_be(entry, has))?;
        Some(Skip { file: file.clone(), unreadable: unreadable.clone(), search, needs, place, until: None })
    }

    /// How many blocks were read to find the places, since the last call.
    pub(super) fn take_read(&mut self) -> u64 {
        self.search.take_read()
    }

    /// Leaves out what is later than the time span, also the end of the trace.
    pub(super) fn end_at(&mut self, ns: u64) {
        // If that fails, more is read.
        let _ = self.search.end_at(ns);
    }

    /// Goes over what no event passes of, for a reader that has read so many bytes.
    pub(super) fn over(&mut self, read: u64, pipeline: &mut Pipeline) -> Result<Over, Odd> {
        while self.place.until < read {
            let until = match self.until.or_else(|| pipeline.waits_until()) {
                Some(until) => *self.until.insert(until),
                None => return Ok(Over::Nothing),
            };
            if pipeline.waits_for(until) {
                return Ok(Over::Nothing);
            }
            let Skip { search, needs, .. } = self;
            self.place = search.next(read, &|entry, has| needs.may_be(entry, has)).ok_or(Odd)?;
            self.until = None;
        }
        let Some(at) = self.place.state.filter(|state| *state >= read) else { return Ok(Over::Nothing) };
        let from = FileFrom::new(self.file.clone(), at, self.unreadable.clone());
        let holes = from.holes();
        let reader = Reader::resume(Box::new(from) as Box<dyn Read + Send>, *self.file.header(), at);
        let mut reader = reader.over_holes(holes);
        reader.limit_states(pipeline.budget().state());
        match reader.next() {
            Ok(Some(Item::State(state))) if pipeline.pass_over(&state) => {
                Ok(Over::To(Box::new(FrameReader::of(reader))))
            }
            _ => Err(Odd),
        }
    }
}
