//! `fork`: a process was created.

use crate::call::first_argument;
use crate::capture;
use crate::emit::{self, Event, Frame};
use crate::maps::per_cpu;
use crate::read::{has, ld, typed_as};
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
    // SAFETY: both tasks are arguments of the tracepoint, which the kernel types.
    unsafe {
        let (parent, child) = (typed_as(ctx.arg(0), field::TaskTgid), typed_as(ctx.arg(1), field::TaskTgid));
        fork(Slot::ForkBtf, &FORK_BTF_SCRATCH, ctx.as_ptr(), parent, child);
    }
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
    unsafe {
        let child = typed_as(first_argument(&ctx), field::TaskTgid);
        fork(Slot::ForkMulti, &FORK_MULTI_SCRATCH, ctx.as_ptr(), current(), child);
    }
    0
}

#[inline(always)]
unsafe fn fork(slot: Slot, scratch: &Array<ForkScratch>, context: *mut c_void, parent: u64, child: u64) {
    // SAFETY: both tasks are typed pointers where the kernel has them; elsewhere they are read by helper, which
    // zero-fills on a fault. `s` is this CPU's element of this program's own map.
    unsafe {
        if has(field::NsproxyNetNs) {
            let (own, new): (u64, u64) = (ld(parent, field::TaskNsproxy), ld(child, field::TaskNsproxy));
            if own != new && ld::<u64>(own, field::NsproxyNetNs) != ld::<u64>(new, field::NsproxyNetNs) {
                emit::count_unseen();
            }
        }
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
        let frame = &raw mut (*s).frame;
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
