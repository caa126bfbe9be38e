//! `tracetui`: the dashboard over the running kernel.

use super::dashboard::{self, Left, Look, Mouse};
use super::say::{name, say};
use super::signals;
use super::trace::{self, TraceOptions};
use crate::app::{App, Settings, language};
use crate::budget::Budget;
use crate::cli;
use crate::pipeline::Pipeline;
use crate::source::command::{Held, Streams};
use crate::source::feed::Feed;
use crate::source::host::clock;
use crate::view::theme::{Colours, Theme};
use anyhow::{Context, Result, anyhow};
use std::ffi::OsString;
use std::process::ExitCode;
use tracetui_shared::kind::KindSet;

/// Shows the dashboard until the user leaves it, then says what was seen.
///
/// # Errors
/// When nothing can be traced, or the terminal fails.
pub async fn run(args: &cli::Dashboard) -> Result<ExitCode> {
    let filters = trace::compile(&args.trace.filters)?;
    // First: it is to have what the shell gave us.
    let held = match args.run.command.as_slice() {
        [] => None,
        argv => Some(Held::start(argv, Streams::Captured).context("cannot start the command")?),
    };
    signals::ignore_file_size();
    let command = held.as_ref().map(Held::tgid);
    // Kinds that are not on by default (forks) are collected too, unless kinds were named, so that a key can show those that
    // were.
    let named = !args.trace.filters.kind.is_empty();
    let kinds = if named { filters.kinds } else { filters.kinds | KindSet::ON_REQUEST };
    let mut capture = filters.capture.clone();
    capture.capture.kinds = kinds.bits();
    let ring_size = u32::try_from(args.trace.ring_size.bytes()).context("--ring-size")?;
    let budget = Budget::new(args.trace.memory.0);
    let options = TraceOptions {
        ring_size,
        budget,
        kinds,
        capture,
        btf: args.trace.btf.file.clone(),
        command,
        filter: filters.whole.text().to_owned(),
    };
    let session = trace::start(&options)?;
    let settings = Settings {
        budget,
        kinds: if named { filters.kinds } else { KindSet::BY_DEFAULT },
        zone_s: clock::local_offset_now_s(),
        capture: capture_text(filters.whole.text(), &args.run.command),
        filter: filters.rest.text().to_owned(),
        parse: language::parse,
    };
    let mut app = App::new(Pipeline::default(), settings).map_err(|error| anyhow!("--filter: {}", error.message))?;
    let Feed { batches, handle } = session.feed;
    let recycling = handle.clone();
    let running = held.map(Held::release).transpose().context("cannot start the command")?;
    if let Some(running) = &running {
        app.set_command(running.name().to_string_lossy());
    }
    let recycle = move |batch| recycling.recycle(batch);
    let Left { line, command } =
        dashboard::run(app, look(&args.screen), running, batches, recycle, || handle.stop()).await?;
    args.trace.ring_size.note().iter().chain(&session.notes).for_each(say);
    if let Some(text) = &line.discrepancy {
        say(text);
    }
    if let Some(text) = trace::doubtful_btf(&options, &line.account) {
        say(text);
    }
    if let Some(text) = trace::overgrown_tree(&line.account) {
        say(text);
    }
    if let Some(text) = line.account.discrepancy() {
        say(text);
    }
    for text in trace::shortage(&line.account, budget) {
        say(text);
    }
    say(&line);
    say(line.account.line());
    // One that was told to end has not failed.
    Ok(command.map_or(ExitCode::SUCCESS, |ended| trace::exit_code(&ended)))
}

/// What is captured, in words.
fn capture_text(filter: &str, command: &[OsString]) -> String {
    let tree = command.first().map(|name| format!("{} and what it starts", self::name(name)));
    match (tree, filter) {
        (None, "") => "all".to_owned(),
        (None, filter) => filter.to_owned(),
        (Some(tree), "") => tree,
        (Some(tree), filter) => format!("{tree}, {filter}"),
    }
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
