//! The head of every frame: which event, where, when, and who.

use crate::id::{CgroupId, Gid, NsInum, Tgid, Tid, Uid};
use crate::time::BootNanos;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The version of the frame format, in every header.
pub const VERSION: u16 = 1;

/// Bytes of a thread's name with its NUL: `TASK_COMM_LEN`.
pub const COMM_LEN: usize = 16;

/// Flags of a frame ([`FrameHeader::flags`]).
pub mod flag {
    /// The capture filter rejected the event; the record only keeps the process table true. Such records are numbered
    /// apart from wanted ones, so a gap among them is never taken for a lost event.
    pub const BOOKKEEPING: u16 = 1;
    /// The record continues an event: its payload is a [`crate::record::exec::ExecChunk`], its number that of the first record.
    pub const CONTINUES: u16 = 2;
    /// The record is what a request of io_uring asks for, before the event: a [`crate::record::open::OpenRecord`] without a
    /// result. It has [`BOOKKEEPING`] too.
    pub const REQUEST: u16 = 4;
}

/// The head of every frame. Identity is captured in the kernel at the event, so nothing has to be looked up afterwards.
///
/// A frame is this header and a payload; [`len`](Self::len) covers both. Frames stand at multiples of 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FrameHeader {
    /// Bytes of header and payload together.
    pub len: u32,
    /// [`crate::kind::Kind`], or a host frame's kind (64 and up, user space only).
    pub kind: u16,
    /// See [`flag`].
    pub flags: u16,
    /// [`crate::kind::Slot`]: the numbered stream that this event belongs to.
    pub slot: u16,
    /// [`VERSION`] of the writer.
    pub version: u16,
    /// The CPU on which the program ran: `bpf_get_smp_processor_id`.
    pub cpu: u32,
    /// The event's number among those of its (slot, CPU, bookkeeping or not), from 0. Taken before the ring is asked for
    /// room, so a missing number is a lost event.
    pub seq: u64,
    /// When the program ran: `bpf_ktime_get_boot_ns`.
    pub time: BootNanos,
    /// The process's start: `current->group_leader->start_boottime`. With `tgid` its identity; survives an exec, even
    /// one by a thread that is not the leader (`de_thread` copies it).
    pub start: BootNanos,
    /// `kernfs_node.id` of `current->cgroups->dfl_cgrp`: the cgroup in the v2 hierarchy.
    pub cgroup: CgroupId,
    /// `current->tgid`.
    pub tgid: Tgid,
    /// `current->pid`.
    pub tid: Tid,
    /// `current->real_parent->tgid`.
    pub ppid: Tgid,
    /// `current->cred->uid`, the real user.
    pub uid: Uid,
    /// `current->cred->gid`, the real group.
    pub gid: Gid,
    /// `current->nsproxy->mnt_ns->ns.inum`; 0 when not known.
    pub mnt_ns: NsInum,
    /// The inum of the pid namespace that the process lives in (`thread_pid->numbers[level].ns`); 0 when not known.
    pub pid_ns: NsInum,
    /// The process's id in that namespace (`group_leader->thread_pid->numbers[level].nr`); 0 when not known.
    pub ns_pid: Tgid,
    /// `current->comm`, NUL-terminated: the calling *thread's* name.
    pub comm: [u8; COMM_LEN],
}

const _: () = assert!(size_of::<FrameHeader>() == 96);

impl FrameHeader {
    /// The thread's name without its NUL. Any bytes but NUL.
    pub fn comm(&self) -> &[u8] {
        until_nul(&self.comm)
    }

    /// Whether a [`flag`] is set.
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// The bytes before the first NUL, or all.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or(bytes)
}
