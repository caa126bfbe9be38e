//! Differences that only the order of parallel processes makes.

use super::access::ORIGIN;
use super::compare::{Comparison, Difference, What};
use super::uses::did;
use rustc_hash::{FxHashMap, FxHashSet};

impl Comparison<'_> {
    /// Removes uses of a file that two roles exchange: the first of parallel processes may do other things than the others.
    pub(super) fn drop_exchanged(&self, all: &mut Vec<Difference>) {
        let of = |one: &Difference| match one.what {
            What::Access { path, a, b } => Some((path, a, b)),
            _ => None,
        };
        let uses: FxHashSet<_> = all.iter().filter_map(of).collect();
        all.retain(|one| of(one).is_none_or(|(path, a, b)| !uses.contains(&(path, b, a))));
    }

    /// Forgets which role created a file if both runs created it: parallel processes may do so in any order.
    pub(super) fn drop_created_in_both(&self, all: &mut Vec<Difference>) {
        let mut created: FxHashMap<u32, [bool; 2]> = FxHashMap::default();
        for one in all.iter() {
            if let What::Access { path, a, .. } = one.what
                && a.bits & ORIGIN != 0
            {
                created.insert(path, [false; 2]);
            }
        }
        if created.is_empty() {
            return;
        }
        for (side, tree) in [self.trees.0, self.trees.1].into_iter().enumerate() {
            let opens = tree.nodes.iter().flat_map(|node| &node.opens);
            for (path, _) in opens.filter(|(_, did)| did.has(did::CREATED)) {
                if let Some(created) = created.get_mut(path) {
                    created[side] = true;
                }
            }
        }
        all.retain_mut(|one| {
            let What::Access { path, a, b } = &mut one.what else { return true };
            if created.get(path) == Some(&[true; 2]) {
                a.bits &= !ORIGIN;
                b.bits &= !ORIGIN;
            }
            a != b
        });
    }
}
