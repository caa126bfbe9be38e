//! `tracetui print`, and its `--expect-none`.

use super::recordings;
use crate::cli;
use crate::command::messages::say;
use crate::command::print;
use crate::command::usage::{BadUsage, is_bad_usage};
use anyhow::Result;
use std::process::ExitCode;

/// The exit status if an unexpected event came.
const MATCHED: u8 = 3;

/// Prints events, live or of recordings.
pub async fn print(mut args: cli::Print) -> Result<ExitCode> {
    if let Some(expr) = &args.expect_none {
        args.trace.filters.filter = vec![expr.clone()];
        args.count = Some(1);
    }
    let printed = match args.recordings.is_empty() {
        true => print::run(&args).await,
        false => recordings::print(&args),
    };
    let printed = printed.map_err(|error| match args.expect_none.is_some() && is_bad_usage(&error) {
        true => BadUsage(error.to_string().replacen("--filter", "--expect-none", 1)).into(),
        false => error,
    })?;
    if args.expect_none.is_none() {
        return Ok(printed.code);
    }
    if printed.matched {
        say("an event matches --expect-none");
        return Ok(MATCHED.into());
    }
    if let Some(doubt) = printed.doubt {
        say(format_args!("no event matches --expect-none, but {doubt}: one may match"));
        return Ok(ExitCode::FAILURE);
    }
    say("no event matches --expect-none");
    Ok(printed.code)
}
