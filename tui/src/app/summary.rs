//! What a COMMAND did, for the header once it has ended.

use crate::event::EventContext;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;

/// What the account does not have of the delivered events of a COMMAND and its descendants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Opens that failed.
    pub failed_opens: u64,
    /// Execs that failed.
    pub failed_execs: u64,
    /// How long the COMMAND ran, in nanoseconds, as its exit says. `None` until that was delivered.
    pub ran_ns: Option<u64>,
}

impl Summary {
    /// Counts an event of a trace of this COMMAND.
    pub fn count(&mut self, seen: &EventContext<'_>, command: Tgid) {
        let (kind, header) = (seen.event.kind(), &seen.event.header);
        if kind == Kind::Exit && header.tgid == command {
            self.ran_ns = seen.process.map(|process| process.ran_ns(header.time));
        }
        match kind {
            Kind::Open => self.failed_opens += u64::from(seen.event.failed()),
            Kind::Exec => self.failed_execs += u64::from(seen.event.failed()),
            _ => {}
        }
    }
}
