//! `fork`: a process was created.

use crate::capture;
use crate::context::{self, Context};
use crate::emit::{self, Event, Frame};
use crate::maps::per_cpu;
use crate::read::{ld, typed_as};
use crate::task::{Who, current, start_of};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
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
    /// Records of `sched_fork`.
    FORK_SCRATCH: ForkScratch;
}

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
/// ([`include/trace/events/sched.h`](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/sched.h)),
/// called in [`kernel_clone`](https://elixir.bootlin.com/linux/v6.12/source/kernel/fork.c) before the child first runs.
/// `parent` is the current task.
///
/// At a function: the entry of `void wake_up_new_task(struct task_struct *p)`
/// ([`wake_up_new_task`](https://elixir.bootlin.com/linux/v6.12/source/kernel/sched/core.c)), by a kprobe_multi link.
/// `kernel_clone` calls it for every task that it made, before the task first runs.
#[btf_tracepoint]
#[inline(always)]
pub fn sched_fork(ctx: BtfTracePointContext) -> i32 {
    let ctx = Context::of(&ctx);
    if context::is_typed() {
        created(ctx, typed_as(ctx.argument::<0>(), field::TaskTgid), typed_as(ctx.argument::<1>(), field::TaskTgid));
    } else {
        created(ctx, current(), typed_as(ctx.first_argument(), field::TaskTgid));
    }
    0
}

#[inline(always)]
fn created(ctx: Context, parent: u64, child: u64) {
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
    let Some(event) = Event::begin(Slot::Fork, ctx, &who, false) else { return };
    let Some(s) = event.place(&FORK_SCRATCH) else { return };
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
