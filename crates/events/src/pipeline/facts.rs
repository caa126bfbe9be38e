//! The facts about a trace that a pipeline knows beside its events, and its account.

use super::Pipeline;
use crate::account::ledger::Ledger;
use crate::account::{Account, Shortage, Streams};
use crate::event::bpf::unprobed;
use crate::frame::host::Trace;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{Kind, KindSet};
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

    /// The account as of the last counters. After the [`end`](Self::end), when all events are delivered, all its sums are checked.
    pub fn account(&self) -> Account {
        let Pipeline { world, requests, ledger, .. } = self;
        let (counters, holes) = (&world.counters, self.gaps.holes > 0);
        let mut counted = ledger.counted;
        if let Some(of) = counted.of(Kind::REQUESTED) {
            (of.requests, of.unseen, of.hollow) = (requests.met, requests.unseen, requests.hollow);
        }
        // Its only records that are no events are calls by netlink.
        if let Some(of) = counted.of(unprobed::KIND) {
            of.requests = std::mem::take(&mut of.kept);
        }
        let mut account = Account::of(counters, &counted, world.processes.state.pairing, self.asked());
        if holes {
            account.read_holes(counters, &self.arrived());
        }
        if self.excerpt.is_some() {
            account.of_excerpt(&counted);
        } else if self.unfinished || self.gaps.is_behind() {
            // Without its end, or with tables older than its counters.
            account.of_unfinished();
        } else if ledger.finished && holes {
            account.prove_sums();
        } else if ledger.finished {
            account.prove(counters, &counted, &self.arrived(), ledger.unframed);
        }
        let (processes, cgroups) = (world.processes.state.evicted, world.cgroups_evicted);
        account.shortage = Shortage { processes, cgroups, unsettled: ledger.unsettled };
        (account.late, account.processes_unread) = (ledger.late.0, ledger.unread_processes);
        account.bpf_left_out = world.bpf.left_out;
        account
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
