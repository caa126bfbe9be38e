//! One file a subcommand: wiring only.

pub mod dashboard;
mod terminal;
