//! The symbols of the kernel: which one contained an address at a time.
//!
//! [`Symbols`] is a fold over [`SymbolChange`]s, and does no I/O. It has one owner, who applies the changes and looks
//! addresses up, so a lookup waits for nobody. The reader of /proc/kallsyms
//! (`kallsyms` of the crate `tracetui-host`) has a thread of its own. It builds a whole new [`Table`],
//! which replaces the old one by an assignment.
//!
//! | what | where | from and to |
//! |---|---|---|
//! | the kernel itself, modules that are loaded | [`Table`] | a period per owner |
//! | modules that were unloaded | a small [`Table`] each | its period |
//! | BPF programs, trampolines, out-of-line text | `images.rs` | a period per image |
//!
//! Only what is certain gets a name. A module whose load was not reported has its symbols from the time at which
//! /proc/kallsyms was read, and after lost records no image has a name until it is read again.
mod build;
mod images;
mod names;
mod table;
#[cfg(test)]
mod tests;

pub use build::{Binding, Builder};
pub use table::{Owner, OwnerId, SymbolId, SymbolRange, Table};

use crate::limits::{PAST_MODULES, PAST_MODULES_BYTES};
use images::{Images, Missing};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tracetui_shared::id::KernelAddr;
use tracetui_shared::time::BootNanos;

/// A change of the kernel's symbols. Each has a time (CLOCK_BOOTTIME), and they are applied in order of time.
#[derive(Clone, Debug)]
pub enum SymbolChange {
    /// A BPF program or similar was loaded (PERF_RECORD_KSYMBOL).
    Loaded(CodeImage),
    /// It was unloaded (PERF_RECORD_KSYMBOL with PERF_RECORD_KSYMBOL_FLAGS_UNREGISTER).
    Unloaded(CodeImage),
    /// A module of this name was loaded.
    ModuleLoaded(Box<[u8]>),
    /// A module of this name was unloaded.
    ModuleUnloaded(Box<[u8]>),
    /// Reports of images were lost after this time.
    Lost {
        /// The time of the last report before the loss.
        since: BootNanos,
    },
    Read(Snapshot),
    /// The symbols cannot be read.
    Unavailable(Unavailable),
}

impl SymbolChange {
    /// Whether the symbols must be read again. Changes of BPF programs do not require it.
    pub fn needs_read(&self) -> bool {
        matches!(self, SymbolChange::ModuleLoaded(_) | SymbolChange::ModuleUnloaded(_) | SymbolChange::Lost { .. })
    }
}

/// Executable memory with one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeImage {
    pub address: KernelAddr,
    /// Its length in bytes.
    pub length: u32,
    pub kind: ImageKind,
    /// `bpf_prog_TAG_NAME`, `bpf_trampoline_KEY`, …
    pub name: Box<[u8]>,
}

/// The type of an [`CodeImage`] (`enum perf_record_ksymbol_type`,
/// [include/uapi/linux/perf_event.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/perf_event.h)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// PERF_RECORD_KSYMBOL_TYPE_BPF: a program, trampoline or dispatcher.
    Bpf,
    /// PERF_RECORD_KSYMBOL_TYPE_OOL: instructions that the kernel moved for kprobes, and trampolines of ftrace.
    OutOfLine,
}

impl ImageKind {
    /// The owner of the symbol, as in /proc/kallsyms.
    pub fn owner(self) -> &'static [u8] {
        match self {
            ImageKind::Bpf => b"bpf",
            ImageKind::OutOfLine => b"__builtin__",
        }
    }
}

/// All symbols, as they were some time between `began` and `ended`.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub began: BootNanos,
    pub ended: BootNanos,
    /// The symbols of the kernel and its modules. The kernel is the owner without a name.
    pub table: Arc<Table>,
    /// The images. Their lengths are lower bounds, which the report of a load corrects.
    pub images: Vec<CodeImage>,
}

impl Snapshot {
    /// The address of a symbol of the kernel itself. If there are several, the lowest.
    pub fn kernel_symbol(&self, name: &str) -> Option<KernelAddr> {
        self.table.named_in(b"", name.as_bytes()).map(|place| KernelAddr(place.start)).next()
    }
}

/// A symbol that contained an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its name, as the kernel has it.
    pub name: &'a [u8],
    pub start: KernelAddr,
    /// The distance of the address from `start`, bytes.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The module, `bpf`, or empty: the kernel itself.
    pub owner: &'a [u8],
    /// The time of its load; 0 if it is older than the first known time.
    pub from: BootNanos,
    /// The time of its unload; 0 while it is loaded.
    pub to: BootNanos,
}

/// Why an address has no symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// No symbol contained the address.
    #[error("no symbol")]
    Outside,
    /// The symbols of the kernel are not available.
    #[error(transparent)]
    Unavailable(Unavailable),
    /// Reports of that time were lost.
    #[error("kernel reports from that time were lost")]
    Lost,
    /// The data about that time is no longer in memory.
    #[error("too long ago")]
    Forgotten,
}

/// Why the symbols of the kernel are not available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// They were not read yet.
    #[default]
    #[error("not read yet")]
    NotRead,
    /// The kernel hides addresses, from root too.
    #[error("kernel.kptr_restrict=2 hides addresses; remedy: sysctl kernel.kptr_restrict=1")]
    KptrRestrict,
    /// The kernel hides addresses from processes without CAP_SYSLOG.
    #[error("reading addresses requires CAP_SYSLOG")]
    NoCapability,
    /// The kernel hides addresses, for another reason.
    #[error("the kernel hides addresses")]
    Hidden,
    /// /proc/kallsyms cannot be read: the errno. ENOENT without CONFIG_KALLSYMS.
    #[error("/proc/kallsyms: {}", std::io::Error::from_raw_os_error(*.0))]
    Unreadable(i32),
}

/// The symbols of the kernel through time.
#[derive(Debug)]
pub struct Symbols {
    table: Result<Arc<Table>, Unavailable>,
    /// The load and unload times of the owners of `table`, by number.
    periods: Vec<Span>,
    /// The time at which `table` was read.
    read: (BootNanos, BootNanos),
    /// Loads of modules that the table may not have yet.
    loads: HashMap<Box<[u8]>, BootNanos>,
    /// Modules that were unloaded, the oldest first.
    past: VecDeque<PastModule>,
    past_bytes: usize,
    /// Modules unloaded at this time or before may be missing in `past`.
    forgotten: Option<BootNanos>,
    images: Images,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    from: BootNanos,
    /// [`ALWAYS`] while it is loaded.
    to: BootNanos,
}

const ALWAYS: BootNanos = BootNanos(u64::MAX);

impl Span {
    fn holds(self, at: BootNanos) -> bool {
        self.from <= at && at < self.to
    }
}

#[derive(Debug)]
struct PastModule {
    span: Span,
    table: Table,
}

impl Default for Symbols {
    fn default() -> Symbols {
        Symbols {
            table: Err(Unavailable::NotRead),
            periods: Vec::new(),
            read: Default::default(),
            loads: HashMap::new(),
            past: VecDeque::new(),
            past_bytes: 0,
            forgotten: None,
            images: Images::default(),
        }
    }
}

impl Symbols {
    /// Applies a change. Changes should come in order of time, but slight disorder does no harm.
    pub fn apply(&mut self, at: BootNanos, change: SymbolChange) {
        match change {
            SymbolChange::Loaded(image) => self.images.load(at, image),
            SymbolChange::Unloaded(image) => self.images.unload(at, image),
            SymbolChange::ModuleLoaded(name) => self.module_loaded(at, name),
            SymbolChange::ModuleUnloaded(name) => self.module_unloaded(at, &name),
            SymbolChange::Lost { since } => self.images.lose(since),
            SymbolChange::Read(snapshot) => self.replace(snapshot),
            SymbolChange::Unavailable(why) => {
                if self.table.is_err() {
                    self.table = Err(why);
                }
            }
        }
    }

    /// The symbol that contained the address at that time. The buffer receives the name if it has to be decoded.
    pub fn lookup<'a>(
        &'a self,
        address: KernelAddr,
        at: BootNanos,
        name: &'a mut Vec<u8>,
    ) -> Result<Symbol<'a>, Unresolved> {
        if let Ok(table) = &self.table
            && let Some(place) = self.current(table, address.0, at)
        {
            let span = self.periods.get(place.owner.0 as usize).copied().unwrap_or(Span { from: at, to: ALWAYS });
            return Ok(symbol(table, place, span, address, name));
        }
        let past = self.past.iter().rev().filter(|module| module.span.holds(at));
        let found = past.filter_map(|module| Some((module, module.table.containing(address.0)?))).next();
        if let Some((module, place)) = found {
            return Ok(symbol(&module.table, place, module.span, address, name));
        }
        match self.images.find(address.0, at) {
            Ok((start, image)) => Ok(Symbol {
                name: &image.name,
                start: KernelAddr(start),
                offset: address.0 - start,
                size: image.length(),
                owner: image.kind.owner(),
                from: image.from,
                to: until(image.to),
            }),
            Err(missing) => Err(self.why(at, missing)),
        }
    }

    /// The current table: names and addresses of the kernel and its loaded modules.
    pub fn table(&self) -> Result<&Table, Unavailable> {
        self.table.as_deref().map_err(|why| *why)
    }

    /// The number of BPF images in memory, loaded or not.
    pub fn images(&self) -> usize {
        self.images.len()
    }

    /// Bytes in memory, about.
    pub fn bytes(&self) -> usize {
        self.table.as_ref().map_or(0, |table| table.bytes()) + self.past_bytes + self.images.bytes()
    }

    fn current(&self, table: &Table, address: u64, at: BootNanos) -> Option<SymbolRange> {
        let first = table.containing(address)?;
        if self.held(first.owner, at) {
            return Some(first);
        }
        // The memory of a module may have belonged to another module before, with a name at the same address.
        table.at(first.start).find(|place| address - place.start < place.size && self.held(place.owner, at))
    }

    fn held(&self, owner: OwnerId, at: BootNanos) -> bool {
        self.periods.get(owner.0 as usize).is_some_and(|span| span.holds(at))
    }

    fn why(&self, at: BootNanos, missing: Missing) -> Unresolved {
        match missing {
            Missing::None => match self.table {
                Err(why) => Unresolved::Unavailable(why),
                Ok(_) if self.forgotten.is_some_and(|time| at <= time) => Unresolved::Forgotten,
                Ok(_) => Unresolved::Outside,
            },
            Missing::Lost => Unresolved::Lost,
            Missing::Forgotten => Unresolved::Forgotten,
        }
    }

    fn module_loaded(&mut self, at: BootNanos, name: Box<[u8]>) {
        let owner = self.table.as_ref().ok().and_then(|table| table.owner_named(&name));
        if let Some(span) = owner.and_then(|owner| self.periods.get_mut(owner.0 as usize)) {
            if span.to == ALWAYS && at <= self.read.1 {
                // The table has it already.
                span.from = at;
                return;
            }
            if span.to == ALWAYS {
                // The unload was not reported. The table's contents are certain only for the time at which it was read.
                span.to = self.read.1;
            }
        }
        if self.loads.len() < PAST_MODULES {
            self.loads.insert(name, at);
        }
    }

    fn module_unloaded(&mut self, at: BootNanos, name: &[u8]) {
        if self.loads.get(name).is_some_and(|loaded| *loaded <= at) {
            self.loads.remove(name);
        }
        let owner = self.table.as_ref().ok().and_then(|table| table.owner_named(name));
        if let Some(span) = owner.and_then(|owner| self.periods.get_mut(owner.0 as usize)) {
            span.to = span.to.min(at);
        }
    }

    /// Replaces the table. Symbols that only the old one has are kept with their periods.
    fn replace(&mut self, snapshot: Snapshot) {
        let Snapshot { began, ended, table, images } = snapshot;
        let old = self.table.as_ref().ok().cloned();
        let periods: Vec<Span> = (0..table.owners().len() as u32)
            .map(|owner| self.span(old.as_deref(), &table, OwnerId(owner), began, ended))
            .collect();
        if let Some(old) = old {
            self.keep_past(&old, &table, &periods, began);
        }
        self.loads.retain(|_, at| *at > ended);
        (self.table, self.periods, self.read) = (Ok(table), periods, (began, ended));
        self.images.list(began, ended, images);
    }

    /// The load and unload times of an owner in a new table.
    fn span(&self, old: Option<&Table>, new: &Table, owner: OwnerId, began: BootNanos, ended: BootNanos) -> Span {
        let name = new.owner(owner).map_or(&b""[..], |owner| &owner.name);
        let before = old.and_then(|old| Some((old, old.owner_named(name)?)));
        let loaded = self.loads.get(name).copied().filter(|at| *at <= ended);
        let from = match before {
            _ if name.is_empty() => BootNanos(0),
            Some((old, old_owner)) => {
                let span = self.periods[old_owner.0 as usize];
                match loaded {
                    Some(at) if at >= span.to => at,
                    None if span.to == ALWAYS && is_same(old, old_owner, new, owner) => span.from,
                    // The module was being unloaded when the table was read.
                    None if span.to != ALWAYS && is_same(old, old_owner, new, owner) => return span,
                    _ => began,
                }
            }
            None => loaded.unwrap_or(if old.is_some() { began } else { BootNanos(0) }),
        };
        Span { from, to: ALWAYS }
    }

    /// Keeps the modules of the old table that the new one lacks, wholly or in part, with their periods.
    fn keep_past(&mut self, old: &Table, new: &Table, periods: &[Span], began: BootNanos) {
        for (number, owner) in old.owners().iter().enumerate() {
            let old_owner = OwnerId(number as u32);
            let mut span = self.periods[number];
            let now = new.owner_named(&owner.name);
            if let Some(now) = now {
                let same = new.owner(now).is_some_and(|new| new.fingerprint == owner.fingerprint);
                let continues = periods[now.0 as usize].from == span.from;
                if owner.name.is_empty() || same && continues {
                    continue;
                }
                if continues {
                    // A module frees its initialization functions after it is initialized.
                    span.to = span.to.min(began);
                }
            }
            // Without a report, the module is certain only for the time at which the table was read.
            span.to = if span.to == ALWAYS { self.read.1 } else { span.to };
            self.push_past(PastModule { span, table: extract(old, old_owner) });
        }
    }

    fn push_past(&mut self, module: PastModule) {
        self.past_bytes += module.table.bytes();
        self.past.push_back(module);
        while self.past.len() > PAST_MODULES || self.past_bytes > PAST_MODULES_BYTES {
            let Some(oldest) = self.past.pop_front() else { break };
            self.past_bytes -= oldest.table.bytes();
            self.forgotten = self.forgotten.max(Some(oldest.span.to));
        }
    }
}

/// The end of a period; 0 if it has none.
fn until(to: BootNanos) -> BootNanos {
    if to == ALWAYS { BootNanos(0) } else { to }
}

fn symbol<'a>(
    table: &'a Table,
    place: SymbolRange,
    span: Span,
    address: KernelAddr,
    name: &'a mut Vec<u8>,
) -> Symbol<'a> {
    table.name(place.symbol, name);
    Symbol {
        name,
        start: KernelAddr(place.start),
        offset: address.0 - place.start,
        size: place.size,
        owner: table.owner(place.owner).map_or(&b""[..], |owner| &owner.name),
        from: span.from,
        to: until(span.to),
    }
}

/// Whether an owner is loaded where it was: its first symbol has not moved. It may have fewer, after its initialization.
fn is_same(old: &Table, old_owner: OwnerId, new: &Table, new_owner: OwnerId) -> bool {
    if old.owners()[old_owner.0 as usize].fingerprint == new.owners()[new_owner.0 as usize].fingerprint {
        return true;
    }
    let (mut name, mut other) = (Vec::new(), Vec::new());
    new.owned(new_owner).next().is_some_and(|first| {
        new.name(first.symbol, &mut name);
        old.at(first.start).filter(|place| place.owner == old_owner).any(|place| {
            old.name(place.symbol, &mut other);
            name == other
        })
    })
}

fn extract(table: &Table, owner: OwnerId) -> Table {
    let mut names = Vec::new();
    let mut name = Vec::new();
    let places: Vec<(SymbolRange, usize)> = table
        .owned(owner)
        .map(|place| {
            table.name(place.symbol, &mut name);
            names.extend_from_slice(&name);
            (place, name.len())
        })
        .collect();
    let mut builder = Builder::with_capacity(places.len());
    let mut rest = names.as_slice();
    for (place, length) in places {
        let (name, after) = rest.split_at(length);
        builder.symbol(place.start, Some(place.size), name, &table.owners()[owner.0 as usize].name, Binding::Strong);
        rest = after;
    }
    builder.build()
}
