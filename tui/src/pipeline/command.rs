//! The COMMAND that tracetui started, and its tree: all that is delivered when there is one.
//!
//! The process table knows the tree ([`Process::of_command`]), so this works on whatever the kernel side lets through: when
//! that knows the tree too, less arrives, and nothing here changes.

use crate::event::process::Process;
use crate::event::{Body, Event};
use tracetui_shared::id::Tgid;

/// Whose an event is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// The COMMAND's, or a descendant's.
    Commands,
    /// The COMMAND's before its first exec, when it still is tracetui.
    Own,
    /// Somebody else's.
    Others,
}

/// Tells events of the COMMAND's tree from all others.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandTree {
    command: Tgid,
    /// Its first exec was seen, or something that it did after one that was lost.
    runs: bool,
}

impl CommandTree {
    pub(super) fn new(command: Tgid) -> CommandTree {
        CommandTree { command, runs: false }
    }

    /// Whether its first exec was seen.
    pub(super) fn runs(self) -> bool {
        self.runs
    }

    /// Says whether it was.
    pub(super) fn restore(&mut self, runs: bool) {
        self.runs = runs;
    }

    /// Whose this event is; each event is to be shown once, in order.
    pub(super) fn whose(&mut self, event: &Event<'_>, process: Option<&Process>) -> Owner {
        match process {
            Some(process) if !process.of_command => Owner::Others,
            Some(process) if !self.runs && process.key.tgid == self.command => self.first(event),
            // A row about lost events is of no process: what was lost may have been the command's.
            Some(_) | None => Owner::Commands,
        }
    }

    /// Before its exec the command does nothing that a probe sees but execs that fail (one for each directory of `PATH`)
    /// and, when all did, its exit.
    fn first(&mut self, event: &Event<'_>) -> Owner {
        match &event.body {
            Body::Exec(exec) if exec.record.ret != 0 => Owner::Own,
            Body::Exit(_) => Owner::Own,
            _ => {
                self.runs = true;
                Owner::Commands
            }
        }
    }
}
