//! The `tracetui` binary: arguments in, exit status out.

#[cfg(all(target_arch = "x86_64", any(target_env = "musl", test)))]
mod memcpy;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracetui::cli::{Cli, Command};
use tracetui::command;
use tracetui::command::messages::{name, say};
use tracetui::command::print::recordings::replay_of;
use tracetui_events::budget;
use tracetui_events::why::similar_name::distance;
use tracetui_host::{clock, fd_limit};
use tracetui_live::{inspector, root_cgroup};

/// With the allocator of musl, commands take 30 to 60 % more CPU time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    budget::give_back_when_freed();
    // SAFETY: no thread was started yet.
    unsafe { clock::complete_zone() };
    match std::env::args_os().next() {
        Some(name) if name == inspector::NAME => return inspector::run(),
        Some(name) if name == root_cgroup::NAME => return root_cgroup::run(),
        _ => {}
    }
    let cli = match arguments() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            // The reader has closed the output. tracetui then ends without a message.
            if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
                return ExitCode::SUCCESS;
            }
            say(format_args!("tracetui: {error:#}"));
            if command::usage::is_bad_usage(&error) { ExitCode::from(BAD_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// The arguments. On a usage error or a help request, prints the message and returns the exit status.
fn arguments() -> Result<Cli, ExitCode> {
    let given = || std::env::args_os();
    let error = match Cli::try_parse() {
        Ok(cli) if cli.lacks_command(given().last().as_deref()) => {
            let text = "missing COMMAND after --; omit -- to trace everything";
            Cli::command().error(ErrorKind::MissingRequiredArgument, text)
        }
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    let status = u8::try_from(error.exit_code()).unwrap_or(BAD_USAGE);
    let runs = given().nth(1).is_none_or(|first| runs_a_command(&first));
    // The message, even the help text, repeats arguments unescaped. So it is generated again from harmless arguments, if these are
    // wrong in the same way. A closed stdout or stderr does not count as a failure.
    match Cli::try_parse_from(given().map(name)) {
        Err(harmless) if harmless.kind() == error.kind() => drop(with_tip(harmless, runs).print()),
        _ => say(with_tip(error, runs).render()),
    }
    Err(ExitCode::from(status))
}

/// Shortens an error about missing arguments, and replaces the tip in one about an unknown argument. clap's tip, to put the argument
/// after `--`, would run it as a command. `runs` is whether the subcommand takes a COMMAND.
fn with_tip(mut error: clap::Error, runs: bool) -> clap::Error {
    if let (Some(ContextValue::Strings(missing)), Some(ContextValue::StyledStr(usage))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::Usage))
        && error.kind() == ErrorKind::MissingRequiredArgument
    {
        return clap::Error::raw(error.kind(), format!("missing {}\n\n{usage}\n", missing.join(", ")));
    }
    if error.kind() == ErrorKind::UnknownArgument {
        let mut tips = match error.remove(ContextKind::Suggested) {
            Some(ContextValue::StyledStrs(tips)) => tips,
            _ => Vec::new(),
        };
        tips.retain(|tip| !tip.to_string().contains("as a value"));
        // clap only compares letters, and --force replaces a file.
        let of = |kind| if let Some(ContextValue::String(word)) = error.get(kind) { word.as_str() } else { "" };
        if of(ContextKind::SuggestedArg) == "--force" && !of(ContextKind::InvalidArg).starts_with("--forc") {
            error.remove(ContextKind::SuggestedArg);
        }
        if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
            && !word.starts_with('-')
            && tips.is_empty()
            && runs
        {
            tips.extend(mistyped(word).map(|name| format!("a similar subcommand exists: {name}").into()));
            tips.push(match replay_of(word) {
                _ if Cli::command().find_subcommand(word).is_some() => {
                    format!("a subcommand comes before its options: tracetui {word} [OPTIONS]").into()
                }
                Some(command) => format!("to show a recording: {command}").into(),
                None => format!("to trace a command, write -- before it: -- {word}").into(),
            });
        }
        if !tips.is_empty() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    error
}

/// The subcommand whose name is similar to a word. Short names are similar to too many.
fn mistyped(word: &str) -> Option<String> {
    let all = Cli::command();
    let names = all.get_subcommands().map(clap::Command::get_name).filter(|name| name.len() > 3);
    let near = names.filter_map(|name| Some((distance(word.as_bytes(), name.as_bytes())?, name.to_owned())));
    near.min().map(|(_, name)| name)
}

/// Whether the subcommand that `first` names takes a COMMAND. If it names none, the dashboard takes one.
fn runs_a_command(first: &OsStr) -> bool {
    let all = Cli::command();
    all.find_subcommand(first).is_none_or(|found| found.get_arguments().any(|argument| argument.get_id() == "command"))
}

/// Runs the subcommand. One thread drives everything; the ring has its own thread.
fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let None | Some(Command::Print(_) | Command::Record(_) | Command::Doctor(_)) = cli.command {
        fd_limit::make_room()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Some(Command::Print(args)) => command::print::expect::print(args).await,
            Some(Command::Record(args)) => command::record::run(&args).await,
            Some(Command::Replay(args)) => command::replay::run(&args).await,
            Some(Command::Cut(args)) => command::cut::run(&args),
            Some(Command::Export(args)) => command::export::run(&args),
            Some(Command::Files(args)) => command::files::run(&args),
            Some(Command::Diff(args)) => command::diff::run(&args),
            Some(Command::Info(args)) => command::info::info(&args),
            Some(Command::Bpf(args)) => command::bpf::run(&args),
            Some(Command::Doctor(args)) => Ok(command::doctor::run(&args)?),
            Some(Command::Btf(args)) => command::btf::run(&args),
            Some(Command::Completions { shell }) => command::completions::run(shell),
            Some(Command::Man) => command::man::run(),
            Some(Command::Keys(args)) => command::keys::run(&args),
            None if std::io::stdout().is_terminal() => command::dashboard::run(&cli.dashboard).await,
            None => command::print::expect::print(cli.dashboard.into()).await,
        }
    })
}
