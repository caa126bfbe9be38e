//! The views of the dashboard. Each module holds the state of a view; the module of the same name in `view/` draws it.

pub(crate) mod bpf;
pub(crate) mod detail;
pub(crate) mod events;
pub(crate) mod top;
pub(crate) mod tree;

use super::keymap::Action;

/// The content of the screen's body, above or beside the detail pane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum View {
    /// The event list.
    #[default]
    Events,
    /// The processes, each below its parent.
    Tree,
    /// What is most frequent.
    Top,
    /// The BPF programs, and where they are attached.
    Bpf,
}

impl View {
    /// Every view, in the order of the tabs.
    pub const ALL: [View; 4] = [View::Events, View::Tree, View::Top, View::Bpf];

    /// The title of the tab.
    pub fn title(self) -> &'static str {
        match self {
            View::Events => "Events",
            View::Tree => "Tree",
            View::Top => "Top",
            View::Bpf => "BPF",
        }
    }

    /// The action that shows it.
    pub(crate) fn action(self) -> Action {
        match self {
            View::Events => Action::ShowEvents,
            View::Tree => Action::ShowTree,
            View::Top => Action::ShowTop,
            View::Bpf => Action::ShowBpf,
        }
    }

    /// The view that is `by` tabs further.
    pub(crate) fn step(self, by: usize) -> View {
        let at = View::ALL.iter().position(|view| *view == self).unwrap_or_default();
        View::ALL[(at + by) % View::ALL.len()]
    }
}

/// The next of `count` rows for which `is` holds, round the end, from the row `at` on; that one comes first if `here`, else last.
pub(crate) fn next_match(
    count: usize,
    at: usize,
    (down, here): (bool, bool),
    is: impl Fn(usize) -> bool,
) -> Option<usize> {
    let steps = if here { 0..count } else { 1..count + 1 };
    let row = |step| if down { at + step } else { at + count - step } % count.max(1);
    steps.map(row).find(|row| is(*row))
}

/// By how many rows an action moves the selection on a screen of `height` rows; `None` if it does not move it.
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
