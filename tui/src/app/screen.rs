//! What the screen shows: its size, the overlay, the message, and display settings.

pub(crate) mod layout;
mod overlay;

use super::Settings;
use super::copy::Wrap;
use super::keys::keymap::Action;
use super::views::View;
use super::views::columns::{Columns, all, automatic, needed};
use super::views::event_list::row::TimeMode;
use std::time::Duration;
use tracetui_events::text::without_codes;
use tracetui_shared::kind::KindSet;

const MESSAGE: Duration = Duration::from_secs(4);

/// Which failures are shown, if no other events are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Failures {
    /// Other events are shown too.
    #[default]
    Off,
    /// Those that nothing answered.
    Unanswered,
    All,
}

impl Failures {
    pub(crate) fn only(self) -> bool {
        self != Failures::Off
    }
}

/// The part of the state that determines what is drawn, and how.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    pub width: u16,
    pub height: u16,
    pub kinds: KindSet,
    pub failures: Failures,
    /// Whether the list leaves out what needs no attention, unless the filter is about it.
    pub calm: bool,
    pub strip: bool,
    pub time: TimeMode,
    pub columns: Columns,
    pub overlay: Option<Overlay>,
    /// How copied text reaches the clipboard.
    pub wrap: Wrap,
    /// The text that the rows of the help contain. If it is empty, all rows are shown.
    pub help: String,
    /// When the bell rang last.
    pub rang: Option<Duration>,
    message: Option<(String, Duration)>,
}

impl Screen {
    pub(super) fn new(settings: &Settings) -> Screen {
        Screen {
            width: 80,
            height: 24,
            kinds: settings.kinds,
            calm: settings.calm,
            strip: settings.preferences.strip,
            time: settings.preferences.time,
            columns: settings.preferences.columns.clone(),
            ..Screen::default()
        }
    }

    pub(super) fn notify(&mut self, text: impl Into<String>, now: Duration) {
        self.message = Some((without_codes(&text.into()), now + MESSAGE));
    }

    /// Removes the message if its time is over. Returns whether it did.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        self.message.take_if(|(_, until)| *until <= now).is_some()
    }

    pub(super) fn clear_message(&mut self) {
        self.message = None;
    }

    pub(crate) fn message(&self) -> Option<&str> {
        self.message.as_ref().map(|(text, _)| text.as_str())
    }

    pub(super) fn shows_output(&self) -> bool {
        self.overlay.is_some_and(|overlay| overlay.kind == OverlayKind::Output)
    }

    pub(super) fn open(&mut self, kind: OverlayKind) {
        self.overlay = Some(Overlay { kind, scroll: 0 });
    }

    /// The columns in the overlay, each with whether it is shown: the shown ones in order, then the others.
    pub(crate) fn listed_columns(&self, view: View) -> Vec<(&'static str, bool)> {
        let shown = self.columns.of(view).map_or_else(|| automatic(view, self.width), <[_]>::to_vec);
        let others: Vec<_> = all(view).iter().copied().filter(|name| !shown.contains(name)).collect();
        shown.into_iter().map(|name| (name, true)).chain(others.into_iter().map(|name| (name, false))).collect()
    }

    /// Shows or hides the column under the cursor. Returns a message if the column is always shown.
    pub(super) fn toggle_column(&mut self, view: View) -> Option<String> {
        let (name, is_shown) = self.listed_columns(view).get(self.column_cursor()).copied()?;
        let mut shown = self.shown_columns(view);
        if is_shown {
            if needed(view) == Some(name) || shown.len() == 1 {
                return Some(format!("the column {name} is always shown"));
            }
            shown.retain(|column| *column != name);
        } else {
            // Place it after the columns that usually precede it.
            let place = |name: &str| all(view).iter().position(|column| *column == name);
            let before = shown.iter().rposition(|column| place(column) < place(name));
            shown.insert(before.map_or(0, |at| at + 1), name);
        }
        self.choose_columns(view, shown, name);
        None
    }

    /// Moves the column under the cursor one place to the left or to the right.
    pub(super) fn move_column(&mut self, view: View, right: bool) {
        let at = self.column_cursor();
        let mut shown = self.shown_columns(view);
        let to = if right { at + 1 } else { at.wrapping_sub(1) };
        if let Some(name) = shown.get(at).copied().filter(|_| to < shown.len()) {
            shown.swap(at, to);
            self.choose_columns(view, shown, name);
        }
    }

    fn column_cursor(&self) -> usize {
        self.overlay.filter(|overlay| overlay.kind == OverlayKind::Columns).map_or(0, |overlay| overlay.scroll)
    }

    fn shown_columns(&self, view: View) -> Vec<&'static str> {
        self.listed_columns(view).into_iter().filter(|(_, shown)| *shown).map(|(name, _)| name).collect()
    }

    /// Sets the chosen columns. The cursor stays on this one.
    fn choose_columns(&mut self, view: View, columns: Vec<&'static str>, cursor: &str) {
        self.columns.choose(view, columns);
        let at = self.listed_columns(view).iter().position(|(name, _)| *name == cursor);
        if let (Some(overlay), Some(at)) = (&mut self.overlay, at) {
            overlay.scroll = at;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overlay {
    pub kind: OverlayKind,
    /// The scroll offset, in lines.
    pub scroll: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OverlayKind {
    Help,
    Loss,
    Output,
    /// The choice of columns. Its scroll offset is the cursor.
    Columns,
    /// The side strip on a narrow screen.
    Strip,
    /// The Gantt chart of the process that the tree selects. Its scroll offset is the cursor.
    Gantt,
}

impl OverlayKind {
    /// The overlay that an action shows.
    fn of(action: Action) -> Option<OverlayKind> {
        Some(match action {
            Action::Help => OverlayKind::Help,
            Action::LossReport => OverlayKind::Loss,
            Action::Output => OverlayKind::Output,
            Action::Columns => OverlayKind::Columns,
            Action::Strip => OverlayKind::Strip,
            Action::Gantt => OverlayKind::Gantt,
            _ => return None,
        })
    }
}
