//! Finds what one run did and another did not, by the role of a process instead of its id.
//!
//! | module | purpose |
//! |---|---|
//! | `names` | paths and arguments in comparable form: without the directory of the run, process ids and random names |
//! | `created` | random names, by what the runs did with the files |
//! | `run` | the fold over the events of a recording: roles, and what each did |
//! | `tree` | both runs as trees, and the pairs of roles that correspond |
//! | `compare` | the differences of each pair |
//! | `search` | names that a process looked for in several directories |
//! | `rank` | which differences may follow from others |
//! | `label` | the names of processes in the lines |
//! | `report` | the lines, as text and as JSON |
//! | `strings` | strings by number |
//!
//! A role is a program (file, arguments, working directory) and the role of its parent. Processes of the same role are merged:
//! their files are sets, and their execs and exit statuses are counted. No event is kept.

mod compare;
mod created;
mod label;
mod names;
mod rank;
mod report;
mod run;
mod search;
mod strings;
#[cfg(test)]
mod tests;
mod tree;

pub use report::{DiffLine, DiffReport, Status};
pub use run::{Gaps, Run};

use compare::Comparison;
use strings::StringTable;
use tree::Tree;

pub fn compare(a: Run, b: Run) -> DiffReport {
    let mut strings = StringTable::default();
    let directories = tree::same_directories(&a, &b);
    let gaps = (a.gaps.clone(), b.gaps.clone());
    let mut a = Tree::of(a, &[], &mut strings);
    let mut b = Tree::of(b, &directories, &mut strings);
    created::note_own_names(&mut a, &mut b, &strings);
    let (pairs, alone) = tree::pair(&mut a, &mut b, &mut strings);
    let comparison = Comparison { trees: (&a, &b), gaps: (&gaps.0, &gaps.1), pairs: &pairs, alone: &alone };
    let differences = comparison.differences(&mut strings);
    report::Maker::new(&comparison, &strings).report(&differences, directories)
}
