//! New attachments of BPF programs, new TCP peers, and changed files: each by its first and its last event.

use foldhash::fast::RandomState;
use std::cmp::Reverse;
use std::hash::BuildHasher;
use tracetui_events::event::{self, EventContext};
use tracetui_events::store::{Id, Store, Stored};

/// The most entries. The one that was not seen for longest leaves first.
const MOST: usize = 64;

#[derive(Clone, Copy, Debug)]
struct New {
    /// The hash of the command, and of the attachment, the peer or the change.
    key: u64,
    first: Id,
    last: Id,
    events: u64,
}

#[derive(Debug, Default)]
pub(super) struct News {
    all: Vec<New>,
    hasher: RandomState,
    scratch: Vec<u8>,
}

impl News {
    /// Whether an event may be news, without decoding it.
    pub(super) fn may_be(stored: &Stored<'_>) -> bool {
        event::news(stored.kind).is_some() && !stored.failed
    }

    /// Adds an event if it is news, in any order.
    pub(super) fn add(&mut self, id: Id, seen: &EventContext<'_>) {
        self.scratch.clear();
        if seen.event.failed() || !seen.event.body.news(&mut self.scratch) {
            return;
        }
        let key = self.hasher.hash_one((seen.event.kind() as u16, seen.event.header.comm(), self.scratch.as_slice()));
        match self.all.iter_mut().find(|new| new.key == key) {
            Some(new) => {
                new.first = new.first.min(id);
                new.last = new.last.max(id);
                new.events += 1;
            }
            None => {
                self.all.push(New { key, first: id, last: id, events: 1 });
                let oldest = (0..self.all.len()).min_by_key(|at| self.all.get(*at).map(|new| new.last));
                oldest.filter(|_| self.all.len() > MOST).into_iter().for_each(|at| _ = self.all.swap_remove(at));
            }
        }
    }

    /// The entries that began before an event, the newest first: the first event of each that is kept, or the last one, and the number of events.
    pub(super) fn newest<'a>(
        &self,
        until: Option<Id>,
        store: &'a Store,
        most: usize,
    ) -> impl Iterator<Item = (Stored<'a>, u64)> + use<'a> {
        let began = |new: &&New| until.is_none_or(|until| new.first < until);
        let mut all: Vec<New> = self.all.iter().filter(began).copied().collect();
        all.sort_unstable_by_key(|new| Reverse(new.first));
        let kept =
            all.into_iter().filter_map(|new| Some((store.get(new.first).or_else(|| store.get(new.last))?, new.events)));
        kept.take(most)
    }
}
