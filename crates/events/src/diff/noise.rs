//! Differences that do not count: those that `--ignore` names, and those that several good runs have among themselves (noise).

use super::compare::{Comparison, Difference, Outcome, What, exits};
use super::names::{is_word, runs};
use super::report::word;
use super::search::Place;
use super::strings::StringTable;
use super::tree::{NodeId, RoleNode, Side, Tree};
use crate::limits;
use rustc_hash::FxHashMap;

/// The differences between the first good run and the others.
#[derive(Debug, Default)]
pub(super) struct Noise {
    /// What differs, with the results in the good runs.
    exact: FxHashMap<Key, Vec<Outcome>>,
    /// Names that replace each other, by their [`form`].
    random: FxHashMap<Key, Vec<Pattern>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    /// The role in the first good run; for a forked process, its program.
    role: (NodeId, bool),
    kind: &'static str,
    /// What differs, or its form.
    text: Vec<u8>,
}

/// The words that two names have in common, at their places.
#[derive(Debug)]
struct Pattern {
    words: Vec<Option<Vec<u8>>>,
    results: [Outcome; 2],
}

/// Something that differs, with the result where it is.
struct Subject {
    text: Vec<u8>,
    result: Outcome,
    /// The run that has it; `None` for both.
    side: Option<Side>,
}

/// The names of one form that only the first run has, and those that only the other has.
type Replaced<'a> = [Vec<&'a Subject>; 2];

impl Noise {
    /// Adds the differences to another good run.
    pub(super) fn learn(&mut self, comparison: &Comparison<'_>, all: &[Difference], strings: &StringTable) {
        let certain = all.iter().filter(|one| one.unknown.is_none());
        let all: Vec<_> = certain.map(|one| (one, comparison.subjects(one, strings))).collect();
        let mut replaced: FxHashMap<Key, Replaced<'_>> = FxHashMap::default();
        for (one, subjects) in &all {
            for subject in subjects {
                let results = self.exact.entry(comparison.noise_key(one, subject.text.clone())).or_default();
                results.extend(comparison.results(one));
                results.sort_unstable();
                results.dedup();
                if let Some(side) = subject.side {
                    let key = comparison.noise_key(one, form(&subject.text));
                    replaced.entry(key).or_default()[side as usize].push(subject);
                }
            }
        }
        for (key, [here, there]) in replaced {
            let patterns = self.random.entry(key).or_default();
            for one in here.iter().take(limits::DIFF_SIBLINGS) {
                let near = there.iter().take(limits::DIFF_SIBLINGS).map(|other| Pattern::of(one, other));
                patterns.extend(near.max_by_key(|pattern| pattern.words.iter().flatten().count()));
            }
        }
    }

    /// Separates the differences that are noise: `(others, noise)`.
    pub(super) fn split(
        &self,
        comparison: &Comparison<'_>,
        all: Vec<Difference>,
        strings: &StringTable,
    ) -> (Vec<Difference>, Vec<Difference>) {
        if self.exact.is_empty() {
            return (all, Vec::new());
        }
        all.into_iter().partition(|one| {
            let [_, result] = comparison.results(one);
            let is_noise = |subject: &Subject| {
                let key = |text: Vec<u8>| comparison.noise_key(one, text);
                self.exact.get(&key(subject.text.clone())).is_some_and(|results| results.contains(&result))
                    || self
                        .random
                        .get(&key(form(&subject.text)))
                        .is_some_and(|all| all.iter().any(|it| it.has(subject)))
            };
            let subjects = comparison.subjects(one, strings);
            subjects.is_empty() || !subjects.iter().all(is_noise)
        })
    }
}

impl Pattern {
    /// Of two names with the same form.
    fn of(one: &Subject, other: &Subject) -> Pattern {
        let common = runs(&one.text).zip(runs(&other.text));
        let words = common.map(|((_, one), (_, other))| (one == other).then(|| one.to_vec())).collect();
        Pattern { words, results: [one.result, other.result] }
    }

    /// Whether a name with the same form may replace the others.
    fn has(&self, subject: &Subject) -> bool {
        let same =
            |(word, (_, other)): (&Option<Vec<u8>>, (usize, &[u8]))| word.as_ref().is_none_or(|word| word == other);
        self.results.contains(&subject.result) && self.words.iter().zip(runs(&subject.text)).all(same)
    }
}

/// A text with its words replaced by their lengths.
fn form(text: &[u8]) -> Vec<u8> {
    let words =
        runs(text).map(|(_, word)| if is_word(word) { word.len().to_string().into_bytes() } else { word.to_vec() });
    words.collect::<Vec<_>>().join(&0)
}

impl Comparison<'_> {
    /// Whether `--ignore` names what differs, or the program.
    pub(super) fn is_ignored(&self, one: &Difference, strings: &StringTable) -> bool {
        let matches = |id: &u32| {
            let text = strings.get(*id);
            let below = text.strip_prefix(b"./");
            let whole = |tree: &Tree| below.map(|below| [&tree.root, &b"/"[..], below].concat());
            let texts = [Some(text.to_vec()), below.map(<[u8]>::to_vec), whole(self.trees.0), whole(self.trees.1)];
            texts.iter().flatten().any(|text| self.ignored.iter().any(|glob| glob.matches(text)))
        };
        let ids = match &one.what {
            What::Unrecorded { .. } => return false,
            What::Argv { removed, added } if !(removed.is_empty() && added.is_empty()) => {
                return removed.iter().chain(added).all(matches);
            }
            What::Alone { side, node } => vec![self.tree(*side).nodes[*node].exe],
            What::Missing { path, .. } | What::Opened { path, .. } | What::Access { path, .. } => vec![*path],
            What::Searched { name, a, b } => {
                let found = |place: &Place| if let Place::At(path) = place { Some(*path) } else { None };
                [Some(*name), found(a), found(b)].into_iter().flatten().collect()
            }
            What::Bpf { what, .. } => vec![*what],
            What::Tcp { peer, .. } => vec![*peer],
            What::Argv { .. } | What::Cwd | What::User { .. } | What::Count { .. } | What::Exit => Vec::new(),
        };
        let program = self.trees.0.nodes[self.pairs[one.pair].a].exe;
        let is_program = one.pair != 0 && !matches!(one.what, What::Alone { .. }) && matches(&program);
        is_program || ids.iter().any(matches)
    }

    pub(super) fn tree(&self, side: Side) -> &Tree {
        if side == Side::A { self.trees.0 } else { self.trees.1 }
    }

    /// What differs. Empty if the difference cannot be noise.
    fn subjects(&self, one: &Difference, strings: &StringTable) -> Vec<Subject> {
        let text = |ids: &[u32]| ids.iter().map(|id| strings.get(*id)).collect::<Vec<_>>().join(&0);
        let [a, b] = self.results(one);
        let both = |ids: &[u32]| vec![Subject { text: text(ids), result: b, side: None }];
        let of = |ids: &[u32], side: Side| {
            let result = if side == Side::A { a } else { b };
            Subject { text: text(ids), result, side: Some(side) }
        };
        match &one.what {
            What::Unrecorded { .. } => Vec::new(),
            What::Argv { removed, added } if !(removed.is_empty() && added.is_empty()) => {
                let sides = removed.iter().map(|word| (word, Side::A)).chain(added.iter().map(|word| (word, Side::B)));
                sides.map(|(word, side)| of(&[*word], side)).collect()
            }
            What::Alone { side, node } => {
                let RoleNode { exe, argv, .. } = &self.tree(*side).nodes[*node];
                vec![of(&[&[*exe], &argv[..]].concat(), *side)]
            }
            What::Opened { path, a: Outcome::Untouched, .. } | What::Tcp { peer: path, a: Outcome::Untouched, .. } => {
                vec![of(&[*path], Side::B)]
            }
            What::Opened { path, .. } | What::Tcp { peer: path, b: Outcome::Untouched, .. } => {
                vec![of(&[*path], Side::A)]
            }
            What::Searched { a: Place::At(one), b: Place::At(other), .. } => {
                vec![of(&[*one], Side::A), of(&[*other], Side::B)]
            }
            What::Missing { path, .. } | What::Access { path, .. } | What::Tcp { peer: path, .. } => both(&[*path]),
            What::Searched { name, .. } => both(&[*name]),
            What::Bpf { what, .. } => both(&[*what]),
            What::Argv { .. } | What::Cwd | What::User { .. } | What::Count { .. } | What::Exit => both(&[]),
        }
    }

    /// The results in A and B, if a new one is not noise.
    fn results(&self, one: &Difference) -> [Outcome; 2] {
        match &one.what {
            What::Missing { a, b, .. } | What::Opened { a, b, .. } | What::Tcp { a, b, .. } => [*a, *b],
            What::Searched { a, b, .. } => [Outcome::at(*a), Outcome::at(*b)],
            // The lowest status that is not 0.
            What::Exit => {
                let pair = self.pairs[one.pair];
                [&self.trees.0.nodes[pair.a], &self.trees.1.nodes[pair.b]].map(|node| {
                    let failed = exits(&node.exits, node.forked).into_keys().find(|status| *status != 0);
                    failed.map_or(Outcome::Found, |status| Outcome::Failed((status >> 8 | status & 0x7f) as u8))
                })
            }
            _ => [Outcome::Untouched; 2],
        }
    }

    fn noise_key(&self, one: &Difference, text: Vec<u8>) -> Key {
        let pair = self.pairs[one.pair];
        let forked = self.trees.0.nodes[pair.a].forked;
        let role = if forked { self.pairs[pair.parent].a } else { pair.a };
        Key { role: (role, forked), kind: word(&one.what), text }
    }
}
