//! Text made to fit: cut, filled, wrapped; counts made short. Bytes become text in [`super::escape`].

use super::escape::{self, Ellipsis, Mode, head, tail};

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
    fn ellipsis(self) -> Ellipsis {
        match self {
            Charset::Utf8 => Ellipsis::Sign,
            Charset::Ascii => Ellipsis::Dots,
        }
    }

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

/// Bytes that one cell is made of at most: a character with all the marks that may stand on it.
const BYTES_PER_CELL: usize = 40;

/// Bytes from outside as text that is safe to show.
pub fn escape(bytes: &[u8]) -> String {
    escape_in(bytes, Charset::Utf8, usize::MAX)
}

/// The same for a charset; of what lies beyond `cells` only so much that it is seen to be cut.
pub fn escape_in(bytes: &[u8], charset: Charset, cells: usize) -> String {
    let most = cells.saturating_add(1).saturating_mul(BYTES_PER_CELL);
    escape::escaped(bytes.get(..most).unwrap_or(bytes), charset.mode()).into_owned()
}

/// How many cells a text takes.
pub fn width(text: &str) -> usize {
    escape::width(text)
}

/// What is left of a text without its first `cells` cells.
pub fn skip(text: &str, cells: usize) -> &str {
    text.get(head(text, cells).len()..).unwrap_or_default()
}

/// A text cut at its end to `cells` cells.
pub fn cut(text: &str, cells: usize, charset: Charset) -> String {
    escape::truncate_end(text, cells, charset.ellipsis()).into_owned()
}

/// A text cut in its middle to `cells` cells: of a path, the beginning and the name stay.
pub fn cut_middle(text: &str, cells: usize, charset: Charset) -> String {
    if width(text) <= cells || cells < 8 {
        return cut(text, cells, charset);
    }
    let sign = charset.ellipsis().fit(cells);
    let room = cells - width(sign);
    let begin = head(text, room / 3);
    let begin = begin.rfind('/').and_then(|slash| begin.get(..=slash)).filter(|whole| whole.len() > 1).unwrap_or(begin);
    let end = tail(text, room - width(begin));
    // Better whole names at the end than a bit more and half of one.
    let end = end.find('/').and_then(|slash| end.get(slash..)).filter(|whole| width(whole) >= cells / 2).unwrap_or(end);
    format!("{begin}{sign}{end}")
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
    fn texts_fit_by_cells() {
        let u = Charset::Utf8;
        assert_eq!(left("漢字", 3, u), "漢…");
        assert_eq!(left("漢字", 2, u), "… ");
        assert_eq!(right("7", 3, u), "  7");
        assert_eq!(cut("abc", 0, u), "");
        assert_eq!(cut("abcde", 4, Charset::Ascii), "a...");
        assert_eq!(cut_middle("/usr/local/include/12/include-fixed", 26, u), "/usr/…/12/include-fixed");
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
