//! Colours: the 16 colours of the terminal, bold and reverse. Colour alone conveys no information.

use crate::text::Charset;
use ratatui::style::{Color, Modifier, Style};
use tracetui_shared::kind::{Colour, Kind};

/// The theme of the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Theme {
    /// Whether colours are used.
    pub colours: Colours,
    /// The charset of the terminal.
    pub charset: Charset,
}

/// Whether colours are used. Bold and reverse are always used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Colours {
    /// The 16 colours of the terminal.
    #[default]
    Sixteen,
    /// No colours: NO_COLOR or `--color never`.
    None,
}

impl Theme {
    fn paint(self, colour: Color) -> Style {
        match self.colours {
            Colours::Sixteen => Style::new().fg(colour),
            Colours::None => Style::new(),
        }
    }

    /// Titles and tabs.
    pub fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Alarms.
    pub fn alarm(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }

    /// The selected row.
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Failures.
    pub fn failure(self) -> Style {
        self.paint(Color::Red)
    }

    /// Gap rows, and rows of what is hidden.
    pub fn gap(self) -> Style {
        self.paint(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// The text that a search matched.
    pub fn found(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// Keys in the footer, names of fields.
    pub fn key(self) -> Style {
        self.paint(Color::Cyan)
    }

    /// The name of a kind.
    pub fn kind(self, kind: Kind) -> Style {
        match kind.colour() {
            Colour::Plain => Style::new(),
            Colour::Green => self.paint(Color::Green),
            Colour::Yellow => self.paint(Color::Yellow),
            Colour::Blue => self.paint(Color::Blue),
            Colour::Magenta => self.paint(Color::Magenta),
            Colour::Alarm => self.gap(),
        }
    }
}
