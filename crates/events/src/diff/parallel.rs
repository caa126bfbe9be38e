//! Differences that only the order of parallel processes makes.

use super::access::ORIGIN;
use super::compare::Comparison;
use super::difference::{Difference, State};
use super::uses::did;
use foldhash::{HashMap, HashSet};

impl Comparison<'_> {
    /// Removes uses of a file that two roles exchange: the first of parallel processes may do other things than the others.
    pub(super) fn drop_exchanged(&self, all: &mut Vec<Difference>) {
        let of = |one: &Difference| match (one.subject, &one.a, &one.b) {
            (Some(path), State::Used(a), State::Used(b)) => Some((path, *a, *b)),
            _ => None,
        };
        let uses: HashSet<_> = all.iter().filter_map(of).collect();
        all.retain(|one| of(one).is_none_or(|(path, a, b)| !uses.contains(&(path, b, a))));
    }

    /// Forgets which role created a file if both runs created it: parallel processes may do so in any order.
    pub(super) fn drop_created_in_both(&self, all: &mut Vec<Difference>) {
        let mut created: HashMap<u32, [bool; 2]> = HashMap::default();
        for one in all.iter() {
            if let (Some(path), State::Used(a)) = (one.subject, &one.a)
                && a.bits & ORIGIN != 0
            {
                created.insert(path, [false; 2]);
            }
        }
        if created.is_empty() {
            return;
        }
        for (side, tree) in [self.trees.0, self.trees.1].into_iter().enumerate() {
            let opens = tree.nodes.iter().flat_map(|node| &node.did.opens.settled);
            for (path, _) in opens.filter(|(_, did)| did.has(did::CREATED)) {
                if let Some(created) = created.get_mut(path) {
                    created[side] = true;
                }
            }
        }
        all.retain_mut(|one| {
            let (Some(path), State::Used(a), State::Used(b)) = (one.subject, &mut one.a, &mut one.b) else {
                return true;
            };
            if created.get(&path) == Some(&[true; 2]) {
                a.bits &= !ORIGIN;
                b.bits &= !ORIGIN;
            }
            a != b
        });
    }
}
