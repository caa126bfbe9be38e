//! Redirections and pipelines: stdin and stdout of the programs that processes executed.

use super::node::Seen;
use super::{LINE, Tree};
use crate::app::copy::{leads_to, redirections};
use tracetui_events::event::exec::Exec;
use tracetui_events::event::stdio::Type;
use tracetui_events::store::Store;

/// The inode of a pipe without a name. Both ends have it.
pub(super) fn pipe(exec: &Exec<'_>, number: usize) -> Option<u64> {
    exec.descriptor(number).filter(|of| of.kind() == Type::Pipe && of.path().is_none())?.ino()
}

/// What a function returns for the last exec of a process. `None` if that is evicted.
fn of_exec<R>(seen: &Seen<'_>, store: &Store, look: impl FnOnce(&Exec<'_>) -> R) -> Option<R> {
    let event = store.get(seen.exec?)?.event().ok()?;
    event.body.started().map(look)
}

impl Tree {
    /// The nearest executed ancestor of a process, from which it may have inherited descriptors.
    fn executed_above(&self, of: &Seen<'_>) -> Option<Seen<'_>> {
        let line = std::iter::successors(self.nodes.parent(of.process.key), |key| self.nodes.parent(*key)).take(LINE);
        line.filter_map(|key| self.nodes.seen(key, self.conditions.moment)).find(|above| above.exec.is_some())
    }

    /// The redirections of a process from the first one on that it did not inherit, each after a space. `None` if that is not known.
    pub(super) fn redirected(&self, seen: &Seen<'_>, store: &Store) -> Option<String> {
        let of = |seen: &Seen<'_>| of_exec(seen, store, |exec| redirections(exec, leads_to));
        let above = self.executed_above(seen).map_or(Some(Vec::new()), |above| of(&above))?;
        Some(of(seen)?.into_iter().skip_while(|word| above.contains(word)).collect())
    }

    /// The process that reads what a process writes to its stdout. A process that inherited the pipe has none.
    pub(super) fn next_in_pipeline(&self, seen: &Seen<'_>, store: &Store) -> Option<Seen<'_>> {
        let of = |seen: &Seen<'_>, number| of_exec(seen, store, |exec| pipe(exec, number));
        let above = self.executed_above(seen).map_or(Some(None), |above| of(&above, 1))?;
        let output = of(seen, 1)?.filter(|pipe| above != Some(*pipe))?;
        let reader = self.nodes.seen(*self.nodes.readers.get(&output)?, self.conditions.moment)?;
        let reads = |reader: &Seen<'_>| reader.process.key != seen.process.key && of(reader, 0) == Some(Some(output));
        Some(reader).filter(reads)
    }
}
