//! `tracetui`: the dashboard over the running kernel.

use super::dashboard::{self, Look, Mouse};
use super::trace::{self, TraceOptions};
use crate::app::{App, KINDS_AT_START, Settings, language};
use crate::cli;
use crate::pipeline::Pipeline;
use crate::source::feed::Feed;
use crate::source::host::clock;
use crate::view::theme::{Colours, Theme};
use anyhow::{Context, Result, anyhow};
use std::process::ExitCode;
use tracetui_shared::kind::Kind;

/// Shows the dashboard until the user leaves it, then says what was seen.
///
/// # Errors
/// When nothing can be traced, or the terminal fails.
pub async fn run(args: &cli::Dashboard) -> Result<ExitCode> {
    let filters = trace::compile(&args.trace.filters)?;
    // Forks are collected too, unless kinds were named, so that a key can show those that were.
    let named = !args.trace.filters.kind.is_empty();
    let kinds = if named { filters.kinds } else { filters.kinds | Kind::Fork.bit() };
    let mut capture = filters.capture.clone();
    capture.capture.kinds = kinds;
    let ring_size = u32::try_from(args.trace.ring_size.bytes()).context("--ring-size")?;
    let session = trace::start(&TraceOptions { ring_size, kinds, capture })?;
    let settings = Settings {
        memory: args.memory.0,
        kinds: if named { filters.kinds } else { KINDS_AT_START },
        zone_s: clock::local_offset_now_s(),
        capture: match filters.whole.text() {
            "" => "all".to_owned(),
            text => text.to_owned(),
        },
        filter: filters.rest.text().to_owned(),
        parse: language::parse,
    };
    let app = App::new(Pipeline::new(kinds), settings).map_err(|error| anyhow!("--filter: {}", error.message))?;
    let Feed { batches, handle } = session.feed;
    let recycling = handle.clone();
    let line =
        dashboard::run(app, look(&args.screen), batches, move |batch| recycling.recycle(batch), || handle.stop());
    let line = line.await?;
    args.trace.ring_size.note().iter().chain(&session.notes).for_each(|note| eprintln!("{note}"));
    eprintln!("{line}");
    eprintln!("{}", line.account.line());
    Ok(ExitCode::SUCCESS)
}

fn look(screen: &cli::ScreenOptions) -> Look {
    let plain = match screen.color {
        cli::Color::Always => false,
        cli::Color::Never => true,
        cli::Color::Auto => std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
    };
    let colours = if plain { Colours::None } else { Colours::Sixteen };
    let mouse = if screen.mouse { Mouse::Taken } else { Mouse::Left };
    Look { theme: Theme { colours, charset: dashboard::charset() }, mouse }
}
