//! Differences that only the order of parallel processes makes.

use super::access::ORIGIN;
use super::compare::Comparison;
use super::difference::{Difference, State};
use super::uses::did;
use foldhash::HashSet;

impl Comparison<'_> {
    /// Removes uses of a file that two roles exchange: the first of parallel processes may do other things than the others.
    pub(super) fn drop_exchanged(&self, all: &mut Vec<Difference>) {
        let of = |one: &Difference| match (one.subject, &one.states) {
            (Some(path), [State::Used(a), State::Used(b)]) => Some((path, *a, *b)),
            _ => None,
        };
        let uses: HashSet<_> = all.iter().filter_map(of).collect();
        all.retain(|one| of(one).is_none_or(|(path, a, b)| !uses.contains(&(path, b, a))));
    }

    /// Forgets which role created a file if both runs created it: parallel processes may do so in any order.
    pub(super) fn drop_created_in_both(&self, all: &mut Vec<Difference>) {
        all.retain_mut(|one| {
            let (Some(path), [State::Used(a), State::Used(b)]) = (one.subject, &mut one.states) else { return true };
            if self.trees.iter().all(|tree| tree.bits_of(path) & did::CREATED != 0) {
                a.bits &= !ORIGIN;
                b.bits &= !ORIGIN;
            }
            a != b
        });
    }
}
