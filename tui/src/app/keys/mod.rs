//! Keys and the mouse: the bindings, and the actions that they start.

pub(crate) mod device;
mod dispatch;
pub mod keymap;
mod mouse;
