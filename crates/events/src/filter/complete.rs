//! The unfinished end of an expression, and the texts that can complete it.

use super::ast::{Expr, Op, Test};
use super::display::value_text;
use super::eval::{closed_set, escaped, operators};
use super::fields::{self, Appearance};
use super::glob;
use super::lex::{self, Token};
use crate::event::EventContext;
use crate::event::describe::{Shape, Value};

/// The unfinished end of an expression.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Its start, in bytes.
    pub start: usize,
    /// Its text, without quotes.
    pub typed: Vec<u8>,
    /// What it begins: the name of a field, or a value.
    pub of: Of,
}

/// What an unfinished end can begin.
#[derive(Clone, Debug)]
pub enum Of {
    Field,
    Value(Box<FieldName>),
}

/// The unfinished end of an expression; `None` if it cannot be completed.
pub fn ending(text: &str) -> Option<Ending> {
    // One more letter is added, so that the end is never empty. No keyword ends with it.
    let bare = lex::tokens(&format!("{text}x"));
    // Within quotes, the closing quote is added too.
    let (token, at) = bare.or_else(|_| lex::tokens(&format!("{text}x\""))).ok()?.pop()?;
    let without = |mut bytes: Vec<u8>| (bytes.pop() == Some(b'x')).then_some(bytes);
    match token {
        // No word can follow a closing parenthesis directly.
        Token::Word(_) if at.start == text.len() && text.ends_with(')') => None,
        Token::Word(word) if !text[at.start..].starts_with('"') => {
            Some(Ending { start: at.start, typed: without(word)?, of: Of::Field })
        }
        Token::Term(Expr::Test(test)) => of_value(test, without),
        Token::Term(Expr::List(mut tests)) => of_value(tests.pop()?, without),
        _ => None,
    }
}

fn of_value(test: Test, without: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) -> Option<Ending> {
    let Test { field, op, value, spots } = test;
    let of = Of::Value(Box::new(FieldName::new(field, op).filter(FieldName::compares)?));
    Some(Ending { start: spots.value.start, typed: without(value)?, of })
}

/// The most frequently used fields. They are offered first.
const FIRST: &str = "comm process kind err path pid tree uid arg exe cwd cgroup unit container exit_code dur";

/// The names of fields that begin with a text, each with the operator that usually follows.
pub fn field_terms(typed: &str) -> Vec<String> {
    let typed = typed.to_ascii_lowercase();
    let mut names: Vec<_> = fields::names().into_iter().filter(|(name, _)| name.starts_with(&typed)).collect();
    names.sort_by_key(|(name, _)| FIRST.split(' ').position(|first| first == name).unwrap_or(FIRST.len()));
    let op = |shape| if shape == Shape::Duration { ">" } else { "=" };
    names.into_iter().map(|(name, shape)| format!("{name}{}", op(shape))).collect()
}

/// The name of a field with its operator, and the facts about its values.
#[derive(Clone, Debug)]
pub struct FieldName {
    name: String,
    op: Op,
    appearance: Option<Appearance>,
}

impl FieldName {
    fn new(name: String, op: Op) -> Option<FieldName> {
        let appearance = fields::look(&name);
        let compares = appearance.is_some() || name == fields::TREE;
        compares.then_some(FieldName { name, op, appearance })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the operator can follow the name.
    fn compares(&self) -> bool {
        operators(self.shape()).contains(&self.op)
    }

    /// Whether a value can complete the typed text: it begins with that text, or contains it if a pattern is typed. Case is
    /// ignored.
    pub fn offers(&self, value: &[u8], typed: &[u8]) -> bool {
        let begins = |value: &[u8]| value.get(..typed.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(typed));
        begins(value) || self.op.is_regex() && (1..value.len()).any(|at| begins(&value[at..]))
    }

    /// The operations that it allows.
    pub fn shape(&self) -> Shape {
        self.appearance.as_ref().map_or(Shape::Number, |look| look.shape)
    }

    pub fn values<'a>(&self, seen: &EventContext<'a>) -> impl Iterator<Item = Value<'a>> {
        let gets = self.appearance.as_ref().map_or(&[][..], |look| look.of(seen.event.kind()));
        gets.iter().map(|get| get(seen))
    }

    /// All its possible words, if there are few.
    pub fn words(&self) -> Vec<&'static str> {
        match self.shape() {
            Shape::Bool => vec!["true", "false"],
            Shape::Duration if !self.op.takes_lists() => vec!["1ms", "10ms", "100ms", "1s", "10s"],
            _ => closed_set(&self.name).unwrap_or_default(),
        }
    }

    /// A value as written after the operator: with `=` it matches only this value, with `~` only this text.
    pub fn written(&self, value: &[u8]) -> String {
        match self.shape() {
            _ if self.op.is_regex() => value_text(self.op, escaped(value).as_bytes()),
            Shape::Text | Shape::List => value_text(self.op, &glob::escape(value)),
            _ => value_text(self.op, value),
        }
    }
}
