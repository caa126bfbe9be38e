//! Finds the parts of a filter to remove when another part is added: both together would show nothing, or the new one is more
//! specific.

use super::ast::{Expr, Op};
use super::capture::tests;
use super::{fields, parse};

/// Fields with one value per event. Of two terms on such a field, the later one counts.
const SINGLE: [&str; 7] = ["pid", "comm", "uid", "cgroup", "err", "kind", fields::TREE];

/// Fields whose terms a tree replaces, because the descendants have other values.
const WITHIN_TREE: [&str; 5] = ["pid", "tid", "ppid", "comm", "kind"];

/// The condition of a part on one field.
struct Claim<'e> {
    field: &'e str,
    values: Vec<&'e [u8]>,
    /// The field has none of the values.
    hides: bool,
}

/// Whether a part of a filter must be removed when another one is added.
pub fn gives_way(old: &str, new: &str) -> bool {
    let (Ok(old), Ok(new)) = (parse::parse(old), parse::parse(new)) else { return false };
    let (Some(old), Some(new)) = (claim(&old), claim(&new)) else { return false };
    let all_in = |values: &[&[u8]], of: &[&[u8]]| values.iter().all(|value| of.contains(value));
    let same = old.field == new.field;
    match (old.hides, new.hides) {
        // The old part shows only what the new one hides.
        (false, true) => same && all_in(&old.values, &new.values),
        // The old part hides what the new one shows.
        (true, false) => same && all_in(&new.values, &old.values),
        (true, true) => false,
        (false, false) if same => SINGLE.contains(&new.field),
        (false, false) => new.field == fields::TREE && WITHIN_TREE.contains(&old.field),
    }
}

/// Whether a part of a filter shows only rows that another one hides.
pub fn shows_only(old: &str, hidden: &str) -> bool {
    let hides = |text: &str| parse::parse(text).ok().and_then(|expr| Some(claim(&expr)?.hides));
    hides(old) == Some(false) && hides(hidden) == Some(true) && gives_way(old, hidden)
}

fn claim(expr: &Expr) -> Option<Claim<'_>> {
    if let Expr::Not(inner) = expr {
        return claim(inner).map(|claim| Claim { hides: !claim.hides, ..claim });
    }
    let tests = tests(expr)?;
    let first = *tests.first()?;
    let hides = first.op == Op::Ne;
    let alike = tests.iter().all(|test| (&test.field, test.op) == (&first.field, first.op));
    let is_one = alike && first.op.takes_lists() && !(hides && matches!(expr, Expr::Any(_)));
    let values = tests.iter().map(|test| test.value.as_slice()).collect();
    is_one.then_some(Claim { field: &first.field, values, hides })
}

#[cfg(test)]
mod tests {
    use super::{gives_way, shows_only};

    #[test]
    fn what_contradicts_or_says_less_gives_way() {
        for (old, new, gives) in [
            ("comm=gcc", "not comm=gcc", true),
            ("comm=gcc,cc1", "not comm=gcc", false),
            ("comm=g*", "not comm=gcc", false),
            ("not comm=gcc", "comm=gcc", true),
            ("comm!=gcc", "comm=gcc", true),
            ("not comm=gcc,cc1", "comm=gcc", true),
            ("not comm=sh", "comm=gcc", false),
            ("not comm=sh", "not comm=gcc", false),
            ("comm=g*", "comm=gcc", true),
            ("comm=gcc or comm=cc1", "comm=gcc", true),
            ("comm=gcc or pid=7", "comm=gcc", false),
            ("comm~gcc", "comm=gcc", false),
            ("pid=7", "pid=8", true),
            ("pid=7", "tree=7", true),
            ("kind=exec,open", "tree=7", true),
            ("kind=exec or kind=open", "tree=7", true),
            ("COMM == gcc", "tree=7", true),
            ("not comm=gcc", "tree=7", false),
            ("uid=0", "tree=7", false),
            ("err", "tree=7", false),
            ("tree=7", "tree=8", true),
            ("tree=7", "pid=8", false),
            ("path=/a", "path=/b", false),
            ("path=/a", "not path=/a", true),
            ("comm=a pid=7", "tree=7", false),
            ("(", "tree=7", false),
        ] {
            assert_eq!(gives_way(old, new), gives, "{old} when {new} is added");
            assert_eq!(shows_only(old, new), gives && new.starts_with("not"), "{old} and {new}");
        }
    }
}
