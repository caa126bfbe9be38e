//! The syntax tree of a filter expression.

use super::fields;
use crate::text::REDACTED;
use std::ops::Range;

/// An expression. `Display` writes text that parses to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expr {
    /// All parts hold. Without parts, everything passes.
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    /// `field op value`.
    Test(Test),
    /// `field=a,b` or `field!=a,b`: a term for each value, all of the same field and operator.
    List(Vec<Test>),
    Word(Vec<u8>),
    /// `err`.
    Failed,
}

impl Expr {
    /// The conjunction of parts. A single part gets no level of its own, and top-level conjunctions are flattened.
    pub(super) fn all(parts: Vec<Expr>) -> Expr {
        let flat: Vec<Expr> = parts.into_iter().flat_map(Expr::into_parts).collect();
        single(flat).unwrap_or_else(Expr::All)
    }

    /// The disjunction of parts. A single part gets no level of its own.
    pub(super) fn any(parts: Vec<Expr>) -> Expr {
        single(parts).unwrap_or_else(Expr::Any)
    }

    /// The terms of a list as an expression. With `=` any of them must hold, with `!=` all must.
    pub(super) fn of_list(tests: &[Test]) -> Expr {
        let terms = tests.iter().cloned().map(Expr::Test).collect();
        if tests.iter().any(|test| test.op == Op::Ne) { Expr::All(terms) } else { Expr::Any(terms) }
    }

    /// Whether a term only says which events not to show.
    pub(super) fn hides(&self) -> bool {
        let differs = |test: &Test| matches!(test.op, Op::Ne | Op::NotLike);
        match self {
            Expr::Not(_) => true,
            Expr::Test(test) => differs(test),
            Expr::List(tests) => tests.iter().all(differs),
            _ => false,
        }
    }

    /// Whether there are terms, and all of them compare fields.
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

    /// Replaces the text values that a passing event need not have. `has`: whether a passing event has the value of a term.
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

    /// The parts joined by AND at the top level.
    pub(super) fn into_parts(self) -> Vec<Expr> {
        match self {
            Expr::All(parts) => parts.into_iter().flat_map(Expr::into_parts).collect(),
            part => vec![part],
        }
    }
}

/// The only element of a list, or else the list.
fn single(mut list: Vec<Expr>) -> Result<Expr, Vec<Expr>> {
    if list.len() == 1 { Ok(list.remove(0)) } else { Err(list) }
}

/// `field op value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// The name of the field, even if the title of a column was written.
    pub(super) field: String,
    pub(super) op: Op,
    /// The value, without its quotes.
    pub(super) value: Vec<u8>,
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

/// The positions of the pieces of a term in the text. They are not part of the term's meaning, so all compare equal.
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
    /// Each operator with its text. A text that begins with another one comes before it. Of two texts, the last is the canonical
    /// one.
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

    /// Whether it is `=` or `!=`. These accept several values.
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
