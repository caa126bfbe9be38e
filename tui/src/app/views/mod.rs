//! The views of the dashboard. Each module holds the state of a view; the module of the same name in `view/` draws it.

pub(crate) mod detail;
pub(crate) mod events;

/// The content of the screen's body, above or beside the detail pane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum View {
    /// The event list.
    #[default]
    Events,
}
