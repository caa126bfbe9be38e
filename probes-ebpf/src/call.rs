//! System calls that ended: numbers, arguments and registers of each architecture's tables.

use crate::arch::on_arm;
use crate::read::{field, has, ld, typed};
use crate::task::current;
use aya_ebpf::EbpfContext;
use aya_ebpf::programs::ProbeContext;
use tracetui_shared::offsets::Field;
use tracetui_shared::record::open::{abi, via};

/// What a system call number stands for: a [`via`] for opens, or one of these.
pub mod what {
    /// bpf(2).
    pub const BPF: u8 = 0x10;
    /// ioctl(2).
    pub const IOCTL: u8 = 0x11;
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
    /// Its first four arguments.
    pub args: [u64; 4],
    /// Its result.
    pub ret: i64,
    /// [`abi`].
    pub abi: u8,
    /// seccomp answered it by a signal: it was never made.
    pub trapped: bool,
    /// `struct pt_regs`.
    regs: u64,
}

/// `openat2` has one number in every table.
const OPENAT2: u32 = 437;
/// `PERF_EVENT_IOC_SET_BPF`.
const SET_BPF: u64 = 0x4004_2408;

/// The call and what its number stands for, when it makes events. Most calls do not: they leave after a look at the
/// number. `regs` is `struct pt_regs` at the end of the call, typed by the tracepoint or by `bpf_task_pt_regs`.
#[inline(always)]
pub unsafe fn select(regs: u64, ret: i64) -> Option<(u8, Call)> {
    // SAFETY: the caller's `regs` is typed, and each half reads the places of its own architecture.
    unsafe { if on_arm() { arm::select(regs, ret) } else { x86::select(regs, ret) } }
}

/// The fifth argument of a system call.
#[inline(always)]
pub unsafe fn fifth_argument(call: &Call) -> u64 {
    // SAFETY: `call.regs` is typed.
    unsafe { typed(call.regs, if on_arm() { arm::X4 } else { x86::fifth_argument(call.abi) }) }
}

/// What a function returned; the context is the registers at its return.
#[inline(always)]
pub unsafe fn returned(ctx: &ProbeContext) -> i64 {
    // SAFETY: the verifier checks the place against `struct pt_regs`.
    unsafe { if on_arm() { first_word(ctx) as i64 } else { field(ctx, x86::AX as usize) } }
}

/// The first argument of a function; the context is the registers at its entry.
#[inline(always)]
pub unsafe fn first_argument(ctx: &ProbeContext) -> u64 {
    // SAFETY: as in `returned`.
    unsafe { if on_arm() { first_word(ctx) } else { field(ctx, x86::DI as usize) } }
}

/// `regs[0]` of aarch64. In assembly, because the compiler would join this load with the one of x86-64 and compute its
/// place, and the verifier refuses a context pointer that is not constant.
#[inline(always)]
unsafe fn first_word(ctx: &ProbeContext) -> u64 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the verifier checks the place against `struct pt_regs`.
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

/// Whether seccomp ended the call by a signal (`SECCOMP_RET_TRAP`): it was never made, and in the place of its result stands
/// what stood there before the call (`syscall_rollback`). The task then has a filter, and SIGSYS is pending and not blocked
/// (`force_sig_seccomp` unblocks it).
#[inline(always)]
unsafe fn is_trapped(task: u64) -> bool {
    const SIGSYS: u64 = 1 << 30;
    const SECCOMP_MODE_FILTER: u32 = 2;
    // SAFETY: `task` is the current task, typed where the kernel can.
    unsafe {
        ld::<u64>(task, Field::TaskPending) & SIGSYS != 0
            && has(Field::TaskSeccompMode)
            && ld::<u32>(task, Field::TaskSeccompMode) == SECCOMP_MODE_FILTER
            && ld::<u64>(task, Field::TaskBlocked) & SIGSYS == 0
    }
}

/// x86-64, with the tables of i386 and x32.
mod x86 {
    use super::*;

    // Places in `struct pt_regs` (arch/x86/include/uapi/asm/ptrace.h).
    const R10: u64 = 56;
    const R8: u64 = 72;
    pub(super) const AX: u64 = 80;
    const BX: u64 = 40;
    const CX: u64 = 88;
    const DX: u64 = 96;
    const SI: u64 = 104;
    pub(super) const DI: u64 = 112;
    const ORIG_AX: u64 = 120;

    /// `__X32_SYSCALL_BIT`.
    const X32: u32 = 0x4000_0000;
    /// `TS_COMPAT` of `thread_info.status`: the system call came through the 32-bit table.
    const TS_COMPAT: u32 = 2;

    /// The 64-bit table (arch/x86/entry/syscalls/syscall_64.tbl). x32 has the same numbers, and its own ioctl and execs.
    mod nr64 {
        pub(super) const OPEN: u32 = 2;
        pub(super) const IOCTL: u32 = 16;
        pub(super) const CREAT: u32 = 85;
        pub(super) const EXECVE: u32 = 59;
        pub(super) const OPENAT: u32 = 257;
        pub(super) const OPEN_BY_HANDLE_AT: u32 = 304;
        pub(super) const BPF: u32 = 321;
        pub(super) const EXECVEAT: u32 = 322;
        pub(super) const IOCTL_X32: u32 = 514;
        pub(super) const EXECVE_X32: u32 = 520;
        pub(super) const EXECVEAT_X32: u32 = 545;
    }

    /// The table of i386 (arch/x86/entry/syscalls/syscall_32.tbl).
    mod nr32 {
        pub(super) const OPEN: u32 = 5;
        pub(super) const CREAT: u32 = 8;
        pub(super) const EXECVE: u32 = 11;
        pub(super) const IOCTL: u32 = 54;
        pub(super) const OPENAT: u32 = 295;
        pub(super) const OPEN_BY_HANDLE_AT: u32 = 342;
        pub(super) const BPF: u32 = 357;
        pub(super) const EXECVEAT: u32 = 358;
    }

    /// See [`super::select`].
    #[inline(always)]
    pub(super) unsafe fn select(regs: u64, ret: i64) -> Option<(u8, Call)> {
        // SAFETY: `regs` is typed.
        unsafe {
            let nr = typed::<u64>(regs, ORIG_AX) as u32;
            let n = nr & !X32;
            match n {
                nr64::OPENAT | nr64::OPEN | nr64::CREAT | nr64::BPF | OPENAT2 | nr64::OPEN_BY_HANDLE_AT => {}
                nr64::EXECVE | nr64::EXECVEAT | nr64::EXECVE_X32 | nr64::EXECVEAT_X32 if ret < 0 => {}
                nr32::EXECVE | nr32::EXECVEAT if ret < 0 => {}
                nr64::IOCTL | nr64::IOCTL_X32 if typed::<u64>(regs, SI) & 0xffff_ffff == SET_BPF => {}
                nr32::OPEN | nr32::CREAT | nr32::IOCTL | nr32::OPENAT | nr32::BPF | nr32::OPEN_BY_HANDLE_AT => {}
                _ => return None,
            }
            let task = current();
            let compat = ld::<u32>(task, Field::TaskCompat) & TS_COMPAT != 0;
            let asked = if compat { what32(n) } else { what64(n, nr & X32 != 0) };
            if asked == what::OTHER {
                return None;
            }
            // After a trap the number stands in the place of the result.
            let trapped = ret as u32 == nr && is_trapped(task);
            let args = if compat {
                // The kernel does not look at the upper halves, where 64-bit code that makes 32-bit calls may leave
                // anything.
                [low(regs, BX), low(regs, CX), low(regs, DX), low(regs, SI)]
            } else {
                [typed(regs, DI), typed(regs, SI), typed(regs, DX), typed(regs, R10)]
            };
            if asked == what::IOCTL && args[1] & 0xffff_ffff != SET_BPF {
                return None;
            }
            let abi = if compat {
                abi::I386
            } else if nr & X32 != 0 {
                abi::X32
            } else {
                abi::X86_64
            };
            Some((asked, Call { task, args, ret, abi, trapped, regs }))
        }
    }

    /// Where the fifth argument stands.
    #[inline(always)]
    pub(super) fn fifth_argument(abi: u8) -> u64 {
        if abi == abi::I386 { DI } else { R8 }
    }

    /// The lower half of a register.
    #[inline(always)]
    unsafe fn low(regs: u64, at: u64) -> u64 {
        // SAFETY: `regs` is typed.
        u64::from(unsafe { typed::<u32>(regs, at) })
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

    // Places in `struct pt_regs` (arch/arm64/include/asm/ptrace.h): `regs[31]`, sp, pc, pstate, then these.
    const X1: u64 = 8;
    const X2: u64 = 16;
    const X3: u64 = 24;
    pub(super) const X4: u64 = 32;
    /// The first argument: `regs[0]` has the result by now.
    const ORIG_X0: u64 = 272;
    /// The number, of 4 bytes.
    const SYSCALLNO: u64 = 280;

    /// `_TIF_32BIT` of `thread_info.flags` (arch/arm64/include/asm/thread_info.h): the task runs 32-bit code.
    const TIF_32BIT: u32 = 1 << 22;

    /// The table of aarch64 (include/uapi/asm-generic/unistd.h), which has no open and no creat.
    mod nr64 {
        pub(super) const IOCTL: u32 = 29;
        pub(super) const OPENAT: u32 = 56;
        pub(super) const EXECVE: u32 = 221;
        pub(super) const OPEN_BY_HANDLE_AT: u32 = 265;
        pub(super) const BPF: u32 = 280;
        pub(super) const EXECVEAT: u32 = 281;
    }

    /// The table of 32-bit ARM, EABI (arch/arm/tools/syscall.tbl).
    mod nr32 {
        pub(super) const OPEN: u32 = 5;
        pub(super) const CREAT: u32 = 8;
        pub(super) const EXECVE: u32 = 11;
        pub(super) const IOCTL: u32 = 54;
        pub(super) const OPENAT: u32 = 322;
        pub(super) const OPEN_BY_HANDLE_AT: u32 = 371;
        pub(super) const BPF: u32 = 386;
        pub(super) const EXECVEAT: u32 = 387;
    }

    /// See [`super::select`].
    #[inline(always)]
    pub(super) unsafe fn select(regs: u64, ret: i64) -> Option<(u8, Call)> {
        // SAFETY: `regs` is typed.
        unsafe {
            // Older kernels do not extend the sign of a 32-bit caller's result.
            let failed = (ret as i32) < 0;
            let n: u32 = typed(regs, SYSCALLNO);
            match n {
                nr64::OPENAT | nr64::BPF | OPENAT2 | nr64::OPEN_BY_HANDLE_AT => {}
                nr64::EXECVE | nr64::EXECVEAT | nr32::EXECVE | nr32::EXECVEAT if failed => {}
                nr64::IOCTL | nr32::IOCTL if typed::<u64>(regs, X1) & 0xffff_ffff == SET_BPF => {}
                nr32::OPEN | nr32::CREAT | nr32::OPENAT | nr32::BPF | nr32::OPEN_BY_HANDLE_AT => {}
                _ => return None,
            }
            let task = current();
            let compat = ld::<u32>(task, Field::TaskCompat) & TIF_32BIT != 0;
            let asked = if compat { what32(n) } else { what64(n) };
            if asked == what::OTHER {
                return None;
            }
            let first: u64 = typed(regs, ORIG_X0);
            // After a trap the first argument stands in the place of the result.
            let trapped = ret as u32 == first as u32 && is_trapped(task);
            let args = [first, typed(regs, X1), typed(regs, X2), typed(regs, X3)];
            let (args, ret, abi) = if compat {
                (args.map(|arg| arg & 0xffff_ffff), i64::from(ret as i32), abi::ARM)
            } else {
                (args, ret, abi::AARCH64)
            };
            Some((asked, Call { task, args, ret, abi, trapped, regs }))
        }
    }

    #[inline(always)]
    fn what64(n: u32) -> u8 {
        match n {
            nr64::OPENAT => via::OPENAT,
            OPENAT2 => via::OPENAT2,
            nr64::BPF => what::BPF,
            nr64::IOCTL => what::IOCTL,
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
            nr32::OPEN_BY_HANDLE_AT => via::OPEN_BY_HANDLE_AT,
            nr32::EXECVE => what::EXECVE,
            nr32::EXECVEAT => what::EXECVEAT,
            _ => what::OTHER,
        }
    }
}
