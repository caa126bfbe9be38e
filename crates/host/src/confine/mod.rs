//! The rights of each thread of a trace. A trace reads data that others wrote, so each thread keeps only the rights
//! that its work needs.
//!
//! [`Role`] has the threads of a trace and of its inspector, and their capabilities. A trace of `tcp` without `bpf` has no inspector,
//! but a thread `sockets`. The monitor of a COMMAND's terminal ([`MonitorCalls`]) and `tracetui-ship` ([`enter_shipper`]) are processes
//! without capabilities. The threads `recording` and `opener` ([`enter_files`]) have none, or DAC_OVERRIDE, and the file ids of the user
//! who typed sudo, or root's. `SECURITY.md` has the limits of all this.
//!
//! Credentials belong to a thread. The functions of the C library change the credentials of all threads, so this module
//! makes the system calls directly. A thread has no more rights than its parent had at its start. Threads with more
//! rights than the main thread are therefore started before it gives up its own, or by another such thread
//! ([`Spawner`]).
//!
//! # The user
//!
//! The user id is [`USER`], not the id of the user who typed sudo. The traced COMMAND runs as that user, and a process
//! may send signals to others with its user id. A hostile build could therefore stop or kill its tracer. `nobody`
//! (65534) is the user of other daemons, and of containers without a user namespace, which could do the same. [`USER`]
//! has no account and no processes but tracetui's, so only root can send it signals, as before. Other processes do not
//! use up its limit of processes (`ulimit -u`) either.

mod capabilities;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod seccomp;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod seccomp {
    //! Stubs: nothing is traced on this architecture.
    #[allow(dead_code, reason = "they are not read here")]
    pub(super) enum For<'a> {
        Role(super::Role),
        Files(super::FileAccess<'a>),
        Shipper,
    }

    pub(super) fn restrict(_: For<'_>) -> std::io::Result<bool> {
        Ok(false)
    }

    pub fn denied() -> Option<String> {
        None
    }

    pub struct MonitorCalls;

    impl MonitorCalls {
        pub fn prepare() -> MonitorCalls {
            MonitorCalls
        }

        pub fn restrict(&self) {}
    }
}
mod landlock;
mod shipper;
mod trial;

use super::invoker::Invoker;
pub use capabilities::hold;
use capabilities::{ROOT, hold_as, is_writable_without};
use landlock::WriteAccess;
use rustix::process::Pid;
use rustix::thread::CapabilitySet;
pub use seccomp::{MonitorCalls, denied};
pub use shipper::{ShipperDirectories, enter_shipper};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
pub use trial::{Threads, Trial};

/// The user and group id of a trace that root started. `systemd` and Debian assign no ids from 65520 to 65533.
pub const USER: u32 = 65_529;

/// The task of a thread in a trace, which decides its rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Takes the events, and shows or prints them.
    Main {
        /// Whether there is a COMMAND or a job to signal.
        signals: bool,
        /// The process id of the COMMAND, whose process group may be signalled.
        command: Option<Pid>,
    },
    /// Empties the rings, and reads the counters and the symbols of the kernel.
    Recorder {
        /// The process that takes inventories, which may be killed.
        inspector: Option<Pid>,
    },
    /// Opens the rings of program changes, for [`Role::Recorder`], which reads them. The same call can change the code and the data of
    /// other processes (uprobes). Only this role maps memory that others write.
    Streams,
    /// Reads /proc of all users, for the processes that run at the start and for the reasons of failed calls; the files of container
    /// runtimes; and cgroups, by handle.
    Reader,
    /// Takes inventories of BPF programs, links and attachments, and searches the pins of BPF objects.
    Inspector,
    /// Opens netlink sockets for [`Role::Inspector`] and [`Role::Reader`], which cannot do so themselves. The rights of the thread
    /// that opened a socket limit what can be sent by it.
    Sockets,
}

/// The roles, each with the names of its threads. `doctor` reports what they can do.
pub(crate) const ROLES: [(&str, Role); 7] = [
    ("main", Role::Main { signals: false, command: None }),
    ("main, with a COMMAND or a screen", Role::Main { signals: true, command: None }),
    ("source, symbols", Role::Recorder { inspector: None }),
    ("streams", Role::Streams),
    ("scan, lookups, why, cgroups, containers", Role::Reader),
    ("inspector", Role::Inspector),
    ("inspector: sockets", Role::Sockets),
];

/// The capabilities of a trace between the attach and the start of its threads.
pub const STARTING: CapabilitySet = CapabilitySet::DAC_READ_SEARCH
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_NICE)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::BPF);

impl Role {
    pub fn capabilities(self) -> CapabilitySet {
        type Has = CapabilitySet;
        match self {
            Role::Main { signals: false, .. } => Has::SYS_NICE,
            Role::Main { signals: true, .. } => Has::SYS_NICE | Has::KILL,
            Role::Recorder { .. } => Has::BPF | Has::PERFMON | Has::SYSLOG | Has::SYS_NICE,
            // Debian's kernel.perf_event_paranoid=3 asks for SYS_ADMIN.
            Role::Streams => Has::PERFMON | Has::SYS_ADMIN,
            Role::Reader => Has::DAC_READ_SEARCH | Has::SYS_PTRACE,
            Role::Inspector => {
                let files = Has::SYS_PTRACE | Has::DAC_READ_SEARCH;
                Has::SYS_ADMIN | Has::NET_ADMIN | Has::BPF | Has::PERFMON | Has::SYSLOG | files
            }
            // The sockets are opened in each network namespace.
            Role::Sockets => Has::SYS_ADMIN,
        }
    }

    /// Whether the role needs the right to read all files: /proc of others, bpffs.
    const fn reads_all(self) -> bool {
        matches!(self, Role::Reader | Role::Inspector)
    }
}

/// Permanently gives up all rights that the role does not need, for the calling thread and the threads that it starts.
/// After an error, the thread must not continue.
pub fn enter(role: Role) -> io::Result<Enforced> {
    match role {
        // bpffs belongs to root, and BPF_OBJ_GET asks for write permission. A thread that has given up root's ids does not get them
        // back.
        Role::Inspector => hold_as(Some(ROOT), role.capabilities())?,
        _ => hold(role.capabilities())?,
    }
    let writes = match role {
        Role::Main { .. } => landlock::restrict(WriteAccess::Terminal)?,
        Role::Recorder { .. } | Role::Streams | Role::Sockets => landlock::restrict(WriteAccess::Nowhere)?,
        // These roles read from other processes, which such a restriction would forbid.
        Role::Reader | Role::Inspector => false,
    };
    if !matches!(role, Role::Main { .. }) {
        leave_signals_to_main()?;
    }
    Ok(Enforced { writes, calls: seccomp::restrict(seccomp::For::Role(role))? })
}

/// The restrictions that the kernel enforces besides ids and capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enforced {
    /// Whether the role can write only in its own place (Landlock).
    pub(crate) writes: bool,
    /// Whether the role can make only its own system calls (seccomp).
    pub(crate) calls: bool,
}

/// Blocks the signals that are sent to the process. Their handlers signal the COMMAND, and only the role of the main
/// thread permits that.
fn leave_signals_to_main() -> io::Result<()> {
    let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGABRT, libc::SIGSYS];
    // SAFETY: the set is a live local, which sigfillset initialises.
    let failed = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        faults.iter().for_each(|signal| _ = libc::sigdelset(&raw mut set, *signal));
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut())
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(failed)) }
}

/// Takes the ids of the user who typed sudo, without capabilities, for the calling thread.
fn enter_user(Invoker { uid, gid, groups, .. }: &Invoker) -> io::Result<()> {
    hold_as(Some((*uid, *gid, groups)), CapabilitySet::empty())
}

/// The file access of a thread. It has the ids of the user who typed sudo, otherwise root's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileAccess<'a> {
    Read,
    /// Writes an open file. Can remove it from this directory if no trace begins.
    Remove(&'a Path),
    /// Creates and removes files in these directories. Cannot open an existing file for writing.
    Create(&'a [&'a Path]),
}

impl<'a> FileAccess<'a> {
    fn directories(self) -> Vec<&'a Path> {
        match self {
            FileAccess::Read => Vec::new(),
            FileAccess::Remove(dir) => vec![dir],
            FileAccess::Create(dirs) => dirs.to_vec(),
        }
    }
}

/// The directory for recordings that a trace begins later: the working directory. Landlock permits creation in all
/// directories below it too. So this is `/tmp` if the working directory is `/`, as for a service or in a container.
pub fn later_recordings() -> &'static Path {
    match std::env::current_dir() {
        Ok(dir) if dir == Path::new("/") => Path::new("/tmp"),
        _ => Path::new("."),
    }
}

/// Like [`enter`], for a thread that works with files.
pub fn enter_files(invoker: Option<&Invoker>, work: FileAccess<'_>) -> io::Result<()> {
    let Some(invoker) = invoker else {
        // Even root needs this capability to write into directories of others.
        hold_as(Some(ROOT), CapabilitySet::DAC_OVERRIDE)?;
        if work.directories().iter().all(|dir| belongs_to_root(dir) && is_writable_without(dir).unwrap_or(false)) {
            hold(CapabilitySet::empty())?;
        }
        return restrict_files(work);
    };
    enter_user(invoker)?;
    restrict_files(work)
}

fn restrict_files(work: FileAccess<'_>) -> io::Result<()> {
    landlock::restrict(match work {
        FileAccess::Read => WriteAccess::Nowhere,
        FileAccess::Remove(dir) => WriteAccess::Removals(dir),
        FileAccess::Create(dirs) => WriteAccess::Directories(dirs),
    })?;
    leave_signals_to_main()?;
    seccomp::restrict(seccomp::For::Files(work)).map(drop)
}

/// Whether only root can change the mode of a directory.
fn belongs_to_root(dir: &Path) -> bool {
    std::fs::metadata(dir).is_ok_and(|dir| dir.uid() == 0)
}

/// Starts a thread with a role, without waiting for it. If it cannot give up the other rights, it ends.
pub fn start(name: &'static str, role: Role, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let run = move || {
        if enter(role).is_ok() {
            run();
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(run).map(drop)
}

type Task = (&'static str, Box<dyn FnOnce() + Send>, SyncSender<io::Result<()>>);

/// A thread with a role, which starts other threads with the same role. Its caller may have given up more rights
/// meanwhile.
#[derive(Clone, Debug)]
pub struct Spawner(Sender<Task>);

impl Spawner {
    /// Starts the thread without waiting for it. If it cannot give up the other rights, it ends.
    pub fn start(name: &'static str, role: Role) -> io::Result<Spawner> {
        let (tasks, todo) = channel::<Task>();
        start(name, role, move || {
            for (name, task, answer) in todo {
                // An error means that nobody waits for the answer any more.
                let _ = answer.send(std::thread::Builder::new().name(name.into()).spawn(task).map(drop));
            }
        })?;
        Ok(Spawner(tasks))
    }

    /// Starts a thread.
    pub fn spawn(&self, name: &'static str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let (answer, answered) = sync_channel(1);
        self.0.send((name, Box::new(run), answer)).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }

    /// The result of `act` on a thread with this role.
    pub fn ask<T: Send + 'static>(
        &self,
        name: &'static str,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (answer, answered) = sync_channel(1);
        // Nobody else has the receiver, which waits.
        self.spawn(name, move || drop(answer.send(act())))?;
        answered.recv().map_err(|_| gone())?
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread has ended")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use tracetui_shared::id::{Gid, Uid};

    /// The lines of /proc/thread-self/status after `act`. It runs on its own thread, because the effect is permanent.
    fn status_after(act: impl FnOnce() -> io::Result<()> + Send + 'static) -> String {
        let thread = std::thread::spawn(|| {
            act().expect("rights can always be given up");
            std::fs::read_to_string("/proc/thread-self/status").expect("readable")
        });
        thread.join().expect("no panic")
    }

    fn line<'a>(status: &'a str, name: &str) -> &'a str {
        status.lines().find_map(|line| line.strip_prefix(name)).expect("a line").trim()
    }

    fn hex(status: &str, name: &str) -> u64 {
        u64::from_str_radix(line(status, name), 16).expect("hex")
    }

    #[test]
    fn a_thread_has_only_what_its_role_takes() {
        let had = Machine::read().capabilities.expect("readable").bits();
        for role in [
            Role::Main { signals: false, command: None },
            Role::Recorder { inspector: None },
            Role::Reader,
            Role::Inspector,
        ] {
            let status = status_after(move || enter(role).map(drop));
            assert_eq!(hex(&status, "CapEff:"), had & role.capabilities().bits(), "{role:?}");
            assert_eq!(hex(&status, "CapPrm:") & !role.capabilities().bits(), 0);
            assert_eq!((hex(&status, "CapInh:"), line(&status, "NoNewPrivs:")), (0, "1"));
        }
        let thread = std::thread::spawn(|| {
            let enforced = enter(Role::Main { signals: true, command: None }).expect("rights can always be given up");
            // Starting a thread is still allowed.
            std::thread::spawn(|| ()).join().expect("no panic");
            (enforced.calls, std::process::Command::new("true").spawn().err().and_then(|error| error.raw_os_error()))
        });
        let (restricted, error) = thread.join().expect("no panic");
        assert_eq!(error, restricted.then_some(libc::EPERM));
    }

    #[test]
    fn root_is_given_up_by_one_thread() {
        if !rustix::process::geteuid().is_root() {
            return crate::not_checked("it needs root");
        }
        let status = status_after(|| enter(Role::Main { signals: false, command: None }).map(drop));
        let four = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
        assert_eq!((line(&status, "Uid:"), line(&status, "Gid:")), (four(USER).as_str(), four(USER).as_str()));
        assert_eq!(line(&status, "Groups:"), "");
        assert!(rustix::process::geteuid().is_root(), "this thread still is root");
    }

    #[test]
    fn sockets_are_opened_for_two_protocols_by_one_role() {
        let opens = |role| {
            let opened = |protocol| {
                // SAFETY: numbers only. A descriptor that is returned belongs to nothing else.
                let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
                // SAFETY: as above.
                fd >= 0 && unsafe { libc::close(fd) } == 0
            };
            let thread = std::thread::spawn(move || {
                let enforced = enter(role).expect("rights can always be given up");
                let all = [libc::NETLINK_ROUTE, libc::NETLINK_SOCK_DIAG, libc::NETLINK_AUDIT].map(opened);
                (enforced.calls, all)
            });
            thread.join().expect("no panic")
        };
        let (restricted, opened) = opens(Role::Sockets);
        if !restricted {
            return crate::not_checked("this kernel has no seccomp filters");
        }
        assert_eq!(opened, [true, true, false]);
        assert_eq!(opens(Role::Reader).1, [false; 3]);
    }

    #[test]
    fn files_are_created_as_the_invoker() {
        if !rustix::process::geteuid().is_root() {
            return crate::not_checked("it needs root");
        }
        let invoker = Invoker {
            uid: Uid(1234),
            gid: Gid(1235),
            groups: vec![1236],
            name: "ana".into(),
            home: "/home/ana".into(),
        };
        let status = status_after(move || enter_files(Some(&invoker), FileAccess::Read));
        assert_eq!(line(&status, "Uid:"), format!("{USER}\t{USER}\t{USER}\t1234"));
        assert_eq!(line(&status, "Gid:"), format!("{USER}\t{USER}\t{USER}\t1235"));
        assert_eq!((line(&status, "Groups:"), hex(&status, "CapPrm:")), ("1236", 0));
        // Root needs a capability only for directories of others.
        let (own, of_another) =
            (std::env::temp_dir(), std::env::temp_dir().join(format!("ana-{}", std::process::id())));
        std::fs::create_dir(&of_another).expect("room");
        std::os::unix::fs::chown(&of_another, Some(1234), None).expect("root");
        let overrides = CapabilitySet::DAC_OVERRIDE.bits();
        for (dir, kept) in [(own, 0), (of_another.clone(), overrides)] {
            let status = status_after(move || enter_files(None, FileAccess::Create(&[&dir])));
            assert_eq!(line(&status, "Uid:"), format!("{USER}\t{USER}\t{USER}\t0"));
            assert_eq!((hex(&status, "CapEff:"), hex(&status, "CapPrm:")), (kept, kept));
        }
        let _ = std::fs::remove_dir(of_another);
    }
}
