//! System calls that ended: numbers, arguments and registers of the tables of each architecture.

use crate::arch::on_arm;
use crate::read::{self, forgotten, has, ld, load_at};
use crate::task::current;
use aya_ebpf::EbpfContext;
use aya_ebpf::programs::ProbeContext;
use core::ffi::c_void;
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::option;
use tracetui_shared::record::open::{abi, via};

/// The system call that a number stands for: a [`via`] for opens, or one of these.
pub mod what {
    /// bpf(2).
    pub const BPF: u8 = 0x10;
    /// ioctl(2).
    pub const IOCTL: u8 = 0x11;
    /// setsockopt(2).
    pub const SETSOCKOPT: u8 = 0x12;
    /// seccomp(2).
    pub const SECCOMP: u8 = 0x13;
    /// prctl(2).
    pub const PRCTL: u8 = 0x14;
    /// execve(2).
    pub const EXECVE: u8 = 0x20;
    /// execveat(2).
    pub const EXECVEAT: u8 = 0x21;
}

/// A system call that ended.
#[derive(Clone, Copy)]
pub struct Call {
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
    pub context: *mut c_void,
    /// Address of the `struct pt_regs`.
    regs: u64,
}

/// `openat2` has the same number in every table.
const OPENAT2: u32 = 437;
/// `PERF_EVENT_IOC_SET_BPF` (include/uapi/linux/perf_event.h).
pub const SET_BPF: u64 = 0x4004_2408;
/// `TUNATTACHFILTER` (include/uapi/linux/if_tun.h). A 32-bit caller passes the same number: the kernel knows no other.
const TUN_ATTACH_FILTER: u64 = 0x4010_54d5;
/// `TUNDETACHFILTER`.
const TUN_DETACH_FILTER: u64 = 0x4010_54d6;

/// Whether an ioctl(2) may attach or detach a program.
#[inline(always)]
fn attaches(command: u64) -> bool {
    matches!(command, SET_BPF | TUN_ATTACH_FILTER | TUN_DETACH_FILTER)
}

/// The same [`what`] and [`abi`], which the verifier does not know: it need not follow each number of a call separately
/// from here on.
#[inline(always)]
fn settled(asked: u8, abi: u8, ret: i64) -> (u8, u8) {
    let both = forgotten(u64::from(asked) | u64::from(abi) << 8, ret as u64);
    (both as u8, (both >> 8) as u8)
}

/// Whether a call of one of the functions that do many things loads, attaches or detaches a program.
#[inline(always)]
fn concerns_bpf(asked: u8, args: &[u64; 4], ret: i64) -> bool {
    /// `SOL_SOCKET` (include/uapi/asm-generic/socket.h).
    const SOL_SOCKET: u64 = 1;
    /// `SECCOMP_SET_MODE_FILTER` (include/uapi/linux/seccomp.h).
    const SET_MODE_FILTER: u64 = 1;
    /// `PR_SET_SECCOMP` (include/uapi/linux/prctl.h).
    const PR_SET_SECCOMP: u64 = 22;
    /// `SECCOMP_MODE_FILTER` (include/uapi/linux/seccomp.h).
    const MODE_FILTER: u64 = 2;
    let low = |arg: u64| arg & 0xffff_ffff;
    match forgotten(asked.into(), ret as u64) as u8 {
        what::IOCTL => attaches(low(args[1])),
        what::SETSOCKOPT => {
            low(args[1]) == SOL_SOCKET
                && matches!(
                    low(args[2]) as u16,
                    option::ATTACH_FILTER
                        | option::DETACH_FILTER
                        | option::ATTACH_BPF
                        | option::ATTACH_REUSEPORT_CBPF
                        | option::ATTACH_REUSEPORT_EBPF
                        | option::DETACH_REUSEPORT_BPF
                )
        }
        what::SECCOMP => low(args[0]) == SET_MODE_FILTER,
        what::PRCTL => low(args[0]) == PR_SET_SECCOMP && args[1] == MODE_FILTER,
        _ => true,
    }
}

/// The numbers of a table of system calls that make events, and the [`what`] of each.
type Numbers = [(u32, u8)];

/// The calls of all tables of an architecture, by number. Each table has a byte, in the order of [`abi`]: the [`what`]
/// plus one, 0 for a call that makes no events. So one load and one test dismiss most calls.
const fn by_number<const COUNT: usize>(tables: &[&[&Numbers]]) -> [u32; COUNT] {
    let mut calls = [0; COUNT];
    let mut table = 0;
    while table < tables.len() {
        let mut part = 0;
        while part < tables[table].len() {
            let numbers = tables[table][part];
            let mut i = 0;
            while i < numbers.len() {
                let (number, what) = numbers[i];
                calls[number as usize] |= (what as u32 + 1) << (8 * table);
                i += 1;
            }
            part += 1;
        }
        table += 1;
    }
    calls
}

/// The entry of a number; 0 if no table has a call with this number that makes events.
#[inline(always)]
fn entry<const COUNT: usize>(calls: &[u32; COUNT], number: u32) -> u32 {
    if (number as usize) < COUNT { calls[number as usize] } else { 0 }
}

/// The [`what`] of an entry in a table; `None` if the call makes no events.
#[inline(always)]
fn in_table(entry: u32, table: u8) -> Option<u8> {
    let asked = (entry >> (8 * u32::from(table))) as u8;
    if asked == 0 { None } else { Some(asked - 1) }
}

/// The call and its [`what`], if it makes events. Most calls do not, and are dismissed by their number. `regs` is the
/// `struct pt_regs` at the end of the call, typed by the tracepoint or by `bpf_task_pt_regs`. `context` is that of the
/// program.
#[inline(always)]
pub unsafe fn select(context: *mut c_void, regs: u64, ret: i64) -> Option<(u8, Call)> {
    // SAFETY: `regs` is a BTF pointer to `struct pt_regs`. Each half reads at the offsets of its own architecture.
    unsafe { if on_arm() { arm::select(context, regs, ret) } else { x86::select(context, regs, ret) } }
}

/// The fifth argument of a system call.
#[inline(always)]
pub unsafe fn fifth_argument(call: &Call) -> u64 {
    // SAFETY: `call.regs` is a BTF pointer to `struct pt_regs`.
    unsafe { load_at(call.regs, if on_arm() { arm::X4 } else { x86::fifth_argument(call.abi) }) }
}

/// The return value of a function. The context is the registers at its return.
#[inline(always)]
pub unsafe fn returned(ctx: &ProbeContext) -> i64 {
    // SAFETY: the verifier checks the offset against the size of `struct pt_regs`.
    unsafe { if on_arm() { first_word(ctx) as i64 } else { read::field(ctx, x86::AX as usize) } }
}

/// The first argument of a function. The context is the registers at its entry.
#[inline(always)]
pub unsafe fn first_argument(ctx: &ProbeContext) -> u64 {
    // SAFETY: the verifier checks the offset against the size of `struct pt_regs`.
    unsafe { if on_arm() { first_word(ctx) } else { read::field(ctx, x86::DI as usize) } }
}

/// `regs[0]` of aarch64. It is read in assembly, because the compiler would join this load with the one of x86-64 and
/// compute its address. The verifier refuses a context pointer with an offset that is not constant.
#[inline(always)]
unsafe fn first_word(ctx: &ProbeContext) -> u64 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the verifier checks the offset against the size of `struct pt_regs`.
    unsafe {
        let word: u64;
        core::arch::asm!("{word} = *(u64 *)({ctx} + 0)", word = out(reg) word, ctx = in(reg) ctx.as_ptr(),
            options(nostack, readonly));
        word
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _ = ctx.as_ptr();
        0
    }
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
unsafe fn is_trapped(task: u64) -> bool {
    const SIGSYS: u64 = 1 << 30;
    // SAFETY: `task` is the current task, a BTF pointer where the kernel has them.
    unsafe {
        ld::<u64>(task, field::TaskPending) & SIGSYS != 0
            && has(field::TaskSeccompMode)
            && ld::<u32>(task, field::TaskSeccompMode) >= SECCOMP_MODE_FILTER
            && ld::<u64>(task, field::TaskBlocked) & SIGSYS == 0
    }
}

/// Whether seccomp killed the task in this call (`SECCOMP_MODE_DEAD`, 5.17+). Nothing else sets that mode.
#[inline(always)]
unsafe fn is_killed(task: u64) -> bool {
    // SAFETY: `task` is the current task, a BTF pointer where the kernel has them.
    unsafe { has(field::TaskSeccompMode) && ld::<u32>(task, field::TaskSeccompMode) > SECCOMP_MODE_FILTER }
}

/// The mode of a task with filters (include/uapi/linux/seccomp.h).
const SECCOMP_MODE_FILTER: u32 = 2;

/// x86-64, with the tables of i386 and x32.
mod x86 {
    use super::*;

    // Offsets in `struct pt_regs` in bytes (arch/x86/include/uapi/asm/ptrace.h).
    const R10: u64 = 56;
    const R8: u64 = 72;
    pub(super) const AX: u64 = 80;
    const BX: u64 = 40;
    const CX: u64 = 88;
    const DX: u64 = 96;
    const SI: u64 = 104;
    pub(super) const DI: u64 = 112;
    const ORIG_AX: u64 = 120;

    /// `__X32_SYSCALL_BIT` (arch/x86/include/uapi/asm/unistd.h).
    const X32: u32 = 0x4000_0000;
    /// `TS_COMPAT` of `thread_info.status` (arch/x86/include/asm/thread_info.h): the system call came through the
    /// 32-bit table.
    const TS_COMPAT: u32 = 2;

    /// What the 64-bit table
    /// ([`syscall_64`](https://elixir.bootlin.com/linux/v6.12/source/arch/x86/entry/syscalls/syscall_64.tbl)) and that
    /// of x32 have in common. The numbers of x32 are without the bit [`X32`].
    const NUMBERS: &Numbers = &[
        (2, via::OPEN),
        (IOCTL, what::IOCTL),
        (85, via::CREAT),
        (157, what::PRCTL),
        (257, via::OPENAT),
        (304, via::OPEN_BY_HANDLE_AT),
        (317, what::SECCOMP),
        (321, what::BPF),
        (OPENAT2, via::OPENAT2),
        (IOCTL_X32, what::IOCTL),
    ];

    /// What only the 64-bit table has.
    const NUMBERS_64: &Numbers = &[(54, what::SETSOCKOPT), (59, what::EXECVE), (322, what::EXECVEAT)];

    /// What only the table of x32 has.
    const NUMBERS_X32: &Numbers = &[(520, what::EXECVE), (541, what::SETSOCKOPT), (545, what::EXECVEAT)];

    /// The table of i386
    /// ([`syscall_32`](https://elixir.bootlin.com/linux/v6.12/source/arch/x86/entry/syscalls/syscall_32.tbl)).
    const NUMBERS_I386: &Numbers = &[
        (5, via::OPEN),
        (8, via::CREAT),
        (11, what::EXECVE),
        (54, what::IOCTL),
        (172, what::PRCTL),
        (295, via::OPENAT),
        (342, via::OPEN_BY_HANDLE_AT),
        (354, what::SECCOMP),
        (357, what::BPF),
        (358, what::EXECVEAT),
        (366, what::SETSOCKOPT),
        (OPENAT2, via::OPENAT2),
    ];

    const IOCTL: u32 = 16;
    const IOCTL_X32: u32 = 514;

    // Its name is in the object, and a mangled one would depend on where the object is built.
    #[unsafe(export_name = "CALLS_X86")]
    static CALLS: [u32; 546] = by_number(&[&[NUMBERS, NUMBERS_64], &[NUMBERS_I386], &[NUMBERS, NUMBERS_X32]]);

    /// See [`super::select`].
    #[inline(always)]
    pub(super) unsafe fn select(context: *mut c_void, regs: u64, ret: i64) -> Option<(u8, Call)> {
        // SAFETY: `regs` is a BTF pointer to `struct pt_regs`; `task` is the current task.
        unsafe {
            let nr = load_at::<u64>(regs, ORIG_AX) as u32;
            let n = nr & !X32;
            let entry = entry(&CALLS, n);
            // An ioctl that attaches no program is dismissed here too: there are many. (16 is lchown(2) of i386.)
            if entry == 0 || n == IOCTL && !attaches(low(regs, SI)) {
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
            let asked = in_table(entry, abi)?;
            if asked >= what::EXECVE && ret >= 0 {
                return None;
            }
            let (asked, abi) = settled(asked, abi, ret);
            // After a trap the register of the result holds the number.
            let trapped = ret as u32 == load_at::<u64>(regs, ORIG_AX) as u32 && is_trapped(task);
            let killed = trapped && is_killed(task);
            let args = if forgotten(abi.into(), ret as u64) as u8 == abi::I386 {
                // The kernel ignores the upper halves, in which 64-bit code that makes 32-bit calls may leave anything.
                [low(regs, BX), low(regs, CX), low(regs, DX), low(regs, SI)]
            } else {
                [load_at(regs, DI), load_at(regs, SI), load_at(regs, DX), load_at(regs, R10)]
            };
            if !concerns_bpf(asked, &args, ret) {
                return None;
            }
            Some((asked, Call { task, args, ret, abi, trapped, killed, context, regs }))
        }
    }

    /// Offset in bytes of the fifth argument in `struct pt_regs`.
    #[inline(always)]
    pub(super) fn fifth_argument(abi: u8) -> u64 {
        if abi == abi::I386 { DI } else { R8 }
    }

    /// The lower half of a register.
    #[inline(always)]
    unsafe fn low(regs: u64, at: u64) -> u64 {
        // SAFETY: `regs` is a BTF pointer to `struct pt_regs`.
        u64::from(unsafe { load_at::<u32>(regs, at) })
    }
}

/// aarch64, with the table of 32-bit ARM.
mod arm {
    use super::*;

    // Offsets in `struct pt_regs` in bytes (arch/arm64/include/asm/ptrace.h): `regs[31]`, `sp`, `pc`, `pstate`, then
    // these.
    const X1: u64 = 8;
    const X2: u64 = 16;
    const X3: u64 = 24;
    pub(super) const X4: u64 = 32;
    /// The first argument. At the end of the call `regs[0]` holds the result.
    const ORIG_X0: u64 = 272;
    /// The number of the call, 4 bytes.
    const SYSCALLNO: u64 = 280;

    /// `_TIF_32BIT` of `thread_info.flags` (arch/arm64/include/asm/thread_info.h): the task runs 32-bit code.
    const TIF_32BIT: u32 = 1 << 22;

    /// The table of aarch64
    /// ([asm-generic/unistd.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/asm-generic/unistd.h)), which
    /// has neither open nor creat.
    const NUMBERS: &Numbers = &[
        (IOCTL, what::IOCTL),
        (56, via::OPENAT),
        (167, what::PRCTL),
        (208, what::SETSOCKOPT),
        (221, what::EXECVE),
        (265, via::OPEN_BY_HANDLE_AT),
        (277, what::SECCOMP),
        (280, what::BPF),
        (281, what::EXECVEAT),
        (OPENAT2, via::OPENAT2),
    ];

    /// The table of 32-bit ARM, EABI
    /// ([`arch/arm/tools/syscall.tbl`](https://elixir.bootlin.com/linux/v6.12/source/arch/arm/tools/syscall.tbl)).
    const NUMBERS_ARM: &Numbers = &[
        (5, via::OPEN),
        (8, via::CREAT),
        (11, what::EXECVE),
        (54, what::IOCTL),
        (172, what::PRCTL),
        (294, what::SETSOCKOPT),
        (322, via::OPENAT),
        (371, via::OPEN_BY_HANDLE_AT),
        (383, what::SECCOMP),
        (386, what::BPF),
        (387, what::EXECVEAT),
        (OPENAT2, via::OPENAT2),
    ];

    const IOCTL: u32 = 29;

    #[unsafe(export_name = "CALLS_ARM")]
    static CALLS: [u32; 438] = by_number(&[&[NUMBERS], &[NUMBERS_ARM]]);

    /// See [`super::select`].
    #[inline(always)]
    pub(super) unsafe fn select(context: *mut c_void, regs: u64, ret: i64) -> Option<(u8, Call)> {
        // SAFETY: `regs` is a BTF pointer to `struct pt_regs`; `task` is the current task.
        unsafe {
            let n: u32 = load_at(regs, SYSCALLNO);
            let entry = entry(&CALLS, n);
            // An ioctl that attaches no program is dismissed here too: there are many. (29 is pause(2) of ARM.)
            if entry == 0 || n == IOCTL && !attaches(load_at::<u32>(regs, X1).into()) {
                return None;
            }
            let task = current();
            let narrow = ld::<u32>(task, field::TaskCompat) & TIF_32BIT != 0;
            let asked = in_table(entry, if narrow { 1 } else { 0 })?;
            // Older kernels do not sign-extend the result of a 32-bit caller.
            if asked >= what::EXECVE && (ret as i32) >= 0 {
                return None;
            }
            let abi = if narrow { abi::ARM } else { abi::AARCH64 };
            let (asked, abi) = settled(asked, abi, ret);
            let first: u64 = load_at(regs, ORIG_X0);
            // After a trap the register of the result holds the first argument.
            let trapped = ret as u32 == first as u32 && is_trapped(task);
            let killed = trapped && is_killed(task);
            let args = [first, load_at(regs, X1), load_at(regs, X2), load_at(regs, X3)];
            let (args, ret) = if forgotten(abi.into(), ret as u64) as u8 == abi::ARM {
                (args.map(|arg| arg & 0xffff_ffff), i64::from(ret as i32))
            } else {
                (args, ret)
            };
            if !concerns_bpf(asked, &args, ret) {
                return None;
            }
            Some((asked, Call { task, args, ret, abi, trapped, killed, context, regs }))
        }
    }
}
