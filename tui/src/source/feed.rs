//! The thread that reads the kernel's ring and sends batches of frames, together with host frames.
//!
//! It does nothing else, to keep up with the ring. Its queue is bounded: if the pipeline is slow, the thread waits, and
//! events are lost in the kernel's ring only.

use super::host::{cgroup::CgroupResolver, clock};
use super::live::{CaptureError, Live, Stop};
use crate::budget::{Budget, cgroup_bytes};
use crate::capture::CaptureFilter;
use crate::fifo::Fifo;
use crate::frame::Batch;
use crate::frame::host::{Counters, HostFrame, ProgramSkips};
use crate::limits;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracetui_shared::id::CgroupId;
use tracetui_shared::kind::Slot;
use tracetui_shared::offsets::WAKE_NS;

/// How long the ring is looked at again after it was found empty: a little longer than the probes go without waking.
const POLL: Duration = Duration::from_nanos(WAKE_NS + WAKE_NS / 20);

/// How often the counters are read, and the clock offset is compared.
const COUNT: Duration = Duration::from_secs(1);

/// The niceness of the thread that empties the ring.
const READER_NICE: libc::c_int = -10;

/// A change of the clock offset that is worth a frame, nanoseconds.
const CLOCK_STEP: u64 = 1_000_000;

/// A running source: [`batches`](Self::batches) returns its batches until it ends. It ends if the receiver is dropped.
#[derive(Debug)]
pub struct Feed {
    /// Frames, in the order of the ring. Closed after the last counters.
    pub batches: mpsc::Receiver<Batch>,
    /// Its handle.
    pub handle: Handle,
}

/// A handle of a running source.
#[derive(Clone, Debug)]
pub struct Handle {
    spare: std_mpsc::SyncSender<Batch>,
    control: std_mpsc::Sender<Control>,
    stopper: Stop,
    budget: Budget,
}

/// Reads the running processes, and passes them on in batches, until the function returns `false`.
pub(crate) type Scan = Box<dyn FnOnce(&mut dyn FnMut(Batch) -> bool) + Send>;

#[derive(Debug)]
enum Control {
    Capture(Box<CaptureFilter>),
    Stop,
}

impl Feed {
    /// Starts to read the ring. `first` is sent before anything else; `scan` runs once, concurrently.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(
        live: Live,
        first: Vec<Batch>,
        cgroups: Option<CgroupResolver>,
        budget: Budget,
        scan: Option<Scan>,
    ) -> std::io::Result<Feed> {
        let (out, batches) = mpsc::channel(limits::BATCHES_QUEUED);
        let (spare, spares) = std_mpsc::sync_channel(limits::BATCHES_SPARE);
        let (control, commands) = std_mpsc::channel();
        let stopper = live.stopper();
        if let Some(scan) = scan {
            // Weak: a process can hold up the scan (a FUSE page under its command line), and the end does not wait for it.
            let out = out.downgrade();
            let run = move || scan(&mut |batch| out.upgrade().is_some_and(|out| out.blocking_send(batch).is_ok()));
            std::thread::Builder::new().name("scan".into()).spawn(run)?;
        }
        let reader = Reader {
            live,
            out,
            spares,
            commands,
            cgroups,
            last_cgroup: CgroupId(0),
            known_cgroups: known_cgroups(&first, budget),
            clock_offset: i64::MIN,
            counters: Counters::default(),
            held: None,
            budget,
        };
        std::thread::Builder::new().name("ring".into()).spawn(move || reader.run(first))?;
        Ok(Feed { batches, handle: Handle { spare, control, stopper, budget } })
    }
}

impl Handle {
    /// Returns a batch for reuse. It is freed if there are enough spare batches, if a large record enlarged it, or if
    /// the reader has ended.
    pub fn recycle(&self, batch: Batch) {
        if self.budget.is_batch(batch.room()) {
            let _ = self.spare.try_send(batch);
        }
    }

    /// Changes the capture filter of the running source.
    pub fn set_capture(&self, filter: CaptureFilter) {
        self.command(Control::Capture(Box::new(filter)));
    }

    /// Stops the source: it detaches the probes, drains the ring, reads the last counters, and closes `batches`.
    pub fn stop(&self) {
        self.command(Control::Stop);
    }

    fn command(&self, command: Control) {
        // The reader may have ended: then there is nothing left to change.
        let _ = self.control.send(command);
        self.stopper.stop();
    }
}

/// What a read of the ring found.
enum Read {
    Nothing,
    All,
    More,
    NobodyListens,
}

struct Reader {
    live: Live,
    out: mpsc::Sender<Batch>,
    spares: std_mpsc::Receiver<Batch>,
    commands: std_mpsc::Receiver<Control>,
    cgroups: Option<CgroupResolver>,
    last_cgroup: CgroupId,
    /// The cgroups that the pipeline knows: it forgets the same ones ([`World::apply_host`](crate::enrich::World::apply_host)).
    known_cgroups: Fifo<CgroupId, ()>,
    clock_offset: i64,
    /// The counters as the pipeline knows them.
    counters: Counters,
    /// What was read but not sent yet.
    held: Option<Batch>,
    budget: Budget,
}

impl Reader {
    fn run(mut self, first: Vec<Batch>) {
        hurry();
        let mut counters = self.batch();
        self.count(false, &mut counters);
        if !first.into_iter().chain([counters]).all(|batch| self.send(batch)) {
            return;
        }
        let mut counted = Instant::now();
        let mut looked = Instant::now();
        // When the order of all that came is settled. Until a look that begins later the ring is looked at without being
        // woken: the pipeline goes by the looks, and without one the events would stay where they are.
        let mut settled = Instant::now();
        let window = Duration::from_nanos(limits::order_window_ns(self.live.preemptible()));
        while !self.stopped() {
            let nap = if looked < settled { POLL } else { COUNT.saturating_sub(counted.elapsed()) };
            // A failed wait is no reason to stop reading: the next turn reads whatever is there.
            let _ = self.live.wait(Some(nap));
            looked = Instant::now();
            match self.read() {
                Read::NobodyListens => return,
                Read::Nothing => {}
                Read::More | Read::All => settled = Instant::now() + window,
            }
            if counted.elapsed() >= COUNT {
                counted = Instant::now();
                let mut batch = self.batch();
                self.clock(&mut batch);
                self.count(false, &mut batch);
                if !self.send(batch) {
                    return;
                }
            }
        }
        self.end();
    }

    /// Reads from the ring, and sends what was read; while the pipeline is busy, more is put into the same batch, so that
    /// the queue holds full ones.
    fn read(&mut self) -> Read {
        let mut batch = self.held.take().unwrap_or_else(|| self.batch());
        let held = batch.len();
        let before = clock::now_boot();
        let more = self.live.drain(&mut batch, self.budget.batch().saturating_sub(held));
        let any = batch.len() > held;
        self.name_cgroups(held, &mut batch);
        let filled = batch.len();
        if !more {
            batch.set_drained_at(before);
        }
        let busy = self.out.capacity() < self.out.max_capacity();
        if busy && (1..self.budget.batch()).contains(&filled) {
            self.held = Some(batch);
            return Read::All;
        }
        match self.send(batch) {
            false => Read::NobodyListens,
            true if more => Read::More,
            true if any => Read::All,
            true => Read::Nothing,
        }
    }

    fn end(mut self) {
        self.live.detach();
        loop {
            match self.read() {
                Read::More => {}
                Read::All | Read::Nothing => break,
                Read::NobodyListens => return,
            }
        }
        let mut batch = self.held.take().unwrap_or_else(|| self.batch());
        self.count(true, &mut batch);
        self.send(batch);
    }

    fn stopped(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Control::Stop => return true,
                // The old filter stays in force when the kernel refuses: the display filter still applies the new one.
                Control::Capture(filter) => drop(self.set_capture(&filter)),
            }
        }
        self.out.is_closed()
    }

    fn set_capture(&mut self, filter: &CaptureFilter) -> Result<(), CaptureError> {
        let cgroups = self.cgroups.as_ref().filter(|_| !filter.cgroups.is_empty());
        self.live.set_capture(filter, &cgroups.map(CgroupResolver::seed).unwrap_or_default())
    }

    fn batch(&self) -> Batch {
        let room = self.budget.batch() + limits::BATCH_SLACK;
        self.spares.try_recv().unwrap_or_else(|_| Batch::with_capacity(room))
    }

    fn send(&self, batch: Batch) -> bool {
        if self.out.capacity() < limits::BATCHES_QUEUED / 2 {
            take_back();
        }
        batch.is_empty() || self.out.blocking_send(batch).is_ok()
    }

    /// Adds the path of each cgroup that is not known, from the frames at a byte offset on.
    fn name_cgroups(&mut self, from: usize, batch: &mut Batch) {
        let mut found = Vec::new();
        for frame in batch.frames_from(from) {
            let id = frame.header.cgroup;
            // Most frames are of the same cgroup as the one before.
            if id != self.last_cgroup && id.0 != 0 {
                self.last_cgroup = id;
                if !self.known_cgroups.contains(&id)
                    && let Some(cgroup) = self.cgroups.as_mut().and_then(|cgroups| cgroups.look_up(id))
                {
                    self.known_cgroups.insert(id, (), cgroup_bytes(&cgroup.path));
                    found.push(cgroup);
                }
            }
        }
        for cgroup in found {
            if self.live.asks_for_cgroups() {
                // Refused: the filter lets less through than it could, and the display filter hides nothing of it.
                let _ = self.live.name_cgroup(&cgroup);
            }
            HostFrame::Cgroup(cgroup).push(clock::now_boot(), batch);
        }
        self.forget_cgroups();
    }

    /// Forgets the oldest cgroups, here and in the kernel, when there are too many. Each is named again at its next event: of
    /// what a capture filter does not let through, at its next fork, exec or exit.
    fn forget_cgroups(&mut self) {
        while let Some(id) = self.known_cgroups.evict(limits::CGROUPS, self.budget.cgroups()) {
            self.last_cgroup = CgroupId(0);
            if self.live.asks_for_cgroups() {
                // Refused: it stays let through, and what it does has no path.
                let _ = self.live.forget_cgroup(id);
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
        let Ok(cpus) = self.live.counters() else { return };
        let skips = self.live.skips();
        let programs = skips.into_iter().map(|(program, skips)| ProgramSkips {
            program: program.into(),
            slots: Slot::of_program(program).map(|slot| slot as u16).collect(),
            skips,
        });
        let (ring_used, ring_size) = self.live.fill();
        let counters = Counters { last, cpus, programs: programs.collect(), ring_used, ring_size };
        let changes = self.counters.changes_to(&counters);
        self.counters = counters;
        HostFrame::CounterChanges(changes).push(clock::now_boot(), batch);
    }
}

/// The cgroups that these batches name.
fn known_cgroups(batches: &[Batch], budget: Budget) -> Fifo<CgroupId, ()> {
    let mut known = Fifo::default();
    for frame in batches.iter().flat_map(Batch::frames) {
        if let Some(HostFrame::Cgroup(cgroup)) = HostFrame::decode(&frame) {
            known.insert(cgroup.id, (), cgroup_bytes(&cgroup.path));
            while known.evict(limits::CGROUPS, budget.cgroups()).is_some() {}
        }
    }
    known
}

/// Lets this thread run before others: the reader only copies, and what it does not copy in time is lost; and whoever was
/// asked to end should, however busy the machine is.
///
/// Gives the niceness that it had.
pub(crate) fn hurry() -> libc::c_int {
    // SAFETY: getpriority(2) with plain numbers; 0 is the calling thread.
    let niceness = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    be_nice(READER_NICE.min(niceness));
    niceness
}

/// Niceness of the main thread while its time is lent.
const LENT_NICE: libc::c_int = 15;

/// Whether the main thread's time is lent to what is traced.
static LENT: AtomicBool = AtomicBool::new(false);

/// Lends the main thread's time to what is traced, until it is taken back: by [`take_back`], or by the reader when the queue is
/// half full, since a batch at that niceness may take longer than the rest of the queue lasts.
pub(crate) fn lend() {
    if !LENT.swap(true, Ordering::Relaxed) {
        set_niceness(main_thread(), LENT_NICE);
    }
}

/// Takes the time back. By any thread, and in a signal handler.
pub(crate) fn take_back() {
    if LENT.swap(false, Ordering::Relaxed) {
        set_niceness(main_thread(), 0);
    }
}

/// Sets this thread's niceness.
pub(crate) fn be_nice(niceness: libc::c_int) {
    set_niceness(0, niceness);
}

/// The main thread has the id of the process.
fn main_thread() -> libc::id_t {
    // SAFETY: getpid(2) has no arguments and does not fail.
    unsafe { libc::getpid() }.cast_unsigned()
}

/// Sets a thread's niceness; 0 is the calling one.
fn set_niceness(thread: libc::id_t, niceness: libc::c_int) {
    // SAFETY: setpriority(2) with plain numbers. A refusal (no CAP_SYS_NICE) changes nothing.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, niceness) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::World;
    use crate::frame::host::Cgroup;
    use tracetui_shared::time::BootNanos;

    #[test]
    fn the_feed_and_the_world_forget_the_same_cgroups() {
        let budget = Budget::new(1 << 20);
        let mut world = World::default();
        world.set_budget(budget);
        let mut batch = Batch::default();
        for id in 0..1000u64 {
            let path = "/p".repeat(1 + id as usize * 7 % 50).into_bytes();
            HostFrame::Cgroup(Cgroup { id: CgroupId(id), path }).push(BootNanos(1), &mut batch);
        }
        let batches = [batch];
        let known = known_cgroups(&batches, budget);
        batches[0].frames().filter_map(|frame| HostFrame::decode(&frame)).for_each(|frame| world.apply_host(frame));
        let both = |id: u64| (known.contains(&CgroupId(id)), world.knows_cgroup(CgroupId(id)));
        assert!((0..1000).all(|id| both(id).0 == both(id).1));
        assert_eq!((both(0), both(999)), ((false, false), (true, true)));
        let kept = (0..1000).filter(|id| both(*id).0).count() as u64;
        assert_eq!(world.cgroups_evicted(), 1000 - kept);
    }
}
