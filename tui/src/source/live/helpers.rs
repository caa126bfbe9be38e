//! The helpers that the probes look for in programs.

use crate::source::host::bpf::BASE;
use crate::symbols::Snapshot;
use tracetui_shared::id::KernelAddr;
use tracetui_shared::record::bpf::HELPERS;

/// The immediates of calls of [`HELPERS`]; 0 for a helper that the kernel does not have.
pub(super) type Calls = [u32; HELPERS.len()];

/// The immediates, by the symbols of the kernel.
pub(super) fn calls(symbols: &Snapshot) -> Calls {
    let base = symbols.kernel_symbol(BASE);
    // The immediate has 32 bits; the kernel's text is smaller.
    let call = |(helper, base): (KernelAddr, KernelAddr)| helper.0.wrapping_sub(base.0) as u32;
    HELPERS.map(|helper| symbols.kernel_symbol(&format!("bpf_{helper}")).zip(base).map_or(0, call))
}
