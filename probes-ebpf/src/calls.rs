//! The system calls at whose end each kind of event is made, and their numbers in the tables of each architecture.

use tracetui_shared::kind::Kind;
use tracetui_shared::record::open::via;

/// The system calls at whose end a kind of event is made.
pub struct Calls {
    pub kind: Kind,
    /// Which of the kind's calls it is, below 8, and its number in each table, in the order of
    /// [`abi`](tracetui_shared::record::open::abi): x86-64, i386, x32, arm64, arm. [`NONE`] if the table does not have
    /// it.
    pub rows: &'static [(u8, [u32; 5])],
}

/// Not in this table.
pub const NONE: u32 = u32::MAX;

/// The calls of all kinds.
pub const ALL: &[&Calls] = &[&open::CALLS, &exec::CALLS, &bpf::CALLS, &tcp::CALLS];

/// The calls that open files.
pub mod open {
    use super::*;

    /// The system calls, each with its [`via`].
    pub const CALLS: Calls = Calls {
        kind: Kind::Open,
        rows: &[
            // x86-64, i386, x32, arm64, arm
            (via::OPEN, [2, 5, 2, NONE, 5]),
            (via::CREAT, [85, 8, 85, NONE, 8]),
            (via::OPENAT, [257, 295, 257, 56, 322]),
            (via::OPEN_BY_HANDLE_AT, [304, 342, 304, 265, 371]),
            (via::OPENAT2, [437, 437, 437, 437, 437]),
        ],
    };
}

/// The calls that start programs.
pub mod exec {
    use super::*;

    /// execve(2) and execveat(2).
    pub const EXECVE: u8 = 0;
    pub const EXECVEAT: u8 = 1;

    /// The system calls. Those that succeed are reported at `sched_process_exec`.
    pub const CALLS: Calls = Calls {
        kind: Kind::Exec,
        rows: &[
            // x86-64, i386, x32, arm64, arm
            (EXECVE, [59, 11, 520, 221, 11]),
            (EXECVEAT, [322, 358, 545, 281, 387]),
        ],
    };
}

/// The calls that load, attach or detach BPF programs.
pub mod bpf {
    use super::*;

    /// The system calls of [`CALLS`].
    pub mod what {
        /// bpf(2).
        pub const BPF: u8 = 0;
        /// ioctl(2).
        pub const IOCTL: u8 = 1;
        /// setsockopt(2).
        pub const SETSOCKOPT: u8 = 2;
        /// seccomp(2).
        pub const SECCOMP: u8 = 3;
        /// prctl(2).
        pub const PRCTL: u8 = 4;
    }

    /// The system calls that may load, attach or detach a program.
    pub const CALLS: Calls = Calls {
        kind: Kind::Bpf,
        rows: &[
            // x86-64, i386, x32, arm64, arm
            (what::BPF, [321, 357, 321, 280, 386]),
            (what::IOCTL, IOCTL),
            // x32 has a number of its own.
            (what::IOCTL, [514, NONE, 514, NONE, NONE]),
            (what::PRCTL, [157, 172, 157, 167, 172]),
            (what::SECCOMP, [317, 354, 317, 277, 383]),
            (what::SETSOCKOPT, [54, 366, 541, 208, 294]),
        ],
    };

    const IOCTL: [u32; 5] = [16, 54, 16, 29, 54];

    /// Whether a number is ioctl(2) in a 64-bit table, and its second argument attaches no program. There are many of
    /// them. (16 is lchown(2) of i386, 29 is pause(2) of ARM.)
    #[inline(always)]
    pub fn is_dismissed(table: u8, number: u32, second: impl FnOnce() -> u64) -> bool {
        number == IOCTL[table as usize] && !attaches(second())
    }

    /// `PERF_EVENT_IOC_SET_BPF` (include/uapi/linux/perf_event.h).
    pub const SET_BPF: u64 = 0x4004_2408;
    /// `TUNATTACHFILTER` (include/uapi/linux/if_tun.h). A 32-bit caller passes the same number: the kernel has no other.
    pub const TUN_ATTACH_FILTER: u64 = 0x4010_54d5;
    /// `TUNDETACHFILTER`.
    pub const TUN_DETACH_FILTER: u64 = 0x4010_54d6;

    /// Whether an ioctl(2) may attach or detach a program.
    #[inline(always)]
    pub fn attaches(command: u64) -> bool {
        matches!(command, SET_BPF | TUN_ATTACH_FILTER | TUN_DETACH_FILTER)
    }
}

/// The calls that make or accept TCP connections.
pub mod tcp {
    use super::*;

    /// The system calls of [`CALLS`].
    pub mod what {
        /// connect(2).
        pub const CONNECT: u8 = 0;
        /// accept(2).
        pub const ACCEPT: u8 = 1;
        /// accept4(2).
        pub const ACCEPT4: u8 = 2;
        /// socketcall(2), which includes all of them.
        pub const SOCKETCALL: u8 = 3;
    }

    /// The system calls.
    pub const CALLS: Calls = Calls {
        kind: Kind::Tcp,
        rows: &[
            // x86-64, i386, x32, arm64, arm
            (what::CONNECT, [42, 362, 42, 203, 283]),
            (what::ACCEPT, [43, NONE, 43, 202, 285]),
            (what::ACCEPT4, [288, 364, 288, 242, 366]),
            (what::SOCKETCALL, [NONE, 102, NONE, NONE, NONE]),
        ],
    };
}
