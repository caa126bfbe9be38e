//! The process of an event, at the time of the event.

use crate::environment::EnvChange;
use std::sync::Arc;
use tracetui_shared::id::{Gid, Tgid, Uid};
use tracetui_shared::time::BootNanos;

/// The identity of a process. A pid alone is not sufficient: it is reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ProcessKey {
    pub tgid: Tgid,
    pub start: BootNanos,
}

/// The origin of an entry in the process table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Origin {
    /// Older than the trace. The process scan found it.
    Seed,
    Fork,
    /// Older than the trace, but it ended or made an event before the process scan found it. Or it was evicted.
    Older,
    /// Added by its first event: its fork was lost.
    FirstSeen,
    /// Forked before the exec of a run of the COMMAND, for the next run. It waits for the user, and makes no event before its own exec.
    NextRun,
}

/// The program of a process; shared between the entries of a process and its children until an exec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image {
    /// The program's file; empty if unknown.
    pub exe: Box<[u8]>,
    /// The arguments, each followed by NUL; kept up to [`KEPT_ARGV`](crate::limits::KEPT_ARGV) bytes.
    pub argv: Box<[u8]>,
    /// The working directory at the exec; empty if unknown.
    pub cwd: Box<[u8]>,
    /// What the exec changed in the environment; `None` if unknown.
    pub env: Option<Box<EnvChange>>,
    /// The descriptors other than stdin, stdout and stderr, as the field `fds` has them; empty if they were not requested.
    pub fds: Box<[u8]>,
}

/// A process between two execs. Immutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub key: ProcessKey,
    /// The parent at the fork (or in the process scan); kept when the parent ends.
    pub parent: Option<ProcessKey>,
    /// The process that forked: the parent, or with `CLONE_PARENT` a child of the parent.
    pub maker: Option<ProcessKey>,
    pub comm: Box<[u8]>,
    pub image: Arc<Image>,
    pub uid: Uid,
    pub gid: Gid,
    /// The cgroup from the process scan, or inherited from there: for hosts without a v2 hierarchy in use.
    pub cgroup: Arc<[u8]>,
    pub origin: Origin,
    pub execs: u32,
    /// How long a run of the COMMAND waited for its first exec, in nanoseconds: it is held until the probes are attached, or the user
    /// runs it again. 0 for other processes, and before that exec.
    pub held_ns: u64,
    /// Whether it is the COMMAND that tracetui started, or a descendant of it. Inherited at the fork, so it outlives the parents
    /// and their entries in the table.
    pub of_command: bool,
}

impl Process {
    /// How long it has run at a time, in nanoseconds, excluding the time in which it was held.
    pub fn ran_ns(&self, until: BootNanos) -> u64 {
        until.since(self.key.start).saturating_sub(self.held_ns)
    }
}
