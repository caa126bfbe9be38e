//! The views by name.

use crate::app::named_enum::named;

named! {
    /// The content of the screen's body, above or beside the detail pane.
    #[derive(Default)]
    enum View title {
        #[default]
        Events "Events",
        Tree "Tree",
        Top "Top",
        Bpf "BPF",
        Diff "Diff",
    }
}

impl View {
    /// Whether its rows are events, or made from them. The filter applies to these.
    pub(crate) fn is_of_events(self) -> bool {
        matches!(self, View::Events | View::Tree | View::Top)
    }
}
