//! The kept events: raw frames in blocks.
//!
//! An event is kept as the bytes of its frame and decoded again for display. Only its process and the clock offset are
//! kept with it, because those change. Ids are never changed or reused.
//!
//! At the limit, opens are evicted before other events. The newest blocks have all events, older ones few opens ([`eviction`]), and the
//! oldest of these are evicted whole. A kept open has the number of evicted opens counted in it.

mod block;
mod eviction;
pub mod index;
mod level;

use crate::event::process::Process;
use crate::event::{DecodeError, Event, EventContext, Tables};
use crate::frame::{FrameRef, HEADER};
pub use block::Meta;
use block::{Block, PER_EVENT};
use eviction::Plan;
use foldhash::HashMap;
use foldhash::fast::RandomState;
use level::Level;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::ops::{Deref, Range};
use std::sync::Arc;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;
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

/// The part (1/n) of the limit that blocks with all events keep when memory is short.
const SHARE: usize = 4;

#[derive(Debug, Default)]
pub struct Store {
    /// The blocks with all events, and the older ones with few opens.
    levels: [Level; 2],
    /// The first event after those from which opens were evicted.
    pub(super) thinned: Id,
    by_value: bool,
    next: Id,
    /// The limit in bytes.
    pub bound: usize,
    /// Copies of events that stay when their blocks are evicted: the rows of a paused screen. And their bytes.
    pins: Block,
    pinned_bytes: usize,
    /// The objects that the events share, by address.
    charges: HashMap<usize, Charge>,
    /// Bytes of these objects.
    charged: usize,
    /// Makes the hashes of files.
    hasher: RandomState,
    events: u64,
    evicted: u64,
    widest_pid: Tgid,
}

/// A shared object: the number of its owners in the store.
#[derive(Clone, Copy, Debug)]
struct Charge {
    owners: u32,
    bytes: u32,
}

/// A kept event whose frame is not decoded yet.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub id: Id,
    /// The bytes of its frame. Many questions are answered without decoding it.
    bytes: &'a [u8],
    pub process: Option<&'a Arc<Process>>,
    /// The number of evicted opens counted in it: equal ones between it and the first of its run, quiet ones of its process since the
    /// event of the process before it, or others of its process that succeeded or failed as it did.
    pub evicted: u32,
    meta: &'a Meta,
}

impl Deref for Stored<'_> {
    type Target = Meta;

    #[inline]
    fn deref(&self) -> &Meta {
        self.meta
    }
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

    /// The process whose end it is.
    pub fn ended(&self) -> Option<&'a Arc<Process>> {
        self.process.filter(|_| self.kind == Kind::Exit)
    }

    /// Decodes the frame.
    /// Stored frames have been decoded before, so this does not fail.
    #[inline]
    pub fn event(&self) -> Result<Event<'a>, DecodeError> {
        Event::decode(&self.frame())
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
        Store { by_value: true, bound, ..Store::default() }
    }

    /// Evicts the oldest events, whatever their value: the others stay consecutive.
    pub fn by_age(self) -> Store {
        Store { by_value: false, ..self }
    }

    /// Changes the limit, and evicts events if necessary.
    pub fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
        self.evict();
    }

    /// Adds an event, and evicts others if necessary.
    pub fn push(&mut self, seen: &EventContext<'_>, frame: &FrameRef<'_>) -> Id {
        if let Some(process) = seen.process {
            self.charge_process(process);
        }
        self.events += u64::from(seen.event.kind() != Kind::Lost);
        self.widest_pid = self.widest_pid.max(seen.event.header.tgid);
        let (id, size) = (self.next, self.block_size());
        let file = seen.event.body.file().and_then(|file| NonZeroU64::new(self.hasher.hash_one(file)));
        if let Some(block) = self.levels[0].room_for(frame.bytes.len(), size, id) {
            block.push(seen, frame, file);
        }
        self.next += 1;
        self.evict();
        id
    }

    fn block_size(&self) -> usize {
        BLOCK.min(self.bound / BLOCKS_MIN)
    }

    /// The event with an id; `None` if it was evicted or does not exist yet.
    #[inline]
    pub fn get(&self, id: Id) -> Option<Stored<'_>> {
        self.levels[usize::from(id < self.thinned)].get(id).or_else(|| self.pins.get(id))
    }

    /// Records that a later call of the search found what this failed call did not.
    pub fn answer(&mut self, id: Id) {
        self.levels.iter_mut().for_each(|level| level.answer(id));
        self.pins.answer(id);
    }

    /// Keeps copies of these events, given in order, until the next call. If they exceed a part of the limit, only the last ones
    /// are kept.
    pub fn pin(&mut self, ids: impl DoubleEndedIterator<Item = Id>) {
        let (mut bytes, mut wanted, mut pins) = (0, Vec::new(), Block::default());
        for stored in ids.rev().filter_map(|id| self.get(id)) {
            // Its process may be shared with other events.
            let process = stored.process.map_or(0, |process| weights(process).iter().sum());
            let more = stored.bytes.len() + PER_EVENT + 2 * size_of::<Id>() + process;
            if bytes + more > self.bound / PINNED {
                break;
            }
            bytes += more;
            wanted.push(stored);
        }
        wanted.iter().rev().for_each(|stored| pins.copy(stored, stored.evicted));
        (self.pins, self.pinned_bytes) = (pins, bytes);
        self.evict();
    }

    /// The first and the last pinned event.
    pub fn pinned(&self) -> Option<(Id, Id)> {
        let last = self.pins.len().checked_sub(1)?;
        Some((self.pins.first, self.pins.at(last)?.id))
    }

    /// The pinned events before an id that are no longer in a block, in order.
    pub fn pinned_before(&self, id: Id) -> impl DoubleEndedIterator<Item = Stored<'_>> {
        (0..self.pins.position(id.min(self.first_id()))).filter_map(|at| self.pins.at(at))
    }

    /// The kept events with these ids, in order.
    pub fn range(&self, ids: Range<Id>) -> impl DoubleEndedIterator<Item = Stored<'_>> {
        self.levels.iter().rev().flat_map(move |level| level.range(ids.clone()))
    }

    /// The id of the oldest kept event.
    pub fn first_id(&self) -> Id {
        self.levels.iter().rev().find_map(Level::first_id).unwrap_or(0)
    }

    pub fn next_id(&self) -> Id {
        self.next
    }

    /// The number of kept events, without `lost` rows.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The number of kept events before an id, without `lost` rows.
    pub fn events_before(&self, id: Id) -> u64 {
        self.levels.iter().flat_map(|level| &level.blocks).map(|block| block.events_before(id)).sum()
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
        let levels = self.levels.iter().map(Level::bytes).sum::<usize>();
        levels + self.charged + self.pinned_bytes + self.charges.capacity() * CHARGE
    }

    fn charge_process(&mut self, process: &Arc<Process>) {
        let [own, image] = weights(process);
        if self.charge(Arc::as_ptr(process) as usize, own) {
            self.charge(Arc::as_ptr(&process.image) as usize, image);
        }
    }

    /// Adds an owner of an object. Returns whether it is the first.
    fn charge(&mut self, object: usize, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let charge = self.charges.entry(object).or_insert(Charge { owners: 0, bytes });
        charge.owners += 1;
        if charge.owners == 1 {
            self.charged += bytes as usize;
        }
        charge.owners == 1
    }

    fn discharge_process(&mut self, process: &Arc<Process>) {
        if self.discharge(Arc::as_ptr(process) as usize) {
            self.discharge(Arc::as_ptr(&process.image) as usize);
        }
    }

    /// Removes an owner of an object. Returns whether it was the last.
    fn discharge(&mut self, object: usize) -> bool {
        let Entry::Occupied(mut charge) = self.charges.entry(object) else { return false };
        charge.get_mut().owners -= 1;
        let is_last = charge.get().owners == 0;
        if is_last {
            self.charged -= charge.remove().bytes as usize;
        }
        is_last
    }

    fn evict(&mut self) {
        while self.bytes() > self.bound {
            let newest = &self.levels[0];
            if self.by_value && newest.blocks.len() > 1 && newest.bytes() > self.bound / SHARE {
                self.thin();
            } else if !self.evict_oldest() {
                return;
            }
        }
    }

    /// Evicts the oldest block, unless it is the newest. Returns whether it did.
    fn evict_oldest(&mut self) -> bool {
        let newest = self.levels[0].blocks.len() <= 1;
        let Some(level) =
            self.levels.iter().rposition(|level| !level.blocks.is_empty()).filter(|level| *level > 0 || !newest)
        else {
            return false;
        };
        for stored in self.levels[level].take().iter().flat_map(Block::iter) {
            self.drop_event(&stored);
        }
        self.shrink_charges();
        true
    }

    /// Evicts opens from the oldest blocks with all events.
    fn thin(&mut self) {
        let blocks = self.levels[0].oldest(self.bound / BLOCKS_MIN);
        let pins = std::mem::take(&mut self.pins);
        let mut plan = Plan::of(blocks.iter(), &pins);
        for block in blocks {
            self.thinned = block.next_id();
            if plan.passes(&block) {
                self.levels[1].add(block);
                continue;
            }
            for stored in block.iter() {
                match plan.next(&stored) {
                    None => self.drop_event(&stored),
                    Some(evicted) => {
                        let size = self.block_size();
                        let to = self.levels[1].room_for(stored.bytes.len(), size, stored.id);
                        to.into_iter().for_each(|to| to.copy(&stored, evicted));
                    }
                }
            }
        }
        self.pins = pins;
        self.shrink_charges();
    }

    fn drop_event(&mut self, stored: &Stored<'_>) {
        stored.process.into_iter().for_each(|process| self.discharge_process(process));
        let is_event = u64::from(stored.kind != Kind::Lost);
        (self.events, self.evicted) = (self.events - is_event, self.evicted + is_event);
    }

    fn shrink_charges(&mut self) {
        if self.charges.capacity() > 4 * self.charges.len() {
            self.charges.shrink_to(2 * self.charges.len());
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
mod tests;
