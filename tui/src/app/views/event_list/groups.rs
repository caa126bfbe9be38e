//! The rows of the list, and the groups that share one: events that say the same, of one process or of several, whatever is between
//! them, and events that say nearly the same ([`Alike`]). The row of a group is its newest event.
//!
//! In the calm list, the events that need no attention ([`Event::is_quiet`]) have no row. The newest row of their process counts them.
//! The programs and files of a job ([`Job`]) have no rows either, unless they failed. The row of its topmost process counts them. Nor has
//! the start of a connection that is closed.
//! In the list of all events, a group has no other row between its events.

use super::keys::{Alike, KeyMaker, Keys};
use foldhash::{HashMap, HashSet};
use tracetui_events::event::process::ProcessKey;
use tracetui_events::event::{Body, Event, EventContext};
use tracetui_events::limits;
use tracetui_events::search::{looks_further, missed};
use tracetui_events::store::index::{Answer, Index};
use tracetui_events::store::{Id, Store, Stored};
use tracetui_events::text::grouped;
use tracetui_events::text::time::short_duration;
use tracetui_shared::kind::Kind;

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
        let longer = match self.alike {
            Alike::Search => vec![format!("searched {}", grouped(self.events))],
            Alike::Created => return vec![format!("{} created", grouped(self.events))],
            Alike::Changed | Alike::Changes => {
                let files =
                    format!("{} {}", grouped(self.events), if self.op.is_empty() { "changes" } else { "files" });
                match self.alike {
                    Alike::Changes => vec![format!("{files} in several directories"), files],
                    _ => vec![files],
                }
            }
            Alike::Missing => vec![format!("{count}, other names")],
            Alike::Programs => vec![format!("{count} like this")],
            Alike::Commands => [", other arguments", ", others"].map(|others| format!("{count}{others}")).into(),
            Alike::All => {
                let text = |ns: u64| {
                    let mut text = Vec::new();
                    short_duration(ns, &mut text);
                    String::from_utf8_lossy(&text).into_owned()
                };
                let of = if self.several { ", several processes" } else { "" };
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
    /// Its exit.
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
    /// Whether it is a failure of a muted story.
    pub muted: bool,
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
        Added { id, answer, watched, answered, muted, job }: Added,
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
            _ => self.listing.has_row(event, answered) && !(muted && self.listing == Listing::Unanswered),
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
        let folds = self.folds && !(matches!(event.kind(), Kind::Exec | Kind::Exit) && seen.is_of_command());
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

    /// Removes a row of a process.
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
            op: match &seen.event.body {
                Body::File(file) => file.op(),
                _ => "",
            },
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
mod tests {
    use crate::app::testing::{self, app, feed, keys, press};
    use crate::app::{App, Failures, Input, Tick};
    use proptest::prelude::*;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tracetui_events::store::Id;
    use tracetui_events::synthetic::{Maker, payload};
    use tracetui_shared::calls::file::{RMDIR, UNLINK};
    use tracetui_shared::header::FrameHeader;
    use tracetui_shared::id::{Gid, NsInum, Tgid};
    use tracetui_shared::kind::{Kind, Slot};
    use tracetui_shared::record::bpf::{BpfRecord, call, cmd};
    use tracetui_shared::record::exec::ExecRecord;
    use tracetui_shared::record::identity::Identity;
    use tracetui_shared::record::mark;
    use tracetui_shared::record::open::{CREATED, OpenRecord};
    use tracetui_shared::record::tcp::op;
    use zerocopy::{FromZeros as _, IntoBytes as _};

    fn calm(made: &mut Maker) -> App {
        let mut app = app(100, 24, 64 << 20);
        app.set_calm(true);
        feed(&mut app, made);
        app
    }

    /// The rows, each with the number of its events and the number of quiet opens that it counts.
    fn rows(app: &App) -> Vec<(Id, u64, u64)> {
        let row = |id: Id| {
            let stored = app.store().get(id).expect("kept");
            let quiet = stored.process.and_then(|process| app.events().quiet(id, process.key));
            let group = app.events().group(id).map_or(1, |group| group.events);
            (id, group, quiet.map_or(0, |quiet| quiet.opens))
        };
        (0..app.events().rows()).filter_map(|at| app.events().row(at)).map(row).collect()
    }

    /// Feeds the events at once, one by one, and filters them again: the rows are the same.
    #[track_caller]
    fn check(make: impl Fn(&mut Maker), want: &[(Id, u64, u64)]) {
        let mut made = Maker::default();
        make(&mut made);
        let mut app = calm(&mut made);
        assert_eq!(rows(&app), want);
        app.refilter();
        assert_eq!(rows(keys(&mut app, "")), want, "filtered again");
    }

    #[test]
    fn quiet_and_answered_opens_have_no_row() {
        let make = |made: &mut Maker| {
            made.acts(
                "7 cat exec cat a, open /etc/ld.so.cache; 8 dog open /etc/x; 7 cat open \
                 /usr/share/locale/C/LC_MESSAGES/x.mo:-2 /a:-13 /b, exit 0",
            );
        };
        check(make, &[(0, 1, 0), (4, 1, 3)]);
        let mut made = Maker::default();
        make(&mut made);
        let mut app = calm(&mut made);
        keys(&mut app, "l");
        assert_eq!(rows(&app).iter().map(|row| row.0).collect::<Vec<_>>(), [0, 1, 3, 4, 5, 6], "all of the process");
        assert_eq!(app.events().selected(), Some(4));
        assert_eq!(rows(keys(&mut app, "h")), [(0, 1, 0), (4, 1, 3)]);
        assert_eq!(keys(&mut app, "O").events().rows(), 7);
        assert_eq!(keys(&mut app, "Op").events().rows(), 6, "a filter for a process lists its opens");
        // A failure goes when it is answered.
        let search = |made: &mut Maker| {
            made.exec(7, "cc1", &["cc1"], 0);
            ["/a", "/b", "/c"].iter().for_each(|dir| made.open(7, "cc1", &format!("{dir}/x.h"), -2));
        };
        check(search, &[(0, 1, 0), (3, 3, 0)]);
        let found = |made: &mut Maker| {
            search(made);
            made.open(7, "cc1", "/d/x.h", 3);
        };
        check(found, &[(0, 1, 4)]);
        let mut made = Maker::default();
        search(&mut made);
        let mut app = calm(&mut made);
        made.open(7, "cc1", "/d/x.h", 3);
        assert_eq!(rows(feed(&mut app, &mut made)), [(0, 1, 4)], "answered later");
        // The failures are first those that nothing answered.
        let mut made = Maker::default();
        made.acts("7 cc1 open /a/x.h:-2 /b/x.h /b/y.h:-2, exit 1; 8 true exit 0");
        let mut app = calm(&mut made);
        let mut listed = |typed: &str| {
            keys(&mut app, typed);
            (rows(&app).iter().map(|row| row.0).collect::<Vec<_>>(), app.screen.failures)
        };
        assert_eq!(listed("e"), (vec![2, 3], Failures::Unanswered));
        assert_eq!(listed("e"), (vec![0, 2, 3], Failures::All));
        assert_eq!(listed("e"), (vec![2, 3], Failures::Off), "calm");
    }

    #[test]
    fn a_run_is_one_row_whatever_is_between() {
        let alternating = |made: &mut Maker| {
            (0..6).for_each(|number| made.open(7, "sh", ["/m", "/f"][number % 2], -13));
        };
        check(alternating, &[(4, 3, 0), (5, 3, 0)]);
        let processes = |made: &mut Maker| {
            for pid in 10..40 {
                made.exit(pid, "uhide", 3 << 8);
                made.exec(50, "ls", &["ls", &pid.to_string()], -13);
            }
        };
        let mut made = Maker::default();
        processes(&mut made);
        assert!(rows(&calm(&mut made)).contains(&(58, 30, 0)));
        // Events may be missing.
        let gap = |made: &mut Maker| {
            made.open(7, "sh", "/m", -13);
            made.lost(5);
            made.open_all(7, "sh", "/m:-13 /m:-13");
        };
        let mut made = Maker::default();
        gap(&mut made);
        let runs: Vec<_> = rows(&calm(&mut made)).iter().map(|row| row.1).collect();
        assert_eq!(runs, [1, 1, 2]);
        // A pause does not split a run.
        let mut made = Maker::default();
        let poll = |made: &mut Maker| (0..5).for_each(|_| made.open(7, "collectd", "/etc/app.key", -13));
        poll(&mut made);
        let mut app = calm(&mut made);
        keys(&mut app, " ");
        poll(&mut made);
        assert_eq!(rows(feed(&mut app, &mut made)), [(4, 5, 0)]);
        keys(&mut app, " ");
        poll(&mut made);
        assert_eq!(rows(feed(&mut app, &mut made)), [(14, 15, 0)]);
    }

    #[test]
    fn many_names_that_do_not_exist_share_a_row() {
        let guess = |made: &mut Maker| {
            (0..100).for_each(|number| made.open(8, "guess", &format!("/srv/{}/{number}", number % 50), -2));
        };
        let mut made = Maker::default();
        guess(&mut made);
        made.open(9, "other", "/srv/x", -2);
        made.like.ppid = Tgid(8);
        made.open(10, "guess", "/srv/x", -2);
        let mut app = calm(&mut made);
        assert_eq!(rows(&app), [(99, 100, 0), (100, 1, 0), (101, 1, 0)]);
        // One of them is answered.
        made.open(8, "guess", "/opt/50", 3);
        assert_eq!(rows(feed(&mut app, &mut made))[0].1, 99);
        let remark = app.events().remarks(99, None).first().cloned();
        assert_eq!(remark.as_deref(), Some("x99, other names"));
        app.events.select(99, 20, &app.store);
        assert_eq!(
            keys(&mut app, "l").events().rows(),
            103,
            "unfolded, with the open that answered one and with that one"
        );
        // The same names again and again.
        let mut made = Maker::default();
        for _ in 0..5 {
            (0..100).for_each(|number| made.open(8, "guess", &format!("/srv/{number}"), -2));
        }
        let mut app = calm(&mut made);
        for _ in 0..5 {
            (0..100).for_each(|number| made.open(8, "guess", &format!("/srv/{number}"), -2));
            feed(&mut app, &mut made);
        }
        assert_eq!(rows(&app), [(999, 1000, 0)]);
        // Events arrive while the older ones are filtered again, in three slices.
        (0..9_000).for_each(|number| made.open(8, "guess", &format!("/srv/{number}"), -2));
        feed(&mut app, &mut made);
        app.refilter();
        while app.busy() {
            (0..100).for_each(|number| made.open(8, "guess", &format!("/srv/{number}"), -2));
            app.update(Input::Batch(made.batch()));
            app.update(Input::Tick(Tick { now: Duration::from_secs(1), usage: None }));
        }
        assert_eq!(rows(&app).iter().map(|row| row.1).collect::<Vec<_>>(), [app.store().next_id()]);
    }

    #[test]
    fn a_storm_of_programs_or_of_processes_that_fail_alike_shares_rows() {
        let mut made = Maker::default();
        made.exec(7, "cat", &["cat"], 0);
        let program = |made: &mut Maker, pid: u32, command: u16| {
            let record =
                BpfRecord { call: call::BPF, cmd: command, prog_id: made.ns as u32, ..BpfRecord::new_zeroed() };
            made.event(Slot::Bpf, pid, "loader", record.as_bytes());
        };
        for pid in 0..100 {
            program(&mut made, 100 + pid % 2, cmd::PROG_LOAD);
            program(&mut made, 100 + pid % 2, cmd::LINK_CREATE);
        }
        let mut app = calm(&mut made);
        let storm = [(0, 1, 0), (199, 100, 0), (200, 100, 0)];
        assert_eq!(rows(&app), storm);
        assert_eq!(app.events().remarks(200, None).first().cloned().as_deref(), Some("x100 like this"));
        app.refilter();
        assert_eq!(rows(keys(&mut app, "")), storm, "filtered again");
        // Processes that fail alike.
        let mut made = Maker::default();
        made.exec(7, "sh", &["sh"], 0);
        for pid in 100..140 {
            made.fork(7, "sh", pid);
            made.exec(pid, "cat", &["cat", &pid.to_string()], 0);
            made.acts(&format!("{pid} cat open /srv/{pid}:-2, exit 1"));
        }
        let app = calm(&mut made);
        let all = rows(&app);
        assert_eq!(all.iter().map(|row| row.1).collect::<Vec<_>>(), [1, 40, 40, 40]);
        let remarks = all.iter().skip(1).map(|row| app.events().remarks(row.0, None)[0].clone());
        let alike = ["x40, other arguments", "x40, other names", "x40, other arguments"];
        assert_eq!(remarks.collect::<Vec<_>>(), alike);
    }

    #[test]
    fn a_search_counts_what_has_no_row_and_copies_name_it() {
        let mut made = Maker::default();
        made.exec(7, "cat", &["cat", "/etc/motd"], 0);
        (0..3).for_each(|number| made.open(7, "cat", &format!("/etc/{number}"), 3));
        let mut app = calm(&mut made);
        keys(&mut app, "/etc\n");
        let place = |app: &App| {
            let place = app.search.place(app.events(), app.store()).expect("counted");
            (place.at, place.all, place.unlisted)
        };
        assert_eq!(place(&app), (Some(1), 1, 3));
        made.open_all(7, "cat", "/etc/x /etc/y:-13");
        assert_eq!(place(feed(&mut app, &mut made)).1..=place(&app).2, 2..=4);
        assert_eq!((place(keys(&mut app, "O")).1, place(&app).2), (6, 0));
        assert_eq!(place(keys(&mut app, "O/etc/1\n")), (None, 0, 1));
        assert_eq!(app.screen.message(), Some("no match in the list; O lists all opens"));
        // Copying copies what is beside the row.
        let mut made = searched();
        let mut app = all(&mut made);
        keys(&mut app, "k");
        let copied = |app: &mut App, typed: &str| {
            keys(app, typed);
            testing::copied(press(app, 'y')).unwrap_or_default()
        };
        let line = copied(&mut app, "");
        assert!(line.ends_with("fd 4 r  /d/stdio.h  searched 4"), "{line}");
        // Names where the search found the name if that row is hidden.
        let line = copied(&mut app, "ee");
        assert!(line.ends_with("ENOENT r  /c/stdio.h  searched 3, found in /d"), "{line}");
        let line = copied(&mut app, "eaGk");
        assert!(line.ends_with("fd 4 r  /d/stdio.h"), "{line}");
    }

    #[test]
    fn files_and_execs_of_a_storm_are_runs() {
        let create = |made: &mut Maker, number: u32| {
            let record = OpenRecord { ret: 3, how_marks: CREATED, ..OpenRecord::default() };
            made.event(Slot::Open, 7, "opt", &payload::open(record, b"", format!("/tmp/{number}.o").as_bytes()));
        };
        check(|made| (0..5).for_each(|number| create(made, number)), &[(4, 5, 0)]);
        let mut made = Maker::default();
        let exec = |made: &mut Maker, pid: u32| made.exec(100 + pid, "cc1", &["cc1", &format!("{pid}.c")], 0);
        (0..16).for_each(|pid| exec(&mut made, pid));
        made.exec(50, "as", &["as"], 0);
        let mut app = calm(&mut made);
        assert_eq!(rows(&app).iter().map(|row| row.1).collect::<Vec<_>>(), [1; 17]);
        (16..30).for_each(|pid| exec(&mut made, pid));
        assert_eq!(rows(feed(&mut app, &mut made)), [(16, 1, 0), (30, 30, 0)]);
        let remark = app.events().remarks(30, None).first().cloned();
        assert_eq!(remark.as_deref(), Some("x30, other arguments"));
        // Changed files of a directory share a row.
        let make = |made: &mut Maker| {
            (0..5).for_each(|number| change(made, "rm", UNLINK, &format!("/tmp/x/{number}"), 0));
            change(made, "rm", UNLINK, "/tmp/y", 0);
            change(made, "rm", UNLINK, "/tmp/x/none", -13);
            change(made, "rm", UNLINK, "/tmp/x/5", 0);
        };
        check(make, &[(5, 1, 0), (6, 1, 0), (7, 6, 0)]);
        let mut made = Maker::default();
        make(&mut made);
        let mut app = calm(&mut made);
        assert_eq!(app.events().remarks(7, None), ["6 files", "x6"]);
        change(&mut made, "rm", RMDIR, "/tmp/x/z", 0);
        feed(&mut app, &mut made);
        assert_eq!(app.events().remarks(8, None)[0], "7 changes");
        // A tree has many directories.
        let mut made = Maker::default();
        for number in 0..100 {
            change(&mut made, "rm", UNLINK, &format!("/t/{number}/a"), 0);
            change(&mut made, "rm", UNLINK, &format!("/t/{number}/b"), 0);
        }
        let mut app = calm(&mut made);
        assert_eq!(rows(&app), [(199, 200, 0)]);
        assert_eq!(app.events().remarks(199, None)[0], "200 files in several directories");
        app.refilter();
        assert_eq!(rows(keys(&mut app, "")), [(199, 200, 0)]);
    }

    #[test]
    fn another_program_has_a_row_of_its_own() {
        let exec = |made: &mut Maker, pid: u32, path: &[u8], exe: &[u8], file: (u64, i64, u32)| {
            let exec = payload::Exec { filename: path, exe, argv: b"update\0", ..payload::Exec::default() };
            let file = Identity { ino: file.0, changed: file.1, changed_ns: file.2, ..Identity::default() };
            let record = ExecRecord { file, ..ExecRecord::default() };
            made.event(Slot::Exec, pid, "update", &exec.with(record, Default::default(), Default::default()));
        };
        // The other one has another inode, another time of the last change, or another path.
        let (same, exe) = ((7, 1, 5), &b"update\0srv\0"[..]);
        for (other, path) in [((8, 1, 5), exe), ((7, 2, 5), exe), (same, &b"other\0srv\0"[..])] {
            for asked in [&b"./update"[..], b"/proc/self/fd/3"] {
                let mut made = Maker::default();
                for pid in 100..120 {
                    match pid == 107 {
                        true => exec(&mut made, pid, asked, path, other),
                        false => exec(&mut made, pid, asked, exe, same),
                    }
                }
                let rows = rows(&calm(&mut made));
                assert_eq!(rows.iter().map(|row| row.1).collect::<Vec<_>>(), [1, 19], "{rows:?}");
            }
        }
        // What stat(2) leaves in the time is no change.
        let mut made = Maker::default();
        exec(&mut made, 100, b"./update", exe, same);
        exec(&mut made, 101, b"./update", exe, (7, 1, 5 | 1 << 31));
        assert_eq!(rows(&calm(&mut made)).len(), 1);
        // The file of a script is not known. The event has that of its interpreter.
        for (filename, runs) in [(&b"./update.sh"[..], 20), (b"/srv/update.sh", 20), (b"/usr/bin/ldd", 1)] {
            let mut made = Maker::default();
            for pid in 100..120 {
                let exec =
                    payload::Exec { filename, interp: b"/bin/sh", exe: b"sh\0bin\0", ..payload::Exec::default() };
                made.event(Slot::Exec, pid, "update.sh", &exec.bytes());
            }
            assert_eq!(rows(&calm(&mut made)).len(), runs);
        }
        // Which file the descriptor is is not known.
        let mut made = Maker::default();
        (100..103).for_each(|pid| made.open(pid, "cat", "/proc/self/fd/3", -13));
        assert_eq!(rows(&calm(&mut made)).len(), 3);
    }

    /// A build of two files, of which one fails.
    fn job(made: &mut Maker) {
        let start = |made: &mut Maker, pid: u32, parent: u32, argv: &[&str]| {
            made.like.ppid = Tgid(parent);
            made.exec(pid, argv[0], argv, 0);
        };
        start(made, 100, 1, &["make", "-j2"]);
        start(made, 101, 100, &["gcc", "a.c"]);
        start(made, 102, 101, &["cc1", "a.c"]);
        made.acts("102 cc1 open a.c, exit 0");
        start(made, 103, 100, &["gcc", "b.c"]);
        made.acts("103 gcc open /b.h:-13, exit 1");
    }

    #[test]
    fn a_job_is_one_row_and_its_failures_are_rows_below_it() {
        let make = |made: &mut Maker| {
            job(made);
            made.like.ppid = Tgid(1);
            made.exit(100, "make", 0);
        };
        check(make, &[(0, 1, 0), (6, 1, 0), (7, 1, 0), (8, 1, 0)]);
        let mut made = Maker::default();
        make(&mut made);
        let mut app = calm(&mut made);
        let listed = |app: &App| rows(app).iter().map(|row| row.0).collect::<Vec<_>>();
        assert_eq!(listed(keys(&mut app, "gl")), [0, 1, 2, 5, 6, 7, 8], "unfolded");
        assert_eq!(app.events().selected(), Some(0));
        // A row below the job folds its own events first.
        assert_eq!(listed(keys(&mut app, "jjl")), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(listed(keys(&mut app, "h")), [0, 1, 2, 5, 6, 7, 8]);
        assert_eq!(listed(keys(&mut app, "h")), [0, 6, 7, 8]);
        assert_eq!(app.events().selected(), Some(0), "the row of the job");
        assert_eq!(listed(keys(&mut app, "fcomm=cc1\n")), [2, 3, 4], "a filter shows what it asks for");
        assert_eq!(listed(keys(&mut app, "\x12fnot comm=make\n")), [1, 2, 5, 6, 7], "without the row of the job");
        assert_eq!(listed(keys(&mut app, "\x12O")).len(), 9, "every event");
        // Commands of an interactive shell are jobs of their own.
        let mut made = Maker::default();
        let start = |made: &mut Maker, pid: u32, parent: u32, argv: &[&str]| {
            made.like.ppid = Tgid(parent);
            made.exec(pid, argv[0], argv, 0);
        };
        start(&mut made, 100, 1, &["sshd"]);
        start(&mut made, 101, 100, &["-bash"]);
        start(&mut made, 102, 101, &["./build.sh"]);
        start(&mut made, 103, 102, &["cc", "a.c"]);
        start(&mut made, 104, 101, &["bash", "-c", "ls"]);
        start(&mut made, 105, 104, &["ls"]);
        let app = calm(&mut made);
        assert_eq!(rows(&app).iter().map(|row| row.0).collect::<Vec<_>>(), [0, 1, 2, 4]);
    }

    #[test]
    fn a_poll_is_one_row_with_its_interval() {
        let mut made = Maker::default();
        for number in 0..312 {
            made.ns += 999_000_000;
            made.open(7, "collectd", "/etc/ssl/app.key", -13);
            if number % 50 == 0 {
                made.exec(100 + number, "date", &["date", &number.to_string()], 0);
            }
        }
        let mut app = calm(&mut made);
        let poll = app.events().selected().expect("the newest row");
        assert_eq!(app.events().remarks(poll, None)[0], "every 1.0 s, x312");
        assert_eq!(rows(&app).len(), 8);
        assert_eq!(rows(keys(&mut app, "l")).len(), 7 + 312);
        assert_eq!(rows(keys(&mut app, "h")).len(), 8);
        // What is selected is not replaced.
        keys(keys(&mut app, "k"), "j");
        made.ns += 999_000_000;
        made.open(7, "collectd", "/etc/ssl/app.key", -13);
        assert_eq!((feed(&mut app, &mut made).events().selected(), rows(&app).len()), (Some(poll), 9));
        assert_eq!(rows(keys(&mut app, "a")).len(), 7 + 313, "nothing is folded");
        // Among many other rows.
        let mut made = Maker::default();
        for second in 0..6 {
            made.open(7, "poll", "/run/key", -13);
            (0..4000).for_each(|number| made.open(8, "guess", &format!("/srv/{second}/{number}"), -13));
            made.ns += 1_000_000_000;
        }
        let app = calm(&mut made);
        let polls = rows(&app).into_iter().filter(|(_, events, _)| *events > 1).collect::<Vec<_>>();
        assert_eq!(polls.iter().map(|poll| poll.1).collect::<Vec<_>>(), [6]);
        // Other names between.
        let mut made = Maker::default();
        for number in 0..50 {
            made.open(8, "poll", "/srv/key", -2);
            if number % 10 == 0 {
                made.open(8, "poll", &format!("/srv/{number}"), -2);
            }
        }
        assert_eq!(rows(&calm(&mut made)).len(), 6);
        // Any steady interval.
        let mut made = Maker::default();
        for number in 0..12 {
            made.ns += 60_000_000_000;
            made.exec(100 + number, "date", &["date"], 0);
            made.open(100 + number, "date", "/etc/app.key", -13);
            made.exit(100 + number, "date", 0);
        }
        let app = calm(&mut made);
        let beside = |(id, ..): &(Id, u64, u64)| app.events().remarks(*id, None)[0].clone();
        let every = "every 1m 00s, x12, several processes";
        assert_eq!(rows(&app).iter().map(beside).collect::<Vec<_>>(), [every, every]);
    }

    #[test]
    fn a_connection_is_one_row_and_a_filter_shows_what_it_asks_for() {
        let call = |made: &mut Maker, op: u8, port: u16| {
            let at = |port| SocketAddr::from(([10, 0, 0, 7], port));
            made.tcp(7, "curl", payload::tcp(op, at(port), at(80)));
        };
        let make = |made: &mut Maker, ports: &[u16], op: u8| ports.iter().for_each(|port| call(made, op, *port));
        let start = |made: &mut Maker| make(made, &[1, 2, 3], op::CONNECT);
        check(start, &[(2, 3, 0)]);
        let end = |made: &mut Maker| {
            start(made);
            make(made, &[2, 3], op::CLOSE);
        };
        check(end, &[(0, 1, 0), (4, 2, 0)]);
        let all = |made: &mut Maker| {
            end(made);
            make(made, &[1], op::CLOSE);
        };
        check(all, &[(5, 3, 0)]);
        let mut made = Maker::default();
        all(&mut made);
        assert_eq!(keys(&mut calm(&mut made), "O").events().events(), 6);
        // A filter shows what it asks for and a search counts what is in groups.
        let mut made = Maker::default();
        (0..8).for_each(|pid| made.open(100 + pid, "cat", "/srv/hello.txt", 3));
        (0..4).for_each(|pid| made.exit(200 + pid, "true", 0));
        made.open(7, "dog", "/b", 3);
        let mut app = calm(&mut made);
        assert_eq!(app.events().rows(), 0);
        for (filter, events) in [("path~hello", 8), ("kind=exit exit=0", 4), ("comm=dog", 1), ("not comm=dog", 0)] {
            keys(&mut app, &format!("f{filter}\n"));
            assert_eq!(rows(&app).iter().map(|row| row.1).sum::<u64>(), events, "{filter}");
            assert_eq!((app.events().events(), app.is_calm()), (events, events == 0), "{filter}");
            keys(&mut app, "\x12");
            app.set_calm(true);
        }
        keys(&mut app, "fpath~hello\nl");
        assert_eq!(app.events().rows(), 8, "unfolded");
        let mut app = self::all(&mut searched());
        keys(&mut app, "/b.stdio\n");
        let place = app.search.place(app.events(), app.store()).expect("counted");
        assert_eq!((place.all, place.unlisted), (0, 1));
        assert_eq!(app.screen.message(), Some("no match in the list; a lists each event"));
    }

    /// An event of `op` that names a file.
    fn change(made: &mut Maker, comm: &str, op: u8, path: &str, ret: i32) {
        made.call(Slot::File, 7, comm, op, path, ret);
    }

    /// The rows of a list of all events, each with what is beside it.
    #[track_caller]
    fn check_all(app: &App, want: &[(Id, &str)]) {
        let rows = (0..app.events().rows()).filter_map(|at| app.events().row(at));
        let remarks = rows.map(|id| (id, app.events().remarks(id, None).first().cloned().unwrap_or_default()));
        let remarks: Vec<_> = remarks.collect();
        assert_eq!(remarks.iter().map(|(id, remark)| (*id, remark.as_str())).collect::<Vec<_>>(), want);
    }

    fn all(made: &mut Maker) -> App {
        let mut app = app(80, 24, 64 << 20);
        feed(&mut app, made);
        app
    }

    /// A header search, with the calls before and after.
    fn searched() -> Maker {
        let mut made = Maker::default();
        made.open(7, "cc1", "/etc/x", 3);
        for dir in ["/a", "/b", "/c"] {
            made.open(7, "cc1", &format!("{dir}/stdio.h"), -2);
        }
        made.open_all(7, "cc1", "/d/stdio.h:4 /a/stdio.h:4");
        made
    }

    #[test]
    fn in_the_list_of_all_events_equal_neighbours_and_searches_share_a_row() {
        let mut made = Maker::default();
        for _ in 0..3 {
            made.open(7, "cat", "/a", 3);
        }
        made.acts("7 cat open /a:4 /a:-2 /a:-2; 8 dog open /a:-2");
        for _ in 0..3 {
            made.acts("8 dog open /b; 9 cow open /c");
        }
        let want = [(2, "x3"), (3, ""), (5, "x2"), (6, "")].into_iter().chain((7..13).map(|id| (id, "")));
        let mut app = all(&mut made);
        check_all(&app, &want.collect::<Vec<_>>());
        assert_eq!((app.events().events(), app.loaded().hidden()), (13, 0), "all events are counted");
        check_all(keys(&mut app, "kp"), &[(6, ""), (11, "x3")]);
        // A search is the line of what was found, or of the last failure.
        let mut made = searched();
        made.exec(9, "sh", &["ld"], -2);
        let app = all(&mut made);
        check_all(&app, &[(0, ""), (4, "searched 4"), (5, ""), (6, "")]);
        let mut made = Maker::default();
        for dir in ["/a", "/b", "/c"] {
            made.open(7, "env", &format!("{dir}/x"), -2);
        }
        let mut app = all(&mut made);
        check_all(&app, &[(2, "searched 3")]);
        // A directory that is twice in PATH.
        made.open_all(7, "env", "/c/x:-2 /d/x:-20 /d/y:-2 /d/y:-2 /e/y /e/y /e/y");
        check_all(feed(&mut app, &mut made), &[(4, "searched 5"), (7, "searched 3"), (9, "x2")]);
        // What refused stays in a row of its own.
        let mut made = Maker::default();
        made.open_all(7, "a", "/a/x:-2 /b/x:-13 /c/x:-2 /d/x");
        // The same directory again is not a search, and neither are other processes or names.
        made.acts("7 a open /e/x:-2 /e/x /f/x:-2; 8 a open /g/x /g/..:-2 /h/..:-2");
        let app = all(&mut made);
        check_all(&app, &[(0, ""), (1, ""), (3, "searched 2"), (4, ""), (5, ""), (6, ""), (7, ""), (8, ""), (9, "")]);
        let mut made = Maker::default();
        for _ in 0..3 {
            made.open_all(7, "cat", "/a /a");
            made.lost(5);
        }
        let mut app = all(&mut made);
        check_all(&app, &[(1, "x2"), (2, ""), (4, "x2"), (5, ""), (7, "x2"), (8, "")]);
        assert_eq!(keys(&mut app, "!n").events().selected(), Some(2));
    }

    #[test]
    fn what_may_be_another_file_is_not_folded() {
        let mut made = Maker::default();
        let open = |made: &mut Maker, flags: i32, path: &str, ret: i32| {
            let flags = flags.cast_unsigned().into();
            let record = OpenRecord { ret, flags, names_marks: mark::RACED, ..OpenRecord::default() };
            made.event(Slot::Open, 7, "sh", &payload::open(record, b"", path.as_bytes()));
        };
        // Refused in an unknown working directory, and opened in one.
        (0..2).for_each(|_| open(&mut made, 0, "shadow", -libc::EACCES));
        (0..2).for_each(|_| open(&mut made, 0, "shadow", 3));
        // Truncated in between.
        for flags in [libc::O_WRONLY, libc::O_WRONLY | libc::O_TRUNC, libc::O_WRONLY] {
            open(&mut made, flags, "/var/log/auth.log", 3);
        }
        // In other mount namespaces, and with another group id.
        for (mnt_ns, gid) in [(1, 0), (2, 0), (2, 5)] {
            made.like = FrameHeader { mnt_ns: NsInum(mnt_ns), gid: Gid(gid), ..made.like };
            open(&mut made, 0, "/etc/hostname", 3);
        }
        // Refused in known directories.
        for dir in [&b"a"[..], b"a", b"b"] {
            let record = OpenRecord { ret: -libc::EACCES, ..OpenRecord::default() };
            made.event(Slot::Open, 7, "sh", &payload::open(record, dir, b"shadow"));
        }
        // A missing file is no file, wherever a process looks for it.
        (0..3).for_each(|_| open(&mut made, 0, "none", -libc::ENOENT));
        let app = all(&mut made);
        check_all(&app, &(0..10).map(|id| (id, "")).chain([(11, "x2"), (12, ""), (15, "x3")]).collect::<Vec<_>>());
    }

    #[test]
    fn rows_are_unfolded_and_folded_and_keep_the_selected_event() {
        let mut made = searched();
        let folded = [(0, ""), (4, "searched 4"), (5, "")];
        let unfolded = [(0, ""), (1, ""), (2, ""), (3, ""), (4, ""), (5, "")];
        let mut app = all(&mut made);
        // The newest row is not folded, so it scrolls.
        check_all(keys(&mut app, "l"), &folded);
        assert_eq!(app.events().sideways, 8);
        check_all(keys(&mut app, "hkl"), &unfolded);
        assert_eq!((app.events().selected(), app.events().sideways), (Some(4), 0));
        assert_eq!(keys(&mut app, "l").events().sideways, 8);
        check_all(keys(&mut app, "hkh"), &[(0, ""), (3, "searched 3"), (4, ""), (5, "")]);
        check_all(keys(&mut app, "ga"), &unfolded);
        assert_eq!(keys(&mut app, "l").events().sideways, 8, "nothing is folded");
        check_all(keys(&mut app, "\x12"), &folded);
        let mut made = searched();
        let mut app = all(&mut made);
        assert_eq!(keys(&mut app, "k").events().selected(), Some(4));
        assert_eq!(keys(&mut app, "k").events().selected(), Some(0));
        keys(&mut app, "G");
        made.open_all(7, "cc1", "/a/stdio.h:4");
        check_all(feed(&mut app, &mut made), &[(0, ""), (4, "searched 4"), (6, "x2")]);
        assert!(app.events().follows());
        keys(&mut app, "kj");
        made.open_all(7, "cc1", "/a/stdio.h:4 /a/stdio.h:4");
        assert_eq!(feed(&mut app, &mut made).events().selected(), Some(6));
        check_all(&app, &[(0, ""), (4, "searched 4"), (6, "x2"), (8, "x2")]);
        check_all(keys(&mut app, "j\x0c"), &[(0, ""), (4, "searched 4"), (6, "x2"), (8, "x2")]);
    }

    fn make(made: &mut Maker, number: u32) {
        let pid = 7 + number % 3;
        let path = format!("{}/{}", ["/a", "/b"][(number / 3 % 2) as usize], ["x", "y"][(number / 6 % 2) as usize]);
        made.like.ppid = Tgid(1);
        match number / 12 {
            0 => made.lost(3),
            1 => made.exec(pid, "sh", &["ld"], [0, -2][(number % 2) as usize]),
            2 => made.exit(pid, "sh", (number % 2) << 8),
            3 => made.ns += 20_000_000_000,
            4 | 5 => made.open(pid, "sh", &path, 3),
            _ => made.open(pid, "sh", &path, [-2, -13][(number % 2) as usize]),
        }
    }

    proptest! {
        #[test]
        fn every_event_is_counted_once(numbers in prop::collection::vec(0u32..108, 1..80)) {
            let (mut app, mut made) = (app(80, 12, 64 << 20), Maker::default());
            app.set_calm(true);
            for part in numbers.chunks(5) {
                part.iter().for_each(|number| make(&mut made, *number));
                let listed: u64 = rows(feed(&mut app, &mut made)).iter().map(|row| row.1).sum();
                let quiet = (app.store().first_id()..app.store().next_id()).filter_map(|id| app.store().get(id));
                let quiet = quiet.filter(|stored| {
                    stored.kind != Kind::Lost && stored.event().is_ok_and(|event| event.is_quiet(stored.answered))
                });
                prop_assert_eq!(listed + quiet.count() as u64, app.store().next_id());
            }
            let before = rows(&app);
            let counted = |rows: &[(Id, u64, u64)]| {
                (rows.iter().map(|row| row.1).sum::<u64>(), rows.iter().map(|row| row.2).sum::<u64>())
            };
            app.refilter();
            prop_assert_eq!(counted(&rows(keys(&mut app, ""))), counted(&before));
            for typed in ["aa", "O", "aa", "Okaa"] {
                prop_assert!(rows(keys(&mut app, typed)).is_sorted_by(|row, next| row.0 < next.0), "{}", typed);
            }
        }
    }
}
