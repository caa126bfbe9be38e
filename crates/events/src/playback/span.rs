//! The time span of a reading.

use super::{Error, Result};
use crate::text::time::Moment;

/// Explains the two notations of time that are easily confused.
pub const SORTS_OF_TIME: &str = "16:30 means 16 min 30 s after the start, 16:30:00 a time of day";

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) from: Option<Moment>,
    pub(super) to: Option<Moment>,
    pub(super) zone_s: i32,
    /// CLOCK_REALTIME − CLOCK_BOOTTIME at the start of the recording. Times are those of this clock, even if it was set later.
    pub(super) clock_offset: i64,
    /// The first and the last time of the span (CLOCK_BOOTTIME, ns), once the start of the recording is known.
    pub(super) bounds: Option<(u64, u64)>,
}

impl Span {
    /// Sets the bounds for a recording that starts at this time (nanoseconds since 1970).
    pub(super) fn start_at(&mut self, start: i128) -> (u64, u64) {
        let boot = |moment: Moment| {
            let ns = moment.unix_ns(start, self.zone_s) - i128::from(self.clock_offset);
            u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
        };
        *self.bounds.insert((self.from.map_or(0, boot), self.to.map_or(u64::MAX, boot)))
    }

    /// Whether the span contains an event of this time. For a pipe, the first event is the start, so call it for each event of the
    /// recording.
    pub(super) fn has(&mut self, boot_ns: u64) -> bool {
        let (from, to) = match self.bounds {
            Some(bounds) => bounds,
            None => self.start_at(i128::from(boot_ns) + i128::from(self.clock_offset)),
        };
        (from..=to).contains(&boot_ns)
    }
}

/// Refuses a time span that ends before it begins. `start` is the start of the recording (nanoseconds since 1970); `None` for a
/// pipe or if there are no events.
pub(super) fn check_order(from: Moment, to: Moment, start: Option<i128>, zone_s: i32) -> Result<()> {
    let same_sort = std::mem::discriminant(&from) == std::mem::discriminant(&to);
    // A time of day is on the day of the start or on the next one.
    let comparable = start.is_some() || same_sort && !matches!(from, Moment::OfDay(_));
    let start = start.unwrap_or_default();
    if !comparable || from.unix_ns(start, zone_s) <= to.unix_ns(start, zone_s) {
        return Ok(());
    }
    let sorts = if same_sort { String::new() } else { format!(" ({SORTS_OF_TIME})") };
    Err(Error::Usage(format!("--from is later than --to: swap the two times{sorts}")))
}
