//! What a program may write to a terminal: text, and the sequences that are known.

use regex::Regex;
use std::sync::LazyLock;

/// The sequences after `ESC [`: a place, a look, clear (all), the alternate screen, the cursor, bracketed paste, the mouse.
static CSI: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(\d*;\d*H|[\d;:]*m|[02]?[JK]|\?(1049|25|2004|1000|1002|1003|1006|1015)[hl])$").expect("a regex")
});

/// The sequence after `ESC ]`: text for the clipboard.
static OSC: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^52;c;[A-Za-z0-9+/]*=*$").expect("a regex"));

/// Reads what is written to a terminal, and notes what should not be there.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// What is not complete yet.
    rest: Vec<u8>,
    /// Whether the alternate screen is shown.
    alternate: bool,
    /// How often it was.
    pub(crate) taken: usize,
    /// How often the screen was cleared.
    pub(crate) clears: usize,
    /// What should not be there.
    pub(crate) wrong: Vec<String>,
}

impl Stream {
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.rest);
        let mut rest = all.as_slice();
        while let Some(length) = self.one(rest) {
            rest = &rest[length..];
        }
        self.rest = rest.to_vec();
    }

    /// Takes a sequence or a run of text; its length. `None` if it is not complete.
    fn one(&mut self, bytes: &[u8]) -> Option<usize> {
        match bytes {
            [] | [0x1b] => None,
            [0x1b, b'[', rest @ ..] => {
                let length = rest.iter().position(|byte| matches!(byte, 0x40..=0x7e))? + 1;
                self.csi(&rest[..length]);
                Some(2 + length)
            }
            [0x1b, b']', rest @ ..] => {
                let length = rest.iter().position(|byte| matches!(byte, 0x07 | 0x1b))?;
                // BEL, or ESC and a backslash.
                let end = if rest[length] == 0x07 { 1 } else { 2 };
                let ended = rest.get(length..length + end)?;
                let known =
                    OSC.is_match(&String::from_utf8_lossy(&rest[..length])) && matches!(ended, b"\x07" | b"\x1b\\");
                self.check(known, &bytes[..2 + length + end]);
                Some(2 + length + end)
            }
            [0x1b, other, ..] => {
                self.check(false, &[0x1b, *other]);
                Some(2)
            }
            _ => {
                let end = bytes.iter().position(|byte| *byte == 0x1b).unwrap_or(bytes.len());
                self.text(&bytes[..end])
            }
        }
    }

    fn csi(&mut self, sequence: &[u8]) {
        self.check(CSI.is_match(&String::from_utf8_lossy(sequence)), sequence);
        match sequence {
            b"2J" => self.clears += 1,
            b"?1049h" => (self.alternate, self.taken) = (true, self.taken + 1),
            b"?1049l" => self.alternate = false,
            _ => {}
        }
    }

    fn text(&mut self, bytes: &[u8]) -> Option<usize> {
        let (text, length) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, bytes.len()),
            // The end of a character may be still to come.
            Err(error) if error.valid_up_to() > 0 => {
                (std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(), error.valid_up_to())
            }
            Err(error) => {
                self.check(false, &bytes[..error.error_len()?]);
                return error.error_len();
            }
        };
        for letter in text.chars() {
            // Lines are written only where the shell's are.
            let line_end = !self.alternate && matches!(letter, '\r' | '\n');
            self.check(line_end || !is_hostile(letter), letter.to_string().as_bytes());
        }
        Some(length)
    }

    fn check(&mut self, good: bool, what: &[u8]) {
        if !good {
            self.wrong.push(what.escape_ascii().to_string());
        }
    }
}

/// Control characters, and those that change the direction of the text or cannot be seen. By hand: what the program escapes is
/// not asked of the program.
fn is_hostile(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(letter, '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || matches!(letter, '\u{e0000}'..='\u{e0fff}')
}

#[test]
fn what_should_not_be_there_is_found() {
    for good in
        ["a\u{1b}[2;3Hb\u{1b}[1;31m…\u{1b}[0m\u{1b}[?25l\u{1b}]52;c;YQ==\u{7}", "\u{1b}[?1049ha\u{1b}[?1049l\r\n"]
    {
        let mut stream = Stream::default();
        // However it is divided.
        good.as_bytes().chunks(1).for_each(|part| stream.take(part));
        assert_eq!((stream.wrong, stream.rest), (Vec::<String>::new(), Vec::new()));
    }
    let all_bad = "\u{7}|\u{1b}[5n|\u{1b}c|\u{1b}]0;x\u{7}|\u{9b}31m|a\u{202e}|\u{200b}|\u{1b}[?1049h\n|\t";
    for bad in all_bad.split('|') {
        let mut stream = Stream::default();
        stream.take(bad.as_bytes());
        assert_eq!(stream.wrong.len(), 1, "{bad:?}: {stream:?}");
    }
    let mut stream = Stream::default();
    stream.take(b"a\xffb");
    assert_eq!(stream.wrong, [r"\xff"]);
}
