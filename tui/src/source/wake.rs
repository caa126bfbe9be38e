//! Wakes a thread that waits for file descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// An eventfd that ends one wait, the current one or the next, from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Creates the eventfd.
    ///
    /// # Errors
    /// If no descriptor is available.
    pub fn new() -> io::Result<Waker> {
        // SAFETY: eventfd(2) takes numbers only, so it accesses no memory.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: eventfd(2) returned this descriptor, and nothing else owns it.
        Ok(Waker(Arc::new(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Ends the current wait; without one, the next wait ends at once.
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` is valid for the eight bytes that an eventfd reads. The only possible error is an overflow, in
        // which case the eventfd is readable already.
        let _ = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Resets the eventfd after a wait.
    pub fn reset(&self) {
        let mut count = [0u8; 8];
        // SAFETY: `count` is valid for the eight bytes that an eventfd writes. The eventfd is nonblocking, so the call
        // returns.
        let _ = unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsFd for Waker {
    /// Readable after [`wake`](Self::wake).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
