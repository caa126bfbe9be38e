//! The processes of the tree: a fold over the delivered events, each linked to its parent when it is added.
//!
//! Counts are current. The counts of an earlier moment are the current ones minus the kept events since then ([`Travel`]).

use super::node::{Counts, End, FailedExec, Node, Seen, Work};
use super::pipelines::pipe;
use crate::app::input::Measurement;
use crate::app::views::event_list::Job;
use crate::app::views::state::Moment;
use foldhash::HashMap;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tracetui_events::budget::Budget;
use tracetui_events::enrich::process::ProcessTable;
use tracetui_events::event::process::{Process, ProcessKey};
use tracetui_events::event::{Body, EventContext, Home, Payload, Tables, Takes, session, takes};
use tracetui_events::limits;
use tracetui_events::search::{Answered, ExitCause, Failure};
use tracetui_events::store::{Id, Store, Stored};
use tracetui_events::text::{command, shell};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::session::known;
use tracetui_shared::time::BootNanos;

/// How many bytes of the path and of the arguments of a failure are kept.
const TEXT: usize = 256;

/// How many ancestors a process may have below the topmost one of its job.
const JOB: usize = 256;

/// The maximum number of ancestors added together with a process.
const GENERATIONS: usize = 1 << 12;

/// The counts of an event, and of the evicted opens counted in it.
fn counts_of(stored: &Stored<'_>) -> Counts {
    let (own, evicted) = (Counts::of(stored.kind, stored.failed, stored.answered), stored.evicted.into());
    let failed = if stored.kind == Kind::HUSHED { own.failed * evicted } else { 0 };
    own.and(Counts { events: evicted, opens: evicted, failed, ..Counts::default() })
}

/// The counts to subtract for an earlier moment.
#[derive(Debug)]
struct Travel {
    /// The first event counted in `after`.
    at: Id,
    after: HashMap<ProcessKey, Counts>,
}

/// Whether a process is a shell without a command or script.
fn waits_for_commands(process: &Process) -> bool {
    let mut words = shell::args(&process.image.argv);
    let program = words.next().unwrap_or_default();
    let name = command::leaf(program.strip_prefix(b"-").unwrap_or(program));
    shell::SHELLS.contains(&name) && words.all(|word| word.starts_with(b"-") && word != b"-c")
}

#[derive(Debug, Default)]
pub(crate) struct Nodes {
    nodes: HashMap<ProcessKey, Node>,
    /// The children of each process in the order of their starts: the parent, the start and the id.
    children: BTreeSet<(Option<ProcessKey>, BootNanos, Tgid)>,
    added: u32,
    /// The latest process with each id.
    current: HashMap<Tgid, ProcessKey>,
    /// The first process executed with each pipe as its stdin, by the inode. Others inherit the pipe.
    pub(super) readers: HashMap<u64, ProcessKey>,
    /// Ended processes, oldest first: those without a failure, then the others.
    ended: [VecDeque<ProcessKey>; 2],
    bytes: usize,
    bound: usize,
    /// The number of processes removed or never added.
    pub left_out: u64,
    /// The time that the trace has reached.
    pub last: BootNanos,
    travel: Option<Travel>,
    /// What running processes used, also those without a node.
    pub(super) used: HashMap<ProcessKey, Measurement>,
    /// How many processes of the table were measured in this round.
    pub(super) measured: usize,
}

impl Nodes {
    pub(super) fn new(budget: Budget) -> Nodes {
        Nodes { bound: budget.share(limits::TREE_SHARE), ..Nodes::default() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, key: ProcessKey) -> Option<&Node> {
        self.nodes.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: ProcessKey) -> Option<&mut Node> {
        self.nodes.get_mut(&key)
    }

    pub(super) fn parent(&self, of: ProcessKey) -> Option<ProcessKey> {
        self.get(of)?.parent
    }

    /// The children of a process, or the processes without a parent, in the order of their starts.
    pub(super) fn children(&self, of: Option<ProcessKey>) -> impl DoubleEndedIterator<Item = ProcessKey> {
        let all = (of, BootNanos(0), Tgid(0))..=(of, BootNanos(u64::MAX), Tgid(u32::MAX));
        self.children.range(all).map(|(_, start, tgid)| ProcessKey { tgid: *tgid, start: *start })
    }

    /// A process as it was at a moment, or as it is now. `None` if the process started later.
    pub(super) fn seen(&self, key: ProcessKey, moment: Option<Moment>) -> Option<Seen<'_>> {
        let node = self.get(key).filter(|node| moment.is_none_or(|moment| node.started(moment)))?;
        let known = |id: &Id| moment.is_none_or(|moment| *id < moment.until);
        let process = match (&node.before, moment) {
            (Some((exec, before)), Some(moment)) if *exec > moment.time => before,
            _ => &node.process,
        };
        let after = self.travel.as_ref().and_then(|travel| travel.after.get(&key));
        let end = node.end.filter(|end| moment.is_none_or(|moment| end.time <= moment.time));
        Some(Seen {
            process,
            exec: node.exec.map(|(id, _)| id).filter(known),
            work: node.work.as_deref(),
            counts: after.filter(|_| moment.is_some()).map_or(node.counts, |after| node.counts.without(*after)),
            end,
            failed_exec: node.failed_exec.as_ref().filter(|tried| known(&tried.failure.id)),
            cause: node.cause.filter(|_| end.is_some()),
            from: node.from.filter(|_| end.is_some()),
            home: Home { pid_ns: node.pid_ns, cgroup: node.cgroup, process: Some(process) },
            used: self.used.get(&key).filter(|_| moment.is_none() && node.end.is_none()).copied(),
        })
    }

    /// Adds an event that was just stored. `matched`: it passes the filter. `cause`: of an exit.
    pub(crate) fn append(&mut self, id: Id, seen: &EventContext<'_>, matched: bool, cause: Option<ExitCause>) {
        let header = &seen.event.header;
        let Some(process) = seen.process else { return };
        self.last = self.last.max(header.time);
        let key = process.key;
        if !self.add(id, process, seen.world) {
            return;
        }
        let (kind, failed) = (seen.event.kind(), seen.event.failed());
        let mut counts = Counts::of(kind, failed, false);
        counts.changes += u64::from(takes(kind) == Takes::Contents && !failed && !seen.event.is_quiet(false));
        if let Some(travel) = &mut self.travel {
            let after = travel.after.entry(key).or_default();
            *after = after.and(counts);
        }
        let Some(node) = self.nodes.get_mut(&key) else { return };
        node.matched |= matched;
        node.counts = node.counts.and(counts);
        (node.pid_ns, node.cgroup) = (header.pid_ns, header.cgroup);
        match &seen.event.body {
            Body::Exec(exec) if exec.failed() => {
                let rest = exec.argv.iter().position(|byte| *byte == 0).map_or(0, |nul| nul + 1);
                let args = exec.argv.get(rest..).unwrap_or_default();
                let tried = FailedExec {
                    failure: Failure::of(id, exec.record.ret),
                    path: exec.filename.get(exec.filename.len().saturating_sub(TEXT)..).unwrap_or_default().into(),
                    args: args.get(..TEXT).unwrap_or(args).into(),
                };
                self.changed(key, |node| node.failed_exec = Some(tried));
            }
            Body::Exec(exec) => {
                if let Some(pipe) = pipe(exec, 0) {
                    // Older processes are then no longer joined.
                    if self.readers.len() >= limits::TREE_PROCESSES {
                        self.readers.clear();
                    }
                    // A pipe may have several readers, of which the first one that lives is shown, or inodes come again.
                    let lives = |of: &ProcessKey| self.nodes.get(of).is_some_and(|node| node.end.is_none());
                    if self.readers.get(&pipe).is_none_or(|reader| !lives(reader)) {
                        self.readers.insert(pipe, key);
                    }
                }
                let session = session::of(seen);
                let on_terminal = session.is_none_or(|session| session::tty(session).is_some());
                let session = session.filter(|session| session.known & known::ID != 0).map(|session| session.id);
                self.changed(key, |node| {
                    let before = std::mem::replace(&mut node.process, Arc::clone(process));
                    node.before = Some((header.time, before));
                    node.failed_exec = None;
                    node.exec = Some((id, session));
                    node.interactive = on_terminal && waits_for_commands(process);
                });
            }
            Body::Exit(exit) => {
                let cause = cause.filter(|cause| !cause.went_on);
                node.from = cause.and_then(|cause| cause.child);
                node.cause = cause.and_then(|cause| cause.failure).filter(|_| node.from.is_none());
                let (status, cost) = (Some(exit.record.status), exit.cost().copied());
                self.end(key, End { time: header.time, status, cost, id: Some(id), routine: false });
            }
            Body::Fork(fork) => {
                let child = ProcessKey { tgid: fork.record.child, start: fork.record.child_start };
                if let Some(child) = seen.world.process(child) {
                    self.add(id, child, seen.world);
                }
            }
            _ if node.process.parent != process.parent && node.parent.is_none() => self.adopt(process),
            _ => {}
        }
        let ended = seen.event.body.exit().filter(|_| self.children(Some(key)).next().is_none());
        let ended = ended.filter(|_| self.get(key).is_some_and(|node| node.exec.is_some()));
        let ran = ended.map(|_| (process.short_command().into(), seen.ran_ns()));
        self.works(key, |work| {
            work.counts = work.counts.and(counts);
            work.failed += u64::from(kind == Kind::Exit && failed);
            let longest = work.slowest.as_ref().map_or(0, |(_, ns)| *ns);
            work.slowest = ran.filter(|(_, ns)| *ns > longest).or(work.slowest.take());
        });
    }

    /// Changes what the descendants of a job did, if the process is one of them.
    fn works(&mut self, of: ProcessKey, change: impl FnOnce(&mut Work)) {
        if let Some(job) = self.top_of_job(of).filter(|job| *job != of) {
            self.changed(job, |node| change(node.work.get_or_insert_default()));
        }
    }

    /// The topmost process of the job that a process belongs to: the ancestor, or the process itself, that was executed during the trace
    /// below an interactive shell, in the same session. All that COMMAND started is one job.
    fn top_of_job(&self, of: ProcessKey) -> Option<ProcessKey> {
        let (mut job, mut session, mut above) = (None, None, Some(of));
        for _ in 0..JOB {
            let Some((key, node)) = above.and_then(|key| Some((key, self.get(key)?))) else { break };
            above = node.parent;
            let Some((_, own)) = node.exec else {
                // A process that was only forked does the work of its parent.
                if node.born.is_some() { continue } else { break }
            };
            let differs = session.zip(own).is_some_and(|(below, own)| below != own) && !node.process.of_command;
            if node.interactive || differs {
                break;
            }
            (job, session) = (Some(key), own.or(session));
        }
        job
    }

    /// The job that a process belongs to, or whose topmost process it is.
    pub(crate) fn job(&self, of: ProcessKey) -> Option<Job> {
        let process = self.top_of_job(of)?;
        let node = self.get(process).filter(|node| node.work.is_some())?;
        Some(Job { process, exec: node.exec?.0 })
    }

    /// Takes a failed call off the counts, or marks an exit as routine.
    pub(crate) fn answered(&mut self, answered: &Answered) {
        let Answered { id, kind, process: key } = *answered;
        if kind == Kind::Exit {
            let end = self.get_mut(key).and_then(|node| node.end.as_mut()).filter(|end| end.id == Some(id));
            end.into_iter().for_each(|end| end.routine = true);
            return self.works(key, |work| work.failed = work.failed.saturating_sub(1));
        }
        let one = Counts { failed: 1, ..Counts::default() };
        let after = self.travel.as_mut().filter(|travel| travel.at <= id).and_then(|travel| travel.after.get_mut(&key));
        after.into_iter().for_each(|after| *after = after.without(one));
        self.changed(key, |node| {
            node.counts = node.counts.without(one);
            node.failed_exec = node.failed_exec.take().filter(|tried| tried.failure.id != id);
        });
    }

    /// The processes that exited with a code other than 0 or were killed, in the order of their ends.
    pub(super) fn failed(&self) -> impl Iterator<Item = ProcessKey> {
        self.ended[1].iter().copied()
    }

    fn changed(&mut self, key: ProcessKey, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(&key) {
            let before = node.bytes();
            change(node);
            self.bytes = (self.bytes + node.bytes()).saturating_sub(before);
        }
    }

    fn end(&mut self, key: ProcessKey, end: End) {
        if let Some(node) = self.get_mut(key).filter(|node| node.end.is_none()) {
            node.end = Some(end);
            self.ended[usize::from(end.status != Some(0))].push_back(key);
        }
    }

    /// Marks processes as ended that ended without an event here, because the capture filter drops it.
    pub(crate) fn settle(&mut self, processes: &ProcessTable) {
        let running = self.nodes.iter().filter(|(_, node)| node.end.is_none());
        let ended = running.filter_map(|(key, _)| Some((*key, processes.get(*key)?.end?)));
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable_by_key(|(key, end)| (end.time, *key));
        for (key, end) in ended {
            self.end(key, End { time: end.time, status: Some(end.status), cost: None, id: None, routine: false });
        }
    }

    /// Marks a process that has a kept event that passes the filter.
    pub(crate) fn matched(&mut self, key: ProcessKey) {
        self.get_mut(key).into_iter().for_each(|node| node.matched = true);
    }

    /// Forgets which processes have events that pass the filter.
    pub(crate) fn unmatch(&mut self) {
        self.nodes.values_mut().for_each(|node| node.matched = false);
    }

    /// Adds a process and its ancestors if they are not known. `false` if there is no room.
    pub(super) fn add(&mut self, id: Id, process: &Arc<Process>, world: &dyn Tables) -> bool {
        if self.nodes.contains_key(&process.key) {
            return true;
        }
        let mut line = vec![Arc::clone(process)];
        let mut above = None;
        while let Some((child, key)) = line.last().and_then(|child| Some((child, child.parent?))) {
            // The parent may be recorded by a start time that was not exact then.
            let found = world.process(key);
            let key = found.map_or(key, |found| found.key);
            above = Some(key).filter(|key| self.nodes.contains_key(key));
            let older = |found: &&Arc<Process>| {
                // Processes outside COMMAND are not shown. A recording may claim that a process is its own ancestor.
                found.of_command == child.of_command
                    && found.key.start <= child.key.start
                    && line.len() < GENERATIONS
                    && (found.key.start < child.key.start || line.iter().all(|below| below.key != found.key))
            };
            match found.filter(older).filter(|_| above.is_none()) {
                Some(parent) => line.push(Arc::clone(parent)),
                None => break,
            }
        }
        line.into_iter().rev().all(|process| {
            let parent = above.replace(process.key);
            self.insert(id, process, parent)
        })
    }

    fn insert(&mut self, id: Id, process: Arc<Process>, parent: Option<ProcessKey>) -> bool {
        let key = process.key;
        self.added = self.added.wrapping_add(1);
        let node = Node::new(process, id, parent, self.added);
        let bytes = node.bytes();
        let is_full = |nodes: &Nodes| nodes.bytes + bytes > nodes.bound || nodes.nodes.len() >= limits::TREE_PROCESSES;
        while is_full(self) && self.forget_one(parent) {}
        if is_full(self) {
            self.left_out += 1;
            return false;
        }
        self.children.insert((parent, key.start, key.tgid));
        self.nodes.insert(key, node);
        self.bytes += bytes;
        if let Some(before) = self.current.insert(key.tgid, key).filter(|before| before.start < key.start) {
            // The exit was lost: another process has the id.
            self.end(before, End { time: key.start, status: None, cost: None, id: None, routine: false });
        }
        true
    }

    /// Makes a process a child of `parent`.
    fn link(&mut self, key: ProcessKey, parent: Option<ProcessKey>) {
        let Some(node) = self.nodes.get_mut(&key) else { return };
        let before = std::mem::replace(&mut node.parent, parent);
        self.children.remove(&(before, key.start, key.tgid));
        self.children.insert((parent, key.start, key.tgid));
    }

    /// Links a process to a parent that was not in the tree before.
    fn adopt(&mut self, process: &Arc<Process>) {
        let key = process.key;
        self.changed(key, |node| node.process = Arc::clone(process));
        let parent = process.parent.filter(|parent| self.nodes.contains_key(parent));
        let line: Vec<_> = std::iter::successors(parent, |key| self.parent(*key)).take(GENERATIONS).collect();
        if parent.is_some() && line.len() < GENERATIONS && !line.contains(&key) {
            self.link(key, parent);
        }
    }

    /// Removes the process that ended first, other than `spared`, if there is one. Those without a failure go first.
    fn forget_one(&mut self, spared: Option<ProcessKey>) -> bool {
        for ended in 0..self.ended.len() {
            while let Some(key) = self.ended[ended].pop_front() {
                if Some(key) == spared {
                    // It may be removed later, together with processes that end later.
                    self.ended[ended].push_back(key);
                    if self.ended[ended].len() == 1 {
                        break;
                    }
                } else if self.forget(key) {
                    self.left_out += 1;
                    return true;
                }
            }
        }
        false
    }

    fn forget(&mut self, key: ProcessKey) -> bool {
        let Some(node) = self.nodes.remove(&key) else { return false };
        self.bytes = self.bytes.saturating_sub(node.bytes());
        if self.current.get(&key.tgid) == Some(&key) {
            self.current.remove(&key.tgid);
        }
        self.children.remove(&(node.parent, key.start, key.tgid));
        let children: Vec<_> = self.children(Some(key)).collect();
        children.into_iter().for_each(|child| self.link(child, None));
        self.travel.iter_mut().for_each(|travel| _ = travel.after.remove(&key));
        true
    }

    /// Moves the counts to a moment.
    pub(crate) fn travel(&mut self, moment: Option<Moment>, store: &Store) {
        let (first, next) = (store.first_id(), store.next_id());
        let Some(until) = moment.map(|moment| moment.until.clamp(first, next)) else {
            self.travel = None;
            return;
        };
        // If the events in between are evicted, it starts again from the newest.
        let known = self.travel.take().filter(|travel| travel.at >= first);
        let Travel { at, mut after } = known.unwrap_or(Travel { at: next, after: HashMap::default() });
        for stored in store.range(at.min(until)..at.max(until)) {
            let Some(key) = stored.process.map(|process| process.key).filter(|key| self.nodes.contains_key(key)) else {
                continue;
            };
            let (of, counts) = (after.entry(key).or_default(), counts_of(&stored));
            *of = if until < at { of.and(counts) } else { of.without(counts) };
        }
        self.travel = Some(Travel { at: until, after });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::app;
    use crate::app::{App, Input};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tracetui_events::synthetic::Maker;

    /// An event of one of several processes that run at the same time.
    fn make(made: &mut Maker, number: u32) {
        let pid = 100 + number % 7;
        match number / 7 % 5 {
            0 => made.open(pid, "cat", "/etc/passwd", -2),
            1 => made.exec(pid, "cat", &["cat"], 0),
            2 => made.exec(pid, "cat", &["cat"], -13),
            3 => made.fork(pid, "cat", 100 + number / 35 % 7),
            _ => made.open(pid, "cat", "/etc/passwd", 3),
        }
    }

    /// The counts of the kept events between two ids, by a plain scan.
    fn counted(app: &App, from: Id, until: Id) -> HashMap<ProcessKey, Counts> {
        let mut counts: HashMap<ProcessKey, Counts> = HashMap::default();
        for stored in (from..until).filter_map(|id| app.store.get(id)) {
            if let Some(process) = stored.process {
                let sum = counts.entry(process.key).or_default();
                *sum = sum.and(counts_of(&stored));
            }
        }
        counts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Holds while events arrive and are evicted, and for an evicted moment.
        #[test]
        fn the_counts_of_a_moment_are_those_of_a_plain_scan(
            memory in prop_oneof![Just(1u64 << 20), Just(64 << 20)],
            steps in vec((vec(any::<u32>(), 0..400), 0u64..=1000), 1..12),
        ) {
            let mut app = app(80, 24, memory);
            app.store = Store::new(app.store.bound).by_age();
            let mut made = Maker::default();
            for (events, share) in steps {
                events.into_iter().for_each(|number| make(&mut made, number));
                app.update(Input::Batch(made.batch()));
                let (first, next) = (app.store.first_id(), app.store.next_id());
                // Forks are not shown.
                if app.events.rows() == 0 {
                    continue;
                }
                app.events.select(first + (next - first - 1) * share / 1000, 20, &app.store);
                let moment = app.loaded().moment().expect("an event is selected");
                app.views.tree.nodes.travel(Some(moment), &app.store);
                let [kept, before] = [next, moment.until].map(|until| counted(&app, first, until));
                for (key, node) in &app.views.tree.nodes.nodes {
                    let of = |counts: &HashMap<_, _>| counts.get(key).copied().unwrap_or_default();
                    let evicted = node.counts.without(of(&kept));
                    prop_assert!(app.store.evicted() > 0 || evicted == Counts::default());
                    let want = evicted.and(of(&before));
                    let seen = app.views.tree.nodes.seen(*key, Some(moment)).map(|seen| seen.counts);
                    prop_assert_eq!(seen.unwrap_or_default(), want);
                }
            }
        }
    }
}
