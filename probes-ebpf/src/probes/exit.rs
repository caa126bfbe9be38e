//! `exit`: the last thread of a process ended.

use crate::capture;
use crate::emit::{Event, Frame};
use crate::maps::per_cpu;
use crate::read::{field, konst, ld, typed_as};
use crate::task::{Who, comm_of, current, start_of};
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::{btf_tracepoint, map, tracepoint};
use aya_ebpf::maps::{Array, LruHashMap};
use aya_ebpf::programs::{BtfTracePointContext, TracePointContext};
use core::ffi::c_void;
use tracetui_shared::id::Tid;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::exit::ExitRecord;
use tracetui_shared::record::stack;

/// `SIGNAL_GROUP_EXIT` of `signal_struct.flags` (include/linux/sched/signal.h).
const SIGNAL_GROUP_EXIT: u32 = 4;
/// Offset in bytes of `group_dead` in the record of the classic tracepoint (6.16+): after `comm[16]`, `pid` and `prio`.
const GROUP_DEAD_AT: usize = 32;

/// The buffers in which an `exit` record is assembled.
#[repr(C)]
struct ExitScratch {
    frame: Frame<ExitRecord>,
    stack: [u8; stack::ROOM],
}

per_cpu! {
    /// Records of `exit_btf`.
    EXIT_BTF_SCRATCH: ExitScratch;
    /// Records of `exit_tp`.
    EXIT_TP_SCRATCH: ExitScratch;
}

/// `sched_process_exit(struct task_struct *p)` up to 6.15, `sched_process_exit(struct task_struct *p, bool group_dead)`
/// from 6.16 on
/// ([`include/trace/events/sched.h`](https://elixir.bootlin.com/linux/v6.16/source/include/trace/events/sched.h)).
/// Called in [`do_exit`](https://elixir.bootlin.com/linux/v6.12/source/kernel/exit.c).
#[btf_tracepoint]
#[inline(always)]
pub fn exit_btf(ctx: BtfTracePointContext) -> i32 {
    let task = typed_as(ctx.arg(0), field::TaskTgid);
    let told = konst!(ExitHasGroupDead) != 0;
    let dead = told && ctx.arg::<u64>(1) & 1 != 0;
    // SAFETY: `task` is the tracepoint's argument, the current task, which the kernel types.
    unsafe { exit(Slot::ExitBtf, &EXIT_BTF_SCRATCH, ctx.as_ptr(), task, told, dead) };
    0
}

/// `sched:sched_process_exit` (same file): `char comm[16]`, `pid_t pid`, `int prio`, and from 6.16 on
/// `bool group_dead`.
#[tracepoint]
#[inline(always)]
pub fn exit_tp(ctx: TracePointContext) -> u32 {
    let told = konst!(ExitHasGroupDead) != 0;
    // SAFETY: the record has the field if the constant is set; the verifier checks the offset.
    let dead = told && unsafe { field::<u8>(&ctx, GROUP_DEAD_AT) } & 1 != 0;
    // SAFETY: `current` is the current task, a BTF pointer where the kernel has them.
    unsafe { exit(Slot::ExitTp, &EXIT_TP_SCRATCH, ctx.as_ptr(), current(), told, dead) };
    0
}

#[inline(always)]
unsafe fn exit(slot: Slot, scratch: &Array<ExitScratch>, context: *mut c_void, task: u64, told: bool, dead: bool) {
    // SAFETY: `task` is the current task, a BTF pointer where the kernel has them. `s` is this CPU's element of this
    // program's own map.
    unsafe {
        if told && !dead {
            return;
        }
        let signal: u64 = ld(task, field::TaskSignal);
        if !told && ld::<u32>(signal, field::SignalLive) != 0 {
            return;
        }
        let leader: u64 = ld(task, field::TaskGroupLeader);
        // The process ended, whichever of its threads was the last. The event has the leader's name and id.
        let who = Who { comm: comm_of(leader), ..Who::of(task) };
        if !told && !first_exit(who.tgid, start_of(task)) {
            return;
        }
        let record = status(task, signal);
        let event = Event::begin(slot, context, &who, record.status != 0);
        capture::forget(&who);
        let Some(event) = event else { return };
        let Some(s) = event.place(scratch) else { return };
        let frame = &raw mut (*s).frame;
        event.head(&raw mut (*frame).header, &who);
        (*frame).header.tid = Tid(who.tgid);
        (&raw mut (*frame).record).write(record);
        const LEN: u64 = size_of::<Frame<ExitRecord>>() as u64;
        event.send(frame.cast(), LEN, LEN);
    }
}

/// The status that wait(2) reports ([`wait_task_zombie`](https://elixir.bootlin.com/linux/v6.12/source/kernel/exit.c)).
#[inline(always)]
unsafe fn status(task: u64, signal: u64) -> ExitRecord {
    // SAFETY: `task` is the current task and `signal` its `signal_struct`, BTF pointers where the kernel has them.
    unsafe {
        let signal_flags: u32 = ld(signal, field::SignalFlags);
        let status = if signal_flags & SIGNAL_GROUP_EXIT != 0 {
            ld(signal, field::SignalGroupExitCode)
        } else {
            ld(ld(task, field::TaskGroupLeader), field::TaskExitCode)
        };
        ExitRecord { status, signal_flags }
    }
}

/// A process, as a key of [`EXITED`].
#[repr(C)]
#[derive(Clone, Copy)]
struct ExitKey {
    start: u64,
    tgid: u64,
}

/// Processes whose exit was reported recently. Before 6.16, two threads that end at once may both see
/// `signal->live == 0`. The second one follows within microseconds, so evicting the oldest entry is harmless.
#[map]
static EXITED: LruHashMap<ExitKey, u8> = LruHashMap::with_max_entries(256, 0);

/// Whether the exit of this process was not reported before.
#[inline(always)]
fn first_exit(tgid: u32, start: u64) -> bool {
    const EEXIST: i32 = -17;
    let key = ExitKey { start, tgid: u64::from(tgid) };
    EXITED.insert(key, 1u8, u64::from(BPF_NOEXIST)) != Err(EEXIST)
}
