//! Niceness (scheduling priority) of tracetui's threads.
//!
//! The main thread has a raised priority while it waits and while few events come, so that it responds to a signal, a key or an event
//! on a busy machine too. It works on many events at its usual priority, or lends its CPU time ([`lend`]).

use rustix::process::{Pid, getpid, getpriority_process, setpriority_process};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

/// The niceness of a thread with a deadline.
const RAISED_NICE: libc::c_int = -10;

/// The niceness of the main thread after [`lend`].
const LENT_NICE: libc::c_int = 15;

/// The bytes of frames that take long enough to affect other processes: some 500 events.
pub const LARGE: usize = 64 << 10;

/// The niceness of the process before anything was raised or lowered. [`UNKNOWN`] if nothing was.
static USUAL: AtomicI32 = AtomicI32::new(UNKNOWN);
const UNKNOWN: i32 = i32::MIN;

fn usual() -> Option<libc::c_int> {
    Some(USUAL.load(Ordering::Relaxed)).filter(|niceness| *niceness != UNKNOWN)
}

/// Raises the priority of the calling thread. The reader of the ring needs this, because it only copies, and records that it does not
/// copy in time are lost. So does a thread that does little, and that others wait for.
pub fn raise_priority() {
    let niceness = getpriority_process(None).unwrap_or(0);
    let _ = USUAL.compare_exchange(UNKNOWN, niceness, Ordering::Relaxed, Ordering::Relaxed);
    set_niceness(None, RAISED_NICE.min(niceness));
}

/// Gives up a raised priority that the calling thread inherited from its parent thread.
pub fn give_up_raised() {
    usual().into_iter().for_each(|niceness| set_niceness(None, niceness));
}

static MAIN: AtomicU8 = AtomicU8::new(USUALLY);
const USUALLY: u8 = 0;
const RAISED: u8 = 1;
const LENT: u8 = 2;
/// Raised until the end of the process.
const ENDING: u8 = 3;

/// Sets the priority of the main thread, if it is `from` and this process traces.
fn set_main(from: u8, to: u8) {
    let Some(usual) = usual() else { return };
    if MAIN.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return;
    }
    let mut set = to;
    loop {
        let niceness = match set {
            USUALLY => usual,
            LENT => LENT_NICE.max(usual),
            _ => RAISED_NICE.min(usual),
        };
        set_niceness(Some(getpid()), niceness);
        // A signal handler or another thread may have changed it meanwhile.
        match MAIN.load(Ordering::Relaxed) {
            now if now == set => return,
            now => set = now,
        }
    }
}

/// Adapts the priority of the main thread to the bytes of frames that it takes next.
pub fn main_takes(bytes: usize) {
    if bytes >= LARGE {
        set_main(RAISED, USUALLY);
    } else {
        set_main(USUALLY, RAISED);
        set_main(LENT, RAISED);
    }
}

/// Lowers the priority of the main thread, so that the traced processes get its CPU time. [`take_back`] restores it.
/// The reader of the ring calls that when the queue is three quarters full, or has been non-empty for long. At this
/// niceness, a batch may take longer than the rest of the queue lasts.
pub fn lend() {
    set_main(USUALLY, LENT);
}

pub fn is_lent() -> bool {
    MAIN.load(Ordering::Relaxed) == LENT
}

/// Restores the priority of the main thread after [`lend`]. Callable from any thread.
pub fn take_back() {
    set_main(LENT, USUALLY);
}

/// Raises the priority of the main thread until the end of the process. Callable from a signal handler.
pub fn hasten_end() {
    for from in [USUALLY, RAISED, LENT] {
        set_main(from, ENDING);
    }
}

/// Sets the niceness of a thread; `None` is the calling thread. The id of the main thread is the id of the process.
fn set_niceness(thread: Option<Pid>, niceness: libc::c_int) {
    // If it is refused (no CAP_SYS_NICE), nothing changes.
    let _ = setpriority_process(thread, niceness);
}
