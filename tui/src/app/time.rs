//! Going through time, live and in a replay: the density strip, typed times, and marks.

pub(in crate::app) mod strip;

use super::keys::keymap::Action;
use super::prompt::line::History;
use std::collections::BTreeMap;
pub(crate) use strip::Bin;
pub(super) use strip::Strip;
use tracetui_events::text::time::{Moment, Zone, duration};

/// Times are CLOCK_BOOTTIME in ns.
#[derive(Debug, Default)]
pub(crate) struct Time {
    pub(super) strip: Strip,
    pub(super) history: History,
    pub(super) marks: BTreeMap<char, u64>,
    /// The action whose letter is awaited, [`Action::Mark`] or [`Action::GoToMark`], and the time of the event under the cursor.
    pub(super) awaited: Option<(Action, Option<u64>)>,
    /// Where the selection was before the last jump.
    pub(super) before: Option<u64>,
}

impl Time {
    /// The event density from the start to a time. Empty if the start is unknown.
    pub(crate) fn bins(&self, end: u64) -> &[Bin] {
        self.strip.bins(end)
    }

    pub(crate) fn marks(&self) -> impl Iterator<Item = (char, u64)> {
        self.marks.iter().map(|(letter, ns)| (*letter, *ns))
    }

    pub(crate) fn mark_at(&self, ns: u64) -> Option<char> {
        self.marks().find(|(_, at)| *at == ns).map(|(letter, _)| letter)
    }
}

/// A typed time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Aim {
    Moment(Moment),
    /// Nanoseconds before the last event: `-20s`.
    BeforeEnd(u64),
    /// A part of the recording, from 0 to 1: `99%`.
    Part(f64),
}

impl Aim {
    pub(super) fn parse(text: &str) -> Option<Aim> {
        let text = text.trim();
        if let Some(before) = text.strip_prefix('-') {
            return u64::try_from(duration(before)?.as_nanos()).ok().map(Aim::BeforeEnd);
        }
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.trim_end().parse().ok()?;
            return (0.0..=100.0).contains(&percent).then_some(Aim::Part(percent / 100.0));
        }
        Moment::parse(text).map(Aim::Moment)
    }

    /// The time in a recording (CLOCK_BOOTTIME, ns). `span`: its first and last one. `offset`: what that clock is behind the wall
    /// clock.
    pub(super) fn boot_ns(self, (start, end): (u64, u64), offset: i128, zone: Zone) -> u64 {
        match self {
            Aim::Moment(moment) => {
                let unix = moment.unix_ns((i128::from(start) + offset, i128::from(end) + offset), zone);
                u64::try_from((unix - offset).max(1)).unwrap_or(u64::MAX - 1)
            }
            Aim::BeforeEnd(ns) => end.saturating_sub(ns).max(start),
            Aim::Part(part) => start + (end.saturating_sub(start) as f64 * part) as u64,
        }
    }
}

#[cfg(test)]
mod tests;
