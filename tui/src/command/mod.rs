//! One file per subcommand. These files only connect the other modules.

pub mod bpf;
pub mod btf;
pub mod completions;
pub mod config;
pub mod cut;
pub mod dashboard;
pub mod diff;
pub mod doctor;
pub mod export;
pub mod files;
pub mod info;
pub mod keys;
pub mod man;
pub mod messages;
mod output_file;
pub mod print;
pub mod record;
pub mod replay;
pub mod selftest;
pub(crate) mod signals;
mod terminal;
#[cfg(test)]
#[path = "../../../crates/events/src/playback/testing.rs"]
mod testing;
mod trace;
pub mod usage;
mod user_files;
mod writer_thread;
