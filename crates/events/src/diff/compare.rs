//! The differences between two trees, and which of them may follow from others.

use super::access;
use super::environment::{self, Differing};
use super::names::{Chance, alike, is_message, leaf, shape};
use super::run::Gaps;
use super::search::{Place, is_absent, searches};
use super::strings::{StringTable, each};
use super::tree::{Alone, NodeId, Pair, RoleNode, Side, Tree, swapped, tokens};
use super::uses::{Did, did};
use crate::filter::Glob;
use crate::limits;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use tracetui_shared::kind::Kind;

/// The result of a role's use of a file in one run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(super) enum Outcome {
    Untouched,
    /// It was opened or executed.
    Found,
    Failed(u8),
}

impl Outcome {
    fn of(did: Did) -> Outcome {
        if did.has(did::FOUND) { Outcome::Found } else { Outcome::Failed(did.errno) }
    }

    pub(super) fn at(place: Place) -> Outcome {
        match place {
            Place::Untried => Outcome::Untouched,
            Place::At(_) => Outcome::Found,
            Place::Nowhere { errno, .. } => Outcome::Failed(errno),
        }
    }
}

/// The side that has less, if its events may be lost.
fn lacking(a: Outcome, b: Outcome, lost: impl Fn(Side) -> Option<Side>) -> Option<Side> {
    match (a, b) {
        (Outcome::Found, Outcome::Found) => lost(Side::B).or(lost(Side::A)),
        (Outcome::Found, _) | (_, Outcome::Untouched) => lost(Side::B),
        (_, Outcome::Found) | (Outcome::Untouched, _) => lost(Side::A),
        _ => lost(Side::A).or(lost(Side::B)),
    }
}

/// One difference in one role.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A file or program was found on one side only, or the errors differ.
    Missing {
        path: u32,
        program: bool,
        a: Outcome,
        b: Outcome,
    },
    /// A name was looked for in several directories, and found in another one, or on one side only.
    Searched {
        name: u32,
        a: Place,
        b: Place,
    },
    /// The arguments differ: those that only A has, and those that only B has.
    Argv {
        removed: Vec<u32>,
        added: Vec<u32>,
    },
    Cwd,
    /// A variable of the environment differs: the name, and its text in each run.
    Env {
        name: u32,
        a: Option<u32>,
        b: Option<u32>,
    },
    /// The user id at the exec.
    User {
        a: u32,
        b: u32,
    },
    /// The number of execs differs.
    Count {
        a: u64,
        b: u64,
    },
    /// The role is on one side only.
    Alone {
        side: Side,
        node: NodeId,
        /// It starts a program that both runs have.
        wraps: bool,
    },
    /// A BPF program was loaded or attached a different number of times.
    Bpf {
        what: u32,
        a: u64,
        b: u64,
    },
    /// Connections to a peer, or to a port, were made on one side only, or the errors differ.
    Tcp {
        peer: u32,
        a: Outcome,
        b: Outcome,
    },
    Exit,
    /// A file was opened on one side only.
    Opened {
        path: u32,
        a: Outcome,
        b: Outcome,
    },
    /// A file that both sides found was opened for other purposes, or created on one side only, or with another mode. The parts that
    /// differ.
    Access {
        path: u32,
        a: Did,
        b: Did,
    },
    /// A kind of event was recorded on one side only.
    Unrecorded {
        kind: Kind,
        side: Side,
    },
}

impl What {
    /// The results in A and B of a file that was looked for.
    fn outcomes(&self) -> Option<(Outcome, Outcome)> {
        match self {
            What::Missing { a, b, .. } => Some((*a, *b)),
            What::Searched { a, b, .. } => Some((Outcome::at(*a), Outcome::at(*b))),
            _ => None,
        }
    }

    /// The side that did not find the file.
    pub(super) fn lacks(&self) -> Option<Side> {
        match self.outcomes()? {
            (Outcome::Found | Outcome::Untouched, Outcome::Failed(_)) => Some(Side::B),
            (Outcome::Failed(_), Outcome::Found | Outcome::Untouched) => Some(Side::A),
            // The file is absent in one run, and the other cannot open it.
            (Outcome::Failed(a), Outcome::Failed(b)) if is_absent(a) != is_absent(b) => {
                Some(if is_absent(a) { Side::B } else { Side::A })
            }
            _ => None,
        }
    }

    /// Whether the error is that there is no such file.
    pub(super) fn is_absent(&self) -> bool {
        let absent = |of: Outcome| matches!(of, Outcome::Failed(errno) if is_absent(errno));
        self.outcomes().is_some_and(|(a, b)| absent(a) || absent(b))
    }

    /// Whether only one run looked for the file.
    pub(super) fn is_new(&self) -> bool {
        let untouched = |(a, b)| a == Outcome::Untouched || b == Outcome::Untouched;
        !matches!(self, What::Missing { .. }) && self.outcomes().is_some_and(untouched)
    }
}

/// How a difference relates to the others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It is what a process that failed by itself lacked.
    First,
    Cause,
    /// Another difference may explain it.
    Perhaps,
    /// It follows from another difference.
    Follows,
}

#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) pair: usize,
    pub(super) what: What,
    pub(super) rank: Rank,
    /// The side that lacks something, if that may have been lost.
    pub(super) unknown: Option<Side>,
}

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
        for alone in &self.counted_alone(strings) {
            let tree = self.tree(alone.side);
            let node = &tree.nodes[alone.node];
            let what = What::Alone { side: alone.side, node: alone.node, wraps: alone.wraps };
            let lost = self.may_lack_processes(alone.side.other(), alone.pair) || node.orphan && self.may_misplace();
            if self.compares(Kind::Exec) && tree.execs_below(alone.node) > 0 {
                all.push(difference(alone.pair, what, lost.then(|| alone.side.other())));
            }
            self.loads_alone(*alone, tree, &mut all);
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

    /// Whether both runs recorded a kind.
    fn compares(&self, kind: Kind) -> bool {
        !self.gaps.0.lacks(kind) && !self.gaps.1.lacks(kind)
    }

    /// Whether events of a kind of the role may be missing on a side: they were lost, or the process still runs.
    fn may_lack(&self, side: Side, kind: Kind, pair: usize) -> bool {
        self.gaps(side).may_lack(kind) || self.runs(side, pair)
    }

    /// Whether processes that the role started may be missing on a side.
    fn may_lack_processes(&self, side: Side, pair: usize) -> bool {
        self.gaps(side).may_lack_processes() || self.runs(side, pair)
    }

    /// Whether the run goes on, and a process of the role has not ended. Above all, processes may always come.
    fn runs(&self, side: Side, pair: usize) -> bool {
        self.gaps(side).running && (pair == 0 || self.node(pair, side).living > 0)
    }

    /// Whether processes may be in the wrong place of a tree.
    fn may_misplace(&self) -> bool {
        self.gaps.0.may_lack_processes() || self.gaps.1.may_lack_processes()
    }

    fn unrecorded(&self, all: &mut Vec<Difference>) {
        for kind in [Kind::Exec, Kind::Exit, Kind::Open, Kind::Bpf, Kind::Tcp] {
            let side = match (self.gaps.0.lacks(kind), self.gaps.1.lacks(kind)) {
                (true, false) => Side::A,
                (false, true) => Side::B,
                _ => continue,
            };
            all.push(difference(0, What::Unrecorded { kind, side }, Some(side)));
        }
    }

    fn of_pair(&self, at: usize, pair: Pair, strings: &mut StringTable, all: &mut Vec<Difference>) {
        let (a, b) = (&self.trees.0.nodes[pair.a], &self.trees.1.nodes[pair.b]);
        let compares_execs = self.compares(Kind::Exec) && !a.forked && a.execs > 0 && b.execs > 0;
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
        if pair.changed && compares_execs && (!only_chance || !same_file) {
            let both = self.gaps.0.may_lack_processes() && self.gaps.1.may_lack_processes();
            all.push(difference(at, What::Argv { removed, added }, both.then_some(Side::B)));
        } else if compares_execs && a.cwd != b.cwd {
            let known = |cwd: u32| !strings.get(cwd).is_empty();
            let same = alike((strings.get(a.cwd), chances.0), (strings.get(b.cwd), chances.1));
            if known(a.cwd) && known(b.cwd) && !same {
                all.push(difference(at, What::Cwd, None));
            }
        }
        if compares_execs {
            let of_parent = self.variables(&self.pairs[pair.parent], strings);
            let new = self.variables(&pair, strings).into_iter().filter(|one| !of_parent.contains(one));
            all.extend(new.map(|(name, a, b)| difference(at, What::Env { name, a, b }, None)));
        }
        let users = (a.uid, b.uid);
        if compares_execs && users.0 != users.1 && users.0.max(users.1) != u32::MAX {
            all.push(difference(at, What::User { a: users.0, b: users.1 }, None));
        }
        if compares_execs && a.execs != b.execs {
            let fewer = if a.execs < b.execs { Side::A } else { Side::B };
            let unknown = self.may_lack_processes(fewer, pair.parent).then_some(fewer);
            all.push(difference(at, What::Count { a: a.execs, b: b.execs }, unknown));
        }
        if self.compares(Kind::Exec) {
            self.programs((&a.tries, &b.tries), at, strings, all);
        }
        if self.compares(Kind::Open) {
            self.files((&a.opens, &b.opens), at, strings, all);
        }
        if self.compares(Kind::Bpf) {
            self.loads((&a.loads, &b.loads), at, all);
        }
        if self.compares(Kind::Tcp) {
            self.peers((&a.peers, &b.peers), at, all);
        }
        if self.compares(Kind::Exit) && exits_differ(pair, self.trees) {
            let whole = |exits: &[(u32, u64)]| exits.iter().map(|(_, count)| count).sum::<u64>();
            let side = match (self.gaps.0.may_lack(Kind::Exit), self.gaps.1.may_lack(Kind::Exit)) {
                (true, _) if whole(&a.exits) != a.execs => Some(Side::A),
                (_, true) if whole(&b.exits) != b.execs => Some(Side::B),
                _ => None,
            };
            all.push(difference(at, What::Exit, side));
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
        let mut counts: FxHashMap<u32, i64> = FxHashMap::default();
        right.iter().for_each(|word| *counts.entry(*word).or_default() += 1);
        let rest = |words: &[u32], counts: &mut FxHashMap<u32, i64>| {
            let missing = words.iter().filter(|word| {
                let count = counts.entry(**word).or_default();
                *count -= 1;
                *count < 0
            });
            missing.copied().collect::<Vec<u32>>()
        };
        let mut removed = rest(&left, &mut counts);
        counts.clear();
        left.iter().for_each(|word| *counts.entry(*word).or_default() += 1);
        let mut added = rest(&right, &mut counts);
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
        let lost = |side: Side| self.may_lack_processes(side, at).then_some(side);
        let by_name = |tries: &[(u32, Did)], strings: &mut StringTable| {
            let mut names: BTreeMap<u32, Did> = BTreeMap::new();
            for (path, did) in tries {
                let name = leaf(strings.get(*path)).to_vec();
                names.entry(strings.id(&name)).or_default().add(*did);
            }
            names.into_iter().collect::<Vec<_>>()
        };
        let (a, b) = (by_name(a, strings), by_name(b, strings));
        each(&a, &b, |path, left, right| {
            let of = |did: Option<Did>| did.map_or(Outcome::Untouched, Outcome::of);
            let (a, b) = (of(left), of(right));
            // A program that was found has a role of its own.
            let own = matches!((a, b), (Outcome::Found, Outcome::Untouched) | (Outcome::Untouched, Outcome::Found));
            if a != b && !own {
                all.push(difference(at, What::Missing { path, program: true, a, b }, lacking(a, b, lost)));
            }
        });
    }

    /// Compares the outcomes of connections.
    fn peers(&self, (a, b): Both<'_, Did>, at: usize, all: &mut Vec<Difference>) {
        let lost = |side: Side| self.may_lack(side, Kind::Tcp, at).then_some(side);
        each(a, b, |peer, left, right| {
            let of = |did: Option<Did>| did.map_or(Outcome::Untouched, Outcome::of);
            let (a, b) = (of(left), of(right));
            if a != b {
                all.push(difference(at, What::Tcp { peer, a, b }, lacking(a, b, lost)));
            }
        });
    }

    pub(super) fn tree(&self, side: Side) -> &Tree {
        if side == Side::A { self.trees.0 } else { self.trees.1 }
    }

    pub(super) fn gaps(&self, side: Side) -> &Gaps {
        if side == Side::A { self.gaps.0 } else { self.gaps.1 }
    }

    /// Compares the files of two roles.
    fn files(&self, (a, b): Both<'_, Did>, at: usize, strings: &mut StringTable, all: &mut Vec<Difference>) {
        let lost = |side: Side| self.may_lack(side, Kind::Open, at).then_some(side);
        let (mut both, mut only_a, mut only_b, mut accesses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        each(a, b, |path, left, right| match (left, right) {
            (Some(left), Some(right)) => {
                let (a, b) = (Outcome::of(left), Outcome::of(right));
                if a == Outcome::Found && b == Outcome::Found {
                    let apart = access::apart(left, right).filter(|_| !volatile(strings.get(path)));
                    accesses.extend(apart.map(|(a, b)| What::Access { path, a, b }));
                } else if a != b && !volatile(strings.get(path)) {
                    both.push((path, a, b));
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
        let only = only_a.into_iter().map(|(path, did)| (path, Outcome::of(did), Outcome::Untouched));
        let only = only.chain(only_b.into_iter().map(|(path, did)| (path, Outcome::Untouched, Outcome::of(did))));
        let only: Vec<_> = only.collect();
        let differ: Vec<u32> = both.iter().chain(&only).map(|(path, ..)| *path).collect();
        let differ: Vec<u32> = differ.into_iter().filter(|path| !is_message(strings.get(*path))).collect();
        let failed = self.fails_more(at);
        let failed = (failed == Some(Side::A), failed == Some(Side::B));
        let searches = searches(&differ, (a, b), failed, strings);
        let explained: FxHashSet<u32> = searches.iter().flat_map(|search| &search.paths).copied().collect();
        for search in searches {
            let (a, b) = (Outcome::at(search.a), Outcome::at(search.b));
            let name = strings.id(&search.name);
            all.push(difference(at, What::Searched { name, a: search.a, b: search.b }, lacking(a, b, lost)));
        }
        for (files, is_only) in [(both, false), (only, true)] {
            for (path, a, b) in files.into_iter().filter(|(path, ..)| !explained.contains(path)) {
                let what =
                    if is_only { What::Opened { path, a, b } } else { What::Missing { path, program: false, a, b } };
                all.push(difference(at, what, lacking(a, b, lost)));
            }
        }
        let unknown = lost(Side::A).or(lost(Side::B));
        all.extend(accesses.into_iter().map(|what| difference(at, what, unknown)));
    }

    /// Removes files that differ only in process ids and random names.
    fn drop_alike(&self, a: &mut Vec<(u32, Did)>, b: &mut Vec<(u32, Did)>, strings: &StringTable) {
        if a.is_empty() || b.is_empty() {
            return;
        }
        let chances = (&self.trees.0.chance, &self.trees.1.chance);
        // Files of the same shape follow each other. Only the hash is kept.
        let hasher = FxBuildHasher;
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
        let (mut same_a, mut same_b) = (FxHashSet::default(), FxHashSet::default());
        for (hash, one) in left {
            let start = right.partition_point(|(other, _)| *other < hash);
            let others = right[start..].iter().take_while(|(other, _)| *other == hash);
            for (_, other) in others.take(limits::DIFF_SIBLINGS) {
                let ((path, did), (path_b, did_b)) = (&a[one], &b[*other]);
                let texts = ((strings.get(*path), chances.0), (strings.get(*path_b), chances.1));
                if Outcome::of(*did) == Outcome::of(*did_b) && alike(texts.0, texts.1) {
                    same_a.insert(*path);
                    same_b.insert(*path_b);
                }
            }
        }
        a.retain(|(path, _)| !same_a.contains(path));
        b.retain(|(path, _)| !same_b.contains(path));
    }

    fn loads(&self, (a, b): Both<'_, u64>, at: usize, all: &mut Vec<Difference>) {
        each(a, b, |what, a, b| {
            let (a, b) = (a.unwrap_or(0), b.unwrap_or(0));
            if a != b {
                let fewer = if a < b { Side::A } else { Side::B };
                let unknown = self.may_lack(fewer, Kind::Bpf, at).then_some(fewer);
                all.push(difference(at, What::Bpf { what, a, b }, unknown));
            }
        });
    }

    /// The BPF calls of processes that only one run has.
    fn loads_alone(&self, alone: Alone, tree: &Tree, all: &mut Vec<Difference>) {
        let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
        for node in tree.below(alone.node).filter(|_| self.compares(Kind::Bpf)) {
            tree.nodes[node].loads.iter().for_each(|(what, count)| *sums.entry(*what).or_default() += count);
        }
        let other = alone.side.other();
        let lost = self.may_lack(other, Kind::Bpf, alone.pair) || self.may_lack_processes(other, alone.pair);
        let lost = lost.then_some(other);
        for (what, count) in sums {
            let (a, b) = if alone.side == Side::A { (count, 0) } else { (0, count) };
            all.push(difference(alone.pair, What::Bpf { what, a, b }, lost));
        }
    }
}

fn difference(pair: usize, what: What, unknown: Option<Side>) -> Difference {
    Difference { pair, what, rank: Rank::Cause, unknown }
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
    let others: FxHashSet<&[u8]> = opens.iter().filter_map(|file| search(other, file)).collect();
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

/// The exit statuses to compare. Depending on timing, a writer to a pipe gets SIGPIPE when the reader ends, so SIGPIPE counts as
/// success. So does SIGTERM for a forked process, as in a pool of workers. The number of forked processes that ended successfully
/// depends on the number of jobs.
pub(super) fn exits(exits: &[(u32, u64)], forked: bool) -> BTreeMap<u32, u64> {
    const SIGPIPE: u32 = 13;
    const SIGTERM: u32 = 15;
    let mut sums = BTreeMap::new();
    for (status, count) in exits {
        // A core dump depends on the limits of the machine.
        let status = if *status & 0x7f == 0 { *status } else { *status & 0x7f };
        let ended = status == SIGPIPE || status == (128 + SIGPIPE) << 8 || forked && status == SIGTERM;
        let status = if ended { 0 } else { status };
        if !(forked && status == 0) {
            *sums.entry(status).or_default() += count;
        }
    }
    sums
}

fn exits_differ(pair: Pair, trees: (&Tree, &Tree)) -> bool {
    let (left, right) = (&trees.0.nodes[pair.a], &trees.1.nodes[pair.b]);
    let (a, b) = (exits(&left.exits, left.forked), exits(&right.exits, right.forked));
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
