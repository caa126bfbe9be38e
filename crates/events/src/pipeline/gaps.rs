//! Detects lost events: a missing number of a (slot, CPU) is an event that did not fit into the ring.
//!
//! The probes assign numbers where the kernel never runs a program twice at once on a CPU, and all of them write to one
//! ring. The numbers of a (slot, CPU) therefore arrive in order, and a gap can be reported at once.

use crate::account::{Streams, single_kind};
use crate::event::lost::{Cause, LostRecord};
use crate::frame::Batch;
use crate::frame::host::Counters;
use crate::frame::state::{Arrived, StateFrame, StreamState};
use crate::limits;
use foldhash::HashMap;
use tracetui_shared::header::{FrameHeader, VERSION, flag};
use tracetui_shared::kind::{Kind, SLOTS, Slot};
use tracetui_shared::time::BootNanos;
use zerocopy::IntoBytes;

impl StreamState {
    /// Why events are missing before the next one: lost in a hole if there was one since the latest event, else in the ring. Counts
    /// them.
    fn cause(&mut self, holes: u64, missing: u64) -> Cause {
        if std::mem::replace(&mut self.holes, holes) == holes {
            return Cause::Ring;
        }
        self.arrived.unread = self.arrived.unread.saturating_add(missing);
        Cause::Read
    }

    /// Skips the numbers before these, of events and of bookkeeping records. Returns the number of missing events.
    fn pass_on_to(&mut self, next: u64, next_bookkeeping: u64) -> u64 {
        let books = next_bookkeeping.saturating_sub(self.next_bookkeeping);
        self.next_bookkeeping = self.next_bookkeeping.max(next_bookkeeping);
        self.arrived.bookkeeping_gaps = self.arrived.bookkeeping_gaps.saturating_add(books);
        let missing = next.saturating_sub(self.next);
        self.next = self.next.max(next);
        self.arrived.gaps = self.arrived.gaps.saturating_add(missing);
        missing
    }
}

/// All streams, by (slot, CPU).
#[derive(Debug, Default)]
pub(super) struct Gaps {
    streams: HashMap<(u16, u32), StreamState>,
    pub(super) counted_at: u64,
    /// The number of places where frames are missing. If events are missing before the next one of a stream, they were in the last one.
    pub(super) holes: u64,
    /// The number of holes before the last state that follows one. The contents of these holes are known.
    pub(super) known: u64,
}

impl Gaps {
    /// Whether there was a hole since the last state.
    pub(super) fn is_behind(&self) -> bool {
        self.known < self.holes
    }

    /// Counts the events missing up to a state, given its streams. The contents of the holes before it are known from then on.
    pub(super) fn catch_up(&mut self, state: &Gaps, time: BootNanos) -> Vec<LostRecord> {
        let mut lost = Vec::new();
        let mut streams: Vec<_> = state.streams.iter().collect();
        streams.sort_unstable_by_key(|(key, _)| **key);
        for ((slot, cpu), there) in streams {
            let Ok(of) = Slot::try_from(*slot).map(|slot| slot.kind() as u16) else { continue };
            let stream = self.streams.entry((*slot, *cpu)).or_default();
            let from = stream.latest;
            stream.latest = from.max(there.latest);
            let count = stream.pass_on_to(there.next, there.next_bookkeeping);
            let cause = stream.cause(self.holes, count);
            lost.extend((count > 0).then(|| LostRecord::new(of, cause, Some(*cpu), count, from, time)));
        }
        self.known = self.holes;
        lost
    }

    /// Counts a frame of the probes. Returns the gap directly before it, if any. Gaps in bookkeeping records are only counted,
    /// because those records are not events.
    pub(super) fn feed(&mut self, header: &FrameHeader) -> Option<LostRecord> {
        if header.kind == Kind::Lost as u16 {
            return None;
        }
        // Such a frame does not come from a kernel. Without this limit, the table of streams could grow without end.
        if usize::from(header.slot) >= SLOTS || header.cpu >= limits::CPUS {
            return None;
        }
        let stream = self.streams.entry((header.slot, header.cpu)).or_default();
        // The numbers in a recording are untrusted.
        let after = header.seq.saturating_add(1);
        if header.has(flag::CONTINUES) {
            stream.arrived.chunks += 1;
            return None;
        }
        if header.has(flag::BOOKKEEPING) {
            let missing = header.seq.saturating_sub(stream.next_bookkeeping);
            stream.next_bookkeeping = stream.next_bookkeeping.max(after);
            stream.arrived.bookkeeping += 1;
            stream.arrived.bookkeeping_gaps = stream.arrived.bookkeeping_gaps.saturating_add(missing);
            return None;
        }
        let missing = header.seq.saturating_sub(stream.next);
        stream.next = stream.next.max(after);
        stream.arrived.wanted += 1;
        stream.arrived.gaps = stream.arrived.gaps.saturating_add(missing);
        let from = std::mem::replace(&mut stream.latest, header.time);
        let cause = stream.cause(self.holes, missing);
        (missing > 0).then(|| LostRecord::new(header.kind, cause, Some(header.cpu), missing, from, header.time))
    }

    /// The gaps after the last frames: numbers that the probes assigned and that never arrived.
    pub(super) fn tail(&mut self, counters: &Counters, time: BootNanos) -> Vec<LostRecord> {
        let mut lost = Vec::new();
        for (cpu, state) in (0..limits::CPUS).zip(&counters.cpus) {
            for slot in Slot::ALL {
                let Some(counters) = state.slots.get(slot as usize) else { continue };
                let stream = self.streams.entry((slot as u16, cpu)).or_default();
                let count = stream.pass_on_to(counters.wanted, counters.bookkeeping);
                let (of, cause) = (slot.kind() as u16, stream.cause(self.holes, count));
                lost.extend((count > 0).then(|| LostRecord::new(of, cause, Some(cpu), count, stream.latest, time)));
            }
        }
        lost
    }

    /// Appends the next numbers and the arrivals.
    pub(super) fn write_state(&self, arrived: &Streams, out: &mut Batch) {
        for ((slot, cpu), arrived) in arrived {
            let stream = self.streams.get(&(*slot, *cpu)).cloned().unwrap_or_default();
            let time = stream.latest;
            let state = StreamState { slot: *slot, cpu: *cpu, arrived: *arrived, ..stream };
            StateFrame::StreamState(state).push(time, out);
        }
    }

    pub(super) fn restore(&mut self, state: &StreamState) {
        if usize::from(state.slot) >= SLOTS || state.cpu >= limits::CPUS {
            return;
        }
        let stream = StreamState { arrived: Arrived { cut_short: 0, ..state.arrived }, ..state.clone() };
        self.streams.insert((state.slot, state.cpu), stream);
    }

    pub(super) fn arrived(&self) -> Streams {
        self.streams.iter().map(|(key, stream)| (*key, stream.arrived)).collect()
    }

    /// Events that were not reported between two readings of the counters: the kernel skipped the program, has no
    /// attach point that shows the event, or the program dropped it.
    pub(super) fn skips(&mut self, before: &Counters, now: &Counters, time: BootNanos) -> Vec<LostRecord> {
        let from = BootNanos(std::mem::replace(&mut self.counted_at, time.0));
        let earlier = |name: &str| before.programs.iter().find(|p| p.program == name).map_or(0, |p| p.skips);
        let new = now.programs.iter().filter_map(|program| {
            let count = program.skips.checked_sub(earlier(&program.program)).filter(|n| *n > 0)?;
            Some(LostRecord::new(single_kind(&program.slots)? as u16, Cause::Probe, None, count, from, time))
        });
        let dropped = Kind::PROBED.into_iter().filter_map(|kind| {
            let count = now.dropped(kind).checked_sub(before.dropped(kind)).filter(|n| *n > 0)?;
            Some(LostRecord::new(kind as u16, Cause::Probe, None, count, from, time))
        });
        new.chain(dropped).collect()
    }
}

/// Makes the frame of a `lost` row. Its time is `to_ns`, and it precedes the event of that time.
pub(super) fn push_lost(record: &LostRecord, out: &mut Batch) {
    let header = FrameHeader {
        kind: Kind::Lost as u16,
        version: VERSION,
        cpu: record.cpu,
        time: BootNanos(record.to_ns),
        ..FrameHeader::default()
    };
    out.push(header, record.as_bytes());
}
