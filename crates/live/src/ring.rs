//! The consumer side of the ring (`BPF_MAP_TYPE_RINGBUF`).
//!
//! # Wake-ups
//! A wake-up costs the traced call some 5 µs. The kernel wakes the reader for a record at the consumer's position
//! ([`bpf_ringbuf_commit`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/ringbuf.c)), that is, if everything before it
//! was read. A reader that polls leaves the last record in the ring, so no record wakes it. Before a long wait it returns that
//! record too ([`Ring::wait`]). The next record wakes it, and only this one.

use super::load::StartError;
use crate::wake::Waker;
use aya::maps::{Map, MapData, MapError};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::param::page_size;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;
use tracetui_events::frame::Batch;
use tracetui_host::mapping::Mapping;

/// The size of a ring in bytes below which the reader is woken as soon as it has read everything: the ring may fill between two polls.
const POLLED: u64 = 4 << 20;

/// The fraction of the ring after which the space of the records read is returned to the kernel.
const RETURNED: u64 = 16;

/// `BPF_RINGBUF_HDR_SZ` (include/uapi/linux/bpf.h): the bytes before a record. The first four are its length and flags.
const HEADER: u64 = 8;
/// `BPF_RINGBUF_BUSY_BIT` (same file): the record is still being written.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT` (same file).
const DISCARD: u32 = 1 << 30;

/// The ring, and the waker that ends a wait.
pub(super) struct Ring {
    /// The page of the consumer's position.
    consumer: Mapping,
    /// The page of the producers' position, and the records, mapped twice in a row so that each is contiguous.
    producer: Mapping,
    size: u64,
    /// The end of the last record that was read.
    read: u64,
    /// Becomes readable by a wake-up, whatever is in the ring: an edge-triggered epoll(7).
    woken: OwnedFd,
    waker: Waker,
    _map: MapData,
}

impl Ring {
    pub(super) fn new(map: Map, size: u32) -> Result<Ring, StartError> {
        let Map::RingBuf(map) = map else { return Err(MapError::InvalidName { name: "RING".into() }.into()) };
        let system = |call| move |error: Errno| StartError::System { call, error: error.into() };
        let (fd, page, bytes) = (map.fd().as_fd(), page_size(), size as usize);
        let consumer = Mapping::new(fd, 0, page, true).map_err(system("mmap of the ring"))?;
        let producer = Mapping::new(fd, page, page + 2 * bytes, false).map_err(system("mmap of the ring"))?;
        let woken = woken_by(fd).map_err(system("epoll of the ring"))?;
        let waker = Waker::new().map_err(|error| StartError::System { call: "eventfd", error })?;
        Ok(Ring { consumer, producer, size: size.into(), read: 0, woken, waker, _map: map })
    }

    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits for a wake-up, or for one of the descriptors in `more`. `polling`: the caller reads at the end of `timeout` anyway, so
    /// only large frames wake it.
    pub(super) fn wait<'a>(
        &'a self,
        timeout: Duration,
        polling: bool,
        more: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> io::Result<bool> {
        if !polling || self.size < POLLED {
            self.free(self.read);
            // The kernel writes the producers' position before it reads the consumer's.
            fence(Ordering::SeqCst);
            if self.produced() != self.read {
                return Ok(true);
            }
        }
        let mut fds = vec![PollFd::new(&self.woken, PollFlags::IN), PollFd::new(&self.waker, PollFlags::IN)];
        fds.extend(more.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, Timespec::try_from(timeout).ok().as_ref()) {
            // A signal ends the wait as if no descriptor was ready; it is not an error.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[1].revents().is_empty() {
            self.waker.reset();
            return Ok(false);
        }
        if !fds[0].revents().is_empty() {
            epoll::wait(&self.woken, &mut [MaybeUninit::<epoll::Event>::uninit()], Some(&Timespec::default()))?;
        }
        Ok(fds.iter().any(|fd| !fd.revents().is_empty()))
    }

    /// Moves records into `batch`, up to `most` bytes plus one record. Returns `true` if more are in the ring.
    pub(super) fn drain(&mut self, batch: &mut Batch, most: usize) -> bool {
        let (start, produced) = (batch.len(), self.produced());
        let (mut last, mut freed) = (None, self.read);
        while self.read < produced && batch.len() - start < most {
            let at = page_size() + (self.read & (self.size - 1)) as usize;
            let header = self.producer.half(at).load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let len = u64::from(header & !DISCARD);
            if header & DISCARD == 0 {
                // SAFETY: the record is complete, and its space is not returned yet.
                batch.push_raw(unsafe { self.producer.bytes(at + HEADER as usize, len as usize) });
            }
            last = Some(self.read);
            self.read += HEADER + len.next_multiple_of(8);
            if self.read - freed >= self.size / RETURNED {
                freed = self.read;
                last.into_iter().for_each(|last| self.free(last));
            }
        }
        last.into_iter().for_each(|last| self.free(last));
        self.read < produced && batch.len() - start >= most
    }

    /// The bytes that were not read yet, and the size of the ring.
    pub(super) fn fill(&self) -> (u64, u64) {
        (self.produced().saturating_sub(self.read).min(self.size), self.size)
    }

    /// The producers' position.
    fn produced(&self) -> u64 {
        // Pairs with the release in `__bpf_ringbuf_reserve`.
        self.producer.word(0).load(Ordering::Acquire)
    }

    /// Returns the space before a position.
    fn free(&self, before: u64) {
        // Pairs with the acquire in `bpf_ringbuf_commit`, and with the one in `__bpf_ringbuf_reserve`.
        self.consumer.word(0).store(before, Ordering::Release);
    }
}

/// A descriptor that becomes readable when the kernel wakes the readers of the ring.
fn woken_by(ring: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let woken = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&woken, ring, epoll::EventData::new_u64(0), epoll::EventFlags::IN | epoll::EventFlags::ET)?;
    Ok(woken)
}
