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
    /// `missing argv cwd env user exec bpf tcp exit opened tried slower`.
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
    /// The first program in A and in B. Empty in a run that did not execute it, and for all processes.
    pub programs: [DiffProgram; 2],
    /// A process of B with this program: the first one that failed, otherwise the first one. If only A executed the program, that of the
    /// parent. 0 for all processes.
    pub pid: Tgid,
    /// How many roles have this difference.
    pub roles: usize,
    /// Files, programs or arguments.
    pub subject: Vec<Vec<u8>>,
    pub a: Vec<u8>,
    pub b: Vec<u8>,
    /// The sentence, after the kind.
    pub text: Vec<u8>,
}

/// A program in one run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DiffProgram {
    pub exe: Vec<u8>,
    pub argv: Vec<Vec<u8>>,
    pub cwd: Vec<u8>,
}

/// All differences between two runs.
#[derive(Debug, Default)]
pub struct DiffReport {
    /// The lines: the causes first, then their consequences, noise, and processes that took longer in run B.
    pub lines: Vec<DiffLine>,
    /// Differences that follow from others, by kind.
    pub follow: BTreeMap<&'static str, usize>,
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
            out.push_str(&format!("{follows}{kind:8} {}\n", escaped(&line.text, charset.reversible())));
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
        self.shown(show).map(|line| json::ascii(&line.json()) + "\n").collect()
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

    fn json(&self) -> Value {
        let text = String::from_utf8_lossy;
        let list = |list: &[Vec<u8>]| list.iter().map(|bytes| text(bytes)).collect::<Value>();
        let [a, b] = &self.programs;
        let program = if a.exe.is_empty() { b } else { a };
        json!({
            "kind": self.kind, "status": self.status.name(), "follows": self.follows, "process": text(&self.process),
            "exe": text(&program.exe), "argv": list(&program.argv), "roles": self.roles, "subject": list(&self.subject),
            "a": text(&self.a), "b": text(&self.b), "text": text(&self.text),
        })
    }
}
