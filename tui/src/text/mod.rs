//! Text: how bytes, numbers and times are written for people and for programs. It knows nothing of events.
//!
//! | module | what it does |
//! |---|---|
//! | `escape` | bytes become text that controls nothing and hides nothing |
//! | `width` | cells of the terminal: measured, cut, filled, wrapped |
//! | [`json`] | JSON strings |
//! | `number` | counts |
//! | [`shell`] | words that a shell takes as they were |
//! | [`time`] | times and durations |

mod escape;
pub mod json;
mod number;
pub mod shell;
pub mod time;
mod width;

#[cfg(test)]
pub(crate) use escape::tests::unescape;
pub use escape::{Mode, Text, escape, escaped, is_hostile};
pub use number::{grouped, short};
pub use width::{cut, cut_middle, escape_in, head, left, right, skip, width, wrap};

/// What the terminal can show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Charset {
    /// Everything.
    #[default]
    Utf8,
    /// ASCII: the locale is not UTF-8.
    Ascii,
}

impl Charset {
    /// How to escape what is shown.
    pub(crate) fn mode(self) -> Mode {
        match self {
            Charset::Utf8 => Mode::Screen,
            Charset::Ascii => Mode::Ascii,
        }
    }

    /// How to escape what is to be had back.
    pub(crate) fn reversible(self) -> Mode {
        match self {
            Charset::Utf8 => Mode::Reversible,
            Charset::Ascii => Mode::ReversibleAscii,
        }
    }
}
