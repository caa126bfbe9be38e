//! The actions of the detail pane that affect the rest of the state: its rows, and their targets.

use super::{Detail, Subject, Tab};
use crate::app::App;
use crate::app::keys::keymap::Action;
use crate::app::named_enum::step;
use crate::app::views::View;
use std::sync::Arc;
use tracetui_events::enrich::process::{ProcessEntry, ProcessTable};
use tracetui_events::event::process::Process;
use tracetui_events::store::Id;

const CHILDREN: usize = 100;

/// The relatives of its process that the pane lists.
pub(crate) struct Family<'a> {
    /// The ancestors, oldest first.
    pub ancestors: Vec<&'a Arc<Process>>,
    /// The first children.
    pub children: Vec<&'a ProcessEntry>,
    /// The number of the other children.
    pub more: usize,
}

impl Family<'_> {
    pub(crate) fn of<'a>(process: &'a Process, processes: &'a ProcessTable) -> Family<'a> {
        let mut ancestors: Vec<_> = processes.ancestors(process).collect();
        ancestors.reverse();
        let mut children = processes.children(process.key);
        let first = children.by_ref().take(CHILDREN).collect();
        Family { ancestors, children: first, more: children.count() }
    }

    /// The rows, and the first child among them.
    fn rows(&self) -> (Vec<Subject>, usize) {
        let ancestors = self.ancestors.iter().map(|process| process.key);
        let relatives = ancestors.chain(self.children.iter().map(|entry| entry.process.key)).map(Subject::Process);
        (relatives.collect(), self.ancestors.len())
    }
}

impl Detail {
    /// The target of the next row of the pane, which shows this process. `most`: the first line when the pane is scrolled to its end.
    fn next_row(
        &self,
        down: bool,
        process: Option<Arc<Process>>,
        processes: &ProcessTable,
        most: usize,
    ) -> Option<Subject> {
        match self.tab {
            Tab::Why | Tab::Parents => {
                // Without a selected row, the first event of the other end or the first child is next downwards.
                let (rows, first) = match self.tab {
                    Tab::Parents => Family::of(&*process?, processes).rows(),
                    _ => {
                        let (rows, others): (Vec<_>, Vec<_>) =
                            self.joined().map(|(id, other)| (Subject::Event(id), other)).unzip();
                        (rows, others.iter().position(|other| *other).unwrap_or(0))
                    }
                };
                let at = match (rows.iter().position(|target| self.row == Some(*target)), down) {
                    (Some(at), true) => at + 1,
                    (Some(at), false) => at.checked_sub(1)?,
                    (None, true) => first.min(rows.len().checked_sub(1)?),
                    (None, false) => first.saturating_sub(1),
                };
                rows.get(at).copied()
            }
            Tab::Files => {
                let files = self.files.as_ref()?;
                let at = match self.row {
                    Some(Subject::Event(id)) => match (files.position(id)?, down) {
                        (at, _) if files.newest(at) != Some(id) => at,
                        (at, true) => at + 1,
                        (at, false) => at.checked_sub(1)?,
                    },
                    _ => self.scroll.min(most),
                };
                files.newest(at).map(Subject::Event)
            }
            Tab::Env | Tab::Raw => None,
        }
    }
}

impl App {
    pub(in crate::app) fn act_on_detail(&mut self, action: Action) -> bool {
        match action {
            Action::Enter if self.detail.row.is_some() && !self.detail.row_hidden => self.go_to_row(),
            Action::Enter if self.selected().is_some() => {
                // Stops following, so that the selected event does not change.
                self.stay();
                self.detail.open();
            }
            Action::Why => self.show_why(),
            Action::PaneDown => self.move_in_pane(true),
            Action::PaneUp => self.move_in_pane(false),
            // The panes of the other views have no tabs.
            Action::NextTab if self.views.shown != View::Events => self.show_next(1),
            Action::PreviousTab if self.views.shown != View::Events => self.show_next(-1),
            Action::NextTab => self.detail.show(step(Tab::ALL, self.detail.tab, 1)),
            Action::PreviousTab => self.detail.show(step(Tab::ALL, self.detail.tab, -1)),
            Action::ToParent => self.go_to_parent(),
            _ => return false,
        }
        true
    }

    /// Opens the pane at the explanation of the selected failure.
    fn show_why(&mut self) {
        match self.aimed_at() {
            _ if self.views.shown != View::Events => self.notify("select an event that failed"),
            Some(id) => self.explain(id),
            None => self.notify("no event selected"),
        }
    }

    pub(in crate::app) fn explain(&mut self, id: Id) {
        match self.store.get(id).map(|stored| stored.failed) {
            Some(true) => {
                self.stay();
                if self.detail.size.is_none() {
                    self.detail.open();
                }
                self.detail.return_to_event();
                self.detail.show(Tab::Why);
            }
            Some(false) => self.notify("the selected event did not fail"),
            None => self.notify("the event was evicted from memory"),
        }
    }

    /// Selects the next row that has a target. Beyond the last one, and on a page without any, scrolls instead.
    fn move_in_pane(&mut self, down: bool) {
        let has_rows = self.views.shown == View::Events && !matches!(self.detail.tab, Tab::Env | Tab::Raw);
        if has_rows {
            self.stay();
            self.detail.belong_to(self.events.selected());
        }
        // If the selected row was scrolled out of the pane, the user scrolls back to it.
        match self
            .detail
            .next_row(down, self.subject_process(), &self.world().processes, self.extent.detail)
            .filter(|_| has_rows && !self.detail.row_hidden)
        {
            Some(row) => self.detail.select(row),
            None => self.detail.scroll_by(if down { 1 } else { -1 }, self.extent.detail),
        }
    }

    fn go_to_row(&mut self) {
        match self.detail.row {
            Some(Subject::Process(key)) if self.world().processes.get(key).is_none() => {
                self.detail.row = None;
                self.notify(format!("process {} was evicted from memory", key.tgid.0));
            }
            Some(to @ Subject::Process(_)) => self.detail.go(to, self.events.selected()),
            Some(Subject::Event(id)) if self.store.get(id).is_none() => {
                self.detail.row = None;
                self.notify("this event was evicted from memory");
            }
            Some(Subject::Event(id)) => self.go_to_event(id),
            None => {}
        }
    }

    /// Goes to an event. The list selects the event too if it shows it.
    fn go_to_event(&mut self, id: Id) {
        if self.events.has(id) {
            self.events.select(id, self.list_height(), &self.store);
        } else if self.events.frozen.is_some_and(|frozen| id >= frozen) {
            self.notify("this event happened after the pause and is not in the list");
        } else if self.events.passes(id) {
            self.notify(format!("a row counts this event; {} unfolds it", self.key_of(Action::Right)));
        } else {
            self.notify("the filters hide this event from the list");
        }
        self.detail.go(Subject::Event(id), self.events.selected());
        self.detail.show(Tab::Why);
    }

    /// Selects the event in the list that the pane's subject was reached from.
    pub(in crate::app) fn select_behind_pane(&mut self) {
        let Some(of) = self.detail.of.filter(|of| self.events.selected() != Some(*of)) else { return };
        match self.events.has(of) {
            true => self.events.select(of, self.list_height(), &self.store),
            false => self.notify("the previous event is no longer in the list"),
        }
    }

    fn go_to_parent(&mut self) {
        let parent = self.subject_process().and_then(|process| process.parent);
        match parent.filter(|key| self.world().processes.get(*key).is_some()) {
            Some(parent) => {
                self.events.stay(self.list_height(), &self.store);
                self.detail.belong_to(self.events.selected());
                self.detail.go(Subject::Process(parent), self.events.selected());
            }
            None => self.notify("the parent process is unknown"),
        }
    }
}
