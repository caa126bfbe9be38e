//! The differences between two trees.

use super::difference::{Difference, State, Topic};
use super::environment::{self, Differing};
use super::label::statuses;
use super::left::{self, Left};
use super::names::{is_message, leaf, shape};
use super::run::Gaps;
use super::search::searches;
use super::strings::{StringTable, each};
use super::tree::{Alone, Pair, Side, Tree, same_text, same_texts, tokens};
use super::uses::{Activity, Did, Files, Other, Role, did};
use crate::event::{Compared, Takes, compared, taking};
use crate::filter::Glob;
use crate::limits;
use foldhash::{HashMap, HashSet, fast::RandomState};
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use tracetui_shared::kind::{Kind, KindSet};

/// What the two runs did, by subject.
type Sums<T> = [BTreeMap<u32, T>; 2];

pub(super) struct Comparison<'a> {
    pub(super) trees: [&'a Tree; 2],
    pub(super) gaps: [&'a Gaps; 2],
    pub(super) pairs: &'a [Pair],
    pub(super) alone: &'a [Alone],
    pub(super) ignored: &'a [Glob],
}

impl Comparison<'_> {
    /// All differences that are not ignored, in the order of the pairs. `None` if it was cancelled.
    pub(super) fn differences(&self, strings: &mut StringTable, goes_on: &dyn Fn() -> bool) -> Option<Vec<Difference>> {
        let mut all = Vec::new();
        self.unrecorded(&mut all);
        for (at, pair) in self.pairs.iter().enumerate().skip(1) {
            goes_on().then_some(())?;
            self.of_pair(at, *pair, strings, &mut all);
        }
        let counted = self.counted_alone(strings);
        let mut unseen = Vec::new();
        for alone in &counted {
            let tree = self.trees[alone.side as usize];
            let node = &tree.nodes[alone.node];
            let lost = |side| self.may_lack_processes(side, alone.pair) || node.did.orphan && self.may_misplace();
            let execs = tree.execs_below(alone.node);
            if self.compares(Kind::Exec) && execs > 0 || self.compares(Kind::Exit) && tree.exits_below(alone.node) > 0 {
                let states = alone.side.placed(State::Number(execs), State::Absent);
                let one = Difference::new(alone.pair, Topic::Alone, None, states).unless_lost(lost);
                all.push(Difference { alone: Some(*alone), ..one });
            } else {
                unseen.push(*alone);
            }
        }
        self.uses_alone(&counted, &unseen, strings, &mut all);
        if self.compares(left::KIND) {
            self.left(strings, &mut all);
        }
        if !self.ignored.is_empty() {
            all.retain_mut(|one| !self.is_ignored(one, strings));
        }
        goes_on().then_some(all)
    }

    /// The roles of one run. Those that are ignored are replaced by their children.
    fn counted_alone(&self, strings: &StringTable) -> Vec<Alone> {
        if self.ignored.is_empty() {
            return self.alone.to_vec();
        }
        let mut todo: Vec<Alone> = self.alone.iter().rev().copied().collect();
        let mut counted = Vec::new();
        while let Some(alone) = todo.pop() {
            let role = &self.trees[alone.side as usize].nodes[alone.node];
            if self.ignores_program(role, strings) {
                todo.extend(role.children.iter().rev().map(|node| Alone { node: *node, ..alone }));
            } else {
                counted.push(alone);
            }
        }
        counted
    }

    /// Whether both runs recorded the kinds.
    fn compares(&self, kinds: impl Into<KindSet>) -> bool {
        let kinds = kinds.into();
        !self.gaps.iter().any(|gaps| gaps.lacks(kinds))
    }

    /// Whether events of the kinds of the role may be missing on a side: they were lost, or the process still runs.
    fn may_lack(&self, side: Side, kinds: impl Into<KindSet>, pair: usize) -> bool {
        self.gaps[side as usize].may_lack(kinds) || self.runs(side, pair)
    }

    /// Whether processes that the role started may be missing on a side.
    fn may_lack_processes(&self, side: Side, pair: usize) -> bool {
        self.gaps[side as usize].may_lack_processes() || self.runs(side, pair)
    }

    /// Whether the run goes on, and a process of the role has not ended. Pair 0, above all roles, can always get further processes.
    fn runs(&self, side: Side, pair: usize) -> bool {
        self.gaps[side as usize].running && (pair == 0 || self.node(pair, side).did.living > 0)
    }

    /// Whether processes may be in the wrong place of a tree.
    fn may_misplace(&self) -> bool {
        self.gaps.iter().any(|gaps| gaps.may_lack_processes())
    }

    fn unrecorded(&self, all: &mut Vec<Difference>) {
        for kind in super::compared_kinds().iter() {
            let Some(side) = Side::only(self.gaps.map(|gaps| gaps.lacks(kind))) else { continue };
            let states = side.placed(State::Absent, State::Found);
            let one = Difference::new(0, Topic::Unrecorded(kind), None, states);
            all.push(Difference { unknown: Some(side), ..one });
        }
    }

    fn of_pair(&self, at: usize, pair: Pair, strings: &mut StringTable, all: &mut Vec<Difference>) {
        let nodes = self.nodes(at);
        let [a, b] = nodes;
        let compares_execs = self.compares(Kind::Exec) && !a.forked && a.did.execs > 0 && b.did.execs > 0;
        let of_process = |topic: Topic, states: [State; 2]| Difference::new(at, topic, None, states);
        let arguments = Some(pair).filter(|pair| pair.changed && compares_execs);
        if let Some(words) = arguments.and_then(|_| self.arguments(nodes, strings)) {
            let both = self.gaps.iter().all(|gaps| gaps.may_lack_processes());
            let one = of_process(Topic::Argv, words.map(State::Words));
            all.push(Difference { unknown: both.then_some(Side::B), ..one });
        } else if compares_execs && a.cwd != b.cwd {
            let cwds = [a.cwd, b.cwd];
            let known = cwds.iter().all(|cwd| !strings.get(*cwd).is_empty());
            if known && !same_text(self.trees, cwds, strings) {
                all.push(of_process(Topic::Cwd, cwds.map(State::Text)));
            }
        }
        if compares_execs {
            let of_parent = self.variables(self.pairs[pair.parent], strings);
            let new = self.variables(pair, strings).into_iter().filter(|one| !of_parent.contains(one));
            let state = |text: Option<u32>| text.map_or(State::Absent, State::Text);
            all.extend(new.map(|(name, texts)| Difference::new(at, Topic::Env, Some(name), texts.map(state))));
        }
        if let (true, Some(one), Some(other)) = (compares_execs && a.did.uid != b.did.uid, a.did.uid, b.did.uid) {
            all.push(of_process(Topic::User, [one, other].map(|uid| State::Number(uid.into()))));
        }
        if compares_execs && a.did.execs != b.did.execs {
            let counts = nodes.map(|node| State::Number(node.did.execs));
            let lost = |side| self.may_lack_processes(side, pair.parent);
            all.push(of_process(Topic::Count, counts).unless_lost(lost));
        }
        if self.compares(Kind::Exec) {
            self.programs(nodes.map(|node| &node.did.tries), at, strings, all);
        }
        if self.compares(taking(Takes::Contents)) {
            self.files(nodes.map(|node| &node.did.opens), at, strings, all);
        }
        for kind in self.others() {
            self.other(kind, &nodes.map(|node| node.did.others(kind)), at, all);
        }
        if self.compares(Kind::Exit) && exits_differ(nodes) {
            let lacks = |side: Side| {
                let did = &nodes[side as usize].did;
                self.gaps[side as usize].may_lack(Kind::Exit) && did.exits.values().sum::<u64>() != did.execs
            };
            let texts = nodes.map(|node| State::Text(strings.id(&statuses(node))));
            let unknown = Side::BOTH.into_iter().find(|side| lacks(*side));
            all.push(Difference { unknown, ..of_process(Topic::Exit, texts) });
        }
    }

    /// The variables that differ between the roles of a pair.
    fn variables(&self, pair: Pair, strings: &StringTable) -> Vec<Differing> {
        let [a, b] = Side::BOTH.map(|side| self.trees[side as usize].nodes[pair.nodes[side as usize]].env.as_ref());
        let (Some(a), Some(b)) = (a, b) else { return Vec::new() };
        environment::differences([a, b], |texts| same_text(self.trees, texts, strings))
    }

    /// The arguments that only one side has. `None` if the arguments differ only in process ids and random names.
    fn arguments(&self, nodes: [&Role; 2], strings: &mut StringTable) -> Option<[Vec<u32>; 2]> {
        let tokens = nodes.map(|node| tokens(node, strings));
        let words = self.words(&tokens, strings);
        if words.iter().all(Vec::is_empty) && same_texts(self.trees, tokens.each_ref().map(Vec::as_slice), strings) {
            // Another file of the same name.
            let files = nodes.map(|node| node.exe);
            return (!same_text(self.trees, files, strings)).then(|| files.map(|file| vec![file]));
        }
        Some(words)
    }

    /// The words that only one side has.
    fn words(&self, [left, right]: &[Vec<u32>; 2], strings: &StringTable) -> [Vec<u32>; 2] {
        let only = |words: &[u32], others: &[u32]| {
            let mut counts: HashMap<u32, i64> = HashMap::default();
            others.iter().for_each(|word| *counts.entry(*word).or_default() += 1);
            let missing = words.iter().filter(|word| {
                let count = counts.entry(**word).or_default();
                *count -= 1;
                *count < 0
            });
            missing.copied().collect::<Vec<u32>>()
        };
        let (mut removed, mut added) = (only(left, right), only(right, left));
        removed.retain(|word| {
            let same = |other: &u32| same_text(self.trees, [*word, *other], strings);
            let found = added.iter().take(limits::DIFF_SIBLINGS).position(same);
            found.map(|at| added.remove(at)).is_none()
        });
        [removed, added]
    }

    /// Compares the programs that two roles could not execute. Compares names only, because execvp(3) tries the directories of
    /// PATH.
    fn programs(&self, tries: [&Files; 2], at: usize, strings: &mut StringTable, all: &mut Vec<Difference>) {
        let lost = |side| self.may_lack_processes(side, at);
        let by_name = |tries: &Files| {
            let mut names = Files::new();
            for (path, did) in tries {
                let name = leaf(strings.get(*path)).to_vec();
                names.entry(strings.id(&name)).or_default().add(*did);
            }
            names
        };
        let names = tries.map(by_name);
        each(names.each_ref(), |name, a, b| {
            let states = [a, b].map(State::of);
            // A program that was found has a role of its own.
            let own = matches!(states, [State::Found, State::Absent] | [State::Absent, State::Found]);
            if states[0] != states[1] && !own {
                all.push(Difference::new(at, Topic::Program, Some(name), states).unless_lost(lost));
            }
        });
    }

    /// The kinds that both runs recorded, and whose events are compared by their subjects.
    fn others(&self) -> impl Iterator<Item = Kind> {
        let is_other = |kind: &Kind| matches!(compared(*kind), Compared::Counts | Compared::Results(_));
        Kind::PROBED.into_iter().filter(is_other).filter(|kind| self.compares(*kind))
    }

    /// Compares the results or the counts of the events of a kind.
    fn other(&self, kind: Kind, uses: &Sums<Other>, at: usize, all: &mut Vec<Difference>) {
        let topic = Topic::Other(kind);
        let state = |used: Option<Other>| match topic.is_result() {
            true => State::of(used.map(|used| used.did)),
            false => State::count(used.map_or(0, |used| used.count)),
        };
        each(uses.each_ref(), |subject, a, b| {
            let states = [a, b].map(state);
            if states[0] != states[1] {
                let lost = |side| self.may_lack(side, kind, at);
                all.push(Difference::new(at, topic, Some(subject), states).unless_lost(lost));
            }
        });
    }

    pub(super) fn node(&self, pair: usize, side: Side) -> &Role {
        self.nodes(pair)[side as usize]
    }

    /// The roles of a pair.
    pub(super) fn nodes(&self, pair: usize) -> [&Role; 2] {
        let [a, b] = self.pairs[pair].nodes;
        [&self.trees[0].nodes[a], &self.trees[1].nodes[b]]
    }

    /// The role of a difference: that of run A, if both have it.
    pub(super) fn role(&self, one: &Difference) -> &Role {
        match one.alone {
            Some(alone) => &self.trees[alone.side as usize].nodes[alone.node],
            None => self.node(one.pair, Side::A),
        }
    }

    /// Compares the files of two roles.
    fn files(&self, opens: [&Files; 2], at: usize, strings: &mut StringTable, all: &mut Vec<Difference>) {
        let lost = |side| self.may_lack(side, taking(Takes::Contents), at);
        let mut found = Vec::new();
        let mut only = [Files::new(), Files::new()];
        each(opens, |path, a, b| match (a, b) {
            _ if volatile(strings.get(path)) => {}
            (Some(a), Some(b)) => {
                let states = [a, b].map(|did| State::of(Some(did)));
                found.extend((states[0] != states[1]).then(|| Difference::new(at, Topic::File, Some(path), states)));
            }
            (a, b) => only.iter_mut().zip([a, b]).for_each(|(files, did)| files.extend(did.map(|did| (path, did)))),
        });
        for (side, files) in Side::BOTH.into_iter().zip(&mut only) {
            let (this, other) = (side as usize, side.other() as usize);
            drop_searches(files, self.trees[this], (self.trees[other], opens[other]), strings);
            drop_journals(files, opens[this], strings);
        }
        self.drop_alike(&mut only, |a, b| State::of(Some(a)) == State::of(Some(b)), strings);
        for (side, files) in Side::BOTH.into_iter().zip(only) {
            found.extend(files.into_iter().map(|(path, did)| {
                let topic = if did.has(did::FOUND) { Topic::Opened } else { Topic::Tried };
                Difference::new(at, topic, Some(path), side.placed(State::of(Some(did)), State::Absent))
            }));
        }
        let differ = found.iter().filter_map(|one| one.subject).filter(|path| !is_message(strings.get(*path)));
        let differ: Vec<u32> = differ.collect();
        let searches = searches(&differ, opens, self.fails_more(at), strings);
        let explained: HashSet<u32> = searches.iter().flat_map(|search| &search.paths).copied().collect();
        found.retain(|one| one.subject.is_none_or(|path| !explained.contains(&path)));
        let searched = searches.into_iter().map(|search| {
            let name = strings.id(&search.name);
            Difference::new(at, search.topic, Some(name), search.states)
        });
        all.extend(searched.chain(found).map(|one| one.unless_lost(lost)));
    }

    /// Compares the files as the runs left them, except those that another difference is about.
    fn left(&self, strings: &mut StringTable, all: &mut Vec<Difference>) {
        let mut found: Vec<(u32, [Option<Left>; 2])> = Vec::new();
        let mut only = [BTreeMap::new(), BTreeMap::new()];
        let known: HashSet<u32> = all.iter().filter_map(|one| one.subject).collect();
        each(self.trees.map(|tree| &tree.left), |path, a, b| match (a, b) {
            _ if known.contains(&path) || volatile(strings.get(path)) => {}
            (Some(a), Some(b)) => found.extend(left::apart(a, b).map(|parts| (path, parts.map(Some)))),
            (a, b) => only.iter_mut().zip([a, b]).for_each(|(files, left)| files.extend(left.map(|left| (path, left)))),
        });
        self.drop_alike(&mut only, |a, b| a == b, strings);
        for (side, files) in Side::BOTH.into_iter().zip(only) {
            found.extend(files.into_iter().map(|(path, left)| (path, side.placed(Some(left), None))));
        }
        // What a run did may be undone by calls that it lacks, so each side counts.
        let kinds = taking(Takes::Contents) | left::KIND.into();
        let unknown = Side::BOTH.into_iter().find(|side| self.may_lack(*side, kinds, 0));
        let mut state =
            |left: Option<Left>| left.map_or(State::Absent, |left| State::Text(strings.id(&left::describe(left))));
        let new =
            found.into_iter().map(|(path, left)| Difference::new(0, Topic::Left, Some(path), left.map(&mut state)));
        all.extend(new.map(|one| Difference { unknown, ..one }));
    }

    /// Removes files that differ only in process ids and random names.
    fn drop_alike<T: Copy>(
        &self,
        only: &mut [BTreeMap<u32, T>; 2],
        is_same: impl Fn(T, T) -> bool,
        strings: &StringTable,
    ) {
        if only.iter().any(BTreeMap::is_empty) {
            return;
        }
        // Of the shapes, only the hashes are kept.
        let hasher = RandomState::default();
        let shape = |path: u32, tree: &Tree| {
            let mut text = Vec::new();
            shape(strings.get(path), &tree.chance, &mut text);
            hasher.hash_one(&text)
        };
        let [a, b] = &*only;
        let mut by_shape: HashMap<u64, [Vec<u32>; 2]> = HashMap::default();
        for (side, files) in only.iter().enumerate() {
            files.keys().for_each(|path| by_shape.entry(shape(*path, self.trees[side])).or_default()[side].push(*path));
        }
        let mut same = [HashSet::default(), HashSet::default()];
        const MOST: usize = limits::DIFF_SIBLINGS;
        for [of_a, of_b] in by_shape.values() {
            // All of each side with the first ones of the other.
            let pairs = of_a.iter().flat_map(|path| of_b.iter().take(MOST).map(move |other| (path, other)));
            let rest = of_b.iter().skip(MOST).flat_map(|other| of_a.iter().take(MOST).map(move |path| (path, other)));
            for (path, other) in pairs.chain(rest) {
                let is_new = !same[0].contains(path) || !same[1].contains(other);
                let alike = || a.get(path).zip(b.get(other)).is_some_and(|(did, other)| is_same(*did, *other));
                if is_new && alike() && same_text(self.trees, [*path, *other], strings) {
                    same[0].insert(*path);
                    same[1].insert(*other);
                }
            }
        }
        only.iter_mut().zip(same).for_each(|(files, same)| files.retain(|path, _| !same.contains(path)));
    }

    /// The other events of processes that only one run has. Of those that no line is about, because a filter rejects their
    /// execs and exits, also the files.
    fn uses_alone(&self, counted: &[Alone], unseen: &[Alone], strings: &mut StringTable, all: &mut Vec<Difference>) {
        let from = all.len();
        for kind in self.others() {
            for (pair, uses) in self.sums(counted, |did| did.others(kind), Other::add) {
                self.other(kind, &uses, pair, all);
            }
        }
        let files = |of: fn(&Activity) -> &Files| self.sums(unseen, move |did| of(did).clone(), Did::add);
        for (pair, tries) in files(|did| &did.tries).into_iter().filter(|_| self.compares(Kind::Exec)) {
            self.programs(tries.each_ref(), pair, strings, all);
        }
        for (pair, opens) in files(|did| &did.opens).into_iter().filter(|_| self.compares(taking(Takes::Contents))) {
            self.files(opens.each_ref(), pair, strings, all);
        }
        for one in &mut all[from..] {
            let lost = Side::BOTH.into_iter().find(|side| self.may_lack_processes(*side, one.pair));
            one.unknown = one.unknown.or(lost);
        }
    }

    /// What the processes of one run did, by pair and side.
    fn sums<T: Copy + Default>(
        &self,
        list: &[Alone],
        of: impl Fn(&Activity) -> BTreeMap<u32, T>,
        add: fn(&mut T, T),
    ) -> BTreeMap<usize, Sums<T>> {
        let mut sums: BTreeMap<usize, Sums<T>> = BTreeMap::new();
        for alone in list {
            let tree = self.trees[alone.side as usize];
            for (what, did) in tree.below(alone.node).flat_map(|node| of(&tree.nodes[node].did)) {
                let sides = sums.entry(alone.pair).or_default();
                add(sides[alone.side as usize].entry(what).or_default(), did);
            }
        }
        sums
    }
}

/// Removes what a program looked for in vain above the directory of its run, if the same was looked for above that of the other run.
/// Programs look for their configuration there.
fn drop_searches(only: &mut Files, tree: &Tree, (other, opens): (&Tree, &Files), strings: &StringTable) {
    let search = |tree: &Tree, path: u32, did: &Did| {
        let rest = |dir: &Vec<u8>| strings.get(path).strip_prefix(&dir[..])?.strip_prefix(b"/");
        tree.above.iter().rev().filter(|_| !did.has(did::FOUND)).find_map(rest)
    };
    if only.iter().all(|(path, did)| search(tree, *path, did).is_none()) {
        return;
    }
    let others: HashSet<&[u8]> = opens.iter().filter_map(|(path, did)| search(other, *path, did)).collect();
    only.retain(|path, did| search(tree, *path, did).is_none_or(|searched| !others.contains(searched)));
}

/// Removes the journals of databases that a role used, and their directories. SQLite has them while it changes a database
/// (<https://www.sqlite.org/tempfiles.html>), and whether it has something to change depends on time.
fn drop_journals(only: &mut Files, opens: &Files, strings: &StringTable) {
    const ENDS: [&[u8]; 3] = [b"-journal", b"-wal", b"-shm"];
    let database = |path| ENDS.iter().find_map(|end| strings.get(path).strip_suffix(*end));
    let is_used = |path: &&[u8]| opens.keys().any(|used| strings.get(*used) == *path);
    let journals: Vec<u32> = only.keys().copied().filter(|path| database(*path).filter(is_used).is_some()).collect();
    let is_above =
        |dir: &[u8], path: &[u8]| path.len() > leaf(path).len() && dir == &path[..path.len() - leaf(path).len() - 1];
    only.retain(|path, _| {
        let is_of = |journal: &u32| journal == path || is_above(strings.get(*path), strings.get(*journal));
        !journals.iter().any(is_of)
    });
}

/// Files that a program opens depending on the load of the machine, and files that pass on the numbers of jobs.
fn volatile(path: &[u8]) -> bool {
    let under: [&[u8]; 8] = [
        b"/proc/*/",
        b"/proc/self/",
        b"/proc/stat",
        b"/proc/cpuinfo",
        b"/proc/meminfo",
        b"/proc/loadavg",
        b"/sys/devices/system/cpu",
        b"/sys/fs/cgroup/",
    ];
    under.iter().any(|dir| path.starts_with(dir)) || leaf(path).starts_with(b"GMfifo")
}

fn exits_differ(nodes: [&Role; 2]) -> bool {
    let [a, b] = nodes.map(Role::exits);
    if nodes[0].forked {
        return a != b;
    }
    // A process that still runs at the end has no exit.
    let sum = |exits: &BTreeMap<u32, u64>| exits.values().sum::<u64>();
    match sum(&a) == sum(&b) {
        true => a != b,
        false => !a.is_empty() && !b.is_empty() && !a.keys().eq(b.keys()),
    }
}
