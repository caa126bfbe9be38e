//! Differences that do not count: those that `--ignore` names, and those that several good runs have among themselves (noise).

use super::compare::Comparison;
use super::difference::{Difference, Shares, State, Topic};
use super::names::{is_word, leaf, runs};
use super::strings::StringTable;
use super::tree::Side;
use super::uses::{Role, RoleId};
use crate::limits;
use foldhash::HashMap;

/// The differences between the good run that B is compared with and the other good runs.
#[derive(Debug, Default)]
pub(super) struct Noise {
    /// What differs, with the results in the good runs, sorted.
    exact: HashMap<Key, Vec<u32>>,
    /// The names that only some good runs have, by their [`form`].
    names: HashMap<Key, Vec<Name>>,
    /// What names of a form that replace each other have in common.
    random: HashMap<Key, Vec<Pattern>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    /// The role in the compared good run; for a forked process, its program.
    role: (RoleId, bool),
    kind: &'static str,
    /// What differs, or its form.
    text: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Name {
    text: Vec<u8>,
    results: Vec<u32>,
}

/// The words that two names have in common, at their places.
#[derive(Debug)]
struct Pattern {
    words: Vec<Option<Vec<u8>>>,
    results: Vec<u32>,
}

/// Something that differs.
struct Subject {
    text: Vec<u8>,
    /// The run that has it; `None` for both.
    side: Option<Side>,
}

impl Noise {
    /// Adds the differences to another good run.
    pub(super) fn learn(&mut self, comparison: &Comparison<'_>, all: &[Difference], strings: &StringTable) {
        let mut new: Vec<(Key, Side, Name)> = Vec::new();
        for one in all.iter().filter(|one| one.unknown.is_none()) {
            let results = comparison.results(one);
            for Subject { text, side } in comparison.subjects(one, strings) {
                let seen = self.exact.entry(comparison.noise_key(one, text.clone())).or_default();
                seen.extend(results.iter().flatten());
                seen.sort_unstable();
                seen.dedup();
                if let Some(side) = side {
                    let results = results[side as usize].clone();
                    new.push((comparison.noise_key(one, form(&text)), side, Name { text, results }));
                }
            }
        }
        // Names of the compared run first: those of the other runs replace them and each other.
        new.sort_by_key(|(_, side, _)| *side);
        for (key, side, name) in new {
            let names = self.names.entry(key.clone()).or_default();
            let others = names.iter().filter(|other| side == Side::B && other.text != name.text);
            let near = others.map(|other| Pattern::of(&name, other));
            let nearest = near.max_by_key(|pattern| pattern.words.iter().flatten().count());
            self.random.entry(key).or_default().extend(nearest);
            if names.len() < limits::DIFF_SIBLINGS {
                names.push(name);
            }
        }
    }

    /// Separates the differences that are noise: `(others, noise)`. Of arguments, only the others remain.
    pub(super) fn split(
        &self,
        comparison: &Comparison<'_>,
        all: Vec<Difference>,
        strings: &StringTable,
    ) -> (Vec<Difference>, Vec<Difference>) {
        if self.exact.is_empty() {
            return (all, Vec::new());
        }
        let (mut noise, mut others) = (Vec::new(), Vec::new());
        for mut one in all {
            let [_, results] = comparison.results(&one);
            let subjects = comparison.subjects(&one, strings);
            if !subjects.is_empty() && subjects.iter().all(|subject| self.has(comparison, &one, subject, &results)) {
                noise.push(one);
                continue;
            }
            let is_other = |word: u32, side: Side| {
                let subject = Subject { text: strings.get(word).to_vec(), side: Some(side) };
                !self.has(comparison, &one, &subject, &[])
            };
            let keep = one.texts().filter(|(word, side)| is_other(*word, *side)).collect::<Vec<_>>();
            one.retain_words(|word, side| keep.contains(&(word, side)));
            others.push(one);
        }
        (others, noise)
    }

    fn has(&self, comparison: &Comparison<'_>, one: &Difference, subject: &Subject, results: &[u32]) -> bool {
        let key = |text: Vec<u8>| comparison.noise_key(one, text);
        let fits = |seen: &[u32]| match one.topic.row().shares {
            // Counts.
            Shares::Sums => results.iter().all(|count| seen.first() <= Some(count) && Some(count) <= seen.last()),
            _ => results.iter().all(|result| seen.contains(result)),
        };
        // A name that all good runs have is not random.
        let replaces = || {
            let known = self.random.get(&key(form(&subject.text)));
            subject.side == Some(Side::B)
                && known.is_some_and(|all| all.iter().any(|it| fits(&it.results) && it.has(&subject.text)))
        };
        self.exact.get(&key(subject.text.clone())).is_some_and(|seen| fits(seen)) || replaces()
    }
}

impl Pattern {
    /// Of two names with the same form.
    fn of(one: &Name, other: &Name) -> Pattern {
        let common = runs(&one.text).zip(runs(&other.text));
        let words = common.map(|((_, one), (_, other))| (one == other).then(|| one.to_vec())).collect();
        Pattern { words, results: [&one.results[..], &other.results].concat() }
    }

    /// Whether a name with the same form may replace the others.
    fn has(&self, name: &[u8]) -> bool {
        let same =
            |(word, (_, other)): (&Option<Vec<u8>>, (usize, &[u8]))| word.as_ref().is_none_or(|word| word == other);
        self.words.iter().zip(runs(name)).all(same)
    }
}

/// A text with its words replaced by their lengths, and numbers of any length by `#`.
fn form(text: &[u8]) -> Vec<u8> {
    let words = runs(text).map(|(_, word)| match word {
        _ if word.iter().all(u8::is_ascii_digit) => b"#".to_vec(),
        _ if is_word(word) => word.len().to_string().into_bytes(),
        _ => word.to_vec(),
    });
    words.collect::<Vec<_>>().join(&0)
}

impl Comparison<'_> {
    /// Whether `--ignore` names what differs, or the program. Of arguments, only the others remain.
    pub(super) fn is_ignored(&self, one: &mut Difference, strings: &StringTable) -> bool {
        let matches = |id: u32| self.ignores(strings.get(id));
        let program = self.node(one.pair, Side::A);
        // Of a role of one run, the processes below it count, if its program is ignored.
        if one.pair != 0 && one.alone.is_none() && self.ignores_program(program, strings) {
            return true;
        }
        if one.topic == Topic::Argv && one.texts().next().is_some() {
            one.retain_words(|word, _| !matches(word));
            return one.texts().next().is_none();
        }
        one.subject.is_some_and(|subject| matches(subject) || one.texts().any(|(text, _)| matches(text)))
    }

    /// Whether `--ignore` names a program: by its file, the file's name, or the name that it was called by.
    pub(super) fn ignores_program(&self, role: &Role, strings: &StringTable) -> bool {
        let exe = strings.get(role.exe);
        let called = role.argv.first().map(|word| strings.get(*word));
        [Some(exe), Some(leaf(exe)), called].into_iter().flatten().any(|text| self.ignores(text))
    }

    /// Whether `--ignore` names a text, as shown, or as an absolute path.
    fn ignores(&self, text: &[u8]) -> bool {
        let below = text.strip_prefix(b"./");
        let whole = self.trees.iter().filter_map(|tree| Some([&tree.root, &b"/"[..], below?].concat()));
        let mut texts = [Some(text), below].into_iter().flatten().map(<[u8]>::to_vec).chain(whole);
        texts.any(|text| self.ignored.iter().any(|glob| glob.matches(&text)))
    }

    /// What differs. Empty if the difference cannot be noise.
    fn subjects(&self, one: &Difference, strings: &StringTable) -> Vec<Subject> {
        let of = |ids: &[u32], side: Option<Side>| {
            let texts: Vec<&[u8]> = ids.iter().map(|id| strings.get(*id)).collect();
            Subject { text: texts.join(&0), side }
        };
        match one.topic {
            Topic::Unrecorded(_) => Vec::new(),
            Topic::Argv | Topic::Elsewhere if one.texts().next().is_some() => {
                one.texts().map(|(text, side)| of(&[text], Some(side))).collect()
            }
            Topic::Alone => {
                let Role { exe, argv, .. } = self.role(one);
                vec![of(&[&[*exe], &argv[..]].concat(), one.only())]
            }
            topic if (matches!(topic, Topic::Opened | Topic::Tried) || topic.is_result()) && one.is_absent() => {
                vec![of(one.subject.as_slice(), one.only())]
            }
            _ => vec![of(one.subject.as_slice(), None)],
        }
    }

    /// Numbers of the results in A and B. A new one is not noise.
    fn results(&self, one: &Difference) -> [Vec<u32>; 2] {
        let number = |state: &State| match state {
            State::Absent => 0,
            State::Failed { errno, .. } => 2 + u32::from(*errno),
            State::Text(text) if one.topic == Topic::Left => *text,
            State::Number(number) => u32::try_from(*number).unwrap_or(u32::MAX),
            State::Found | State::Text(_) | State::Words(_) => 1,
        };
        match one.topic {
            // The wait statuses, and whether none is 0.
            Topic::Exit => [Side::A, Side::B].map(|side| {
                let node = self.node(one.pair, side);
                let statuses = node.exits();
                let never = (!node.forked && !statuses.contains_key(&0)).then_some(u32::MAX);
                statuses.into_keys().chain(never).collect()
            }),
            // Anything is noise.
            Topic::Argv | Topic::Cwd | Topic::Env | Topic::Alone => [Vec::new(), Vec::new()],
            _ => one.states.each_ref().map(|state| vec![number(state)]),
        }
    }

    fn noise_key(&self, one: &Difference, text: Vec<u8>) -> Key {
        let pair = self.pairs[one.pair];
        let forked = self.node(one.pair, Side::A).forked;
        let [role, _] = if forked { self.pairs[pair.parent].nodes } else { pair.nodes };
        let kind = match one.topic.row().word {
            // A file that comes and goes may also be looked for in vain.
            "missing" | "tried" => "opened",
            kind => kind,
        };
        Key { role: (role, forked), kind, text }
    }
}
