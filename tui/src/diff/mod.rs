//! What one run did that another did not, by role of the process and not by id.
//!
//! | module | purpose |
//! |---|---|
//! | `names` | what is compared of paths and arguments: no directory of the run, no process ids, no random names |
//! | `run` | the fold over the events of a recording: roles, and what each did |
//! | `tree` | both runs as trees, and the pairs of roles that correspond |
//! | `compare` | the differences of each pair, and which follow from others |
//! | `report` | the lines, as text and as JSON |
//! | `strings` | strings by number |
//!
//! A role is a program (file, arguments, working directory) and the role of its parent. Processes of the same role are one:
//! files are sets, execs and exit statuses are counted. No event is kept.

mod compare;
mod names;
mod report;
mod run;
mod strings;
#[cfg(test)]
mod tests;
mod tree;

pub use report::{Line, Report, Status};
pub use run::{Gaps, Run};

use compare::Comparison;
use strings::Strings;
use tree::Tree;

/// Compares two runs.
pub fn compare(a: Run, b: Run) -> Report {
    let mut strings = Strings::default();
    let directories = tree::same_directories(&a, &b);
    let gaps = (a.gaps.clone(), b.gaps.clone());
    let mut a = Tree::of(a, &[], &mut strings);
    let mut b = Tree::of(b, &directories, &mut strings);
    let (pairs, alone) = tree::pair(&mut a, &mut b, &mut strings);
    let comparison = Comparison { trees: (&a, &b), gaps: (&gaps.0, &gaps.1), pairs: &pairs, alone: &alone };
    let differences = comparison.differences(&mut strings);
    report::Maker::new(&comparison, &strings).report(&differences, directories)
}
