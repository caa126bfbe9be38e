//! The `tracetui` binary: arguments in, exit status out.

use clap::{CommandFactory, Parser};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracetui::cli::{Cli, Command};
use tracetui::command;

/// The exit status for arguments that are wrong.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.lacks_command(std::env::args_os().last().as_deref()) {
        let text = "no COMMAND follows --: without one, everything is traced";
        Cli::command().error(clap::error::ErrorKind::MissingRequiredArgument, text).exit();
    }
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            // Nobody reads any more: that ends it without a word.
            if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
                return ExitCode::SUCCESS;
            }
            eprintln!("tracetui: {error:#}");
            if error.is::<command::trace::BadUsage>() { ExitCode::from(BAD_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// One thread drives everything; the ring has a thread of its own.
fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Some(Command::Print(args)) => command::print::run(&args).await,
            Some(Command::Doctor(args)) => Ok(command::doctor::run(&args)?),
            Some(Command::Btf(args)) => command::btf::run(&args),
            Some(Command::Completions { shell }) => command::completions::run(shell),
            Some(Command::Man) => command::man::run(),
            Some(Command::Keys) => command::keys::run(),
            None if std::io::stdout().is_terminal() => command::live::run(&cli.dashboard).await,
            None => command::print::run(&cli.dashboard.into()).await,
        }
    })
}
