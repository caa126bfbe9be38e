//! `tracetui print`, and its `--expect-none` and `--expect-no-open`.

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
    let expects = match &args.expect_none {
        Some(expr) => {
            args.trace.filters.filter = vec![expr.clone()];
            Some("--expect-none")
        }
        None if args.expect_no_open.is_empty() => None,
        None => {
            args.trace.filters.kind = vec!["exec,open".to_owned()];
            args.trace.identity = Some(cli::Switch::On);
            Some("--expect-no-open")
        }
    };
    args.count = args.count.or(expects.map(|_| 1));
    let printed = match args.recordings.is_empty() {
        true => print::run(&args).await,
        false => recordings::print(&args),
    };
    let printed = printed.map_err(|error| match args.expect_none.is_some() && is_bad_usage(&error) {
        true => BadUsage(error.to_string().replacen("--filter", "--expect-none", 1)).into(),
        false => error,
    })?;
    let Some(option) = expects else { return Ok(printed.code) };
    if printed.matched {
        say(format_args!("an event matches {option}"));
        return Ok(MATCHED.into());
    }
    if let Some(doubt) = printed.doubt {
        say(format_args!("no event matches {option}, but {doubt}: one may match"));
        return Ok(ExitCode::FAILURE);
    }
    say(format_args!("no event matches {option}"));
    Ok(printed.code)
}
