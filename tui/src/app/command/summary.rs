//! The summary of what a COMMAND did, for the header after COMMAND ended.

use tracetui_events::account::Account;
use tracetui_events::event::EventContext;
use tracetui_events::event::process::{Origin, ProcessKey};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{KINDS, Kind};

/// The counts of the current run of a COMMAND and its descendants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) execs: u64,
    /// The COMMAND's process, once its exit was delivered.
    pub(crate) process: Option<ProcessKey>,
    /// How long COMMAND ran in nanoseconds, according to its exit. `None` until the exit was delivered.
    pub(crate) ran_ns: Option<u64>,
    /// CPU time of all processes that ended, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Failed calls that no later call of the same search answered, by the number of their kind.
    failed: [u64; KINDS],
    /// Events that were delivered before the current run, likewise.
    before: [u64; KINDS],
}

impl Summary {
    /// The summary of a run that begins now.
    pub(crate) fn of_next_run(account: &Account) -> Summary {
        let mut summary = Summary::default();
        Kind::PROBED.iter().for_each(|kind| summary.before[*kind as usize] = account.kind(*kind).delivered);
        summary
    }

    /// The events of a kind that were delivered since the run began.
    pub(crate) fn delivered(&self, account: &Account, kind: Kind) -> u64 {
        account.kind(kind).delivered.saturating_sub(self.before[kind as usize])
    }

    pub(crate) fn count(&mut self, seen: &EventContext<'_>, command: Tgid) {
        let (kind, header) = (seen.event.kind(), &seen.event.header);
        let runs_again = seen.process.is_some_and(|process| process.origin == Origin::NextRun);
        if kind == Kind::Exit && (header.tgid == command || runs_again) {
            self.ran_ns = Some(seen.ran_ns());
            self.process = seen.process.map(|process| process.key);
        }
        let cost = seen.event.body.exit().and_then(|exit| exit.cost());
        self.cpu_ns = self.cpu_ns.saturating_add(cost.map_or(0, |cost| cost.runtime));
        self.execs += u64::from(kind == Kind::Exec && !seen.event.failed());
        self.failed[kind as usize] += u64::from(seen.event.body.ret().is_some_and(|ret| ret < 0));
    }

    /// Takes a failed call off the counts, because a later call answered it.
    pub(crate) fn answered(&mut self, kind: Kind) {
        self.failed[kind as usize] = self.failed(kind).saturating_sub(1);
    }

    /// The failed calls of a kind that no later call of the same search answered.
    pub(crate) fn failed(&self, kind: Kind) -> u64 {
        self.failed[kind as usize]
    }
}
