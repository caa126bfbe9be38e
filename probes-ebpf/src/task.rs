//! The identity of the calling thread, and the header of its records.

use crate::read::{any, casts, has, konst, ld, ld_word, offset, put, typed_as};
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf};
use tracetui_shared::header::{FrameHeader, VERSION};
use tracetui_shared::id::{CgroupId, Gid, NsInum, Tgid, Tid, Uid};
use tracetui_shared::offsets::{field, sum};
use tracetui_shared::time::BootNanos;

/// Bytes of `struct upid` (include/linux/pid.h), the element of `pid.numbers`: an int and a pointer.
const UPID: u64 = 16;

/// The fields of the calling thread that the capture filter tests.
#[derive(Clone, Copy)]
pub struct Who {
    /// Address of the `struct task_struct`.
    pub task: u64,
    /// `task->cred`: the address of its credentials.
    pub cred: u64,
    /// `task->tgid`: the process id.
    pub tgid: u32,
    /// `task->cred->uid`: the real user id.
    pub uid: u32,
    /// `task->comm`: the thread's name, as two words.
    pub comm: [u64; 2],
}

/// The current task: a BTF pointer where the kernel has them (5.11+).
#[inline(always)]
pub fn current() -> u64 {
    if konst!(ByHelper) == 0 && !casts() {
        // SAFETY: the helper has no arguments. Where the kernel lacks it, this is dead code to the verifier.
        unsafe { bpf_get_current_task_btf() as u64 }
    } else {
        // SAFETY: the helper has no arguments.
        typed_as(unsafe { bpf_get_current_task() }, field::TaskTgid)
    }
}

impl Who {
    /// Reads the fields that the capture filter tests.
    #[inline(always)]
    pub fn of(task: u64) -> Who {
        let cred: u64 = ld(task, field::TaskCred);
        Who { task, cred, tgid: ld(task, field::TaskTgid), uid: ld(cred, field::CredUid), comm: comm_of(task) }
    }
}

/// A thread's name, as two words.
#[inline(always)]
pub fn comm_of(task: u64) -> [u64; 2] {
    [ld_word::<0>(task, field::TaskComm), ld_word::<1>(task, field::TaskComm)]
}

/// The start of a process in nanoseconds: its leader's `start_boottime`.
#[inline(always)]
pub fn start_of(task: u64) -> u64 {
    ld(ld(task, field::TaskGroupLeader), field::TaskStartBoottime)
}

/// Writes every field of a header except `len`, `kind`, `flags`, `slot` and `seq`.
#[inline(always)]
pub fn fill(header: &mut FrameHeader, who: &Who, cpu: u32, time: u64) {
    let task = who.task;
    header.version = VERSION;
    header.cpu = cpu;
    header.time = BootNanos(time);
    header.tgid = Tgid(who.tgid);
    header.tid = Tid(ld(task, field::TaskPid));
    header.uid = Uid(who.uid);
    header.gid = Gid(ld(who.cred, field::CredGid));
    put((&raw mut header.comm).cast(), who.comm);
    header.ppid = Tgid(ld(ld(task, field::TaskRealParent), field::TaskTgid));
    let leader: u64 = ld(task, field::TaskGroupLeader);
    header.start = BootNanos(ld(leader, field::TaskStartBoottime));
    pid_view(header, leader);
    header.mnt_ns = NsInum(mnt_ns(task));
    header.cgroup = CgroupId(cgroup(task));
}

/// The inode number of the mount namespace; 0 for a task that has left its namespaces (exit).
#[inline(always)]
fn mnt_ns(task: u64) -> u32 {
    let ns: u64 = ld(ld(task, field::TaskNsproxy), field::NsproxyMntNs);
    ld(ns, field::MntNsInum)
}

/// The id of the cgroup in the v2 hierarchy; 0 if unknown.
#[inline(always)]
pub fn cgroup(task: u64) -> u64 {
    if !(has(field::TaskCgroups) && has(field::CssSetDflCgrp) && has(field::CgroupKn) && has(field::KernfsNodeId)) {
        return 0;
    }
    let cgroup: u64 = ld(ld(task, field::TaskCgroups), field::CssSetDflCgrp);
    ld(ld(cgroup, field::CgroupKn), field::KernfsNodeId)
}

/// The id of a process in the innermost pid namespace of another task, as `si_pid` has it; 0 if it has none there
/// ([`pid_nr_ns`](https://elixir.bootlin.com/linux/v6.12/source/kernel/pid.c)).
#[inline(always)]
pub fn id_seen_by(other: u64, leader: u64) -> u32 {
    let (pid, theirs): (u64, u64) = (ld(leader, field::TaskThreadPid), ld(other, field::TaskThreadPid));
    let level: u32 = ld(theirs, field::PidLevel);
    if level > ld::<u32>(pid, field::PidLevel) {
        return 0;
    }
    let [own, their] = [pid, theirs].map(|pid| upid(pid, level));
    if any::<u64>(own, field::UpidNs) == any::<u64>(their, field::UpidNs) { any(own, field::UpidNr) } else { 0 }
}

/// The address of the `struct upid` of a level.
#[inline(always)]
fn upid(pid: u64, level: u32) -> u64 {
    pid.wrapping_add(offset(field::PidNumbers)).wrapping_add(u64::from(level) * UPID)
}

/// Writes the innermost pid namespace and the process's id in it.
#[inline(always)]
fn pid_view(header: &mut FrameHeader, leader: u64) {
    let pid: u64 = ld(leader, field::TaskThreadPid);
    let level: u32 = ld(pid, field::PidLevel);
    let ns: u64;
    if level == 0 {
        header.ns_pid = Tgid(ld(pid, sum::PidNr));
        ns = ld(pid, sum::PidNs);
    } else {
        let upid = upid(pid, level);
        header.ns_pid = Tgid(any(upid, field::UpidNr));
        ns = any(upid, field::UpidNs);
    }
    header.pid_ns = NsInum(any(ns, field::PidNsInum));
}
