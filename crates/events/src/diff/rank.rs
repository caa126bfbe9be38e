//! Which differences may follow from others.

use super::compare::{Comparison, Difference, Outcome, Rank, What};
use super::created::{bits_of, files};
use super::environment;
use super::names::is_message;
use super::search::Place;
use super::strings::StringTable;
use super::tree::{NodeId, RoleNode, Side, Tree};
use super::uses::did;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

/// The facts about a pair that decide which differences follow from which.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    argv: bool,
    missing: bool,
    exit: bool,
    /// The arguments of the process or of an ancestor differ.
    changed: bool,
    /// The exit status of the process or of an ancestor differs.
    failing: bool,
    /// The exit status of the process or of a descendant differs, or a file is missing there.
    disturbed: bool,
}

/// Where a run stopped, and what it lacked there.
#[derive(Default)]
struct Stops {
    /// The side on which a process failed by itself: not because of a child.
    side: Vec<Option<Side>>,
    /// Whether a file that the process did not find explains this.
    explained: Vec<bool>,
    /// The places in the list of differences of what a process lacked.
    first: FxHashSet<usize>,
    /// Of what may be the reason.
    perhaps: FxHashSet<usize>,
}

impl Comparison<'_> {
    /// Decides which differences may follow from others.
    pub(super) fn rank(&self, strings: &StringTable, all: &mut [Difference]) {
        let facts = self.facts(all);
        let made = self.made_differently(&facts);
        let stops = self.stops(&facts, &made, all, strings);
        let of = |at: usize| facts.get(at).copied().unwrap_or_default();
        let passed_on = variables(all, strings);
        for (at, difference) in all.iter_mut().enumerate() {
            let Difference { pair, what, .. } = &*difference;
            let here = of(*pair);
            let above = of(self.pairs[*pair].parent);
            let rank = match what {
                _ if stops.first.contains(&at) => Rank::First,
                _ if stops.perhaps.contains(&at) => Rank::Perhaps,
                What::Missing { .. } | What::Searched { .. } if is_output(what, &made) => Rank::Follows,
                What::Searched { .. } if what.is_new() => Rank::Follows,
                What::Searched { a: Place::At(one), b: Place::At(other), .. } => {
                    let after = here.changed || here.exit || made.contains(one) || made.contains(other);
                    by(after, here.disturbed)
                }
                What::Missing { .. } | What::Searched { .. } if what.lacks().is_none() => {
                    by(stops.explained[*pair], false)
                }
                What::Missing { .. } | What::Searched { .. } => Rank::Cause,
                What::Argv { .. } | What::Cwd if *pair != 0 && above.changed => Rank::Follows,
                What::Argv { removed, added } if passed_on.have(removed, added, strings) => Rank::Follows,
                // Programs pass on arguments in the environment.
                What::Env { .. } => by(here.changed, false),
                What::User { a, b } => by(self.parent_has_users(*pair, (*a, *b)), above.changed),
                What::Access { .. } => by(here.argv || here.exit || here.missing, here.changed || here.disturbed),
                What::Tcp { a: Outcome::Untouched, .. } | What::Tcp { b: Outcome::Untouched, .. } => {
                    by(here.changed || here.exit || here.missing, here.disturbed)
                }
                What::Bpf { .. } | What::Tcp { .. } | What::Unrecorded { .. } => Rank::Cause,
                What::Argv { .. } | What::Cwd => Rank::Cause,
                What::Count { .. } => by(here.argv || above.failing, here.changed || above.disturbed),
                What::Alone { wraps: true, .. } => Rank::Cause,
                What::Alone { .. } => by(here.failing, here.changed || here.disturbed),
                What::Exit => Rank::Cause,
                What::Opened { path, a, b } => {
                    let after = here.argv || here.exit || here.missing || made.contains(path);
                    let tried = matches!((a, b), (Outcome::Failed(_), _) | (_, Outcome::Failed(_)));
                    by(after, tried || here.changed || here.disturbed)
                }
            };
            difference.rank = rank;
        }
        only_tried(self.pairs.len(), all);
    }

    fn stops(&self, facts: &[Facts], made: &FxHashSet<u32>, all: &[Difference], strings: &StringTable) -> Stops {
        let mut below = vec![false; self.pairs.len()];
        for (at, pair) in self.pairs.iter().enumerate().skip(1).rev() {
            // A forked process is a part of its program.
            let forked = self.trees.0.nodes[pair.a].forked;
            below[pair.parent] |= below[at] || facts[at].exit && !forked;
        }
        let side: Vec<_> =
            (0..below.len()).map(|at| self.fails_more(at).filter(|_| facts[at].exit && !below[at])).collect();
        let mut stops = Stops { explained: vec![false; side.len()], side, ..Stops::default() };
        let uses = match stops.side.iter().any(Option::is_some) {
            true => [files(self.trees.0), files(self.trees.1)],
            false => Default::default(),
        };
        self.missed(made, &uses, all, strings, &mut stops);
        self.not_reached(facts, &uses, all, strings, &mut stops);
        stops
    }

    /// Notes the files that a failed process looked for in vain.
    fn missed(
        &self,
        made: &FxHashSet<u32>,
        uses: &[Vec<(u32, u8)>; 2],
        all: &[Difference],
        strings: &StringTable,
        stops: &mut Stops,
    ) {
        let certain = all.iter().enumerate().filter(|(_, one)| one.unknown.is_none());
        let stopped = certain.clone().filter_map(|(at, one)| Some((at, one, stops.side[one.pair]?)));
        // Of the names that only one run looked for, the process stopped at the last.
        let mut new: FxHashMap<usize, (usize, u32)> = FxHashMap::default();
        // After a failure, a program reads its own file, and looks for data about it.
        let mut continued = FxHashSet::default();
        let (mut first, mut perhaps, mut explained) = (Vec::new(), Vec::new(), Vec::new());
        for (at, one, side) in stopped {
            match &one.what {
                What::Missing { .. } | What::Searched { .. } if is_output(&one.what, made) => {}
                What::Searched { a, b, .. } if one.what.is_new() => {
                    new.insert(one.pair, (at, a.directories().max(b.directories())));
                }
                // The file that it found instead.
                What::Searched { a: Place::At(_), b: Place::At(_), .. } => first.push(at),
                what if what.lacks() == Some(side) => {
                    first.push(at);
                    explained.push(one.pair);
                }
                What::Missing { path, program: false, .. } if one.what.lacks().is_some() => {
                    let bits = bits_of(&uses[side as usize], *path);
                    perhaps.extend((bits & (did::WROTE | did::DIRECTORY) != 0).then_some(at));
                }
                What::Opened { path, a, b } if !is_message(strings.get(*path)) => {
                    let found = if side == Side::A { *a } else { *b };
                    let bits = bits_of(&uses[side as usize], *path);
                    let is_input = found == Outcome::Found && bits & (did::WROTE | did::DIRECTORY) == 0;
                    continued.extend((is_input && strings.get(*path).starts_with(b"./")).then_some(one.pair));
                }
                _ => {}
            }
        }
        explained.drain(..).for_each(|pair: usize| stops.explained[pair] = true);
        for (at, one) in certain {
            let (What::Searched { name, a, b }, Some((last, most))) = (&one.what, new.get(&one.pair)) else { continue };
            if !one.what.is_new() || stops.explained[one.pair] {
                continue;
            }
            let directories = a.directories().max(b.directories());
            let own = strings.get(*name).starts_with(b"./") && !continued.contains(&one.pair);
            // Alternatives of a name are searched in the same directories: `libx.so` and `libx.a`.
            if directories > 1 && directories == *most || at == *last && own {
                first.push(at);
                explained.push(one.pair);
            } else {
                perhaps.push(at);
            }
        }
        explained.into_iter().for_each(|pair| stops.explained[pair] = true);
        stops.first.extend(first);
        stops.perhaps.extend(perhaps);
    }

    /// Notes the first program and the first file that a failed process did not reach, if nothing that it did explains the failure.
    /// Programs and files have numbers in the order of their first use.
    fn not_reached(
        &self,
        facts: &[Facts],
        uses: &[Vec<(u32, u8)>; 2],
        all: &[Difference],
        strings: &StringTable,
        stops: &mut Stops,
    ) {
        // A process that executed programs in both runs understood its arguments.
        let mut executes = vec![false; facts.len()];
        self.pairs.iter().for_each(|pair| executes[pair.parent] |= !self.trees.0.nodes[pair.a].forked);
        let open = |at: usize, side: Side| {
            stops.side[at] == Some(side.other())
                && !stops.explained[at]
                && (!facts[at].argv || executes[at])
                && !self.killed(at, side.other())
        };
        let mut continued = FxHashSet::default();
        let mut inputs: FxHashMap<usize, (bool, u32, usize)> = FxHashMap::default();
        let mut programs: FxHashMap<(usize, Side), (NodeId, usize)> = FxHashMap::default();
        let mut outputs: FxHashMap<usize, BTreeSet<&[u8]>> = FxHashMap::default();
        let mut perhaps = Vec::new();
        for (at, one) in all.iter().enumerate().filter(|(_, one)| one.unknown.is_none()) {
            match one.what {
                What::Alone { side, node, .. } => {
                    let first = programs.entry((one.pair, side)).or_insert((node, at));
                    *first = (node, at).min(*first);
                    perhaps.extend(open(one.pair, side).then_some(at));
                }
                What::Opened { path, a, b } => {
                    let side = if b == Outcome::Untouched { Side::A } else { Side::B };
                    if a.max(b) != Outcome::Found {
                        // It looked for this in vain.
                        perhaps.extend((open(one.pair, side.other()) && !is_message(strings.get(path))).then_some(at));
                    } else if open(one.pair, side) {
                        continued.insert(one.pair);
                        let bits = |side: Side| bits_of(&uses[side as usize], path);
                        // An input that no process of the failed run has.
                        let is_input =
                            bits(side) & (did::WROTE | did::DIRECTORY) == 0 && bits(side.other()) & did::FOUND == 0;
                        let outputs = outputs.entry(one.pair).or_insert_with(|| self.outputs(one.pair, side, strings));
                        let name = strings.get(path);
                        // It was created as `x.tmp4711`.
                        let is_renamed = outputs.range(name..).next().is_some_and(|next| next.starts_with(name));
                        if is_input && !is_renamed {
                            let this = (!name.starts_with(b"./"), path, at);
                            let first = inputs.entry(one.pair).or_insert(this);
                            *first = this.min(*first);
                        }
                    }
                }
                _ => {}
            }
        }
        let changes = self.first_changes(facts);
        let programs = programs.into_iter().filter(|((at, side), (node, _))| {
            open(*at, *side) && (!continued.contains(at) || self.not_found(*at, side.other()))
                || changes[*at].is_some_and(|(a, b)| *node < if *side == Side::A { a } else { b })
        });
        let mut first: Vec<usize> = programs.map(|(_, (_, at))| at).collect();
        for (foreign, _, at) in inputs.into_values() {
            if foreign { perhaps.push(at) } else { first.push(at) }
        }
        stops.first.extend(first);
        stops.perhaps.extend(perhaps);
    }

    /// Whether the parent of a process differs in the same user ids.
    fn parent_has_users(&self, pair: usize, users: (u32, u32)) -> bool {
        let parent = self.pairs[self.pairs[pair].parent];
        (self.trees.0.nodes[parent.a].uid, self.trees.1.nodes[parent.b].uid) == users
    }

    /// The files that a process and those below it wrote.
    fn outputs<'s>(&self, pair: usize, side: Side, strings: &'s StringTable) -> BTreeSet<&'s [u8]> {
        let tree = self.tree(side);
        let top = if side == Side::A { self.pairs[pair].a } else { self.pairs[pair].b };
        let opens = tree.below(top).flat_map(|node| &tree.nodes[node].opens);
        opens.filter(|(_, did)| did.has(did::WROTE)).map(|(path, _)| strings.get(*path)).collect()
    }

    /// For each pair whose own arguments are equal, the first child whose arguments differ, if no child before it fails: an earlier
    /// program of one run may have changed them.
    fn first_changes(&self, facts: &[Facts]) -> Vec<Option<(NodeId, NodeId)>> {
        let mut first: Vec<Option<(NodeId, NodeId)>> = vec![None; facts.len()];
        let mut changed = vec![false; facts.len()];
        for (pair, fact) in self.pairs.iter().zip(facts).skip(1).filter(|(_, fact)| fact.argv || fact.exit) {
            let (a, b) = first[pair.parent].unwrap_or((pair.a, pair.b));
            first[pair.parent] = Some((a.min(pair.a), b.min(pair.b)));
            changed[pair.parent] |= fact.argv;
        }
        let keeps = |at: &usize| changed[*at] && !facts[*at].changed;
        (0..first.len()).map(|at| first[at].filter(|_| keeps(&at))).collect()
    }

    fn killed(&self, pair: usize, side: Side) -> bool {
        self.exits(pair, side).iter().any(|(status, _)| status & 0x7f != 0)
    }

    fn exits(&self, pair: usize, side: Side) -> &[(u32, u64)] {
        &self.node(pair, side).exits
    }

    pub(super) fn node(&self, pair: usize, side: Side) -> &RoleNode {
        let pair = self.pairs[pair];
        if side == Side::A { &self.trees.0.nodes[pair.a] } else { &self.trees.1.nodes[pair.b] }
    }

    /// The side on which more processes of a pair failed.
    pub(super) fn fails_more(&self, pair: usize) -> Option<Side> {
        let failed = |side: Side| {
            let failed = self.exits(pair, side).iter().filter(|(status, _)| *status != 0);
            failed.map(|(_, count)| *count).sum::<u64>()
        };
        match failed(Side::A).cmp(&failed(Side::B)) {
            std::cmp::Ordering::Greater => Some(Side::A),
            std::cmp::Ordering::Less => Some(Side::B),
            std::cmp::Ordering::Equal => None,
        }
    }

    /// Whether a process did not find a command: exit code 127, or 126 if it could not be executed.
    fn not_found(&self, pair: usize, side: Side) -> bool {
        let failed = |side: Side| self.exits(pair, side).iter().any(|(status, _)| matches!(status >> 8, 126 | 127));
        failed(side) && !failed(side.other())
    }

    fn facts(&self, all: &[Difference]) -> Vec<Facts> {
        let mut facts = vec![Facts::default(); self.pairs.len()];
        for difference in all {
            let fact = &mut facts[difference.pair];
            match &difference.what {
                What::Argv { .. } | What::Cwd => fact.argv = true,
                What::Searched { a: Place::At(_), b: Place::At(_), .. } => {}
                What::Missing { .. } | What::Searched { .. } => fact.missing = true,
                What::Exit => fact.exit = true,
                _ => {}
            }
        }
        for at in 0..facts.len() {
            let above = if at == 0 { Facts::default() } else { facts[self.pairs[at].parent] };
            facts[at].changed = facts[at].argv || above.changed;
            facts[at].failing = facts[at].exit || above.failing;
        }
        for at in (0..facts.len()).rev() {
            facts[at].disturbed |= facts[at].exit || facts[at].missing;
            if facts[at].disturbed {
                facts[self.pairs[at].parent].disturbed = true;
            }
        }
        facts
    }

    /// The files written by processes that only one run has, or that failed or were started differently.
    fn made_differently(&self, facts: &[Facts]) -> FxHashSet<u32> {
        let mut made = FxHashSet::default();
        let mut add = |tree: &Tree, node: NodeId| {
            let wrote = tree.nodes[node].opens.iter().filter(|(_, did)| did.has(did::WROTE));
            made.extend(wrote.map(|(path, _)| *path));
        };
        for (fact, pair) in facts.iter().zip(self.pairs) {
            if fact.changed || fact.exit {
                add(self.trees.0, pair.a);
                add(self.trees.1, pair.b);
            }
        }
        for alone in self.alone {
            let tree = self.tree(alone.side);
            tree.below(alone.node).for_each(|node| add(tree, node));
        }
        made
    }
}

/// Whether a file that one run did not find was written by a process that failed or changed.
fn is_output(what: &What, made: &FxHashSet<u32>) -> bool {
    match what {
        What::Missing { path, .. } => made.contains(path) && what.is_absent(),
        What::Searched { a: Place::At(path), b: Place::Nowhere { .. }, .. }
        | What::Searched { a: Place::Nowhere { .. }, b: Place::At(path), .. } => made.contains(path),
        _ => false,
    }
}

/// The words in the values of the variables that differ, in A and in B.
struct PassedOn<'s>([FxHashSet<&'s [u8]>; 2]);

fn variables<'s>(all: &[Difference], strings: &'s StringTable) -> PassedOn<'s> {
    let mut words = PassedOn(Default::default());
    for one in all {
        let What::Env { name, a, b } = one.what else { continue };
        for (words, text) in words.0.iter_mut().zip([a, b]) {
            let value = text.and_then(|text| environment::value(name, text, strings));
            words.extend(value.unwrap_or_default().split(u8::is_ascii_whitespace));
        }
    }
    words
}

impl PassedOn<'_> {
    /// Whether arguments that only one run has come from a variable.
    fn have(&self, removed: &[u32], added: &[u32], strings: &StringTable) -> bool {
        let [a, b] = &self.0;
        let all = |words: &[u32], of: &FxHashSet<&[u8]>| words.iter().all(|word| of.contains(strings.get(*word)));
        !(removed.is_empty() && added.is_empty()) && all(removed, a) && all(added, b)
    }
}

/// A path that was tried without success explains nothing if there are other differences.
fn only_tried(pairs: usize, all: &mut [Difference]) {
    let mut explained = vec![false; pairs];
    for difference in all.iter() {
        explained[difference.pair] |= difference.rank <= Rank::Cause && !matches!(difference.what, What::Exit);
    }
    let any = explained.contains(&true);
    for difference in all.iter_mut() {
        let tried = matches!(
            difference.what,
            What::Opened { a: Outcome::Failed(_), .. } | What::Opened { b: Outcome::Failed(_), .. }
        );
        if tried && difference.rank == Rank::Perhaps {
            difference.rank = if explained[difference.pair] {
                Rank::Follows
            } else if any {
                Rank::Perhaps
            } else {
                Rank::Cause
            };
        }
    }
}

fn by(follows: bool, perhaps: bool) -> Rank {
    match (follows, perhaps) {
        (true, _) => Rank::Follows,
        (false, true) => Rank::Perhaps,
        (false, false) => Rank::Cause,
    }
}
