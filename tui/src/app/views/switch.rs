//! The connection between the views and the rest of the state: which view is shown, and the events of a row.

use super::View;
use super::state::{Context, ViewState};
use crate::app::filter::{Change, FilterState};
use crate::app::keys::keymap::Action;
use crate::app::named_enum::step;
use crate::app::replay::Target;
use crate::app::search::Pattern;
use crate::app::{App, ReturnTo};
use tracetui_events::enrich::World;
use tracetui_events::filter::FilterError;
use tracetui_events::store::Id;
use tracetui_shared::id::ProgId;

impl App {
    /// Shows a view. The tree selects the process of the event selected before.
    pub(in crate::app) fn show(&mut self, view: View) {
        if (self.views.shown, view) == (View::Events, View::Tree) {
            self.select_in_tree();
        }
        self.switch(view);
    }

    pub(in crate::app) fn show_next(&mut self, by: isize) {
        let next = step(View::ALL, self.views.shown, by);
        self.show(if next == View::Diff && !self.views.diff.is_open() { step(View::ALL, next, by) } else { next });
    }

    /// Selects the process of the selected event in the tree, unless the tree shows the current state or a whole recording.
    fn select_in_tree(&mut self) {
        let moment = self.loaded().moment();
        let process =
            self.selected().filter(|_| moment.is_some()).and_then(|stored| stored.process).map(|process| process.key);
        if let Some(process) = process.filter(|process| self.views.tree.process(*process).is_some()) {
            self.views.tree.go_to(process);
        }
    }

    fn switch(&mut self, view: View) {
        // The panes of other views cannot show an event.
        if view != View::Events || matches!(self.views.shown, View::Bpf | View::Diff) {
            self.detail.close();
        }
        if view == View::Diff && self.views.shown != View::Diff {
            self.views.diff.from = self.views.shown;
            self.screen.overlay = None;
        }
        self.views.shown = view;
        self.views.count(self.loaded().moment(), &self.events, &self.store, self.pipeline.world());
    }

    /// Prepares the parts of the screen that are not built with each event. Call it before each drawing.
    pub fn prepare(&mut self) {
        self.in_view(|_, _| ());
        self.offer();
    }

    /// Runs a function on the shown view, after the view has built its rows. `None` if the list of events is shown.
    pub(in crate::app) fn in_view<T>(
        &mut self,
        what: impl FnOnce(&mut dyn ViewState, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let (moment, height, now) = (self.loaded().moment(), self.list_height(), self.now);
        let without_end = self.without_end();
        let view = self.views.current()?;
        let mut context = Context {
            world: self.pipeline.world(),
            store: &self.store,
            events: &self.events,
            keymap: &self.settings.preferences.keymap,
            detail: &mut self.detail,
            moment,
            without_end,
            filtered: self.filter.applied.is_some(),
            failures: self.screen.failures.only(),
            height,
            now,
            message: None,
        };
        view.prepare(&context);
        let done = what(view, &mut context);
        context.message.into_iter().for_each(|text| self.screen.notify(text, now));
        Some(done)
    }

    pub(in crate::app) fn act_in_view(&mut self, action: Action) -> bool {
        if matches!(action, Action::Next | Action::Previous) && self.search.pattern.is_some() {
            return self.find_in_view(action == Action::Next, false);
        }
        self.in_view(|view, context| view.act(action, context)).unwrap_or(false)
    }

    /// Selects the next row of the shown view that matches the search. If `here`, the selected row counts too.
    pub(in crate::app) fn find_in_view(&mut self, down: bool, here: bool) -> bool {
        let pattern = self.search.pattern.clone();
        let found = self.in_view(|view, context| match pattern {
            Some(Pattern::Text(pattern)) => view.find(&pattern, down, here, context),
            Some(Pattern::Terms(_)) => context.notify(view.searched()),
            None => {}
        });
        found.is_some()
    }

    /// Performs an action that leads from a row of the shown view to the row's events.
    pub(in crate::app) fn act_on_events_of_row(&mut self, action: Action) -> bool {
        match action {
            Action::SubtreeEvents => _ = self.show_subtree(),
            Action::TopEvents | Action::TopHide => self.show_or_hide_group(action == Action::TopEvents),
            Action::BpfEvents => self.show_program(),
            Action::DiffEvents => self.show_events_of_difference(),
            Action::Why if self.views.shown == View::Tree => self.explain_process(),
            _ => return false,
        }
        true
    }

    fn show_or_hide_group(&mut self, shows: bool) {
        let top = &self.views.top;
        match top.selected().map(|group| top.by.term(&group.value)) {
            None => self.notify("nothing is selected"),
            Some(term) if shows => _ = self.show_events(|filter, world| filter.add(&term, world)),
            Some(term) => self.add_to_filter(&format!("not {term}")),
        }
    }

    fn show_program(&mut self) {
        let world = self.pipeline.world();
        let Some(row) = self.views.bpf.list.selected() else { return self.notify("nothing is selected") };
        let seen = self.views.bpf.seen_in(row.key, world).filter(|seen| seen.id != ProgId(0));
        let is_old = |loaded| loaded <= world.processes.state.since;
        let known = seen.map(|seen| (seen.id.0, seen.program.is_some_and(|program| is_old(program.loaded))));
        let mut programs: Vec<_> = known.collect();
        programs.sort_unstable();
        programs.dedup();
        if programs.is_empty() {
            return self.notify("the id of the program is unknown");
        }
        let ids = programs.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(",");
        let part = format!("prog.id={ids}");
        self.views.bpf.stay(self.now);
        let applied = self.show_events(|filter, world| filter.add_in_place("prog.id=", &part, world));
        match programs[..] {
            [(id, true)] if applied => {
                self.notify(format!("program {id} was loaded before the trace: only later events are listed"));
            }
            _ => {}
        }
    }

    /// Changes the filter, and shows the events that pass it. Esc goes back.
    pub(in crate::app) fn show_events(
        &mut self,
        change: impl FnOnce(&mut FilterState, &World) -> Result<Change, FilterError>,
    ) -> bool {
        let (view, filter) = (self.views.shown, self.filter.text());
        let selected = self.events.selected().filter(|_| !self.events.follows);
        let changed = change(&mut self.filter, self.pipeline.world());
        self.show(View::Events);
        let applied = matches!(changed, Ok(Change::Applied));
        self.changed(changed);
        self.return_to = Some(ReturnTo { view, filter_set: self.filter.text(), filter, selected });
        applied
    }

    fn explain_process(&mut self) {
        let failed = self.views.tree.selected().map(|seen| (seen.shows(), seen.process.key.tgid.0));
        match failed {
            Some((None, pid)) => self.notify(format!("process {pid} did not fail")),
            _ => self.show_subtree().into_iter().for_each(|cause| self.explain(cause)),
        }
    }

    /// Shows the events of the selected process and its descendants. Selects and returns the event that shows what went wrong.
    fn show_subtree(&mut self) -> Option<Id> {
        let Some(seen) = self.views.tree.selected() else {
            self.notify("no process is selected");
            return None;
        };
        let (process, cause) =
            (seen.process.key, self.views.tree.cause(&seen).0.map(|failure| failure.id).or(seen.shows()));
        let another = self.pipeline.world_mut().processes.follow_process(process);
        let part = format!("tree={}", process.tgid.0);
        let applied = self.show_events(|filter, world| filter.add_in_place("tree=", &part, world));
        if another && !applied {
            self.refilter();
        }
        if let Some((id, ns)) = cause.and_then(|id| Some((id, self.loaded().time_of(id)?))) {
            self.events.select(id, self.list_height(), &self.store);
            if self.events.scanning(&self.store) {
                self.replay.iter_mut().for_each(|replay| replay.transport.aim(Target::At(ns)));
            }
        }
        cause
    }

    /// Goes back to the view that showed a row's events. `false` if there is none, or the filter has changed since.
    pub(in crate::app) fn back_to_view(&mut self) -> bool {
        let text = self.filter.text();
        if self.views.shown != View::Events {
            return false;
        }
        let Some(left) = self.return_to.take_if(|left| left.filter_set == text) else { return false };
        // This text was in effect before, so it is a valid filter.
        let changed = self.filter.set(&left.filter, self.pipeline.world());
        self.changed(changed.map(|()| Change::Applied));
        match left.selected {
            Some(id) => self.events.select(id, self.list_height(), &self.store),
            None => self.events.follow(),
        }
        self.switch(left.view);
        true
    }
}
