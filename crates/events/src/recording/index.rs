//! The index of a recording: the contents of each block. With it, a reader can go to a time and skip blocks without reading them.
//!
//! Index blocks follow the blocks that they describe. The header of each leads to the one before. `docs/RECORDING.md` specifies them.

use super::block::{BlockHeader, Contents, HEADER, INDEX_HEAD};
use crate::event::bpf::unprobed::KIND;
use crate::frame::host::{Counters, FIRST_KIND, HostFrame};
use crate::frame::{FrameRef, Frames};
use crate::limits;
use foldhash::HashMap;
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::kind::{KINDS, Kind, SLOTS, Slot};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The most blocks that one index block describes.
pub const ENTRIES: usize = 128;

/// Bits of [`IndexEntry::joins`].
pub mod join {
    /// A request of io_uring or its end. Process, comm and path of the event are those of the request, which may be in an earlier
    /// block. Either frame may show that another request was lost.
    pub const URING: u32 = 1;
    /// A report about a BPF program or attachment, whose frame does not contain the process of the event.
    pub const CHANGE: u32 = 2;
}

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
    /// Whether the block has frames that become an event with the facts of others: bits of [`join`].
    pub joins: u32,
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
        let IndexEntry { first_ns, last_ns, lost, .. } = *entry;
        let events = entry.events.map(u64::from);
        *self = self.and(&Totals { first_ns, last_ns, events, lost: lost.into(), blocks: 1 });
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

const _: () = assert!(size_of::<IndexEntry>() == 168 && size_of::<Totals>() == INDEX_HEAD);

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IndexBlock {
    /// The sums of all blocks before the ones that it describes.
    pub before: Totals,
    /// The blocks that it describes, in the order of the file.
    pub entries: Vec<IndexEntry>,
}

impl IndexBlock {
    /// Reads the payload of an index block. `None` if it is inconsistent.
    pub fn read(payload: &[u8]) -> Option<IndexBlock> {
        let (before, rest) = Totals::read_from_prefix(payload).ok()?;
        let (entries, rest) = rest.as_chunks();
        let entries = entries.iter().map(|bytes: &[u8; size_of::<IndexEntry>()]| zerocopy::transmute!(*bytes));
        rest.is_empty().then(|| IndexBlock { before, entries: entries.collect() })
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
#[derive(Default)]
pub(super) struct Indexer {
    /// The next number of each (slot, CPU), as the pipeline expects it.
    numbers: HashMap<(u16, u32), u64>,
    /// The counters of the probes so far, and the number of events that they report as lost.
    counters: Counters,
    lost: u64,
    /// Whether there were requests of io_uring. If so, counters may show that one of them was lost.
    requests: bool,
    before: Totals,
    /// The sums of all blocks so far.
    pub(super) totals: Totals,
    entries: Vec<IndexEntry>,
}

impl Indexer {
    /// An indexer for the next file of the trace. It does not count earlier losses again.
    pub(super) fn next(&self) -> Indexer {
        let (numbers, counters) = (self.numbers.clone(), self.counters.clone());
        Indexer { numbers, counters, lost: self.lost, requests: self.requests, ..Indexer::default() }
    }

    /// The index entry of a block with these frames, without offset and size.
    pub(super) fn look(&mut self, contents: Contents, frames: &[u8]) -> IndexEntry {
        let mut entry = IndexEntry { contents: contents as u16, first_ns: u64::MAX, ..IndexEntry::default() };
        if contents == Contents::Frames {
            let lost_before = self.lost;
            Frames::of(frames).for_each(|frame| self.count(&frame, &mut entry));
            entry.lost = u32::try_from(self.lost - lost_before).unwrap_or(u32::MAX);
        }
        entry
    }

    /// Adds a frame to the entry of its block.
    fn count(&mut self, frame: &FrameRef<'_>, entry: &mut IndexEntry) {
        let header = &frame.header;
        let kind = Kind::try_from(header.kind).ok();
        let lost = if kind.is_some() { self.skips_numbers(header) } else { self.may_be_lost(frame) };
        entry.events[Kind::Lost as usize] += u32::from(lost);
        let Some(kind) = kind.or(is_change(frame).then_some(KIND)) else { return };
        entry.first_ns = entry.first_ns.min(header.time.0);
        entry.last_ns = entry.last_ns.max(header.time.0);
        if header.kind >= FIRST_KIND {
            entry.joins |= join::CHANGE;
        } else if header.has(flag::REQUEST) {
            self.requests = true;
            entry.joins |= join::URING;
        } else if Slot::try_from(header.slot).is_ok_and(Slot::ends_a_request) {
            entry.joins |= join::URING;
        }
        if header.kind >= FIRST_KIND || !header.has(flag::BOOKKEEPING) && !header.has(flag::CONTINUES) {
            entry.events[kind as usize] += 1;
        }
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
    fn may_be_lost(&mut self, frame: &FrameRef<'_>) -> bool {
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

    /// Adds the block that [`look`](Self::look) examined last. Returns whether an index block is due.
    pub(super) fn add(&mut self, entry: IndexEntry, offset: u64, bytes: usize) -> bool {
        let entry = IndexEntry { offset, bytes: u32::try_from(bytes).unwrap_or(u32::MAX), ..entry };
        self.totals.add(&entry);
        self.entries.push(entry);
        self.entries.len() >= ENTRIES
    }

    /// The payload of an index block of all blocks since the last one; `None` if there are no such blocks.
    pub(super) fn rest(&mut self) -> Option<Vec<u8>> {
        let entries = std::mem::take(&mut self.entries);
        let before = std::mem::replace(&mut self.before, self.totals);
        (!entries.is_empty()).then(|| [before.as_bytes(), entries.as_bytes()].concat())
    }
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

/// The entry of a block whose header alone was read: all events count as kind 0.
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
