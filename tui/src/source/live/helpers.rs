//! The helpers that the probes look for in programs.

use crate::source::host::bpf::BASE;
use crate::source::host::kallsyms;
use crate::symbols::{Snapshot, Unavailable};
use tracetui_shared::id::KernelAddr;
use tracetui_shared::record::bpf::HELPERS;

/// The immediates of calls of [`HELPERS`]; 0 for a helper that the kernel does not have.
pub(super) type Calls = [u32; HELPERS.len()];

/// Reads the addresses of the helpers from /proc/kallsyms. Takes some 60 ms.
///
/// # Errors
/// If it cannot be read, or the addresses of the kernel are hidden (`kptr_restrict`, no CAP_SYSLOG).
pub(super) fn calls() -> Result<Calls, Unavailable> {
    kallsyms::snapshot().map(|symbols| calls_of(&symbols))
}

/// The immediates of the calls, by the symbols of the kernel.
pub(super) fn calls_of(symbols: &Snapshot) -> Calls {
    let base = symbols.kernel_symbol(BASE);
    // The immediate has 32 bits; the kernel's text is smaller.
    let call = |(helper, base): (KernelAddr, KernelAddr)| helper.0.wrapping_sub(base.0) as u32;
    HELPERS.map(|helper| symbols.kernel_symbol(&format!("bpf_{helper}")).zip(base).map_or(0, call))
}
