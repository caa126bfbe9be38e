//! What the probes count, for each slot and CPU. Never reset, only ever incremented;
//! user space takes sums.

use crate::kind::SLOTS;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Counters of one slot on one CPU.
///
/// Events that the slot's program met = `wanted + bookkeeping + filtered + own`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SlotCounters {
    /// Wanted events: numbers taken, also those that found no room.
    pub wanted: u64,
    /// Rejected by the capture filter, sent all the same for the process table: numbers taken.
    pub bookkeeping: u64,
    /// Rejected by the capture filter and not sent.
    pub filtered: u64,
    /// Caused by tracetui itself and not sent.
    pub own: u64,
    /// Wanted events that found no room in the ring.
    pub lost_ring: u64,
    /// Bookkeeping records that found no room in the ring.
    pub lost_bookkeeping: u64,
    /// Continuations that found no room: their event is delivered, cut short.
    pub lost_chunks: u64,
    /// Not used.
    pub reserved: u64,
}

const _: () = assert!(size_of::<SlotCounters>() == 64);

/// Everything that one CPU counts: the value of the map `CPUS`, whose index is the CPU's number.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CpuState {
    /// One entry a [`crate::kind::Slot`].
    pub slots: [SlotCounters; SLOTS],
    /// Bytes that this CPU may still write before it asks the ring how full it is.
    pub credit: u64,
    /// Bytes written since the consumer was last woken from this CPU.
    pub unwoken: u64,
    /// When the consumer was last woken from this CPU: `bpf_ktime_get_boot_ns`.
    pub woken_ns: u64,
    /// Not 0 when opens are refused because the ring is nearly full, until the next question.
    pub reserved_for_rare: u64,
    /// New processes for which a captured tree had no room: what they and those they start do is not let through.
    pub tree_full: u64,
}

const _: () = assert!(size_of::<CpuState>() == SLOTS * 64 + 40);
