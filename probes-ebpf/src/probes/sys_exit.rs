//! The ends of system calls.

use crate::call;
use crate::context::Context;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

/// The end of a system call ([`call::ended`]).
#[btf_tracepoint]
#[inline(always)]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    if let Some(call) = call::ended(Context::of(&ctx)) {
        super::ended(&call);
    }
    0
}
