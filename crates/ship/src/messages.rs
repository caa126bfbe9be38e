//! Messages on stderr.

use std::io::Write as _;
use tracetui_events::text::{Charset, escaped, without_codes};

/// The most bytes of a message. An answer of a server can be longer.
const MOST: usize = 2_000;

/// Prints a line. Control characters, from names in recordings and answers of servers, are escaped.
pub(crate) fn say(text: impl std::fmt::Display) {
    let text = without_codes(&text.to_string());
    let bytes = text.as_bytes();
    let line = escaped(bytes.get(..MOST).unwrap_or(bytes), Charset::Ascii.mode());
    // An error of stderr cannot be reported.
    let _ = writeln!(std::io::stderr(), "tracetui-ship: {line}");
}
