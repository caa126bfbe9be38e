//! What a COMMAND did, for the header once it has ended.

use crate::event::EventContext;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// What the account does not have of the delivered events of a COMMAND and its descendants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Opens that failed.
    pub failed_opens: u64,
    /// Execs that failed.
    pub failed_execs: u64,
    /// How long the COMMAND ran, in nanoseconds, from its first exec: before that it waited for the probes. `None` until its exit
    /// was delivered.
    pub lived_ns: Option<u64>,
    /// Its first exec.
    began: Option<BootNanos>,
}

impl Summary {
    /// Counts an event of a trace of this COMMAND.
    pub fn count(&mut self, seen: &EventContext<'_>, command: Tgid) {
        let (kind, header) = (seen.event.kind(), &seen.event.header);
        if kind == Kind::Exit && header.tgid == command {
            self.lived_ns = Some(header.time.since(self.began.unwrap_or(header.start)));
        }
        if kind == Kind::Exec && header.tgid == command && !seen.event.failed() {
            self.began.get_or_insert(header.time);
        }
        match kind {
            Kind::Open => self.failed_opens += u64::from(seen.event.failed()),
            Kind::Exec => self.failed_execs += u64::from(seen.event.failed()),
            _ => {}
        }
    }
}
