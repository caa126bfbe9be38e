//! Puts events in order of time. The ring holds them in the order in which room was reserved, which across CPUs is not
//! quite the order of their time stamps: an event is held until no earlier one can come any more.

use crate::frame::{Batch, FrameRef};
use crate::limits;
use std::collections::VecDeque;
use tracetui_shared::time::BootNanos;

/// Where a frame stands: in which batch, and where there.
#[derive(Clone, Copy, Debug)]
struct Position {
    time: BootNanos,
    batch: u64,
    offset: usize,
}

#[derive(Debug)]
struct HeldBatch {
    batch: Batch,
    /// Frames of it that are not released yet.
    left: usize,
    /// The latest of their times.
    latest: BootNanos,
    source: Source,
}

/// Where a batch came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// The reader, which fills it again.
    Reader,
    /// The pipeline: of any size, and not needed again.
    Made,
}

/// Frames that wait for their order to settle.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Where the waiting frames stand; ties keep the order in which they were added.
    places: Vec<Position>,
    held: VecDeque<HeldBatch>,
    /// Bytes that the batches in `held` take.
    bytes: usize,
    /// The number of the first batch in `held`.
    first: u64,
    spares: Vec<Batch>,
    latest: BootNanos,
    drained: BootNanos,
    /// A probe that made these frames can be preempted.
    preemptible: bool,
}

/// Collects the places of a batch's frames while it is still borrowed.
#[derive(Debug)]
pub(super) struct Index {
    places: Vec<Position>,
    batch: u64,
    before: usize,
}

impl Index {
    pub(super) fn add(&mut self, time: BootNanos, offset: usize) {
        self.places.push(Position { time, batch: self.batch, offset });
    }
}

impl Order {
    pub(super) fn begin(&mut self) -> Index {
        let places = std::mem::take(&mut self.places);
        Index { before: places.len(), places, batch: self.first + self.held.len() as u64 }
    }

    pub(super) fn end(&mut self, index: Index, batch: Batch) {
        let added = index.places.get(index.before..).unwrap_or(&[]);
        let left = added.len();
        let latest = added.iter().map(|place| place.time).max().unwrap_or_default();
        self.latest = latest.max(self.latest);
        self.places = index.places;
        match left {
            // Nothing of it waits: pieces of arguments, or what the host says.
            0 => self.spare(batch),
            _ => self.hold(HeldBatch { batch, left, latest, source: Source::Reader }),
        }
    }

    fn hold(&mut self, held: HeldBatch) {
        self.bytes += held.batch.room();
        self.held.push_back(held);
    }

    /// Bytes of what waits.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.places.capacity() * size_of::<Position>()
    }

    /// Up to when everything has to be handed on, settled or not, so that what waits takes fewer than `bytes`; the oldest
    /// batch is free then. `None` when it takes fewer already.
    pub(super) fn overdue(&self, bytes: usize) -> Option<BootNanos> {
        self.held.front().filter(|_| self.bytes > bytes).map(|held| held.latest)
    }

    /// Adds frames that were made here: gaps, and events that were put together. A gap stands before the event of its
    /// own time, so made frames go before those that were added with the same time.
    pub(super) fn add_made(&mut self, made: Batch) {
        if made.is_empty() {
            return;
        }
        let mut index = self.begin();
        for (offset, frame) in made.frames_with_offsets() {
            index.add(frame.header.time, offset);
        }
        let added = index.places.get(index.before..).unwrap_or(&[]);
        let left = added.len();
        let latest = added.iter().map(|place| place.time).max().unwrap_or_default();
        index.places.rotate_left(index.before);
        index.before = 0;
        // Their times say nothing about how far the ring was read: `self.latest` stays.
        self.places = index.places;
        self.hold(HeldBatch { batch: made, left, latest, source: Source::Made });
    }

    /// Nothing waited in the ring at this time: no earlier frame comes any more.
    pub(super) fn drained(&mut self, at: BootNanos) {
        self.drained = self.drained.max(at);
    }

    /// A probe that makes frames can be preempted: later records may be much earlier.
    pub(super) fn widen(&mut self) {
        self.preemptible = true;
    }

    /// Up to when the order is settled: what was read is complete up to a window before the latest event, or before
    /// the moment when nothing more waited.
    pub(super) fn settled(&self) -> BootNanos {
        BootNanos(self.latest.max(self.drained).0.saturating_sub(limits::order_window_ns(self.preemptible)))
    }

    /// Hands on the frames up to `until`, in order; how many.
    pub(super) fn release(&mut self, until: BootNanos, mut to: impl FnMut(&FrameRef<'_>)) -> usize {
        self.places.sort_by_key(|place| place.time);
        let count = self.places.partition_point(|place| place.time <= until);
        for place in self.places.drain(..count) {
            let Some(held) = usize::try_from(place.batch - self.first).ok().and_then(|i| self.held.get_mut(i)) else {
                continue;
            };
            held.left = held.left.saturating_sub(1);
            if let Some(frame) = held.batch.frame_at(place.offset) {
                to(&frame);
            }
        }
        self.recycle();
        count
    }

    fn recycle(&mut self) {
        while self.held.front().is_some_and(|held| held.left == 0) {
            self.first += 1;
            let Some(HeldBatch { batch, source, .. }) = self.held.pop_front() else { return };
            self.bytes -= batch.room();
            if source == Source::Reader {
                self.spare(batch);
            }
        }
    }

    fn spare(&mut self, mut batch: Batch) {
        if self.spares.len() < limits::BATCHES_SPARE {
            batch.clear();
            self.spares.push(batch);
        }
    }

    /// The frames that wait, in order.
    pub(super) fn write_state(&self, mut out: impl FnMut(&FrameRef<'_>)) {
        let mut places = self.places.clone();
        places.sort_by_key(|place| place.time);
        for place in places {
            let held = usize::try_from(place.batch - self.first).ok().and_then(|i| self.held.get(i));
            if let Some(frame) = held.and_then(|held| held.batch.frame_at(place.offset)) {
                out(&frame);
            }
        }
    }

    /// The latest frame, and when nothing waited in the ring.
    pub(super) fn read_until(&self) -> (BootNanos, BootNanos) {
        (self.latest, self.drained)
    }

    /// Takes frames that waited, and how far the ring was read.
    pub(super) fn restore(&mut self, waiting: Batch, (latest, drained): (BootNanos, BootNanos)) {
        self.add_made(waiting);
        (self.latest, self.drained) = (latest, drained);
    }

    /// A batch that can be reused.
    pub(super) fn take_spare(&mut self) -> Option<Batch> {
        self.spares.pop()
    }

    pub(super) fn waiting(&self) -> bool {
        !self.places.is_empty()
    }
}
