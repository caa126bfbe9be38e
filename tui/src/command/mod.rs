//! One file a subcommand: wiring only, what they wire is elsewhere.

pub mod dashboard;
pub mod doctor;
pub mod live;
pub mod print;
mod terminal;
pub mod trace;
