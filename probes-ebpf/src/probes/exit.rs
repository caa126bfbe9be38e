//! `exit`: the last thread of a process ended.

use crate::capture;
use crate::emit::{Event, Frame};
use crate::maps::per_cpu;
use crate::read::{any, any_word, field, forgotten, get, has, konst, ld, ld_word, may_turn, offset, rd, set, typed_as};
use crate::session;
use crate::task::{Who, comm_of, current, start_of};
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_tracepoint, map, tracepoint};
use aya_ebpf::maps::{Array, LruHashMap};
use aya_ebpf::programs::{BtfTracePointContext, TracePointContext};
use core::ffi::c_void;
use tracetui_shared::id::{Tgid, Tid, Uid};
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::field;
use tracetui_shared::record::exit::{Cost, ExitRecord, Sent, fact};
use tracetui_shared::record::session::{Session, TTY_LEN};
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
        let start = start_of(task);
        if !told && !first_exit(who.tgid, start) {
            return;
        }
        let record = ended(task, signal, who.tgid, start);
        let event = Event::begin(slot, context, &who, record.status != 0);
        capture::forget(&who);
        let Some(event) = event else { return };
        let Some(s) = event.place(scratch) else { return };
        let frame = &raw mut (*s).frame;
        event.head(&raw mut (*frame).header, &who);
        (*frame).header.tid = Tid(who.tgid);
        (&raw mut (*frame).record).write(record);
        session::describe(task, signal, &raw mut (*frame).record.session);
        if cost(task, signal, &raw mut (*frame).record.cost) {
            let io = if has(field::TaskReadBytes) { fact::IO } else { 0 };
            (*frame).record.facts = record.facts | fact::COST | io;
        }
        const LEN: u64 = size_of::<Frame<ExitRecord>>() as u64;
        event.send(frame.cast(), LEN, LEN);
    }
}

/// The status that wait(2) reports ([`wait_task_zombie`](https://elixir.bootlin.com/linux/v6.12/source/kernel/exit.c)),
/// and the sender of its signal, if it was seen.
#[inline(always)]
unsafe fn ended(task: u64, signal: u64, tgid: u32, start: u64) -> ExitRecord {
    // SAFETY: `task` is the current task and `signal` its `signal_struct`, BTF pointers where the kernel has them. The
    // sending is in a map value.
    unsafe {
        let signal_flags: u32 = ld(signal, field::SignalFlags);
        let status: u32 = if signal_flags & SIGNAL_GROUP_EXIT != 0 {
            ld(signal, field::SignalGroupExitCode)
        } else {
            ld(ld(task, field::TaskGroupLeader), field::TaskExitCode)
        };
        let mut record = ExitRecord { status, signal_flags, ..ZERO };
        let number = status & 0x7f;
        if number == 0 {
            return record;
        }
        let key = SentKey { start, tgid, signal: number };
        if let Some(sent) = SENT.get(&key) {
            record.sent = *sent;
            record.facts = sent.facts | fact::SENT;
            _ = SENT.remove(&key);
        }
        if has(field::SignalOomMm) && ld::<u64>(signal, field::SignalOomMm) != 0 {
            record.facts |= fact::OOM;
        }
        // The first limit is that of CPU time: the soft one, then the hard one.
        if has(field::SignalLimits) && ld_word::<1>(signal, field::SignalLimits) != u64::MAX {
            record.facts |= fact::CPU_LIMIT;
        }
        if has(field::TaskSeccompMode) {
            record.seccomp = ld(task, field::TaskSeccompMode);
        }
        record
    }
}

/// Threads that are summed before 6.9 (see [`may_turn`]).
const THREADS: u32 = 64;
/// How often the sums are made again because a thread left the group meanwhile.
const TRIES: u64 = 4;

/// Writes the costs of all threads, as
/// [`thread_group_cputime`](https://elixir.bootlin.com/linux/v6.12/source/kernel/sched/cputime.c) adds them up: those of
/// reaped threads, and those of each thread that is left. `false` if they are incomplete.
#[inline(always)]
unsafe fn cost(task: u64, signal: u64, cost: *mut Cost) -> bool {
    // SAFETY: `task` is the current task and `signal` its `signal_struct`, BTF pointers where the kernel has them. Threads
    // of the list are read through cast pointers or by helper; RCU keeps them. `cost` is in a map value.
    unsafe {
        let head = signal.wrapping_add(offset(field::SignalThreadHead));
        let mut start = ld::<u64>(task, field::TaskExecStart);
        let (mut turn, mut tries, mut node, mut sequence) = (0u32, forgotten(0, start), head, 0);
        loop {
            may_turn!(turn, THREADS);
            if node == head {
                let (now, since) =
                    (ld::<u32>(signal, field::SignalStatsSequence), ld::<u64>(task, field::TaskExecStart));
                if tries > 0 && now == sequence && now & 1 == 0 && since == start {
                    break;
                }
                if tries == TRIES {
                    return false;
                }
                (tries, sequence, start) = (tries + 1, now, since);
                set(&raw mut (*cost).user_ticks, ld(signal, field::SignalUtime));
                set(&raw mut (*cost).system_ticks, ld(signal, field::SignalStime));
                set(&raw mut (*cost).runtime, ld(signal, field::SignalRuntime));
                if has(field::TaskReadBytes) {
                    set(&raw mut (*cost).read, ld(signal, field::SignalReadBytes));
                    set(&raw mut (*cost).written, ld(signal, field::SignalWriteBytes));
                }
                node = any_word::<0>(signal, field::SignalThreadHead);
                continue;
            }
            if node == 0 {
                return false;
            }
            let thread = node.wrapping_sub(offset(field::TaskThreadNode));
            add(&raw mut (*cost).user_ticks, any(thread, field::TaskUtime));
            add(&raw mut (*cost).system_ticks, any(thread, field::TaskStime));
            add(&raw mut (*cost).runtime, any(thread, field::TaskRuntime));
            if has(field::TaskReadBytes) {
                add(&raw mut (*cost).read, any(thread, field::TaskReadBytes));
                add(&raw mut (*cost).written, any(thread, field::TaskWriteBytes));
            }
            node = any_word::<0>(thread, field::TaskThreadNode);
        }
        if node != head {
            return false;
        }
        add(&raw mut (*cost).runtime, last_slice(task, start));
        set(&raw mut (*cost).max_rss, ld::<u64>(signal, field::SignalMaxrss) * konst!(PageSize));
        true
    }
}

#[inline(always)]
unsafe fn add(sum: *mut u64, value: u64) {
    // SAFETY: `sum` points into a map value.
    unsafe { set(sum, get(sum).wrapping_add(value)) }
}

/// How far the clock of run queues is behind `CLOCK_MONOTONIC`, at most.
#[repr(C)]
#[derive(Clone, Copy)]
struct Clock {
    behind: u64,
    /// When that was found.
    at: u64,
}

#[map]
static CLOCK: Array<Clock> = Array::with_max_entries(1, 0);

/// A run queue is updated at least this often while a task runs: a tick of `CONFIG_HZ=100`.
const LONGEST: u64 = 10_000_000;
/// Part of the passed time by which NTP may have moved the clocks apart: 1/4096.
const DRIFT: u32 = 12;

/// The time since the kernel last added to the `se.sum_exec_runtime` of the current task, which was at `start`.
///
/// No helper returns that clock (`rq->clock`), and the kernel updates it only at ticks and context switches. So it is
/// behind `CLOCK_MONOTONIC` by a constant plus the time since its update, and the least value over the latest exits is near
/// the constant. The result is too small by the remaining difference: without other exits for a while, it is 0.
#[inline(always)]
unsafe fn last_slice(task: u64, start: u64) -> u64 {
    let known = has(field::TaskCfsRq) && has(field::CfsRqRq) && has(field::RqClock) && has(field::RqClockTask);
    let Some(clock) = CLOCK.get_ptr_mut(0).filter(|_| known) else { return 0 };
    // SAFETY: the task is a BTF pointer where the kernel has them. `clock` is in a map value, whose fields CPUs may change
    // at once: that only makes the estimate worse.
    unsafe {
        let queue: u64 = ld(ld(task, field::TaskCfsRq), field::CfsRqRq);
        let (updated, updated_task) = (ld::<u64>(queue, field::RqClock), ld::<u64>(queue, field::RqClockTask));
        let now = bpf_ktime_get_ns();
        let behind = now.wrapping_sub(updated);
        let passed = now.saturating_sub(get(&raw const (*clock).at));
        let least = get(&raw const (*clock).behind).wrapping_add(passed >> DRIFT);
        let mut since = behind.wrapping_sub(least);
        if since > LONGEST {
            since = 0;
        }
        set(&raw mut (*clock).behind, behind.wrapping_sub(since));
        set(&raw mut (*clock).at, now);
        // Interrupts are not in the task's clock. A switch since the start of the slice would have added it to the sum.
        let before = updated_task.wrapping_sub(start);
        if before > LONGEST || ld::<u64>(task, field::TaskExecStart) != start { 0 } else { before + since }
    }
}

/// A record without facts. `Default` is no constant.
const ZERO: ExitRecord = ExitRecord {
    status: 0,
    signal_flags: 0,
    sent: Sent { address: 0, comm: [0; 16], tgid: Tgid(0), uid: Uid(0), code: 0, facts: 0 },
    facts: 0,
    seccomp: 0,
    cost: Cost { user_ticks: 0, system_ticks: 0, runtime: 0, max_rss: 0, read: 0, written: 0 },
    session: Session { tty: [0; TTY_LEN], known: 0, id: Tgid(0), login_uid: Uid(0) },
};

/// A signal of a process, as a key of [`SENT`].
#[repr(C)]
#[derive(Clone, Copy)]
struct SentKey {
    start: u64,
    tgid: u32,
    signal: u32,
}

/// Signals that were sent to processes and may end them. Most end the process at once, which removes them here. Others
/// stay until newer ones evict them, such as a blocked one that is never delivered.
#[map]
static SENT: LruHashMap<SentKey, Sent> = LruHashMap::with_max_entries(4096, 0);

/// The signals that end no process if it does not handle them, by their number minus 1: SIGCHLD, SIGCONT, SIGSTOP,
/// SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH (`SIG_KERNEL_IGNORE_MASK`, `SIG_KERNEL_STOP_MASK`,
/// include/linux/signal.h).
const HARMLESS: u64 = 1 << 16 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 21 | 1 << 22 | 1 << 27;
/// `SIGKILL` (include/uapi/asm-generic/signal.h), which has no handler.
const SIGKILL: u64 = 9;
/// Bytes of `struct k_sigaction` of 64-bit kernels: the handler, the flags, the restorer and the mask. The width of the
/// table in shared/src/offsets.rs is that of 64 of them.
const SIGACTION: u64 = 32;
/// `TRACE_SIGNAL_DELIVERED` and `TRACE_SIGNAL_LOSE_INFO` (include/trace/events/signal.h): the signal is pending, in the
/// second case without its `siginfo`.
const DELIVERED: u64 = 0;
const LOSE_INFO: u64 = 4;
/// `SEND_SIG_NOINFO` and `SEND_SIG_PRIV` (include/linux/sched/signal.h), in place of a pointer.
const NOINFO: u64 = 0;
const PRIV: u64 = 1;
/// `SI_KERNEL` (include/uapi/asm-generic/siginfo.h).
const SI_KERNEL: i32 = 0x80;
/// `PF_EXITING` of `task_struct.flags` (include/linux/sched.h).
const PF_EXITING: u32 = 4;

/// `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)`
/// ([`include/trace/events/signal.h`](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/signal.h)).
/// Called in [`__send_signal_locked`](https://elixir.bootlin.com/linux/v6.12/source/kernel/signal.c) by the sender.
#[btf_tracepoint]
#[inline(always)]
pub fn signal_btf(ctx: BtfTracePointContext) -> i32 {
    let number = ctx.arg::<u64>(0) & 0x7f;
    let result = ctx.arg::<u64>(4) & 0xffff_ffff;
    let place = number.wrapping_sub(1);
    if place >= 64 || HARMLESS >> place & 1 != 0 || result != DELIVERED && result != LOSE_INFO {
        return 0;
    }
    let task = typed_as(ctx.arg(2), field::TaskTgid);
    // SAFETY: `task` and the info are the tracepoint's arguments, which the kernel types. The handler is in an array of
    // 64, and is read through a cast pointer or by helper. The info is a pointer unless it is one of two small numbers.
    unsafe {
        let actions = ld::<u64>(task, field::TaskSighand).wrapping_add(offset(field::SighandAction));
        if number != SIGKILL && any::<u64>(actions.wrapping_add(place * SIGACTION), field::SigactionHandler) != 0 {
            return 0;
        }
        // The verifier takes an argument of a pointer type for a pointer, and would remove a comparison with 0.
        let info = rd((ctx.as_ptr() as u64).wrapping_add(8));
        sent(number as u32, info, task);
    }
    0
}

/// Notes a signal that may end a process.
#[inline(always)]
unsafe fn sent(signal: u32, info: u64, task: u64) {
    // SAFETY: the tasks are BTF pointers where the kernel has them; `info` is as in `signal_btf`.
    unsafe {
        let sender = current();
        let who = Who::of(sender);
        let tgid: u32 = ld(task, field::TaskTgid);
        let comm = comm_of(ld(sender, field::TaskGroupLeader));
        let mut sent = Sent {
            comm: core::mem::transmute::<[u64; 2], [u8; 16]>(comm),
            tgid: Tgid(who.tgid),
            uid: Uid(who.uid),
            ..ZERO.sent
        };
        match info {
            NOINFO => sent.facts = fact::UNNAMED,
            PRIV => (sent.facts, sent.code) = (fact::PRIVILEGED, SI_KERNEL),
            info => {
                sent.code = any(info, field::SiginfoCode);
                if sent.code > 0 {
                    sent.address = any(info, field::SiginfoAddress);
                }
            }
        }
        if tgid == who.tgid {
            sent.facts |= fact::SELF;
        }
        if ld::<u32>(sender, field::TaskFlags) & PF_EXITING != 0 {
            sent.facts |= fact::ENDING;
        }
        let key = SentKey { start: start_of(task), tgid, signal };
        _ = SENT.insert(key, sent, u64::from(BPF_ANY));
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
