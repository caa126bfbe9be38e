//! The time span of a reading.

use super::{Error, Result};
use crate::event::{Body, Event};
use crate::text::time::{self, Moment, Zone};

/// Explains the two notations of time that are easily confused.
pub const SORTS_OF_TIME: &str =
    "16:30 means 16 min 30 s after the start in a file of that length, and a time of day elsewhere, as 16:30:00 does";

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) from: Option<Moment>,
    pub(super) to: Option<Moment>,
    pub(super) zone: Zone,
    /// CLOCK_REALTIME − CLOCK_BOOTTIME at the start of the recording. Times are those of this clock, even if it was set later.
    pub(super) clock_offset: i64,
    /// The first and the last time of the span (CLOCK_BOOTTIME, ns), once the start of the recording is known.
    pub(super) bounds: Option<(u64, u64)>,
}

impl Span {
    /// Sets the bounds for recordings with this first and last time (nanoseconds since 1970).
    pub(super) fn set(&mut self, span: (i128, i128)) -> (u64, u64) {
        let (from, to) = time::bounds((self.from, self.to), span, self.zone);
        let boot = |unix: i128| u64::try_from((unix - i128::from(self.clock_offset)).max(0)).unwrap_or(u64::MAX);
        *self.bounds.insert((from.map_or(0, boot), to.map_or(u64::MAX, boot)))
    }

    /// Whether the span contains an event, or a part of the time in which events were lost. For a pipe, the first event is all that is
    /// known of its time, so call it for each event of the recording.
    pub(super) fn has(&mut self, event: &Event<'_>) -> bool {
        let boot_ns = event.header.time.0;
        let (from, to) = self.bounds.unwrap_or_else(|| {
            let first = i128::from(boot_ns) + i128::from(self.clock_offset);
            self.set((first, first))
        });
        let began = if let Body::Lost(lost) = &event.body { lost.record.from_ns } else { boot_ns };
        began <= to && from <= boot_ns
    }
}

/// Refuses a time span that ends before it begins. `span`: the first and the last time of the recordings (nanoseconds since 1970);
/// `None` for a pipe or if there are no events.
pub(super) fn check_order(from: Moment, to: Moment, span: Option<(i128, i128)>, zone: Zone) -> Result<()> {
    let since = |moment: Moment| moment.since().is_some();
    let both_since = matches!((from, to), (Moment::Since(_), Moment::Since(_)));
    let comparable = span.is_some() || both_since || from.is_dated() && to.is_dated();
    let (from_ns, to_ns) = time::bounds((Some(from), Some(to)), span.unwrap_or_default(), zone);
    if !comparable || from_ns <= to_ns {
        return Ok(());
    }
    let sorts = if since(from) == since(to) { String::new() } else { format!(" ({SORTS_OF_TIME})") };
    Err(Error::Usage(format!("--from is later than --to: swap the two times{sorts}")))
}
