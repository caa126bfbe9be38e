//! Tokens to an expression: `or` binds weaker than juxtaposition and `and`, those weaker than `not`.

use super::ast::Expr;
use super::error::FilterError;
use super::lex::{self, Spanned, Token};
use crate::limits;
use std::ops::Range;

/// Parses an expression; an empty one lets everything pass.
pub(super) fn parse(text: &str) -> Result<Expr, FilterError> {
    if let Some((end, _)) = text.char_indices().nth(limits::FILTER_MAX) {
        let message = format!("the expression is longer than {} characters", limits::FILTER_MAX);
        return Err(FilterError::new(end..text.len(), message));
    }
    let mut parser = Parser { tokens: lex::tokens(text)?.into_iter().peekable(), end: text.len(), depth: 0 };
    if parser.tokens.peek().is_none() {
        return Ok(Expr::All(Vec::new()));
    }
    let expr = parser.any()?;
    match parser.tokens.next() {
        None => Ok(expr),
        Some((_, at)) => {
            Err(FilterError::new(at, "unmatched `)`").hint("put a value that contains `)` in double quotes"))
        }
    }
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Spanned>>,
    /// Where the text ends.
    end: usize,
    /// Open parentheses and `not`s.
    depth: usize,
}

impl Parser {
    fn eat(&mut self, token: &Token) -> Option<Range<usize>> {
        self.tokens.next_if(|(next, _)| next == token).map(|(_, at)| at)
    }

    fn any(&mut self) -> Result<Expr, FilterError> {
        let mut parts = vec![self.all("")?];
        while self.eat(&Token::Or).is_some() {
            parts.push(self.all(" after `or`")?);
        }
        Ok(Expr::any(parts))
    }

    /// Terms side by side; `after` says in an error what they follow.
    fn all(&mut self, after: &'static str) -> Result<Expr, FilterError> {
        let mut parts = vec![self.not(after)?];
        loop {
            match self.tokens.peek() {
                None | Some((Token::Or | Token::Close, _)) => break,
                Some((Token::And, _)) => {
                    self.tokens.next();
                    parts.push(self.not(" after `and`")?);
                }
                Some(_) => parts.push(self.not("")?),
            }
        }
        // Not `Expr::all`: a group in parentheses stays one.
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Expr::All(parts),
        })
    }

    fn not(&mut self, after: &'static str) -> Result<Expr, FilterError> {
        match self.eat(&Token::Not) {
            Some(at) => self.deeper(at, |p| Ok(Expr::Not(Box::new(p.not(" after `not`")?)))),
            None => self.one(after),
        }
    }

    fn one(&mut self, after: &'static str) -> Result<Expr, FilterError> {
        match self.tokens.next() {
            Some((Token::Open, at)) => self.deeper(at.clone(), |p| p.group(at)),
            Some((Token::Test(test), _)) => Ok(Expr::Test(test)),
            Some((Token::Word(word), _)) => Ok(Expr::Word(word)),
            Some((Token::Failed, _)) => Ok(Expr::Failed),
            Some((Token::Not | Token::And, at)) => Err(missing(at, after, "and")),
            Some((Token::Or, at)) => Err(missing(at, after, "or")),
            Some((Token::Close, at)) => Err(FilterError::new(at, format!("missing term{after} before `)`"))),
            None => Err(FilterError::new(self.end..self.end, format!("missing term{after}"))),
        }
    }

    fn group(&mut self, open: Range<usize>) -> Result<Expr, FilterError> {
        let inner = self.any()?;
        match self.eat(&Token::Close) {
            Some(_) => Ok(inner),
            None => {
                Err(FilterError::new(open, "unclosed `(`").hint("put a word that starts with `(` in double quotes"))
            }
        }
    }

    fn deeper(
        &mut self,
        at: Range<usize>,
        inner: impl FnOnce(&mut Parser) -> Result<Expr, FilterError>,
    ) -> Result<Expr, FilterError> {
        if self.depth == limits::FILTER_DEPTH {
            let message = format!("parentheses and `not` are nested more than {} levels deep", limits::FILTER_DEPTH);
            return Err(FilterError::new(at, message));
        }
        self.depth += 1;
        let expr = inner(self)?;
        self.depth -= 1;
        Ok(expr)
    }
}

fn missing(at: Range<usize>, after: &str, word: &str) -> FilterError {
    let message = format!("missing term{after} before `{word}`");
    FilterError::new(at, message).hint(format!("to search for the word, write \"{word}\""))
}
