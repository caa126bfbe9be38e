//! The helpers that the probes look for in programs.

use std::collections::BTreeMap;
use std::io;
use tracetui_events::symbols::Snapshot;
use tracetui_host::symbol;
use tracetui_inspect::BASE;
use tracetui_shared::helper::{FUNCTIONS, functions};
use tracetui_shared::id::KernelAddr;

/// The bit of the helper that a call with an immediate calls. The last element is [`KNOWN`].
pub(super) type Calls = Vec<(u32, u64)>;

/// The immediate of no helper, which says that the others are known.
const KNOWN: (u32, u64) = (0, 0);

/// The immediates according to the kernel's symbols; empty if they are hidden.
pub(super) fn calls(symbols: &Snapshot) -> Calls {
    let addresses = functions().map(|(function, _)| symbols.kernel_symbol(function));
    symbols.kernel_symbol(BASE).map_or_else(Vec::new, |base| with_bits(base, addresses))
}

/// The immediates, found without reading all symbols.
pub(super) fn ask() -> io::Result<Calls> {
    // Every kernel has `BASE`. If its address is missing, the kernel hides addresses.
    let mut asked = [BASE; FUNCTIONS + 1];
    asked.iter_mut().zip(functions()).for_each(|(asked, (function, _))| *asked = function);
    let [addresses @ .., base] = symbol::addresses(asked)?;
    Ok(with_bits(base.ok_or(io::ErrorKind::NotFound)?, addresses.into_iter()))
}

/// `addresses`: of each function. `None` if the kernel does not have it.
fn with_bits(base: KernelAddr, addresses: impl Iterator<Item = Option<KernelAddr>>) -> Calls {
    let mut calls: BTreeMap<u32, u64> = BTreeMap::new();
    for (address, (_, helper)) in addresses.zip(functions()) {
        // The immediate has 32 bits, which suffice because the kernel's text is smaller.
        if let Some(address) = address {
            *calls.entry(address.0.wrapping_sub(base.0) as u32).or_default() |= 1 << helper;
        }
    }
    calls.into_iter().chain([KNOWN]).collect()
}
