//! Keys as the bytes that xterm sends for them.

use crate::app::keys::device::{KeyCode, KeyEvent, KeyModifiers};

/// Whether a key leaves COMMAND's terminal: Ctrl-]. A terminal that sends it as one byte reports Ctrl-5.
pub(crate) fn leaves(key: &KeyEvent) -> bool {
    key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char(']' | '5'))
}

/// The bytes of a key. Empty for keys without bytes in xterm. `application`: the cursor keys are in application mode.
pub(crate) fn encode(key: &KeyEvent, application: bool) -> Vec<u8> {
    let has = |modifier| key.modifiers.contains(modifier);
    let bits = [(KeyModifiers::SHIFT, 1), (KeyModifiers::ALT, 2), (KeyModifiers::CONTROL, 4)];
    let modifiers: u8 = 1 + bits.iter().filter(|(modifier, _)| has(*modifier)).map(|(_, bit)| bit).sum::<u8>();
    let cursor = |last: char| match (modifiers, application) {
        (1, true) => format!("\x1bO{last}"),
        (1, false) => format!("\x1b[{last}"),
        _ => format!("\x1b[1;{modifiers}{last}"),
    };
    let function = |last: char| match modifiers {
        1 => format!("\x1bO{last}"),
        _ => format!("\x1b[1;{modifiers}{last}"),
    };
    let numbered = |number: u8| match modifiers {
        1 => format!("\x1b[{number}~"),
        _ => format!("\x1b[{number};{modifiers}~"),
    };
    let text = match key.code {
        KeyCode::Up => cursor('A'),
        KeyCode::Down => cursor('B'),
        KeyCode::Right => cursor('C'),
        KeyCode::Left => cursor('D'),
        KeyCode::Home => cursor('H'),
        KeyCode::End => cursor('F'),
        KeyCode::Insert => numbered(2),
        KeyCode::Delete => numbered(3),
        KeyCode::PageUp => numbered(5),
        KeyCode::PageDown => numbered(6),
        KeyCode::F(number @ 1..=4) => function(char::from(b'O' + number)),
        KeyCode::F(number @ 5..=20) => {
            const NUMBERS: [u8; 16] = [15, 17, 18, 19, 20, 21, 23, 24, 25, 26, 28, 29, 31, 32, 33, 34];
            NUMBERS.get(usize::from(number - 5)).map_or_else(String::new, |number| numbered(*number))
        }
        KeyCode::BackTab => "\x1b[Z".to_owned(),
        code => return character(code, has(KeyModifiers::CONTROL), has(KeyModifiers::ALT)),
    };
    text.into_bytes()
}

fn character(code: KeyCode, control: bool, alt: bool) -> Vec<u8> {
    let letter = match code {
        KeyCode::Char(letter) if control => controlled(letter),
        KeyCode::Char(letter) => letter,
        KeyCode::Enter => '\r',
        KeyCode::Tab => '\t',
        KeyCode::Esc => '\x1b',
        KeyCode::Null => '\0',
        KeyCode::Backspace if control => '\x08',
        KeyCode::Backspace => '\x7f',
        _ => return Vec::new(),
    };
    let mut bytes = if alt { vec![0x1b] } else { Vec::new() };
    bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    bytes
}

/// The control character of a letter with Ctrl. Crossterm reports the bytes 0x1c to 0x1f as Ctrl-4 to Ctrl-7.
fn controlled(letter: char) -> char {
    match letter {
        ' ' | '2' => '\0',
        '3' => '\x1b',
        '4' => '\x1c',
        '5' => '\x1d',
        '6' => '\x1e',
        '7' | '/' => '\x1f',
        '8' | '?' => '\x7f',
        '@'..='~' => char::from(letter as u8 & 0x1f),
        other => other,
    }
}

/// The bytes of a pasted text. It has no control characters except tabs and line ends, so COMMAND can tell where a bracketed paste ends.
pub(crate) fn paste(text: &str, bracketed: bool) -> Vec<u8> {
    let kept = text.replace("\r\n", "\r").replace('\n', "\r");
    let kept: String = kept.chars().filter(|c| !c.is_control() || matches!(c, '\r' | '\t')).collect();
    if bracketed { format!("\x1b[200~{kept}\x1b[201~") } else { kept }.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: KeyCode, modifiers: KeyModifiers, application: bool, expected: &str) {
        let bytes = encode(&KeyEvent::new(code, modifiers), application);
        assert_eq!(bytes.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
    }

    #[test]
    fn keys_are_encoded_as_xterm_does() {
        let (none, ctrl, alt, shift) =
            (KeyModifiers::NONE, KeyModifiers::CONTROL, KeyModifiers::ALT, KeyModifiers::SHIFT);
        check(KeyCode::Up, none, false, "\x1b[A");
        check(KeyCode::Up, none, true, "\x1bOA");
        check(KeyCode::Left, ctrl, true, "\x1b[1;5D");
        check(KeyCode::End, shift, false, "\x1b[1;2F");
        check(KeyCode::F(1), none, false, "\x1bOP");
        check(KeyCode::F(4), alt, false, "\x1b[1;3S");
        check(KeyCode::F(5), none, false, "\x1b[15~");
        check(KeyCode::F(12), ctrl, false, "\x1b[24;5~");
        check(KeyCode::Delete, none, false, "\x1b[3~");
        check(KeyCode::BackTab, shift, false, "\x1b[Z");
        check(KeyCode::Enter, none, false, "\r");
        check(KeyCode::Esc, none, false, "\x1b");
        check(KeyCode::Backspace, none, false, "\x7f");
        check(KeyCode::Char('ä'), none, false, "ä");
        check(KeyCode::Char('A'), shift, false, "A");
        check(KeyCode::Char('x'), alt, false, "\x1bx");
        check(KeyCode::Char('x'), ctrl | alt, false, "\x1b\x18");
        for (letter, byte) in [('c', '\x03'), ('z', '\x1a'), ('j', '\n'), (' ', '\0'), ('4', '\x1c'), ('_', '\x1f')] {
            check(KeyCode::Char(letter), ctrl, false, &byte.to_string());
        }
        check(KeyCode::CapsLock, none, false, "");
        // One key leaves.
        let ctrl = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
        assert!(leaves(&ctrl(']')) && leaves(&ctrl('5')) && !leaves(&ctrl('c')));
        assert!(!leaves(&KeyEvent::from(KeyCode::Char(']'))));
        // A paste cannot end itself.
        assert_eq!(paste("a\r\nb\nc\td", false), b"a\rb\rc\td");
        assert_eq!(paste("a\x1b[201~rm\x03", true), b"\x1b[200~a[201~rm\x1b[201~");
    }
}
