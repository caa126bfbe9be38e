//! Search: selects matching rows without hiding others. Long lists are searched in slices.

mod unloaded;

use super::filter::{HOST_IDS, INNER_ID};
use super::prompt::line::History;
use super::views::event_list::EventList;
use super::views::event_list::row;
use regex::bytes::{Regex, RegexBuilder};
use tracetui_events::enrich::World;
use tracetui_events::event::EventContext;
use tracetui_events::filter::{Filter, Scratch};
use tracetui_events::store::index::{Answer, Index};
use tracetui_events::store::{Id, Store};
use tracetui_shared::kind::KindSet;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Way {
    Down,
    Up,
}

#[derive(Clone, Debug)]
pub enum Pattern {
    Text(Regex),
    /// Fields, such as `comm=cc1`.
    Terms(Box<Filter>),
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.text() == other.text()
    }
}

impl Eq for Pattern {}

impl Pattern {
    pub(crate) fn matches(&self, seen: &EventContext<'_>, buffers: &mut (Vec<u8>, Scratch)) -> bool {
        let (text, scratch) = buffers;
        match self {
            Pattern::Text(regex) => {
                text.clear();
                row::searched(seen, text);
                regex.is_match(text)
            }
            Pattern::Terms(filter) => filter.surely_matches(seen, scratch),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Pattern::Text(regex) => regex.as_str(),
            Pattern::Terms(filter) => filter.text(),
        }
    }

    /// The text that is highlighted in the columns.
    pub fn marked(&self) -> Option<&Regex> {
        match self {
            Pattern::Text(regex) => Some(regex),
            Pattern::Terms(_) => None,
        }
    }
}

/// A search in a recording by another thread, which reads the recording ([`crate::command`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Find {
    /// Whether the first or the last match is wanted.
    pub way: Way,
    /// The start of the searched time span (CLOCK_BOOTTIME, ns).
    pub from_ns: u64,
    /// The end of the searched time span (CLOCK_BOOTTIME, ns).
    pub to_ns: u64,
    /// The pattern. Without one, every shown row is a match.
    pub pattern: Option<Pattern>,
    pub filter: String,
    pub kinds: KindSet,
    /// Whether only failures are shown.
    pub failures: bool,
}

#[derive(Debug)]
pub(super) struct Finding {
    pub find: Find,
    /// Whether it continues from the other end of the recording.
    pub wrapped: bool,
    /// The time up to which the recording was read.
    pub at_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Hunt {
    /// Where the search continues: downwards at the first row at or after this position, upwards at the last row before it.
    at: Id,
    way: Way,
    /// Whether the search wrapped around the end of the list.
    wrapped: bool,
    from: Id,
    /// Whether it waits until the list has all its rows.
    waits: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// No match so far, or no search is active.
    Nothing,
    /// A match, and whether the search wrapped around the end of the list.
    Row(Id, bool),
    /// No match. If the search selected rows during typing: the row selected before that.
    None(Option<Id>),
    /// Like `None` for the list, but rows exist beyond the list.
    Edge(Way, Option<Id>),
}

/// The number of matching rows, and which of them is selected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MatchPosition {
    /// The number of the selected match, from 1. `None` if the selected row does not match.
    pub at: Option<usize>,
    pub all: usize,
    /// The number of matching events that pass the filter, but have no row.
    pub unlisted: usize,
}

#[derive(Debug, Default)]
pub struct Search {
    pub(crate) pattern: Option<Pattern>,
    pub(crate) error: Option<String>,
    /// The position at which the search line was opened.
    origin: Id,
    /// Whether a row was selected since the line was opened.
    pub(super) moved: bool,
    pub(super) history: History,
    hunt: Option<Hunt>,
    /// The matching events; `None` if the count must restart. Those without a row are marked.
    matches: Option<Index>,
    /// Whether a search of the rest of the recording found no other match.
    pub(crate) no_others: bool,
    last: String,
    buffers: (Vec<u8>, Scratch),
    /// Whether ids are typed in a pid namespace other than the host's.
    pub(super) is_inner: bool,
}

impl Search {
    /// A line is opened. Its search starts at the row `origin`.
    pub fn begin(&mut self, origin: Id) {
        (self.origin, self.moved) = (origin, false);
    }

    pub fn clear(&mut self) -> bool {
        self.hunt = None;
        self.error = None;
        self.recount();
        self.pattern.take().is_some()
    }

    /// Restarts the count of matches, because the rows have changed.
    pub fn recount(&mut self) {
        self.matches = None;
        self.no_others = false;
    }

    pub fn append(&mut self, id: Id, seen: &EventContext<'_>, list: &EventList) {
        if let (Some(pattern), Some(matches)) = (&self.pattern, &mut self.matches)
            && pattern.matches(seen, &mut self.buffers)
        {
            matches.append(id, if list.has(id) { Answer::Yes } else { Answer::Marked });
        }
    }

    pub fn evict(&mut self, store: &Store) {
        self.matches.iter_mut().for_each(|matches| matches.evict(store));
    }

    pub fn counting(&self, store: &Store) -> bool {
        self.pattern.is_some() && self.matches.as_ref().is_none_or(|matches| matches.scanning(store))
    }

    /// Counts the matches among up to `budget` older events, once the list has all its rows.
    pub fn count(&mut self, list: &EventList, store: &Store, world: &World, budget: usize) {
        let Search { pattern: Some(pattern), matches, buffers, .. } = self else { return };
        if list.scanning(store) {
            return;
        }
        matches.get_or_insert_with(|| Index::new(store)).scan(store, budget, |stored| {
            let matched =
                list.passes(stored.id) && stored.with(world, |seen| pattern.matches(seen, buffers)) == Some(true);
            match matched {
                true if list.has(stored.id) => Answer::Yes,
                true => Answer::Marked,
                false => Answer::No,
            }
        });
    }

    /// The number of matching rows. `None` without a pattern, and during counting.
    pub fn place(&self, list: &EventList, store: &Store) -> Option<MatchPosition> {
        let matches = self.matches.as_ref().filter(|_| !self.counting(store) && !list.scanning(store))?;
        let listed = |id: Id| matches.place(id) - matches.marked_before(id);
        let matched = |id: &Id| matches.get(matches.place(*id)) == Some(*id);
        let at = list.selected().filter(matched).map(|id| listed(id) + 1);
        // A paused list has no rows after the pause.
        let end = list.frozen.unwrap_or(store.next_id());
        Some(MatchPosition { at, all: listed(end), unlisted: matches.marked_before(end) })
    }

    /// Ends a running search; the pattern stays.
    pub fn stop(&mut self) {
        self.hunt = None;
    }

    /// Takes the text of the line as a pattern, and starts the search.
    pub fn typed(&mut self, text: &str, world: &World) {
        self.set(text, world);
        self.hunt = self.pattern.is_some().then(|| Hunt::new(self.origin, Way::Down));
    }

    /// Takes the finished text. An empty one repeats the previous search.
    pub fn entered(&mut self, text: &str, world: &World) {
        let from = if text.is_empty() {
            let last = self.last.clone();
            self.set(&last, world);
            self.origin + 1
        } else {
            self.history.add(text);
            text.clone_into(&mut self.last);
            // Search again, to report if there is no match.
            self.origin
        };
        self.hunt = self.pattern.is_some().then(|| Hunt::new(from, Way::Down));
    }

    /// Sets the pattern: a filter if it only compares fields, else a regex, case-sensitive if it contains a capital letter.
    fn set(&mut self, text: &str, world: &World) {
        let smart = !text.chars().any(char::is_uppercase);
        self.error = None;
        self.pattern = None;
        self.recount();
        if let Some(filter) = Filter::parse(text, world).ok().filter(Filter::compares_fields) {
            match self.is_inner && filter.compares(&HOST_IDS) {
                true => self.error = Some(INNER_ID.to_owned()),
                false => self.pattern = Some(Pattern::Terms(Box::new(filter))),
            }
            return;
        }
        match RegexBuilder::new(text).case_insensitive(smart).size_limit(1 << 20).build() {
            _ if text.is_empty() => {}
            Ok(pattern) => self.pattern = Some(Pattern::Text(pattern)),
            Err(error) => self.error = error.to_string().lines().last().map(str::to_owned),
        }
    }

    /// Searches for a text from the selected row on, as if the user had typed it.
    pub fn look_for(&mut self, text: &str, selected: Id, way: Way, world: &World) {
        if self.pattern.as_ref().is_none_or(|pattern| pattern.text() != text) {
            self.set(text, world);
            self.history.add(text);
            self.last = text.to_owned();
        }
        self.next(selected, way);
    }

    /// Searches for a text from the first row on, once the list has all its rows.
    pub fn look_for_first(&mut self, text: &str, world: &World) {
        self.look_for(text, 0, Way::Down, world);
        self.hunt = self.pattern.is_some().then(|| Hunt { waits: true, ..Hunt::new(0, Way::Down) });
    }

    pub fn next(&mut self, selected: Id, way: Way) {
        self.moved = false;
        let at = if way == Way::Down { selected + 1 } else { selected };
        self.hunt = self.pattern.is_some().then(|| Hunt::new(at, way));
    }

    pub fn hunting(&self) -> bool {
        self.hunt.is_some()
    }

    /// Checks up to `budget` rows. `all`: the list has all of them.
    pub fn hunt(&mut self, list: &EventList, all: bool, store: &Store, world: &World, budget: usize) -> Found {
        let Search { pattern, hunt: running, buffers, origin, moved, .. } = self;
        let (Some(hunt), Some(pattern)) = (running.as_mut(), pattern) else { return Found::Nothing };
        if hunt.waits && list.scanning(store) {
            return Found::Nothing;
        }
        for _ in 0..budget {
            let Some(id) = hunt.step(list, all) else {
                let back = std::mem::take(moved).then_some(*origin);
                let way = hunt.way;
                *running = None;
                return if all { Found::None(back) } else { Found::Edge(way, back) };
            };
            let matches = store.get(id).and_then(|stored| stored.with(world, |seen| pattern.matches(seen, buffers)));
            if matches == Some(true) {
                let wrapped = hunt.wrapped;
                *running = None;
                return Found::Row(id, wrapped);
            }
        }
        Found::Nothing
    }
}

impl Hunt {
    fn new(at: Id, way: Way) -> Hunt {
        Hunt { at, way, wrapped: false, from: at, waits: false }
    }

    /// The next row to check. `None` after all rows were checked, or at the end of a list that lacks some.
    fn step(&mut self, list: &EventList, all: bool) -> Option<Id> {
        let beside = self.beside(list);
        let id = if all { beside.or_else(|| self.wrap(list)) } else { beside }?;
        let past = match self.way {
            Way::Down => id >= self.from,
            Way::Up => id < self.from,
        };
        if self.wrapped && past {
            return None;
        }
        self.at = if self.way == Way::Down { id + 1 } else { id };
        Some(id)
    }

    fn beside(&self, list: &EventList) -> Option<Id> {
        let place = list.place(self.at);
        match self.way {
            Way::Down => list.row(place),
            Way::Up => list.row(place.min(list.rows()).checked_sub(1)?),
        }
    }

    fn wrap(&mut self, list: &EventList) -> Option<Id> {
        if std::mem::replace(&mut self.wrapped, true) {
            return None;
        }
        self.at = if self.way == Way::Down { 0 } else { Id::MAX };
        self.beside(list)
    }
}
