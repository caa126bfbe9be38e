//! bpf(2) as a plain system call, and loads that a signal interrupted.

use aya::programs::ProgramError;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// bpf(2) with a command that returns a descriptor.
///
/// # Safety
/// `attr` is the command's part of `union bpf_attr`, and what it points to is as the command wants it.
pub(super) unsafe fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: as the caller says.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    match libc::c_int::try_from(fd) {
        // SAFETY: a descriptor that is new.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Loads a program, again when a signal came in between: the verifier then gives up with EAGAIN (`do_check`).
pub(super) fn unless_interrupted<T, E: Interruptible>(mut load: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut loaded = load();
    for _ in 0..INTERRUPTIONS {
        if !loaded.as_ref().is_err_and(Interruptible::interrupted) {
            break;
        }
        loaded = load();
    }
    loaded
}

/// The number of retries of an interrupted load.
const INTERRUPTIONS: u32 = 20;

/// An error that may be for a signal.
pub(super) trait Interruptible {
    /// Whether it may be.
    fn interrupted(&self) -> bool;
}

impl Interruptible for io::Error {
    fn interrupted(&self) -> bool {
        self.raw_os_error() == Some(libc::EAGAIN)
    }
}

impl Interruptible for ProgramError {
    /// aya's second attempt, which asks for a log in a way that the kernel refuses, makes EINVAL of EAGAIN.
    fn interrupted(&self) -> bool {
        let ProgramError::LoadError { io_error, .. } = self else { return false };
        io_error.interrupted() || io_error.raw_os_error() == Some(libc::EINVAL)
    }
}
