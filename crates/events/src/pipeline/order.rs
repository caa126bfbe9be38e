//! Sorts events by time. The ring holds records in the order of their reservation, which differs slightly from the
//! order of their times across CPUs. An event is therefore held until no earlier one can arrive.

use crate::frame::{Batch, FrameRef};
use crate::limits;
use std::borrow::Cow;
use std::collections::VecDeque;
use tracetui_shared::time::BootNanos;

/// The position of a frame: its batch, and the offset in it.
#[derive(Clone, Copy, Debug)]
struct Position {
    time: BootNanos,
    batch: u64,
    offset: usize,
}

#[derive(Debug)]
struct HeldBatch {
    batch: Batch,
    /// The number of its undelivered frames.
    left: usize,
    /// The latest time of its frames.
    latest: BootNanos,
    /// Whether it is from the reader, which can reuse it. Others have an arbitrary size.
    reusable: bool,
}

/// The fraction (1/n) of its buffer below which a batch is moved to a buffer of its own size.
const SMALL: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Order {
    /// The positions of the waiting frames. Frames of equal time keep the order in which they were added.
    places: Vec<Position>,
    /// How many of `places`, from the first on, are sorted by time.
    sorted: usize,
    held: VecDeque<HeldBatch>,
    /// Bytes of the batches in `held`.
    bytes: usize,
    /// The number of the first batch in `held`.
    first: u64,
    /// Batches that can be reused.
    pub(super) spares: Vec<Batch>,
    /// The time of the latest frame.
    pub(super) latest: BootNanos,
    pub(super) drained: BootNanos,
    /// See [`Order::settle`].
    pub(super) settled: BootNanos,
    /// Whether an attached probe can be preempted: its records may arrive much later.
    pub(super) preemptible: bool,
}

/// Collects the positions of a batch's frames while the batch is borrowed.
#[derive(Debug)]
pub(super) struct Positions {
    places: Vec<Position>,
    batch: u64,
    before: usize,
}

impl Positions {
    pub(super) fn add(&mut self, time: BootNanos, offset: usize) {
        self.places.push(Position { time, batch: self.batch, offset });
    }
}

impl Order {
    pub(super) fn begin(&mut self) -> Positions {
        let places = std::mem::take(&mut self.places);
        Positions { before: places.len(), places, batch: self.first + self.held.len() as u64 }
    }

    pub(super) fn end(&mut self, index: Positions, batch: Batch) {
        let added = index.places.get(index.before..).unwrap_or(&[]);
        let left = added.len();
        let latest = added.iter().map(|place| place.time).max().unwrap_or_default();
        self.latest = latest.max(self.latest);
        self.places = index.places;
        match left {
            // None of its frames waits: it has only continuations or host frames.
            0 => self.spare(batch),
            // Many small batches can wait together. If each kept a large buffer, memory would run out.
            _ if batch.len() < batch.room() / SMALL => {
                let small = batch.clone();
                self.spare(batch);
                self.hold(HeldBatch { batch: small, left, latest, reusable: false });
            }
            _ => self.hold(HeldBatch { batch, left, latest, reusable: true }),
        }
    }

    fn hold(&mut self, held: HeldBatch) {
        self.bytes += held.batch.room();
        self.held.push_back(held);
    }

    /// Bytes of the waiting batches and of their positions.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.places.capacity() * size_of::<Position>()
    }

    /// The time up to which frames must be delivered early to free the oldest batch. `None` if the waiting batches take at most
    /// `bytes`.
    pub(super) fn overdue(&self, bytes: usize) -> Option<BootNanos> {
        self.held.front().filter(|_| self.bytes > bytes).map(|held| held.latest)
    }

    /// Adds frames that the pipeline made: gaps and joined events. A gap comes before the event of its own time, so
    /// made frames come before the waiting frames of the same time.
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
        (index.before, self.sorted) = (0, 0);
        // Made frames do not show how far the ring was read, so `self.latest` stays unchanged.
        self.places = index.places;
        self.hold(HeldBatch { batch: made, left, latest, reusable: false });
    }

    /// Records that the ring was empty at this time: no earlier frame can arrive.
    pub(super) fn drained(&mut self, at: BootNanos) {
        self.drained = self.drained.max(at);
    }

    /// Records that every frame up to this time has arrived.
    pub(super) fn settle(&mut self, at: BootNanos) {
        self.settled = self.settled.max(at);
    }

    /// The time up to which the order is final: the later of two times. The first is one window before the latest event, or before
    /// the time when the ring was last empty. The second is [`Order::settle`], or just before `incomplete` if that is earlier: the
    /// time of the first event of which only a part has arrived.
    pub(super) fn settled(&self, incomplete: Option<BootNanos>) -> BootNanos {
        let window = limits::order_window_ns(self.preemptible);
        let whole = incomplete.map_or(self.settled, |first| self.settled.min(BootNanos(first.0.saturating_sub(1))));
        BootNanos(self.latest.max(self.drained).0.saturating_sub(window)).max(whole)
    }

    /// Delivers the frames up to `until`, in order. Returns their number.
    pub(super) fn release(&mut self, until: BootNanos, mut to: impl FnMut(&FrameRef<'_>)) -> usize {
        self.sort();
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
        self.sorted = self.places.len();
        self.recycle();
        count
    }

    /// The time of the earliest waiting frame.
    pub(super) fn next_time(&mut self) -> Option<BootNanos> {
        self.sort();
        self.places.first().map(|place| place.time)
    }

    /// The time of the latest waiting frame; 0 if there is none.
    pub(super) fn last_time(&self) -> BootNanos {
        self.places.iter().map(|place| place.time).max().unwrap_or_default()
    }

    /// Sorts the places by time. The sort is stable, and fast on places that are nearly in order.
    fn sort(&mut self) {
        if std::mem::replace(&mut self.sorted, self.places.len()) < self.places.len() {
            self.places.sort_by_key(|place| place.time);
        }
    }

    fn recycle(&mut self) {
        while self.held.front().is_some_and(|held| held.left == 0) {
            self.first += 1;
            let Some(HeldBatch { batch, reusable, .. }) = self.held.pop_front() else { return };
            self.bytes -= batch.room();
            if reusable {
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

    /// Passes the waiting frames to `out`, in order.
    pub(super) fn write_state(&self, mut out: impl FnMut(&FrameRef<'_>)) {
        let mut places = Cow::Borrowed(&self.places);
        if self.sorted < places.len() {
            places.to_mut().sort_by_key(|place| place.time);
        }
        for place in places.iter() {
            let held = usize::try_from(place.batch - self.first).ok().and_then(|i| self.held.get(i));
            if let Some(frame) = held.and_then(|held| held.batch.frame_at(place.offset)) {
                out(&frame);
            }
        }
    }

    /// The time up to which frames or reads of the ring have come.
    pub(super) fn reached(&self) -> BootNanos {
        self.latest.max(self.drained).max(self.settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tracetui_shared::header::FrameHeader;

    fn roomy(times: &[u64]) -> Batch {
        let mut roomy = Batch::with_capacity(1 << 20);
        roomy.append(batch(times, 0).bytes());
        roomy
    }

    #[test]
    fn small_batches_hold_no_large_buffers() {
        let mut order = Order::default();
        for time in 1..200 {
            let batch = roomy(&[time]);
            let mut index = order.begin();
            batch.frames_with_offsets().for_each(|(offset, frame)| index.add(frame.header.time, offset));
            order.end(index, batch);
            assert!(order.spares.pop().is_some_and(|spare| spare.room() >= 1 << 20 && spare.is_empty()));
        }
        assert!(order.bytes() < 1 << 20, "{}", order.bytes());
        assert_eq!(order.overdue(1 << 20), None);
        let mut times = Vec::new();
        order.release(BootNanos(u64::MAX), |frame| times.push(frame.header.time.0));
        assert!(times.iter().copied().eq(1..200), "{times:?}");
    }

    fn batch(times: &[u64], seq: u64) -> Batch {
        let mut batch = Batch::default();
        for (seq, time) in (seq..).zip(times) {
            batch.push(FrameHeader { seq, time: BootNanos(*time), ..FrameHeader::default() }, &[]);
        }
        batch
    }

    proptest! {
        #[test]
        fn frames_are_delivered_by_time_and_equal_ones_as_they_came(
            batches in prop::collection::vec(prop::collection::vec((0u64..40, 0u64..3), 0..60), 1..6),
            near in any::<bool>(),
        ) {
            let mut order = Order::default();
            let (mut seq, mut expected, mut delivered) = (0, Vec::new(), Vec::new());
            for (round, offsets) in (0u64..).zip(&batches) {
                // Far from their order, or nearly in it.
                let time = |at: u64, (far, close): (u64, u64)| 100 * round + if near { at + close } else { far };
                let times: Vec<u64> = (0..).zip(offsets).map(|(at, offset)| time(at, *offset)).collect();
                expected.extend(times.iter().copied().zip(seq..));
                let batch = batch(&times, seq);
                seq += times.len() as u64;
                let mut index = order.begin();
                batch.frames_with_offsets().for_each(|(offset, frame)| index.add(frame.header.time, offset));
                order.end(index, batch);
                // Some of the frames stay, and are put in order with the next ones.
                order.release(BootNanos(100 * round + 20), |frame| delivered.push((frame.header.time.0, frame.header.seq)));
            }
            let mut waiting = Vec::new();
            order.write_state(|frame| waiting.push((frame.header.time.0, frame.header.seq)));
            order.release(BootNanos(u64::MAX), |frame| delivered.push((frame.header.time.0, frame.header.seq)));
            expected.sort_by_key(|(time, _)| *time);
            prop_assert!(delivered.ends_with(&waiting));
            prop_assert_eq!(delivered, expected);
        }
    }
}
