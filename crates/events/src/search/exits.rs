//! Causes of exits, and routine exits.
//!
//! A process exits with a code other than 0 because of its own failed call, or because of a child that failed after that call. The
//! child is not the cause if the process continued for long ([`ended_soon`]).
//!
//! Routine: a process that exited with code 1 where nothing failed, and whose parent continued. grep(1), test(1) and cmp(1) answer a
//! question this way, and scripts of the system such as which(1), but not those of users.
//!
//! The parent continued if it succeeded in a call or started another program afterwards, exited with code 0, or was still running
//! [`SOON_NS`] later. If it exited with another code, such as a compiler driver after its compiler, both exits are failures.
//!
//! A command that exits with code 1 more than [`OFTEN`] times within [`OFTEN_NS`] below one parent fails, whatever its parent does: the
//! later exits are not routine.

use super::Failure;
use crate::event::exit::Ended;
use crate::event::process::{Process, ProcessKey};
use crate::limits;
use crate::store::Id;
use foldhash::HashMap;
use foldhash::fast::RandomState;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// How long a process may run on after a failure that makes it exit, in nanoseconds.
pub(super) const SOON_NS: u64 = 1_000_000_000;

/// A failed call or an exit that no longer counts as a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answered {
    pub id: Id,
    pub kind: Kind,
    pub process: ProcessKey,
}

/// Whether a process may have exited because of an event at this time: it ended soon after the event, or had run for longer before
/// it.
pub(super) fn ended_soon(process: &Process, at: BootNanos, end: BootNanos) -> bool {
    let before = process.ran_ns(at);
    process.ran_ns(end).saturating_sub(before) <= before.max(SOON_NS)
}

/// Why a process exited with a code other than 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExitCause {
    /// The failed call. `None` if only a descendant failed, and no call of it is known to be the cause.
    pub failure: Option<Failure>,
    /// The child that failed, unless the call is of the process itself.
    pub child: Option<ProcessKey>,
    /// Whether the process started another child after that one, so that it may have exited for another reason.
    pub went_on: bool,
    /// The failed call, or the exit of the descendant.
    pub id: Id,
}

/// The code with which programs answer no.
const NO: u8 = 1;

/// How often one command may answer no within [`OFTEN_NS`].
const OFTEN: usize = 3;

/// See [`OFTEN`]. In nanoseconds.
const OFTEN_NS: u64 = 60 * SOON_NS;

/// The ended children of a running process.
#[derive(Debug, Default)]
struct Children {
    /// Exits that are routine if the process continues, each with its time.
    exits: Vec<(BootNanos, Answered)>,
    /// Whether a child failed.
    failed: bool,
    /// The last one that failed: its exit with the time, and the cause that the process takes over.
    last: Option<(Id, BootNanos, ExitCause)>,
}

/// The exits that are routine if the parent continues.
#[derive(Debug, Default)]
pub(super) struct Exits {
    of: HashMap<ProcessKey, Children>,
    /// The parents of exits, by the times of the exits.
    queue: VecDeque<(BootNanos, ProcessKey)>,
    /// When each command of a parent last exited with code 1, the earliest first.
    noes: HashMap<u64, [BootNanos; OFTEN]>,
    hasher: RandomState,
    /// When exits or failures were last forgotten for lack of room. No exit of a process that ran then is routine.
    pub(super) forgot: BootNanos,
}

impl Exits {
    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        let entry = size_of::<(ProcessKey, Children)>();
        self.of.capacity() * entry
            + self.queue.capacity() * size_of::<(BootNanos, ProcessKey)>()
            + self.queue.len() * 2 * size_of::<(BootNanos, Answered)>()
            + self.noes.capacity() * size_of::<(u64, [BootNanos; OFTEN])>()
    }

    /// Answers the exits before this time by a process that continued.
    pub(super) fn went_on(&mut self, parent: ProcessKey, by: BootNanos, answered: &mut Vec<Answered>) {
        let Some(children) = self.of.get_mut(&parent).filter(|children| !children.exits.is_empty()) else { return };
        children.exits.retain(|(time, exit)| {
            let routine = *time < by;
            answered.extend(routine.then_some(*exit));
            !routine
        });
    }

    /// Answers the exits whose parents still run at this time.
    pub(super) fn settle(&mut self, now: BootNanos, answered: &mut Vec<Answered>) {
        while let Some((time, parent)) = self.queue.pop_front_if(|(time, _)| now.since(*time) > SOON_NS) {
            self.went_on(parent, BootNanos(time.0 + 1), answered);
        }
    }

    /// Handles the start of a child.
    pub(super) fn started(&mut self, parent: ProcessKey, start: BootNanos) {
        if let Some(children) = self.of.get_mut(&parent) {
            let last = children.last.iter_mut().filter(|(_, failed, _)| *failed < start);
            last.for_each(|(.., cause)| cause.went_on = true);
        }
    }

    /// Handles the exit of a process, and returns its cause. `own`: the failed call of the process that may be the cause. `weak`:
    /// whether it is optional, so that the call of a child explains more. `failed`: whether a call of the process failed and nothing
    /// answered it.
    pub(super) fn exited(
        &mut self,
        id: Id,
        process: &Process,
        (ended, time): (Ended, BootNanos),
        (own, weak, failed): (Option<Failure>, bool, bool),
        answered: &mut Vec<Answered>,
    ) -> Option<ExitCause> {
        let children = self.of.remove(&process.key).unwrap_or_default();
        let is_error = matches!(ended, Ended::Code(1..));
        let last = children.last.filter(|(exit, failed, cause)| {
            let is_later = |own: Failure| own.id <= *exit && !cause.went_on || weak && cause.failure.is_some();
            is_error && own.is_none_or(is_later) && ended_soon(process, *failed, time)
        });
        let of = |failure, id| ExitCause { failure, child: None, went_on: false, id };
        // What a process only asked for explains nothing if a child failed.
        let own = own.filter(|_| !(weak && is_error && children.failed));
        let cause = last.map(|(.., cause)| cause).or_else(|| own.map(|own| of(Some(own), own.id)));
        let taken = ExitCause { child: Some(process.key), went_on: false, ..cause.unwrap_or(of(None, id)) };
        let often = ended == Ended::Code(NO) && self.is_often(process, time);
        let failed =
            failed || often || children.failed || !children.exits.is_empty() || process.key.start <= self.forgot;
        process.parent.into_iter().for_each(|parent| self.started(parent, process.key.start));
        match (ended, process.parent) {
            (Ended::Code(0), _) => answered.extend(children.exits.into_iter().map(|(_, exit)| exit)),
            (_, None) => {}
            (Ended::Code(NO), Some(parent)) if !failed => {
                self.make_room(time);
                let exit = Answered { id, kind: Kind::Exit, process: process.key };
                let siblings = self.of.entry(parent).or_default();
                siblings.exits.push((time, exit));
                siblings.last = Some((id, time, taken));
                self.queue.push_back((time, parent));
            }
            (_, Some(parent)) => {
                self.make_room(time);
                let siblings = self.of.entry(parent).or_default();
                siblings.failed = true;
                // After a child failed, its parent may kill others because of that.
                if is_error || siblings.last.is_none() {
                    siblings.last = Some((id, time, taken));
                }
            }
        }
        cause
    }

    /// Notes that a command of a parent exited with code 1. Returns whether it did so often lately.
    fn is_often(&mut self, process: &Process, now: BootNanos) -> bool {
        if self.noes.len() >= limits::SEARCH_CALLS {
            self.noes.clear();
        }
        let command = self.hasher.hash_one((process.parent, &process.comm, &process.image.exe, &process.image.argv));
        let times = self.noes.entry(command).or_insert([BootNanos(0); OFTEN]);
        let often = times[0] > BootNanos(0) && now.since(times[0]) <= OFTEN_NS;
        times.rotate_left(1);
        times[OFTEN - 1] = now;
        often
    }

    fn make_room(&mut self, now: BootNanos) {
        if self.of.len().max(self.queue.len()) >= limits::SEARCH_CALLS {
            *self = Exits { forgot: now, ..Exits::default() };
        }
    }
}
