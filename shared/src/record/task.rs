//! The output of the iterator over tasks: a plain list, without frames.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A process that has not been waited for yet.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TaskStart {
    /// `task->tgid` of a leader: the process id.
    pub tgid: u32,
    /// `task->real_parent->tgid`: the parent's process id.
    pub parent: u32,
    /// `task->start_boottime` in nanoseconds.
    pub start: u64,
    /// `start_boottime` of the parent's leader, in nanoseconds.
    pub parent_start: u64,
    /// `signal->live`: the number of threads that have not begun to exit. 0 for a process that ended and was not waited
    /// for.
    pub live: u32,
    /// Not used; 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<TaskStart>() == 32);
