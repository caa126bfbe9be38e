//! One file a subcommand: wiring only, what they wire is elsewhere.

pub mod doctor;
pub mod print;
pub mod trace;
