//! The `tracetui` binary: arguments in, exit status out.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracetui::cli::{Cli, Command};
use tracetui::command;
use tracetui::command::playback::replay_of;
use tracetui::command::say::{name, say};
use tracetui::source::host::files;

/// The exit status for arguments that are wrong.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match arguments() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            // Nobody reads any more: that ends it without a word.
            if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
                return ExitCode::SUCCESS;
            }
            say(format_args!("tracetui: {error:#}"));
            if error.is::<command::session::BadUsage>() { ExitCode::from(BAD_USAGE) } else { ExitCode::FAILURE }
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
    // The text, also that of help, repeats arguments as they are. So it is made anew from harmless ones, where they are wrong
    // the same way. A closed stdout or stderr is no failure.
    match Cli::try_parse_from(given().map(name)) {
        Err(harmless) if harmless.kind() == error.kind() => drop(with_tip(harmless, runs).print()),
        _ => say(with_tip(error, runs).render()),
    }
    Err(ExitCode::from(status))
}

/// An error about an unknown argument with a tip that helps. That of clap, to put it after `--`, would run it as a command.
/// `runs`: what it was given to runs a COMMAND.
fn with_tip(mut error: clap::Error, runs: bool) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument {
        let mut tips = match error.remove(ContextKind::Suggested) {
            Some(ContextValue::StyledStrs(tips)) => tips,
            _ => Vec::new(),
        };
        tips.retain(|tip| !tip.to_string().contains("as a value"));
        if misleads(&error) {
            error.remove(ContextKind::SuggestedArg);
        }
        if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
            && !word.starts_with('-')
            && tips.is_empty()
            && runs
        {
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

/// Whether a COMMAND can be given to the subcommand with which the arguments begin, or to the dashboard.
fn runs_a_command(first: &OsStr) -> bool {
    let all = Cli::command();
    all.find_subcommand(first).is_none_or(|found| found.get_arguments().any(|argument| argument.get_id() == "command"))
}

/// Whether the option that clap takes for the meant one does something else: it only compares letters.
fn misleads(error: &clap::Error) -> bool {
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => word.as_str(),
        _ => "",
    };
    match (of(ContextKind::InvalidArg), of(ContextKind::SuggestedArg)) {
        // It replaces a file.
        (given, "--force") => !given.starts_with("--forc"),
        ("--file" | "--files" | "--output", suggested) => suggested != "--output",
        _ => false,
    }
}

/// One thread drives everything; the ring has a thread of its own.
fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let None | Some(Command::Print(_) | Command::Record(_) | Command::Doctor(_)) = cli.command {
        files::make_room()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Some(Command::Print(args)) if args.recordings.is_empty() => command::print::run(&args).await,
            Some(Command::Print(args)) => command::read::print(&args),
            Some(Command::Record(args)) => command::record::run(&args).await,
            Some(Command::Replay(args)) => command::replay::run(&args).await,
            Some(Command::Cut(args)) => command::cut::run(&args),
            Some(Command::Export(args)) => command::export::run(&args),
            Some(Command::Diff(args)) => command::diff::run(&args),
            Some(Command::Info(args)) => command::read::info(&args),
            Some(Command::Bpf(args)) => command::bpf::run(&args),
            Some(Command::Doctor(args)) => Ok(command::doctor::run(&args)?),
            Some(Command::Btf(args)) => command::btf::run(&args),
            Some(Command::Completions { shell }) => command::completions::run(shell),
            Some(Command::Man) => command::man::run(),
            Some(Command::Keys(args)) => command::keys::run(&args),
            None if std::io::stdout().is_terminal() => command::dashboard::run(&cli.dashboard).await,
            None => command::print::run(&cli.dashboard.into()).await,
        }
    })
}
