//! `fork`: a process was created.

use crate::call::first_argument;
use crate::capture;
use crate::emit::{self, Event, Frame};
use crate::read::{ld, typed_as};
use crate::task::{Who, current, start_of};
use aya_ebpf::macros::{btf_tracepoint, kprobe};
use aya_ebpf::programs::{BtfTracePointContext, ProbeContext};
use core::mem::MaybeUninit;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::{Field, Type};
use tracetui_shared::record::fork::ForkRecord;
use tracetui_shared::time::BootNanos;

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`, in `kernel_clone`, before the child
/// first runs. `parent` is the current task.
#[btf_tracepoint]
#[inline(always)]
pub fn fork_btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: both are the tracepoint's arguments.
    unsafe { fork(Slot::ForkBtf, typed_as(ctx.arg(0), Type::Task), typed_as(ctx.arg(1), Type::Task)) };
    0
}

/// Entry of `wake_up_new_task(struct task_struct *p)`, which `kernel_clone` calls for every task that it made, before it
/// first runs.
#[kprobe]
#[inline(always)]
pub fn fork_multi(ctx: ProbeContext) -> u32 {
    // SAFETY: the context is the registers at the entry; the argument is cast.
    unsafe { fork(Slot::ForkMulti, current(), typed_as(first_argument(&ctx), Type::Task)) };
    0
}

#[inline(always)]
unsafe fn fork(slot: Slot, parent: u64, child: u64) {
    // SAFETY: the tasks are typed.
    unsafe {
        let tgid: u32 = ld(child, Field::TaskTgid);
        let tid: u32 = ld(child, Field::TaskPid);
        if tgid != tid {
            return;
        }
        // The child's parent, not the caller: they differ with CLONE_PARENT.
        let real_parent: u64 = ld(child, Field::TaskRealParent);
        let (parent_tgid, parent_start): (u32, u64) = (ld(real_parent, Field::TaskTgid), start_of(real_parent));
        let start: u64 = ld(child, Field::TaskStartBoottime);
        let maker = (ld(parent, Field::TaskTgid), start_of(parent));
        if !capture::inherit(maker, (parent_tgid, parent_start), (tgid, start)) {
            emit::count_tree_full();
        }
        let who = Who::of(parent);
        let Some(event) = Event::begin(slot, &who, false) else { return };
        let mut frame = MaybeUninit::<Frame<ForkRecord>>::uninit();
        let frame = frame.as_mut_ptr();
        event.head(&raw mut (*frame).header, &who);
        (&raw mut (*frame).record).write(ForkRecord {
            child: Tgid(tgid),
            child_tid: tid,
            child_start: BootNanos(start),
            child_parent: Tgid(parent_tgid),
            reserved: 0,
            child_parent_start: BootNanos(parent_start),
        });
        const LEN: u64 = size_of::<Frame<ForkRecord>>() as u64;
        event.send(frame.cast(), LEN, LEN);
    }
}
