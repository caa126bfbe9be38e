//! The views of the dashboard. The state of each is in the file of its name here, and the file of the same name in `view/`
//! draws it.

pub(crate) mod detail;
pub(crate) mod events;

/// What the body of the screen shows, above or beside the detail pane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum View {
    /// The event list.
    #[default]
    Events,
}
