//! The symbols of the addresses in stacks and attach points, as host frames. Each symbol is sent once, before the first
//! event that needs it, and once more if a later event shows that it ended.

use foldhash::HashMap;
use std::collections::BTreeSet;
use tracetui_events::enrich::symbols::StackSymbols;
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{FIRST_KIND, HostFrame, KernelSymbol};
use tracetui_events::limits;
use tracetui_events::symbols::{BPF, ImageChange, Snapshot, Symbols, Table, Unavailable};
use tracetui_host::clock;
use tracetui_host::kallsyms::{self, Module, SymbolReader};
use tracetui_host::printed_symbols::Namer;
use tracetui_shared::header::flag;
use tracetui_shared::id::KernelAddr;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::bpf::BpfRecord;
use tracetui_shared::record::stack;
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes;

/// The symbols of the kernel, and those sent as frames.
#[derive(Debug, Default)]
pub(super) struct StackNames {
    symbols: Symbols,
    /// `None` if no thread can be started: then addresses have no names.
    reader: Option<SymbolReader>,
    /// Asks the kernel for names. Used if the kernel hides its symbols.
    namer: Option<Namer>,
    /// Why there are no names. Set if the kernel cannot be asked either.
    pub(super) unnamed: Option<Unavailable>,
    /// Whether the symbols were read, or cannot be read.
    pub(super) known: bool,
    /// The symbols sent so far, as the pipeline has them.
    sent: StackSymbols,
    /// Addresses whose current symbols are in `sent`, with the time since when each symbol exists.
    addresses: HashMap<u64, BootNanos>,
    /// The modules found by the last check, and its time.
    modules: BTreeSet<Module>,
    looked_up: BootNanos,
}

impl StackNames {
    /// Begins to read the symbols.
    pub(super) fn start() -> StackNames {
        let reader = SymbolReader::start().ok();
        let (known, modules, looked_up) = (reader.is_none(), kallsyms::modules(), clock::now_boot());
        StackNames { known, reader, modules, looked_up, ..StackNames::default() }
    }

    /// Waits until the symbols are read, which takes some 60 ms.
    pub(super) fn wait(&mut self) -> Result<&Table, Unavailable> {
        self.hurry();
        let read = self.reader.as_ref().map_or(Err(Unavailable::NotRead), SymbolReader::wait);
        if let Err(why) = &read {
            // Before 5.13, no program can ask the kernel for names.
            self.namer = Namer::load().ok();
            self.unnamed = self.namer.is_none().then_some(*why);
        }
        self.take_snapshot(read);
        self.symbols.table()
    }

    /// Ends the pauses of the first read.
    pub(super) fn hurry(&self) {
        self.reader.iter().filter(|_| !self.known).for_each(SymbolReader::hurry);
    }

    /// Applies changes of programs, in order of time, and the result of a read.
    pub(super) fn change(&mut self, changes: impl IntoIterator<Item = (BootNanos, ImageChange)>) {
        for (at, change) in changes {
            if matches!(change, ImageChange::Lost) {
                self.read_again();
            }
            self.symbols.apply(at, change);
            self.addresses.clear();
        }
        if let Some(read) = self.reader.as_ref().and_then(SymbolReader::poll) {
            self.take_snapshot(read);
        }
    }

    /// Reads the symbols again if modules were loaded or unloaded since the last call. Call it each second. An unloaded module is
    /// known to have been there at the last check.
    pub(super) fn follow_modules(&mut self) {
        let before = std::mem::replace(&mut self.modules, kallsyms::modules());
        let since = std::mem::replace(&mut self.looked_up, clock::now_boot());
        if before == self.modules {
            return;
        }
        before.difference(&self.modules).for_each(|module| self.symbols.end_module(since, &module.name));
        self.addresses.clear();
        self.read_again();
    }

    fn read_again(&self) {
        self.reader.iter().for_each(SymbolReader::request);
    }

    fn take_snapshot(&mut self, read: Result<Snapshot, Unavailable>) {
        self.known = true;
        self.addresses.clear();
        match read {
            Ok(snapshot) => self.symbols.replace(snapshot),
            Err(why) => self.symbols.set_unavailable(why),
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
        if self.addresses.get(&address).is_some_and(|from| *from <= at) {
            return;
        }
        let symbol = self.symbols.find(KernelAddr(address), at);
        let hidden = symbol.is_none() && self.symbols.table().is_err();
        let symbol = if hidden { self.ask(address, at) } else { symbol };
        if let Some(current) = symbol.as_ref().filter(|symbol| symbol.to.0 == 0) {
            if self.addresses.len() >= limits::STACK_ADDRESSES {
                self.addresses.clear();
            }
            self.addresses.insert(address, current.from);
        }
        found.extend(self.sent.correct(address, at, symbol.as_ref()));
    }

    /// The kernel's answer for an address, if it was valid at that time too.
    fn ask(&self, address: u64, at: BootNanos) -> Option<KernelSymbol> {
        let named = self.namer.as_ref()?.name(address)?;
        // This address belongs to a program that was loaded since then.
        if self.symbols.find(KernelAddr(address), clock::now_boot()).is_some() {
            return None;
        }
        let is_program = is_program(&named.name);
        let owner = if is_program { BPF.to_vec() } else { named.module };
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
        assert!(is_program(b"bpf_prog_188d86a1865fce09_sys_exit") && is_program(b"bpf_prog_188d86a1865fce09"));
        assert!(!is_program(b"bpf_prog_load") && !is_program(b"bpf_prog_get_info_by_fd") && !is_program(b"do_exit"));
    }
}
