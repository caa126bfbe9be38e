//! `tracetui-ship`: closed recordings become Parquet files in object storage.

mod agent;
mod bounded;
mod check;
mod cli;
mod convert;
mod keep;
mod man;
mod manifest;
mod mapped;
mod part;
mod profile;
mod run;
mod say;
mod spool;
mod state;
mod store;

use clap::Parser as _;
use std::process::ExitCode;

// The allocator of musl is slow.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    run::run(&cli).unwrap_or_else(|error| {
        say::say(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}
