//! The kernel stack of an event. The addresses are those of the frame; their names are looked up when they are shown, as of
//! the time of the event.

use super::describe::{Field, Shape, Value, Why};
use super::{Body, EventContext, Tables};
use crate::frame::host::KernelSymbol;
use tracetui_shared::record::stack::MOST;
use tracetui_shared::time::BootNanos;

/// A kernel stack.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    addresses: &'a [u8],
    at: BootNanos,
    world: &'a dyn Tables,
}

/// A return address, and the symbol that contained the call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The address.
    pub address: u64,
    /// The symbol; `None` if it is not known.
    pub symbol: Option<&'a KernelSymbol>,
}

impl Call<'_> {
    /// The distance of the address from the start of the symbol; 0 without one.
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

    /// The calls, the innermost first.
    pub fn calls(&self) -> impl Iterator<Item = Call<'a>> + use<'a> {
        let Stack { addresses, at, world } = *self;
        addresses.as_chunks().0.iter().take(MOST).map(move |address| {
            let address = u64::from_le_bytes(*address);
            // The address after a call may be that of the next function.
            let symbol = world.symbol(address.wrapping_sub(1), at);
            Call { address, symbol: symbol.filter(|symbol| address >= symbol.addr.0) }
        })
    }

    /// The calls as text: [`Call::write`]. Bytes that are not UTF-8 become U+FFFD.
    pub fn texts(&self) -> Vec<String> {
        let text = |call: Call<'_>| {
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

/// The kernel addresses after a record. Of an event without a stack, none were collected.
fn stack<'a>(seen: &EventContext<'a>) -> Value<'a> {
    match (Stack::of(seen), seen.event.body) {
        (Some(stack), _) => Value::Stack(stack),
        (None, _) if seen.event.stack.is_some() => Value::Unknown(Why::Fault),
        (None, Body::Bpf(_)) => Value::Unknown(Why::NotCollected),
        (None, _) => Value::Omitted,
    }
}

/// The field, of every kind that probes make.
pub(crate) const STACK: Field = Field::new(
    "stack",
    Shape::List,
    "The kernel stack, innermost call first: bpf_get_stack in the probe. The names are those at the time of the event.",
    stack,
);
