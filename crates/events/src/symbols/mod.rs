//! The symbols of the kernel: which one contained an address at a time.
//!
//! | what | where | how it changes |
//! |---|---|---|
//! | the kernel itself, its modules | [`Table`] | a new read of /proc/kallsyms replaces it |
//! | BPF programs, trampolines | images | the kernel reports each load and unload |
//!
//! Only what is certain gets a name. A module that a later read shows first has its symbols from the time of that read, and after
//! lost reports no image has a name until /proc/kallsyms is read again.
//!
//! Names end with the unload of their module or program: whoever needs a name looks it up while it is loaded.
mod table;
#[cfg(test)]
mod tests;

pub use table::{Builder, Owner, Table, TableSymbol};

use crate::frame::host::KernelSymbol;
use crate::limits::{IMAGE_LENGTH, IMAGES_BYTES};
use foldhash::HashMap;
use std::collections::BTreeMap;
use tracetui_shared::id::KernelAddr;
use tracetui_shared::time::BootNanos;

/// A report of the kernel (PERF_RECORD_KSYMBOL). Each has a time (CLOCK_BOOTTIME), and they are applied in order of time.
#[derive(Clone, Debug)]
pub enum ImageChange {
    Loaded(CodeImage),
    Unloaded(CodeImage),
    /// Reports before this time were lost. The symbols must be read again.
    Lost,
}

/// Executable memory with one name: a BPF program, trampoline or dispatcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeImage {
    pub address: KernelAddr,
    /// Its length in bytes.
    pub length: u32,
    /// `bpf_prog_TAG_NAME`, `bpf_trampoline_KEY`, …
    pub name: Box<[u8]>,
}

impl CodeImage {
    /// The first address after it.
    pub fn end(&self) -> KernelAddr {
        KernelAddr(self.address.0.saturating_add(self.length.clamp(1, IMAGE_LENGTH).into()))
    }
}

/// The owner of the symbol of an image, as in /proc/kallsyms.
pub const BPF: &[u8] = b"bpf";

/// All symbols, as a read of /proc/kallsyms found them.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The time at which the read began.
    pub began: BootNanos,
    /// The symbols of the kernel and its modules. The kernel is the owner without a name.
    pub table: Table,
    /// The images. Their lengths are lower bounds, which the report of a load corrects.
    pub images: Vec<CodeImage>,
}

/// Why the symbols of the kernel are not available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[default]
    #[error("not read yet")]
    NotRead,
    /// The kernel hides addresses, from root too.
    #[error("kernel.kptr_restrict=2 hides addresses; remedy: sysctl kernel.kptr_restrict=1")]
    KptrRestrict,
    #[error("reading addresses requires CAP_SYSLOG")]
    NoCapability,
    #[error("the kernel hides addresses")]
    Hidden,
    /// /proc/kallsyms cannot be read: the errno. ENOENT without CONFIG_KALLSYMS.
    #[error("/proc/kallsyms: {}", std::io::Error::from_raw_os_error(*.0))]
    Unreadable(i32),
}

#[derive(Debug)]
pub struct Symbols {
    table: Result<Table, Unavailable>,
    /// The owners of the symbols of `table`, by name.
    modules: HashMap<Box<[u8]>, Module>,
    /// The images by address. None overlaps another one.
    images: BTreeMap<u64, Image>,
    /// Bytes of `images`.
    bytes: usize,
    /// Images may be missing: a list of them that began at this time or later is complete.
    incomplete: Option<BootNanos>,
}

#[derive(Debug)]
struct Module {
    /// The address of its first symbol.
    first: KernelAddr,
    from: BootNanos,
}

#[derive(Debug)]
struct Image {
    end: u64,
    name: Box<[u8]>,
    from: BootNanos,
}

impl Image {
    /// About the bytes that it takes in memory.
    fn bytes(&self) -> usize {
        2 * size_of::<(u64, Image)>() + self.name.len()
    }
}

impl Default for Symbols {
    fn default() -> Symbols {
        Symbols {
            table: Err(Unavailable::NotRead),
            modules: HashMap::default(),
            images: BTreeMap::new(),
            bytes: 0,
            incomplete: Some(BootNanos(0)),
        }
    }
}

impl Symbols {
    /// Applies a report. Reports should come in order of time, but slight disorder does no harm.
    pub fn apply(&mut self, at: BootNanos, change: ImageChange) {
        match change {
            ImageChange::Loaded(image) => self.load(at, image),
            ImageChange::Unloaded(CodeImage { address, name, .. }) => {
                if self.images.get(&address.0).is_some_and(|known| known.name == name && known.from <= at) {
                    self.remove(address.0);
                }
            }
            ImageChange::Lost => {
                self.images.clear();
                self.bytes = 0;
                self.incomplete = Some(at);
            }
        }
    }

    /// Replaces the table. Adds the listed images if images are missing: otherwise the reports are complete and newer.
    pub fn replace(&mut self, snapshot: Snapshot) {
        let Snapshot { began, table, images } = snapshot;
        let first = if self.table.is_ok() { began } else { BootNanos(0) };
        let module = |owner: &Owner| {
            let same = self.modules.get(&owner.name).filter(|known| known.first == owner.first);
            (owner.name.clone(), Module { first: owner.first, from: same.map_or(first, |same| same.from) })
        };
        self.modules = table.owners().map(module).collect();
        self.table = Ok(table);
        let Some(since) = self.incomplete.filter(|since| *since <= began) else { return };
        self.incomplete = None;
        // Before the first loss, an image without a report was there from the start.
        let from = if since == BootNanos(0) { since } else { began };
        for image in images {
            // A report is newer than the list.
            if self.overlapping(&image).is_empty() {
                self.insert(image, from);
            }
        }
    }

    /// The symbols cannot be read. Those read before stay.
    pub fn set_unavailable(&mut self, why: Unavailable) {
        if self.table.is_err() {
            self.table = Err(why);
        }
    }

    /// A module was unloaded. Its symbols end.
    pub fn end_module(&mut self, name: &[u8]) {
        self.modules.remove(name);
    }

    /// The symbol that contained the address at that time. `None` if none is known.
    pub fn find(&self, address: KernelAddr, at: BootNanos) -> Option<KernelSymbol> {
        // Until the next read, the table has modules whose memory became that of an image.
        let both = [self.listed(address, at), self.image(address, at)];
        both.into_iter().flatten().max_by_key(|symbol| symbol.from)
    }

    /// The symbols of the kernel and its modules.
    pub fn table(&self) -> Result<&Table, Unavailable> {
        self.table.as_ref().map_err(|why| *why)
    }

    fn listed(&self, address: KernelAddr, at: BootNanos) -> Option<KernelSymbol> {
        let TableSymbol { start, size, name, owner } = self.table.as_ref().ok()?.containing(address)?;
        let from = self.modules.get(owner)?.from;
        (from <= at).then(|| symbol(start, size, from, name, owner))
    }

    fn image(&self, address: KernelAddr, at: BootNanos) -> Option<KernelSymbol> {
        let (start, Image { end, name, from }) = self.images.range(..=address.0).next_back()?;
        let contains = address.0 < *end && *from <= at;
        contains.then(|| symbol(KernelAddr(*start), end - start, *from, name, BPF))
    }

    fn load(&mut self, at: BootNanos, image: CodeImage) {
        let before = self.overlapping(&image);
        // A report of a later image at this place has already arrived.
        if before.iter().any(|start| self.images[start].from > at) {
            return;
        }
        before.into_iter().for_each(|start| self.remove(start));
        self.insert(image, at);
    }

    /// The addresses of known images that overlap this one.
    fn overlapping(&self, image: &CodeImage) -> Vec<u64> {
        let below = self.images.range(..image.end().0).rev();
        below.take_while(|(_, known)| known.end > image.address.0).map(|(start, _)| *start).collect()
    }

    fn insert(&mut self, image: CodeImage, from: BootNanos) {
        let (start, end) = (image.address.0, image.end().0);
        let image = Image { end, name: image.name, from };
        // Without room, its addresses have no name.
        if start < end && self.bytes + image.bytes() <= IMAGES_BYTES {
            self.bytes += image.bytes();
            self.images.insert(start, image);
        }
    }

    fn remove(&mut self, start: u64) {
        if let Some(image) = self.images.remove(&start) {
            self.bytes -= image.bytes();
        }
    }
}

/// A symbol that is still loaded.
fn symbol(addr: KernelAddr, size: u64, from: BootNanos, name: &[u8], owner: &[u8]) -> KernelSymbol {
    KernelSymbol { addr, size, from, to: BootNanos(0), name: name.to_vec(), owner: owner.to_vec() }
}
