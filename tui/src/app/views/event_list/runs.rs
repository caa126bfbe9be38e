//! Runs: rows that say the same, of one process or of several, whatever is between them. A run has one row, at its newest event.
//!
//! Rows that say nearly the same are a run too ([`Alike`]): the calls of a search, and files created in one directory.

use foldhash::fast::RandomState;
use foldhash::{HashMap, HashSet};
use memchr::memmem;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use tracetui_events::event::exec::Exec;
use tracetui_events::event::file_identity::{changed_ns, identity};
use tracetui_events::event::process::{Process, ProcessKey};
use tracetui_events::event::{Body, Event, EventContext, Payload as _};
use tracetui_events::limits;
use tracetui_events::search::{missed, names_descriptor, place};
use tracetui_events::store::{Id, Store, Stored};
use tracetui_events::text::grouped;
use tracetui_events::text::time::short_duration;
use tracetui_shared::kind::Kind;

/// At which end of the list an event is added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum At {
    Start,
    End,
}

/// The longest time between two events of a run, unless they are regular.
const NEAR_NS: u64 = 10_000_000_000;

/// The longest time between two rows that are only alike.
const ALIKE_NS: u64 = 1_000_000_000;

/// How many events have a regular interval.
const REGULAR: u64 = 4;

/// From which interval on it is shown.
const SLOW_NS: u64 = 100_000_000;

/// From how many on the events of a crowd share a row: names that a command did not find in one directory, loads of BPF programs, execs
/// of one program with other arguments, or failed exits of one program that one process started.
const CROWD: u32 = 16;

/// The most runs that may continue.
const OPEN: usize = 1 << 14;

/// What the rows of a run have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alike {
    /// All that they say.
    All,
    /// The name that a process did not find in several directories.
    Search,
    /// The directory in which a command created files.
    Created,
    /// The directory in which a command did not find many names.
    Missing,
    /// The command that loaded, unloaded, attached or detached many BPF programs.
    Programs,
    /// The program that was executed many times, or failed many times with one status.
    Commands,
}

/// The events of one row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub events: u64,
    pub alike: Alike,
    /// Whether they are of different processes.
    pub several: bool,
    first: Id,
    /// What its rows have in common.
    key: u64,
    /// The process of its newest event.
    process: Option<ProcessKey>,
    /// The times of the first and the last event.
    span: (u64, u64),
    /// The longest time between two of them.
    longest_ns: u64,
}

impl Run {
    fn of(id: Id, key: u64, process: Option<ProcessKey>, ns: u64) -> Run {
        Run { events: 1, alike: Alike::All, several: false, first: id, key, process, span: (ns, ns), longest_ns: 0 }
    }

    /// The average time between two events.
    fn interval(&self) -> u64 {
        (self.span.1 - self.span.0) / (self.events - 1).max(1)
    }

    fn is_regular(&self) -> bool {
        self.events >= REGULAR && self.longest_ns <= 2 * self.interval()
    }

    /// The time between the run and an event that is not in it.
    fn distance(&self, ns: u64) -> u64 {
        self.span.0.saturating_sub(ns).max(ns.saturating_sub(self.span.1))
    }

    fn is_near(&self, ns: u64) -> bool {
        let far = if self.is_regular() { 3 * self.interval() } else { 0 };
        self.distance(ns) <= far.max(NEAR_NS)
    }

    fn with(mut self, id: Id, process: Option<ProcessKey>, ns: u64) -> Run {
        self.longest_ns = self.longest_ns.max(self.distance(ns));
        self.several |= self.process != process;
        self.process = if ns >= self.span.1 { process } else { self.process };
        self.events += 1;
        (self.first, self.span) = (self.first.min(id), (self.span.0.min(ns), self.span.1.max(ns)));
        self
    }

    /// Both runs as one.
    fn and(self, other: Run) -> Run {
        let span = (self.span.0.min(other.span.0), self.span.1.max(other.span.1));
        let (first, events) = (self.first.min(other.first), self.events + other.events);
        let several = self.several || other.several || self.process != other.process;
        let process = if other.span.1 > self.span.1 { other.process } else { self.process };
        Run { first, events, span, several, process, ..self }
    }

    /// The texts beside the row, longest first.
    pub(crate) fn remarks(&self) -> Vec<String> {
        if self.events < 2 {
            return Vec::new();
        }
        let count = format!("x{}", grouped(self.events));
        match self.alike {
            Alike::Search => return vec![format!("searched {}", grouped(self.events)), count],
            Alike::Created => return vec![format!("{} created", grouped(self.events))],
            Alike::Missing => return vec![format!("{count} in this directory"), count],
            Alike::Programs => return vec![format!("{count} like this"), count],
            Alike::Commands => {
                let alike = [", other arguments", ", others"].map(|others| format!("{count}{others}"));
                return alike.into_iter().chain([count]).collect();
            }
            Alike::All => {}
        }
        let text = |ns: u64| {
            let mut text = Vec::new();
            short_duration(ns, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        };
        let of = if self.several { ", several processes" } else { "" };
        let longer = match self.span.1 - self.span.0 {
            _ if self.is_regular() && self.interval() >= SLOW_NS => {
                vec![
                    format!("every {}, {count}{of}", text(self.interval())),
                    format!("every {}, {count}", text(self.interval())),
                ]
            }
            passed if passed >= SLOW_NS => {
                let within = format!("{count} in {}", text(passed));
                vec![format!("{within}{of}"), format!("{count}{of}"), within]
            }
            _ => vec![format!("{count}{of}")],
        };
        longer.into_iter().chain([count]).collect()
    }
}

/// The place of an event in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InRun {
    /// It is in no run.
    No,
    /// It is the row of the run. The event is the older one that takes its place, if there is one.
    Row(Option<Id>),
    Other,
}

/// The runs of the list.
#[derive(Debug, Default)]
pub(super) struct Runs {
    folds: bool,
    /// The newest rows by what they say, and the oldest ones while older events are added.
    rows: [HashMap<u64, Id>; 2],
    /// The runs of several events by their rows.
    runs: HashMap<Id, Run>,
    crowds: HashMap<u64, Crowd>,
    /// What the unfolded rows say.
    open: HashSet<u64>,
    /// The number of runs at which those of one event are dropped.
    most: usize,
    hasher: RandomState,
}

/// Events of which many in a short time share a row.
#[derive(Clone, Debug, Default)]
struct Crowd {
    count: u32,
    /// When the last one was.
    last: u64,
    /// The rows of the first ones, until they share one.
    rows: Vec<Id>,
}

/// A row that leaves the list, with the process that it was the row of.
pub(super) type RemovedRow = (Id, Option<ProcessKey>);

/// What rows have in common.
struct RowKeys {
    whole: u64,
    /// What it has in common with rows that are only alike.
    part: Option<(Alike, u64)>,
    /// Of a name that was not found: the command and the directory. Of a BPF program: what was done with it, and by which command. Of an exec:
    /// the program, its file and the user. Of a failed exit: the command, its program, the status and the parent.
    crowd: Option<(Alike, u64)>,
}

impl RowKeys {
    fn all(&self) -> impl Iterator<Item = u64> + use<> {
        [Some(self.whole), self.part.map(|(_, part)| part), self.crowd.map(|(_, crowd)| crowd)].into_iter().flatten()
    }
}

/// Whether the same path may have run another script before. The file of the event is the interpreter's. Only root writes to the
/// directories of the system.
fn may_be_another_script(exec: &Exec<'_>) -> bool {
    let path = exec.filename;
    let of_system = [&b"/usr/bin/"[..], b"/usr/sbin/", b"/usr/lib", b"/usr/share/", b"/bin/", b"/sbin/"];
    let of_root =
        of_system.iter().any(|directory| path.starts_with(directory)) && memmem::find(path, b"/../").is_none();
    !exec.interp.is_empty() && !of_root
}

impl Runs {
    pub(super) fn new(folds: bool) -> Runs {
        Runs { folds, ..Runs::default() }
    }

    /// Without events. The unfolded rows stay unfolded.
    pub(super) fn again(self) -> Runs {
        Runs { folds: self.folds, open: self.open, hasher: self.hasher, ..Runs::default() }
    }

    fn row_keys(&self, event: &Event<'_>, process: Option<&Arc<Process>>) -> Option<RowKeys> {
        let key = process.map(|process| process.key);
        let (argv, comm) = process.map(|process| (&*process.image.argv, &*process.comm)).unwrap_or_default();
        let (header, body) = (&event.header, &event.body);
        if matches!(event.kind(), Kind::Lost | Kind::Fork) {
            return None;
        }
        let mut subject = Vec::new();
        body.subject(&mut subject);
        let missed = missed(body) == Some(true);
        // A relative path, a descriptor and a script may be a different file each time.
        let is_placed = match body {
            Body::Open(open) => {
                let known = open.record.ret >= 0 && open.names.is_known();
                missed || subject.first() == Some(&b'/') && (known || !names_descriptor(&subject))
            }
            Body::Exec(exec) if exec.record.ret >= 0 => !may_be_another_script(exec),
            Body::Exec(_) => missed || !names_descriptor(&subject),
            // Each program with an id is another one. Those of seccomp have none.
            Body::Bpf(bpf) => bpf.record().prog_id == 0 && !bpf.is_hidden(),
            _ => true,
        };
        let alone = (!is_placed).then_some(header.time.0);
        let result = (body.error().min(0), body.exit().map(|exit| exit.record.status));
        let file = identity(body).and_then(Result::ok);
        // The same path may name another file. A file that is written to stays the same one, but a program does not.
        let file = match body {
            Body::Exec(exec) if exec.failed() && !missed && subject.first() != Some(&b'/') => {
                (exec.cwd.bytes, None, None)
            }
            Body::Exec(exec) => {
                let version = file.map(|file| (file.size, changed_ns(&file)));
                (exec.exe.bytes, file.map(|file| (file.device, file.ino)), version)
            }
            Body::Open(open) => (open.names.bytes, file.map(|file| (file.device, file.ino)), None),
            Body::Exit(_) => (process.map_or(&b""[..], |process| &process.image.exe), None, None),
            _ => (&b""[..], None, None),
        };
        let mut hash = self.hasher.build_hasher();
        let kind = event.kind();
        (kind as u16, header.comm(), header.uid.0, header.mnt_ns.0, result, subject, alone, file).hash(&mut hash);
        match body {
            Body::Exec(exec) => exec.argv.hash(&mut hash),
            // The subject of a server has no peer.
            Body::Tcp(tcp) => (tcp.record.op, tcp.raddr()).hash(&mut hash),
            Body::Open(open) => open.euid().hash(&mut hash),
            // The row of an exit shows the arguments of its process.
            Body::Exit(_) => argv.hash(&mut hash),
            _ => {}
        }
        let part = match (place(body), kind) {
            (Some((_, name)), _) if missed => {
                Some((Alike::Search, self.hasher.hash_one((Alike::Search as u8, kind as u16, key, name))))
            }
            // Threads have names of their own.
            (Some((dir, _)), Kind::Open) if !event.failed() && !event.is_quiet(false) => {
                let alike = (Alike::Created as u8, dir, comm, header.uid.0, header.mnt_ns.0);
                Some((Alike::Created, self.hasher.hash_one(alike)))
            }
            _ => None,
        };
        let crowd = match (body, place(body).filter(|_| missed)) {
            (Body::Bpf(bpf), _) => {
                let alike = (header.comm(), header.uid.0, bpf.op(), bpf.attach_kind(), result.0);
                Some((Alike::Programs, self.hasher.hash_one((Alike::Programs as u8, alike))))
            }
            (Body::Exec(exec), _) if exec.record.ret >= 0 && is_placed => {
                let alike = (exec.filename, header.comm(), header.uid.0, header.mnt_ns.0, file);
                Some((Alike::Commands, self.hasher.hash_one((Alike::Commands as u8, alike))))
            }
            (Body::Exit(exit), _) if exit.failed() => {
                let parent = process.and_then(|process| process.parent);
                let alike = (header.comm(), header.uid.0, exit.record.status, parent, file);
                Some((Alike::Commands, self.hasher.hash_one((kind as u16, alike))))
            }
            (_, Some((dir, _))) => {
                let alike = (kind as u16, header.comm(), header.uid.0, header.mnt_ns.0, dir);
                Some((Alike::Missing, self.hasher.hash_one((Alike::Missing as u8, alike))))
            }
            _ => None,
        };
        Some(RowKeys { whole: hash.finish(), part, crowd })
    }

    /// Adds an event that has a row, or is in the run of one. Returns whether it has a row, and the rows that leave the list for it: that of
    /// the run it continues, and those of a crowd.
    pub(super) fn add(
        &mut self,
        id: Id,
        seen: &EventContext<'_>,
        at: At,
        may_join: impl Fn(Id) -> bool,
    ) -> (bool, Option<RemovedRow>, Vec<RemovedRow>) {
        let process = seen.process.map(|process| process.key);
        let Some(keys) = self.row_keys(seen.event, seen.process).filter(|_| self.folds) else {
            return (true, None, Vec::new());
        };
        let ns = seen.event.header.time.0;
        let unfolded = keys.all().any(|key| self.open.contains(&key));
        let row = |key: u64, joins: &dyn Fn(&Run) -> bool| {
            let [newest, oldest] = &self.rows;
            let row = oldest.get(&key).filter(|_| at == At::Start).or_else(|| newest.get(&key)).copied()?;
            (!unfolded && may_join(row) && self.runs.get(&row).is_some_and(joins)).then_some(row)
        };
        // A search is of one process.
        let same = row(keys.whole, &|run| match run.alike {
            Alike::All => run.is_near(ns),
            Alike::Search | Alike::Missing => run.is_near(ns) && run.process == process,
            Alike::Created | Alike::Programs | Alike::Commands => false,
        });
        let alike = keys.part.and_then(|(alike, part)| {
            row(part, &|run| match alike {
                Alike::Created => run.distance(ns) <= NEAR_NS,
                _ => !run.several && run.alike != Alike::Missing && run.distance(ns) <= ALIKE_NS,
            })
        });
        let joined = same.or(alike);
        let crowded = keys
            .crowd
            .filter(|_| joined.is_none())
            .and_then(|(alike, crowd)| row(crowd, &|run| (run.events == 1 || run.alike == alike) && run.is_near(ns)));
        let crowd = keys.crowd.filter(|(_, crowd)| self.crowds(*crowd, ns, joined.is_none()));
        let crowded = crowded.filter(|_| crowd.is_some());
        let joined = joined.or(crowded);
        let run = joined.and_then(|row| self.runs.remove(&row));
        let before = joined.map(|row| (row, run.and_then(|run| run.process)));
        let mut crowding: Vec<RemovedRow> = Vec::new();
        let mut made = match run {
            Some(run) => run.with(id, process, ns),
            None => Run::of(id, keys.whole, process, ns),
        };
        match (crowded.and(crowd), joined, same, keys.part) {
            (Some(crowd), ..) => (made.alike, made.key) = crowd,
            (None, Some(_), None, Some(part)) => (made.alike, made.key) = part,
            _ => {}
        }
        if let Some((alike, key)) = crowd.filter(|_| joined.is_none() && !unfolded) {
            // The first ones share the row from now on.
            let rows = self.crowds.get_mut(&key).map(|crowd| std::mem::take(&mut crowd.rows)).unwrap_or_default();
            for row in rows.into_iter().filter(|row| may_join(*row)) {
                let of_others = |run: &Run| run.several && alike == Alike::Missing;
                let joins =
                    |run: &Run| run.alike == Alike::All && !of_others(run) && !run.is_regular() && run.is_near(ns);
                let Some(run) = self.runs.get(&row).copied().filter(joins) else { continue };
                self.runs.remove(&row);
                crowding.push((row, run.process));
                (made.alike, made.key) = (alike, key);
                made = made.and(run);
            }
        }
        let rows = before.iter().chain(&crowding).map(|(row, _)| *row);
        let newest = rows.max().filter(|_| at == At::Start).unwrap_or(id);
        let before = before.filter(|(row, _)| *row != newest);
        crowding.retain(|(row, _)| *row != newest);
        // A name with a row of its own is no place for others.
        let crowd = crowd.filter(|(alike, _)| made.events == 1 || made.alike == *alike);
        let has_row = newest == id;
        if let Some((_, key)) = keys.crowd.filter(|_| has_row && made.alike == Alike::All)
            && let Some(crowd) = self.crowds.get_mut(&key).filter(|crowd| crowd.count <= CROWD)
        {
            crowd.rows.retain(|row| before.is_none_or(|(before, _)| before != *row));
            crowd.rows.push(id);
        }
        self.runs.insert(newest, made);
        // All events of a crowd join its row by one key: a storm of new names takes no memory.
        let keys = match keys.crowd {
            Some((alike, key)) if made.alike == alike => RowKeys { whole: key, part: None, crowd: None },
            _ => RowKeys { crowd, ..keys },
        };
        for key in keys.all() {
            match at {
                At::End => _ = self.rows[0].insert(key, newest),
                At::Start => {
                    self.rows[1].insert(key, newest);
                    self.rows[0].entry(key).or_insert(newest);
                }
            }
        }
        if self.rows[0].len() > OPEN || self.runs.len() > OPEN.max(self.most) {
            self.runs.retain(|_, run| run.events > 1);
            // Those that may continue.
            let goes_on = |row: &Id| self.runs.get(row).is_some_and(|run| run.is_near(ns));
            for rows in &mut self.rows {
                rows.retain(|_, row| goes_on(row));
                if rows.len() > OPEN / 2 {
                    rows.clear();
                }
                rows.shrink_to(OPEN);
            }
            self.most = OPEN + 2 * self.runs.len();
            self.runs.shrink_to(self.most);
        }
        (has_row, before, crowding)
    }

    /// Notes an event of a crowd. Returns whether there are many. `counts`: it is not in the run of another one.
    fn crowds(&mut self, crowd: u64, ns: u64, counts: bool) -> bool {
        if self.crowds.len() >= OPEN {
            self.crowds.clear();
        }
        let crowd = self.crowds.entry(crowd).or_default();
        if ns.abs_diff(crowd.last) > NEAR_NS {
            *crowd = Crowd::default();
        }
        (crowd.count, crowd.last) = (crowd.count.saturating_add(counts.into()), ns);
        crowd.count > CROWD
    }

    fn keys_of(&self, stored: &Stored<'_>) -> Option<RowKeys> {
        self.row_keys(&stored.event().ok()?, stored.process)
    }

    /// Takes a failure that was answered out of its run.
    pub(super) fn answered(&mut self, stored: &Stored<'_>, store: &Store) -> InRun {
        let Some(keys) = self.keys_of(stored) else { return InRun::No };
        let has = |row: Id, run: &Run| {
            run.events > 1 && run.first <= stored.id && stored.id <= row && keys.all().any(|key| key == run.key)
        };
        let mut continued = keys.all().filter_map(|key| self.rows[0].get(&key).copied());
        let continued = continued.find(|row| self.runs.get(row).is_some_and(|run| has(*row, run)));
        // Another run may have begun since.
        let ended = || self.runs.iter().filter(|(row, run)| has(**row, run)).map(|(row, _)| *row).max();
        let Some(row) = continued.or_else(ended) else { return InRun::No };
        let Some(mut run) = self.runs.remove(&row) else { return InRun::No };
        run.events -= 1;
        let is_other = |other: &Stored<'_>| {
            let says = |keys: RowKeys| keys.all().any(|key| key == run.key);
            other.failed && !other.answered && self.keys_of(other).is_some_and(says)
        };
        let older = (row == stored.id)
            .then(|| store.range(run.first..row).rev().take(limits::SEARCH_AROUND as usize).find(is_other))
            .flatten();
        match older {
            Some(older) => {
                run.process = older.process.map(|process| process.key);
                self.runs.insert(older.id, run);
                self.rows.iter_mut().flatten().filter(|(_, at)| **at == row).for_each(|(_, at)| *at = older.id);
                InRun::Row(Some(older.id))
            }
            None if row == stored.id => InRun::Row(None),
            None => {
                self.runs.insert(row, run);
                InRun::Other
            }
        }
    }

    pub(super) fn run(&self, row: Id) -> Option<Run> {
        self.runs.get(&row).copied().filter(|run| run.events > 1)
    }

    /// Unfolds or folds the run of a row. Returns whether that changes the rows.
    pub(super) fn open(&mut self, stored: &Stored<'_>, opens: bool) -> bool {
        let Some(keys) = self.keys_of(stored) else { return false };
        let run = self.runs.get(&stored.id).map(|run| run.key).filter(|_| opens);
        match run {
            Some(run) => self.open.insert(run),
            None => keys.all().filter(|key| self.open.remove(key)).count() > 0,
        }
    }

    pub(super) fn evict(&mut self, store: &Store) {
        self.runs.retain(|row, _| store.get(*row).is_some());
    }

    pub(super) fn bytes(&self) -> usize {
        self.runs.capacity() * size_of::<(Id, Run)>()
            + self.crowds.capacity() * (size_of::<(u64, Crowd)>() + CROWD as usize * size_of::<Id>())
            + self.rows.iter().map(|rows| rows.capacity() * size_of::<(u64, Id)>()).sum::<usize>()
    }
}
