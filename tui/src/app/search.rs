//! Search: selects rows and hides none. Long lists are searched in slices.

use super::edit::{Edited, History, Line};
use super::keymap::Press;
use super::row;
use super::views::events::EventList;
use crate::enrich::World;
use crate::store::{Id, Store};
use regex::bytes::{Regex, RegexBuilder};

/// The direction of a search.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Way {
    /// To newer rows.
    Down,
    /// To older rows.
    Up,
}

/// A running search.
#[derive(Clone, Copy, Debug)]
struct Hunt {
    /// The next row to check is the first one from this position on (down), or the last one before it (up).
    at: Id,
    way: Way,
    /// Whether the search wrapped around the end of the list.
    wrapped: bool,
    /// The position at the start.
    from: Id,
}

/// The result of one slice of a search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// No match so far, or no search is active.
    Nothing,
    /// The row that matches.
    Row(Id, Wrapped),
    /// No match.
    None,
}

/// Whether a search wrapped around the end of the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrapped {
    /// It wrapped.
    Yes,
    /// It did not wrap.
    No,
}

/// The search.
#[derive(Debug, Default)]
pub struct Search {
    pattern: Option<Regex>,
    error: Option<String>,
    line: Option<Line>,
    /// The position at which the search line was opened.
    origin: Id,
    history: History,
    hunt: Option<Hunt>,
    last: String,
}

impl Search {
    /// The line that is being typed.
    pub fn line(&self) -> Option<&Line> {
        self.line.as_ref()
    }

    /// The error in the line.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The active pattern.
    pub fn pattern(&self) -> Option<&Regex> {
        self.pattern.as_ref()
    }

    /// Opens the line; a search starts at the row of `origin`.
    pub fn edit(&mut self, origin: Id) {
        self.line = Some(Line::default());
        self.origin = origin;
    }

    /// Clears the pattern; `false` if there was none.
    pub fn clear(&mut self) -> bool {
        self.hunt = None;
        self.error = None;
        self.pattern.take().is_some()
    }

    /// Ends a running search; the pattern stays.
    pub fn stop(&mut self) {
        self.hunt = None;
    }

    /// Handles a key in the line.
    pub fn key(&mut self, press: Press) {
        let Some(line) = &mut self.line else { return };
        match line.key(press, &self.history) {
            Edited::Same => {}
            Edited::Changed => {
                let text = line.text();
                self.set(&text);
                self.hunt = self.pattern.is_some().then(|| Hunt::new(self.origin, Way::Down));
            }
            Edited::Done => self.done(),
            Edited::Cancelled => {
                self.line = None;
                self.clear();
            }
        }
    }

    /// Finishes the line. An empty line repeats the previous search.
    fn done(&mut self) {
        let text = self.line.take().map(|line| line.text()).unwrap_or_default();
        if text.is_empty() {
            let last = self.last.clone();
            self.set(&last);
            self.hunt = self.pattern.is_some().then(|| Hunt::new(self.origin + 1, Way::Down));
        } else {
            self.history.add(&text);
            self.last = text;
            // Searches again, so that the absence of a match is reported.
            self.hunt = self.pattern.is_some().then(|| Hunt::new(self.origin, Way::Down));
        }
    }

    /// Sets the pattern. Matching is case-sensitive if the pattern contains a capital letter.
    fn set(&mut self, text: &str) {
        let smart = !text.chars().any(char::is_uppercase);
        self.error = None;
        self.pattern = None;
        match RegexBuilder::new(text).case_insensitive(smart).size_limit(1 << 20).build() {
            _ if text.is_empty() => {}
            Ok(pattern) => self.pattern = Some(pattern),
            Err(error) => self.error = error.to_string().lines().last().map(str::to_owned),
        }
    }

    /// Goes to the next match from the selected row.
    pub fn next(&mut self, selected: Id, way: Way) {
        let at = if way == Way::Down { selected + 1 } else { selected };
        self.hunt = self.pattern.is_some().then(|| Hunt::new(at, way));
    }

    /// Whether a search is running.
    pub fn hunting(&self) -> bool {
        self.hunt.is_some()
    }

    /// Checks up to `budget` rows.
    pub fn hunt(&mut self, list: &EventList, store: &Store, world: &World, budget: usize) -> Found {
        let (Some(hunt), Some(pattern)) = (&mut self.hunt, &self.pattern) else { return Found::Nothing };
        let mut text = Vec::new();
        for _ in 0..budget {
            let Some(id) = hunt.step(list) else {
                self.hunt = None;
                return Found::None;
            };
            text.clear();
            store.get(id).and_then(|stored| stored.with(world, |seen| row::searched(seen, &mut text)));
            if pattern.is_match(&text) {
                let wrapped = if hunt.wrapped { Wrapped::Yes } else { Wrapped::No };
                self.hunt = None;
                return Found::Row(id, wrapped);
            }
        }
        Found::Nothing
    }
}

impl Hunt {
    fn new(at: Id, way: Way) -> Hunt {
        Hunt { at, way, wrapped: false, from: at }
    }

    /// The next row to check; `None` after all rows were checked.
    fn step(&mut self, list: &EventList) -> Option<Id> {
        let id = self.beside(list).or_else(|| self.wrap(list))?;
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
