//! A failure and what failed because of it: one story.

use super::App;
use super::views::tree::{Seen, Tree};
use tracetui_events::event::process::ProcessKey;
use tracetui_events::store::{Id, Stored};

/// How many failures are examined for stories.
const EXAMINED: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct Story<'a> {
    /// Its newest event.
    pub(crate) newest: Stored<'a>,
    /// The texts beside the row of that event, longest first.
    pub(crate) remarks: Vec<String>,
    /// The process that failed first, its parent that exited because of that, and so on. Empty if no process exited.
    pub(crate) chain: Vec<Seen<'a>>,
}

impl Story<'_> {
    /// The event that shows what went wrong.
    pub(crate) fn shows(&self) -> Id {
        self.chain.first().and_then(Seen::shows).unwrap_or(self.newest.id)
    }
}

impl Tree {
    /// The processes that exited because of one failure: the one that failed first, its parent, and so on. `of`: one of them.
    fn chain(&self, of: ProcessKey) -> Vec<Seen<'_>> {
        let above = |seen: &Seen<'_>| {
            let parent = self.process(seen.process.parent?)?;
            (parent.from == Some(seen.process.key)).then_some(parent)
        };
        let top = std::iter::successors(self.process(of), above).take(EXAMINED).last();
        let mut chain: Vec<_> = top.iter().flat_map(|top| self.cause(top).1.into_iter().rev()).collect();
        chain.extend(top);
        chain
    }
}

impl App {
    /// The stories of the newest failures before an event, the newest first.
    pub(crate) fn stories(&self, until: Option<Id>) -> Vec<Story<'_>> {
        let mut stories: Vec<Story<'_>> = Vec::new();
        let rows = self.events.failures(until).take(EXAMINED);
        for (newest, remarks) in rows.filter_map(|(id, remarks)| Some((self.store.get(id)?, remarks))) {
            let mut chain = newest.process.map(|process| self.views.tree.chain(process.key)).unwrap_or_default();
            let exits = chain.iter().filter_map(|seen| seen.end?.id);
            let cause = chain.first().and_then(Seen::failure).map(|failure| failure.id);
            if !exits.chain(cause).any(|id| id == newest.id) {
                chain.clear();
            }
            let top = |chain: &[Seen<'_>]| chain.last().map(|top| top.process.key);
            if chain.is_empty() || stories.iter().all(|story| top(&story.chain) != top(&chain)) {
                stories.push(Story { newest, remarks, chain });
            }
        }
        stories
    }

    /// Why a process exited, in its row, longest first, and whether that is only the child that failed: the row of the process that
    /// failed first has the cause.
    pub(crate) fn cause_in_row(&self, exited: &Seen<'_>) -> Option<([Vec<u8>; 2], bool)> {
        let line = self.views.tree.cause(exited).1;
        let first = line.last().and_then(|seen| seen.end?.id);
        match line.first().filter(|_| first.is_some_and(|exit| self.events.has(exit))) {
            Some(child) => {
                let via = [b"via ", child.process.short_command().as_slice()].concat();
                Some(([via.clone(), via], true))
            }
            None => Some((self.views.tree.reason(exited, &self.store)?.in_row(), false)),
        }
    }
}
