//! Both runs as trees of roles with common string numbers, and the pairs of roles that correspond.

use super::environment::{Variables, merge};
use super::names::{Chance, alike, leaf, shape};
use super::run::Run;
use super::strings::StringTable;
use super::uses::{Activity, Files, Role, RoleId, Roles, did};
use crate::limits;
use foldhash::{HashMap, HashSet};
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Role>,
    environments: Vec<Variables>,
    /// The opened files, with the bits of all roles.
    pub(super) files: BTreeMap<u32, u8>,
    /// The files as the run left them.
    pub(super) left: Files,
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
    let programs = run.roles.all.iter().skip(1).filter(|role| !role.forked);
    let dirs = programs.filter(|role| found.insert(role.cwd)).map(|role| run.strings.get(role.cwd));
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
    pub(super) fn of(run: Run, dirs: &[(Vec<u8>, Vec<u8>)], strings: &mut StringTable) -> Tree {
        let common = renumbered(run.strings, dirs, strings);
        let common = |id: u32| common.get(id as usize).copied().unwrap_or_default();
        let mut environments = run.environments.renumbered(common);
        let mut roles = Roles::default();
        let mut of_role: Vec<RoleId> = vec![0];
        for role in run.roles.all.into_iter().skip(1) {
            let parent = of_role[role.parent];
            let argv = role.argv.iter().map(|word| common(*word)).collect();
            let image = (role.forked, common(role.exe), common(role.cwd), argv);
            let id = roles.id(parent, image, role.did.process, role.did.orphan);
            // A process that was forked has the environment of its program.
            let env = role.env.or(roles.all[parent].env.filter(|_| role.forked));
            let node = &mut roles.all[id];
            node.env = match (node.env, env) {
                (Some(one), Some(other)) if environments[one as usize] != environments[other as usize] => {
                    let both = merge(&environments[one as usize], &environments[other as usize]);
                    environments.push(both.into());
                    u32::try_from(environments.len() - 1).ok()
                }
                (one, other) => one.or(other),
            };
            node.did.add(role.did, common);
            of_role.push(id);
        }
        let left = run.left.0.into_iter().map(|(path, did)| (common(path), did)).collect();
        let (mut chance, mut files) = (Chance::new(run.pids), BTreeMap::new());
        for (path, did) in roles.all.iter().flat_map(|node| &node.did.opens) {
            *files.entry(*path).or_default() |= did.bits;
            if did.has(did::WROTE) {
                chance.wrote(strings.get(*path), did.has(did::NEW));
            }
        }
        let (root, above) = (run.names.root.clone(), run.names.above_root());
        Tree { nodes: roles.all, environments, files, left, chance, root, above }
    }

    /// The environment of a role.
    pub(super) fn environment(&self, node: RoleId) -> Option<&Variables> {
        self.environments.get(self.nodes[node].env? as usize)
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
/// those with the most arguments in common. A program that only one run has may start the one that corresponds, as `timeout 60 make`
/// and a script named `gcc` do.
pub(super) fn pair(trees: &mut [Tree; 2], strings: &mut StringTable) -> (Vec<Pair>, Vec<Alone>) {
    let mut pairs = vec![Pair { nodes: [0; 2], parent: 0, changed: false }];
    let mut alone = Vec::new();
    let mut at = 0;
    while let Some(parent) = pairs.get(at).copied() {
        complete(trees, parent.nodes);
        let children = |side: Side| trees[side as usize].nodes[parent.nodes[side as usize]].children.clone();
        let mut siblings = Siblings {
            trees: trees.each_ref(),
            free: Side::BOTH.map(children),
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
        let Siblings { free, found, lifted, wrappers, .. } = siblings;
        pairs.extend(found.into_iter().map(|(nodes, changed)| Pair { nodes, parent: at, changed }));
        for (side, nodes) in Side::BOTH.into_iter().zip(free) {
            let of = |node: RoleId| Alone { side, node, pair: at, wraps: wrappers.contains(&(side, node)) };
            alone.extend(nodes.into_iter().map(of));
        }
        for (side, parent, child) in lifted {
            trees[side as usize].nodes[parent].children.retain(|node| *node != child);
        }
        at += 1;
    }
    (pairs, alone)
}

/// The most programs that start another one in turn: `env`, `timeout` and `setpriv` in `setpriv … timeout 60 env A=1 make`.
const WRAPPERS: usize = 6;

/// The difference, in thousandths, that a program may have from one that is started by another.
const INNER: usize = 250;

/// Adds the forked processes that only one side has to the other: there, they all executed a program.
fn complete(trees: &mut [Tree; 2], pair: [RoleId; 2]) {
    let has = |side: Side| {
        let nodes = &trees[side as usize].nodes;
        nodes[pair[side as usize]].children.iter().any(|child| nodes[*child].forked)
    };
    let Some(side) = Side::only(Side::BOTH.map(has)).map(Side::other) else { return };
    let (nodes, parent) = (&mut trees[side as usize].nodes, pair[side as usize]);
    let Role { exe, cwd, ref argv, ref did, .. } = nodes[parent];
    let (argv, did) = (Arc::clone(argv), Activity { process: did.process, ..Activity::default() });
    let id = nodes.len();
    nodes[parent].children.push(id);
    nodes.push(Role { parent, exe, cwd, argv, did, forked: true, ..Role::default() });
}

/// The children of two nodes that correspond.
struct Siblings<'a> {
    trees: [&'a Tree; 2],
    /// The children without a counterpart so far.
    free: [Vec<RoleId>; 2],
    /// The pairs, and whether their arguments differ.
    found: Vec<([RoleId; 2], bool)>,
    /// The programs that were paired although another one started them, and their parents.
    lifted: Vec<(Side, RoleId, RoleId)>,
    /// The children that started these.
    wrappers: HashSet<(Side, RoleId)>,
}

/// A child without a counterpart, or a program that it started.
struct Candidate {
    node: RoleId,
    /// The child, and further programs that started this one. Empty for the child.
    above: Vec<RoleId>,
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

    /// Pairs the children, and programs that they started, with the most arguments in common.
    fn changed(&mut self, strings: &mut StringTable, top: bool) {
        if self.free.iter().any(Vec::is_empty) {
            return;
        }
        let [a, b] = self.trees;
        let (left, left_inner) = candidates(a, &self.free[0], strings);
        let (right, right_inner) = candidates(b, &self.free[1], strings);
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
                    let script = if swapped([this, that], strings).is_some() { INNER } else { 0 };
                    all.push((apart + script + usize::from(!same_program), !is_child, [one, other]));
                }
            }
        }
        all.sort_unstable_by_key(|(apart, inner, both)| (*apart, *inner, both.map(|of| of.node)));
        let mut paired: HashSet<(Side, RoleId)> = HashSet::default();
        for (apart, is_inner, both) in all {
            let is_free = |(side, of): (Side, &Candidate)| {
                let wraps = of.above.is_empty() && self.wrappers.contains(&(side, of.node));
                !wraps && !of.above.iter().chain([&of.node]).any(|node| paired.contains(&(side, *node)))
            };
            if !Side::BOTH.into_iter().zip(both).all(is_free) {
                continue;
            }
            for (side, of) in Side::BOTH.into_iter().zip(both) {
                paired.insert((side, of.node));
                if let (Some(child), Some(parent)) = (of.above.first(), of.above.last()) {
                    self.lifted.push((side, *parent, of.node));
                    self.wrappers.insert((side, *child));
                }
            }
            self.found.push((both.map(|of| of.node), !is_inner || apart > 0));
        }
        self.forget();
    }
}

/// The children with these numbers, and the programs that they started.
fn candidates(tree: &Tree, list: &[RoleId], strings: &mut StringTable) -> (Vec<Candidate>, Vec<Candidate>) {
    let mut of = |node: RoleId, above: Vec<RoleId>| {
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
fn apart(a: (&Role, &[u32]), b: (&Role, &[u32]), strings: &StringTable) -> (usize, bool) {
    let (mut total, mut shared) = (a.1.len() + b.1.len(), 2 * common(a.1, b.1));
    let swap = swapped([a.0, b.0], strings);
    if let Some(at) = swap {
        // The name of the program is one word.
        total -= at[0] + at[1];
        shared += 2;
    }
    let same = swap.is_some() || leaf(strings.get(a.0.exe)) == leaf(strings.get(b.0.exe));
    (1000 - (1000 * shared / total.max(1)).min(1000), same)
}

/// If one of two programs is a script with the name of the other, as in `/bin/sh /opt/gcc`: the place of the word in the arguments
/// that names the program, of both.
pub(super) fn swapped([a, b]: [&Role; 2], strings: &StringTable) -> Option<[usize; 2]> {
    let named = |script: &Role, program: &Role| {
        let name = leaf(strings.get(*program.argv.first()?));
        let is_path = |word: &[u8]| word.contains(&b'/') && leaf(word) == name;
        (1..=2).find(|at| script.argv.get(*at).is_some_and(|word| is_path(strings.get(*word))))
    };
    let called = |node: &Role| node.argv.first().map(|word| leaf(strings.get(*word)));
    if called(a) == called(b) {
        return None;
    }
    named(b, a).map(|at| [0, at]).or_else(|| named(a, b).map(|at| [at, 0]))
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
