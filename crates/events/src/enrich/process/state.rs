//! Saves the process table as frames and restores it ([`crate::frame::state`]).

use super::{ProcessEnd, ProcessEntry, ProcessTable, Ran, kept};
use crate::enrich::pairing::Pairing;
use crate::event::process::{Image, Origin, Process, ProcessKey};
use crate::frame::Batch;
use crate::frame::state::{EndState, InexactStart, Key, KeyPair, ProcessLists, ProcessState, StateFrame, TableState};
use crate::limits;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tracetui_shared::id::Tgid;
use tracetui_shared::time::BootNanos;

impl ProcessTable {
    /// The time when the probes were attached.
    pub fn since(&self) -> BootNanos {
        self.since
    }

    /// Appends the table as it is at the time `latest`, without most ended processes: events of theirs rarely follow.
    pub(in crate::enrich) fn write_state(&self, latest: BootNanos, out: &mut Batch) {
        let needed = self.needed_from(BootNanos(latest.0.saturating_sub(limits::ENDED_IN_STATE_NS)));
        let pair = |from: ProcessKey, to: Option<ProcessKey>| KeyPair { from: from.into(), to: to.map(Key::from) };
        let root = |(id, to): (&Tgid, &Option<ProcessKey>)| pair(ProcessKey { tgid: *id, start: BootNanos(0) }, *to);
        let inexact = |(tgid, tick_ns): (&Tgid, &u64)| InexactStart { tgid: *tgid, tick_ns: *tick_ns };
        let mut lists = ProcessLists {
            dead: self.dead.iter().filter(|key| needed.contains(key)).copied().map(Key::from).collect(),
            settled: self.settled.iter().map(|(from, to)| pair(*from, Some(*to))).collect(),
            roots: self.roots.iter().map(root).collect(),
            inexact: self.inexact.iter().map(inexact).collect(),
        };
        // Sorted, so that equal tables give equal bytes. The ended processes have an order already.
        lists.settled.sort_unstable();
        lists.roots.sort_unstable();
        lists.inexact.sort_unstable();
        StateFrame::ProcessLists(lists).push(self.since, out);
        // The entries come after the list of replaced keys: the parent of an entry may have an old key.
        let mut environments: FxHashMap<*const [u8], Key> = FxHashMap::default();
        for entry in needed.iter().filter_map(|key| self.entries.get(key)) {
            let mut state = self.state_of(entry);
            if let Some(env) = &entry.env {
                match environments.entry(Arc::as_ptr(env)) {
                    Entry::Occupied(first) => state.env_as = Some(first.get().clone()),
                    Entry::Vacant(first) => {
                        first.insert(state.key.clone());
                        state.env = Some(env.to_vec());
                    }
                }
            }
            StateFrame::ProcessState(state).push(self.since, out);
        }
        let table = TableState {
            since: self.since,
            evicted: self.evicted,
            evicted_until: self.evicted_until,
            command: self.command.and_then(|(_, met)| met).map(Key::from),
            pairing: self.pairing.each().map(|(_, count)| count).to_vec(),
            command_argv: self.ran.argv.clone(),
            command_status: self.ran.status,
        };
        StateFrame::TableState(table).push(self.since, out);
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

    fn state_of(&self, entry: &ProcessEntry) -> ProcessState {
        let ProcessEntry { process, end, others, last, .. } = entry;
        ProcessState {
            current: self.current.get(&process.key.tgid) == Some(&process.key),
            end: end.map(|end| EndState { time: end.time, status: end.status }),
            others: *others,
            latest: *last,
            ..state_of(process)
        }
    }

    pub(in crate::enrich) fn restore(&mut self, frame: &StateFrame) {
        match frame {
            StateFrame::ProcessState(state) => self.restore_entry(state),
            StateFrame::ProcessLists(lists) => {
                // As many as fit in memory, whatever the state says.
                let most = self.budget.processes() / size_of::<(ProcessKey, ProcessKey)>();
                let room = |len: usize| most.saturating_sub(len);
                let dead = limits::DEAD_PROCESSES.saturating_sub(self.dead.len());
                self.dead.extend(lists.dead.iter().map(ProcessKey::from).take(dead));
                let to = |pair: &KeyPair| pair.to.as_ref().map(ProcessKey::from);
                let settled = |pair: &KeyPair| Some(((&pair.from).into(), to(pair)?));
                let more = room(self.settled.len());
                self.settled.extend(lists.settled.iter().filter_map(settled).take(more));
                let more = room(self.roots.len());
                self.roots.extend(lists.roots.iter().map(|pair| (pair.from.tgid, to(pair))).take(more));
                let more = room(self.inexact.len());
                self.inexact.extend(lists.inexact.iter().map(|start| (start.tgid, start.tick_ns)).take(more));
            }
            StateFrame::TableState(table) => {
                (self.since, self.evicted, self.evicted_until) = (table.since, table.evicted, table.evicted_until);
                if let Some((_, met)) = &mut self.command {
                    *met = table.command.as_ref().map(ProcessKey::from);
                }
                self.pairing = Pairing::of(&table.pairing);
                self.ran = Ran { argv: kept(&table.command_argv).into(), status: table.command_status };
            }
            _ => {}
        }
    }

    /// Applies the state of a process that an event of an excerpt contains.
    pub(in crate::enrich) fn tell(&mut self, state: &ProcessState) {
        let process = Arc::new(process_of(state));
        let key = process.key;
        match self.entries.get(&key).cloned() {
            Some(entry) => self.put(ProcessEntry { process, ..entry }),
            None => {
                self.current.insert(key.tgid, key);
                self.put(ProcessEntry { process, end: None, others: 0, last: state.latest, env: None });
            }
        }
        self.make_room();
    }

    fn restore_entry(&mut self, state: &ProcessState) {
        let process = process_of(state);
        let key = process.key;
        let end = state.end.as_ref().map(|end| ProcessEnd { time: end.time, status: end.status });
        if state.current {
            self.current.insert(key.tgid, key);
        }
        let same = || self.env(ProcessKey::from(state.env_as.as_ref()?));
        let env = state.env.as_deref().map(Arc::from).or_else(same);
        self.put(ProcessEntry { process: Arc::new(process), end, others: state.others, last: state.latest, env });
        self.make_room();
    }
}

/// The state of a live process, without the counts of its events.
pub(crate) fn state_of(process: &Process) -> ProcessState {
    ProcessState {
        key: process.key.into(),
        current: true,
        parent: process.parent.map(Key::from),
        maker: process.maker.map(Key::from),
        comm: process.comm.to_vec(),
        exe: process.image.exe.to_vec(),
        argv: process.image.argv.to_vec(),
        cwd: process.image.cwd.to_vec(),
        uid: process.uid,
        gid: process.gid,
        cgroup: process.cgroup.to_vec(),
        origin: process.origin as u8,
        execs: process.execs,
        of_command: process.of_command,
        end: None,
        others: 0,
        latest: BootNanos(0),
        held_ns: process.held_ns,
        env: None,
        env_as: None,
    }
}

fn process_of(state: &ProcessState) -> Process {
    let key = ProcessKey::from(&state.key);
    Process {
        key,
        parent: state.parent.as_ref().map(ProcessKey::from),
        maker: state.maker.as_ref().map(ProcessKey::from),
        comm: state.comm.as_slice().into(),
        image: Arc::new(Image {
            exe: state.exe.as_slice().into(),
            argv: kept(&state.argv).into(),
            cwd: state.cwd.as_slice().into(),
            env: None,
            fds: Box::default(),
        }),
        uid: state.uid,
        gid: state.gid,
        cgroup: state.cgroup.as_slice().into(),
        origin: [Origin::Seed, Origin::Fork, Origin::Older, Origin::FirstSeen, Origin::NextRun]
            .into_iter()
            .find(|origin| *origin as u8 == state.origin)
            .unwrap_or(Origin::Older),
        execs: state.execs,
        held_ns: state.held_ns,
        of_command: state.of_command,
    }
}
