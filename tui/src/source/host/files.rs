//! The limit of open files: every map, program and link needs a descriptor.

use std::io;
use std::sync::OnceLock;

/// A sufficient number of descriptors: about 110 for the probes while they are loaded, and those that were open at the
/// start.
const ENOUGH: libc::rlim_t = 256;

/// The limit is too low, and cannot be raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit of open files is {0}; tracing needs {ENOUGH}: run ulimit -n {ENOUGH} first")]
pub struct TooFew(u64);

/// The limit before it was raised.
static BEFORE: OnceLock<libc::rlimit> = OnceLock::new();

/// Raises the limit if it is too low. A COMMAND gets the limit of the shell: [`before`].
///
/// # Errors
/// If it is too low and cannot be raised.
pub fn make_room() -> Result<(), TooFew> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live `rlimit`, which the call fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 || limit.rlim_cur >= ENOUGH {
        return Ok(());
    }
    let raised = libc::rlimit { rlim_cur: ENOUGH, rlim_max: limit.rlim_max.max(ENOUGH) };
    // SAFETY: `raised` is a live `rlimit`.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } != 0 {
        return Err(TooFew(limit.rlim_cur));
    }
    let _ = BEFORE.set(limit);
    Ok(())
}

/// The limit that the shell set, if it was raised.
pub fn before() -> Option<libc::rlimit> {
    BEFORE.get().copied()
}

/// Sets the limit with one system call. Safe after a fork.
///
/// # Errors
/// The error of the kernel.
pub fn set(limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: `limit` is a reference to an `rlimit`, so it is valid for the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
