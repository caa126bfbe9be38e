//! Frames from the running kernel: loads the probes, attaches them, and drains their ring.
//!
//! | module | what it does |
//! |---|---|
//! | [`load`] | the probe object into the kernel: offsets, constants, map sizes |
//! | [`attach`] | the table of programs: where each attaches, what it needs, what is missed without it |
//! | [`capture`] | the capture filter: lists, trees, cgroups |
//! | [`tasks`] | the processes that run, from an iterator program |
//! | [`multi`] | programs at the entry and the return of functions, which aya cannot load |
//! | [`ring`] | reads the ring, waits for it |
//! | [`engine`] | the source: what the ring and the host have, as frames |
//! | [`loss`] | what the kernel counted: events met, lost, skipped |
//!
//! The only users of aya are these files. Nothing here makes a thread that outlives [`Live::start`]; the caller decides
//! where [`Live::wait`] and [`Live::drain`] run.

mod attach;
mod capture;
mod elements;
pub(crate) mod engine;
mod load;
mod loss;
mod multi;
mod ring;
mod tasks;

pub use attach::{ProbeStatus, hooked_functions, typed_tracepoints, users_of};
pub use load::{BtfOrigin, Cast, KernelFacts, StartError};

use crate::capture::CaptureFilter;
use crate::frame::Batch;
use crate::frame::host::Cgroup;
use crate::source::wake::Waker;
use aya::maps::{Array, MapData, MapError};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tracetui_shared::capture::{Capture, ProcessKey};
use tracetui_shared::counters::CpuState;
use tracetui_shared::id::{CgroupId, Tgid};
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::time::BootNanos;

/// What the kernel side should do.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Bytes of the ring: a power of two, at least a page.
    pub ring_size: u32,
    /// The kinds that are wanted. Programs for opens and bpf attach only when wanted; those for exec, exit and fork always
    /// do, for the process table.
    pub kinds: KindSet,
    /// Which events are wanted.
    pub capture: CaptureFilter,
    /// Most processes of all trees that live at once: [`tracetui_shared::capture::MAX_TREE`], fewer to see what happens
    /// when there are more.
    pub tree_size: u32,
    /// Which sort of tracepoints is tried first.
    pub way: Way,
}

/// Where programs may hang that show the same events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Way {
    /// What loses least on this kernel: typed up to 6.19; where programs at tracepoints can be preempted (7.0+, see
    /// [`KernelFacts::preemptible_tracepoints`]), functions and what the scheduler's classic tracepoints show.
    #[default]
    Auto,
    /// BTF tracepoints: need no tracefs, see 32-bit callers.
    Typed,
    /// Classic tracepoints of tracefs.
    Classic,
    /// Entries and returns of kernel functions (5.18+, where the kernel has CONFIG_FPROBE).
    Functions,
}

/// The capture filter could not be set.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A map refused it.
    #[error("cannot set the capture filter: {0}")]
    Map(#[from] MapError),
    /// The elements of a map could not be read.
    #[error("cannot read the capture filter: {0}")]
    Elements(io::Error),
    /// The root of a tree does not exist.
    #[error("--tree {0}: no such process")]
    NoProcess(u32),
    /// /proc, from which alone the processes are known here, does not show the root of a tree.
    #[error("--tree {0}: no such process in /proc")]
    NotInProc(u32),
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

/// A value of a map, as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Plain<T>(T);

// SAFETY: `Capture` is `repr(C)`, without padding (zerocopy's `IntoBytes`), and any bytes are one.
unsafe impl aya::Pod for Plain<Capture> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<CpuState> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<ProcessKey> {}

/// The probes, running.
pub struct Live {
    ring: ring::Ring,
    cpus: Array<MapData, Plain<CpuState>>,
    capture: capture::CaptureMaps,
    links: Vec<attach::Link>,
    /// Programs stay in the kernel, for their counters, until this is dropped.
    programs: Vec<Program>,
    probes: Vec<ProbeStatus>,
    started: Vec<Started>,
}

impl Live {
    /// Loads the probes and attaches them. A probe that cannot be had does not fail the start; [`Live::probes`] says
    /// what is missed without it. The capture filter is in force before the first program is attached.
    pub fn start(options: &LiveOptions, facts: &KernelFacts) -> Result<Live, StartError> {
        load::raise_memlock();
        let (mut object, btf) = load::object(options, facts, load::Verbosity::Quiet)?;
        let functions = multi::Functions::of(&object, facts);
        let tasks = tasks::Tasks::new(&mut object, btf.as_ref());
        let mut capture = capture::CaptureMaps::of(&mut object, tasks)?;
        let cpus = Array::try_from(load::map(&mut object, "CPUS")?)?;
        let ring = ring::Ring::new(load::map(&mut object, "RING")?, options.ring_size)?;
        capture.begin(&options.capture)?;
        let again = || load::object(options, facts, load::Verbosity::Log);
        let attached = attach::all(&mut object, btf.as_ref(), &functions, options.kinds, facts, options.way, &again)?;
        if attached.links.is_empty() {
            return Err(load::why_nothing_attached(&attached.probes));
        }
        capture.finish()?;
        let mut probes = attached.probes;
        if options.kinds.contains(Kind::Open) && !loss::sees_an_open(&cpus) {
            probes.iter_mut().for_each(ProbeStatus::is_never_run);
        }
        let started = capture.started();
        drop((object, btf));
        load::give_memory_back();
        Ok(Live {
            ring,
            cpus,
            capture,
            links: attached.links,
            programs: attached.programs.into_iter().map(|(name, fd)| Program { name, fd, missed: 0 }).collect(),
            probes,
            started,
        })
    }

    /// Whether the kernel may preempt a probe that is attached between taking the time and writing the record.
    pub fn preemptible(&self) -> bool {
        self.probes.iter().any(|probe| probe.attached && probe.preemptible)
    }

    /// Every probe: attached or not, and why not.
    pub fn probes(&self) -> &[ProbeStatus] {
        &self.probes
    }

    /// The processes that ran when the probes were attached, the oldest first. Empty where the kernel does not tell. To be
    /// taken once.
    pub fn take_started(&mut self) -> Vec<Started> {
        std::mem::take(&mut self.started)
    }

    /// Replaces the capture filter; no program is loaded or attached anew. Events in between may meet the old one or the new
    /// one; what both want is not missed. `cgroups` are all that there are, where the filter asks for cgroups.
    pub fn set_capture(&mut self, filter: &CaptureFilter, cgroups: &[Cgroup]) -> Result<(), CaptureError> {
        self.capture.begin(filter)?;
        for cgroup in cgroups {
            self.capture.name_cgroup(cgroup)?;
        }
        self.capture.finish()?;
        self.capture.name_all_cgroups(cgroups)
    }

    /// Whether the capture filter depends on the paths of cgroups.
    pub fn asks_for_cgroups(&self) -> bool {
        self.capture.asks_for_cgroups()
    }

    /// Tells all cgroups that there are: their numbers are what the kernel side goes by.
    pub fn name_all_cgroups(&mut self, all: &[Cgroup]) -> Result<(), CaptureError> {
        self.capture.name_all_cgroups(all)
    }

    /// Tells a cgroup that was made since. What happened in it before was not let through.
    pub fn name_cgroup(&mut self, cgroup: &Cgroup) -> Result<(), CaptureError> {
        self.capture.name_cgroup(cgroup)
    }

    /// Lets a cgroup through no more, until it is named again: its path was forgotten.
    pub fn forget_cgroup(&mut self, id: CgroupId) -> Result<(), CaptureError> {
        self.capture.forget_cgroup(id)
    }

    /// Waits until the ring has records (`true`), or `timeout` is over or [`Waker::wake`] was called (`false`).
    ///
    /// The probes wake a sleeping reader at once, but one that was woken less than [`tracetui_shared::offsets::WAKE_NS`]
    /// ago only now and then; so after records were found the wait is cut to a little more than that, until nothing is
    /// found any more.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        self.ring.wait(timeout)
    }

    /// Ends a [`Live::wait`] from another thread.
    pub fn waker(&self) -> Waker {
        self.ring.waker()
    }

    /// Moves records into `batch`, `max_bytes` at most (and one record more); `true` when more waits.
    pub fn drain(&mut self, batch: &mut Batch, max_bytes: usize) -> bool {
        self.ring.drain(batch, max_bytes)
    }

    /// How full the ring is: bytes used, bytes in all.
    pub fn fill(&self) -> (u64, u64) {
        self.ring.fill()
    }

    /// The counters of every possible CPU. The first one's bear what was counted here.
    pub fn counters(&self) -> io::Result<Vec<CpuState>> {
        let mut cpus = loss::counters(&self.cpus)?;
        if let Some(cpu) = cpus.first_mut() {
            cpu.tree_full += self.capture.tree_full();
        }
        Ok(cpus)
    }

    /// How often the kernel did not run a program, because it was running on that CPU already (preempted in it) or because
    /// it had no room: events that no counter of the probes can see. Also after [`Live::detach`].
    pub fn skips(&self) -> Vec<(&'static str, u64)> {
        let of = |program: &Program| {
            let links = self.links.iter().filter(|link| link.program == program.name);
            (program.name, loss::skips(&program.fd) + links.map(attach::Link::missed).sum::<u64>() + program.missed)
        };
        self.programs.iter().map(of).collect()
    }

    /// Detaches every program, in the order in which they were attached, and returns when none runs any more: the counters are
    /// final then.
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

/// A program that is, or was, attached.
struct Program {
    name: &'static str,
    fd: OwnedFd,
    /// What its links missed that are closed.
    missed: u64,
}
