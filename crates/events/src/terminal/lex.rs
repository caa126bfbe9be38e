//! Splits COMMAND's output into text and escape sequences (ECMA-48, 5.4 and 5.6), wherever the writes are split. Only whole
//! sequences reach the screen. Strings such as titles are left out.

/// The longest escape sequence. Longer ones are left out.
const LONGEST: usize = 128;

const ESC: u8 = 0x1b;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece<'a> {
    /// Characters and controls. A character may be split between two pieces.
    Text(&'a [u8]),
    /// A whole sequence: [`Lexer::sequence`].
    Sequence,
}

/// The position of the next byte in the syntax.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Text,
    /// After ESC and intermediate bytes.
    Escape,
    /// After ESC `[`.
    Control,
    /// In a string, until BEL or ST.
    String,
    /// In a string after an ESC.
    StringEscape,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Lexer {
    state: State,
    /// The last sequence, from its ESC on.
    pub(super) sequence: Vec<u8>,
}

impl Lexer {
    /// Removes the next piece from the front of `bytes`; `None` if no whole piece is left.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Piece<'a>> {
        loop {
            if self.state == State::Text {
                let end = memchr::memchr(ESC, bytes).unwrap_or(bytes.len());
                let (text, rest) = bytes.split_at(end);
                *bytes = rest;
                if !text.is_empty() {
                    return Some(Piece::Text(text));
                }
            }
            let (first, rest) = bytes.split_at_checked(1)?;
            *bytes = rest;
            let byte = *first.first()?;
            match (self.state, byte) {
                (State::String, ESC) => self.state = State::StringEscape,
                (_, ESC) => self.begin(State::Escape),
                // CAN and SUB end any sequence.
                (_, 0x18 | 0x1a) | (State::StringEscape, b'\\') | (State::String, 0x07) => self.begin(State::Text),
                (State::String, _) => {}
                // A control within a sequence takes effect at once.
                (_, 0..0x20) => return Some(Piece::Text(first)),
                // Not part of a sequence.
                (_, 0x7f..) => {}
                (State::Escape | State::StringEscape, _) => {
                    if self.state == State::StringEscape {
                        // The ESC ended the string, and a sequence begins with this byte.
                        self.begin(State::Escape);
                    }
                    if self.escaped(byte) {
                        return Some(Piece::Sequence);
                    }
                }
                (State::Control | State::Text, _) => {
                    self.push(byte);
                    if (0x40..=0x7e).contains(&byte) {
                        self.state = State::Text;
                        if self.sequence.len() <= LONGEST {
                            return Some(Piece::Sequence);
                        }
                    }
                }
            }
        }
    }

    /// The bytes of an incomplete sequence. A new lexer that is fed these continues like this one.
    pub(super) fn pending(&self) -> &[u8] {
        match self.state {
            State::Text => &[],
            State::String => b"\x1bX",
            State::StringEscape => b"\x1bX\x1b",
            State::Escape | State::Control => &self.sequence,
        }
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.sequence.clear();
        self.sequence.push(ESC);
    }

    /// Adds a byte, unless the sequence is too long already.
    fn push(&mut self, byte: u8) {
        if self.sequence.len() <= LONGEST {
            self.sequence.push(byte);
        }
    }

    /// Handles a byte after ESC. Returns whether it ends the sequence.
    fn escaped(&mut self, byte: u8) -> bool {
        match (byte, self.sequence.len()) {
            (b'[', 1) => self.state = State::Control,
            (b']' | b'P' | b'X' | b'^' | b'_', 1) => {
                self.begin(State::String);
                return false;
            }
            (0x20..0x30, _) => {}
            _ => self.state = State::Text,
        }
        self.push(byte);
        self.state == State::Text && self.sequence.len() <= LONGEST
    }
}

/// Tracks whether the cursor of a terminal is within a line, judging by text and by the sequences that name a column.
#[derive(Debug, Default)]
pub struct LineTracker {
    lexer: Lexer,
    within: bool,
    /// The same for the primary screen while the alternate one is shown.
    below: bool,
}

impl LineTracker {
    /// Handles output. Returns whether the cursor is then after the first column.
    pub fn is_within_after(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(piece) = self.lexer.next(&mut bytes) {
            match piece {
                Piece::Text(text) => {
                    let begins = text.iter().rposition(|byte| *byte == b'\r');
                    let line = text.get(begins.map_or(0, |at| at + 1)..).unwrap_or_default();
                    let shown = line.iter().any(|byte| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f);
                    self.within = shown || self.within && begins.is_none();
                }
                Piece::Sequence => self.sequence(),
            }
        }
        self.within
    }

    fn sequence(&mut self) {
        let is_later = |column: &[u8]| !matches!(column, b"" | b"0" | b"1");
        match &self.lexer.sequence[..] {
            [_, b'[', parameters @ .., b'H' | b'f'] => {
                self.within = parameters.split(|byte| *byte == b';').nth(1).is_some_and(is_later);
            }
            [_, b'[', column @ .., b'G' | b'`'] => self.within = is_later(column),
            [_, b'E' | b'c'] | [_, b'[', .., b'E' | b'F'] => self.within = false,
            b"\x1b[?1049h" => self.below = self.within,
            b"\x1b[?1049l" => self.within = self.below,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text, and sequences in angle brackets.
    fn pieces(writes: &[&[u8]]) -> String {
        let (mut lexer, mut all) = (Lexer::default(), String::new());
        for mut bytes in writes.iter().copied() {
            while let Some(piece) = lexer.next(&mut bytes) {
                match piece {
                    Piece::Text(text) => all.push_str(&text.escape_ascii().to_string()),
                    Piece::Sequence => all.push_str(&format!("<{}>", lexer.sequence[1..].escape_ascii())),
                }
            }
        }
        all
    }

    #[test]
    fn sequences_come_whole_and_the_cursor_is_within_a_line_after_text() {
        for (bytes, expected) in [
            (&b"a\x1b[1;31mb\x1b(0c\x1bMd"[..], "a<[1;31m>b<(0>c<M>d"),
            (b"a\x1b]0;title\x07b\x1b]52;c;AA==\x1b\\c\x1bPq#0\x1b\\d", "abcd"),
            (b"a\x1b]0;x\x1b[2Jb", "a<[2J>b"),
            (b"a\x1b[1\r;2Hb\x1b[3\x18c\x1b\x1b[Kd", "a\\r<[1;2H>bc<[K>d"),
            (b"\xff\x9bm\x1b", "\\xff\\x9bm"),
            (b"\x1b\x7f\xff[1\x7f\xffmx\x1b]\x1b\x01Mx", "<[1m>x\\x01<M>x"),
        ] {
            assert_eq!(pieces(&[bytes]), expected);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(pieces(&single), expected, "however it is written");
        }
        assert_eq!(pieces(&[&[b"\x1b[", &[b'1'; 1000][..], b"mz"].concat()]), "z");
        // What is pending continues in another lexer.
        for bytes in [&b"a\x1b"[..], b"\x1b[1;", b"\x1b]0;t", b"\x1bP1\x1b", b"\x1b(", b"x"] {
            let (mut lexer, mut rest) = (Lexer::default(), bytes);
            while lexer.next(&mut rest).is_some() {}
            let mut other = Lexer::default();
            let mut pending = lexer.pending();
            while other.next(&mut pending).is_some() {}
            assert_eq!(other.state, lexer.state, "{bytes:?}");
            assert_eq!(other.pending(), lexer.pending());
        }
        // The cursor is within a line after text without an end.
        for (bytes, within) in [
            (&b""[..], false),
            (b"abc", true),
            (b"abc\r\n", false),
            (b"abc\n", true),
            (b"a\r\nb", true),
            (b"abc\r\n\x1b[m\x1b]0;title\x07", false),
            (b"abc\r\x1b[K", false),
            (b"a\x1b[H", false),
            (b"\x1b[2;1H", false),
            (b"\x1b[2;10H", true),
            (b"a\x1b[G", false),
            (b"\x1b[5G", true),
            (b"\x1b[?1049habc\x1b[?1049l", false),
            (b"$ \x1b[?1049h\x1b[H\x1b[?1049l", true),
            ("\u{e9}".as_bytes(), true),
        ] {
            let mut line = LineTracker::default();
            assert_eq!(line.is_within_after(bytes), within, "{:?}", bytes.escape_ascii().to_string());
            let mut line = LineTracker::default();
            let last = bytes.chunks(1).map(|byte| line.is_within_after(byte)).last();
            assert_eq!(last.unwrap_or_default(), within, "however it is written");
        }
    }
}
