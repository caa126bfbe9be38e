//! Event rates over the last seconds.

use std::collections::VecDeque;
use std::time::Duration;
use tracetui_events::event::Event;
use tracetui_shared::kind::Kind;

/// The rate in events per second, and the number of consecutive seconds, above which the dashboard offers to hide a kind.
const MANY: (u64, usize) = (2_000, 3);

/// Counts in the order of [`Kind::PROBED`], and the count of failed execs, which start no program.
type Counts = [u64; FAILED_EXECS + 1];

const FAILED_EXECS: usize = Kind::PROBED.len();

#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    /// The counts since the last full second.
    counting: Counts,
    /// The counts of the last full seconds ([`MANY`]), newest last.
    seconds: VecDeque<Counts>,
    since: Duration,
    /// CLOCK_BOOTTIME of the first event, ns.
    pub(crate) start_ns: Option<u64>,
}

impl Rates {
    pub(crate) fn count(&mut self, event: &Event<'_>, boot_ns: u64) {
        self.start_ns.get_or_insert(boot_ns);
        let at = match event.kind() {
            Kind::Exec if event.failed() => Some(FAILED_EXECS),
            kind => kind.place(),
        };
        at.and_then(|at| self.counting.get_mut(at)).into_iter().for_each(|count| *count += 1);
    }

    /// Sets the current time; `true` if a second has passed.
    pub(crate) fn tick(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.since);
        // A tick may be slightly early or late.
        if passed < Duration::from_millis(900) {
            return false;
        }
        let per_second = self.counting.map(|count| (count as f64 / passed.as_secs_f64()).round() as u64);
        self.counting = Default::default();
        self.since = now;
        if self.seconds.len() == MANY.1 {
            self.seconds.pop_front();
        }
        self.seconds.push_back(per_second);
        true
    }

    /// The number of events of a kind in the last second. Failed execs are not included.
    pub(crate) fn of(&self, kind: Kind) -> u64 {
        self.seconds.back().zip(kind.place()).map_or(0, |(second, at)| second[at])
    }

    pub(crate) fn all(&self) -> u64 {
        self.seconds.back().map_or(0, |second| second.iter().sum())
    }

    /// The kinds that can flood ([`Kind::floods`]) and have had a high rate for a while.
    pub(crate) fn floods(&self) -> impl Iterator<Item = Kind> {
        Kind::PROBED.into_iter().filter(|kind| kind.floods() && self.many(*kind))
    }

    fn many(&self, kind: Kind) -> bool {
        let (many, for_seconds) = MANY;
        let Some(at) = kind.place() else { return false };
        let counts = self.seconds.iter().rev().take(for_seconds).map(|second| second[at]);
        self.seconds.len() >= for_seconds && counts.min().is_some_and(|least| least > many)
    }
}
