//! Bytes become screen text here, and text is made to fit.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

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
    /// What stands for what was left out.
    pub fn ellipsis(self) -> &'static str {
        match self {
            Charset::Utf8 => "…",
            Charset::Ascii => "~",
        }
    }
}

/// Whether a character is one that is not seen, or that changes how others are: control, bidi, zero width.
pub fn is_hidden(letter: char) -> bool {
    let bidi =
        matches!(letter, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let odd =
        matches!(letter, '\u{00ad}' | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    bidi || odd || letter.width().unwrap_or(0) == 0
}

/// Bytes from outside as text that is safe to show; nothing is hidden, nothing moves the cursor.
pub fn escape(bytes: &[u8]) -> String {
    escape_in(bytes, Charset::Utf8, usize::MAX)
}

/// The same for a charset, up to the first character that lies beyond `cells`.
pub fn escape_in(bytes: &[u8], charset: Charset, cells: usize) -> String {
    let mut out = String::new();
    let mut width = 0;
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            width += push_char(letter, charset, &mut out);
            if width > cells {
                return out;
            }
        }
        for byte in chunk.invalid() {
            width += push_byte(*byte, &mut out);
            if width > cells {
                return out;
            }
        }
    }
    out
}

fn push_char(letter: char, charset: Charset, out: &mut String) -> usize {
    let before = out.len();
    match letter {
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        ' '..='~' => out.push(letter),
        _ if letter.is_ascii() => return push_byte(letter as u8, out),
        _ if is_hidden(letter) || charset == Charset::Ascii => out.push_str(&format!("\\u{{{:x}}}", u32::from(letter))),
        _ => {
            out.push(letter);
            return letter.width().unwrap_or(0);
        }
    }
    out.len() - before
}

fn push_byte(byte: u8, out: &mut String) -> usize {
    out.push_str(&format!("\\x{byte:02x}"));
    4
}

/// How many cells a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The first `cells` cells of a text.
fn head(text: &str, cells: usize) -> &str {
    let mut used = 0;
    for (at, letter) in text.char_indices() {
        used += letter.width().unwrap_or(0);
        if used > cells {
            return text.get(..at).unwrap_or_default();
        }
    }
    text
}

/// What is left of a text without its first `cells` cells.
pub fn skip(text: &str, cells: usize) -> &str {
    text.get(head(text, cells).len()..).unwrap_or_default()
}

/// The last `cells` cells of a text.
fn tail(text: &str, cells: usize) -> &str {
    let mut used = 0;
    for (at, letter) in text.char_indices().rev() {
        used += letter.width().unwrap_or(0);
        if used > cells {
            return text.get(at + letter.len_utf8()..).unwrap_or_default();
        }
    }
    text
}

/// A text cut at its end to `cells` cells.
pub fn cut(text: &str, cells: usize, charset: Charset) -> String {
    match width(text) <= cells {
        true => text.to_owned(),
        false if cells == 0 => String::new(),
        false => format!("{}{}", head(text, cells - 1), charset.ellipsis()),
    }
}

/// A text cut in its middle to `cells` cells: of a path, the beginning and the name stay.
pub fn cut_middle(text: &str, cells: usize, charset: Charset) -> String {
    if width(text) <= cells || cells < 8 {
        return cut(text, cells, charset);
    }
    let end = tail(text, (cells - 1) * 2 / 3);
    // Better whole names at the end than half of one.
    let end = end.find('/').and_then(|slash| end.get(slash..)).filter(|whole| width(whole) >= cells / 3).unwrap_or(end);
    let begin = head(text, cells - 1 - width(end));
    let begin = begin.rfind('/').and_then(|slash| begin.get(..=slash)).filter(|whole| whole.len() > 1).unwrap_or(begin);
    format!("{begin}{}{end}", charset.ellipsis())
}

/// A text cut or filled with spaces to exactly `cells` cells.
pub fn left(text: &str, cells: usize, charset: Charset) -> String {
    let mut out = cut(text, cells, charset);
    out.extend(std::iter::repeat_n(' ', cells.saturating_sub(width(&out))));
    out
}

/// The same with the text at the right.
pub fn right(text: &str, cells: usize, charset: Charset) -> String {
    let cut = cut(text, cells, charset);
    let mut out = " ".repeat(cells.saturating_sub(width(&cut)));
    out.push_str(&cut);
    out
}

/// A text broken into lines of at most `cells` cells; at spaces where there are some.
pub fn wrap(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(1);
    let mut lines = Vec::new();
    let mut rest = text;
    while width(rest) > cells {
        let line = head(rest, cells);
        let at_space = line.rfind(' ').filter(|space| *space > line.len() / 2).map_or(line.len(), |space| space + 1);
        // A character wider than the line still has to go somewhere.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let (line, after) = rest.split_at(at_space.max(first));
        lines.push(line.trim_end().to_owned());
        rest = after;
    }
    lines.push(rest.to_owned());
    lines
}

/// A count in at most five characters: `842`, `45.3k`, `1.2M`.
pub fn short(count: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    if count < 10_000 {
        return crate::app::grouped(count);
    }
    match UNITS.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) if count / unit >= 100 => format!("{}{name}", count / unit),
        Some((unit, name)) => format!("{}.{}{name}", count / unit, count % unit * 10 / unit),
        None => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_stays_hidden() {
        assert_eq!(escape(b"a\x1b[2J\x07\n\t\x7f"), r"a\x1b[2J\x07\n\t\x7f");
        assert_eq!(escape("\u{9b}31m\u{202e}x\u{200b}é漢".as_bytes()), r"\u{9b}31m\u{202e}x\u{200b}é漢");
        assert_eq!(escape(b"a\xff\xc3"), r"a\xff\xc3");
        assert_eq!(escape_in("é".as_bytes(), Charset::Ascii, 80), r"\u{e9}");
        assert_eq!(escape_in(b"abcdef", Charset::Utf8, 3), "abcd");
    }

    #[test]
    fn texts_fit_by_cells() {
        let u = Charset::Utf8;
        assert_eq!(left("漢字", 3, u), "漢…");
        assert_eq!(left("漢字", 2, u), "… ");
        assert_eq!(right("7", 3, u), "  7");
        assert_eq!(cut("abc", 0, u), "");
        assert_eq!(cut("abcd", 3, Charset::Ascii), "ab~");
        assert_eq!(cut_middle("/usr/local/include/12/include-fixed", 26, u), "/usr/local/…/include-fixed");
        assert_eq!(skip("漢字x", 3), "字x");
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrap("cc -O2 -c main.c", 8), ["cc -O2", "-c main.", "c"]);
        assert_eq!(wrap("漢", 1), ["漢", ""]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn counts_are_short() {
        let counts = [7, 9_999, 45_310, 123_456, 1_234_567];
        assert_eq!(counts.map(short), ["7", "9,999", "45.3k", "123k", "1.2M"]);
    }
}
