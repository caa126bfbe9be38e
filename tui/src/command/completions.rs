//! `tracetui completions SHELL`.

use crate::cli::Cli;
use anyhow::Result;
use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use std::io::{self, Write};
use std::process::ExitCode;

pub fn run(shell: Shell) -> Result<ExitCode> {
    io::stdout().write_all(&text(shell))?;
    Ok(ExitCode::SUCCESS)
}

pub fn text(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    let mut command = hinted(Cli::command());
    clap_complete::generate(shell, &mut command, "tracetui", &mut out);
    match shell {
        Shell::Bash => mended(&String::from_utf8_lossy(&out), &command).into_bytes(),
        _ => out,
    }
}

/// A command whose options declare the kind of their values. Otherwise values that are not paths would be completed as paths.
fn hinted(command: Command) -> Command {
    let hint = |arg: Arg| match (arg.get_id().as_str(), arg.get_value_hint()) {
        ("uid", _) => arg.value_hint(ValueHint::Username),
        ("command", _) => arg,
        (_, ValueHint::Unknown) if arg.get_action().takes_values() && arg.get_possible_values().is_empty() => {
            arg.value_hint(ValueHint::Other)
        }
        _ => arg,
    };
    command.mut_args(hint).mut_subcommands(hinted)
}

/// Corrects the script for bash. Words after `--` are a command, and `--kind` takes a list. The shell itself completes file names, even
/// those with spaces.
fn mended(script: &str, command: &Command) -> String {
    // The lines that clap writes for options, for files and for other values.
    const OPTIONS: &str = r#"COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )"#;
    const FILES: &str = r#"COMPREPLY=($(compgen -f "${cur}"))"#;
    const OTHER: &str = r#"COMPREPLY=("${cur}")"#;
    let takes_files = |name: &str| {
        let of = command.find_subcommand(name);
        of.is_some_and(|of| of.get_positionals().any(|arg| arg.get_value_hint() == ValueHint::AnyPath))
    };
    let (mut files, mut option) = (false, "");
    let mut out = String::new();
    for line in script.lines() {
        let text = line.trim_start();
        let indent = &line[..line.len() - text.len()];
        if let Some(name) = text.strip_suffix(')').filter(|_| indent.len() == 8) {
            files = takes_files(name.trim_start_matches("tracetui__subcmd__"));
        }
        let mended = match text {
            OPTIONS if files && indent.len() == 12 => "COMPREPLY=()".to_owned(),
            FILES if option == "--uid" => r#"COMPREPLY=( $(compgen -u -- "${cur}") )"#.to_owned(),
            FILES | OTHER => "COMPREPLY=()".to_owned(),
            // File names would be wrong for values that are neither files nor words.
            "compopt -o nospace" => "compopt +o bashdefault +o default".to_owned(),
            _ if files && indent.len() == 12 => text.replace(" || ${COMP_CWORD} -eq 2", ""),
            _ if matches!(option, "--kind" | "--stack") => {
                let (list, word) = (r#"compgen -P "${cur%"${cur##*,}"}" -W"#, r#""${cur##*,}""#);
                text.replace("compgen -W", list).replace(r#""${cur}""#, word)
            }
            _ => text.to_owned(),
        };
        option = text.strip_suffix(')').unwrap_or_default();
        out.extend([indent, &mended, "\n"]);
        if text == "opts=\"\"" {
            out.push_str(COMMAND);
        }
    }
    out
}

/// Completes the words after `--`.
const COMMAND: &str = r#"
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            if ((i + 1 == COMP_CWORD)); then
                COMPREPLY=( $(compgen -c -- "${cur}") )
            fi
            return 0
        fi
    done
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;
    use std::process;

    #[test]
    fn every_shell_has_every_subcommand_and_bash_offers_what_can_stand_there() {
        for shell in Shell::value_variants() {
            let text = String::from_utf8(text(*shell)).expect("UTF-8");
            for word in ["print", "doctor", "btf", "completions", "ring-size"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
        for (words, want) in [
            (&["tracetui", "print", "--kind", "ex"][..], "exec exit"),
            (&["tracetui", "--kind", "ex"], "exec exit"),
            (&["tracetui", "record", "--kind", "exec,o"], "exec,open"),
            (&["tracetui", "print", "--stack", "bpf,n"], "bpf,none"),
            (&["tracetui", "rep"], "replay"),
            (&["tracetui", "replay", ""], ""),
            (&["tracetui", "replay", "a.ttr", ""], ""),
            (&["tracetui", "print", "--failed", ""], ""),
            (&["tracetui", "replay", "--sp"], "--speed"),
            (&["tracetui", "replay", "--no-"], "--no-config"),
            (&["tracetui", "--config", ""], ""),
            (&["tracetui", "keys", "--config", ""], ""),
            (&["tracetui", "diff", "a.ttr", ""], ""),
            (&["tracetui", "record", "-o", ""], ""),
            (&["tracetui", "print", "--comm", ""], "nothing"),
            (&["tracetui", "print", "--format", "j"], "json"),
            (&["tracetui", "completions", "fi"], "fish"),
            (&["tracetui", "print", "--uid", "roo"], "root"),
            (&["tracetui", "--", "print", "--ki"], ""),
        ] {
            assert_eq!(offered(words), want, "{words:?}");
        }
        let commands = offered(&["tracetui", "--failed", "--", "bas"]);
        assert!(commands.split_whitespace().any(|command| command == "bash"), "{commands}");
    }

    /// The completions that bash offers for the last of these words; empty if it offers file names.
    fn offered(words: &[&str]) -> String {
        let script = format!(
            "{}\ncompopt() {{ echo nothing; }}\nCOMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))\n\
             _tracetui tracetui \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\"",
            String::from_utf8(text(Shell::Bash)).expect("UTF-8")
        );
        let ran = process::Command::new("bash").args(["--norc", "-c", &script, "bash"]).args(words).output();
        let ran = ran.expect("bash runs");
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{words:?}");
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }
}
