//! The manual page, from the definition of the command line.

use crate::cli::Ship;
use anyhow::Result;
use clap::CommandFactory as _;
use clap_mangen::Man;
use std::io::{Write as _, stdout};
use std::process::ExitCode;

/// Prints the page.
pub(crate) fn man() -> Result<ExitCode> {
    stdout().write_all(page()?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn page() -> Result<String> {
    let mut command = Ship::command();
    command.build();
    let (man, mut out) = (Man::new(command), Vec::new());
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    Ok(String::from_utf8(out)?
        + ".SH SEE ALSO\n.BR tracetui (1),\ntracetui-ship.service, /usr/share/doc/tracetui/docs/FLEET.md\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_has_the_options() {
        let page = super::page().expect("in memory");
        for part in [".TH tracetui-ship 1", "\\-\\-spool", "\\-\\-keep"] {
            assert!(page.contains(part), "{part} in\n{page}");
        }
        assert!(!page.contains("\\-\\-pause"), "a hidden option in\n{page}");
    }
}
