//! The colours of named themes (`--theme`).

use ratatui::style::Color;

/// A named theme: colours for the background, the text and the roles, in place of the terminal's own.
#[derive(PartialEq, Eq, Debug)]
pub struct Palette {
    pub name: &'static str,
    /// `None`: the colours of the terminal.
    pub(crate) colours: Option<Hues>,
}

/// Colours as `0xrrggbb`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hues {
    background: u32,
    text: u32,
    quiet: u32,
    red: u32,
    green: u32,
    yellow: u32,
    magenta: u32,
    cyan: u32,
}

/// The named themes. The first one is the default.
pub static PALETTES: [Palette; 7] = [
    Palette { name: "terminal", colours: None },
    palette("catppuccin-latte", [0xeff1f5, 0x4c4f69, 0x6c6f85, 0xd20f39, 0x2f8a1f, 0xb5690a, 0x8839ef, 0x179299]),
    palette("dracula", [0x282a36, 0xf8f8f2, 0x9aa4cf, 0xff5555, 0x50fa7b, 0xf1fa8c, 0xff79c6, 0x8be9fd]),
    palette("gruvbox-dark", [0x282828, 0xebdbb2, 0xa89984, 0xfb4934, 0xb8bb26, 0xfabd2f, 0xd3869b, 0x8ec07c]),
    palette("nord", [0x2e3440, 0xeceff4, 0x9aa5b8, 0xbf616a, 0xa3be8c, 0xebcb8b, 0xb48ead, 0x88c0d0]),
    palette("solarized-dark", [0x002b36, 0xeee8d5, 0x839496, 0xdc322f, 0x859900, 0xb58900, 0xd33682, 0x2aa198]),
    palette("solarized-light", [0xfdf6e3, 0x073642, 0x657b83, 0xdc322f, 0x738a00, 0xa67c00, 0xd33682, 0x1f8f86]),
];

const fn palette(
    name: &'static str,
    [background, text, quiet, red, green, yellow, magenta, cyan]: [u32; 8],
) -> Palette {
    Palette { name, colours: Some(Hues { background, text, quiet, red, green, yellow, magenta, cyan }) }
}

fn rgb(colour: u32) -> Color {
    let [_, r, g, b] = colour.to_be_bytes();
    Color::Rgb(r, g, b)
}

impl Hues {
    pub(crate) fn background(self) -> Color {
        rgb(self.background)
    }

    pub(crate) fn text(self) -> Color {
        rgb(self.text)
    }

    /// In place of dim text.
    pub(crate) fn quiet(self) -> Color {
        rgb(self.quiet)
    }

    /// The colour in place of one of the terminal's.
    pub(crate) fn of(self, colour: Color) -> Color {
        match colour {
            Color::Black => rgb(self.background),
            Color::Red => rgb(self.red),
            Color::Green => rgb(self.green),
            Color::Yellow => rgb(self.yellow),
            Color::Magenta => rgb(self.magenta),
            Color::Cyan => rgb(self.cyan),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contrast ratio of WCAG 2.1, from 1 to 21.
    fn contrast(a: u32, b: u32) -> f64 {
        let luminance = |colour: u32| {
            let [_, r, g, b] = colour.to_be_bytes().map(|part| {
                let part = f64::from(part) / 255.0;
                if part <= 0.03928 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
            });
            0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05
        };
        let (a, b) = (luminance(a), luminance(b));
        a.max(b) / a.min(b)
    }

    #[test]
    fn text_is_readable_in_every_theme() {
        for Palette { name, colours } in &PALETTES {
            let Some(hues) = colours else { continue };
            let ratio = |colour| contrast(colour, hues.background);
            assert!(ratio(hues.text) >= 7.0, "{name}: text {:.1}", ratio(hues.text));
            assert!(ratio(hues.quiet) >= 4.0, "{name}: quiet {:.1}", ratio(hues.quiet));
            for (role, colour) in [
                ("red", hues.red),
                ("green", hues.green),
                ("yellow", hues.yellow),
                ("magenta", hues.magenta),
                ("cyan", hues.cyan),
            ] {
                assert!(ratio(colour) >= 2.9, "{name}: {role} {:.1}", ratio(colour));
            }
        }
    }
}
