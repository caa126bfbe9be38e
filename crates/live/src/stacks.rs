//! The symbols of the addresses in stacks and attach points, as host frames. Each symbol is sent once, before the first
//! event that needs it.

use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{FIRST_KIND, HostFrame, KernelSymbol};
use tracetui_events::limits;
use tracetui_events::symbols::{Snapshot, SymbolChange, Symbols, Unavailable, Unresolved};
use tracetui_host::clock;
use tracetui_host::kallsyms::{self, Module, SymbolReader};
use tracetui_host::named::Namer;
use tracetui_shared::header::flag;
use tracetui_shared::id::KernelAddr;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::bpf::BpfRecord;
use tracetui_shared::record::stack;
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes;

/// The time during which a symbol was at its address: from, to. If `to` is 0, it still is.
type Period = (BootNanos, BootNanos);

/// The symbols of the kernel, and the record of those sent as frames.
#[derive(Debug)]
pub(super) struct StackNames {
    symbols: Symbols,
    reader: Option<SymbolReader>,
    /// Asks the kernel for names. Used if the kernel hides its symbols.
    namer: Option<Namer>,
    /// Why there are no names. Set if the kernel cannot be asked either.
    unnamed: Option<Unavailable>,
    read: Receiver<(BootNanos, SymbolChange)>,
    /// Whether the symbols were read, or cannot be read.
    known: bool,
    /// The symbols sent so far, by address and `from`.
    sent: FxHashMap<(KernelAddr, BootNanos), KernelSymbol>,
    /// The addresses whose symbols were sent, with the time during which each symbol was there.
    addresses: FxHashMap<u64, Period>,
    bytes: usize,
    name: Vec<u8>,
    /// The modules found by the last check, and its time.
    modules: BTreeSet<Module>,
    looked: BootNanos,
}

impl StackNames {
    /// Begins to read the symbols.
    pub(super) fn start() -> StackNames {
        let (deliver, read) = channel();
        let reader = SymbolReader::start(move |at, change| {
            // An error means that the receiver is gone.
            let _ = deliver.send((at, change));
        });
        StackNames {
            symbols: Symbols::default(),
            // If no thread can be started, addresses have no names.
            reader: reader.ok(),
            namer: None,
            unnamed: None,
            read,
            known: false,
            sent: FxHashMap::default(),
            addresses: FxHashMap::default(),
            bytes: 0,
            name: Vec::new(),
            modules: kallsyms::modules(),
            looked: clock::now_boot(),
        }
    }

    /// Waits until the symbols are read, which takes some 60 ms.
    pub(super) fn wait(&mut self) -> Result<Snapshot, Unavailable> {
        self.hurry();
        self.known = true;
        let (at, change) = self.read.recv().map_err(|_| Unavailable::NotRead)?;
        self.symbols.apply(at, change.clone());
        match change {
            SymbolChange::Read(snapshot) => Ok(snapshot),
            SymbolChange::Unavailable(why) => {
                // Before 5.13, no program can ask the kernel for names.
                self.namer = Namer::load().ok();
                self.unnamed = self.namer.is_none().then_some(why);
                Err(why)
            }
            _ => Err(Unavailable::NotRead),
        }
    }

    /// Ends the pauses of the first read.
    pub(super) fn hurry(&self) {
        self.reader.iter().filter(|_| !self.known).for_each(SymbolReader::hurry);
    }

    /// Whether the symbols were read, or cannot be read.
    pub(super) fn known(&self) -> bool {
        self.known
    }

    /// Why addresses have no names. `None` if they have names.
    pub(super) fn unnamed(&self) -> Option<Unavailable> {
        self.unnamed
    }

    /// Applies changes in order of time, and appends the ends of symbols that were sent.
    pub(super) fn change(&mut self, changes: impl IntoIterator<Item = (BootNanos, SymbolChange)>, batch: &mut Batch) {
        for (at, change) in changes {
            self.apply(at, change, batch);
        }
        loop {
            match self.read.try_recv() {
                Ok((at, change)) => self.apply(at, change, batch),
                Err(TryRecvError::Empty) => return,
                // No thread is reading the symbols.
                Err(TryRecvError::Disconnected) => {
                    self.known = true;
                    return;
                }
            }
        }
    }

    /// Finds modules loaded and unloaded since the last call. Call it each second. An unloaded module is known to have
    /// been there at the last check, and a loaded one is known to be there now. Addresses in them have no names for the
    /// time in between.
    pub(super) fn follow_modules(&mut self, batch: &mut Batch) {
        let now = clock::now_boot();
        let before = std::mem::replace(&mut self.modules, kallsyms::modules());
        let since = std::mem::replace(&mut self.looked, now);
        let named = |module: &Module| module.name.clone();
        let gone: Vec<_> = before.difference(&self.modules).map(named).collect();
        let came: Vec<_> = self.modules.difference(&before).map(named).collect();
        let gone = gone.into_iter().map(|name| (since, SymbolChange::ModuleUnloaded(name)));
        self.change(gone.chain(came.into_iter().map(|name| (now, SymbolChange::ModuleLoaded(name)))), batch);
    }

    fn apply(&mut self, at: BootNanos, change: SymbolChange, batch: &mut Batch) {
        if change.needs_read() {
            self.reader.iter().for_each(SymbolReader::request);
        }
        let gone = match &change {
            SymbolChange::Loaded(image) | SymbolChange::Unloaded(image) => {
                Some(image.address.0..=image.address.0.saturating_add(image.length.into()))
            }
            SymbolChange::ModuleUnloaded(_) | SymbolChange::Lost { .. } | SymbolChange::Read(_) => Some(0..=u64::MAX),
            _ => None,
        };
        self.known |= matches!(change, SymbolChange::Read(_) | SymbolChange::Unavailable(_));
        self.symbols.apply(at, change);
        let Some(gone) = gone else { return };
        let open = |symbol: &&mut KernelSymbol| symbol.to.0 == 0 && !symbol.owner.is_empty();
        for symbol in self.sent.values_mut().filter(open) {
            let last = symbol.addr.0.saturating_add(symbol.size.saturating_sub(1));
            if last < *gone.start() || symbol.addr.0 > *gone.end() {
                continue;
            }
            // Only the end of the symbol may have changed.
            let to = match self.symbols.lookup(symbol.addr, symbol.from.max(BootNanos(1)), &mut self.name) {
                Ok(known) if known.from == symbol.from => known.to,
                _ => at,
            };
            if to.0 != 0 {
                symbol.to = to;
                HostFrame::KernelSymbol(symbol.clone()).push(clock::now_boot(), batch);
                self.addresses.retain(|address, _| *address < symbol.addr.0 || *address > last);
            }
        }
    }

    /// Appends symbols for the stacks and attach points in the frames from byte offset `from` on, except those that
    /// were already sent.
    pub(super) fn name(&mut self, from: usize, batch: &mut Batch) {
        let mut found = Vec::new();
        for frame in batch.frames_from(from).filter(|frame| frame.header.kind < FIRST_KIND) {
            if frame.header.kind == Kind::Bpf as u16
                && let Ok((record, _)) = BpfRecord::read_from_prefix(frame.payload)
                && record.addr != 0
            {
                self.look_up(record.addr, frame.header.time, &mut found);
            }
            if !frame.header.has(flag::STACK) {
                continue;
            }
            let Some((_, addresses)) = stack::split(frame.payload) else { continue };
            for address in addresses.as_chunks().0.iter().take(stack::MOST) {
                // This is a return address. The call before it is inside the function.
                self.look_up(u64::from_le_bytes(*address).wrapping_sub(1), frame.header.time, &mut found);
            }
        }
        let now = clock::now_boot();
        found.into_iter().for_each(|symbol| HostFrame::KernelSymbol(symbol).push(now, batch));
    }

    fn look_up(&mut self, address: u64, at: BootNanos, found: &mut Vec<KernelSymbol>) {
        if self.addresses.get(&address).is_some_and(|(from, to)| *from <= at && (to.0 == 0 || at < *to)) {
            return;
        }
        let symbol = match self.symbols.lookup(KernelAddr(address), at, &mut self.name) {
            Ok(symbol) => KernelSymbol {
                addr: symbol.start,
                size: symbol.size,
                from: symbol.from,
                to: symbol.to,
                name: symbol.name.to_vec(),
                owner: symbol.owner.to_vec(),
            },
            Err(Unresolved::Unavailable(_)) => match self.ask(address, at) {
                Some(symbol) => symbol,
                None => return,
            },
            Err(_) => return,
        };
        let period = (symbol.from, symbol.to);
        if self.addresses.len() >= limits::STACK_ADDRESSES {
            self.addresses.clear();
        }
        self.addresses.insert(address, period);
        if self.sent.get(&(symbol.addr, symbol.from)).is_some_and(|known| known.to == symbol.to) {
            return;
        }
        // The pipeline has the same limit.
        if self.bytes > limits::STACK_SYMBOLS {
            return;
        }
        self.bytes += symbol.bytes();
        self.sent.insert((symbol.addr, symbol.from), symbol.clone());
        found.push(symbol);
    }

    /// The kernel's answer for an address, if it was valid at that time too.
    fn ask(&mut self, address: u64, at: BootNanos) -> Option<KernelSymbol> {
        let named = self.namer.as_ref()?.name(address)?;
        // This address belongs to a program that was loaded since then.
        if self.symbols.lookup(KernelAddr(address), clock::now_boot(), &mut self.name).is_ok() {
            return None;
        }
        let is_program = is_program(&named.name);
        let owner = if is_program { b"bpf".to_vec() } else { named.module };
        // The kernel itself never moves. A module or program is only known to be there now.
        let from = if owner.is_empty() { BootNanos(0) } else { at };
        let addr = KernelAddr(address.checked_sub(named.offset)?);
        Some(KernelSymbol { addr, size: named.size, from, to: BootNanos(0), name: named.name, owner })
    }
}

/// Whether this is the symbol of a program: `bpf_prog_`, 16 hex digits, and maybe a name.
fn is_program(name: &[u8]) -> bool {
    let tag = name.strip_prefix(b"bpf_prog_").and_then(|rest| rest.split_at_checked(16));
    tag.is_some_and(|(tag, rest)| tag.iter().all(u8::is_ascii_hexdigit) && matches!(rest, [] | [b'_', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_symbol() {
        assert!(is_program(b"bpf_prog_188d86a1865fce09_sys_exit_btf") && is_program(b"bpf_prog_188d86a1865fce09"));
        assert!(!is_program(b"bpf_prog_load") && !is_program(b"bpf_prog_get_info_by_fd") && !is_program(b"do_exit"));
    }
}
