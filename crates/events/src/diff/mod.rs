//! Finds what one run did and another did not, by the role of a process instead of its id.
//!
//! | module | purpose |
//! |---|---|
//! | `names` | paths and arguments in comparable form: without the directory of the run, process ids and random names |
//! | `created` | random names, by what the runs did with the files |
//! | `run` | the fold over the events of a recording: roles, and what each did |
//! | `tree` | both runs as trees, and the pairs of roles that correspond |
//! | `compare` | the differences of each pair |
//! | `difference` | one difference, and a table of their topics |
//! | `left` | the files as each run left them |
//! | `environment` | the variables that each role had |
//! | `search` | names that a process looked for in several directories |
//! | `noise` | differences that do not count |
//! | `rank` | which differences may follow from others |
//! | `label` | the names of processes and exit statuses in the lines |
//! | `slower` | processes that took longer in run B |
//! | `report` | the lines |
//! | `lines` | the lines and their roles as values, as text and as JSON |
//! | `strings`, `uses` | strings by number; roles, and what they did |
//!
//! A role is a program (file, arguments, working directory) and the role of its parent. Processes of the same role are merged:
//! their files are sets, and their execs and exit statuses are counted. No event is kept.

mod compare;
mod difference;
mod environment;
mod label;
mod left;
mod lines;
mod names;
mod noise;
mod random_names;
mod rank;
mod report;
mod run;
mod search;
mod slower;
mod strings;
#[cfg(test)]
mod tests;
mod tree;
mod uses;

pub use lines::{DiffLine, DiffProgram, DiffReport, Show, Status};
pub use run::{Gaps, Run};
pub use tree::Side;

use crate::event::{Compared, compared};
use crate::filter::Glob;
use compare::Comparison;
use difference::Difference;
use noise::Noise;
use report::Maker;
use strings::StringTable;
use tracetui_shared::kind::{Kind, KindSet};
use tree::Tree;

/// The kinds whose events are compared.
pub fn compared_kinds() -> KindSet {
    Kind::PROBED.into_iter().filter(|kind| compared(*kind) != Compared::Nothing).collect()
}

/// Compares run B with run A. `more` are other runs that are as good as A: what differs between them and A is noise. Differences of
/// files, programs, addresses and arguments that match `ignored` do not count.
pub fn compare(a: Run, more: Vec<Run>, b: Run, ignored: &[Glob]) -> DiffReport {
    compare_while(a, more, b, ignored, &|| true).unwrap_or_default()
}

/// The same, while `goes_on`; `None` afterwards.
pub fn compare_while(
    a: Run,
    more: Vec<Run>,
    b: Run,
    ignored: &[Glob],
    goes_on: &dyn Fn() -> bool,
) -> Option<DiffReport> {
    let mut strings = StringTable::default();
    let base = (a.gaps.clone(), Tree::of(a, &mut strings));
    let mut noise = Noise::default();
    for other in more {
        let other = (other.gaps.clone(), Tree::of(other, &mut strings));
        of_trees(base.clone(), other, (ignored, goes_on), &mut strings, |comparison, all, strings| {
            noise.learn(comparison, &all, strings)
        })?;
    }
    goes_on().then_some(())?;
    let b = (b.gaps.clone(), Tree::of(b, &mut strings));
    of_trees(base, b, (ignored, goes_on), &mut strings, |comparison, all, strings| {
        let (mut all, noise) = noise.split(comparison, all, strings);
        let facts = comparison.rank(strings, &mut all);
        Maker { comparison, strings, facts }.report(&all, &noise)
    })
}

/// Compares two trees, and passes on their differences.
fn of_trees<R>(
    (gaps_a, a): (Gaps, Tree),
    (gaps_b, b): (Gaps, Tree),
    (ignored, goes_on): (&[Glob], &dyn Fn() -> bool),
    strings: &mut StringTable,
    done: impl FnOnce(&Comparison<'_>, Vec<Difference>, &StringTable) -> R,
) -> Option<R> {
    let mut trees = [a, b];
    goes_on().then_some(())?;
    random_names::note_own_names(&mut trees, strings);
    goes_on().then_some(())?;
    let (pairs, alone) = tree::pair(&mut trees, strings);
    let (trees, gaps) = (trees.each_ref(), [&gaps_a, &gaps_b]);
    let comparison = Comparison { trees, gaps, pairs: &pairs, alone: &alone, ignored };
    let all = comparison.differences(strings, goes_on)?;
    Some(done(&comparison, all, strings))
}
