//! Lends CPU time to what is traced: while there is room in the queue, lines can be made a little later.

use crate::limits;
use crate::source::host::machine::{Capability, Machine};

/// Niceness while the queue is short: others go first.
const LENT: libc::c_int = 15;
/// Batches in the queue from which on the time is taken back.
const LONG: usize = limits::BATCHES_QUEUED * 5 / 6;

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

    /// Adjusts to `queued` batches that wait.
    pub(super) fn keep(&mut self, queued: usize) {
        let lend = self.may_lend && queued < LONG;
        if lend != self.lent {
            self.lent = lend;
            // SAFETY: setpriority(2) with plain numbers; 0 is the calling thread. A refusal changes nothing.
            let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, if lend { LENT } else { 0 }) };
        }
    }
}
