//! Splits COMMAND's output into text and escape sequences (ECMA-48, 5.4 and 5.6). Only whole sequences reach the screen. Strings such as
//! titles are left out.

use std::borrow::Cow;

/// The longest escape sequence. Longer ones are left out.
const LONGEST: usize = 128;

const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part<'a> {
    /// Characters and controls.
    Text(&'a [u8]),
    /// A whole sequence from its ESC on, without the controls within it.
    Sequence(Cow<'a, [u8]>),
}

/// Whether a byte is part of a sequence. Controls and bytes outside ASCII are ignored there.
fn is_visible(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte)
}

/// Whether a byte ends any sequence.
fn aborts(byte: u8) -> bool {
    matches!(byte, ESC | CAN | SUB)
}

/// The position of the byte that says what kind of sequence begins, and whether that is a string.
fn kind(bytes: &[u8]) -> Option<(usize, bool)> {
    let at = 1 + bytes.get(1..)?.iter().position(|byte| is_visible(*byte) || aborts(*byte))?;
    Some((at, matches!(bytes[at], b']' | b'P' | b'X' | b'^' | b'_')))
}

/// Removes the next part from the front of `bytes`. `None`: the rest is incomplete.
pub(super) fn next<'a>(bytes: &mut &'a [u8]) -> Option<Part<'a>> {
    loop {
        let end = match memchr::memchr(ESC, bytes) {
            Some(at) => at,
            None => bytes.len() - partial_len(bytes),
        };
        if end > 0 {
            let (text, rest) = bytes.split_at(end);
            *bytes = rest;
            return Some(Part::Text(text));
        }
        let (at, is_string) = kind(bytes)?;
        let is_last = |byte: u8| match bytes[at] {
            _ if is_string => byte == BEL,
            b'[' => (0x40..0x7f).contains(&byte),
            _ => (0x30..0x7f).contains(&byte),
        };
        let from = at + usize::from(is_string || bytes[at] == b'[');
        let last = from + bytes.get(from..)?.iter().position(|byte| is_last(*byte) || aborts(*byte))?;
        let ended = bytes[last];
        let (sequence, rest) = bytes.split_at(if ended == ESC { last } else { last + 1 });
        *bytes = rest;
        if !is_string && is_last(ended) && sequence.len() <= LONGEST {
            let is_plain = sequence[1..].iter().all(|byte| is_visible(*byte));
            let visible = || sequence.iter().copied().filter(|byte| is_visible(*byte) || *byte == ESC).collect();
            return Some(Part::Sequence(if is_plain { sequence.into() } else { Cow::Owned(visible()) }));
        }
    }
}

/// What has to precede the next bytes, after an incomplete rest: as much of it as matters.
pub(super) fn pending(rest: &[u8]) -> &[u8] {
    match kind(rest) {
        Some((_, true)) => b"\x1bX",
        // One that is too long stays so.
        _ => &rest[..rest.len().min(LONGEST + 1)],
    }
}

/// The length of the incomplete character at the end.
fn partial_len(text: &[u8]) -> usize {
    match text.utf8_chunks().last().map(|last| last.invalid()) {
        // Without an end, an invalid sequence at the end may continue.
        Some(partial) if std::str::from_utf8(partial).is_err_and(|error| error.error_len().is_none()) => partial.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text, and sequences in angle brackets.
    fn parts(pieces: &[&[u8]]) -> String {
        let (mut out, mut left) = (String::new(), Vec::new());
        for piece in pieces {
            let all = [&left[..], piece].concat();
            let mut rest = &all[..];
            while let Some(part) = next(&mut rest) {
                out.push_str(&match part {
                    Part::Text(text) => text.escape_ascii().to_string(),
                    Part::Sequence(sequence) => format!("<{}>", sequence[1..].escape_ascii()),
                });
            }
            left = pending(rest).to_vec();
        }
        out
    }

    #[test]
    fn sequences_come_whole_however_they_are_written() {
        for (bytes, expected) in [
            (&b"a\x1b[1;31mb\x1b(0c\x1bMd"[..], "a<[1;31m>b<(0>c<M>d"),
            (b"a\x1b]0;title\x07b\x1b]52;c;AA==\x1b\\c\x1bPq#0\x1b\\d", "ab<\\\\>c<\\\\>d"),
            (b"a\x1b]0;x\x1b[2Jb", "a<[2J>b"),
            (b"a\x1b[1\r;2Hb\x1b[3\x18c\x1b\x1b[Kd", "a<[1;2H>bc<[K>d"),
            (b"\xff\x9bm\x1b", "\\xff\\x9bm"),
            (b"\x1b\x7f\xff[1\x7f\xffmx\x1b]\x1b\x01Mx\x1b\x01[2Jx", "<[1m>x<M>x<[2J>x"),
            ("a\u{e9}\u{1f642}".as_bytes(), "a\\xc3\\xa9\\xf0\\x9f\\x99\\x82"),
        ] {
            assert_eq!(parts(&[bytes]), expected);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(parts(&single), expected, "however it is written");
        }
        for number in [130, 1000] {
            let long = [b"\x1b[", &vec![b'1'; number][..], b"mz"].concat();
            assert_eq!(parts(&[&long]), "z");
            assert_eq!(parts(&long.chunks(7).collect::<Vec<_>>()), "z");
        }
    }
}
