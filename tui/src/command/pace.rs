//! Yields CPU time to the traced processes: while the queue has room, events can be shown later.

use super::signals::asked_to_end;
use crate::source::priority;
use rustix::thread::{CapabilitySet, capabilities};

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

    /// Lends from now on if none of the `queued` batches wait. The source takes it back
    /// ([`FrameSender::busy`](crate::source::feed::FrameSender::busy)). Nothing is lent any more once a signal came.
    pub(super) fn keep(&self, queued: usize) {
        if self.may_lend && queued == 0 && !asked_to_end() {
            priority::lend();
        }
    }

    /// Lends nothing any more.
    pub(super) fn end(&mut self) {
        self.may_lend = false;
        priority::take_back();
    }
}
