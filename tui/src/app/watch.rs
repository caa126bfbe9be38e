//! Watches: named filters. The header counts their matches, the list marks these, and a match can ring the bell or start a recording.

mod actions;

use tracetui_events::event::EventContext;
use tracetui_events::filter::{Filter, Scratch};
use tracetui_events::text::{self, Charset};
use tracetui_shared::id::Tgid;

/// The maximum number of watches.
pub(crate) const MOST: usize = 16;

/// The maximum number of cells of a name.
const NAME: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) name: String,
    pub(crate) filter: Filter,
    pub(crate) rings: bool,
    pub(crate) records: bool,
    pub(crate) count: u64,
}

impl Watch {
    pub(crate) fn new(name: String, filter: Filter) -> Watch {
        Watch { name, filter, rings: false, records: false, count: 0 }
    }

    /// Its name, escaped.
    pub(crate) fn name(&self, charset: Charset) -> String {
        text::value_in(self.name.as_bytes(), charset, NAME)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Watches {
    pub(crate) all: Vec<Watch>,
    scratch: Scratch,
    /// Whether matches since these were reset ask for the bell, or for a recording.
    pub(crate) rings: bool,
    pub(crate) records: bool,
}

impl Watches {
    /// The processes whose descendants the filters need.
    pub(crate) fn roots(&self) -> Vec<Tgid> {
        self.all.iter().flat_map(|watch| watch.filter.roots()).collect()
    }

    /// Forgets the matches, because other events follow.
    pub(crate) fn recount(&mut self) {
        self.all.iter_mut().for_each(|watch| watch.count = 0);
    }

    /// Counts an event. Returns whether a watch matches it.
    pub(crate) fn count(&mut self, seen: &EventContext<'_>) -> bool {
        let mut any = false;
        for watch in &mut self.all {
            if watch.filter.surely_matches(seen, &mut self.scratch) {
                any = true;
                watch.count += 1;
                self.rings |= watch.rings;
                self.records |= watch.records;
            }
        }
        any
    }

    /// The first watch that matches an event.
    pub(crate) fn of(&self, seen: &EventContext<'_>) -> Option<&Watch> {
        let mut scratch = Scratch::default();
        self.all.iter().find(|watch| watch.filter.surely_matches(seen, &mut scratch))
    }
}
