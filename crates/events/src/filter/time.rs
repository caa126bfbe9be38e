//! Comparisons of the time: `time>-1m`, `time<2026-11-20T14:02:11Z`.

use super::NameLookup;
use super::ast::{Expr, Op, Test};
use super::error::FilterError;
use crate::text::time::{Moment, duration, rfc3339};

/// Whether a term compares the time.
pub(super) fn compared(test: &Test) -> bool {
    test.field == "time" && matches!(test.op, Op::Lt | Op::Le | Op::Gt | Op::Ge)
}

/// Replaces relative times by absolute ones, which mean the same later too.
pub(super) fn fix(expr: &mut Expr, names: &dyn NameLookup) {
    expr.change_tests(&mut |test| {
        if let Some(Ok(ns)) = compared(test).then(|| of(test, names)) {
            test.value.clear();
            rfc3339(ns, &mut test.value);
        }
    });
}

/// The time that a comparison of the time is about, in nanoseconds since 1970.
pub(super) fn of(test: &Test, names: &dyn NameLookup) -> Result<i128, FilterError> {
    let text = String::from_utf8_lossy(&test.value);
    let wrong = |why: &str| {
        FilterError::new(test.spots.value.clone(), format!("`{text}` {why}"))
            .hint("write -90s or -1h5m (before now, or before the end), or 2026-11-20T14:02:11Z")
    };
    if let Some(before) = text.strip_prefix('-') {
        let before = duration(before).ok_or_else(|| wrong("is not a time"))?;
        let end = names.end().ok_or_else(|| wrong("is relative to an end that is not known here"))?;
        return Ok(end - before.as_nanos() as i128);
    }
    match Moment::parse(&text) {
        Some(moment) if moment.is_dated() => Ok(moment.unix_ns((0, 0), names.zone())),
        Some(_) => Err(wrong("has no date")),
        None => Err(wrong("is not a time")),
    }
}
