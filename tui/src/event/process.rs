//! The process that an event is of, as it was at the event.

use std::sync::Arc;
use tracetui_shared::id::{Gid, Tgid, Uid};
use tracetui_shared::time::BootNanos;

/// A process's identity. A pid alone is none: it is used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ProcessKey {
    /// The process id.
    pub tgid: Tgid,
    /// Its start.
    pub start: BootNanos,
}

/// How a process came into the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Origin {
    /// It was there before the trace: the process scan found it.
    Seed,
    /// Its fork was seen.
    Fork,
    /// It is older than the trace, and ended, or made an event, before the process scan came to it; or it may be one that was
    /// forgotten for want of room.
    Older,
    /// None of these: the first event that it made brought it in. Its fork was lost.
    FirstSeen,
}

/// What a process runs; shared between the entries of a process and its children until one execs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The program's file; empty when not known.
    pub exe: Box<[u8]>,
    /// The arguments, each followed by NUL; kept up to [`KEPT_ARGV`](crate::limits::KEPT_ARGV) bytes.
    pub argv: Box<[u8]>,
    /// The working directory at the exec; empty when not known.
    pub cwd: Box<[u8]>,
}

/// A process as it is between two of its execs. Never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Identity.
    pub key: ProcessKey,
    /// The parent at the fork (or in the process scan); kept when the parent ends.
    pub parent: Option<ProcessKey>,
    /// The process that made the fork: the parent, or with `CLONE_PARENT` a child of the parent.
    pub maker: Option<ProcessKey>,
    /// The leader's name.
    pub comm: Box<[u8]>,
    /// What it runs.
    pub image: Arc<Image>,
    /// Real user.
    pub uid: Uid,
    /// Real group.
    pub gid: Gid,
    /// The cgroup from the process scan or inherited from there: for hosts where the v2 hierarchy is not in use.
    pub cgroup: Arc<[u8]>,
    /// How it came into the table.
    pub origin: Origin,
    /// How often an exec was seen.
    pub execs: u32,
    /// Whether it is the COMMAND that tracetui started, or descends from it. Inherited at the fork, so it outlives the
    /// parents, and their places in the table.
    pub of_command: bool,
}
