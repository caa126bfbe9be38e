//! The table of programs (attach point, requirements, what is missing without it), and the attach.

use super::Way;
use super::call::unless_interrupted;
use super::load::{Failure, KernelFacts, StartError};
use super::multi::{self, At, Functions};
use super::status::ProbeStatus;
use crate::arch::Arch;
use crate::source::host::btf::RUNNING;
use crate::source::host::machine::Release;
use aya::programs::fexit::FExitLink;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::trace_point::TracePointLink;
use aya::programs::{Program, ProgramError};
use aya::{Btf, Ebpf};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::offsets::Field::{self, *};

/// A place where a program attaches.
enum AttachPoint {
    /// A tracepoint with typed arguments: the first of these names that the kernel has.
    Btf(&'static [&'static str]),
    /// Tracepoints of a category in tracefs, of which the first must be there, and what is read of their records.
    Classic(&'static str, FunctionNames, Record),
    /// The return of a function, with its arguments (a trampoline).
    Exit(&'static str),
    /// The entry or the return of functions, all at once (`BPF_TRACE_KPROBE_MULTI`, 5.18+): those that the kernel has; the
    /// first must be there.
    Functions(At, FunctionNames),
}

/// Names of functions on an architecture.
type FunctionNames = fn(&Arch) -> &'static [&'static str];

/// Fields of a classic tracepoint's record that a program reads at fixed places: name, place, bytes.
type Record = &'static [(&'static str, usize, usize)];

/// What a program makes.
enum Makes {
    /// The events of this slot, and of the other slots that the same program fills.
    Events(Slot),
    /// No event by itself: it hands what it reads to the program that fills the slot.
    Part { of: Slot, program: &'static str },
}

/// A program of the object.
struct Probe {
    makes: Makes,
    /// Whether the events are also reported without it, with less data.
    optional: bool,
    place: AttachPoint,
    /// The fields that it requires.
    needs: &'static [&'static [Field]],
    missing: &'static str,
}

/// What every record's header is made of (`task.rs`). The cgroup is optional.
const HEADER: &[Field] = &[
    TaskTgid,
    TaskPid,
    TaskComm,
    TaskCred,
    TaskRealParent,
    TaskGroupLeader,
    TaskStartBoottime,
    TaskNsproxy,
    TaskThreadPid,
    CredUid,
    CredGid,
    NsproxyMntNs,
    MntNsInum,
    PidLevel,
    PidNumbers,
    UpidNr,
    UpidNs,
    PidNsInum,
];
/// What a walk from a file to the root is made of (`path.rs`).
const WALK: &[Field] = &[
    TaskFs,
    FsRoot,
    FsPwd,
    PathMnt,
    PathDentry,
    FilePath,
    FileFlags,
    DentrySeq,
    DentryParent,
    DentryName,
    DentryNameLen,
    DentryHashPprev,
    MountMnt,
    MountParent,
    MountMountpoint,
    VfsmountRoot,
];
/// From a descriptor to its file.
const FILES: &[Field] = &[TaskFiles, FilesFdt, FdtableFd, FdtableMaxFds];
const EXEC: &[Field] = &[TaskMm, MmArgStart, MmArgEnd, MmExeFile, CredEuid, CredEgid];
const BPRM: &[Field] = &[BprmFilename, BprmInterp, BprmArgc];
const EXIT: &[Field] = &[TaskSignal, TaskExitCode, SignalFlags, SignalGroupExitCode, SignalLive];
const SYSCALL: &[Field] = &[TaskCompat, TaskPending, TaskBlocked];
const BPF: &[Field] = &[FilePrivate, ProgAux, AuxProg, AuxId];

const URING: &[Field] =
    &[KiocbOpcode, KiocbFlags, KiocbCqeRes, IoOpenDfd, IoOpenFileSlot, IoOpenFilename, IoOpenHow, FilenameName];

/// The result in the records of `syscalls:sys_exit_*`.
const RET: Record = &[("ret", 16, 8)];
/// The request in the records of `io_uring:*`.
const REQ: Record = &[("req", 16, 8)];

const EXECS: &str = "successful execs";
const EXITS: &str = "process exits";
const FORKS: &str = "forks: the parent of a new process is known from its first event on";
const OPENS: &str = "file opens";
const BPFS: &str = "BPF program loads and attachments";

const EXEC_BTF: Probe = Probe {
    makes: Makes::Events(Slot::ExecBtf),
    optional: false,
    place: AttachPoint::Btf(&["sched_process_exec"]),
    needs: &[HEADER, WALK, EXEC, BPRM],
    missing: EXECS,
};
const EXEC_TP: Probe = Probe {
    makes: Makes::Events(Slot::ExecTp),
    optional: false,
    place: AttachPoint::Classic("sched", |_| &["sched_process_exec"], &[("filename", 8, 4), ("old_pid", 16, 4)]),
    needs: &[HEADER, WALK, EXEC],
    missing: EXECS,
};
const EXIT_BTF: Probe = Probe {
    makes: Makes::Events(Slot::ExitBtf),
    optional: false,
    place: AttachPoint::Btf(&["sched_process_exit"]),
    needs: &[HEADER, EXIT],
    missing: EXITS,
};
const EXIT_TP: Probe = Probe {
    makes: Makes::Events(Slot::ExitTp),
    optional: false,
    place: AttachPoint::Classic("sched", |_| &["sched_process_exit"], &[]),
    needs: &[HEADER, EXIT],
    missing: EXITS,
};
const FORK_BTF: Probe = Probe {
    makes: Makes::Events(Slot::ForkBtf),
    optional: false,
    place: AttachPoint::Btf(&["sched_process_fork"]),
    needs: &[HEADER],
    missing: FORKS,
};
const SYS_EXIT_BTF: Probe = Probe {
    makes: Makes::Events(Slot::OpenSysExit),
    optional: false,
    place: AttachPoint::Btf(&["sys_exit"]),
    needs: &[HEADER, WALK, FILES, SYSCALL, EXEC, BPF],
    missing: "file opens, BPF program loads and attachments, failed execs",
};
const EXEC_FAIL_TP: Probe = Probe {
    makes: Makes::Events(Slot::ExecFailTp),
    optional: false,
    place: AttachPoint::Classic("syscalls", |_| &["sys_exit_execve", "sys_exit_execveat"], RET),
    needs: &[HEADER, WALK, SYSCALL, EXEC],
    missing: "failed execs",
};
const OPEN_TP: Probe = Probe {
    makes: Makes::Events(Slot::OpenTp),
    optional: false,
    place: AttachPoint::Classic("syscalls", |arch| arch.open_tracepoints, RET),
    needs: &[HEADER, WALK, FILES, SYSCALL],
    missing: OPENS,
};
const URING_SUBMIT_BTF: Probe = Probe {
    makes: Makes::Events(Slot::UringSubmit),
    optional: false,
    place: AttachPoint::Btf(&["io_uring_submit_req", "io_uring_submit_sqe"]),
    needs: &[HEADER, URING],
    missing: "the arguments of io_uring opens",
};
const URING_SUBMIT_TP: Probe = Probe {
    makes: Makes::Events(Slot::UringSubmitTp),
    place: AttachPoint::Classic("io_uring", |_| &["io_uring_submit_req"], REQ),
    ..URING_SUBMIT_BTF
};
const URING_REFUSED_BTF: Probe = Probe {
    makes: Makes::Events(Slot::UringRefused),
    optional: true,
    place: AttachPoint::Btf(&["io_uring_req_failed"]),
    needs: &[HEADER, URING],
    missing: "refusals by io_uring: a refused request may show the arguments of an earlier one",
};
const URING_REFUSED_TP: Probe = Probe {
    makes: Makes::Events(Slot::UringRefusedTp),
    place: AttachPoint::Classic("io_uring", |_| &["io_uring_req_failed"], REQ),
    ..URING_REFUSED_BTF
};
const URING_COMPLETE_BTF: Probe = Probe {
    makes: Makes::Events(Slot::OpenUring),
    optional: false,
    place: AttachPoint::Btf(&["io_uring_complete"]),
    needs: &[HEADER, WALK, FILES, URING],
    missing: "file opens through io_uring",
};
const URING_COMPLETE_TP: Probe = Probe {
    makes: Makes::Events(Slot::OpenUringTp),
    place: AttachPoint::Classic("io_uring", |_| &["io_uring_complete"], REQ),
    ..URING_COMPLETE_BTF
};
const URING_QUIET: Probe = Probe {
    makes: Makes::Events(Slot::OpenUringQuiet),
    optional: true,
    place: AttachPoint::Exit("io_openat2"),
    missing: "io_uring opens without a completion (IOSQE_CQE_SKIP_SUCCESS); counted as lost where requests are seen",
    ..URING_COMPLETE_BTF
};
const BPF_TP: Probe = Probe {
    makes: Makes::Events(Slot::BpfTp),
    optional: false,
    place: AttachPoint::Classic("syscalls", |_| &["sys_exit_bpf", "sys_exit_ioctl"], RET),
    needs: &[HEADER, FILES, SYSCALL, BPF],
    missing: BPFS,
};

const OPEN_MULTI: Probe = Probe {
    makes: Makes::Events(Slot::OpenMulti),
    optional: false,
    place: AttachPoint::Functions(At::Return, |arch| arch.opens),
    needs: &[HEADER, WALK, FILES, SYSCALL],
    missing: OPENS,
};
const BPF_MULTI: Probe = Probe {
    makes: Makes::Events(Slot::BpfMulti),
    optional: false,
    place: AttachPoint::Functions(At::Return, |arch| arch.bpfs),
    needs: &[HEADER, FILES, SYSCALL, BPF],
    missing: BPFS,
};
const EXEC_FAIL_MULTI: Probe = Probe {
    makes: Makes::Events(Slot::ExecFailMulti),
    optional: false,
    place: AttachPoint::Functions(At::Return, |arch| arch.execs),
    needs: &[HEADER, WALK, SYSCALL, EXEC],
    missing: "failed execs",
};
const EXEC_BPRM_MULTI: Probe = Probe {
    makes: Makes::Part { of: Slot::ExecTp, program: "exec_bprm_multi" },
    optional: true,
    place: AttachPoint::Functions(At::Entry, |_| &["finalize_exec"]),
    needs: &[HEADER, BPRM],
    missing: "script interpreters",
};
const FORK_MULTI: Probe = Probe {
    makes: Makes::Events(Slot::ForkMulti),
    optional: false,
    place: AttachPoint::Functions(At::Entry, |_| &["wake_up_new_task"]),
    needs: &[HEADER],
    missing: FORKS,
};

/// Ways to the same events; one of them is used.
struct Group {
    ways: &'static [(Way, &'static [Probe])],
    when: When,
}

/// When a group is attached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Whatever is wanted: the process table needs it.
    Always,
    /// When one of its kinds is wanted.
    Wanted,
}

/// In this order they are attached, and in the same order detached. Exits come before forks: so the exit of every process is
/// seen whose fork was, at the start, and the fork of every process whose exit is, at the end.
const GROUPS: [Group; 6] = [
    Group { ways: &[(Way::Typed, &[EXIT_BTF]), (Way::Classic, &[EXIT_TP])], when: When::Always },
    Group { ways: &[(Way::Typed, &[EXEC_BTF]), (Way::Classic, &[EXEC_TP, EXEC_BPRM_MULTI])], when: When::Always },
    Group { ways: &[(Way::Typed, &[FORK_BTF]), (Way::Functions, &[FORK_MULTI])], when: When::Always },
    Group {
        ways: &[
            (Way::Typed, &[SYS_EXIT_BTF]),
            (Way::Functions, &[OPEN_MULTI, BPF_MULTI, EXEC_FAIL_MULTI]),
            (Way::Classic, &[OPEN_TP, BPF_TP, EXEC_FAIL_TP]),
        ],
        when: When::Wanted,
    },
    Group {
        ways: &[
            (Way::Typed, &[URING_SUBMIT_BTF, URING_REFUSED_BTF, URING_COMPLETE_BTF]),
            (Way::Classic, &[URING_SUBMIT_TP, URING_REFUSED_TP, URING_COMPLETE_TP]),
        ],
        when: When::Wanted,
    },
    Group { ways: &[(Way::Functions, &[URING_QUIET])], when: When::Wanted },
];

impl Group {
    /// The ways, the best first.
    fn ways(&self, order: [Way; 3]) -> impl Iterator<Item = &'static [Probe]> {
        order
            .into_iter()
            .filter_map(|wanted| self.ways.iter().find(|(way, _)| *way == wanted))
            .map(|(_, probes)| *probes)
    }

    /// Every program of every way.
    fn probes(&self) -> impl Iterator<Item = &'static Probe> {
        self.ways.iter().flat_map(|(_, probes)| *probes)
    }
}

/// The ways in the order in which they are tried; `first` is what the user wants first, if anything.
///
/// Up to 6.19 programs at tracepoints run with preemption off and lose nothing; BTF tracepoints need no tracefs and see
/// 32-bit callers. From 7.0 on they can be preempted, and then other tasks' events on that CPU are skipped. The classic
/// tracepoints still run with preemption off (`perf_trace_*` in include/trace/perf.h), but for those of system calls; the returns of functions do (`kprobe_multi_link_prog_run`).
fn order(first: Way, preemptible: bool) -> [Way; 3] {
    let mut order = match preemptible {
        true => [Way::Functions, Way::Classic, Way::Typed],
        false => [Way::Typed, Way::Classic, Way::Functions],
    };
    if let Some(at) = order.iter().position(|way| *way == first) {
        order[..=at].rotate_right(1);
    }
    order
}

/// An attached program; detaches when dropped.
pub(super) struct Link {
    pub(super) program: &'static str,
    held: LinkHandle,
}

enum LinkHandle {
    Btf(#[allow(dead_code)] BtfTracePointLink),
    Classic(#[allow(dead_code)] TracePointLink),
    Exit(#[allow(dead_code)] FExitLink),
    Functions(OwnedFd),
}

impl Link {
    /// Events that passed it without a run of the program.
    pub(super) fn missed(&self) -> u64 {
        match &self.held {
            LinkHandle::Functions(link) => multi::missed(link),
            LinkHandle::Btf(_) | LinkHandle::Classic(_) | LinkHandle::Exit(_) => 0,
        }
    }
}

/// What attaching came to.
#[derive(Default)]
pub(super) struct Attached {
    pub(super) links: Vec<Link>,
    pub(super) programs: Vec<(&'static str, OwnedFd)>,
    pub(super) probes: Vec<ProbeStatus>,
}

/// Loads the object anew with the verifier's log on.
type Again<'a> = &'a (dyn Fn() -> Result<(Ebpf, Option<Btf>), StartError> + Sync);

/// Whether programs at tracepoints can be preempted, by the kernel's BTF. Where that says nothing the release decides: such
/// a kernel has no BTF, and no symbol of it says the same (`tracepoint_srcu` is in 5.10 to 6.12 too, for another purpose).
fn tracepoints_are_preemptible(facts: &KernelFacts) -> bool {
    const FIRST: Release = Release::new(7, 0);
    facts.preemptible_tracepoints.unwrap_or_else(|| Release::running() >= Some(FIRST))
}

/// Attaches the requested groups, each in the best way that works.
pub(super) fn all(
    object: &mut Ebpf,
    btf: Option<&Btf>,
    functions: &Functions<'_>,
    kinds: KindSet,
    facts: &KernelFacts,
    first: Way,
    again: Again<'_>,
) -> Result<Attached, StartError> {
    let arch = facts.arch.ok_or(StartError::Architecture)?;
    let preemptible = tracepoints_are_preemptible(facts);
    let order = order(first, preemptible);
    let at = |way| order.iter().position(|other| *other == way);
    Ok(with_tracefs(at(Way::Classic) < at(Way::Typed) || btf.is_none(), || {
        let mut attached = Attached::default();
        let mut attacher = Attacher { arch, object, btf, functions, facts, again, preemptible, into: &mut attached };
        for group in &GROUPS {
            attacher.group(group, if group.when == When::Always { KindSet::ALL } else { kinds }, order);
        }
        attached
    }))
}

struct Attacher<'a> {
    arch: &'static Arch,
    object: &'a mut Ebpf,
    btf: Option<&'a Btf>,
    functions: &'a Functions<'a>,
    facts: &'a KernelFacts,
    again: Again<'a>,
    /// Whether programs at tracepoints can be preempted.
    preemptible: bool,
    into: &'a mut Attached,
}

/// The links and the status of a program.
struct Outcome {
    status: ProbeStatus,
    links: Vec<LinkHandle>,
    program: Option<OwnedFd>,
}

/// A program that runs, and a note on places where it does not.
struct Running {
    links: Vec<LinkHandle>,
    program: Option<OwnedFd>,
    note: Option<String>,
}

impl Attacher<'_> {
    fn group(&mut self, group: &Group, kinds: KindSet, order: [Way; 3]) {
        let mut best: Vec<Outcome> = Vec::new();
        for way in group.ways(order) {
            let wanted: Vec<&Probe> = way.iter().filter(|p| !(p.kinds() & kinds).is_empty()).collect();
            if wanted.is_empty() {
                return;
            }
            let mut outcomes: Vec<Outcome> = wanted.iter().map(|probe| self.probe(probe)).collect();
            let works = |outcomes: &[Outcome]| outcomes.iter().filter(|o| o.status.attached).count();
            let fails = |outcome: &Outcome| !outcome.status.attached && !outcome.status.optional;
            let whole = !outcomes.iter().any(fails);
            if let Some(failed) = best.iter().find(|outcome| fails(outcome)).filter(|_| whole) {
                outcomes.iter_mut().for_each(|outcome| outcome.status.is_second_best(&failed.status));
            }
            if whole || best.is_empty() || works(&best) == 0 && works(&outcomes) > 0 {
                // The other way's links close here, so no event is told twice.
                best = outcomes;
            }
            if whole {
                break;
            }
        }
        for outcome in best {
            let program = outcome.status.name;
            self.into.links.extend(outcome.links.into_iter().map(|held| Link { program, held }));
            self.into.programs.extend(outcome.program.map(|fd| (outcome.status.name, fd)));
            self.into.probes.push(outcome.status);
        }
    }

    fn probe(&mut self, probe: &Probe) -> Outcome {
        let mut outcome = Outcome {
            status: ProbeStatus {
                name: probe.name(),
                kinds: probe.kinds(),
                attached: false,
                how: probe.place.name(self.arch),
                why: None,
                missing: probe.missing.to_string(),
                optional: probe.optional,
                remedy: None,
                preemptible: probe.place.is_preemptible(self.preemptible),
            },
            links: Vec::new(),
            program: None,
        };
        match self.load_and_attach(probe) {
            Ok(running) => {
                outcome.status.attached = true;
                let notes = [running.note, probe.place.blind(self.arch)].into_iter().flatten();
                outcome.status.why = Some(notes.collect::<Vec<_>>().join("; ")).filter(|why| !why.is_empty());
                outcome.links = running.links;
                outcome.program = running.program;
            }
            Err(failure) => {
                outcome.status.why = Some(failure.why);
                outcome.status.remedy = failure.remedy;
            }
        }
        outcome
    }

    fn load_and_attach(&mut self, probe: &Probe) -> Result<Running, Failure> {
        if let Some(why) = self.facts.lacks(probe.needs) {
            return Err(Failure { why, remedy: None });
        }
        if self.btf.is_none() && matches!(probe.place, AttachPoint::Btf(_) | AttachPoint::Exit(_)) {
            return Err(Failure {
                why: format!("{RUNNING} does not exist, and this probe needs its type ids"),
                remedy: Some("boot a kernel with CONFIG_DEBUG_INFO_BTF=y".to_string()),
            });
        }
        if let AttachPoint::Functions(at, names) = &probe.place {
            return self.functions(probe, *at, names(self.arch));
        }
        if let AttachPoint::Exit(name) = probe.place
            && !self.facts.functions.contains(&name)
        {
            return Err(no_function(name));
        }
        let loaded = unless_interrupted(|| load(self.object, self.btf, probe));
        loaded.map_err(|error| self.refused(probe, &error))?;
        let program = program(self.object, probe).map_err(|error| plain(&error))?;
        // What the kernel skips of those at a return stays untold and is counted as that.
        let counted = !matches!(probe.place, AttachPoint::Exit(_));
        let fd = program.fd().ok().filter(|_| counted).and_then(|fd| fd.as_fd().try_clone_to_owned().ok());
        let (links, note) = attach(program, &probe.place, self.arch)?;
        Ok(Running { links, program: fd, note })
    }

    /// Loads a program that hangs on functions, and attaches it to those that the kernel has.
    fn functions(&mut self, probe: &Probe, at: At, names: &[&'static str]) -> Result<Running, Failure> {
        let there: Vec<_> = names.iter().copied().filter(|name| self.facts.functions.contains(name)).collect();
        if there.first() != names.first() {
            return Err(no_function(names[0]));
        }
        let program = self.functions.load(probe.name()).map_err(|error| refusal(probe, &error.0, &error.1))?;
        let link = Functions::attach(&program, at, &there)?;
        Ok(Running { links: vec![LinkHandle::Functions(link)], program: Some(program), note: None })
    }

    /// Loads once more, for the verifier's last words. What is not allowed at all it did not look at.
    fn refused(&self, probe: &Probe, error: &ProgramError) -> Failure {
        if let ProgramError::LoadError { io_error, .. } = error
            && io_error.raw_os_error() == Some(libc::EPERM)
        {
            return refusal(probe, io_error, "");
        }
        let logged = (self.again)().ok().and_then(|(mut object, btf)| load(&mut object, btf.as_ref(), probe).err());
        let error = logged.as_ref().unwrap_or(error);
        let ProgramError::LoadError { io_error, verifier_log } = error else { return plain(error) };
        refusal(probe, io_error, &verifier_log.to_string())
    }
}

/// The error of a rejected program: the end of the verifier's log.
fn refusal(probe: &Probe, error: &std::io::Error, log: &str) -> Failure {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
    let remedy = (error.raw_os_error() == Some(libc::EPERM))
        .then(|| "check the LSM policy and capabilities: this program type is not permitted".to_string());
    Failure { why: format!("{}: {error}\n{tail}", probe.name()).trim_end().to_string(), remedy }
}

fn no_function(name: &str) -> Failure {
    Failure { why: format!("this kernel has no function {name}"), remedy: None }
}

/// Lines of the verifier's log that are shown.
const LOG_LINES: usize = 6;

fn plain(error: &ProgramError) -> Failure {
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !why.contains(&text) {
            why = format!("{why}: {text}");
        }
        cause = error.source();
    }
    Failure { why, remedy: None }
}

fn program<'a>(object: &'a mut Ebpf, probe: &Probe) -> Result<&'a mut Program, ProgramError> {
    object.program_mut(probe.name()).ok_or_else(|| ProgramError::InvalidName { name: probe.name().to_string() })
}

fn load(object: &mut Ebpf, btf: Option<&Btf>, probe: &Probe) -> Result<(), ProgramError> {
    match (program(object, probe)?, &probe.place, btf) {
        (Program::BtfTracePoint(program), AttachPoint::Btf(names), Some(btf)) => {
            let mut loaded = Err(ProgramError::UnexpectedProgramType);
            for name in *names {
                loaded = program.load(name, btf);
                if !matches!(loaded, Err(ProgramError::Btf(_))) {
                    break;
                }
            }
            loaded
        }
        (Program::TracePoint(program), AttachPoint::Classic(..), _) => program.load(),
        (Program::FExit(program), AttachPoint::Exit(name), Some(btf)) => program.load(name, btf),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Attaches a loaded program; the links, and a note on places that are not there.
fn attach(
    program: &mut Program,
    place: &AttachPoint,
    arch: &Arch,
) -> Result<(Vec<LinkHandle>, Option<String>), Failure> {
    match (program, place) {
        (Program::BtfTracePoint(program), AttachPoint::Btf(_)) => {
            let id = program.attach().map_err(|error| plain(&error))?;
            let link = program.take_link(id).map_err(|error| plain(&error))?;
            Ok((vec![LinkHandle::Btf(link)], None))
        }
        (Program::FExit(program), AttachPoint::Exit(_)) => {
            let id = program.attach().map_err(|error| plain(&error))?;
            let link = program.take_link(id).map_err(|error| plain(&error))?;
            Ok((vec![LinkHandle::Exit(link)], None))
        }
        (Program::TracePoint(program), AttachPoint::Classic(category, names, record)) => {
            let (mut links, mut notes) = (Vec::new(), Vec::new());
            for name in names(arch) {
                if let Some(moved) = moved(category, name, record) {
                    return Err(moved);
                }
                let link = program.attach(category, name).and_then(|id| program.take_link(id));
                match link {
                    Ok(link) => links.push(LinkHandle::Classic(link)),
                    Err(error) if links.is_empty() => return Err(no_tracefs(plain(&error))),
                    Err(error) => notes.push(format!("{name}: {}", plain(&error).why)),
                }
            }
            Ok((links, (!notes.is_empty()).then(|| notes.join("; "))))
        }
        _ => Err(plain(&ProgramError::UnexpectedProgramType)),
    }
}

/// The error if a field in the record of a classic tracepoint is not at the expected offset. (A missing tracepoint
/// fails to attach.)
fn moved(category: &str, name: &str, record: Record) -> Option<Failure> {
    let format = TRACEFS_PLACES
        .iter()
        .find_map(|at| fs::read_to_string(format!("{at}/events/{category}/{name}/format")).ok())?;
    let (field, ..) = record.iter().find(|field| !has_field(&format, field))?;
    Some(Failure { why: format!("{category}:{name} has its field {field} at an unexpected offset"), remedy: None })
}

/// Whether a `format` file of tracefs has a field of this name, place and size: `\tfield:void * req;\toffset:16;\tsize:8;…`.
fn has_field(format: &str, (name, at, size): &(&str, usize, usize)) -> bool {
    let place = [format!("offset:{at}"), format!("size:{size}")];
    format.lines().any(|line| {
        let mut parts = line.trim().split(';').map(str::trim);
        let declared = parts.next().and_then(|part| part.strip_prefix("field:")).unwrap_or_default();
        // `char[] filename`, `char comm[16]`.
        let declared = declared.rsplit([' ', '*']).next().and_then(|last| last.split('[').next());
        declared == Some(name) && place.iter().all(|wanted| parts.next() == Some(wanted))
    })
}

fn no_tracefs(failure: Failure) -> Failure {
    let remedy = "classic tracepoints need tracefs: run as root (sudo tracetui), or mount it as root: \
                  sudo mount -t tracefs tracefs /sys/kernel/tracing";
    Failure { remedy: Some(remedy.to_string()), ..failure }
}

/// The programs that need a field, or use it if the kernel has it.
pub fn users_of(field: Field) -> Vec<&'static str> {
    let probes = || GROUPS.iter().flat_map(Group::probes);
    let needing: Vec<_> =
        probes().filter(|p| p.needs.iter().any(|fields| fields.contains(&field))).map(|p| p.name()).collect();
    match needing.is_empty() {
        true => probes().filter(|p| p.may_use(field)).map(|p| p.name()).collect(),
        false => needing,
    }
}

/// The tracepoints that programs attach to by type id.
pub fn typed_tracepoints() -> impl Iterator<Item = (&'static str, &'static str)> {
    GROUPS.iter().flat_map(Group::probes).flat_map(|probe| {
        let names = match probe.place {
            AttachPoint::Btf(names) => names,
            AttachPoint::Classic(..) | AttachPoint::Exit(_) | AttachPoint::Functions(..) => &[],
        };
        names.iter().map(|name| (*name, probe.name()))
    })
}

/// The functions that programs attach to, with the programs.
pub fn hooked_functions(arch: &Arch) -> impl Iterator<Item = (&'static str, &'static str)> {
    GROUPS.iter().flat_map(Group::probes).flat_map(|probe| {
        let names = match &probe.place {
            AttachPoint::Functions(_, names) => names(arch),
            AttachPoint::Exit(name) => std::slice::from_ref(name),
            AttachPoint::Btf(_) | AttachPoint::Classic(..) => &[],
        };
        names.iter().map(|name| (*name, probe.name()))
    })
}

impl Probe {
    /// The program in the probe object.
    fn name(&self) -> &'static str {
        match self.makes {
            Makes::Events(slot) => slot.program(),
            Makes::Part { program, .. } => program,
        }
    }

    /// The kinds of events that it makes, or that it makes a part of.
    fn kinds(&self) -> KindSet {
        match self.makes {
            Makes::Events(slot) => Slot::of_program(slot.program()).map(Slot::kind).collect(),
            Makes::Part { of, .. } => of.kind().into(),
        }
    }

    /// Whether it reads a field that it can do without: the cgroup goes into every header, short names into paths, the
    /// rest tells what a BPF program hangs on.
    fn may_use(&self, field: Field) -> bool {
        match field {
            TaskCgroups | CssSetDflCgrp | CgroupKn | KernfsNodeId => true,
            DentryInline | MntNsRoot => self.needs.contains(&WALK),
            FileCount | FileRef => self.kinds().contains(Kind::Open),
            TaskSeccompMode => self.needs.contains(&SYSCALL),
            KiocbTask | KiocbTctx | IoUringTaskTask => self.needs.contains(&URING),
            _ => self.kinds().contains(Kind::Bpf),
        }
    }
}

impl AttachPoint {
    /// Whether what hangs there can be preempted often enough that records wait longer to be put in order; `tracepoints`:
    /// whether programs at tracepoints can be on this kernel. (What hangs at the return of one function that hardly anybody
    /// calls can be too, from 5.12 on.)
    fn is_preemptible(&self, tracepoints: bool) -> bool {
        tracepoints && matches!(self, AttachPoint::Btf(_) | AttachPoint::Classic("syscalls", ..))
    }

    /// What is not seen there, though the program runs.
    fn blind(&self, arch: &Arch) -> Option<String> {
        match self {
            AttachPoint::Classic("syscalls", ..) => {
                Some(format!("system calls of {} do not reach these tracepoints", arch.compat_callers))
            }
            _ => None,
        }
    }

    fn name(&self, arch: &Arch) -> String {
        match self {
            AttachPoint::Btf(names) => format!("tp_btf {}", names.join("|")),
            AttachPoint::Classic(category, names, _) => match names(arch) {
                [name] => format!("tracepoint {category}:{name}"),
                names => format!("tracepoint {category}:{{{}}}", names.join(",")),
            },
            AttachPoint::Exit(name) => format!("fexit {name}"),
            AttachPoint::Functions(at, names) => match names(arch) {
                [name] => format!("{} {name}", at.name()),
                names => format!("{} {} and {} more", at.name(), names[0], names.len() - 1),
            },
        }
    }
}

/// Where tracefs is, or may be mounted.
const TRACEFS_PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Runs `work` where tracefs can be seen. Where it is not mounted this is a thread with a mount namespace of its own:
/// nothing on the system changes.
fn with_tracefs<T: Send>(needed: bool, work: impl FnOnce() -> T + Send) -> T {
    let seen = || TRACEFS_PLACES.iter().any(|place| Path::new(place).join("events").exists());
    if !needed || seen() {
        return work();
    }
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            // Where this is not allowed, attaching says what is missing.
            let _ = mount_tracefs();
            work()
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Gives the calling thread a mount namespace and mounts tracefs in it.
fn mount_tracefs() -> std::io::Result<()> {
    let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
    let target = std::ffi::CString::new(TRACEFS_PLACES[0]).unwrap_or_default();
    // SAFETY: every pointer is to a NUL-terminated string or null where the call allows it.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let none = std::ptr::null();
        check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()))?;
        check(libc::mount(c"tracefs".as_ptr(), target.as_ptr(), c"tracefs".as_ptr(), 0, std::ptr::null()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The programs of the best ways that can be preempted.
    fn preempted(first: Way, preemptible: bool) -> Vec<&'static str> {
        let order = order(first, preemptible);
        let best = GROUPS.iter().filter_map(|group| group.ways(order).next());
        best.flatten().filter(|probe| probe.place.is_preemptible(preemptible)).map(|probe| probe.name()).collect()
    }

    #[test]
    fn the_best_ways_are_not_preempted() {
        assert_eq!(preempted(Way::Auto, false), Vec::<&str>::new());
        assert_eq!(preempted(Way::Typed, false), Vec::<&str>::new());
        assert_eq!(preempted(Way::Auto, true), Vec::<&str>::new());
        assert_eq!(preempted(Way::Classic, true), ["open_tp", "bpf_tp", "exec_fail_tp"]);
        let typed = preempted(Way::Typed, true);
        assert!(
            ["fork_btf", "exec_btf", "exit_btf", "sys_exit_btf"].iter().all(|name| typed.contains(name)),
            "{typed:?}"
        );
    }

    #[test]
    fn every_slot_has_its_program_in_the_table() {
        for slot in Slot::ALL {
            let programs = GROUPS.iter().flat_map(Group::probes).filter(|probe| probe.name() == slot.program());
            assert_eq!(programs.count(), 1, "{}", slot.program());
        }
    }

    #[test]
    fn exits_are_seen_before_forks_and_forks_after_exits() {
        let place =
            |kind| GROUPS.iter().position(|group| group.probes().any(|probe| probe.kinds() == KindSet::from(kind)));
        assert!(place(Kind::Exit) < place(Kind::Fork) && place(Kind::Exit).is_some(), "a process would not pair up");
    }

    #[test]
    fn fields_of_records_are_found_where_they_are() {
        let format = "name: x\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
            \tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;\n\
            \tfield:void * req;\toffset:16;\tsize:8;\tsigned:0;\n\
            \tfield:char comm[16];\toffset:24;\tsize:16;\tsigned:0;\n";
        for there in [("common_type", 0, 2), ("filename", 8, 4), ("req", 16, 8), ("comm", 24, 16)] {
            assert!(has_field(format, &there), "{there:?}");
        }
        for elsewhere in [("req", 8, 8), ("req", 16, 4), ("eq", 16, 8), ("char", 8, 4), ("", 0, 2)] {
            assert!(!has_field(format, &elsewhere), "{elsewhere:?}");
        }
    }
}
