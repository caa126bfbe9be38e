//! The canonical text of an expression: it parses to the same expression.

use super::ast::{Expr, Op, Test};
use super::lex;
use super::quote::quoted;
use crate::text::is_hostile;
use std::fmt::{self, Display, Formatter};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::All(parts) => join(f, parts, " ", |e| matches!(e, Expr::All(_) | Expr::Any(_))),
            Expr::Any(parts) => join(f, parts, " or ", |e| matches!(e, Expr::Any(_))),
            Expr::Not(inner) => {
                f.write_str("not ")?;
                grouped(f, inner, matches!(**inner, Expr::All(_) | Expr::Any(_)))
            }
            Expr::Test(test) => test.fmt(f),
            Expr::List(tests) => list(f, tests),
            Expr::Word(word) => f.write_str(&text_of(word, lex::is_word)),
            Expr::Failed => f.write_str("err"),
        }
    }
}

fn join(f: &mut Formatter<'_>, parts: &[Expr], between: &str, group: impl Fn(&Expr) -> bool) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            f.write_str(between)?;
        }
        grouped(f, part, group(part))?;
    }
    Ok(())
}

fn grouped(f: &mut Formatter<'_>, expr: &Expr, group: bool) -> fmt::Result {
    if group { write!(f, "({expr})") } else { expr.fmt(f) }
}

fn list(f: &mut Formatter<'_>, tests: &[Test]) -> fmt::Result {
    for (i, test) in tests.iter().enumerate() {
        match i {
            0 => test.fmt(f)?,
            // After a comma, a keyword or a term is taken for a missing value.
            _ if str::from_utf8(&test.value).is_ok_and(lex::is_term) => write!(f, ",{}", quoted(&test.value))?,
            _ => write!(f, ",{}", value_text(test.op, &test.value))?,
        }
    }
    Ok(())
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.field, self.op.text(), value_text(self.op, &self.value))
    }
}

/// A value after an operator: unquoted if that reads back the same, otherwise in quotes.
pub(super) fn value_text(op: Op, value: &[u8]) -> String {
    text_of(value, |text| lex::stands_bare(op, text))
}

fn text_of(bytes: &[u8], stands_bare: impl Fn(&str) -> bool) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(is_hostile) && stands_bare(text) => text.to_owned(),
        _ => quoted(bytes),
    }
}
