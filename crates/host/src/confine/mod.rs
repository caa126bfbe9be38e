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
#[cfg(test)]
mod tests;

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
    pub writes: bool,
    /// Whether the role can make only its own system calls (seccomp).
    pub calls: bool,
}

/// What this kernel would enforce on the main thread of a trace, and that thread's user id, for `doctor`.
pub fn trial() -> io::Result<(Enforced, u32)> {
    let enter = || Ok((enter(Role::Main { signals: false, command: None })?, rustix::process::geteuid().as_raw()));
    let thread = std::thread::Builder::new().spawn(enter)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread failed")))
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
