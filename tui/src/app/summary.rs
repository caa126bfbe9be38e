//! The summary of what a COMMAND did, for the header after COMMAND ended.

use tracetui_events::event::EventContext;
use tracetui_events::event::process::ProcessKey;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;

/// The counts of a COMMAND and its descendants that the account of the delivered events lacks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) execs: u64,
    /// Failed opens that no later call of the same search answered.
    pub(crate) failed_opens: u64,
    /// Failed execs that no later call of the same search answered.
    pub(crate) failed_execs: u64,
    /// The COMMAND's process, once its exit was delivered.
    pub(crate) process: Option<ProcessKey>,
    /// How long COMMAND ran in nanoseconds, according to its exit. `None` until the exit was delivered.
    pub(crate) ran_ns: Option<u64>,
    /// CPU time of all processes that ended, in nanoseconds.
    pub(crate) cpu_ns: u64,
}

impl Summary {
    pub(crate) fn count(&mut self, seen: &EventContext<'_>, command: Tgid) {
        let (kind, header) = (seen.event.kind(), &seen.event.header);
        if kind == Kind::Exit && header.tgid == command {
            self.ran_ns = Some(seen.ran_ns());
            self.process = seen.process.map(|process| process.key);
        }
        let cost = seen.event.body.exit().and_then(|exit| exit.cost());
        self.cpu_ns = self.cpu_ns.saturating_add(cost.map_or(0, |cost| cost.runtime));
        self.execs += u64::from(kind == Kind::Exec && !seen.event.failed());
        if let Some(failed) = self.failed(kind).filter(|_| seen.event.failed()) {
            *failed += 1;
        }
    }

    /// Takes a failed call off the counts, because a later call answered it.
    pub(crate) fn answered(&mut self, kind: Kind) {
        self.failed(kind).into_iter().for_each(|count| *count = count.saturating_sub(1));
    }

    fn failed(&mut self, kind: Kind) -> Option<&mut u64> {
        match kind {
            Kind::Open => Some(&mut self.failed_opens),
            Kind::Exec => Some(&mut self.failed_execs),
            _ => None,
        }
    }
}
