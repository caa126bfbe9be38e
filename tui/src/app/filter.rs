//! The display filter: a text of several parts. The last valid text is in effect.

pub(crate) mod language;
mod narrow;

use self::language::{HOST_IDS, INNER_ID, parse};
use super::prompt::line::History;
use std::cell::RefCell;
use tracetui_events::enrich::World;
use tracetui_events::event::EventContext;
use tracetui_events::filter::{Filter, FilterError, Scratch, gives_way};
use tracetui_shared::id::Tgid;

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
    /// The texts of the line since it was last parsed as a filter.
    unread: Vec<String>,
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
            _ => Some(DisplayFilter { filter: parse(text, world)?, scratch: RefCell::default() }),
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
        self.unread.clear();
    }

    /// The text for the line in which the filter is edited.
    pub(crate) fn begin(&mut self) -> String {
        self.before = self.text();
        let space = if self.before.is_empty() { "" } else { " " };
        format!("{}{space}", self.before)
    }

    /// Takes the text of the line. `more`: another key follows at once. The text is then parsed by [`read`](Self::read), or when a key
    /// needs it.
    pub(crate) fn typed(&mut self, text: &str, more: bool, world: &World) -> Change {
        self.unread.push(text.to_owned());
        if more { Change::None } else { self.read(world) }
    }

    /// Adds the filter in effect to the history.
    pub(crate) fn keep(&mut self) {
        self.history.add(&self.text());
    }

    /// Goes back to the filter before the line was opened.
    pub(crate) fn revert(&mut self, world: &World) -> Change {
        self.error = None;
        self.unread.clear();
        let before = std::mem::take(&mut self.before);
        // This text was in effect before, so it is a valid filter.
        self.set(&before, world).map_or(Change::None, |()| Change::Applied)
    }

    /// Parses the text of the line as a filter, unless that is done.
    pub(crate) fn read(&mut self, world: &World) -> Change {
        let (before, unread) = (self.text(), std::mem::take(&mut self.unread));
        let Some((text, earlier)) = unread.split_last() else { return Change::None };
        self.error = self.set_typed(text, world).err();
        if self.error.is_some() {
            // The last valid text takes effect.
            let _ = earlier.iter().rev().any(|text| self.set_typed(text, world).is_ok());
        }
        if self.text() == before { Change::None } else { Change::Applied }
    }

    /// Sets the filter to a typed text. Refuses ids of another pid namespace, unless the filter had them before: keys take the host's
    /// ids from events.
    fn set_typed(&mut self, text: &str, world: &World) -> Result<(), FilterError> {
        if self.is_inner {
            let parts = |text: &str| parse(text, world).map(|filter| filter.parts());
            let before = parts(&self.before).unwrap_or_default();
            let compares = |part: &String| parse(part, world).is_ok_and(|filter| filter.compares(&HOST_IDS));
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
    use crate::app::keys::device::{KeyCode, KeyEvent};
    use crate::app::prompt::Purpose;
    use crate::app::testing::{app, feed, keys, work};
    use crate::app::{App, Input};
    use tracetui_events::synthetic::Maker;

    fn some() -> App {
        let (mut app, mut made) = (app(80, 24, 64 << 20), Maker::default());
        for pid in 1..20 {
            made.acts(&format!("{pid} cc1 exec cc1 a.c; {pid} make open /usr/include/stdio.h:-2; {pid} as exit 1"));
        }
        feed(&mut app, &mut made);
        app
    }

    /// The state that the user sees, apart from the error of a text that is not parsed yet.
    fn state(app: &App) -> (String, String, Option<String>, Option<String>, u64, Option<u64>) {
        let line = app.line_for(Purpose::Filter).map(|line| line.text());
        let error = app.filter.error.as_ref().map(|error| error.message.clone());
        let search = app.search.pattern.as_ref().map(|pattern| pattern.text().to_owned()).unwrap_or_default();
        (app.filter.text(), search, line, error, app.events().events(), app.events().selected())
    }

    #[test]
    fn many_keys_at_once_are_what_each_is_and_ids_elsewhere_are_refused() {
        let all = "fcomm=cc1|fcomm=cc1\njjk|fcomm=make (|fcomm=make (\n|fcomm=make (\x1bj|fkind=ex\t\t|fki\tex\t\n|\
            fcomm=zz\x1bfpid=3\n\x1b|fpid=3\nfkind=exec\n\x1b|fcomm=as\nf\u{2191}\u{2191}|fnope=1|/stdio\nn|/std[i]o|\
            /nothing\n|/as\n\x1b/\n|/pid=7\nfpid=7\np|2/cc1\nnn1|3/mak\n\n|ecFjj\n\x1bE";
        for typed in all.split('|') {
            let (mut one, mut many) = (some(), some());
            keys(&mut one, typed);
            let press = |letter: char| {
                KeyEvent::from(match letter {
                    '\n' => KeyCode::Enter,
                    '\x1b' => KeyCode::Esc,
                    '\t' => KeyCode::Tab,
                    '\u{2191}' => KeyCode::Up,
                    letter => KeyCode::Char(letter),
                })
            };
            let last = typed.chars().count() - 1;
            for (at, letter) in typed.chars().enumerate() {
                let key = press(letter);
                many.update(if at < last { Input::KeyOfMany(key) } else { Input::Key(key) });
            }
            work(&mut many);
            assert_eq!(state(&many), state(&one), "{typed:?}");
        }
        // Ids typed in another pid namespace are refused.
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
        assert_eq!(app.search.error.as_deref(), Some(super::language::INNER_ID));
        keys(&mut app, "\x1b");
        // A key takes the id from the event. It stays while the filter is edited.
        work(keys(&mut app, "pf err"));
        assert_eq!((app.filter.text().as_str(), app.filter.error.as_ref()), ("pid=7 err", None));
    }
}
