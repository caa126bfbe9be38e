//! The process of an event, at the time of the event.

pub use crate::frame::state::{Image, Origin, Process, ProcessKey};
use crate::text::command;
use tracetui_shared::header::COMM_LEN;
use tracetui_shared::time::BootNanos;

/// Bytes of a thread's name. The kernel cuts longer ones.
pub(crate) const COMM_MAX: usize = COMM_LEN - 1;

impl Process {
    /// Its name: the leader's, or that of the executable if the kernel cut the former.
    pub fn name(&self) -> &[u8] {
        let exe = self.exe_name();
        if self.comm.len() == COMM_MAX && exe.starts_with(&self.comm) { exe } else { &self.comm }
    }

    /// Whether it runs the program of its parent.
    pub fn is_forked(&self) -> bool {
        self.origin == Origin::Fork && self.execs == 0
    }

    /// What names its command ([`command`]). Its name if it runs none of its own, or nothing else is known.
    pub fn command(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self.is_forked() || self.image.argv.is_empty() && self.image.exe.is_empty() {
            true => out.extend_from_slice(&self.comm),
            false => command::write(&self.image.argv, &self.image.exe, &mut out),
        }
        out
    }

    /// The same; its name if that is too long to be in a line of text.
    pub fn short_command(&self) -> Vec<u8> {
        Some(self.command()).filter(|command| command.len() <= command::LONG).unwrap_or_else(|| self.comm.to_vec())
    }

    /// The name of its executable; empty if unknown.
    pub fn exe_name(&self) -> &[u8] {
        let exe = self.image.exe.strip_suffix(b" (deleted)").unwrap_or(&self.image.exe);
        command::leaf(exe)
    }

    /// How long it has run at a time, in nanoseconds, excluding the time in which it was held.
    pub fn ran_ns(&self, until: BootNanos) -> u64 {
        until.since(self.key.start).saturating_sub(self.held_ns)
    }
}
