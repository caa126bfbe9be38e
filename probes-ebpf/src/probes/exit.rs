//! `exit`: the last thread of a process ended.

use crate::capture;
use crate::context::{self, Context};
use crate::emit::{Event, Frame};
use crate::maps::{Pointer, per_cpu};
use crate::read::{
    any, any_word, forgotten, get, has, konst, ld, ld_word, may_turn, monotonic_ns, offset, rd, set, typed_as,
};
use crate::session;
use crate::task::{self, Who, comm_of, current, start_of};
use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{Array, LruHashMap};
use aya_ebpf::programs::BtfTracePointContext;
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
    /// Records of `sched_exit`.
    EXIT_SCRATCH: ExitScratch;
}

/// `sched_process_exit(struct task_struct *p)` up to 6.15, `sched_process_exit(struct task_struct *p, bool group_dead)`
/// from 6.16 on
/// ([`include/trace/events/sched.h`](https://elixir.bootlin.com/linux/v6.16/source/include/trace/events/sched.h)).
/// Called in [`do_exit`](https://elixir.bootlin.com/linux/v6.12/source/kernel/exit.c).
///
/// The classic tracepoint has `char comm[16]`, `pid_t pid`, `int prio`, and from 6.16 on `bool group_dead`.
#[btf_tracepoint]
#[inline(always)]
pub fn sched_exit(ctx: BtfTracePointContext) -> i32 {
    let ctx = Context::of(&ctx);
    let told = konst!(ExitHasGroupDead) != 0;
    if context::is_typed() {
        let dead = told && ctx.argument::<1>() & 1 != 0;
        left(ctx, typed_as(ctx.argument::<0>(), field::TaskTgid), told, dead);
    } else {
        let dead = told && ctx.load::<u8, GROUP_DEAD_AT>() & 1 != 0;
        left(ctx, current(), told, dead);
    }
    0
}

/// A thread ends. `told`: the kernel says whether it is the last one of its process, which is then `dead`.
#[inline(always)]
fn left(ctx: Context, task: u64, told: bool, dead: bool) {
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
    let event = Event::begin(Slot::Exit, ctx, &who, record.status != 0);
    capture::forget(&who);
    let Some(event) = event else { return };
    let Some(s) = event.place(&EXIT_SCRATCH) else { return };
    let frame = &mut s.frame;
    event.head(&mut frame.header, &who);
    frame.header.tid = Tid(who.tgid);
    frame.record = record;
    frame.record.euid = ld(who.cred, field::CredEuid);
    session::describe(task, signal, &mut frame.record.session);
    if cost(task, signal, Pointer::to(&mut frame.record.cost)) {
        let io = if has(field::TaskReadBytes) { fact::IO } else { 0 };
        frame.record.facts = record.facts | fact::COST | io;
    }
    const LEN: u64 = size_of::<Frame<ExitRecord>>() as u64;
    event.send(&mut frame.header, LEN, LEN);
}

/// The status that wait(2) reports ([`wait_task_zombie`](https://elixir.bootlin.com/linux/v6.12/source/kernel/exit.c)),
/// and the sender of its signal, if it was seen.
#[inline(always)]
fn ended(task: u64, signal: u64, tgid: u32, start: u64) -> ExitRecord {
    let signal_flags: u32 = ld(signal, field::SignalFlags);
    let status: u32 = if signal_flags & SIGNAL_GROUP_EXIT != 0 {
        ld(signal, field::SignalGroupExitCode)
    } else {
        ld(ld(task, field::TaskGroupLeader), field::TaskExitCode)
    };
    let mut record = ExitRecord { status, signal_flags, facts: fact::EUID, ..ZERO };
    let number = status & 0x7f;
    if number == 0 {
        return record;
    }
    let key = SentKey { start, tgid, signal: number };
    // SAFETY: an element that is evicted meanwhile may get the bytes of another signal, which are as valid.
    if let Some(sent) = unsafe { SENT.get(&key) } {
        record.sent = *sent;
        record.facts |= sent.facts | fact::SENT;
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

/// Threads that are summed before 6.9 (see [`may_turn`]).
const THREADS: u32 = 64;
/// How often the sums are made again because a thread left the group meanwhile.
const TRIES: u64 = 4;

/// Writes the costs of all threads, as
/// [`thread_group_cputime`](https://elixir.bootlin.com/linux/v6.12/source/kernel/sched/cputime.c) adds them up: those of
/// reaped threads, and those of each thread that is left. `false` if they are incomplete.
#[inline(always)]
fn cost(task: u64, signal: u64, mut cost: Pointer<Cost>) -> bool {
    let head = signal.wrapping_add(offset(field::SignalThreadHead));
    let mut start = ld::<u64>(task, field::TaskExecStart);
    let (mut turn, mut tries, mut node, mut sequence) = (0u32, forgotten(0, start), head, 0);
    loop {
        may_turn!(turn, THREADS);
        if node == head {
            let (now, since) = (ld::<u32>(signal, field::SignalStatsSequence), ld::<u64>(task, field::TaskExecStart));
            if tries > 0 && now == sequence && now & 1 == 0 && since == start {
                break;
            }
            if tries == TRIES {
                return false;
            }
            (tries, sequence, start) = (tries + 1, now, since);
            set(&mut cost.user_ticks, ld(signal, field::SignalUtime));
            set(&mut cost.system_ticks, ld(signal, field::SignalStime));
            set(&mut cost.runtime, ld(signal, field::SignalRuntime));
            if has(field::TaskReadBytes) {
                set(&mut cost.read, ld(signal, field::SignalReadBytes));
                set(&mut cost.written, ld(signal, field::SignalWriteBytes));
            }
            node = any_word::<0>(signal, field::SignalThreadHead);
            continue;
        }
        if node == 0 {
            return false;
        }
        let thread = node.wrapping_sub(offset(field::TaskThreadNode));
        add(&mut cost.user_ticks, any(thread, field::TaskUtime));
        add(&mut cost.system_ticks, any(thread, field::TaskStime));
        add(&mut cost.runtime, any(thread, field::TaskRuntime));
        if has(field::TaskReadBytes) {
            add(&mut cost.read, any(thread, field::TaskReadBytes));
            add(&mut cost.written, any(thread, field::TaskWriteBytes));
        }
        node = any_word::<0>(thread, field::TaskThreadNode);
    }
    if node != head {
        return false;
    }
    add(&mut cost.runtime, last_slice(task, start));
    set(&mut cost.max_rss, ld::<u64>(signal, field::SignalMaxrss) * konst!(PageSize));
    true
}

#[inline(always)]
fn add(sum: *mut u64, value: u64) {
    set(sum, get(sum).wrapping_add(value))
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
fn last_slice(task: u64, start: u64) -> u64 {
    let known = has(field::TaskCfsRq) && has(field::CfsRqRq) && has(field::RqClock) && has(field::RqClockTask);
    let Some(clock) = CLOCK.get_ptr_mut(0).filter(|_| known) else { return 0 };
    let mut clock = Pointer::to(clock);
    let queue: u64 = ld(ld(task, field::TaskCfsRq), field::CfsRqRq);
    let (updated, updated_task) = (ld::<u64>(queue, field::RqClock), ld::<u64>(queue, field::RqClockTask));
    let now = monotonic_ns();
    let behind = now.wrapping_sub(updated);
    let passed = now.saturating_sub(get(&clock.at));
    let least = get(&clock.behind).wrapping_add(passed >> DRIFT);
    let mut since = behind.wrapping_sub(least);
    if since > LONGEST {
        since = 0;
    }
    set(&mut clock.behind, behind.wrapping_sub(since));
    set(&mut clock.at, now);
    // Interrupts are not in the task's clock. A switch since the start of the slice would have added it to the sum.
    let before = updated_task.wrapping_sub(start);
    if before > LONGEST || ld::<u64>(task, field::TaskExecStart) != start { 0 } else { before + since }
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
    euid: 0,
    reserved: 0,
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
/// stay until newer ones evict them, such as a blocked one that is never delivered. The sender is then unknown.
#[map]
static SENT: LruHashMap<SentKey, Sent> = LruHashMap::with_max_entries(4096, 0);

/// The signals that end no process if it does not handle them, by their number minus 1: SIGCHLD, SIGCONT, SIGSTOP,
/// SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH (`SIG_KERNEL_IGNORE_MASK`, `SIG_KERNEL_STOP_MASK`,
/// include/linux/signal.h).
const HARMLESS: u64 = 1 << 16 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 21 | 1 << 22 | 1 << 27;
/// `SIGKILL` (include/uapi/asm-generic/signal.h), which has no handler.
const SIGKILL: u64 = 9;
/// `SIGSYS` (same file).
const SIGSYS: u32 = 31;
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
/// `SI_KERNEL` and `SI_TIMER` (include/uapi/asm-generic/siginfo.h).
const SI_KERNEL: i32 = 0x80;
const SI_TIMER: i32 = -2;
/// `PF_EXITING` of `task_struct.flags` (include/linux/sched.h).
const PF_EXITING: u32 = 4;

/// `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)`
/// ([`include/trace/events/signal.h`](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/signal.h)).
/// Called in [`__send_signal_locked`](https://elixir.bootlin.com/linux/v6.12/source/kernel/signal.c) by the sender.
#[btf_tracepoint]
#[inline(always)]
pub fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    let number = ctx.arg::<u64>(0) & 0x7f;
    let result = ctx.arg::<u64>(4) & 0xffff_ffff;
    let place = number.wrapping_sub(1);
    if place >= 64 || HARMLESS >> place & 1 != 0 || result != DELIVERED && result != LOSE_INFO {
        return 0;
    }
    let task = typed_as(ctx.arg(2), field::TaskTgid);
    let actions = ld::<u64>(task, field::TaskSighand).wrapping_add(offset(field::SighandAction));
    if number != SIGKILL && any::<u64>(actions.wrapping_add(place * SIGACTION), field::SigactionHandler) != 0 {
        return 0;
    }
    // The verifier takes an argument of a pointer type for a pointer, and would remove a comparison with 0.
    let info = rd((Context::of(&ctx).as_ptr() as u64).wrapping_add(8));
    sent(number as u32, info, task);
    0
}

/// Notes a signal that may end a process.
#[inline(always)]
fn sent(signal: u32, info: u64, task: u64) {
    let sender = current();
    let who = Who::of(sender);
    let tgid: u32 = ld(task, field::TaskTgid);
    let leader: u64 = ld(sender, field::TaskGroupLeader);
    let comm = comm_of(leader);
    let mut sent = Sent { comm: zerocopy::transmute!(comm), tgid: Tgid(who.tgid), uid: Uid(who.uid), ..ZERO.sent };
    match info {
        // The kernel fills in `si_pid`. From 7.3 on, kill(2) sends without `siginfo` too.
        NOINFO => (sent.facts, sent.address) = (fact::UNNAMED, task::id_seen_by(task, leader).into()),
        PRIV => (sent.facts, sent.code) = (fact::PRIVILEGED, SI_KERNEL),
        info => (sent.code, sent.address) = (any(info, field::SiginfoCode), any(info, field::SiginfoAddress)),
    }
    if has(field::TaskSeccompMode) && ld::<u32>(sender, field::TaskSeccompMode) != 0 {
        sent.facts |= fact::FILTER;
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

/// `signal_deliver(int sig, struct kernel_siginfo *info, struct k_sigaction *ka)` (same file). Called in
/// [`get_signal`](https://elixir.bootlin.com/linux/v6.12/source/kernel/signal.c) by the thread that takes the signal, after a tracer
/// may have replaced it. If another signal of the same number was noted, its sender is not that of this one.
#[btf_tracepoint]
#[inline(always)]
pub fn signal_deliver(ctx: BtfTracePointContext) -> i32 {
    let info = rd((Context::of(&ctx).as_ptr() as u64).wrapping_add(8));
    if info == NOINFO || info == PRIV {
        return 0;
    }
    let task = current();
    let signal = ctx.arg::<u64>(0) as u32 & 0x7f;
    let key = SentKey { start: start_of(task), tgid: ld(task, field::TaskTgid), signal };
    if let Some(sent) = SENT.get_ptr_mut(&key) {
        let sent = Pointer::to(sent);
        let code: i32 = any(info, field::SiginfoCode);
        let facts = get(&sent.facts);
        // Of a sending without `siginfo`, `si_uid` may be that of another user namespace.
        let same = if facts & fact::UNNAMED != 0 { u64::from(u32::MAX) } else { u64::MAX };
        let differs = (any::<u64>(info, field::SiginfoAddress) ^ get(&sent.address)) & same != 0;
        // The kernel counts the overruns of a timer at the delivery.
        let other = facts & fact::PRIVILEGED == 0 && code != SI_TIMER && differs;
        if other || code != get(&sent.code) {
            _ = SENT.remove(&key);
        }
    } else if signal == SIGSYS {
        // Newer signals evicted it, or it is older than the trace. Without its code it would look like a forbidden call.
        let sent = Sent { code: any(info, field::SiginfoCode), ..ZERO.sent };
        _ = SENT.insert(key, sent, u64::from(BPF_ANY));
    }
    0
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
