//! The memory that the process table takes.

use super::ProcessEntry;
use crate::environment::EnvChange;
use crate::event::process::{Image, Process, ProcessKey};
use tracetui_shared::id::Tgid;

/// Bytes of an allocation beside its content, with the counters of an `Arc`.
const ALLOCATION: usize = 16;

/// Bytes of an entry beside its texts: its places in the tables, which may be less than half full, and in the list of
/// ended processes; the process and its image; the overhead of the allocator.
const ENTRY: usize = 5 * (size_of::<(ProcessKey, ProcessEntry)>() + size_of::<(Tgid, ProcessKey)>() + 2) / 2
    + 2 * size_of::<ProcessKey>()
    + 2 * size_of::<(ProcessKey, ProcessKey)>()
    + size_of::<Process>()
    + size_of::<Image>()
    + 8 * ALLOCATION;

/// Bytes of a process in the table. Texts that several processes share count for each of them: any one may be the last
/// that keeps them.
pub(super) fn bytes_of(process: &Process) -> usize {
    let image = &process.image;
    let texts = process.comm.len() + process.cgroup.len() + image.exe.len() + image.argv.len() + image.cwd.len();
    ENTRY + texts + image.fds.len() + image.env.as_ref().map_or(0, |env| size_of::<EnvChange>() + env.bytes())
}

impl ProcessEntry {
    /// Bytes of the entry in the table.
    pub(super) fn bytes(&self) -> usize {
        bytes_of(&self.process) + self.env_bytes()
    }

    /// Bytes of the environment.
    pub(super) fn env_bytes(&self) -> usize {
        self.env.as_ref().map_or(0, |env| env.len())
    }
}
