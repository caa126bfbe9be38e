//! Niceness (scheduling priority) of tracetui's threads.

use rustix::process::{Pid, getpid, getpriority_process, setpriority_process};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// The niceness of a thread with a deadline.
const RAISED_NICE: libc::c_int = -10;

/// Raises the priority of the calling thread, and returns its former niceness. The reader of the ring needs this,
/// because it only copies, and records that it does not copy in time are lost. A process that got a request to stop
/// needs it too, to stop promptly on a busy machine.
pub fn raise_priority() -> libc::c_int {
    let niceness = getpriority_process(None).unwrap_or(0);
    let _ = USUAL.compare_exchange(UNKNOWN, niceness, Ordering::Relaxed, Ordering::Relaxed);
    set_priority(RAISED_NICE.min(niceness));
    niceness
}

/// Gives up a raised priority that the calling thread inherited from its parent thread.
pub(crate) fn give_up_raised() {
    set_priority(usual());
}

/// The niceness of the main thread after [`lend`].
const LENT_NICE: libc::c_int = 15;

/// Whether the priority of the main thread is lowered.
static LENT: AtomicBool = AtomicBool::new(false);

/// The niceness of the process before anything was raised or lowered.
static USUAL: AtomicI32 = AtomicI32::new(UNKNOWN);
const UNKNOWN: i32 = i32::MIN;

fn usual() -> libc::c_int {
    match USUAL.load(Ordering::Relaxed) {
        UNKNOWN => 0,
        niceness => niceness,
    }
}

/// Lowers the priority of the main thread, so that the traced processes get its CPU time. [`take_back`] restores it.
/// The reader of the ring calls that when the queue is three quarters full, or has been non-empty for long. At this
/// niceness, a batch may take longer than the rest of the queue lasts.
pub fn lend() {
    if !LENT.swap(true, Ordering::Relaxed) {
        set_niceness(Some(getpid()), LENT_NICE.max(usual()));
    }
}

/// Restores the priority of the main thread. Callable from any thread and from a signal handler.
pub fn take_back() {
    if LENT.swap(false, Ordering::Relaxed) {
        set_niceness(Some(getpid()), usual());
    }
}

pub fn set_priority(niceness: libc::c_int) {
    set_niceness(None, niceness);
}

/// Sets the niceness of a thread; `None` is the calling thread. The id of the main thread is the id of the process.
fn set_niceness(thread: Option<Pid>, niceness: libc::c_int) {
    // If it is refused (no CAP_SYS_NICE), nothing changes.
    let _ = setpriority_process(thread, niceness);
}
