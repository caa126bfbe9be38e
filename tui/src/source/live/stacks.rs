//! The symbols that the stacks and attach points of events name, as host frames: each once, before the first event that needs it.

use crate::frame::Batch;
use crate::frame::host::{FIRST_KIND, HostFrame, KernelSymbol};
use crate::limits;
use crate::source::host::clock;
use crate::source::host::kallsyms::Reader;
use crate::symbols::{Snapshot, SymbolChange, Symbols, Unavailable, Unresolved};
use rustc_hash::FxHashMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tracetui_shared::header::flag;
use tracetui_shared::id::KernelAddr;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::bpf::BpfRecord;
use tracetui_shared::record::stack;
use tracetui_shared::time::BootNanos;
use zerocopy::FromBytes;

/// How long the start waits for the symbols: some 60 ms, more on a busy machine. Events before them have no names.
const PATIENCE: Duration = Duration::from_secs(3);

/// When a symbol was where it was: from, to (0: it still is).
type Period = (BootNanos, BootNanos);

/// The symbols of the kernel, and which of them were told.
#[derive(Debug)]
pub(super) struct Names {
    symbols: Symbols,
    reader: Option<Reader>,
    read: Receiver<(BootNanos, SymbolChange)>,
    /// The symbols that were told, by start and `from`, with their owner.
    told: FxHashMap<(KernelAddr, BootNanos), KernelSymbol>,
    /// The addresses whose symbols were told, and when these were there.
    addresses: FxHashMap<u64, Period>,
    bytes: usize,
    name: Vec<u8>,
}

impl Names {
    /// Begins to read the symbols.
    pub(super) fn start() -> Names {
        let (deliver, read) = channel();
        let reader = Reader::start(move |at, change| {
            // Nobody reads them after the end.
            let _ = deliver.send((at, change));
        });
        Names {
            symbols: Symbols::default(),
            // Without a thread, addresses have no names.
            reader: reader.ok(),
            read,
            told: FxHashMap::default(),
            addresses: FxHashMap::default(),
            bytes: 0,
            name: Vec::new(),
        }
    }

    /// Waits until the symbols are read.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(super) fn wait(&mut self) -> Result<Snapshot, Unavailable> {
        let (at, change) = self.read.recv_timeout(PATIENCE).map_err(|_| Unavailable::NotRead)?;
        self.symbols.apply(at, change.clone());
        match change {
            SymbolChange::Read(snapshot) => Ok(snapshot),
            SymbolChange::Unavailable(why) => Err(why),
            _ => Err(Unavailable::NotRead),
        }
    }

    /// Takes what changed, in order of time, and appends the ends of symbols that were told.
    pub(super) fn change(&mut self, changes: impl IntoIterator<Item = (BootNanos, SymbolChange)>, batch: &mut Batch) {
        for (at, change) in changes {
            self.apply(at, change, batch);
        }
        while let Ok((at, change)) = self.read.try_recv() {
            self.apply(at, change, batch);
        }
    }

    fn apply(&mut self, at: BootNanos, change: SymbolChange, batch: &mut Batch) {
        if change.needs_read() {
            self.reader.iter().for_each(Reader::request);
        }
        let gone = match &change {
            SymbolChange::Loaded(image) | SymbolChange::Unloaded(image) => {
                Some(image.address.0..=image.address.0.saturating_add(image.length.into()))
            }
            SymbolChange::Lost { .. } | SymbolChange::Read(_) => Some(0..=u64::MAX),
            _ => None,
        };
        self.symbols.apply(at, change);
        let Some(gone) = gone else { return };
        let open = |symbol: &&mut KernelSymbol| symbol.to.0 == 0 && !symbol.owner.is_empty();
        for symbol in self.told.values_mut().filter(open) {
            let last = symbol.addr.0.saturating_add(symbol.size.saturating_sub(1));
            if last < *gone.start() || symbol.addr.0 > *gone.end() {
                continue;
            }
            // As of its start it is as it was, but for its end.
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

    /// Appends the symbols that the stacks and the attach points of the frames from a byte offset on need, and that were not
    /// told.
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
                // A return address: the call before it is in the function.
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
        let Names { symbols, told, name, .. } = self;
        let symbol = match symbols.lookup(KernelAddr(address), at, name) {
            Ok(symbol) => symbol,
            Err(Unresolved::Outside | Unresolved::Unavailable(_) | Unresolved::Lost | Unresolved::Forgotten) => return,
        };
        let period = (symbol.from, symbol.to);
        if self.addresses.len() >= limits::STACK_ADDRESSES {
            self.addresses.clear();
        }
        self.addresses.insert(address, period);
        if told.get(&(symbol.start, symbol.from)).is_some_and(|known| known.to == symbol.to) {
            return;
        }
        // The pipeline takes no more than this either.
        if self.bytes > limits::STACK_SYMBOLS {
            return;
        }
        let symbol = KernelSymbol {
            addr: symbol.start,
            size: symbol.size,
            from: symbol.from,
            to: symbol.to,
            name: symbol.name.to_vec(),
            owner: symbol.owner.to_vec(),
        };
        self.bytes += 2 * size_of::<KernelSymbol>() + symbol.name.len() + symbol.owner.len();
        told.insert((symbol.addr, symbol.from), symbol.clone());
        found.push(symbol);
    }
}
