//! Random names, recognised by what the runs did with the files.
//!
//! A build tool gives a temporary file or directory a name that no other has. Such a name is the *own* name of a run: the run created
//! everything below it, and the other run does not have it. Words of own names are compared as random ones ([`Chance::made`]) if
//! letters and digits alternate in them, or in others of the same form: `rustcogocov` beside `rustcMARM3e`.

use super::names::{Chance, RANDOM, changes, is_word, leaf, runs};
use super::run::did;
use super::strings::StringTable;
use super::tree::Tree;
use rustc_hash::{FxHashMap, FxHashSet};

/// Alternations of letters and digits that an intended name does not have.
const ALTERNATIONS: usize = 2;

/// What a run did at and below a path.
#[derive(Clone, Copy, Default)]
struct Below {
    /// It created a file, or opened a directory.
    made: bool,
    /// It opened a file that it did not write.
    read: bool,
}

/// Records the words of the own names of both runs.
pub(super) fn note_own_names(a: &mut Tree, b: &mut Tree, strings: &StringTable) {
    let (left, right) = (files(a), files(b));
    let only = |these: &FxHashMap<u32, u8>, those: &FxHashMap<u32, u8>| {
        these.keys().filter(|path| !those.contains_key(path)).map(|path| strings.get(*path)).collect::<Vec<_>>()
    };
    let (only_a, only_b) = (only(&left, &right), only(&right, &left));
    if only_a.is_empty() || only_b.is_empty() {
        return;
    }
    let paths: FxHashSet<&[u8]> = only_a.iter().chain(&only_b).flat_map(|path| and_above(path)).collect();
    let (used_a, used_b) = (used(&left, &paths, strings), used(&right, &paths, strings));
    let own = |only: &[&'_ [u8]], used: &FxHashMap<&[u8], Below>, other: &FxHashMap<&[u8], Below>| {
        let is_own =
            |path: &&[u8]| used.get(path).is_some_and(|below| below.made && !below.read) && !other.contains_key(path);
        let names = only.iter().filter_map(|path| and_above(path).find(is_own)).map(leaf);
        names.map(<[u8]>::to_vec).collect::<FxHashSet<_>>()
    };
    let (names_a, names_b) = (own(&only_a, &used_a, &used_b), own(&only_b, &used_b, &used_a));
    let (words_a, words_b) = (words(&names_a), words(&names_b));
    // Forms of words that alternate: what precedes the random characters, and the length.
    let alternating = words_a.symmetric_difference(&words_b).filter(|word| changes(word) >= ALTERNATIONS);
    let forms: FxHashSet<_> = alternating.map(|word| form(word)).filter(|(start, _)| !start.is_empty()).collect();
    let note = |names: &FxHashSet<Vec<u8>>, others: &FxHashSet<Vec<u8>>, chance: &mut Chance| {
        for name in names {
            let differing = || words_of(name).filter(|word| !others.contains(*word));
            let alternate = differing().map(changes).sum::<usize>() >= ALTERNATIONS;
            differing().for_each(|word| chance.made(word, alternate || forms.contains(&form(word))));
        }
    };
    // A word that the other run has anywhere is not random: `cache` of a journal, and of another file.
    let all = |only: &[&'_ [u8]]| only.iter().flat_map(|path| words_of(path).map(<[u8]>::to_vec)).collect();
    let (all_a, all_b): (FxHashSet<Vec<u8>>, FxHashSet<Vec<u8>>) = (all(&only_a), all(&only_b));
    note(&names_a, &all_b, &mut a.chance);
    note(&names_b, &all_a, &mut b.chance);
}

/// The files of a run, with the bits of all roles.
pub(super) fn files(tree: &Tree) -> FxHashMap<u32, u8> {
    let mut files = FxHashMap::default();
    for (path, did) in tree.nodes.iter().flat_map(|node| &node.opens) {
        *files.entry(*path).or_default() |= did.bits;
    }
    files
}

/// What a run did at and below each of these paths that it has.
fn used<'p>(
    files: &FxHashMap<u32, u8>,
    paths: &FxHashSet<&'p [u8]>,
    strings: &StringTable,
) -> FxHashMap<&'p [u8], Below> {
    let mut found: FxHashMap<&[u8], Below> = FxHashMap::default();
    for (path, bits) in files {
        for path in and_above(strings.get(*path)).filter_map(|path| paths.get(path)) {
            let below = found.entry(path).or_default();
            below.made |= bits & (did::WROTE | did::DIRECTORY) != 0;
            below.read |= bits & (did::FOUND | did::WROTE | did::DIRECTORY) == did::FOUND;
        }
    }
    found
}

/// The directories above a path, without the root, and the path.
fn and_above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    (1..path.len()).filter(|at| path[*at] == b'/').map(|at| &path[..at]).chain([path])
}

fn words(names: &FxHashSet<Vec<u8>>) -> FxHashSet<&[u8]> {
    names.iter().flat_map(|name| words_of(name)).collect()
}

/// The words of a name that may be random. Those of a UUID have at least four characters.
fn words_of(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    runs(name).map(|(_, word)| word).filter(|word| is_word(word) && word.len() >= 4)
}

fn form(word: &[u8]) -> (&[u8], usize) {
    (&word[..word.len().saturating_sub(RANDOM)], word.len())
}
