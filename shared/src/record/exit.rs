//! `exit`: a process ended.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// All of `exit`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitRecord {
    /// The status as wait(2) reports it (`wait_task_zombie`): `signal->group_exit_code` when `signal->flags` has
    /// `SIGNAL_GROUP_EXIT` (4), else `group_leader->exit_code`. Bits 0–6 signal, 7 core, 8–15 code.
    pub status: u32,
    /// `signal->flags`.
    pub signal_flags: u32,
}

const _: () = assert!(size_of::<ExitRecord>() == 8);
