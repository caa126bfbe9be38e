//! The programs: where they attach, and the events that a trace lacks without them.

use self::AttachPoint::{Btf, Classic, Ends, Exit, Functions, Listed, Notified};
use super::Way;
use super::load::KernelFacts;
use std::collections::BTreeSet;
use tracetui_host::arch::{self, Arch};
use tracetui_host::btf::resolve::AttachNames;
use tracetui_shared::calls;
use tracetui_shared::kind::{Kind, KindSet, Shows, Slot};

/// A place where a program attaches.
pub(super) enum AttachPoint {
    /// A BTF tracepoint: the first of these names that the kernel has.
    Btf(&'static [&'static str]),
    /// Classic tracepoints of a category, and the fields of their records that are read. The first tracepoint must
    /// exist.
    Classic(&'static str, &'static [&'static str], Record),
    /// The return of a function, with its arguments (fexit, which uses a trampoline).
    Exit(&'static str),
    /// The entry of functions, by one link (`BPF_TRACE_KPROBE_MULTI`, 5.18+). One of them must exist.
    Functions(&'static [&'static str]),
    /// The ends of the system calls ([`calls`]) of the requested kinds: the classic tracepoints, or the returns of the functions.
    Ends(Way),
    /// An iterator, which runs when user space reads it: the function `bpf_iter_NAME`, and the maps whose elements it can list.
    Listed(Turn, &'static str, &'static [&'static str]),
    /// A socket that receives the notifications of rtnetlink, whose filter the program is.
    Notified,
}

/// When user space runs an iterator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// After the attach.
    Start,
    /// Also before the detach.
    StartAndEnd,
    /// Each second over its first map, and over all of them after the detach of all other programs.
    Seconds,
}

/// The fields of a classic tracepoint's record that a program reads at fixed offsets: name, offset, size in bytes.
pub(super) type Record = &'static [(&'static str, usize, usize)];

pub(super) struct Probe {
    pub(super) name: &'static str,
    /// The slot to whose events it adds data, if it makes none of its own.
    part_of: Option<Slot>,
    /// Whether the events are reported even without this program, with less data.
    pub(super) optional: bool,
    places: &'static [(Way, AttachPoint)],
    /// What a trace lacks without this program.
    pub(super) missing: &'static [&'static str],
    /// Whether the kernel must never run the program inside itself. A program at a BTF tracepoint that softirqs reach can be
    /// interrupted by itself before 6.1
    /// ([`bpf_trace_run`](https://elixir.bootlin.com/linux/v6.1/source/kernel/trace/bpf_trace.c)).
    guarded: bool,
    /// Whether events are lost if the kernel skips the program. Otherwise the next run of another one shows what it missed.
    pub(super) skips_lose: bool,
}

/// The field with the result, in the records of `syscalls:sys_exit_*`.
pub(super) const RET: Record = &[("ret", 16, 8)];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Requested {
    pub(crate) kinds: KindSet,
    /// The kinds whose failed events are requested too.
    pub(crate) failing: KindSet,
    /// Whether writes to files are requested.
    pub(crate) writes: bool,
}

impl Requested {
    /// The kinds that the ends of system calls are requested for.
    pub(crate) fn ends(self) -> KindSet {
        Slot::of_program("sys_exit").filter(|slot| self.contains(*slot)).map(Slot::kind).collect()
    }

    fn contains(self, slot: Slot) -> bool {
        let kinds = if slot.shows() == Shows::Failures { self.kinds & self.failing } else { self.kinds };
        kinds.contains(slot.kind()) && (self.writes || slot != Slot::FileWritten)
    }
}

pub(super) struct Group {
    /// Whether the process table needs them. If not, they are attached if one of their kinds is requested.
    always: bool,
    probes: &'static [Probe],
}

/// The places of a program at a function that gets a file. From 5.12 on, a program at [`AttachPoint::Exit`] can be preempted, and is
/// then skipped for other tasks, so it is the last resort.
macro_rules! at_file {
    ($function:literal) => {
        &[
            (Way::Typed, Functions(&[$function])),
            (Way::Functions, Functions(&[$function])),
            (Way::Classic, Exit($function)),
        ]
    };
}

/// The groups, in the order in which they are attached and detached. Exits come before forks. Therefore, at the start
/// of a trace, every process with a captured fork has a captured exit. At the end, every process with a captured exit
/// has a captured fork.
pub(super) const GROUPS: &[Group] = &[
    Group::always(&[Probe::new(
        "sched_exit",
        &[(Way::Typed, Btf(&["sched_process_exit"])), (Way::Classic, Classic("sched", &["sched_process_exit"], &[]))],
        &["process exits"],
    )]),
    // Signals are sent and delivered with interrupts disabled, so these programs are never preempted.
    Group::wanted(&[
        Probe::new("signal_generate", &[(Way::Typed, Btf(&["signal_generate"]))], &["who ended a process"])
            .part_of(Slot::Exit)
            .repaired(),
        Probe::new(
            "signal_deliver",
            &[(Way::Typed, Btf(&["signal_deliver"]))],
            &["the sender of a signal that a tracer replaced, or of one of several that waited"],
        )
        .part_of(Slot::Exit)
        .repaired(),
    ]),
    Group::always(&[
        Probe::new(
            "sched_exec",
            &[
                (Way::Typed, Btf(&["sched_process_exec"])),
                (Way::Classic, Classic("sched", &["sched_process_exec"], &[("filename", 8, 4), ("old_pid", 16, 4)])),
            ],
            &["successful execs"],
        ),
        Probe::new("exec_bprm", &[(Way::Classic, Functions(&["finalize_exec"]))], &["script interpreters"])
            .part_of(Slot::Exec),
    ]),
    Group::always(&[Probe::new(
        "sched_fork",
        &[(Way::Typed, Btf(&["sched_process_fork"])), (Way::Functions, Functions(&["wake_up_new_task"]))],
        &["forks; the parent of a new process is unknown until its first event"],
    )]),
    Group::wanted(&[
        Probe::new(
            "tcp_state",
            &[
                (Way::Typed, Btf(&["inet_sock_set_state"])),
                (Way::Classic, Classic("sock", &["inet_sock_set_state"], STATE)),
            ],
            &["TCP connections"],
        )
        .guarded()
        .repaired(),
        Probe::new(
            "tcp_destroy",
            &[
                (Way::Typed, Btf(&["tcp_destroy_sock"])),
                (Way::Classic, Classic("tcp", &["tcp_destroy_sock"], &[("skaddr", 8, 8)])),
            ],
            &["the ends of TCP connections whose change of state was skipped"],
        )
        .guarded()
        .repaired()
        .optional(),
    ]),
    Group::wanted(&[
        Probe::new(
            "tcp_list",
            &[(Way::Typed, Listed(Turn::StartAndEnd, "bpf_iter_task_file", &[]))],
            &["TCP connections that are older than the trace"],
        )
        .part_of(Slot::TcpSweep),
        Probe::new(
            "tcp_sweep",
            &[(Way::Typed, Listed(Turn::Seconds, "bpf_iter_bpf_map_elem", &["WAITING", "CONNS"]))],
            &["TCP connects without an answer at the end of the trace", "changes of state that were skipped"],
        )
        .repaired(),
    ]),
    Group::wanted(&[
        Probe::new(
            "sys_exit",
            &[
                (Way::Typed, Btf(&["sys_exit"])),
                (Way::Functions, Ends(Way::Functions)),
                (Way::Classic, Ends(Way::Classic)),
            ],
            &[
                "file opens",
                "BPF program loads and attachments",
                "failed execs",
                "accepted TCP connections, and failed requests for one",
            ],
        ),
        Probe::new(
            EARLIER_CALLS.0,
            &[(Way::Functions, Classic("syscalls", &["sys_exit_connect", "sys_exit_accept", "sys_exit_accept4"], RET))],
            &[EARLIER],
        )
        .repaired()
        .optional(),
        Probe::new("tcp_callers", &[(Way::Functions, Listed(Turn::Start, "bpf_iter_task", &[]))], &[EARLIER])
            .part_of(Slot::TcpBegun),
    ]),
    Group::wanted(&[
        Probe::new(
            "uring_submit",
            &[
                (Way::Typed, Btf(&["io_uring_submit_req", "io_uring_submit_sqe"])),
                (Way::Classic, Classic("io_uring", &["io_uring_submit_req"], REQUEST)),
            ],
            &["the arguments of io_uring opens"],
        ),
        Probe::new(
            "uring_refused",
            &[
                (Way::Typed, Btf(&["io_uring_req_failed"])),
                (Way::Classic, Classic("io_uring", &["io_uring_req_failed"], REQUEST)),
            ],
            &["refusals by io_uring: a refused request may show the arguments of an earlier one"],
        )
        .optional(),
        Probe::new(
            "uring_complete",
            &[
                (Way::Typed, Btf(&["io_uring_complete"])),
                (Way::Classic, Classic("io_uring", &["io_uring_complete"], COMPLETION)),
            ],
            &["file opens and TCP connections through io_uring"],
        ),
    ]),
    Group::wanted(&[
        Probe::new("file_opened", at_file!("security_file_open"), &["files that were open for writing (--written)"])
            .part_of(Slot::FileWritten),
        Probe::new(
            "file_freed",
            at_file!("security_file_free"),
            &["room for files, after opens that failed (--written)"],
        )
        .part_of(Slot::FileWritten)
        .repaired(),
        Probe::new("file_closed", at_file!("locks_remove_file"), &["who wrote to a file (--written)"]),
    ]),
    // Without it, the inventory reports the change without a process.
    Group::wanted(&[Probe::new(
        "bpf_netlink",
        &[(Way::Typed, Notified)],
        &["processes that attach BPF programs by netlink"],
    )
    .optional()]),
    // Changes of XDP programs by netlink, in all network namespaces. Without it, the inventory reports most of the changes.
    Group::wanted(&[Probe::new(
        "bpf_xdp",
        &[(Way::Functions, Exit("dev_change_xdp_fd"))],
        &["short XDP attachments at interfaces that are down or in other network namespaces"],
    )]),
];

const STATE: Record = &[("skaddr", 8, 8), ("oldstate", 16, 4), ("newstate", 20, 4), ("protocol", 30, 2)];
/// The field with the request, in the records of `io_uring:*`.
const REQUEST: Record = &[("ctx", 8, 8), ("req", 16, 8)];
const COMPLETION: Record = &[("ctx", 8, 8), ("req", 16, 8), ("user_data", 24, 8), ("res", 32, 4), ("cflags", 36, 4)];
const EARLIER: &str = "results of calls that began before the trace";

/// The program for calls that began before the trace, and the map of their threads. It is detached when the map is empty.
pub(super) const EARLIER_CALLS: (&str, &str) = ("tcp_begun", "TCP_BEGUN");

/// The maps that only one kind uses.
const MAPS: &[(Kind, &[&str])] =
    &[(Kind::Tcp, &["CONNS", "WAITING", EARLIER_CALLS.1, "TCP_ACCEPTS", "TCP_SUBMITTERS"])];

/// Whether the programs use a map for some of these kinds. One that they do not use still has an element.
pub(super) fn uses(kinds: KindSet, map: &str) -> bool {
    MAPS.iter().all(|(kind, maps)| kinds.contains(*kind) || !maps.contains(&map))
}

impl Group {
    const fn always(probes: &'static [Probe]) -> Group {
        Group { always: true, probes }
    }

    const fn wanted(probes: &'static [Probe]) -> Group {
        Group { always: false, probes }
    }

    /// The programs for the requested events in a way, each with its place. A program that only adds data to events does
    /// not serve the process table, so it is attached only for its kind.
    pub(super) fn in_way(&self, way: Way, requested: Requested) -> Vec<(&'static Probe, &'static AttachPoint)> {
        let wanted = |probe: &&Probe| {
            self.always && probe.part_of.is_none() || probe.slots().any(|slot| requested.contains(slot))
        };
        self.probes.iter().filter(wanted).filter_map(|probe| Some((probe, probe.place(way)?))).collect()
    }
}

pub(super) fn probes() -> impl Iterator<Item = &'static Probe> {
    GROUPS.iter().flat_map(|group| group.probes)
}

fn places() -> impl Iterator<Item = &'static AttachPoint> {
    probes().flat_map(|probe| probe.places.iter().map(|(_, place)| place))
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

pub fn attach_names() -> AttachNames {
    let typed = places().flat_map(|place| if let Btf(names) = place { names } else { &[][..] });
    AttachNames {
        tracepoints: unique(typed.copied()),
        functions: unique(arch::ALL.into_iter().flat_map(hooked_functions)),
    }
}

fn unique(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The functions that programs attach to on an architecture.
pub fn hooked_functions(arch: &Arch) -> Vec<&'static str> {
    unique(places().flat_map(|place| place.functions(arch, KindSet::ALL)))
}

impl Probe {
    const fn new(name: &'static str, places: &'static [(Way, AttachPoint)], missing: &'static [&'static str]) -> Probe {
        Probe { name, part_of: None, optional: false, places, missing, guarded: false, skips_lose: true }
    }

    /// A program that only adds data to the events of a slot.
    const fn part_of(self, slot: Slot) -> Probe {
        Probe { part_of: Some(slot), optional: true, ..self }
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

    fn place(&self, way: Way) -> Option<&AttachPoint> {
        self.places.iter().find(|(of, _)| *of == way).map(|(_, place)| place)
    }

    /// Why the program cannot be used at a place on this kernel.
    pub(super) fn refused(&self, place: &AttachPoint, facts: &KernelFacts) -> Option<String> {
        let unguarded = || "this kernel may run the program inside itself".to_owned();
        let no_sender = || "this kernel does not show who sent a notification".to_owned();
        let guarded = self.guarded && matches!(place, Btf(_));
        let notified = matches!(place, Notified);
        (guarded && facts.cast.is_none())
            .then(unguarded)
            .or_else(|| (notified && !facts.netlink_sender).then(no_sender))
    }

    /// Whether the program can be preempted at a place often enough that records wait longer to be ordered. `tracepoints` says whether
    /// this kernel can preempt programs at tracepoints. A program that only repairs is too rare to wait for. (From 5.12 on, programs
    /// at [`AttachPoint::Exit`] can be preempted too. They are used at `dev_change_xdp_fd`, which is rarely called, and where nothing
    /// else attaches.)
    pub(super) fn is_preemptible(&self, place: &AttachPoint, tracepoints: bool) -> bool {
        self.skips_lose && tracepoints && (matches!(place, Btf(_)) || place.category() == Some("syscalls"))
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        Slot::of_program(self.name).chain(self.part_of)
    }

    /// Whether runs that the kernel skips count as lost events. A request that is missed at the return of a function has no completion,
    /// and counts as a request without one.
    pub(super) fn counts_skips(&self, place: &AttachPoint) -> bool {
        self.skips_lose && !(matches!(place, Exit(_)) && Slot::of_program(self.name).any(Slot::is_request))
    }

    pub(super) fn kinds(&self) -> KindSet {
        self.slots().map(Slot::kind).collect()
    }
}

impl AttachPoint {
    /// Whether the kernel's function tracing runs the programs here.
    pub(super) fn is_at_functions(&self) -> bool {
        matches!(self, Exit(_) | Functions(..) | Ends(Way::Functions))
    }

    /// The functions here, as far as an architecture has them, for the requested kinds.
    pub(super) fn functions(&self, arch: &Arch, kinds: KindSet) -> Vec<&'static str> {
        match self {
            Functions(names) => names.to_vec(),
            Exit(name) | Listed(_, name, _) => vec![*name],
            // ioctl(2) has two rows.
            Ends(Way::Functions) => unique(ends(kinds).flat_map(|row| row.functions(arch.number))),
            Btf(_) | Classic(..) | Notified | Ends(_) => Vec::new(),
        }
    }

    pub(super) fn category(&self) -> Option<&'static str> {
        match self {
            Classic(category, ..) => Some(category),
            Ends(Way::Classic) => Some("syscalls"),
            _ => None,
        }
    }

    /// The classic tracepoints here, for the requested kinds.
    pub(super) fn tracepoints(&self, arch: &Arch, kinds: KindSet) -> Vec<&'static str> {
        match self {
            Classic(_, names, _) => names.to_vec(),
            Ends(Way::Classic) => {
                let native = ends(kinds).filter(|row| row.is_native(arch.number));
                let mut names: Vec<_> = native.map(|row| row.tracepoint).collect();
                names.dedup();
                names
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn blind(&self, arch: &Arch) -> Option<String> {
        let blind = self.category() == Some("syscalls");
        blind.then(|| format!("system calls of {} do not reach these tracepoints", arch.compat_callers))
    }

    pub(super) fn name(&self, arch: &Arch, kinds: KindSet) -> String {
        match self {
            Btf(names) => format!("tp_btf {}", names.join("|")),
            Exit(name) => format!("fexit {name}"),
            Listed(_, name, _) => format!("iterator {name}"),
            Notified => "socket filter rtnetlink".to_owned(),
            Functions(names) => format!("kprobe.multi {}", names.join(",")),
            Ends(Way::Functions) => match &self.functions(arch, kinds)[..] {
                [first, others @ ..] => format!("kretprobe.multi {first} and {} more", others.len()),
                [] => "kretprobe.multi".to_owned(),
            },
            Classic(..) | Ends(_) => {
                let category = self.category().unwrap_or_default();
                match &self.tracepoints(arch, kinds)[..] {
                    [name] => format!("tracepoint {category}:{name}"),
                    names => format!("tracepoint {category}:{{{}}}", names.join(",")),
                }
            }
        }
    }
}

fn ends(kinds: KindSet) -> impl Iterator<Item = &'static calls::Row> {
    calls::ROWS.iter().filter(move |row| row.serves(kinds))
}

#[cfg(test)]
mod tests;
