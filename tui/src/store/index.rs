//! An index of the kept events that match a predicate. It is built in slices, from the newest to the oldest, so that
//! the screen fills at once and keys do not wait, and updated when events are added or evicted.

use super::{Id, Store, Stored};
use std::collections::VecDeque;

/// The result for one event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// No match.
    No,
    /// A match.
    Yes,
    /// A match that is counted separately (a gap row in the list, a failure among the files).
    Marked,
}

/// Places that an index may have though it uses few of them.
const SPARSE: usize = 4096;

/// The events that belong, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Index {
    ids: VecDeque<Id>,
    marked: VecDeque<Id>,
    /// Events from here on have been asked about.
    from: Id,
}

impl Index {
    /// An index of nothing, that will be asked about everything.
    pub(crate) fn new(store: &Store) -> Index {
        Index { from: store.next_id(), ..Index::default() }
    }

    /// Takes the answer about an event that was just kept.
    pub(crate) fn append(&mut self, id: Id, answer: Answer) {
        match answer {
            Answer::No => return,
            Answer::Yes => {}
            Answer::Marked => self.marked.push_back(id),
        }
        self.ids.push_back(id);
    }

    /// Asks about up to `budget` older events; the newest of them first.
    pub(crate) fn scan(&mut self, store: &Store, budget: usize, mut ask: impl FnMut(&Stored<'_>) -> Answer) {
        let until = self.from.saturating_sub(budget as u64).max(store.first_id());
        while self.from > until {
            self.from -= 1;
            let Some(stored) = store.get(self.from) else { continue };
            match ask(&stored) {
                Answer::No => continue,
                Answer::Yes => {}
                Answer::Marked => self.marked.push_front(self.from),
            }
            self.ids.push_front(self.from);
        }
    }

    /// Whether older events are left to be asked about.
    pub(crate) fn scanning(&self, store: &Store) -> bool {
        self.from > store.first_id()
    }

    /// Removes events that the store evicted.
    pub(crate) fn evict(&mut self, store: &Store) {
        let first = store.first_id();
        self.from = self.from.max(first);
        for ids in [&mut self.ids, &mut self.marked] {
            let gone = ids.partition_point(|id| *id < first);
            ids.drain(..gone);
            // Events that are larger now are fewer.
            if ids.capacity() > SPARSE.max(4 * ids.len()) {
                ids.shrink_to(2 * ids.len());
            }
        }
    }

    /// How many belong.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none belongs.
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many of them are marked.
    pub(crate) fn marked(&self) -> usize {
        self.marked.len()
    }

    /// The event at a place.
    pub(crate) fn get(&self, at: usize) -> Option<Id> {
        self.ids.get(at).copied()
    }

    /// The place of the first event that is not older than `id`.
    pub(crate) fn place(&self, id: Id) -> usize {
        self.ids.partition_point(|known| *known < id)
    }

    /// How many marked ones are older than `id`.
    pub(crate) fn marked_before(&self, id: Id) -> usize {
        self.marked.partition_point(|known| *known < id)
    }
}
