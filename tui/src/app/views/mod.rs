//! The views of the dashboard. Each module holds the state of a view; the module of the same name in `view/` draws it.

pub(crate) mod bpf;
pub(crate) mod columns;
pub(crate) mod detail;
pub(crate) mod diff;
pub(crate) mod event_list;
mod kind;
pub(crate) mod sorted_list;
pub(crate) mod state;
mod switch;
pub(crate) mod top;
pub(crate) mod tree;

pub(crate) use self::kind::View;
use super::keys::keymap::{Action, Section};
use bpf::Bpf;
use diff::Diff;
use event_list::EventList;
use state::{Moment, ViewState};
use top::Top;
use tracetui_events::budget::Budget;
use tracetui_events::enrich::World;
use tracetui_events::limits;
use tracetui_events::store::Store;
use tree::Tree;

impl View {
    pub(crate) fn action(self) -> Action {
        match self {
            View::Events => Action::ShowEvents,
            View::Tree => Action::ShowTree,
            View::Top => Action::ShowTop,
            View::Bpf => Action::ShowBpf,
            View::Diff => Action::Diff,
        }
    }

    /// The section of its keys; for the list of events, that of its detail pane.
    pub(crate) fn section(self) -> Section {
        match self {
            View::Events => Section::Detail,
            View::Tree => Section::Tree,
            View::Top => Section::Top,
            View::Bpf => Section::Bpf,
            View::Diff => Section::Diff,
        }
    }
}

/// The views other than the list of events, and which view is shown.
#[derive(Debug, Default)]
pub(crate) struct Views {
    pub shown: View,
    pub tree: Tree,
    pub top: Top,
    pub bpf: Bpf,
    pub diff: Diff,
}

impl Views {
    pub(crate) fn new(budget: Budget) -> Views {
        Views { tree: Tree::new(budget), top: Top::new(budget.share(limits::TOP_SHARE)), ..Views::default() }
    }

    /// The shown view. `None` if that is the list of events.
    pub(crate) fn current(&mut self) -> Option<&mut dyn ViewState> {
        match self.shown {
            View::Events => None,
            View::Tree => Some(&mut self.tree),
            View::Top => Some(&mut self.top),
            View::Bpf => Some(&mut self.bpf),
            View::Diff => Some(&mut self.diff),
        }
    }

    /// Counts for Top at the shown moment, if Top is shown. Another view than the tree needs no counts of processes at a moment.
    pub(crate) fn count(&mut self, moment: Option<Moment>, events: &EventList, store: &Store, world: &World) {
        if self.shown != View::Tree {
            self.tree.nodes.travel(None, store);
        }
        match self.shown {
            View::Top => self.top.count_until(moment.map(|moment| moment.until), events, store, world),
            _ => self.top.stop(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.tree.nodes.bytes() + self.top.bytes + self.bpf.bytes()
    }

    pub(crate) fn reset(&mut self) {
        self.tree.reset();
        self.top.list.reset_order();
        self.bpf.reset();
    }

    pub(crate) fn empty(&mut self, budget: Budget) {
        self.tree = Tree::new(budget);
        self.top.stop();
        self.bpf.again();
    }
}
