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
    /// Any other call.
    pub const OTHER: u8 = 0xff;
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
    /// The context of the program.
    pub context: *mut c_void,
    /// Address of the `struct pt_regs`.
    regs: u64,
}

/// `openat2` has the same number in every table.
const OPENAT2: u32 = 437;
/// `PERF_EVENT_IOC_SET_BPF` (include/uapi/linux/perf_event.h).
const SET_BPF: u64 = 0x4004_2408;

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
        what::IOCTL => low(args[1]) == SET_BPF,
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

/// Whether seccomp ended the call by a signal (`SECCOMP_RET_TRAP`,
/// [`__seccomp_filter`](https://elixir.bootlin.com/linux/v6.12/source/kernel/seccomp.c)), so it was never made. The
/// register of the result then holds its value from before the call (`syscall_rollback` in
/// [arch/x86](https://elixir.bootlin.com/linux/v6.12/source/arch/x86/include/asm/syscall.h) and
/// [arch/arm64](https://elixir.bootlin.com/linux/v6.12/source/arch/arm64/include/asm/syscall.h)). The task has a
/// filter, and SIGSYS is pending and not blocked
/// ([`force_sig_seccomp`](https://elixir.bootlin.com/linux/v6.12/source/kernel/signal.c) unblocks it).
#[inline(always)]
unsafe fn is_trapped(task: u64) -> bool {
    const SIGSYS: u64 = 1 << 30;
    const SECCOMP_MODE_FILTER: u32 = 2;
    // SAFETY: `task` is the current task, a BTF pointer where the kernel has them.
    unsafe {
        ld::<u64>(task, field::TaskPending) & SIGSYS != 0
            && has(field::TaskSeccompMode)
            && ld::<u32>(task, field::TaskSeccompMode) == SECCOMP_MODE_FILTER
            && ld::<u64>(task, field::TaskBlocked) & SIGSYS == 0
    }
}

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

    /// The 64-bit table
    /// ([`syscall_64`](https://elixir.bootlin.com/linux/v6.12/source/arch/x86/entry/syscalls/syscall_64.tbl)). x32 has
    /// the same numbers, except for its own ioctl and execs.
    mod nr64 {
        pub(super) const OPEN: u32 = 2;
        pub(super) const IOCTL: u32 = 16;
        pub(super) const SETSOCKOPT: u32 = 54;
        pub(super) const CREAT: u32 = 85;
        pub(super) const PRCTL: u32 = 157;
        pub(super) const EXECVE: u32 = 59;
        pub(super) const OPENAT: u32 = 257;
        pub(super) const OPEN_BY_HANDLE_AT: u32 = 304;
        pub(super) const SECCOMP: u32 = 317;
        pub(super) const BPF: u32 = 321;
        pub(super) const EXECVEAT: u32 = 322;
        pub(super) const SETSOCKOPT_X32: u32 = 541;
        pub(super) const IOCTL_X32: u32 = 514;
        pub(super) const EXECVE_X32: u32 = 520;
        pub(super) const EXECVEAT_X32: u32 = 545;
    }

    /// The table of i386
    /// ([`syscall_32`](https://elixir.bootlin.com/linux/v6.12/source/arch/x86/entry/syscalls/syscall_32.tbl)).
    mod nr32 {
        pub(super) const OPEN: u32 = 5;
        pub(super) const CREAT: u32 = 8;
        pub(super) const EXECVE: u32 = 11;
        pub(super) const IOCTL: u32 = 54;
        pub(super) const PRCTL: u32 = 172;
        pub(super) const OPENAT: u32 = 295;
        pub(super) const OPEN_BY_HANDLE_AT: u32 = 342;
        pub(super) const SECCOMP: u32 = 354;
        pub(super) const BPF: u32 = 357;
        pub(super) const EXECVEAT: u32 = 358;
        pub(super) const SETSOCKOPT: u32 = 366;
    }

    /// See [`super::select`].
    #[inline(always)]
    pub(super) unsafe fn select(context: *mut c_void, regs: u64, ret: i64) -> Option<(u8, Call)> {
        // SAFETY: `regs` is a BTF pointer to `struct pt_regs`; `task` is the current task.
        unsafe {
            let nr = load_at::<u64>(regs, ORIG_AX) as u32;
            let n = nr & !X32;
            match n {
                nr64::OPENAT | nr64::OPEN | nr64::CREAT | nr64::BPF | OPENAT2 | nr64::OPEN_BY_HANDLE_AT => {}
                nr64::EXECVE | nr64::EXECVEAT | nr64::EXECVE_X32 | nr64::EXECVEAT_X32 if ret < 0 => {}
                nr32::EXECVE | nr32::EXECVEAT if ret < 0 => {}
                nr64::IOCTL | nr64::IOCTL_X32 if load_at::<u64>(regs, SI) & 0xffff_ffff == SET_BPF => {}
                // 54 is setsockopt(2) of the 64-bit table and ioctl(2) of i386.
                nr64::SETSOCKOPT | nr64::SETSOCKOPT_X32 | nr64::SECCOMP | nr64::PRCTL => {}
                nr32::OPEN | nr32::CREAT | nr32::OPENAT | nr32::BPF | nr32::OPEN_BY_HANDLE_AT => {}
                nr32::SETSOCKOPT | nr32::SECCOMP | nr32::PRCTL => {}
                _ => return None,
            }
            let task = current();
            let x32 = nr & X32 != 0;
            let (asked, abi) = if ld::<u32>(task, field::TaskCompat) & TS_COMPAT != 0 {
                (what32(n), abi::I386)
            } else {
                (what64(n, x32), if x32 { abi::X32 } else { abi::X86_64 })
            };
            if asked == what::OTHER {
                return None;
            }
            let (asked, abi) = settled(asked, abi, ret);
            // After a trap the register of the result holds the number.
            let trapped = ret as u32 == load_at::<u64>(regs, ORIG_AX) as u32 && is_trapped(task);
            let args = if forgotten(abi.into(), ret as u64) as u8 == abi::I386 {
                // The kernel ignores the upper halves, in which 64-bit code that makes 32-bit calls may leave anything.
                [low(regs, BX), low(regs, CX), low(regs, DX), low(regs, SI)]
            } else {
                [load_at(regs, DI), load_at(regs, SI), load_at(regs, DX), load_at(regs, R10)]
            };
            if !concerns_bpf(asked, &args, ret) {
                return None;
            }
            Some((asked, Call { task, args, ret, abi, trapped, context, regs }))
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

    #[inline(always)]
    fn what64(n: u32, x32: bool) -> u8 {
        match n {
            nr64::OPENAT => via::OPENAT,
            nr64::OPEN => via::OPEN,
            nr64::CREAT => via::CREAT,
            OPENAT2 => via::OPENAT2,
            nr64::BPF => what::BPF,
            nr64::IOCTL | nr64::IOCTL_X32 => what::IOCTL,
            nr64::SETSOCKOPT if !x32 => what::SETSOCKOPT,
            nr64::SETSOCKOPT_X32 if x32 => what::SETSOCKOPT,
            nr64::SECCOMP => what::SECCOMP,
            nr64::PRCTL => what::PRCTL,
            nr64::OPEN_BY_HANDLE_AT => via::OPEN_BY_HANDLE_AT,
            nr64::EXECVE if !x32 => what::EXECVE,
            nr64::EXECVEAT if !x32 => what::EXECVEAT,
            nr64::EXECVE_X32 if x32 => what::EXECVE,
            nr64::EXECVEAT_X32 if x32 => what::EXECVEAT,
            _ => what::OTHER,
        }
    }

    #[inline(always)]
    fn what32(n: u32) -> u8 {
        match n {
            nr32::OPENAT => via::OPENAT,
            nr32::OPEN => via::OPEN,
            nr32::CREAT => via::CREAT,
            OPENAT2 => via::OPENAT2,
            nr32::BPF => what::BPF,
            nr32::IOCTL => what::IOCTL,
            nr32::SETSOCKOPT => what::SETSOCKOPT,
            nr32::SECCOMP => what::SECCOMP,
            nr32::PRCTL => what::PRCTL,
            nr32::OPEN_BY_HANDLE_AT => via::OPEN_BY_HANDLE_AT,
            nr32::EXECVE => what::EXECVE,
            nr32::EXECVEAT => what::EXECVEAT,
            _ => what::OTHER,
        }
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
    mod nr64 {
        pub(super) const IOCTL: u32 = 29;
        pub(super) const OPENAT: u32 = 56;
        pub(super) const PRCTL: u32 = 167;
        pub(super) const SETSOCKOPT: u32 = 208;
        pub(super) const EXECVE: u32 = 221;
        pub(super) const OPEN_BY_HANDLE_AT: u32 = 265;
        pub(super) const SECCOMP: u32 = 277;
        pub(super) const BPF: u32 = 280;
        pub(super) const EXECVEAT: u32 = 281;
    }

    /// The table of 32-bit ARM, EABI
    /// ([`arch/arm/tools/syscall.tbl`](https://elixir.bootlin.com/linux/v6.12/source/arch/arm/tools/syscall.tbl)).
    mod nr32 {
        pub(super) const OPEN: u32 = 5;
        pub(super) const CREAT: u32 = 8;
        pub(super) const EXECVE: u32 = 11;
        pub(super) const IOCTL: u32 = 54;
        pub(super) const PRCTL: u32 = 172;
        pub(super) const SETSOCKOPT: u32 = 294;
        pub(super) const OPENAT: u32 = 322;
        pub(super) const OPEN_BY_HANDLE_AT: u32 = 371;
        pub(super) const SECCOMP: u32 = 383;
        pub(super) const BPF: u32 = 386;
        pub(super) const EXECVEAT: u32 = 387;
    }

    /// See [`super::select`].
    #[inline(always)]
    pub(super) unsafe fn select(context: *mut c_void, regs: u64, ret: i64) -> Option<(u8, Call)> {
        // SAFETY: `regs` is a BTF pointer to `struct pt_regs`; `task` is the current task.
        unsafe {
            // Older kernels do not sign-extend the result of a 32-bit caller.
            let failed = (ret as i32) < 0;
            let n: u32 = load_at(regs, SYSCALLNO);
            match n {
                nr64::OPENAT | nr64::BPF | OPENAT2 | nr64::OPEN_BY_HANDLE_AT => {}
                nr64::EXECVE | nr64::EXECVEAT | nr32::EXECVE | nr32::EXECVEAT if failed => {}
                nr64::IOCTL | nr32::IOCTL if load_at::<u64>(regs, X1) & 0xffff_ffff == SET_BPF => {}
                nr64::SETSOCKOPT | nr64::SECCOMP | nr64::PRCTL => {}
                nr32::OPEN | nr32::CREAT | nr32::OPENAT | nr32::BPF | nr32::OPEN_BY_HANDLE_AT => {}
                nr32::SETSOCKOPT | nr32::SECCOMP | nr32::PRCTL => {}
                _ => return None,
            }
            let task = current();
            let (asked, abi) = if ld::<u32>(task, field::TaskCompat) & TIF_32BIT != 0 {
                (what32(n), abi::ARM)
            } else {
                (what64(n), abi::AARCH64)
            };
            if asked == what::OTHER {
                return None;
            }
            let (asked, abi) = settled(asked, abi, ret);
            let first: u64 = load_at(regs, ORIG_X0);
            // After a trap the register of the result holds the first argument.
            let trapped = ret as u32 == first as u32 && is_trapped(task);
            let args = [first, load_at(regs, X1), load_at(regs, X2), load_at(regs, X3)];
            let (args, ret) = if forgotten(abi.into(), ret as u64) as u8 == abi::ARM {
                (args.map(|arg| arg & 0xffff_ffff), i64::from(ret as i32))
            } else {
                (args, ret)
            };
            if !concerns_bpf(asked, &args, ret) {
                return None;
            }
            Some((asked, Call { task, args, ret, abi, trapped, context, regs }))
        }
    }

    #[inline(always)]
    fn what64(n: u32) -> u8 {
        match n {
            nr64::OPENAT => via::OPENAT,
            OPENAT2 => via::OPENAT2,
            nr64::BPF => what::BPF,
            nr64::IOCTL => what::IOCTL,
            nr64::SETSOCKOPT => what::SETSOCKOPT,
            nr64::SECCOMP => what::SECCOMP,
            nr64::PRCTL => what::PRCTL,
            nr64::OPEN_BY_HANDLE_AT => via::OPEN_BY_HANDLE_AT,
            nr64::EXECVE => what::EXECVE,
            nr64::EXECVEAT => what::EXECVEAT,
            _ => what::OTHER,
        }
    }

    #[inline(always)]
    fn what32(n: u32) -> u8 {
        match n {
            nr32::OPENAT => via::OPENAT,
            nr32::OPEN => via::OPEN,
            nr32::CREAT => via::CREAT,
            OPENAT2 => via::OPENAT2,
            nr32::BPF => what::BPF,
            nr32::IOCTL => what::IOCTL,
            nr32::SETSOCKOPT => what::SETSOCKOPT,
            nr32::SECCOMP => what::SECCOMP,
            nr32::PRCTL => what::PRCTL,
            nr32::OPEN_BY_HANDLE_AT => via::OPEN_BY_HANDLE_AT,
            nr32::EXECVE => what::EXECVE,
            nr32::EXECVEAT => what::EXECVEAT,
            _ => what::OTHER,
        }
    }
}
