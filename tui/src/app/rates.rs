//! Event rates over the last seconds.

use crate::event::Event;
use std::collections::VecDeque;
use std::time::Duration;
use tracetui_shared::kind::Kind;

/// The number of seconds that are kept.
const SECONDS: usize = 10;

/// The rate of a kind in events per second above which hiding the kind is offered, and the number of consecutive
/// seconds with such a rate.
const MANY: (u64, usize) = (2_000, 3);

/// Counts in the order of [`Kind::PROBED`], and of failed execs, which start no program.
type Counts = [u64; FAILED_EXECS + 1];

const FAILED_EXECS: usize = Kind::PROBED.len();

/// Events per second, by kind.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// The counts since the last full second.
    counting: Counts,
    /// The counts of each full second, newest last.
    seconds: VecDeque<Counts>,
    since: Duration,
    /// CLOCK_BOOTTIME of the first event, ns.
    start_ns: Option<u64>,
}

impl Rates {
    /// The time of the first event: CLOCK_BOOTTIME in nanoseconds.
    pub fn start_ns(&self) -> Option<u64> {
        self.start_ns
    }

    /// Counts an event.
    pub fn count(&mut self, event: &Event<'_>, boot_ns: u64) {
        self.start_ns.get_or_insert(boot_ns);
        let at = match event.kind() {
            Kind::Exec if event.failed() => Some(FAILED_EXECS),
            kind => kind.place(),
        };
        at.and_then(|at| self.counting.get_mut(at)).into_iter().for_each(|count| *count += 1);
    }

    /// Sets the current time; `true` if a second has passed.
    pub fn tick(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.since);
        // Ticks may be slightly early or late.
        if passed < Duration::from_millis(900) {
            return false;
        }
        let per_second = self.counting.map(|count| (count as f64 / passed.as_secs_f64()).round() as u64);
        self.counting = Default::default();
        self.since = now;
        if self.seconds.len() == SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back(per_second);
        true
    }

    /// Events of a kind in the last second; of execs, those that succeeded.
    pub fn of(&self, kind: Kind) -> u64 {
        self.seconds.back().zip(kind.place()).map_or(0, |(second, at)| second[at])
    }

    /// Events in the last second.
    pub fn all(&self) -> u64 {
        self.seconds.back().map_or(0, |second| second.iter().sum())
    }

    /// Events in each of the last seconds, newest last.
    pub fn history(&self) -> impl Iterator<Item = u64> {
        self.seconds.iter().map(|second| second.iter().sum())
    }

    /// The kinds that can flood ([`Kind::floods`]) and have had a high rate for a while.
    pub fn floods(&self) -> impl Iterator<Item = Kind> {
        Kind::PROBED.into_iter().filter(|kind| kind.floods() && self.many(*kind))
    }

    fn many(&self, kind: Kind) -> bool {
        let (many, for_seconds) = MANY;
        let Some(at) = kind.place() else { return false };
        let counts = self.seconds.iter().rev().take(for_seconds).map(|second| second[at]);
        self.seconds.len() >= for_seconds && counts.min().is_some_and(|least| least > many)
    }
}
