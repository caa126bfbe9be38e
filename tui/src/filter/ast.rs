//! An expression.

use super::fields;
use crate::pipeline::redact::REDACTED;
use std::ops::Range;

/// An expression. `Display` writes text that parses to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expr {
    /// All hold; none at all: everything passes.
    All(Vec<Expr>),
    /// At least one holds.
    Any(Vec<Expr>),
    /// It does not hold.
    Not(Box<Expr>),
    /// `field op value`.
    Test(Test),
    /// `field=a,b` or `field!=a,b`: a term for each value, all of the same field and operator.
    List(Vec<Test>),
    /// A bare word.
    Word(Vec<u8>),
    /// `err`.
    Failed,
}

impl Expr {
    /// Several that must all hold, without a level for a single one and with those that stand at the top apart.
    pub(super) fn all(parts: Vec<Expr>) -> Expr {
        let flat: Vec<Expr> = parts.into_iter().flat_map(Expr::into_parts).collect();
        single(flat).unwrap_or_else(Expr::All)
    }

    /// Several of which one must hold, without a level for a single one.
    pub(super) fn any(parts: Vec<Expr>) -> Expr {
        single(parts).unwrap_or_else(Expr::Any)
    }

    /// The terms of a list as an expression: with `=` any of them holds, with `!=` all do.
    pub(super) fn of_list(tests: &[Test]) -> Expr {
        let terms = tests.iter().cloned().map(Expr::Test).collect();
        if tests.iter().any(|test| test.op == Op::Ne) { Expr::All(terms) } else { Expr::Any(terms) }
    }

    /// Whether it has terms, and all compare fields.
    pub(super) fn compares_fields(&self) -> bool {
        match self {
            Expr::All(parts) | Expr::Any(parts) => !parts.is_empty() && parts.iter().all(Expr::compares_fields),
            Expr::Not(inner) => inner.compares_fields(),
            Expr::Test(_) | Expr::List(_) => true,
            Expr::Word(_) | Expr::Failed => false,
        }
    }

    /// Changes each term that compares a field.
    pub(super) fn change_tests(&mut self, change: &mut dyn FnMut(&mut Test)) {
        match self {
            Expr::All(parts) | Expr::Any(parts) => parts.iter_mut().for_each(|part| part.change_tests(change)),
            Expr::Not(inner) => inner.change_tests(change),
            Expr::Test(test) => change(test),
            Expr::List(tests) => tests.iter_mut().for_each(change),
            Expr::Word(_) | Expr::Failed => {}
        }
    }

    /// Replaces the values of texts that an event may pass without having them. `has`: what passes has what a term says.
    pub(super) fn hide_texts(&mut self, has: bool) {
        match self {
            Expr::All(parts) => parts.iter_mut().for_each(|part| part.hide_texts(has)),
            Expr::Any(parts) => parts.iter_mut().for_each(|part| part.hide_texts(false)),
            Expr::Not(inner) => inner.hide_texts(false),
            Expr::Test(test) => test.hide_text(has),
            Expr::List(tests) => tests.iter_mut().for_each(|test| test.hide_text(false)),
            Expr::Word(word) if !has => *word = REDACTED.into(),
            Expr::Word(_) | Expr::Failed => {}
        }
    }

    /// The parts that are ANDed at the top.
    pub(super) fn into_parts(self) -> Vec<Expr> {
        match self {
            Expr::All(parts) => parts.into_iter().flat_map(Expr::into_parts).collect(),
            part => vec![part],
        }
    }
}

/// The only one of a list, or the list.
fn single(mut list: Vec<Expr>) -> Result<Expr, Vec<Expr>> {
    match (list.len(), list.pop()) {
        (1, Some(only)) => Ok(only),
        (_, None) => Err(list),
        (_, Some(last)) => {
            list.push(last);
            Err(list)
        }
    }
}

/// `field op value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// The field: its name, also where a column's title was written.
    pub(super) field: String,
    /// The comparison.
    pub(super) op: Op,
    /// The value, without its quotes.
    pub(super) value: Vec<u8>,
    /// Its place in the text.
    pub(super) spots: Spots,
}

impl Test {
    fn hide_text(&mut self, has: bool) {
        let has = has && !matches!(self.op, Op::Ne | Op::NotLike);
        if !has && fields::is_outside(&self.field) {
            self.value = REDACTED.into();
        }
    }
}

/// Where the pieces of a term stand in the text. No part of what the term says, so all compare equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Spots {
    pub(super) field: Range<usize>,
    pub(super) op: Range<usize>,
    pub(super) value: Range<usize>,
}

impl PartialEq for Spots {
    fn eq(&self, _: &Spots) -> bool {
        true
    }
}

impl Eq for Spots {}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Eq,
    Ne,
    Like,
    NotLike,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Op {
    /// Each with its text; one that begins another comes after it. Of two texts the last is the canonical one.
    pub(super) const ALL: [(&'static str, Op); 9] = [
        ("!=", Op::Ne),
        ("!~", Op::NotLike),
        ("<=", Op::Le),
        (">=", Op::Ge),
        ("==", Op::Eq),
        ("=", Op::Eq),
        ("~", Op::Like),
        ("<", Op::Lt),
        (">", Op::Gt),
    ];

    /// Whether it is `=` or `!=`, which take several values.
    pub(super) fn takes_lists(self) -> bool {
        matches!(self, Op::Eq | Op::Ne)
    }

    /// Whether it is `~` or `!~`.
    pub(super) fn is_regex(self) -> bool {
        matches!(self, Op::Like | Op::NotLike)
    }

    pub(super) fn text(self) -> &'static str {
        Op::ALL.iter().rfind(|(_, op)| *op == self).map_or("=", |(text, _)| text)
    }
}
