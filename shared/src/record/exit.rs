//! `exit`: a process ended.

use super::session::Session;
use crate::header::COMM_LEN;
use crate::id::{Tgid, Uid};
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
    /// The sending of the signal in `status`. Meaningless without [`fact::SENT`].
    pub sent: Sent,
    /// Bits of [`fact`].
    pub facts: u32,
    /// `current->seccomp.mode` (`SECCOMP_MODE_*`, include/uapi/linux/seccomp.h; 3 after a forbidden call, from 5.17 on).
    pub seccomp: u32,
    /// What the process used. Meaningless without [`fact::COST`].
    pub cost: Cost,
    /// The session of the process.
    pub session: Session,
    /// `cred->euid`: the effective user id. Meaningless without [`fact::EUID`].
    pub euid: u32,
    /// Not used; 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<ExitRecord>() == 136);

/// What the threads of a process used until its last one reached the probe, as the kernel counts it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Cost {
    /// Time in user mode, by the ticks of the scheduler: `utime` of the threads.
    pub user_ticks: u64,
    /// Time in the kernel, likewise: `stime`.
    pub system_ticks: u64,
    /// The exact time of both: `se.sum_exec_runtime`, and an estimate of the last slice of the last thread.
    pub runtime: u64,
    /// The peak of the resident set in bytes: `signal->maxrss`.
    pub max_rss: u64,
    /// Bytes fetched from storage: `ioac.read_bytes`. Meaningless without [`fact::IO`].
    pub read: u64,
    /// Bytes sent to storage: `ioac.write_bytes`. Meaningless without [`fact::IO`].
    pub written: u64,
}

/// A signal that was sent to a process: what `signal_generate` shows
/// ([`__send_signal_locked`](https://elixir.bootlin.com/linux/v6.12/source/kernel/signal.c)).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Sent {
    /// The first word after `si_code`: `si_addr` of a signal that the processor caused, `si_pid` and `si_uid` of one from a
    /// process. Without `siginfo`, the `si_pid` that the kernel fills in for [`fact::UNNAMED`], else 0.
    pub address: u64,
    /// The name of the current process: `current->group_leader->comm`.
    pub comm: [u8; COMM_LEN],
    /// The current process, in the initial pid namespace. It is the sender, or was interrupted by the kernel's sending.
    pub tgid: Tgid,
    /// Its real user.
    pub uid: Uid,
    /// `si_code`; `SI_USER` (0) and `SI_KERNEL` (0x80) for a signal without `siginfo`, as the kernel fills it in.
    pub code: i32,
    /// Those bits of [`fact`] that belong to the sending.
    pub facts: u32,
}

/// Bits of [`ExitRecord::facts`].
pub mod fact {
    /// The sending of the signal was seen.
    pub const SENT: u32 = 1;
    /// Sent without `siginfo`, by the kernel (`SEND_SIG_PRIV`).
    pub const PRIVILEGED: u32 = 2;
    /// Sent without `siginfo`, in the name of the current process (`SEND_SIG_NOINFO`).
    pub const UNNAMED: u32 = 4;
    /// The process sent it to itself.
    pub const SELF: u32 = 8;
    /// The current process was ending (`PF_EXITING`).
    pub const ENDING: u32 = 16;
    /// The OOM killer chose the process: `signal->oom_mm`.
    pub const OOM: u32 = 32;
    /// The process has a limit of CPU time: `signal->rlim[RLIMIT_CPU].rlim_max`.
    pub const CPU_LIMIT: u32 = 64;
    /// The costs of all threads were read.
    pub const COST: u32 = 128;
    /// The kernel counts bytes of storage (`CONFIG_TASK_IO_ACCOUNTING`).
    pub const IO: u32 = 256;
    /// The effective user id was read.
    pub const EUID: u32 = 512;
    /// The current thread had a seccomp filter, or was in strict mode, when the signal was sent.
    pub const FILTER: u32 = 1024;
}
