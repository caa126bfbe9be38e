//! The state of a replay: where in the recording the screen is, and where it is going.
//!
//! Only a part of the recording is loaded. The part starts at a saved state and has as many events as memory holds. The selected row is the
//! position. Playing moves the position with time.

pub(crate) mod loaded_part;
mod seek;
mod speed;
mod transport;

#[cfg(test)]
mod tests;

use super::search::{Find, Finding, Way};
pub use speed::Speed;
use std::time::Duration;
use tracetui_events::frame::Batch;
use tracetui_events::playback::timeline::{End, Facts, WHOLE_EVENTS};
use tracetui_events::store::Id;
use tracetui_events::text::without_codes;
use tracetui_shared::time::BootNanos;
pub(super) use transport::Playing;
pub use transport::{Target, Transport};

/// Reading on through this many events is faster than loading another part.
pub(super) const NEAR_EVENTS: u64 = 20_000;

#[derive(Debug, Default)]
pub struct Replay {
    pub(crate) facts: Facts,
    pub(crate) transport: Transport,
    /// Whether everything after the loaded part is loaded too.
    has_ended: bool,
    /// The times of the first and the latest frame read from the loaded part (CLOCK_BOOTTIME, ns).
    read: Option<(u64, u64)>,
    /// The events that the pipeline knew at the start of the recording. They were in removed files.
    before_start: u64,
    /// Why reading cannot continue.
    pub(crate) failure: Option<String>,
    /// Whether the loaded part begins at the start of the recording.
    pub(crate) from_start: bool,
    pub(crate) speed: Speed,
    /// The running search in the part that is not loaded, and the search to start or stop.
    pub(super) finding: Option<Finding>,
    pub(super) asked: Option<Option<Find>>,
    /// Whether no further event passes the filter.
    pub(super) nothing_passes: bool,
}

impl Replay {
    /// A replay that first goes to `target`.
    pub fn new(facts: Facts, target: Target, speed: Speed) -> Replay {
        let mut replay = Replay { facts, from_start: true, speed, ..Replay::default() };
        replay.transport.aim(target);
        replay
    }

    /// Continues playback from the row that the user selected during playback, if there is one.
    pub(super) fn play_from(&mut self, chosen: Option<Id>, at: Option<u64>, now: Duration) {
        if let (Some(playing), Some(at)) = (self.transport.playing_mut().filter(|playing| playing.row != chosen), at) {
            *playing = Playing::new(at, now, chosen);
        }
    }

    pub(super) fn fail(&mut self, why: String) {
        self.failure = Some(without_codes(&why));
        self.transport.arrive();
    }

    /// Notes that frames arrived.
    pub(super) fn took(&mut self, batch: &Batch) {
        for time in batch.frames().map(|frame| frame.header.time.0).filter(|time| *time > 0) {
            let (_, latest) = self.read.get_or_insert((time, time));
            *latest = time.max(*latest);
        }
    }

    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// Whether the recording is a pipe that has not ended.
    pub(crate) fn grows(&self) -> bool {
        self.facts.end == End::Unknown && !self.has_ended
    }

    /// Whether all events after the loaded part are loaded.
    pub(super) fn at_end(&self) -> bool {
        self.has_ended
    }

    /// Whether reading on reaches the next events sooner than loading another part does. `read`: events that the pipeline knows.
    pub(super) fn reads_on(&self, read: u64) -> bool {
        let (events, read) = (self.facts.events, read.saturating_sub(self.before_start));
        self.at_end() || self.from_start && events < WHOLE_EVENTS || events.saturating_sub(read) < NEAR_EVENTS
    }

    /// How much of the way to the target is read, in percent. `None` if the end of the recording is unknown.
    pub(super) fn progress(&self) -> Option<u64> {
        let ((_, end), (from, at)) = (self.facts.span?, self.read?);
        let goal = if let Some(Target::At(ns)) = self.transport.target() { ns.min(end) } else { end };
        let (done, whole) = (at.saturating_sub(from), goal.saturating_sub(from));
        (u128::from(done) * 100).checked_div(whole.into()).map(|percent| percent.min(100) as u64)
    }

    pub fn plays(&self) -> bool {
        self.transport.playing().is_some()
    }

    /// The end of the recording as far as it is known.
    pub(super) fn ends_at(&self) -> Option<BootNanos> {
        self.facts.span.map(|(_, last)| BootNanos(last))
    }

    /// Notes that another part is loaded. The pipeline knows `before` events before it.
    pub(super) fn restored(&mut self, from_start: bool, before: u64) {
        self.from_start = from_start;
        self.failure = None;
        self.has_ended = false;
        self.read = None;
        self.transport.set_awaited(false);
        if from_start {
            self.before_start = before;
        }
    }

    /// Advances the position to now, but not beyond `last`. `None` if the replay is not playing.
    pub(super) fn play(&mut self, now: Duration, last: u64) -> Option<u64> {
        let Transport::Playing(playing) = &mut self.transport else { return None };
        playing.step(now, last, self.speed);
        Some(playing.at)
    }

    /// Starts a search. `wrapped`: it continues from the other end of the recording.
    pub(super) fn find(&mut self, find: Find, wrapped: bool) {
        let at_ns = if find.way == Way::Down { find.from_ns } else { find.to_ns };
        self.transport.stop();
        self.asked = Some(Some(find.clone()));
        self.finding = Some(Finding { find, wrapped, at_ns });
    }

    /// Stops the search. Returns whether one was running.
    pub(super) fn stop_finding(&mut self) -> bool {
        let stopped = self.finding.take().is_some();
        if stopped {
            self.asked = Some(None);
        }
        stopped
    }
}
