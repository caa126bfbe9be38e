//! JSON strings that are safe on a terminal: what [`escape`](super::escape()) would escape on a screen is written as `\uXXXX`,
//! which to a program is the same.

use super::Charset;
use super::escape::{MARKS_MAX, deceives, hex_digit, printable_len};
use unicode_width::UnicodeWidthChar;

/// Whether a text was UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Utf8 {
    /// It was.
    Valid,
    /// It was not: U+FFFD stands for what was not.
    Invalid,
}

/// Writes strings from bytes.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    /// A text that has something to escape, put aside.
    aside: Vec<u8>,
    charset: Charset,
}

impl Strings {
    /// Says what the terminals of the locale can show.
    pub(crate) fn set_charset(&mut self, charset: Charset) {
        self.charset = charset;
    }

    /// Appends a text in quotes. It is written where it belongs; only when something in it must be escaped it is put aside
    /// (and stays there until the next).
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Utf8 {
        out.push(b'"');
        let start = out.len();
        write(out);
        let written = out.get(start..).unwrap_or_default();
        let plain = plain_len(written);
        let mut utf8 = Utf8::Valid;
        if plain < written.len() {
            self.aside.clear();
            self.aside.extend_from_slice(written);
            out.truncate(start + plain);
            let marks = if plain > 0 { MARKS_MAX } else { 0 };
            let mut escaper = Escaper { charset: self.charset, marks, out: &mut *out };
            utf8 = escaper.bytes(self.aside.get(plain..).unwrap_or_default());
        }
        out.push(b'"');
        utf8
    }

    /// The bytes of the last text in which something was escaped.
    pub(crate) fn last_escaped(&self) -> &[u8] {
        &self.aside
    }
}

/// A string of ASCII, for reports: what is not printable is `\uXXXX` in every locale.
pub(crate) fn ascii(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            ' '..='~' => out.push(c as u8),
            c => units(c, &mut out),
        }
    }
    out.push(b'"');
    String::from_utf8(out).unwrap_or_default()
}

/// Appends two digits a byte.
pub(crate) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(*byte)]);
    }
}

/// Appends a character as its UTF-16 units.
fn units(c: char, out: &mut Vec<u8>) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.extend_from_slice(b"\\u");
        hex(&unit.to_be_bytes(), out);
    }
}

/// Bytes at the start that stay as they are.
fn plain_len(bytes: &[u8]) -> usize {
    printable_len(bytes, [b'"', b'\\'])
}

/// Writes a text between its quotes.
struct Escaper<'o> {
    charset: Charset,
    /// How many combining marks may still follow: heaps of them, or one on a quote, change how the line looks.
    marks: u8,
    out: &'o mut Vec<u8>,
}

impl Escaper<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Utf8 {
        let mut utf8 = Utf8::Valid;
        for chunk in bytes.utf8_chunks() {
            self.text(chunk.valid());
            if !chunk.invalid().is_empty() {
                self.char('\u{fffd}');
                utf8 = Utf8::Invalid;
            }
        }
        utf8
    }

    fn text(&mut self, mut text: &str) {
        while !text.is_empty() {
            let (plain, rest) = text.split_at(plain_len(text.as_bytes()));
            if !plain.is_empty() {
                self.out.extend_from_slice(plain.as_bytes());
                self.marks = MARKS_MAX;
            }
            let mut chars = rest.chars();
            if let Some(c) = chars.next() {
                self.char(c);
            }
            text = chars.as_str();
        }
    }

    fn char(&mut self, c: char) {
        match c {
            '"' => self.escape(b"\\\""),
            '\\' => self.escape(b"\\\\"),
            '\n' => self.escape(b"\\n"),
            '\r' => self.escape(b"\\r"),
            '\t' => self.escape(b"\\t"),
            '\u{8}' => self.escape(b"\\b"),
            '\u{c}' => self.escape(b"\\f"),
            _ if c < ' ' || c == '\u{7f}' || deceives(c) || self.charset == Charset::Ascii => self.units(c),
            _ => match (c.width(), self.marks) {
                (None | Some(0), 0) => self.units(c),
                (None | Some(0), marks) => self.put(c, marks - 1),
                _ => self.put(c, MARKS_MAX),
            },
        }
    }

    fn put(&mut self, c: char, marks: u8) {
        self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        self.marks = marks;
    }

    fn escape(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
        self.marks = 0;
    }

    fn units(&mut self, c: char) {
        units(c, self.out);
        self.marks = 0;
    }
}
