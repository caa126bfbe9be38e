//! The facts about a trace that a pipeline knows beside its events, and its account.

use super::Pipeline;
use crate::account::ledger::{Evidence, Ledger, TraceExtent};
use crate::account::{Account, Streams};
#[cfg(doc)]
use crate::enrich::process::ProcessTable;
use crate::event::process::ProcessKey;
use crate::frame::host::Trace;
#[cfg(doc)]
use crate::limits;
use crate::terminal::Terminal;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::KindSet;
use tracetui_shared::time::BootNanos;

impl Pipeline {
    /// The options of the trace, once their frame has arrived.
    pub fn trace(&self) -> Option<&Trace> {
        self.asked.as_ref()
    }

    /// The requested kinds, once the options of the trace have arrived.
    pub fn kinds(&self) -> Option<KindSet> {
        self.trace().map(Trace::kinds)
    }

    pub(super) fn asked(&self) -> KindSet {
        self.kinds().unwrap_or(KindSet::ALL)
    }

    /// The COMMAND of the trace, if it has one.
    pub fn command(&self) -> Option<Tgid> {
        self.trace().map(|trace| trace.command).filter(|command| *command != Tgid(0))
    }

    /// The filter that chose the events of an excerpt; `None` if the trace is not an excerpt.
    pub fn excerpt(&self) -> Option<&str> {
        self.excerpt.as_ref().map(|excerpt| excerpt.filter.as_str())
    }

    /// Whether frames are missing and no state has come since. The number of events in them is then unknown.
    pub fn is_behind(&self) -> bool {
        self.gaps.is_behind()
    }

    /// Sets the ids in the `tree=ID` terms of the current filter ([`ProcessTable::follow`]).
    pub fn follow(&mut self, roots: &[Tgid]) {
        self.world.processes.follow(roots);
    }

    /// Sets the process that the id in a `tree=ID` term denotes ([`ProcessTable::follow_process`]).
    pub fn follow_process(&mut self, process: ProcessKey) -> bool {
        self.world.processes.follow_process(process)
    }

    /// Stops following COMMAND's terminal.
    pub fn leave_out_terminal(&mut self) {
        self.world.without_terminal = true;
    }

    /// Sets COMMAND's terminal, whose later output is in the frames.
    pub fn set_terminal(&mut self, terminal: &Terminal) {
        self.world.set_terminal(terminal);
    }

    /// The account as of the last counters. After the [`end`](Self::end), when all events are delivered, all its sums are checked.
    pub fn account(&self) -> Account {
        let extent = if self.excerpt.is_some() {
            TraceExtent::Excerpt
        } else if self.unfinished || self.gaps.is_behind() {
            TraceExtent::Unfinished
        } else {
            TraceExtent::Whole
        };
        self.ledger.account(&Evidence {
            world: &self.world,
            asked: self.asked(),
            arrived: &|| self.arrived(),
            requests: [self.requests.met, self.requests.unseen, self.requests.hollow],
            holes: self.gaps.holes > 0,
            extent,
        })
    }

    /// The account of one moment, and that moment: when the last counters were read. If it is `None`, the account is that of all
    /// events.
    pub fn account_then(&self) -> (Option<BootNanos>, Account) {
        self.ledger.account_then(|| self.account())
    }

    /// The error message if the account does not add up. During the trace, checks only the sums that are already final.
    pub fn discrepancy(&self) -> Option<String> {
        self.ledger.discrepancy(|| self.account())
    }

    /// The ledger, to correct its counts of delivered events.
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    pub(super) fn arrived(&self) -> Streams {
        let mut arrived = self.gaps.arrived();
        self.assembler.cut_short(&mut arrived);
        arrived
    }
}
