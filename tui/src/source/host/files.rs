//! The limit of open files: every map, program and link is one.

use std::io;
use std::sync::OnceLock;

/// Descriptors that suffice: some 110 for the probes while they are loaded, and those that were open at the start.
const ENOUGH: libc::rlim_t = 256;

/// The limit is too low, and may not be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit of open files is {0}, and tracing takes {ENOUGH}: raise it first: ulimit -n {ENOUGH}")]
pub struct TooFew(u64);

/// What the limit was before it was raised.
static BEFORE: OnceLock<libc::rlimit> = OnceLock::new();

/// Raises the limit where it is too low. A COMMAND is to have the one of the shell: [`before`].
///
/// # Errors
/// When it is too low, and may not be raised.
pub fn make_room() -> Result<(), TooFew> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a place for the limit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 || limit.rlim_cur >= ENOUGH {
        return Ok(());
    }
    let raised = libc::rlimit { rlim_cur: ENOUGH, rlim_max: limit.rlim_max.max(ENOUGH) };
    // SAFETY: a whole limit.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } != 0 {
        return Err(TooFew(limit.rlim_cur));
    }
    let _ = BEFORE.set(limit);
    Ok(())
}

/// The limit as the shell gave it, where it was raised.
pub fn before() -> Option<libc::rlimit> {
    BEFORE.get().copied()
}

/// Sets the limit. One system call: also for a process that was just forked.
///
/// # Errors
/// What the kernel says.
pub fn set(limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: a whole limit.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
