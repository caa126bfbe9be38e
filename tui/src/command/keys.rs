//! `tracetui keys` and docs/KEYS.md: the keys of the dashboard, from the table of keys.

use super::say::paint;
use crate::app::keymap::{Keymap, Section};
use crate::cli::ColorOption;
use crate::text::paint::{Look, Paint};
use anyhow::Result;
use std::io::{self, Write};
use std::process::ExitCode;

/// Writes the keys to stdout.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(color: ColorOption) -> Result<ExitCode> {
    io::stdout().write_all(text(paint(color)).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The keys in aligned columns, a heading before each section.
pub fn text(paint: Paint) -> String {
    let keymap = Keymap::default();
    let rows = Section::ALL.iter().flat_map(|section| keymap.rows(*section, false));
    let width = rows.map(|(keys, _)| keys.len()).max().unwrap_or(0);
    let mut out = String::new();
    for section in Section::ALL {
        out.push_str(if out.is_empty() { "" } else { "\n" });
        out.push_str(&format!("{}\n", paint.text(Look::Strong, section.title())));
        for (keys, help) in keymap.rows(section, false) {
            out.push_str(&format!("  {}  {help}\n", paint.text(Look::Note, &format!("{keys:width$}"))));
        }
    }
    out
}

/// The page of docs/.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Keys of the dashboard\n\nGenerated from the table in `tui/src/app/keymap.rs`, like the footer, the help (`?`) and the output of `tracetui keys`.\n",
    );
    let keymap = Keymap::default();
    for section in Section::ALL {
        out.push_str(&format!("\n## {}\n\n| key | action |\n|---|---|\n", section.title()));
        for binding in keymap.iter().filter(|binding| binding.section == section) {
            let keys: Vec<_> = binding.keys.iter().map(|key| format!("`{}`", key.name())).collect();
            out.push_str(&format!("| {} | {} |\n", keys.join(" "), binding.help));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there() {
        let (text, page) = (text(Paint::Off), markdown());
        for key in Keymap::default().iter().flat_map(|binding| binding.keys.iter()) {
            assert!(text.split_whitespace().any(|word| word == key.name()), "{key:?}");
            assert!(page.contains(&format!("`{}`", key.name())), "{key:?}");
        }
    }
}
