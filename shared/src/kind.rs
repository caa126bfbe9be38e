//! The table of kinds: what a frame can be, and which program slot makes it.

/// What an event from the kernel tells. The wire value is the discriminant; it never changes meaning.
#[repr(u16)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Kind {
    /// A program was started, or failed to start.
    Exec = 1,
    /// A process ended: its last thread did.
    Exit = 2,
    /// A file was opened, or failed to open.
    Open = 3,
    /// A process was created.
    Fork = 4,
    /// A BPF program was loaded or attached, or failed to.
    Bpf = 5,
    /// Events are missing here. Made in user space, never by a probe.
    Lost = 6,
}

impl Kind {
    /// Every kind, in the order in which users see them.
    pub const ALL: [Kind; 6] = [Kind::Exec, Kind::Exit, Kind::Open, Kind::Fork, Kind::Bpf, Kind::Lost];
    /// The kinds that probes make.
    pub const PROBED: [Kind; 5] = [Kind::Exec, Kind::Exit, Kind::Open, Kind::Fork, Kind::Bpf];

    /// The name that filters, JSON and the account use.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Exec => "exec",
            Kind::Exit => "exit",
            Kind::Open => "open",
            Kind::Fork => "fork",
            Kind::Bpf => "bpf",
            Kind::Lost => "lost",
        }
    }

    /// The bit that stands for this kind in a set of kinds.
    pub const fn bit(self) -> u32 {
        1 << self as u16
    }
}

/// The wire value is not a kind of event (it may be a host frame's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind(pub u16);

impl TryFrom<u16> for Kind {
    type Error = UnknownKind;
    fn try_from(value: u16) -> Result<Self, UnknownKind> {
        Kind::ALL.into_iter().find(|k| *k as u16 == value).ok_or(UnknownKind(value))
    }
}

/// One stream of numbered events: a kind as one program makes it. Sequence numbers and counters are kept for each
/// (slot, CPU), because only there a plain increment is exact: the kernel never runs one program twice at once on a CPU.
#[repr(u16)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Slot {
    /// `exec` from the BTF tracepoint `sched_process_exec`.
    ExecBtf = 0,
    /// `exec` from the classic tracepoint `sched:sched_process_exec`.
    ExecTp = 1,
    /// `exit` from the BTF tracepoint `sched_process_exit`.
    ExitBtf = 2,
    /// `exit` from the classic tracepoint `sched:sched_process_exit`.
    ExitTp = 3,
    /// `fork` from the BTF tracepoint `sched_process_fork`.
    ForkBtf = 4,
    /// `open` from the BTF tracepoint `sys_exit`.
    OpenSysExit = 5,
    /// `bpf` from the BTF tracepoint `sys_exit`.
    BpfSysExit = 6,
    /// `open` from the classic tracepoints `syscalls:sys_exit_{open,openat,openat2,creat,open_by_handle_at}`.
    OpenTp = 7,
    /// `bpf` from the classic tracepoints `syscalls:sys_exit_{bpf,ioctl}`.
    BpfTp = 8,
    /// Failed `exec` from the BTF tracepoint `sys_exit`.
    ExecSysExit = 9,
    /// Failed `exec` from the classic tracepoints `syscalls:sys_exit_{execve,execveat}`.
    ExecFailTp = 10,
    /// `open` through io_uring, from the BTF tracepoint `io_uring_complete`.
    OpenUring = 11,
    /// `open` from the returns of the functions behind the system calls.
    OpenMulti = 12,
    /// `bpf` from the returns of the functions behind the system calls.
    BpfMulti = 13,
    /// Failed `exec` from the returns of the functions behind the system calls.
    ExecFailMulti = 14,
    /// `fork` from the entry of `wake_up_new_task`.
    ForkMulti = 15,
    /// `open` through io_uring, from the classic tracepoint `io_uring:io_uring_complete`.
    OpenUringTp = 16,
    /// `open` through io_uring that makes no completion, from the return of `io_openat2`.
    OpenUringQuiet = 17,
    /// Requests of io_uring, from the BTF tracepoint `io_uring_submit_req` (`io_uring_submit_sqe`).
    UringSubmit = 18,
    /// Requests of io_uring, from the classic tracepoint `io_uring:io_uring_submit_req`.
    UringSubmitTp = 19,
    /// Requests that io_uring refuses, from the BTF tracepoint `io_uring_req_failed`.
    UringRefused = 20,
    /// Requests that io_uring refuses, from the classic tracepoint `io_uring:io_uring_req_failed`.
    UringRefusedTp = 21,
}

/// How many slots the counters have room for.
pub const SLOTS: usize = 32;

impl Slot {
    /// Every slot.
    pub const ALL: [Slot; 22] = [
        Slot::ExecBtf,
        Slot::ExecTp,
        Slot::ExitBtf,
        Slot::ExitTp,
        Slot::ForkBtf,
        Slot::OpenSysExit,
        Slot::BpfSysExit,
        Slot::OpenTp,
        Slot::BpfTp,
        Slot::ExecSysExit,
        Slot::ExecFailTp,
        Slot::OpenUring,
        Slot::OpenMulti,
        Slot::BpfMulti,
        Slot::ExecFailMulti,
        Slot::ForkMulti,
        Slot::OpenUringTp,
        Slot::OpenUringQuiet,
        Slot::UringSubmit,
        Slot::UringSubmitTp,
        Slot::UringRefused,
        Slot::UringRefusedTp,
    ];

    /// The kind of event that this slot makes.
    pub const fn kind(self) -> Kind {
        match self {
            Slot::ExecBtf | Slot::ExecTp | Slot::ExecSysExit | Slot::ExecFailTp | Slot::ExecFailMulti => Kind::Exec,
            Slot::ExitBtf | Slot::ExitTp => Kind::Exit,
            Slot::ForkBtf | Slot::ForkMulti => Kind::Fork,
            Slot::OpenSysExit | Slot::OpenTp | Slot::OpenMulti => Kind::Open,
            Slot::OpenUring | Slot::OpenUringTp | Slot::OpenUringQuiet => Kind::Open,
            Slot::UringSubmit | Slot::UringSubmitTp | Slot::UringRefused | Slot::UringRefusedTp => Kind::Open,
            Slot::BpfSysExit | Slot::BpfTp | Slot::BpfMulti => Kind::Bpf,
        }
    }

    /// Whether its records are requests, of which each is only a part of an event ([`crate::header::flag::REQUEST`]).
    pub const fn is_request(self) -> bool {
        matches!(self, Slot::UringSubmit | Slot::UringSubmitTp | Slot::UringRefused | Slot::UringRefusedTp)
    }

    /// The program in the probe object that fills this slot.
    pub const fn program(self) -> &'static str {
        match self {
            Slot::ExecBtf => "exec_btf",
            Slot::ExecTp => "exec_tp",
            Slot::ExitBtf => "exit_btf",
            Slot::ExitTp => "exit_tp",
            Slot::ForkBtf => "fork_btf",
            Slot::OpenSysExit | Slot::BpfSysExit | Slot::ExecSysExit => "sys_exit_btf",
            Slot::ExecFailTp => "exec_fail_tp",
            Slot::OpenUring => "uring_complete_btf",
            Slot::OpenUringTp => "uring_complete_tp",
            Slot::OpenUringQuiet => "uring_quiet",
            Slot::UringSubmit => "uring_submit_btf",
            Slot::UringSubmitTp => "uring_submit_tp",
            Slot::UringRefused => "uring_refused_btf",
            Slot::UringRefusedTp => "uring_refused_tp",
            Slot::OpenTp => "open_tp",
            Slot::BpfTp => "bpf_tp",
            Slot::OpenMulti => "open_multi",
            Slot::BpfMulti => "bpf_multi",
            Slot::ExecFailMulti => "exec_fail_multi",
            Slot::ForkMulti => "fork_multi",
        }
    }
}

/// Whether a program shows most of a kind, or only some ways to make it that another program does not see.
pub fn shows_most(program: &str, kind: Kind) -> bool {
    let execs_that_failed = matches!(program, "exec_fail_tp" | "exec_fail_multi" | "exec_bprm_multi")
        || (program, kind) == ("sys_exit_btf", Kind::Exec);
    !execs_that_failed && !program.starts_with("uring_")
}

impl TryFrom<u16> for Slot {
    type Error = UnknownKind;
    fn try_from(value: u16) -> Result<Self, UnknownKind> {
        Slot::ALL.into_iter().find(|s| *s as u16 == value).ok_or(UnknownKind(value))
    }
}
