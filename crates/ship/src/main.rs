//! `tracetui-ship`: closed recordings become Parquet files in object storage.

mod agent;
mod bounded_http;
mod cli;
mod convert;
mod man;
mod manifest;
mod mapped_body;
mod messages;
mod part;
mod run;
mod spool;
mod store;
mod work;

use clap::Parser as _;
use std::process::ExitCode;

// The allocator of musl is slow.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let done = match std::env::args_os().nth(1) {
        Some(word) if word == "man" => man::man(),
        _ => run::run(&cli::Ship::parse()),
    };
    done.unwrap_or_else(|error| {
        messages::say(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}
