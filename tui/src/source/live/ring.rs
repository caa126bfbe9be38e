//! The consumer's end of the ring.

use super::load::StartError;
use crate::frame::Batch;
use aya::maps::{Map, MapData, RingBuf};
use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long the reader looks again after it found records: a little more than `WAKE_NS`, for which the probes may leave
/// records in the ring without a wake-up.
const LOOK_AGAIN: Duration = Duration::from_millis(15);
/// The longest sleep without a look. On kernels where a program can be preempted between taking the time and writing
/// the record, a wake-up may be a record short; nothing waits for longer than this.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// The ring, its positions, and what ends a wait.
pub(super) struct Ring {
    records: RingBuf<MapData>,
    positions: Positions,
    size: u64,
    stop: Arc<OwnedFd>,
    /// Records were found since the last wait that found none.
    busy: Cell<bool>,
}

/// Ends one wait on the ring, the current or the next one, from any thread.
#[derive(Clone, Debug)]
pub struct Stop(Arc<OwnedFd>);

impl Stop {
    /// Ends the current wait, or the next one immediately.
    pub fn stop(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes, as an eventfd takes them. It cannot fail but by overflow, which also means stopped.
        let _ = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

impl Ring {
    pub(super) fn new(map: Map, size: u32) -> Result<Ring, StartError> {
        let records = RingBuf::try_from(map)?;
        let system = |call| move |error| StartError::System { call, error };
        let positions = Positions::map(records.as_raw_fd()).map_err(system("mmap of the ring"))?;
        let stop = Arc::new(eventfd().map_err(system("eventfd"))?);
        Ok(Ring { records, positions, size: u64::from(size), stop, busy: Cell::new(false) })
    }

    pub(super) fn stopper(&self) -> Stop {
        Stop(Arc::clone(&self.stop))
    }

    pub(super) fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let mut fds = [poll_in(self.records.as_raw_fd()), poll_in(self.stop.as_raw_fd())];
        let mut left = timeout;
        loop {
            let longest = if self.busy.get() { LOOK_AGAIN } else { LONGEST_SLEEP };
            let now = left.map_or(longest, |left| left.min(longest));
            poll(&mut fds, now)?;
            if fds[1].revents != 0 {
                self.take_wake_up();
                return Ok(false);
            }
            // The kernel looks at the positions whatever the wake-ups were.
            if fds[0].revents != 0 {
                self.busy.set(true);
                return Ok(true);
            }
            if now == longest {
                self.busy.set(false);
            }
            left = left.map(|left| left.saturating_sub(now));
            if left == Some(Duration::ZERO) {
                return Ok(false);
            }
        }
    }

    /// Resets the eventfd: a wake-up ends one wait.
    fn take_wake_up(&self) {
        let mut count = [0u8; 8];
        // SAFETY: eight bytes, as an eventfd gives them; it does not block, since it was found readable.
        let _ = unsafe { libc::read(self.stop.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
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

fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: a fresh descriptor that nobody else owns.
    unsafe {
        match libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

fn poll_in(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// poll(2); a signal is no error, it ends the wait as if nothing was found.
fn poll(fds: &mut [libc::pollfd], timeout: Duration) -> io::Result<()> {
    let millis = i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    // SAFETY: the pointer and the count are the slice's.
    let n = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, millis) };
    if n >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => {
            fds.iter_mut().for_each(|fd| fd.revents = 0);
            Ok(())
        }
        error => Err(error),
    }
}

/// The two pages in front of the ring's data: the consumer's position and the producers' (`struct bpf_ringbuf`), read
/// only. aya maps them too, but does not show them.
struct Positions {
    pages: NonNull<u8>,
    page: usize,
}

// SAFETY: the pages are only read, by atomic loads.
unsafe impl Send for Positions {}
// SAFETY: as above.
unsafe impl Sync for Positions {}

impl Positions {
    fn map(ring: RawFd) -> io::Result<Positions> {
        // SAFETY: a fresh mapping at an address that the kernel picks; unmapped in `drop`.
        unsafe {
            let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096);
            let at = libc::mmap(std::ptr::null_mut(), 2 * page, libc::PROT_READ, libc::MAP_SHARED, ring, 0);
            match NonNull::new(at.cast()) {
                Some(pages) if at != libc::MAP_FAILED => Ok(Positions { pages, page }),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    fn fill(&self) -> u64 {
        let load = |at: usize| {
            // SAFETY: both places are inside of the mapping and aligned; the kernel writes whole words.
            unsafe { self.pages.add(at).cast::<AtomicU64>().as_ref() }.load(Ordering::Acquire)
        };
        let consumer = load(0);
        load(self.page).saturating_sub(consumer)
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        // SAFETY: this is the mapping of `map`.
        unsafe { libc::munmap(self.pages.as_ptr().cast(), 2 * self.page) };
    }
}
