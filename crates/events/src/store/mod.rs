//! The kept events: raw frames in blocks. At the limit the oldest block is evicted.
//!
//! An event is kept as the bytes of its frame and decoded again for display. Only its process and the clock offset are
//! kept with it, because those change. Ids are never changed or reused.

mod block;
pub mod index;
mod pins;

use crate::event::open::Open;
use crate::event::process::Process;
use crate::event::{self, DecodeError, Event, EventContext, Payload, Tables};
use crate::frame::{FrameRef, HEADER};
use block::Block;
use foldhash::fast::RandomState;
use pins::Pins;
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes;

/// The number of a kept event: counted from 0, and constant for the event.
pub type Id = u64;

/// The hash of the file name of an `open`: equal for equal names. Different names with one hash would be confused, but nobody who
/// chooses names knows the key of the hash.
pub type FileHash = NonZeroU64;

/// Bytes of a block, unless the limit is too small for several blocks.
const BLOCK: usize = 1 << 20;

/// The minimum number of blocks with a small limit, so that an eviction removes only a part of the events.
const BLOCKS_MIN: usize = 16;

/// The part (1/n) of the limit that pinned events may take.
const PINNED: usize = 8;

/// Bytes of an entry in the table of charged objects. The table fills at most seven of eight places.
const CHARGE: usize = (size_of::<(usize, Charge)>() + 1) * 8 / 7 + 1;

#[derive(Debug)]
pub struct Store {
    blocks: VecDeque<Block>,
    /// The index of the block used last. The next lookup is often in the same block.
    asked: Cell<usize>,
    /// The number of the first block in `blocks`, counted from 0.
    first_block: u64,
    bound: usize,
    /// Copies of events that stay when their blocks are evicted.
    pins: Pins,
    /// Bytes of all blocks but the newest.
    sealed: usize,
    /// The objects that the blocks refer to. Each is charged to the newest block that refers to it.
    charges: FxHashMap<usize, Charge>,
    /// Makes the hashes of files.
    hasher: RandomState,
    evicted: u64,
    /// The number of kept `lost` rows.
    lost_rows: u64,
    widest_pid: Tgid,
}

#[derive(Clone, Copy, Debug)]
struct Charge {
    block: u64,
    bytes: usize,
}

/// A kept event whose frame is not decoded yet.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub id: Id,
    /// The bytes of its frame. Many questions are answered without decoding it.
    bytes: &'a [u8],
    pub process: Option<&'a Arc<Process>>,
    /// CLOCK_REALTIME − CLOCK_BOOTTIME at the event.
    pub clock_offset: i64,
    /// The hash of its file name, if it is an open.
    pub file: Option<FileHash>,
    pub failed: bool,
    /// Whether it failed, but needs no answer or a later call answered it.
    pub answered: bool,
    pub kind: Kind,
    /// The time ([`FrameHeader::time`]).
    pub time: BootNanos,
}

impl<'a> Stored<'a> {
    #[inline]
    pub fn header(&self) -> FrameHeader {
        // Only whole frames are pushed.
        FrameHeader::read_from_prefix(self.bytes).map_or_else(|_| FrameHeader::default(), |(header, _)| header)
    }

    #[inline]
    pub fn frame(&self) -> FrameRef<'a> {
        FrameRef { header: self.header(), payload: self.bytes.get(HEADER..).unwrap_or_default(), bytes: self.bytes }
    }

    /// Decodes the frame.
    /// Stored frames have been decoded before, so this does not fail.
    #[inline]
    pub fn event(&self) -> Result<Event<'a>, DecodeError> {
        Event::decode(&self.frame())
    }

    /// The data of an `open`, without the rest of the event; `None` for other events.
    #[inline]
    pub fn open(&self) -> Option<Open<'a>> {
        if self.kind != Kind::Open {
            return None;
        }
        let frame = self.frame();
        let (record, _) = event::split(&frame)?;
        Payload::decode(record)
    }

    /// Calls a function with the event, its process and the tables.
    #[inline]
    pub fn with<R>(&self, world: &dyn Tables, look: impl FnOnce(&EventContext<'_>) -> R) -> Option<R> {
        let event = self.event().ok()?;
        Some(look(&EventContext { event: &event, world, process: self.process, clock_offset: self.clock_offset }))
    }
}

impl Store {
    /// An empty store with a limit of about `bound` bytes. The newest event is always kept.
    pub fn new(bound: usize) -> Store {
        Store {
            blocks: VecDeque::new(),
            asked: Cell::new(0),
            first_block: 0,
            bound,
            pins: Pins::default(),
            sealed: 0,
            charges: FxHashMap::default(),
            hasher: RandomState::default(),
            evicted: 0,
            lost_rows: 0,
            widest_pid: Tgid(0),
        }
    }

    /// Changes the limit, and evicts the oldest events if necessary.
    pub fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
        self.evict();
    }

    /// Adds an event, and evicts the oldest ones if necessary.
    pub fn push(&mut self, seen: &EventContext<'_>, frame: &FrameRef<'_>) -> Id {
        if !self.blocks.back().is_some_and(|block| block.has_room(frame.bytes.len())) {
            self.open_block(frame.bytes.len());
        }
        if let Some(process) = seen.process {
            self.charge_process(process);
        }
        self.lost_rows += u64::from(seen.event.kind() == Kind::Lost);
        self.widest_pid = self.widest_pid.max(seen.event.header.tgid);
        let id = self.next_id();
        let file = seen.event.body.file().and_then(|file| NonZeroU64::new(self.hasher.hash_one(file)));
        if let Some(block) = self.blocks.back_mut() {
            block.push(seen, frame, file);
        }
        self.evict();
        id
    }

    /// The event with an id; `None` if it was evicted or does not exist yet.
    #[inline]
    pub fn get(&self, id: Id) -> Option<Stored<'_>> {
        self.in_blocks(id).or_else(|| self.pins.get(id))
    }

    #[inline]
    fn in_blocks(&self, id: Id) -> Option<Stored<'_>> {
        if let Some(stored) = self.blocks.get(self.asked.get()).and_then(|block| block.get(id)) {
            return Some(stored);
        }
        let at = self.blocks.partition_point(|block| block.first_id() <= id).checked_sub(1)?;
        self.asked.set(at);
        self.blocks.get(at)?.get(id)
    }

    /// Records that a later call of the search found what this failed call did not.
    pub fn answer(&mut self, id: Id) {
        let at = self.blocks.partition_point(|block| block.first_id() <= id).checked_sub(1);
        if let Some(block) = at.and_then(|at| self.blocks.get_mut(at)) {
            block.answer(id);
        }
        self.pins.answer(id);
    }

    /// Keeps copies of these events, given in order, until the next call. If they exceed a part of the limit, only the last ones
    /// are kept.
    pub fn pin(&mut self, ids: impl DoubleEndedIterator<Item = Id>) {
        let (mut room, mut wanted) = (self.bound / PINNED, Vec::new());
        for stored in ids.rev().filter_map(|id| self.get(id)) {
            let Some(rest) = room.checked_sub(Pins::weight(&stored)) else { break };
            room = rest;
            wanted.push(stored);
        }
        self.pins = Pins::of(wanted.iter().rev());
        self.evict();
    }

    /// The first and the last pinned event.
    pub fn pinned(&self) -> Option<(Id, Id)> {
        self.pins.span()
    }

    /// The pinned events before an id that are no longer in a block, in order.
    pub(crate) fn pinned_before(&self, id: Id) -> impl DoubleEndedIterator<Item = Stored<'_>> {
        self.pins.before(id.min(self.first_id()))
    }

    /// The kept events with these ids, in order.
    pub fn range(&self, ids: Range<Id>) -> impl DoubleEndedIterator<Item = Stored<'_>> {
        let from = self.blocks.partition_point(|block| block.next_id() <= ids.start);
        let to = self.blocks.partition_point(|block| block.first_id() < ids.end).max(from);
        self.blocks.range(from..to).flat_map(move |block| {
            let own = ids.start.max(block.first_id())..ids.end.min(block.next_id());
            own.filter_map(|id| block.get(id))
        })
    }

    /// The id of the oldest kept event.
    pub fn first_id(&self) -> Id {
        self.blocks.front().map_or(0, Block::first_id)
    }

    pub fn next_id(&self) -> Id {
        self.blocks.back().map_or(0, Block::next_id)
    }

    /// The number of kept events, without `lost` rows.
    pub fn kept(&self) -> u64 {
        self.next_id() - self.first_id() - self.lost_rows
    }

    /// The number of kept events before an id.
    pub fn events_before(&self, id: Id) -> u64 {
        let blocks = self.blocks.iter().take_while(|block| block.first_id() < id);
        let before = blocks.map(|block| block.lost_rows_before(id)).sum::<u64>();
        id.saturating_sub(self.first_id()).saturating_sub(before)
    }

    /// The largest process id so far. It has the most digits.
    pub fn widest_pid(&self) -> u32 {
        self.widest_pid.0
    }

    /// The number of evicted events.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Bytes in use, including shared data (processes: estimated).
    pub fn bytes(&self) -> usize {
        let newest = self.blocks.back().map_or(0, Block::bytes);
        self.sealed + newest + self.pins.bytes() + self.charges.capacity() * CHARGE
    }

    /// The limit in bytes.
    pub fn bound(&self) -> usize {
        self.bound
    }

    fn open_block(&mut self, frame: usize) {
        let first = self.next_id();
        if let Some(full) = self.blocks.back_mut() {
            full.seal();
            self.sealed += full.bytes();
        }
        let size = BLOCK.min(self.bound / BLOCKS_MIN).max(frame);
        self.blocks.push_back(Block::new(first, size));
    }

    fn charge_process(&mut self, process: &Arc<Process>) {
        let [own, image] = weights(process);
        self.charge(Arc::as_ptr(process) as usize, own);
        self.charge(Arc::as_ptr(&process.image) as usize, image);
    }

    /// Moves the cost of an object to the newest block, because the object lives as long as that block.
    fn charge(&mut self, object: usize, bytes: usize) {
        let newest = self.first_block + self.blocks.len().saturating_sub(1) as u64;
        match self.charges.insert(object, Charge { block: newest, bytes }) {
            Some(before) if before.block == newest => return,
            Some(before) => self.discharge(before),
            None => {}
        }
        if let Some(block) = self.blocks.back_mut() {
            block.charged += bytes;
        }
    }

    fn discharge(&mut self, charge: Charge) {
        let at = charge.block.checked_sub(self.first_block).and_then(|at| usize::try_from(at).ok());
        if let Some(block) = at.and_then(|at| self.blocks.get_mut(at)) {
            block.charged = block.charged.saturating_sub(charge.bytes);
            self.sealed = self.sealed.saturating_sub(charge.bytes);
        }
    }

    fn evict(&mut self) {
        while self.blocks.len() > 1 && self.bytes() > self.bound {
            let Some(oldest) = self.blocks.pop_front() else { return };
            self.sealed = self.sealed.saturating_sub(oldest.bytes());
            self.evicted += oldest.events();
            self.lost_rows -= oldest.lost_rows();
            self.first_block += 1;
            let first = self.first_block;
            self.charges.retain(|_, charge| charge.block >= first);
            if self.charges.capacity() > 4 * self.charges.len() {
                self.charges.shrink_to(2 * self.charges.len());
            }
        }
    }
}

/// Bytes of a process, and of its image.
fn weights(process: &Process) -> [usize; 2] {
    let image = &process.image;
    let texts = image.exe.len() + image.argv.len() + image.cwd.len();
    [size_of::<Process>() + process.comm.len() + 16, size_of_val(&**image) + texts + 16]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::World;
    use crate::event::{Body, Event};
    use crate::frame::host::FIRST_KIND;
    use crate::pipeline::{Disposition, Pipeline};
    use crate::synthetic::Maker;

    /// Ids and paths of the kept events after `count` opens are pushed with the limit `bound`.
    fn filled(count: u32, bound: usize) -> (Store, World) {
        let mut feed = Maker::default();
        for i in 0..count {
            feed.open(100 + i % 7, "cat", &format!("/some/where/file-{i}"), 3);
        }
        let (mut store, mut world) = (Store::new(bound), World::default());
        for frame in feed.batch().frames().filter(|frame| frame.header.kind < FIRST_KIND) {
            let event = Event::decode(&frame).expect("an open");
            let process = world.apply(&event);
            store.push(
                &EventContext { event: &event, world: &world, process: process.as_ref(), clock_offset: 5 },
                &frame,
            );
        }
        (store, world)
    }

    fn open_path(event: &Event<'_>) -> String {
        match &event.body {
            Body::Open(open) => String::from_utf8_lossy(open.path).into_owned(),
            _ => String::new(),
        }
    }

    #[test]
    fn an_event_comes_back_as_it_was() {
        let (store, world) = filled(1000, 64 << 20);
        let stored = store.get(777).expect("kept");
        let path = stored.with(&world, |seen| open_path(seen.event)).expect("decodes");
        assert_eq!(path, "/some/where/file-777");
        assert_eq!((stored.kind, stored.failed, stored.clock_offset), (Kind::Open, false, 5));
        assert!(stored.process.is_some());
        assert_eq!((store.kept(), store.evicted()), (1000, 0));
    }

    #[test]
    fn the_oldest_go_when_it_is_full_and_are_counted() {
        let (store, world) = filled(20_000, 1 << 20);
        assert!(store.bytes() <= 1 << 20);
        assert!(store.kept() > 1000);
        assert_eq!(store.kept() + store.evicted(), 20_000);
        assert!(store.get(0).is_none());
        assert!(store.get(store.first_id() - 1).is_none());
        for id in [store.first_id(), 19_999] {
            let path = store.get(id).and_then(|s| s.with(&world, |seen| open_path(seen.event)));
            assert_eq!(path, Some(format!("/some/where/file-{id}")));
        }
        assert!(store.get(20_000).is_none());
    }

    #[test]
    fn pinned_events_outlive_their_blocks_within_the_limit() {
        let (mut store, world) = filled(2_000, 1 << 20);
        let pinned = store.first_id()..store.first_id() + 30;
        store.pin(pinned.clone());
        let (full, _) = filled(20_000, 1 << 20);
        let (bytes, first) = (store.pins.bytes(), store.first_id());
        assert!(0 < bytes && bytes < (1 << 20) / PINNED);
        (store.blocks, store.first_block, store.sealed) = (full.blocks, full.first_block, full.sealed);
        store.evict();
        assert!(store.first_id() > pinned.end && store.bytes() <= 1 << 20);
        for id in pinned.clone() {
            let path = store.get(id).and_then(|stored| stored.with(&world, |seen| open_path(seen.event)));
            assert_eq!(path, Some(format!("/some/where/file-{id}")));
        }
        assert!(store.get(pinned.end).is_none());
        let before: Vec<_> = store.pinned_before(first + 9).map(|stored| stored.id).collect();
        assert_eq!((before, store.pinned()), ((first..first + 9).collect(), Some((first, first + 29))));
        store.pin(std::iter::empty());
        assert_eq!((store.get(first).map(|stored| stored.id), store.pinned()), (None, None));
        // The newest events fit into a part of the limit.
        store.pin(store.first_id()..store.next_id());
        assert!(store.pins.bytes() <= (1 << 20) / PINNED);
        assert_eq!(store.pinned().map(|(_, last)| last), Some(19_999));
    }

    #[test]
    fn what_is_charged_is_let_go_again() {
        let (store, _) = filled(20_000, 1 << 20);
        let charged: usize = store.blocks.iter().map(|block| block.charged).sum();
        let listed: usize = store.charges.values().map(|charge| charge.bytes).sum();
        assert_eq!(charged, listed);
        let sealed: usize = store.blocks.iter().rev().skip(1).map(Block::bytes).sum();
        assert_eq!(store.sealed, sealed);
    }

    #[test]
    fn the_events_before_one_are_counted_without_lost_rows() {
        let mut maker = Maker::default();
        for number in 0..40 {
            maker.open(100, "cat", &format!("/{number}"), 3);
            if number % 10 == 9 {
                maker.lose(1);
            }
        }
        maker.counters(true);
        let (mut store, mut pipeline) = (Store::new(1 << 20), Pipeline::default());
        pipeline.feed(maker.batch());
        pipeline.end();
        pipeline.next(None, &mut |seen, frame| {
            store.push(seen, frame);
            Disposition::Delivered
        });
        let kinds: Vec<_> = (0..store.next_id()).filter_map(|id| store.get(id)).map(|stored| stored.kind).collect();
        assert!(kinds.contains(&Kind::Lost) && kinds.iter().filter(|kind| **kind == Kind::Open).count() == 40);
        for id in 0..=kinds.len() {
            let events = kinds[..id].iter().filter(|kind| **kind != Kind::Lost).count();
            assert_eq!(store.events_before(id as u64), events as u64, "{id}");
        }
    }

    #[test]
    fn the_newest_event_is_kept_whatever_its_size() {
        let (store, _) = filled(10, 0);
        assert_eq!((store.kept(), store.evicted()), (1, 9));
    }
}
