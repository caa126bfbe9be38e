//! The actions of the detail pane on the rest of the state: its rows, and where they lead.

use super::App;
use super::keymap::Action;
use super::views::View;
use super::views::detail::{Subject, Tab};
use crate::enrich::process::Entry;
use crate::event::Body;
use crate::event::exit::Ended;
use crate::event::process::{Process, ProcessKey};
use crate::store::Id;
use std::sync::Arc;
use tracetui_shared::kind::Kind;

/// The maximum number of children that are listed.
const CHILDREN: usize = 100;

/// The processes that the pane lists with its own one.
pub(crate) struct Family<'a> {
    /// The ancestors, oldest first.
    pub ancestors: Vec<&'a Arc<Process>>,
    /// The first of the children.
    pub children: Vec<&'a Entry>,
    /// The number of the other children.
    pub more: usize,
}

impl Family<'_> {
    /// The process of the next row from the selected one on. If none is selected, the first child is the next one downwards, and
    /// the parent upwards.
    fn next(&self, row: Option<Subject>, down: bool) -> Option<ProcessKey> {
        let ancestors = self.ancestors.iter().map(|process| process.key);
        let rows: Vec<_> = ancestors.chain(self.children.iter().map(|entry| entry.process.key)).collect();
        let own = self.ancestors.len();
        let at = match (rows.iter().position(|key| row == Some(Subject::Process(*key))), down) {
            (Some(at), true) => at + 1,
            (Some(at), false) => at.checked_sub(1)?,
            (None, true) => own.min(rows.len().checked_sub(1)?),
            (None, false) => own.saturating_sub(1),
        };
        rows.get(at).copied()
    }
}

impl App {
    /// The ancestors and children of a process.
    pub(crate) fn family(&self, process: &Process) -> Family<'_> {
        let processes = &self.world().processes;
        let mut ancestors: Vec<_> = processes.ancestors(process).collect();
        ancestors.reverse();
        let mut children = processes.children(process.key);
        let first = children.by_ref().take(CHILDREN).collect();
        Family { ancestors, children: first, more: children.count() }
    }

    pub(super) fn act_on_detail(&mut self, action: Action) {
        match action {
            Action::Enter if self.detail.row().is_some() && !self.detail.row_hidden() => self.go_to_row(),
            Action::Enter if self.selected().is_some() => {
                // Stops following, so that the selected event does not change.
                self.stay();
                self.detail.open();
            }
            Action::Why => self.show_why(),
            Action::PaneDown => self.move_in_pane(true),
            Action::PaneUp => self.move_in_pane(false),
            Action::NextTab => self.step_tab(1),
            Action::PreviousTab => self.step_tab(Tab::ALL.len() - 1),
            Action::ToParent => self.go_to_parent(),
            _ => {}
        }
    }

    /// Opens the pane at the explanation of the selected failure.
    fn show_why(&mut self) {
        match self.aimed_at() {
            _ if self.view.current != View::Events => self.say("select an event that failed"),
            Some(id) => self.explain(id),
            None => self.say("no event selected"),
        }
    }

    /// Opens the pane at the explanation of a failure.
    pub(super) fn explain(&mut self, id: Id) {
        match self.store.get(id).map(|stored| (stored.failed, stored.kind)) {
            Some((true, kind)) => {
                self.stay();
                if self.detail.size().is_none() {
                    self.detail.open();
                }
                self.detail.return_to_event();
                self.detail.show(Tab::Info);
                if kind == Kind::Exit && self.cause_of(id).is_none() {
                    let (tree, failed) = (self.key_of(Action::OnlyTree), self.key_of(Action::Failures));
                    let who = if self.killed(id) { "a signal killed it" } else { "the program chose this status" };
                    self.say(format!("{who}; {tree}, then {failed}, shows what failed in it"));
                }
            }
            Some((false, _)) => self.say("the selected event did not fail"),
            None => self.say("the event was evicted from memory"),
        }
    }

    fn killed(&self, exit: Id) -> bool {
        let body = self.store.get(exit).and_then(|stored| Some(stored.event().ok()?.body));
        matches!(body, Some(Body::Exit(exit)) if matches!(exit.ended(), Ended::Signal(_)))
    }

    fn step_tab(&mut self, by: usize) {
        self.detail.show(self.detail.tab.step(by));
    }

    /// Selects the next row that leads somewhere. Beyond the last one, and where there is none, scrolls.
    fn move_in_pane(&mut self, down: bool) {
        let has_rows = self.view.current == View::Events && self.detail.tab != Tab::Raw;
        if has_rows {
            self.stay();
            self.detail.belong_to(self.events.selected());
        }
        // To a row that was scrolled out of the pane, one scrolls back.
        match self.next_row(down).filter(|_| has_rows && !self.detail.row_hidden()) {
            Some(row) => self.detail.select(row),
            None => self.scroll_pane(if down { 1 } else { -1 }),
        }
    }

    /// What the next row of the pane leads to.
    fn next_row(&self, down: bool) -> Option<Subject> {
        let row = self.detail.row();
        match self.detail.tab {
            Tab::Info | Tab::Parents => {
                let process = self.subject_process()?;
                self.family(&process).next(row, down).map(Subject::Process)
            }
            Tab::Files => {
                let files = self.detail.files()?;
                let at = match row {
                    Some(Subject::Event(id)) => match (files.position(id)?, down) {
                        (at, _) if files.newest(at) != Some(id) => at,
                        (at, true) => at + 1,
                        (at, false) => at.checked_sub(1)?,
                    },
                    _ => self.detail.scroll.min(self.extent.detail),
                };
                files.newest(at).map(Subject::Event)
            }
            Tab::Raw => None,
        }
    }

    pub(super) fn scroll_pane(&mut self, lines: isize) {
        let to = self.detail.scroll.min(self.extent.detail).saturating_add_signed(lines);
        self.detail.scroll_to(to.min(self.extent.detail));
    }

    /// Goes where the selected row leads.
    fn go_to_row(&mut self) {
        match self.detail.row() {
            Some(Subject::Process(key)) if self.world().processes.get(key).is_none() => {
                self.detail.unselect();
                self.say(format!("process {} is not kept any more", key.tgid.0));
            }
            Some(to @ Subject::Process(_)) => self.detail.go(to, self.events.selected()),
            Some(Subject::Event(id)) if self.store.get(id).is_none() => {
                self.detail.unselect();
                self.say("this open was evicted from memory");
            }
            Some(Subject::Event(id)) => self.go_to_open(id),
            None => {}
        }
    }

    /// Goes to the event of an open, in the list too if that shows it.
    fn go_to_open(&mut self, id: Id) {
        if self.lists(id) {
            self.events.select(id, self.list_height(), &self.store);
        } else if self.events.has(id) {
            self.say("this open came after the pause: the list does not show it");
        } else {
            self.say("the filters hide this open from the list");
        }
        self.detail.go(Subject::Event(id), self.events.selected());
        self.detail.show(Tab::Info);
    }

    fn lists(&self, id: Id) -> bool {
        self.events.row(self.events.place(id)) == Some(id)
    }

    /// Selects the event in the list from which the pane went to where it was.
    pub(super) fn select_behind_pane(&mut self) {
        let Some(of) = self.detail.of().filter(|of| self.events.selected() != Some(*of)) else { return };
        match self.lists(of) {
            true => self.events.select(of, self.list_height(), &self.store),
            false => self.say("the event from which you came is not in the list any more"),
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
            None => self.say("the parent process is unknown"),
        }
    }
}
