//! An index of the kept events that match a predicate. It is built in slices, from the newest to the oldest event, so that the
//! screen fills at once and keys do not wait. It is updated when events are added or evicted.

use super::{Id, Store, Stored};
use std::collections::VecDeque;
use std::ops::Range;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    No,
    Yes,
    /// A match that is counted separately (a gap row in the list, a failure among the files).
    Marked,
}

/// The capacity that an index may keep although it uses only a small part of it.
const SPARSE: usize = 4096;

/// The matching events, oldest first.
#[derive(Debug, Default)]
pub struct Index {
    ids: VecDeque<Id>,
    marked: VecDeque<Id>,
    /// The id of the oldest event that has been tested.
    pub from: Id,
    /// The pinned events before this one have not been tested.
    pins_from: Id,
    /// [`Store::thinned`] at the last call of [`Index::evict`].
    thinned: Id,
}

impl Index {
    /// An empty index, for which no event has been tested yet.
    pub fn new(store: &Store) -> Index {
        let (from, thinned) = (store.next_id(), store.thinned);
        Index { from, pins_from: from, thinned, ..Index::default() }
    }

    /// Adds the answer for an event that was just stored.
    pub fn append(&mut self, id: Id, answer: Answer) {
        match answer {
            Answer::No => return,
            Answer::Yes => {}
            Answer::Marked => self.marked.push_back(id),
        }
        self.ids.push_back(id);
    }

    /// Tests up to `budget` older events, newest first.
    pub fn scan(&mut self, store: &Store, budget: usize, mut ask: impl FnMut(&Stored<'_>) -> Answer) {
        let (mut until, mut left) = (store.first_id().min(self.from), budget);
        for stored in store.range(until..self.from).rev() {
            if left == 0 {
                break;
            }
            self.prepend(stored.id, ask(&stored));
            (self.from, left) = (stored.id, left - 1);
        }
        if left == 0 {
            until = self.from;
        }
        self.pins_from = self.pins_from.min(until);
        self.from = until;
        if until <= store.first_id() {
            // There are few pinned events.
            store.pinned_before(self.pins_from).rev().for_each(|stored| self.prepend(stored.id, ask(&stored)));
            self.pins_from = 0;
        }
    }

    /// Adds the answer for an event before all others.
    pub fn prepend(&mut self, id: Id, answer: Answer) {
        match answer {
            Answer::No => return,
            Answer::Yes => {}
            Answer::Marked => self.marked.push_front(id),
        }
        self.ids.push_front(id);
    }

    /// Adds an event, which matches, between others.
    pub fn insert(&mut self, id: Id) {
        self.ids.insert(self.place(id), id);
    }

    pub fn remove(&mut self, id: Id) {
        for ids in [&mut self.ids, &mut self.marked] {
            if let Ok(at) = ids.binary_search(&id) {
                ids.remove(at);
            }
        }
    }

    /// Whether older events are still untested.
    pub fn scanning(&self, store: &Store) -> bool {
        self.from > store.first_id() || store.pinned().is_some_and(|(first, _)| first < self.pins_from)
    }

    /// Removes events that the store evicted.
    pub fn evict(&mut self, store: &Store) {
        self.evict_or(store, |_| None);
    }

    /// Replaces or removes events that the store evicted. `instead`: an older event that takes the place of an evicted one.
    pub fn evict_or(&mut self, store: &Store, mut instead: impl FnMut(Id) -> Option<Id>) {
        let first = store.first_id();
        self.from = self.from.max(first);
        let thinned = std::mem::replace(&mut self.thinned, store.thinned);
        // The newest part first: positions before it stay.
        for part in [thinned..self.thinned, 0..first] {
            for ids in [&mut self.ids, &mut self.marked] {
                retain_kept(ids, part.clone(), store, &mut instead);
            }
        }
        for ids in [&mut self.ids, &mut self.marked] {
            // The number of kept events falls when events become larger.
            if ids.capacity() > SPARSE.max(4 * ids.len()) {
                ids.shrink_to(2 * ids.len());
            }
        }
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The number of matching events that are [`Answer::Marked`].
    pub fn marked(&self) -> usize {
        self.marked.len()
    }

    pub fn is_marked(&self, id: Id) -> bool {
        self.marked.binary_search(&id).is_ok()
    }

    pub fn get(&self, at: usize) -> Option<Id> {
        self.ids.get(at).copied()
    }

    /// The position of the first event that is not older than `id`.
    pub fn place(&self, id: Id) -> usize {
        self.ids.partition_point(|known| *known < id)
    }

    /// The marked event with this number, counted from the oldest one.
    pub fn marked_at(&self, at: usize) -> Option<Id> {
        self.marked.get(at).copied()
    }

    /// The number of marked events that are older than `id`.
    pub fn marked_before(&self, id: Id) -> usize {
        self.marked.partition_point(|known| *known < id)
    }
}

/// Replaces or removes evicted events in a part of the ids.
fn retain_kept(ids: &mut VecDeque<Id>, part: Range<Id>, store: &Store, instead: &mut impl FnMut(Id) -> Option<Id>) {
    let [start, end] = [part.start, part.end].map(|id| ids.partition_point(|known| *known < id));
    let mut to = start;
    for at in start..end {
        if let Some(id) = Some(ids[at]).filter(|id| store.get(*id).is_some()).or_else(|| instead(ids[at])) {
            ids[to] = id;
            to += 1;
        }
    }
    ids.drain(to..end);
}
