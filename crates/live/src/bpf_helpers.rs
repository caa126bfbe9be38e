//! The helpers that the probes look for in programs.

use std::collections::BTreeMap;
use std::io;
use tracetui_events::symbols::Table;
use tracetui_host::symbol_address;
use tracetui_inspect::BASE;
use tracetui_shared::helper::{FUNCTIONS, functions};
use tracetui_shared::id::KernelAddr;

/// The bit of the helper that a call with an immediate calls. The last element is [`KNOWN`].
pub(super) type Calls = Vec<(u32, u64)>;

/// The immediate of no helper, which says that the others are known.
const KNOWN: (u32, u64) = (0, 0);

/// The immediates according to the kernel's symbols; empty if they are hidden.
pub(super) fn calls(symbols: &Table) -> Calls {
    with_bits(symbols.addresses(names())).unwrap_or_default()
}

/// The immediates, found without reading all symbols.
pub(super) fn ask() -> io::Result<Calls> {
    // Every kernel has `BASE`. If its address is missing, the kernel hides addresses.
    with_bits(symbol_address::addresses(names())?).ok_or(io::ErrorKind::NotFound.into())
}

/// The functions of the helpers, and [`BASE`].
fn names() -> [&'static str; FUNCTIONS + 1] {
    let mut names = [BASE; FUNCTIONS + 1];
    names.iter_mut().zip(functions()).for_each(|(name, (function, _))| *name = function);
    names
}

/// `addresses`: of [`names`]. `None` if the kernel does not have the function. Returns `None` without the base.
fn with_bits([addresses @ .., base]: [Option<KernelAddr>; FUNCTIONS + 1]) -> Option<Calls> {
    let base = base?;
    let mut calls: BTreeMap<u32, u64> = BTreeMap::new();
    for (address, (_, helper)) in addresses.into_iter().zip(functions()) {
        // The immediate has 32 bits, which suffice because the kernel's text is smaller.
        if let Some(address) = address {
            *calls.entry(address.0.wrapping_sub(base.0) as u32).or_default() |= 1 << helper;
        }
    }
    Some(calls.into_iter().chain([KNOWN]).collect())
}
