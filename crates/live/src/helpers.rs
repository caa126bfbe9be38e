//! The helpers that the probes look for in programs.

use std::io;
use tracetui_events::symbols::Snapshot;
use tracetui_host::symbol;
use tracetui_inspect::BASE;
use tracetui_shared::id::KernelAddr;
use tracetui_shared::record::bpf::HELPERS;

/// The immediates in calls of [`HELPERS`]. 0 for a helper that the kernel does not have.
pub(super) type Calls = [u32; HELPERS.len()];

/// The immediates according to the kernel's symbols.
pub(super) fn calls(symbols: &Snapshot) -> Calls {
    let base = symbols.kernel_symbol(BASE);
    HELPERS.map(|helper| call(base, symbols.kernel_symbol(&function(helper))))
}

/// The immediates, found without reading all symbols.
pub(super) fn ask() -> io::Result<Calls> {
    let names = HELPERS.map(function);
    // Every kernel has `BASE`. If its address is missing, the kernel hides addresses.
    let mut asked = [BASE; HELPERS.len() + 1];
    asked.iter_mut().zip(&names).for_each(|(asked, name)| *asked = name);
    let [helpers @ .., base] = symbol::addresses(asked)?;
    let base = base.ok_or(io::ErrorKind::NotFound)?;
    Ok(helpers.map(|helper| call(Some(base), helper)))
}

fn function(helper: &str) -> String {
    format!("bpf_{helper}")
}

/// The immediate in a call of a helper. It has 32 bits, which suffice because the kernel's text is smaller.
fn call(base: Option<KernelAddr>, helper: Option<KernelAddr>) -> u32 {
    helper.zip(base).map_or(0, |(helper, base)| helper.0.wrapping_sub(base.0) as u32)
}
