//! The helpers that the probes look for in programs.

use crate::source::host::address::Addresses;
use crate::source::host::bpf::BASE;
use crate::symbols::Snapshot;
use tracetui_shared::record::bpf::HELPERS;

/// The immediates of calls of [`HELPERS`]; 0 for a helper that the kernel does not have.
pub(super) type Calls = [u32; HELPERS.len()];

/// The immediates, as the kernel itself knows them; `None` if it does not say.
pub(super) fn known() -> Option<Calls> {
    let addresses = Addresses::load().ok()?;
    calls(|name| addresses.of(name))
}

/// The immediates, by the symbols of the kernel.
pub(super) fn listed(symbols: &Snapshot) -> Option<Calls> {
    calls(|name| symbols.kernel_symbol(name).map(|address| address.0))
}

/// `address`: that of a symbol.
fn calls(address: impl Fn(&str) -> Option<u64>) -> Option<Calls> {
    let base = address(BASE)?;
    // The immediate has 32 bits; the kernel's text is smaller.
    Some(HELPERS.map(|helper| address(&format!("bpf_{helper}")).map_or(0, |helper| helper.wrapping_sub(base) as u32)))
}
