//! Frames from the running kernel: loads the probes, attaches them, and drains their ring.
//!
//! Only this crate uses aya, for maps and to relocate the object. The only thread that outlives [`Live::start`] is the
//! one that reads symbols. The caller decides where [`Live::wait`] and [`Live::drain`] run.

pub mod attach;
mod bpf_helpers;
mod capture;
mod dead_code;
pub mod engine;
mod environment;
pub mod inspector;
mod inventory;
mod kinds;
mod kprobe_multi;
mod load;
mod loss_counters;
mod map_batch;
mod object;
mod probe_status;
mod program_loads;
mod ring;
pub mod root_cgroup;
mod stacks;
mod tasks;

pub mod command;
pub mod feed;
pub mod reason_lookup;
mod replay;
pub mod synthetic;
pub mod wake;

use kinds::{EARLIER_CALLS, Requested, Turn};
pub use kinds::{attach_names, hooked_functions};
pub use load::{AttachIds, BtfOrigin, Cast, KernelFacts, StartError};
pub use probe_status::ProbeStatus;
pub use ring::default_rings;

/// The error of a failed thread start, with the remedy.
pub const NO_THREAD: &str =
    "cannot start a thread (remedy: raise ulimit -u or the cgroup's pids.max; use `unshare -p` with -f)";

use crate::inspector::InspectorIds;
use crate::wake::Waker;
use aya::maps::{Array, HashMap, IterableMap as _, MapData, MapError};
use foldhash::HashSet;
use loss_counters::CpuStates;
use object::Maps;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;
use tracetui_events::environment::{EnvMode, Keeper};
use tracetui_events::filter::capture::CaptureFilter;
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::Cgroup;
use tracetui_events::frame::host::HostFrame;
use tracetui_events::limits;
use tracetui_events::symbols::Unavailable;
use tracetui_host::clock;
use tracetui_host::confine::{Role, Spawner};
use tracetui_host::ftrace::FunctionTracing;
use tracetui_host::kallsyms;
use tracetui_host::maps::freeze;
use tracetui_shared::capture::MAX_TREE;
use tracetui_shared::counters::CpuState;
use tracetui_shared::id::ProgId;
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::record::task::TaskStart;
use tracetui_shared::time::BootNanos;
use zerocopy::{FromBytes, IntoBytes};

#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Bytes of each ring: a power of two, at least a page.
    pub ring_size: u32,
    /// The number of rings: a power of two, at most [`RINGS`](tracetui_events::limits::RINGS). The CPUs share them evenly.
    pub rings: u32,
    /// The requested kinds. The programs for opens and bpf attach only if requested; those for exec, exit and fork
    /// always attach, for the process table.
    pub kinds: KindSet,
    /// The kinds whose failed events are requested too. Without failed execs, no program is at the end of system calls for them.
    pub failing: KindSet,
    pub stacks: KindSet,
    /// Which variables of the environment exec events contain.
    pub environment: Keeper,
    /// Whether execs contain all descriptors below 64, not only the standard ones.
    pub fds: bool,
    /// Whether opens contain the identity of the file.
    pub identities: bool,
    /// Whether the processes that wrote to files are reported.
    pub writes: bool,
    pub capture: CaptureFilter,
    /// The maximum number of live processes in all trees: [`tracetui_shared::capture::MAX_TREE`], less in tests.
    pub tree_size: u32,
    /// The maximum number of open TCP connections that are followed, if the map has room for more: in tests.
    pub connections: u32,
    pub way: Way,
    /// The process that takes inventories, whose events are tracetui's own.
    pub inspector: Option<InspectorIds>,
}

impl Default for LiveOptions {
    /// The smallest ring, for events that no filter wants.
    fn default() -> LiveOptions {
        LiveOptions {
            ring_size: limits::RING_MIN as u32,
            rings: 1,
            kinds: KindSet::NONE,
            failing: KindSet::ALL,
            stacks: KindSet::NONE,
            environment: Keeper::new(EnvMode::Off),
            fds: false,
            identities: false,
            writes: false,
            capture: CaptureFilter::NOTHING,
            tree_size: MAX_TREE,
            connections: u32::MAX,
            way: Way::Auto,
            inspector: None,
        }
    }
}

impl LiveOptions {
    fn requested(&self) -> Requested {
        Requested { kinds: self.kinds, failing: self.failing, writes: self.writes }
    }
}

/// The kinds of attach points. All show the same events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Way {
    /// The kind that loses the fewest events on this kernel: typed up to 6.19. If tracepoint programs can be preempted
    /// (7.0+, see [`KernelFacts::preemptible_tracepoints`]): functions and the scheduler's classic tracepoints.
    #[default]
    Auto,
    /// BTF tracepoints. They need no tracefs, and see 32-bit callers.
    Typed,
    Classic,
    /// Entry and return of kernel functions (5.18+ with CONFIG_FPROBE).
    Functions,
}

#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("cannot set the capture filter: {0}")]
    Map(#[from] MapError),
    #[error("cannot read the capture filter: {0}")]
    Elements(io::Error),
    #[error("--tree {0}: no such process")]
    NoProcess(u32),
    #[error("--tree {0}: no such process in /proc")]
    NotInProc(u32),
    #[error("cannot freeze the capture filter: {0}")]
    Freeze(io::Error),
    #[error("another process changed the capture filter while it was being set")]
    Changed,
    #[error("--tree: cannot list the processes: {0}")]
    Processes(io::Error),
}

/// A map value that implements the trait aya requires.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Plain<T>(T);

// SAFETY: the bounds say that the value has no padding, and that all byte patterns are valid.
unsafe impl<T: IntoBytes + FromBytes + Copy + 'static> aya::Pod for Plain<T> {}

/// The part of a start that does not depend on the kernel's BTF. It runs while the BTF is being read.
pub struct Begun {
    changes: Option<io::Result<program_loads::Changes>>,
    calls: Option<bpf_helpers::Calls>,
    names: Option<stacks::StackNames>,
}

impl Begun {
    /// Begins to read the symbols and to follow loads and unloads of programs, if the start needs them.
    pub fn new(options: &LiveOptions) -> Begun {
        let listed = !(options.kinds & KindSet::LISTED).is_empty();
        // Probes of kernel functions have addresses too.
        let named = listed || !(options.stacks & options.kinds).is_empty();
        // Opened before the symbols are read, so that no change of them is missed.
        let changes = named.then(|| program_loads::Changes::open(listed));
        // Without the list, the start waits for the reason, to report it.
        let calls = if named && kallsyms::is_there() { bpf_helpers::ask().ok() } else { None };
        let names = (named && calls.is_none()).then(stacks::StackNames::start);
        // The start waits for them.
        names.iter().for_each(stacks::StackNames::hurry);
        Begun { changes, calls, names }
    }
}

pub struct Live {
    /// First, so that the programs are detached before anything else is dropped.
    links: Vec<attach::Link>,
    rings: ring::Rings,
    cpus: CpuStates,
    capture: capture::CaptureMaps,
    /// The threads in calls that began before the trace ([`EARLIER_CALLS`]).
    begun: HashMap<MapData, u32, u8>,
    /// Holds the programs until this is dropped, for their counters.
    programs: Vec<Program>,
    probes: Vec<ProbeStatus>,
    started: Vec<TaskStart>,
    /// Loads and unloads of programs, if bpf events or stacks are requested.
    changes: Option<program_loads::Changes>,
    /// The names of addresses on stacks, if stacks are requested.
    names: Option<stacks::StackNames>,
    stacks: bool,
    /// The setting that silences the probes at functions, and whether tracing was off. `None` without such probes.
    functions: Option<(FunctionTracing, bool)>,
}

impl Live {
    /// Loads and attaches the probes. A probe that fails does not fail the start; [`Live::probes`] reports it. The
    /// capture filter is set before the first program is attached. `begun` must have been created with these options.
    pub fn start(options: &LiveOptions, begun: Begun, facts: &KernelFacts) -> Result<Live, StartError> {
        let Begun { changes, calls, mut names } = begun;
        let listed = !(options.kinds & KindSet::LISTED).is_empty();
        let bytes = load::for_this_kernel(options, facts)?;
        let (object, mut maps) = object::ProbeObject::new(&bytes, facts, options)?;
        let loaded = attach::load(&object, options.requested(), facts, options.way)?;
        let Prepared { mut capture, cpus, mut helpers, begun, rings } =
            Prepared::new(&mut maps, &object, options, facts)?;
        let attached = attach::all(&object, &maps, loaded, options.requested(), facts, options.way)?;
        if attached.links.is_empty() {
            return Err(load::why_nothing_attached(&attached.probes));
        }
        capture.finish()?;
        let at_start = |link: &&attach::Link| matches!(link.turn, Some(Turn::Start | Turn::StartAndEnd));
        attached.links.iter().filter(at_start).for_each(attach::Link::run);
        let by_symbols = |names: &mut stacks::StackNames| names.wait().ok().map(bpf_helpers::calls);
        // Without these addresses, `write_user` is unknown.
        for (immediate, bits) in calls.or_else(|| names.as_mut().and_then(by_symbols)).into_iter().flatten() {
            helpers.insert(immediate, bits, 0)?;
        }
        // Reading the symbols takes as long as everything else here, and events rarely need them.
        let names = names.or_else(|| changes.is_some().then(stacks::StackNames::start));
        freeze(helpers.map().fd().as_fd()).map_err(StartError::Freeze)?;
        let mut probes = attached.probes;
        if options.kinds.contains(Kind::CHECKED) && !loss_counters::sees_an_open(&cpus) {
            probes.iter_mut().for_each(ProbeStatus::is_never_run);
        }
        let started = capture.tasks.started();
        probes.extend(changes.as_ref().filter(|_| listed).map(|opened| program_loads::status(opened.as_ref().err())));
        let mut changes = changes.and_then(Result::ok);
        let inspector = options.inspector.map(|inspector| inspector.pid);
        changes.iter_mut().for_each(|changes| changes.begin(inspector));
        let at_functions = probes.iter().any(|probe| probe.attached && probe.at_functions);
        let functions = at_functions.then(FunctionTracing::open).flatten().map(|setting| (setting, false));
        Ok(Live {
            functions,
            rings,
            cpus,
            capture,
            begun,
            links: attached.links,
            programs: attached.programs.into_iter().map(|(name, fd)| Program { name, fd, missed: 0 }).collect(),
            probes,
            started,
            changes,
            names,
            stacks: !(options.stacks & options.kinds).is_empty(),
        })
    }

    /// Whether the kernel may preempt an attached probe between taking the time and writing the record.
    pub fn preemptible(&self) -> bool {
        self.probes.iter().any(|probe| probe.attached && probe.preemptible)
    }

    /// All probes, attached or not.
    pub fn probes(&self) -> &[ProbeStatus] {
        &self.probes
    }

    /// The processes that ran at the time of the attach, oldest first. Empty if unknown, and after the first call.
    pub fn take_started(&mut self) -> Vec<TaskStart> {
        std::mem::take(&mut self.started)
    }

    /// Freezes the capture filter: no process can change it any more. The one exception: if the filter contains cgroups, their list can
    /// still change.
    /// Fails if another process has changed the filter.
    pub fn freeze_capture(&mut self) -> Result<(), CaptureError> {
        self.capture.freeze()
    }

    /// Whether the capture filter depends on the paths of cgroups.
    pub fn asks_for_cgroups(&self) -> bool {
        self.capture.asks_for_cgroups()
    }

    pub fn name_all_cgroups(&mut self, all: &[Cgroup]) -> Result<(), CaptureError> {
        self.capture.name_all_cgroups(all)
    }

    /// Waits for records in the ring, a program load or unload, or data on `other` (`true`). Returns `false` at the end of
    /// `timeout` or after [`Waker::wake`]. `polling`: small records do not end the wait.
    pub fn wait(&self, timeout: Duration, polling: bool, other: Option<BorrowedFd<'_>>) -> io::Result<bool> {
        self.rings.wait(timeout, polling, self.changes.iter().flat_map(program_loads::Changes::events).chain(other))
    }

    pub fn waker(&self) -> Waker {
        self.rings.waker()
    }

    /// Moves records into `batch`, up to `max_bytes` plus one record. Of several rings, only those up to `until` are read, the time
    /// before the call. Returns `true` if more are in the rings.
    pub fn drain(&mut self, batch: &mut Batch, max_bytes: usize, until: BootNanos) -> bool {
        self.rings.drain(batch, max_bytes, until)
    }

    /// Appends loads and unloads of programs up to `until` to `batch`. Call it after [`Live::drain`], with the time up to which that
    /// has read: a call before a load or unload is then in an earlier frame, and a program with an event in the ring is known to be
    /// loaded.
    ///
    /// Passes newly loaded programs to `loaded`, except tracetui's own. Returns whether there were any loads or
    /// unloads, and whether later ones are left.
    pub fn drain_changes(
        &mut self,
        batch: &mut Batch,
        until: BootNanos,
        loaded: &mut dyn FnMut(ProgId),
    ) -> (bool, bool) {
        self.changes.as_mut().map_or((false, false), |changes| changes.read(batch, until, loaded))
    }

    /// Appends symbols for the stacks and the attach points in the frames from byte offset `from` on; none without an
    /// offset. Call it after [`Live::drain_changes`]. Returns `false` while the symbols are still being read, which
    /// takes some 60 ms.
    pub fn name_stacks(&mut self, from: Option<usize>, batch: &mut Batch) -> bool {
        let Some(names) = &mut self.names else { return true };
        let changes = self.changes.as_mut().map(program_loads::Changes::take_symbols).unwrap_or_default();
        names.change(changes);
        let Some(from) = from else { return true };
        if names.known {
            names.name(from, batch);
        }
        names.known
    }

    /// Ends the pauses of the thread that reads the symbols. Call it when somebody waits for them.
    pub fn hurry_symbols(&self) {
        self.names.iter().for_each(stacks::StackNames::hurry);
    }

    pub fn wait_for_symbols(&mut self) {
        if let Some(names) = self.names.as_mut().filter(|names| !names.known) {
            // Without symbols, addresses stay unnamed.
            let _ = names.wait();
        }
    }

    /// Why the functions on stacks have no names. `None` if they have names, or if stacks were not requested.
    pub fn unnamed_stacks(&self) -> Option<Unavailable> {
        self.names.as_ref().filter(|_| self.stacks).and_then(|names| names.unnamed)
    }

    /// Starts the thread that opens the rings of program changes from now on, if changes are followed.
    pub fn open_streams_aside(&mut self) -> io::Result<()> {
        let Some(changes) = &mut self.changes else { return Ok(()) };
        changes.stream.opener = Some(Spawner::start("streams", Role::Streams)?);
        Ok(())
    }

    pub fn own_programs(&self) -> HashSet<ProgId> {
        self.changes.as_ref().map(|changes| changes.own.clone()).unwrap_or_default()
    }

    /// Appends the number of change reports lost since the last call. Reads the symbols again if modules were loaded or unloaded. Call
    /// it each second.
    pub fn count_changes(&mut self, batch: &mut Batch) {
        self.changes.iter_mut().for_each(|changes| changes.count(batch));
        self.names.iter_mut().for_each(stacks::StackNames::follow_modules);
    }

    /// Appends the state of the probes at functions if function tracing was turned off or on since the last call. Call
    /// it each second. Data that is missing without an optional probe is counted, or marked in each event.
    pub fn follow_functions(&mut self, batch: &mut Batch) {
        let Some((setting, was_off)) = &mut self.functions else { return };
        let off = setting.is_off();
        if off == std::mem::replace(was_off, off) {
            return;
        }
        let silenced = |probe: &&mut ProbeStatus| {
            probe.at_functions && !probe.optional && self.links.iter().any(|link| link.program == probe.name)
        };
        for probe in self.probes.iter_mut().filter(silenced) {
            probe.is_silenced(off);
            HostFrame::Probe(probe.frame()).push(clock::now_boot(), batch);
        }
    }

    /// Ends the stream of loads and unloads: later ones are not recorded. [`Live::drain_changes`] appends those that are left.
    pub fn end_changes(&mut self, batch: &mut Batch) {
        self.changes.iter_mut().for_each(|changes| changes.end(batch));
    }

    /// Reports requests for TCP connections whose outcome the kernel knows and no probe saw. Detaches the program for calls that
    /// began before the trace once they have returned, since its tracepoints slow down every system call of every process. Call it
    /// each second.
    pub fn sweep_connections(&mut self) {
        self.of_turn(Turn::Seconds).next().into_iter().for_each(attach::Link::run);
        let is_begun = |link: &attach::Link| link.program == EARLIER_CALLS.0;
        if self.links.iter().any(is_begun) && self.begun.keys().next().is_none() {
            self.links.retain(|link| !is_begun(link));
        }
    }

    fn of_turn(&self, turn: Turn) -> impl Iterator<Item = &attach::Link> {
        self.links.iter().filter(move |link| link.turn == Some(turn))
    }

    /// The fill level of the ring: bytes used, bytes in total.
    pub fn fill(&self) -> (u64, u64) {
        self.rings.fill()
    }

    /// The counters of every possible CPU. Those of the first CPU include the counts of user space.
    pub fn counters(&self) -> Vec<CpuState> {
        let mut cpus = self.cpus.read();
        if let Some(cpu) = cpus.first_mut() {
            cpu.tree_full += self.capture.tree_full;
        }
        cpus
    }

    /// The number of times that the kernel skipped a program. It skips a program that is already running on that CPU
    /// (preempted), or for lack of room. It also skips programs of functions and classic tracepoints while a task on
    /// that CPU is preempted in a map operation of bpf(2)
    /// ([`bpf_disable_instrumentation`](https://elixir.bootlin.com/linux/v6.12/source/include/linux/bpf.h)). The probes
    /// cannot count these events. Also valid after [`Live::detach`].
    pub fn skips(&self) -> Vec<(&'static str, u64)> {
        let of = |program: &Program| {
            let links = self.links.iter().filter(|link| link.program == program.name);
            (
                program.name,
                loss_counters::skips(&program.fd) + links.map(attach::Link::missed).sum::<u64>() + program.missed,
            )
        };
        self.programs.iter().map(of).collect()
    }

    /// Detaches all programs, in the order of their attachment. Returns when none is running: the counters are then
    /// final.
    ///
    /// The connections that no program reported are listed before, so that an accept that has not returned can still be reported.
    /// They are counted, and requests without an outcome reported, when no other program runs.
    pub fn detach(&mut self) {
        if self.links.is_empty() {
            return;
        }
        self.of_turn(Turn::StartAndEnd).for_each(attach::Link::run);
        let (sweeps, others) = self.links.drain(..).partition(|link| link.turn == Some(Turn::Seconds));
        self.links = sweeps;
        for link in others {
            let missed = link.missed();
            self.programs.iter_mut().filter(|program| program.name == link.program).for_each(|p| p.missed += missed);
        }
        loss_counters::settle(&self.cpus, self.preemptible());
        self.of_turn(Turn::Seconds).for_each(attach::Link::run);
        self.links.clear();
    }
}

/// The maps that user space uses, as prepared before the first program is attached.
struct Prepared {
    capture: capture::CaptureMaps,
    cpus: CpuStates,
    helpers: HashMap<MapData, u32, u64>,
    /// See [`EARLIER_CALLS`].
    begun: HashMap<MapData, u32, u8>,
    rings: ring::Rings,
}

impl Prepared {
    /// Freezes the maps that only the programs change, and sets the capture filter.
    fn new(
        maps: &mut Maps,
        object: &object::ProbeObject,
        options: &LiveOptions,
        facts: &KernelFacts,
    ) -> Result<Prepared, StartError> {
        let tasks = tasks::Tasks::new(object, facts);
        let mut capture = capture::CaptureMaps::of(maps, tasks)?;
        let cpus: Array<_, Plain<CpuState>> = Array::try_from(maps.take_map("CPUS")?)?;
        let helpers = HashMap::try_from(maps.take_map("HELPER_CALLS")?)?;
        let begun: HashMap<_, u32, u8> = HashMap::try_from(maps.take_map(EARLIER_CALLS.1)?)?;
        freeze(begun.map().fd().as_fd()).map_err(StartError::Freeze)?;
        let rings = ring::Rings::new(maps.take_rings()?, options.ring_size, options.environment.clone())?;
        freeze(cpus.map().fd().as_fd()).map_err(StartError::Freeze)?;
        let cpus = CpuStates::map(&cpus).map_err(|error| StartError::System { call: "mmap of the counters", error })?;
        maps.freeze()?;
        capture.begin(&options.capture)?;
        Ok(Prepared { capture, cpus, helpers, begun, rings })
    }
}

struct Program {
    name: &'static str,
    fd: OwnedFd,
    /// The number of events that its closed links missed.
    missed: u64,
}
