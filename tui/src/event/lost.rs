//! `lost`: events are missing here. Made in user space from the numbers and counters of the probes.

use super::describe::{Field, Shape, Value};
use super::{Body, Parts, Payload, Seen};
use crate::text::grouped;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::kind::Kind;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// All of `lost`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LostRecord {
    /// [`Kind`] of the missing events; 0 when one program serves several.
    pub of: u16,
    /// [`Cause`].
    pub cause: u16,
    /// The CPU where they are missing; `u32::MAX` when not known.
    pub cpu: u32,
    /// How many.
    pub count: u64,
    /// The last event of the same stream before them (CLOCK_BOOTTIME, ns); 0 when there is none.
    pub from_ns: u64,
    /// The first one after them, or when they were counted.
    pub to_ns: u64,
}

/// Why events are missing.
#[repr(u16)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// The kernel's ring had no room.
    Ring = 1,
    /// No program was run: the kernel skipped it, or it has no place where the event shows.
    Probe = 2,
    /// The record arrived but could not be decoded.
    Read = 3,
}

impl Cause {
    /// The word for it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Cause::Ring => "ring",
            Cause::Probe => "probe",
            Cause::Read => "read",
        }
    }

    fn clause(self) -> &'static str {
        match self {
            Cause::Ring => "kernel ring full",
            Cause::Probe => "no probe was run",
            Cause::Read => "not decodable",
        }
    }
}

/// A `lost`.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// All of it.
    pub record: LostRecord,
    /// Why.
    pub cause: Cause,
}

impl Payload<'_> for Lost {
    fn decode(payload: &[u8]) -> Option<Lost> {
        let (record, _) = Parts::fixed::<LostRecord>(payload)?;
        let cause = [Cause::Ring, Cause::Probe, Cause::Read].into_iter().find(|c| *c as u16 == record.cause)?;
        Some(Lost { record, cause })
    }

    fn result(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.record.count.to_string().as_bytes());
    }

    fn detail(&self, _: &FrameHeader, out: &mut Vec<u8>) {
        self.sentence(out);
    }
}

impl Lost {
    /// The kind of the missing events.
    pub fn of(&self) -> Option<Kind> {
        Kind::try_from(self.record.of).ok()
    }

    /// What a row about it says: `1,204 open events lost here: kernel ring full`.
    pub fn sentence(&self, out: &mut Vec<u8>) {
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

fn lost<'a>(seen: &Seen<'a>, get: impl FnOnce(&'a Lost) -> Value<'a>) -> Value<'a> {
    match &seen.event.body {
        Body::Lost(lost) => get(lost),
        _ => Value::Null,
    }
}

/// What a `lost` has beside the common fields.
pub(crate) const FIELDS: &[Field] = &[
    Field::new("of", Shape::Text, "The kind of the missing events.", |s| {
        lost(s, |l| l.of().map_or(Value::Null, |kind| Value::Word(kind.name())))
    }),
    Field::new(
        "cause",
        Shape::Text,
        "ring (no room), probe (the kernel skipped the program, or takes none that sees it), read (not decodable).",
        |s| lost(s, |l| Value::Word(l.cause.word())),
    ),
    Field::new("count", Shape::Number, "How many are missing.", |s| lost(s, |l| Value::Uint(l.record.count))),
    Field::new(
        "from_ns",
        Shape::Number,
        "The last event of the same stream before the gap, CLOCK_BOOTTIME in nanoseconds.",
        |s| lost(s, |l| if l.record.from_ns == 0 { Value::Null } else { Value::Uint(l.record.from_ns) }),
    ),
    Field::new("to_ns", Shape::Number, "The first event after the gap, or when it was counted.", |s| {
        lost(s, |l| Value::Uint(l.record.to_ns))
    }),
];
