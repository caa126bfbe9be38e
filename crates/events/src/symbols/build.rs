//! Builds a [`Table`].

use super::names::NamesBuilder;
use super::table::{Exception, NONE, Owner, PER_BUCKET, Run, SAMPLED, Segment, Table, bucket, hash, pack};
use crate::limits::{SYMBOL_UNSIZED, SYMBOLS};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Takes symbols in any order, and borrows their names until the table is built.
///
/// A symbol without a size ends at the next address of the same owner, where a symbol starts or an
/// [`end`](Builder::end) was given. If none is next, or that of another owner comes first, the symbol ends there or
/// at the end of its page. It is never larger than [`SYMBOL_UNSIZED`].
///
/// Names at one address are in the order that the kernel prefers them in (`compare_symbols`,
/// [scripts/kallsyms.c](https://elixir.bootlin.com/linux/v6.12/source/scripts/kallsyms.c)): of the kernel itself before
/// modules, strong before weak, marks of the linker last, fewer leading underscores first, then by their bytes.
#[derive(Debug, Default)]
pub struct Builder<'a> {
    entries: Vec<Entry<'a>>,
    owners: Vec<&'a [u8]>,
    by_name: HashMap<&'a [u8], u32>,
    last_owner: u32,
    left_out: u64,
}

/// How a symbol is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Binding {
    Strong,
    /// A weak symbol, which a strong one of the same name would replace.
    Weak,
}

/// A symbol, or an end: then the name is empty.
#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    address: u64,
    /// [`UNKNOWN`] if not given.
    size: u64,
    name: &'a [u8],
    owner: u32,
    binding: Binding,
}

const UNKNOWN: u64 = u64::MAX;

/// The smallest page of the architectures. Text of different owners is on different pages.
const PAGE: u64 = 4096;

impl<'a> Builder<'a> {
    pub fn with_capacity(symbols: usize) -> Builder<'a> {
        Builder { entries: Vec::with_capacity(symbols), ..Builder::default() }
    }

    /// Adds a symbol. With the size 0 it is a label, which contains no address. An address of 0 and an empty name are
    /// ignored: the kernel hides addresses as 0.
    pub fn symbol(&mut self, address: u64, size: Option<u64>, name: &'a [u8], owner: &'a [u8], binding: Binding) {
        if address == 0 || name.is_empty() {
            return;
        }
        if self.entries.len() >= SYMBOLS {
            self.left_out += 1;
            return;
        }
        let owner = self.owner(owner);
        self.entries.push(Entry { address, size: size.unwrap_or(UNKNOWN), name, owner, binding });
    }

    /// Adds an end: the symbols of this owner that start before and have no size end here at the latest.
    pub fn end(&mut self, address: u64, owner: &'a [u8]) {
        if address == 0 || self.entries.len() >= SYMBOLS {
            return;
        }
        let owner = self.owner(owner);
        self.entries.push(Entry { address, size: 0, name: b"", owner, binding: Binding::Weak });
    }

    pub fn build(mut self) -> Table {
        self.sort_owners();
        self.entries.sort_by(|a, b| a.address.cmp(&b.address).then_with(|| prefer(a, b)));
        let symbols = self.entries.iter().filter(|entry| !entry.name.is_empty()).count();
        let mut packer = Packer::new(symbols, &self.owners, self.left_out);
        let mut rest = self.entries.as_slice();
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|entry| entry.address == first.address).count();
            let (group, after) = rest.split_at(count);
            packer.group(group, after);
            rest = after;
        }
        packer.finish()
    }

    fn owner(&mut self, name: &'a [u8]) -> u32 {
        // The kernel itself, the usual one, has no name. A comparison of nothing by `memcmp` takes 80 ns on x86-64 with AVX-512,
        // where it loads nothing from an address that is not mapped.
        let is_named = |last: &[u8]| last.len() == name.len() && (name.is_empty() || last == name);
        if !self.owners.get(self.last_owner as usize).is_some_and(|last| is_named(last)) {
            let next = self.owners.len() as u32;
            self.last_owner = *self.by_name.entry(name).or_insert(next);
            if self.last_owner == next {
                self.owners.push(name);
            }
        }
        self.last_owner
    }

    /// Numbers the owners by name, whatever the order in which they came.
    fn sort_owners(&mut self) {
        let mut order: Vec<u32> = (0..self.owners.len() as u32).collect();
        order.sort_by_key(|owner| self.owners[*owner as usize]);
        if order.is_sorted() {
            return;
        }
        let mut numbers = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            numbers[*old as usize] = new as u32;
        }
        self.owners = order.iter().map(|old| self.owners[*old as usize]).collect();
        self.entries.iter_mut().for_each(|entry| entry.owner = numbers[entry.owner as usize]);
    }
}

/// The order of names at one address. Ends come last.
fn prefer(a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    let mark = |entry: &Entry<'_>| is_linker_mark(entry.name);
    let underscores = |entry: &Entry<'_>| entry.name.iter().take_while(|byte| **byte == b'_').count();
    (a.name.is_empty().cmp(&b.name.is_empty()))
        .then_with(|| a.owner.cmp(&b.owner))
        .then_with(|| a.binding.cmp(&b.binding))
        .then_with(|| mark(a).cmp(&mark(b)))
        .then_with(|| underscores(a).cmp(&underscores(b)))
        .then_with(|| a.name.cmp(b.name))
        .then_with(|| b.size.cmp(&a.size))
}

/// Whether the linker may have made the symbol (`may_be_linker_script_provide_symbol`, scripts/kallsyms.c).
fn is_linker_mark(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b"__") else { return false };
    name.len() >= 8
        && ([&b"start_"[..], b"stop_", b"end_"].iter().any(|start| rest.starts_with(start))
            || name.ends_with(b"_start")
            || name.ends_with(b"_end"))
}

/// Writes the entries of a table, group by group: a group is what starts at one address.
struct Packer<'a> {
    records: Vec<Record>,
    names: NamesBuilder<'a>,
    runs: Vec<Run>,
    owners: Vec<Owner>,
    buckets: usize,
    /// Symbols that have not ended, the innermost last: entry and end.
    active: Vec<(u32, u64)>,
    left_out: u64,
}

/// An entry before it is packed.
struct Record {
    address: u64,
    /// As in [`Exception`].
    end: u64,
    /// As in [`Exception`]; without meaning if another symbol at the address comes first.
    cover: u32,
    bucket: u32,
}

impl<'a> Packer<'a> {
    fn new(symbols: usize, owners: &[&[u8]], left_out: u64) -> Packer<'a> {
        let owner = |name: &&[u8]| Owner { name: (*name).into(), ..Owner::default() };
        Packer {
            records: Vec::with_capacity(symbols + symbols / 64 + 1),
            names: NamesBuilder::with_capacity(symbols),
            runs: Vec::new(),
            owners: owners.iter().map(owner).collect(),
            buckets: (symbols / PER_BUCKET).max(1),
            active: Vec::new(),
            left_out,
        }
    }

    /// Writes the symbols that start at one address, given the later ones. An end needs no entry of its own: the symbols that end
    /// there do.
    fn group(&mut self, group: &[Entry<'a>], after: &[Entry<'a>]) {
        let named = group.iter().position(|entry| entry.name.is_empty()).unwrap_or(group.len());
        let Some(address) = group[..named].first().map(|entry| entry.address) else { return };
        self.end_before(address);
        let first = self.records.len();
        let next = after.chunk_by(|a, b| a.address == b.address).next().unwrap_or_default();
        for same in group[..named].chunk_by(|a, b| a.owner == b.owner) {
            let end = unsized_end(&same[0], next);
            same.iter().for_each(|entry| self.push(entry, end));
        }
        // The first symbol becomes the innermost.
        let taken = self.records[first..].iter().enumerate().rev();
        self.active.extend(
            taken
                .filter(|(_, record)| record.end > address)
                .map(|(index, record)| ((first + index) as u32, record.end)),
        );
        let cover = self.active.last().map_or(NONE, |(entry, _)| *entry);
        if let Some(record) = self.records.get_mut(first) {
            record.cover = cover;
        }
    }

    fn push(&mut self, entry: &Entry<'a>, unsized_end: u64) {
        if !self.names.has_room(entry.name.len()) {
            self.left_out += 1;
            return;
        }
        let number = self.records.len() as u32;
        if self.runs.last().is_none_or(|run| run.owner != entry.owner) {
            self.runs.push(Run { first: number, owner: entry.owner });
        }
        self.names.push(entry.name);
        let hash = hash(entry.name);
        let owner = &mut self.owners[entry.owner as usize];
        owner.symbols += 1;
        let mixed = (hash ^ entry.address.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        owner.fingerprint = owner.fingerprint.wrapping_add(mixed ^ mixed >> 32);
        let end = if entry.size == UNKNOWN { unsized_end } else { entry.address.saturating_add(entry.size) };
        let bucket = bucket(hash, self.buckets) as u32;
        self.records.push(Record { address: entry.address, end, cover: number, bucket });
    }

    /// Ends the symbols that end at or before the address, and writes an entry for each end before it.
    fn end_before(&mut self, address: u64) {
        while let Some((_, end)) = self.active.pop_if(|(_, end)| *end <= address) {
            while self.active.pop_if(|(_, other)| *other <= end).is_some() {}
            if end < address && self.names.has_room(0) {
                let cover = self.active.last().map_or(NONE, |(entry, _)| *entry);
                self.names.push(b"");
                self.records.push(Record { address: end, end: 0, cover, bucket: 0 });
            }
        }
    }

    fn finish(mut self) -> Table {
        self.end_before(u64::MAX);
        let (segments, offsets) = self.addresses();
        let samples = offsets.iter().step_by(SAMPLED).copied().collect();
        let (special, exceptions) = self.exceptions();
        let (buckets, ids) = self.index();
        Table {
            segments,
            offsets,
            samples,
            names: self.names.build(),
            runs: self.runs.into(),
            symbols: self.owners.iter().map(|owner| owner.symbols as usize).sum(),
            owners: self.owners.into(),
            special,
            exceptions,
            buckets,
            ids,
            left_out: self.left_out,
        }
    }

    fn addresses(&self) -> (Box<[Segment]>, Box<[u32]>) {
        let mut segments: Vec<Segment> = Vec::new();
        let mut offsets = Vec::with_capacity(self.records.len());
        let mut base = 0;
        for (entry, record) in self.records.iter().enumerate() {
            if entry == 0 || record.address - base > u64::from(u32::MAX) {
                base = record.address;
                segments.push(Segment { base, first: entry as u32 });
            }
            offsets.push((record.address - base) as u32);
        }
        (segments.into(), offsets.into())
    }

    /// The entries that are not the first at their address and end at the next.
    fn exceptions(&self) -> (Box<[u64]>, Box<[Exception]>) {
        let mut special = vec![0; self.records.len().div_ceil(64)];
        let mut exceptions = Vec::new();
        let (mut next, mut address) = (0, 0);
        for (entry, record) in self.records.iter().enumerate().rev() {
            if record.address != address {
                (next, address) = (address, record.address);
            }
            if record.end != next || record.cover != entry as u32 {
                special[entry / 64] |= 1 << (entry % 64);
                exceptions.push(Exception { entry: entry as u32, cover: record.cover, end: record.end });
            }
        }
        exceptions.reverse();
        (special.into(), exceptions.into())
    }

    /// The symbols, sorted by bucket.
    fn index(&self) -> (Box<[u32]>, Box<[[u8; 3]]>) {
        let mut bounds = vec![0u32; self.buckets + 1];
        let symbols = self.records.iter().enumerate().filter(|(_, record)| record.end != 0);
        symbols.clone().for_each(|(_, record)| bounds[record.bucket as usize] += 1);
        let mut sum = 0;
        for bound in &mut bounds {
            sum += *bound;
            *bound = sum;
        }
        let mut ids = vec![[0; 3]; sum as usize];
        for (entry, record) in symbols.rev() {
            let bound = &mut bounds[record.bucket as usize];
            *bound -= 1;
            ids[*bound as usize] = pack(entry as u32);
        }
        (bounds.into(), ids.into())
    }
}

/// The end of a symbol without a size, given the symbols (by owner) and then the ends (by owner) at the next address.
fn unsized_end(entry: &Entry<'_>, next: &[Entry<'_>]) -> u64 {
    let page_end = (entry.address | (PAGE - 1)).saturating_add(1);
    let (symbols, ends) = next.split_at(next.partition_point(|other| !other.name.is_empty()));
    let has_own = |part: &[Entry<'_>]| part.binary_search_by_key(&entry.owner, |other| other.owner).is_ok();
    let end = match next.first() {
        Some(next) if has_own(symbols) || has_own(ends) => next.address,
        Some(next) => next.address.min(page_end),
        None => page_end,
    };
    end.min(entry.address.saturating_add(SYMBOL_UNSIZED))
}
