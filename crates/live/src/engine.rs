//! The running kernel as a [`Source`]. It empties the ring, and adds host data to the frames: paths of cgroups, the
//! clock, counters.
//!
//! It does nothing else, so that it keeps up with the ring. The queue to the pipeline is bounded. If the pipeline is
//! slow, this thread waits, and events are lost only in the kernel's ring.

use super::Live;
use super::inspector::Inspector;
use crate::feed::{Control, FrameSender, Source};
use crate::wake::Waker;
use std::time::{Duration, Instant};
use tracetui_events::budget::Budget;
use tracetui_events::event::refers_to;
use tracetui_events::fifo::Fifo;
use tracetui_events::frame::host::{Cgroup, Counters, HostFrame, ProgramSkips};
use tracetui_events::frame::{Batch, FrameRef};
use tracetui_events::limits;
use tracetui_host::confine::{Role, enter};
use tracetui_host::priority::{is_lent, raise_priority};
use tracetui_host::{cgroup::CgroupResolver, clock, container::Containers, users::Accounts};
use tracetui_shared::header::flag;
use tracetui_shared::id::CgroupId;
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::time::BootNanos;

/// The first interval at which the ring is polled after a wake-up, and the interval while it fills fast. Each further interval is
/// twice as long, up to [`LATE`]: each poll interrupts a traced process and may move it to another CPU, which costs more than the
/// records.
const SOON: Duration = Duration::from_millis(1);

/// The maximum interval at which the ring is polled. No event is shown later than this.
const LATE: Duration = Duration::from_millis(16);

/// The time after the last record for which the ring is polled. Then the next record wakes the reader.
const POLLED: Duration = Duration::from_millis(32);

/// The time after which the counters show every event that was met. Other CPUs see a write within microseconds.
const VISIBLE: Duration = Duration::from_micros(100);

/// Reading the counters of all CPUs, which may be many, takes at most 1/n of the time.
const LOOKS: u32 = 50;

/// The interval at which the counters are read and the clock offset is checked.
const COUNT: Duration = Duration::from_secs(1);

/// The minimum change of the clock offset, in nanoseconds, that is sent.
const CLOCK_STEP: u64 = 1_000_000;

pub struct LiveSource {
    live: Live,
    /// Dropped after the probes.
    inspector: Option<Inspector>,
    cgroups: Option<CgroupResolver>,
    containers: Option<Containers>,
    /// The cgroups that the pipeline knows. The pipeline evicts by the same rule
    /// ([`World::apply_host`](tracetui_events::enrich::World::apply_host)).
    known_cgroups: Fifo<CgroupId, ()>,
    accounts: Accounts,
}

impl LiveSource {
    /// Creates a source. The batches `first` were sent before its frames.
    pub fn new(
        live: Live,
        inspector: Option<Inspector>,
        cgroups: Option<CgroupResolver>,
        containers: Option<Containers>,
        accounts: Accounts,
        first: &[Batch],
        budget: Budget,
    ) -> LiveSource {
        LiveSource { live, inspector, cgroups, containers, known_cgroups: known_cgroups(first, budget), accounts }
    }
}

impl Source for LiveSource {
    fn waker(&self) -> Option<Waker> {
        Some(self.live.waker())
    }

    fn run(self, out: FrameSender) {
        // Without this role, the trace ends here.
        let inspector = self.inspector.as_ref().and_then(Inspector::pid);
        if enter(Role::Recorder { inspector }).is_err() {
            return;
        }
        let reader = Reader {
            source: self,
            out,
            last_cgroup: CgroupId(0),
            clock_offset: i64::MIN,
            counters: Counters::default(),
            reports: Batch::default(),
            reported: BootNanos(0),
            held: None,
            unnamed: None,
            ending: false,
            next_look: Instant::now(),
            newest: BootNanos(0),
            found: Instant::now(),
            settled: Instant::now(),
            quiet: false,
        };
        reader.run();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Nothing,
    All,
    More,
    NobodyListens,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    /// Whether there are events about objects of the inventory.
    listed: bool,
    /// Whether there are addresses: in stacks or in records.
    addresses: bool,
    /// The cgroups of the records. Repetitions in a row are left out.
    cgroups: Vec<CgroupId>,
    newest: BootNanos,
}

impl Asked {
    /// `last`: the cgroup of the previous frame. It is updated to the cgroup of the last frame.
    fn by<'a>(frames: impl Iterator<Item = FrameRef<'a>>, last: &mut CgroupId) -> Asked {
        let mut asked = Asked::default();
        let mut cgroup = |id: CgroupId, asked: &mut Asked| {
            // Most frames have the same cgroup as the previous one.
            if id != *last && id.0 != 0 {
                *last = id;
                asked.cgroups.push(id);
            }
        };
        for frame in frames {
            cgroup(frame.header.cgroup, &mut asked);
            asked.newest = asked.newest.max(frame.header.time);
            asked.addresses |= frame.header.has(flag::STACK);
            if let Ok(kind) = Kind::try_from(frame.header.kind) {
                let (group, address) = refers_to(kind, frame.payload);
                asked.listed |= KindSet::LISTED.contains(kind);
                asked.addresses |= address.0 != 0;
                cgroup(group, &mut asked);
            }
        }
        asked
    }
}

struct Reader {
    source: LiveSource,
    out: FrameSender,
    last_cgroup: CgroupId,
    clock_offset: i64,
    /// The counters as last sent to the pipeline.
    counters: Counters,
    newest: BootNanos,
    /// What the inspector has reported, until the records of earlier calls are read, and when it came.
    reports: Batch,
    reported: BootNanos,
    /// Records that were read but not sent yet.
    held: Option<Batch>,
    /// The offset in them from which the addresses have no names yet, because the symbols are still being read.
    unnamed: Option<usize>,
    ending: bool,
    /// The earliest time for the next check whether probes run.
    next_look: Instant,
    /// When records were last found, and the end of the last read before which no probe ran.
    found: Instant,
    settled: Instant,
    quiet: bool,
}

impl Reader {
    fn run(mut self) {
        raise_priority();
        let mut counters = self.out.batch();
        if let Some(inspector) = &mut self.source.inspector {
            counters.append(inspector.attached_at_start().bytes());
        }
        self.count(false, &mut counters);
        if !self.out.send(counters) {
            return;
        }
        let mut counted = Instant::now();
        // The order of the last events is final after the window, or once no probe ran before a read. Until then, the
        // ring is polled without a wake-up. The pipeline orders events by the times of these reads, and would otherwise
        // hold them back.
        let window = Duration::from_nanos(limits::order_window_ns(self.source.live.preemptible()));
        let mut nap = LATE;
        let mut looked = Instant::now();
        while !self.stopped() {
            let unsettled = self.settled < self.found && looked < self.found + window;
            // The main thread may not get any lent CPU time on a busy machine.
            let polling = unsettled || self.unnamed.is_some() || looked < self.found + POLLED || is_lent();
            // A failed wait does not end the loop: the next pass reads all available records.
            let timeout = if polling { nap } else { COUNT.saturating_sub(counted.elapsed()) };
            let ready =
                self.source.live.wait(timeout, polling, self.source.inspector.as_ref().and_then(Inspector::events));
            looked = Instant::now();
            nap = if polling { (2 * nap).min(LATE) } else { SOON };
            match self.read(polling) {
                Read::NobodyListens => return,
                // An incomplete record is ready, but cannot be read.
                Read::Nothing if ready.is_ok_and(|ready| ready) => std::thread::sleep(SOON),
                Read::Nothing => {}
                read @ (Read::More | Read::All) => {
                    self.found = Instant::now();
                    // The order of the records is not final yet, or there are many.
                    if read == Read::More || !self.quiet {
                        nap = SOON;
                    }
                }
            }
            if counted.elapsed() >= COUNT {
                counted = Instant::now();
                let mut batch = self.out.batch();
                self.clock(&mut batch);
                let now = clock::now_boot();
                self.source.accounts.changed().iter().for_each(|account| account.push(now, &mut batch));
                self.source.inspector.iter_mut().for_each(|inspector| inspector.check(&mut batch));
                self.count(false, &mut batch);
                if !self.out.send(batch) {
                    return;
                }
            }
        }
        self.end();
    }

    /// A time up to which all records were read, or that of the latest one if it is not much earlier: no record is between them, and
    /// its time takes no room in a recording.
    fn of_record(&self, time: BootNanos) -> BootNanos {
        if time.since(self.newest) < limits::ORDER_WINDOW_NS { self.newest.min(time) } else { time }
    }

    /// Reads from the ring, and sends the records. While the pipeline is busy, further records are added to the same
    /// batch, so that the queue contains full batches. A poll that finds nothing sends nothing once the order of all events is final.
    fn read(&mut self, polling: bool) -> Read {
        let mut batch = self.held.take().unwrap_or_else(|| self.out.batch());
        let held = batch.len();
        // What the inspector has reported comes after the records of calls that preceded it.
        if let Some(inspector) = self.source.inspector.as_mut().filter(|_| self.reports.is_empty()) {
            inspector.receive(&mut self.reports);
            self.reported = clock::now_boot();
        }
        let (before, began) = (clock::now_boot(), Instant::now());
        self.quiet = self.is_quiet(began);
        let room = self.out.budget.batch();
        let until = if self.ending { BootNanos(u64::MAX) } else { before };
        let more = self.source.live.drain(&mut batch, room.saturating_sub(held), until);
        let asked = Asked::by(batch.frames_from(held), &mut self.last_cgroup);
        self.newest = self.newest.max(asked.newest);
        // The time up to which the records of calls were read, and events are delivered. A later unload could come before the begin of
        // an attachment, and an earlier one that waits comes late.
        let window = limits::order_window_ns(self.source.live.preemptible());
        let read = if more { BootNanos(self.newest.0.saturating_sub(window)) } else { until };
        if self.reported <= read && !self.reports.is_empty() {
            self.inventory(false, self.reported, &mut batch);
            batch.append(std::mem::take(&mut self.reports).bytes());
        }
        let is_left = self.inventory(asked.listed, read, &mut batch);
        let any = batch.len() > held;
        self.name_cgroups(&asked.cgroups, &mut batch);
        let unnamed = self.unnamed.take().or(asked.addresses.then_some(held));
        if unnamed.is_some() && (self.ending || batch.len() >= room) {
            self.source.live.wait_for_symbols();
        }
        if !self.source.live.name_stacks(unnamed, &mut batch) {
            self.source.live.hurry_symbols();
            (self.unnamed, self.held) = (unnamed, Some(batch));
            return Read::All;
        }
        let filled = batch.len();
        let is_idle = polling && !more && !is_left && filled == 0 && self.settled >= self.found;
        match (more, self.quiet) {
            _ if is_idle => {}
            (true, _) => {}
            (false, false) => batch.set_drained_at(self.of_record(before)),
            (false, true) => {
                batch.set_settled_at(self.of_record(BootNanos(before.0.saturating_sub(VISIBLE.as_nanos() as u64))));
                self.settled = began - VISIBLE;
            }
        }
        self.out.urge();
        if is_idle {
            self.held = Some(batch);
            return Read::Nothing;
        }
        if self.out.busy() && (1..room).contains(&filled) {
            self.held = Some(batch);
            return Read::All;
        }
        match self.out.send(batch) {
            false => Read::NobodyListens,
            true if more => Read::More,
            true if any || is_left => Read::All,
            true => Read::Nothing,
        }
    }

    /// Whether no probe runs. Everything that the probes sent before is then in the ring.
    fn is_quiet(&mut self, now: Instant) -> bool {
        if now < self.next_look {
            return false;
        }
        let quiet = self.source.live.cpus.are_balanced();
        // The thread may have been preempted meanwhile.
        self.next_look = now + (LOOKS * now.elapsed()).min(LATE);
        quiet
    }

    /// Adds loads and unloads of programs up to `until`. Requests an inventory if something changed. Returns whether later ones are
    /// left.
    fn inventory(&mut self, listed: bool, until: BootNanos, batch: &mut Batch) -> bool {
        let inspector = self.source.inspector.as_mut();
        let mut loaded = |id| inspector.iter().for_each(|inspector| inspector.program_loaded(id));
        let (changed, is_left) = self.source.live.drain_changes(batch, until, &mut loaded);
        if let Some(inspector) = inspector.filter(|_| changed || listed) {
            inspector.changed();
        }
        is_left
    }

    fn end(mut self) {
        self.ending = true;
        let mut batch = self.held.take().unwrap_or_else(|| self.out.batch());
        if let Some(inspector) = &mut self.source.inspector {
            inspector.end(&mut self.reports);
        }
        // The stream ends before the probes. A load that only the stream saw is then one that no probe could see.
        self.source.live.end_changes(&mut batch);
        self.reported = clock::now_boot();
        self.source.live.follow_functions(&mut batch);
        self.held = Some(batch);
        self.source.live.detach();
        loop {
            match self.read(false) {
                Read::More => {}
                Read::All | Read::Nothing => break,
                Read::NobodyListens => return,
            }
        }
        let mut batch = self.held.take().unwrap_or_else(|| self.out.batch());
        self.count(true, &mut batch);
        self.out.send(batch);
    }

    fn stopped(&mut self) -> bool {
        while let Some(control) = self.out.control() {
            match control {
                Control::Stop => return true,
                Control::CountRuns(on) => {
                    self.source.inspector.iter_mut().for_each(|inspector| inspector.count_runs(on));
                }
            }
        }
        self.out.is_closed()
    }

    /// Adds the paths of cgroups that are not known yet.
    fn name_cgroups(&mut self, ids: &[CgroupId], batch: &mut Batch) {
        for id in ids {
            if self.source.known_cgroups.contains(id) {
                continue;
            }
            let found = self.source.cgroups.as_mut().and_then(|cgroups| cgroups.look_up(*id));
            let Some(mut cgroup) = found else { continue };
            self.source.containers.iter_mut().for_each(|containers| containers.name(&mut cgroup));
            self.name_cgroup(cgroup, batch);
        }
        while let Some(cgroup) = self.source.containers.as_mut().and_then(Containers::late) {
            // An evicted one is looked up again.
            if self.source.known_cgroups.contains(&cgroup.id) {
                self.name_cgroup(cgroup, batch);
            }
        }
        self.forget_cgroups();
    }

    /// Adds a cgroup, or a known one again after its container was found.
    fn name_cgroup(&mut self, cgroup: Cgroup, batch: &mut Batch) {
        self.source.known_cgroups.insert(cgroup.id, (), cgroup.bytes());
        if self.source.live.asks_for_cgroups() {
            // An error means that the kernel side passes fewer events than it should. The display filter hides none
            // of the events that pass.
            let _ = self.source.live.capture.name_cgroup(&cgroup);
        }
        HostFrame::Cgroup(cgroup).push(clock::now_boot(), batch);
    }

    /// Evicts the oldest cgroups above the limits, here and in the kernel. A path is added again at the next event of
    /// its cgroup. For events that the capture filter rejects, this happens at the next fork, exec or exit.
    fn forget_cgroups(&mut self) {
        while let Some(id) =
            self.source.known_cgroups.evict(limits::CGROUPS, self.out.budget.share(limits::CGROUPS_SHARE))
        {
            self.last_cgroup = CgroupId(0);
            if self.source.live.asks_for_cgroups() {
                // An error means that the events of the cgroup still pass, without a path.
                let _ = self.source.live.capture.forget_cgroup(id);
            }
        }
    }

    fn clock(&mut self, batch: &mut Batch) {
        let clock = clock::sample();
        if clock.offset_ns.abs_diff(self.clock_offset) >= CLOCK_STEP {
            self.clock_offset = clock.offset_ns;
            HostFrame::Clock(clock).push(clock::now_boot(), batch);
        }
    }

    fn count(&mut self, last: bool, batch: &mut Batch) {
        let cpus = self.source.live.counters();
        let skips = self.source.live.skips();
        let programs = skips.into_iter().map(|(program, skips)| ProgramSkips {
            program: program.into(),
            slots: Slot::of_program(program).map(|slot| slot as u16).collect(),
            skips,
        });
        self.source.live.count_changes(batch);
        self.source.live.follow_functions(batch);
        self.source.live.sweep_connections();
        let (ring_used, ring_size) = self.source.live.fill();
        let counters = Counters { last, cpus, programs: programs.collect(), ring_used, ring_size };
        let changes = self.counters.changes_to(&counters);
        self.counters = counters;
        HostFrame::CounterChanges(changes).push(clock::now_boot(), batch);
    }
}

fn known_cgroups(batches: &[Batch], budget: Budget) -> Fifo<CgroupId, ()> {
    let mut known = Fifo::default();
    for frame in batches.iter().flat_map(Batch::frames) {
        if let Some(HostFrame::Cgroup(cgroup)) = HostFrame::decode(&frame) {
            known.insert(cgroup.id, (), cgroup.bytes());
            while known.evict(limits::CGROUPS, budget.share(limits::CGROUPS_SHARE)).is_some() {}
        }
    }
    known
}

#[cfg(test)]
mod tests;
