//! The display filter: a text of several parts. The last valid text is in effect.

mod narrow;

use super::prompt::line::History;
use std::cell::RefCell;
use tracetui_events::enrich::World;
use tracetui_events::event::EventContext;
use tracetui_events::filter::{Filter, FilterError, Scratch, gives_way};
use tracetui_shared::id::Tgid;

/// The fields that compare ids of the host.
pub(crate) const HOST_IDS: [&str; 10] =
    ["pid", "tid", "ppid", "tree", "session", "old_tid", "child_pid", "killed_by.pid", "closer.pid", "peer.pid"];

/// Why they are refused in another pid namespace: an id typed there is one of that namespace.
pub(crate) const INNER_ID: &str =
    "use ns_pid=ID: tracetui runs in a pid namespace of its own, and this compares ids of the host";

/// A filter with the buffers that its evaluation needs. It hides events and never stops collection.
#[derive(Debug)]
pub(crate) struct DisplayFilter {
    filter: Filter,
    scratch: RefCell<Scratch>,
}

impl DisplayFilter {
    pub(crate) fn matches(&self, seen: &EventContext<'_>) -> bool {
        self.filter.matches(seen, &mut self.scratch.borrow_mut())
    }
}

#[derive(Debug, Default)]
pub(crate) struct FilterState {
    /// The parts of the filter in effect. An event must match all of them.
    pub(crate) parts: Vec<String>,
    /// The filter in effect; `None` shows everything.
    pub(crate) applied: Option<DisplayFilter>,
    pub(crate) error: Option<FilterError>,
    /// The filter's text before the line was opened.
    before: String,
    pub(crate) history: History,
    /// Whether ids are typed in a pid namespace other than the host's.
    pub(crate) is_inner: bool,
    /// The filters that lost parts to a new part, each with the filter before it, oldest first.
    replaced: Vec<(String, String)>,
}

const REPLACED: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Another filter is in effect.
    Applied,
    None,
}

impl FilterState {
    /// The root process ids of the trees in the filter in effect.
    pub(crate) fn roots(&self) -> Vec<Tgid> {
        self.applied.as_ref().map(|applied| applied.filter.roots()).unwrap_or_default()
    }

    /// Whether the filter in effect says which events to show, and not only which ones to hide.
    pub(crate) fn asks(&self) -> bool {
        self.applied.as_ref().is_some_and(|applied| applied.filter.asks())
    }

    pub(crate) fn text(&self) -> String {
        self.parts.join(" ")
    }

    /// Sets the filter to this text. If the text is not a valid filter, the filter stays as it is.
    pub(crate) fn set(&mut self, text: &str, world: &World) -> Result<(), FilterError> {
        self.applied = match text.trim() {
            "" => None,
            _ => Some(DisplayFilter { filter: Filter::parse(text, world)?, scratch: RefCell::default() }),
        };
        self.parts = self.applied.as_ref().map(|applied| applied.filter.parts()).unwrap_or_default();
        Ok(())
    }

    /// Adds a part unless it is there. Removes the parts that it contradicts and those that it makes redundant.
    pub(crate) fn add(&mut self, part: &str, world: &World) -> Result<Change, FilterError> {
        let stays = |known: &&String| *known != part && !gives_way(known, part);
        let keep: Vec<&str> = self.parts.iter().filter(stays).map(String::as_str).collect();
        let gone = self.parts.len() - keep.len();
        if gone == 1 && self.parts.iter().any(|known| known == part) {
            return Ok(Change::None);
        }
        let text = match keep.as_slice() {
            [] => part.to_owned(),
            // The part may contain alternatives, which an added part would split.
            [one] => format!("({one}) {part}"),
            several => format!("{} {part}", several.join(" ")),
        };
        let before = self.text();
        let change = self.apply(&text, world)?;
        if gone > 0 {
            if self.replaced.len() == REPLACED {
                self.replaced.remove(0);
            }
            self.replaced.push((self.text(), before));
        }
        Ok(change)
    }

    /// Adds a part in place of the parts that begin with `prefix`.
    pub(crate) fn add_in_place(&mut self, prefix: &str, part: &str, world: &World) -> Result<Change, FilterError> {
        let others: Vec<_> = self.parts.iter().filter(|known| !known.starts_with(prefix)).cloned().collect();
        if others.len() < self.parts.len() {
            self.set(&others.join(" "), world)?;
        }
        self.add(part, world)
    }

    /// Removes the newest part, and restores the parts that it had replaced.
    pub(crate) fn peel(&mut self, world: &World) -> Result<Change, FilterError> {
        let text = self.text();
        if let Some((_, before)) = self.replaced.pop_if(|(made, _)| *made == text) {
            return self.apply(&before, world);
        }
        match self.parts.split_last() {
            Some((_, older)) => self.apply(&older.join(" "), world),
            None => Ok(Change::None),
        }
    }

    fn apply(&mut self, text: &str, world: &World) -> Result<Change, FilterError> {
        self.set(text, world)?;
        self.history.add(&self.text());
        Ok(Change::Applied)
    }

    pub(crate) fn replace(&mut self, part: &str, world: &World) -> Result<Change, FilterError> {
        self.replaced.clear();
        self.apply(part, world)
    }

    pub(crate) fn clear(&mut self) {
        self.parts.clear();
        self.replaced.clear();
        self.applied = None;
        self.error = None;
    }

    /// The text for the line in which the filter is edited.
    pub(crate) fn begin(&mut self) -> String {
        self.before = self.text();
        let space = if self.before.is_empty() { "" } else { " " };
        format!("{}{space}", self.before)
    }

    /// Sets the filter to the text of the line. An invalid text leaves the last valid one in effect.
    pub(crate) fn typed(&mut self, text: &str, world: &World) -> Change {
        let before = self.text();
        self.error = self.set_typed(text, world).err();
        if self.text() == before { Change::None } else { Change::Applied }
    }

    /// Goes back to the filter before the line was opened.
    pub(crate) fn revert(&mut self, world: &World) -> Change {
        self.error = None;
        let before = std::mem::take(&mut self.before);
        // This text was in effect before, so it is a valid filter.
        self.set(&before, world).map_or(Change::None, |()| Change::Applied)
    }

    /// Sets the filter to a typed text. Refuses ids of another pid namespace, unless the filter had them before: keys take the host's
    /// ids from events.
    fn set_typed(&mut self, text: &str, world: &World) -> Result<(), FilterError> {
        if self.is_inner {
            let parts = |text: &str| Filter::parse(text, world).map(|filter| filter.parts());
            let before = parts(&self.before).unwrap_or_default();
            let compares = |part: &String| Filter::parse(part, world).is_ok_and(|filter| filter.compares(&HOST_IDS));
            if let Some(part) = parts(text)?.into_iter().find(|part| !before.contains(part) && compares(part)) {
                let at = text.find(&part).map_or(0..text.len(), |at| at..at + part.len());
                return Err(FilterError {
                    at,
                    message: INNER_ID.to_owned(),
                    hint: None,
                    text: text.to_owned(),
                    option: None,
                });
            }
        }
        self.set(text, world)
    }
}

#[cfg(test)]
mod tests {
    use crate::app::testing::{app, feed, keys, work};
    use tracetui_events::synthetic::Maker;

    #[test]
    fn ids_of_another_namespace_are_refused() {
        let mut app = app(80, 24, 64 << 20);
        feed(&mut app, &mut {
            let mut made = Maker::default();
            made.open(7, "cat", "/a", 3);
            made
        });
        app.filter.is_inner = true;
        for (typed, refused) in [("pid=2", true), ("err or tree=2", true), ("ns_pid=2", false), ("comm=cat", false)] {
            work(keys(&mut app, &format!("f{typed}")));
            let said = app.filter.error.as_ref().map(|error| error.message.clone());
            assert_eq!(said.is_some_and(|said| said.contains("ns_pid=ID")), refused, "{typed}");
            work(keys(&mut app, "\x1b"));
        }
        app.search.is_inner = true;
        keys(&mut app, "/pid=2");
        assert_eq!(app.search.error.as_deref(), Some(super::INNER_ID));
        keys(&mut app, "\x1b");
        // A key takes the id from the event. It stays while the filter is edited.
        work(keys(&mut app, "pf err"));
        assert_eq!((app.filter.text().as_str(), app.filter.error.as_ref()), ("pid=7 err", None));
    }
}
