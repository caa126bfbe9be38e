//! Pipelines: the processes at the two ends of a pipe.

use super::Tree;
use super::node::{NodeIndex, Seen};
use super::nodes::Nodes;
use super::pipes::Pipes;
use crate::app::views::state::Moment;

impl Nodes {
    /// The pipes of the program that a process ran at a moment.
    fn pipes(&self, at: NodeIndex, moment: Option<Moment>) -> Pipes {
        let node = self.get(at);
        let later = |exec: &_| moment.is_some_and(|moment| *exec > moment.time);
        let executed = node.filter(|node| !node.before.as_ref().is_some_and(|(exec, _)| later(exec)));
        executed.map_or_else(Pipes::default, |node| node.pipes)
    }
}

impl Tree {
    /// The process that reads what a process writes to its stdout. A process that only inherited the pipe from its parent has none.
    pub(crate) fn next_in_pipeline(&self, seen: &Seen<'_>) -> Option<Seen<'_>> {
        let (moment, key) = (self.conditions.moment, seen.process.key);
        let at = self.nodes.place(key)?;
        let output = self.nodes.pipes(at, moment).output?;
        let above = self.nodes.parent(at).map(|above| self.nodes.pipes(above, moment).output);
        let reader =
            *self.nodes.ends.readers.get(&output).filter(|reader| **reader != key && above != Some(Some(output)))?;
        self.nodes.seen(self.nodes.place(reader)?, moment)
    }

    /// The redirections of a process from the first one on that it did not inherit from its parent.
    pub(crate) fn redirected<'a>(&'a self, seen: &Seen<'a>) -> &'a str {
        let above =
            seen.process.parent.and_then(|parent| self.nodes.seen(self.nodes.place(parent)?, self.conditions.moment));
        let above = above.map_or("", |above| above.redirected);
        if above == seen.redirected {
            return "";
        }
        let same = seen.redirected.bytes().zip(above.bytes()).take_while(|(own, above)| own == above).count();
        let new = seen.redirected.as_bytes().get(..=same).and_then(|same| same.iter().rposition(|byte| *byte == b' '));
        let Some(own) = new.and_then(|from| seen.redirected.get(from + 1..)) else { return "" };
        if own.starts_with(['<', '>', '0', '1', '2']) { own } else { seen.redirected }
    }

    /// The process whose stdin is a pipe, or if `writes` the one whose stdout it is.
    pub(crate) fn at_pipe(&self, pipe: u64, writes: bool) -> Option<Seen<'_>> {
        let ends = if writes { &self.nodes.ends.writers } else { &self.nodes.ends.readers };
        self.process(*ends.get(&pipe)?)
    }
}
