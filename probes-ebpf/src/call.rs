//! System calls that ended: numbers, arguments and registers of the tables of each architecture.

use crate::arch::on_arm;
use crate::context::{self, Context};
use crate::ioctl::is_dismissed;
use crate::read::{forgotten, get, has, ld, load_at};
use crate::task::current;
use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
use tracetui_shared::calls::{self, MEANINGS};
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::offsets::field;
use tracetui_shared::record::open::abi;

/// A system call that ended.
#[derive(Clone, Copy)]
pub struct Call {
    /// The entry: the index of the row in [`calls::ROWS`], and 1 more.
    pub row: u8,
    /// The kind and the operation of the row.
    kind: u8,
    op: u8,
    /// The current task.
    pub task: u64,
    /// The first four arguments.
    pub args: [u64; 4],
    /// The result: negative is −errno.
    pub ret: i64,
    /// The table, one of [`abi`].
    pub abi: u8,
    /// seccomp answered the call by a signal, so it was never made.
    pub trapped: bool,
    /// That signal killed the process for certain.
    pub killed: bool,
    /// The context of the program.
    pub context: Context,
    /// Address of the `struct pt_regs`.
    regs: u64,
}

impl Call {
    /// Whether it is a call of a kind.
    #[inline(always)]
    pub fn is_of(&self, kind: Kind) -> bool {
        self.kind == kind as u8
    }

    /// Which of the kind's calls it is.
    #[inline(always)]
    pub fn op(&self) -> u8 {
        self.op
    }
}

/// The same entry and [`abi`], which the verifier does not know: it need not follow each number of a call separately
/// from here on.
#[inline(always)]
fn settled(entry: u8, abi: u8, ret: i64) -> (u8, u8) {
    let both = forgotten(u64::from(entry) | u64::from(abi) << 8, ret as u64);
    (both as u8, (both >> 8) as u8)
}

/// The entry of a number; 0 if no table has a call with this number that makes events.
#[inline(always)]
fn entry<const COUNT: usize>(calls: &[u32; COUNT], number: u32) -> u32 {
    // User space clears the entries of kinds that are not requested, so the compiler may not know them.
    if (number as usize) < COUNT { get(&calls[number as usize]) } else { 0 }
}

/// The entry in a table; `None` if the call makes no events.
#[inline(always)]
fn in_table(entry: u32, table: u8) -> Option<u8> {
    let entry = (entry >> (8 * u32::from(table))) as u8;
    if entry == 0 { None } else { Some(entry) }
}

/// Whether the call succeeded, and only its failure would be an event.
#[inline(always)]
fn is_answer(entry: u32, ret: i64) -> bool {
    entry & calls::FAILS_ONLY != 0 && ret as i32 >= 0
}

/// The call, if it makes events. Most calls do not, and are dismissed by their number. `regs` is the
/// `struct pt_regs` at the end of the call, typed by the tracepoint or by `bpf_task_pt_regs`. `context` is that of the
/// program.
#[inline(always)]
pub fn select(context: Context, regs: u64, ret: i64) -> Option<Call> {
    if on_arm() { arm::select(context, regs, ret) } else { x86::select(context, regs, ret) }
}

/// The fifth argument of a system call.
#[inline(always)]
pub fn fifth_argument(call: &Call) -> u64 {
    load_at(call.regs, if on_arm() { arm::X4 } else { x86::fifth_argument(call.abi) })
}

/// A call that ended, if it makes events:
/// - at the BTF tracepoint `sys_exit(struct pt_regs *regs, long ret)`
///   ([trace/events/syscalls.h](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/syscalls.h)), which runs after
///   every call of every table;
/// - at a classic tracepoint `syscalls:sys_exit_*`: `int __syscall_nr`, `long ret`
///   ([`SYSCALL_METADATA`](https://elixir.bootlin.com/linux/v6.12/source/include/linux/syscalls.h)), which does not run for calls
///   of the 32-bit table;
/// - at the return of the function behind it, of any table: `long __x64_sys_openat(const struct pt_regs *regs)` and its like
///   (`syscall_wrapper.h` of
///   [x86](https://elixir.bootlin.com/linux/v6.12/source/arch/x86/include/asm/syscall_wrapper.h) and
///   [arm64](https://elixir.bootlin.com/linux/v6.12/source/arch/arm64/include/asm/syscall_wrapper.h)). Attached by a
///   kprobe_multi link
///   ([`kprobe_multi_link_prog_run`](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/bpf_trace.c)).
#[inline(always)]
pub fn ended(ctx: Context) -> Option<Call> {
    /// Offset in bytes of the result, after the common fields and the number (`struct syscall_trace_exit`,
    /// [`kernel/trace/trace.h`](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/trace.h)).
    const RET: usize = 16;
    let regs = if context::is_typed() { ctx.argument::<0>() } else { registers() };
    let ret = if context::is_typed() {
        ctx.argument::<1>()
    } else if context::is_at_function() {
        ctx.result()
    } else {
        ctx.load::<u64, RET>()
    };
    select(ctx, regs, ret as i64)
}

/// Whether the current task is in this call of a kind (5.15+).
#[inline(always)]
pub fn is_in(kind: Kind, op: u8) -> bool {
    select(Context::NONE, registers(), 0).is_some_and(|call| call.is_of(kind) && call.op() == op)
}

/// Whether a task is in a call of a kind, judged by the number alone: another table may use it for another call.
#[inline(always)]
pub fn may_be_in(task: u64, kind: Kind) -> bool {
    let regs = registers_of(task as *mut _);
    let found = if on_arm() { arm::number(regs) } else { x86::number(regs) };
    let is = |table: u32| MEANINGS[(found >> (8 * table)) as u8 as usize][0] == kind as u8;
    is(0) || is(1) || is(2)
}

/// The registers with which the current task entered the kernel
/// ([`bpf_task_pt_regs`](https://elixir.bootlin.com/linux/v5.15/source/kernel/trace/bpf_trace.c), 5.15+).
#[inline(always)]
fn registers() -> u64 {
    // SAFETY: the helper has no arguments. The kernel has it if it has `bpf_task_pt_regs`.
    registers_of(unsafe { bpf_get_current_task_btf() })
}

/// The registers of a task, a typed pointer.
#[inline(always)]
fn registers_of(task: *mut task_struct) -> u64 {
    // SAFETY: the verifier checks that the helper gets a typed pointer to a task.
    unsafe { bpf_task_pt_regs(task) as u64 }
}

/// Whether seccomp ended the call by a signal (`SECCOMP_RET_TRAP`, `SECCOMP_RET_KILL_PROCESS`, and `SECCOMP_RET_KILL_THREAD` in
/// the last thread, [`__seccomp_filter`](https://elixir.bootlin.com/linux/v6.12/source/kernel/seccomp.c)), so it was never made. The
/// register of the result then holds its value from before the call (`syscall_rollback` in
/// [arch/x86](https://elixir.bootlin.com/linux/v6.12/source/arch/x86/include/asm/syscall.h) and
/// [arch/arm64](https://elixir.bootlin.com/linux/v6.12/source/arch/arm64/include/asm/syscall.h)). The task has a
/// filter, and SIGSYS is pending and not blocked
/// ([`force_sig_seccomp`](https://elixir.bootlin.com/linux/v6.12/source/kernel/signal.c) unblocks it). A killed task is in the mode
/// after that of filters ([`is_killed`]).
#[inline(always)]
fn is_trapped(task: u64) -> bool {
    const SIGSYS: u64 = 1 << 30;
    ld::<u64>(task, field::TaskPending) & SIGSYS != 0
        && has(field::TaskSeccompMode)
        && ld::<u32>(task, field::TaskSeccompMode) >= SECCOMP_MODE_FILTER
        && ld::<u64>(task, field::TaskBlocked) & SIGSYS == 0
}

/// Whether seccomp killed the task in this call (`SECCOMP_MODE_DEAD`, 5.17+). Nothing else sets that mode.
#[inline(always)]
fn is_killed(task: u64) -> bool {
    has(field::TaskSeccompMode) && ld::<u32>(task, field::TaskSeccompMode) > SECCOMP_MODE_FILTER
}

/// The mode of a task with filters (include/uapi/linux/seccomp.h).
const SECCOMP_MODE_FILTER: u32 = 2;

/// x86-64, with the tables of i386 and x32.
mod x86 {
    use super::*;
    use crate::context::DI;

    // Offsets in `struct pt_regs` in bytes (arch/x86/include/uapi/asm/ptrace.h).
    const R10: u64 = 56;
    const R8: u64 = 72;
    const BX: u64 = 40;
    const CX: u64 = 88;
    const DX: u64 = 96;
    pub(super) const SI: u64 = 104;
    pub(super) const ORIG_AX: u64 = 120;

    /// `__X32_SYSCALL_BIT` (arch/x86/include/uapi/asm/unistd.h).
    const X32: u32 = 0x4000_0000;
    /// `TS_COMPAT` of `thread_info.status` (arch/x86/include/asm/thread_info.h): the system call came through the
    /// 32-bit table.
    const TS_COMPAT: u32 = 2;

    // Its name is in the object, and a mangled one would depend on where the object is built.
    #[unsafe(export_name = "CALLS_X86")]
    static TABLES: [u32; calls::x86(KindSet::NONE).len()] = calls::x86(KindSet::ALL);

    /// See [`super::select`].
    #[inline(always)]
    pub(super) fn select(context: Context, regs: u64, ret: i64) -> Option<Call> {
        let nr = load_at::<u64>(regs, ORIG_AX) as u32;
        let n = nr & !X32;
        let entry = entry(&TABLES, n);
        if entry == 0 || is_answer(entry, ret) || is_dismissed(abi::X86_64, n, || low(regs, SI)) {
            return None;
        }
        let task = current();
        let abi = if ld::<u32>(task, field::TaskCompat) & TS_COMPAT != 0 {
            // That bit of a number means nothing to i386: there is no such call.
            if nr != n {
                return None;
            }
            abi::I386
        } else if nr & X32 != 0 {
            abi::X32
        } else {
            abi::X86_64
        };
        let entry = in_table(entry, abi)?;
        let (entry, abi) = settled(entry, abi, ret);
        // After a trap the register of the result holds the number.
        let trapped = ret as u32 == load_at::<u64>(regs, ORIG_AX) as u32 && is_trapped(task);
        let killed = trapped && is_killed(task);
        let args = if forgotten(abi.into(), ret as u64) as u8 == abi::I386 {
            // The kernel ignores the upper halves, in which 64-bit code that makes 32-bit calls may leave anything.
            [low(regs, BX), low(regs, CX), low(regs, DX), low(regs, SI)]
        } else {
            [load_at(regs, DI), load_at(regs, SI), load_at(regs, DX), load_at(regs, R10)]
        };
        let [kind, op] = MEANINGS[usize::from(entry)];
        Some(Call { row: entry, kind, op, task, args, ret, abi, trapped, killed, context, regs })
    }

    /// The entries of the call's number.
    #[inline(always)]
    pub(super) fn number(regs: u64) -> u32 {
        entry(&TABLES, load_at::<u64>(regs, ORIG_AX) as u32 & !X32)
    }

    /// Offset in bytes of the fifth argument in `struct pt_regs`.
    #[inline(always)]
    pub(super) fn fifth_argument(abi: u8) -> u64 {
        if abi == abi::I386 { DI } else { R8 }
    }

    /// The lower half of a register.
    #[inline(always)]
    fn low(regs: u64, at: u64) -> u64 {
        u64::from(load_at::<u32>(regs, at))
    }
}

/// aarch64, with the table of 32-bit ARM.
mod arm {
    use super::*;

    // Offsets in `struct pt_regs` in bytes (arch/arm64/include/asm/ptrace.h): `regs[31]`, `sp`, `pc`, `pstate`, then
    // these.
    pub(super) const X1: u64 = 8;
    const X2: u64 = 16;
    const X3: u64 = 24;
    pub(super) const X4: u64 = 32;
    /// The first argument. At the end of the call `regs[0]` holds the result.
    const ORIG_X0: u64 = 272;
    /// The number of the call, 4 bytes.
    pub(super) const SYSCALLNO: u64 = 280;

    /// `_TIF_32BIT` of `thread_info.flags` (arch/arm64/include/asm/thread_info.h): the task runs 32-bit code.
    const TIF_32BIT: u32 = 1 << 22;

    #[unsafe(export_name = "CALLS_ARM")]
    static TABLES: [u32; calls::arm(KindSet::NONE).len()] = calls::arm(KindSet::ALL);

    /// The entries of the call's number.
    #[inline(always)]
    pub(super) fn number(regs: u64) -> u32 {
        entry(&TABLES, load_at(regs, SYSCALLNO))
    }

    /// See [`super::select`].
    #[inline(always)]
    pub(super) fn select(context: Context, regs: u64, ret: i64) -> Option<Call> {
        let n: u32 = load_at(regs, SYSCALLNO);
        let entry = entry(&TABLES, n);
        if entry == 0 || is_answer(entry, ret) || is_dismissed(abi::AARCH64, n, || load_at::<u32>(regs, X1).into()) {
            return None;
        }
        let task = current();
        let narrow = ld::<u32>(task, field::TaskCompat) & TIF_32BIT != 0;
        let entry = in_table(entry, if narrow { 1 } else { 0 })?;
        let abi = if narrow { abi::ARM } else { abi::AARCH64 };
        let (entry, abi) = settled(entry, abi, ret);
        let first: u64 = load_at(regs, ORIG_X0);
        // After a trap the register of the result holds the first argument.
        let trapped = ret as u32 == first as u32 && is_trapped(task);
        let killed = trapped && is_killed(task);
        let args = [first, load_at(regs, X1), load_at(regs, X2), load_at(regs, X3)];
        // Older kernels do not sign-extend the result of a 32-bit caller.
        let (args, ret) = if forgotten(abi.into(), ret as u64) as u8 == abi::ARM {
            (args.map(|arg| arg & 0xffff_ffff), i64::from(ret as i32))
        } else {
            (args, ret)
        };
        let [kind, op] = MEANINGS[usize::from(entry)];
        Some(Call { row: entry, kind, op, task, args, ret, abi, trapped, killed, context, regs })
    }
}
