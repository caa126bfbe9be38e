//! Puts events in order of time. The ring holds them in the order in which room was reserved, which across CPUs is not
//! quite the order of their time stamps: an event is held until no earlier one can come any more.

use crate::frame::{Batch, FrameRef};
use crate::limits;
use std::collections::VecDeque;
use tracetui_shared::time::BootNanos;

/// Where a frame stands: in which batch, and where there.
#[derive(Clone, Copy, Debug)]
struct Place {
    time: BootNanos,
    batch: u64,
    offset: usize,
}

#[derive(Debug)]
struct Held {
    batch: Batch,
    /// Frames of it that are not released yet.
    left: usize,
}

/// Frames that wait for their order to settle.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Where the waiting frames stand; ties keep the order in which they were added.
    places: Vec<Place>,
    held: VecDeque<Held>,
    /// The number of the first batch in `held`.
    first: u64,
    spare: Vec<Batch>,
    latest: BootNanos,
    drained: BootNanos,
    /// A probe that made these frames can be preempted.
    preemptible: bool,
}

/// Collects the places of a batch's frames while it is still borrowed.
#[derive(Debug)]
pub(super) struct Index {
    places: Vec<Place>,
    batch: u64,
    before: usize,
}

impl Index {
    pub(super) fn add(&mut self, time: BootNanos, offset: usize) {
        self.places.push(Place { time, batch: self.batch, offset });
    }
}

impl Order {
    pub(super) fn begin(&mut self, batch: &Batch) -> Index {
        if let Some(time) = batch.drained_at() {
            self.drained = self.drained.max(time);
        }
        let places = std::mem::take(&mut self.places);
        Index { before: places.len(), places, batch: self.first + self.held.len() as u64 }
    }

    pub(super) fn end(&mut self, index: Index, batch: Batch) {
        let added = index.places.get(index.before..).unwrap_or(&[]);
        let left = added.len();
        self.latest = added.iter().map(|place| place.time).max().unwrap_or_default().max(self.latest);
        self.places = index.places;
        self.held.push_back(Held { batch, left });
        self.recycle();
    }

    /// Adds frames that were made here: gaps, and events that were put together. A gap stands before the event of its
    /// own time, so made frames go before those that were added with the same time.
    pub(super) fn add_made(&mut self, made: Batch) {
        if made.is_empty() {
            return;
        }
        let mut index = self.begin(&made);
        for (offset, frame) in made.frames_with_offsets() {
            index.add(frame.header.time, offset);
        }
        index.places.rotate_left(index.before);
        index.before = 0;
        let count = made.frames().count();
        // Their times say nothing about how far the ring was read: `latest` stays.
        self.places = index.places;
        self.held.push_back(Held { batch: made, left: count });
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

    /// Hands on the frames up to `until`, in order.
    pub(super) fn release(&mut self, until: BootNanos, mut to: impl FnMut(&FrameRef<'_>)) {
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
    }

    fn recycle(&mut self) {
        while self.held.front().is_some_and(|held| held.left == 0) {
            self.first += 1;
            if let Some(Held { mut batch, .. }) = self.held.pop_front()
                && self.spare.len() < limits::BATCHES_QUEUED
            {
                batch.clear();
                self.spare.push(batch);
            }
        }
    }

    pub(super) fn spare(&mut self) -> Option<Batch> {
        self.spare.pop()
    }

    pub(super) fn waiting(&self) -> bool {
        !self.places.is_empty()
    }
}
