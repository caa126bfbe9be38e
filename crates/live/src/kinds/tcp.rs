//! `tcp`: connections.

use super::*;

/// None beyond those of the calls: a kernel without TCP has the others.
pub(super) const FIELDS: &[Field] = &[];
pub(super) const WHAT: &str = "accepted TCP connections, and failed requests for one";
/// The fields of a connection.
const SOCK: &[Field] = &[
    SkFamily,
    SkState,
    SkDport,
    SkDaddr,
    SkSaddr,
    SkNet,
    SkFlags,
    SkProtocol,
    SkType,
    SkErr,
    SkOwned,
    SkBacklogLen,
    SkBacklogHead,
    SkSocket,
    SocketSk,
    SocketFile,
    InetSport,
    TcpBytesReceived,
    TcpBytesSent,
    TcpBytesRetrans,
    TcpTotalRetrans,
    TcpSrtt,
    TcpEstablished,
    TcpFastopenReq,
    FastopenData,
    NetInum,
    FilePath,
    FilePrivate,
    PathDentry,
    DentryInode,
    InodeMode,
    TaskFlags,
];
/// The fields that show who gives a request up.
const ENDING: &[Field] = &[TaskSignal, SignalGroupExitCode];
const ALL: &str = "TCP connections";
const ENDS: &str = "the ends of TCP connections whose change of state was skipped";
const STATE_BTF: Probe =
    Probe::new(Slot::TcpState, Btf(&["inet_sock_set_state"]), &[HEADER, FILES, SYSCALL, SOCK, ENDING], &[ALL])
        .guarded()
        .repaired();
const STATE_TP: Probe = Probe::new(
    Slot::TcpStateTp,
    Classic(
        "sock",
        |_| &["inet_sock_set_state"],
        &[("skaddr", 8, 8), ("oldstate", 16, 4), ("newstate", 20, 4), ("protocol", 30, 2)],
    ),
    &[HEADER, FILES, SYSCALL, SOCK, ENDING],
    &[ALL],
)
.repaired();
const DESTROY_BTF: Probe =
    Probe::new(Slot::TcpDestroy, Btf(&["tcp_destroy_sock"]), &[HEADER, SOCK], &[ENDS]).guarded().repaired().optional();
const DESTROY_TP: Probe = Probe::new(
    Slot::TcpDestroyTp,
    Classic("tcp", |_| &["tcp_destroy_sock"], &[("skaddr", 8, 8)]),
    &[HEADER, SOCK],
    &[ENDS],
)
.repaired()
.optional();

const EXITS: AttachPoint = Classic("syscalls", |_| &["sys_exit_connect", "sys_exit_accept", "sys_exit_accept4"], RET);
pub(super) const TP: Probe = Probe::new(Slot::TcpTp, EXITS, &[HEADER, FILES, SYSCALL, SOCK], &[WHAT]);
pub(super) const MULTI: Probe =
    Probe::new(Slot::TcpMulti, Functions(At::Return, |arch| arch.tcps), &[HEADER, FILES, SYSCALL, SOCK], &[WHAT]);

const LIST: Probe = Probe::part(
    Slot::TcpSweep,
    "tcp_list",
    Listed("bpf_iter_task_file", &[]),
    &[HEADER, FILES, SOCK],
    &["TCP connections that are older than the trace"],
);
const SWEEP: Probe = Probe::new(
    Slot::TcpSweep,
    Listed("bpf_iter_bpf_map_elem", &["WAITING", "CONNS"]),
    &[HEADER, SOCK],
    &["TCP connects without an answer at the end of the trace", "changes of state that were skipped"],
)
.repaired();

const EARLIER: &str = "results of calls that began before the trace";
/// The calls that a program at the return of their function does not see.
pub(super) const BEGUN: Probe =
    Probe::new(Slot::TcpBegun, EXITS, &[HEADER, FILES, SYSCALL, SOCK], &[EARLIER]).repaired().optional();
pub(super) const CALLERS: Probe =
    Probe::part(Slot::TcpBegun, "tcp_callers", Listed("bpf_iter_task", &[]), &[HEADER], &[EARLIER]);

/// The programs at changes of the state.
pub(super) const STATES: Group =
    Group::wanted(&[(Way::Typed, &[STATE_BTF, DESTROY_BTF]), (Way::Classic, &[STATE_TP, DESTROY_TP])]);
/// The lists of connections.
pub(super) const ITERATORS: Group = Group::wanted(&[(Way::Typed, &[LIST, SWEEP])]);
