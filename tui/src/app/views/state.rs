//! The common interface of the views other than the list of events.

use super::detail::Detail;
use super::event_list::EventList;
use crate::app::keys::keymap::{Action, Keymap};
use crate::app::views::sorted_list::List;
use regex::bytes::Regex;
use std::time::Duration;
use tracetui_events::enrich::World;
use tracetui_events::store::{Id, Store};
use tracetui_shared::time::BootNanos;

/// A moment in the trace. The view shows the state before this event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment {
    /// The first event after the moment.
    pub until: Id,
    pub time: BootNanos,
}

/// The part of the state that a view reads, and its messages.
pub(crate) struct Context<'a> {
    pub world: &'a World,
    pub store: &'a Store,
    pub events: &'a EventList,
    pub keymap: &'a Keymap,
    pub detail: &'a mut Detail,
    /// The shown moment; `None` means now.
    pub moment: Option<Moment>,
    /// See [`App::without_end`](crate::app::App::without_end).
    pub without_end: &'static str,
    pub filtered: bool,
    pub failures: bool,
    /// The number of rows on the screen.
    pub height: usize,
    pub now: Duration,
    pub message: Option<String>,
}

impl Context<'_> {
    pub(crate) fn notify(&mut self, text: impl Into<String>) {
        self.message = Some(text.into());
    }
}

/// The rows of a view: their number, the selected row, and the first row on the screen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(super) count: usize,
    pub(super) at: usize,
    pub(super) top: usize,
}

impl Rows {
    pub(super) fn of<R, K, O>(list: &List<R, K, O>) -> Rows {
        Rows { count: list.rows.len(), at: list.at, top: list.top }
    }

    /// The next row that satisfies `is`, wrapping at the end. The selected row comes first if `here`, else last.
    pub(super) fn next(self, (down, here): (bool, bool), is: impl Fn(usize) -> bool) -> Option<usize> {
        let Rows { count, at, .. } = self;
        let steps = if here { 0..count } else { 1..count + 1 };
        let row = |step| if down { at + step } else { at + count - step } % count.max(1);
        steps.map(row).find(|row| is(*row))
    }
}

/// A view other than the list of events.
pub(crate) trait ViewState {
    /// Builds the rows if they have changed. Called before each drawing and each action.
    fn prepare(&mut self, context: &Context<'_>);

    /// Performs an action that has its own meaning in the view. `false` if it has none.
    fn act(&mut self, action: Action, context: &mut Context<'_>) -> bool;

    fn rows(&self) -> Rows;

    /// Selects a row, and keeps it selected.
    fn select(&mut self, row: usize, now: Duration);

    fn move_by(&mut self, rows: isize, now: Duration) {
        self.select(self.rows().at.saturating_add_signed(rows), now);
    }

    /// Selects a row on the screen, if there is one.
    fn click(&mut self, row: usize, now: Duration) {
        let rows = self.rows();
        if rows.top + row < rows.count {
            self.select(rows.top + row, now);
        }
    }

    /// Selects the next row that matches a pattern. If `here`, the selected row counts too.
    fn find(&mut self, pattern: &Regex, down: bool, here: bool, context: &mut Context<'_>) {
        match self.rows().next((down, here), |row| self.is_match(row, pattern, context)) {
            Some(row) => self.select(row, context.now),
            None => context.notify("no match"),
        }
    }

    /// The searchable text, as a message.
    fn searched(&self) -> &'static str;

    fn is_match(&self, row: usize, pattern: &Regex, context: &Context<'_>) -> bool;

    /// The text of the selected row, and a name for that text.
    fn copied(&self, context: &Context<'_>) -> (Option<String>, &'static str);
}

/// Refuses the keys that only work on events, in a view of other rows. Returns whether this is one of them.
pub(crate) fn refused(action: Action, context: &mut Context<'_>) -> bool {
    match action {
        Action::Why | Action::ToParent => context.notify("this key works only on events"),
        _ if action.filters_events() => {
            let search = context.keymap.first(Action::Search);
            context.notify(format!("filters apply to events; {search} finds a row here"));
        }
        _ => return false,
    }
    true
}

/// How many rows an action moves the selection on a screen of `height` rows. `None` if it does not move the selection.
pub(crate) fn motion(action: Action, height: usize) -> Option<isize> {
    let page = isize::try_from(height).unwrap_or(isize::MAX).max(1);
    let half = page / 2 + page % 2;
    Some(match action {
        Action::Up => -1,
        Action::Down => 1,
        Action::PageUp => -page,
        Action::PageDown => page,
        Action::HalfUp => -half,
        Action::HalfDown => half,
        Action::Start => isize::MIN,
        Action::End => isize::MAX,
        _ => return None,
    })
}
