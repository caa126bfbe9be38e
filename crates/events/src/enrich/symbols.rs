//! The kernel symbols of stacks, with their times.

use crate::frame::Batch;
use crate::frame::host::{HostFrame, KernelSymbol};
use crate::limits;
use std::collections::BTreeMap;
use tracetui_shared::time::BootNanos;

/// The symbols that frames contained. If a symbol does not fit into memory, its addresses have no name.
#[derive(Debug, Default)]
pub struct StackSymbols {
    /// Symbols by start. Several at one address are in the order of arrival.
    places: BTreeMap<u64, Vec<KernelSymbol>>,
    bytes: usize,
    largest: u64,
}

impl StackSymbols {
    pub fn find(&self, address: u64, at: BootNanos) -> Option<&KernelSymbol> {
        // Another symbol that begins below may have occupied the memory at that time.
        let near = self.places.range(address.saturating_sub(self.largest)..=address).rev();
        let found = near.take(limits::STACK_SYMBOLS_NEAR).flat_map(|(_, symbols)| symbols).filter(|symbol| {
            address - symbol.addr.0 < symbol.size && symbol.from <= at && (symbol.to.0 == 0 || at < symbol.to)
        });
        // The end of an earlier symbol may be unknown.
        found.max_by_key(|symbol| symbol.from)
    }

    /// The memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a symbol. It replaces the one with the same start and `from`.
    pub(super) fn add(&mut self, symbol: KernelSymbol) {
        let bytes = symbol.bytes();
        let symbols = self.places.entry(symbol.addr.0).or_default();
        let at = symbols.iter().position(|known| known.from == symbol.from);
        let before = at.and_then(|at| symbols.get(at)).map_or(0, KernelSymbol::bytes);
        if self.bytes - before + bytes > limits::STACK_SYMBOLS {
            if symbols.is_empty() {
                self.places.remove(&symbol.addr.0);
            }
            return;
        }
        self.bytes = self.bytes - before + bytes;
        self.largest = self.largest.max(symbol.size.min(limits::IMAGE_LENGTH.into()));
        match at.and_then(|at| symbols.get_mut(at)) {
            Some(known) => *known = symbol,
            None => symbols.push(symbol),
        }
    }

    pub(super) fn write_state(&self, time: BootNanos, out: &mut Batch) {
        self.places.values().flatten().for_each(|symbol| HostFrame::KernelSymbol(symbol.clone()).push(time, out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracetui_shared::id::KernelAddr;

    fn symbol(addr: u64, size: u64, from: u64, to: u64, name: &str) -> KernelSymbol {
        KernelSymbol {
            addr: KernelAddr(addr),
            size,
            from: BootNanos(from),
            to: BootNanos(to),
            name: name.into(),
            owner: b"bpf".to_vec(),
        }
    }

    #[test]
    fn an_address_has_the_name_of_its_time() {
        let mut symbols = StackSymbols::default();
        symbols.add(symbol(0x1000, 0x100, 10, 0, "a"));
        let name = |symbols: &StackSymbols, address, at| symbols.find(address, BootNanos(at)).map(|s| s.name.clone());
        assert_eq!(name(&symbols, 0x10ff, 10), Some(b"a".to_vec()));
        assert_eq!(name(&symbols, 0x1100, 10), None);
        assert_eq!(name(&symbols, 0x1000, 9), None);
        // The symbol ended and others came: one at its address, one that begins below.
        symbols.add(symbol(0x1000, 0x100, 10, 20, "a"));
        symbols.add(symbol(0x1000, 0x40, 30, 40, "b"));
        symbols.add(symbol(0x0800, 0x1000, 40, 0, "c"));
        let names = [10, 19, 20, 30, 39, 40].map(|at| name(&symbols, 0x1020, at));
        let [a, b, c] = ["a", "b", "c"].map(|name| Some(name.as_bytes().to_vec()));
        assert_eq!(names, [a.clone(), a, None, b.clone(), b, c]);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut symbols = StackSymbols::default();
        let count = limits::STACK_SYMBOLS as u64 / 64;
        for at in 0..count {
            symbols.add(symbol(at << 8, 0x100, 0, 0, "some_function"));
        }
        assert!(symbols.bytes() <= limits::STACK_SYMBOLS);
        assert!(symbols.find(0, BootNanos(1)).is_some());
        assert!(symbols.find((count - 1) << 8, BootNanos(1)).is_none());
        assert!(symbols.places.values().all(|symbols| !symbols.is_empty()));
    }
}
