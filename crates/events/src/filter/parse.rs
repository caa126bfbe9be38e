//! Turns tokens into an expression. `or` binds weaker than juxtaposition and `and`, and those bind weaker than `not`.

use super::ast::Expr;
use super::error::FilterError;
use super::lex::{self, Spanned, Token};
use crate::limits;
use std::ops::Range;

/// Parses an expression. An empty one lets everything pass.
pub(super) fn parse(text: &str) -> Result<Expr, FilterError> {
    if let Some((end, _)) = text.char_indices().nth(limits::FILTER_MAX) {
        let message = format!("the expression is longer than {} characters", limits::FILTER_MAX);
        return Err(FilterError::new(end..text.len(), message));
    }
    let mut parser = Parser { tokens: lex::tokens(text)?.into_iter().peekable(), text, depth: 0 };
    if parser.tokens.peek().is_none() {
        return Ok(Expr::All(Vec::new()));
    }
    let expr = parser.any()?;
    match parser.tokens.next() {
        None => Ok(expr),
        Some((_, at)) => {
            Err(FilterError::new(at, "unmatched `)`")
                .hint("put a value that contains `)`, `&&` or `||` in double quotes"))
        }
    }
}

struct Parser<'t> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Spanned>>,
    text: &'t str,
    /// Open parentheses and `not`s.
    depth: usize,
}

impl Parser<'_> {
    fn eat(&mut self, token: &Token) -> Option<Range<usize>> {
        self.tokens.next_if(|(next, _)| next == token).map(|(_, at)| at)
    }

    fn any(&mut self) -> Result<Expr, FilterError> {
        let mut parts = vec![self.all()?];
        while self.eat(&Token::Or).is_some() {
            parts.push(self.all()?);
        }
        Ok(Expr::any(parts))
    }

    /// Adjacent terms.
    fn all(&mut self) -> Result<Expr, FilterError> {
        let mut parts = vec![self.not()?];
        loop {
            match self.tokens.peek() {
                None | Some((Token::Or | Token::Close, _)) => break,
                Some(_) => {
                    self.eat(&Token::And);
                    parts.push(self.not()?);
                }
            }
        }
        // Not `Expr::all`: a group in parentheses stays one.
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Expr::All(parts),
        })
    }

    fn not(&mut self) -> Result<Expr, FilterError> {
        match self.eat(&Token::Not) {
            Some(at) => self.deeper(at, |p| Ok(Expr::Not(Box::new(p.not()?)))),
            None => self.one(),
        }
    }

    fn one(&mut self) -> Result<Expr, FilterError> {
        let missing = |at| FilterError::new(at, "missing term");
        match self.tokens.next() {
            Some((Token::Open, at)) => self.deeper(at.clone(), |p| p.group(at)),
            Some((Token::Term(term), _)) => Ok(term),
            Some((Token::Word(word), _)) => Ok(Expr::Word(word)),
            Some((Token::Failed, _)) => Ok(Expr::Failed),
            Some((Token::Close, at)) => Err(missing(at)),
            Some((Token::And | Token::Or | Token::Not, at)) => {
                let hint = format!("to search for the text, write \"{}\"", &self.text[at.clone()]);
                Err(missing(at).hint(hint))
            }
            None => Err(missing(self.text.len()..self.text.len())),
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
        inner: impl FnOnce(&mut Self) -> Result<Expr, FilterError>,
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
