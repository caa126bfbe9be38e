//! The index of a recording: what each block contains, so that a reader goes to a time, and passes over blocks, without reading
//! them.
//!
//! Index blocks follow the blocks that they describe. Each has skips to earlier index blocks, so that any of them is found in some
//! tens of reads. `docs/RECORDING.md` specifies them.

use super::block::{BlockHeader, Contents, HEADER};
use crate::frame::FrameRef;
use crate::frame::host::{Counters, HostFrame};
use crate::limits;
use rustc_hash::FxHashMap;
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::kind::{Kind, SLOTS};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Kinds that are counted: those with a smaller number.
pub const KINDS: usize = 8;

/// Skips of an index block. Skip `i` leads to the last earlier index block whose number is a multiple of 16 to the power of `i`.
pub const SKIPS: usize = 6;

/// Blocks that an index block describes at most.
pub const ENTRIES: usize = 64;

/// What a filter looks for: a block without it has no such event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key<'a> {
    /// The process id of an event.
    Process(u32),
    /// Its comm.
    Comm(&'a [u8]),
    /// The last component of a path in it.
    Name(&'a [u8]),
    /// An io_uring request, or its end. Process, comm and path of the event are those of the request, which may be in an earlier
    /// block. Either may show that another request was lost.
    Uring,
    /// An io_uring request. Later counters may show that its completion was lost.
    Request,
    /// A report of the kernel's stream of programs: process and comm of the event are not in the frame.
    Change,
}

/// Passes the keys of a frame to a function. Frames of other kinds have none.
pub type KeysOf = fn(&FrameRef<'_>, &mut dyn FnMut(Key<'_>));

impl Key<'_> {
    /// FNV-1a of a byte for the sort of key (1 to 6) and its bytes, mixed with the end of MurmurHash3.
    pub fn hash(&self) -> u64 {
        let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let of = |sort: u8, bytes: &[u8]| bytes.iter().fold(fnv(0xcbf2_9ce4_8422_2325, &sort), fnv);
        let mut hash = match self {
            Key::Process(pid) => of(1, &pid.to_le_bytes()),
            Key::Comm(comm) => of(2, comm),
            Key::Name(name) => of(3, name),
            Key::Uring => of(4, b""),
            Key::Change => of(5, b""),
            Key::Request => of(6, b""),
        };
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}

/// What an index would say of a block with only this frame, and the hashes of its keys. `None` if it is neither an event nor a
/// request of io_uring.
pub(super) fn hashes_of(keys: KeysOf, frame: &FrameRef<'_>, hashes: &mut Vec<u64>) -> Option<Entry> {
    let header = &frame.header;
    let entry = Entry { first_ns: header.time.0, last_ns: header.time.0, ..Entry::default() };
    if is_change(frame) {
        hashes.clear();
        hashes.push(Key::Change.hash());
        return Some(entry.with(Kind::Bpf));
    }
    let kind = Kind::try_from(header.kind).ok()?;
    let request = header.has(flag::REQUEST);
    if header.has(flag::CONTINUES) || header.has(flag::BOOKKEEPING) && !request {
        return None;
    }
    hashes.clear();
    hashes.extend([Key::Process(header.tgid.0).hash(), Key::Comm(header.comm()).hash()]);
    keys(frame, &mut |key| hashes.push(key.hash()));
    // A request is an event only with its end.
    Some(if request { entry } else { entry.with(kind) })
}

/// Whether a frame is a report of the kernel's stream of programs, or of the inventory, that may become an event.
fn is_change(frame: &FrameRef<'_>) -> bool {
    match HostFrame::decode(frame) {
        Some(HostFrame::ProgramChange(change)) => !change.own,
        Some(HostFrame::BpfAttachment(attachment)) => attachment.news,
        Some(HostFrame::BpfHidden(_)) => true,
        _ => false,
    }
}

/// A Bloom filter of the hashes of keys.
pub mod filter {
    /// Bits for each key. With [`PROBES`], 1 of 120 absent keys seems to be there.
    const BITS: usize = 10;
    /// Bits that a key sets.
    const PROBES: u64 = 6;

    /// The filter of these hashes, a multiple of 8 bytes, at most `most`.
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

    /// Whether a key with this hash may be in it. One without bytes says nothing.
    pub fn may_have(filter: &[u8], hash: u64) -> bool {
        let bits = filter.len() as u64 * 8;
        bits == 0 || places(hash, bits).all(|bit| filter[(bit / 8) as usize] & 1 << (bit % 8) != 0)
    }

    fn places(hash: u64, bits: u64) -> impl Iterator<Item = u64> {
        let (start, step) = (hash & 0xffff_ffff, hash >> 32 | 1);
        (0..PROBES).map(move |i| (start + i * step) % bits)
    }
}

/// Whether what is looked for may be in one block, in several, or in one frame. It gets what the index says of them, and a
/// function that says whether a key with a hash may be there.
pub type Wanted<'a> = &'a dyn Fn(&Entry, &dyn Fn(u64) -> bool) -> bool;

/// What an index says of one block.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Entry {
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// Its bytes, with header and padding.
    pub bytes: u32,
    /// [`Contents`].
    pub contents: u16,
    /// [`BlockHeader::part`] of a state.
    pub part: u16,
    /// The earliest time of a probe's record: CLOCK_BOOTTIME, ns. `u64::MAX` if there is none.
    pub first_ns: u64,
    /// The latest one; 0 if there is none.
    pub last_ns: u64,
    /// Events by the number of their kind, without those of the process table only. Of [`Kind::Lost`]: the gaps in the numbers of
    /// the events, and the counters that say of others that they were lost or that are the last ones.
    pub events: [u32; KINDS],
    /// Events lost since the counters before, as the counters in the block say.
    pub lost: u32,
    /// Bytes of its filter, after the entries.
    pub filter: u32,
}

impl Entry {
    /// With one more event of a kind.
    fn with(mut self, kind: Kind) -> Entry {
        self.events.get_mut(kind as usize).into_iter().for_each(|count| *count += 1);
        self
    }
}

/// Sums over blocks.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Totals {
    /// The earliest time of a probe's record: CLOCK_BOOTTIME, ns. `u64::MAX` if there is none.
    pub first_ns: u64,
    /// The latest one; 0 if there is none.
    pub last_ns: u64,
    /// Events by the number of their kind.
    pub events: [u64; KINDS],
    /// Events lost, as the counters say.
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
    /// Adds a block.
    pub fn add(&mut self, entry: &Entry) {
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

/// A way to an earlier index block.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Skip {
    /// Where it begins, in bytes from the start of the file. 0 if there is none.
    pub offset: u64,
    /// The latest time in all blocks before those that it describes.
    pub last_ns: u64,
}

/// The start of an index block.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Head {
    /// The number of the index block, from 0.
    pub number: u64,
    /// Entries.
    pub entries: u32,
    /// Bytes of the filter of all entries together, which follows the entries.
    pub filter: u32,
    /// The sums of all blocks before those of this index block.
    pub before: Totals,
    /// Ways to earlier index blocks.
    pub skips: [Skip; SKIPS],
}

const _: () = assert!(size_of::<Entry>() == 72 && size_of::<Totals>() == 96 && size_of::<Head>() == 208);

/// The end of a recording that ended as it should.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Summary {
    /// The sums of all blocks.
    pub totals: Totals,
    /// Where the final state begins, in bytes from the start of the file.
    pub end: u64,
}

/// Bytes of a summary with its header: the last bytes of the file.
pub const SUMMARY: usize = HEADER + size_of::<Summary>();

/// An index block as read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IndexBlock {
    /// Its start.
    pub head: Head,
    /// The blocks that it describes, in the order of the file.
    pub entries: Vec<Entry>,
    /// The filter of all of them.
    filter: Vec<u8>,
    /// Their filters, one after another.
    filters: Vec<u8>,
}

impl IndexBlock {
    /// Reads the payload of an index block. `None` if it does not agree with itself.
    pub fn read(payload: &[u8]) -> Option<IndexBlock> {
        let (head, mut rest) = Head::read_from_prefix(payload).ok()?;
        let mut entries = Vec::new();
        for _ in 0..head.entries {
            let (entry, after) = Entry::read_from_prefix(rest).ok()?;
            entries.push(entry);
            rest = after;
        }
        let (filter, filters) = rest.split_at_checked(head.filter as usize)?;
        let length = entries.iter().map(|entry| u64::from(entry.filter)).sum::<u64>();
        (length == filters.len() as u64).then(|| IndexBlock {
            head,
            entries,
            filter: filter.to_vec(),
            filters: filters.to_vec(),
        })
    }

    /// Whether any of its blocks may have what is wanted.
    pub fn may_have(&self, wanted: Wanted<'_>) -> bool {
        wanted(&together(&self.entries), &|hash| filter::may_have(&self.filter, hash))
    }

    /// Its blocks, each with whether it may have what is wanted: only blocks of frames do.
    pub fn marked(&self, wanted: Wanted<'_>) -> Vec<(Entry, bool)> {
        let any = self.may_have(wanted);
        let mut rest = self.filters.as_slice();
        let mark = |entry: &Entry| {
            let (its, after) = rest.split_at_checked(entry.filter as usize).unwrap_or_default();
            rest = after;
            let frames = Contents::from(entry.contents) == Contents::Frames;
            (*entry, any && frames && wanted(entry, &|hash| filter::may_have(its, hash)))
        };
        self.entries.iter().map(mark).collect()
    }
}

/// Neighbours as one entry: what is in it is later than what is before the first one, and a reader may begin at the first one.
pub(super) fn together(entries: &[Entry]) -> Entry {
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
    /// The next number of a (slot, CPU), as the pipeline expects it.
    numbers: FxHashMap<(u16, u32), u64>,
    /// The counters of the probes so far, and the events that they say are lost.
    counters: Counters,
    lost: u64,
    /// There were requests ([`Key::Request`]): counters may show that one of them was lost.
    requests: bool,
    number: u64,
    before: Totals,
    totals: Totals,
    skips: [Skip; SKIPS],
    entries: Vec<Entry>,
    filters: Vec<u8>,
    /// Hashes of the keys of the block, and of all blocks since the last index block.
    hashes: Vec<u64>,
    all: Vec<u64>,
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
            numbers: FxHashMap::default(),
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
            all: Vec::new(),
        }
    }

    /// For the next file of the trace: what was lost before is not lost again.
    pub(super) fn next(&self) -> Indexer {
        let (numbers, counters) = (self.numbers.clone(), self.counters.clone());
        Indexer { numbers, counters, lost: self.lost, requests: self.requests, ..Indexer::new(self.keys) }
    }

    /// The sums of all blocks so far.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What the index says of a block with these frames; place and size are missing.
    pub(super) fn look(&mut self, contents: Contents, frames: &[u8]) -> Entry {
        let mut entry = Entry { contents: contents.into(), first_ns: u64::MAX, ..Entry::default() };
        self.hashes.clear();
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
                    self.hashes.push(Key::Change.hash());
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
                self.hashes.push(Key::Process(header.tgid.0).hash());
                self.hashes.push(Key::Comm(header.comm()).hash());
            }
            (self.keys)(&frame, &mut |key| {
                self.requests |= key == Key::Request;
                self.hashes.push(key.hash());
            });
        }
        entry.lost = u32::try_from(self.lost - lost_before).unwrap_or(u32::MAX);
        self.hashes.sort_unstable();
        self.hashes.dedup();
        entry
    }

    /// Whether numbers of events are missing before this one: then there is a `lost` row here.
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

    /// Counts what counters say is lost; whether they may make `lost` rows.
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

    /// Adds the block that was looked at last. The payload of an index block, if one is due.
    pub(super) fn add(&mut self, mut entry: Entry, offset: u64, bytes: usize) -> Option<Vec<u8>> {
        (entry.offset, entry.bytes) = (offset, u32::try_from(bytes).unwrap_or(u32::MAX));
        if Contents::from(entry.contents) == Contents::Frames {
            let filter = filter::of(&self.hashes, limits::BLOCK_FILTER);
            entry.filter = filter.len() as u32;
            self.filters.extend_from_slice(&filter);
            self.all.extend_from_slice(&self.hashes);
        }
        self.totals.add(&entry);
        self.entries.push(entry);
        (self.entries.len() >= ENTRIES).then(|| self.payload())
    }

    /// Bytes of an index block of all blocks since the last one, at most.
    pub(super) fn rest_bytes(&self) -> usize {
        let filter = (self.all.len() * 2).next_multiple_of(8).clamp(8, limits::INDEX_FILTER);
        size_of::<Head>() + self.entries.as_bytes().len() + filter + self.filters.len()
    }

    /// The payload of an index block of all blocks since the last one; `None` if there are none.
    pub(super) fn rest(&mut self) -> Option<Vec<u8>> {
        (!self.entries.is_empty()).then(|| self.payload())
    }

    fn payload(&mut self) -> Vec<u8> {
        self.all.sort_unstable();
        self.all.dedup();
        let filter = filter::of(&self.all, limits::INDEX_FILTER);
        let head = Head {
            number: self.number,
            entries: self.entries.len() as u32,
            filter: filter.len() as u32,
            before: self.before,
            skips: self.skips,
        };
        [head.as_bytes(), self.entries.as_bytes(), &filter, &self.filters].concat()
    }

    /// The index block was written here.
    pub(super) fn written(&mut self, offset: u64) {
        let skip = Skip { offset, last_ns: self.before.last_ns };
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

/// The entry of a block of which only the header was read: all events count as kind 0, and there is no filter.
pub(super) fn entry_of(header: &BlockHeader, offset: u64) -> Entry {
    let mut events = [0; KINDS];
    events[0] = header.events;
    Entry {
        events,
        offset,
        bytes: (HEADER + header.padded()) as u32,
        contents: header.contents,
        part: header.part,
        first_ns: header.first_ns,
        last_ns: header.last_ns,
        ..Entry::default()
    }
}
