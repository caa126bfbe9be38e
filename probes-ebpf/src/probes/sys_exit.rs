//! The exit of every system call. Each call that makes an event is passed to the code of its kind.

use super::bpf::{BPF_BTF_SCRATCH, BPF_MULTI_SCRATCH, BPF_TP_SCRATCH};
use super::exec::{EXEC_FAIL_MULTI_SCRATCH, EXEC_FAIL_TP_SCRATCH, EXEC_SYS_SCRATCH};
use super::open::{OPEN_BTF_SCRATCH, OPEN_MULTI_SCRATCH, OPEN_TP_SCRATCH};
use super::{bpf, exec, open};
use crate::call::{self, Call, returned, what};
use crate::read::field;
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_task_pt_regs;
use aya_ebpf::macros::{btf_tracepoint, kprobe, tracepoint};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{BtfTracePointContext, ProbeContext, TracePointContext};
use core::ffi::c_void;
use tracetui_shared::kind::Slot;
use tracetui_shared::record::bpf::call as how;

/// `sys_exit(struct pt_regs *regs, long ret)`
/// ([trace/events/syscalls.h](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/syscalls.h)): runs
/// after every system call of every table.
#[btf_tracepoint]
#[inline(always)]
pub fn sys_exit_btf(ctx: BtfTracePointContext) -> i32 {
    let regs: u64 = ctx.arg(0);
    // SAFETY: `regs` is an argument of the tracepoint, a BTF pointer to `struct pt_regs`.
    unsafe {
        let Some((asked, call)) = call::select(ctx.as_ptr(), regs, ctx.arg(1)) else { return 0 };
        if asked < what::BPF {
            open::open(Slot::OpenSysExit, &OPEN_BTF_SCRATCH, &call, asked);
        } else if asked >= what::EXECVE {
            failed_exec(Slot::ExecSysExit, &EXEC_SYS_SCRATCH, &call, asked);
        } else {
            bpf::bpf::<true>(Slot::BpfSysExit, &BPF_BTF_SCRATCH, &call, how_called(asked, &call));
        }
    }
    0
}

/// `syscalls:sys_exit_{open,openat,openat2,creat,open_by_handle_at}`
/// ([`SYSCALL_METADATA`](https://elixir.bootlin.com/linux/v6.12/source/include/linux/syscalls.h)): `int __syscall_nr`,
/// `long ret`. Does not run for calls of the 32-bit table.
#[tracepoint]
#[inline(always)]
pub fn open_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: `RET` is an offset in the tracepoint's record, which the verifier checks.
    unsafe { open_returned(Slot::OpenTp, &OPEN_TP_SCRATCH, ctx.as_ptr(), field(&ctx, RET)) }
}

/// Return of the functions behind the same system calls, of every table:
/// `long __x64_sys_openat(const struct pt_regs *regs)` and its like (`syscall_wrapper.h` of
/// [x86](https://elixir.bootlin.com/linux/v6.12/source/arch/x86/include/asm/syscall_wrapper.h) and
/// [arm64](https://elixir.bootlin.com/linux/v6.12/source/arch/arm64/include/asm/syscall_wrapper.h)). Attached by a
/// kprobe_multi link
/// ([`kprobe_multi_link_prog_run`](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/bpf_trace.c)).
#[kprobe]
#[inline(always)]
pub fn open_multi(ctx: ProbeContext) -> u32 {
    // SAFETY: the context is the registers at the function's return.
    unsafe { open_returned(Slot::OpenMulti, &OPEN_MULTI_SCRATCH, ctx.as_ptr(), returned(&ctx)) }
}

/// `syscalls:sys_exit_{bpf,ioctl,setsockopt,seccomp,prctl}`: `int __syscall_nr`, `long ret`.
#[tracepoint]
#[inline(always)]
pub fn bpf_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: `RET` is an offset in the tracepoint's record, which the verifier checks.
    unsafe { bpf_returned::<true>(Slot::BpfTp, &BPF_TP_SCRATCH, ctx.as_ptr(), field(&ctx, RET)) }
}

/// Return of the functions behind the same system calls, of every table:
/// `long __x64_sys_bpf(const struct pt_regs *regs)` and its like. Attached as [`open_multi`] is.
#[kprobe]
#[inline(always)]
pub fn bpf_multi(ctx: ProbeContext) -> u32 {
    // SAFETY: the context is the registers at the function's return.
    unsafe { bpf_returned::<false>(Slot::BpfMulti, &BPF_MULTI_SCRATCH, ctx.as_ptr(), returned(&ctx)) }
}

/// `syscalls:sys_exit_{execve,execveat}`: `int __syscall_nr`, `long ret`. Execs that succeed are reported at
/// `sched_process_exec`.
#[tracepoint]
#[inline(always)]
pub fn exec_fail_tp(ctx: TracePointContext) -> u32 {
    // SAFETY: `RET` is an offset in the tracepoint's record, which the verifier checks.
    unsafe { exec_returned(Slot::ExecFailTp, &EXEC_FAIL_TP_SCRATCH, ctx.as_ptr(), field(&ctx, RET)) }
}

/// Return of the functions behind the same system calls, of every table:
/// `long __x64_sys_execve(const struct pt_regs *regs)` and its like. Attached as [`open_multi`] is.
#[kprobe]
#[inline(always)]
pub fn exec_fail_multi(ctx: ProbeContext) -> u32 {
    // SAFETY: the context is the registers at the function's return.
    unsafe { exec_returned(Slot::ExecFailMulti, &EXEC_FAIL_MULTI_SCRATCH, ctx.as_ptr(), returned(&ctx)) }
}

#[inline(always)]
unsafe fn open_returned(slot: Slot, scratch: &Array<open::OpenScratch>, context: *mut c_void, ret: i64) -> u32 {
    // SAFETY: `registers` returns a BTF pointer to the `struct pt_regs` of the current task.
    unsafe {
        if let Some((asked, call)) = call::select(context, registers(), ret)
            && asked < what::BPF
        {
            open::open(slot, scratch, &call, asked);
        }
    }
    0
}

#[inline(always)]
unsafe fn bpf_returned<const FURTHER: bool>(
    slot: Slot,
    scratch: &Array<bpf::BpfScratch>,
    context: *mut c_void,
    ret: i64,
) -> u32 {
    // SAFETY: `registers` returns a BTF pointer to the `struct pt_regs` of the current task.
    unsafe {
        if let Some((asked, call)) = call::select(context, registers(), ret)
            && (what::BPF..what::EXECVE).contains(&asked)
        {
            bpf::bpf::<FURTHER>(slot, scratch, &call, how_called(asked, &call));
        }
    }
    0
}

#[inline(always)]
unsafe fn exec_returned(slot: Slot, scratch: &Array<exec::ExecScratch>, context: *mut c_void, ret: i64) -> u32 {
    // SAFETY: `registers` returns a BTF pointer to the `struct pt_regs` of the current task.
    unsafe {
        if let Some((asked, call)) = call::select(context, registers(), ret)
            && asked >= what::EXECVE
        {
            failed_exec(slot, scratch, &call, asked);
        }
    }
    0
}

/// Reports a failed exec, unless the call only checks whether an exec is permitted (`AT_EXECVE_CHECK`, 6.14+,
/// include/uapi/linux/fcntl.h).
#[inline(always)]
unsafe fn failed_exec(slot: Slot, scratch: &Array<exec::ExecScratch>, call: &Call, asked: u8) {
    const AT_EXECVE_CHECK: u64 = 0x10000;
    const AT_FDCWD: i32 = -100;
    let [a, b, c, _] = call.args;
    // SAFETY: `call.regs` is a BTF pointer to `struct pt_regs`; `call.task` is the current task.
    unsafe {
        let asked = if asked == what::EXECVEAT {
            if call::fifth_argument(call) & AT_EXECVE_CHECK != 0 {
                return;
            }
            exec::Asked { dirfd: a as i32, path: b, argv: c }
        } else {
            exec::Asked { dirfd: AT_FDCWD, path: a, argv: b }
        };
        exec::failed(slot, scratch, call, &asked);
    }
}

/// Offset in bytes of the result in the record of a `sys_exit_*` tracepoint: after the common fields and the number
/// (`struct syscall_trace_exit`,
/// [`kernel/trace/trace.h`](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/trace.h)).
const RET: usize = 16;

/// The registers with which the current task entered the kernel
/// ([`bpf_task_pt_regs`](https://elixir.bootlin.com/linux/v5.15/source/kernel/trace/bpf_trace.c), 5.15+).
#[inline(always)]
unsafe fn registers() -> u64 {
    // SAFETY: the helper takes the current task, a BTF pointer on every kernel that has the helper.
    unsafe { bpf_task_pt_regs(aya_ebpf::helpers::generated::bpf_get_current_task_btf()) as u64 }
}

fn how_called(asked: u8, call: &Call) -> u8 {
    match asked {
        what::IOCTL if call.args[1] & 0xffff_ffff == call::SET_BPF => how::PERF_IOCTL,
        what::IOCTL => how::TUN_IOCTL,
        what::SETSOCKOPT => how::SETSOCKOPT,
        what::SECCOMP | what::PRCTL => how::SECCOMP,
        _ => how::BPF,
    }
}
