//! Finds lost events: a number that is missing from a (slot, CPU) is an event that found no room in the ring.
//!
//! The probes take numbers where the kernel never runs one program twice at once on a CPU, and write them to one ring,
//! so the numbers of a (slot, CPU) arrive in order and a jump can be declared at once.

use crate::account::single_kind;
use crate::event::lost::{Cause, LostRecord};
use crate::frame::host::Counters;
use crate::limits;
use rustc_hash::FxHashMap;
use tracetui_shared::header::{FrameHeader, flag};
use tracetui_shared::kind::{Kind, SLOTS, Slot};
use tracetui_shared::time::BootNanos;

/// Where the numbers of a (slot, CPU) stand.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    next: u64,
    last_ns: u64,
}

/// All streams of wanted events. (Bookkeeping records are numbered apart; the counters tell what was lost of them.)
#[derive(Debug, Default)]
pub(super) struct Gaps {
    streams: FxHashMap<(u16, u32), Stream>,
    counted_at: u64,
    /// Untold opens that were declared.
    untold: u64,
}

impl Gaps {
    /// The gap right before this frame, if there is one.
    pub(super) fn check(&mut self, header: &FrameHeader) -> Option<LostRecord> {
        if header.has(flag::BOOKKEEPING) || header.has(flag::CONTINUES) || header.kind == Kind::Lost as u16 {
            return None;
        }
        // No kernel's: there would be no end of them.
        if usize::from(header.slot) >= SLOTS || header.cpu >= limits::CPUS {
            return None;
        }
        let stream = self.streams.entry((header.slot, header.cpu)).or_default();
        let before = std::mem::replace(
            stream,
            Stream { next: stream.next.max(header.seq.saturating_add(1)), last_ns: header.time.0 },
        );
        let missing = header.seq.checked_sub(before.next).filter(|n| *n > 0)?;
        Some(LostRecord {
            of: header.kind,
            cause: Cause::Ring as u16,
            cpu: header.cpu,
            count: missing,
            from_ns: before.last_ns,
            to_ns: header.time.0,
        })
    }

    /// The gaps after the last frames: numbers that the probes took and that never came.
    pub(super) fn tail(&mut self, counters: &Counters, time: BootNanos) -> Vec<LostRecord> {
        let mut lost = Vec::new();
        for (cpu, state) in (0..limits::CPUS).zip(&counters.cpus) {
            for slot in Slot::ALL {
                let taken = state.slots.get(slot as usize).map_or(0, |c| c.wanted);
                let stream = self.streams.entry((slot as u16, cpu)).or_default();
                if let Some(count) = taken.checked_sub(stream.next).filter(|n| *n > 0) {
                    lost.push(LostRecord {
                        of: slot.kind() as u16,
                        cause: Cause::Ring as u16,
                        cpu,
                        count,
                        from_ns: stream.last_ns,
                        to_ns: time.0,
                    });
                    stream.next = taken;
                }
            }
        }
        lost
    }

    /// What no program was run for between two counts: the kernel skipped it, or has no place where it shows.
    pub(super) fn skips(&mut self, before: &Counters, now: &Counters, time: BootNanos) -> Vec<LostRecord> {
        let from_ns = std::mem::replace(&mut self.counted_at, time.0);
        let earlier = |name: &str| before.programs.iter().find(|p| p.program == name).map_or(0, |p| p.skips);
        let new = now.programs.iter().filter_map(|program| {
            let count = program.skips.checked_sub(earlier(&program.program)).filter(|n| *n > 0)?;
            Some(LostRecord {
                of: single_kind(&program.slots)? as u16,
                cause: Cause::Probe as u16,
                cpu: u32::MAX,
                count,
                from_ns,
                to_ns: time.0,
            })
        });
        let untold = self.untold(before, now, from_ns, time);
        new.chain(untold).collect()
    }

    /// Opens that began and whose end nobody told. Those that began since the last count may still end.
    fn untold(&mut self, before: &Counters, now: &Counters, from_ns: u64, time: BootNanos) -> Option<LostRecord> {
        let untold = now.untold(Kind::Open).min(if now.last { u64::MAX } else { before.untold(Kind::Open) });
        let count = untold.checked_sub(self.untold).filter(|n| *n > 0)?;
        self.untold = untold;
        Some(LostRecord {
            of: Kind::Open as u16,
            cause: Cause::Probe as u16,
            cpu: u32::MAX,
            count,
            from_ns,
            to_ns: time.0,
        })
    }
}
