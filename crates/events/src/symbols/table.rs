//! A table of symbols, which never changes.

use crate::limits::{SYMBOL_UNSIZED, SYMBOLS};
use foldhash::HashMap;
use tracetui_shared::id::KernelAddr;

/// Symbols of the kernel and its modules, sorted by address, with their names in one buffer.
///
/// An entry contains the addresses up to the next entry. Where a symbol ends and none begins, an entry without an owner follows.
/// Of several symbols at one address the first contains them.
#[derive(Clone, Debug, Default)]
pub struct Table {
    entries: Box<[Entry]>,
    names: Box<[u8]>,
    owners: Box<[Owner]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    address: u64,
    /// Where its name begins in `names`, and its length.
    name: u32,
    length: u16,
    /// The index of its owner, or [`NONE`].
    owner: u16,
}

const NONE: u16 = u16::MAX;

/// The smallest page of the architectures. Text of different owners is on different pages.
const PAGE: u64 = 4096;

/// An owner of symbols: the kernel itself, or a module.
#[derive(Clone, Debug)]
pub struct Owner {
    /// As given to the builder. Empty for the kernel itself.
    pub name: Box<[u8]>,
    /// The address of its first symbol; 0 if it has none.
    pub first: KernelAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSymbol<'a> {
    pub start: KernelAddr,
    /// Its size in bytes.
    pub size: u64,
    pub name: &'a [u8],
    pub owner: &'a [u8],
}

impl Table {
    /// The owners of its symbols.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.owners.iter().filter(|owner| owner.first.0 != 0)
    }

    /// The symbol that contains the address. If several do, the one that was given to the builder first.
    pub fn containing(&self, address: KernelAddr) -> Option<TableSymbol<'_>> {
        let above = self.entries.partition_point(|entry| entry.address <= address.0);
        let last = self.entries.get(above.checked_sub(1)?)?;
        let first = self.entries.partition_point(|entry| entry.address < last.address);
        self.symbol(first).filter(|symbol| address.0 - symbol.start.0 < symbol.size)
    }

    /// All symbols, by address. Those at one address are in the order in which the builder got them.
    pub fn iter(&self) -> impl Iterator<Item = TableSymbol<'_>> {
        (0..self.entries.len()).filter_map(|index| self.symbol(index))
    }

    /// The addresses of symbols of the kernel itself. If several have a name, the lowest.
    pub fn addresses<const N: usize>(&self, names: [&str; N]) -> [Option<KernelAddr>; N] {
        let mut wanted: HashMap<&[u8], Option<KernelAddr>> = names.iter().map(|name| (name.as_bytes(), None)).collect();
        let kernel = self.owners.iter().position(|owner| owner.name.is_empty());
        for entry in &self.entries {
            if Some(usize::from(entry.owner)) == kernel
                && let Some(address) = wanted.get_mut(self.name(entry))
            {
                address.get_or_insert(KernelAddr(entry.address));
            }
        }
        names.map(|name| wanted.get(name.as_bytes()).copied().flatten())
    }

    fn symbol(&self, index: usize) -> Option<TableSymbol<'_>> {
        let entry = self.entries.get(index)?;
        let owner = self.owners.get(usize::from(entry.owner))?;
        let next = self.entries.get(self.entries.partition_point(|other| other.address <= entry.address));
        let size = next.map_or(0, |next| next.address - entry.address);
        Some(TableSymbol { start: KernelAddr(entry.address), size, name: self.name(entry), owner: &owner.name })
    }

    fn name(&self, entry: &Entry) -> &[u8] {
        let start = entry.name as usize;
        self.names.get(start..start + usize::from(entry.length)).unwrap_or_default()
    }
}

/// Takes symbols in any order, and borrows their names until the table is built.
///
/// A symbol ends at the next address of the same owner, where a symbol starts or an [`end`](Builder::end) was given. If
/// none is next, or that of another owner comes first, the symbol ends there or at the end of its page. It is never
/// larger than [`SYMBOL_UNSIZED`].
#[derive(Debug, Default)]
pub struct Builder<'a> {
    entries: Vec<Given<'a>>,
    owners: Vec<&'a [u8]>,
    numbers: HashMap<&'a [u8], u16>,
    last_owner: u16,
}

/// A symbol, or an end: then the name is empty.
#[derive(Clone, Copy, Debug)]
struct Given<'a> {
    address: u64,
    name: &'a [u8],
    owner: u16,
}

impl<'a> Builder<'a> {
    pub fn with_capacity(symbols: usize) -> Builder<'a> {
        Builder { entries: Vec::with_capacity(symbols), ..Builder::default() }
    }

    /// Adds a symbol. An address of 0 and an empty name are ignored: the kernel hides addresses as 0.
    pub fn symbol(&mut self, address: u64, name: &'a [u8], owner: &'a [u8]) {
        if !name.is_empty() {
            self.add(address, name, owner);
        }
    }

    /// Adds an end: the symbols of this owner that start before end here at the latest.
    pub fn end(&mut self, address: u64, owner: &'a [u8]) {
        self.add(address, b"", owner);
    }

    /// Leaves out the symbols whose length does not fit.
    pub fn build(mut self) -> Table {
        // This keeps the order of the symbols at one address.
        self.entries.sort_by_key(|entry| entry.address);
        let (mut entries, mut names) = (Vec::with_capacity(self.entries.len()), Vec::new());
        let none = |name: &&[u8]| Owner { name: (*name).into(), first: KernelAddr(0) };
        let mut owners: Box<[Owner]> = self.owners.iter().map(none).collect();
        let mut groups = self.entries.chunk_by(|a, b| a.address == b.address).peekable();
        while let Some(group) = groups.next() {
            let Some(first) = group.iter().find(|entry| !entry.name.is_empty()) else { continue };
            for Given { address, name, owner } in group.iter().filter(|entry| !entry.name.is_empty()) {
                let Ok(length) = u16::try_from(name.len()) else { continue };
                if let Some(owner @ Owner { first: KernelAddr(0), .. }) = owners.get_mut(usize::from(*owner)) {
                    owner.first = KernelAddr(*address);
                }
                // On x86-64 most functions follow a symbol that is their name after `__pfx_` (CONFIG_CALL_PADDING).
                if !names.ends_with(name) {
                    names.extend_from_slice(name);
                }
                // The text that the names are from is shorter than 4 GiB.
                let name = (names.len() - name.len()) as u32;
                entries.push(Entry { address: *address, name, length, owner: *owner });
            }
            let next = groups.peek().copied().unwrap_or_default();
            let end = end_of(first, next);
            if next.iter().all(|entry| entry.name.is_empty() || entry.address != end) {
                entries.push(Entry { address: end, name: 0, length: 0, owner: NONE });
            }
        }
        Table { entries: entries.into(), names: names.into(), owners }
    }

    /// Beyond [`NONE`] owners, those of further ones are ignored.
    fn add(&mut self, address: u64, name: &'a [u8], owner: &'a [u8]) {
        if address != 0
            && self.entries.len() < SYMBOLS
            && let Some(owner) = self.owner(owner)
        {
            self.entries.push(Given { address, name, owner });
        }
    }

    fn owner(&mut self, name: &'a [u8]) -> Option<u16> {
        // The kernel itself, the usual one, has no name. A comparison of nothing by `memcmp` takes 80 ns on x86-64 with AVX-512,
        // where it loads nothing from an address that is not mapped.
        let is_named = |last: &[u8]| last.len() == name.len() && (name.is_empty() || last == name);
        if !self.owners.get(usize::from(self.last_owner)).is_some_and(|last| is_named(last)) {
            let next = u16::try_from(self.owners.len()).ok().filter(|next| *next != NONE);
            self.last_owner = match self.numbers.get(name) {
                Some(known) => *known,
                None => {
                    self.numbers.insert(name, next?);
                    self.owners.push(name);
                    next?
                }
            };
        }
        Some(self.last_owner)
    }
}

/// The end of a symbol, given the entries at the next address.
fn end_of(symbol: &Given<'_>, next: &[Given<'_>]) -> u64 {
    let page_end = (symbol.address | (PAGE - 1)).saturating_add(1);
    let end = match next.first() {
        Some(first) if next.iter().any(|entry| entry.owner == symbol.owner) => first.address,
        Some(first) => first.address.min(page_end),
        None => page_end,
    };
    end.min(symbol.address.saturating_add(SYMBOL_UNSIZED))
}
