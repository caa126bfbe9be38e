//! The report as values, text and JSON. All names are bytes from outside, not escaped.

use super::tree::Side;
use crate::text::{Charset, counted, escaped, grouped, json};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tracetui_shared::id::Tgid;

/// Whether a difference is certain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Status {
    #[default]
    Different,
    /// The events that one run lacks may have been lost.
    Unknown,
    /// The good runs differ in this too.
    Noise,
    /// It took longer in run B, which makes no run different.
    Slower,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Different => "different",
            Status::Unknown => "unknown",
            Status::Noise => "noise",
            Status::Slower => "slower",
        }
    }
}

/// A difference in one or more roles.
#[derive(Clone, Debug, Default)]
pub struct DiffLine {
    /// `missing argv cwd env user exec bpf tcp exit opened tried access slower`.
    pub kind: &'static str,
    pub status: Status,
    /// The run that alone has what the difference is about. `None` if both have it, but not in the same way.
    pub only: Option<Side>,
    /// It is what a process that failed by itself lacked, or nothing explains it and no process failed by itself.
    pub cause: bool,
    /// It follows from another difference.
    pub follows: bool,
    /// The first process: its program and main argument.
    pub process: Vec<u8>,
    /// The first role, in the roles of the report. If only one run executed the program, its parent. 0 for all processes.
    pub role: usize,
    /// The program that only one run executed.
    pub alone: Option<DiffProgram>,
    /// How many roles have this difference.
    pub roles: usize,
    /// Files, programs or arguments.
    pub subject: Vec<Vec<u8>>,
    pub a: Vec<u8>,
    pub b: Vec<u8>,
    /// The sentence: what differs, if that is not the process itself, and how.
    pub what: Vec<u8>,
    pub how: Vec<u8>,
}

/// A program in one run.
#[derive(Clone, Debug, Default)]
pub struct DiffProgram {
    pub exe: Vec<u8>,
    pub argv: Vec<Vec<u8>>,
    pub cwd: Vec<u8>,
    /// A process that executed it: the first one that failed, otherwise the first one.
    pub process: Tgid,
}

/// A role that both runs have.
#[derive(Clone, Debug, Default)]
pub struct DiffRole {
    /// The role of the parent, which comes earlier in the list.
    pub parent: usize,
    pub process: Vec<u8>,
    pub a: DiffProgram,
    pub b: DiffProgram,
}

/// All differences between two runs.
#[derive(Debug, Default)]
pub struct DiffReport {
    /// The lines: the causes first, then their consequences, noise, and processes that took longer in run B.
    pub lines: Vec<DiffLine>,
    /// The roles that lines are about, and the roles of their ancestors, in the order of run A. The first one is above all.
    pub roles: Vec<DiffRole>,
    /// Differences that follow from others, by kind.
    pub follow: BTreeMap<&'static str, usize>,
    /// Directories that were treated as equal, in addition to those of the runs.
    pub directories: Vec<(Vec<u8>, Vec<u8>)>,
}

impl DiffReport {
    pub fn equal(&self) -> bool {
        self.count(Status::Different) == 0 && self.count(Status::Unknown) == 0
    }

    pub fn count(&self, status: Status) -> usize {
        self.lines.iter().filter(|line| line.status == status).count()
    }

    pub fn text(&self, show: Show, charset: Charset) -> String {
        let mut out = String::new();
        for line in self.shown(show) {
            let follows = if line.follows { "  " } else { "" };
            let kind = line.word();
            out.push_str(&format!("{follows}{kind:8} {}\n", escaped(&line.text(), charset.reversible())));
        }
        if let Some(text) = self.follow_text().filter(|_| !show.rest) {
            out.push_str(&format!("{:8} {text}\n", "follow"));
        }
        let noise = self.count(Status::Noise);
        if noise > 0 && !show.noise {
            let differences = counted(noise as u64, ["difference", "differences"]);
            out.push_str(&format!("{:8} {differences} among the good runs\n", "noise"));
        }
        out
    }

    pub fn shown(&self, show: Show) -> impl Iterator<Item = &DiffLine> {
        self.lines.iter().filter(move |line| match line.status {
            Status::Noise => show.noise,
            Status::Slower => show.slower,
            Status::Different | Status::Unknown => show.rest || !line.follows,
        })
    }

    /// The sentence about the differences that follow from others. `None` if there are none.
    pub fn follow_text(&self) -> Option<String> {
        let sum: usize = self.follow.values().sum();
        let kinds: Vec<_> =
            self.follow.iter().map(|(kind, count)| format!("{} {kind}", grouped(*count as u64))).collect();
        let more = counted(sum as u64, ["more difference", "more differences"]);
        (sum > 0).then(|| format!("{more} may follow from these: {}", kinds.join(", ")))
    }

    /// The lines as JSON objects.
    pub fn json(&self, show: Show) -> String {
        self.shown(show).map(|line| json::ascii(&line.json(self.program(line))) + "\n").collect()
    }

    /// The program of a line: that of run A, if it is in both.
    fn program<'a>(&'a self, line: &'a DiffLine) -> &'a DiffProgram {
        line.alone.as_ref().unwrap_or(&self.roles[line.role].a)
    }
}

/// The lines to show in addition to those of the causes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Show {
    /// Differences that follow from others.
    pub rest: bool,
    /// Differences that the good runs have too.
    pub noise: bool,
    /// Processes that took longer in run B.
    pub slower: bool,
}

impl DiffLine {
    /// The kind, or a status other than different.
    pub fn word(&self) -> &'static str {
        match self.status {
            Status::Different => self.kind,
            status => status.name(),
        }
    }

    /// The sentence, after the kind.
    pub fn text(&self) -> Vec<u8> {
        let others = match self.roles {
            0 | 1 => String::new(),
            more => format!(" and {}", counted(more as u64 - 1, ["other", "others"])),
        };
        match (self.what.is_empty(), self.how.is_empty()) {
            (_, true) => self.what.clone(),
            (true, false) => [&self.process, others.as_bytes(), b": ", &self.how].concat(),
            // No process.
            (false, false) if self.process.is_empty() => [&self.what, &b": "[..], &self.how].concat(),
            (false, false) => [&self.what, &b" by "[..], &self.process, others.as_bytes(), b": ", &self.how].concat(),
        }
    }

    fn json(&self, program: &DiffProgram) -> Value {
        let text = String::from_utf8_lossy;
        let list = |list: &[Vec<u8>]| list.iter().map(|bytes| text(bytes)).collect::<Value>();
        json!({
            "kind": self.kind, "status": self.status.name(), "follows": self.follows, "process": text(&self.process),
            "exe": text(&program.exe), "argv": list(&program.argv), "roles": self.roles, "subject": list(&self.subject),
            "a": text(&self.a), "b": text(&self.b), "text": text(&self.text()),
        })
    }
}
