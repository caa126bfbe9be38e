//! bpf(2) as a raw system call, and retries of loads that a signal interrupted.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// bpf(2) with a command that returns a descriptor.
///
/// # Safety
/// `attr` must have the layout of the command's member of `union bpf_attr`. Its pointers must be valid for the command.
pub(super) unsafe fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller guarantees that `attr` is valid for the command, and `size_of::<T>()` is its size.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    match libc::c_int::try_from(fd) {
        // SAFETY: bpf(2) returned this descriptor, and nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Loads a program, and retries if a signal interrupted the verifier, which then fails with EAGAIN
/// ([`do_check`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/verifier.c)).
pub(super) fn unless_interrupted(mut load: impl FnMut() -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
    let mut loaded = load();
    for _ in 0..INTERRUPTIONS {
        if !loaded.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EAGAIN)) {
            break;
        }
        loaded = load();
    }
    loaded
}

/// The number of retries of an interrupted load.
const INTERRUPTIONS: u32 = 20;
