//! Formatting of bytes, numbers and times. It does not depend on events.
//!
//! | module | purpose |
//! |---|---|
//! | `escape` | escapes control and hidden characters |
//! | `width` | cells of the terminal: measured, cut, filled, wrapped |
//! | [`json`] | JSON strings |
//! | `number` | counts |
//! | [`paint`] | colours and weights |
//! | [`shell`] | quoted shell words |
//! | [`time`] | times and durations |

mod escape;
pub mod json;
mod number;
pub mod paint;
pub mod shell;
pub mod time;
mod width;

#[cfg(test)]
pub(crate) use escape::tests::unescape;
pub use escape::{Mode, Text, escape, escaped, is_hostile};
pub use number::{counted, grouped, short};
pub use width::{cut, cut_middle, escape_in, head, left, right, skip, value_in, width, wrap};

/// The replacement for a match of `--redact`.
pub(crate) const REDACTED: &str = "…";

/// The charset of the terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Charset {
    #[default]
    Utf8,
    /// ASCII: the locale is not UTF-8.
    Ascii,
}

impl Charset {
    /// The escape mode for text on the screen.
    pub fn mode(self) -> Mode {
        match self {
            Charset::Utf8 => Mode::Screen,
            Charset::Ascii => Mode::Ascii,
        }
    }

    /// The escape mode for output whose escapes can be undone.
    pub fn reversible(self) -> Mode {
        match self {
            Charset::Utf8 => Mode::Reversible,
            Charset::Ascii => Mode::ReversibleAscii,
        }
    }
}
