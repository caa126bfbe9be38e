//! How both runs used a file that each found: reading, writing, creating it, and the mode of a new file.

use super::compare::{Comparison, Difference, What};
use super::run::{Did, HAS_MODE, did};
use rustc_hash::{FxHashMap, FxHashSet};

const ACCESS: u8 = did::READS | did::WRITES;
const ORIGIN: u8 = did::CREATED | did::EXISTED;

/// The parts of two uses that differ; `None` if they are the same.
pub(super) fn apart(a: Did, b: Did) -> Option<(Did, Did)> {
    let created = (a.bits | b.bits) & ORIGIN == ORIGIN && a.bits & ORIGIN != ORIGIN && b.bits & ORIGIN != ORIGIN;
    let bits = if (a.bits ^ b.bits) & ACCESS != 0 { ACCESS } else { 0 } | if created { ORIGIN } else { 0 };
    let mode = if a.mode & b.mode & HAS_MODE != 0 && a.mode != b.mode { u16::MAX } else { 0 };
    let part = |of: Did| Did { bits: of.bits & bits, errno: 0, mode: of.mode & mode };
    (bits != 0 || mode != 0).then(|| (part(a), part(b)))
}

/// One of the two parts as words.
pub(super) fn describe(this: Did, other: Did) -> Vec<u8> {
    let differs = |bits: u8| (this.bits | other.bits) & bits != 0;
    let mut words = Vec::new();
    if differs(ACCESS) {
        let access = match this.bits & ACCESS {
            0 => "opened with O_PATH",
            did::READS => "opened for reading",
            did::WRITES => "opened for writing",
            _ => "opened for reading and writing",
        };
        words.push(access.to_owned());
    }
    if differs(ORIGIN) {
        words.push(if this.has(did::CREATED) { "created" } else { "existed" }.to_owned());
    }
    if this.mode != 0 {
        words.push(format!("mode {:04o}", this.mode & !HAS_MODE));
    }
    words.join(", ").into_bytes()
}

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
