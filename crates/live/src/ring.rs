//! The consumer side of the rings (`BPF_MAP_TYPE_RINGBUF`).
//!
//! Each record takes the spinlock of its ring
//! ([`__bpf_ringbuf_reserve`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/ringbuf.c)), so many CPUs have several rings.
//!
//! # Wake-ups
//! A wake-up costs the traced call some 5 µs. The kernel wakes the reader for a record at the consumer's position
//! ([`bpf_ringbuf_commit`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/ringbuf.c)), that is, if everything before it
//! was read. A reader that polls leaves the last record in the ring, so no record wakes it. Before a long wait it returns that
//! record too ([`Ring::wait`]). The next record wakes it, and only this one.

use super::load::StartError;
use crate::environment::Environments;
use crate::wake::Waker;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::param::page_size;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;
use tracetui_events::environment::Keeper;
use tracetui_events::frame::Batch;
use tracetui_events::limits;
use tracetui_host::ksymbols::online_cpus;
use tracetui_host::mmap::Mapping;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::time::BootNanos;

/// The size of a ring in bytes below which the reader is woken as soon as it has read everything: the ring may fill between two polls.
const POLLED: u64 = 4 << 20;

// By default, no record of several rings wakes a reader that polls.
const _: () = assert!(limits::RING_EACH >= POLLED);

/// The number of CPUs up to which they share one ring.
const SHARED: u32 = 8;

/// The number of rings without the option: one, or one for each online CPU.
pub fn default_rings() -> u32 {
    rings_for(&online_cpus().unwrap_or_default())
}

fn rings_for(cpus: &[u32]) -> u32 {
    let numbers = cpus.iter().max().map_or(1, |last| last.saturating_add(1));
    if numbers > SHARED { numbers.min(limits::RINGS as u32).next_power_of_two() } else { 1 }
}

/// The fraction of the ring after which the space of the records read is returned to the kernel.
const RETURNED: u64 = 16;

/// `BPF_RINGBUF_HDR_SZ` (include/uapi/linux/bpf.h): the bytes before a record. The first four are its length and flags.
const HEADER: u64 = 8;
/// `BPF_RINGBUF_BUSY_BIT` (same file): the record is still being written.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT` (same file).
const DISCARD: u32 = 1 << 30;

pub(super) struct Rings {
    rings: Vec<Ring>,
    /// The times of the next records, and the rings that hold them. Empty between two reads.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    /// Becomes readable by a wake-up, whatever is in the rings: an edge-triggered epoll(7).
    woken: OwnedFd,
    waker: Waker,
    environments: Environments,
}

impl Rings {
    /// Maps rings of `size` bytes each.
    pub(super) fn new(maps: Vec<OwnedFd>, size: u32, keeper: Keeper) -> Result<Rings, StartError> {
        let system = |call| move |error: Errno| StartError::System { call, error: error.into() };
        let woken = woken_by(&maps).map_err(system("epoll of the ring"))?;
        let rings = maps.into_iter().map(|map| Ring::new(map, size)).collect::<Result<_, _>>();
        let waker = Waker::new().map_err(|error| StartError::System { call: "eventfd", error })?;
        let rings = rings.map_err(system("mmap of the ring"))?;
        Ok(Rings { rings, heads: BinaryHeap::new(), woken, waker, environments: Environments::new(keeper) })
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
        if !polling || self.rings.iter().any(|ring| ring.size < POLLED) {
            self.rings.iter().for_each(|ring| ring.free(ring.read));
            // The kernel writes the producers' position before it reads the consumer's.
            fence(Ordering::SeqCst);
            if self.rings.iter().any(|ring| ring.produced() != ring.read) {
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
            let mut events = [MaybeUninit::<epoll::Event>::uninit(); limits::RINGS];
            epoll::wait(&self.woken, &mut events, Some(&Timespec::default()))?;
        }
        Ok(fds.iter().any(|fd| !fd.revents().is_empty()))
    }

    /// Moves records into `batch`, up to `most` bytes plus one record, and of several rings only those up to `until`. Returns
    /// `true` if more are in the rings.
    ///
    /// The rings are merged by the times of their next records. A record after the current time may be read before an earlier one
    /// of another ring is there, so the caller passes the time before the call.
    pub(super) fn drain(&mut self, batch: &mut Batch, most: usize, until: BootNanos) -> bool {
        let start = batch.len();
        let until = if self.rings.len() > 1 { until.0 } else { u64::MAX };
        for (index, ring) in self.rings.iter_mut().enumerate() {
            ring.begin();
            self.heads.extend(ring.head(until).map(|time| Reverse((time, index))));
        }
        while batch.len() - start < most
            && let Some(mut head) = self.heads.peek_mut()
        {
            let Reverse((_, index)) = *head;
            let ring = &mut self.rings[index];
            ring.take_record(&mut self.environments, batch);
            match ring.head(until) {
                Some(time) => *head = Reverse((time, index)),
                None => drop(PeekMut::pop(head)),
            }
        }
        self.rings.iter().for_each(Ring::give_back);
        let more = !self.heads.is_empty();
        self.heads.clear();
        more
    }

    /// The unread bytes of the fullest ring times the number of rings, and the size of all rings.
    pub(super) fn fill(&self) -> (u64, u64) {
        let count = self.rings.len() as u64;
        let fullest = self.rings.iter().map(|ring| ring.produced().saturating_sub(ring.read).min(ring.size)).max();
        (fullest.unwrap_or(0) * count, self.rings.iter().map(|ring| ring.size).sum())
    }
}

struct Ring {
    /// The page of the consumer's position.
    consumer: Mapping,
    /// The page of the producers' position, and the records, mapped twice in a row so that each is contiguous.
    producer: Mapping,
    /// The size of a page, after which the records begin. It is kept: asking for it took 2 % of the time of a storm.
    page: usize,
    size: u64,
    /// The end of the last record that was read.
    read: u64,
    /// The end of the records that the current call of [`Rings::drain`] may read.
    limit: u64,
    /// The start of the last record that this call has read.
    last: Option<u64>,
    /// The position up to which the space is returned.
    freed: u64,
    _map: OwnedFd,
}

impl Ring {
    fn new(map: OwnedFd, size: u32) -> Result<Ring, Errno> {
        let (fd, page, bytes) = (map.as_fd(), page_size(), size as usize);
        let consumer = Mapping::new(fd, 0, page, true)?;
        let producer = Mapping::new(fd, page, page + 2 * bytes, false)?;
        Ok(Ring { consumer, producer, page, size: size.into(), read: 0, limit: 0, last: None, freed: 0, _map: map })
    }

    fn begin(&mut self) {
        (self.limit, self.last, self.freed) = (self.produced(), None, self.read);
    }

    /// The time of the next record. `None` if there is none, if it is still being written, or if it is after `until`.
    fn head(&self, until: u64) -> Option<u64> {
        const TIME: usize = HEADER as usize + offset_of!(FrameHeader, time);
        let at = self.at();
        let complete = self.read < self.limit && self.producer.half(at).load(Ordering::Acquire) & BUSY == 0;
        let time = complete.then(|| self.producer.word(at + TIME).load(Ordering::Relaxed))?;
        (time <= until).then_some(time)
    }

    /// Moves the next record, which [`head`](Self::head) has found, into `batch`.
    fn take_record(&mut self, environments: &mut Environments, batch: &mut Batch) {
        let at = self.at();
        let header = self.producer.half(at).load(Ordering::Relaxed);
        let len = u64::from(header & !DISCARD);
        if header & DISCARD == 0 {
            // SAFETY: the record is complete, and its space is not returned yet.
            let record = unsafe { self.producer.bytes(at + HEADER as usize, len as usize) };
            if !environments.take(record, batch) {
                batch.push_raw(record);
            }
        }
        self.last = Some(self.read);
        self.read += HEADER + len.next_multiple_of(8);
        if self.read - self.freed >= self.size / RETURNED {
            self.freed = self.read;
            self.give_back();
        }
    }

    /// Returns the space of the records that were read, except for the last one.
    fn give_back(&self) {
        self.last.into_iter().for_each(|last| self.free(last));
    }

    fn at(&self) -> usize {
        self.page + (self.read & (self.size - 1)) as usize
    }

    fn produced(&self) -> u64 {
        // Pairs with the release in `__bpf_ringbuf_reserve`.
        self.producer.word(0).load(Ordering::Acquire)
    }

    fn free(&self, before: u64) {
        // Pairs with the acquire in `bpf_ringbuf_commit`, and with the one in `__bpf_ringbuf_reserve`.
        self.consumer.word(0).store(before, Ordering::Release);
    }
}

/// A descriptor that becomes readable when the kernel wakes the readers of one of the rings.
fn woken_by(rings: &[OwnedFd]) -> Result<OwnedFd, Errno> {
    let woken = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for ring in rings {
        epoll::add(&woken, ring, epoll::EventData::new_u64(0), epoll::EventFlags::IN | epoll::EventFlags::ET)?;
    }
    Ok(woken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use rustix::io::pwrite;
    use tracetui_events::environment::EnvMode;
    use zerocopy::IntoBytes as _;

    const SIZE: usize = 1 << 16;

    /// A file in place of a ring, with records of these times. `busy`: the one that is still being written.
    fn ring(times: &[u64], busy: Option<usize>) -> OwnedFd {
        let file = memfd_create("ring", MemfdFlags::CLOEXEC).expect("a file");
        ftruncate(&file, (2 * page_size() + 2 * SIZE) as u64).expect("room");
        let mut bytes = Vec::new();
        for (index, time) in times.iter().enumerate() {
            let len = size_of::<FrameHeader>() as u32;
            let header = FrameHeader { time: BootNanos(*time), len, ..FrameHeader::default() };
            let flags = if busy == Some(index) { BUSY } else { 0 };
            bytes.extend([len | flags, 0].as_bytes());
            bytes.extend(header.as_bytes());
        }
        pwrite(&file, &bytes, 2 * page_size() as u64).expect("room");
        pwrite(&file, &bytes.len().to_ne_bytes(), page_size() as u64).expect("room");
        file
    }

    fn rings(rings: Vec<OwnedFd>) -> Rings {
        let rings = rings.into_iter().map(|ring| Ring::new(ring, SIZE as u32).expect("it is mapped")).collect();
        let woken = eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor");
        let (environments, waker) = (Environments::new(Keeper::new(EnvMode::Off)), Waker::new().expect("a descriptor"));
        Rings { rings, heads: BinaryHeap::new(), woken, waker, environments }
    }

    /// The times of the records of one call, and whether there are more.
    fn drained(rings: &mut Rings, most: usize, until: u64) -> (Vec<u64>, bool) {
        let mut batch = Batch::default();
        let more = rings.drain(&mut batch, most, BootNanos(until));
        (batch.frames().map(|frame| frame.header.time.0).collect(), more)
    }

    #[test]
    fn several_rings_are_merged_by_time() {
        let mut several = rings(vec![ring(&[1, 4, 9], None), ring(&[], None), ring(&[2, 3, 5, 8], None)]);
        assert_eq!(drained(&mut several, 3 * size_of::<FrameHeader>(), 7), (vec![1, 2, 3], true));
        // What is after 7 may have an earlier one behind it.
        assert_eq!(drained(&mut several, usize::MAX, 7), (vec![4, 5], false));
        assert_eq!(drained(&mut several, usize::MAX, u64::MAX), (vec![8, 9], false));
        assert_eq!(several.fill(), (0, 3 * SIZE as u64));
        // A record that is still being written holds back its ring only.
        let mut written = rings(vec![ring(&[1, 2, 3], Some(1)), ring(&[4], None)]);
        assert_eq!(drained(&mut written, usize::MAX, 9), (vec![1, 4], false));
        assert!(written.fill().0 > 0);
        let mut single = rings(vec![ring(&[3, 1, 2], None)]);
        assert_eq!(drained(&mut single, usize::MAX, 2), (vec![3, 1, 2], false));
        let of = |cpus: u32| rings_for(&(0..cpus).collect::<Vec<_>>());
        assert_eq!([0, 1, 8, 9, 16, 64, 512].map(of), [1, 1, 1, 16, 16, 64, 64]);
        assert_eq!(rings_for(&[0, 31]), 32, "the number of the CPU selects the ring");
    }
}
