//! Yields CPU time to the traced processes: while the queue has room, lines can be formatted later.

use super::signals::asked_to_end;
use crate::limits;
use crate::source::priority;
use rustix::thread::{CapabilitySet, capabilities};

/// Batches in the queue from which on the time is taken back.
const LONG: usize = limits::BATCHES_QUEUED / 4;

/// The calling thread's niceness, by the length of the queue before it.
#[derive(Debug)]
pub(super) struct Pace {
    /// Whether what was lent can be taken back (CAP_SYS_NICE).
    may_lend: bool,
}

impl Pace {
    pub(super) fn new() -> Pace {
        let may_lend = capabilities(None).is_ok_and(|held| held.effective.contains(CapabilitySet::SYS_NICE));
        Pace { may_lend }
    }

    /// Adjusts to `queued` batches that wait. Nothing is lent any more once a signal came.
    pub(super) fn keep(&self, queued: usize) {
        match self.may_lend && queued < LONG && !asked_to_end() {
            true => priority::lend(),
            false => priority::take_back(),
        }
    }
}
