//! COMMAND in the dashboard: its terminal, the keys for it, and a summary of what it did.

pub(crate) mod key_bytes;
pub(crate) mod output;
pub(crate) mod summary;
