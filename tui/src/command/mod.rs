//! One file per subcommand. These files only connect the other modules.

mod around;
pub mod bpf;
pub mod btf;
pub mod completions;
pub mod cut;
pub mod dashboard;
pub mod diff;
pub mod doctor;
pub mod export;
mod find;
pub mod keys;
pub mod man;
mod outlet;
mod pace;
pub mod playback;
pub mod print;
mod progress;
pub mod read;
pub mod record;
pub mod replay;
mod rotate;
pub mod say;
pub mod selftest;
pub mod session;
pub(crate) mod signals;
mod skip;
mod write;
