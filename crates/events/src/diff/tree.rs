//! Both runs as trees of roles with common string numbers, and the pairs of roles that correspond.

use super::environment::{Variables, merge};
use super::names::{Chance, alike, leaf, shape};
use super::run::{RoleImage, Run, RunRole, TOP};
use super::strings::StringTable;
use super::uses::{Activity, did};
use crate::limits;
use foldhash::{HashMap, HashSet};
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;

pub(super) type NodeId = usize;

/// A role, with the numbers of the common strings.
#[derive(Clone, Debug, Default)]
pub(super) struct RoleNode {
    pub(super) children: Vec<NodeId>,
    pub(super) exe: u32,
    pub(super) cwd: u32,
    pub(super) argv: Vec<u32>,
    pub(super) forked: bool,
    /// Its environment, and that of the program from which it was forked. `None` if it is not known.
    pub(super) env: Option<Variables>,
    pub(super) did: Activity,
}

#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<RoleNode>,
    pub(super) chance: Chance,
    /// The directory of the run, shown as `.`; empty for none.
    pub(super) root: Vec<u8>,
    /// The directories above that of the run, in comparable form.
    pub(super) above: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) a: NodeId,
    pub(super) b: NodeId,
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
    /// Its name in the lines.
    pub fn name(self) -> &'static str {
        match self {
            Side::A => "A",
            Side::B => "B",
        }
    }

    pub(super) fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }

    /// What this side has and what the other has, as those of A and of B.
    pub(super) fn placed<T>(self, this: T, other: T) -> (T, T) {
        match self {
            Side::A => (this, other),
            Side::B => (other, this),
        }
    }
}

/// A role without a counterpart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    pub(super) side: Side,
    pub(super) node: NodeId,
    pub(super) pair: usize,
    /// It starts a program that corresponds to one of the other run.
    pub(super) wraps: bool,
}

/// The corresponding working directories of the two runs, in addition to the first ones: those that only one run has, if their
/// subdirectories are the same.
pub(super) fn same_directories(a: &Run, b: &Run) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (here, there) = (directories(a), directories(b));
    let only = |these: &[&[u8]], those: &[&[u8]]| {
        let known: HashSet<&[u8]> = those.iter().copied().collect();
        these.iter().copied().filter(|dir| !known.contains(dir)).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let (only_a, only_b) = (only(&here, &there), only(&there, &here));
    let (tops_a, tops_b) = (tops(&only_a), tops(&only_b));
    let below = |dirs: &[Vec<u8>], top: &[u8]| {
        dirs.iter().filter_map(|dir| dir.strip_prefix(top).map(<[u8]>::to_vec)).collect::<HashSet<_>>()
    };
    let inside = |one: &[u8], other: &[u8]| one.strip_prefix(other).is_some_and(|rest| rest.starts_with(b"/"));
    let same = |(one, other): &(Vec<u8>, Vec<u8>)| {
        // A directory does not correspond to one inside it.
        if inside(one, other) || inside(other, one) {
            return false;
        }
        let (one, other) = (below(&only_a, one), below(&only_b, other));
        one.is_subset(&other) || other.is_subset(&one)
    };
    let pairs: Vec<_> = tops_a.iter().cloned().zip(tops_b.iter().cloned()).collect();
    if tops_a.len() == tops_b.len() && pairs.iter().all(same) { pairs } else { Vec::new() }
}

/// The working directories of the programs, without repetition.
fn directories(run: &Run) -> Vec<&[u8]> {
    let mut found = HashSet::default();
    let dirs = run.roles.iter().filter_map(|role| match role.image {
        RoleImage::Program { cwd, .. } if found.insert(cwd) => Some(run.strings.get(cwd)),
        _ => None,
    });
    dirs.filter(|dir| !dir.is_empty()).collect()
}

/// The directories that are not below another one.
fn tops(dirs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let known: HashSet<&[u8]> = dirs.iter().map(Vec::as_slice).collect();
    let slashes = |dir: &[u8]| (1..dir.len()).filter(|at| dir[*at] == b'/').collect::<Vec<_>>();
    let inside = |dir: &&Vec<u8>| slashes(dir).iter().any(|at| known.contains(&dir[..*at]));
    dirs.iter().filter(|dir| !inside(dir)).take(limits::DIFF_SIBLINGS).cloned().collect()
}

fn substitute(text: &[u8], dirs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+~@%#".contains(&byte) || byte >= 0x80;
    let mut out = Vec::with_capacity(text.len());
    let (mut at, mut token) = (0, 0);
    while let Some(byte) = text.get(at) {
        let starts = at == token || text.get(token) == Some(&b'-') && at > 0 && !b"/.".contains(&text[at - 1]);
        let ends = |end: usize| text.get(end).is_none_or(|byte| *byte == b'/' || !is_name(*byte));
        let found = dirs.iter().filter(|_| starts).find_map(|(to, from)| {
            // In arguments, `./sub` is also written `sub`.
            let short = |dir: &[u8]| dir.strip_prefix(b"./").map(<[u8]>::to_vec);
            let whole = text[at..].starts_with(from) && ends(at + from.len());
            let bare = short(from).filter(|bare| at == token && text[at..].starts_with(bare) && ends(at + bare.len()));
            match (whole, bare) {
                (true, _) => Some((from.len(), to.clone())),
                (false, Some(bare)) => Some((bare.len(), short(to).unwrap_or_else(|| to.clone()))),
                (false, None) => None,
            }
        });
        if let Some((length, to)) = found {
            out.extend_from_slice(&to);
            at += length;
            continue;
        }
        out.push(*byte);
        at += 1;
        if !is_name(*byte) && *byte != b'/' {
            token = at;
        }
    }
    out
}

/// The numbers of a run's strings in the common table, with `dirs` replaced. An empty common table takes over the strings.
fn renumbered(own: StringTable, dirs: &[(Vec<u8>, Vec<u8>)], strings: &mut StringTable) -> Vec<u32> {
    let all = 0..u32::try_from(own.len()).unwrap_or(u32::MAX);
    match (strings.len(), dirs) {
        (0, []) => {
            *strings = own;
            all.collect()
        }
        (_, []) => all.map(|id| strings.id(own.get(id))).collect(),
        _ => all.map(|id| strings.id(&substitute(own.get(id), dirs))).collect(),
    }
}

impl Tree {
    /// The roles of a run, with `dirs` replaced.
    pub(super) fn of(mut run: Run, dirs: &[(Vec<u8>, Vec<u8>)], strings: &mut StringTable) -> Tree {
        let common = renumbered(std::mem::take(&mut run.strings), dirs, strings);
        let common = |id: u32| common.get(id as usize).copied().unwrap_or_default();
        let environments = run.environments.renumbered(common);
        let mut nodes = vec![RoleNode::default()];
        let mut index: HashMap<(NodeId, bool, u32, u32, Vec<u32>), NodeId> = HashMap::default();
        let mut of_role: Vec<NodeId> = Vec::with_capacity(run.roles.len());
        for role in run.roles {
            let RunRole { parent, image, env, did } = role;
            let parent = if parent == TOP { 0 } else { of_role.get(parent as usize).copied().unwrap_or(0) };
            let (forked, exe, cwd, argv) = match image {
                RoleImage::Forked => (true, nodes[parent].exe, nodes[parent].cwd, nodes[parent].argv.clone()),
                RoleImage::Program { exe, argv, cwd } => {
                    let words = run.argvs.get(argv as usize).into_iter().flatten();
                    (false, common(exe), common(cwd), words.map(|word| common(*word)).collect())
                }
            };
            let id = *index.entry((parent, forked, exe, cwd, argv)).or_insert_with_key(|(_, _, _, _, argv)| {
                let did = Activity { process: did.process, orphan: did.orphan, ..Activity::default() };
                nodes.push(RoleNode { forked, exe, cwd, argv: argv.clone(), did, ..RoleNode::default() });
                nodes.len() - 1
            });
            if id == nodes.len() - 1 && !nodes[parent].children.ends_with(&[id]) {
                nodes[parent].children.push(id);
            }
            let above = nodes[parent].env.clone().filter(|_| forked);
            let node = &mut nodes[id];
            let env = env.and_then(|env| environments.get(env as usize)).or(above.as_ref());
            node.env = match (node.env.take(), env) {
                (Some(one), Some(other)) if one != *other => Some(merge(&one, other).into()),
                (one, other) => one.or_else(|| other.cloned()),
            };
            node.did.add(did, common);
            of_role.push(id);
        }
        nodes[0].did.left = run.left.into_list(common);
        let mut chance = Chance::new(run.pids);
        let above = run.names.above_root();
        for node in &mut nodes {
            let Activity { opens, tries, .. } = &mut node.did;
            opens.merge();
            tries.merge();
            let wrote = opens.settled.iter().filter(|(_, did)| did.has(did::WROTE));
            wrote.for_each(|(path, did)| chance.wrote(strings.get(*path), did.has(did::NEW)));
        }
        Tree { nodes, chance, root: run.names.root.to_vec(), above }
    }

    /// Successful execs in a node and below it.
    pub(super) fn execs_below(&self, node: NodeId) -> u64 {
        self.below(node).map(|node| self.nodes[node].did.execs).sum()
    }

    /// Ends of processes in a node and below it, but for those of forked ones, whose number depends on the number of jobs.
    pub(super) fn exits_below(&self, node: NodeId) -> u64 {
        self.below(node).flat_map(|node| self.nodes[node].exits().into_values()).sum()
    }

    pub(super) fn below(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        let mut todo = vec![node];
        std::iter::from_fn(move || {
            let node = todo.pop()?;
            todo.extend(&self.nodes[node].children);
            Some(node)
        })
    }
}

/// Pairs the roles of two runs from the top down: first equal roles, then roles that differ in process ids and random names, then
/// those with the most arguments in common. A program that only one run has may start the one that corresponds, as `timeout 60 make`
/// and a script named `gcc` do.
pub(super) fn pair(a: &mut Tree, b: &mut Tree, strings: &mut StringTable) -> (Vec<Pair>, Vec<Alone>) {
    let mut pairs = vec![Pair { a: 0, b: 0, parent: 0, changed: false }];
    let mut alone = Vec::new();
    let mut at = 0;
    while let Some(parent) = pairs.get(at).copied() {
        complete(a, parent.a, b, parent.b);
        complete(b, parent.b, a, parent.a);
        let mut siblings = Siblings {
            trees: (&*a, &*b),
            left: a.nodes[parent.a].children.clone(),
            right: b.nodes[parent.b].children.clone(),
            found: Vec::new(),
            lifted: Vec::new(),
            wrappers: HashSet::default(),
        };
        // The forked processes, whatever the arguments of their programs are.
        siblings.by(|node, _| node.forked.then_some(()), |_, _| true);
        siblings.by(|node, _| Some((node.forked, node.exe, node.cwd, &node.argv)), |_, _| true);
        // If one directory is unknown, or only the directory changed.
        siblings.by(|node, _| Some((node.forked, node.exe, &node.argv)), |_, _| true);
        siblings.alike(strings);
        siblings.changed(strings, at == 0);
        let Siblings { left, right, found, lifted, wrappers, .. } = siblings;
        pairs.extend(found.iter().map(|(a, b, changed)| Pair { a: *a, b: *b, parent: at, changed: *changed }));
        for (side, nodes) in [(Side::A, left), (Side::B, right)] {
            let of = |node: NodeId| Alone { side, node, pair: at, wraps: wrappers.contains(&(side, node)) };
            alone.extend(nodes.into_iter().map(of));
        }
        for (side, parent, child) in lifted {
            let tree = if side == Side::A { &mut *a } else { &mut *b };
            tree.nodes[parent].children.retain(|node| *node != child);
        }
        at += 1;
    }
    (pairs, alone)
}

/// The most programs that start another one in turn: `env`, `timeout` and `setpriv` in `setpriv … timeout 60 env A=1 make`.
const WRAPPERS: usize = 6;

/// The difference, in thousandths, that a program may have from one that is started by another.
const INNER: usize = 250;

/// Adds the forked processes that only the other side has. On this side, they all executed a program.
fn complete(tree: &mut Tree, node: NodeId, other: &Tree, like: NodeId) {
    let has = |tree: &Tree, node: NodeId| tree.nodes[node].children.iter().any(|child| tree.nodes[*child].forked);
    if has(other, like) && !has(tree, node) {
        let RoleNode { exe, cwd, ref argv, ref did, .. } = tree.nodes[node];
        let did = Activity { process: did.process, ..Activity::default() };
        tree.nodes.push(RoleNode { exe, cwd, argv: argv.clone(), did, forked: true, ..RoleNode::default() });
        let id = tree.nodes.len() - 1;
        tree.nodes[node].children.push(id);
    }
}

impl RoleNode {
    /// The exit statuses to compare. Depending on timing, a writer to a pipe gets SIGPIPE when the reader ends, so SIGPIPE counts as
    /// success. So does SIGTERM for a forked process, as in a pool of workers. The number of forked processes that ended successfully
    /// depends on the number of jobs.
    pub(super) fn exits(&self) -> BTreeMap<u32, u64> {
        const SIGPIPE: u32 = 13;
        const SIGTERM: u32 = 15;
        let mut sums = BTreeMap::new();
        for (status, count) in &self.did.exits {
            // A core dump depends on the limits of the machine.
            let status = if *status & 0x7f == 0 { *status } else { *status & 0x7f };
            let ended = status == SIGPIPE || status == (128 + SIGPIPE) << 8 || self.forked && status == SIGTERM;
            let status = if ended { 0 } else { status };
            if !(self.forked && status == 0) {
                *sums.entry(status).or_default() += count;
            }
        }
        sums
    }
}

/// The children of two nodes that correspond.
struct Siblings<'a> {
    trees: (&'a Tree, &'a Tree),
    /// The children without a counterpart so far.
    left: Vec<NodeId>,
    right: Vec<NodeId>,
    found: Vec<(NodeId, NodeId, bool)>,
    /// The programs that were paired although another one started them, and their parents.
    lifted: Vec<(Side, NodeId, NodeId)>,
    /// The children that started these.
    wrappers: HashSet<(Side, NodeId)>,
}

/// A child without a counterpart, or a program that it started.
struct Candidate {
    node: NodeId,
    /// The child, and further programs that started this one. Empty for the child.
    above: Vec<NodeId>,
    tokens: Vec<u32>,
}

impl Candidate {
    fn child(&self) -> NodeId {
        self.above.first().copied().unwrap_or(self.node)
    }
}

impl<'a> Siblings<'a> {
    /// Pairs each child with the first one of the other side that has the same key and corresponds. Those without a key are left.
    fn by<K: Eq + Hash>(
        &mut self,
        key: impl Fn(&'a RoleNode, &'a Tree) -> Option<K>,
        corresponds: impl Fn(&'a RoleNode, &'a RoleNode) -> bool,
    ) {
        if self.left.is_empty() || self.right.is_empty() {
            return;
        }
        let (a, b) = self.trees;
        let mut known: HashMap<K, Vec<NodeId>> = HashMap::default();
        for node in self.right.iter().rev() {
            key(&b.nodes[*node], b).into_iter().for_each(|key| known.entry(key).or_default().push(*node));
        }
        let found = &mut self.found;
        self.left.retain(|node| {
            let one = &a.nodes[*node];
            let Some(key) = key(one, a) else { return true };
            let Some(others) = known.get_mut(&key) else { return true };
            let tried = others.len().saturating_sub(limits::DIFF_SIBLINGS);
            let at = others[tried..].iter().rposition(|other| corresponds(one, &b.nodes[*other]));
            let other = at.map(|at| others.remove(tried + at));
            found.extend(other.map(|other| (*node, other, false)));
            other.is_none()
        });
        self.forget();
    }

    /// Pairs those that differ only in process ids and random names.
    fn alike(&mut self, strings: &StringTable) {
        let (a, b) = self.trees;
        let same_text = |one: &u32, other: &u32| {
            one == other || alike((strings.get(*one), &a.chance), (strings.get(*other), &b.chance))
        };
        let same = |one: &RoleNode, other: &RoleNode| {
            one.argv.len() == other.argv.len()
                && same_text(&one.exe, &other.exe)
                && one.argv.iter().zip(&other.argv).all(|(one, other)| same_text(one, other))
        };
        self.by(|node, tree| Some(shape_of(node, &tree.chance, strings)), same);
    }

    /// Removes the paired children from the right side.
    fn forget(&mut self) {
        let found: HashSet<NodeId> = self.found.iter().map(|(_, right, _)| *right).collect();
        self.right.retain(|node| !found.contains(node));
    }

    /// Pairs the children, and programs that they started, with the most arguments in common.
    fn changed(&mut self, strings: &mut StringTable, top: bool) {
        if self.left.is_empty() || self.right.is_empty() {
            return;
        }
        let (a, b) = self.trees;
        let (left, left_inner) = candidates(a, &self.left, strings);
        let (right, right_inner) = candidates(b, &self.right, strings);
        let single = left.len() == 1 && right.len() == 1;
        let mut all = Vec::new();
        for (left, right) in [(&left, &right), (&left, &right_inner), (&left_inner, &right)] {
            for (one, other) in near(left, right) {
                let (this, that) = (&a.nodes[one.node], &b.nodes[other.node]);
                let (apart, same_program) = apart((this, &one.tokens), (that, &other.tokens), strings);
                let is_child = one.above.is_empty() && other.above.is_empty();
                let enough = match is_child {
                    true => apart <= 500 || single && (same_program || top),
                    false => apart <= INNER && this.exe == that.exe,
                };
                if enough && !this.forked && !that.forked {
                    // What a script with the name of a program starts may be the program.
                    let script = if swapped(this, that, strings).is_some() { INNER } else { 0 };
                    all.push((apart + script + usize::from(!same_program), !is_child, one, other));
                }
            }
        }
        all.sort_unstable_by_key(|(apart, inner, one, other)| (*apart, *inner, one.node, other.node));
        let mut paired = [HashSet::default(), HashSet::default()];
        for (apart, is_inner, one, other) in all {
            let sides = [(Side::A, one), (Side::B, other)];
            let is_free = |(side, of): &(Side, &Candidate)| {
                let paired = &paired[*side as usize];
                let wraps = of.above.is_empty() && self.wrappers.contains(&(*side, of.node));
                !wraps && !paired.contains(&of.node) && !of.above.iter().any(|node| paired.contains(node))
            };
            if !sides.iter().all(is_free) {
                continue;
            }
            for (side, of) in sides {
                paired[side as usize].insert(of.node);
                if let Some(parent) = of.above.last() {
                    self.lifted.push((side, *parent, of.node));
                    self.wrappers.insert((side, of.child()));
                }
            }
            self.found.push((one.node, other.node, !is_inner || apart > 0));
        }
        self.left.retain(|node| !paired[0].contains(node));
        self.forget();
    }
}

/// The children with these numbers, and the programs that they started.
fn candidates(tree: &Tree, list: &[NodeId], strings: &mut StringTable) -> (Vec<Candidate>, Vec<Candidate>) {
    let mut of = |node: NodeId, above: Vec<NodeId>| {
        let mut tokens = tokens(&tree.nodes[node], strings);
        // The directory of a program is not an argument.
        if let Some(first) = tokens.first_mut() {
            let name = leaf(strings.get(*first)).to_vec();
            *first = strings.id(&name);
        }
        tokens.sort_unstable();
        Candidate { node, above, tokens }
    };
    let children: Vec<Candidate> = list.iter().map(|node| of(*node, Vec::new())).collect();
    let mut inner = Vec::new();
    for child in list {
        let mut todo = VecDeque::from([(*child, Vec::new())]);
        let mut room = limits::DIFF_SIBLINGS;
        while let Some((node, above)) = todo.pop_front().filter(|(_, above)| above.len() < WRAPPERS && room > 0) {
            let below = tree.nodes[node].children.iter().filter(|node| !tree.nodes[**node].forked).take(room);
            let above = [&above[..], &[node]].concat();
            for node in below {
                room -= 1;
                inner.push(of(*node, above.clone()));
                todo.push_back((*node, above.clone()));
            }
        }
    }
    (children, inner)
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

/// How much the arguments of two programs differ, in thousandths, so that a long command line does not count more than a short one,
/// and whether the programs have the same name.
fn apart(a: (&RoleNode, &[u32]), b: (&RoleNode, &[u32]), strings: &StringTable) -> (usize, bool) {
    let (mut total, mut shared) = (a.1.len() + b.1.len(), 2 * common(a.1, b.1));
    let swap = swapped(a.0, b.0, strings);
    if let Some((one, other)) = swap {
        // The name of the program is one word.
        total -= one + other;
        shared += 2;
    }
    let same = swap.is_some() || leaf(strings.get(a.0.exe)) == leaf(strings.get(b.0.exe));
    (1000 - (1000 * shared / total.max(1)).min(1000), same)
}

/// If one of two programs is a script with the name of the other, as in `/bin/sh /opt/gcc`: the place of the word in the arguments
/// that names the program, of both.
pub(super) fn swapped(a: &RoleNode, b: &RoleNode, strings: &StringTable) -> Option<(usize, usize)> {
    let named = |script: &RoleNode, program: &RoleNode| {
        let name = leaf(strings.get(*program.argv.first()?));
        let is_path = |word: &[u8]| word.contains(&b'/') && leaf(word) == name;
        (1..=2).find(|at| script.argv.get(*at).is_some_and(|word| is_path(strings.get(*word))))
    };
    let called = |node: &RoleNode| node.argv.first().map(|word| leaf(strings.get(*word)));
    if called(a) == called(b) {
        return None;
    }
    named(b, a).map(|at| (0, at)).or_else(|| named(a, b).map(|at| (at, 0)))
}

fn shape_of(node: &RoleNode, chance: &Chance, strings: &StringTable) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [&node.exe].into_iter().chain(&node.argv) {
        shape(strings.get(*word), chance, &mut out);
        out.push(0);
    }
    out
}

/// The words of the arguments; a command line in one argument is several.
pub(super) fn tokens(node: &RoleNode, strings: &mut StringTable) -> Vec<u32> {
    let mut out = Vec::with_capacity(node.argv.len());
    for word in &node.argv {
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
