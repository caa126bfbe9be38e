//! `fork`: a process (not a thread) was created.

use crate::id::Tgid;
use crate::time::BootNanos;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The payload of `fork`. The header is the calling thread's. The child's parent is not always the caller
/// (`CLONE_PARENT`).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ForkRecord {
    /// The child's process id: `tgid`.
    pub child: Tgid,
    /// The child's thread id: `pid`. A value other than `child` is counted, never corrected.
    pub child_tid: u32,
    /// The child's `start_boottime`.
    pub child_start: BootNanos,
    /// The child's parent: `real_parent->tgid`.
    pub child_parent: Tgid,
    /// Not used; 0.
    pub reserved: u32,
    /// The child's `real_parent->group_leader->start_boottime`.
    pub child_parent_start: BootNanos,
}

const _: () = assert!(size_of::<ForkRecord>() == 32);
