//! The actions of the process tree and of the most frequent on the rest of the state: which view is shown, and the events of a row.

use super::copy;
use super::keymap::Action;
use super::replay::Target;
use super::search::Pattern;
use super::views::View;
use super::views::top::Window;
use super::views::tree::{Row, Shown, Tree, columns};
use super::{App, Left};
use crate::app::filter::{Change, FilterInputError, FilterState};
use crate::enrich::World;
use crate::store::Id;

impl App {
    /// Shows a view. The tree selects the process of the event that was selected.
    pub(super) fn show(&mut self, view: View) {
        if (self.view.current, view) == (View::Events, View::Tree) {
            self.select_in_tree();
        }
        self.switch(view);
    }

    /// Selects the process of the selected event in the tree, unless the tree is that of now or of a whole recording.
    fn select_in_tree(&mut self) {
        let moment = self.moment();
        let process =
            self.selected().filter(|_| moment.is_some()).and_then(|stored| stored.process).map(|process| process.key);
        if let Some(process) = process.filter(|process| self.tree.process(*process).is_some()) {
            self.tree.go_to(process, self.now);
        }
    }

    fn switch(&mut self, view: View) {
        // The pane of a program is no pane of an event.
        if view != View::Events || self.view.current == View::Bpf {
            self.detail.close();
        }
        self.view.current = view;
        self.count_top();
    }

    /// Counts what is most frequent, if that is shown, at the moment that is shown.
    pub(super) fn count_top(&mut self) {
        let until = self.moment().map(|moment| moment.until);
        match self.view.current {
            View::Top if self.top.is_of(until) => {}
            View::Top if self.top.advance(until, &self.events, &self.store, self.pipeline.world()) => {}
            View::Top => self.top.restart(until, &self.store),
            _ => self.top.stop(),
        }
    }

    /// Makes what is drawn, where that is not made with each event. Call it before the screen is drawn.
    pub fn prepare(&mut self) {
        let height = self.list_height();
        match self.view.current {
            View::Events => {}
            View::Tree => {
                let shown = Shown {
                    moment: self.moment(),
                    filtered: self.filter.applied().is_some(),
                    failures: self.view.failures,
                };
                self.tree.refresh(shown, height, self.now);
            }
            View::Top => self.top.refresh(height, self.now),
            View::Bpf => {
                let moment = self.moment();
                let open = self.detail.size().is_some();
                self.bpf.refresh(moment, self.pipeline.world(), (height, open), self.now);
            }
        }
    }

    /// Performs an action that has another meaning among the most frequent; `false` if it has not.
    pub(super) fn act_on_top(&mut self, action: Action) -> bool {
        self.prepare();
        match action {
            Action::TopEvents | Action::TopHide => {
                let Some(group) = self.top.selected() else {
                    self.say("nothing is selected");
                    return true;
                };
                let term = self.top.by().term(&group.value);
                match action {
                    Action::TopHide => {
                        self.add_to_filter(&format!("not {term}"));
                    }
                    _ => _ = self.show_events(|filter, world| filter.add(&term, world)),
                }
            }
            Action::NextBy | Action::PreviousBy => {
                self.top.next_by(action == Action::NextBy);
                self.restart_top();
            }
            Action::TopWindow => {
                self.top.next_window();
                self.restart_top();
                self.say(match self.top.window() {
                    Window::Recent => "counts of the last 60 s",
                    Window::All => "counts of all kept events",
                });
            }
            Action::TopZero => {
                // From the selected event on, if one was selected; else from now on.
                let next = self.store.next_id();
                let from = self.events.selected().filter(|_| !self.events.follows()).unwrap_or(next);
                let time = self.store.get(from.min(next.saturating_sub(1))).map(|event| event.time.0);
                let since = time.filter(|_| self.top.counted_since().is_none()).map(|time| (from, time));
                self.top.count_since(since);
                self.restart_top();
                self.say(match since {
                    Some(_) => format!("counts from here on; {} counts all again", self.key_of(action)),
                    None => "counts of all kept events".to_owned(),
                });
            }
            Action::Follow if self.replay.is_none() => self.events.follow(),
            Action::Next | Action::Previous if self.search.pattern().is_some() => {
                self.find_in_top(action == Action::Next, false);
            }
            action => {
                let done = self.top.act(action, self.list_height(), self.now);
                if matches!(action, Action::TopSort | Action::TopReverse) {
                    let (order, reverse) = self.top.order();
                    self.say(format!("sorted by {}{}", order.name(), if reverse { ", reversed" } else { "" }));
                }
                return done;
            }
        }
        true
    }

    /// Shows the events that pass a filter that is changed for that. Esc goes back.
    pub(super) fn show_events(
        &mut self,
        change: impl FnOnce(&mut FilterState, &World) -> Result<Change, FilterInputError>,
    ) -> bool {
        let (view, filter) = (self.view.current, self.filter.text());
        let selected = self.events.selected().filter(|_| !self.events.follows());
        let changed = change(&mut self.filter, self.pipeline.world());
        self.show(View::Events);
        let applied = matches!(changed, Ok(Change::Applied));
        self.changed(changed);
        self.left = Some(Left { view, made: self.filter.text(), filter, selected });
        applied
    }

    /// Performs an action that has another meaning in the tree; `false` if it has not.
    pub(super) fn act_on_tree(&mut self, action: Action) -> bool {
        self.prepare();
        match action {
            Action::SubtreeEvents => _ = self.show_subtree(),
            Action::Why => self.explain_process(),
            Action::Follow => {
                self.tree.follow();
                if self.replay.is_some() {
                    return false;
                }
                self.events.follow();
            }
            Action::Next | Action::Previous if self.search.pattern().is_some() => {
                self.find_in_tree(action == Action::Next, false);
            }
            action => {
                let done = self.tree.act(action, self.list_height(), self.now);
                if matches!(action, Action::Sort | Action::Reverse) {
                    let (sort, reverse) = self.tree.sort();
                    self.say(format!("sorted by {}{}", sort.name(), if reverse { ", reversed" } else { "" }));
                }
                return done;
            }
        }
        true
    }

    /// Explains why the selected process failed.
    fn explain_process(&mut self) {
        let failed = self.tree.selected().map(|seen| (seen.shows(), seen.process.key.tgid.0));
        match failed {
            Some((None, pid)) => self.say(format!("process {pid} did not fail")),
            _ => self.show_subtree().into_iter().for_each(|cause| self.explain(cause)),
        }
    }

    /// Shows the events of the selected process and of those below it: first the one that shows what went wrong, which is returned.
    fn show_subtree(&mut self) -> Option<Id> {
        let Some(seen) = self.tree.selected() else {
            self.say("no process is selected");
            return None;
        };
        let (process, cause) = (seen.process.key, self.tree.cause(&seen).0.map(|failure| failure.id).or(seen.shows()));
        let another = self.pipeline.follow_process(process);
        let part = format!("tree={}", process.tgid.0);
        let applied = self.show_events(|filter, world| filter.add_in_place("tree=", &part, world));
        if another && !applied {
            self.refilter();
        }
        if let Some((id, ns)) = cause.and_then(|id| Some((id, self.time_of(id)?))) {
            self.events.select(id, self.list_height(), &self.store);
            if self.events.scanning(&self.store) {
                self.replay.iter_mut().for_each(|replay| replay.aim(Target::At(ns)));
            }
        }
        cause
    }

    /// Goes back to the view that showed the events of a row, with the filter and the event of before. `false` if there is none, or the
    /// filter is another one by now.
    pub(super) fn back_to_view(&mut self) -> bool {
        let text = self.filter.text();
        if self.view.current != View::Events {
            return false;
        }
        let Some(left) = self.left.take_if(|left| left.made == text) else { return false };
        // It was in force before, so it is a filter.
        let changed = self.filter.set(&left.filter, self.pipeline.world());
        self.changed(changed.map(|()| Change::Applied));
        match left.selected {
            Some(id) => self.events.select(id, self.list_height(), &self.store),
            None => self.events.follow(),
        }
        self.switch(left.view);
        true
    }

    /// Selects the first row that matches what is typed.
    pub(super) fn found_in_view(&mut self) {
        self.search.stop();
        if self.search.pattern().is_some() {
            self.prepare();
            match self.view.current {
                View::Bpf => self.find_in_bpf(true, true),
                View::Top => self.find_in_top(true, true),
                _ => self.find_in_tree(true, true),
            }
        }
    }

    fn restart_top(&mut self) {
        self.top.restart(self.moment().map(|moment| moment.until), &self.store);
    }

    fn find_in_top(&mut self, down: bool, here: bool) {
        let Some(Pattern::Text(pattern)) = self.search.pattern().cloned() else {
            return self.say("here, search for text: a part of the value");
        };
        let (by, world) = (self.top.by(), self.pipeline.world());
        if !self.top.find(down, here, self.now, |group| pattern.is_match(&by.shown(&group.value, world))) {
            self.say("no match");
        }
    }

    fn find_in_tree(&mut self, down: bool, here: bool) {
        let Some(Pattern::Text(pattern)) = self.search.pattern().cloned() else {
            return self.say("in the tree, search for text: a process id or a part of the command");
        };
        let matches = |tree: &Tree, row: &Row| {
            let line = tree.seen(row).map(|seen| columns::line(tree, &seen)).unwrap_or_default();
            pattern.is_match(&line)
        };
        if !self.tree.find(down, here, self.now, matches) {
            self.say("no match");
        }
    }

    /// The selected row of the tree as text.
    pub(super) fn tree_line(&self) -> Option<String> {
        Some(copy::line(&columns::line(&self.tree, &self.tree.selected()?)))
    }
}
