//! The consumer side of the ring.

use super::load::StartError;
use crate::wake::Waker;
use aya::maps::{Map, MapData, RingBuf};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::param::page_size;
use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracetui_events::frame::Batch;

/// The maximum wait after records were found. It is slightly more than `WAKE_NS`, for which the probes may leave
/// records in the ring without a wake-up.
const LOOK_AGAIN: Duration = Duration::from_millis(15);
/// The interval at which the positions are read during that time.
const LOOK: Duration = Duration::from_millis(5);
/// The maximum wait without a read of the positions. If a program can be preempted between taking the time and writing
/// the record, the probes can omit a wake-up. Records then wait at most this long.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// The ring, its positions, and the waker that ends a wait.
pub(super) struct Ring {
    records: RingBuf<MapData>,
    positions: Positions,
    size: u64,
    waker: Waker,
    /// The time up to which records may be in the ring without a wake-up.
    busy_until: Cell<Instant>,
}

impl Ring {
    pub(super) fn new(map: Map, size: u32) -> Result<Ring, StartError> {
        let records = RingBuf::try_from(map)?;
        let system = |call| move |error| StartError::System { call, error };
        let positions = Positions::map(records.as_raw_fd()).map_err(system("mmap of the ring"))?;
        let waker = Waker::new().map_err(system("eventfd"))?;
        Ok(Ring { records, positions, size: u64::from(size), waker, busy_until: Cell::new(Instant::now()) })
    }

    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits for records in the ring, or for one of the descriptors in `more`.
    pub(super) fn wait<'a>(
        &'a self,
        timeout: Option<Duration>,
        more: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(&self.records, PollFlags::IN), PollFd::new(&self.waker, PollFlags::IN)];
        fds.extend(more.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let mut left = timeout;
        loop {
            let longest = if Instant::now() < self.busy_until.get() { LOOK } else { LONGEST_SLEEP };
            let now = left.map_or(longest, |left| left.min(longest));
            match poll(&mut fds, Timespec::try_from(now).ok().as_ref()) {
                // A signal ends the wait as if no descriptor was ready; it is not an error.
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !fds[1].revents().is_empty() {
                self.waker.reset();
                return Ok(false);
            }
            // poll(2) compares the positions, regardless of wake-ups:
            // [`ringbuf_map_poll_kern`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/ringbuf.c).
            if !fds[0].revents().is_empty() {
                self.busy_until.set(Instant::now() + LOOK_AGAIN);
                return Ok(true);
            }
            if fds[2..].iter().any(|fd| !fd.revents().is_empty()) {
                return Ok(true);
            }
            left = left.map(|left| left.saturating_sub(now));
            if left == Some(Duration::ZERO) {
                return Ok(false);
            }
        }
    }

    pub(super) fn drain(&mut self, batch: &mut Batch, max_bytes: usize) -> bool {
        let start = batch.len();
        while let Some(record) = self.records.next() {
            batch.push_raw(&record);
            if batch.len() - start >= max_bytes {
                return true;
            }
        }
        false
    }

    pub(super) fn fill(&self) -> (u64, u64) {
        (self.positions.fill().min(self.size), self.size)
    }
}

/// The two pages before the ring's data, mapped read-only: the consumer's position and the producers' position
/// (`struct bpf_ringbuf` in
/// [kernel/bpf/ringbuf.c](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/ringbuf.c)). aya maps them too, but
/// does not expose them.
struct Positions {
    pages: NonNull<u8>,
    page: usize,
}

// SAFETY: the mapping is not bound to a thread, and is only read by atomic loads.
unsafe impl Send for Positions {}
// SAFETY: concurrent access through `&Positions` consists only of atomic loads.
unsafe impl Sync for Positions {}

impl Positions {
    fn map(ring: RawFd) -> io::Result<Positions> {
        // SAFETY: the kernel chooses the address, so the new mapping replaces no other one. `drop` unmaps it.
        unsafe {
            let page = page_size();
            let at = libc::mmap(std::ptr::null_mut(), 2 * page, libc::PROT_READ, libc::MAP_SHARED, ring, 0);
            match NonNull::new(at.cast()) {
                Some(pages) if at != libc::MAP_FAILED => Ok(Positions { pages, page }),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    fn fill(&self) -> u64 {
        let load = |at: usize| {
            // SAFETY: both offsets are within the mapping and aligned to 8 bytes. The kernel writes each position as
            // one word.
            unsafe { self.pages.add(at).cast::<AtomicU64>().as_ref() }.load(Ordering::Acquire)
        };
        let consumer = load(0);
        load(self.page).saturating_sub(consumer)
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        // SAFETY: `pages` is the mapping of two pages that `map` created, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.pages.as_ptr().cast(), 2 * self.page) };
    }
}
