//! `exit`: a process ended.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The payload of `exit`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitRecord {
    /// The status as wait(2) reports it
    /// ([`wait_task_zombie`](https://elixir.bootlin.com/linux/v6.12/source/kernel/exit.c)): `signal->group_exit_code`
    /// if `signal->flags` has `SIGNAL_GROUP_EXIT` (4), else `group_leader->exit_code`. Bits 0–6: signal; bit 7: core
    /// dumped; bits 8–15: exit code.
    pub status: u32,
    /// `signal->flags` (`SIGNAL_*`, include/linux/sched/signal.h).
    pub signal_flags: u32,
}

const _: () = assert!(size_of::<ExitRecord>() == 8);
