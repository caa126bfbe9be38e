//! `fork`: a process was created.

use crate::call::first_argument;
use crate::capture;
use crate::emit::{self, Event, Frame};
use crate::maps::per_cpu;
use crate::read::{ld, typed_as};
use crate::task::{Who, current, start_of};
use aya_ebpf::EbpfContext;
use aya_ebpf::macros::{btf_tracepoint, kprobe};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{BtfTracePointContext, ProbeContext};
use core::ffi::c_void;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::fork::ForkRecord;
use tracetui_shared::record::stack;
use tracetui_shared::time::BootNanos;

/// The buffers in which a `fork` record is assembled.
#[repr(C)]
struct ForkScratch {
    frame: Frame<ForkRecord>,
    stack: [u8; stack::ROOM],
}

per_cpu! {
    /// Records of `fork_btf`.
    FORK_BTF_SCRATCH: ForkScratch;
    /// Records of `fork_multi`.
    FORK_MULTI_SCRATCH: ForkScratch;
}

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
/// ([`include/trace/events/sched.h`](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/sched.h)),
/// called in [`kernel_clone`](https://elixir.bootlin.com/linux/v6.12/source/kernel/fork.c) before the child first runs.
/// `parent` is the current task.
#[btf_tracepoint]
#[inline(always)]
pub fn fork_btf(ctx: BtfTracePointContext) -> i32 {
    let (parent, child) = (typed_as(ctx.arg(0), field::TaskTgid), typed_as(ctx.arg(1), field::TaskTgid));
    fork(Slot::ForkBtf, &FORK_BTF_SCRATCH, ctx.as_ptr(), parent, child);
    0
}

/// Entry of `void wake_up_new_task(struct task_struct *p)`
/// ([`wake_up_new_task`](https://elixir.bootlin.com/linux/v6.12/source/kernel/sched/core.c)), by a kprobe_multi link.
/// `kernel_clone` calls it for every task that it made, before the task first runs.
#[kprobe]
#[inline(always)]
pub fn fork_multi(ctx: ProbeContext) -> u32 {
    let child = typed_as(first_argument(&ctx), field::TaskTgid);
    fork(Slot::ForkMulti, &FORK_MULTI_SCRATCH, ctx.as_ptr(), current(), child);
    0
}

#[inline(always)]
fn fork(slot: Slot, scratch: &Array<ForkScratch>, context: *mut c_void, parent: u64, child: u64) {
    let tgid: u32 = ld(child, field::TaskTgid);
    let tid: u32 = ld(child, field::TaskPid);
    if tgid != tid {
        return;
    }
    // The child's parent is not the caller if `CLONE_PARENT` is set.
    let real_parent: u64 = ld(child, field::TaskRealParent);
    let (parent_tgid, parent_start): (u32, u64) = (ld(real_parent, field::TaskTgid), start_of(real_parent));
    let start: u64 = ld(child, field::TaskStartBoottime);
    let maker = (ld(parent, field::TaskTgid), start_of(parent));
    if !capture::inherit(maker, (parent_tgid, parent_start), (tgid, start)) {
        emit::count_tree_full();
    }
    let who = Who::of(parent);
    let Some(event) = Event::begin(slot, context, &who, false) else { return };
    let Some(s) = event.place(scratch) else { return };
    let frame = &mut s.frame;
    event.head(&mut frame.header, &who);
    frame.record = ForkRecord {
        child: Tgid(tgid),
        child_tid: tid,
        child_start: BootNanos(start),
        child_parent: Tgid(parent_tgid),
        reserved: 0,
        child_parent_start: BootNanos(parent_start),
    };
    const LEN: u64 = size_of::<Frame<ForkRecord>>() as u64;
    event.send(&mut frame.header, LEN, LEN);
}
