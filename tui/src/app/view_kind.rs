//! The views by name.

use super::named::named;

named! {
    /// The content of the screen's body, above or beside the detail pane.
    #[derive(Default)]
    enum View title {
        #[default]
        Events "Events",
        /// The processes, each below its parent.
        Tree "Tree",
        Top "Top",
        /// The BPF programs and their attachments.
        Bpf "BPF",
    }
}
