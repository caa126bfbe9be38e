//! The actions of the process tree on the rest of the state: which view is shown, and the events of a process.

use super::keymap::{Action, Press};
use super::replay::Target;
use super::search::Pattern;
use super::views::View;
use super::views::tree::{Row, Shown, Tree, columns};
use super::{App, Left};
use crate::app::filter::Change;
use crate::text;

impl App {
    /// Shows a view.
    pub(super) fn show(&mut self, view: View) {
        if view != View::Events {
            self.detail.close();
        }
        self.view.current = view;
    }

    /// Makes what is drawn, where that is not made with each event. Call it before the screen is drawn.
    pub fn prepare(&mut self) {
        if self.view.current == View::Tree {
            let shown = Shown {
                moment: self.moment(),
                filtered: self.filter.applied().is_some(),
                failures: self.view.failures,
            };
            self.tree.refresh(shown, self.list_height(), self.now);
        }
    }

    /// Performs an action that has another meaning in the tree; `false` if it has not.
    pub(super) fn act_on_tree(&mut self, action: Action) -> bool {
        self.prepare();
        match action {
            Action::SubtreeEvents => self.show_subtree(),
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

    /// Shows the events of the selected process and of those below it: first the one that shows what went wrong.
    fn show_subtree(&mut self) {
        let Some(seen) = self.tree.selected() else { return self.say("no process is selected") };
        let (process, cause) = (seen.process.key, seen.cause());
        let selected = self.events.selected().filter(|_| !self.events.follows());
        let filter = self.filter.text();
        let another = self.pipeline.follow_process(process);
        let part = format!("tree={}", process.tgid.0);
        let added = self.filter.add_in_place("tree=", &part, self.pipeline.world());
        self.show(View::Events);
        match added {
            Ok(Change::None) if another => self.refilter(),
            added => self.changed(added),
        }
        self.left = Some(Left { made: self.filter.text(), filter, selected });
        if let Some((id, ns)) = cause.and_then(|id| Some((id, self.time_of(id)?))) {
            self.events.select(id, self.list_height(), &self.store);
            if self.events.scanning(&self.store) {
                self.replay.iter_mut().for_each(|replay| replay.aim(Target::At(ns)));
            }
        }
    }

    /// Goes back to the tree from the events of a process, with the filter and the row of before. `false` if the tree did not show
    /// them, or the filter is another one by now.
    pub(super) fn back_to_tree(&mut self) -> bool {
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
        self.show(View::Tree);
        true
    }

    /// Handles a key while the pattern of a search in the tree is typed.
    pub(super) fn typed_in_tree(&mut self, press: Press) {
        self.search.key(press, self.pipeline.world());
        self.found_in_tree();
    }

    /// Selects the first row that matches what is typed.
    pub(super) fn found_in_tree(&mut self) {
        self.search.stop();
        if self.search.pattern().is_some() {
            self.prepare();
            self.find_in_tree(true, true);
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
        let line = columns::line(&self.tree, &self.tree.selected()?);
        Some(text::escaped(&line, text::Mode::Screen).into_owned())
    }
}
