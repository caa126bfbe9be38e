//! Widths in terminal cells, and text that is cut, filled or wrapped to a width.

use super::Charset;
use super::escape::{Mode, escaped, printable_len};
use unicode_width::UnicodeWidthChar;

/// The width of an escaped text in terminal cells: the sum of the widths of its characters, which a terminal places one after the
/// other. The width of the whole text is smaller if two characters can form one letter (lam and alef).
pub fn width(text: &str) -> usize {
    if printable_len(text.as_bytes(), []) == text.len() {
        return text.len();
    }
    text.chars().map(|letter| letter.width().unwrap_or(0)).sum()
}

/// The longest prefix of at most `cells` cells.
pub fn head(text: &str, cells: usize) -> &str {
    let mut left = cells;
    for (at, c) in text.char_indices() {
        match left.checked_sub(c.width().unwrap_or(0)) {
            Some(rest) => left = rest,
            None => return text.get(..at).unwrap_or_default(),
        }
    }
    text
}

/// The longest suffix that takes at most `cells` cells and does not start with a combining mark.
fn tail(text: &str, cells: usize) -> &str {
    let mut left = cells;
    let mut start = text.len();
    for (at, c) in text.char_indices().rev() {
        let width = c.width().unwrap_or(0);
        match left.checked_sub(width) {
            Some(rest) => left = rest,
            None => break,
        }
        if width > 0 {
            start = at;
        }
    }
    text.get(start..).unwrap_or_default()
}

/// The ellipsis that marks omitted text, cut to `cells` cells.
fn sign(charset: Charset, cells: usize) -> &'static str {
    match charset {
        Charset::Utf8 if cells > 0 => "…",
        Charset::Utf8 => "",
        Charset::Ascii => "...".get(..cells.min(3)).unwrap_or_default(),
    }
}

/// The maximum of bytes per cell: a character with all the combining marks that [`escape`](super::escape()) allows.
const BYTES_PER_CELL: usize = 40;

/// Escapes untrusted bytes for a field of `cells` cells. Bytes beyond the field are omitted, except for enough of them
/// to show that the text is cut.
pub fn escape_in(bytes: &[u8], charset: Charset, cells: usize) -> String {
    within(bytes, charset.mode(), cells)
}

/// Like [`escape_in`], for the value of an event: a backslash is doubled, so that an escape differs from text that looks like one.
pub fn value_in(bytes: &[u8], charset: Charset, cells: usize) -> String {
    within(bytes, charset.reversible(), cells)
}

fn within(bytes: &[u8], mode: Mode, cells: usize) -> String {
    let most = cells.saturating_add(1).saturating_mul(BYTES_PER_CELL);
    escaped(bytes.get(..most).unwrap_or(bytes), mode).into_owned()
}

/// The last position up to a byte, and the first one from it on, that are not within an escape.
fn around_escape(text: &str, at: usize) -> (usize, usize) {
    let mut from = 0;
    while let Some(next) = text.get(from..at).and_then(|text| text.find('\\')) {
        let start = from + next;
        let rest = &text.as_bytes()[start + 1..];
        let length = match rest.first() {
            Some(b'\\' | b'n' | b't' | b'r') => 2,
            Some(b'x') if rest.get(1..3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) => 4,
            Some(b'u') => rest.iter().take(9).position(|byte| *byte == b'}').map_or(1, |end| end + 2),
            _ => 1,
        };
        from = start + length;
        if from > at {
            return (start, from);
        }
    }
    (at, at)
}

/// The longest prefix of at most `cells` cells that does not end within an escape.
fn whole_head(text: &str, cells: usize) -> &str {
    let (end, _) = around_escape(text, head(text, cells).len());
    text.get(..end).unwrap_or_default()
}

/// The longest suffix of at most `cells` cells that does not begin within an escape.
fn whole_tail(text: &str, cells: usize) -> &str {
    let (_, start) = around_escape(text, text.len() - tail(text, cells).len());
    text.get(start..).unwrap_or_default()
}

/// A text without its first `cells` cells.
pub fn skip(text: &str, cells: usize) -> &str {
    text.get(head(text, cells).len()..).unwrap_or_default()
}

/// A text cut at its end to `cells` cells, with an ellipsis if something is omitted.
pub fn cut(text: &str, cells: usize, charset: Charset) -> String {
    if head(text, cells).len() == text.len() {
        return text.to_owned();
    }
    let sign = sign(charset, cells);
    [whole_head(text, cells - width(sign)), sign].concat()
}

/// A text cut in its middle to `cells` cells. A path keeps its beginning and its file name.
pub fn cut_middle(text: &str, cells: usize, charset: Charset) -> String {
    if width(text) <= cells || cells < 8 {
        return cut(text, cells, charset);
    }
    let sign = sign(charset, cells);
    let room = cells - width(sign);
    let begin = whole_head(text, room / 3);
    let begin = begin.rfind('/').and_then(|slash| begin.get(..=slash)).filter(|whole| whole.len() > 1).unwrap_or(begin);
    let end = whole_tail(text, room - width(begin));
    // Complete names at the end are better than a longer text with a partial name.
    let end = end.find('/').and_then(|slash| end.get(slash..)).filter(|whole| width(whole) >= cells / 2).unwrap_or(end);
    format!("{begin}{sign}{end}")
}

/// A text cut or filled with spaces to exactly `cells` cells.
pub fn left(text: &str, cells: usize, charset: Charset) -> String {
    let mut out = cut(text, cells, charset);
    out.extend(std::iter::repeat_n(' ', cells.saturating_sub(width(&out))));
    out
}

/// Like [`left`], with the text at the right.
pub fn right(text: &str, cells: usize, charset: Charset) -> String {
    let cut = cut(text, cells, charset);
    let mut out = " ".repeat(cells.saturating_sub(width(&cut)));
    out.push_str(&cut);
    out
}

/// A text broken into lines of at most `cells` cells, at spaces where possible.
pub fn wrap(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(1);
    let mut lines = Vec::new();
    let mut rest = text;
    while width(rest) > cells {
        let line = head(rest, cells);
        let at_space = line.rfind(' ').filter(|space| *space > line.len() / 2).map_or(line.len(), |space| space + 1);
        // A character wider than the line must be placed too, or the loop would not end.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let (line, after) = rest.split_at(at_space.max(first));
        lines.push(line.trim_end().to_owned());
        rest = after;
    }
    lines.push(rest.to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::super::escape::tests::hostile;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_and_escapes_fit_by_cells() {
        let u = Charset::Utf8;
        assert_eq!(left("漢字", 3, u), "漢…");
        assert_eq!(left("漢字", 2, u), "… ");
        assert_eq!(right("7", 3, u), "  7");
        assert_eq!(cut("abcde", 4, Charset::Ascii), "a...");
        assert_eq!(cut_middle("/usr/local/include/12/include-fixed", 26, u), "/usr/…/12/include-fixed");
        assert_eq!(skip("漢字x", 3), "字x");
        assert_eq!(wrap("cc -O2 -c main.c", 8), ["cc -O2", "-c main.", "c"]);
        assert_eq!(wrap("漢", 1), ["漢", ""]);
        assert_eq!(wrap("", 5), [""]);
        check_cut("abcdef", 6, "abcdef");
        check_cut("abcdef", 5, "abcd…");
        check_cut("abcdef", 4, "abc…");
        check_cut("abcdef", 1, "…");
        check_cut("abcdef", 0, "");
        check_cut("中文文件", 5, "中文…");
        check_cut("中文文件", 4, "中…");
        check_cut("ae\u{301}bcde\u{301}", 4, "ae\u{301}b…");
        assert_eq!(cut("abcdef", 5, Charset::Ascii), "ab...");
        assert_eq!(cut("abcdef", 2, Charset::Ascii), "..");
        // An escape is shown whole or not at all.
        check_cut("ab\\x1bcd", 7, "ab\\x1b…");
        for cells in 3..7 {
            check_cut("ab\\x1bcdefg", cells, if cells < 7 { "ab…" } else { "" });
        }
        check_cut("\\\\x41bcd", 4, "\\\\x…");
        check_cut("a\\u{202e}bcdef", 9, "a…");
        check_cut("a\\u{202e}bcdef", 10, "a\\u{202e}…");
        check_cut("C:\\dir", 4, "C:\\…");
        check_cut("a\\", 2, "a\\");
        let cut = |cells| cut_middle("/home/abc\\x1b/def\\u{202e}", cells, Charset::Utf8);
        assert_eq!(cut(11), "/ho…");
        assert_eq!((cut(12), cut(18)), ("/ho…\\u{202e}".to_owned(), "/home…/def\\u{202e}".to_owned()));
    }

    #[track_caller]
    fn check_cut(text: &str, cells: usize, start: &str) {
        assert_eq!(cut(text, cells, Charset::Utf8), start);
    }

    proptest! {
        #[test]
        fn no_text_takes_more_than_its_cells(bytes in hostile(), cells in 0usize..40) {
            let text = escaped(&bytes, Charset::Utf8.mode());
            for charset in [Charset::Utf8, Charset::Ascii] {
                prop_assert!(width(&cut(&text, cells, charset)) <= cells);
                prop_assert!(width(&cut_middle(&text, cells, charset)) <= cells);
            }
        }
    }
}
