//! The activity of a replay.

use super::speed::Speed;
use std::time::Duration;
use tracetui_events::store::Id;

/// Where the screen goes once enough is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    First,
    /// The first event at this time or later (CLOCK_BOOTTIME, ns).
    At(u64),
    Last,
}

#[derive(Clone, Debug)]
pub enum Transport {
    /// Going to a place that is not loaded yet. `awaited`: another part was requested and has not arrived. `then`: the activity once there.
    Loading { to: Target, awaited: bool, then: Box<Transport> },
    /// Showing events as they are written.
    Following,
    /// Moving with time.
    Playing(Playing),
    /// Staying in place. `held`: the row at which following was paused.
    Paused { held: Option<Id> },
}

impl Default for Transport {
    fn default() -> Transport {
        Transport::Paused { held: None }
    }
}

impl Transport {
    pub fn word(&self) -> &'static str {
        match self {
            Transport::Loading { .. } => "loading",
            Transport::Following => "following",
            Transport::Playing(_) => "playing",
            Transport::Paused { .. } => "paused",
        }
    }

    /// Goes to a place, and continues the current activity there.
    pub(crate) fn aim(&mut self, to: Target) {
        let (awaited, then) = match std::mem::take(self) {
            Transport::Loading { awaited, then, .. } => (awaited, then),
            Transport::Following => (false, Box::default()),
            other => (false, Box::new(other)),
        };
        *self = Transport::Loading { to, awaited, then };
    }

    /// Ends the way to the target, because it was reached or given up.
    pub(in crate::app) fn arrive(&mut self) {
        if let Transport::Loading { then, .. } = self {
            *self = std::mem::take(then);
        }
    }

    /// Stays at a row that was found in the loaded part, unless another part was requested.
    pub(in crate::app) fn found(&mut self) {
        if !self.awaits() {
            self.arrive();
        }
    }

    pub(in crate::app) fn stop(&mut self) {
        if let rest @ Transport::Playing(_) = self.rest() {
            *rest = Transport::default();
        }
    }

    pub fn target(&self) -> Option<Target> {
        match self {
            Transport::Loading { to, .. } => Some(*to),
            _ => None,
        }
    }

    /// Whether another part was requested and has not arrived.
    pub(in crate::app) fn awaits(&self) -> bool {
        matches!(self, Transport::Loading { awaited: true, .. })
    }

    pub(in crate::app) fn set_awaited(&mut self, is: bool) {
        if let Transport::Loading { awaited, .. } = self {
            *awaited = is;
        }
    }

    /// The activity at the target.
    pub(in crate::app) fn rest(&mut self) -> &mut Transport {
        match self {
            Transport::Loading { then, .. } => then,
            other => other,
        }
    }

    /// The moving position, now or at the target.
    pub(in crate::app) fn playing(&self) -> Option<&Playing> {
        match self {
            Transport::Playing(playing) => Some(playing),
            Transport::Loading { then, .. } => then.playing(),
            _ => None,
        }
    }

    pub(in crate::app) fn playing_mut(&mut self) -> Option<&mut Playing> {
        match self.rest() {
            Transport::Playing(playing) => Some(playing),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Playing {
    /// The position (CLOCK_BOOTTIME, ns).
    pub(in crate::app) at: u64,
    /// When the last step was.
    then: Duration,
    /// The row of the last step. If the user selects another row, playback continues from that row.
    pub(in crate::app) row: Option<Id>,
}

impl Playing {
    pub(in crate::app) fn new(at: u64, now: Duration, row: Option<Id>) -> Playing {
        Playing { at, then: now, row }
    }

    /// Advances to now, but not beyond `last`.
    pub(in crate::app) fn step(&mut self, now: Duration, last: u64, speed: Speed) {
        let to = self.at.saturating_add(speed.passes(now.saturating_sub(self.then)));
        (self.at, self.then) = (to.min(last.max(self.at)), now);
    }
}
