//! The programs of each kind: attach points, required fields, and the events that a trace lacks without them.

mod bpf;
mod exec;
mod exit;
mod fork;
mod open;
mod tcp;
mod uring;

use self::AttachPoint::{Btf, Classic, Exit, Functions, Listed, Notified};
use super::Way;
use super::kprobe_multi::At;
use super::load::KernelFacts;
use std::collections::BTreeSet;
use tracetui_host::arch::{self, Arch};
use tracetui_host::btf::resolve::AttachNames;
use tracetui_shared::kind::{Kind, KindSet, Shows, Slot};
use tracetui_shared::offsets::Field::{self, *};

/// A place where a program attaches.
pub(super) enum AttachPoint {
    /// A BTF tracepoint: the first of these names that the kernel has.
    Btf(&'static [&'static str]),
    /// Classic tracepoints of a category, and the fields of their records that are read. The first tracepoint must
    /// exist.
    Classic(&'static str, FunctionNames, Record),
    /// The return of a function, with its arguments (fexit, which uses a trampoline).
    Exit(&'static str),
    /// The entry or the return of several functions, by one link (`BPF_TRACE_KPROBE_MULTI`, 5.18+). The first function
    /// must exist. Others are omitted if the kernel lacks them.
    Functions(At, FunctionNames),
    /// An iterator, which runs when user space reads it: the function `bpf_iter_NAME`, and the maps whose elements it can list.
    Listed(&'static str, &'static [&'static str]),
    /// A socket that receives the notifications of rtnetlink, whose filter the program is.
    Notified,
}

pub(super) type FunctionNames = fn(&Arch) -> &'static [&'static str];

/// The fields of a classic tracepoint's record that a program reads at fixed offsets: name, offset, size in bytes.
pub(super) type Record = &'static [(&'static str, usize, usize)];

type Needs = &'static [&'static [Field]];
type Missing = &'static [&'static str];

/// The output of a program.
enum Makes {
    /// The events of this slot, and of any other slots that the same program fills.
    Events(Slot),
    /// No events of its own, only data for the program that fills the slot.
    Part { of: Slot, program: &'static str },
}

/// A program of the object.
pub(super) struct Probe {
    makes: Makes,
    /// Whether the events are reported even without this program, with less data.
    pub(super) optional: bool,
    pub(super) place: AttachPoint,
    /// The fields that it requires.
    pub(super) needs: Needs,
    /// What a trace lacks without this program.
    pub(super) missing: Missing,
    /// Whether the kernel must never run the program inside itself. A program at a BTF tracepoint that softirqs reach can be
    /// interrupted by itself before 6.1
    /// ([`bpf_trace_run`](https://elixir.bootlin.com/linux/v6.1/source/kernel/trace/bpf_trace.c)).
    guarded: bool,
    /// Whether events are lost if the kernel skips the program. Otherwise the next run of another one shows what it missed.
    pub(super) skips_lose: bool,
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
/// The fields on the way from a descriptor to its file.
const FILES: &[Field] = &[TaskFiles, FilesFdt, FdtableFd, FdtableMaxFds, PathMnt];
const SYSCALL: &[Field] = &[TaskCompat, TaskPending, TaskBlocked];

/// The field with the result, in the records of `syscalls:sys_exit_*`.
const RET: Record = &[("ret", 16, 8)];

/// The ways to obtain the same events, each with its programs.
type Ways = &'static [(Way, &'static [Probe])];

/// The events for which programs are attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Requested {
    pub(crate) kinds: KindSet,
    /// The kinds whose failed events are requested too.
    pub(crate) failing: KindSet,
}

impl Requested {
    fn contains(self, slot: Slot) -> bool {
        let kinds = if slot.shows() == Shows::Failures { self.kinds & self.failing } else { self.kinds };
        kinds.contains(slot.kind())
    }
}

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
    /// The same. The ways are tried in the order in which they are listed.
    Listed,
}

/// The kinds that are made at the end of system calls. Each has `FIELDS` and `WHAT`, the fields that it needs beyond those of every
/// call and the events that a trace lacks without it, and the programs `MULTI` and `TP`.
macro_rules! of_calls {
    ($($kind:ident)+) => {
        /// The programs at the end of system calls. One program sees every call, of every kind.
        const OF_CALLS: Group = Group::wanted(&[
            (Way::Typed, &[Probe::new(
                Slot::OpenSysExit,
                Btf(&["sys_exit"]),
                &[HEADER, WALK, FILES, SYSCALL, $($kind::FIELDS),+],
                &[$($kind::WHAT),+],
            )]),
            (Way::Functions, &[$($kind::MULTI),+, tcp::BEGUN, tcp::CALLERS]),
            (Way::Classic, &[$($kind::TP),+]),
        ]);
    };
}

of_calls! { open bpf exec tcp }

/// The groups, in the order in which they are attached and detached. Exits come before forks. Therefore, at the start
/// of a trace, every process with a captured fork has a captured exit. At the end, every process with a captured exit
/// has a captured fork.
pub(super) const GROUPS: &[Group] = &[
    exit::GROUP,
    exit::SIGNALS,
    exec::GROUP,
    fork::GROUP,
    tcp::STATES,
    tcp::ITERATORS,
    OF_CALLS,
    uring::GROUP,
    bpf::NETLINK,
    bpf::XDP,
];

impl Group {
    const fn always(ways: Ways) -> Group {
        Group { ways, when: When::Always }
    }

    const fn wanted(ways: Ways) -> Group {
        Group { ways, when: When::Wanted }
    }

    const fn listed(ways: Ways) -> Group {
        Group { ways, when: When::Listed }
    }

    /// Whether one of its programs is attached for the requested events. A program that only adds data to events does
    /// not serve the process table, so it is attached only for its kind.
    pub(super) fn wants(&self, probe: &Probe, requested: Requested) -> bool {
        let always = self.when == When::Always && matches!(probe.makes, Makes::Events(_));
        always || probe.slots().any(|slot| requested.contains(slot))
    }

    /// The ways, the best first.
    pub(super) fn ways(&self, order: [Way; 3]) -> impl Iterator<Item = &'static [Probe]> {
        let listed = self.when == When::Listed;
        let way = move |(nth, wanted): (usize, Way)| match listed {
            true => self.ways.get(nth),
            false => self.ways.iter().find(|(way, _)| *way == wanted),
        };
        order.into_iter().enumerate().filter_map(way).map(|(_, probes)| *probes)
    }

    /// Every program of every way.
    pub(super) fn probes(&self) -> impl Iterator<Item = &'static Probe> {
        self.ways.iter().flat_map(|(_, probes)| *probes)
    }
}

/// The ways in the order in which they are tried. `first` is the user's preference, if any.
///
/// Up to 6.19 programs at tracepoints run with preemption disabled and lose nothing. BTF tracepoints need no tracefs
/// and see 32-bit callers. From 7.0 on programs at BTF tracepoints can be preempted. While one is preempted, the events
/// of other tasks on that CPU are skipped. Classic tracepoints, except those of system calls, still run with preemption
/// disabled ([`perf_trace_*`](https://elixir.bootlin.com/linux/v7.0/source/include/trace/perf.h)). So do programs at
/// the return of functions
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
            Classic(..) | Exit(_) | Functions(..) | Listed(..) | Notified => &[],
        };
        names.iter().map(|name| (*name, probe.name()))
    })
}

/// The functions that programs attach to, each with its program.
pub fn hooked_functions(arch: &Arch) -> impl Iterator<Item = (&'static str, &'static str)> {
    GROUPS.iter().flat_map(Group::probes).flat_map(|probe| {
        let names = match &probe.place {
            Functions(_, names) => names(arch),
            Exit(name) | Listed(name, _) => std::slice::from_ref(name),
            Btf(_) | Classic(..) | Notified => &[],
        };
        names.iter().map(|name| (*name, probe.name()))
    })
}

impl Probe {
    const fn new(slot: Slot, place: AttachPoint, needs: Needs, missing: Missing) -> Probe {
        Probe { makes: Makes::Events(slot), optional: false, place, needs, missing, guarded: false, skips_lose: true }
    }

    /// A program that only adds data to the events of a slot.
    const fn part(of: Slot, program: &'static str, place: AttachPoint, needs: Needs, missing: Missing) -> Probe {
        Probe {
            makes: Makes::Part { of, program },
            optional: true,
            place,
            needs,
            missing,
            guarded: false,
            skips_lose: true,
        }
    }

    const fn optional(self) -> Probe {
        Probe { optional: true, ..self }
    }

    const fn guarded(self) -> Probe {
        Probe { guarded: true, ..self }
    }

    const fn repaired(self) -> Probe {
        Probe { skips_lose: false, ..self }
    }

    /// Why the program cannot be used on this kernel.
    pub(super) fn refused(&self, facts: &KernelFacts) -> Option<String> {
        let unguarded = || "this kernel may run the program inside itself".to_owned();
        let no_sender = || "this kernel does not show who sent a notification".to_owned();
        let notified = matches!(self.place, Notified);
        (facts.lacks(self.needs))
            .or_else(|| (self.guarded && facts.cast.is_none()).then(unguarded))
            .or_else(|| (notified && !facts.netlink_sender).then(no_sender))
    }

    /// Whether the program can be preempted, so that records wait longer to be ordered. `tracepoints` says whether this kernel can
    /// preempt programs at tracepoints. A program that only repairs is too rare to wait for.
    pub(super) fn is_preemptible(&self, tracepoints: bool) -> bool {
        self.skips_lose && self.place.is_preemptible(tracepoints)
    }

    /// The name of the program in the probe object.
    pub(super) fn name(&self) -> &'static str {
        match self.makes {
            Makes::Events(slot) => slot.program(),
            Makes::Part { program, .. } => program,
        }
    }

    /// The slots of the events that this program makes or adds data to.
    fn slots(&self) -> impl Iterator<Item = Slot> {
        let only = if let Makes::Part { of, .. } = self.makes { Some(of) } else { None };
        Slot::of_program(self.name()).chain(only)
    }

    /// The kinds of these events.
    pub(super) fn kinds(&self) -> KindSet {
        self.slots().map(Slot::kind).collect()
    }

    /// Whether the program reads a field that it does not require. Such fields are the cgroup in headers, short names
    /// in paths, and details of opens and requests. The others describe BPF programs and their attachments.
    fn may_use(&self, field: Field) -> bool {
        match field {
            TaskCgroups | CssSetDflCgrp | CgroupKn | KernfsNodeId => true,
            DentryInline | MntNsRoot => self.needs.contains(&WALK),
            FileCount | FileRef => self.kinds().contains(Kind::Open),
            TaskSeccompMode => self.needs.contains(&SYSCALL),
            TcpIsMptcp | MptcpFirst | SkSaddr6 | SkDaddr6 | KiocbCtx | KiocbUserData | KiocbFd | KiocbFile
            | IoConnectAddr | IoAcceptFileSlot => self.kinds().contains(Kind::Tcp),
            SignalOomMm | SignalLimits => self.kinds().contains(Kind::Exit),
            KiocbTask | KiocbTctx | IoUringTaskTask => self.needs.contains(&uring::FIELDS),
            _ => self.kinds().contains(Kind::Bpf),
        }
    }
}

impl AttachPoint {
    /// Whether programs here can be preempted often enough that records wait longer to be ordered. `tracepoints` says
    /// whether this kernel can preempt programs at tracepoints. (From 5.12 on, programs at [`AttachPoint::Exit`] can be
    /// preempted too. There is one, at `dev_change_xdp_fd`, which is rarely called.)
    fn is_preemptible(&self, tracepoints: bool) -> bool {
        tracepoints && matches!(self, Btf(_) | Classic("syscalls", ..))
    }

    /// Whether the kernel's function tracing runs the programs here.
    pub(super) fn is_at_functions(&self) -> bool {
        matches!(self, Exit(_) | Functions(..))
    }

    /// The events that a program here does not see.
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
            Listed(name, _) => format!("iterator {name}"),
            Notified => "socket filter rtnetlink".to_owned(),
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
        best.flatten().filter(|probe| probe.is_preemptible(preemptible)).map(|probe| probe.name()).collect()
    }

    #[test]
    fn the_best_ways_are_not_preempted() {
        assert_eq!(preempted(Way::Auto, false), Vec::<&str>::new());
        assert_eq!(preempted(Way::Typed, false), Vec::<&str>::new());
        assert_eq!(preempted(Way::Auto, true), Vec::<&str>::new());
        let ways = [
            (Way::Classic, &["open_tp", "bpf_tp", "exec_fail_tp"][..]),
            (Way::Typed, &["fork_btf", "exec_btf", "exit_btf", "sys_exit_btf"]),
        ];
        for (way, programs) in ways {
            let preempted = preempted(way, true);
            assert!(programs.iter().all(|name| preempted.contains(name)), "{preempted:?}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_not_attached() {
        let of = |kinds: KindSet, failing: KindSet, way: Way| -> Vec<&str> {
            let probes = GROUPS.iter().flat_map(|group| {
                let ways = group.ways.iter().filter(move |(of, _)| *of == way);
                ways.flat_map(|(_, probes)| *probes)
                    .filter(move |probe| group.wants(probe, Requested { kinds, failing }))
            });
            probes.map(Probe::name).collect()
        };
        let wanted = |kinds: KindSet, way: Way| of(kinds, KindSet::ALL, way);
        assert_eq!(of(Kind::Exec.into(), KindSet::NONE, Way::Typed), ["exit_btf", "exec_btf", "fork_btf"]);
        assert_eq!(of(Kind::Exec.into(), KindSet::NONE, Way::Functions), ["fork_multi"]);
        let for_exits = ["exit_btf", "signal_btf", "deliver_btf", "exec_btf", "fork_btf"];
        assert_eq!(wanted(Kind::Exit.into(), Way::Typed), for_exits);
        assert_eq!(wanted(Kind::Exit.into(), Way::Classic), ["exit_tp", "exec_tp"]);
        assert_eq!(wanted(Kind::Exit.into(), Way::Functions), ["fork_multi"]);
        assert_eq!(wanted(Kind::Exec.into(), Way::Typed), ["exit_btf", "exec_btf", "fork_btf", "sys_exit_btf"]);
        assert_eq!(wanted(Kind::Exec.into(), Way::Classic), ["exit_tp", "exec_tp", "exec_bprm_multi", "exec_fail_tp"]);
        assert_eq!(wanted(Kind::Exec.into(), Way::Functions), ["fork_multi", "exec_fail_multi"]);
        assert_eq!(wanted(Kind::Bpf.into(), Way::Functions), ["fork_multi", "bpf_multi", "bpf_xdp"]);
        assert_eq!(wanted(Kind::Open.into(), Way::Functions), ["fork_multi", "open_multi"]);
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
