//! One file per subcommand. These files only connect the other modules.

mod around;
pub mod bpf;
pub mod btf;
mod compare;
pub mod completions;
pub mod config;
pub mod cut;
pub mod dashboard;
pub mod diff;
pub mod doctor;
pub mod expect;
mod explain;
pub mod export;
pub mod files;
mod find;
mod history;
pub mod keys;
pub mod man;
mod metrics;
mod outlet;
mod pace;
pub mod print;
mod progress;
mod raw;
pub mod read;
pub mod record;
mod recorded;
mod relay;
pub mod replay;
mod rotate;
pub mod say;
pub mod selftest;
pub(crate) mod signals;
#[cfg(test)]
#[path = "../../../crates/events/src/playback/testing.rs"]
mod testing;
mod trace;
mod unanswered;
mod unwanted;
pub mod usage;
mod user_files;
mod write;
