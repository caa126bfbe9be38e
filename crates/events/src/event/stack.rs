//! The kernel stack of an event. The frame has its addresses. Their names are looked up for display, as of the time of the event.

use super::{EventContext, Tables};
use crate::frame::host::KernelSymbol;
use tracetui_shared::record::stack::MOST;
use tracetui_shared::time::BootNanos;

#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    addresses: &'a [u8],
    at: BootNanos,
    world: &'a dyn Tables,
}

/// A return address, and the symbol that contained the call.
#[derive(Clone, Copy, Debug)]
pub struct StackCall<'a> {
    pub address: u64,
    /// The symbol; `None` if unknown.
    pub symbol: Option<&'a KernelSymbol>,
}

impl StackCall<'_> {
    /// The distance of the address from the start of the symbol; 0 without a symbol.
    pub fn offset(&self) -> u64 {
        self.symbol.map_or(0, |symbol| self.address - symbol.addr.0)
    }

    /// Appends `name+0x1a2 [module]`, or the address. Raw bytes, not escaped.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Some(symbol) = self.symbol else {
            return out.extend_from_slice(format!("{:#018x}", self.address).as_bytes());
        };
        out.extend_from_slice(&symbol.name);
        out.extend_from_slice(format!("+{:#x}", self.offset()).as_bytes());
        if !symbol.owner.is_empty() {
            out.extend_from_slice(b" [");
            out.extend_from_slice(&symbol.owner);
            out.push(b']');
        }
    }
}

impl<'a> Stack<'a> {
    /// The stack of an event; `None` without one.
    pub fn of(seen: &EventContext<'a>) -> Option<Stack<'a>> {
        let addresses = seen.event.stack.filter(|addresses| !addresses.is_empty())?;
        Some(Stack { addresses, at: seen.event.header.time, world: seen.world })
    }

    /// The calls, innermost first.
    pub fn calls(&self) -> impl Iterator<Item = StackCall<'a>> + use<'a> {
        let Stack { addresses, at, world } = *self;
        addresses.as_chunks().0.iter().take(MOST).map(move |address| {
            let address = u64::from_le_bytes(*address);
            // The address after a call may already belong to the next function.
            let symbol = world.symbol(address.wrapping_sub(1), at);
            StackCall { address, symbol: symbol.filter(|symbol| address >= symbol.addr.0) }
        })
    }

    /// The calls as text: [`StackCall::write`]. Bytes that are not UTF-8 become U+FFFD.
    pub fn texts(&self) -> Vec<String> {
        let text = |call: StackCall<'_>| {
            let mut text = Vec::new();
            call.write(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        };
        self.calls().map(text).collect()
    }

    /// Whether it has more calls than are shown.
    pub fn is_cut(&self) -> bool {
        self.addresses.len() > MOST * 8
    }
}
