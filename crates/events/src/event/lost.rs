//! `lost`: missing events. Made in user space from the numbers and counters of the probes.

use super::describe::{Field, Value, field_table};
use super::redact::Redact;
use super::{Compared, EventContext, Payload, Sections, lost};
use crate::text::grouped;
use crate::text::paint::Look;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// All of `lost`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LostRecord {
    /// [`Kind`] of the missing events; 0 when one program serves several.
    pub of: u16,
    /// [`Cause`].
    pub cause: u16,
    /// The CPU; `u32::MAX` if unknown.
    pub cpu: u32,
    pub count: u64,
    /// The time of the last event of the same stream before the gap (CLOCK_BOOTTIME, ns); 0 if there is none.
    pub from_ns: u64,
    /// The time of the first event after it, or of the count.
    pub to_ns: u64,
}

impl LostRecord {
    /// Events that are missing between two times, on a CPU if it is known.
    pub fn new(of: u16, cause: Cause, cpu: Option<u32>, count: u64, from: BootNanos, to: BootNanos) -> LostRecord {
        let cpu = cpu.unwrap_or(u32::MAX);
        LostRecord { of, cause: cause as u16, cpu, count, from_ns: from.0, to_ns: to.0 }
    }

    /// Whether the count is an upper bound. Reports of the kernel's own stream, which has no CPU, may not all be events.
    pub fn is_bound(&self) -> bool {
        self.of == Kind::Bpf as u16 && self.cause == Cause::Ring as u16 && self.cpu == u32::MAX
    }

    /// The words before the count.
    pub fn at_most(&self) -> &'static str {
        if self.is_bound() { "at most " } else { "" }
    }
}

#[repr(u16)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// The kernel's ring was full.
    Ring = 1,
    /// No program ran: the kernel skipped it, or has no attach point that shows the event.
    Probe = 2,
    /// The record arrived but could not be decoded.
    Read = 3,
}

impl Cause {
    pub fn word(self) -> &'static str {
        match self {
            Cause::Ring => "ring",
            Cause::Probe => "probe",
            Cause::Read => "read",
        }
    }

    pub fn clause(self) -> &'static str {
        match self {
            Cause::Ring => "kernel ring full",
            Cause::Probe => "skipped by the kernel, or no room in a map",
            Cause::Read => "not decodable",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Lost {
    pub record: LostRecord,
    pub cause: Cause,
}

impl Payload<'_> for Lost {
    fn decode(payload: &[u8]) -> Option<Lost> {
        let (record, _) = Sections::fixed::<LostRecord>(payload)?;
        let cause = [Cause::Ring, Cause::Probe, Cause::Read].into_iter().find(|c| *c as u16 == record.cause)?;
        Some(Lost { record, cause })
    }

    fn unwritten() -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn redact(_: &[u8], _: &mut Redact) -> Option<Vec<u8>> {
        None
    }

    const LOOK: Look = Look::Quiet;
    const COMPARED: Compared = Compared::Nothing;
    const NOUN: &'static str = "lost event";

    fn result(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.record.count.to_string().as_bytes());
    }

    fn detail(&self, _: &EventContext<'_>, out: &mut Vec<u8>) {
        self.sentence(out);
    }

    fn title(&self, _: &EventContext<'_>, out: &mut Vec<u8>) {
        self.sentence(out);
    }
}

impl Lost {
    pub fn of(&self) -> Option<Kind> {
        Kind::try_from(self.record.of).ok()
    }

    /// The text of its row: `1,204 open events lost here: kernel ring full`.
    pub fn sentence(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.record.at_most().as_bytes());
        out.extend_from_slice(grouped(self.record.count).as_bytes());
        if let Some(of) = self.of() {
            out.push(b' ');
            out.extend_from_slice(of.name().as_bytes());
        }
        out.extend_from_slice(if self.record.count == 1 { b" event" } else { b" events" });
        out.extend_from_slice(b" lost here: ");
        out.extend_from_slice(self.cause.clause().as_bytes());
    }
}

pub(crate) const FIELDS: &[Field] = field_table! {
    of Text "Kind of the missing events." |s| lost(s, |l| l.of().map_or(Value::Null, |kind| Value::Word(kind.name())));
    cause Text "ring (the ring was full), probe (the kernel skipped the program, or does not accept it), read (not decodable)."
        |s| lost(s, |l| Value::Word(l.cause.word()));
    count Number "Number of missing events." |s| lost(s, |l| Value::Uint(l.record.count));
    from_ns Number "Time of the last event before the gap, CLOCK_BOOTTIME in nanoseconds."
        |s| lost(s, |l| if l.record.from_ns == 0 { Value::Null } else { Value::Uint(l.record.from_ns) });
    to_ns Number "Time of the first event after it, or of the count."
        |s| lost(s, |l| Value::Uint(l.record.to_ns));
};
