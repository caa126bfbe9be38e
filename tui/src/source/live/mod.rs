//! Frames from the running kernel: loads the probes, attaches them, and drains their ring.
//!
//! | module | purpose |
//! |---|---|
//! | [`load`] | the probe object for this kernel: offsets, constants |
//! | [`object`] | its maps, and the loads of its programs |
//! | [`reach`] | their instructions without those that are never executed |
//! | [`call`], [`status`] | bpf(2), and the state of a probe |
//! | [`attach`] | the table of programs: attach point, requirements, what is missing without it |
//! | [`capture`] | the capture filter: lists, trees, cgroups |
//! | [`tasks`] | the running processes, from an iterator program |
//! | [`multi`] | links of programs to the entry and the return of functions |
//! | [`helpers`] | the helpers that the probes look for in programs |
//! | [`ring`] | reads the ring, waits for it |
//! | [`ksymbols`] | the kernel's own stream of BPF programs that come and go |
//! | [`changes`] | that stream as host frames |
//! | [`stacks`] | the symbols that stacks name, as host frames |
//! | [`inventory`] | inventories of programs and attachments, as host frames |
//! | [`engine`] | the source: the records of the ring and data of the host, as frames |
//! | [`loss`] | the counters of the kernel: events met, lost, skipped |
//!
//! Only these files use aya, for maps and to relocate the object. Of the threads, only the one that reads symbols outlives
//! [`Live::start`]; the caller decides where [`Live::wait`] and [`Live::drain`] run.

pub(crate) mod attach;
mod call;
mod capture;
mod changes;
mod elements;
pub(crate) mod engine;
mod helpers;
pub(crate) mod inventory;
pub mod ksymbols;
mod load;
mod loss;
mod multi;
mod object;
mod programs;
mod reach;
mod ring;
mod stacks;
mod status;
mod tasks;

pub use changes::NAME as STREAM;
pub(crate) use load::raise_memlock;
pub use load::{AttachIds, BtfOrigin, Cast, KernelFacts, StartError};
pub use programs::{attach_names, hooked_functions, typed_tracepoints, users_of};
pub use status::ProbeStatus;

use crate::capture::CaptureFilter;
use crate::frame::Batch;
use crate::frame::host::Cgroup;
use crate::frame::host::HostFrame;
use crate::source::host::clock;
use crate::source::host::confine::{Role, Spawner};
use crate::source::host::ftrace::FunctionTracing;
use crate::source::host::kallsyms;
use crate::source::host::maps::freeze;
use crate::source::wake::Waker;
use crate::symbols::Unavailable;
use aya::maps::{Array, IterableMap as _, MapData, MapError};
use loss::CpuStates;
use object::Maps;
use rustc_hash::FxHashSet;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread::ScopedJoinHandle;
use std::time::Duration;
use tracetui_shared::capture::{Capture, ProcessKey};
use tracetui_shared::counters::CpuState;
use tracetui_shared::id::{CgroupId, ProgId, Tgid};
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::time::BootNanos;

/// The options of the kernel side.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Bytes of the ring: a power of two, at least a page.
    pub ring_size: u32,
    /// The requested kinds. The programs for opens and bpf attach only if requested; those for exec, exit and fork
    /// always attach, for the process table.
    pub kinds: KindSet,
    /// The kinds whose events have the kernel stack.
    pub stacks: KindSet,
    /// The capture filter.
    pub capture: CaptureFilter,
    /// The maximum of live processes in all trees: [`tracetui_shared::capture::MAX_TREE`], less in tests.
    pub tree_size: u32,
    /// The preferred kind of attach points.
    pub way: Way,
}

/// The kinds of attach points that show the same events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Way {
    /// The kind with the fewest losses on this kernel: typed up to 6.19. If tracepoint programs can be preempted (7.0+,
    /// see [`KernelFacts::preemptible_tracepoints`]): functions and the scheduler's classic tracepoints.
    #[default]
    Auto,
    /// BTF tracepoints: need no tracefs, see 32-bit callers.
    Typed,
    /// Classic tracepoints of tracefs.
    Classic,
    /// Entry and return of kernel functions (5.18+ with CONFIG_FPROBE).
    Functions,
}

/// The capture filter could not be set.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A map operation failed.
    #[error("cannot set the capture filter: {0}")]
    Map(#[from] MapError),
    /// The elements of a map could not be read.
    #[error("cannot read the capture filter: {0}")]
    Elements(io::Error),
    /// The root of a tree does not exist.
    #[error("--tree {0}: no such process")]
    NoProcess(u32),
    /// /proc, the only source of processes here, does not show the root of a tree.
    #[error("--tree {0}: no such process in /proc")]
    NotInProc(u32),
    /// A map cannot be protected against other processes.
    #[error("cannot freeze the capture filter: {0}")]
    Freeze(io::Error),
    /// The maps do not contain what was written.
    #[error("another process changed the capture filter while it was set")]
    Changed,
    /// The processes could not be listed.
    #[error("--tree: cannot list the processes: {0}")]
    Processes(io::Error),
}

/// A process that ran when the probes were attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Started {
    /// Its process id (`task->tgid`).
    pub tgid: Tgid,
    /// `start_boottime` of its leader.
    pub start: BootNanos,
    /// `task->real_parent->tgid`.
    pub parent: Tgid,
    /// `start_boottime` of the parent's leader.
    pub parent_start: BootNanos,
    /// Whether it had ended and was not waited for.
    pub ended: bool,
}

/// A map value, with the trait that aya requires.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Plain<T>(T);

// SAFETY: `Capture` is `repr(C)` without padding (it implements zerocopy's `IntoBytes`), and all byte patterns are
// valid.
unsafe impl aya::Pod for Plain<Capture> {}
// SAFETY: `CpuState` is `repr(C)` without padding (it implements zerocopy's `IntoBytes`), and all byte patterns are
// valid.
unsafe impl aya::Pod for Plain<CpuState> {}
// SAFETY: `ProcessKey` is `repr(C)` without padding (it implements zerocopy's `IntoBytes`), and all byte patterns are
// valid.
unsafe impl aya::Pod for Plain<ProcessKey> {}
// SAFETY: numbers; all byte patterns are valid.
unsafe impl aya::Pod for Plain<helpers::Calls> {}

/// What of a start does not depend on the kernel's BTF, and is done while that is read.
pub struct Begun {
    maps: Maps,
    changes: Option<io::Result<changes::Changes>>,
    calls: Option<helpers::Calls>,
    names: Option<stacks::Names>,
}

impl Begun {
    /// Begins to follow the programs that come and go, if they are asked for, and creates the maps. Begins to read the symbols if
    /// the start needs them.
    ///
    /// # Errors
    /// If the kernel refuses a map, or the size of the ring.
    pub fn new(options: &LiveOptions) -> Result<Begun, StartError> {
        let bpf = options.kinds.contains(Kind::Bpf);
        // Probes of kernel functions have addresses too.
        let named = bpf || !(options.stacks & options.kinds).is_empty();
        // Before the symbols are read: no change of them is missed.
        let changes = named.then(|| changes::Changes::open(bpf));
        // Without the list, the kernel is asked for names instead, by a program that is loaded at the start.
        let calls = if named && kallsyms::is_there() { helpers::ask().ok() } else { None };
        let names = (named && calls.is_none()).then(stacks::Names::start);
        Ok(Begun { maps: Maps::create(options)?, changes, calls, names })
    }
}

/// The running probes.
pub struct Live {
    ring: ring::Ring,
    cpus: CpuStates,
    capture: capture::CaptureMaps,
    links: Vec<attach::Link>,
    /// Keeps the programs in the kernel, for their counters, until this is dropped.
    programs: Vec<Program>,
    probes: Vec<ProbeStatus>,
    started: Vec<Started>,
    /// The programs that come and go, if bpf events or stacks are asked for.
    changes: Option<changes::Changes>,
    /// The names of what is on stacks, if they are asked for.
    names: Option<stacks::Names>,
    /// Whether stacks are asked for.
    stacks: bool,
    /// The setting that silences the probes at functions, if there are any, and whether it was off.
    functions: Option<(FunctionTracing, bool)>,
}

impl Live {
    /// Loads and attaches the probes. A probe that fails does not fail the start; [`Live::probes`] reports it. The
    /// capture filter is set before the first program is attached. `begun` has these options.
    pub fn start(options: &LiveOptions, begun: Begun, facts: &KernelFacts) -> Result<Live, StartError> {
        let Begun { mut maps, changes, calls, mut names } = begun;
        let bpf = options.kinds.contains(Kind::Bpf);
        let bytes = load::for_this_kernel(options, facts)?;
        let object = object::ProbeObject::new(&bytes, &mut maps, facts)?;
        // Most of the start is the work of the verifier. The maps are prepared meanwhile.
        let load = || attach::load(&object, options.kinds, facts, options.way);
        let (loaded, prepared) = std::thread::scope(|scope| {
            let loads = std::thread::Builder::new().spawn_scoped(scope, load);
            let prepared = Prepared::new(&mut maps, &object, options, facts);
            // Without another thread, one after the other.
            (loads.map_or_else(|_| Ok(load()), ScopedJoinHandle::join), prepared)
        });
        let Prepared { mut capture, cpus, mut helpers, ring } = prepared?;
        let loaded = loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let attached = attach::all(&object, loaded, options.kinds, facts, options.way)?;
        if attached.links.is_empty() {
            return Err(load::why_nothing_attached(&attached.probes));
        }
        capture.finish()?;
        let by_symbols = |names: &mut stacks::Names| names.wait().ok().map(|symbols| helpers::calls(&symbols));
        // Without them, `write_user` is unknown.
        if let Some(calls) = calls.or_else(|| names.as_mut().and_then(by_symbols)) {
            helpers.set(0, Plain(calls), 0)?;
        }
        // To read the symbols takes as long as all else here.
        let names = names.or_else(|| changes.is_some().then(stacks::Names::start));
        freeze(helpers.map().fd().as_fd()).map_err(StartError::Freeze)?;
        let mut probes = attached.probes;
        if options.kinds.contains(Kind::Open) && !loss::sees_an_open(&cpus) {
            probes.iter_mut().for_each(ProbeStatus::is_never_run);
        }
        let started = capture.started();
        probes.extend(changes.as_ref().filter(|_| bpf).map(|opened| changes::status(opened.as_ref().err())));
        let mut changes = changes.and_then(Result::ok);
        changes.iter_mut().for_each(changes::Changes::begin);
        let at_functions = probes.iter().any(|probe| probe.attached && probe.at_functions);
        let functions = at_functions.then(FunctionTracing::open).flatten().map(|setting| (setting, false));
        Ok(Live {
            functions,
            ring,
            cpus,
            capture,
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

    /// The processes at the time of the attach, the oldest first. Empty if unknown. Can be taken once.
    pub fn take_started(&mut self) -> Vec<Started> {
        std::mem::take(&mut self.started)
    }

    /// Replaces the capture filter without loading or attaching programs. Concurrent events meet the old or the new
    /// filter; events that match both are not missed, unless the kernel skips them ([`Live::skips`]). `cgroups` contains
    /// all cgroups if the filter needs them.
    pub fn set_capture(&mut self, filter: &CaptureFilter, cgroups: &[Cgroup]) -> Result<(), CaptureError> {
        self.capture.begin(filter)?;
        for cgroup in cgroups {
            self.capture.name_cgroup(cgroup)?;
        }
        self.capture.finish()?;
        self.capture.name_all_cgroups(cgroups)
    }

    /// Freezes the capture filter: no process can change it afterwards, except for the cgroups of a filter that contains
    /// some. Then [`Live::set_capture`] fails.
    ///
    /// # Errors
    /// Also if another process has changed the filter.
    pub fn freeze_capture(&mut self) -> Result<(), CaptureError> {
        self.capture.freeze()
    }

    /// Whether the capture filter depends on the paths of cgroups.
    pub fn asks_for_cgroups(&self) -> bool {
        self.capture.asks_for_cgroups()
    }

    /// Passes the ids of all cgroups to the kernel side.
    pub fn name_all_cgroups(&mut self, all: &[Cgroup]) -> Result<(), CaptureError> {
        self.capture.name_all_cgroups(all)
    }

    /// Adds a new cgroup. Its earlier events did not pass.
    pub fn name_cgroup(&mut self, cgroup: &Cgroup) -> Result<(), CaptureError> {
        self.capture.name_cgroup(cgroup)
    }

    /// Removes a cgroup whose path was evicted, until it is added again.
    pub fn forget_cgroup(&mut self, id: CgroupId) -> Result<(), CaptureError> {
        self.capture.forget_cgroup(id)
    }

    /// Waits until the ring has records or a program came or went (`true`), or `timeout` is over or [`Waker::wake`] was called (`false`).
    ///
    /// The probes wake a sleeping reader at once, but rarely if it was woken less than
    /// [`tracetui_shared::offsets::WAKE_NS`] ago. After records were found, the wait is therefore limited to slightly
    /// more than that, until the ring is empty.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        self.ring.wait(timeout, self.changes.iter().flat_map(changes::Changes::events))
    }

    /// Ends a [`Live::wait`] from another thread.
    pub fn waker(&self) -> Waker {
        self.ring.waker()
    }

    /// Moves records into `batch`, up to `max_bytes` plus one record; `true` if there are more.
    pub fn drain(&mut self, batch: &mut Batch, max_bytes: usize) -> bool {
        self.ring.drain(batch, max_bytes)
    }

    /// Appends the programs that came and went to `batch`. Call it after [`Live::drain`]: then a program of which the ring had an
    /// event has come.
    ///
    /// Passes those that came and are not tracetui's to `loaded`. Returns whether any came or went.
    pub fn drain_changes(&mut self, batch: &mut Batch, loaded: &mut dyn FnMut(ProgId)) -> bool {
        self.changes.as_mut().is_some_and(|changes| changes.read(batch, loaded))
    }

    /// Appends the symbols that the stacks and the attach points of the frames from a byte offset on need, if one is given. Call it
    /// after [`Live::drain_changes`]. `false`: the symbols are not read yet, which takes some 60 ms.
    pub fn name_stacks(&mut self, from: Option<usize>, batch: &mut Batch) -> bool {
        let Some(names) = &mut self.names else { return true };
        let changes = self.changes.as_mut().map(changes::Changes::take_symbols).unwrap_or_default();
        names.change(changes, batch);
        let Some(from) = from else { return true };
        if names.known() {
            names.name(from, batch);
        }
        names.known()
    }

    /// Waits until the symbols are read.
    pub fn wait_for_symbols(&mut self) {
        if let Some(names) = self.names.as_mut().filter(|names| !names.known()) {
            // Without symbols, addresses have no names.
            let _ = names.wait();
        }
    }

    /// Why the functions on stacks have no names; `None` if they have, or if no stacks were asked for.
    pub fn unnamed_stacks(&self) -> Option<Unavailable> {
        self.names.as_ref().filter(|_| self.stacks).and_then(stacks::Names::unnamed)
    }

    /// Starts the thread that opens the rings of changes of programs from now on; `None` if changes are not followed.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn open_streams_aside(&mut self) -> io::Result<Option<Spawner>> {
        let Some(changes) = &mut self.changes else { return Ok(None) };
        let opener = Spawner::start("streams", Role::Streams)?;
        changes.set_opener(opener.clone());
        Ok(Some(opener))
    }

    /// The programs of tracetui.
    pub fn own_programs(&self) -> FxHashSet<ProgId> {
        self.changes.as_ref().map(|changes| changes.own().clone()).unwrap_or_default()
    }

    /// Appends how many reports of such changes were lost since the last call, and the ends of symbols of modules that went. Call
    /// it each second.
    pub fn count_changes(&mut self, batch: &mut Batch) {
        self.changes.iter_mut().for_each(|changes| changes.count(batch));
        self.names.iter_mut().for_each(|names| names.follow_modules(batch));
    }

    /// Appends the state of the probes at functions if function tracing was turned off or on since the last call. Call it each
    /// second. What is missing without an optional probe is counted, or marked in each event.
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

    /// The last of [`Live::drain_changes`] and [`Live::count_changes`]. What comes and goes afterwards is not seen.
    pub fn end_changes(&mut self, batch: &mut Batch) {
        self.drain_changes(batch, &mut |_| {});
        self.count_changes(batch);
        self.name_stacks(None, batch);
        self.changes = None;
    }

    /// The fill level of the ring: bytes used, bytes in total.
    pub fn fill(&self) -> (u64, u64) {
        self.ring.fill()
    }

    /// The counters of every possible CPU. Those of the first CPU include the counts of user space.
    pub fn counters(&self) -> Vec<CpuState> {
        let mut cpus = self.cpus.read();
        if let Some(cpu) = cpus.first_mut() {
            cpu.tree_full += self.capture.tree_full();
        }
        cpus
    }

    /// Whether no probe is between meeting an event and sending it. A record of an event before this is in the ring, or was read.
    pub(super) fn is_quiet(&self) -> bool {
        self.cpus.are_balanced()
    }

    /// The number of times that the kernel skipped a program, because it was already running on that CPU (preempted),
    /// because there was no room, or because a task on that CPU was preempted in a map operation of bpf(2). During such an
    /// operation the kernel runs no program of a function or a classic tracepoint
    /// ([`bpf_disable_instrumentation`](https://elixir.bootlin.com/linux/v6.12/source/include/linux/bpf.h)). The probes
    /// cannot count these events. Also valid after [`Live::detach`].
    pub fn skips(&self) -> Vec<(&'static str, u64)> {
        let of = |program: &Program| {
            let links = self.links.iter().filter(|link| link.program == program.name);
            (program.name, loss::skips(&program.fd) + links.map(attach::Link::missed).sum::<u64>() + program.missed)
        };
        self.programs.iter().map(of).collect()
    }

    /// Detaches all programs, in the order of their attachment, and returns when none is running: the counters are then
    /// final.
    pub fn detach(&mut self) {
        if self.links.is_empty() {
            return;
        }
        for link in self.links.drain(..) {
            let missed = link.missed();
            self.programs.iter_mut().filter(|program| program.name == link.program).for_each(|p| p.missed += missed);
        }
        loss::settle(&self.cpus, self.preemptible());
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.links.clear();
    }
}

/// The maps that user space uses, before the first program is attached.
struct Prepared {
    capture: capture::CaptureMaps,
    cpus: CpuStates,
    helpers: Array<MapData, Plain<helpers::Calls>>,
    ring: ring::Ring,
}

impl Prepared {
    /// Freezes what only the programs change, and sets the capture filter.
    fn new(
        maps: &mut Maps,
        object: &object::ProbeObject,
        options: &LiveOptions,
        facts: &KernelFacts,
    ) -> Result<Prepared, StartError> {
        let tasks = tasks::Tasks::new(object, facts);
        let mut capture = capture::CaptureMaps::of(maps, tasks)?;
        let cpus: Array<_, Plain<CpuState>> = Array::try_from(maps.take("CPUS")?)?;
        let helpers = Array::try_from(maps.take("HELPER_CALLS")?)?;
        let ring = ring::Ring::new(maps.take("RING")?, options.ring_size)?;
        freeze(cpus.map().fd().as_fd()).map_err(StartError::Freeze)?;
        let cpus = CpuStates::map(&cpus).map_err(|error| StartError::System { call: "mmap of the counters", error })?;
        maps.freeze()?;
        capture.begin(&options.capture)?;
        Ok(Prepared { capture, cpus, helpers, ring })
    }
}

/// A program that is or was attached.
struct Program {
    name: &'static str,
    fd: OwnedFd,
    /// The number of events that its closed links missed.
    missed: u64,
}
