//! The density of a recording's events over time.

use tracetui_events::event::{Body, EventContext};
use tracetui_events::playback::timeline::Density;

pub(in crate::app) const BINS: usize = 512;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bin {
    pub events: u64,
    pub lost: u64,
}

impl Bin {
    pub(crate) fn and(self, other: &Bin) -> Bin {
        Bin { events: self.events.saturating_add(other.events), lost: self.lost.saturating_add(other.lost) }
    }
}

/// The bin of a time, out of [`BINS`] over a time span. `None` if the span has no length.
fn bin((from, to): (u64, u64), ns: u64) -> Option<usize> {
    let length = u128::from(to.checked_sub(from)?) + 1;
    let at = u128::from(ns.clamp(from, to) - from) * BINS as u128 / length;
    Some(at.min(BINS as u128 - 1) as usize)
}

#[derive(Debug)]
pub(in crate::app) struct Strip {
    bins: Vec<Bin>,
    /// The time span of the bins (CLOCK_BOOTTIME, ns).
    extent: Option<(u64, u64)>,
    /// Whether the bins count the loaded events.
    counts: bool,
}

impl Default for Strip {
    fn default() -> Strip {
        Strip::new(None)
    }
}

impl Strip {
    /// A strip that counts the loaded events until the density is known.
    pub(in crate::app) fn new(extent: Option<(u64, u64)>) -> Strip {
        Strip { bins: vec![Bin::default(); BINS], extent, counts: true }
    }

    pub(in crate::app) fn set(&mut self, density: Vec<Density>, extent: Option<(u64, u64)>) {
        if !density.is_empty() {
            self.counts = false;
            self.extent = extent;
            self.bins.fill(Bin::default());
            density.into_iter().for_each(|part| self.spread(part));
        }
    }

    pub(super) fn bins(&self, end: u64) -> &[Bin] {
        let used = self.extent.and_then(|extent| Some(bin(extent, end)? + 1));
        self.bins.get(..used.unwrap_or(0)).unwrap_or_default()
    }

    pub(in crate::app) fn restart(&mut self) {
        if self.counts {
            self.bins.fill(Bin::default());
        }
    }

    pub(in crate::app) fn count(&mut self, seen: &EventContext<'_>) {
        if self.counts {
            let ns = seen.event.header.time.0;
            let (events, lost) = match &seen.event.body {
                Body::Lost(lost) => (0, lost.record.count),
                _ => (1, 0),
            };
            self.extend_to(ns);
            self.spread(Density { first_ns: ns, last_ns: ns, events, lost });
        }
    }

    /// Covers the time up to now, when no events arrive.
    pub(in crate::app) fn reach(&mut self, ns: u64) {
        if self.counts && self.extent.is_some() {
            self.extend_to(ns);
        }
    }

    /// Widens the bins until they cover a time.
    fn extend_to(&mut self, ns: u64) {
        let (from, to) = self.extent.get_or_insert((ns, ns));
        while *to < ns {
            let merged =
                |at: usize| self.bins.get(2 * at..2 * at + 2).unwrap_or_default().iter().fold(Bin::default(), Bin::and);
            self.bins = (0..BINS).map(merged).collect();
            *to = to.saturating_add(*to - *from + 1);
        }
    }

    fn spread(&mut self, part: Density) {
        let Density { first_ns, last_ns, events, lost } = part;
        let extent = self.extent.filter(|_| first_ns <= last_ns);
        let place = |ns| extent.and_then(|extent| bin(extent, ns));
        let (Some(start), Some(end)) = (place(first_ns), place(last_ns)) else { return };
        let bins = (end - start + 1) as u64;
        for (at, place) in (0u64..).zip(&mut self.bins[start..=end]) {
            let share = events / bins + u64::from(at < events % bins);
            place.events = place.events.saturating_add(share);
        }
        let place = &mut self.bins[end].lost;
        *place = place.saturating_add(lost);
    }
}
