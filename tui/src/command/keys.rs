//! `tracetui keys` and docs/KEYS.md: the keys of the dashboard, from the table of keys.

use super::config::LoadedConfig;
use super::messages::paint;
use crate::app::keys::keymap::{Keymap, Section};
use crate::cli;
use anyhow::Result;
use std::io::{self, Write};
use std::process::ExitCode;
use tracetui_events::text::paint::{Look, Paint};
use tracetui_events::text::{self, Charset};

pub fn run(args: &cli::Keys) -> Result<ExitCode> {
    let loaded = LoadedConfig::read(&args.config)?;
    let color = cli::ColorOption { when: args.color.when.or(loaded.config.color) };
    io::stdout().write_all(text(&loaded.config.preferences.keymap, paint(color)).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The keys in aligned columns, a heading before each section.
pub fn text(keymap: &Keymap, paint: Paint) -> String {
    let width = keymap.iter().map(|binding| text::width(&binding.names())).max().unwrap_or(0).max(1);
    let mut out = String::new();
    for section in Section::ALL {
        out.push_str(if out.is_empty() { "" } else { "\n" });
        out.push_str(&format!("{}\n", paint.text(Look::Strong, section.title())));
        for binding in keymap.iter().filter(|binding| binding.section == section) {
            let (names, about) = (binding.names(), binding.action.about());
            let keys = if names.is_empty() { "-" } else { &names };
            out.push_str(&format!("  {}  {about}\n", paint.text(Look::Note, &text::left(keys, width, Charset::Utf8))));
        }
    }
    out
}

pub fn markdown() -> String {
    let mut out = String::from(
        "# Keys of the dashboard\n\nGenerated from the table in `tui/src/app/keys/keymap/bindings.rs`, like the footer, the help (`?`) and the output of `tracetui keys`.\nThe second column is the name of the action in the section `[keys]` of the [configuration file](CONFIG.md).\n",
    );
    let keymap = Keymap::default();
    let keys = keymap.iter().map(|binding| binding.names().len()).max().unwrap_or(0);
    let names = keymap.iter().map(|binding| binding.action.name().len()).max().unwrap_or(0);
    for section in Section::ALL {
        out.push_str(&format!("\n## {}\n\n", section.title()));
        for binding in keymap.iter().filter(|binding| binding.section == section) {
            let (name, about) = (binding.action.name(), binding.action.about());
            out.push_str(&format!("    {:keys$}  {name:names$}  {about}\n", binding.names()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there() {
        let (text, page) = (text(&Keymap::default(), Paint::Off), markdown());
        for key in Keymap::default().iter().flat_map(|binding| binding.keys.iter()) {
            for shown in [&text, &page] {
                assert!(shown.split_whitespace().any(|word| word == key.name()), "{key:?}");
            }
        }
    }
}
