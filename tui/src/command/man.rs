//! `tracetui man`: the manual page, from the definition of the command line and the table of keys.

use super::config;
use super::keys;
use crate::app::keys::keymap::Keymap;
use crate::cli::Cli;
use anyhow::Result;
use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::{self, Write};
use std::process::ExitCode;
use tracetui_events::text::paint::Paint;

pub fn run() -> Result<ExitCode> {
    io::stdout().write_all(&text()?)?;
    Ok(ExitCode::SUCCESS)
}

/// The manual page: one page, with a section for each subcommand.
pub fn text() -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let mut out = Vec::new();
    let man = Man::new(command.clone());
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        self::subcommand(subcommand, &mut out)?;
    }
    let mut roff = Roff::new();
    roff.control("SH", ["KEYS OF THE DASHBOARD"]);
    roff.control("nf", []).text([roman(keys::text(&Keymap::default(), Paint::Off))]).control("fi", []);
    roff.control("SH", ["CONFIGURATION FILE"]);
    let page = config::markdown();
    let after_title = page.split_once("\n\n").map_or("", |(_, rest)| rest).replace('`', "");
    roff.control("nf", []).text([roman(after_title)]).control("fi", []);
    if let Some(after) = command.get_after_help() {
        roff.control("SH", ["FILTERS, EXAMPLES, EXIT STATUS"]);
        roff.control("nf", []).text([roman(after.to_string())]).control("fi", []);
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("tracetui-ship"), roman("(1), tracetui-record.service, /usr/share/doc/tracetui")]);
    roff.to_writer(&mut out)?;
    man.render_version_section(&mut out)?;
    Ok(out)
}

fn subcommand(command: &clap::Command, out: &mut Vec<u8>) -> io::Result<()> {
    let name = format!("tracetui {}", command.get_name());
    let mut roff = Roff::new();
    roff.control("SH", [name.to_uppercase().as_str()]);
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    roff.text([bold(name), roman(format!(": {about}."))]);
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set() && argument.get_id() != "help") {
        roff.control("TP", []);
        let short = argument.get_short().map(|letter| format!("-{letter}, ")).unwrap_or_default();
        roff.text([bold(format!("{short}{argument}"))]);
        roff.text([roman(argument.get_help().map(ToString::to_string).unwrap_or_default())]);
    }
    if let Some(after) = command.get_after_help() {
        roff.control("PP", []).control("nf", []).text([roman(after.to_string())]).control("fi", []);
    }
    roff.to_writer(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_subcommands_keys_and_filters() {
        let page = String::from_utf8(text().expect("in memory")).expect("UTF-8");
        let titles =
            [".TH tracetui 1", "TRACETUI PRINT", "TRACETUI BTF", "KEYS OF THE DASHBOARD", "CONFIGURATION FILE"];
        for part in titles.into_iter().chain(["only\\-pid", "Ctrl\\-Z", "\\-\\-ring\\-size"]) {
            assert!(page.contains(part), "{part} in\n{page}");
        }
        // A line that starts with a dot would be a command to man(1).
        assert!(page.lines().all(|line| !line.starts_with(".h")), "{page}");
    }
}
