//! Who did it: the calling thread's identity, and the header of its records.

use crate::read::{any, casts, has, konst, ld, ld_at, offset, typed_as};
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf};
use tracetui_shared::header::{FrameHeader, VERSION};
use tracetui_shared::id::{CgroupId, Gid, NsInum, Tgid, Tid, Uid};
use tracetui_shared::offsets::{Const, Field, Type};
use tracetui_shared::time::BootNanos;

/// Bytes of `struct upid`, the element of `pid.numbers`: an int and a pointer.
const UPID: u64 = 16;

/// What the capture filter asks of the calling thread.
#[derive(Clone, Copy)]
pub struct Who {
    /// `current`.
    pub task: u64,
    /// `current->cred`.
    pub cred: u64,
    /// `current->tgid`.
    pub tgid: u32,
    /// `current->cred->uid`.
    pub uid: u32,
    /// `current->comm`, as two words.
    pub comm: [u64; 2],
}

/// The calling thread: typed where the kernel can (5.11+).
#[inline(always)]
pub fn current() -> u64 {
    // SAFETY: helpers without arguments; those not taken are dead code to the verifier.
    unsafe {
        if konst(Const::TypedTask) != 0 && !casts() {
            bpf_get_current_task_btf() as u64
        } else {
            typed_as(bpf_get_current_task(), Type::Task)
        }
    }
}

impl Who {
    /// Reads what the capture filter needs.
    #[inline(always)]
    pub unsafe fn of(task: u64) -> Who {
        // SAFETY: `task` is the current task, typed where the kernel can.
        unsafe {
            let cred: u64 = ld(task, Field::TaskCred);
            Who { task, cred, tgid: ld(task, Field::TaskTgid), uid: ld(cred, Field::CredUid), comm: comm_of(task) }
        }
    }
}

/// A thread's name, as two words.
#[inline(always)]
pub unsafe fn comm_of(task: u64) -> [u64; 2] {
    let comm = offset(Field::TaskComm);
    // SAFETY: `task` is a task, typed where the kernel can.
    unsafe { [ld_at(task, comm), ld_at(task, comm + 8)] }
}

/// The start of a process: its leader's `start_boottime`.
#[inline(always)]
pub unsafe fn start_of(task: u64) -> u64 {
    // SAFETY: `task` is a task, typed where the kernel can.
    unsafe { ld(ld(task, Field::TaskGroupLeader), Field::TaskStartBoottime) }
}

/// Writes every field of a header but `len`, `flags` and `seq`.
#[inline(always)]
pub unsafe fn fill(header: *mut FrameHeader, who: &Who, cpu: u32, time: u64) {
    let task = who.task;
    // SAFETY: `header` is ours (map value or stack); the tasks are typed where the kernel can.
    unsafe {
        (*header).version = VERSION;
        (*header).cpu = cpu;
        (*header).time = BootNanos(time);
        (*header).tgid = Tgid(who.tgid);
        (*header).tid = Tid(ld(task, Field::TaskPid));
        (*header).uid = Uid(who.uid);
        (*header).gid = Gid(ld(who.cred, Field::CredGid));
        let comm = (&raw mut (*header).comm).cast::<u64>();
        comm.write(who.comm[0]);
        comm.add(1).write(who.comm[1]);
        (*header).ppid = Tgid(ld(ld(task, Field::TaskRealParent), Field::TaskTgid));
        let leader: u64 = ld(task, Field::TaskGroupLeader);
        (*header).start = BootNanos(ld(leader, Field::TaskStartBoottime));
        pid_view(header, leader);
        (*header).mnt_ns = NsInum(mnt_ns(task));
        (*header).cgroup = CgroupId(cgroup(task));
    }
}

/// The mount namespace; 0 for a task that has left its namespaces (exit).
#[inline(always)]
unsafe fn mnt_ns(task: u64) -> u32 {
    // SAFETY: as in `fill`.
    unsafe {
        let ns: u64 = ld(ld(task, Field::TaskNsproxy), Field::NsproxyMntNs);
        ld(ns, Field::MntNsInum)
    }
}

/// The cgroup of the v2 hierarchy; 0 when not known.
#[inline(always)]
pub unsafe fn cgroup(task: u64) -> u64 {
    // SAFETY: as in `fill`.
    unsafe {
        if !(has(Field::TaskCgroups) && has(Field::CssSetDflCgrp) && has(Field::CgroupKn) && has(Field::KernfsNodeId)) {
            return 0;
        }
        let cgroup: u64 = ld(ld(task, Field::TaskCgroups), Field::CssSetDflCgrp);
        ld(ld(cgroup, Field::CgroupKn), Field::KernfsNodeId)
    }
}

/// The innermost pid namespace and the process's number in it.
#[inline(always)]
unsafe fn pid_view(header: *mut FrameHeader, leader: u64) {
    // SAFETY: as in `fill`. Only the first element of `numbers` stands at a constant distance.
    unsafe {
        let pid: u64 = ld(leader, Field::TaskThreadPid);
        let level: u32 = ld(pid, Field::PidLevel);
        let numbers = offset(Field::PidNumbers);
        let ns: u64;
        if level == 0 {
            (*header).ns_pid = Tgid(ld_at(pid, numbers + offset(Field::UpidNr)));
            ns = ld_at(pid, numbers + offset(Field::UpidNs));
        } else {
            let upid = pid.wrapping_add(numbers).wrapping_add(u64::from(level) * UPID);
            (*header).ns_pid = Tgid(any(upid, Type::Upid, offset(Field::UpidNr)));
            ns = any(upid, Type::Upid, offset(Field::UpidNs));
        }
        (*header).pid_ns = NsInum(any(ns, Type::PidNs, offset(Field::PidNsInum)));
    }
}
