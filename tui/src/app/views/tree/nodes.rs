//! The processes of the tree: a fold over the delivered events, each linked to its parent when it is added.
//!
//! Counts are current. The counts of an earlier moment are the current ones minus the kept events since then ([`Travel`]).

use super::node::{Child, Counts, End, FailedExec, Flags, Fold, Links, NONE, Node, NodeIndex, Seen, Work};
use super::pipes::{Ends, Pipes};
use crate::app::copy::{leads_to, redirections};
use crate::app::input::Measurement;
use crate::app::views::event_list::Job;
use crate::app::views::state::Moment;
use foldhash::HashMap;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tracetui_events::budget::Budget;
use tracetui_events::enrich::process::ProcessTable;
use tracetui_events::event::process::{Origin, Process, ProcessKey};
use tracetui_events::event::{Body, EventContext, Home, Payload, Tables, Takes, session, takes};
use tracetui_events::limits;
use tracetui_events::search::{Answered, ExitCause, Failure};
use tracetui_events::store::{Id, Store, Stored};
use tracetui_events::text::{command, shell};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::session::known;
use tracetui_shared::time::BootNanos;

/// Bytes of the redirections that are kept of a program.
const REDIRECTED: usize = 4096;

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
    nodes: Vec<Option<Node>>,
    /// Indexed like `nodes`.
    links: Vec<Links>,
    children: BTreeSet<Child>,
    added: u32,
    free: Vec<NodeIndex>,
    places: HashMap<ProcessKey, NodeIndex>,
    /// The latest process with each id.
    current: HashMap<Tgid, NodeIndex>,
    /// Ended processes, oldest first: those without a failure, then the others.
    ended: [VecDeque<ProcessKey>; 2],
    bytes: usize,
    bound: usize,
    pub(super) ends: Ends,
    /// The number of processes removed or never added.
    pub left_out: u64,
    /// The time that the trace has reached.
    pub last: BootNanos,
    travel: Option<Travel>,
    /// What running processes used, also those without a node.
    pub(super) used: HashMap<ProcessKey, Measurement>,
    /// How many processes of the table were measured in this round.
    pub(super) measured: usize,
    /// Whether the rows are out of date.
    pub stale: bool,
}

impl Nodes {
    pub(super) fn new(budget: Budget) -> Nodes {
        Nodes { bound: budget.share(limits::TREE_SHARE), stale: true, ..Nodes::default() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, at: NodeIndex) -> Option<&Node> {
        self.nodes.get(at as usize)?.as_ref()
    }

    /// The number of places, including unused ones.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn get_mut(&mut self, at: NodeIndex) -> Option<&mut Node> {
        self.nodes.get_mut(at as usize)?.as_mut()
    }

    pub(super) fn place(&self, key: ProcessKey) -> Option<NodeIndex> {
        self.places.get(&key).copied()
    }

    pub(super) fn links(&self, at: NodeIndex) -> Links {
        self.links.get(at as usize).copied().unwrap_or_default()
    }

    pub(super) fn parent(&self, at: NodeIndex) -> Option<NodeIndex> {
        Some(self.links(at).parent).filter(|parent| *parent != NONE)
    }

    /// The children of a process, or the processes without a parent, in the order of their starts.
    pub(super) fn children(&self, of: Option<NodeIndex>) -> impl DoubleEndedIterator<Item = NodeIndex> {
        let of = of.unwrap_or(NONE);
        let all = (of, BootNanos(0), Tgid(0), 0)..=(of, BootNanos(u64::MAX), Tgid(u32::MAX), NONE);
        self.children.range(all).map(|(.., at)| *at)
    }

    /// Updates the state that building the rows reads.
    pub(super) fn flag(&mut self, at: NodeIndex) {
        let Some(flags) = self.flags_at(at, None) else { return };
        if let Some(links) = self.links.get_mut(at as usize).filter(|links| links.flags != flags) {
            links.flags = flags;
            self.stale = true;
        }
    }

    /// The state that building the rows reads, as it was at a moment. `None` if the process started later.
    pub(super) fn flags_at(&self, at: NodeIndex, moment: Option<Moment>) -> Option<Flags> {
        let (seen, node) = (self.seen(at, moment)?, self.get(at)?);
        let active = node.counts.events > 0 || node.process.origin == Origin::Fork || node.busy;
        Some(Flags {
            running: active && seen.end.is_none(),
            failed: seen.failed(),
            matched: node.matched,
            active,
            fold: node.fold,
        })
    }

    pub(super) fn fold(&mut self, at: NodeIndex, fold: Fold) {
        self.get_mut(at).into_iter().for_each(|node| node.fold = fold);
        self.flag(at);
    }

    /// A process as it was at a moment, or as it is now. `None` if the process started later.
    pub(super) fn seen(&self, at: NodeIndex, moment: Option<Moment>) -> Option<Seen<'_>> {
        let node = self.get(at).filter(|node| moment.is_none_or(|moment| node.started(moment)))?;
        let known = |failure: &Failure| moment.is_none_or(|moment| failure.id < moment.until);
        let (process, redirected) = match (&node.before, moment) {
            (Some((exec, before)), Some(moment)) if *exec > moment.time => (before, ""),
            _ => (&node.process, &*node.redirected),
        };
        let after = self.travel.as_ref().and_then(|travel| travel.after.get(&node.process.key));
        let end = node.end.filter(|end| moment.is_none_or(|moment| end.time <= moment.time));
        Some(Seen {
            process,
            exec: node.exec.map(|(id, _)| id),
            work: node.work.as_deref(),
            counts: after.filter(|_| moment.is_some()).map_or(node.counts, |after| node.counts.without(*after)),
            end,
            failed_exec: node.failed_exec.as_ref().filter(|tried| known(&tried.failure)),
            redirected,
            cause: node.cause.filter(|_| end.is_some()),
            from: node.from.filter(|_| end.is_some()),
            home: Home { pid_ns: node.pid_ns, cgroup: node.cgroup, process: Some(process) },
            used: self.used.get(&node.process.key).filter(|_| moment.is_none() && node.end.is_none()).copied(),
        })
    }

    /// Adds an event that was just stored. `matched`: it passes the filter. `cause`: of an exit.
    pub(crate) fn append(&mut self, id: Id, seen: &EventContext<'_>, matched: bool, cause: Option<ExitCause>) {
        let header = &seen.event.header;
        let Some(process) = seen.process else { return };
        self.last = self.last.max(header.time);
        let Some(at) = self.place_of(id, process, seen.world) else { return };
        let (kind, failed) = (seen.event.kind(), seen.event.failed());
        let mut counts = Counts::of(kind, failed, false);
        counts.changes += u64::from(takes(kind) == Takes::Contents && !failed && !seen.event.is_quiet(false));
        if let Some(travel) = &mut self.travel {
            let after = travel.after.entry(process.key).or_default();
            *after = after.and(counts);
        }
        let Some(node) = self.nodes.get_mut(at as usize).and_then(Option::as_mut) else { return };
        // The first event turns an idle process into an active one.
        let changed = node.counts.events == 0 || matched && !node.matched;
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
                self.changed(at, |node| node.failed_exec = Some(tried));
                self.flag(at);
            }
            Body::Exec(exec) => {
                let (time, key, process) = (header.time, process.key, Arc::clone(process));
                let (pipes, redirected) = (Pipes::of(exec), redirections(exec, leads_to));
                let session = session::of(seen);
                let interactive = session.is_none_or(|session| session::tty(session).is_some());
                let interactive = interactive && waits_for_commands(&process);
                let session = session.filter(|session| session.known & known::ID != 0).map(|session| session.id);
                self.ends.remove(node.pipes, key);
                self.changed(at, |node| {
                    let before = std::mem::replace(&mut node.process, process);
                    node.before = Some((time, before));
                    node.failed_exec = None;
                    node.exec = Some((id, session));
                    node.interactive = interactive;
                    node.pipes = pipes;
                    // A recording may have paths of any length.
                    node.redirected =
                        Some(redirected).filter(|text| text.len() <= REDIRECTED).unwrap_or_default().into();
                });
                self.ends.add(pipes, key);
                self.flag(at);
            }
            Body::Exit(exit) => {
                let cause = cause.filter(|cause| !cause.went_on);
                node.from = cause.and_then(|cause| cause.child);
                node.cause = cause.and_then(|cause| cause.failure).filter(|_| node.from.is_none());
                let (status, cost) = (Some(exit.record.status), exit.cost().copied());
                self.end(at, End { time: header.time, status, cost, id: Some(id), routine: false });
            }
            Body::Fork(fork) => {
                let child = ProcessKey { tgid: fork.record.child, start: fork.record.child_start };
                if let Some(child) = seen.world.process(child) {
                    self.place_of(id, child, seen.world);
                }
            }
            _ if node.process.parent != process.parent && self.parent(at).is_none() => self.adopt(at, process),
            _ => {}
        }
        if changed {
            self.flag(at);
        }
        let ended = seen.event.body.exit().filter(|_| self.children(Some(at)).next().is_none());
        let ran = ended.map(|_| (process.short_command().into(), seen.ran_ns()));
        let ran = ran.filter(|_| self.get(at).is_some_and(|node| node.exec.is_some()));
        self.works(at, |work| {
            work.counts = work.counts.and(counts);
            work.failed += u64::from(kind == Kind::Exit && failed);
            let longest = work.slowest.as_ref().map_or(0, |(_, ns)| *ns);
            work.slowest = ran.filter(|(_, ns)| *ns > longest).or(work.slowest.take());
        });
    }

    /// Changes what the descendants of a job did, if the process is one of them.
    fn works(&mut self, at: NodeIndex, change: impl FnOnce(&mut Work)) {
        if let Some(job) = self.job_at(at).filter(|job| *job != at) {
            self.changed(job, |node| change(node.work.get_or_insert_default()));
        }
    }

    /// The topmost process of the job that a process belongs to: the ancestor, or the process itself, that was executed during the trace
    /// below an interactive shell, in the same session. All that COMMAND started is one job.
    fn job_at(&self, at: NodeIndex) -> Option<NodeIndex> {
        let (mut job, mut session) = (None, None);
        let mut line = std::iter::successors(Some(at), |at| self.parent(*at)).take(JOB);
        while let Some((at, node)) = line.next().and_then(|at| Some((at, self.get(at)?))) {
            let Some((_, own)) = node.exec else {
                // A process that was only forked does the work of its parent.
                if node.born.is_some() { continue } else { break }
            };
            let differs = session.zip(own).is_some_and(|(below, own)| below != own) && !node.process.of_command;
            if node.interactive || differs {
                break;
            }
            (job, session) = (Some(at), own.or(session));
        }
        job
    }

    /// The job that a process belongs to, or whose topmost process it is.
    pub(crate) fn job(&self, of: ProcessKey) -> Option<Job> {
        let node = self.get(self.job_at(self.place(of)?)?)?;
        node.work.as_ref()?;
        Some(Job { process: node.process.key, exec: node.exec?.0 })
    }

    /// Takes a failed call off the counts, or marks an exit as routine.
    pub(crate) fn answered(&mut self, answered: &Answered) {
        let Answered { id, kind, process: key } = *answered;
        if kind == Kind::Exit {
            let Some(at) = self.place(key) else { return };
            let end = self.get_mut(at).and_then(|node| node.end.as_mut()).filter(|end| end.id == Some(id));
            end.into_iter().for_each(|end| end.routine = true);
            self.works(at, |work| work.failed = work.failed.saturating_sub(1));
            return self.flag(at);
        }
        let one = Counts { failed: 1, ..Counts::default() };
        let after = self.travel.as_mut().filter(|travel| travel.at <= id).and_then(|travel| travel.after.get_mut(&key));
        after.into_iter().for_each(|after| *after = after.without(one));
        let Some(at) = self.place(key) else { return };
        self.changed(at, |node| {
            node.counts = node.counts.without(one);
            node.failed_exec = node.failed_exec.take().filter(|tried| tried.failure.id != id);
        });
    }

    /// The processes that exited with a code other than 0 or were killed, in the order of their ends.
    pub(super) fn failed(&self) -> impl Iterator<Item = NodeIndex> {
        self.ended[1].iter().filter_map(|key| self.place(*key))
    }

    fn changed(&mut self, at: NodeIndex, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(at as usize).and_then(Option::as_mut) {
            let before = node.bytes();
            change(node);
            self.bytes = (self.bytes + node.bytes()).saturating_sub(before);
        }
    }

    fn end(&mut self, at: NodeIndex, end: End) {
        let Some(node) = self.get_mut(at).filter(|node| node.end.is_none()) else { return };
        node.end = Some(end);
        let key = node.process.key;
        self.ended[usize::from(end.status != Some(0))].push_back(key);
        self.flag(at);
    }

    /// Marks processes as ended that ended without an event here, because the capture filter drops it.
    pub(crate) fn settle(&mut self, processes: &ProcessTable) {
        for at in 0..self.links.len() {
            let running = self.links.get(at).is_some_and(|links| links.flags.running);
            let entry = self.get(at as NodeIndex).filter(|_| running).and_then(|node| processes.get(node.process.key));
            if let Some(end) = entry.and_then(|entry| entry.end) {
                self.end(
                    at as NodeIndex,
                    End { time: end.time, status: Some(end.status), cost: None, id: None, routine: false },
                );
            }
        }
    }

    /// Marks a process that has a kept event that passes the filter.
    pub(crate) fn matched(&mut self, key: ProcessKey) {
        let Some(at) = self.place(key) else { return };
        if let Some(node) = self.get_mut(at).filter(|node| !node.matched) {
            node.matched = true;
            self.flag(at);
        }
    }

    /// Forgets which processes have events that pass the filter.
    pub(crate) fn unmatch(&mut self) {
        self.nodes.iter_mut().flatten().for_each(|node| node.matched = false);
        self.links.iter_mut().for_each(|links| links.flags.matched = false);
        self.stale = true;
    }

    /// The place of a process. Adds the process and its ancestors if necessary. `None` if there is no room.
    pub(super) fn place_of(&mut self, id: Id, process: &Arc<Process>, world: &dyn Tables) -> Option<NodeIndex> {
        if let Some(at) = self.place(process.key) {
            return Some(at);
        }
        let mut line = vec![Arc::clone(process)];
        let mut above = None;
        while let Some((child, key)) = line.last().and_then(|child| Some((child, child.parent?))) {
            // The parent may be recorded by a start time that was not exact then.
            let found = world.process(key);
            let key = found.map_or(key, |found| found.key);
            above = self.place(key);
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
        for process in line.into_iter().rev() {
            above = Some(self.insert(id, process, above)?);
        }
        above
    }

    fn insert(&mut self, id: Id, process: Arc<Process>, parent: Option<NodeIndex>) -> Option<NodeIndex> {
        let key = process.key;
        let node = Node::new(process, id);
        let bytes = node.bytes();
        while (self.bytes + bytes > self.bound || self.places.len() >= limits::TREE_PROCESSES)
            && self.forget_one(parent)
        {}
        if self.bytes + bytes > self.bound || self.places.len() >= limits::TREE_PROCESSES {
            self.left_out += 1;
            return None;
        }
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.nodes.push(None);
                self.links.push(Links::default());
                (self.nodes.len() - 1) as NodeIndex
            }
        };
        *self.nodes.get_mut(at as usize)? = Some(node);
        self.added = self.added.wrapping_add(1);
        *self.links.get_mut(at as usize)? = Links { age: self.added, ..Links::default() };
        self.link(parent, at, key);
        self.flag(at);
        self.bytes += bytes;
        self.places.insert(key, at);
        let before = self.current.insert(key.tgid, at).filter(|before| {
            self.get(*before)
                .is_some_and(|before| before.process.key.tgid == key.tgid && before.process.key.start < key.start)
        });
        if let Some(before) = before {
            // The exit was lost: another process has the id.
            self.end(before, End { time: key.start, status: None, cost: None, id: None, routine: false });
        }
        self.stale = true;
        Some(at)
    }

    /// Makes a process a child of `parent`.
    fn link(&mut self, parent: Option<NodeIndex>, at: NodeIndex, key: ProcessKey) {
        self.unlink(at, key);
        let parent = parent.unwrap_or(NONE);
        self.links.get_mut(at as usize).into_iter().for_each(|links| links.parent = parent);
        self.children.insert((parent, key.start, key.tgid, at));
    }

    fn unlink(&mut self, at: NodeIndex, key: ProcessKey) {
        self.children.remove(&(self.links(at).parent, key.start, key.tgid, at));
        self.stale = true;
    }

    /// Links a process to a parent that was not in the tree before.
    fn adopt(&mut self, at: NodeIndex, process: &Arc<Process>) {
        let parent = process.parent.and_then(|parent| self.place(parent));
        self.changed(at, |node| node.process = Arc::clone(process));
        let Some(parent) = parent else { return };
        let line = std::iter::successors(Some(parent), |above| self.parent(*above)).take(GENERATIONS);
        if line.clone().count() < GENERATIONS && line.into_iter().all(|above| above != at) {
            self.link(Some(parent), at, process.key);
        }
    }

    /// Removes the process that ended first, other than `parent`, if there is one. Those without a failure go first.
    fn forget_one(&mut self, parent: Option<NodeIndex>) -> bool {
        let spared = parent.and_then(|parent| self.get(parent)).map(|node| node.process.key);
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
        let Some(at) = self.places.remove(&key) else { return false };
        let Some(node) = self.nodes.get_mut(at as usize).and_then(Option::take) else { return false };
        self.bytes = self.bytes.saturating_sub(node.bytes());
        self.ends.remove(node.pipes, key);
        if self.current.get(&key.tgid) == Some(&at) {
            self.current.remove(&key.tgid);
        }
        self.unlink(at, key);
        let children: Vec<NodeIndex> = self.children(Some(at)).collect();
        for child in children {
            let key = self.get(child).map(|child| child.process.key);
            key.into_iter().for_each(|key| self.link(None, child, key));
        }
        if let Some(travel) = &mut self.travel {
            travel.after.remove(&key);
        }
        self.free.push(at);
        self.stale = true;
        true
    }

    /// Moves the counts toward a moment, by up to `budget` events.
    pub(crate) fn travel(&mut self, moment: Option<Moment>, store: &Store, budget: usize) {
        let Some(moment) = moment else {
            self.travel = None;
            return;
        };
        let next = store.next_id();
        let (first, places) = (store.first_id(), &self.places);
        let travel = self.travel.get_or_insert_with(|| Travel { at: next, after: HashMap::default() });
        if travel.at < first {
            // The events in between are evicted. Start again from the newest.
            *travel = Travel { at: next, after: HashMap::default() };
        }
        let until = moment.until.clamp(first, next);
        let back = travel.at > until;
        let mut way = store.range(travel.at.min(until)..travel.at.max(until));
        let last = if back { way.nth_back(budget) } else { way.nth(budget) };
        let to = last.map_or(until, |last| last.id + u64::from(back));
        let mut count = |key: ProcessKey, counts: Counts| {
            let after = match travel.after.entry(key) {
                Entry::Occupied(after) => after.into_mut(),
                Entry::Vacant(_) if !places.contains_key(&key) => return,
                Entry::Vacant(after) => after.insert(Counts::default()),
            };
            *after = if back { after.and(counts) } else { after.without(counts) };
        };
        // Consecutive events are often of one process.
        let mut run = None;
        for stored in store.range(travel.at.min(to)..travel.at.max(to)) {
            let Some(process) = stored.process else { continue };
            let counts = counts_of(&stored);
            run = match run {
                Some((key, sum)) if key == process.key => Some((key, counts.and(sum))),
                before => {
                    before.into_iter().for_each(|(key, sum)| count(key, sum));
                    Some((process.key, counts))
                }
            };
        }
        run.into_iter().for_each(|(key, sum)| count(key, sum));
        travel.at = to;
    }

    pub(crate) fn travelling(&self, moment: Option<Moment>, store: &Store) -> bool {
        moment.is_some_and(|moment| {
            let until = moment.until.clamp(store.first_id(), store.next_id());
            self.travel.as_ref().map_or(store.next_id(), |travel| travel.at) != until
        })
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
            steps in vec((vec(any::<u32>(), 0..400), 0u64..=1000, 1usize..300), 1..12),
        ) {
            let mut app = app(80, 24, memory);
            app.store = Store::new(app.store.bound).by_age();
            let mut made = Maker::default();
            for (events, share, budget) in steps {
                events.into_iter().for_each(|number| make(&mut made, number));
                app.update(Input::Batch(made.batch()));
                let (first, next) = (app.store.first_id(), app.store.next_id());
                // Forks are not shown.
                if app.events.rows() == 0 {
                    continue;
                }
                app.events.select(first + (next - first - 1) * share / 1000, 20, &app.store);
                let moment = app.loaded().moment().expect("an event is selected");
                while app.views.tree.nodes.travelling(Some(moment), &app.store) {
                    app.views.tree.nodes.travel(Some(moment), &app.store, budget);
                }
                let [kept, before] = [next, moment.until].map(|until| counted(&app, first, until));
                for (key, at) in &app.views.tree.nodes.places {
                    let of = |counts: &HashMap<_, _>| counts.get(key).copied().unwrap_or_default();
                    let all = app.views.tree.nodes.get(*at).expect("in its place").counts;
                    let evicted = all.without(of(&kept));
                    prop_assert!(app.store.evicted() > 0 || evicted == Counts::default());
                    let want = evicted.and(of(&before));
                    let seen = app.views.tree.nodes.seen(*at, Some(moment)).map(|seen| seen.counts);
                    prop_assert_eq!(seen.unwrap_or_default(), want);
                }
            }
        }
    }
}
