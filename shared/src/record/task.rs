//! What the iterator over tasks writes: no frame, a plain list.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A process that runs.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TaskStart {
    /// `task->tgid` of a leader.
    pub tgid: u32,
    /// Not used; 0.
    pub reserved: u32,
    /// `task->start_boottime`.
    pub start: u64,
}

const _: () = assert!(size_of::<TaskStart>() == 16);
