//! The header of every frame: the event, its place and time, and the identity of the thread.

use crate::id::{CgroupId, Gid, NsInum, Tgid, Tid, Uid};
use crate::time::BootNanos;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The version of the frame format; part of every header.
pub const VERSION: u16 = 1;

/// Bytes of a thread's name with its NUL: `TASK_COMM_LEN` (include/linux/sched.h).
pub const COMM_LEN: usize = 16;

/// Flags of a frame ([`FrameHeader::flags`]).
pub mod flag {
    /// The capture filter rejected the event; the record only keeps the process table correct. Such records are
    /// numbered separately from wanted ones, so a gap in their numbers is not counted as a lost event.
    pub const BOOKKEEPING: u16 = 1;
    /// The record continues an event. Its payload is a [`crate::record::exec::ExecChunk`], and its number is that of
    /// the first record.
    pub const CONTINUES: u16 = 2;
    /// The record has the arguments of an io_uring request, before the event: a [`crate::record::open::OpenRecord`]
    /// without a result. [`BOOKKEEPING`] is set too.
    pub const REQUEST: u16 = 4;
    /// The event was taken out of a trace, in user space: it is whole, and its number says nothing.
    pub const EXCERPT: u16 = 8;
    /// What is known of the process follows the record, as a frame; the last 4 bytes of the payload are the length of the
    /// record.
    pub const TOLD: u16 = 16;
    /// The kernel stack follows the record ([`crate::record::stack`]).
    pub const STACK: u16 = 32;
}

/// The header of every frame. The identity is captured in the kernel at the event, so nothing has to be looked up
/// later.
///
/// A frame consists of this header and a payload; [`len`](Self::len) covers both. Frames are aligned to 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FrameHeader {
    /// Header and payload together, in bytes.
    pub len: u32,
    /// A [`crate::kind::Kind`], or the kind of a host frame (64 and above, user space only).
    pub kind: u16,
    /// Bits of [`flag`].
    pub flags: u16,
    /// A [`crate::kind::Slot`]: the numbered stream to which the event belongs.
    pub slot: u16,
    /// [`VERSION`] of the writer.
    pub version: u16,
    /// The CPU on which the program ran: `bpf_get_smp_processor_id`.
    pub cpu: u32,
    /// The event's number among those of its (slot, CPU, bookkeeping or not), from 0. It is taken before the ring is
    /// asked for room, so a missing number is a lost event.
    pub seq: u64,
    /// Time at which the program ran: `bpf_ktime_get_boot_ns`.
    pub time: BootNanos,
    /// Start of the process: `current->group_leader->start_boottime`. Identifies the process together with `tgid`. It
    /// survives an exec, even one by a thread that is not the leader
    /// ([`de_thread`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c) copies it).
    pub start: BootNanos,
    /// The cgroup in the v2 hierarchy: `kernfs_node.id` of `current->cgroups->dfl_cgrp`.
    pub cgroup: CgroupId,
    /// `current->tgid`: the process.
    pub tgid: Tgid,
    /// `current->pid`: the thread.
    pub tid: Tid,
    /// `current->real_parent->tgid`: the parent process.
    pub ppid: Tgid,
    /// `current->cred->uid`, the real user.
    pub uid: Uid,
    /// `current->cred->gid`, the real group.
    pub gid: Gid,
    /// `current->nsproxy->mnt_ns->ns.inum`: the mount namespace; 0 if not known.
    pub mnt_ns: NsInum,
    /// The inode number of the pid namespace in which the process lives (`thread_pid->numbers[level].ns`); 0 if not
    /// known.
    pub pid_ns: NsInum,
    /// The process's id in that namespace (`group_leader->thread_pid->numbers[level].nr`); 0 if not known.
    pub ns_pid: Tgid,
    /// `current->comm`, NUL-terminated: the calling *thread's* name.
    pub comm: [u8; COMM_LEN],
}

const _: () = assert!(size_of::<FrameHeader>() == 96);

impl FrameHeader {
    /// The thread's name without its NUL. It may contain any other byte.
    pub fn comm(&self) -> &[u8] {
        until_nul(&self.comm)
    }

    /// Whether a [`flag`] is set.
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// The bytes before the first NUL, or all if there is none.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or(bytes)
}
