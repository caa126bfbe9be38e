//! An expression.

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
    /// The field as written.
    pub(super) field: String,
    /// The comparison.
    pub(super) op: Op,
    /// The value, without its quotes.
    pub(super) value: Vec<u8>,
    /// Its place in the text.
    pub(super) spots: Spots,
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
    /// Each with its text; one that begins another comes after it.
    pub(super) const ALL: [(&'static str, Op); 8] = [
        ("!=", Op::Ne),
        ("!~", Op::NotLike),
        ("<=", Op::Le),
        (">=", Op::Ge),
        ("=", Op::Eq),
        ("~", Op::Like),
        ("<", Op::Lt),
        (">", Op::Gt),
    ];

    pub(super) fn text(self) -> &'static str {
        Op::ALL.iter().find(|(_, op)| *op == self).map_or("=", |(text, _)| text)
    }
}
