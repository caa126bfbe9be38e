//! The differences between a recording and the trace on the screen: the first line of the report, notes, and the other lines.

mod comparison;
pub(crate) mod result;

use self::result::Compared;
use super::detail::Size;
use super::state::{Context, Rows, ViewState, motion, refused};
use crate::app::copy;
use crate::app::keys::keymap::Action;
use crate::app::prompt::line::History;
use crate::app::views::kind::View;
use crate::app::views::sorted_list::List;
use regex::bytes::Regex;
use std::time::Duration;
use tracetui_events::diff::{DiffLine, Show};

/// A row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Item {
    /// A note, by its number.
    Note(usize),
    /// A line of the report, by its number.
    Line(usize),
    /// The differences that follow from others.
    Follow,
}

/// A comparison that runs: the name of the recording, and how much of both is read, in percent.
#[derive(Debug)]
pub(crate) struct Running {
    pub with: String,
    pub percent: [u8; 2],
}

#[derive(Debug, Default)]
pub(crate) struct Diff {
    /// The names of recordings that were typed.
    pub(in crate::app) history: History,
    pub running: Option<Running>,
    pub compared: Option<Box<Compared>>,
    /// The view to return to.
    pub(in crate::app) from: View,
    /// Whether differences that follow from others are shown.
    pub all: bool,
    /// Without a key, the first row is selected.
    pub(crate) list: List<Item, Item, ()>,
    again: bool,
}

impl Diff {
    /// Whether there is anything to show.
    pub(crate) fn is_open(&self) -> bool {
        self.running.is_some() || self.compared.is_some()
    }

    /// Starts or ends a comparison. The result of the one before stays.
    pub(in crate::app) fn set_running(&mut self, running: Option<Running>) -> Option<Running> {
        self.again = true;
        std::mem::replace(&mut self.running, running)
    }

    pub(in crate::app) fn set(&mut self, compared: Box<Compared>) {
        self.compared = Some(compared);
        self.list.unselect();
        (self.all, self.again) = (false, true);
    }

    fn make_rows(&self) -> Vec<Item> {
        let Some(compared) = self.compared.as_ref().filter(|_| self.running.is_none()) else { return Vec::new() };
        let report = &compared.report;
        let sentence = compared.notes.len().saturating_sub(1);
        // These are the first lines.
        let lines = report.shown(Show { rest: self.all, ..Show::default() }).count();
        let mut rows = vec![if lines > 0 { Item::Line(0) } else { Item::Note(sentence) }];
        rows.extend((0..sentence).map(Item::Note).chain((1..lines).map(Item::Line)));
        rows.extend((report.follow_text().is_some() && !self.all).then_some(Item::Follow));
        rows
    }

    /// The difference of a row.
    pub(crate) fn line_of(&self, row: Item) -> Option<&DiffLine> {
        match row {
            Item::Line(at) => self.compared.as_ref()?.report.lines.get(at),
            Item::Note(_) | Item::Follow => None,
        }
    }

    /// The kind of a row, and its sentence.
    pub(crate) fn text(&self, row: Item) -> (&'static str, Vec<u8>) {
        let Some(compared) = &self.compared else { return ("", Vec::new()) };
        match (row, self.line_of(row)) {
            (Item::Note(at), _) if at + 1 == compared.notes.len() => ("", compared.note(at).into()),
            (Item::Note(at), _) => ("note", compared.note(at).into()),
            (Item::Follow, _) => ("follow", compared.report.follow_text().unwrap_or_default().into()),
            (Item::Line(_), line) => line.map_or(("", Vec::new()), |line| (line.word(), line.text.clone())),
        }
    }

    fn plain(&self, row: Item) -> Vec<u8> {
        let (kind, text) = self.text(row);
        let space: &[u8] = if kind.is_empty() { b"" } else { b" " };
        [kind.as_bytes(), space, &text].concat()
    }
}

impl ViewState for Diff {
    fn prepare(&mut self, context: &Context<'_>) {
        if std::mem::take(&mut self.again) {
            let rows = self.make_rows();
            let at = self.list.key.as_ref().and_then(|key| rows.iter().position(|row| row == key));
            self.list.show(rows, at.unwrap_or(if self.list.key.as_ref().is_some() { self.list.at } else { 0 }));
        }
        self.list.reveal(context.height);
    }

    fn act(&mut self, action: Action, context: &mut Context<'_>) -> bool {
        match action {
            Action::Enter if self.list.rows.is_empty() => context.notify("nothing is selected"),
            Action::Enter => context.detail.open(),
            Action::DiffAll => (self.all, self.again) = (!self.all, true),
            Action::Columns => context.notify("this view has no columns"),
            _ if refused(action, context) => {}
            Action::PageUp | Action::PageDown | Action::HalfUp | Action::HalfDown
                if context.detail.size == Some(Size::Full) =>
            {
                return false;
            }
            _ => {
                let Some(rows) = motion(action, context.height) else { return false };
                self.move_by(rows, context.now);
                context.detail.scroll = 0;
            }
        }
        self.prepare(context);
        true
    }

    fn rows(&self) -> Rows {
        Rows::of(&self.list)
    }

    fn select(&mut self, row: usize, now: Duration) {
        self.list.select(row, now, |row| Some(*row));
    }

    fn searched(&self) -> &'static str {
        "search here for text: a file or a program"
    }

    fn is_match(&self, row: usize, pattern: &Regex, _: &Context<'_>) -> bool {
        self.list.rows.get(row).is_some_and(|row| pattern.is_match(&self.plain(*row)))
    }

    fn copied(&self, _: &Context<'_>) -> (Option<String>, &'static str) {
        (self.list.selected().map(|row| copy::line(&self.plain(*row))), "line")
    }
}
