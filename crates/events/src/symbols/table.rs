//! A packed table of symbols, which never changes.

use super::names::NameTable;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

/// Symbols of one address space, by address and by name.
///
/// # Layout
///
/// The table is a list of *entries*, sorted by address. An entry is a symbol, or an end: an address where a symbol ends
/// and none begins. Some 23 bytes per symbol, with the names:
///
/// | part | contents | bytes per symbol |
/// |---|---|---|
/// | `offsets` | the address of each entry, from the base of its segment | 4 |
/// | `samples` | every 64th of the offsets: a search begins in few lines of the cache | 1/16 |
/// | `segments` | base address and first entry; a new one every 4 GiB, so no bit of an address is assumed | |
/// | `names` | front-coded in blocks of 8 (`NameTable`); the name of an end is empty | 11 to 17 |
/// | `runs`, `owners` | the owners as a small index, and the runs of entries that have the same one | |
/// | `special` | a bit per entry: whether it is in `exceptions` | 1/8 |
/// | `exceptions` | the entries that are not the usual case | |
/// | `buckets`, `ids` | the entries by hash of name: 8 per bucket, 3 bytes each | 3.5 |
///
/// The usual case is the first symbol at its address that ends where the next address of the table begins: its size is
/// not stored. An exception stores the end of its symbol, and which symbol contains the addresses from here on. That is
/// another one if the entry is an end within a larger symbol, or none.
///
/// Names at one address are in the order of the kernel, whatever the order of insertion: see
/// [`Builder`](super::Builder).
#[derive(Debug, Default)]
pub struct Table {
    pub(super) segments: Box<[Segment]>,
    pub(super) offsets: Box<[u32]>,
    pub(super) samples: Box<[u32]>,
    pub(super) names: NameTable,
    pub(super) runs: Box<[Run]>,
    pub(super) owners: Box<[Owner]>,
    pub(super) special: Box<[u64]>,
    pub(super) exceptions: Box<[Exception]>,
    pub(super) buckets: Box<[u32]>,
    pub(super) ids: Box<[[u8; 3]]>,
    pub(super) symbols: usize,
    pub(super) left_out: u64,
}

/// A symbol of one [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolId(pub(super) u32);

/// An owner of symbols in one [`Table`]: an index of [`Table::owners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub(super) u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolRange {
    pub symbol: SymbolId,
    /// Its first address.
    pub start: u64,
    /// Its size in bytes. 0 if it is a mere label.
    pub size: u64,
    pub owner: OwnerId,
}

/// An owner of symbols: the kernel itself, a module, or a file.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// As given to the builder. Empty for the kernel itself.
    pub name: Box<[u8]>,
    pub symbols: u32,
    /// Equal for equal sets of symbols (addresses and names). Comparable within one process only.
    pub fingerprint: u64,
}

/// The part of the address space within 4 GiB of `base`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) base: u64,
    pub(super) first: u32,
}

/// The entries from `first` to the next run have the same owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) owner: u32,
}

/// An entry that is not the usual case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exception {
    pub(super) entry: u32,
    /// The symbol that contains the addresses from here to the next entry, or [`NONE`].
    pub(super) cover: u32,
    /// Where the symbol ends; 0 if the entry is no symbol.
    pub(super) end: u64,
}

pub(super) const NONE: u32 = u32::MAX;

/// One of this many entries is in `samples`.
pub(super) const SAMPLED: usize = 64;

/// Entries per bucket of the names.
pub(super) const PER_BUCKET: usize = 8;

/// Random, so that nobody can choose names that share a bucket; one for the process, so that fingerprints compare.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The hash of a name, for buckets and fingerprints.
pub(super) fn hash(name: &[u8]) -> u64 {
    let mut hasher = KEYS.build_hasher();
    hasher.write(name);
    hasher.finish()
}

pub(super) fn bucket(hash: u64, buckets: usize) -> usize {
    ((u128::from(hash) * buckets as u128) >> 64) as usize
}

impl Table {
    pub fn len(&self) -> usize {
        self.symbols
    }

    /// Whether it has no symbols.
    pub fn is_empty(&self) -> bool {
        self.symbols == 0
    }

    /// The number of symbols rejected because the limits of the table were reached.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The owners, indexed by [`OwnerId`], by name.
    pub fn owners(&self) -> &[Owner] {
        &self.owners
    }

    pub fn owner(&self, id: OwnerId) -> Option<&Owner> {
        self.owners.get(id.0 as usize)
    }

    pub fn owner_named(&self, name: &[u8]) -> Option<OwnerId> {
        self.owners.binary_search_by(|owner| (*owner.name).cmp(name)).ok().map(|index| OwnerId(index as u32))
    }

    /// The symbol that contains the address. If several do, the one that starts last; if several start there, the first of them.
    /// `None` if no symbol contains it.
    pub fn containing(&self, address: u64) -> Option<SymbolRange> {
        let (segment, entries) = self.segment_of(address)?;
        let offset = u32::try_from(address - segment.base).unwrap_or(u32::MAX);
        let above = self.above(segment, entries, offset);
        let mut index = above.checked_sub(1)?;
        let at = entries[index];
        if index > 0 && entries[index - 1] == at {
            index = entries.partition_point(|entry| *entry < at);
        }
        let entry = segment.first + index as u32;
        if self.is_special(entry) {
            let exception = self.exception(entry)?;
            let place = (exception.cover != NONE).then(|| self.place(SymbolId(exception.cover)));
            return place.filter(|place| address - place.start < place.size);
        }
        let start = segment.base + u64::from(at);
        let end = match entries.get(above) {
            Some(next) => segment.base + u64::from(*next),
            None => self.address(segment.first + above as u32)?,
        };
        Some(SymbolRange { symbol: SymbolId(entry), start, size: end - start, owner: self.owner_of(entry) })
    }

    /// All symbols that start at the address, in their fixed order.
    pub fn at(&self, address: u64) -> impl Iterator<Item = SymbolRange> {
        let found = self.segment_of(address).and_then(|(segment, entries)| {
            let offset = u32::try_from(address - segment.base).ok()?;
            let first = entries.partition_point(|entry| *entry < offset);
            let count = entries[first..].iter().take_while(|entry| **entry == offset).count();
            let first = segment.first + first as u32;
            Some(first..first + count as u32)
        });
        found.unwrap_or_default().filter(|entry| self.is_symbol(*entry)).map(|entry| self.place(SymbolId(entry)))
    }

    /// All symbols of this name, by address.
    pub fn named(&self, name: &[u8]) -> impl Iterator<Item = SymbolRange> {
        let bucket = bucket(hash(name), self.buckets.len().saturating_sub(1));
        let bound = |index: usize| self.buckets.get(index).map_or(0, |bound| *bound as usize);
        let ids = self.ids.get(bound(bucket)..bound(bucket + 1)).unwrap_or_default();
        let mut found = Vec::new();
        ids.iter().map(|id| unpack(*id)).filter_map(move |id| {
            self.names.decode(id, &mut found);
            (found == name).then(|| self.place(SymbolId(id)))
        })
    }

    /// All symbols of this name and owner, by address.
    pub fn named_in(&self, owner: &[u8], name: &[u8]) -> impl Iterator<Item = SymbolRange> {
        let owner = self.owner_named(owner);
        self.named(name).filter(move |place| Some(place.owner) == owner)
    }

    /// Decodes the name of a symbol into the buffer and replaces its contents.
    pub fn name(&self, symbol: SymbolId, name: &mut Vec<u8>) {
        self.names.decode(symbol.0, name);
    }

    /// All symbols, by address.
    pub fn iter(&self) -> impl Iterator<Item = SymbolRange> {
        (0..self.offsets.len() as u32).filter(|entry| self.is_symbol(*entry)).map(|entry| self.place(SymbolId(entry)))
    }

    /// The symbols of one owner, by address.
    pub fn owned(&self, owner: OwnerId) -> impl Iterator<Item = SymbolRange> {
        let ends = self.runs.iter().skip(1).map(|run| run.first).chain([self.offsets.len() as u32]);
        let runs = self.runs.iter().zip(ends).filter(move |(run, _)| run.owner == owner.0);
        let entries = runs.flat_map(|(run, end)| run.first..end).filter(|entry| self.is_symbol(*entry));
        entries.map(|entry| self.place(SymbolId(entry)))
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.segments)
            + size_of_val(&*self.offsets)
            + size_of_val(&*self.samples)
            + self.names.bytes()
            + size_of_val(&*self.runs)
            + self.owners.iter().map(|owner| size_of::<Owner>() + owner.name.len()).sum::<usize>()
            + size_of_val(&*self.special)
            + size_of_val(&*self.exceptions)
            + size_of_val(&*self.buckets)
            + size_of_val(&*self.ids)
    }

    /// The segment that an address may be in, and its entries.
    fn segment_of(&self, address: u64) -> Option<(Segment, &[u32])> {
        let index = self.segments.partition_point(|segment| segment.base <= address).checked_sub(1)?;
        let segment = self.segments[index];
        let end = self.segments.get(index + 1).map_or(self.offsets.len(), |next| next.first as usize);
        Some((segment, &self.offsets[segment.first as usize..end]))
    }

    /// The number of entries of a segment up to an offset.
    fn above(&self, segment: Segment, entries: &[u32], offset: u32) -> usize {
        let first = segment.first as usize;
        // The samples within the segment.
        let skipped = first.div_ceil(SAMPLED);
        let samples = self.samples.get(skipped..(first + entries.len()).div_ceil(SAMPLED)).unwrap_or_default();
        let sample = (skipped + samples.partition_point(|sample| *sample <= offset)) * SAMPLED;
        let from = sample.saturating_sub(SAMPLED).saturating_sub(first);
        let to = sample.saturating_sub(first).min(entries.len());
        from + entries[from..to].partition_point(|entry| *entry <= offset)
    }

    fn address(&self, entry: u32) -> Option<u64> {
        let offset = *self.offsets.get(entry as usize)?;
        let index = self.segments.partition_point(|segment| segment.first <= entry).checked_sub(1)?;
        Some(self.segments[index].base + u64::from(offset))
    }

    /// The place of an entry that is a symbol.
    fn place(&self, symbol: SymbolId) -> SymbolRange {
        let start = self.address(symbol.0).unwrap_or(0);
        let end = match self.exception(symbol.0) {
            Some(exception) => exception.end,
            None => self.next_address(symbol.0, start),
        };
        SymbolRange { symbol, start, size: end.saturating_sub(start), owner: self.owner_of(symbol.0) }
    }

    /// The first address of the table above that of this entry.
    fn next_address(&self, entry: u32, address: u64) -> u64 {
        match self.address(entry + 1) {
            Some(next) if next > address => return next,
            None => return address,
            Some(_) => {}
        }
        let Some((segment, entries)) = self.segment_of(address) else { return address };
        let offset = (address - segment.base) as u32;
        let above = entries.partition_point(|entry| *entry <= offset);
        self.address(segment.first + above as u32).unwrap_or(address)
    }

    fn owner_of(&self, entry: u32) -> OwnerId {
        let index = self.runs.partition_point(|run| run.first <= entry).saturating_sub(1);
        OwnerId(self.runs.get(index).map_or(0, |run| run.owner))
    }

    fn is_special(&self, entry: u32) -> bool {
        self.special.get(entry as usize / 64).is_some_and(|bits| bits >> (entry % 64) & 1 == 1)
    }

    fn exception(&self, entry: u32) -> Option<Exception> {
        if !self.is_special(entry) {
            return None;
        }
        let index = self.exceptions.binary_search_by_key(&entry, |exception| exception.entry).ok()?;
        Some(self.exceptions[index])
    }

    fn is_symbol(&self, entry: u32) -> bool {
        self.exception(entry).is_none_or(|exception| exception.end != 0)
    }
}

pub(super) fn pack(id: u32) -> [u8; 3] {
    let [a, b, c, _] = id.to_le_bytes();
    [a, b, c]
}

fn unpack([a, b, c]: [u8; 3]) -> u32 {
    u32::from_le_bytes([a, b, c, 0])
}
