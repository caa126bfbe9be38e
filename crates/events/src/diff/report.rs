//! The differences as lines. Equal differences of several roles share a line, and differences that follow from others are only
//! counted.

use super::access;
use super::compare::{Comparison, Difference, Outcome, Rank, What, exits};
use super::label::{COMMAND, labels, name, shortened};
use super::run::{Did, Gaps};
use super::search::{Place, is_absent};
use super::strings::StringTable;
use super::tree::{RoleNode, Side};
use crate::event::exit::{Ended, Exit};
use crate::event::names;
use crate::limits;
use crate::text::{Charset, counted, escaped, grouped, json};
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, HashMap};
use tracetui_shared::kind::Kind;
use tracetui_shared::record::exit::ExitRecord;

/// The least number of lines to show, if there are that many. Differences that may follow from others fill them up.
const LINES: usize = 4;

/// The most names in a line. Further ones are counted.
const NAMED: usize = 3;

/// Whether a difference is certain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Different,
    /// The events that one run lacks may have been lost.
    Unknown,
    /// The good runs differ in this too.
    Noise,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Different => "different",
            Status::Unknown => "unknown",
            Status::Noise => "noise",
        }
    }
}

/// A difference in one or more roles. All texts are bytes from outside, not escaped.
#[derive(Clone, Debug)]
pub struct DiffLine {
    /// `missing argv cwd user exec bpf tcp exit opened tried access`.
    pub kind: &'static str,
    pub status: Status,
    /// It follows from another difference.
    pub follows: bool,
    /// The first process: its program and main argument.
    pub process: Vec<u8>,
    pub exe: Vec<u8>,
    pub argv: Vec<Vec<u8>>,
    /// How many roles have this difference.
    pub roles: usize,
    /// Files, programs or arguments.
    pub subject: Vec<Vec<u8>>,
    pub a: Vec<u8>,
    pub b: Vec<u8>,
    /// The sentence, after the kind.
    pub text: Vec<u8>,
}

/// All differences between two runs.
#[derive(Debug, Default)]
pub struct DiffReport {
    /// The lines, the causes first.
    pub lines: Vec<DiffLine>,
    /// The lines about consequences of these differences.
    pub rest: Vec<DiffLine>,
    /// Differences that these are about, by kind.
    pub follow: BTreeMap<&'static str, usize>,
    /// The lines about differences that the good runs have too.
    pub noise: Vec<DiffLine>,
    /// Directories that were treated as equal, in addition to those of the runs.
    pub directories: Vec<(Vec<u8>, Vec<u8>)>,
}

impl DiffReport {
    pub fn equal(&self) -> bool {
        self.lines.is_empty() && self.rest.is_empty()
    }

    pub fn count(&self, status: Status) -> usize {
        self.lines.iter().chain(&self.rest).filter(|line| line.status == status).count()
    }

    /// The lines as text.
    pub fn text(&self, show: Show, charset: Charset) -> String {
        let mut out = String::new();
        for line in self.shown(show) {
            let kind = match line.status {
                Status::Different => line.kind,
                status => status.name(),
            };
            let follows = if line.follows { "  " } else { "" };
            out.push_str(&format!("{follows}{kind:8} {}\n", escaped(&line.text, charset.reversible())));
        }
        let sum: usize = self.follow.values().sum();
        if sum > 0 && !show.rest {
            let kinds: Vec<_> =
                self.follow.iter().map(|(kind, count)| format!("{} {kind}", grouped(*count as u64))).collect();
            let more = if sum == 1 { "difference" } else { "differences" };
            out.push_str(&format!(
                "{:8} {} more {more} may follow from these: {}\n",
                "follow",
                grouped(sum as u64),
                kinds.join(", ")
            ));
        }
        if !self.noise.is_empty() && !show.noise {
            let differences = counted(self.noise.len() as u64, ["difference", "differences"]);
            out.push_str(&format!("{:8} {differences} that the other runs A have too\n", "noise"));
        }
        out
    }

    fn shown(&self, show: Show) -> impl Iterator<Item = &DiffLine> {
        let rest = self.rest.iter().filter(move |_| show.rest);
        self.lines.iter().chain(rest).chain(self.noise.iter().filter(move |_| show.noise))
    }

    /// The lines as JSON objects.
    pub fn json(&self, show: Show) -> String {
        self.shown(show).map(DiffLine::json).collect()
    }
}

/// The lines to show in addition to those of the causes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Show {
    /// Differences that follow from others.
    pub rest: bool,
    /// Differences that the good runs have too.
    pub noise: bool,
}

impl DiffLine {
    fn json(&self) -> String {
        let text = |bytes: &[u8]| json::ascii(&String::from_utf8_lossy(bytes));
        let list = |list: &[Vec<u8>]| list.iter().map(|bytes| text(bytes)).collect::<Vec<_>>().join(",");
        format!(
            "{{\"kind\":\"{}\",\"status\":\"{}\",\"follows\":{},\"process\":{},\"exe\":{},\"argv\":[{}],\"roles\":{},\"subject\":[{}],\
             \"a\":{},\"b\":{},\"text\":{}}}\n",
            self.kind,
            self.status.name(),
            self.follows,
            text(&self.process),
            text(&self.exe),
            list(&self.argv),
            self.roles,
            list(&self.subject),
            text(&self.a),
            text(&self.b),
            text(&self.text),
        )
    }
}

/// The key by which differences share a line.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Key {
    Missing { path: u32, program: bool, a: Outcome, b: Outcome },
    Searched { name: u32, a: Place, b: Place },
    Argv { removed: Vec<u32>, added: Vec<u32> },
    Cwd { a: u32, b: u32 },
    User { a: u32, b: u32 },
    Count { exe: u32, more: Side },
    Alone { exe: u32, side: Side, pair: usize, first: bool },
    Bpf { what: u32, exe: u32, more: Side },
    Tcp { peer: u32, exe: u32, a: Outcome, b: Outcome },
    Exit { exe: u32, a: Vec<u8>, b: Vec<u8> },
    Opened { path: u32, a: Outcome, b: Outcome },
    Access { path: u32, a: Did, b: Did },
    Unrecorded { kind: Kind, side: Side },
    Unknown { kind: &'static str, side: Side },
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
        let mut report = DiffReport { directories, ..DiffReport::default() };
        let causes = groups.iter().filter(|group| group.rank <= Rank::Cause).count();
        let mut room = LINES.saturating_sub(causes);
        let roles: Vec<&RoleNode> = groups.iter().map(|group| self.role(group)).collect();
        let labels = labels(&roles, self.strings);
        report.noise = self.noise(noise);
        for (group, label) in groups.iter().zip(labels) {
            let shown = match group.rank {
                Rank::First | Rank::Cause => true,
                Rank::Perhaps if room > 0 => {
                    room -= 1;
                    true
                }
                _ => false,
            };
            let mut line = self.line(group, label);
            line.follows = !shown;
            if shown {
                report.lines.push(line);
            } else {
                *report.follow.entry(line.kind).or_default() += group.members;
                report.rest.push(line);
            }
        }
        report
    }

    fn noise(&self, noise: &[Difference]) -> Vec<DiffLine> {
        let mut groups = self.groups(noise);
        groups.sort_by_key(|group| class(&group.key));
        let roles: Vec<&RoleNode> = groups.iter().map(|group| self.role(group)).collect();
        let lines = groups.iter().zip(labels(&roles, self.strings)).map(|(group, label)| self.line(group, label));
        lines.map(|line| DiffLine { status: Status::Noise, ..line }).collect()
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
            return Key::Unknown { kind: word(&one.what), side };
        }
        let pair = self.comparison.pairs[one.pair];
        let (a, b) = self.nodes(one.pair);
        match &one.what {
            What::Missing { path, program, a, b } => Key::Missing { path: *path, program: *program, a: *a, b: *b },
            // The number of directories may differ between roles.
            What::Searched { name, a, b } => Key::Searched { name: *name, a: a.any_number(), b: b.any_number() },
            What::Argv { removed, added } => Key::Argv { removed: removed.clone(), added: added.clone() },
            What::User { a, b } => Key::User { a: *a, b: *b },
            What::Access { path, a, b } => Key::Access { path: *path, a: *a, b: *b },
            What::Cwd => Key::Cwd { a: a.cwd, b: b.cwd },
            What::Count { a: more, b: less } => {
                Key::Count { exe: a.exe, more: if more > less { Side::A } else { Side::B } }
            }
            What::Alone { side, node } => {
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
            What::Alone { side: Side::A, node } => (self.comparison.trees.0.execs_below(*node), 0),
            What::Alone { side: Side::B, node } => (0, self.comparison.trees.1.execs_below(*node)),
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
            What::Alone { side, node } => &self.comparison.tree(*side).nodes[*node],
            _ => self.nodes(group.first.pair).0,
        }
    }

    fn line(&self, group: &Group, label: Vec<u8>) -> DiffLine {
        let node = self.role(group);
        let mut line = DiffLine {
            kind: word(&group.first.what),
            status: if group.first.unknown.is_some() { Status::Unknown } else { Status::Different },
            follows: false,
            process: label,
            exe: self.strings.get(node.exe).to_vec(),
            argv: node.argv.iter().map(|word| self.strings.get(*word).to_vec()).collect(),
            roles: group.pairs.len(),
            subject: group.paths.iter().map(|path| self.strings.get(*path).to_vec()).collect(),
            a: Vec::new(),
            b: Vec::new(),
            text: Vec::new(),
        };
        self.describe(group, &mut line);
        line
    }

    fn describe(&self, group: &Group, line: &mut DiffLine) {
        let who = self.who(group, &line.process);
        let text = |id: &u32| self.strings.get(*id);
        match &group.key {
            Key::Missing { program, a, b, .. } => {
                (line.a, line.b) = (outcome(*a), outcome(*b));
                let program = if *program { "program " } else { "" };
                line.text = join(&[
                    program.as_bytes(),
                    &self.files(&group.paths),
                    b" by ",
                    &who,
                    b": ",
                    &line.a,
                    b" in A, ",
                    &line.b,
                    b" in B",
                ]);
            }
            Key::Searched { .. } => {
                if let What::Searched { a, b, .. } = group.first.what {
                    (line.a, line.b) = (self.place(a), self.place(b));
                }
                line.text =
                    join(&[&self.files(&group.paths), b" by ", &who, b": ", &line.a, b" in A, ", &line.b, b" in B"]);
            }
            Key::Argv { removed, added } => {
                let words =
                    |words: &[u32]| words.iter().map(|word| text(word).to_vec()).collect::<Vec<_>>().join(&b' ');
                (line.a, line.b) = (words(removed), words(added));
                line.subject = removed.iter().chain(added).map(|word| text(word).to_vec()).collect();
                let change = match (removed.is_empty(), added.is_empty()) {
                    (true, true) => b"arguments reordered".to_vec(),
                    (true, false) => join(&[&shortened(&line.b, 2 * COMMAND), b" only in B"]),
                    (false, true) => join(&[&shortened(&line.a, 2 * COMMAND), b" only in A"]),
                    (false, false) => {
                        join(&[&shortened(&line.a, 2 * COMMAND), b" -> ", &shortened(&line.b, 2 * COMMAND)])
                    }
                };
                line.text = join(&[&who, b": ", &change]);
            }
            Key::Cwd { a, b } => {
                (line.a, line.b) = (text(a).to_vec(), text(b).to_vec());
                line.text = join(&[&who, b": started in ", &line.a, b" in A, in ", &line.b, b" in B"]);
            }
            Key::User { a, b } => {
                (line.a, line.b) = (number(u64::from(*a)), number(u64::from(*b)));
                line.text = join(&[&who, b": user id ", &line.a, b" in A, ", &line.b, b" in B"]);
            }
            Key::Access { a, b, .. } => {
                (line.a, line.b) = (access::describe(*a, *b), access::describe(*b, *a));
                line.text =
                    join(&[&self.files(&group.paths), b" by ", &who, b": ", &line.a, b" in A, ", &line.b, b" in B"]);
            }
            Key::Count { .. } => {
                (line.a, line.b) = (number(group.sums.0), number(group.sums.1));
                line.text =
                    join(&[&who, b": executed ", &times(group.sums.0), b" in A, ", &times(group.sums.1), b" in B"]);
            }
            Key::Alone { side, .. } => {
                (line.a, line.b) = (number(group.sums.0), number(group.sums.1));
                let below = (group.sums.0 + group.sums.1).saturating_sub(group.pairs.len() as u64);
                let with = if below > 0 {
                    format!(" ({} execs with their descendants)", grouped(below + group.pairs.len() as u64))
                } else {
                    String::new()
                };
                line.text = join(&[&who, format!(": executed only in {}{with}", side.name()).as_bytes()]);
            }
            Key::Bpf { what, .. } => {
                line.subject = vec![text(what).to_vec()];
                (line.a, line.b) = (number(group.sums.0), number(group.sums.1));
                line.text = join(&[
                    text(what),
                    b" by ",
                    &who,
                    b": ",
                    &times(group.sums.0),
                    b" in A, ",
                    &times(group.sums.1),
                    b" in B",
                ]);
            }
            Key::Tcp { peer, a, b, .. } => {
                let word = |of: Outcome| if of == Outcome::Found { b"connected".to_vec() } else { outcome(of) };
                line.subject = vec![text(peer).to_vec()];
                (line.a, line.b) = (word(*a), word(*b));
                line.text = join(&[text(peer), b" by ", &who, b": ", &line.a, b" in A, ", &line.b, b" in B"]);
            }
            Key::Exit { a, b, .. } => {
                (line.a, line.b) = (a.clone(), b.clone());
                line.text = join(&[&who, b": ", a, b" in A, ", b, b" in B", &self.then(group.first.pair)]);
            }
            Key::Opened { a, b, .. } => self.describe_opened((*a, *b), group, &who, line),
            Key::Unrecorded { kind, side } => {
                line.kind = kind.name();
                (line.process, line.exe, line.argv) = Default::default();
                line.text = format!("{} events: not recorded in {}", kind.name(), side.name()).into_bytes();
            }
            Key::Unknown { kind, side } => {
                let seen = side.other();
                let few = if group.members == 1 { join(&[b", by ", &line.process]) } else { Vec::new() };
                let count = grouped(group.members as u64);
                let differences = if group.members == 1 { "difference" } else { "differences" };
                let gaps = if *side == Side::A { self.comparison.gaps.0 } else { self.comparison.gaps.1 };
                let sentence = format!(", seen only in {}: {} {}", seen.name(), side.name(), reason(gaps));
                let differences = format!("{count} {differences} of kind {kind}");
                line.text = join(&[differences.as_bytes(), &few, sentence.as_bytes()]);
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

    fn describe_opened(&self, (a, b): (Outcome, Outcome), group: &Group, who: &[u8], line: &mut DiffLine) {
        (line.a, line.b) = (outcome(a), outcome(b));
        let files = self.files(&group.paths);
        line.text = match (a, b) {
            (Outcome::Found, _) => join(&[&files, b" by ", who, b": opened only in A"]),
            (_, Outcome::Found) => join(&[&files, b" by ", who, b": opened only in B"]),
            (Outcome::Failed(_), _) => join(&[&files, b" by ", who, b": ", &line.a, b" in A, not tried in B"]),
            _ => join(&[&files, b" by ", who, b": not tried in A, ", &line.b, b" in B"]),
        };
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

    fn who(&self, group: &Group, process: &[u8]) -> Vec<u8> {
        match group.pairs.len() {
            0 | 1 => process.to_vec(),
            more => join(&[process, format!(" and {}", counted(more as u64 - 1, ["other", "others"])).as_bytes()]),
        }
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
        Key::Cwd { .. } | Key::User { .. } => 3,
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

/// The events that may have been lost, for the end of a sentence.
fn reason(gaps: &Gaps) -> String {
    let lost = gaps.sum();
    match (gaps.incomplete, gaps.full, lost) {
        (_, _, 1..) => format!("lost {}", counted(lost, ["event", "events"])),
        (true, _, _) => "is incomplete".into(),
        (_, true, _) => "exceeds --memory".into(),
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
        let exit = Exit { record: ExitRecord { status: *status, signal_flags: 0 } };
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

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
