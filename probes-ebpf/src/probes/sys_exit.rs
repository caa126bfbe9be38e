//! The end of every system call: tells the calls that make events from all others, and lays their arguments out.

use super::{bpf, exec, field, open};
use crate::maps::{
    BPF_BTF_SCRATCH, BPF_MULTI_SCRATCH, BPF_TP_SCRATCH, EXEC_FAIL_MULTI_SCRATCH, EXEC_FAIL_TP_SCRATCH,
    EXEC_SYS_SCRATCH, OPEN_BTF_SCRATCH, OPEN_MULTI_SCRATCH, OPEN_TP_SCRATCH,
};
use crate::read::{ld, typed};
use crate::task::current;
use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use aya_ebpf::macros::{btf_tracepoint, kprobe, tracepoint};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{BtfTracePointContext, ProbeContext, TracePointContext};
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::Field;
use tracetui_shared::record::bpf::call;
use tracetui_shared::record::open::{abi, via};

// Where registers stand in `struct pt_regs` of x86-64 (ABI: ptrace shows the same).
const R10: u64 = 56;
const R8: u64 = 72;
const AX: u64 = 80;
const BX: u64 = 40;
const CX: u64 = 88;
const DX: u64 = 96;
const SI: u64 = 104;
/// The first argument, of system calls and of functions.
pub const DI: u64 = 112;
const ORIG_AX: u64 = 120;

/// `__X32_SYSCALL_BIT`.
const X32: u32 = 0x4000_0000;
/// `TS_COMPAT` of `thread_info.status`: the system call came through the 32-bit table.
const TS_COMPAT: u32 = 2;
/// `PERF_EVENT_IOC_SET_BPF`.
const SET_BPF: u64 = 0x4004_2408;

/// System call numbers of the 64-bit table (x32 has the same, and its own ioctl and execs).
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

/// System call numbers of the i386 table.
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

/// openat2 has one number in every table.
const OPENAT2: u32 = 437;

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
    /// The registers.
    regs: u64,
}

/// What a number stands for: [`via`], or one of these.
const IS_BPF: u8 = 0x10;
const IS_IOCTL: u8 = 0x11;
const IS_EXECVE: u8 = 0x20;
const IS_EXECVEAT: u8 = 0x21;
const IS_OTHER: u8 = 0xff;

/// `sys_exit(struct pt_regs *regs, long ret)`: after every system call of every table.
#[btf_tracepoint(function = "sys_exit")]
#[inline(always)]
pub fn sys_exit_btf(ctx: BtfTracePointContext) -> i32 {
    let regs: u64 = ctx.arg(0);
    // SAFETY: `regs` is typed by the tracepoint.
    unsafe {
        let Some((what, call)) = select(regs, ctx.arg(1)) else { return 0 };
        if what < IS_BPF {
            open::open(Slot::OpenSysExit, &OPEN_BTF_SCRATCH, &call, what);
        } else if what >= IS_EXECVE {
            failed_exec(Slot::ExecSysExit, &EXEC_SYS_SCRATCH, &call, what);
        } else {
            bpf::bpf(Slot::BpfSysExit, &BPF_BTF_SCRATCH, &call, how_called(what));
        }
    }
    0
}

/// `syscalls:sys_exit_{open,openat,openat2,creat,open_by_handle_at}`: nr, ret. Never for calls of the 32-bit table.
#[tracepoint(category = "syscalls", name = "sys_exit_open")]
#[inline(always)]
pub fn open_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: the place is the record's.
    unsafe { tell_open(Slot::OpenTp, &OPEN_TP_SCRATCH, field(&ctx, RET)) }
}

/// Returns of the functions behind the same system calls, of every table.
#[kprobe]
#[inline(always)]
pub fn open_multi(ctx: ProbeContext) -> u32 {
    // SAFETY: the context is the registers at the return.
    unsafe { tell_open(Slot::OpenMulti, &OPEN_MULTI_SCRATCH, field(&ctx, AX as usize)) }
}

/// `syscalls:sys_exit_{bpf,ioctl}`: nr, ret.
#[tracepoint]
#[inline(always)]
pub fn bpf_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: see `open_tp`.
    unsafe { tell_bpf(Slot::BpfTp, &BPF_TP_SCRATCH, field(&ctx, RET)) }
}

/// Returns of the functions behind the same system calls, of every table.
#[kprobe]
#[inline(always)]
pub fn bpf_multi(ctx: ProbeContext) -> u32 {
    // SAFETY: see `open_multi`.
    unsafe { tell_bpf(Slot::BpfMulti, &BPF_MULTI_SCRATCH, field(&ctx, AX as usize)) }
}

/// `syscalls:sys_exit_{execve,execveat}`: nr, ret. Those that succeed are told by `sched_process_exec`.
#[tracepoint(category = "syscalls", name = "sys_exit_execve")]
#[inline(always)]
pub fn exec_fail_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: see `open_tp`.
    unsafe { tell_failed_exec(Slot::ExecFailTp, &EXEC_FAIL_TP_SCRATCH, field(&ctx, RET)) }
}

/// Returns of the functions behind the same system calls, of every table.
#[kprobe]
#[inline(always)]
pub fn exec_fail_multi(ctx: ProbeContext) -> u32 {
    // SAFETY: see `open_multi`.
    unsafe { tell_failed_exec(Slot::ExecFailMulti, &EXEC_FAIL_MULTI_SCRATCH, field(&ctx, AX as usize)) }
}

#[inline(always)]
unsafe fn tell_open(slot: Slot, scratch: &Array<open::OpenScratch>, ret: i64) -> u32 {
    // SAFETY: see `registers`.
    unsafe {
        if let Some((what, call)) = select(registers(), ret)
            && what < IS_BPF
        {
            open::open(slot, scratch, &call, what);
        }
    }
    0
}

#[inline(always)]
unsafe fn tell_bpf(slot: Slot, scratch: &Array<bpf::BpfScratch>, ret: i64) -> u32 {
    // SAFETY: see `registers`.
    unsafe {
        if let Some((what, call)) = select(registers(), ret)
            && what >= IS_BPF
            && what < IS_EXECVE
        {
            bpf::bpf(slot, scratch, &call, how_called(what));
        }
    }
    0
}

#[inline(always)]
unsafe fn tell_failed_exec(slot: Slot, scratch: &Array<exec::ExecScratch>, ret: i64) -> u32 {
    // SAFETY: see `registers`.
    unsafe {
        if let Some((what, call)) = select(registers(), ret)
            && what >= IS_EXECVE
        {
            failed_exec(slot, scratch, &call, what);
        }
    }
    0
}

/// Tells of a failed exec, unless it only asked whether one would be allowed (`AT_EXECVE_CHECK`, 6.14+).
#[inline(always)]
unsafe fn failed_exec(slot: Slot, scratch: &Array<exec::ExecScratch>, call: &Call, what: u8) {
    const AT_EXECVE_CHECK: u64 = 0x10000;
    const AT_FDCWD: i32 = -100;
    let [a, b, c, _] = call.args;
    // SAFETY: `call.regs` is typed.
    unsafe {
        let asked = if what == IS_EXECVEAT {
            let flags: u64 = typed(call.regs, if call.abi == abi::I386 { DI } else { R8 });
            if flags & AT_EXECVE_CHECK != 0 {
                return;
            }
            exec::Asked { dirfd: a as i32, path: b, argv: c }
        } else {
            exec::Asked { dirfd: AT_FDCWD, path: a, argv: b }
        };
        exec::failed(slot, scratch, call, &asked);
    }
}

/// Where the result stands in the record of a `sys_exit_*` tracepoint: after the common fields and the number.
const RET: usize = 16;

/// The registers with which the current task entered the kernel (5.15+).
#[inline(always)]
unsafe fn registers() -> u64 {
    // SAFETY: the helper takes the current task, which is typed on every kernel that has the helper.
    unsafe { bpf_task_pt_regs(aya_ebpf::helpers::generated::bpf_get_current_task_btf()) as u64 }
}

fn how_called(what: u8) -> u8 {
    if what == IS_IOCTL { call::PERF_IOCTL } else { call::BPF }
}

/// The call, when it is one that makes events. Most are not: they leave after a look at the number.
#[inline(always)]
unsafe fn select(regs: u64, ret: i64) -> Option<(u8, Call)> {
    // SAFETY: `regs` is typed: by the tracepoint, or by `bpf_task_pt_regs`.
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
        let compat = ld::<u32>(task, Field::TaskStatus) & TS_COMPAT != 0;
        let what = if compat { what32(n) } else { what64(n, nr & X32 != 0) };
        if what == IS_OTHER || ret as u32 == nr && is_trapped(task) {
            return None;
        }
        let args = if compat {
            // What stands above in the registers, 64-bit code that calls this way may leave there, the kernel does not see.
            [low(regs, BX), low(regs, CX), low(regs, DX), low(regs, SI)]
        } else {
            [typed(regs, DI), typed(regs, SI), typed(regs, DX), typed(regs, R10)]
        };
        if what == IS_IOCTL && args[1] & 0xffff_ffff != SET_BPF {
            return None;
        }
        let abi = if compat {
            abi::I386
        } else if nr & X32 != 0 {
            abi::X32
        } else {
            abi::X86_64
        };
        Some((what, Call { task, args, ret, abi, regs }))
    }
}

/// The lower half of a register.
#[inline(always)]
unsafe fn low(regs: u64, at: u64) -> u64 {
    // SAFETY: as in `select`.
    u64::from(unsafe { typed::<u32>(regs, at) })
}

/// Whether seccomp ended the call by a signal (`SECCOMP_RET_TRAP`): it was never made, and where results stand there is its
/// number again (`syscall_rollback`).
#[inline(always)]
unsafe fn is_trapped(task: u64) -> bool {
    const SIGSYS: u64 = 1 << 30;
    // SAFETY: as in `select`.
    unsafe { ld::<u64>(task, Field::TaskPending) & SIGSYS != 0 }
}

#[inline(always)]
fn what64(n: u32, x32: bool) -> u8 {
    match n {
        nr64::OPENAT => via::OPENAT,
        nr64::OPEN => via::OPEN,
        nr64::CREAT => via::CREAT,
        OPENAT2 => via::OPENAT2,
        nr64::BPF => IS_BPF,
        nr64::IOCTL | nr64::IOCTL_X32 => IS_IOCTL,
        nr64::OPEN_BY_HANDLE_AT => via::OPEN_BY_HANDLE_AT,
        nr64::EXECVE if !x32 => IS_EXECVE,
        nr64::EXECVEAT if !x32 => IS_EXECVEAT,
        nr64::EXECVE_X32 if x32 => IS_EXECVE,
        nr64::EXECVEAT_X32 if x32 => IS_EXECVEAT,
        _ => IS_OTHER,
    }
}

#[inline(always)]
fn what32(n: u32) -> u8 {
    match n {
        nr32::OPENAT => via::OPENAT,
        nr32::OPEN => via::OPEN,
        nr32::CREAT => via::CREAT,
        OPENAT2 => via::OPENAT2,
        nr32::BPF => IS_BPF,
        nr32::IOCTL => IS_IOCTL,
        nr32::OPEN_BY_HANDLE_AT => via::OPEN_BY_HANDLE_AT,
        nr32::EXECVE => IS_EXECVE,
        nr32::EXECVEAT => IS_EXECVEAT,
        _ => IS_OTHER,
    }
}
