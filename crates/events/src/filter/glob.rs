//! Globs, matched against the whole value: `*` any text (including `/`), `?` one character, `[a-z]` one of these,
//! `[!a-z]` any other, a backslash quotes the next character.
//!
//! Characters are UTF-8. A byte that is not part of a character counts as one character.

/// A byte that is not part of a character, as a number beyond all characters.
const RAW: u32 = 0x11_0000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    pub(super) tokens: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Byte(u8),
    One,
    /// Any text. Never twice in a row.
    Star,
    Class(Class),
}

/// `[...]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    negated: bool,
    /// First and last, both included.
    ranges: Vec<(u32, u32)>,
}

impl Glob {
    pub fn new(pattern: &[u8]) -> Result<Glob, String> {
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match first {
                b'*' if tokens.last() == Some(&Piece::Star) => {}
                b'*' => tokens.push(Piece::Star),
                b'?' => tokens.push(Piece::One),
                b'[' => tokens.push(Piece::Class(Class::new(&mut rest)?)),
                b'\\' => {
                    let (byte, after) = rest.split_first().ok_or("trailing backslash")?;
                    tokens.push(Piece::Byte(*byte));
                    rest = after;
                }
                byte => tokens.push(Piece::Byte(*byte)),
            }
        }
        Ok(Glob { tokens })
    }

    /// Whether the whole value matches.
    pub fn matches(&self, value: &[u8]) -> bool {
        search(&self.tokens, value)
    }

    /// The text that the glob matches, if it has no wildcards.
    pub fn literal(&self) -> Option<Vec<u8>> {
        let byte = |piece: &Piece| if let Piece::Byte(byte) = piece { Some(*byte) } else { None };
        self.tokens.iter().map(byte).collect()
    }

    /// The shortest value that can match, in bytes.
    pub(super) fn min_len(&self) -> usize {
        self.tokens.iter().filter(|piece| **piece != Piece::Star).count()
    }
}

/// The text as a glob that matches only it.
pub(super) fn escape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out
}

impl Class {
    /// Reads the rest of a class after its `[`, including its `]`.
    fn new(rest: &mut &[u8]) -> Result<Class, String> {
        let negated = matches!(rest.first(), Some(b'!' | b'^'));
        *rest = rest.get(usize::from(negated)..).unwrap_or(&[]);
        let mut ranges = Vec::new();
        loop {
            match rest.first() {
                Some(b']') if !ranges.is_empty() => break,
                Some(b'[') if rest.get(1) == Some(&b':') => {
                    return Err("[:alpha:] and other named classes are not supported; use [a-zA-Z]".to_owned());
                }
                _ => ranges.push(range(rest)?),
            }
        }
        *rest = rest.get(1..).unwrap_or(&[]);
        Ok(Class { negated, ranges })
    }

    pub(super) fn has(&self, character: u32) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&character)) != self.negated
    }

    /// Whether it matches only single bytes below 128.
    pub(super) fn is_ascii(&self) -> bool {
        !self.negated && self.ranges.iter().all(|(_, last)| *last < 128)
    }
}

/// Reads `a` or `a-z` in a class.
fn range(rest: &mut &[u8]) -> Result<(u32, u32), String> {
    let first = class_char(rest)?;
    if !matches!(*rest, [b'-', after, ..] if *after != b']') {
        return Ok((first, first));
    }
    *rest = rest.get(1..).unwrap_or(&[]);
    let last = class_char(rest)?;
    if last < first {
        return Err("reversed range in [ ]".to_owned());
    }
    Ok((first, last))
}

fn class_char(rest: &mut &[u8]) -> Result<u32, String> {
    if let [b'\\', after @ ..] = *rest {
        *rest = after;
    }
    let (len, character) = unit(rest).ok_or("unclosed `[`; write \\[ for a literal bracket")?;
    *rest = rest.get(len..).unwrap_or(&[]);
    Ok(character)
}

/// The first character of some bytes, and its length. A byte that does not begin a character is one of its own.
fn unit(bytes: &[u8]) -> Option<(usize, u32)> {
    let first = *bytes.first()?;
    let len = match first {
        0..0x80 => return Some((1, first.into())),
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => 1,
    };
    let character = bytes.get(..len).and_then(|b| std::str::from_utf8(b).ok()).and_then(|text| text.chars().next());
    Some(character.map_or((1, RAW + u32::from(first)), |c| (len, c.into())))
}

impl Piece {
    /// The number of bytes that it matches at the front of a value; `None` if it does not match there.
    fn takes(&self, value: &[u8]) -> Option<usize> {
        match self {
            Piece::Byte(byte) => value.first().filter(|b| *b == byte).map(|_| 1),
            Piece::One => unit(value).map(|(len, _)| len),
            Piece::Class(class) => unit(value).filter(|(_, c)| class.has(*c)).map(|(len, _)| len),
            Piece::Star => None,
        }
    }
}

/// Matches from left to right. On a mismatch, the last star takes one more character. Earlier stars never need to.
fn search(tokens: &[Piece], value: &[u8]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let rest = value.get(at..).unwrap_or(&[]);
        match tokens.get(token) {
            Some(Piece::Star) => {
                token += 1;
                star = Some((token, at));
                if token == tokens.len() {
                    return true;
                }
                continue;
            }
            Some(piece) => {
                if let Some(len) = piece.takes(rest) {
                    token += 1;
                    at += len;
                    continue;
                }
            }
            None if rest.is_empty() => return true,
            None => {}
        }
        let Some((after, from)) = star else { return false };
        let Some((len, _)) = value.get(from..).and_then(unit) else { return false };
        (token, at) = (after, from + len);
        star = Some((after, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(glob: &str, value: &[u8], holds: bool) {
        let glob_ = Glob::new(glob.as_bytes()).expect(glob);
        assert_eq!(glob_.matches(value), holds, "{glob} on {value:?}");
        assert_eq!(search(&glob_.tokens, value), holds, "{glob} on {value:?}, searched");
    }

    #[test]
    fn globs_match_whole_values_and_bad_ones_say_why() {
        for (glob, value, holds) in [
            ("cc1", "cc1", true),
            ("cc1", "cc1plus", false),
            ("cc1*", "cc1plus", true),
            ("*.h", "/usr/include/a.h", true),
            ("*.h", "a.hh", false),
            ("*a*b*c", "xaxbxbc", true),
            ("*a*b*c", "xaxcxb", false),
            ("/etc/*/x", "/etc/a/b/x", true),
            ("?", "é", true),
            ("??", "é", false),
            ("[a-z]", "m", true),
            ("[!a-z]", "m", false),
            ("[^a-z]", "M", true),
            ("*[!é]", "é", false),
            ("[à-ü]", "é", true),
            ("[]x]", "]", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[\\]]", "]", true),
            ("", "", true),
            ("", "x", false),
            ("*", "", true),
            ("**", "x", true),
            ("?", "", false),
        ] {
            check(glob, value.as_bytes(), holds);
        }
        check("?", b"\xff", true);
        check("a?b", b"a\xc3b", true);
        for (glob, why) in
            [("a[b", "unclosed"), ("x\\", "backslash"), ("[z-a]", "reversed"), ("[[:alpha:]]", "not supported")]
        {
            let error = Glob::new(glob.as_bytes()).expect_err(glob);
            assert!(error.contains(why), "{glob}: {error}");
        }
    }
}
