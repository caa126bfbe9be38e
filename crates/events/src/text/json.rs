//! JSON strings that are safe on a terminal: characters that [`escape`](super::escape()) would escape on a screen are
//! written as `\uXXXX`, which is equivalent for programs.

use super::escape::{Escaper, MARKS_MAX, deceives, hex_digit, printable_len};
use super::{Charset, integer};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CharEscape, Formatter};
use std::borrow::Cow;
use std::io::{self, Write};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Utf8 {
    Valid,
    /// Invalid bytes were replaced by U+FFFD.
    Invalid,
}

/// Writes strings from bytes.
#[derive(Debug, Default)]
pub struct Strings {
    /// The unescaped bytes of the last string that needed an escape.
    pub aside: Vec<u8>,
    /// In ASCII, all other characters are escaped.
    pub charset: Charset,
}

impl Strings {
    /// Appends a quoted string. `write` appends its bytes directly to `out`; they are copied to `aside` only if
    /// something must be escaped.
    pub fn write(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Utf8 {
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
            let mut line = Escaper { marks, out: &mut *out };
            for chunk in self.aside.get(plain..).unwrap_or_default().utf8_chunks() {
                line.text(chunk.valid(), plain_len, |line, c| char(c, self.charset, line));
                if !chunk.invalid().is_empty() {
                    char('\u{fffd}', self.charset, &mut line);
                    utf8 = Utf8::Invalid;
                }
            }
        }
        out.push(b'"');
        utf8
    }
}

/// A value of a report.
pub enum Value<'a> {
    Null,
    /// Null. In an object, the member `<key>_why` with the reason follows.
    Unknown(&'static str),
    Bool(bool),
    Number(u64),
    /// Any bytes. In an object, bytes that are not UTF-8 are followed by `<key>_hex`.
    Text(Cow<'a, [u8]>),
    List(Vec<Value<'a>>),
    Object(Members<'a>),
}

/// The members of an object, in order.
pub type Members<'a> = Vec<(&'static str, Value<'a>)>;

/// The members of an object: `object! { "key": value, … }`.
#[macro_export]
macro_rules! object {
    ($($key:literal: $value:expr),* $(,)?) => {
        vec![$(($key, $crate::text::json::Value::from($value))),*]
    };
}
pub use object;

macro_rules! values {
    ($($from:ty, $value:pat => $to:expr;)*) => {
        $(impl<'a> From<$from> for Value<'a> {
            fn from($value: $from) -> Value<'a> {
                $to
            }
        })*
    };
}

values! {
    bool, value => Value::Bool(value);
    u32, value => Value::Number(value.into());
    u64, value => Value::Number(value);
    &'a str, text => Value::Text(text.as_bytes().into());
    &'a [u8], text => Value::Text(text.into());
    String, text => Value::Text(text.into_bytes().into());
    Vec<u8>, text => Value::Text(text.into());
    Members<'a>, members => Value::Object(members);
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Value<'a> {
        value.map_or(Value::Null, Into::into)
    }
}

impl<'a, T: Into<Value<'a>>> FromIterator<T> for Value<'a> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Value<'a> {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

impl<'a> Value<'a> {
    /// The value, or null and the reason.
    pub fn or(value: Option<impl Into<Value<'a>>>, why: &'static str) -> Value<'a> {
        value.map_or(Value::Unknown(why), Into::into)
    }

    pub fn write(&self, strings: &mut Strings, out: &mut Vec<u8>) {
        match self {
            Value::Null | Value::Unknown(_) => out.extend_from_slice(b"null"),
            Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Value::Number(number) => integer(*number, out),
            Value::Text(text) => _ = strings.write(out, |out| out.extend_from_slice(text)),
            Value::List(values) => {
                out.push(b'[');
                for (nth, value) in values.iter().enumerate() {
                    out.extend_from_slice(if nth == 0 { b"" } else { b"," });
                    value.write(strings, out);
                }
                out.push(b']');
            }
            Value::Object(members) => {
                out.push(b'{');
                for (nth, (key, value)) in members.iter().enumerate() {
                    let comma = if nth == 0 { "" } else { "," };
                    let _ = write!(out, "{comma}\"{key}\":");
                    value.write(strings, out);
                    match value {
                        Value::Unknown(why) => _ = write!(out, ",\"{key}_why\":\"{why}\""),
                        Value::Text(text) if str::from_utf8(text).is_err() => {
                            let _ = write!(out, ",\"{key}_hex\":\"");
                            hex(text, out);
                            out.push(b'"');
                        }
                        _ => {}
                    }
                }
                out.push(b'}');
            }
        }
    }
}

/// A value as JSON of printable ASCII, for reports. In every locale, all other characters become `\uXXXX`.
pub fn ascii<T: Serialize + ?Sized>(value: &T) -> String {
    let mut out = Vec::new();
    // Writing to memory does not fail, and all keys are strings.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut out, Ascii));
    String::from_utf8(out).unwrap_or_default()
}

struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        let mut line = Vec::with_capacity(text.len());
        for c in text.chars() {
            match c {
                ' '..='~' => line.push(c as u8),
                c => units(c, &mut line),
            }
        }
        out.write_all(&line)
    }

    fn write_char_escape<W: Write + ?Sized>(&mut self, out: &mut W, escape: CharEscape) -> io::Result<()> {
        let control = match escape {
            CharEscape::Quote => return out.write_all(b"\\\""),
            CharEscape::ReverseSolidus => return out.write_all(b"\\\\"),
            CharEscape::Solidus => b'/',
            CharEscape::Backspace => 8,
            CharEscape::FormFeed => 12,
            CharEscape::LineFeed => b'\n',
            CharEscape::CarriageReturn => b'\r',
            CharEscape::Tab => b'\t',
            CharEscape::AsciiControl(byte) => byte,
        };
        write!(out, "\\u{control:04x}")
    }
}

/// Two hex digits per byte.
pub fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Appends two hex digits per byte.
pub fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(*byte)]);
    }
}

/// Appends a character as one `\uXXXX` per UTF-16 unit.
fn units(c: char, out: &mut Vec<u8>) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.extend_from_slice(b"\\u");
        hex(&unit.to_be_bytes(), out);
    }
}

/// The length of the prefix that needs no escape, in bytes.
fn plain_len(bytes: &[u8]) -> usize {
    printable_len(bytes, [b'"', b'\\'])
}

fn char(c: char, charset: Charset, line: &mut Escaper<'_, Vec<u8>>) {
    match c {
        '"' => line.escape("\\\""),
        '\\' => line.escape("\\\\"),
        '\n' => line.escape("\\n"),
        '\r' => line.escape("\\r"),
        '\t' => line.escape("\\t"),
        '\u{8}' => line.escape("\\b"),
        '\u{c}' => line.escape("\\f"),
        _ if charset == Charset::Utf8 && !c.is_ascii_control() && !deceives(c) && line.char(c) => {}
        _ => {
            units(c, line.out);
            line.marks = 0;
        }
    }
}
