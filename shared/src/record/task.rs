//! What the iterator over tasks writes: no frame, a plain list.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A process that was not waited for yet.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TaskStart {
    /// `task->tgid` of a leader.
    pub tgid: u32,
    /// `task->real_parent->tgid`.
    pub parent: u32,
    /// `task->start_boottime`.
    pub start: u64,
    /// `start_boottime` of the parent's leader.
    pub parent_start: u64,
    /// `signal->live`: threads that have not begun to exit; 0 for a process that ended and was not waited for.
    pub live: u32,
    /// Not used; 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<TaskStart>() == 32);
