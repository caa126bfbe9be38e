//! Lends CPU time to what is traced: while there is room in the queue, lines can be made a little later.

use super::signals::asked_to_end;
use crate::limits;
use crate::source::host::machine::{Capability, Machine};

/// Niceness while the queue is short: others go first.
const LENT: libc::c_int = 15;
/// Batches in the queue from which on the time is taken back.
const LONG: usize = limits::BATCHES_QUEUED * 5 / 6;

/// Bytes of a batch from which on the time is taken back: one exec with 2 MiB of arguments is a long line.
const LARGE: usize = 512 << 10;

/// The calling thread's niceness, by the length of the queue before it.
#[derive(Debug)]
pub(super) struct Pace {
    /// Whether what was lent can be taken back (CAP_SYS_NICE).
    may_lend: bool,
    lent: bool,
}

impl Pace {
    pub(super) fn new() -> Pace {
        let may_lend = Machine::read().capabilities.is_some_and(|held| held.has(Capability::SysNice));
        Pace { may_lend, lent: false }
    }

    /// Adjusts to `queued` batches that wait, and to the `bytes` of the next one. Nothing is lent any more once a signal came.
    pub(super) fn keep(&mut self, queued: usize, bytes: usize) {
        let lend = self.may_lend && queued < LONG && bytes < LARGE && !asked_to_end();
        if lend != self.lent {
            self.lent = lend;
            // SAFETY: setpriority(2) with plain numbers; 0 is the calling thread. A refusal changes nothing.
            let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, if lend { LENT } else { 0 }) };
        }
    }
}
