//! Makes the lines. Equal differences of several roles share a line, and differences that follow from others are only counted.

use super::access;
use super::compare::{Comparison, Difference, Outcome, Rank, What, exits};
use super::environment;
use super::label::{COMMAND, labels, name, shortened};
use super::lines::{DiffLine, DiffProgram, DiffReport, DiffRole, Status, Which};
use super::run::Gaps;
use super::search::{Place, is_absent};
use super::slower;
use super::strings::StringTable;
use super::tree::{RoleNode, Side};
use super::uses::Did;
use crate::event::exit::{Ended, Exit};
use crate::event::names;
use crate::limits;
use crate::text::{counted, grouped};
use rustc_hash::FxHashMap;
use std::collections::{BTreeSet, HashMap};
use tracetui_shared::kind::Kind;

/// The least number of lines to show, if there are that many. Differences that may follow from others fill them up.
const LINES: usize = 4;

/// The most names in a line. Further ones are counted.
const NAMED: usize = 3;

/// The key by which differences share a line.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Key {
    Missing { path: u32, program: bool, a: Outcome, b: Outcome },
    Searched { name: u32, a: Place, b: Place },
    Argv { removed: Vec<u32>, added: Vec<u32> },
    Cwd { a: u32, b: u32 },
    User { a: u32, b: u32 },
    Env { name: u32, a: Option<u32>, b: Option<u32> },
    Count { exe: u32, more: Side },
    Alone { exe: u32, side: Side, pair: usize, first: bool },
    Bpf { what: u32, exe: u32, more: Side },
    Tcp { peer: u32, exe: u32, a: Outcome, b: Outcome },
    Exit { exe: u32, a: Vec<u8>, b: Vec<u8> },
    Opened { path: u32, a: Outcome, b: Outcome },
    Access { path: u32, a: Did, b: Did },
    Unrecorded { kind: Kind, side: Side },
    Unknown { kind: &'static str, side: Side, both: bool },
}

/// Differences that share a line.
#[derive(Clone, Debug)]
struct Group {
    key: Key,
    rank: Rank,
    /// The role of the line: the first one that nothing explains.
    first: Difference,
    pairs: Vec<usize>,
    /// The files of all groups that were joined.
    paths: Vec<u32>,
    sums: (u64, u64),
    members: usize,
}

pub(super) struct Maker<'a> {
    comparison: &'a Comparison<'a>,
    strings: &'a StringTable,
    /// The pairs with different exit statuses.
    exits: Vec<bool>,
    /// Pairs with such a pair below them.
    above_exit: Vec<bool>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(comparison: &'a Comparison<'a>, strings: &'a StringTable) -> Maker<'a> {
        Maker { comparison, strings, exits: Vec::new(), above_exit: Vec::new() }
    }

    pub(super) fn report(
        mut self,
        all: &[Difference],
        noise: &[Difference],
        directories: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> DiffReport {
        self.mark_exits(all);
        let mut groups = self.groups(all);
        // Stable: within a kind, in the order of the processes.
        groups.sort_by_key(|group| (group.rank, class(&group.key)));
        let mut noise = self.groups(noise);
        noise.sort_by_key(|group| class(&group.key));
        let Comparison { pairs, trees, gaps, .. } = *self.comparison;
        let slower = slower::slower(pairs, trees, gaps);
        let pairs = groups.iter().chain(&noise).map(|group| group.first.pair).chain(slower.iter().copied());
        let (of, listed) = self.roles(pairs);
        let mut report = DiffReport { directories, roles: listed, ..DiffReport::default() };
        let least = groups.first().map_or(Rank::Follows, |group| group.rank).min(Rank::Cause);
        let causes = groups.iter().filter(|group| group.rank <= Rank::Cause).count();
        let mut room = LINES.saturating_sub(causes);
        let nothing = groups.iter().all(|group| group.rank == Rank::Follows);
        let roles: Vec<&RoleNode> = groups.iter().map(|group| self.role(group)).collect();
        let labels = labels(&roles, self.strings);
        report.noise = self.noise(&noise, &of);
        report.slower = self.slower(&slower, &of);
        for (group, label) in groups.iter().zip(labels) {
            let shown = match group.rank {
                Rank::First | Rank::Cause => true,
                // What all others follow from is not recorded.
                _ if nothing && report.lines.len() < LINES => true,
                Rank::Perhaps if room > 0 => {
                    room -= 1;
                    true
                }
                _ => false,
            };
            let mut line = self.line(group, label, &of);
            line.follows = !shown;
            line.cause = group.rank == least && line.status == Status::Different;
            if shown {
                report.lines.push(line);
            } else {
                *report.follow.entry(line.kind).or_default() += group.members;
                report.rest.push(line);
            }
        }
        report
    }

    fn noise(&self, groups: &[Group], of: &FxHashMap<usize, usize>) -> Vec<DiffLine> {
        let roles: Vec<&RoleNode> = groups.iter().map(|group| self.role(group)).collect();
        let lines = groups.iter().zip(labels(&roles, self.strings)).map(|(group, label)| self.line(group, label, of));
        lines.map(|line| DiffLine { status: Status::Noise, ..line }).collect()
    }

    fn slower(&self, slower: &[usize], of: &FxHashMap<usize, usize>) -> Vec<DiffLine> {
        let roles: Vec<_> = slower.iter().map(|pair| self.nodes(*pair)).collect();
        let nodes: Vec<&RoleNode> = roles.iter().map(|(a, _)| *a).collect();
        let lines = slower.iter().zip(roles).zip(labels(&nodes, self.strings)).map(|((pair, (a, b)), process)| {
            let (a, b) = (slower::text(a, b), slower::text(b, a));
            let how = in_both(&a, &b);
            let role = of[pair];
            DiffLine { kind: "slower", status: Status::Slower, process, role, roles: 1, a, b, how, ..DiffLine::EMPTY }
        });
        lines.collect()
    }

    /// The roles of the pairs and their ancestors, and their places in that list by their pairs.
    fn roles(&self, shown: impl Iterator<Item = usize>) -> (FxHashMap<usize, usize>, Vec<DiffRole>) {
        let pairs = self.comparison.pairs;
        // The nodes of run A are numbered in the order of their first use, parents before their children.
        let mut wanted = BTreeSet::from([(0, 0)]);
        for mut at in shown {
            while wanted.insert((pairs[at].a, at)) {
                at = pairs[at].parent;
            }
        }
        let of: FxHashMap<usize, usize> = wanted.iter().zip(0..).map(|((_, pair), role)| (*pair, role)).collect();
        // The first one is no program.
        let nodes: Vec<&RoleNode> = wanted.iter().skip(1).map(|(_, pair)| self.nodes(*pair).0).collect();
        let roles = wanted.iter().skip(1).zip(labels(&nodes, self.strings)).map(|((_, pair), process)| {
            let (a, b) = self.nodes(*pair);
            DiffRole { parent: of[&pairs[*pair].parent], process, a: self.program(a), b: self.program(b) }
        });
        let roles = std::iter::once(DiffRole::default()).chain(roles).collect();
        (of, roles)
    }

    fn program(&self, node: &RoleNode) -> DiffProgram {
        let text = |id: u32| self.strings.get(id).to_vec();
        let argv = node.argv.iter().map(|word| text(*word)).collect();
        DiffProgram { exe: text(node.exe), argv, cwd: text(node.cwd), process: node.process }
    }

    fn mark_exits(&mut self, all: &[Difference]) {
        let pairs = self.comparison.pairs;
        (self.exits, self.above_exit) = (vec![false; pairs.len()], vec![false; pairs.len()]);
        all.iter().filter(|one| matches!(one.what, What::Exit)).for_each(|one| self.exits[one.pair] = true);
        for at in (1..pairs.len()).rev() {
            if self.exits[at] || self.above_exit[at] {
                self.above_exit[pairs[at].parent] = true;
            }
        }
    }

    fn groups(&self, all: &[Difference]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut index: HashMap<Key, usize> = HashMap::new();
        for one in all {
            // The exit of a process after that of a child belongs to the line of the child.
            if matches!(one.what, What::Exit) && self.above_exit[one.pair] && one.unknown.is_none() {
                continue;
            }
            let key = self.key(one);
            let at = *index.entry(key).or_insert_with_key(|key| {
                let paths = path_of(key).into_iter().collect();
                groups.push(Group {
                    key: key.clone(),
                    rank: one.rank,
                    first: one.clone(),
                    pairs: Vec::new(),
                    paths,
                    sums: (0, 0),
                    members: 0,
                });
                groups.len() - 1
            });
            let group = &mut groups[at];
            if one.rank < group.rank {
                (group.rank, group.first) = (one.rank, one.clone());
            }
            group.pairs.push(one.pair);
            group.members += 1;
            let (a, b) = self.sums(one);
            group.sums = (group.sums.0 + a, group.sums.1 + b);
        }
        join_files(groups)
    }

    fn key(&self, one: &Difference) -> Key {
        if let (Some(side), false) = (one.unknown, matches!(one.what, What::Unrecorded { .. })) {
            return Key::Unknown { kind: word(&one.what), side, both: which(&one.what) == Which::Both };
        }
        let pair = self.comparison.pairs[one.pair];
        let (a, b) = self.nodes(one.pair);
        match &one.what {
            What::Missing { path, program, a, b } => Key::Missing { path: *path, program: *program, a: *a, b: *b },
            // The number of directories may differ between roles.
            What::Searched { name, a, b } => Key::Searched { name: *name, a: a.any_number(), b: b.any_number() },
            What::Argv { removed, added } => Key::Argv { removed: removed.clone(), added: added.clone() },
            What::User { a, b } => Key::User { a: *a, b: *b },
            What::Env { name, a, b } => Key::Env { name: *name, a: *a, b: *b },
            What::Access { path, a, b } => Key::Access { path: *path, a: *a, b: *b },
            What::Cwd => Key::Cwd { a: a.cwd, b: b.cwd },
            What::Count { a: more, b: less } => {
                Key::Count { exe: a.exe, more: if more > less { Side::A } else { Side::B } }
            }
            What::Alone { side, node, .. } => {
                let exe = self.comparison.tree(*side).nodes[*node].exe;
                Key::Alone { exe, side: *side, pair: one.pair, first: one.rank == Rank::First }
            }
            What::Bpf { what, a: more, b: less } => {
                let more = if more > less { Side::A } else { Side::B };
                Key::Bpf { what: *what, exe: self.comparison.trees.0.nodes[pair.a].exe, more }
            }
            What::Tcp { peer, a: left, b: right } => Key::Tcp { peer: *peer, exe: a.exe, a: *left, b: *right },
            What::Exit => Key::Exit { exe: a.exe, a: statuses(a), b: statuses(b) },
            What::Opened { path, a, b } => Key::Opened { path: *path, a: *a, b: *b },
            What::Unrecorded { kind, side } => Key::Unrecorded { kind: *kind, side: *side },
        }
    }

    fn sums(&self, one: &Difference) -> (u64, u64) {
        match &one.what {
            What::Count { a, b } | What::Bpf { a, b, .. } => (*a, *b),
            What::Alone { side: Side::A, node, .. } => (self.comparison.trees.0.execs_below(*node), 0),
            What::Alone { side: Side::B, node, .. } => (0, self.comparison.trees.1.execs_below(*node)),
            _ => (0, 0),
        }
    }

    fn nodes(&self, pair: usize) -> (&RoleNode, &RoleNode) {
        let pair = self.comparison.pairs[pair];
        (&self.comparison.trees.0.nodes[pair.a], &self.comparison.trees.1.nodes[pair.b])
    }

    /// The role of a line.
    fn role(&self, group: &Group) -> &RoleNode {
        match &group.first.what {
            What::Alone { side, node, .. } => &self.comparison.tree(*side).nodes[*node],
            _ => self.nodes(group.first.pair).0,
        }
    }

    fn line(&self, group: &Group, label: Vec<u8>, of: &FxHashMap<usize, usize>) -> DiffLine {
        let alone = match &group.first.what {
            What::Alone { side, node, .. } => Some(self.program(&self.comparison.tree(*side).nodes[*node])),
            _ => None,
        };
        let mut line = DiffLine {
            kind: word(&group.first.what),
            status: if group.first.unknown.is_some() { Status::Unknown } else { Status::Different },
            which: which(&group.first.what),
            process: label,
            role: of[&group.first.pair],
            alone,
            roles: group.pairs.len(),
            subject: group.paths.iter().map(|path| self.strings.get(*path).to_vec()).collect(),
            ..DiffLine::EMPTY
        };
        self.describe(group, &mut line);
        line
    }

    fn describe(&self, group: &Group, line: &mut DiffLine) {
        let text = |id: &u32| self.strings.get(*id);
        match &group.key {
            Key::Missing { program, a, b, .. } => {
                (line.a, line.b) = (outcome(*a), outcome(*b));
                let program = if *program { "program " } else { "" };
                line.what = join(&[program.as_bytes(), &self.files(&group.paths)]);
                line.how = in_both(&line.a, &line.b);
            }
            Key::Searched { .. } => {
                if let What::Searched { a, b, .. } = group.first.what {
                    (line.a, line.b) = (self.place(a), self.place(b));
                }
                (line.what, line.how) = (self.files(&group.paths), in_both(&line.a, &line.b));
            }
            Key::Argv { removed, added } => {
                let words =
                    |words: &[u32]| words.iter().map(|word| text(word).to_vec()).collect::<Vec<_>>().join(&b' ');
                (line.a, line.b) = (words(removed), words(added));
                line.subject = removed.iter().chain(added).map(|word| text(word).to_vec()).collect();
                let short = |words: &[u8]| shortened(words, 2 * COMMAND);
                line.how = match (removed.is_empty(), added.is_empty()) {
                    (true, true) => b"arguments reordered".to_vec(),
                    (true, false) => join(&[&short(&line.b), b" only in B"]),
                    (false, true) => join(&[&short(&line.a), b" only in A"]),
                    (false, false) => join(&[&short(&line.a), b" -> ", &short(&line.b)]),
                };
            }
            Key::Cwd { a, b } => {
                (line.a, line.b) = (text(a).to_vec(), text(b).to_vec());
                line.how = join(&[b"started in ", &line.a, b" in A, in ", &line.b, b" in B"]);
            }
            Key::User { a, b } => {
                (line.a, line.b) = (number(u64::from(*a)), number(u64::from(*b)));
                line.how = join(&[b"user id ", &in_both(&line.a, &line.b)]);
            }
            Key::Env { name, a, b } => {
                let of = |text: &Option<u32>| environment::describe(*name, *text, self.strings);
                (line.a, line.b) = (of(a), of(b));
                line.subject = vec![text(name).to_vec()];
                let short = |value: &[u8]| shortened(value, 2 * COMMAND);
                line.how = join(&[text(name), b": ", &in_both(&short(&line.a), &short(&line.b))]);
            }
            Key::Access { a, b, .. } => {
                (line.a, line.b) = (access::describe(*a, *b), access::describe(*b, *a));
                (line.what, line.how) = (self.files(&group.paths), in_both(&line.a, &line.b));
            }
            Key::Count { .. } => {
                (line.a, line.b) = (number(group.sums.0), number(group.sums.1));
                line.how = join(&[b"executed ", &in_both(&times(group.sums.0), &times(group.sums.1))]);
            }
            Key::Alone { side, .. } => {
                (line.a, line.b) = (number(group.sums.0), number(group.sums.1));
                let below = (group.sums.0 + group.sums.1).saturating_sub(group.pairs.len() as u64);
                let with = if below > 0 {
                    format!(" ({} execs with their descendants)", grouped(below + group.pairs.len() as u64))
                } else {
                    String::new()
                };
                line.how = format!("executed only in {}{with}", side.name()).into_bytes();
            }
            Key::Bpf { what, .. } => {
                line.subject = vec![text(what).to_vec()];
                (line.a, line.b) = (number(group.sums.0), number(group.sums.1));
                line.what = text(what).to_vec();
                line.how = in_both(&times(group.sums.0), &times(group.sums.1));
            }
            Key::Tcp { peer, a, b, .. } => {
                let word = |of: Outcome| if of == Outcome::Found { b"connected".to_vec() } else { outcome(of) };
                line.subject = vec![text(peer).to_vec()];
                (line.a, line.b) = (word(*a), word(*b));
                (line.what, line.how) = (text(peer).to_vec(), in_both(&line.a, &line.b));
            }
            Key::Exit { a, b, .. } => {
                (line.a, line.b) = (a.clone(), b.clone());
                line.how = join(&[&in_both(a, b), &self.then(group.first.pair)]);
            }
            Key::Opened { a, b, .. } => {
                (line.a, line.b) = (outcome(*a), outcome(*b));
                line.what = self.files(&group.paths);
                line.how = match (a, b) {
                    (Outcome::Found, _) => b"opened only in A".to_vec(),
                    (_, Outcome::Found) => b"opened only in B".to_vec(),
                    (Outcome::Failed(_), _) => join(&[&line.a, b" in A, not tried in B"]),
                    _ => join(&[b"not tried in A, ", &line.b, b" in B"]),
                };
            }
            Key::Unrecorded { kind, side } => {
                line.kind = kind.name();
                line.process.clear();
                line.what = format!("{} events: not recorded in {}", kind.name(), side.name()).into_bytes();
            }
            Key::Unknown { kind, side, both } => {
                let seen = if *both { String::new() } else { format!(", seen only in {}", side.other().name()) };
                let few = if group.members == 1 { join(&[b", by ", &line.process]) } else { Vec::new() };
                let count = counted(group.members as u64, ["difference", "differences"]);
                let gaps = self.comparison.gaps(*side);
                let sentence = format!("{seen}: {} {}", side.name(), reason(gaps));
                let differences = format!("{count} of kind {kind}");
                line.what = join(&[differences.as_bytes(), &few, sentence.as_bytes()]);
            }
        }
    }

    fn place(&self, place: Place) -> Vec<u8> {
        match place {
            Place::Untried => outcome(Outcome::Untouched),
            Place::At(path) => self.strings.get(path).to_vec(),
            Place::Nowhere { directories: 1, errno } => outcome(Outcome::Failed(errno)),
            Place::Nowhere { directories, errno } => {
                let none = format!("in none of {} directories", grouped(u64::from(directories)));
                let why = outcome(Outcome::Failed(errno));
                let why = if is_absent(errno) { Vec::new() } else { join(&[b" (", &why, b")"]) };
                join(&[none.as_bytes(), &why])
            }
        }
    }

    /// The ancestors whose exit status differs too.
    fn then(&self, pair: usize) -> Vec<u8> {
        let pairs = self.comparison.pairs;
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = pair;
        // Limits the list to a readable length.
        for _ in 0..limits::DIFF_DEPTH {
            at = pairs[at].parent;
            if at == 0 {
                break;
            }
            if self.exits[at] {
                names.push(name(self.nodes(at).0, self.strings).to_vec());
            }
        }
        names.dedup();
        if names.is_empty() {
            return Vec::new();
        }
        let more = names.len().saturating_sub(2 * NAMED);
        let last = names.last().cloned().unwrap_or_default();
        names.truncate(2 * NAMED);
        if more > 0 {
            names.push(b"...".to_vec());
            names.push(last);
        }
        join(&[b"; then also ", &names.join(&b", "[..])])
    }

    fn files(&self, paths: &[u32]) -> Vec<u8> {
        let mut out =
            paths.iter().take(NAMED).map(|path| self.strings.get(*path).to_vec()).collect::<Vec<_>>().join(&b", "[..]);
        if paths.len() > NAMED {
            let more = counted((paths.len() - NAMED) as u64, ["more file", "more files"]);
            out.extend_from_slice(format!(" and {more}").as_bytes());
        }
        out
    }
}

/// Joins groups about the files of the same roles.
fn join_files(groups: Vec<Group>) -> Vec<Group> {
    let mut out: Vec<Group> = Vec::new();
    type Joined = (Vec<usize>, u8, (Outcome, Outcome), (Did, Did), Rank);
    let mut index: FxHashMap<Joined, usize> = FxHashMap::default();
    for group in groups {
        let unused = (Did::default(), Did::default());
        let (class, outcomes, uses) = match group.key {
            Key::Missing { program, a, b, .. } => (u8::from(program), (a, b), unused),
            Key::Opened { a, b, .. } => (2, (a, b), unused),
            Key::Access { a, b, .. } => (4, (Outcome::Found, Outcome::Found), (a, b)),
            // Alternatives of one name.
            Key::Searched { a: Place::Untried, b: Place::Nowhere { errno, .. }, .. } => {
                (3, (Outcome::Untouched, Outcome::Failed(errno)), unused)
            }
            Key::Searched { a: Place::Nowhere { errno, .. }, b: Place::Untried, .. } => {
                (3, (Outcome::Failed(errno), Outcome::Untouched), unused)
            }
            _ => {
                out.push(group);
                continue;
            }
        };
        match index.get(&(group.pairs.clone(), class, outcomes, uses, group.rank)) {
            Some(at) => {
                let known = &mut out[*at];
                known.paths.extend(group.paths);
                known.members += group.members;
            }
            None => {
                index.insert((group.pairs.clone(), class, outcomes, uses, group.rank), out.len());
                out.push(group);
            }
        }
    }
    out
}

fn path_of(key: &Key) -> Option<u32> {
    match key {
        Key::Missing { path, .. } | Key::Opened { path, .. } | Key::Searched { name: path, .. } => Some(*path),
        Key::Access { path, .. } => Some(*path),
        _ => None,
    }
}

/// The order of the lines: causes before what they cause.
fn class(key: &Key) -> u8 {
    match key {
        Key::Missing { program: true, .. } => 0,
        Key::Searched { a: Place::At(_), b: Place::At(_), .. } => 8,
        Key::Missing { .. } | Key::Searched { .. } => 1,
        Key::Argv { .. } => 2,
        Key::Cwd { .. } | Key::User { .. } | Key::Env { .. } => 3,
        Key::Count { .. } | Key::Alone { .. } => 4,
        Key::Bpf { .. } => 5,
        Key::Tcp { .. } => 6,
        Key::Exit { .. } => 7,
        Key::Opened { .. } | Key::Access { .. } => 8,
        Key::Unrecorded { .. } => 9,
        Key::Unknown { .. } => 10,
    }
}

pub(super) fn word(what: &What) -> &'static str {
    match what {
        What::Searched { a: Place::At(_), b: Place::At(_), .. } => "opened",
        What::Missing { .. } | What::Searched { .. } => "missing",
        What::Argv { .. } => "argv",
        What::Cwd => "cwd",
        What::User { .. } => "user",
        What::Env { .. } => "env",
        What::Access { .. } => "access",
        What::Count { .. } | What::Alone { .. } => "exec",
        What::Bpf { .. } => "bpf",
        What::Tcp { .. } => "tcp",
        What::Exit => "exit",
        What::Opened { a: Outcome::Failed(_), .. } | What::Opened { b: Outcome::Failed(_), .. } => "tried",
        What::Opened { .. } => "opened",
        What::Unrecorded { kind, .. } => kind.name(),
    }
}

/// Which run has what a difference is about.
fn which(what: &What) -> Which {
    let found = |outcome: Outcome| outcome == Outcome::Found;
    let (a, b) = match what {
        What::Missing { a, b, .. } | What::Tcp { a, b, .. } if found(*a) || found(*b) => (found(*a), found(*b)),
        What::Searched { a: Place::At(_), b: Place::At(_), .. } => (true, true),
        What::Searched { a: Place::At(_), .. } => (true, false),
        What::Searched { b: Place::At(_), .. } => (false, true),
        What::Missing { a, b, .. } | What::Tcp { a, b, .. } | What::Opened { a, b, .. } => {
            (*a != Outcome::Untouched, *b != Outcome::Untouched)
        }
        What::Searched { a, b, .. } => (*a != Place::Untried, *b != Place::Untried),
        What::Argv { removed, added } => (!removed.is_empty(), !added.is_empty()),
        What::Count { a, b } | What::Bpf { a, b, .. } => (*a > 0, *b > 0),
        What::Alone { side, .. } => (*side == Side::A, *side == Side::B),
        What::Unrecorded { side, .. } => (*side == Side::B, *side == Side::A),
        What::Env { a, b, .. } => (a.is_some(), b.is_some()),
        What::Cwd | What::User { .. } | What::Access { .. } | What::Exit => (true, true),
    };
    match (a, b) {
        (true, false) => Which::OnlyA,
        (false, true) => Which::OnlyB,
        _ => Which::Both,
    }
}

/// The events that may have been lost, for the end of a sentence.
fn reason(gaps: &Gaps) -> String {
    let lost = gaps.sum();
    match gaps {
        _ if lost > 0 => format!("lost {}", counted(lost, ["event", "events"])),
        Gaps { incomplete: true, .. } => "is incomplete".into(),
        Gaps { full: true, .. } => "does not fit in memory".into(),
        Gaps { running: true, .. } => "is still running".into(),
        _ => "may lack events".into(),
    }
}

fn outcome(outcome: Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Untouched => b"not tried".to_vec(),
        Outcome::Found => b"found".to_vec(),
        Outcome::Failed(errno) => names::err(-i32::from(errno)).unwrap_or("failed").into(),
    }
}

/// Exit statuses: `0`, or with counts `0 (4 times), 1 (1 time)`.
fn statuses(node: &RoleNode) -> Vec<u8> {
    let sums = exits(&node.exits, node.forked);
    if sums.is_empty() {
        return if node.forked { b"0".to_vec() } else { b"none".to_vec() };
    }
    let single = sums.len() == 1;
    let each = sums.iter().map(|(status, count)| {
        let exit = Exit::of_status(*status);
        let name = match exit.ended() {
            Ended::Code(127) => "127 (command not found)".to_owned(),
            Ended::Code(126) => "126 (cannot execute)".to_owned(),
            Ended::Code(code) => code.to_string(),
            Ended::Signal(signal) => names::signal(signal).map_or_else(|| format!("signal {signal}"), str::to_owned),
        };
        if single { name } else { format!("{name} ({})", String::from_utf8_lossy(&times(*count))) }
    });
    each.collect::<Vec<_>>().join(" and ").into_bytes()
}

fn number(count: u64) -> Vec<u8> {
    count.to_string().into_bytes()
}

fn times(count: u64) -> Vec<u8> {
    match count {
        0 => b"never".to_vec(),
        1 => b"once".to_vec(),
        count => format!("{} times", grouped(count)).into_bytes(),
    }
}

fn in_both(a: &[u8], b: &[u8]) -> Vec<u8> {
    join(&[a, b" in A, ", b, b" in B"])
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
