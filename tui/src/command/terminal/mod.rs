//! The terminal of the user, while COMMAND has a terminal of its own.

pub(super) mod raw_mode;
pub(super) mod relay;
