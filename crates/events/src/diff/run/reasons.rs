//! Why processes of a run failed, if that is no difference of its own: a call of a kind that is not compared.

use crate::event::{Compared, EventContext, compared};
use crate::search::{Failure, Searches, text};
use crate::store::Id;
use std::collections::VecDeque;

/// How many failed calls are kept: some of each process that runs.
const RECENT: usize = 1 << 12;

#[derive(Debug, Default)]
pub(super) struct Reasons {
    searches: Searches,
    /// The newest failed calls in words: one for a name that was looked for in one place, and one for several.
    recent: VecDeque<(Id, [Vec<u8>; 2])>,
    next: Id,
}

impl Reasons {
    /// Takes the next event. Returns the failed call that made its process exit, in words.
    pub(super) fn take(&mut self, seen: &EventContext<'_>) -> Option<Vec<u8>> {
        let (id, body) = (self.next, &seen.event.body);
        self.next += 1;
        if seen.event.failed() && compared(seen.event.kind()) == Compared::Nothing {
            let argv = seen.process.map(|process| &*process.image.argv).unwrap_or_default();
            let failure = Failure::of(id, body.error());
            let said = [0, 1].map(|searched| text(body, Failure { searched, ..failure }, argv, false));
            self.recent.truncate(RECENT - 1);
            self.recent.push_front((id, said));
        }
        // Recordings of a machine have no lookups.
        if self.recent.is_empty() {
            return None;
        }
        let cause = self.searches.take(id, seen).cause.filter(|cause| cause.child.is_none())?.failure?;
        let (_, said) = self.recent.iter().find(|(id, _)| *id == cause.id)?;
        said.get(usize::from(cause.searched > 0)).cloned()
    }
}
