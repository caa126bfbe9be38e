//! Yields CPU time to the traced processes: while many events come and the queue has room, they can be shown later.

use super::signals::asked_to_end;
use crate::frame::Batch;
use crate::source::priority;
use rustix::thread::{CapabilitySet, capabilities};

/// Bytes of a batch that takes a time worth yielding: some 500 events. Fewer are shown at once, also on a busy machine.
const LARGE: usize = 64 << 10;

/// The calling thread's niceness, by the batches before it.
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

    /// Before this batch is processed, and while `queued` others wait: lends from now on if it is large and none wait. The source
    /// takes that back if it lasts too long ([`FrameSender::urge`](crate::source::feed::FrameSender::urge)). Nothing is lent any
    /// more once a signal came.
    pub(super) fn keep(&self, batch: &Batch, queued: usize) {
        if queued > 0 || !self.may_lend {
            return;
        }
        if batch.len() >= LARGE && !asked_to_end() {
            priority::lend();
        } else {
            priority::take_back();
        }
    }

    /// Lends nothing any more.
    pub(super) fn end(&mut self) {
        self.may_lend = false;
        priority::take_back();
    }
}
