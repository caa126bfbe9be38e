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
    /// The memory in use, in bytes.
    pub(super) bytes: usize,
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

    /// Changes the symbols so that [`find`](Self::find) returns this symbol, or none. Returns the changed symbols, without those that
    /// do not fit into memory.
    pub fn correct(&mut self, address: u64, at: BootNanos, symbol: Option<&KernelSymbol>) -> Vec<KernelSymbol> {
        let known = self.find(address, at);
        let is_right = match (known, symbol) {
            (Some(a), Some(b)) => a.addr == b.addr && a.name == b.name && a.owner == b.owner,
            (None, None) => true,
            _ => false,
        };
        if is_right {
            return Vec::new();
        }
        let ended = known.map(|known| KernelSymbol { to: at.max(BootNanos(1)), ..known.clone() });
        let mut changed: Vec<_> = ended.into_iter().chain(symbol.cloned()).collect();
        changed.retain(|symbol| self.add(symbol.clone()));
        changed
    }

    /// Adds a symbol. It replaces the one with the same start and `from`. Returns whether it fits into memory.
    pub(super) fn add(&mut self, symbol: KernelSymbol) -> bool {
        let bytes = symbol.bytes();
        let symbols = self.places.entry(symbol.addr.0).or_default();
        let at = symbols.iter().position(|known| known.from == symbol.from);
        let before = at.and_then(|at| symbols.get(at)).map_or(0, KernelSymbol::bytes);
        if self.bytes - before + bytes > limits::STACK_SYMBOLS {
            if symbols.is_empty() {
                self.places.remove(&symbol.addr.0);
            }
            return false;
        }
        self.bytes = self.bytes - before + bytes;
        self.largest = self.largest.max(symbol.size.min(limits::IMAGE_LENGTH.into()));
        match at.and_then(|at| symbols.get_mut(at)) {
            Some(known) => *known = symbol,
            None => symbols.push(symbol),
        }
        true
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
    fn an_address_has_the_name_of_its_time_also_for_a_reader() {
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
        // What does not fit is left out.
        let mut symbols = StackSymbols::default();
        let count = limits::STACK_SYMBOLS as u64 / 64;
        for at in 0..count {
            symbols.add(symbol(at << 8, 0x100, 0, 0, "some_function"));
        }
        let further = symbol(count << 8, 0x100, 0, 0, "some_function");
        assert!(symbols.correct(count << 8, BootNanos(1), Some(&further)).is_empty());
        assert!(symbols.bytes <= limits::STACK_SYMBOLS);
        assert!(symbols.find(0, BootNanos(1)).is_some());
        assert!(symbols.find((count - 1) << 8, BootNanos(1)).is_none());
        assert!(symbols.places.values().all(|symbols| !symbols.is_empty()));
        // A reader that gets the changes finds the same.
        let (mut symbols, mut reader) = (StackSymbols::default(), StackSymbols::default());
        let mut check_changes = |address, at, found: Option<KernelSymbol>, expected: usize| {
            let changed = symbols.correct(address, BootNanos(at), found.as_ref());
            assert_eq!(changed.len(), expected, "{changed:?}");
            changed.into_iter().for_each(|symbol| assert!(reader.add(symbol)));
            let name = |symbol: &KernelSymbol| symbol.name.clone();
            assert_eq!(reader.find(address, BootNanos(at)).map(name), found.as_ref().map(name));
            reader.find(0x1020, BootNanos(10)).map(name)
        };
        let a = || Some(symbol(0x1000, 0x100, 10, 0, "a"));
        check_changes(0x1020, 10, a(), 1);
        check_changes(0x1030, 15, a(), 0);
        check_changes(0x9000, 15, None, 0);
        // It ended, and others came.
        check_changes(0x1020, 25, None, 1);
        check_changes(0x1020, 26, None, 0);
        check_changes(0x1020, 30, Some(symbol(0x0800, 0x1000, 30, 0, "b")), 1);
        check_changes(0x1020, 40, Some(symbol(0x1000, 0x40, 0, 0, "c")), 2);
        assert_eq!(check_changes(0x1020, 20, a(), 0), Some(b"a".to_vec()));
    }
}
