//! One file a kind: thin programs at tracepoints, and the body that they share.

pub mod bpf;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod open;
mod sys_exit;
mod tasks;
pub mod uring;

use aya_ebpf::EbpfContext;
use core::ptr::read_volatile;

/// A field of a tracepoint's record at a constant place: one load, where aya's `read_at` is a helper call.
#[inline(always)]
pub unsafe fn field<T: Copy>(ctx: &impl EbpfContext, at: usize) -> T {
    // SAFETY: the verifier checks the place against the record's size.
    unsafe { read_volatile(ctx.as_ptr().cast::<u8>().add(at).cast()) }
}
