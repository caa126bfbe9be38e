//! The exit of every system call.

use crate::call;
use aya_ebpf::EbpfContext;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

/// `sys_exit(struct pt_regs *regs, long ret)`
/// ([trace/events/syscalls.h](https://elixir.bootlin.com/linux/v6.12/source/include/trace/events/syscalls.h)): runs
/// after every system call of every table.
#[btf_tracepoint]
#[inline(always)]
pub fn sys_exit_btf(ctx: BtfTracePointContext) -> i32 {
    if let Some(call) = call::select(ctx.as_ptr(), ctx.arg(0), ctx.arg(1)) {
        super::ended(&call);
    }
    0
}
