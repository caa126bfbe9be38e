//! The system calls that each role may make, as filters of seccomp(2).
//!
//! A call that is not on the list fails with EPERM. It does not end the trace, because somebody may depend on the trace
//! and the call may just have been forgotten here. The failure is not hidden either. It raises SIGSYS, which no thread
//! blocks and whose handler counts the call ([`denied`]). The end of the trace reports the count, because the data that
//! the call was for may be missing. Calls by another calling convention (i386) end the process; no part of tracetui
//! makes any. x32 has other numbers on x86-64, so its calls are on no list.
//!
//! Filters see numbers and arguments, but no memory. Therefore openat(2) is only allowed with flags for reading if the
//! role writes nothing, and `clone` only for threads. openat2(2) and clone3(2) have their flags in memory. They fail with
//! ENOSYS, after which the C library uses `clone`.

#![allow(clippy::unnecessary_cast, reason = "the types of these constants differ among C libraries")]

use super::{FileAccess, Role};
use libc::c_long;
use rustix::process::Pid;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};
use std::collections::BTreeMap;
use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

/// The calls of every thread: memory, time, locks, waiting, descriptors, and reading files.
const EVERYWHERE: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_membarrier,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getpriority,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getrandom,
    libc::SYS_capget,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_epoll_pwait,
    // Other filters make these fail, except to start a thread.
    libc::SYS_clone3,
    libc::SYS_clone,
    libc::SYS_openat2,
];

#[cfg(target_arch = "x86_64")]
const EVERYWHERE_HERE: &[c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_time,
    libc::SYS_fork,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const EVERYWHERE_HERE: &[c_long] = &[];

/// The calls for job control, the key stream, the COMMAND, and open files.
const EVENTS: &[c_long] = &[
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    // Signals arrive through a pair of sockets.
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_flock,
];
#[cfg(target_arch = "x86_64")]
const EVENTS_HERE: &[c_long] = &[libc::SYS_getpgrp];
#[cfg(not(target_arch = "x86_64"))]
const EVENTS_HERE: &[c_long] = &[];

/// The calls of [`super::enter_shipper`]: sockets that connect, an event loop, and files of its directories.
const SHIPPER: &[c_long] = &[
    libc::SYS_connect,
    // The C library binds the netlink socket, and sockets without a port.
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_eventfd2,
    libc::SYS_mkdirat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
];

/// Commands of fcntl(2) that every thread may use.
const DESCRIPTORS: &[u64] = &[
    libc::F_DUPFD as u64,
    libc::F_DUPFD_CLOEXEC as u64,
    libc::F_GETFD as u64,
    libc::F_SETFD as u64,
    libc::F_GETFL as u64,
];

/// Further commands, for threads that work with files: modes, and the lock of a recording, to take or to see.
const DESCRIPTIONS: &[u64] = &[libc::F_SETFL as u64, libc::F_OFD_SETLK as u64, libc::F_OFD_GETLK as u64];

/// The ioctl(2) requests for terminals: read and set modes and sizes, read the foreground job.
const TERMINAL: &[u64] = &[
    libc::TCSETS as u64,
    libc::TCSETSW as u64,
    libc::TCSETSF as u64,
    // TCGETS2, TCSETS2, TCSETSW2, TCSETSF2
    0x802c_542a,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d,
    libc::TIOCGPGRP as u64,
    libc::TIOCGDEV as u64,
    // Sets the size of a COMMAND's terminal.
    libc::TIOCSWINSZ as u64,
];

/// Commands of bpf(2)
/// ([include/uapi/linux/bpf.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/bpf.h)). No role loads,
/// attaches, pins, freezes or creates anything.
mod bpf {
    /// For elements of open maps: LOOKUP, UPDATE, DELETE, GET_NEXT_KEY. For names of addresses: PROG_TEST_RUN. Also
    /// OBJ_GET_INFO_BY_FD, and ITER_CREATE for connections.
    pub(super) const RECORDER: &[u64] = &[1, 2, 3, 4, 10, 15, 33];
    /// For programs, maps, links and BTF: the next id, a descriptor. For pins: OBJ_GET. Also information, queries, ENABLE_STATS,
    /// ITER_CREATE, and for elements of maps LOOKUP and GET_NEXT_KEY.
    pub(super) const INVENTORY: &[u64] = &[1, 4, 7, 11, 12, 13, 14, 15, 16, 19, 20, 23, 30, 31, 32, 33];
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum For<'a> {
    Role(Role),
    /// [`super::enter_files`].
    Files(FileAccess<'a>),
    /// [`super::enter_shipper`].
    Shipper,
}

/// The filter of the monitor, the process that watches over a COMMAND with a terminal. It waits, continues the COMMAND,
/// and moves it to the foreground.
pub struct MonitorCalls(BpfProgram);

impl MonitorCalls {
    /// Prepares the filter. If it cannot be made, it is empty and has no effect.
    pub fn prepare() -> MonitorCalls {
        MonitorCalls(List::of_monitor().unwrap_or_default())
    }

    /// Applies the filter. It does not allocate, so it may be called after a fork.
    pub fn restrict(&self) {
        // If the kernel has no filters, the monitor runs without one.
        let _ = apply_filter(&self.0);
    }
}

/// Allows the calling thread, and the threads that it starts, only the calls on the list. Returns `false` if the kernel
/// has no seccomp filters.
pub(super) fn restrict(what: For<'_>) -> io::Result<bool> {
    count_denials();
    let done = programs(what).and_then(|programs| programs.iter().try_for_each(|program| apply_filter(program)));
    match done {
        Ok(()) => Ok(true),
        Err(Error::Seccomp(error)) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => Ok(false),
        Err(Error::Seccomp(error) | Error::Prctl(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// The filters for a task. The strictest of several filters decides; SIGSYS is stricter than an error.
fn programs(what: For<'_>) -> Result<[BpfProgram; 3], Error> {
    let arch = std::env::consts::ARCH.try_into()?;
    let fails = |list: List, errno: i32| -> Result<BpfProgram, Error> {
        let errno = SeccompAction::Errno(errno.cast_unsigned());
        Ok(SeccompFilter::new(list.0, SeccompAction::Allow, errno, arch)?.try_into()?)
    };
    let mut unknown = List::default();
    unknown.calls(&[libc::SYS_clone3, libc::SYS_openat2]);
    let mut refused = List::of_processes()?;
    if matches!(what, For::Role(Role::Streams)) {
        // The C library may read the number of processors. If that fails, it assumes another number.
        refused.opens(0)?;
    }
    let list = SeccompFilter::new(List::of(what)?.0, SeccompAction::Trap, SeccompAction::Allow, arch)?;
    Ok([fails(unknown, libc::ENOSYS)?, fails(refused, libc::EPERM)?, list.try_into()?])
}

/// A condition: the index of the argument, the number of bytes to compare, the comparison, the value.
type Condition = (u8, SeccompCmpArgLen, SeccompCmpOp, u64);

/// An int has this value. The kernel ignores the upper half of the register.
fn is(place: u8, value: u64) -> Condition {
    (place, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn is_not(place: u8, value: u64) -> Condition {
    (place, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
}

/// The masked bits of an int have this value.
fn masked(place: u8, mask: i32, value: i32) -> Condition {
    let unsigned = |bits: i32| u64::from(bits.cast_unsigned());
    (place, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(unsigned(mask)), unsigned(value))
}

/// An int has none of these bits.
fn none_of(place: u8, bits: i32) -> Condition {
    masked(place, bits, 0)
}

fn is_null(place: u8) -> Condition {
    (place, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
}

/// The allowed calls. If a call has conditions, one of them must hold.
#[derive(Default)]
struct List(BTreeMap<i64, Vec<SeccompRule>>);

impl List {
    fn of(what: For<'_>) -> Result<List, Error> {
        let mut list = List::default();
        list.calls(EVERYWHERE);
        list.calls(EVERYWHERE_HERE);
        list.everywhere_if()?;
        match what {
            For::Files(work) => list.files(work)?,
            For::Shipper => list.shipper()?,
            For::Role(Role::Main { signals, command }) => {
                list.events()?;
                if signals {
                    list.signals(command)?;
                }
            }
            For::Role(Role::Recorder { inspector }) => {
                list.reads()?;
                list.any_of(libc::SYS_bpf, 0, bpf::RECORDER)?;
                if let Some(inspector) = inspector {
                    let inspector = inspector.as_raw_pid().cast_unsigned().into();
                    list.when(libc::SYS_kill, &[is(0, inspector), is(1, libc::SIGKILL as u64)])?;
                    list.when(libc::SYS_waitid, &[is(0, libc::P_PID.into()), is(1, inspector)])?;
                }
            }
            For::Role(Role::Streams) => {
                list.opens(0)?;
                list.calls(&[libc::SYS_perf_event_open]);
                // The rings are shared with the kernel.
                list.when(libc::SYS_mmap, &[none_of(2, libc::PROT_EXEC)])?;
            }
            For::Role(Role::Reader) => {
                list.reads()?;
                // The inspector passes sockets.
                list.calls(&[
                    libc::SYS_getxattr,
                    libc::SYS_recvfrom,
                    libc::SYS_recvmsg,
                    libc::SYS_sendmsg,
                    libc::SYS_shutdown,
                ]);
                // A handle can belong to any file. It is not opened for reading, only named.
                list.when(libc::SYS_open_by_handle_at, &[masked(2, libc::O_PATH, libc::O_PATH)])?;
                // By the sockets of `Role::Sockets`. With an address, the kernel would not check who opened the socket.
                list.when(libc::SYS_sendto, &[is_null(4)])?;
            }
            For::Role(Role::Inspector) => list.inventory()?,
            For::Role(Role::Sockets) => {
                list.reads()?;
                for protocol in [libc::NETLINK_ROUTE, libc::NETLINK_SOCK_DIAG] {
                    list.when(libc::SYS_socket, &[is(0, libc::AF_NETLINK as u64), is(2, protocol as u64)])?;
                }
                // The last two pass sockets to the tracer.
                list.calls(&[libc::SYS_bind, libc::SYS_recvmsg, libc::SYS_sendmsg]);
                // No socket filters. There are two options for the timeout, with words of both sizes.
                for (level, option) in [
                    (libc::SOL_SOCKET, libc::SO_RCVBUF),
                    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
                    (libc::SOL_SOCKET, SO_RCVTIMEO_NEW),
                ] {
                    list.when(libc::SYS_setsockopt, &[is(1, level as u64), is(2, option as u64)])?;
                }
                list.enters_network_namespaces()?;
            }
        }
        Ok(list)
    }

    fn of_monitor() -> Result<BpfProgram, Error> {
        let mut list = List::default();
        list.calls(&[
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_ppoll,
            libc::SYS_waitid,
            libc::SYS_getpid,
            libc::SYS_getpgid,
            libc::SYS_exit_group,
            libc::SYS_restart_syscall,
        ]);
        #[cfg(target_arch = "x86_64")]
        list.calls(&[libc::SYS_poll]);
        list.when(libc::SYS_kill, &[is(1, libc::SIGCONT as u64)])?;
        list.any_of(libc::SYS_ioctl, 1, &[libc::TIOCSPGRP as u64])?;
        let errno = SeccompAction::Errno(libc::EPERM.cast_unsigned());
        let filter = SeccompFilter::new(list.0, errno, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
        Ok(filter.try_into()?)
    }

    /// The calls that start a process, or a thread in other namespaces. They fail without SIGSYS, because the C library
    /// blocks all signals during these calls, and a blocked SIGSYS would end the process.
    fn of_processes() -> Result<List, Error> {
        let namespaces = [
            libc::CLONE_NEWNS,
            libc::CLONE_NEWCGROUP,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWNET,
        ];
        let mut list = List::default();
        list.when(libc::SYS_clone, &[none_of(0, libc::CLONE_THREAD)])?;
        namespaces.iter().try_for_each(|flag| list.when(libc::SYS_clone, &[masked(0, *flag, *flag)]))?;
        #[cfg(target_arch = "x86_64")]
        list.calls(&[libc::SYS_fork, libc::SYS_vfork]);
        Ok(list)
    }

    fn everywhere_if(&mut self) -> Result<(), Error> {
        // No executable memory. If it is writable, it may not be shared with others (a BPF map, a file). MAP_SHARED_VALIDATE has this
        // bit too. Memory that was mapped for reading may not become writable (`bpf_map_mmap`).
        self.when(libc::SYS_mmap, &[none_of(2, libc::PROT_EXEC | libc::PROT_WRITE)])?;
        self.when(libc::SYS_mmap, &[none_of(2, libc::PROT_EXEC), none_of(3, libc::MAP_SHARED)])?;
        self.when(libc::SYS_mprotect, &[none_of(2, libc::PROT_EXEC)])?;
        // MADV_HWPOISON and MADV_SOFT_OFFLINE take memory away from other processes.
        self.when(libc::SYS_madvise, &[is_not(2, 100), is_not(2, 101)])?;
        self.when(libc::SYS_tgkill, &[is(0, std::process::id().into())])?;
        // The priority of the thread itself, or of the main thread.
        for who in [0, std::process::id().into()] {
            self.when(libc::SYS_setpriority, &[is(0, libc::PRIO_PROCESS as u64), is(1, who)])?;
        }
        // PR_SET_VMA gives memory a name.
        self.any_of(libc::SYS_prctl, 0, &[libc::PR_SET_NAME as u64, libc::PR_GET_DUMPABLE as u64, 0x5356_4d41])?;
        // No leases, signal owners or seals.
        self.any_of(libc::SYS_fcntl, 1, DESCRIPTORS)?;
        // Limits may be read, but not set.
        self.when(libc::SYS_prlimit64, &[is(0, 0), is_null(2)])?;
        let descriptors =
            [libc::FIOCLEX, libc::FIONCLEX, libc::FIONBIO, libc::FIONREAD, libc::TCGETS, libc::TIOCGWINSZ];
        self.any_of(libc::SYS_ioctl, 1, &descriptors.map(|request| request as u64))
    }

    fn reads(&mut self) -> Result<(), Error> {
        self.opens(libc::O_WRONLY | libc::O_RDWR | NEW)
    }

    /// Creates files that do not exist yet.
    fn creates(&mut self) -> Result<(), Error> {
        let new = libc::O_CREAT | libc::O_EXCL;
        self.when(libc::SYS_openat, &[masked(2, new, new)])?;
        #[cfg(target_arch = "x86_64")]
        self.when(libc::SYS_open, &[masked(1, new, new)])?;
        Ok(())
    }

    /// Opens files without any of these flags.
    fn opens(&mut self, without: i32) -> Result<(), Error> {
        self.when(libc::SYS_openat, &[none_of(2, without)])?;
        #[cfg(target_arch = "x86_64")]
        self.when(libc::SYS_open, &[none_of(1, without)])?;
        Ok(())
    }

    fn events(&mut self) -> Result<(), Error> {
        // The terminal (/dev/tty) is opened for writing.
        self.opens(NEW)?;
        self.calls(EVENTS);
        self.calls(EVENTS_HERE);
        self.any_of(libc::SYS_ioctl, 1, TERMINAL)?;
        self.any_of(libc::SYS_fcntl, 1, DESCRIPTIONS)?;
        self.when(libc::SYS_socketpair, &[is(0, libc::AF_UNIX as u64)])?;
        // To the other socket of the pair, not to an address.
        self.when(libc::SYS_sendto, &[is_null(4)])
    }

    /// Limits CAP_KILL to tracetui's process group, the COMMAND's, and processes with an open descriptor. A directory of
    /// /proc is such a descriptor too, so Landlock keeps the thread from opening directories.
    fn signals(&mut self, command: Option<Pid>) -> Result<(), Error> {
        self.calls(&[libc::SYS_pidfd_send_signal]);
        let group = command.map_or(0, |command| -command.as_raw_pid());
        self.any_of(libc::SYS_kill, 0, &[0, group.cast_unsigned().into()])
    }

    fn files(&mut self, work: FileAccess<'_>) -> Result<(), Error> {
        self.reads()?;
        if matches!(work, FileAccess::Create(_)) {
            self.creates()?;
            self.calls(&[libc::SYS_renameat]);
        }
        self.any_of(libc::SYS_fcntl, 1, DESCRIPTIONS)?;
        self.calls(&[
            libc::SYS_unlinkat,
            libc::SYS_fsync,
            libc::SYS_fdatasync,
            libc::SYS_ftruncate,
            libc::SYS_flock,
            // Frames arrive through epoll.
            libc::SYS_epoll_ctl,
        ]);
        #[cfg(target_arch = "x86_64")]
        self.calls(&[libc::SYS_unlink]);
        Ok(())
    }

    /// Connects to others, and never listens. Of netlink, only the addresses of this machine, for the C library.
    fn shipper(&mut self) -> Result<(), Error> {
        self.opens(libc::O_TMPFILE & !libc::O_DIRECTORY)?;
        self.any_of(libc::SYS_fcntl, 1, DESCRIPTIONS)?;
        // glibc asks other programs for the names of hosts.
        let local = cfg!(not(target_env = "musl")).then_some(libc::AF_UNIX);
        for family in [libc::AF_INET, libc::AF_INET6].into_iter().chain(local) {
            for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
                self.when(libc::SYS_socket, &[is(0, family as u64), masked(1, SOCK_TYPE, kind)])?;
            }
        }
        self.when(libc::SYS_socket, &[is(0, libc::AF_NETLINK as u64), is(2, libc::NETLINK_ROUTE as u64)])?;
        self.calls(SHIPPER);
        #[cfg(target_arch = "x86_64")]
        self.calls(&[libc::SYS_unlink, libc::SYS_rename, libc::SYS_link, libc::SYS_mkdir]);
        Ok(())
    }

    fn inventory(&mut self) -> Result<(), Error> {
        self.reads()?;
        self.calls(&[libc::SYS_kcmp, libc::SYS_recvfrom]);
        // With an address, the kernel would not check who opened the socket.
        self.when(libc::SYS_sendto, &[is_null(4)])?;
        self.any_of(libc::SYS_bpf, 0, bpf::INVENTORY)?;
        self.enters_network_namespaces()
    }

    fn enters_network_namespaces(&mut self) -> Result<(), Error> {
        self.when(libc::SYS_setns, &[is(1, libc::CLONE_NEWNET as u64)])
    }

    fn calls(&mut self, calls: &[c_long]) {
        self.0.extend(calls.iter().map(|call| (*call, Vec::new())));
    }

    /// Allows a call if all conditions hold. Conditions of other rules for the call stay valid.
    fn when(&mut self, call: c_long, conditions: &[Condition]) -> Result<(), Error> {
        let condition =
            |(place, len, how, value): &Condition| SeccompCondition::new(*place, len.clone(), how.clone(), *value);
        let conditions = conditions.iter().map(condition).collect::<Result<_, _>>()?;
        self.0.entry(call).or_default().push(SeccompRule::new(conditions)?);
        Ok(())
    }

    fn any_of(&mut self, call: c_long, place: u8, values: &[u64]) -> Result<(), Error> {
        values.iter().try_for_each(|value| self.when(call, &[is(place, *value)]))
    }
}

/// From [asm-generic/socket.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/asm-generic/socket.h).
const SO_RCVTIMEO_NEW: libc::c_int = 66;

/// The type of a socket among the flags of socket(2) (`SOCK_TYPE_MASK` in include/linux/net.h).
const SOCK_TYPE: i32 = 0xf;

/// Flags of open(2) that create or truncate a file. `__O_TMPFILE` is without O_DIRECTORY, which it contains.
const NEW: i32 = libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE & !libc::O_DIRECTORY;

/// The count of denied calls, and their numbers as bits.
static COUNT: AtomicU64 = AtomicU64::new(0);
static NUMBERS: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

pub fn denied() -> Option<String> {
    let count = COUNT.load(Ordering::Relaxed);
    let numbers = NUMBERS.iter().enumerate().flat_map(|(at, word)| {
        let word = word.load(Ordering::Relaxed);
        (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| (64 * at as u64 + bit).to_string())
    });
    let numbers = numbers.collect::<Vec<_>>().join(", ");
    let of = std::env::consts::ARCH;
    (count > 0).then(|| {
        format!(
            "seccomp denied {count} unexpected system calls of tracetui ({of} numbers: {numbers}): data may be \
             missing; please report this"
        )
    })
}

/// Installs the handler for SIGSYS, which a denied call raises.
fn count_denials() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = note;
        // SAFETY: the zeroed sigaction has an empty mask; the handler has the arguments that SA_SIGINFO says.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut());
        }
    });
}

/// The handler. The denied call returns EPERM.
extern "C" fn note(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    /// `SYS_SECCOMP`.
    const BY_FILTER: libc::c_int = 1;
    /// The offset of `si_syscall` in `siginfo_t` on 64-bit architectures.
    const NUMBER: usize = 24;
    // SAFETY: the kernel passes a `siginfo_t`, which has 128 bytes, and the `ucontext_t` that it restores afterwards.
    // With this code, the number of the call is at this offset.
    unsafe {
        if (*info).si_code != BY_FILTER {
            return;
        }
        let number = info.byte_add(NUMBER).cast::<libc::c_int>().read();
        set_result(&mut *context.cast::<libc::ucontext_t>(), -i64::from(libc::EPERM));
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(word) = NUMBERS.get(number / 64) {
            word.fetch_or(1 << (number % 64), Ordering::Relaxed);
        }
    }
    COUNT.fetch_add(1, Ordering::Relaxed);
}

#[cfg(target_arch = "x86_64")]
fn set_result(context: &mut libc::ucontext_t, value: i64) {
    context.uc_mcontext.gregs[libc::REG_RAX as usize] = value;
}

#[cfg(target_arch = "aarch64")]
fn set_result(context: &mut libc::ucontext_t, value: i64) {
    context.uc_mcontext.regs[0] = value.cast_unsigned();
}
