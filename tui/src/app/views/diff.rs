//! The differences between a recording and the trace on the screen: the first line of the report, notes, and below them the roles, each
//! with its differences.

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
use foldhash::HashSet;
use regex::bytes::Regex;
use std::time::Duration;
use tracetui_events::diff::{DiffLine, Show, Status};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Item {
    /// The first line of the report.
    First,
    /// A note, by its number.
    Note(usize),
    Role(usize),
    /// A line by its number, below its role.
    Line(usize),
    /// The differences that follow from others.
    Follow,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub item: Item,
    pub depth: u16,
    /// The number of differences below a role, and whether one of them is a cause.
    pub below: usize,
    pub cause: bool,
    pub folded: bool,
}

/// A comparison that runs: the name of the recording, and how much of both is read, in percent.
#[derive(Debug)]
pub(crate) struct Running {
    pub with: String,
    /// The result of the comparison before, to return to.
    pub before: Option<Box<Compared>>,
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
    folded: HashSet<usize>,
    /// Without a key, the first row is selected.
    pub(crate) list: List<Row, Item, ()>,
    again: bool,
}

impl Diff {
    /// Whether there is anything to show.
    pub(crate) fn is_open(&self) -> bool {
        self.running.is_some() || self.compared.is_some()
    }

    pub(in crate::app) fn set(&mut self, compared: Option<Box<Compared>>) {
        self.compared = compared;
        self.folded.clear();
        self.list.unselect();
        self.all = false;
        self.again = true;
    }

    /// Marks a comparison with a trace that has ended since.
    pub(in crate::app) fn has_ended(&mut self) {
        self.again |= self.compared.as_mut().is_some_and(|compared| compared.has_ended());
    }

    fn make_rows(&self) -> Vec<Row> {
        let Some(compared) = &self.compared else { return Vec::new() };
        let report = &compared.report;
        let at_top = |item, cause| Row { item, depth: 0, below: 0, cause, folded: false };
        let sentence = compared.notes.len().saturating_sub(1);
        // These are the first lines.
        let lines = || report.shown(Show { rest: self.all, ..Show::default() }).enumerate();
        let mut rows = vec![match lines().next() {
            Some((_, line)) => at_top(Item::First, line.cause),
            None => at_top(Item::Note(sentence), false),
        }];
        rows.extend((0..sentence).map(|note| at_top(Item::Note(note), false)));
        // These are about many roles.
        let is_apart = |line: &DiffLine| line.status == Status::Unknown;
        let apart = lines().skip(1).filter(|(_, line)| is_apart(line));
        rows.extend(apart.map(|(at, line)| at_top(Item::Line(at), line.cause)));
        let mut of_role = vec![Vec::new(); report.roles.len()];
        let mut below = vec![(0, false); report.roles.len()];
        for (at, line) in lines().filter(|(_, line)| !is_apart(line)) {
            of_role[line.role].push(at);
            below[line.role].0 += 1;
            below[line.role].1 |= line.cause;
        }
        let mut children = vec![Vec::new(); report.roles.len()];
        for (at, role) in report.roles.iter().enumerate().skip(1).rev() {
            let (count, cause) = below[at];
            if count > 0 {
                children[role.parent].push(at);
                below[role.parent].0 += count;
                below[role.parent].1 |= cause;
            }
        }
        let mut todo = vec![(0, 0)];
        let line = |at: usize| compared.line(at).is_some_and(|line| line.cause);
        while let Some((role, depth)) = todo.pop() {
            let (count, cause) = below.get(role).copied().unwrap_or_default();
            let folded = self.folded.contains(&role);
            if role > 0 {
                rows.push(Row { item: Item::Role(role), depth: depth - 1, below: count, cause, folded });
            }
            if !folded {
                let own = of_role.get(role).into_iter().flatten();
                rows.extend(own.map(|at| Row { depth, ..at_top(Item::Line(*at), line(*at)) }));
                // The children are in reversed order, and the last one is next.
                todo.extend(children.get(role).into_iter().flatten().map(|child| (*child, depth + 1)));
            }
        }
        let hidden = report.follow_text().is_some() && !self.all;
        rows.extend(hidden.then(|| at_top(Item::Follow, false)));
        rows
    }

    /// The differences of a row: of a role those below it.
    pub(crate) fn line_of(&self, row: &Row) -> Option<&DiffLine> {
        let compared = self.compared.as_ref()?;
        match row.item {
            Item::First => compared.line(0),
            Item::Line(at) => compared.line(at),
            Item::Note(_) | Item::Role(_) | Item::Follow => None,
        }
    }

    /// The kind of a row, and its sentence without the process that is above it.
    pub(crate) fn text(&self, row: &Row) -> (&'static str, Vec<u8>) {
        let Some(compared) = &self.compared else { return ("", Vec::new()) };
        let line = self.line_of(row);
        match (row.item, line) {
            (Item::Note(at), _) if at + 1 == compared.notes.len() => ("", compared.note(at).into()),
            (Item::Note(at), _) => ("note", compared.note(at).into()),
            (Item::Role(at), _) => ("", compared.report.roles.get(at).map_or(Vec::new(), |role| role.process.clone())),
            (Item::Follow, _) => ("follow", compared.report.follow_text().unwrap_or_default().into()),
            (Item::First, Some(line)) => (line.word(), line.text()),
            (Item::Line(_), Some(line)) => {
                let whole = line.alone.is_some() || line.role == 0 || line.how.is_empty();
                let text = match line.what.is_empty() {
                    _ if whole => line.text(),
                    true => line.how.clone(),
                    false => [&line.what, &b": "[..], &line.how].concat(),
                };
                (line.word(), text)
            }
            (Item::First | Item::Line(_), None) => ("", Vec::new()),
        }
    }

    fn plain(&self, row: &Row) -> Vec<u8> {
        let (kind, text) = self.text(row);
        let space: &[u8] = if kind.is_empty() { b"" } else { b" " };
        [kind.as_bytes(), space, &text].concat()
    }

    /// Folds the selected role, or goes to the row above it if there is nothing to fold.
    fn fold(&mut self, now: Duration) {
        let (at, rows) = (self.list.at, &self.list.rows);
        let Some(row) = rows.get(at).copied() else { return };
        match row.item {
            Item::Role(role) if !row.folded => _ = self.folded.insert(role),
            Item::Role(_) | Item::Line(_) => {
                let parent = rows
                    .iter()
                    .take(at)
                    .rposition(|above| matches!(above.item, Item::Role(_)) && above.depth < row.depth);
                self.select(parent.unwrap_or(at), now);
            }
            Item::First | Item::Note(_) | Item::Follow => {}
        }
        self.again = true;
    }

    fn unfold(&mut self) {
        match self.list.selected().map(|row| row.item) {
            Some(Item::Role(role)) => _ = self.folded.remove(&role),
            Some(Item::Follow) => self.all = true,
            _ => {}
        }
        self.again = true;
    }
}

impl ViewState for Diff {
    fn prepare(&mut self, context: &Context<'_>) {
        if std::mem::take(&mut self.again) {
            let rows = self.make_rows();
            let at = self.list.key.as_ref().and_then(|key| rows.iter().position(|row| row.item == *key));
            self.list.show(rows, at.unwrap_or(if self.list.key.as_ref().is_some() { self.list.at } else { 0 }));
        }
        self.list.reveal(context.height);
    }

    fn act(&mut self, action: Action, context: &mut Context<'_>) -> bool {
        match action {
            Action::Enter if self.list.rows.is_empty() => context.notify("nothing is selected"),
            Action::Enter => context.detail.open(),
            Action::Left => self.fold(context.now),
            Action::Right => self.unfold(),
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
        self.list.select(row, now, |row| Some(row.item));
    }

    fn searched(&self) -> &'static str {
        "search here for text: a file or a program"
    }

    fn is_match(&self, row: usize, pattern: &Regex, _: &Context<'_>) -> bool {
        self.list.rows.get(row).is_some_and(|row| pattern.is_match(&self.plain(row)))
    }

    fn copied(&self, _: &Context<'_>) -> (Option<String>, &'static str) {
        (self.list.selected().map(|row| copy::line(&self.plain(row))), "line")
    }
}
