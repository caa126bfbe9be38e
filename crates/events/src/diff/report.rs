//! Makes the lines. Equal differences of several roles share a line, and differences that follow from others are only counted.

use super::access;
use super::compare::Comparison;
use super::difference::{Difference, Rank, Shares, State, Topic, is_absent};
use super::environment;
use super::label::{COMMAND, labels, name, times};
use super::left;
use super::lines::{DiffLine, DiffProgram, DiffReport, DiffRole, Status};
use super::rank::Facts;
use super::run::Gaps;
use super::slower;
use super::strings::StringTable;
use super::tree::Side;
use super::uses::Role;
use crate::event::names;
use crate::event::{Compared, compared};
use crate::limits;
use crate::text::command::shortened;
use crate::text::{counted, grouped};
use foldhash::HashMap;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// The least number of lines to show, if there are that many. Differences that may follow from others fill them up.
const LINES: usize = 4;

/// The most names in a line. Further ones are counted.
const NAMED: usize = 3;

/// The key by which differences share a line.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    /// The kind, the side that may have lost the events, and whether only one side has the subjects.
    Unknown(&'static str, Side, bool),
    Known {
        topic: Topic,
        subject: Option<u32>,
        states: [State; 2],
        /// The program, if only differences of one share a line.
        exe: Option<u32>,
        /// For a role that only one run has: the pair of its parent, and whether it is the cause.
        alone: Option<(usize, bool)>,
    },
}

/// Differences that share a line.
#[derive(Clone, Debug)]
struct Group {
    rank: Rank,
    /// The role of the line: the first one that nothing explains.
    first: Difference,
    pairs: Vec<usize>,
    /// The numbers of the subjects of all groups that were joined.
    subjects: Vec<u32>,
    sums: [u64; 2],
    members: usize,
}

impl Group {
    /// The order of the lines.
    fn class(&self) -> u8 {
        let row = self.first.topic.row();
        if is_merged(&self.first) { u8::MAX } else { row.class }
    }
}

/// Whether only the number of unknown differences of a kind is shown.
fn is_merged(one: &Difference) -> bool {
    one.unknown.is_some() && !matches!(one.topic, Topic::Unrecorded(_))
}

pub(super) struct Maker<'a> {
    pub(super) comparison: &'a Comparison<'a>,
    pub(super) strings: &'a StringTable,
    pub(super) facts: Vec<Facts>,
}

impl Maker<'_> {
    pub(super) fn report(
        &self,
        all: &[Difference],
        noise: &[Difference],
        directories: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> DiffReport {
        let mut groups = self.groups(all);
        // Stable: within a kind, in the order of the processes.
        groups.sort_by_key(|group| (group.rank, group.class()));
        let mut noise = self.groups(noise);
        noise.sort_by_key(Group::class);
        let slower = slower::slower(self.comparison);
        let pairs = groups.iter().chain(&noise).map(|group| group.first.pair).chain(slower.iter().copied());
        let (of, roles) = self.roles(pairs);
        let (mut lines, mut rest, mut follow) = (Vec::new(), Vec::new(), BTreeMap::new());
        let least = groups.first().map_or(Rank::Follows, |group| group.rank).min(Rank::Cause);
        let causes = groups.iter().filter(|group| group.rank <= Rank::Cause).count();
        let mut room = LINES.saturating_sub(causes);
        let nothing = groups.iter().all(|group| group.rank == Rank::Follows);
        for (group, mut line) in groups.iter().zip(self.lines(&groups, &of)) {
            let shown = match group.rank {
                Rank::First | Rank::Cause => true,
                // What all others follow from is not recorded.
                _ if nothing && lines.len() < LINES => true,
                Rank::Perhaps if room > 0 => {
                    room -= 1;
                    true
                }
                _ => false,
            };
            line.follows = !shown;
            line.cause = group.rank == least && line.status == Status::Different;
            if shown {
                lines.push(line);
            } else {
                *follow.entry(line.kind).or_default() += group.members;
                rest.push(line);
            }
        }
        let noise = self.lines(&noise, &of).into_iter().map(|line| DiffLine { status: Status::Noise, ..line });
        lines.extend(rest.into_iter().chain(noise).chain(self.slower(&slower, &of)));
        DiffReport { lines, roles, follow, directories }
    }

    fn lines(&self, groups: &[Group], of: &HashMap<usize, usize>) -> Vec<DiffLine> {
        let roles: Vec<&Role> = groups.iter().map(|group| self.comparison.role(&group.first)).collect();
        groups.iter().zip(labels(&roles, self.strings)).map(|(group, label)| self.line(group, label, of)).collect()
    }

    fn slower(&self, slower: &[usize], of: &HashMap<usize, usize>) -> Vec<DiffLine> {
        let nodes: Vec<&Role> = slower.iter().map(|pair| self.comparison.node(*pair, Side::A)).collect();
        let lines = slower.iter().zip(labels(&nodes, self.strings)).map(|(pair, process)| {
            let [a, b] = self.comparison.nodes(*pair);
            let (a, b) = (slower::text(a, b), slower::text(b, a));
            let how = in_both(&a, &b);
            let role = of[pair];
            DiffLine {
                kind: "slower",
                status: Status::Slower,
                process,
                role,
                roles: 1,
                a,
                b,
                how,
                ..DiffLine::default()
            }
        });
        lines.collect()
    }

    /// The roles of the pairs and their ancestors, and their places in that list by their pairs.
    fn roles(&self, shown: impl Iterator<Item = usize>) -> (HashMap<usize, usize>, Vec<DiffRole>) {
        let pairs = self.comparison.pairs;
        // The nodes of run A are numbered in the order of their first use, parents before their children.
        let mut wanted = BTreeSet::from([(0, 0)]);
        for mut at in shown {
            while wanted.insert((pairs[at].nodes[0], at)) {
                at = pairs[at].parent;
            }
        }
        let of: HashMap<usize, usize> = wanted.iter().zip(0..).map(|((_, pair), role)| (*pair, role)).collect();
        // The first one is no program.
        let nodes: Vec<&Role> = wanted.iter().skip(1).map(|(_, pair)| self.comparison.node(*pair, Side::A)).collect();
        let roles = wanted.iter().skip(1).zip(labels(&nodes, self.strings)).map(|((_, pair), process)| {
            let [a, b] = self.comparison.nodes(*pair).map(|node| self.program(node));
            DiffRole { parent: of[&pairs[*pair].parent], process, a, b }
        });
        let roles = std::iter::once(DiffRole::default()).chain(roles).collect();
        (of, roles)
    }

    fn program(&self, node: &Role) -> DiffProgram {
        let text = |id: u32| self.strings.get(id).to_vec();
        let argv = node.argv.iter().map(|word| text(*word)).collect();
        DiffProgram { exe: text(node.exe), argv, cwd: text(node.cwd), process: node.did.process }
    }

    fn groups(&self, all: &[Difference]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut index: HashMap<Key, usize> = HashMap::default();
        for one in all {
            // The exit of a process after that of a child belongs to the line of the child.
            if one.topic == Topic::Exit && self.facts[one.pair].exit_below && one.unknown.is_none() {
                continue;
            }
            let at = *index.entry(self.key(one)).or_insert_with(|| {
                let subjects = match one.topic {
                    _ if is_merged(one) => Vec::new(),
                    Topic::Argv => one.texts().map(|(word, _)| word).collect(),
                    _ => one.subject.into_iter().collect(),
                };
                let (rank, first) = (one.rank, one.clone());
                groups.push(Group { rank, first, pairs: Vec::new(), subjects, sums: [0; 2], members: 0 });
                groups.len() - 1
            });
            let group = &mut groups[at];
            if one.rank < group.rank {
                (group.rank, group.first) = (one.rank, one.clone());
            }
            group.pairs.push(one.pair);
            group.members += 1;
            group.sums.iter_mut().zip(&one.states).for_each(|(sum, state)| *sum += state.number());
        }
        join_files(groups)
    }

    fn key(&self, one: &Difference) -> Key {
        let row = one.topic.row();
        if let Some(side) = one.unknown.filter(|_| is_merged(one)) {
            return Key::Unknown(row.word, side, one.only().is_some());
        }
        let states = match row.shares {
            // Only which run has more.
            Shares::Sums => [State::Number((one.states[0] > one.states[1]).into()), State::Absent],
            // The number of directories may differ between roles.
            _ => one.states.each_ref().map(State::in_any_number),
        };
        let of_program = matches!(row.shares, Shares::Program | Shares::Sums);
        let exe = of_program.then(|| self.comparison.role(one).exe);
        let alone = one.alone.map(|alone| (alone.pair, one.rank == Rank::First));
        Key::Known { topic: one.topic, subject: one.subject, states, exe, alone }
    }

    fn line(&self, group: &Group, label: Vec<u8>, of: &HashMap<usize, usize>) -> DiffLine {
        let first = &group.first;
        let text = |id: &u32| self.strings.get(*id).to_vec();
        let mut line = DiffLine {
            kind: first.topic.row().word,
            status: if first.unknown.is_some() { Status::Unknown } else { Status::Different },
            only: first.only(),
            process: label,
            role: of[&first.pair],
            alone: first.alone.map(|_| self.program(self.comparison.role(first))),
            roles: group.pairs.len(),
            subject: group.subjects.iter().map(text).collect(),
            ..DiffLine::default()
        };
        match first.unknown {
            Some(side) => self.describe_unknown(group, side, &mut line),
            None => self.describe(group, &mut line),
        }
        line
    }

    fn describe(&self, group: &Group, line: &mut DiffLine) {
        let Group { first, sums, .. } = group;
        [line.a, line.b] = match first.topic.row().shares {
            Shares::Sums => sums.map(|sum| sum.to_string().into_bytes()),
            _ => Side::BOTH.map(|side| self.state(first, side)),
        };
        let side = first.only().map_or("both", Side::name);
        let short = |text: &[u8]| shortened(text, 2 * COMMAND);
        let counts = in_both(times(sums[0]).as_bytes(), times(sums[1]).as_bytes());
        let both = in_both(&line.a, &line.b);
        let files = self.files(&group.subjects);
        line.what = match first.topic {
            // These are in the sentence.
            Topic::Argv | Topic::Env => Vec::new(),
            Topic::Program => join(&[b"program ", &files]),
            _ => files,
        };
        if first.topic == Topic::Left {
            line.process.clear();
        }
        line.how = match first.topic {
            Topic::Argv => match first.states.each_ref().map(State::is_there) {
                [false, false] => b"arguments reordered".to_vec(),
                [false, true] => join(&[&short(&line.b), b" only in B"]),
                [true, false] => join(&[&short(&line.a), b" only in A"]),
                [true, true] => join(&[&short(&line.a), b" -> ", &short(&line.b)]),
            },
            Topic::Cwd => join(&[b"started in ", &line.a, b" in A, in ", &line.b, b" in B"]),
            Topic::Env => join(&[&line.subject.concat(), b": ", &in_both(&short(&line.a), &short(&line.b))]),
            Topic::User => join(&[b"user id ", &both]),
            Topic::Count => join(&[b"executed ", &counts]),
            Topic::Alone => {
                let did = if *sums == [0, 0] { "ended" } else { "executed" };
                let execs = sums[0] + sums[1];
                let with = if execs > group.pairs.len() as u64 {
                    format!(" ({} execs with their descendants)", grouped(execs))
                } else {
                    String::new()
                };
                format!("{did} only in {side}{with}").into_bytes()
            }
            Topic::Other(_) if !first.topic.is_result() => counts,
            Topic::Exit => join(&[&both, &self.reason(&group.pairs), &self.then(first.pair)]),
            Topic::Opened => format!("opened only in {side}").into_bytes(),
            Topic::Left if first.is_absent() => {
                let did = if first.only() == Some(Side::A) { &line.a } else { &line.b };
                join(&[did, format!(" only in {side}").as_bytes()])
            }
            _ => both,
        };
    }

    /// Describes differences that lost events may explain.
    fn describe_unknown(&self, group: &Group, side: Side, line: &mut DiffLine) {
        let first = &group.first;
        let kind = first.topic.row().word;
        if let Topic::Unrecorded(_) = first.topic {
            line.process.clear();
            line.what = format!("{kind} events: not recorded in {}", side.name()).into_bytes();
            return;
        }
        let few = if group.members == 1 { join(&[b", by ", &line.process]) } else { Vec::new() };
        let seen = first.only().map_or(String::new(), |_| format!(", seen only in {}", side.other().name()));
        let count = counted(group.members as u64, ["difference", "differences"]);
        let why = format!("{seen}: {} {}", side.name(), reason(self.comparison.gaps[side as usize]));
        line.what = join(&[format!("{count} of kind {kind}").as_bytes(), &few, why.as_bytes()]);
    }

    /// What one run has, as in a sentence.
    fn state(&self, one: &Difference, side: Side) -> Vec<u8> {
        let text = |id: u32| self.strings.get(id);
        let name = one.subject.unwrap_or_default();
        match (one.topic, one.state(side), one.state(side.other())) {
            (Topic::Env, State::Text(id), _) => environment::describe(name, *id, self.strings).to_vec(),
            (Topic::Env, ..) => b"not set".to_vec(),
            (Topic::Other(kind), State::Found, _) if let Compared::Results(word) = compared(kind) => word.into(),
            (_, State::Absent, _) => b"not tried".to_vec(),
            (Topic::Left, State::Used(left), _) => left::describe(*left),
            (_, State::Found, _) => b"found".to_vec(),
            (_, State::Text(id), _) => text(*id).to_vec(),
            (_, State::Number(number), _) => number.to_string().into_bytes(),
            (_, State::Used(this), State::Used(other)) => access::describe(*this, *other),
            (_, State::Used(this), _) => access::describe(*this, *this),
            (_, State::Words(words), _) => words.iter().map(|word| text(*word)).collect::<Vec<_>>().join(&b' '),
            (_, State::Failed { directories: 1, errno }, _) => error(*errno).into(),
            (_, State::Failed { directories, errno }, _) => {
                let none = format!("in none of {} directories", grouped((*directories).into()));
                let why = if is_absent(*errno) { String::new() } else { format!(" ({})", error(*errno)) };
                (none + &why).into_bytes()
            }
        }
    }

    /// Why the processes of these pairs failed: `: flexgen not found`.
    fn reason(&self, pairs: &[usize]) -> Vec<u8> {
        let of = |pair: &usize| {
            let [a, b] = self.comparison.nodes(*pair);
            b.did.reason.or(a.did.reason)
        };
        let same = pairs.first().and_then(of).filter(|reason| pairs.iter().all(|pair| of(pair) == Some(*reason)));
        same.map(|reason| [b": ", self.strings.get(reason)].concat()).unwrap_or_default()
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
            if self.facts[at].exit {
                names.push(name(self.comparison.node(at, Side::A), self.strings).to_vec());
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
    let mut index = HashMap::default();
    for group in groups {
        let first = &group.first;
        if first.topic.row().shares != Shares::Files || is_merged(first) {
            out.push(group);
            continue;
        }
        let states = first.states.each_ref().map(State::in_any_number);
        match index.entry((group.pairs.clone(), first.topic, states, group.rank)) {
            Entry::Occupied(at) => {
                let known: &mut Group = &mut out[*at.get()];
                known.subjects.extend(group.subjects);
                known.members += group.members;
            }
            Entry::Vacant(new) => {
                new.insert(out.len());
                out.push(group);
            }
        }
    }
    out
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

/// The name of an error.
fn error(errno: u8) -> &'static str {
    names::err(-i32::from(errno)).unwrap_or("failed")
}

fn in_both(a: &[u8], b: &[u8]) -> Vec<u8> {
    join(&[a, b" in A, ", b, b" in B"])
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
