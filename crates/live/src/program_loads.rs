//! Loads and unloads of programs as host frames, from the kernel's own stream ([`tracetui_host::ksymbols`]).

use super::probe_status::ProbeStatus;
use foldhash::HashSet;
use std::io;
use std::os::fd::BorrowedFd;
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{HostFrame, ProgramChange, ProgramChangesLost};
use tracetui_events::limits;
use tracetui_events::symbols::{CodeImage, ImageChange};
use tracetui_host::clock;
use tracetui_host::ksymbols::{ProgramStream, StreamChange, StreamEvent};
use tracetui_host::procfs::{self, INITIAL_PID_NS};
use tracetui_shared::id::{KernelAddr, ProgId, Tgid, Tid};
use tracetui_shared::kind::KindSet;
use tracetui_shared::time::BootNanos;

const NAME: &str = "bpf_stream";

/// The pages of each CPU's ring. They hold some 2,400 changes.
const PAGES: usize = 64;

struct Symbol {
    time: BootNanos,
    tid: Tid,
    added: bool,
    addr: KernelAddr,
    len: u32,
    name: Vec<u8>,
}

#[derive(Default)]
struct Found {
    changes: Vec<(BootNanos, ProgramChange)>,
    /// The symbols that are not paired with a change yet. The symbols of a program come before its change, possibly on
    /// another CPU.
    symbols: Vec<Symbol>,
    images: Vec<(BootNanos, ImageChange)>,
}

pub(super) struct Changes {
    pub(super) stream: ProgramStream,
    found: Found,
    pub(super) own: HashSet<ProgId>,
    /// The process ids of tracetui and its inspector as they appear in the stream.
    pids: [u32; 2],
    /// Whether the stream uses the ids of the initial pid namespace.
    initial: bool,
    /// Whether programs are requested, or only symbols.
    programs: bool,
    /// The number of lost reports at the last count, and its time.
    counted_losses: u64,
    counted: BootNanos,
    /// Whether later changes are not read.
    ended: bool,
}

impl Changes {
    /// Begins to follow changes. Call it before the first program is loaded, because tracetui's programs are recognized
    /// by their load.
    ///
    /// `programs`: whether [`read`](Self::read) and [`count`](Self::count) append frames.
    pub(super) fn open(programs: bool) -> io::Result<Changes> {
        Ok(Changes {
            stream: ProgramStream::open(PAGES)?,
            found: Found::default(),
            programs,
            own: HashSet::default(),
            pids: [std::process::id(); 2],
            initial: procfs::namespace("/proc/self", "pid") == Some(INITIAL_PID_NS),
            counted_losses: 0,
            counted: clock::now_boot(),
            ended: false,
        })
    }

    /// Drops all changes so far, but still remembers which programs are tracetui's. `inspector` is its process id.
    pub(super) fn begin(&mut self, inspector: Option<u32>) {
        self.pids[1] = inspector.unwrap_or(self.pids[0]);
        self.read(&mut Batch::default(), BootNanos(u64::MAX), &mut |_| {});
        (self.counted_losses, self.counted) = (self.losses(), clock::now_boot());
    }

    pub(super) fn events(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.stream.events()
    }

    /// Appends the changes up to `until`; the next call has the later ones. Passes newly loaded programs to `loaded`, except
    /// tracetui's own. Returns whether there were any loads or unloads, and whether later ones are left.
    pub(super) fn read(&mut self, batch: &mut Batch, until: BootNanos, loaded: &mut dyn FnMut(ProgId)) -> (bool, bool) {
        self.drain();
        if !self.found.pair() {
            // The missing symbol was on a CPU that had already been read.
            self.drain();
            self.found.pair();
        }
        self.found.changes.sort_by_key(|(time, _)| *time);
        let now = self.found.changes.partition_point(|(time, _)| *time <= until);
        let mut others = false;
        for (time, mut change) in self.found.changes.drain(..now) {
            if change.loaded && self.pids.contains(&change.tgid.0) {
                self.own.insert(change.id);
            }
            change.own = if change.loaded { self.own.contains(&change.id) } else { self.own.remove(&change.id) };
            if !self.initial {
                (change.tgid, change.tid) = (Tgid(0), Tid(0));
            }
            others |= !change.own;
            if change.loaded && !change.own {
                loaded(change.id);
            }
            if self.programs {
                HostFrame::ProgramChange(change).push(time, batch);
            }
        }
        (others, !self.found.changes.is_empty())
    }

    /// Appends the number of reports lost since the last call. Also follows CPUs that were added or removed.
    pub(super) fn count(&mut self, batch: &mut Batch) {
        if self.ended {
            return;
        }
        // If this fails, the known CPUs are still followed.
        let _ = self.stream.follow_cpus();
        let (lost, now) = (self.losses(), clock::now_boot());
        let since = std::mem::replace(&mut self.counted, now);
        if lost > self.counted_losses {
            let count = lost - std::mem::replace(&mut self.counted_losses, lost);
            if self.programs {
                HostFrame::ProgramChangesLost(ProgramChangesLost { count, since }).push(now, batch);
            }
            self.found.images.push((now, ImageChange::Lost));
        }
    }

    /// The symbols added and removed since the last call, in order of time.
    pub(super) fn take_symbols(&mut self) -> Vec<(BootNanos, ImageChange)> {
        let mut changes = std::mem::take(&mut self.found.images);
        changes.sort_by_key(|(time, _)| *time);
        changes
    }

    fn losses(&self) -> u64 {
        self.stream.lost() + self.stream.broken
    }

    fn drain(&mut self) {
        let found = &mut self.found;
        if !self.ended {
            self.stream.drain(&mut |event| found.add(&event));
        }
    }

    /// Reads the stream for the last time, and appends the number of reports lost.
    pub(super) fn end(&mut self, batch: &mut Batch) {
        self.drain();
        self.count(batch);
        self.ended = true;
    }
}

impl Found {
    fn add(&mut self, event: &StreamEvent<'_>) {
        let (loaded, id, tag) = match event.what {
            StreamChange::Loaded { id, tag } => (true, id, tag),
            StreamChange::Unloaded { id, tag } => (false, id, tag),
            StreamChange::Symbol { addr, len, name, added } => {
                self.add_image(event.time, CodeImage { address: addr, length: len, name: name.into() }, added);
                // Trampolines and dispatchers have other names.
                if name.starts_with(b"bpf_prog_") && self.symbols.len() < limits::BPF_SYMBOLS_WAITING {
                    let (time, tid) = (event.time, event.tid);
                    self.symbols.push(Symbol { time, tid, added, addr, len, name: name.to_vec() });
                }
                return;
            }
        };
        let (cpu, tgid, tid) = (event.cpu, event.tgid, event.tid);
        self.changes.push((event.time, ProgramChange { loaded, id, tag, cpu, tgid, tid, ..ProgramChange::default() }));
    }

    fn add_image(&mut self, time: BootNanos, image: CodeImage, added: bool) {
        let change = if added { ImageChange::Loaded(image) } else { ImageChange::Unloaded(image) };
        match self.images.len() {
            limits::STACK_CHANGES => self.images.push((time, ImageChange::Lost)),
            0..limits::STACK_CHANGES => self.images.push((time, change)),
            _ => {}
        }
    }

    /// Pairs each change with its symbol: an earlier one of the same thread whose name contains the program's tag.
    /// Before 5.9, a program with several functions has no such symbol. Returns whether every change has one.
    fn pair(&mut self) -> bool {
        let mut all = true;
        for (time, change) in &mut self.changes {
            if !change.symbol.is_empty() {
                continue;
            }
            let start = format!("bpf_prog_{:016x}", change.tag);
            let is_of = |symbol: &Symbol| {
                symbol.tid == change.tid
                    && symbol.added == change.loaded
                    && symbol.time <= *time
                    && symbol.name.starts_with(start.as_bytes())
            };
            match self.symbols.iter().rposition(is_of) {
                Some(at) => {
                    let symbol = self.symbols.swap_remove(at);
                    (change.symbol, change.addr, change.len) = (symbol.name, symbol.addr, symbol.len);
                }
                None => all = false,
            }
        }
        // Only symbols of main functions belong to a change.
        let last = self.changes.iter().map(|(time, _)| *time).max().unwrap_or_default();
        self.symbols.retain(|symbol| symbol.time > last);
        all
    }
}

pub(super) fn status(opened: Option<&io::Error>) -> ProbeStatus {
    ProbeStatus {
        name: NAME,
        kinds: KindSet::LISTED,
        attached: opened.is_none(),
        how: "perf_event dummy:ksymbol,bpf_event".to_owned(),
        why: opened.map(|error| format!("perf_event_open: {error}")),
        missing: "unloads of programs, and loads by other programs".to_owned(),
        ..ProbeStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time: u64, tid: u32, what: StreamChange<'_>) -> StreamEvent<'_> {
        StreamEvent { time: BootNanos(time), tgid: Tgid(1), tid: Tid(tid), cpu: 0, what }
    }

    fn symbol(name: &[u8], addr: u64, added: bool) -> StreamChange<'_> {
        StreamChange::Symbol { addr: KernelAddr(addr), len: 64, name, added }
    }

    /// Symbols are paired with the change of their thread, even if the change was read first. Those of other functions
    /// are not kept.
    #[test]
    fn each_change_gets_its_symbol() {
        let mut found = Found::default();
        let load = |id, tag| StreamChange::Loaded { id: ProgId(id), tag };
        found.add(&event(12, 7, load(5, 0xab)));
        assert!(!found.pair(), "its symbol was not read yet");
        found.add(&event(10, 7, symbol(b"bpf_prog_00000000000000ab_main", 1 << 12, true)));
        found.add(&event(11, 7, symbol(b"bpf_prog_00000000000000cd_sub", 2 << 12, true)));
        found.add(&event(11, 8, symbol(b"bpf_prog_00000000000000ab_other", 3 << 12, true)));
        found.add(&event(11, 7, symbol(b"bpf_trampoline_1", 4 << 12, true)));
        found.add(&event(13, 7, symbol(b"bpf_prog_00000000000000ab_gone", 5 << 12, false)));
        found.add(&event(14, 7, StreamChange::Unloaded { id: ProgId(4), tag: 0xab }));
        found.add(&event(20, 7, symbol(b"bpf_prog_00000000000000ee_later", 6 << 12, true)));
        assert!(found.pair());
        let names: Vec<_> = found.changes.iter().map(|(_, c)| (c.id.0, c.loaded, &c.symbol[26..], c.addr.0)).collect();
        assert_eq!(names, [(5, true, &b"main"[..], 1 << 12), (4, false, b"gone", 5 << 12)]);
        assert_eq!(found.symbols.len(), 1, "its change comes later");
    }
}
