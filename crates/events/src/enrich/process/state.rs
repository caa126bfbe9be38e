//! Saves the process table as frames and restores it ([`crate::frame::state`]).

use super::{ProcessEntry, ProcessTable, kept};
use crate::event::process::{Process, ProcessKey};
use crate::frame::Batch;
use crate::frame::state::{ProcessLists, ProcessState, StateFrame, TableState};
use crate::limits;
use std::collections::BTreeSet;
use std::sync::Arc;
use tracetui_shared::time::BootNanos;

impl ProcessTable {
    /// Appends the table as it is at the time `latest`, without most ended processes: events of theirs rarely follow.
    pub(in crate::enrich) fn write_state(&self, latest: BootNanos, out: &mut Batch) {
        let needed = self.needed_from(BootNanos(latest.0.saturating_sub(limits::ENDED_IN_STATE_NS)));
        let mut lists = ProcessLists {
            dead: self.dead.iter().filter(|key| needed.contains(key)).copied().collect(),
            settled: self.settled.iter().map(|(old, new)| (*old, *new)).collect(),
            roots: self.roots.iter().map(|(id, root)| (*id, *root)).collect(),
            inexact: self.inexact.iter().map(|(tgid, tick_ns)| (*tgid, *tick_ns)).collect(),
        };
        // Sorted, so that equal tables give equal bytes. The ended processes have an order already.
        lists.settled.sort_unstable();
        lists.roots.sort_unstable();
        lists.inexact.sort_unstable();
        StateFrame::ProcessLists(lists).push(self.state.since, out);
        // The entries come after the list of replaced keys: the parent of an entry may have an old key.
        for entry in needed.iter().filter_map(|key| self.entries.get(key)) {
            let process = (*entry.process).clone();
            let state = ProcessState {
                current: self.current.get(&process.key.tgid) == Some(&process.key),
                process,
                end: entry.end,
                others: entry.others,
                latest: entry.last,
                env: entry.env.as_deref().map(<[u8]>::to_vec),
            };
            StateFrame::ProcessState(state).push(self.state.since, out);
        }
        StateFrame::TableState(self.state.clone()).push(self.state.since, out);
    }

    /// The processes that live or ended at `since` or later, and their ancestors.
    fn needed_from(&self, since: BootNanos) -> BTreeSet<ProcessKey> {
        let is_late = |entry: &&ProcessEntry| entry.end.is_none_or(|end| end.time >= since);
        let mut next: Vec<_> = self.entries.values().filter(is_late).map(|entry| entry.process.key).collect();
        let mut needed = BTreeSet::new();
        while let Some(key) = next.pop() {
            let Some(entry) = self.entries.get(&key).filter(|_| needed.insert(key)) else { continue };
            let Process { parent, maker, .. } = *entry.process;
            next.extend(parent.into_iter().chain(maker).map(|key| self.exact(key)));
        }
        needed
    }

    pub(in crate::enrich) fn restore(&mut self, frame: &StateFrame) {
        match frame {
            StateFrame::ProcessState(state) => self.restore_entry(state),
            StateFrame::ProcessLists(lists) => {
                // As many as fit in memory, whatever the state says.
                let most = self.budget.processes() / size_of::<(ProcessKey, ProcessKey)>();
                let room = |len: usize| most.saturating_sub(len);
                let dead = limits::DEAD_PROCESSES.saturating_sub(self.dead.len());
                self.dead.extend(lists.dead.iter().take(dead));
                let more = room(self.settled.len());
                self.settled.extend(lists.settled.iter().copied().take(more));
                let more = room(self.roots.len());
                self.roots.extend(lists.roots.iter().copied().take(more));
                let more = room(self.inexact.len());
                self.inexact.extend(lists.inexact.iter().copied().take(more));
            }
            StateFrame::TableState(table) => {
                self.state = TableState {
                    command: table.command.filter(|_| self.command.is_some()),
                    command_argv: kept(&table.command_argv).into(),
                    ..table.clone()
                };
            }
            _ => {}
        }
    }

    /// Applies the process that an event of an excerpt contains.
    pub(in crate::enrich) fn tell(&mut self, process: &Process) {
        let process = bounded(process);
        let key = process.key;
        match self.entries.get(&key).cloned() {
            Some(entry) => self.put(ProcessEntry { process, ..entry }),
            None => {
                self.current.insert(key.tgid, key);
                self.put(ProcessEntry { process, end: None, others: 0, last: BootNanos(0), env: None });
            }
        }
        self.make_room();
    }

    /// An environment, which may be that of the parent.
    pub(super) fn shared_env(&self, parent: Option<ProcessKey>, env: &[u8]) -> Arc<[u8]> {
        let of_parent = parent.and_then(|parent| self.env(self.exact(parent)));
        of_parent.filter(|of_parent| **of_parent == *env).unwrap_or_else(|| env.into())
    }

    fn restore_entry(&mut self, state: &ProcessState) {
        let process = bounded(&state.process);
        if state.current {
            self.current.insert(process.key.tgid, process.key);
        }
        let env = state.env.as_deref().map(|env| self.shared_env(process.parent, env));
        self.put(ProcessEntry { process, end: state.end, others: state.others, last: state.latest, env });
        self.make_room();
    }
}

/// The process with as many arguments as the table keeps.
fn bounded(process: &Process) -> Arc<Process> {
    let mut process = process.clone();
    if process.image.argv.len() > limits::KEPT_ARGV {
        let image = Arc::make_mut(&mut process.image);
        image.argv = kept(&image.argv).into();
    }
    Arc::new(process)
}
