//! Priorities (nice values) of tracetui's threads.

use std::sync::atomic::{AtomicBool, Ordering};

/// Niceness of a thread that must not wait for others.
const RAISED_NICE: libc::c_int = -10;

/// Raises the priority of the calling thread, and returns its former niceness. The reader of the ring only copies, and loses
/// what it does not copy in time; a process that was asked to end should do so on a busy machine too.
pub(crate) fn raise_priority() -> libc::c_int {
    // SAFETY: getpriority(2) with plain numbers; 0 is the calling thread.
    let niceness = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    set_priority(RAISED_NICE.min(niceness));
    niceness
}

/// Niceness of the main thread while its time is lent.
const LENT_NICE: libc::c_int = 15;

/// Whether the main thread's time is lent to what is traced.
static LENT: AtomicBool = AtomicBool::new(false);

/// Lends the main thread's time to what is traced, until it is taken back: by [`take_back`], or by the reader when the queue is
/// half full, since a batch at that niceness may take longer than the rest of the queue lasts.
pub(crate) fn lend() {
    if !LENT.swap(true, Ordering::Relaxed) {
        set_niceness(main_thread(), LENT_NICE);
    }
}

/// Takes the time back. By any thread, and in a signal handler.
pub(crate) fn take_back() {
    if LENT.swap(false, Ordering::Relaxed) {
        set_niceness(main_thread(), 0);
    }
}

/// Sets the niceness of the calling thread.
pub(crate) fn set_priority(niceness: libc::c_int) {
    set_niceness(0, niceness);
}

/// The main thread has the id of the process.
fn main_thread() -> libc::id_t {
    // SAFETY: getpid(2) has no arguments and does not fail.
    unsafe { libc::getpid() }.cast_unsigned()
}

/// Sets a thread's niceness; 0 is the calling one.
fn set_niceness(thread: libc::id_t, niceness: libc::c_int) {
    // SAFETY: setpriority(2) with plain numbers. A refusal (no CAP_SYS_NICE) changes nothing.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, niceness) };
}
