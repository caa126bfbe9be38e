//! Divides what COMMAND writes into text and escape sequences (ECMA-48, 5.4 and 5.6), however the writes are divided. Only whole ones
//! reach the screen; strings such as titles are left out.

/// The longest escape sequence. A longer one is left out.
const LONGEST: usize = 128;

const ESC: u8 = 0x1b;

/// A part of the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece<'a> {
    /// Characters and controls. A character may be divided between two of them.
    Text(&'a [u8]),
    /// [`Lexer::sequence`] is whole.
    Sequence,
}

/// Where the next byte is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Text,
    /// After ESC and intermediate bytes.
    Escape,
    /// After ESC `[`.
    Control,
    /// In a string, which a BEL or ST ends.
    String,
    /// In a string after an ESC.
    StringEscape,
}

/// What is known of the bytes so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Lexer {
    state: State,
    sequence: Vec<u8>,
}

impl Lexer {
    /// The next part, which is taken from the front of `bytes`; `None` when there is no whole one left.
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
                // CAN and SUB end anything.
                (_, 0x18 | 0x1a) | (State::StringEscape, b'\\') | (State::String, 0x07) => self.begin(State::Text),
                (State::String, _) => {}
                // A control within a sequence has its effect at once.
                (_, 0..0x20) => return Some(Piece::Text(first)),
                // No part of a sequence.
                (_, 0x7f..) => {}
                (State::Escape | State::StringEscape, _) => {
                    if self.state == State::StringEscape {
                        // The ESC ended the string, and begins a sequence with this byte.
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

    /// The last sequence, from its ESC on.
    pub(super) fn sequence(&self) -> &[u8] {
        &self.sequence
    }

    /// The bytes of a sequence that is not whole. A lexer that is fed these goes on like this one.
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

    /// A byte after ESC. Whether it ends the sequence.
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
                    Piece::Sequence => all.push_str(&format!("<{}>", lexer.sequence()[1..].escape_ascii())),
                }
            }
        }
        all
    }

    #[test]
    fn sequences_come_whole_and_strings_not_at_all() {
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
        let long = [b"\x1b[", &[b'1'; 1000][..], b"mz"].concat();
        assert_eq!(pieces(&[&long]), "z");
    }

    #[test]
    fn what_is_pending_continues_in_another_lexer() {
        for bytes in [&b"a\x1b"[..], b"\x1b[1;", b"\x1b]0;t", b"\x1bP1\x1b", b"\x1b(", b"x"] {
            let (mut lexer, mut rest) = (Lexer::default(), bytes);
            while lexer.next(&mut rest).is_some() {}
            let mut other = Lexer::default();
            let mut pending = lexer.pending();
            while other.next(&mut pending).is_some() {}
            assert_eq!(other.state, lexer.state, "{bytes:?}");
            assert_eq!(other.pending(), lexer.pending());
        }
    }
}
