//! The differences between two trees.

use super::access;
use super::difference::{Difference, State, Topic};
use super::environment::{self, Differing};
use super::label::statuses;
use super::left;
use super::names::{Chance, alike, is_message, leaf, shape};
use super::run::Gaps;
use super::search::searches;
use super::strings::{StringTable, each};
use super::tree::{Alone, Pair, RoleNode, Side, Tree, swapped, tokens};
use super::uses::{Activity, Did, FileUses, Other, did};
use crate::event::{Compared, Takes, compared, taking};
use crate::filter::Glob;
use crate::limits;
use foldhash::{HashMap, HashSet, fast::RandomState};
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use tracetui_shared::kind::{Kind, KindSet};

/// What the two runs did, by what it was done to.
type Sums<T> = [Vec<(u32, T)>; 2];

pub(super) struct Comparison<'a> {
    pub(super) trees: (&'a Tree, &'a Tree),
    pub(super) gaps: (&'a Gaps, &'a Gaps),
    pub(super) pairs: &'a [Pair],
    pub(super) alone: &'a [Alone],
    pub(super) ignored: &'a [Glob],
}

/// Lists of both sides, sorted by number.
type Both<'a, T> = (&'a [(u32, T)], &'a [(u32, T)]);

impl Comparison<'_> {
    /// All differences that are not ignored, in the order of the pairs. `None` if it does not go on.
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
            let tree = self.tree(alone.side);
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
            self.counts_alone(*alone, &mut all);
        }
        self.uses_alone(&counted, &unseen, strings, &mut all);
        if self.compares(left::KIND) {
            self.left(strings, &mut all);
        }
        self.drop_created_in_both(&mut all);
        self.drop_exchanged(&mut all);
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
            let role = &self.tree(alone.side).nodes[alone.node];
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
        !self.gaps.0.lacks(kinds) && !self.gaps.1.lacks(kinds)
    }

    /// Whether events of the kinds of the role may be missing on a side: they were lost, or the process still runs.
    fn may_lack(&self, side: Side, kinds: impl Into<KindSet>, pair: usize) -> bool {
        self.gaps(side).may_lack(kinds) || self.runs(side, pair)
    }

    /// Whether processes that the role started may be missing on a side.
    fn may_lack_processes(&self, side: Side, pair: usize) -> bool {
        self.gaps(side).may_lack_processes() || self.runs(side, pair)
    }

    /// Whether the run goes on, and a process of the role has not ended. Above all, processes may always come.
    fn runs(&self, side: Side, pair: usize) -> bool {
        self.gaps(side).running && (pair == 0 || self.node(pair, side).did.living > 0)
    }

    /// Whether processes may be in the wrong place of a tree.
    fn may_misplace(&self) -> bool {
        self.gaps.0.may_lack_processes() || self.gaps.1.may_lack_processes()
    }

    fn unrecorded(&self, all: &mut Vec<Difference>) {
        for kind in super::compared_kinds().iter() {
            let side = match (self.gaps.0.lacks(kind), self.gaps.1.lacks(kind)) {
                (true, false) => Side::A,
                (false, true) => Side::B,
                _ => continue,
            };
            let states = side.placed(State::Absent, State::Found);
            let one = Difference::new(0, Topic::Unrecorded(kind), None, states);
            all.push(Difference { unknown: Some(side), ..one });
        }
    }

    fn of_pair(&self, at: usize, pair: Pair, strings: &mut StringTable, all: &mut Vec<Difference>) {
        let (a, b) = (&self.trees.0.nodes[pair.a], &self.trees.1.nodes[pair.b]);
        let compares_execs = self.compares(Kind::Exec) && !a.forked && a.did.execs > 0 && b.did.execs > 0;
        let (removed, added) = if pair.changed { self.words(pair, strings) } else { Default::default() };
        let (removed, added) = self.without_script(pair, (removed, added), strings);
        let only_chance = removed.is_empty() && added.is_empty() && self.in_order(pair, strings);
        let chances = (&self.trees.0.chance, &self.trees.1.chance);
        let same_file = !pair.changed || alike((strings.get(a.exe), chances.0), (strings.get(b.exe), chances.1));
        let (removed, added) = match only_chance && !same_file {
            // Another file of the same name.
            true => (vec![a.exe], vec![b.exe]),
            false => (removed, added),
        };
        let of_process = |topic: Topic, states: (State, State)| Difference::new(at, topic, None, states);
        if pair.changed && compares_execs && (!only_chance || !same_file) {
            let both = self.gaps.0.may_lack_processes() && self.gaps.1.may_lack_processes();
            let words = (State::Words(removed), State::Words(added));
            all.push(Difference { unknown: both.then_some(Side::B), ..of_process(Topic::Argv, words) });
        } else if compares_execs && a.cwd != b.cwd {
            let known = |cwd: u32| !strings.get(cwd).is_empty();
            let same = alike((strings.get(a.cwd), chances.0), (strings.get(b.cwd), chances.1));
            if known(a.cwd) && known(b.cwd) && !same {
                all.push(of_process(Topic::Cwd, (State::Text(a.cwd), State::Text(b.cwd))));
            }
        }
        if compares_execs {
            let of_parent = self.variables(&self.pairs[pair.parent], strings);
            let new = self.variables(&pair, strings).into_iter().filter(|one| !of_parent.contains(one));
            let state = |text: Option<u32>| text.map_or(State::Absent, State::Text);
            all.extend(new.map(|(name, a, b)| Difference::new(at, Topic::Env, Some(name), (state(a), state(b)))));
        }
        if let (true, Some(one), Some(other)) = (compares_execs, a.did.uid, b.did.uid)
            && one != other
        {
            all.push(of_process(Topic::User, (State::Number(one.into()), State::Number(other.into()))));
        }
        if compares_execs && a.did.execs != b.did.execs {
            let counts = (State::Number(a.did.execs), State::Number(b.did.execs));
            let lost = |side| self.may_lack_processes(side, pair.parent);
            all.push(of_process(Topic::Count, counts).unless_lost(lost));
        }
        if self.compares(Kind::Exec) {
            self.programs((&a.did.tries.settled, &b.did.tries.settled), at, strings, all);
        }
        if self.compares(taking(Takes::Contents)) {
            self.files((&a.did.opens.settled, &b.did.opens.settled), at, strings, all);
        }
        for kind in self.others() {
            self.other(kind, (&a.did.others(kind), &b.did.others(kind)), at, all);
        }
        if self.compares(Kind::Exit) && exits_differ(pair, self.trees) {
            let whole = |node: &RoleNode| node.did.exits.values().sum::<u64>() == node.did.execs;
            let side = match (self.gaps.0.may_lack(Kind::Exit), self.gaps.1.may_lack(Kind::Exit)) {
                (true, _) if !whole(a) => Some(Side::A),
                (_, true) if !whole(b) => Some(Side::B),
                _ => None,
            };
            let texts = [a, b].map(|node| State::Text(strings.id(&statuses(node))));
            all.push(Difference { unknown: side, ..of_process(Topic::Exit, texts.into()) });
        }
    }

    /// The variables that differ between the roles of a pair.
    fn variables(&self, pair: &Pair, strings: &StringTable) -> Vec<Differing> {
        let (a, b) = self.trees;
        let (Some(one), Some(other)) = (&a.nodes[pair.a].env, &b.nodes[pair.b].env) else { return Vec::new() };
        environment::differences((one, &a.chance), (other, &b.chance), strings)
    }

    /// Whether the arguments differ only in process ids and random names.
    fn in_order(&self, pair: Pair, strings: &mut StringTable) -> bool {
        let (a, b) = self.trees;
        let (left, right) = (tokens(&a.nodes[pair.a], strings), tokens(&b.nodes[pair.b], strings));
        let same = |(one, other): (&u32, &u32)| {
            one == other || alike((strings.get(*one), &a.chance), (strings.get(*other), &b.chance))
        };
        left.len() == right.len() && left.iter().zip(&right).all(same)
    }

    /// The words without those of a program that a script of the same name replaces. If there are no others, its files.
    fn without_script(
        &self,
        pair: Pair,
        (mut removed, mut added): (Vec<u32>, Vec<u32>),
        strings: &StringTable,
    ) -> (Vec<u32>, Vec<u32>) {
        let (a, b) = (&self.trees.0.nodes[pair.a], &self.trees.1.nodes[pair.b]);
        let Some((one, other)) = swapped(a, b, strings).filter(|_| pair.changed) else { return (removed, added) };
        removed.retain(|word| !a.argv[..=one].contains(word));
        added.retain(|word| !b.argv[..=other].contains(word));
        let file = |node: &RoleNode, at: usize| if at == 0 { node.exe } else { node.argv[at] };
        removed.insert(0, file(a, one));
        added.insert(0, file(b, other));
        (removed, added)
    }

    /// The words of the arguments that only one side has.
    fn words(&self, pair: Pair, strings: &mut StringTable) -> (Vec<u32>, Vec<u32>) {
        let (a, b) = self.trees;
        let (left, right) = (tokens(&a.nodes[pair.a], strings), tokens(&b.nodes[pair.b], strings));
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
        let (mut removed, mut added) = (only(&left, &right), only(&right, &left));
        removed.retain(|word| {
            let same = |other: &u32| {
                let texts = (strings.get(*word), strings.get(*other));
                alike((texts.0, &a.chance), (texts.1, &b.chance))
            };
            let found = added.iter().take(limits::DIFF_SIBLINGS).position(same);
            found.map(|at| added.remove(at)).is_none()
        });
        (removed, added)
    }

    /// Compares the programs that two roles could not execute. Compares names only, because execvp(3) tries the directories of
    /// PATH.
    fn programs(&self, (a, b): Both<'_, Did>, at: usize, strings: &mut StringTable, all: &mut Vec<Difference>) {
        let lost = |side| self.may_lack_processes(side, at);
        let by_name = |tries: &[(u32, Did)], strings: &mut StringTable| {
            let mut names: BTreeMap<u32, Did> = BTreeMap::new();
            for (path, did) in tries {
                let name = leaf(strings.get(*path)).to_vec();
                names.entry(strings.id(&name)).or_default().add(*did);
            }
            names.into_iter().collect::<Vec<_>>()
        };
        let (a, b) = (by_name(a, strings), by_name(b, strings));
        each(&a, &b, |name, a, b| {
            let states = (State::of(a), State::of(b));
            // A program that was found has a role of its own.
            let own = matches!(states, (State::Found, State::Absent) | (State::Absent, State::Found));
            if states.0 != states.1 && !own {
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
    fn other(&self, kind: Kind, (a, b): Both<'_, Other>, at: usize, all: &mut Vec<Difference>) {
        let topic = Topic::Other(kind);
        let state = |used: Option<Other>| match topic.is_result() {
            true => State::of(used.map(|used| used.did)),
            false => State::count(used.map_or(0, |used| used.count)),
        };
        each(a, b, |subject, a, b| {
            let states = (state(a), state(b));
            if states.0 != states.1 {
                let lost = |side| self.may_lack(side, kind, at);
                all.push(Difference::new(at, topic, Some(subject), states).unless_lost(lost));
            }
        });
    }

    pub(super) fn tree(&self, side: Side) -> &Tree {
        if side == Side::A { self.trees.0 } else { self.trees.1 }
    }

    pub(super) fn node(&self, pair: usize, side: Side) -> &RoleNode {
        let pair = self.pairs[pair];
        if side == Side::A { &self.trees.0.nodes[pair.a] } else { &self.trees.1.nodes[pair.b] }
    }

    /// The role of a difference: that of run A, if both have it.
    pub(super) fn role(&self, one: &Difference) -> &RoleNode {
        match one.alone {
            Some(alone) => &self.tree(alone.side).nodes[alone.node],
            None => self.node(one.pair, Side::A),
        }
    }

    pub(super) fn gaps(&self, side: Side) -> &Gaps {
        if side == Side::A { self.gaps.0 } else { self.gaps.1 }
    }

    /// Compares the files of two roles.
    fn files(&self, (a, b): Both<'_, Did>, at: usize, strings: &mut StringTable, all: &mut Vec<Difference>) {
        let lost = |side| self.may_lack(side, taking(Takes::Contents), at);
        let mut found: Vec<Difference> = Vec::new();
        let (mut only_a, mut only_b, mut accesses) = (Vec::new(), Vec::new(), Vec::new());
        each(a, b, |path, left, right| match (left, right) {
            (Some(left), Some(right)) => {
                let (a, b) = (State::of(Some(left)), State::of(Some(right)));
                if a == State::Found && b == State::Found {
                    let apart = access::apart(left, right).filter(|_| !volatile(strings.get(path)));
                    let states = apart.map(|(a, b)| (State::Used(a), State::Used(b)));
                    accesses.extend(states.map(|states| Difference::new(at, Topic::Access, Some(path), states)));
                } else if a != b && !volatile(strings.get(path)) {
                    found.push(Difference::new(at, Topic::File, Some(path), (a, b)));
                }
            }
            (Some(did), None) => only_a.push((path, did)),
            (None, Some(did)) => only_b.push((path, did)),
            (None, None) => {}
        });
        only_a.retain(|(path, _)| !volatile(strings.get(*path)));
        only_b.retain(|(path, _)| !volatile(strings.get(*path)));
        drop_searches(&mut only_a, self.trees.0, (self.trees.1, b), strings);
        drop_searches(&mut only_b, self.trees.1, (self.trees.0, a), strings);
        drop_journals(&mut only_a, a, strings);
        drop_journals(&mut only_b, b, strings);
        self.drop_alike(&mut only_a, &mut only_b, strings);
        for (files, side) in [(only_a, Side::A), (only_b, Side::B)] {
            found.extend(files.into_iter().map(|(path, did)| {
                let topic = if did.has(did::FOUND) { Topic::Opened } else { Topic::Tried };
                Difference::new(at, topic, Some(path), side.placed(State::of(Some(did)), State::Absent))
            }));
        }
        let differ = found.iter().filter_map(|one| one.subject).filter(|path| !is_message(strings.get(*path)));
        let differ: Vec<u32> = differ.collect();
        let searches = searches(&differ, (a, b), self.fails_more(at), strings);
        let explained: HashSet<u32> = searches.iter().flat_map(|search| &search.paths).copied().collect();
        found.retain(|one| one.subject.is_none_or(|path| !explained.contains(&path)));
        let searched = searches.into_iter().map(|search| {
            let name = strings.id(&search.name);
            Difference::new(at, search.topic, Some(name), search.states)
        });
        all.extend(searched.chain(found).map(|one| one.unless_lost(lost)));
        let unknown = [Side::A, Side::B].into_iter().find(|side| lost(*side));
        all.extend(accesses.into_iter().map(|one| Difference { unknown, ..one }));
    }

    /// Compares the files as the runs left them, but for those of other differences.
    fn left(&self, strings: &StringTable, all: &mut Vec<Difference>) {
        let (a, b) = (&self.trees.0.nodes[0].did.left, &self.trees.1.nodes[0].did.left);
        let (mut only_a, mut only_b) = (Vec::new(), Vec::new());
        let mut found = Vec::new();
        let known: HashSet<u32> = all.iter().filter_map(|one| one.subject).collect();
        each(a, b, |path, left, right| match (left, right) {
            _ if known.contains(&path) || volatile(strings.get(path)) => {}
            (Some(left), Some(right)) => found.extend(left::apart(left, right).map(|(a, b)| (path, (a, b)))),
            (Some(did), None) => only_a.push((path, did)),
            (None, Some(did)) => only_b.push((path, did)),
            (None, None) => {}
        });
        self.drop_alike(&mut only_a, &mut only_b, strings);
        let differ = found.into_iter().map(|(path, (a, b))| (path, (State::Used(a), State::Used(b))));
        let of = |side: Side| move |(path, did)| (path, side.placed(State::Used(did), State::Absent));
        let only = only_a.into_iter().map(of(Side::A)).chain(only_b.into_iter().map(of(Side::B)));
        let lost = |side| self.may_lack(side, taking(Takes::Contents) | left::KIND.into(), 0);
        let new = differ.chain(only);
        all.extend(new.map(|(path, states)| Difference::new(0, Topic::Left, Some(path), states).unless_lost(lost)));
    }

    /// Removes files that differ only in process ids and random names.
    fn drop_alike(&self, a: &mut Vec<(u32, Did)>, b: &mut Vec<(u32, Did)>, strings: &StringTable) {
        if a.is_empty() || b.is_empty() {
            return;
        }
        let chances = (&self.trees.0.chance, &self.trees.1.chance);
        // Files of the same shape follow each other. Only the hash is kept.
        let hasher = RandomState::default();
        let shapes = |files: &[(u32, Did)], chance: &Chance| {
            let mut text = Vec::new();
            let mut shapes: Vec<(u64, usize)> = (files.iter().enumerate())
                .map(|(at, (path, _))| {
                    text.clear();
                    shape(strings.get(*path), chance, &mut text);
                    (hasher.hash_one(&text), at)
                })
                .collect();
            shapes.sort_unstable();
            shapes
        };
        let (left, right) = (shapes(a, chances.0), shapes(b, chances.1));
        let (mut same_a, mut same_b) = (HashSet::default(), HashSet::default());
        for (hash, one) in left {
            let start = right.partition_point(|(other, _)| *other < hash);
            let others = right[start..].iter().take_while(|(other, _)| *other == hash);
            for (_, other) in others.take(limits::DIFF_SIBLINGS) {
                let ((path, did), (path_b, did_b)) = (&a[one], &b[*other]);
                let texts = ((strings.get(*path), chances.0), (strings.get(*path_b), chances.1));
                if State::of(Some(*did)) == State::of(Some(*did_b)) && alike(texts.0, texts.1) {
                    same_a.insert(*path);
                    same_b.insert(*path_b);
                }
            }
        }
        a.retain(|(path, _)| !same_a.contains(path));
        b.retain(|(path, _)| !same_b.contains(path));
    }

    /// The results of other events of processes that only one run has. Of those that no line is about, because a filter rejects their
    /// execs and exits, also the files.
    fn uses_alone(&self, counted: &[Alone], unseen: &[Alone], strings: &mut StringTable, all: &mut Vec<Difference>) {
        let from = all.len();
        for kind in self.others().filter(|kind| Topic::Other(*kind).is_result()) {
            let doers = self.doers(counted, kind);
            for (pair, [a, b]) in self.sums(counted, |did| did.others(kind), Other::add) {
                let first = all.len();
                self.other(kind, (&a, &b), pair, all);
                let doer = |one: &Difference| *doers.get(&(one.only()?, pair, one.subject?))?;
                all[first..].iter_mut().for_each(|one| one.alone = doer(one));
            }
        }
        let files = |of: fn(&Activity) -> &FileUses| self.sums(unseen, move |did| of(did).settled.to_vec(), Did::add);
        for (pair, [a, b]) in files(|did| &did.tries).into_iter().filter(|_| self.compares(Kind::Exec)) {
            self.programs((&a, &b), pair, strings, all);
        }
        for (pair, [a, b]) in files(|did| &did.opens).into_iter().filter(|_| self.compares(taking(Takes::Contents))) {
            self.files((&a, &b), pair, strings, all);
        }
        for one in &mut all[from..] {
            let lost = [Side::A, Side::B].into_iter().find(|side| self.may_lack_processes(*side, one.pair));
            one.unknown = one.unknown.or(lost);
        }
    }

    /// The roles without a counterpart that had events of a kind, by side, pair and subject. `None` for several.
    fn doers(&self, counted: &[Alone], kind: Kind) -> HashMap<(Side, usize, u32), Option<Alone>> {
        let mut doers = HashMap::default();
        for alone in counted {
            let tree = self.tree(alone.side);
            for node in tree.below(alone.node) {
                for (subject, _) in tree.nodes[node].did.others(kind) {
                    let one = Some(Alone { node, wraps: false, ..*alone });
                    doers.entry((alone.side, alone.pair, subject)).and_modify(|doer| *doer = None).or_insert(one);
                }
            }
        }
        doers
    }

    /// What the processes of one run did, by pair and side.
    fn sums<T: Copy + Default>(
        &self,
        list: &[Alone],
        of: impl Fn(&Activity) -> Vec<(u32, T)>,
        add: fn(&mut T, T),
    ) -> Vec<(usize, Sums<T>)> {
        let mut sums: BTreeMap<usize, [BTreeMap<u32, T>; 2]> = BTreeMap::new();
        for alone in list {
            let tree = self.tree(alone.side);
            for (what, did) in tree.below(alone.node).flat_map(|node| of(&tree.nodes[node].did)) {
                let sides = sums.entry(alone.pair).or_default();
                add(sides[alone.side as usize].entry(what).or_default(), did);
            }
        }
        sums.into_iter().map(|(pair, sides)| (pair, sides.map(|side| side.into_iter().collect()))).collect()
    }

    /// The counts of events of processes that only one run has.
    fn counts_alone(&self, alone: Alone, all: &mut Vec<Difference>) {
        for kind in self.others().filter(|kind| !Topic::Other(*kind).is_result()) {
            let lost = |side| self.may_lack(side, kind, alone.pair) || self.may_lack_processes(side, alone.pair);
            let sums = self.sums(&[alone], |did| did.others(kind), Other::add);
            for (what, used) in sums.into_iter().flat_map(|(_, sides)| sides.into_iter().flatten()) {
                let counts = alone.side.placed(State::count(used.count), State::Absent);
                all.push(Difference::new(alone.pair, Topic::Other(kind), Some(what), counts).unless_lost(lost));
            }
        }
    }
}

/// Removes what a program looked for in vain above the directory of its run, if the same was looked for above that of the other run.
/// Programs look for their configuration there.
fn drop_searches(
    only: &mut Vec<(u32, Did)>,
    tree: &Tree,
    (other, opens): (&Tree, &[(u32, Did)]),
    strings: &StringTable,
) {
    let search = |tree: &Tree, (path, did): &(u32, Did)| {
        let rest = |dir: &Vec<u8>| strings.get(*path).strip_prefix(&dir[..])?.strip_prefix(b"/");
        tree.above.iter().rev().filter(|_| !did.has(did::FOUND)).find_map(rest)
    };
    if only.iter().all(|file| search(tree, file).is_none()) {
        return;
    }
    let others: HashSet<&[u8]> = opens.iter().filter_map(|file| search(other, file)).collect();
    only.retain(|file| search(tree, file).is_none_or(|searched| !others.contains(searched)));
}

/// Removes the journals of databases that a role used, and their directories. SQLite has them while it changes a database
/// (<https://www.sqlite.org/tempfiles.html>), and whether it has something to change depends on time.
fn drop_journals(only: &mut Vec<(u32, Did)>, opens: &[(u32, Did)], strings: &StringTable) {
    const ENDS: [&[u8]; 3] = [b"-journal", b"-wal", b"-shm"];
    let database = |path| ENDS.iter().find_map(|end| strings.get(path).strip_suffix(*end));
    let is_used = |path: &&[u8]| opens.iter().any(|(used, _)| strings.get(*used) == *path);
    let journals: Vec<u32> =
        only.iter().map(|(path, _)| *path).filter(|path| database(*path).filter(is_used).is_some()).collect();
    let is_above =
        |dir: &[u8], path: &[u8]| path.len() > leaf(path).len() && dir == &path[..path.len() - leaf(path).len() - 1];
    only.retain(|(path, _)| {
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
    under.iter().any(|dir| path.starts_with(dir)) || leaf(path) == b"GMfifo*"
}

fn exits_differ(pair: Pair, trees: (&Tree, &Tree)) -> bool {
    let (left, right) = (&trees.0.nodes[pair.a], &trees.1.nodes[pair.b]);
    let (a, b) = (left.exits(), right.exits());
    if left.forked {
        return a != b;
    }
    // A process that still runs at the end has no exit.
    let sum = |exits: &BTreeMap<u32, u64>| exits.values().sum::<u64>();
    match sum(&a) == sum(&b) {
        true => a != b,
        false => !a.is_empty() && !b.is_empty() && !a.keys().eq(b.keys()),
    }
}
