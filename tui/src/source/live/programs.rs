//! The table of programs: attach point, required fields, and the events that are missing without it.

use self::AttachPoint::{Btf, Classic, Exit, Functions};
use super::Way;
use super::multi::At;
use crate::arch::{self, Arch};
use crate::source::host::btf::resolve::AttachNames;
use std::collections::BTreeSet;
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::offsets::Field::{self, *};

/// A place where a program attaches.
pub(super) enum AttachPoint {
    /// A BTF tracepoint: the first of these names that the kernel has.
    Btf(&'static [&'static str]),
    /// Classic tracepoints of a category, the first of which must exist, and the fields of their records that are read.
    Classic(&'static str, FunctionNames, Record),
    /// The return of a function, with its arguments (fexit, which uses a trampoline).
    Exit(&'static str),
    /// The entry or the return of several functions, by one link (`BPF_TRACE_KPROBE_MULTI`, 5.18+). The first function
    /// must exist; others that the kernel lacks are omitted.
    Functions(At, FunctionNames),
}

/// Names of functions on an architecture.
pub(super) type FunctionNames = fn(&Arch) -> &'static [&'static str];

/// The fields of a classic tracepoint's record that a program reads at fixed offsets: name, offset, size in bytes.
pub(super) type Record = &'static [(&'static str, usize, usize)];

/// The output of a program.
enum Makes {
    /// The events of this slot, and of the other slots that the same program fills.
    Events(Slot),
    /// No event of its own, but data for the program that fills the slot.
    Part { of: Slot, program: &'static str },
}

/// A program of the object.
pub(super) struct Probe {
    makes: Makes,
    /// Whether the events are also reported without it, with less data.
    pub(super) optional: bool,
    pub(super) place: AttachPoint,
    /// The fields that it requires.
    pub(super) needs: &'static [&'static [Field]],
    /// What is not reported without it.
    pub(super) missing: &'static str,
}

/// The fields of every record's header (`task.rs`). The cgroup is optional.
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
/// The fields of a walk from a file to the root (`path.rs`).
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
/// The fields that lead from a descriptor to its file.
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
const FAILED_EXECS: &str = "failed execs";
const URING_REQUESTS: &str = "the arguments of io_uring opens";
const URING_REFUSALS: &str = "refusals by io_uring: a refused request may show the arguments of an earlier one";
const URING_OPENS: &str = "file opens through io_uring";
const BPFS: &str = "BPF program loads and attachments";

const EXEC_BTF: Probe = Probe::new(Slot::ExecBtf, Btf(&["sched_process_exec"]), &[HEADER, WALK, EXEC, BPRM], EXECS);
const EXEC_TP: Probe = Probe::new(
    Slot::ExecTp,
    Classic("sched", |_| &["sched_process_exec"], &[("filename", 8, 4), ("old_pid", 16, 4)]),
    &[HEADER, WALK, EXEC],
    EXECS,
);
const EXIT_BTF: Probe = Probe::new(Slot::ExitBtf, Btf(&["sched_process_exit"]), &[HEADER, EXIT], EXITS);
const EXIT_TP: Probe =
    Probe::new(Slot::ExitTp, Classic("sched", |_| &["sched_process_exit"], &[]), &[HEADER, EXIT], EXITS);
const FORK_BTF: Probe = Probe::new(Slot::ForkBtf, Btf(&["sched_process_fork"]), &[HEADER], FORKS);
const SYS_EXIT_BTF: Probe = Probe::new(
    Slot::OpenSysExit,
    Btf(&["sys_exit"]),
    &[HEADER, WALK, FILES, SYSCALL, EXEC, BPF],
    "file opens, BPF program loads and attachments, failed execs",
);
const EXEC_FAIL_TP: Probe = Probe::new(
    Slot::ExecFailTp,
    Classic("syscalls", |_| &["sys_exit_execve", "sys_exit_execveat"], RET),
    &[HEADER, WALK, SYSCALL, EXEC],
    FAILED_EXECS,
);
const OPEN_TP: Probe = Probe::new(
    Slot::OpenTp,
    Classic("syscalls", |arch| arch.open_tracepoints, RET),
    &[HEADER, WALK, FILES, SYSCALL],
    OPENS,
);
const URING_SUBMIT_BTF: Probe = Probe::new(
    Slot::UringSubmit,
    Btf(&["io_uring_submit_req", "io_uring_submit_sqe"]),
    &[HEADER, URING],
    URING_REQUESTS,
);
const URING_SUBMIT_TP: Probe = Probe::new(
    Slot::UringSubmitTp,
    Classic("io_uring", |_| &["io_uring_submit_req"], REQ),
    &[HEADER, URING],
    URING_REQUESTS,
);
const URING_REFUSED_BTF: Probe =
    Probe::new(Slot::UringRefused, Btf(&["io_uring_req_failed"]), &[HEADER, URING], URING_REFUSALS).optional();
const URING_REFUSED_TP: Probe = Probe::new(
    Slot::UringRefusedTp,
    Classic("io_uring", |_| &["io_uring_req_failed"], REQ),
    &[HEADER, URING],
    URING_REFUSALS,
)
.optional();
const URING_COMPLETE_BTF: Probe =
    Probe::new(Slot::OpenUring, Btf(&["io_uring_complete"]), &[HEADER, WALK, FILES, URING], URING_OPENS);
const URING_COMPLETE_TP: Probe = Probe::new(
    Slot::OpenUringTp,
    Classic("io_uring", |_| &["io_uring_complete"], REQ),
    &[HEADER, WALK, FILES, URING],
    URING_OPENS,
);
const URING_QUIET: Probe = Probe::new(
    Slot::OpenUringQuiet,
    Exit("io_openat2"),
    &[HEADER, WALK, FILES, URING],
    "io_uring opens without a completion (IOSQE_CQE_SKIP_SUCCESS); counted as lost where requests are seen",
)
.optional();
const BPF_TP: Probe = Probe::new(
    Slot::BpfTp,
    Classic(
        "syscalls",
        |_| &["sys_exit_bpf", "sys_exit_ioctl", "sys_exit_setsockopt", "sys_exit_seccomp", "sys_exit_prctl"],
        RET,
    ),
    &[HEADER, FILES, SYSCALL, BPF],
    BPFS,
);
const OPEN_MULTI: Probe =
    Probe::new(Slot::OpenMulti, Functions(At::Return, |arch| arch.opens), &[HEADER, WALK, FILES, SYSCALL], OPENS);
const BPF_MULTI: Probe =
    Probe::new(Slot::BpfMulti, Functions(At::Return, |arch| arch.bpfs), &[HEADER, FILES, SYSCALL, BPF], BPFS);
const EXEC_FAIL_MULTI: Probe = Probe::new(
    Slot::ExecFailMulti,
    Functions(At::Return, |arch| arch.execs),
    &[HEADER, WALK, SYSCALL, EXEC],
    FAILED_EXECS,
);
const EXEC_BPRM_MULTI: Probe = Probe::part(
    Slot::ExecTp,
    "exec_bprm_multi",
    Functions(At::Entry, |_| &["finalize_exec"]),
    &[HEADER, BPRM],
    "script interpreters",
);
const FORK_MULTI: Probe =
    Probe::new(Slot::ForkMulti, Functions(At::Entry, |_| &["wake_up_new_task"]), &[HEADER], FORKS);

/// The ways to obtain the same events, each with its programs.
type Ways = &'static [(Way, &'static [Probe])];

/// The ways to obtain the same events, one of which is used.
pub(super) struct Group {
    ways: Ways,
    when: When,
}

/// When a group is attached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Always: the process table needs it.
    Always,
    /// If one of its kinds is requested.
    Wanted,
}

/// The groups, in the order in which they are attached and detached. Exits come before forks. At the start of a trace,
/// every process with a captured fork thus has a captured exit. At the end, every process with a captured exit has a
/// captured fork.
pub(super) const GROUPS: &[Group] = &[
    Group::always(&[(Way::Typed, &[EXIT_BTF]), (Way::Classic, &[EXIT_TP])]),
    Group::always(&[(Way::Typed, &[EXEC_BTF]), (Way::Classic, &[EXEC_TP, EXEC_BPRM_MULTI])]),
    Group::always(&[(Way::Typed, &[FORK_BTF]), (Way::Functions, &[FORK_MULTI])]),
    Group::wanted(&[
        (Way::Typed, &[SYS_EXIT_BTF]),
        (Way::Functions, &[OPEN_MULTI, BPF_MULTI, EXEC_FAIL_MULTI]),
        (Way::Classic, &[OPEN_TP, BPF_TP, EXEC_FAIL_TP]),
    ]),
    Group::wanted(&[
        (Way::Typed, &[URING_SUBMIT_BTF, URING_REFUSED_BTF, URING_COMPLETE_BTF]),
        (Way::Classic, &[URING_SUBMIT_TP, URING_REFUSED_TP, URING_COMPLETE_TP]),
    ]),
    Group::wanted(&[(Way::Functions, &[URING_QUIET])]),
];

impl Group {
    const fn always(ways: Ways) -> Group {
        Group { ways, when: When::Always }
    }

    const fn wanted(ways: Ways) -> Group {
        Group { ways, when: When::Wanted }
    }

    /// Whether one of its programs is attached for the requested kinds. What only adds data to events serves no process
    /// table: it is attached only for its kind.
    pub(super) fn wants(&self, probe: &Probe, kinds: KindSet) -> bool {
        let always = self.when == When::Always && matches!(probe.makes, Makes::Events(_));
        always || !(probe.kinds() & kinds).is_empty()
    }

    /// The ways, the best first.
    pub(super) fn ways(&self, order: [Way; 3]) -> impl Iterator<Item = &'static [Probe]> {
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

/// The ways in the order in which they are tried; `first` is the user's preference, if any.
///
/// Up to 6.19 programs at tracepoints run with preemption disabled and lose nothing. BTF tracepoints need no tracefs
/// and see 32-bit callers. From 7.0 on programs at BTF tracepoints can be preempted, and meanwhile the events of other
/// tasks on that CPU are skipped. Classic tracepoints, except those of system calls, still run with preemption disabled
/// ([`perf_trace_*`](https://elixir.bootlin.com/linux/v7.0/source/include/trace/perf.h)). So do programs at the return
/// of functions
/// ([`kprobe_multi_link_prog_run`](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/bpf_trace.c)).
pub(super) fn order(first: Way, preemptible: bool) -> [Way; 3] {
    let mut order = match preemptible {
        true => [Way::Functions, Way::Classic, Way::Typed],
        false => [Way::Typed, Way::Classic, Way::Functions],
    };
    if let Some(at) = order.iter().position(|way| *way == first) {
        order[..=at].rotate_right(1);
    }
    order
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

/// The names that programs attach to, on all architectures.
pub fn attach_names() -> AttachNames {
    let functions = arch::ALL.into_iter().flat_map(hooked_functions);
    AttachNames {
        tracepoints: unique(typed_tracepoints().map(|(name, _)| name)),
        functions: unique(functions.map(|(name, _)| name)),
    }
}

fn unique(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The tracepoints that programs attach to by type id.
pub fn typed_tracepoints() -> impl Iterator<Item = (&'static str, &'static str)> {
    GROUPS.iter().flat_map(Group::probes).flat_map(|probe| {
        let names = match probe.place {
            Btf(names) => names,
            Classic(..) | Exit(_) | Functions(..) => &[],
        };
        names.iter().map(|name| (*name, probe.name()))
    })
}

/// The functions that programs attach to, with the programs.
pub fn hooked_functions(arch: &Arch) -> impl Iterator<Item = (&'static str, &'static str)> {
    GROUPS.iter().flat_map(Group::probes).flat_map(|probe| {
        let names = match &probe.place {
            Functions(_, names) => names(arch),
            Exit(name) => std::slice::from_ref(name),
            Btf(_) | Classic(..) => &[],
        };
        names.iter().map(|name| (*name, probe.name()))
    })
}

impl Probe {
    const fn new(slot: Slot, place: AttachPoint, needs: &'static [&'static [Field]], missing: &'static str) -> Probe {
        Probe { makes: Makes::Events(slot), optional: false, place, needs, missing }
    }

    /// A program that only adds data to the events of a slot.
    const fn part(
        of: Slot,
        program: &'static str,
        place: AttachPoint,
        needs: &'static [&'static [Field]],
        missing: &'static str,
    ) -> Probe {
        Probe { makes: Makes::Part { of, program }, optional: true, place, needs, missing }
    }

    const fn optional(self) -> Probe {
        Probe { optional: true, ..self }
    }

    /// The name of the program in the probe object.
    pub(super) fn name(&self) -> &'static str {
        match self.makes {
            Makes::Events(slot) => slot.program(),
            Makes::Part { program, .. } => program,
        }
    }

    /// The kinds of the events that it makes or adds data to.
    pub(super) fn kinds(&self) -> KindSet {
        match self.makes {
            Makes::Events(slot) => Slot::of_program(slot.program()).map(Slot::kind).collect(),
            Makes::Part { of, .. } => of.kind().into(),
        }
    }

    /// Whether it reads a field that it does not require. Such fields are the cgroup in headers, short names in paths,
    /// and details of opens and requests. The others describe BPF programs and their attachments.
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
    /// The kind of place, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Btf(_) => "BTF tracepoints (tp_btf)",
            Classic(..) => "classic tracepoints",
            Exit(_) => "the return of a function (fexit)",
            Functions(..) => "functions (kprobe.multi)",
        }
    }

    /// Whether programs there can be preempted often enough that records wait longer to be ordered. `tracepoints` is
    /// whether this kernel can preempt programs at tracepoints. (From 5.12 on, programs at [`AttachPoint::Exit`] can be
    /// preempted too. There is one, at `io_openat2`, which is rarely called.)
    pub(super) fn is_preemptible(&self, tracepoints: bool) -> bool {
        tracepoints && matches!(self, Btf(_) | Classic("syscalls", ..))
    }

    /// Whether the kernel's function tracing runs the programs there.
    pub(super) fn is_at_functions(&self) -> bool {
        matches!(self, Exit(_) | Functions(..))
    }

    /// The events that a program does not see there.
    pub(super) fn blind(&self, arch: &Arch) -> Option<String> {
        match self {
            Classic("syscalls", ..) => {
                Some(format!("system calls of {} do not reach these tracepoints", arch.compat_callers))
            }
            _ => None,
        }
    }

    pub(super) fn name(&self, arch: &Arch) -> String {
        match self {
            Btf(names) => format!("tp_btf {}", names.join("|")),
            Classic(category, names, _) => match names(arch) {
                [name] => format!("tracepoint {category}:{name}"),
                names => format!("tracepoint {category}:{{{}}}", names.join(",")),
            },
            Exit(name) => format!("fexit {name}"),
            Functions(at, names) => match names(arch) {
                [name] => format!("{} {name}", at.name()),
                names => format!("{} {} and {} more", at.name(), names[0], names.len() - 1),
            },
        }
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
    fn what_is_not_asked_for_is_not_attached() {
        let wanted = |kinds: KindSet, way: Way| -> Vec<&str> {
            let probes = GROUPS.iter().flat_map(|group| {
                let ways = group.ways.iter().filter(move |(of, _)| *of == way);
                ways.flat_map(|(_, probes)| *probes).filter(move |probe| group.wants(probe, kinds))
            });
            probes.map(Probe::name).collect()
        };
        assert_eq!(wanted(Kind::Exit.into(), Way::Typed), ["exit_btf", "exec_btf", "fork_btf"]);
        assert_eq!(wanted(Kind::Exit.into(), Way::Classic), ["exit_tp", "exec_tp"]);
        assert_eq!(wanted(Kind::Exit.into(), Way::Functions), ["fork_multi"]);
        assert_eq!(wanted(Kind::Exec.into(), Way::Typed), ["exit_btf", "exec_btf", "fork_btf", "sys_exit_btf"]);
        assert_eq!(wanted(Kind::Exec.into(), Way::Classic), ["exit_tp", "exec_tp", "exec_bprm_multi", "exec_fail_tp"]);
        assert_eq!(wanted(Kind::Exec.into(), Way::Functions), ["fork_multi", "exec_fail_multi"]);
        assert_eq!(wanted(Kind::Bpf.into(), Way::Functions), ["fork_multi", "bpf_multi"]);
        assert_eq!(wanted(Kind::Open.into(), Way::Functions), ["fork_multi", "open_multi", "uring_quiet"]);
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
}
