//! Which differences may follow from others.

use super::compare::Comparison;
use super::difference::{Difference, Rank, State, Topic};
use super::strings::StringTable;
use super::tree::{Alone, Side, Tree};
use super::uses::{RoleId, did};
use foldhash::{HashMap, HashSet};
use std::collections::BTreeMap;

/// The facts about a pair that decide which differences follow from which.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    argv: bool,
    missing: bool,
    pub(super) exit: bool,
    /// The exit status of a descendant differs.
    pub(super) exit_below: bool,
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
    first: HashSet<usize>,
    /// Of what may be the reason.
    perhaps: HashSet<usize>,
}

impl Comparison<'_> {
    /// Decides which differences may follow from others. Returns the facts about the pairs.
    pub(super) fn rank(&self, strings: &StringTable, all: &mut [Difference]) -> Vec<Facts> {
        let facts = self.facts(all);
        let made = self.made_differently(&facts);
        let stops = self.stops(&facts, &made, all, strings);
        let of = |at: usize| facts.get(at).copied().unwrap_or_default();
        for (at, one) in all.iter_mut().enumerate() {
            let here = of(one.pair);
            let above = of(self.pairs[one.pair].parent);
            let is_made = |text: u32| made.contains(&text);
            let broken = here.argv || here.exit || here.missing;
            let near = here.changed || here.disturbed;
            let any = |is: fn(&Facts) -> bool| facts.iter().any(is);
            // Whether it follows from another difference, and whether it may do so.
            let (follows, perhaps) = match one.topic {
                _ if stops.perhaps.contains(&at) => (false, true),
                Topic::Program | Topic::File | Topic::Search if is_output(one, &made) => (true, false),
                Topic::Program | Topic::File if one.lacks().is_none() => (stops.explained[one.pair], false),
                Topic::Sought => (true, false),
                Topic::Elsewhere => {
                    (here.changed || here.exit || one.texts().any(|(file, _)| is_made(file)), here.disturbed)
                }
                Topic::Argv | Topic::Cwd if one.pair != 0 && above.changed => (true, false),
                // Programs pass on arguments in the environment.
                Topic::Env => (here.changed, false),
                Topic::User => (false, above.changed),
                Topic::Left => (any(|of| of.exit || of.missing), any(|of| of.changed || of.argv)),
                topic if topic.is_result() && one.is_absent() => {
                    (here.changed || here.exit || here.missing, here.disturbed)
                }
                Topic::Count => (here.argv || above.failing, here.changed || above.disturbed),
                Topic::Alone => (here.failing, near),
                Topic::Opened => (broken || one.subject.is_some_and(is_made), near),
                Topic::Tried => (broken || one.subject.is_some_and(is_made), true),
                _ => (false, false),
            };
            one.rank = match (follows, perhaps) {
                _ if stops.first.contains(&at) => Rank::First,
                (true, _) => Rank::Follows,
                (false, true) => Rank::Perhaps,
                (false, false) => Rank::Cause,
            };
        }
        facts
    }

    fn stops(&self, facts: &[Facts], made: &HashSet<u32>, all: &[Difference], strings: &StringTable) -> Stops {
        let mut below = vec![false; self.pairs.len()];
        for (at, pair) in self.pairs.iter().enumerate().skip(1).rev() {
            // A forked process is a part of its program.
            let forked = self.node(at, Side::A).forked;
            below[pair.parent] |= below[at] || facts[at].exit && !forked;
        }
        let side: Vec<_> =
            (0..below.len()).map(|at| self.fails_more(at).filter(|_| facts[at].exit && !below[at])).collect();
        let mut stops = Stops { explained: vec![false; side.len()], side, ..Stops::default() };
        self.missed(made, all, strings, &mut stops);
        self.not_reached(facts, all, strings, &mut stops);
        stops
    }

    /// Notes the files that a failed process looked for in vain.
    fn missed(&self, made: &HashSet<u32>, all: &[Difference], strings: &StringTable, stops: &mut Stops) {
        let certain = all.iter().enumerate().filter(|(_, one)| one.unknown.is_none());
        let stopped = certain.clone().filter_map(|(at, one)| Some((at, one, stops.side[one.pair]?)));
        // Of the names that only one run looked for, the process stopped at the last.
        let mut new: HashMap<usize, (usize, u32)> = HashMap::default();
        // After a failure, a program reads its own file, and looks for data about it.
        let mut continued = HashSet::default();
        let (mut first, mut perhaps, mut explained) = (Vec::new(), Vec::new(), Vec::new());
        for (at, one, side) in stopped {
            let Some(path) = one.subject else { continue };
            match one.topic {
                _ if is_output(one, made) => {}
                Topic::Sought => _ = new.insert(one.pair, (at, one.directories())),
                // The file that it found instead.
                Topic::Elsewhere => first.push(at),
                _ if one.lacks() == Some(side) => {
                    first.push(at);
                    explained.push(one.pair);
                }
                Topic::Opened if one.only() == Some(side) && strings.get(path).starts_with(b"./") => {
                    continued.insert(one.pair);
                }
                _ => {}
            }
        }
        explained.drain(..).for_each(|pair: usize| stops.explained[pair] = true);
        for (at, one) in certain {
            let (Some(name), Some((last, most))) = (one.subject, new.get(&one.pair)) else { continue };
            if one.topic != Topic::Sought || stops.explained[one.pair] {
                continue;
            }
            let directories = one.directories();
            let own = strings.get(name).starts_with(b"./") && !continued.contains(&one.pair);
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
    fn not_reached(&self, facts: &[Facts], all: &[Difference], strings: &StringTable, stops: &mut Stops) {
        let open = |at: usize, side: Side| {
            stops.side[at] == Some(side.other())
                && !stops.explained[at]
                && !facts[at].argv
                && !self.killed(at, side.other())
        };
        let mut continued = HashSet::default();
        let mut inputs: HashMap<usize, (bool, u32, usize)> = HashMap::default();
        let mut programs: HashMap<(usize, Side), (RoleId, usize)> = HashMap::default();
        let mut perhaps = Vec::new();
        for (at, one) in all.iter().enumerate().filter(|(_, one)| one.unknown.is_none()) {
            if let Some(Alone { side, node, .. }) = one.alone {
                let first = programs.entry((one.pair, side)).or_insert((node, at));
                *first = (node, at).min(*first);
                perhaps.extend(open(one.pair, side).then_some(at));
            }
            let (Some(side), Some(path)) = (one.only(), one.subject) else { continue };
            match one.topic {
                Topic::Opened if open(one.pair, side) => {
                    continued.insert(one.pair);
                    let bits = |side: Side| self.trees[side as usize].bits_of(path);
                    // An input that no process of the failed run has.
                    let is_input =
                        bits(side) & (did::WROTE | did::DIRECTORY) == 0 && bits(side.other()) & did::FOUND == 0;
                    if is_input {
                        let this = (!strings.get(path).starts_with(b"./"), path, at);
                        let first = inputs.entry(one.pair).or_insert(this);
                        *first = this.min(*first);
                    }
                }
                _ => {}
            }
        }
        let changes = self.first_changes(facts);
        let programs = programs.into_iter().filter(|((at, side), (node, _))| {
            open(*at, *side) && !continued.contains(at)
                || changes[*at].is_some_and(|first| *node < first[*side as usize])
        });
        let mut first: Vec<usize> = programs.map(|(_, (_, at))| at).collect();
        for (foreign, _, at) in inputs.into_values() {
            if foreign { perhaps.push(at) } else { first.push(at) }
        }
        stops.first.extend(first);
        stops.perhaps.extend(perhaps);
    }

    /// For each pair whose own arguments are equal, the first child whose arguments differ, if no child before it fails: an earlier
    /// program of one run may have changed them.
    fn first_changes(&self, facts: &[Facts]) -> Vec<Option<[RoleId; 2]>> {
        let mut first: Vec<Option<[RoleId; 2]>> = vec![None; facts.len()];
        let mut changed = vec![false; facts.len()];
        for (pair, fact) in self.pairs.iter().zip(facts).skip(1).filter(|(_, fact)| fact.argv || fact.exit) {
            let [a, b] = pair.nodes;
            let known = first[pair.parent].unwrap_or(pair.nodes);
            first[pair.parent] = Some([known[0].min(a), known[1].min(b)]);
            changed[pair.parent] |= fact.argv;
        }
        let keeps = |at: &usize| changed[*at] && !facts[*at].changed;
        (0..first.len()).map(|at| first[at].filter(|_| keeps(&at))).collect()
    }

    fn killed(&self, pair: usize, side: Side) -> bool {
        self.exits(pair, side).keys().any(|status| status & 0x7f != 0)
    }

    fn exits(&self, pair: usize, side: Side) -> &BTreeMap<u32, u64> {
        &self.node(pair, side).did.exits
    }

    /// The side on which more processes of a pair failed.
    pub(super) fn fails_more(&self, pair: usize) -> Option<Side> {
        let failed = |side: Side| {
            let failed = self.exits(pair, side).iter().filter(|(status, _)| **status != 0);
            failed.map(|(_, count)| *count).sum::<u64>()
        };
        let [a, b] = Side::BOTH.map(failed);
        Side::only([a > b, a < b])
    }

    fn facts(&self, all: &[Difference]) -> Vec<Facts> {
        let mut facts = vec![Facts::default(); self.pairs.len()];
        for difference in all {
            let fact = &mut facts[difference.pair];
            match difference.topic {
                Topic::Argv | Topic::Cwd => fact.argv = true,
                topic if topic.is_missing() => fact.missing = true,
                Topic::Exit => fact.exit = true,
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
            let Facts { exit, exit_below, disturbed, .. } = facts[at];
            let above = &mut facts[self.pairs[at].parent];
            above.disturbed |= disturbed;
            above.exit_below |= at > 0 && (exit || exit_below);
        }
        facts
    }

    /// The files written by processes that only one run has, or that failed or were started differently.
    fn made_differently(&self, facts: &[Facts]) -> HashSet<u32> {
        let mut made = HashSet::default();
        let mut add = |tree: &Tree, node: RoleId| {
            let wrote = tree.nodes[node].did.opens.iter().filter(|(_, did)| did.has(did::WROTE));
            made.extend(wrote.map(|(path, _)| *path));
        };
        for (fact, pair) in facts.iter().zip(self.pairs) {
            if fact.changed || fact.exit {
                self.trees.iter().zip(pair.nodes).for_each(|(tree, node)| add(tree, node));
            }
        }
        for alone in self.alone {
            let tree = self.trees[alone.side as usize];
            tree.below(alone.node).for_each(|node| add(tree, node));
        }
        made
    }
}

/// Whether a file that one run did not find was written by a process that failed or changed.
fn is_output(one: &Difference, made: &HashSet<u32>) -> bool {
    match one.topic {
        Topic::Program | Topic::File if one.states.iter().any(State::is_missing) => {
            one.subject.is_some_and(|path| made.contains(&path))
        }
        Topic::Search => one.texts().any(|(path, _)| made.contains(&path)),
        _ => false,
    }
}
