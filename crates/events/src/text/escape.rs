//! Escaping: the only conversion from bytes to screen text.
//!
//! Names from traced processes are untrusted: a file name can contain escape sequences, reverse the direction of the
//! text or hide letters. Each such byte or character becomes visible ASCII. Widths are measured afterwards.
//!
//! | what | becomes |
//! |---|---|
//! | newline, tab, carriage return | `\n` `\t` `\r` |
//! | other control bytes, DEL | `\x1b` |
//! | bytes that are not UTF-8 | `\xff`, each |
//! | C1 controls, and characters that reverse, join or hide text | `\u{202e}` |
//! | a combining mark without a base character, or too many of them | `\u{301}` |
//! | a backslash, in [`Charset::reversible`] | `\\` |

use std::borrow::Cow;
use unicode_width::UnicodeWidthChar;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Charset {
    #[default]
    Utf8,
    /// ASCII: the locale is not UTF-8.
    Ascii,
}

impl Charset {
    /// The escape mode for texts of the dashboard and of its user.
    pub fn mode(self) -> Mode {
        Mode { charset: self, reversible: false }
    }

    /// The escape mode for values of events: the escapes can be undone.
    pub fn reversible(self) -> Mode {
        Mode { charset: self, reversible: true }
    }
}

/// How texts are escaped: [`Charset::mode`], [`Charset::reversible`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// In ASCII, every other character is escaped. On an 8-bit terminal, each of its bytes can be a control character.
    charset: Charset,
    /// Whether a backslash is doubled, so that the escapes can be undone.
    reversible: bool,
}

/// The maximum of combining marks per character. Natural text needs at most four; more of them can cover other lines.
pub(super) const MARKS_MAX: u8 = 8;

pub trait Text {
    fn put(&mut self, text: &str);
}

impl Text for String {
    fn put(&mut self, text: &str) {
        self.push_str(text);
    }
}

impl Text for Vec<u8> {
    fn put(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }
}

/// Appends `bytes`, with control and hidden characters escaped.
pub fn escape<T: Text>(bytes: &[u8], mode: Mode, out: &mut T) {
    let plain = plain_len(bytes, mode);
    if plain == bytes.len()
        && let Ok(text) = str::from_utf8(bytes)
    {
        return out.put(text);
    }
    let mut line = Escaper { marks: 0, out };
    for chunk in bytes.utf8_chunks() {
        line.text(chunk.valid(), |text| plain_len(text, mode), |line, c| char(c, mode, line));
        chunk.invalid().iter().for_each(|b| byte(*b, &mut line));
    }
}

/// Like [`escape`], as a separate text. Borrowed if nothing is escaped.
pub fn escaped(bytes: &[u8], mode: Mode) -> Cow<'_, str> {
    if plain_len(bytes, mode) == bytes.len()
        && let Ok(text) = str::from_utf8(bytes)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    escape(bytes, mode, &mut out);
    Cow::Owned(out)
}

/// The output of one text during escaping.
pub(super) struct Escaper<'a, T> {
    /// Combining marks that may still follow the last character. Stacked marks, or a mark on an escape or a quote,
    /// would change how the line looks.
    pub(super) marks: u8,
    pub(super) out: &'a mut T,
}

impl<T: Text> Escaper<'_, T> {
    /// Appends a text. `plain_len` returns the length of the prefix that needs no escape; `special` handles the
    /// character after it.
    pub(super) fn text(
        &mut self,
        mut text: &str,
        plain_len: impl Fn(&[u8]) -> usize,
        special: impl Fn(&mut Self, char),
    ) {
        while !text.is_empty() {
            let (plain, rest) = text.split_at(plain_len(text.as_bytes()));
            if !plain.is_empty() {
                self.out.put(plain);
                self.marks = MARKS_MAX;
            }
            let mut chars = rest.chars();
            if let Some(c) = chars.next() {
                special(self, c);
            }
            text = chars.as_str();
        }
    }

    /// Appends an escape. No combining mark may follow it.
    pub(crate) fn escape(&mut self, text: &str) {
        self.out.put(text);
        self.marks = 0;
    }

    /// Appends a character unchanged. Returns `false` without appending if it is a combining mark without a base
    /// character, or one beyond [`MARKS_MAX`].
    pub(super) fn char(&mut self, c: char) -> bool {
        let marks = match (c.width(), self.marks) {
            (None | Some(0), 0) => return false,
            (None | Some(0), marks) => marks - 1,
            _ => MARKS_MAX,
        };
        self.out.put(c.encode_utf8(&mut [0; 4]));
        self.marks = marks;
        true
    }
}

fn char<T: Text>(c: char, mode: Mode, line: &mut Escaper<'_, T>) {
    match c {
        '\n' => line.escape("\\n"),
        '\t' => line.escape("\\t"),
        '\r' => line.escape("\\r"),
        '\\' => line.escape("\\\\"),
        '\0'..='\u{7f}' => byte(c as u8, line),
        _ if mode.charset == Charset::Utf8 && !deceives(c) && line.char(c) => {}
        _ => c.escape_unicode().for_each(|c| line.escape(c.encode_utf8(&mut [0; 4]))),
    }
}

fn byte<T: Text>(byte: u8, line: &mut Escaper<'_, T>) {
    let digits = [b'\\', b'x', hex_digit(byte >> 4), hex_digit(byte)];
    line.escape(str::from_utf8(&digits).unwrap_or_default());
}

/// The lower-case hex digit of the low four bits.
pub(super) fn hex_digit(n: u8) -> u8 {
    b"0123456789abcdef"[usize::from(n & 15)]
}

/// Whether a non-ASCII character reorders, hides or joins text instead of showing something: controls (C1), format
/// characters (Cf), Unicode's default-ignorable characters (joiners, fillers, variation selectors, tags), line and
/// paragraph separators. Also halves of flags and skin tones: how many cells they take together depends on the terminal.
/// Letters that look like other letters are not included.
pub(super) fn deceives(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{34f}'
        | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
        | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{1f1e6}'..='\u{1f1ff}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a terminal does not show a character as itself: controls, and characters that match `deceives`.
pub fn is_hostile(c: char) -> bool {
    c.is_control() || deceives(c)
}

/// The length of the prefix that needs no escape, in bytes.
fn plain_len(bytes: &[u8], mode: Mode) -> usize {
    if mode.reversible { printable_len(bytes, [b'\\']) } else { printable_len::<0>(bytes, []) }
}

/// The length of the prefix that is printable ASCII and contains none of `except`, in bytes. It tests eight bytes at a
/// time: almost no name needs an escape.
pub(super) fn printable_len<const N: usize>(bytes: &[u8], except: [u8; N]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let found = special(u64::from_le_bytes(*word), except);
        if found != 0 {
            return i * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |b: &u8| !(0x20..0x7f).contains(b) || except.contains(b);
    words.len() * 8 + tail.iter().position(is_special).unwrap_or(tail.len())
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte that is not printable ASCII, or is one of `except`. Only the lowest set bit is exact: a
/// borrow can set bits above it.
fn special<const N: usize>(word: u64, except: [u8; N]) -> u64 {
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let mut found = below_space | word | equal(word, 0x7f);
    for byte in except {
        found |= equal(word, byte);
    }
    found & HIGHS
}

fn equal(word: u64, byte: u8) -> u64 {
    let differs = word ^ (ONES * u64::from(byte));
    differs.wrapping_sub(ONES) & !differs
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_escape(bytes: impl AsRef<[u8]>, text: &str) {
        assert_eq!(escaped(bytes.as_ref(), Charset::Utf8.mode()), text);
        let mut out = Vec::new();
        escape(bytes.as_ref(), Charset::Utf8.mode(), &mut out);
        assert_eq!(out, text.as_bytes());
    }

    #[test]
    fn what_could_deceive_becomes_visible() {
        // Plain text stays as it is.
        check_escape("", "");
        check_escape("/usr/include/stdio.h", "/usr/include/stdio.h");
        check_escape("/home/ana/Über été/中文.txt", "/home/ana/Über été/中文.txt");
        check_escape("C:\\n", "C:\\n");
        assert!(matches!(escaped(b"/usr/include/stdio.h", Charset::Utf8.mode()), Cow::Borrowed(_)));
        // Controls become visible.
        check_escape("a\nb\tc\rd", r"a\nb\tc\rd");
        check_escape("\x1b]0;pwned\x07", r"\x1b]0;pwned\x07");
        check_escape("\0\x08\x7f", r"\x00\x08\x7f");
        check_escape("x\u{9b}31m\u{85}", r"x\u{9b}31m\u{85}");
        check_escape(b"x\x9b31m", r"x\x9b31m");
        // What turns or hides text becomes visible.
        check_escape("a\u{202e}fdp.exe", r"a\u{202e}fdp.exe");
        check_escape("\u{61c}\u{200e}\u{200f}\u{2066}\u{2069}", r"\u{61c}\u{200e}\u{200f}\u{2066}\u{2069}");
        check_escape("pass\u{200b}wd\u{feff}\u{ad}", r"pass\u{200b}wd\u{feff}\u{ad}");
        check_escape("a\u{2028}b\u{2029}", r"a\u{2028}b\u{2029}");
        check_escape("x\u{fe0f}\u{e0041}\u{fff9}", r"x\u{fe0f}\u{e0041}\u{fff9}");
        check_escape("\u{3164}\u{115f}\u{ffa0}", r"\u{3164}\u{115f}\u{ffa0}");
        // Bytes that are not UTF-8 become visible.
        check_escape(b"a\xff\xfeb", r"a\xff\xfeb");
        check_escape(b"\xc3", r"\xc3");
        check_escape(b"\xe4\xb8", r"\xe4\xb8");
        check_escape(b"\xed\xa0\x80", r"\xed\xa0\x80");
        // Marks need a character to stand on.
        check_escape("e\u{301}", "e\u{301}");
        check_escape("\u{301}e", r"\u{301}e");
        check_escape("\n\u{301}", r"\n\u{301}");
        check_escape(b"\xff\xcc\x81", r"\xff\u{301}");
        check_escape(format!("e{}", "\u{301}".repeat(9)), &format!("e{}\\u{{301}}", "\u{301}".repeat(8)));
        // The modes differ in backslashes and beyond ASCII.
        assert_eq!(escaped(b"a\\n\n", Charset::Utf8.reversible()), r"a\\n\n");
        assert_eq!(escaped(b"a\\n\n", Charset::Utf8.mode()), r"a\n\n");
        assert_eq!(escaped("é\\".as_bytes(), Charset::Ascii.mode()), r"\u{e9}\");
    }

    /// Undoes [`Charset::reversible`].
    pub(crate) fn unescape(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            out.extend_from_slice(&rest.as_bytes()[..at]);
            let (escape, after) = rest[at + 1..].split_at(1);
            rest = after;
            match escape {
                "n" => out.push(b'\n'),
                "t" => out.push(b'\t'),
                "r" => out.push(b'\r'),
                "\\" => out.push(b'\\'),
                "x" => {
                    out.push(u8::from_str_radix(&rest[..2], 16).expect("hex"));
                    rest = &rest[2..];
                }
                _ => {
                    let (code, after) = rest[1..].split_once('}').expect("braces");
                    let c = char::from_u32(u32::from_str_radix(code, 16).expect("hex")).expect("a character");
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = after;
                }
            }
        }
        out.extend_from_slice(rest.as_bytes());
        out
    }

    pub(crate) fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let nasty = "\x1b[2J \n \\ \u{9b} \u{202e} \u{200b} \u{301} 中 👩\u{200d}💻 \u{fe0f} é \u{1f1e9}\u{1f1ea} \
            لا \u{1100}\u{1161}\u{11a8} 👍\u{1f3fd} \u{e0041} plain/path";
        let nasty = prop::sample::select(nasty.split(' ').collect::<Vec<_>>());
        let piece = prop_oneof![
            nasty.prop_map(|s| s.as_bytes().to_vec()),
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            prop::collection::vec(any::<u8>(), 0..12),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nothing_that_deceives_is_left(bytes in hostile()) {
            for mode in [Charset::Utf8, Charset::Ascii].map(|charset| [charset.mode(), charset.reversible()]).concat() {
                let text = escaped(&bytes, mode);
                prop_assert!(!text.chars().any(|c| c.is_control() || deceives(c)), "{text:?}");
                prop_assert!(text.chars().next().is_none_or(|c| c.width() != Some(0)), "{text:?}");
                prop_assert!(mode.charset == Charset::Utf8 || text.is_ascii());
            }
        }

        #[test]
        fn the_bytes_can_be_had_back(bytes in hostile()) {
            prop_assert_eq!(&unescape(&escaped(&bytes, Charset::Utf8.reversible())), &bytes);
            prop_assert_eq!(unescape(&escaped(&bytes, Charset::Ascii.reversible())), bytes);
        }

        #[test]
        fn eight_bytes_at_a_time_find_what_one_at_a_time_finds(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let slow = bytes.iter().position(|b| !(0x20..0x7f).contains(b) || *b == b'"').unwrap_or(bytes.len());
            prop_assert_eq!(printable_len(&bytes, [b'"']), slow);
        }
    }
}
