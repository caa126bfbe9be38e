//! The rows of the list, and the groups that share one: events that say the same, of one process or of several, whatever is between
//! them, and events that say nearly the same ([`Alike`]). The row of a group is its newest event.
//!
//! In the calm list, the events that need no attention ([`Event::is_quiet`]) have no row. The newest row of their process counts them.
//! The programs and files of a job ([`Job`]) have no rows either, unless they failed. The row of its topmost process counts them. Nor has
//! the start of a connection that is closed.
//! In the list of all events, a group has no other row between its events.

use super::keys::{Alike, KeyMaker, Keys};
use foldhash::{HashMap, HashSet};
use tracetui_events::event::file::File;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::event::{Body, Event, EventContext};
use tracetui_events::limits;
use tracetui_events::search::{looks_further, missed};
use tracetui_events::store::index::{Answer, Index};
use tracetui_events::store::{Id, Store, Stored};
use tracetui_events::text::grouped;
use tracetui_events::text::time::short_duration;
use tracetui_shared::kind::{Kind, KindSet};

/// Which of the events that pass the filter have a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Listing {
    #[default]
    All,
    /// Those that are not quiet.
    Calm,
    /// The failures that nothing answered.
    Unanswered,
}

impl Listing {
    /// Whether an event that passes the filter has a row. `answered`: it needs no answer.
    pub(crate) fn has_row(self, event: &Event<'_>, answered: bool) -> bool {
        match self {
            Listing::All => true,
            Listing::Calm => !event.is_quiet(answered),
            Listing::Unanswered => event.failed() && !answered,
        }
    }
}

/// At which end of the list an event is added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum At {
    Start,
    End,
}

/// The longest time between two events that say nearly the same.
const NEAR_NS: u64 = 10_000_000_000;

/// The longest time between two calls of a search.
const SEARCH_NS: u64 = 1_000_000_000;

/// How many events have a regular interval.
const REGULAR: u64 = 4;

/// From which interval on it is shown.
const SLOW_NS: u64 = 100_000_000;

/// From how many on the rows of a crowd are one ([`Keys::crowd`]).
const CROWD: u32 = 16;

/// How many rows are examined for an older row of a process, and for the rows of a crowd.
const BACK: usize = 1 << 10;

/// The most groups that may continue.
const OPEN: usize = 1 << 14;

/// The least number of processes at which those that are no longer kept are dropped.
const PROCESSES: usize = 1 << 12;

/// The events of one row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    pub events: u64,
    pub alike: Alike,
    /// Whether they are of different processes.
    pub several: bool,
    pub first: Id,
    /// What they have in common. It names the group when the user unfolds it.
    key: u64,
    /// The crowd of that event, and how many rows the crowd had by then.
    crowd: (u64, u32),
    /// What was done with the files, if it is the same.
    pub op: &'static str,
    /// The process of its newest event.
    process: Option<ProcessKey>,
    /// The times of the first and the last event.
    span: (u64, u64),
    /// The longest time between two of them.
    longest_ns: u64,
}

impl Group {
    /// The average time between two events.
    fn interval(&self) -> u64 {
        (self.span.1 - self.span.0) / (self.events - 1).max(1)
    }

    fn is_regular(&self) -> bool {
        self.events >= REGULAR && self.longest_ns <= 2 * self.interval()
    }

    /// The time between the group and an event that is not in it.
    fn distance(&self, ns: u64) -> u64 {
        self.span.0.saturating_sub(ns).max(ns.saturating_sub(self.span.1))
    }

    /// Both groups as one.
    fn and(self, other: Group) -> Group {
        let (older, newer) = if other.span.1 > self.span.1 { (&self, &other) } else { (&other, &self) };
        Group {
            events: self.events + other.events,
            first: self.first.min(other.first),
            span: (self.span.0.min(other.span.0), newer.span.1),
            longest_ns: self.longest_ns.max(other.longest_ns).max(newer.span.0.saturating_sub(older.span.1)),
            several: self.several || other.several || self.process != other.process,
            process: newer.process,
            op: if self.op == other.op { self.op } else { "" },
            ..self
        }
    }

    /// The texts beside the row, longest first.
    fn remarks(&self) -> Vec<String> {
        let count = format!("x{}", grouped(self.events));
        let of = if self.several { ", several processes" } else { "" };
        let longer = match self.alike {
            Alike::Search => vec![format!("searched {}", grouped(self.events))],
            Alike::Created => return vec![format!("{} created", grouped(self.events))],
            Alike::Changed | Alike::Changes => {
                let files =
                    format!("{} {}", grouped(self.events), if self.op.is_empty() { "changes" } else { "files" });
                let places = if self.alike == Alike::Changes { " in several directories" } else { "" };
                let mut texts = vec![format!("{files}{places}{of}"), files];
                texts.dedup();
                texts
            }
            Alike::Missing => vec![format!("{count}, other names")],
            Alike::Acts => vec![format!("{count} like this")],
            Alike::Commands => [", other arguments", ", others"].map(|others| format!("{count}{others}")).into(),
            Alike::All => {
                let text = |ns: u64| {
                    let mut text = Vec::new();
                    short_duration(ns, &mut text);
                    String::from_utf8_lossy(&text).into_owned()
                };
                match self.span.1 - self.span.0 {
                    _ if self.is_regular() && self.interval() >= SLOW_NS => {
                        let every = format!("every {}, {count}", text(self.interval()));
                        vec![format!("{every}{of}"), every]
                    }
                    passed if passed >= SLOW_NS => {
                        let within = format!("{count} in {}", text(passed));
                        vec![format!("{within}{of}"), format!("{count}{of}"), within]
                    }
                    _ => vec![format!("{count}{of}")],
                }
            }
        };
        longer.into_iter().chain([count]).collect()
    }
}

/// The events of a process without a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Quiet {
    pub opens: u64,
    pub exit: Option<Id>,
    /// The newest row of the process.
    row: Option<Id>,
    /// Its newest event.
    last: Id,
}

/// The topmost process of a job: others do its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Job {
    pub process: ProcessKey,
    /// Its last exec.
    pub exec: Id,
}

/// An event that passes the filter, or a gap.
#[derive(Clone, Copy)]
pub(crate) struct Added {
    pub id: Id,
    pub answer: Answer,
    /// Whether a watch matches it. It then has a row.
    pub watched: bool,
    /// Whether it needs no answer.
    pub answered: bool,
    /// The job of its process, if the list has the row of that job.
    pub job: Option<ProcessKey>,
}

/// The rows and their groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) listing: Listing,
    pub(super) index: Index,
    pub(super) folds: bool,
    /// The groups by their rows. A row of a single event may have none.
    groups: HashMap<Id, Group>,
    /// The newest rows by what they say, and the oldest ones while older events are added.
    rows: [HashMap<u64, Id>; 2],
    quiet: HashMap<ProcessKey, Quiet>,
    /// The starts of connections without an end yet. While older events are added, the ends without a start.
    connections: HashMap<u64, Id>,
    /// Rows that another one did not replace because they were pinned.
    split: Vec<Id>,
    /// The groups, and the processes with quiet events, whose events have rows of their own.
    open: HashSet<u64>,
    /// The numbers of groups and of processes at which those that are not needed are dropped.
    most: [usize; 2],
    keys: KeyMaker,
}

impl Groups {
    pub(super) fn new(listing: Listing, folds: bool) -> Groups {
        Groups { listing, folds, most: [OPEN, PROCESSES], ..Groups::default() }
    }

    /// Without rows, to add all events again. What is unfolded stays so.
    pub(super) fn again(&mut self, store: &Store) {
        let Groups { listing, folds, open, keys, .. } = std::mem::take(self);
        *self = Groups { open, keys, index: Index::new(store), ..Groups::new(listing, folds) };
    }

    fn keys_of(&mut self, stored: &Stored<'_>) -> Option<Keys> {
        self.keys.keys(&stored.event().ok()?, stored.process, self.listing == Listing::All)
    }

    /// Adds an event. `is_pinned`: rows that no other may replace.
    pub(super) fn add(
        &mut self,
        Added { id, answer, watched, answered, job }: Added,
        seen: &EventContext<'_>,
        at: At,
        store: &Store,
        is_pinned: impl Fn(Id) -> bool,
    ) {
        let (event, process) = (seen.event, seen.process.map(|process| process.key));
        if answer == Answer::Marked {
            return self.put(id, answer, at);
        }
        let opened = process.is_some_and(|key| self.is_open(key));
        let has_row = match (job.filter(|_| self.listing == Listing::Calm && !event.failed()), event.kind()) {
            // The end of a job has a row.
            (Some(_), Kind::Exec | Kind::Exit) if job == process => true,
            (Some(job), Kind::Exec | Kind::Exit | Kind::Open | Kind::File) if !self.is_unfolded(job) => false,
            _ => self.listing.has_row(event, answered),
        };
        let other = self.connects(id, event, at);
        // The end of a connection has the row.
        let is_over = other.is_some() && at == At::Start;
        if let Some(start) = other.filter(|_| !is_over).and_then(|start| store.get(start)) {
            self.answered(&start, store, is_pinned(start.id));
        }
        if !opened && !watched && (!has_row || is_over) {
            return self.keep_quiet(id, event.kind(), process);
        }
        // Two runs of COMMAND are two rows.
        let folds = self.folds && !(KindSet::OF_PROGRAMS.contains(event.kind()) && seen.is_of_command());
        let keys = if folds { self.keys.keys(event, seen.process, self.listing == Listing::All) } else { None };
        if keys.is_some_and(|keys| !self.join(id, seen, &keys, at, store, is_pinned)) {
            return;
        }
        self.put(id, answer, at);
        self.has_row(id, process);
    }

    fn connection(&self, body: &Body<'_>) -> Option<u64> {
        let connection = body.connection().filter(|_| self.listing == Listing::Calm)?;
        let record = &connection.record;
        Some(self.keys.of((record.net_ns, connection.laddr(), record.lport, connection.raddr(), record.rport)))
    }

    /// Notes the start of a connection, or its end if older events are added. Returns the one that was noted before, of the other one.
    fn connects(&mut self, id: Id, event: &Event<'_>, at: At) -> Option<Id> {
        let key = self.connection(&event.body).filter(|_| !event.failed())?;
        if event.body.is_close() == (at == At::End) {
            return self.connections.remove(&key);
        }
        if self.connections.len() >= OPEN {
            self.connections.clear();
        }
        self.connections.insert(key, id);
        None
    }

    /// Joins the rows that were pinned with those that continue them.
    pub(super) fn rejoin(&mut self, store: &Store) {
        for row in std::mem::take(&mut self.split) {
            let Some(group) = self.groups.get(&row).copied() else { continue };
            let newer = self.rows[0].get(&group.key).copied().filter(|newer| {
                let has = |row: Id| self.index.get(self.index.place(row)) == Some(row);
                *newer > row
                    && has(*newer)
                    && has(row)
                    && self.index.marked_before(row) == self.index.marked_before(*newer)
            });
            if let Some(joined) = newer.and_then(|newer| self.groups.get_mut(&newer)) {
                *joined = joined.and(group);
                self.groups.remove(&row);
                self.leave(row, group.process, store);
            }
        }
    }

    fn leave(&mut self, row: Id, process: Option<ProcessKey>, store: &Store) {
        self.index.remove(row);
        process.into_iter().for_each(|key| self.lost_row(key, row, store));
    }

    /// Adds an event to a group. Returns whether it has the row of the group.
    fn join(
        &mut self,
        id: Id,
        seen: &EventContext<'_>,
        keys: &Keys,
        at: At,
        store: &Store,
        is_pinned: impl Fn(Id) -> bool,
    ) -> bool {
        let (ns, process) = (seen.event.header.time.0, seen.process.map(|process| process.key));
        let unfolded = keys.all().any(|key| self.open.contains(&key));
        let (index, groups) = (&self.index, &self.groups);
        let edge = match at {
            At::Start => index.get(0),
            At::End => index.len().checked_sub(1).and_then(|last| index.get(last)),
        };
        let may_join = |row: Id| {
            !unfolded
                && index.get(index.place(row)) == Some(row)
                // Events of a group may be lost in a gap.
                && index.marked_before(row) == index.marked_before(id)
                && !is_pinned(if at == At::End { row } else { id })
        };
        let row_of = |key: u64| {
            let [newest, oldest] = self.rows.each_ref().map(|rows| rows.get(&key));
            // The other end may have taken the row.
            let kept = |row: &Id| groups.get(row).map(|group| (*row, *group));
            let row = oldest.filter(|_| at == At::Start).and_then(kept).or_else(|| newest.and_then(kept));
            // In a list of all events, only neighbours are a group.
            row.filter(|(row, _)| self.listing != Listing::All || edge == Some(*row))
        };
        let row = |key: u64, joins: &dyn Fn(Id, &Group) -> bool| {
            row_of(key).filter(|(row, group)| may_join(*row) && joins(*row, group)).map(|(row, _)| row)
        };
        let is_missed = |body: &Body<'_>| missed(body) == Some(true);
        // A search is of one process.
        let same = row(keys.whole, &|_, group| match group.alike {
            Alike::All => true,
            Alike::Search | Alike::Missing => {
                is_missed(&seen.event.body) && group.process == process && group.distance(ns) <= NEAR_NS
            }
            _ => false,
        });
        let continues = |row: Id, group: &Group| {
            let beside = store.get(if at == At::End { row } else { group.first });
            let (Some(Ok(beside)), body) = (beside.map(|stored| stored.event()), &seen.event.body) else {
                return false;
            };
            let (older, newer) = if at == At::End { (&beside.body, body) } else { (body, &beside.body) };
            // Equal calls that found the name are no part of the search.
            let is_part = group.events == 1 || group.alike == Alike::Search || is_missed(&beside.body);
            looks_further(older, newer) && is_part
        };
        let part = keys.part.filter(|_| same.is_none()).and_then(|(alike, part)| {
            row(part, &|row, group| match alike {
                Alike::Search => {
                    let of_search = !group.several && group.alike != Alike::Missing;
                    of_search && group.distance(ns) <= SEARCH_NS && continues(row, group)
                }
                // Of one process, however long it does this.
                _ => !group.several && group.process == process || group.distance(ns) <= NEAR_NS,
            })
        });
        let joined = same.or(part);
        if let Some((row, _)) = row_of(keys.whole)
            .filter(|(row, _)| joined.is_none() && is_pinned(*row) && !unfolded && self.listing != Listing::All)
        {
            self.split.push(row);
        }
        // The rows of the crowd, with this one.
        let before = keys.crowd.and_then(|(_, crowd)| row_of(crowd)).filter(|(_, group)| group.distance(ns) <= NEAR_NS);
        let rows = before.map_or(0, |(_, group)| group.crowd.1) + u32::from(joined.is_none());
        let crowd = keys.crowd.filter(|_| rows > CROWD && joined.is_none() && !unfolded);
        let mut made = Group {
            events: 1,
            alike: Alike::All,
            several: false,
            first: id,
            key: keys.whole,
            op: seen.event.body.change().map_or("", File::op),
            crowd: (keys.crowd.map_or(0, |(_, crowd)| crowd), rows),
            process,
            span: (ns, ns),
            longest_ns: 0,
        };
        let mut leaving: Vec<Id> = joined.into_iter().collect();
        if let Some((alike, key)) = crowd {
            // The rows of the crowd become one.
            let joins = |row: &Id| {
                groups.get(row).is_some_and(|group| {
                    let single = group.alike == Alike::Changed || group.alike == Alike::All && !group.is_regular();
                    let of_one = alike != Alike::Missing || !group.several;
                    let in_crowd = group.crowd.0 == key && group.distance(ns) <= NEAR_NS;
                    in_crowd && (group.alike == alike || single && of_one) && may_join(*row)
                })
            };
            let row = before.filter(|(row, group)| group.alike == alike && joins(row)).map(|(row, _)| row);
            let near = if at == At::Start { 0..BACK } else { index.len().saturating_sub(BACK)..index.len() };
            let rows = || near.filter_map(|at| index.get(at)).filter(joins).collect();
            leaving = row.map_or_else(rows, |row| vec![row]);
            if !leaving.is_empty() {
                (made.alike, made.key) = (alike, key);
            }
        } else if let (Some((alike, key)), Some(_)) = (keys.part, part) {
            (made.alike, made.key) = (alike, key);
        }
        let newest = leaving.iter().copied().max().filter(|_| at == At::Start).unwrap_or(id);
        for row in leaving {
            let Some(group) = self.groups.remove(&row) else { continue };
            // What continues a group keeps what it has in common.
            if same.is_some() {
                (made.alike, made.key) = (group.alike, group.key);
            }
            made = made.and(group);
            if row != newest {
                // A new row is the newest of its process.
                self.leave(row, group.process.filter(|of| at == At::Start || Some(*of) != process), store);
            }
        }
        self.groups.insert(newest, made);
        self.note(keys, newest, at);
        self.make_room(store);
        newest == id
    }

    /// Notes that the group of an event has this row.
    fn note(&mut self, keys: &Keys, row: Id, at: At) {
        let Groups { groups, rows: [newest, oldest], .. } = self;
        let is_crowd = |row: &Id| keys.crowd.is_some_and(|(of, _)| groups.get(row).is_some_and(|g| g.alike == of));
        let crowd = keys.crowd.map(|(_, crowd)| crowd);
        for key in keys.all() {
            // All events of a crowd join its row by one key: a storm of new names takes no memory. A name with a row of its own does
            // not take the place of that row.
            let of_crowd = crowd == Some(key);
            if of_crowd != is_crowd(&row) && (!of_crowd || newest.get(&key).is_some_and(is_crowd)) {
                continue;
            }
            match at {
                At::End => _ = newest.insert(key, row),
                At::Start => {
                    oldest.insert(key, row);
                    newest.entry(key).or_insert(row);
                }
            }
        }
    }

    /// Drops groups if there are many: first the events without a group.
    fn make_room(&mut self, store: &Store) {
        let Groups { groups, rows, most, .. } = self;
        if rows.iter().all(|rows| rows.len() <= OPEN) && groups.len() <= most[0] {
            return;
        }
        groups.retain(|row, group| group.events > 1 && store.get(*row).is_some());
        most[0] = OPEN + 2 * groups.len();
        groups.shrink_to(most[0]);
        for rows in rows {
            rows.retain(|_, row| groups.contains_key(row));
            if rows.len() > OPEN / 2 {
                rows.clear();
            }
            rows.shrink_to(OPEN);
        }
    }

    fn has_row(&mut self, id: Id, process: Option<ProcessKey>) {
        if let Some(quiet) = process.filter(|_| self.listing == Listing::Calm).map(|key| self.quiet_of(key)) {
            quiet.row = quiet.row.max(Some(id));
            quiet.last = quiet.last.max(id);
        }
    }

    /// Finds the newest row of a process again after one was removed.
    fn lost_row(&mut self, key: ProcessKey, row: Id, store: &Store) {
        let Some(quiet) = self.quiet.get_mut(&key).filter(|quiet| quiet.row == Some(row)) else { return };
        let of_process =
            |row: &Id| store.get(*row).and_then(|stored| stored.process).is_some_and(|process| process.key == key);
        let end = self.index.place(row);
        quiet.row = (end.saturating_sub(BACK)..end).rev().filter_map(|at| self.index.get(at)).find(of_process);
    }

    fn put(&mut self, id: Id, answer: Answer, at: At) {
        match at {
            At::End => self.index.append(id, answer),
            At::Start => self.index.prepend(id, answer),
        }
    }

    fn quiet_of(&mut self, key: ProcessKey) -> &mut Quiet {
        self.quiet.entry(key).or_default()
    }

    fn keep_quiet(&mut self, id: Id, kind: Kind, key: Option<ProcessKey>) {
        if let (Listing::Calm, Some(key)) = (self.listing, key) {
            let quiet = self.quiet_of(key);
            quiet.opens += u64::from(kind == Kind::HUSHED);
            quiet.exit = quiet.exit.or((kind == Kind::Exit).then_some(id));
            quiet.last = quiet.last.max(id);
        }
    }

    /// Takes a failure that was answered out of its group, or removes its row.
    pub(super) fn answered(&mut self, stored: &Stored<'_>, store: &Store, stays: bool) {
        let (id, key) = (stored.id, stored.process.map(|process| process.key));
        if self.listing == Listing::All || stays || key.is_some_and(|key| self.is_open(key)) {
            return;
        }
        let Some((row, mut group)) = self.group_with(stored) else {
            if self.index.get(self.index.place(id)) == Some(id) {
                self.leave(id, key, store);
                self.keep_quiet(id, stored.kind, key);
            }
            return;
        };
        group.events -= 1;
        if row != id {
            self.groups.insert(row, group);
            return self.keep_quiet(id, stored.kind, key);
        }
        // The newest of the others has the row.
        self.groups.remove(&row);
        let mut others = store.range(group.first..row).rev().take(limits::SEARCH_AROUND as usize);
        let older = others.find(|other| {
            let connection = other.event().ok().and_then(|event| self.connection(&event.body));
            let open = connection.and_then(|key| self.connections.get(&key)) == Some(&other.id);
            let counts = if other.failed { !other.answered } else { open };
            counts && self.keys_of(other).is_some_and(|keys| keys.all().any(|key| key == group.key))
        });
        if let Some(older) = older {
            group.process = older.process.map(|process| process.key);
            self.groups.insert(older.id, group);
            self.rows.iter_mut().flatten().filter(|(_, at)| **at == row).for_each(|(_, at)| *at = older.id);
            self.index.insert(older.id);
            self.has_row(older.id, group.process);
        }
        self.leave(id, key, store);
        self.keep_quiet(id, stored.kind, key);
    }

    /// The group of several events that an event is in, with its row.
    fn group_with(&mut self, stored: &Stored<'_>) -> Option<(Id, Group)> {
        let keys = self.keys_of(stored)?;
        let has = |(row, group): &(&Id, &Group)| {
            let within = group.events > 1 && group.first <= stored.id && stored.id <= **row;
            within && keys.all().any(|key| key == group.key)
        };
        let mut continued = keys.all().filter_map(|key| self.groups.get_key_value(self.rows[0].get(&key)?));
        // Another group may have begun since.
        let ended = || self.groups.iter().filter(has).max_by_key(|(row, _)| **row);
        continued.find(has).or_else(ended).map(|(row, group)| (*row, *group))
    }

    /// The group of a row, if it has several events.
    pub(super) fn group(&self, row: Id) -> Option<Group> {
        self.groups.get(&row).copied().filter(|group| group.events > 1)
    }

    /// The texts beside a row about its group, longest first.
    pub(super) fn remarks(&self, row: Id) -> Vec<String> {
        self.group(row).map(|group| group.remarks()).unwrap_or_default()
    }

    /// The events without a row that the row of an event counts.
    pub(super) fn quiet_at(&self, id: Id, key: ProcessKey) -> Option<Quiet> {
        let quiet = self.quiet.get(&key).filter(|quiet| quiet.row == Some(id) && !self.is_open(key))?;
        (quiet.opens > 0 || quiet.exit.is_some()).then_some(*quiet)
    }

    fn is_open(&self, key: ProcessKey) -> bool {
        !self.open.is_empty() && self.open.contains(&self.keys.of(key))
    }

    fn key_of_job(&self, job: ProcessKey) -> u64 {
        self.keys.of((Kind::Fork as u16, job))
    }

    /// Whether the processes of a job have rows.
    pub(super) fn is_unfolded(&self, job: ProcessKey) -> bool {
        !self.open.is_empty() && self.open.contains(&self.key_of_job(job))
    }

    /// Unfolds or folds a row: its events have rows of their own, or none. A job unfolds first. Returns whether the rows change.
    pub(super) fn open(&mut self, stored: &Stored<'_>, opens: bool, job: Option<Job>) -> bool {
        let process = stored.process.map(|process| process.key);
        let own = process.map(|key| self.keys.of(key));
        let job = job.filter(|_| self.listing == Listing::Calm);
        if opens {
            if let Some(job) = job.filter(|job| job.exec == stored.id)
                && self.open.insert(self.key_of_job(job.process))
            {
                return true;
            }
            let quiet = process.and_then(|key| self.quiet_at(stored.id, key)).and(own);
            let group = self.group(stored.id).map(|group| group.key);
            return [quiet, group].into_iter().flatten().filter(|key| self.open.insert(*key)).count() > 0;
        }
        let keys = self.keys_of(stored);
        let keys = keys.iter().flat_map(Keys::all).chain(own);
        let folded = keys.filter(|key| self.open.remove(key)).count() > 0;
        folded || job.is_some_and(|job| self.open.remove(&self.key_of_job(job.process)))
    }

    pub(super) fn fold_all(&mut self, folds: bool) {
        self.folds = folds;
        self.open.clear();
    }

    /// Removes the events that the store evicted. `passing`: the kept events that pass the filter.
    pub(super) fn evict(&mut self, store: &Store, passing: &Index) {
        let Groups { index, groups, listing, .. } = self;
        // In a list of all events, the newest one that is kept has the row of the group.
        index.evict_or(store, |row| {
            let group = groups.remove(&row).filter(|_| *listing == Listing::All)?;
            let newest = passing.get(passing.place(row).checked_sub(1)?).filter(|id| *id >= group.first)?;
            groups.insert(newest, group);
            Some(newest)
        });
        if self.quiet.len() > self.most[1] {
            let first = store.first_id();
            self.quiet.retain(|_, quiet| quiet.last >= first);
            self.most[1] = PROCESSES.max(2 * self.quiet.len());
            self.quiet.shrink_to(self.most[1]);
        }
    }

    /// Bytes in use, without the index.
    pub(super) fn bytes(&self) -> usize {
        self.quiet.capacity() * size_of::<(ProcessKey, Quiet)>()
            + self.groups.capacity() * size_of::<(Id, Group)>()
            + self.connections.capacity() * size_of::<(u64, Id)>()
            + self.rows.iter().map(|rows| rows.capacity() * size_of::<(u64, Id)>()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
