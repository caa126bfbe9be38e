//! Makes the lines. Equal differences of several roles share a line, and differences that follow from others are only counted.

use super::compare::Comparison;
use super::difference::{Difference, Rank, Shares, State, Topic, is_absent};
use super::environment;
use super::label::{COMMAND, label, name, times};
use super::lines::{DiffLine, DiffProgram, DiffReport, Status};
use super::rank::Facts;
use super::run::Gaps;
use super::slower;
use super::strings::StringTable;
use super::tree::Side;
use super::uses::{Role, RoleId};
use crate::event::names;
use crate::event::{Compared, compared};
use crate::limits;
use crate::text::command::shortened;
use crate::text::{counted, grouped};
use foldhash::HashMap;
use std::collections::{BTreeMap, BTreeSet};

/// The least number of lines to show, if there are that many. Differences that may follow from others fill them up.
const LINES: usize = 4;

/// The most names in a line. Further ones are counted.
const NAMED: usize = 3;

/// The key by which differences share a line.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    /// The kind, the side that may have lost the events, and the side that alone has the subjects.
    Unknown(&'static str, Side, Option<Side>),
    Known {
        topic: Topic,
        rank: Rank,
        states: [State; 2],
        /// `None` if all subjects share a line.
        subject: Option<u32>,
        /// The program, if only differences of one share a line.
        exe: Option<u32>,
        /// For a role that only one run has: the pair of its parent.
        parent: Option<usize>,
    },
}

/// Differences that share a line.
struct Group {
    first: Difference,
    /// The roles: their pairs, or for a role that only one run has, that of the parent and the role.
    roles: BTreeSet<(usize, Option<RoleId>)>,
    subjects: Vec<u32>,
    sums: [u64; 2],
    members: usize,
}

impl Group {
    /// The order of the lines.
    fn class(&self) -> u8 {
        if is_merged(&self.first) { u8::MAX } else { self.first.topic.row().class }
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
    pub(super) fn report(&self, all: &[Difference], noise: &[Difference]) -> DiffReport {
        let mut groups = self.groups(all);
        // Stable: within a kind, in the order of the processes.
        groups.sort_by_key(|group| (group.first.rank, group.class()));
        let mut noise = self.groups(noise);
        noise.sort_by_key(Group::class);
        let (mut lines, mut rest, mut follow) = (Vec::new(), Vec::new(), BTreeMap::new());
        let least = groups.first().map_or(Rank::Follows, |group| group.first.rank).min(Rank::Cause);
        // What all others follow from may not be recorded.
        let nothing = groups.iter().all(|group| group.first.rank == Rank::Follows);
        for group in &groups {
            let mut line = self.line(group);
            let shown = match group.first.rank {
                Rank::First | Rank::Cause => true,
                Rank::Perhaps => lines.len() < LINES,
                Rank::Follows => nothing && lines.len() < LINES,
            };
            line.follows = !shown;
            line.cause = group.first.rank == least && line.status == Status::Different;
            if shown {
                lines.push(line);
            } else {
                *follow.entry(line.kind).or_default() += group.members;
                rest.push(line);
            }
        }
        let noise = noise.iter().map(|group| DiffLine { status: Status::Noise, ..self.line(group) });
        let slower = slower::slower(self.comparison).into_iter().map(|pair| self.slower(pair));
        lines.extend(rest.into_iter().chain(noise).chain(slower));
        DiffReport { lines, follow }
    }

    fn slower(&self, pair: usize) -> DiffLine {
        let [one, other] = self.comparison.nodes(pair);
        let (a, b) = (slower::text(one, other), slower::text(other, one));
        let process = label(one, self.strings);
        let text = join(&[&process, b": ", &in_both(&a, &b)]);
        let programs = [one, other].map(|node| self.program(node));
        let line = DiffLine { kind: "slower", status: Status::Slower, roles: 1, ..DiffLine::default() };
        DiffLine { process, programs, pid: other.did.process, a, b, text, ..line }
    }

    fn program(&self, node: &Role) -> DiffProgram {
        let text = |id: u32| self.strings.get(id).to_vec();
        DiffProgram {
            exe: text(node.exe),
            argv: node.argv.iter().map(|word| text(*word)).collect(),
            cwd: text(node.cwd),
        }
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
                let (roles, subjects) = (BTreeSet::new(), Vec::new());
                groups.push(Group { first: one.clone(), roles, subjects, sums: [0; 2], members: 0 });
                groups.len() - 1
            });
            let group = &mut groups[at];
            group.roles.insert((one.pair, one.alone.map(|alone| alone.node)));
            group.members += 1;
            group.sums.iter_mut().zip(&one.states).for_each(|(sum, state)| *sum += state.number());
            group.subjects.extend(one.subject.filter(|_| !is_merged(one)));
        }
        for group in &mut groups {
            group.subjects.sort_unstable();
            group.subjects.dedup();
        }
        groups
    }

    fn key(&self, one: &Difference) -> Key {
        let row = one.topic.row();
        if let Some(side) = one.unknown.filter(|_| is_merged(one)) {
            return Key::Unknown(row.word, side, one.only());
        }
        let states = match row.shares {
            // Only which run has more.
            Shares::Sums => [State::Number((one.states[0] > one.states[1]).into()), State::Absent],
            // The number of directories may differ between roles.
            _ => one.states.each_ref().map(State::in_any_number),
        };
        let exe = (row.shares != Shares::Equal).then(|| self.comparison.role(one).exe);
        let subject = one.subject.filter(|_| row.shares != Shares::Files);
        let parent = one.alone.map(|alone| alone.pair);
        Key::Known { topic: one.topic, rank: one.rank, states, subject, exe, parent }
    }

    fn line(&self, group: &Group) -> DiffLine {
        let first = &group.first;
        let text = |id: &u32| self.strings.get(*id).to_vec();
        let role = self.comparison.role(first);
        let of_all = first.pair == 0 && first.alone.is_none();
        let nodes = self.comparison.nodes(first.pair);
        let programs = Side::BOTH.map(|side| match first.alone {
            _ if of_all => DiffProgram::default(),
            None => self.program(nodes[side as usize]),
            Some(alone) if alone.side == side => self.program(role),
            Some(_) => DiffProgram::default(),
        });
        let pid = if first.only() == Some(Side::B) && first.alone.is_some() { role } else { nodes[1] }.did.process;
        let mut line = DiffLine {
            kind: first.topic.row().word,
            status: if first.unknown.is_some() { Status::Unknown } else { Status::Different },
            only: first.only(),
            process: if of_all { Vec::new() } else { label(role, self.strings) },
            programs,
            pid,
            roles: group.roles.len(),
            subject: match first.topic {
                Topic::Argv if !is_merged(first) => first.texts().map(|(word, _)| text(&word)).collect(),
                _ => group.subjects.iter().map(text).collect(),
            },
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
        let how = match first.topic {
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
                let with = if execs > group.roles.len() as u64 {
                    format!(" ({} execs with their descendants)", grouped(execs))
                } else {
                    String::new()
                };
                format!("{did} only in {side}{with}").into_bytes()
            }
            Topic::Other(_) if !first.topic.is_result() => counts,
            Topic::Exit => join(&[&both, &self.then(first.pair)]),
            Topic::Opened => format!("opened only in {side}").into_bytes(),
            Topic::Left if first.is_absent() => {
                let did = if first.only() == Some(Side::A) { &line.a } else { &line.b };
                join(&[did, format!(" only in {side}").as_bytes()])
            }
            _ => both,
        };
        let others = match line.roles {
            0 | 1 => String::new(),
            more => format!(" and {}", counted(more as u64 - 1, ["other", "others"])),
        };
        let process = join(&[&line.process, others.as_bytes()]);
        let files = self.files(&group.subjects);
        line.text = match first.topic {
            _ if group.subjects.is_empty() || first.topic == Topic::Env => join(&[&process, b": ", &how]),
            _ if line.process.is_empty() => join(&[&files, b": ", &how]),
            Topic::Program => join(&[b"program ", &files, b" by ", &process, b": ", &how]),
            _ => join(&[&files, b" by ", &process, b": ", &how]),
        };
    }

    /// Describes differences that lost events may explain.
    fn describe_unknown(&self, group: &Group, side: Side, line: &mut DiffLine) {
        let first = &group.first;
        let kind = first.topic.row().word;
        line.text = match first.topic {
            Topic::Unrecorded(_) => format!("{kind} events: not recorded in {}", side.name()).into_bytes(),
            _ => {
                let by = group.members == 1 && !line.process.is_empty();
                let few = if by { join(&[b", by ", &line.process]) } else { Vec::new() };
                let seen = first.only().map_or(String::new(), |only| format!(", seen only in {}", only.name()));
                let count = counted(group.members as u64, ["difference", "differences"]);
                let why = format!("{seen}: {} {}", side.name(), reason(self.comparison.gaps[side as usize]));
                join(&[format!("{count} of kind {kind}").as_bytes(), &few, why.as_bytes()])
            }
        };
    }

    /// What one run has, as in a sentence.
    fn state(&self, one: &Difference, side: Side) -> Vec<u8> {
        let text = |id: u32| self.strings.get(id);
        let name = one.subject.unwrap_or_default();
        match (one.topic, one.state(side)) {
            (Topic::Env, State::Text(id)) => environment::describe(name, *id, self.strings).to_vec(),
            (Topic::Env, _) => b"not set".to_vec(),
            (Topic::Other(kind), State::Found) if let Compared::Results(word) = compared(kind) => word.into(),
            (_, State::Absent) => b"not tried".to_vec(),
            (_, State::Found) => b"found".to_vec(),
            (_, State::Text(id)) => text(*id).to_vec(),
            (_, State::Number(number)) => number.to_string().into_bytes(),
            (_, State::Words(words)) => words.iter().map(|word| text(*word)).collect::<Vec<_>>().join(&b' '),
            (_, State::Failed { directories: 1, errno }) => error(*errno).into(),
            (_, State::Failed { directories, errno }) => {
                let none = format!("in none of {} directories", grouped((*directories).into()));
                let why = if is_absent(*errno) { String::new() } else { format!(" ({})", error(*errno)) };
                (none + &why).into_bytes()
            }
        }
    }

    /// The ancestors whose exit status differs too.
    fn then(&self, pair: usize) -> Vec<u8> {
        let pairs = self.comparison.pairs;
        let above = std::iter::successors(Some(pair), |at| Some(pairs[*at].parent)).skip(1);
        // The first pair is above all.
        let failed = above.take_while(|at| *at != 0).take(limits::DIFF_DEPTH).filter(|at| self.facts[*at].exit);
        let mut names: Vec<&[u8]> = failed.map(|at| name(self.comparison.node(at, Side::A), self.strings)).collect();
        names.dedup();
        names.truncate(2 * NAMED);
        if names.is_empty() { Vec::new() } else { join(&[b"; then also ", &names.join(&b", "[..])]) }
    }

    fn files(&self, paths: &[u32]) -> Vec<u8> {
        let named: Vec<_> = paths.iter().take(NAMED).map(|path| self.strings.get(*path)).collect();
        let mut out = named.join(&b", "[..]);
        if paths.len() > NAMED {
            let more = counted((paths.len() - NAMED) as u64, ["more file", "more files"]);
            out.extend_from_slice(format!(" and {more}").as_bytes());
        }
        out
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
