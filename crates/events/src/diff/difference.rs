//! A difference: what each run has of something, and a table of what is the same for all differences of a topic.

use super::left;
use super::tree::{Alone, Side};
use super::uses::{Did, did};
use crate::event::{Compared, compared};
use tracetui_shared::kind::Kind;

/// What a difference is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Topic {
    /// A kind of event that only one run recorded.
    Unrecorded(Kind),
    /// A program that one run could not execute.
    Program,
    /// A file that one run could not open.
    File,
    /// A name that only one run found in the searched directories.
    Search,
    /// A name that only one run looked for, in vain.
    Sought,
    /// A name that the runs found in different directories.
    Elsewhere,
    Argv,
    Cwd,
    Env,
    User,
    /// The number of execs.
    Count,
    /// A role that only one run has.
    Alone,
    /// What else a role did: events of a kind that both runs recorded.
    Other(Kind),
    Exit,
    /// A file that only one run opened.
    Opened,
    /// A file that only one run tried to open, without success.
    Tried,
    /// A file that the runs left differently: removed, created, its mode.
    Left,
}

/// What is the same for all differences of a topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The kind in the lines.
    pub(super) word: &'static str,
    /// The order of the lines: causes before what they cause.
    pub(super) class: u8,
    pub(super) shares: Shares,
}

/// Which differences of a topic share a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shares {
    /// Those with the same subject and the same states, in any role.
    Equal,
    /// Those of one program with the same states, whatever their files are.
    Files,
    /// Those of one program with the same subject and the same states.
    Program,
    /// Those of one program with the same subject, whatever their numbers are. The numbers are added up.
    Sums,
}

impl Topic {
    /// Whether it is about a file or program that one run did not find.
    pub(super) fn is_missing(self) -> bool {
        matches!(self, Topic::Program | Topic::File | Topic::Search | Topic::Sought)
    }

    /// Whether it is about the results of events of a kind.
    pub(super) fn is_result(self) -> bool {
        matches!(self, Topic::Other(kind) if matches!(compared(kind), Compared::Results(_)))
    }

    pub(super) fn row(self) -> Row {
        let (word, class, shares) = match self {
            Topic::Program => ("missing", 0, Shares::Files),
            Topic::File => ("missing", 1, Shares::Files),
            Topic::Search => ("missing", 1, Shares::Equal),
            Topic::Sought => ("missing", 1, Shares::Files),
            Topic::Argv => ("argv", 2, Shares::Equal),
            Topic::Cwd => ("cwd", 3, Shares::Equal),
            Topic::Env => ("env", 3, Shares::Equal),
            Topic::User => ("user", 3, Shares::Equal),
            Topic::Count => ("exec", 4, Shares::Sums),
            Topic::Alone => ("exec", 4, Shares::Sums),
            Topic::Other(kind) if self.is_result() => (kind.name(), 6, Shares::Program),
            Topic::Other(kind) => (kind.name(), 5, Shares::Sums),
            Topic::Exit => ("exit", 7, Shares::Program),
            Topic::Elsewhere => ("opened", 8, Shares::Equal),
            Topic::Opened => ("opened", 8, Shares::Files),
            Topic::Tried => ("tried", 8, Shares::Files),
            Topic::Left => (left::KIND.name(), 8, Shares::Files),
            Topic::Unrecorded(kind) => (kind.name(), 9, Shares::Equal),
        };
        Row { word, class, shares }
    }
}

/// What one run has of the subject of a difference.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(super) enum State {
    /// It did not try it, or does not have it.
    Absent,
    /// It opened, executed, connected or recorded it.
    Found,
    /// It could not, or found the name in none of these directories. The error is ENOENT, unless there was another.
    Failed { directories: u32, errno: u8 },
    /// The number of a text: a path, a variable, exit statuses.
    Text(u32),
    /// A count, or a user id.
    Number(u64),
    /// The arguments that the other run does not have.
    Words(Vec<u32>),
}

impl State {
    /// The result of a role's use of a file.
    pub(super) fn of(used: Option<Did>) -> State {
        match used {
            None => State::Absent,
            Some(used) if used.has(did::FOUND) => State::Found,
            Some(used) => State::Failed { directories: 1, errno: used.errno },
        }
    }

    /// A number of execs or attachments.
    pub(super) fn count(count: u64) -> State {
        if count > 0 { State::Number(count) } else { State::Absent }
    }

    /// Whether the run has the subject, and did not only try.
    pub(super) fn is_there(&self) -> bool {
        match self {
            State::Absent | State::Failed { .. } => false,
            State::Words(words) => !words.is_empty(),
            _ => true,
        }
    }

    pub(super) fn number(&self) -> u64 {
        if let State::Number(number) = self { *number } else { 0 }
    }

    /// The numbers of its texts.
    pub(super) fn texts(&self) -> &[u32] {
        match self {
            State::Text(text) => std::slice::from_ref(text),
            State::Words(words) => words,
            _ => &[],
        }
    }

    /// Whether there is no such file.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, State::Failed { errno, .. } if is_absent(*errno))
    }

    /// The number of directories without the name.
    pub(super) fn directories(&self) -> u32 {
        if let State::Failed { directories, .. } = self { *directories } else { 0 }
    }

    /// The same for any number of directories.
    pub(super) fn in_any_number(&self) -> State {
        match *self {
            State::Failed { errno, .. } => State::Failed { directories: 0, errno },
            _ => self.clone(),
        }
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

/// One difference in one role.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    pub(super) pair: usize,
    pub(super) topic: Topic,
    /// The number of the file, variable, attachment or address. `None` if the difference is in the process itself.
    pub(super) subject: Option<u32>,
    /// What A and B have.
    pub(super) states: [State; 2],
    /// The role, if only one run has it.
    pub(super) alone: Option<Alone>,
    pub(super) rank: Rank,
    /// The side that lacks something, if that may have been lost.
    pub(super) unknown: Option<Side>,
}

impl Difference {
    pub(super) fn new(pair: usize, topic: Topic, subject: Option<u32>, states: [State; 2]) -> Difference {
        Difference { pair, topic, subject, states, alone: None, rank: Rank::Cause, unknown: None }
    }

    /// The same, but unknown if the side that has less may have lost the events of it.
    pub(super) fn unless_lost(self, lost: impl Fn(Side) -> bool) -> Difference {
        let lost = |side: Side| lost(side).then_some(side);
        let unknown = match (self.only(), &self.states) {
            (Some(side), _) => lost(side.other()),
            (None, [State::Number(a), State::Number(b)]) => lost(if a < b { Side::A } else { Side::B }),
            (None, [State::Failed { .. }, _]) => lost(Side::A).or_else(|| lost(Side::B)),
            (None, _) => lost(Side::B).or_else(|| lost(Side::A)),
        };
        Difference { unknown, ..self }
    }

    /// Whether one side does not have it at all.
    pub(super) fn is_absent(&self) -> bool {
        self.states.contains(&State::Absent)
    }

    /// What one side has.
    pub(super) fn state(&self, side: Side) -> &State {
        &self.states[side as usize]
    }

    /// The numbers of the texts of both sides.
    pub(super) fn texts(&self) -> impl Iterator<Item = (u32, Side)> {
        let texts = |side: Side| self.state(side).texts().iter().map(move |text| (*text, side));
        Side::BOTH.into_iter().flat_map(texts)
    }

    /// Keeps only these arguments.
    pub(super) fn retain_words(&mut self, keep: impl Fn(u32, Side) -> bool) {
        for (state, side) in self.states.iter_mut().zip(Side::BOTH) {
            if let State::Words(words) = state {
                words.retain(|word| keep(*word, side));
            }
        }
    }

    /// The side that alone has the subject.
    pub(super) fn only(&self) -> Option<Side> {
        let there = self.states.each_ref().map(State::is_there);
        let tried = self.states.each_ref().map(|state| *state != State::Absent);
        Side::only(if there == [false; 2] { tried } else { there })
    }

    /// The number of directories in which one run did not find the name.
    pub(super) fn directories(&self) -> u32 {
        self.states.iter().map(State::directories).max().unwrap_or_default()
    }

    /// The side that did not find a file or a program.
    pub(super) fn lacks(&self) -> Option<Side> {
        if !self.topic.is_missing() {
            return None;
        }
        match self.states.each_ref().map(|state| matches!(state, State::Failed { .. })) {
            // The file is absent in one run, and the other cannot open it.
            [true, true] => Side::only(self.states.each_ref().map(State::is_missing)).map(Side::other),
            failed => Side::only(failed),
        }
    }
}

/// Whether an error means that there is no such file.
pub(super) fn is_absent(errno: u8) -> bool {
    const ENOENT: u8 = 2;
    const ENOTDIR: u8 = 20;
    matches!(errno, ENOENT | ENOTDIR)
}
