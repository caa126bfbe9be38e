//! Files and directories with random names, recognised by what the runs did with them.
//!
//! A build tool gives a temporary file or directory a name that no other has: both runs make one at the same place, in the same role,
//! and use the same files in it. So a name of A and a name of B are the same if
//!
//! - each run created everything below its name, and the other run does not have that name;
//! - they are in the same directory, and the same role used the same files below them;
//! - they have the same length and punctuation, and their letters and digits may be random ([`may_be_random`]).

use super::compare::{Difference, Outcome, What};
use super::run::did;
use super::strings::StringTable;
use super::tree::{Side, Tree};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};

/// What a run did at and below a path.
#[derive(Clone, Copy, Default)]
struct Below {
    /// It used the path.
    any: bool,
    /// It created a file.
    created: bool,
    /// It opened a file that it did not write.
    read: bool,
}

/// What the run of a tree did at and below each of these paths.
fn used<'p>(tree: &Tree, paths: &FxHashSet<&'p [u8]>, strings: &StringTable) -> FxHashMap<&'p [u8], Below> {
    // The bits of all roles.
    let mut files: FxHashMap<u32, u8> = FxHashMap::default();
    for (path, did) in tree.nodes.iter().flat_map(|node| &node.opens) {
        *files.entry(*path).or_default() |= did.bits;
    }
    let directories: FxHashSet<&[u8]> =
        files.keys().flat_map(|path| prefixes(strings.get(*path))).filter(|prefix| paths.contains(prefix)).collect();
    let mut found: FxHashMap<&[u8], Below> = FxHashMap::default();
    for (path, bits) in files {
        let text = strings.get(path);
        let at_all = prefixes(text).chain([text]);
        for path in at_all.filter_map(|path| paths.get(path)) {
            let below = found.entry(path).or_default();
            below.any = true;
            below.created |= bits & did::WROTE != 0;
            below.read |= bits & (did::FOUND | did::WROTE) == did::FOUND && !directories.contains(text);
        }
    }
    found
}

/// The directories above a path, without the root.
fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    (1..path.len()).filter(|at| path[*at] == b'/').map(|at| &path[..at])
}

/// A file of a difference: its place in the list, and the path.
type File<'p> = (usize, &'p [u8]);

/// What a role used below a path, with the results.
type Uses<'p> = BTreeMap<&'p [u8], (usize, Outcome)>;

/// The files at and below each name that is a run's own, by directory and name.
fn by_name<'p>(
    files: &[File<'p>],
    is_own: impl Fn(&[u8]) -> bool,
    outcome: impl Fn(usize) -> Outcome,
) -> BTreeMap<(&'p [u8], &'p [u8]), Uses<'p>> {
    let mut names: BTreeMap<_, Uses<'p>> = BTreeMap::new();
    for (at, path) in files {
        let Some(whole) = prefixes(path).chain([*path]).find(|prefix| is_own(prefix)) else { continue };
        let key = whole.split_at(whole.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1));
        names.entry(key).or_default().insert(&path[whole.len()..], (*at, outcome(*at)));
    }
    names
}

/// Removes the differences about files whose random names differ.
pub(super) fn drop_created(trees: (&Tree, &Tree), strings: &StringTable, all: &mut Vec<Difference>) {
    let mut roles: BTreeMap<usize, [Vec<File<'_>>; 2]> = BTreeMap::new();
    for (at, difference) in all.iter().enumerate() {
        if let What::Opened { path, a, .. } = difference.what {
            let side = usize::from(a == Outcome::Untouched);
            roles.entry(difference.pair).or_default()[side].push((at, strings.get(path)));
        }
    }
    roles.retain(|_, [a, b]| !a.is_empty() && !b.is_empty());
    let paths = roles.values().flatten().flatten().flat_map(|(_, path)| prefixes(path).chain([*path]));
    let paths: FxHashSet<&[u8]> = paths.collect();
    if paths.is_empty() {
        return;
    }
    let used = [used(trees.0, &paths, strings), used(trees.1, &paths, strings)];
    let is_own = |path: &[u8], side: Side| {
        let (own, other) = if side == Side::A { (&used[0], &used[1]) } else { (&used[1], &used[0]) };
        own.get(path).is_some_and(|below| below.created && !below.read) && !other.contains_key(path)
    };
    let mut same: BTreeSet<usize> = BTreeSet::new();
    for [a, b] in roles.values() {
        let outcome = |at: usize| match all[at].what {
            What::Opened { a: Outcome::Untouched, b, .. } => b,
            What::Opened { a, .. } => a,
            _ => Outcome::Untouched,
        };
        let of_a = |path: &[u8]| is_own(path, Side::A);
        let of_b = |path: &[u8]| is_own(path, Side::B);
        let (left, mut right) = (by_name(a, of_a, outcome), by_name(b, of_b, outcome));
        for ((dir, name), uses) in left {
            let shared = |others: &Uses<'_>| {
                let is_same = |(path, (_, one)): &(&&[u8], &(usize, Outcome))| {
                    others.get(**path).is_some_and(|(_, other)| one == other)
                };
                uses.iter().filter(is_same).map(|(path, _)| *path).collect::<Vec<_>>()
            };
            let candidates = right.iter().filter(|((there, other), _)| *there == dir && may_be_random(name, other));
            let best = candidates.map(|(key, others)| (*key, shared(others))).max_by_key(|(_, shared)| shared.len());
            let Some((key, shared)) = best.filter(|(_, shared)| !shared.is_empty()) else { continue };
            let others = right.remove(&key).unwrap_or_default();
            same.extend(shared.iter().flat_map(|path| [uses[path].0, others[path].0]));
        }
    }
    let mut at = 0;
    all.retain(|_| {
        at += 1;
        !same.contains(&(at - 1))
    });
}

/// The number of random characters that mkstemp(3) and most libraries make.
const RANDOM: usize = 6;

/// Whether two different names may be the same but for random letters and digits.
fn may_be_random(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() || a.iter().zip(b).any(|(a, b)| a.is_ascii_alphanumeric() != b.is_ascii_alphanumeric()) {
        return false;
    }
    let words = |name| <[u8]>::chunk_by(name, |a: &u8, b: &u8| a.is_ascii_alphanumeric() == b.is_ascii_alphanumeric());
    let differing: Vec<_> = words(a).zip(words(b)).filter(|(a, b)| a != b).collect();
    let is_random = |(a, b): &(&[u8], &[u8])| {
        let common = a.iter().zip(*b).take_while(|(a, b)| a == b).count();
        let rest = [&a[common..], &b[common..]];
        let varied = rest.iter().any(|rest| rest.iter().any(|byte| !byte.is_ascii_lowercase()));
        let differ = a.iter().zip(*b).filter(|(a, b)| a != b).count();
        // The first random characters may be the same by chance, or be those of the time.
        a.len() >= RANDOM && differ + 2 >= RANDOM && varied
    };
    let alternate = |name: &[u8]| {
        let class = |byte: &u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
        name.windows(2).filter(|pair| class(&pair[0]) != class(&pair[1])).count()
    };
    let changes = |(a, b): &(&[u8], &[u8])| alternate(a).max(alternate(b));
    !differing.is_empty() && differing.iter().all(is_random) && differing.iter().map(changes).sum::<usize>() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_names_have_the_same_length_and_alternate() {
        for (a, b) in [
            ("rmetajgtEjF", "rmetankxoSX"),
            (".tmpTcjxiZ.temp-archive", ".tmprgnam1.temp-archive"),
            ("s-hoirputn23-0ssrlde.lock", "s-hoirpx7oac-1wk1cei.lock"),
            ("stfsyxlm", "st4GWmEu"),
        ] {
            assert!(may_be_random(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
        for (a, b) in [
            ("v1", "v2"),
            ("parser.o", "module.o"),
            ("module12.o", "parser07.o"),
            ("result-2024", "result-2025"),
            ("libfoo.so.1.2.3", "libfoo.so.1.2.4"),
            ("a.tmp", "ab.tmp"),
        ] {
            assert!(!may_be_random(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
    }
}
