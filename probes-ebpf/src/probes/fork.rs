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

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
/// ([`include/trace/events/sched.h`](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/sched.h)),
/// called in [`kernel_clone`](https://elixir.bootlin.com/linux/v6.12/source/kernel/fork.c) before the child first runs.
/// `parent` is the current task.
#[btf_tracepoint]
#[inline(always)]
pub fn fork_btf(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: both tasks are arguments of the tracepoint, which the kernel types.
    unsafe { fork(Slot::ForkBtf, typed_as(ctx.arg(0), Type::Task), typed_as(ctx.arg(1), Type::Task)) };
    0
}

/// Entry of `void wake_up_new_task(struct task_struct *p)`
/// ([`wake_up_new_task`](https://elixir.bootlin.com/linux/v6.12/source/kernel/sched/core.c)), by a kprobe_multi link.
/// `kernel_clone` calls it for every task that it made, before the task first runs.
#[kprobe]
#[inline(always)]
pub fn fork_multi(ctx: ProbeContext) -> u32 {
    // SAFETY: the context is the registers at the function's entry. The argument is a `struct task_struct`, to which it
    // is cast.
    unsafe { fork(Slot::ForkMulti, current(), typed_as(first_argument(&ctx), Type::Task)) };
    0
}

#[inline(always)]
unsafe fn fork(slot: Slot, parent: u64, child: u64) {
    // SAFETY: both tasks are typed pointers where the kernel has them; elsewhere they are read by helper, which
    // zero-fills on a fault.
    unsafe {
        let tgid: u32 = ld(child, Field::TaskTgid);
        let tid: u32 = ld(child, Field::TaskPid);
        if tgid != tid {
            return;
        }
        // The child's parent is not the caller if `CLONE_PARENT` is set.
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
