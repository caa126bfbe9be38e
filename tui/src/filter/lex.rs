//! Text to tokens.
//!
//! A value or bare word ends at white space or at a `)` that it did not open; a parenthesis after a backslash counts as
//! neither. In double quotes `\"`, `\\` and `\xNN` are escapes; any other backslash stays, so that `"a b\.c"` is
//! the regex that it looks like. Upper-case AND, OR and NOT are keywords too.

use super::ast::{Op, Spots, Test};
use super::error::FilterError;
use super::fields;
use super::quote::quoted;
use std::ops::Range;

/// What an expression is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Failed,
    Word(Vec<u8>),
    Test(Test),
}

/// A token and its place.
pub(super) type Spanned = (Token, Range<usize>);

/// All tokens of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Spanned>, FilterError> {
    let mut lexer = Lexer { text, pos: 0 };
    let mut out = Vec::new();
    while let Some(token) = lexer.next()? {
        out.push(token);
    }
    Ok(out)
}

/// Whether a text, written as it is, is one bare word.
pub(super) fn is_word(text: &str) -> bool {
    matches!(tokens(text).as_deref(), Ok([(Token::Word(word), at)])
        if word == text.as_bytes() && *at == (0..text.len()) && !text.starts_with('"') && ends_itself(text))
}

/// Whether a value, written after an operator as it is, reads back the same.
pub(super) fn stands_bare(value: &str) -> bool {
    !value.is_empty() && !value.starts_with(NEEDS_QUOTES) && ends_itself(value)
}

/// Whether what follows, even a `)`, is no part of it.
fn ends_itself(text: &str) -> bool {
    bare_len(&format!("{text})")) == text.len()
}

/// What a value may only begin with in quotes.
const NEEDS_QUOTES: [char; 7] = ['=', '~', '<', '>', '!', '(', '"'];

struct Lexer<'t> {
    text: &'t str,
    pos: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.pos..).unwrap_or("")
    }

    fn take(&mut self, len: usize) -> Range<usize> {
        let start = self.pos;
        self.pos += len;
        start..self.pos
    }

    fn next(&mut self) -> Result<Option<Spanned>, FilterError> {
        let rest = self.rest();
        self.pos += rest.len() - rest.trim_start().len();
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let spanned = match first {
            '(' => (Token::Open, self.take(1)),
            ')' => (Token::Close, self.take(1)),
            '"' => self.quoted_word()?,
            '!' if rest[1..].starts_with(['=', '~']) => return Err(self.lonely_operator()),
            '!' => (Token::Not, self.take(1)),
            '=' | '~' | '<' | '>' => return Err(self.lonely_operator()),
            _ => self.word()?,
        };
        Ok(Some(spanned))
    }

    fn lonely_operator(&self) -> FilterError {
        let op = operator(self.rest()).map_or("=", |(text, _)| text);
        FilterError::new(self.pos..self.pos + op.len(), format!("`{op}` needs a field directly before it"))
            .hint("write a term without spaces, as in comm=cc1; to search for the text, put it in double quotes")
    }

    fn quoted_word(&mut self) -> Result<Spanned, FilterError> {
        let (bytes, at) = self.quoted()?;
        Ok((Token::Word(bytes), at))
    }

    /// Something in double quotes, which white space, `)` or the end must follow.
    fn quoted(&mut self) -> Result<(Vec<u8>, Range<usize>), FilterError> {
        let (bytes, len) = unquote(self.rest(), self.pos)?;
        let at = self.take(len);
        match self.rest().chars().next() {
            Some(c) if !c.is_whitespace() && c != ')' => {
                Err(FilterError::new(self.pos..self.pos + c.len_utf8(), "missing space after the closing quote")
                    .hint("write a quote inside double quotes as \\\""))
            }
            _ => Ok((bytes, at)),
        }
    }

    fn word(&mut self) -> Result<Spanned, FilterError> {
        let rest = self.rest();
        let name = &rest[..name_len(rest)];
        let after = &rest[name.len()..];
        if let Some(token) = keyword(name, after) {
            return Ok((token, self.take(name.len())));
        }
        if let Some((text, op)) = operator(after).filter(|_| !name.is_empty()) {
            return self.test(name, text, op);
        }
        if after.starts_with(':') && fields::known(name) {
            return Err(self.colon(name, after));
        }
        let bare = &rest[..bare_len(rest)];
        self.refuse_hyphens(bare)?;
        let at = self.take(bare.len());
        match bare {
            "&&" | "||" => {
                let word = if bare == "&&" { "and" } else { "or" };
                Err(FilterError::new(at, format!("use `{word}` instead of `{bare}`"))
                    .hint("to search for the text, put it in double quotes"))
            }
            _ => Ok((Token::Word(bare.as_bytes().to_vec()), at)),
        }
    }

    /// `exit-code=1` would be a word that is found nowhere.
    fn refuse_hyphens(&self, bare: &str) -> Result<(), FilterError> {
        let Some(end) = bare.find(['=', '~', '<', '>', '!']).filter(|end| operator(&bare[*end..]).is_some()) else {
            return Ok(());
        };
        let (written, name) = (&bare[..end], bare[..end].replace('-', "_"));
        if written == name || !fields::known(&name) {
            return Ok(());
        }
        Err(FilterError::new(self.pos..self.pos + end, format!("unknown field `{written}`"))
            .hint(format!("did you mean `{name}`? to search for the text, put it in double quotes")))
    }

    fn colon(&self, name: &str, after: &str) -> FilterError {
        let at = self.pos + name.len();
        let value = &after[1..][..bare_len(&after[1..])];
        FilterError::new(at..at + 1, "expected `=` between field and value")
            .hint(format!("write {name}={value}; to search for the text, put it in double quotes"))
    }

    fn test(&mut self, name: &str, op_text: &str, op: Op) -> Result<Spanned, FilterError> {
        let start = self.pos;
        let field = self.take(name.len());
        if !fields::known(name) {
            return Err(fields::unknown(name, field));
        }
        let op_at = self.take(op_text.len());
        let (value, at) = self.value(name, op_text)?;
        let spots = Spots { field, op: op_at, value: at };
        let end = self.pos;
        Ok((Token::Test(Test { field: name.to_owned(), op, value, spots }), start..end))
    }

    fn value(&mut self, name: &str, op: &str) -> Result<(Vec<u8>, Range<usize>), FilterError> {
        let rest = self.rest();
        if rest.starts_with('"') {
            return self.quoted();
        }
        let here = self.pos..self.pos + rest.chars().next().map_or(0, char::len_utf8);
        if rest.starts_with(NEEDS_QUOTES) {
            let first = &self.text[here.clone()];
            let error = FilterError::new(here, format!("put a value that starts with `{first}` in double quotes"));
            return Err(match (op, first) {
                ("=", "=") => error.hint(format!("for equality use a single `=`: {name}=...")),
                ("=", "~") => error.hint(format!("for a regex use `~`: {name}~...")),
                _ => {
                    let value = rest.as_bytes().get(..bare_len(rest)).unwrap_or_default();
                    error.hint(format!("write {name}{op}{}", quoted(value)))
                }
            });
        }
        match bare_len(rest) {
            0 => Err(FilterError::new(self.pos..self.pos, format!("missing value after `{name}{op}`"))
                .hint(format!("write no spaces around the operator, and an empty value as {name}{op}\"\""))),
            len => Ok((rest.as_bytes()[..len].to_vec(), self.take(len))),
        }
    }
}

fn keyword(name: &str, after: &str) -> Option<Token> {
    let alone = after.chars().next().is_none_or(|c| c.is_whitespace() || c == ')');
    match name {
        "and" | "AND" if alone || after.starts_with('(') => Some(Token::And),
        "or" | "OR" if alone || after.starts_with('(') => Some(Token::Or),
        "not" | "NOT" if alone || after.starts_with('(') => Some(Token::Not),
        "err" if alone => Some(Token::Failed),
        _ => None,
    }
}

fn operator(text: &str) -> Option<(&'static str, Op)> {
    Op::ALL.into_iter().find(|(op, _)| text.starts_with(op))
}

/// Bytes of the field name that a text begins with: a letter or `_`, then letters, digits, `_` and dots.
fn name_len(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(text.len())
}

/// Bytes up to white space or an unbalanced `)`.
fn bare_len(text: &str) -> usize {
    let (mut open, mut escaped) = (0usize, false);
    for (i, c) in text.char_indices() {
        match c {
            c if c.is_whitespace() => return i,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => open += 1,
            ')' if open == 0 => return i,
            ')' => open -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The bytes that stand in the double quotes which a text begins with, and the length with both quotes.
fn unquote(text: &str, pos: usize) -> Result<(Vec<u8>, usize), FilterError> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut i = 1;
    loop {
        match (bytes.get(i), bytes.get(i + 1)) {
            (None, _) => {
                return Err(
                    FilterError::new(pos..pos + 1, "unclosed quote").hint("write a quote inside double quotes as \\\"")
                );
            }
            (Some(b'"'), _) => return Ok((out, i + 1)),
            (Some(b'\\'), Some(c @ (b'"' | b'\\'))) => {
                out.push(*c);
                i += 2;
            }
            (Some(b'\\'), Some(b'x')) => {
                let digits = bytes.get(i + 2..i + 4).and_then(|d| std::str::from_utf8(d).ok());
                let byte = digits.filter(|d| !d.starts_with('+')).and_then(|d| u8::from_str_radix(d, 16).ok());
                let Some(byte) = byte else {
                    return Err(FilterError::new(pos + i..pos + i + 2, "`\\x` needs two hexadecimal digits")
                        .hint("write a backslash as \\\\"));
                };
                out.push(byte);
                i += 4;
            }
            (Some(c), _) => {
                out.push(*c);
                i += 1;
            }
        }
    }
}
