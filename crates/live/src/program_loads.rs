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
use tracetui_shared::id::{ProgId, Tgid, Tid};
use tracetui_shared::kind::KindSet;
use tracetui_shared::time::BootNanos;

const NAME: &str = "bpf_stream";

/// The pages of each CPU's ring. They hold some 2,400 changes.
const PAGES: usize = 64;

#[derive(Default)]
struct Found {
    changes: Vec<(BootNanos, ProgramChange)>,
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
                let image = CodeImage { address: addr, length: len, name: name.into() };
                return self.add_image(event.time, image, added);
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
