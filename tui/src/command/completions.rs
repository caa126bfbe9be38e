//! `tracetui completions SHELL`.

use crate::cli::Cli;
use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::{self, Write};
use std::process::ExitCode;

/// Writes the completions for a shell to stdout.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(shell: Shell) -> Result<ExitCode> {
    io::stdout().write_all(&text(shell))?;
    Ok(ExitCode::SUCCESS)
}

/// The completions for a shell.
pub fn text(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tracetui", &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_has_every_subcommand() {
        for shell in Shell::value_variants() {
            let text = String::from_utf8(text(*shell)).expect("UTF-8");
            for word in ["print", "doctor", "btf", "completions", "ring-size"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
    }
}
