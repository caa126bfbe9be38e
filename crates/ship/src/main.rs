//! `tracetui-ship`: closed recordings become Parquet files in object storage.

mod agent;
mod bounded_http;
mod cli;
mod convert;
mod credentials;
mod man;
mod manifest;
mod mapped_body;
mod messages;
mod part;
mod run;
mod spool;
mod spool_limit;
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
        messages::say(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}
