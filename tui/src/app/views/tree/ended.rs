//! Rows that replace several processes: folded descendants, and children that ended without a failure.

use super::node::Seen;
use super::{Row, Shows, Tree};
use std::cmp::Reverse;
use std::ops::Range;
use tracetui_events::event::process::Process;
use tracetui_events::text::command::{self, named};
use tracetui_events::text::shell;

/// The most folded processes that a row counts by name.
const MOST: usize = 1_024;

/// How many words of a command are examined for the script that it runs.
const WORDS: usize = 8;

/// Program names, each with the number of its processes, most frequent first.
pub(crate) type Programs<'a> = Vec<(&'a [u8], usize)>;

/// Children of a process that ended without a failure, and their descendants.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    pub programs: Programs<'a>,
    /// `exit 0`, unless one of them ended otherwise.
    pub state: &'static str,
    pub opens: u64,
    /// CPU time in nanoseconds; `None` if unknown.
    pub cpu: Option<u64>,
    /// The process without a child that ran longest, if there are several: its command, and how long in nanoseconds.
    pub slowest: Option<(Vec<u8>, u64)>,
}

impl Tree {
    pub(super) fn seen_in(&self, range: Range<usize>) -> impl Iterator<Item = Seen<'_>> {
        let met = self.met.get(range).unwrap_or_default();
        met.iter().filter_map(|met| self.nodes.seen(met.key, self.conditions.moment))
    }

    /// The positions of a process and its descendants.
    fn subtree(&self, at: usize) -> Range<usize> {
        at..at + self.met.get(at).map_or(0, |met| met.sum.all as usize)
    }

    /// The children in a row of ended processes, each with its descendants.
    fn children_in(&self, row: &Row) -> impl Iterator<Item = Range<usize>> {
        let end = self.subtree(row.at).end;
        let children = std::iter::successors(Some(self.subtree(row.at + 1)), |child| Some(self.subtree(child.end)));
        let joined = |child: &Range<usize>| self.met.get(child.start).is_some_and(|met| met.joined);
        children.take_while(move |child| child.start < end).filter(joined)
    }

    /// The processes in a row of ended ones.
    pub(crate) fn ended(&self, row: &Row) -> Ended<'_> {
        let all = || self.children_in(row).flat_map(|child| self.seen_in(child));
        let leaf = |at: &usize| self.met.get(*at).is_some_and(|met| met.sum.all == 1);
        let leaves = self.children_in(row).flatten().filter(leaf).flat_map(|at| self.seen_in(at..at + 1));
        let slowest = leaves.max_by_key(|seen| self.lived(seen));
        let costs: Vec<_> = all().filter_map(|seen| seen.cost()).collect();
        let ended_well = |seen: Seen<'_>| seen.end.is_some_and(|end| end.status == Some(0));
        Ended {
            state: if all().all(ended_well) { "exit 0" } else { "ended" },
            programs: programs(self.children_in(row).flat_map(|child| self.seen_in(child.start..child.start + 1))),
            opens: all().map(|seen| seen.counts.opens).sum(),
            cpu: (!costs.is_empty()).then(|| costs.iter().map(|cost| cost.runtime).sum()),
            slowest: slowest.map(|seen| (seen.process.short_command(), self.lived(&seen))),
        }
    }

    /// The processes that a row shows, and those that are folded in it.
    pub(super) fn processes(&self, row: &Row) -> Vec<usize> {
        match row.shows {
            Shows::Process if row.folded => self.subtree(row.at).collect(),
            Shows::Process => vec![row.at],
            Shows::Ended => self.children_in(row).flatten().collect(),
            Shows::Ancestors => Vec::new(),
        }
    }

    /// The programs of the folded descendants of a row.
    pub(crate) fn folded(&self, row: &Row) -> Programs<'_> {
        match row.shows {
            Shows::Ended => programs(self.children_in(row).flat_map(|range| self.seen_in(range.start + 1..range.end))),
            _ => programs(self.seen_in(row.at + 1..self.subtree(row.at).end)),
        }
    }

    /// The ancestors in a row, oldest first.
    pub(crate) fn ancestors(&self, row: &Row) -> Vec<Seen<'_>> {
        let line = std::iter::successors(Some(row.key), |key| self.nodes.parent(*key));
        let mut line: Vec<_> = line.filter_map(|key| self.nodes.seen(key, self.conditions.moment)).collect();
        line.reverse();
        line
    }
}

/// The program or script that a process runs, or the last one that it tried to execute.
fn program<'a>(seen: &Seen<'a>) -> &'a [u8] {
    if let Some(tried) = seen.failed_exec {
        return command::leaf(&tried.path);
    }
    let process: &'a Process = seen.process;
    let words: Vec<_> = shell::args(&process.image.argv).take(WORDS).collect();
    let program = named(&words, &process.image.exe).program;
    // A process that has set its title has more than a name there.
    if program.is_empty() || program.contains(&b' ') { process.name() } else { program }
}

fn programs<'a>(of: impl Iterator<Item = Seen<'a>>) -> Programs<'a> {
    let mut programs = Programs::new();
    for seen in of.take(MOST) {
        let name = program(&seen);
        match programs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => programs.push((name, 1)),
        }
    }
    programs.sort_by_key(|(_, count)| Reverse(*count));
    programs
}
