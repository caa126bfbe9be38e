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
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// A list of system calls by name.
macro_rules! calls {
    ($($name:ident)*) => { &[$(libc::$name),*] };
}

/// The calls of every thread: memory, time, locks, waiting, open descriptors, and metadata of files.
const EVERYWHERE: &[c_long] = calls![
    SYS_read SYS_readv SYS_pread64 SYS_write SYS_writev SYS_pwrite64 SYS_lseek SYS_close SYS_dup
    SYS_fsync SYS_fdatasync SYS_ftruncate SYS_flock SYS_pipe2 SYS_eventfd2 SYS_recvfrom SYS_shutdown
    SYS_fstat SYS_newfstatat SYS_statx SYS_statfs SYS_fstatfs SYS_faccessat SYS_faccessat2 SYS_readlinkat
    SYS_getdents64 SYS_getcwd SYS_munmap SYS_mremap SYS_brk SYS_futex SYS_membarrier
    SYS_sched_yield SYS_sched_getaffinity SYS_getpriority SYS_getrusage SYS_sysinfo SYS_uname SYS_getrandom
    SYS_set_robust_list SYS_get_robust_list SYS_set_tid_address SYS_rseq
    SYS_exit SYS_exit_group SYS_restart_syscall SYS_wait4 SYS_waitid
    SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sigaltstack
    SYS_getpid SYS_gettid SYS_getpgid SYS_getsid SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_capget
    SYS_clock_gettime SYS_clock_getres SYS_gettimeofday SYS_nanosleep SYS_clock_nanosleep
    SYS_ppoll SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait
    // Other filters make these fail, except to start a thread.
    SYS_clone3 SYS_clone SYS_openat2
];

#[cfg(target_arch = "x86_64")]
const EVERYWHERE_HERE: &[c_long] = calls![
    SYS_stat SYS_lstat SYS_access SYS_readlink SYS_poll SYS_epoll_wait SYS_time SYS_getpgrp SYS_fork SYS_vfork
];
#[cfg(not(target_arch = "x86_64"))]
const EVERYWHERE_HERE: &[c_long] = &[];

/// Further calls of [`super::enter_shipper`]: sockets that connect, and files of its directories. The C library binds the netlink
/// socket, and sockets without a port.
const SHIPPER: &[c_long] = calls![
    SYS_connect SYS_bind SYS_getsockname SYS_getpeername SYS_getsockopt SYS_setsockopt
    SYS_sendto SYS_sendmsg SYS_sendmmsg SYS_recvmsg
    SYS_mkdirat SYS_linkat SYS_unlinkat SYS_renameat SYS_renameat2
];

/// The commands of fcntl(2): descriptors, modes, and the lock of a recording, to take or to see. No leases, signal owners or seals.
const DESCRIPTORS: [libc::c_int; 8] = [
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_OFD_SETLK,
    libc::F_OFD_GETLK,
];

/// The requests of ioctl(2): descriptors; terminals: read and set modes and sizes, read the foreground job.
const REQUESTS: &[u64] = &[
    libc::FIOCLEX as u64,
    libc::FIONCLEX as u64,
    libc::FIONBIO as u64,
    libc::FIONREAD as u64,
    libc::TCGETS as u64,
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
    libc::TIOCGWINSZ as u64,
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
                // The terminal (/dev/tty) is opened for writing.
                list.opens(NEW)?;
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
                list.calls(calls![SYS_getxattr SYS_recvmsg SYS_sendmsg]);
                // A handle can belong to any file. It is not opened for reading, only named.
                list.when(libc::SYS_open_by_handle_at, &[masked(2, libc::O_PATH, libc::O_PATH)])?;
            }
            For::Role(Role::Inspector) => list.inventory()?,
            For::Role(Role::Sockets) => {
                list.reads()?;
                for protocol in [libc::NETLINK_ROUTE, libc::NETLINK_SOCK_DIAG] {
                    list.when(libc::SYS_socket, &[is(0, libc::AF_NETLINK as u64), is(2, protocol as u64)])?;
                }
                // The last two pass sockets to the tracer.
                list.calls(calls![SYS_bind SYS_recvmsg SYS_sendmsg]);
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
        list.calls(calls![
            SYS_read SYS_write SYS_ppoll SYS_waitid SYS_getpid SYS_getpgid SYS_exit_group SYS_restart_syscall
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
        self.any_of(libc::SYS_fcntl, 1, &DESCRIPTORS.map(|command| command as u64))?;
        // Limits may be read, but not set.
        self.when(libc::SYS_prlimit64, &[is(0, 0), is_null(2)])?;
        self.any_of(libc::SYS_ioctl, 1, REQUESTS)?;
        self.when(libc::SYS_socketpair, &[is(0, libc::AF_UNIX as u64)])?;
        // With an address, the kernel would not check who opened a netlink socket.
        self.when(libc::SYS_sendto, &[is_null(4)])
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
        self.calls(&[libc::SYS_unlinkat]);
        #[cfg(target_arch = "x86_64")]
        self.calls(&[libc::SYS_unlink]);
        Ok(())
    }

    /// Connects to others, and never listens. Of netlink, only the addresses of this machine, for the C library.
    fn shipper(&mut self) -> Result<(), Error> {
        self.opens(libc::O_TMPFILE & !libc::O_DIRECTORY)?;
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
        self.calls(calls![SYS_unlink SYS_rename SYS_link SYS_mkdir]);
        Ok(())
    }

    fn inventory(&mut self) -> Result<(), Error> {
        self.reads()?;
        self.calls(&[libc::SYS_kcmp]);
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

/// The count of denied calls, and the number of the last one.
static COUNT: AtomicU64 = AtomicU64::new(0);
static LAST: AtomicI32 = AtomicI32::new(0);

pub fn denied() -> Option<String> {
    let (count, last) = (COUNT.load(Ordering::Relaxed), LAST.load(Ordering::Relaxed));
    let of = std::env::consts::ARCH;
    (count > 0).then(|| {
        format!(
            "seccomp denied {count} unexpected system calls of tracetui (the last: {of} {last}): data may be missing; \
             please report this"
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
        LAST.store(number, Ordering::Relaxed);
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
