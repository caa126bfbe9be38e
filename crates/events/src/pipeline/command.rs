//! The COMMAND that tracetui started, and its descendants. With a COMMAND, only their events are delivered.
//!
//! The process table knows the descendants ([`Process::of_command`]), so this does not depend on what the kernel side
//! passes. If the kernel side filters by the same tree, fewer events arrive, and the result is the same.

use crate::event::process::{Origin, Process};
use crate::event::{Body, Event};
use tracetui_shared::id::Tgid;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EventOwner {
    /// The COMMAND or a descendant.
    Commands,
    /// A run of the COMMAND before its first exec, while it still runs tracetui's code.
    Own,
    Others,
}

/// Classifies events by the COMMAND's tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct CommandTree {
    pub(super) command: Tgid,
    /// Whether the COMMAND runs its own program: its first exec has arrived, or a later event if that exec was lost.
    pub(super) runs: bool,
}

impl CommandTree {
    /// The owner of an event. Call it once per event, in order.
    pub(super) fn whose(&mut self, event: &Event<'_>, process: Option<&Process>) -> EventOwner {
        match process {
            Some(process) if !process.of_command => EventOwner::Others,
            Some(process) if !self.runs && process.key.tgid == self.command => self.first(event),
            Some(process) if process.origin == Origin::NextRun && process.execs == 0 => self.first(event),
            // A row about lost events has no process. The lost events may have been the COMMAND's.
            Some(_) | None => EventOwner::Commands,
        }
    }

    /// Before the first successful exec, a run of the COMMAND has only three kinds of events: the fork of the next run, failed execs (one
    /// for each directory of `PATH`), and its exit if all of them failed.
    fn first(&mut self, event: &Event<'_>) -> EventOwner {
        match &event.body {
            Body::Exec(exec) if exec.record.ret != 0 => EventOwner::Own,
            Body::Exit(_) => EventOwner::Own,
            Body::Fork(fork) if fork.record.child_parent != event.header.tgid => EventOwner::Own,
            _ => {
                self.runs = true;
                EventOwner::Commands
            }
        }
    }
}
