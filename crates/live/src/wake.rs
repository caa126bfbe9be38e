//! Wakes a thread that waits for file descriptors.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// An eventfd that ends one wait, the current one or the next, from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Creates the eventfd.
    /// Fails if no descriptor is available.
    pub fn new() -> io::Result<Waker> {
        Ok(Waker(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Ends the current wait; without one, the next wait ends at once.
    pub fn wake(&self) {
        // The only possible error is an overflow, in which case the eventfd is readable already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Resets the eventfd after a wait.
    pub fn reset(&self) {
        // The eventfd is nonblocking, so the call returns.
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Waker {
    /// The eventfd, which is readable after [`wake`](Self::wake).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
