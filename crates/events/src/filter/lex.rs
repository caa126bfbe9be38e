//! Text to tokens.
//!
//! A value or bare word ends at white space, `&&`, `||` or a `)` that it did not open. A backslash makes the next character
//! literal. A value after `=` or `!=` also ends at a comma, and the next value follows. In double quotes `\"`, `\\` and `\xNN` are
//! escapes. Any other backslash stays, so that `"a b\.c"` is the regex that it looks like. Upper-case AND, OR and NOT are keywords
//! too.
//!
//! Blanks are allowed around an operator. The next word is the value, unless it is a keyword or a comparison itself: in `comm=
//! pid=7` the value is missing.

use super::ast::{Expr, Op, Spots, Test};
use super::error::FilterError;
use super::fields;
use super::quote::quoted;
use std::ops::Range;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Failed,
    Word(Vec<u8>),
    /// A comparison, with one value or a list of them.
    Term(Expr),
}

pub(super) type Spanned = (Token, Range<usize>);

type Value = (Vec<u8>, Range<usize>);

pub(super) fn tokens(text: &str) -> Result<Vec<Spanned>, FilterError> {
    let mut lexer = Lexer { text, pos: 0 };
    let mut out = Vec::new();
    while let Some(token) = lexer.next()? {
        out.push(token);
    }
    Ok(out)
}

/// Whether a text, written unquoted after any term, is one bare word.
pub(super) fn is_word(text: &str) -> bool {
    matches!(tokens(text).as_deref(), Ok([(Token::Word(word), at)])
        if word == text.as_bytes() && *at == (0..text.len()) && !text.starts_with(['"', ',']) && ends_itself(text))
}

/// Whether a value, written unquoted after an operator, reads back the same.
pub(super) fn stands_bare(op: Op, value: &str) -> bool {
    let whole = value_len(value, !op.is_regex()) == value.len() && ends_itself(value);
    whole && !value.is_empty() && !value.starts_with(NEEDS_QUOTES)
}

/// Whether text that follows, even a `)`, would not become part of it.
fn ends_itself(text: &str) -> bool {
    word_len(&format!("{text})")) == text.len()
}

/// The characters with which a value can begin only in quotes.
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

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.pos += rest.len() - rest.trim_start().len();
    }

    fn next(&mut self) -> Result<Option<Spanned>, FilterError> {
        self.skip_blanks();
        let rest = self.rest();
        if let Some(token) = connective(rest) {
            return Ok(Some((token, self.take(2))));
        }
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let spanned = match first {
            '(' => (Token::Open, self.take(1)),
            ')' => (Token::Close, self.take(1)),
            '"' => self.quoted(false).map(|(bytes, at)| (Token::Word(bytes), at))?,
            '!' if rest[1..].starts_with(['=', '~']) => return Err(self.lonely_operator()),
            '!' => (Token::Not, self.take(1)),
            '=' | '~' | '<' | '>' => return Err(self.lonely_operator()),
            _ => self.word()?,
        };
        Ok(Some(spanned))
    }

    fn lonely_operator(&self) -> FilterError {
        let op = operator(self.rest()).map_or("=", |(text, _)| text);
        FilterError::new(self.pos..self.pos + op.len(), format!("`{op}` needs a field before it"))
            .hint("write a term as in comm=cc1; to search for the text, put it in double quotes")
    }

    /// A text in double quotes. The end of a word must follow it, or in a list the end of a value.
    fn quoted(&mut self, list: bool) -> Result<Value, FilterError> {
        let (bytes, len) = unquote(self.rest(), self.pos)?;
        let at = self.take(len);
        match self.rest().chars().next() {
            Some(c) if value_len(self.rest(), list) > 0 => {
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
        let op = operator(after.trim_start()).filter(|_| !name.is_empty());
        match (keyword(name, after), op) {
            (None | Some(Token::Failed), Some((text, op))) => return self.term(name, text, op),
            (Some(token), _) => return Ok((token, self.take(name.len()))),
            (None, None) => {}
        }
        if after.starts_with(':') && fields::field_named(name).is_some() {
            return Err(self.colon(name, after));
        }
        self.refuse_hyphens(rest)?;
        let at = self.take(word_len(rest));
        Ok((Token::Word(self.text.as_bytes()[at.clone()].to_vec()), at))
    }

    /// Without this error, `exit-code=1` would be a word that never matches.
    fn refuse_hyphens(&self, rest: &str) -> Result<(), FilterError> {
        let word = &rest[..word_len(rest)];
        let end = word.find(['=', '~', '<', '>', '!']).unwrap_or(word.len());
        let (written, name) = (&word[..end], word[..end].replace('-', "_"));
        if written == name || !fields::known(&name) || operator(rest[end..].trim_start()).is_none() {
            return Ok(());
        }
        Err(FilterError::new(self.pos..self.pos + end, format!("unknown field `{written}`"))
            .hint(format!("did you mean `{name}`? to search for the text, put it in double quotes")))
    }

    fn colon(&self, name: &str, after: &str) -> FilterError {
        let at = self.pos + name.len();
        let value = after[1..].trim_start();
        let value = &value[..word_len(value)];
        FilterError::new(at..at + 1, "expected `=` between field and value")
            .hint(format!("write {name}={value}; to search for the text, put it in double quotes"))
    }

    fn term(&mut self, name: &str, op_text: &str, op: Op) -> Result<Spanned, FilterError> {
        let start = self.pos;
        let field = self.take(name.len());
        let (known, variable) = match (fields::field_named(name), fields::of_variable(name)) {
            (Some(known), _) => (known, None),
            (None, Some((list, variable))) => (list.to_owned(), Some(variable)),
            _ => return Err(fields::unknown(name, field)),
        };
        self.skip_blanks();
        let spots = Spots { field, op: self.take(op_text.len()), value: 0..0 };
        let of_variable = |value: Vec<u8>| match (variable, op) {
            (None, _) => value,
            (Some(name), Op::Like | Op::NotLike) => {
                [format!("^{}=.*(?:", regex::escape(name)).as_bytes(), &value, b")"].concat()
            }
            (Some(name), _) => [name.as_bytes(), b"=", &value].concat(),
        };
        let test = |(value, at)| {
            let (value, spots) = (of_variable(value), Spots { value: at, ..spots.clone() });
            Test { field: known.clone(), op, value, spots }
        };
        let mut tests: Vec<Test> = self.values(name, op)?.into_iter().map(test).collect();
        let term = if tests.len() == 1 { Expr::Test(tests.remove(0)) } else { Expr::List(tests) };
        Ok((Token::Term(term), start..self.pos))
    }

    /// The value after an operator, or the list of values.
    fn values(&mut self, name: &str, op: Op) -> Result<Vec<Value>, FilterError> {
        let mut values = vec![self.value(name, op)?];
        while let Some(comma) = self.comma(op) {
            if !op.takes_lists() {
                let message = format!("`{}` takes one value, not a list", op.text());
                return Err(FilterError::new(comma, message).hint("only = and != take lists, as in comm=gcc,cc1"));
            }
            values.push(self.value(name, op)?);
        }
        Ok(values)
    }

    /// Consumes a comma between values. In a regex, the comma is part of the value.
    fn comma(&mut self, op: Op) -> Option<Range<usize>> {
        if op.is_regex() || !self.rest().trim_start().starts_with(',') {
            return None;
        }
        self.skip_blanks();
        Some(self.take(1))
    }

    fn value(&mut self, name: &str, op: Op) -> Result<Value, FilterError> {
        let before = self.pos;
        self.skip_blanks();
        let (rest, list) = (self.rest(), !op.is_regex());
        if rest.starts_with('"') {
            return self.quoted(list);
        }
        // A regex may begin with a group.
        if rest.starts_with(NEEDS_QUOTES) && !(op.is_regex() && rest.starts_with('(')) {
            return Err(self.needs_quotes(name, op));
        }
        match value_len(rest, list) {
            0 => Err(self.missing_value(before, name, op)),
            // `comm!=gcc,kind=open` would show more than intended.
            _ if (self.pos > before || self.text[..before].ends_with(',')) && is_term(rest) => {
                Err(self.missing_value(before, name, op).hint("if the next word is the value, put it in double quotes"))
            }
            len => Ok((rest.as_bytes()[..len].to_vec(), self.take(len))),
        }
    }

    /// The error about a value that begins with a character that needs quotes.
    fn needs_quotes(&self, name: &str, op: Op) -> FilterError {
        let rest = self.rest();
        let value = quoted(&rest.as_bytes()[..word_len(rest)]);
        let message = format!("put a value that starts with `{}` in double quotes", &rest[..1]);
        FilterError::new(self.pos..self.pos + 1, message).hint(format!("write {name}{}{value}", op.text()))
    }

    fn missing_value(&self, at: usize, name: &str, op: Op) -> FilterError {
        let op = op.text();
        let after = if self.text[..at].ends_with(',') { ",".to_owned() } else { format!("{name}{op}") };
        FilterError::new(at..at, format!("missing value after `{after}`"))
            .hint(format!("write an empty value as {name}{op}\"\""))
    }
}

/// Whether the text after an operator and blanks is a term or a keyword, so that the value is missing.
pub(super) fn is_term(text: &str) -> bool {
    let name = &text[..name_len(text)];
    let after = &text[name.len()..];
    let compares = operator(after.trim_start()).is_some() && fields::field_named(name).is_some();
    compares || keyword(name, after).is_some()
}

/// `&&` or `||`, if a text begins with it.
fn connective(text: &str) -> Option<Token> {
    match text.get(..2)? {
        "&&" => Some(Token::And),
        "||" => Some(Token::Or),
        _ => None,
    }
}

fn keyword(name: &str, after: &str) -> Option<Token> {
    // Only the next character is examined: a text may consist of keywords.
    let alone = after.chars().next().is_none_or(|c| c.is_whitespace() || c == ')') || connective(after).is_some();
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

/// The length of the field name that a text begins with: a letter or `_`, then letters, digits, `_` and dots.
fn name_len(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(text.len())
}

/// The length of the bare word that a text begins with.
fn word_len(text: &str) -> usize {
    value_len(text, false)
}

/// The number of bytes before white space, `&&`, `||`, an unbalanced `)` or, in a list, a comma.
fn value_len(text: &str, list: bool) -> usize {
    let (mut open, mut escaped) = (0usize, false);
    for (i, c) in text.char_indices() {
        match c {
            c if c.is_whitespace() => return i,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '&' | '|' if connective(&text[i..]).is_some() => return i,
            ',' if list => return i,
            '(' => open += 1,
            ')' if open == 0 => return i,
            ')' => open -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The contents of the double quotes that a text begins with, and the length including both quotes.
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
