//! Both runs as trees of roles with common string numbers, and the pairs of roles that correspond.

use super::environment::{Variables, merge, renumbered};
use super::left::Left;
use super::names::{Chance, alike, leaf, shape};
use super::run::Run;
use super::strings::StringTable;
use super::uses::{Role, RoleId, Roles, did};
use crate::limits;
use foldhash::{HashMap, HashSet};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Role>,
    /// The opened files, with the bits of all roles.
    pub(super) files: BTreeMap<u32, u8>,
    /// The files as the run left them.
    pub(super) left: BTreeMap<u32, Left>,
    pub(super) chance: Chance,
    /// The directory of the run, shown as `.`; empty for none.
    pub(super) root: Vec<u8>,
    /// The directories above that of the run, in comparable form.
    pub(super) above: Vec<Vec<u8>>,
}

/// Two roles that correspond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) nodes: [RoleId; 2],
    /// The pair of the parents, which comes earlier in the list. The first pair is its own parent.
    pub(super) parent: usize,
    pub(super) changed: bool,
}

/// One of the two runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub(super) const BOTH: [Side; 2] = [Side::A, Side::B];

    /// Its name in the lines.
    pub fn name(self) -> &'static str {
        ["A", "B"][self as usize]
    }

    /// The only side that has something.
    pub(super) fn only(has: [bool; 2]) -> Option<Side> {
        (has[0] != has[1]).then_some(if has[0] { Side::A } else { Side::B })
    }

    pub(super) fn other(self) -> Side {
        if self == Side::A { Side::B } else { Side::A }
    }

    /// What this side has and what the other has, as those of A and of B.
    pub(super) fn placed<T>(self, this: T, other: T) -> [T; 2] {
        if self == Side::A { [this, other] } else { [other, this] }
    }
}

/// A role without a counterpart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    pub(super) side: Side,
    pub(super) node: RoleId,
    pub(super) pair: usize,
}

impl Tree {
    /// The roles of a run, with the numbers of the common table. An empty one takes over the strings.
    pub(super) fn of(run: Run, strings: &mut StringTable) -> Tree {
        let all = 0..u32::try_from(run.strings.len()).unwrap_or(u32::MAX);
        let common: Vec<u32> = match strings.len() {
            0 => {
                *strings = run.strings;
                all.collect()
            }
            _ => all.map(|id| strings.id(run.strings.get(id))).collect(),
        };
        let common = |id: u32| common.get(id as usize).copied().unwrap_or_default();
        let mut environments: HashMap<Variables, Variables> = HashMap::default();
        let mut roles = Roles::default();
        let mut of_role: Vec<RoleId> = vec![0];
        for role in run.roles.all.into_iter().skip(1) {
            let parent = of_role[role.parent];
            let argv = role.argv.iter().map(|word| common(*word)).collect();
            let image = (role.forked, common(role.exe), common(role.cwd), argv);
            let id = roles.id(parent, image, role.did.process, role.did.orphan);
            // A process that was forked has the environment of its program.
            let inherited = roles.all[parent].env.clone().filter(|_| role.forked);
            let own = role.env.map(|env| {
                let new = environments.entry(env).or_insert_with_key(|env| renumbered(env, common));
                Arc::clone(new)
            });
            let node = &mut roles.all[id];
            node.env = match (node.env.take(), own.or(inherited)) {
                (Some(one), Some(other)) if one != other => Some(merge(&one, &other).into()),
                (one, other) => one.or(other),
            };
            node.did.add(role.did, common);
            of_role.push(id);
        }
        let left: BTreeMap<u32, Left> = run.left.0.into_iter().map(|(path, left)| (common(path), left)).collect();
        let (chance, mut files) = (Chance::new(run.pids), BTreeMap::new());
        for (path, did) in roles.all.iter().flat_map(|node| &node.did.opens) {
            *files.entry(*path).or_default() |= did.bits;
        }
        // Files that were written under another name, directories, and what was removed.
        for path in left.keys() {
            *files.entry(*path).or_default() |= did::WROTE;
        }
        let (root, above) = (run.names.root.clone(), run.names.above_root());
        Tree { nodes: roles.all, files, left, chance, root, above }
    }

    /// The bits of all uses of a file.
    pub(super) fn bits_of(&self, path: u32) -> u8 {
        self.files.get(&path).copied().unwrap_or_default()
    }

    /// Successful execs in a node and below it.
    pub(super) fn execs_below(&self, node: RoleId) -> u64 {
        self.below(node).map(|node| self.nodes[node].did.execs).sum()
    }

    /// Ends of processes in a node and below it, but for those of forked ones, whose number depends on the number of jobs.
    pub(super) fn exits_below(&self, node: RoleId) -> u64 {
        self.below(node).flat_map(|node| self.nodes[node].exits().into_values()).sum()
    }

    pub(super) fn below(&self, node: RoleId) -> impl Iterator<Item = RoleId> {
        let mut todo = vec![node];
        std::iter::from_fn(move || {
            let node = todo.pop()?;
            todo.extend(&self.nodes[node].children);
            Some(node)
        })
    }
}

/// Whether two texts differ only in process ids and random names.
pub(super) fn same_text([a, b]: [&Tree; 2], [one, other]: [u32; 2], strings: &StringTable) -> bool {
    one == other || alike((strings.get(one), &a.chance), (strings.get(other), &b.chance))
}

/// The same for two lists of texts.
pub(super) fn same_texts(trees: [&Tree; 2], [one, other]: [&[u32]; 2], strings: &StringTable) -> bool {
    let mut texts = one.iter().zip(other);
    one.len() == other.len() && texts.all(|(one, other)| same_text(trees, [*one, *other], strings))
}

/// Pairs the roles of two runs from the top down: first equal roles, then roles that differ in process ids and random names, then
/// those with the most arguments in common.
pub(super) fn pair(trees: &mut [Tree; 2], strings: &mut StringTable) -> (Vec<Pair>, Vec<Alone>) {
    let mut pairs = vec![Pair { nodes: [0; 2], parent: 0, changed: false }];
    let mut alone = Vec::new();
    let mut at = 0;
    while let Some(parent) = pairs.get(at).copied() {
        let children = |side: Side| trees[side as usize].nodes[parent.nodes[side as usize]].children.clone();
        let mut siblings = Siblings { trees: trees.each_ref(), free: Side::BOTH.map(children), found: Vec::new() };
        // The forked processes, whatever the arguments of their programs are.
        siblings.by(|node, _| node.forked.then_some(()), |_, _| true);
        siblings.by(|node, _| Some((node.forked, node.exe, node.cwd, &node.argv)), |_, _| true);
        siblings.alike(strings);
        siblings.changed(strings, at == 0);
        let Siblings { free, found, .. } = siblings;
        pairs.extend(found.into_iter().map(|(nodes, changed)| Pair { nodes, parent: at, changed }));
        for (side, nodes) in Side::BOTH.into_iter().zip(free) {
            alone.extend(nodes.into_iter().map(|node| Alone { side, node, pair: at }));
        }
        at += 1;
    }
    (pairs, alone)
}

/// The children of two nodes that correspond.
struct Siblings<'a> {
    trees: [&'a Tree; 2],
    /// The children without a counterpart so far.
    free: [Vec<RoleId>; 2],
    /// The pairs, and whether their arguments differ.
    found: Vec<([RoleId; 2], bool)>,
}

/// A child without a counterpart, and its arguments in order.
struct Candidate {
    node: RoleId,
    tokens: Vec<u32>,
}

impl<'a> Siblings<'a> {
    /// Pairs each child with the first one of the other side that has the same key and corresponds. Those without a key are left.
    fn by<K: Eq + Hash>(
        &mut self,
        key: impl Fn(&'a Role, &'a Tree) -> Option<K>,
        corresponds: impl Fn(&'a Role, &'a Role) -> bool,
    ) {
        if self.free.iter().any(Vec::is_empty) {
            return;
        }
        let [a, b] = self.trees;
        let mut known: HashMap<K, Vec<RoleId>> = HashMap::default();
        for node in self.free[1].iter().rev() {
            key(&b.nodes[*node], b).into_iter().for_each(|key| known.entry(key).or_default().push(*node));
        }
        let found = &mut self.found;
        self.free[0].retain(|node| {
            let one = &a.nodes[*node];
            let Some(others) = key(one, a).and_then(|key| known.get_mut(&key)) else { return true };
            let tried = others.len().saturating_sub(limits::DIFF_SIBLINGS);
            let at = others[tried..].iter().rposition(|other| corresponds(one, &b.nodes[*other]));
            let other = at.map(|at| others.remove(tried + at));
            found.extend(other.map(|other| ([*node, other], false)));
            other.is_none()
        });
        self.forget();
    }

    /// Pairs those that differ only in process ids and random names.
    fn alike(&mut self, strings: &StringTable) {
        let trees = self.trees;
        let same = |one: &Role, other: &Role| {
            same_text(trees, [one.exe, other.exe], strings) && same_texts(trees, [&one.argv, &other.argv], strings)
        };
        self.by(|node, tree| Some(shape_of(node, &tree.chance, strings)), same);
    }

    /// Removes the paired children.
    fn forget(&mut self) {
        for (side, free) in self.free.iter_mut().enumerate() {
            let found: HashSet<RoleId> = self.found.iter().map(|(nodes, _)| nodes[side]).collect();
            free.retain(|node| !found.contains(node));
        }
    }

    /// Pairs the children with the most arguments in common.
    fn changed(&mut self, strings: &mut StringTable, top: bool) {
        if self.free.iter().any(Vec::is_empty) {
            return;
        }
        let [a, b] = self.trees;
        let (left, right) = (candidates(a, &self.free[0], strings), candidates(b, &self.free[1], strings));
        let single = left.len() == 1 && right.len() == 1;
        let mut all = Vec::new();
        for (one, other) in near(&left, &right) {
            let (this, that) = (&a.nodes[one.node], &b.nodes[other.node]);
            let apart = apart(&one.tokens, &other.tokens);
            let same_program = leaf(strings.get(this.exe)) == leaf(strings.get(that.exe));
            if (apart <= 500 || single && (same_program || top)) && !this.forked && !that.forked {
                all.push((apart + usize::from(!same_program), [one.node, other.node]));
            }
        }
        all.sort_unstable();
        let mut paired: [HashSet<RoleId>; 2] = Default::default();
        for (_, nodes) in all {
            if nodes.iter().zip(&paired).all(|(node, paired)| !paired.contains(node)) {
                nodes.iter().zip(&mut paired).for_each(|(node, paired)| _ = paired.insert(*node));
                self.found.push((nodes, true));
            }
        }
        self.forget();
    }
}

fn candidates(tree: &Tree, list: &[RoleId], strings: &mut StringTable) -> Vec<Candidate> {
    let mut of = |node: &RoleId| {
        let mut tokens = tokens(&tree.nodes[*node], strings);
        tokens.sort_unstable();
        Candidate { node: *node, tokens }
    };
    list.iter().map(&mut of).collect()
}

/// The candidates that have a rare word in common. One that has none with any is compared with the first ones.
fn near<'c>(left: &'c [Candidate], right: &'c [Candidate]) -> Vec<(&'c Candidate, &'c Candidate)> {
    let mut holders: HashMap<u32, Vec<usize>> = HashMap::default();
    for (at, other) in right.iter().enumerate() {
        for token in other.tokens.chunk_by(|x, y| x == y).filter_map(<[u32]>::first) {
            holders.entry(*token).or_default().push(at);
        }
    }
    let mut pairs = Vec::new();
    for one in left {
        let holders = one.tokens.iter().filter_map(|token| holders.get(token));
        let rare = holders.filter(|at| at.len() <= limits::DIFF_SIBLINGS);
        let mut near: Vec<usize> = rare.flatten().copied().collect();
        if near.is_empty() {
            near = (0..right.len().min(limits::DIFF_SIBLINGS)).collect();
        }
        near.sort_unstable();
        near.dedup();
        pairs.extend(near.into_iter().map(|at| (one, &right[at])));
    }
    pairs
}

/// How much the arguments of two programs differ, in thousandths, so that a long command line does not count more than a short one.
fn apart(a: &[u32], b: &[u32]) -> usize {
    1000 - (1000 * 2 * common(a, b) / (a.len() + b.len()).max(1)).min(1000)
}

fn shape_of(node: &Role, chance: &Chance, strings: &StringTable) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [&node.exe].into_iter().chain(&*node.argv) {
        shape(strings.get(*word), chance, &mut out);
        out.push(0);
    }
    out
}

/// The words of the arguments; a command line in one argument is several.
pub(super) fn tokens(node: &Role, strings: &mut StringTable) -> Vec<u32> {
    let mut out = Vec::with_capacity(node.argv.len());
    for word in &*node.argv {
        let text = strings.get(*word);
        if text.iter().any(u8::is_ascii_whitespace) {
            let parts: Vec<Vec<u8>> =
                text.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect();
            out.extend(parts.iter().map(|part| strings.id(part)));
        } else {
            out.push(*word);
        }
    }
    out
}

/// The number of common elements of two sorted lists.
fn common(a: &[u32], b: &[u32]) -> usize {
    let (mut one, mut other, mut count) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(one), b.get(other)) {
        count += usize::from(x == y);
        one += usize::from(x <= y);
        other += usize::from(y <= x);
    }
    count
}
