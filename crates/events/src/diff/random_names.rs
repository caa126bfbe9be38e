//! Random names, recognised by what the runs did with the files.
//!
//! A build tool gives a temporary file or directory a name that no other has. Such a name is the *own* name of a run: the run created
//! everything below it, and the other run does not have it. Words of own names are compared as random ones ([`Chance::made`]) if
//! letters and digits alternate in them, or in others of the same form: `rustcogocov` beside `rustcMARM3e`.

use super::names::{Chance, RANDOM, changes, is_word, leaf, runs};
use super::strings::StringTable;
use super::tree::Tree;
use super::uses::did;
use crate::limits;
use foldhash::{HashMap, HashSet};
use std::collections::BTreeMap;

/// Alternations of letters and digits that an intended name does not have.
const ALTERNATIONS: usize = 2;

/// A file that a run created, or a directory that it opened.
const MADE: u8 = did::WROTE | did::DIRECTORY;

/// What a run did at and below a path.
#[derive(Clone, Copy, Default)]
struct Below {
    /// It created a file, or opened a directory.
    made: bool,
    /// It opened a file that it did not write.
    read: bool,
}

/// Records the words of the own names of both runs.
pub(super) fn note_own_names([a, b]: &mut [Tree; 2], strings: &StringTable) {
    let (left, right) = (&a.files, &b.files);
    let made = |these: &BTreeMap<u32, u8>, those: &BTreeMap<u32, u8>| {
        let made = these.iter().filter(|(path, bits)| **bits & MADE != 0 && !those.contains_key(path));
        made.take(limits::DIFF_PATHS).map(|(path, _)| strings.get(*path)).collect::<Vec<_>>()
    };
    let (made_a, made_b) = (made(left, right), made(right, left));
    if made_a.is_empty() || made_b.is_empty() {
        return;
    }
    let paths: HashSet<&[u8]> = made_a.iter().chain(&made_b).flat_map(|path| and_above(path)).collect();
    let (used_a, used_b) = (used(left, &paths, strings), used(right, &paths, strings));
    let own = |made: &[&'_ [u8]], used: &HashMap<&[u8], Below>, other: &HashMap<&[u8], Below>| {
        let is_own =
            |path: &&[u8]| used.get(path).is_some_and(|below| below.made && !below.read) && !other.contains_key(path);
        let names = made.iter().flat_map(|path| and_above(path)).filter(is_own).map(leaf);
        names.map(<[u8]>::to_vec).collect::<HashSet<_>>()
    };
    let (names_a, names_b) = (own(&made_a, &used_a, &used_b), own(&made_b, &used_b, &used_a));
    let (words_a, words_b) = (words(&names_a), words(&names_b));
    // Forms of words that alternate: what precedes the random characters, and the length.
    let alternating = words_a.symmetric_difference(&words_b).filter(|word| changes(word) >= ALTERNATIONS);
    let forms: HashSet<_> = alternating.map(|word| form(word)).filter(|(start, _)| !start.is_empty()).collect();
    let note = |names: &HashSet<Vec<u8>>, others: &HashSet<&[u8]>, chance: &mut Chance| {
        for name in names {
            let differing = || words_of(name).filter(|word| !others.contains(*word));
            let alternate = differing().map(changes).sum::<usize>() >= ALTERNATIONS;
            differing().for_each(|word| chance.made(word, alternate || forms.contains(&form(word))));
        }
    };
    // A word that the other run has anywhere is not random: `cache` of a journal, and of another file.
    let within = |words: &HashSet<&'_ [u8]>, these: &BTreeMap<u32, u8>, those: &BTreeMap<u32, u8>| {
        let only = these.keys().filter(|path| !those.contains_key(path));
        let all = only.flat_map(|path| words_of(strings.get(*path)));
        all.filter(|word| words.contains(word)).collect::<HashSet<_>>()
    };
    let (of_both_a, of_both_b) = (within(&words_a, right, left), within(&words_b, left, right));
    note(&names_a, &of_both_a, &mut a.chance);
    note(&names_b, &of_both_b, &mut b.chance);
}

/// What a run did at and below each of these paths that it has. All directories above a path are in `paths` too.
fn used<'p>(files: &BTreeMap<u32, u8>, paths: &HashSet<&'p [u8]>, strings: &StringTable) -> HashMap<&'p [u8], Below> {
    let mut found: HashMap<&[u8], Below> = HashMap::default();
    for (path, bits) in files {
        for path in and_above(strings.get(*path)).map_while(|path| paths.get(path)) {
            let below = found.entry(path).or_default();
            below.made |= bits & MADE != 0;
            below.read |= bits & (did::FOUND | MADE) == did::FOUND;
        }
    }
    found
}

/// The directories above a path, without the root, and the path.
fn and_above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    (1..path.len()).filter(|at| path[*at] == b'/').map(|at| &path[..at]).chain([path])
}

fn words(names: &HashSet<Vec<u8>>) -> HashSet<&[u8]> {
    names.iter().flat_map(|name| words_of(name)).collect()
}

/// The words of a name that may be random. Those of a UUID have at least four characters.
fn words_of(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    runs(name).map(|(_, word)| word).filter(|word| is_word(word) && word.len() >= 4)
}

fn form(word: &[u8]) -> (&[u8], usize) {
    (&word[..word.len().saturating_sub(RANDOM)], word.len())
}
