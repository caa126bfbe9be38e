//! Inventories of all BPF programs, links and attachments during a trace, as host frames. The inspector
//! ([`super::inspector`]) takes them at the start and after changes.

use crate::wake::Waker;
use foldhash::{HashMap, HashSet};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tracetui_events::bpf::frames::Described;
use tracetui_events::bpf::{InterfacePart, InterfaceScope};
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::BpfAttachment;
use tracetui_host::background::Pace;
use tracetui_host::clock;
use tracetui_host::confine::{Role, Spawner, enter};
use tracetui_inspect::network::xdp_links;
use tracetui_inspect::{Collector, RouteChanges, RunStatistics, Sockets, counters, link_ids};
use tracetui_shared::id::{LinkId, ProgId};

/// How long changes are collected before an inventory. A loaded program is usually attached at once.
const QUIET: Duration = Duration::from_millis(100);
/// The pause after an inventory, as a multiple of the processor time that it took. At most [`INTERVAL`].
const PAUSE: u32 = 10;
/// The same if there are more than [`MANY`] programs: inventories of 10,000 programs then take less than 1 % of a processor.
const PAUSE_OF_MANY: u32 = 120;
const MANY: usize = 2000;
/// How often the first inventory is tried while links are created and released.
const FIRST: u32 = 5;
/// The number of programs that are read as soon as they are loaded. If more are loaded at once, the inventory covers
/// the others.
const LOADS: usize = 64;
/// The interval at which the ids of links are compared with the last inventory, because the kernel does not report
/// released links.
const LOOK: Duration = Duration::from_secs(1);
/// The interval after which an inventory is taken even without a change, because attachments without a link are
/// detached without a report. Tests set less.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
const COUNT: Duration = Duration::from_secs(1);

/// What the trace requests of the thread that takes inventories.
pub(super) struct Requests {
    shared: Arc<Shared>,
    loads: SyncSender<ProgId>,
}

struct Shared {
    poke: Waker,
    ends: AtomicBool,
    /// Whether runs should be counted.
    counts: AtomicBool,
    /// Inventories have pauses unless something changed or somebody waits for them.
    pace: Arc<Pace>,
}

impl Shared {
    fn hurry(&self) {
        self.pace.hurry();
        self.poke.wake();
    }
}

impl Requests {
    /// Something changed. `counts`: whether runs should be counted.
    pub(super) fn changed(&self, counts: bool) {
        self.shared.counts.store(counts, Ordering::Release);
        self.shared.hurry();
    }

    /// Reports a loaded program. The thread reads it at once, unless too many wait.
    pub(super) fn program_loaded(&self, id: ProgId) {
        let _ = self.loads.try_send(id);
    }

    pub(super) fn end(&self) {
        self.shared.ends.store(true, Ordering::Release);
        self.shared.hurry();
    }
}

pub(super) struct Helpers {
    pub(super) pins: Spawner,
    pub(super) sockets: Sockets,
}

pub(super) struct Taker {
    shared: Arc<Shared>,
    own: HashSet<ProgId>,
    interval: Duration,
    counting: bool,
    /// The handle that keeps the kernel counting, if counting could be turned on.
    statistics: Option<RunStatistics>,
    counted: Instant,
    trace: File,
    /// Changes of network interfaces. If `None`, they are found after [`INTERVAL`].
    routes: Option<RouteChanges>,
    collector: Collector,
    described: Described,
    /// The ids of the links of the last inventory.
    links: Vec<u32>,
    /// Whether links were created or released during the last inventory, so that another one must follow.
    unsteady: bool,
    loaded_programs: Receiver<ProgId>,
    /// The number of programs in the last inventory. `None` before the first.
    programs: Option<usize>,
}

impl Taker {
    /// `last` is the last link that exists.
    pub(super) fn new(
        own: HashSet<ProgId>,
        interval: Duration,
        last: LinkId,
        Helpers { pins, sockets }: Helpers,
        trace: File,
    ) -> io::Result<(Taker, Requests)> {
        let (loads, loaded) = sync_channel(LOADS);
        let pace = Arc::<Pace>::default();
        let (ends, counts) = Default::default();
        let shared = Arc::new(Shared { poke: Waker::new()?, ends, counts, pace: Arc::clone(&pace) });
        let newest = own.iter().copied().max().unwrap_or_default();
        let taker = Taker {
            shared: Arc::clone(&shared),
            own,
            interval,
            counting: false,
            statistics: None,
            counted: Instant::now(),
            trace,
            routes: None,
            collector: Collector::with_threads(pins, sockets, pace),
            described: Described::since(last, newest),
            links: Vec::new(),
            unsteady: false,
            loaded_programs: loaded,
            programs: None,
        };
        Ok((taker, Requests { shared, loads }))
    }

    /// Follows the changes of network interfaces from now on. Then writes to the trace what is attached by netlink, after its length.
    pub(super) fn follow(&mut self) -> io::Result<()> {
        self.routes = self.collector.changes();
        let attached = self.routes.is_some().then(|| self.collector.attached_by_netlink()).flatten();
        let mut batch = Batch::default();
        if let Some((own, attached)) = attached {
            let links = if attached.is_empty() { HashMap::default() } else { xdp_links() };
            // The kernel does not report the namespaces of links, so some of these may have none.
            let is_of_link =
                |facts: &BpfAttachment| links.contains_key(&(facts.program, facts.ifindex.unwrap_or_default()));
            let (of_links, others) = attached.iter().partition(|facts| is_of_link(facts));
            self.described.begin(own, others, of_links, clock::now_boot(), &mut batch);
        }
        self.trace.write_all(&(batch.len() as u32).to_ne_bytes())?;
        self.trace.write_all(batch.bytes())
    }

    /// Takes inventories until the trace ends, or an inventory fails.
    pub(super) fn run(mut self) {
        // The collector's own programs are loaded before the first inventory, because their links would force a
        // repetition. No program is loaded after that.
        self.collector.load_programs();
        // The links of the start are no change, so nobody waits for the first inventory.
        self.links = link_ids().unwrap_or_default();
        if enter(Role::Inspector).is_err() {
            return;
        }
        let mut due = Some(Instant::now());
        let mut rested = Instant::now();
        let mut last = Instant::now();
        loop {
            let now = Instant::now();
            let look = LOOK.min(self.interval);
            let nap = due.map_or(look, |due| due.saturating_duration_since(now).min(look));
            let news = self.wait(nap) || self.unsteady || self.links_changed();
            let ends = self.shared.ends.load(Ordering::Acquire);
            self.read_loaded();
            self.count_runs();
            if (news || last.elapsed() > self.interval) && due.is_none() {
                due = Some((Instant::now() + QUIET).max(rested));
            }
            if news {
                self.shared.pace.hurry();
            }
            if due.is_some_and(|due| ends || due <= Instant::now()) {
                let start = clock::now_thread();
                self.collector.took_aside();
                // The initial state is not reported as changes, so it must be complete.
                let tries = if self.programs.is_none() { FIRST } else { 1 };
                let taken = (0..tries).find_map(|nth| self.take_inventory(nth + 1 == tries).transpose());
                if !matches!(taken, Some(Ok(()))) {
                    return;
                }
                self.shared.pace.calm();
                (due, last) = (None, Instant::now());
                let took = clock::now_thread().saturating_sub(start) + self.collector.took_aside();
                let pause = if self.programs > Some(MANY) { PAUSE_OF_MANY } else { PAUSE };
                rested = last + (took * pause).min(self.interval);
            }
            if ends {
                return;
            }
        }
    }

    /// Waits. Returns whether something changed.
    fn wait(&mut self, nap: Duration) -> bool {
        let mut fds = vec![PollFd::new(&self.shared.poke, PollFlags::IN)];
        fds.extend(self.routes.iter().map(|routes| PollFd::from_borrowed_fd(routes.as_fd(), PollFlags::IN)));
        // An interrupted wait counts as a short one.
        let _ = poll(&mut fds, Timespec::try_from(nap).ok().as_ref());
        let poked = !fds[0].revents().is_empty();
        let routes = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if poked {
            self.shared.poke.reset();
        }
        if routes {
            let (parts, _) = self.changed_parts();
            self.change(&parts);
        }
        poked || routes
    }

    /// The parts of interfaces in the notifications that came, and whether some were lost. Then the next inventory must show what
    /// changed.
    fn changed_parts(&mut self) -> (Vec<InterfacePart>, bool) {
        let Some(routes) = &mut self.routes else { return (Vec::new(), false) };
        let (mut parts, lost) = self.collector.changed_parts(routes);
        let removed =
            parts.iter().filter(|part| part.scope == InterfaceScope::All).map(|part| (part.netns, part.ifindex));
        let removed: HashSet<_> = removed.collect();
        // Read once for all, since reading them takes long.
        let mut links = None;
        for InterfacePart { netns, ifindex, scope: part, programs } in &mut parts {
            let mut has_link = |id| {
                let links = links.get_or_insert_with(xdp_links);
                let at = |ifindex| links.get(&(id, ifindex)).copied().unwrap_or_default();
                // A link to a removed interface has no number of one.
                let detached = if removed.contains(&(*netns, *ifindex)) { at(0) } else { 0 };
                at(*ifindex) + detached > self.collector.links_elsewhere(id, *ifindex, *netns)
            };
            let is_xdp = *part == InterfaceScope::Xdp;
            programs.retain(|facts| !is_xdp || self.described.lists(facts) || !has_link(facts.program));
        }
        (parts, lost)
    }

    fn change(&mut self, parts: &[InterfacePart]) {
        let mut batch = Batch::default();
        for part in parts {
            for id in part.programs.iter().map(|facts| facts.program) {
                let unknown = (!self.described.lists_program(id)).then(|| self.collector.program(id, &self.own));
                if let Some(facts) = unknown.flatten() {
                    self.described.add_program(facts, clock::now_boot(), &mut batch);
                }
            }
            self.described.change(part, clock::now_boot(), &mut batch);
        }
        self.send(&batch);
    }

    fn links_changed(&self) -> bool {
        link_ids().is_ok_and(|links| links != self.links)
    }

    /// Reads newly loaded programs, so that an event that waits for its system call can describe them.
    fn read_loaded(&mut self) {
        let mut batch = Batch::default();
        for id in self.loaded_programs.try_iter() {
            if let Some(facts) = self.collector.program(id, &self.own) {
                self.described.add_program(facts, clock::now_boot(), &mut batch);
            }
        }
        self.send(&batch);
    }

    /// Turns counting on or off as requested. While it is on, reads the counters once a second.
    fn count_runs(&mut self) {
        let asked = self.shared.counts.load(Ordering::Acquire);
        let changed = asked != self.counting;
        if changed {
            self.counting = asked;
            self.statistics = if asked { RunStatistics::enable().ok() } else { None };
        }
        let on = asked && (self.statistics.is_some() || RunStatistics::are_on());
        let due = changed || on && self.counted.elapsed() >= COUNT - COUNT / 10;
        if !due {
            return;
        }
        self.counted = Instant::now();
        let mut batch = Batch::default();
        self.described.count(on.then_some(counters), clock::now_boot(), &mut batch);
        self.send(&batch);
    }

    fn send(&mut self, batch: &Batch) {
        // An error means that the trace has ended, and soon this process with it.
        let _ = self.trace.write_all(batch.bytes());
    }

    /// Takes an inventory. `None` if links were created or released meanwhile, unless this is the last try.
    fn take_inventory(&mut self, is_last: bool) -> io::Result<Option<()>> {
        self.links = link_ids().unwrap_or_default();
        let (before, _) = self.changed_parts();
        self.change(&before);
        let from = clock::now_boot();
        if self.counting || RunStatistics::are_on() {
            self.collector.counted = true;
        }
        let inventory = self.collector.take_inventory(&self.own)?;
        // A link that could not be opened was just created or released. The inventory may show its attachment without
        // the link.
        // An interface whose programs changed meanwhile may have been read before or after that.
        let (parts, lost) = self.changed_parts();
        let is_changed = lost || parts.iter().any(|part| self.described.is_changed(part));
        let steady = !self.links_changed() && inventory.unopened_links.is_empty() && !is_changed;
        self.unsteady = !steady;
        if !steady && !is_last {
            self.change(&parts);
            return Ok(None);
        }
        self.programs = Some(inventory.programs.len());
        let mut batch = Batch::default();
        let now = clock::now_boot();
        self.read_loaded();
        self.described.update(&inventory, steady, (from, now), &mut batch);
        self.send(&batch);
        self.change(&parts);
        Ok(Some(()))
    }
}
