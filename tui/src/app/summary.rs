//! What a COMMAND did, for the header once it has ended.

use crate::event::EventContext;
use crate::event::process::ProcessKey;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;

/// What the account does not have of the delivered events of a COMMAND and its descendants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Opens that failed and that nothing answered.
    pub failed_opens: u64,
    /// Execs that failed and that nothing answered.
    pub failed_execs: u64,
    /// The COMMAND, once its exit was delivered.
    pub(crate) process: Option<ProcessKey>,
    /// How long the COMMAND ran, in nanoseconds, as its exit says. `None` until that was delivered.
    pub ran_ns: Option<u64>,
}

impl Summary {
    /// Counts an event of a trace of this COMMAND.
    pub fn count(&mut self, seen: &EventContext<'_>, command: Tgid) {
        let (kind, header) = (seen.event.kind(), &seen.event.header);
        if kind == Kind::Exit && header.tgid == command {
            self.ran_ns = Some(seen.ran_ns());
            self.process = seen.process.map(|process| process.key);
        }
        if let Some(failed) = self.failed(kind).filter(|_| seen.event.failed()) {
            *failed += 1;
        }
    }

    /// Counts a failed call no more: it was answered.
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
