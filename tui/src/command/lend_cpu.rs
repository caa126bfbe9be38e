//! Yields CPU time to the traced processes. While many events come and the queue has room, the events can be shown later.

use rustix::thread::{CapabilitySet, capabilities};
use tracetui_events::frame::Batch;
use tracetui_host::priority;

/// The niceness of the main thread, depending on the batches before it.
#[derive(Debug)]
pub(super) struct Lender {
    /// Whether lent CPU time can be taken back (CAP_SYS_NICE).
    may_lend: bool,
}

impl Lender {
    pub(super) fn new() -> Lender {
        let may_lend = capabilities(None).is_ok_and(|held| held.effective.contains(CapabilitySet::SYS_NICE));
        Lender { may_lend }
    }

    /// Lends CPU time from now on if this batch is large and no others are queued. Fewer events are shown at once, even on a busy
    /// machine. Call it before the batch is processed. The source takes the time back if that lasts too long
    /// ([`FrameSender::urge`](tracetui_live::feed::FrameSender::urge)). Once the trace ends, nothing is lent any more.
    pub(super) fn keep(&self, batch: &Batch, queued: usize) {
        if batch.len() >= priority::LARGE && queued == 0 && self.may_lend {
            priority::lend();
        }
    }
}
