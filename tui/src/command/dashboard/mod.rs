//! `tracetui`: the dashboard over the running kernel.

mod background;
mod comparer;
pub mod event_loop;
mod lookups;
mod process_usage;
mod recording_search;
pub(super) mod terminal;
mod terminal_input;

use super::config::LoadedConfig;
use super::messages::{charset, name, say, wants_colours};
use super::output_file;
use super::signals::{self, INTERRUPTED};
use super::trace::remarks::remarks;
use super::trace::request::{Request, is_inner};
use super::trace::running::exit_code;
use super::trace::start::{Session, start};
use super::usage::HostNames;
use super::user_files::{Opener, own_home};
use crate::app::{App, Settings};
use crate::cli;
use crate::cli::size::RingSize;
use crate::config::Config;
use crate::view::palette::PALETTES;
use crate::view::theme::Theme;
use anyhow::{Result, anyhow};
use event_loop::{Appearance, DashboardExit, Trace};
use std::ffi::OsString;
use std::process::ExitCode;
pub use terminal::Mouse;
use tracetui_host::clock;
use tracetui_host::procfs::namespace;
use tracetui_live::command::Streams;
use tracetui_shared::kind::KindSet;

/// Shows the dashboard until the user quits, then prints the account.
pub async fn run(args: &cli::Dashboard) -> Result<ExitCode> {
    terminal::check()?;
    let loaded = LoadedConfig::read(&args.screen.config)?;
    let names = HostNames::read();
    let own_filter = loaded.filter(&args.trace.filters, &names)?;
    let watches = loaded.watches(&names)?;
    // Unless the options name kinds, those that are off by default (forks) are collected too, so that a key can show past events.
    let trace = cli::TraceArgs { memory: args.trace.memory.or(loaded.config.memory), ..args.trace.clone() };
    let Request { filters, held, options } = Request::read(&trace, &args.run, Streams::Captured, KindSet::ON_REQUEST)?;
    signals::ignore_file_size();
    let recorder = args.write.as_deref().map(output_file::start_beside).transpose()?;
    let opener = Some(Opener::start()?);
    let home = own_home();
    let started = output_file::or_withdraw(start(&options), recorder.as_ref()).await?;
    let calm = !filters.whole.asks();
    let settings = Settings {
        calm,
        budget: options.budget,
        kinds: if args.trace.filters.kind.is_empty() { KindSet::OF_COMMAND } else { filters.kinds },
        zone: clock::zone(),
        capture: capture_text(filters.whole.text(), &args.run.command),
        filter: own_filter.map_or(filters.rest, |own| own.whole).text_with_ids(&names),
        is_inner: is_inner(namespace("/proc/self", "pid")),
        preferences: loaded.config.preferences.clone(),
    };
    let mut app = App::new(settings).map_err(|error| anyhow!("--filter: {}", error.message))?;
    app.watch(watches);
    let Session { feed, notes, lookups, .. } = started;
    let (lookups, run) = (Some(lookups), args.run.clone());
    let shown = Trace { feed, command: held, timeline: None, recorder, opener, home, lookups, run };
    let DashboardExit { line, command, interrupted } =
        event_loop::run(app, look(&args.screen, &loaded.config), shown).await?;
    args.trace.ring_size.and_then(RingSize::note).iter().chain(&notes).for_each(say);
    remarks(&options, &line.account, line.discrepancy.clone()).iter().for_each(say);
    line.not_recorded.iter().for_each(say);
    say(&line);
    say(line.account.line());
    let code = match command {
        _ if interrupted => ExitCode::from(INTERRUPTED),
        Some(ended) => exit_code(&ended),
        None => ExitCode::SUCCESS,
    };
    Ok(if line.not_recorded.is_some() { ExitCode::FAILURE } else { code })
}

/// The captured events, in words.
fn capture_text(filter: &str, command: &[OsString]) -> String {
    let tree = command.first().map(|name| format!("{} and its descendants", self::name(name)));
    match (tree, filter) {
        (None, "") => "all".to_owned(),
        (None, filter) => filter.to_owned(),
        (Some(tree), "") => tree,
        (Some(tree), filter) => format!("{tree}, {filter}"),
    }
}

pub(super) fn look(screen: &cli::ScreenOptions, config: &Config) -> Appearance {
    let plain = match screen.color.when.or(config.color).unwrap_or_default() {
        cli::Color::Always => false,
        cli::Color::Never => true,
        cli::Color::Auto => !wants_colours(),
    };
    let palette = screen.theme.or(config.theme).unwrap_or(&PALETTES[0]);
    let colours = config.looks.colours(palette, plain);
    let mouse = if screen.mouse || config.mouse { Mouse::Taken } else { Mouse::Left };
    Appearance { theme: Theme { colours, charset: charset() }, mouse }
}
