//! A process of the tree, and its counts.

use crate::app::input::Measurement;
use crate::app::views::state::Moment;
use std::sync::Arc;
use tracetui_events::event::exit::{Ended, Exit};
use tracetui_events::event::process::{Origin, Process, ProcessKey};
use tracetui_events::event::{Home, Takes, changes_files, takes};
use tracetui_events::search::Failure;
use tracetui_events::store::Id;
use tracetui_shared::id::{CgroupId, NsInum, Tgid};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::exit::Cost;
use tracetui_shared::time::BootNanos;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub events: u64,
    pub execs: u64,
    pub opens: u64,
    /// Created and changed files.
    pub changes: u64,
    /// Failed calls that no later call of the same search answered. An exit is not a call.
    pub failed: u64,
}

impl Counts {
    /// Created files are not counted.
    pub(super) fn of(kind: Kind, failed: bool, answered: bool) -> Counts {
        Counts {
            events: 1,
            execs: u64::from(kind == Kind::Exec && !failed),
            opens: u64::from(takes(kind) == Takes::Contents),
            changes: u64::from(changes_files(kind) && !failed),
            failed: u64::from(failed && !answered && kind != Kind::Exit),
        }
    }

    fn combined(self, other: Counts, with: fn(u64, u64) -> u64) -> Counts {
        Counts {
            events: with(self.events, other.events),
            execs: with(self.execs, other.execs),
            opens: with(self.opens, other.opens),
            changes: with(self.changes, other.changes),
            failed: with(self.failed, other.failed),
        }
    }

    pub(crate) fn and(self, other: Counts) -> Counts {
        self.combined(other, u64::saturating_add)
    }

    pub(super) fn without(self, other: Counts) -> Counts {
        self.combined(other, u64::saturating_sub)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub time: BootNanos,
    /// The status as wait(2) reports it; `None` if its exit was lost.
    pub status: Option<u32>,
    /// `None` if unknown.
    pub cost: Option<Cost>,
    pub id: Option<Id>,
    /// Whether it exited with code 1 without a failure, and its parent continued.
    pub routine: bool,
}

impl End {
    /// Whether it exited by itself with a code other than 0.
    pub(crate) fn is_error(self) -> bool {
        let exit = Exit::of_status;
        self.status.is_some_and(|status| matches!(exit(status).ended(), Ended::Code(1..)))
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FailedExec {
    pub failure: Failure,
    /// The path as passed. Only the end of a long path is kept.
    pub path: Box<[u8]>,
    /// The arguments after the first one, each followed by NUL. Only the start of a long list is kept.
    pub args: Box<[u8]>,
}

/// What the descendants of a process did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Work {
    pub counts: Counts,
    /// The processes that failed.
    pub failed: u64,
    /// The one without a child that ran longest: its command, and how long in nanoseconds.
    pub slowest: Option<(Box<[u8]>, u64)>,
}

/// [`Seen`] says what the fields mean that both have.
#[derive(Debug)]
pub(super) struct Node {
    pub process: Arc<Process>,
    /// `None` if the parent is not in the tree.
    pub parent: Option<ProcessKey>,
    /// The number of processes added before it.
    pub age: u32,
    /// Its last exec during the trace, with the session if that is known.
    pub exec: Option<(Id, Option<Tgid>)>,
    /// Whether it is a shell on a terminal, and waits for commands.
    pub interactive: bool,
    /// What its descendants did, if it is the topmost process of a job.
    pub work: Option<Box<Work>>,
    /// The event that introduced it, if it started during the trace.
    pub born: Option<Id>,
    /// The process before its last exec, and when that exec was.
    pub before: Option<(BootNanos, Arc<Process>)>,
    pub counts: Counts,
    pub end: Option<End>,
    pub failed_exec: Option<FailedExec>,
    pub cause: Option<Failure>,
    pub from: Option<ProcessKey>,
    pub pid_ns: NsInum,
    pub cgroup: CgroupId,
    /// Whether it used much CPU time once.
    pub busy: bool,
    pub matched: bool,
    pub fold: Fold,
}

/// Memory of a process in bytes, without its texts: its entries here, in the tables and in the row lists, the process itself, and the one
/// before its last exec (other owners may have dropped both).
const NODE: usize = 2 * size_of::<(ProcessKey, Node)>()
    + 2 * size_of::<(Tgid, ProcessKey)>()
    + 7 * size_of::<ProcessKey>()
    + 2 * size_of::<(ProcessKey, Counts)>()
    + 2 * size_of::<(u64, ProcessKey)>()
    + 256
    + 2 * size_of::<Process>();

fn texts(process: &Process) -> usize {
    let image = &process.image;
    process.comm.len() + image.exe.len() + image.argv.len() + image.cwd.len() + size_of_val(&**image)
}

impl Node {
    pub(super) fn new(process: Arc<Process>, id: Id, parent: Option<ProcessKey>, age: u32) -> Node {
        Node {
            born: Some(id).filter(|_| matches!(process.origin, Origin::Fork | Origin::NextRun)),
            process,
            parent,
            age,
            exec: None,
            interactive: false,
            work: None,
            before: None,
            counts: Counts::default(),
            end: None,
            failed_exec: None,
            cause: None,
            from: None,
            pid_ns: NsInum(0),
            cgroup: CgroupId(0),
            busy: false,
            matched: false,
            fold: Fold::Auto,
        }
    }

    /// Whether it made an event, started during the trace, or used much CPU time.
    pub(super) fn is_active(&self) -> bool {
        self.counts.events > 0 || self.process.origin == Origin::Fork || self.busy
    }

    pub(super) fn started(&self, moment: Moment) -> bool {
        self.born.map_or(self.process.key.start <= moment.time, |born| born < moment.until)
    }

    pub(super) fn bytes(&self) -> usize {
        let before = self.before.as_ref().map_or(0, |(_, process)| texts(process));
        let tried = self.failed_exec.as_ref().map_or(0, |tried| tried.path.len() + tried.args.len());
        let slowest = |work: &Work| work.slowest.as_ref().map_or(0, |(command, _)| command.len());
        let work = self.work.as_ref().map_or(0, |work| size_of_val(&**work) + slowest(work));
        NODE + texts(&self.process) + before + tried + work
    }
}

/// Which descendants of a process have rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Fold {
    /// Those that run or failed, and their ancestors.
    #[default]
    Auto,
    /// None, by the user's choice.
    Folded,
    /// The children, by the user's choice. Those that ended without a failure have one row together.
    Open,
    /// Each child has its own row.
    All,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub process: &'a Arc<Process>,
    /// Its last exec during the trace.
    pub exec: Option<Id>,
    /// What its descendants did by now, if it is the topmost process of a job.
    pub work: Option<&'a Work>,
    pub counts: Counts,
    pub end: Option<End>,
    /// The last failed exec, if no exec succeeded after it.
    pub failed_exec: Option<&'a FailedExec>,
    /// The failed call that made the process exit.
    pub cause: Option<Failure>,
    /// The child that failed before the process exited with a code other than 0. `None` if something failed after that child.
    pub from: Option<ProcessKey>,
    /// The place of its last event.
    pub home: Home<'a>,
    /// What it used lately, if it runs now.
    pub used: Option<Measurement>,
}

impl Seen<'_> {
    /// What it used; `None` while it runs, or if unknown.
    pub(crate) fn cost(&self) -> Option<Cost> {
        self.end?.cost
    }

    /// Its order by CPU: the share of what runs now comes before the time of what ended.
    pub(super) fn cpu(&self) -> u64 {
        match self.used.and_then(|used| used.permille).filter(|share| *share > 0) {
            Some(share) => u64::MAX / 2 + share,
            None => self.cost().map_or(0, |cost| cost.runtime),
        }
    }

    /// Whether it exited with a code other than 0 that is not routine, was killed, or failed to execute a program for an unusual reason.
    pub(crate) fn failed(&self) -> bool {
        self.end.filter(|end| !end.routine).and_then(|end| end.status).is_some_and(|status| status != 0)
            || self.failed_exec.is_some_and(|tried| tried.failure.real)
    }

    /// The call that shows what went wrong: the one that made the process exit, or an exec that failed for an unusual reason.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let ended_well = self.end.and_then(|end| end.status).is_none_or(|status| status == 0);
        let tried = self.failed_exec.map(|tried| tried.failure).filter(|failure| failure.real && ended_well);
        self.cause.or(tried)
    }

    /// The event that shows what went wrong: the failed call, or the exit.
    pub(crate) fn shows(&self) -> Option<Id> {
        self.failure().map(|failure| failure.id).or_else(|| self.end.filter(|_| self.failed())?.id)
    }
}
