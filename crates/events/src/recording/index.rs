//! The index of a recording: the contents of each block. With it, a reader can go to a time and skip blocks without reading them.
//!
//! Index blocks follow the blocks that they describe. Each has skips to earlier index blocks, so that a few dozen reads find any of
//! them. `docs/RECORDING.md` specifies them.

use super::block::{BlockHeader, Contents, HEADER, INDEX_HEAD};
use crate::frame::FrameRef;
use crate::frame::host::{Counters, HostFrame};
use crate::limits;
use foldhash::HashMap;
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::kind::{KINDS, Kind, SLOTS};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The number of skips in an index block. Skip `i` leads to the last earlier index block whose number is a multiple of 16 to the
/// power of `i`.
pub const SKIPS: usize = 6;

/// The most blocks that one index block describes.
pub const ENTRIES: usize = 64;

/// A property that a filter can require. A block without the key has no such event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IndexKey<'a> {
    /// The process id of an event.
    Process(u32),
    Comm(&'a [u8]),
    /// The last component of a path in the event.
    Name(&'a [u8]),
    /// An io_uring request, or its end. Process, comm and path of the event are those of the request, which may be in an earlier
    /// block. Either frame may show that another request was lost.
    Uring,
    /// An io_uring request. Later counters may show that its completion was lost.
    Request,
    /// A report of the kernel's stream of programs. Its frame does not contain the process and the comm of the event.
    Change,
}

/// What a filter looks for in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sought {
    /// The key with this hash.
    Key(u64),
    /// The text with this number in the search ([`super::search::Candidates`]), which the index does not have.
    Text(usize),
}

/// Passes the keys of a frame to a function. Only some kinds of frames have keys.
pub type KeysOf = fn(&FrameRef<'_>, &mut dyn FnMut(IndexKey<'_>));

impl IndexKey<'_> {
    /// FNV-1a of a byte for the sort of key (1 to 6) and its bytes, mixed with the end of MurmurHash3.
    pub fn hash(&self) -> u64 {
        let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let of = |sort: u8, bytes: &[u8]| bytes.iter().fold(fnv(0xcbf2_9ce4_8422_2325, &sort), fnv);
        let mut hash = match self {
            IndexKey::Process(pid) => of(1, &pid.to_le_bytes()),
            IndexKey::Comm(comm) => of(2, comm),
            IndexKey::Name(name) => of(3, name),
            IndexKey::Uring => of(4, b""),
            IndexKey::Change => of(5, b""),
            IndexKey::Request => of(6, b""),
        };
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}

/// The index entry of a block with only this frame, and the hashes of its keys. `None` if the frame is neither an event nor a
/// request of io_uring.
pub(super) fn hashes_of(keys: KeysOf, frame: &FrameRef<'_>, hashes: &mut Vec<u64>) -> Option<IndexEntry> {
    let header = &frame.header;
    let entry = IndexEntry { first_ns: header.time.0, last_ns: header.time.0, ..IndexEntry::default() };
    if is_change(frame) {
        hashes.clear();
        hashes.push(IndexKey::Change.hash());
        return Some(entry.with(Kind::Bpf));
    }
    let kind = Kind::try_from(header.kind).ok()?;
    let request = header.has(flag::REQUEST);
    if header.has(flag::CONTINUES) || header.has(flag::BOOKKEEPING) && !request {
        return None;
    }
    hashes.clear();
    hashes.extend([IndexKey::Process(header.tgid.0).hash(), IndexKey::Comm(header.comm()).hash()]);
    keys(frame, &mut |key| hashes.push(key.hash()));
    // A request becomes an event only with its end.
    Some(if request { entry } else { entry.with(kind) })
}

/// Whether a frame is a report of the kernel's stream of programs, or of the inventory, that may become an event.
fn is_change(frame: &FrameRef<'_>) -> bool {
    match HostFrame::decode(frame) {
        Some(HostFrame::ProgramChange(change)) => !change.own,
        Some(HostFrame::BpfAttachment(attachment)) => attachment.news,
        // What a system call attached and it lacks has ended.
        Some(HostFrame::BpfInventory(inventory)) => !inventory.whole,
        Some(HostFrame::BpfHidden(_)) => true,
        _ => false,
    }
}

/// A Bloom filter of the hashes of keys.
pub mod filter {
    use super::Sought;

    /// Bits for each key. With [`PROBES`], 1 of 120 absent keys appears to be present.
    const BITS: usize = 10;
    /// Bits that a key sets.
    const PROBES: u64 = 6;

    /// The filter of these hashes: a multiple of 8 bytes, at most `most`.
    pub fn of(hashes: &[u64], most: usize) -> Vec<u8> {
        let mut filter = vec![0u8; (hashes.len() * BITS).div_ceil(8).next_multiple_of(8).clamp(8, most)];
        let bits = filter.len() as u64 * 8;
        for hash in hashes {
            for bit in places(*hash, bits) {
                filter[(bit / 8) as usize] |= 1 << (bit % 8);
            }
        }
        filter
    }

    /// Whether a key may be in the filter. An empty filter excludes nothing, and no filter excludes a text.
    pub fn may_have(filter: &[u8], sought: Sought) -> bool {
        let Sought::Key(hash) = sought else { return true };
        let bits = filter.len() as u64 * 8;
        bits == 0 || places(hash, bits).all(|bit| filter[(bit / 8) as usize] & 1 << (bit % 8) != 0)
    }

    fn places(hash: u64, bits: u64) -> impl Iterator<Item = u64> {
        let (start, step) = (hash & 0xffff_ffff, hash >> 32 | 1);
        (0..PROBES).map(move |i| (start + i * step) % bits)
    }
}

/// Tests whether one block, several blocks or one frame may contain a wanted event. It gets their index entry, and a function that
/// returns whether they may contain a key or a text.
pub type Wanted<'a> = &'a dyn Fn(&IndexEntry, &dyn Fn(Sought) -> bool) -> bool;

/// The index entry of one block.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IndexEntry {
    /// The offset of the block, in bytes from the start of the file.
    pub offset: u64,
    /// The size of the block in bytes, with header and padding.
    pub bytes: u32,
    /// [`Contents`].
    pub contents: u16,
    /// [`BlockHeader::part`] of a state.
    pub part: u16,
    /// The earliest time of a probe's record: CLOCK_BOOTTIME, ns. `u64::MAX` if there is none.
    pub first_ns: u64,
    /// The latest time of a probe's record; 0 if there is none.
    pub last_ns: u64,
    /// The number of events by the number of their kind, without events that are only for the process table. For [`Kind::Lost`],
    /// the gaps in the numbers of events, and the counters that report lost events or are the last ones.
    pub events: [u32; KINDS],
    /// Events lost since the previous counters, according to the counters in the block.
    pub lost: u32,
    /// The size of the block's filter, which follows the entries, in bytes. [`SHARED`]: the filter of the next block covers this one.
    pub filter: u32,
}

/// [`IndexEntry::filter`] of a block that has the filter of the next one.
pub(super) const SHARED: u32 = u32::MAX;

impl IndexEntry {
    /// The entry with one more event of a kind.
    fn with(mut self, kind: Kind) -> IndexEntry {
        self.events.get_mut(kind as usize).into_iter().for_each(|count| *count += 1);
        self
    }
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Totals {
    /// The earliest time of a probe's record: CLOCK_BOOTTIME, ns. `u64::MAX` if there is none.
    pub first_ns: u64,
    /// The latest time of a probe's record; 0 if there is none.
    pub last_ns: u64,
    /// Events by the number of their kind.
    pub events: [u64; KINDS],
    /// Lost events, according to the counters.
    pub lost: u64,
    /// Blocks of frames and states.
    pub blocks: u64,
}

impl Default for Totals {
    fn default() -> Totals {
        Totals { first_ns: u64::MAX, last_ns: 0, events: [0; KINDS], lost: 0, blocks: 0 }
    }
}

impl Totals {
    pub fn add(&mut self, entry: &IndexEntry) {
        self.first_ns = self.first_ns.min(entry.first_ns);
        self.last_ns = self.last_ns.max(entry.last_ns);
        for (sum, count) in self.events.iter_mut().zip(entry.events) {
            *sum = sum.saturating_add(count.into());
        }
        self.lost = self.lost.saturating_add(entry.lost.into());
        self.blocks = self.blocks.saturating_add(1);
    }

    /// The sums of two files.
    pub fn and(mut self, other: &Totals) -> Totals {
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        self.events.iter_mut().zip(other.events).for_each(|(sum, count)| *sum = sum.saturating_add(count));
        self.lost = self.lost.saturating_add(other.lost);
        self.blocks = self.blocks.saturating_add(other.blocks);
        self
    }

    /// Events of all kinds, without `lost` rows.
    pub fn sum(&self) -> u64 {
        let events = (0..).zip(&self.events).filter(|(kind, _)| *kind != Kind::Lost as usize);
        events.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

/// A link to an earlier index block.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SkipEntry {
    /// The offset of that index block, in bytes from the start of the file. 0 if there is none.
    pub offset: u64,
    /// The latest time in all blocks before the ones that it describes.
    pub last_ns: u64,
}

/// The start of an index block.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IndexHead {
    /// The number of the index block, from 0.
    pub number: u64,
    pub entries: u32,
    /// The size of the combined filter of all entries, which follows the entries, in bytes.
    pub filter: u32,
    /// The sums of all blocks before the ones of this index block.
    pub before: Totals,
    /// The links to earlier index blocks.
    pub skips: [SkipEntry; SKIPS],
}

const _: () =
    assert!(size_of::<IndexEntry>() == 168 && size_of::<Totals>() == 288 && size_of::<IndexHead>() == INDEX_HEAD);

/// The end of a recording that ended properly.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IndexSummary {
    /// The sums of all blocks.
    pub totals: Totals,
    /// The offset of the final state, in bytes from the start of the file.
    pub end: u64,
}

/// The size of a summary with its header, in bytes. It is the end of the file.
pub const SUMMARY: usize = HEADER + size_of::<IndexSummary>();

/// An index block as read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IndexBlock {
    pub head: IndexHead,
    /// The blocks that it describes, in the order of the file.
    pub entries: Vec<IndexEntry>,
    /// The filter of all of them.
    filter: Vec<u8>,
    /// Their filters, one after another.
    filters: Vec<u8>,
}

impl IndexBlock {
    /// Reads the payload of an index block. `None` if it is inconsistent.
    pub fn read(payload: &[u8]) -> Option<IndexBlock> {
        let (head, mut rest) = IndexHead::read_from_prefix(payload).ok()?;
        let mut entries = Vec::new();
        for _ in 0..head.entries {
            let (entry, after) = IndexEntry::read_from_prefix(rest).ok()?;
            entries.push(entry);
            rest = after;
        }
        let (filter, filters) = rest.split_at_checked(head.filter as usize)?;
        let own = entries.iter().filter(|entry| entry.filter != SHARED);
        let length = own.map(|entry| u64::from(entry.filter)).sum::<u64>();
        (length == filters.len() as u64).then(|| IndexBlock {
            head,
            entries,
            filter: filter.to_vec(),
            filters: filters.to_vec(),
        })
    }

    /// Whether any of its blocks may contain a wanted event.
    pub fn may_have(&self, wanted: Wanted<'_>) -> bool {
        wanted(&together(&self.entries), &|sought| filter::may_have(&self.filter, sought))
    }

    /// Its blocks. Those that may contain a wanted event have their filters. Only blocks of frames can.
    pub fn marked(&self, wanted: Wanted<'_>) -> Vec<(IndexEntry, Option<Box<[u8]>>)> {
        let any = self.may_have(wanted);
        let (mut rest, mut its) = (self.filters.as_slice(), [].as_slice());
        let mark = |entry: &IndexEntry| {
            if entry.filter != SHARED {
                (rest, its) = rest.split_at_checked(rest.len().wrapping_sub(entry.filter as usize)).unwrap_or_default();
            }
            let frames = Contents::from(entry.contents) == Contents::Frames;
            let may = any && frames && wanted(entry, &|sought| filter::may_have(its, sought));
            (*entry, may.then(|| its.into()))
        };
        // Backwards: a filter comes with the last block that it covers.
        let mut marked: Vec<_> = self.entries.iter().rev().map(mark).collect();
        marked.reverse();
        marked
    }
}

/// Merges neighbouring entries into one. A reader may begin at the first of them: the merged contents are later than everything
/// before it.
pub(super) fn together(entries: &[IndexEntry]) -> IndexEntry {
    let mut entries = entries.iter();
    let mut sum = entries.next().copied().unwrap_or_default();
    for entry in entries {
        sum.bytes = sum.bytes.saturating_add(entry.bytes);
        (sum.first_ns, sum.last_ns) = (sum.first_ns.min(entry.first_ns), sum.last_ns.max(entry.last_ns));
        sum.events.iter_mut().zip(entry.events).for_each(|(count, other)| *count = count.saturating_add(other));
        sum.lost = sum.lost.saturating_add(entry.lost);
    }
    sum
}

/// Makes the index while a recording is written.
pub(super) struct Indexer {
    keys: KeysOf,
    /// The next number of each (slot, CPU), as the pipeline expects it.
    numbers: HashMap<(u16, u32), u64>,
    /// The counters of the probes so far, and the number of events that they report as lost.
    counters: Counters,
    lost: u64,
    /// Whether there were requests ([`IndexKey::Request`]). If so, counters may show that one of them was lost.
    requests: bool,
    number: u64,
    before: Totals,
    totals: Totals,
    skips: [SkipEntry; SKIPS],
    entries: Vec<IndexEntry>,
    filters: Vec<u8>,
    /// The hashes of the keys of the block, of the blocks that share its filter, and of all blocks since the last index block.
    hashes: Vec<u64>,
    shared: Vec<u64>,
    all: Vec<u64>,
    /// Bytes of the frames of the block, and of the blocks that share its filter.
    bytes: usize,
    shared_bytes: usize,
}

impl std::fmt::Debug for Indexer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Indexer").field("number", &self.number).field("totals", &self.totals).finish_non_exhaustive()
    }
}

impl Indexer {
    pub(super) fn new(keys: KeysOf) -> Indexer {
        Indexer {
            keys,
            numbers: HashMap::default(),
            counters: Counters::default(),
            lost: 0,
            requests: false,
            number: 0,
            before: Totals::default(),
            totals: Totals::default(),
            skips: Default::default(),
            entries: Vec::new(),
            filters: Vec::new(),
            hashes: Vec::new(),
            shared: Vec::new(),
            all: Vec::new(),
            bytes: 0,
            shared_bytes: 0,
        }
    }

    /// An indexer for the next file of the trace. It does not count earlier losses again.
    pub(super) fn next(&self) -> Indexer {
        let (numbers, counters) = (self.numbers.clone(), self.counters.clone());
        Indexer { numbers, counters, lost: self.lost, requests: self.requests, ..Indexer::new(self.keys) }
    }

    /// The sums of all blocks so far.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The index entry of a block with these frames, without offset and size.
    pub(super) fn look(&mut self, contents: Contents, frames: &[u8]) -> IndexEntry {
        let mut entry = IndexEntry { contents: contents.into(), first_ns: u64::MAX, ..IndexEntry::default() };
        self.hashes.clear();
        self.bytes = frames.len();
        if contents != Contents::Frames {
            return entry;
        }
        let lost_before = self.lost;
        let mut previous = (0, [0; 16]);
        let mut rest = frames;
        while let Some((frame, after)) = FrameRef::first(rest) {
            rest = after;
            let header = &frame.header;
            let Ok(kind) = Kind::try_from(header.kind) else {
                entry.events[Kind::Lost as usize] += u32::from(self.count(&frame));
                if is_change(&frame) {
                    entry = entry.with(Kind::Bpf);
                    entry.first_ns = entry.first_ns.min(header.time.0);
                    entry.last_ns = entry.last_ns.max(header.time.0);
                    self.hashes.push(IndexKey::Change.hash());
                }
                continue;
            };
            entry.events[Kind::Lost as usize] += u32::from(self.skips_numbers(header));
            entry.first_ns = entry.first_ns.min(header.time.0);
            entry.last_ns = entry.last_ns.max(header.time.0);
            if !header.has(flag::BOOKKEEPING) && !header.has(flag::CONTINUES) {
                entry = entry.with(kind);
            }
            let by = (header.tgid.0, header.comm);
            if std::mem::replace(&mut previous, by) != by || self.hashes.is_empty() {
                self.hashes.push(IndexKey::Process(header.tgid.0).hash());
                self.hashes.push(IndexKey::Comm(header.comm()).hash());
            }
            (self.keys)(&frame, &mut |key| {
                self.requests |= key == IndexKey::Request;
                self.hashes.push(key.hash());
            });
        }
        entry.lost = u32::try_from(self.lost - lost_before).unwrap_or(u32::MAX);
        entry
    }

    /// Whether numbers of events are missing before this one. If so, there is a `lost` row here.
    fn skips_numbers(&mut self, header: &FrameHeader) -> bool {
        if header.has(flag::CONTINUES) || header.has(flag::BOOKKEEPING) || header.has(flag::EXCERPT) {
            return false;
        }
        if usize::from(header.slot) >= SLOTS || header.cpu >= limits::CPUS {
            return false;
        }
        let next = self.numbers.entry((header.slot, header.cpu)).or_default();
        let skips = header.seq > *next;
        *next = header.seq.saturating_add(1).max(*next);
        skips
    }

    /// Counts the losses that counters report. Returns whether the frame may lead to `lost` rows.
    fn count(&mut self, frame: &FrameRef<'_>) -> bool {
        let changes = match HostFrame::decode(frame) {
            Some(HostFrame::CounterChanges(changes)) => changes,
            Some(HostFrame::ProgramChangesLost(_)) => return true,
            _ => return false,
        };
        let before = self.lost;
        self.counters.apply(&changes);
        self.lost = self.lost.max(self.counters.lost());
        self.lost > before || changes.last || self.requests
    }

    /// Adds the block that [`look`](Self::look) examined last. Returns the payload of an index block, if one is due.
    pub(super) fn add(&mut self, mut entry: IndexEntry, offset: u64, bytes: usize) -> Option<Vec<u8>> {
        (entry.offset, entry.bytes) = (offset, u32::try_from(bytes).unwrap_or(u32::MAX));
        let is_frames = Contents::from(entry.contents) == Contents::Frames;
        if !is_frames || entry.part == 0 || self.shared_bytes >= limits::FILTERED {
            self.filter();
        }
        if is_frames {
            entry.filter = SHARED;
            self.shared_bytes += self.bytes;
            self.shared.extend_from_slice(&self.hashes);
        }
        self.totals.add(&entry);
        self.entries.push(entry);
        (self.entries.len() >= ENTRIES).then(|| self.payload())
    }

    /// Adds the filter of the blocks since the last filter, if there are such blocks: the last entry gets it.
    fn filter(&mut self) {
        let Some(entry) = self.entries.last_mut().filter(|entry| entry.filter == SHARED) else { return };
        self.shared.sort_unstable();
        self.shared.dedup();
        let filter = filter::of(&self.shared, limits::BLOCK_FILTER);
        entry.filter = filter.len() as u32;
        self.filters.extend_from_slice(&filter);
        self.all.append(&mut self.shared);
        self.shared_bytes = 0;
    }

    /// The maximum size of an index block of all blocks since the last one, in bytes.
    pub(super) fn rest_bytes(&self) -> usize {
        let most = |keys: usize, most| (keys * 2).next_multiple_of(8).clamp(8, most);
        let (shared, keys) = (self.shared.len(), self.all.len() + self.shared.len());
        let filters = self.filters.len() + most(shared, limits::BLOCK_FILTER) + most(keys, limits::INDEX_FILTER);
        size_of::<IndexHead>() + self.entries.as_bytes().len() + filters
    }

    /// The payload of an index block of all blocks since the last one; `None` if there are no such blocks.
    pub(super) fn rest(&mut self) -> Option<Vec<u8>> {
        (!self.entries.is_empty()).then(|| self.payload())
    }

    fn payload(&mut self) -> Vec<u8> {
        self.filter();
        self.all.sort_unstable();
        self.all.dedup();
        let filter = filter::of(&self.all, limits::INDEX_FILTER);
        let head = IndexHead {
            number: self.number,
            entries: self.entries.len() as u32,
            filter: filter.len() as u32,
            before: self.before,
            skips: self.skips,
        };
        [head.as_bytes(), self.entries.as_bytes(), &filter, &self.filters].concat()
    }

    /// Records that the index block was written at this offset.
    pub(super) fn written(&mut self, offset: u64) {
        let skip = SkipEntry { offset, last_ns: self.before.last_ns };
        for (power, place) in (0u32..).zip(&mut self.skips) {
            if self.number.is_multiple_of(16u64.pow(power)) {
                *place = skip;
            }
        }
        self.number += 1;
        self.before = self.totals;
        self.entries.clear();
        self.filters.clear();
        self.all.clear();
    }
}

/// The entry of a block whose header alone was read: all events count as kind 0, and there is no filter.
pub(super) fn entry_of(header: &BlockHeader, offset: u64) -> IndexEntry {
    let mut events = [0; KINDS];
    events[0] = header.events;
    IndexEntry {
        events,
        offset,
        bytes: (HEADER + header.padded()) as u32,
        contents: header.contents,
        part: header.part,
        first_ns: header.first_ns,
        last_ns: header.last_ns,
        ..IndexEntry::default()
    }
}
