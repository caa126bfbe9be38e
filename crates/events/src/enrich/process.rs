//! The process table, keyed by (tgid, start). Every fork, exec and exit updates it, before any filter.
//!
//! Entries are immutable: an exec makes a new one, so the process of an earlier event does not change. A fork, a
//! successful exec and an exit change the table, and the first event of a leader with another name. A thread never
//! changes the entry of its leader.

mod size;
mod state;

use self::size::bytes_of;
use crate::budget::Budget;
use crate::environment::EnvChange;
use crate::event::process::{Image, Origin, Process, ProcessKey};
use crate::event::{Body, Components, Event, exec::Exec};
use crate::frame::host::ProcessSeed;
use crate::frame::state::{ProcessEnd, TableState};
use crate::limits;
use foldhash::HashMap;
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::KindSet;
use tracetui_shared::time::BootNanos;

#[derive(Clone, Debug)]
pub struct ProcessEntry {
    pub process: Arc<Process>,
    pub end: Option<ProcessEnd>,
    /// The number of its events other than fork, exec and exit.
    pub others: u64,
    last: BootNanos,
    /// The environment of its program, as an exec passed it; `None` if unknown, or if the process ended.
    env: Option<Arc<[u8]>>,
}

impl ProcessEntry {
    /// Counts an event other than fork, exec and exit.
    fn count(&mut self, header: &FrameHeader) {
        self.others += 1;
        self.last = header.time;
    }
}

fn key_of(header: &FrameHeader) -> ProcessKey {
    ProcessKey { tgid: header.tgid, start: header.start }
}

/// The live processes, and the latest [`limits::DEAD_PROCESSES`] ended ones, within the memory limit
/// ([`limits::PROCESSES_SHARE`]).
#[derive(Debug, Default)]
pub struct ProcessTable {
    entries: HashMap<ProcessKey, ProcessEntry>,
    /// The current entry of a process id.
    current: HashMap<Tgid, ProcessKey>,
    /// The ticks (ns) of processes from the scan whose start is only known to the clock tick, by process id.
    inexact: HashMap<Tgid, u64>,
    /// Each parent with each of its children.
    children: BTreeSet<(ProcessKey, ProcessKey)>,
    /// Ended processes, oldest first.
    dead: VecDeque<ProcessKey>,
    /// The process id of the COMMAND. `state` has the identity of its process once it is known: the id may be reused later.
    command: Option<Tgid>,
    /// The processes that the ids in `tree=ID` denote; `None` until a process has the id.
    roots: HashMap<Tgid, Option<ProcessKey>>,
    /// By a root, the processes of the table that are known to descend from it, or not to.
    descents: RefCell<HashMap<ProcessKey, HashMap<ProcessKey, bool>>>,
    /// The keys of processes from the scan whose exact start became known: old key, new key. The `parent` of an entry
    /// may have an old key.
    settled: HashMap<ProcessKey, ProcessKey>,
    pub state: TableState,
    /// What the next exec changes in the environment, if it is an event of an excerpt.
    pub(super) told_env: Option<Box<EnvChange>>,
    /// Bytes of all entries, and of the environments among them.
    pub bytes: usize,
    env_bytes: usize,
    budget: Budget,
}

/// The limit of forks with `CLONE_PARENT` per line of descent at which the search follows the parent as well as the
/// process that forked.
const SIBLINGS: u32 = 4;

/// The limit of processes on the way to an ancestor: more than the table keeps in a line.
const GENERATIONS: usize = 1 << 16;

impl ProcessTable {
    pub fn new(budget: Budget) -> ProcessTable {
        ProcessTable { budget, ..ProcessTable::default() }
    }

    /// Sets the process of the COMMAND, before its first event.
    pub fn set_command(&mut self, command: Tgid) {
        (self.command, self.state.command) = (Some(command), None);
    }

    /// Sets the ids in `tree=ID` terms. An id denotes the process that has it now, or had it last; if none is known,
    /// the first process that gets it. An id that is already followed keeps its process.
    pub fn follow(&mut self, ids: &[Tgid]) {
        self.descents.get_mut().clear();
        self.roots.retain(|id, _| ids.contains(id));
        for id in ids {
            self.roots.entry(*id).or_insert_with(|| self.current.get(id).copied());
        }
    }

    pub fn roots(&self) -> Vec<Tgid> {
        self.roots.keys().copied().collect()
    }

    /// Sets the process that an id in `tree=ID` denotes, whichever process has the id now. Call it before
    /// [`follow`](Self::follow). Returns whether the id denoted another process before.
    pub fn follow_process(&mut self, process: ProcessKey) -> bool {
        self.roots.insert(process.tgid, Some(process)).is_some_and(|before| before != Some(process))
    }

    /// Every entry, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &ProcessEntry> {
        self.entries.values()
    }

    /// The children of a process that the table knows, by process id.
    pub fn children(&self, parent: ProcessKey) -> impl Iterator<Item = &ProcessEntry> {
        self.links(self.exact(parent)).filter_map(|(_, child)| self.entries.get(child))
    }

    fn links(&self, parent: ProcessKey) -> impl Iterator<Item = &(ProcessKey, ProcessKey)> {
        let first = ProcessKey { tgid: Tgid(0), start: BootNanos(0) };
        self.children.range((parent, first)..).take_while(move |(of, _)| *of == parent)
    }

    /// Adds a process to the children of its parent.
    fn link(&mut self, process: &Process) {
        if let Some(parent) = process.parent {
            self.children.insert((self.exact(parent), process.key));
        }
    }

    /// Removes a process from the children of its parent.
    fn unlink(&mut self, process: &Process) {
        if let Some(parent) = process.parent {
            self.children.remove(&(self.exact(parent), process.key));
        }
    }

    pub fn get(&self, key: ProcessKey) -> Option<&ProcessEntry> {
        self.entries.get(&self.exact(key))
    }

    /// A key with the exact start, if that has become known.
    pub(super) fn exact(&self, key: ProcessKey) -> ProcessKey {
        self.settled.get(&key).copied().unwrap_or(key)
    }

    /// The current (or latest) entry of a process id.
    pub fn by_tgid(&self, tgid: Tgid) -> Option<&ProcessEntry> {
        self.current.get(&tgid).and_then(|key| self.entries.get(key))
    }

    /// The ancestors of a process, nearest first, as far as the table knows them.
    pub fn ancestors(&self, process: &Process) -> impl Iterator<Item = &Arc<Process>> {
        let mut next = process.parent;
        // A parent starts before its child, but not by much if both are from the scan. A recording may also lie.
        let ancestors = std::iter::from_fn(move || {
            let entry = self.get(next?)?;
            next = entry.process.parent.filter(|parent| parent.start <= entry.process.key.start);
            Some(&entry.process)
        });
        ancestors.take(GENERATIONS)
    }

    /// Whether a process is the one that `root` denotes ([`follow`](Self::follow); an id that is not followed denotes
    /// the process that has it now), or a descendant: through the processes that forked, and through the parents at the
    /// forks.
    pub fn in_tree(&self, process: &Process, root: Tgid) -> bool {
        let followed = self.roots.get(&root).copied();
        let Some(root) = followed.unwrap_or_else(|| self.current.get(&root).copied()) else { return false };
        self.descends(process, self.exact(root), SIBLINGS, &mut { GENERATIONS })
    }

    /// `siblings` limits how many times the parent is followed as well, where another process forked (`CLONE_PARENT`). `steps`
    /// limits the number of processes visited: processes of a recording may be their own ancestors.
    fn descends(&self, process: &Process, root: ProcessKey, siblings: u32, steps: &mut usize) -> bool {
        let is_root = |key: ProcessKey| key.tgid == root.tgid && self.exact(key) == root;
        let older = |key: Option<ProcessKey>, process: &Process| {
            Some(&*self.get(key.filter(|key| key.start <= process.key.start)?)?.process)
        };
        let ancestry = |process: &Process| (process.maker, process.parent);
        let mut next = Some(process);
        let (mut start, mut passed, mut found) = (None, Vec::new(), false);
        // The event may be older than what the table knows of its process.
        let mut current =
            self.entries.get(&process.key).is_some_and(|entry| ancestry(&entry.process) == ancestry(process));
        while let Some(process) = next.filter(|_| *steps > 0) {
            let known = || self.descents.borrow().get(&root)?.get(&process.key).copied();
            if let Some(known) = current.then(known).flatten() {
                found = known;
                break;
            }
            passed.extend(std::mem::replace(&mut current, true).then_some(process.key));
            // Only processes of a scan start at the same time as their parents, or those that are their own ancestors.
            let same = start.replace(process.key.start) == Some(process.key.start);
            *steps = steps.saturating_sub(if same { GENERATIONS >> 8 } else { 1 });
            found = is_root(process.key)
                || process.maker.is_some_and(is_root)
                || process.parent.is_some_and(is_root)
                || process.maker != process.parent
                    && siblings > 0
                    && older(process.parent, process)
                        .is_some_and(|parent| self.descends(parent, root, siblings - 1, steps));
            if found {
                break;
            }
            next = older(process.maker, process);
        }
        // A limited search that found nothing proves nothing.
        if found || siblings == SIBLINGS && *steps > 0 {
            let mut descents = self.descents.borrow_mut();
            descents.entry(root).or_default().extend(passed.into_iter().map(|key| (key, found)));
        }
        found
    }

    /// Forgets which processes descend from a root through a process that is removed.
    fn forget_descents(&mut self, key: ProcessKey) {
        let mut descents = std::mem::take(&mut self.descents);
        for known in descents.get_mut().values_mut() {
            let mut waiting = vec![key];
            while let Some(key) = waiting.pop() {
                if known.remove(&key) == Some(true) {
                    waiting.extend(self.links(key).map(|(_, child)| *child));
                }
            }
        }
        self.descents = descents;
    }

    /// Adds a process from the process scan. A process that an event has already added keeps the data of the event.
    pub fn seed(&mut self, seed: &ProcessSeed) {
        let key = ProcessKey { tgid: seed.tgid, start: seed.start };
        if let Some(entry) = self.by_tgid(seed.tgid) {
            let Process { key: known, origin, held_ns, .. } = *entry.process;
            let tick = if seed.start_exact { 1 } else { seed.tick_ns };
            if known.start.0.checked_div(tick) == Some(seed.start.0 / tick.max(1)) {
                if matches!(origin, Origin::FirstSeen | Origin::Older) {
                    // The scan does not know how long the COMMAND was held.
                    let seeded = Process { held_ns, ..self.seeded(known, seed) };
                    self.replace(known, Arc::new(seeded));
                    self.found_env(known, seed);
                    self.make_room();
                }
                return;
            }
            // The scan is ahead of the events. The events that end the known process and start this one are yet to
            // come.
            if entry.end.is_none() || known.start >= seed.start {
                return;
            }
        }
        let process = Arc::new(self.seeded(key, seed));
        if !self.has_room(bytes_of(&process)) {
            // A process with events is more useful than one that was only found by the scan.
            self.note_evicted(key.start);
            return;
        }
        // It may be an ancestor of others.
        self.descents.get_mut().clear();
        self.insert(process, BootNanos(0));
        self.found_env(key, seed);
        if !seed.start_exact {
            self.inexact.insert(seed.tgid, seed.tick_ns);
        }
    }

    fn seeded(&self, key: ProcessKey, seed: &ProcessSeed) -> Process {
        // If one start is only known to the tick, both are compared to the tick. A process that started after the child
        // has the reused id of a parent that ended.
        let tick = if seed.start_exact { 1 } else { seed.tick_ns.max(1) };
        let older = |parent: &ProcessKey| seed.ppid.0 != 0 && parent.start.0 / tick <= key.start.0 / tick;
        let found = || self.current.get(&seed.ppid).copied().filter(older);
        let named = ProcessKey { tgid: seed.ppid, start: seed.parent_start };
        let parent = if seed.parent_start.0 == 0 { found() } else { Some(named).filter(|named| named.tgid.0 != 0) };
        let of_command = |parent: &ProcessEntry| parent.process.of_command;
        Process {
            key,
            parent,
            maker: parent,
            of_command: self.is_command(key)
                || parent.and_then(|parent| self.entries.get(&parent)).is_some_and(of_command),
            comm: seed.comm.as_slice().into(),
            image: Arc::new(Image {
                exe: seed.exe.as_slice().into(),
                argv: kept(&seed.argv).into(),
                cwd: seed.cwd.as_slice().into(),
                ..Image::default()
            }),
            uid: seed.uid,
            gid: seed.gid,
            cgroup: seed.cgroup.as_slice().into(),
            // Of a process that ended before /proc was read, only the start and the parent are known.
            origin: if seed.comm.is_empty() && seed.exe.is_empty() { Origin::Older } else { Origin::Seed },
            ..Process::default()
        }
    }

    /// Applies an event, and returns its process at that time (exec: after the exec). `None` for a row without a
    /// process.
    pub fn apply(&mut self, event: &Event<'_>) -> Option<Arc<Process>> {
        let key = key_of(&event.header);
        match &event.body {
            Body::Exec(exec) if self.state.command_argv.is_empty() && self.is_command(key) => {
                self.state.command_argv = kept(exec.argv).into();
            }
            Body::Exit(exit) if self.is_command(key) => {
                self.state.command_status.get_or_insert(exit.record.status);
            }
            _ => {}
        }
        match &event.body {
            Body::Lost(_) => None,
            // The kernel's stream of programs reported this event, and it does not name the process.
            _ if event.header.tgid == Tgid(0) && KindSet::LISTED.contains(event.kind()) => None,
            Body::Fork(fork) => {
                let parent = self.met(&event.header);
                self.forked(&event.header, &fork.record, &parent);
                Some(parent)
            }
            Body::Exec(exec) if exec.record.ret == 0 => Some(self.execed(&event.header, exec)),
            Body::Exec(exec) if exec.env.is_some() || self.told_env.is_some() => Some(self.tried(&event.header, exec)),
            Body::Exit(exit) => Some(self.exited(&event.header, exit.record.status)),
            _ => {
                // A connection has the name that its thread had at the request.
                let is_old = event.body.connection().is_some();
                // Usually the table has it.
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.count(&event.header);
                    let process = Arc::clone(&entry.process);
                    return Some(if is_old { process } else { self.renamed(process, &event.header) });
                }
                // A connection can outlive its process. A process without a further exit must not be added.
                if event.body.is_close() && self.settle_seed(key).is_none() {
                    return Some(Arc::new(self.first_seen(key, &event.header)));
                }
                let process = if is_old { self.found(&event.header) } else { self.met(&event.header) };
                if let Some(entry) = self.entries.get_mut(&process.key) {
                    entry.count(&event.header);
                }
                Some(process)
            }
        }
    }

    /// The process of a header, with its name at this event. It is added if the table does not have it.
    fn met(&mut self, header: &FrameHeader) -> Arc<Process> {
        let process = self.found(header);
        self.renamed(process, header)
    }

    /// The process of a header. It is added if the table does not have it.
    fn found(&mut self, header: &FrameHeader) -> Arc<Process> {
        let key = key_of(header);
        let known = self.entries.get(&key).map(|entry| Arc::clone(&entry.process));
        if let Some(process) = known.or_else(|| self.settle_seed(key)) {
            return process;
        }
        let process = Arc::new(self.first_seen(key, header));
        self.insert(Arc::clone(&process), header.time);
        process
    }

    /// The process with its name at an event of its leader.
    fn renamed(&mut self, process: Arc<Process>, header: &FrameHeader) -> Arc<Process> {
        let comm = header.comm();
        if header.tid.0 != header.tgid.0 || comm.is_empty() || *process.comm == *comm {
            return process;
        }
        let process = Arc::new(Process { comm: comm.into(), ..(*process).clone() });
        self.replace(process.key, Arc::clone(&process));
        process
    }

    /// Sets the exact start of a process from the scan whose start was only known to the tick, at its first event.
    fn settle_seed(&mut self, key: ProcessKey) -> Option<Arc<Process>> {
        let tick = self.inexact.get(&key.tgid).copied()?;
        let seeded = self.current.get(&key.tgid).copied()?;
        if tick == 0 || key.start.0 / tick != seeded.start.0 / tick {
            return None;
        }
        self.inexact.remove(&key.tgid);
        let mut entry = self.entries.remove(&seeded)?;
        self.unlink(&entry.process);
        entry.process = Arc::new(Process { key, ..(*entry.process).clone() });
        let process = Arc::clone(&entry.process);
        self.entries.insert(key, entry);
        self.current.insert(key.tgid, key);
        let children: Vec<_> = self.links(seeded).copied().collect();
        for (_, child) in children {
            self.children.remove(&(seeded, child));
            self.children.insert((key, child));
        }
        for known in self.descents.get_mut().values_mut() {
            if let Some(descends) = known.remove(&seeded) {
                known.insert(key, descends);
            }
        }
        self.settled.insert(seeded, key);
        self.link(&process);
        Some(process)
    }

    fn first_seen(&self, key: ProcessKey, header: &FrameHeader) -> Process {
        let parent = self.by_tgid(header.ppid).filter(|parent| header.ppid.0 != 0 && parent.end.is_none());
        // A process that started later, or ended before this event, is not the parent. It only has, or had, the
        // parent's id.
        let parent = parent.map(|entry| &*entry.process).filter(|parent| parent.key.start <= key.start);
        Process {
            key,
            of_command: self.is_command(key) || parent.is_some_and(|parent| parent.of_command),
            parent: parent.map(|parent| parent.key),
            maker: parent.map(|parent| parent.key),
            comm: header.comm().into(),
            uid: header.uid,
            gid: header.gid,
            cgroup: parent.map(|parent| Arc::clone(&parent.cgroup)).unwrap_or_default(),
            origin: match key.start < self.state.since || key.start <= self.state.evicted_until {
                true => Origin::Older,
                false => Origin::FirstSeen,
            },
            ..Process::default()
        }
    }

    fn is_command(&self, key: ProcessKey) -> bool {
        self.command == Some(key.tgid) && self.state.command.is_none_or(|met| self.exact(met) == key)
    }

    /// Whether a process is a run of the COMMAND before its exec.
    fn is_held(&self, process: &Process) -> bool {
        process.execs == 0 && (process.origin == Origin::NextRun || self.is_command(process.key))
    }

    fn forked(&mut self, header: &FrameHeader, fork: &tracetui_shared::record::fork::ForkRecord, caller: &Process) {
        self.state.pairing.tid_not_pid += u64::from(fork.child.0 != fork.child_tid);
        let key = ProcessKey { tgid: fork.child, start: fork.child_start };
        let parent = ProcessKey { tgid: fork.child_parent, start: fork.child_parent_start };
        // A lost exec would make a program look like a run before it.
        let is_next = parent != caller.key && self.is_held(caller);
        if let Some(known) = self.entries.get(&key) {
            // The process scan may have found it after its fork but before the ring was read.
            self.state.pairing.repeated_start += u64::from(known.process.origin == Origin::Fork);
            return self.inherit(key, parent, caller, is_next);
        }
        if self.settle_seed(key).is_some() {
            return self.inherit(key, parent, caller, is_next);
        }
        let child = Process {
            key,
            parent: Some(parent),
            maker: Some(caller.key),
            comm: header.comm().into(),
            image: Arc::clone(&caller.image),
            uid: header.uid,
            gid: header.gid,
            cgroup: Arc::clone(&caller.cgroup),
            origin: if is_next { Origin::NextRun } else { Origin::Fork },
            // From the caller, not the parent: clone(CLONE_PARENT) makes a sibling, which belongs to the COMMAND too.
            of_command: caller.of_command,
            ..Process::default()
        };
        self.insert(Arc::new(child), header.time);
        self.set_env(key, self.env(caller.key));
    }

    /// Sets the parent of a child that the process scan found before its fork was read: the scan knows the parent only
    /// by id. The child belongs to the COMMAND if its parent does.
    fn inherit(&mut self, child: ProcessKey, parent: ProcessKey, caller: &Process, is_next: bool) {
        if let Some(entry) = self.entries.get(&child) {
            let of_command = entry.process.of_command || caller.of_command;
            let origin = if is_next && entry.process.execs == 0 { Origin::NextRun } else { entry.process.origin };
            let process = Process {
                parent: Some(parent),
                maker: Some(caller.key),
                of_command,
                origin,
                ..(*entry.process).clone()
            };
            self.replace(child, Arc::new(process));
        }
    }

    fn execed(&mut self, header: &FrameHeader, exec: &Exec<'_>) -> Arc<Process> {
        self.state.pairing.tid_not_pid += u64::from(header.tid.0 != header.tgid.0);
        let before = self.found(header);
        let (old, is_whole) = (self.env(before.key), exec.record.env_marks == 0);
        let change = self.change(exec, old.as_deref());
        let same = |old: &Arc<[u8]>| exec.env == Some(&**old);
        let env = exec.env.filter(|_| is_whole).map(|env| old.filter(same).unwrap_or_else(|| env.into()));
        let first = before.held_ns == 0 && self.is_held(&before);
        let after = Arc::new(Process {
            held_ns: if first { header.time.since(before.key.start) } else { before.held_ns },
            comm: header.comm().into(),
            image: Arc::new(Image {
                exe: path(exec.exe),
                argv: kept(exec.argv).into(),
                cwd: path(exec.cwd),
                env: change,
                fds: exec.fds.area(),
            }),
            uid: header.uid,
            gid: header.gid,
            execs: before.execs + 1,
            ..(*before).clone()
        });
        let has_ended = self.entries.get(&before.key).is_some_and(|entry| entry.end.is_some());
        self.state.pairing.exit_before_exec += u64::from(has_ended);
        self.replace(before.key, Arc::clone(&after));
        if let Some(entry) = self.entries.get_mut(&before.key) {
            entry.last = header.time;
        }
        self.set_env(before.key, env);
        self.make_room();
        after
    }

    /// The process of an exec that failed, as its environment would have changed.
    fn tried(&mut self, header: &FrameHeader, exec: &Exec<'_>) -> Arc<Process> {
        let process = self.met(header);
        if let Some(entry) = self.entries.get_mut(&process.key) {
            entry.count(header);
        }
        let old = self.env(process.key);
        let image = Image { env: self.change(exec, old.as_deref()), ..(*process.image).clone() };
        Arc::new(Process { image: Arc::new(image), ..(*process).clone() })
    }

    /// What an exec changes in the environment, if that is known.
    fn change(&mut self, exec: &Exec<'_>, before: Option<&[u8]>) -> Option<Box<EnvChange>> {
        let between = |env| Box::new(EnvChange::between(before, env, exec.record.env_marks == 0));
        exec.env.map(between).or(self.told_env.take())
    }

    fn exited(&mut self, header: &FrameHeader, status: u32) -> Arc<Process> {
        self.state.pairing.tid_not_pid += u64::from(header.tid.0 != header.tgid.0);
        let process = self.met(header);
        let Some(entry) = self.entries.get_mut(&process.key) else { return process };
        if entry.end.is_some() {
            self.state.pairing.exit_twice += 1;
            return process;
        }
        self.state.pairing.unpaired_exit += u64::from(process.origin == Origin::FirstSeen);
        entry.end = Some(ProcessEnd { time: header.time, status });
        self.set_env(process.key, None);
        self.bury(process.key);
        process
    }

    fn insert(&mut self, process: Arc<Process>, last: BootNanos) {
        let key = process.key;
        if let Some(root) = self.roots.get_mut(&key.tgid) {
            root.get_or_insert(key);
        }
        if self.command == Some(key.tgid) {
            self.state.command.get_or_insert(key);
        }
        // The process scan may have found a later process with the same id already, of which no event has arrived yet.
        let is_ahead = |found: &ProcessEntry| found.last == BootNanos(0) && found.process.key.start > key.start;
        if !self.by_tgid(key.tgid).is_some_and(is_ahead) {
            if let Some(before) = self.current.insert(key.tgid, key)
                && let Some(entry) = self.entries.get(&before).filter(|entry| entry.end.is_none() && before != key)
            {
                // Its exit was lost, or is yet to come. The exit of a process without events may be outside of the filter's tree.
                self.state.pairing.start_mismatch += u64::from(entry.last > BootNanos(0));
                self.bury(before);
            }
            self.inexact.remove(&key.tgid);
        }
        self.put(ProcessEntry { process, end: None, others: 0, last, env: None });
        self.make_room();
    }

    fn replace(&mut self, key: ProcessKey, process: Arc<Process>) {
        if let Some(entry) = self.entries.get(&key) {
            self.put(ProcessEntry { process, ..entry.clone() });
        }
    }

    /// Adds an entry, or replaces the one with the same key.
    fn put(&mut self, entry: ProcessEntry) {
        let process = Arc::clone(&entry.process);
        (self.bytes, self.env_bytes) = (self.bytes + entry.bytes(), self.env_bytes + entry.env_bytes());
        if let Some(before) = self.entries.insert(process.key, entry) {
            (self.bytes, self.env_bytes) = (self.bytes - before.bytes(), self.env_bytes - before.env_bytes());
            self.unlink(&before.process);
            if (before.process.maker, before.process.parent) != (process.maker, process.parent) {
                self.descents.get_mut().clear();
            }
        }
        self.link(&process);
    }

    /// The environment of a process's program, if it is known.
    pub(super) fn env(&self, key: ProcessKey) -> Option<Arc<[u8]>> {
        self.entries.get(&key)?.env.clone()
    }

    /// Sets the environment that the process scan found, unless an event has set one or the process has executed another program since.
    fn found_env(&mut self, key: ProcessKey, seed: &ProcessSeed) {
        let Some(entry) = self.get(key).filter(|entry| entry.env.is_none() && entry.process.execs == 0) else { return };
        let Some(found) = seed.env.as_deref() else { return };
        self.set_env(key, Some(self.shared_env(entry.process.parent, found)));
    }

    /// Sets the environment of a process. All together take a quarter of the table's memory at most: they must not cost processes.
    fn set_env(&mut self, key: ProcessKey, env: Option<Arc<[u8]>>) {
        let most = self.budget.processes() / 4;
        if let Some(entry) = self.entries.get_mut(&key) {
            (self.bytes, self.env_bytes) = (self.bytes - entry.bytes(), self.env_bytes - entry.env_bytes());
            entry.env = env.filter(|env| self.env_bytes + env.len() <= most);
            (self.bytes, self.env_bytes) = (self.bytes + entry.bytes(), self.env_bytes + entry.env_bytes());
        }
    }

    fn bury(&mut self, key: ProcessKey) {
        self.dead.push_back(key);
        if self.dead.len() > limits::DEAD_PROCESSES
            && let Some(oldest) = self.dead.pop_front()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, key: ProcessKey) {
        self.forget_descents(key);
        if let Some(entry) = self.entries.remove(&key) {
            (self.bytes, self.env_bytes) = (self.bytes - entry.bytes(), self.env_bytes - entry.env_bytes());
            self.unlink(&entry.process);
        }
        if self.current.get(&key.tgid) == Some(&key) {
            self.current.remove(&key.tgid);
            self.inexact.remove(&key.tgid);
        }
    }

    /// Whether this many more bytes fit. Removes ended processes as needed.
    fn has_room(&mut self, bytes: usize) -> bool {
        while self.bytes + bytes > self.budget.processes()
            && let Some(oldest) = self.dead.pop_front()
        {
            self.forget(oldest);
        }
        self.bytes + bytes <= self.budget.processes()
    }

    /// Removes ended processes, the oldest first; then live ones if that is not enough.
    fn make_room(&mut self) {
        if !self.has_room(0) {
            self.forget_living();
        }
    }

    /// Removes the live processes that were idle longest, those of a COMMAND last. It frees an eighth of the limit, so
    /// that it runs rarely.
    fn forget_living(&mut self) {
        let keep = self.budget.processes() / 8 * 7;
        let of = |(key, entry): (&ProcessKey, &ProcessEntry)| (entry.process.of_command, entry.last, *key);
        let mut quiet: Vec<_> = self.entries.iter().map(of).collect();
        quiet.sort_unstable();
        // The last one is the process of the current event.
        quiet.pop();
        for (_, _, key) in quiet {
            if self.bytes <= keep {
                break;
            }
            self.forget(key);
            self.note_evicted(key.start);
        }
    }

    fn note_evicted(&mut self, start: BootNanos) {
        self.state.evicted += 1;
        self.state.evicted_until = self.state.evicted_until.max(start);
    }
}

fn kept(argv: &[u8]) -> &[u8] {
    argv.get(..limits::KEPT_ARGV).unwrap_or(argv)
}

fn path(names: Components<'_>) -> Box<[u8]> {
    let mut out = Vec::new();
    if names.absent().is_none() && !names.bytes.is_empty() {
        names.write(&mut out);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of a chain of processes with these ids. Each is the parent of the next one.
    fn chain(ids: std::ops::Range<u32>) -> ProcessTable {
        let mut table = ProcessTable::new(Budget::new(1 << 40));
        for id in ids {
            let start = |id: u32| BootNanos(id.into());
            table.seed(&ProcessSeed {
                tgid: Tgid(id),
                start: start(id),
                start_exact: true,
                ppid: Tgid(id - 1),
                parent_start: start(id - 1),
                comm: b"link".to_vec(),
                ..ProcessSeed::default()
            });
        }
        table
    }

    fn descends(table: &ProcessTable, id: u32, root: u32) -> bool {
        let process = Arc::clone(&table.by_tgid(Tgid(id)).expect("it lives").process);
        table.in_tree(&process, Tgid(root))
    }

    #[test]
    fn a_long_chain_is_followed_once_and_ends_with_a_process_between() {
        let (table, began) = (chain(2..40_002), std::time::Instant::now());
        for id in (2..40_002).rev() {
            assert!(descends(&table, id, 2) && descends(&table, id, 40_001) == (id == 40_001));
        }
        // Else it is minutes.
        assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
        // A known descent ends with a process between.
        let mut table = chain(2..12);
        let key = |id: u32| ProcessKey { tgid: Tgid(id), start: BootNanos(id.into()) };
        let all = |table: &ProcessTable| [3, 5, 6, 7, 11].map(|id| descends(table, id, 2));
        for _ in 0..2 {
            assert_eq!((all(&table), descends(&table, 5, 6)), ([true; 5], false));
        }
        table.forget(key(4));
        for _ in 0..2 {
            assert_eq!(all(&table), [true, false, false, false, false]);
        }
        // The scan finds it again.
        table.seed(&ProcessSeed {
            tgid: Tgid(4),
            start: BootNanos(4),
            start_exact: true,
            ppid: Tgid(3),
            parent_start: BootNanos(3),
            ..ProcessSeed::default()
        });
        assert_eq!(all(&table), [true; 5]);
        table.follow_process(key(6));
        assert_eq!([5, 6, 7].map(|id| descends(&table, id, 6)), [false, true, true]);
    }
}
