//! The rows of the list, and the groups that share one: events that say the same, of one process or of several, whatever is between
//! them, and events that say nearly the same ([`Alike`]). The row of a group is its newest event.
//!
//! In the calm list, the events that need no attention ([`Event::is_quiet`]) have no row. The newest row of their process counts them.
//! The programs and files of a job ([`Job`]) have no rows either, unless they failed. The row of its topmost process counts them. Nor has
//! the start of a connection that is closed.
//!
//! Events are added in their order. In the list of all events, a group has no other row between its events.

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

/// The longest time between two events that say nearly the same.
const NEAR_NS: u64 = 10_000_000_000;

/// The longest time between two calls of a search.
const SEARCH_NS: u64 = 1_000_000_000;

/// How many events have a regular interval.
const REGULAR: u64 = 4;

/// From which interval on it is shown.
const SLOW_NS: u64 = 100_000_000;

/// From how many on the rows of a crowd are one ([`Keys::crowd`]).
const CROWD: usize = 16;

/// How many rows are examined for an older row of a process.
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
    /// The group of one event.
    fn of(id: Id, seen: &EventContext<'_>, key: u64) -> Group {
        let ns = seen.event.header.time.0;
        Group {
            events: 1,
            alike: Alike::All,
            several: false,
            first: id,
            key,
            op: seen.event.body.change().map_or("", File::op),
            process: seen.process.map(|process| process.key),
            span: (ns, ns),
            longest_ns: 0,
        }
    }

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
            Alike::Commands => vec![format!("{count}, other arguments")],
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
    /// The newest rows by what they say.
    rows: HashMap<u64, Id>,
    /// The newest rows of each crowd that is not one row yet.
    crowds: HashMap<u64, Vec<Id>>,
    quiet: HashMap<ProcessKey, Quiet>,
    /// The starts of connections without an end yet.
    connections: HashMap<u64, Id>,
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
    pub(super) fn again(&self, store: &Store) -> Groups {
        let (open, keys) = (self.open.clone(), self.keys.clone());
        Groups { open, keys, index: Index::new(store), ..Groups::new(self.listing, self.folds) }
    }

    fn keys_of(&mut self, stored: &Stored<'_>) -> Option<Keys> {
        self.keys.keys(&stored.event().ok()?, stored.process, self.listing == Listing::All)
    }

    /// Adds the next event. `is_pinned`: rows that no other may replace.
    pub(super) fn add(
        &mut self,
        Added { id, answer, watched, answered, job }: Added,
        seen: &EventContext<'_>,
        store: &Store,
        is_pinned: impl Fn(Id) -> bool,
    ) {
        let (event, process) = (seen.event, seen.process.map(|process| process.key));
        if answer == Answer::Marked {
            return self.index.append(id, answer);
        }
        let has_row = match (job.filter(|_| self.listing == Listing::Calm && !event.failed()), event.kind()) {
            // The end of a job has a row.
            (Some(_), Kind::Exec | Kind::Exit) if job == process => true,
            (Some(job), Kind::Exec | Kind::Exit | Kind::Open | Kind::File) if !self.is_unfolded(job) => false,
            _ => self.listing.has_row(event, answered),
        };
        // The end of a connection has the row.
        if let Some(start) = self.connects(id, event).and_then(|start| store.get(start)) {
            self.answered(&start, store, is_pinned(start.id));
        }
        if !has_row && !watched && !process.is_some_and(|key| self.is_open(key)) {
            return self.keep_quiet(id, event.kind(), process);
        }
        // Two runs of COMMAND are two rows.
        let folds = self.folds && !(KindSet::OF_PROGRAMS.contains(event.kind()) && seen.is_of_command());
        let keys = if folds { self.keys.keys(event, seen.process, self.listing == Listing::All) } else { None };
        if let Some(keys) = keys {
            self.join(id, seen, &keys, store, is_pinned);
        }
        self.index.append(id, answer);
        self.has_row(id, process);
    }

    fn connection(&self, body: &Body<'_>) -> Option<u64> {
        let connection = body.connection().filter(|_| self.listing == Listing::Calm)?;
        let record = &connection.record;
        Some(self.keys.of((record.net_ns, connection.laddr(), record.lport, connection.raddr(), record.rport)))
    }

    /// Notes the start of a connection. Returns the start of one that ends.
    fn connects(&mut self, id: Id, event: &Event<'_>) -> Option<Id> {
        let key = self.connection(&event.body).filter(|_| !event.failed())?;
        if event.body.is_close() {
            return self.connections.remove(&key);
        }
        if self.connections.len() >= OPEN {
            self.connections.clear();
        }
        self.connections.insert(key, id);
        None
    }

    fn leave(&mut self, row: Id, process: Option<ProcessKey>, store: &Store) {
        self.index.remove(row);
        process.into_iter().for_each(|key| self.lost_row(key, row, store));
    }

    /// Gives an event the group that it continues. The event is the row of the group.
    fn join(&mut self, id: Id, seen: &EventContext<'_>, keys: &Keys, store: &Store, is_pinned: impl Fn(Id) -> bool) {
        let mut group = Group::of(id, seen, keys.whole);
        let unfolded = keys.all().any(|key| self.open.contains(&key));
        let may_join = |row: Id| {
            let place = self.index.place(row);
            let is_row = !unfolded && self.index.get(place) == Some(row) && !is_pinned(row);
            // Events of a group may be lost in a gap. In a list of all events, only neighbours are a group.
            let is_near = self.listing != Listing::All || place + 1 == self.index.len();
            is_row && is_near && self.index.marked_before(row) == self.index.marked()
        };
        let row_of = |key: u64| {
            let row = self.rows.get(&key).copied().filter(|row| may_join(*row))?;
            Some((row, *self.groups.get(&row)?))
        };
        let continued = self.continued(&group, seen, keys, store, row_of);
        let crowd = keys.crowd.filter(|_| continued.is_none() && !unfolded);
        let mut leaving: Vec<Id> = Vec::new();
        if let Some((row, alike, key)) = continued {
            (group.alike, group.key) = (alike, key);
            leaving.push(row);
        } else if let Some((alike, key)) = crowd {
            let joins = |row: &Id| {
                self.groups.get(row).is_some_and(|of| {
                    let single = of.alike == Alike::Changed || of.alike == Alike::All && !of.is_regular();
                    single && (alike != Alike::Missing || !of.several) && of.distance(group.span.0) <= NEAR_NS
                })
            };
            let mut rows = self.crowds.remove(&key).unwrap_or_default();
            rows.retain(joins);
            if rows.len() >= CROWD {
                // They become one row.
                leaving.extend(rows.into_iter().filter(|row| may_join(*row)));
                (group.alike, group.key) = (alike, key);
            } else {
                rows.push(id);
                self.crowds.insert(key, rows);
            }
        }
        for row in leaving {
            let Some(of) = self.groups.remove(&row) else { continue };
            group = group.and(of);
            // A new row is the newest of its process.
            self.leave(row, of.process.filter(|of| Some(*of) != group.process), store);
            if let Some((_, key)) = keys.crowd.filter(|_| continued.is_some()) {
                self.crowds.get_mut(&key).into_iter().flatten().filter(|of| **of == row).for_each(|of| *of = id);
            }
        }
        // All events of a crowd join its row by one key: a storm of new names takes no memory.
        let is_crowd = keys.crowd.is_some_and(|(alike, _)| alike == group.alike);
        let crowd = keys.crowd.filter(|_| is_crowd).map(|(_, key)| key);
        let own = [Some(keys.whole), keys.part.map(|(_, part)| part)].into_iter().flatten().filter(|_| !is_crowd);
        own.chain(crowd).for_each(|key| _ = self.rows.insert(key, id));
        self.groups.insert(id, group);
        self.make_room(store);
    }

    /// The row of the group that an event continues, and what its events have in common. `row_of`: a row by its key, if it may be
    /// continued.
    fn continued(
        &self,
        event: &Group,
        seen: &EventContext<'_>,
        keys: &Keys,
        store: &Store,
        row_of: impl Fn(u64) -> Option<(Id, Group)>,
    ) -> Option<(Id, Alike, u64)> {
        let (body, ns) = (&seen.event.body, event.span.0);
        let of_one = |group: &Group| !group.several && group.process == event.process;
        // A search is of one process.
        let same = row_of(keys.whole).filter(|(_, group)| match group.alike {
            Alike::All => true,
            Alike::Search => missed(body) == Some(true) && of_one(group) && group.distance(ns) <= NEAR_NS,
            _ => false,
        });
        if let Some((row, group)) = same {
            return Some((row, group.alike, group.key));
        }
        let further = |row: Id, group: &Group| {
            let before = store.get(row).and_then(|stored| stored.event().ok());
            // Equal calls that found the name are no part of the search.
            let is_part =
                |before: &Body<'_>| group.events == 1 || group.alike == Alike::Search || missed(before) == Some(true);
            before.is_some_and(|before| looks_further(&before.body, body) && is_part(&before.body))
        };
        let part = keys.part.and_then(|(alike, key)| {
            let joins = |(row, group): &(Id, Group)| match alike {
                Alike::Search => !group.several && group.distance(ns) <= SEARCH_NS && further(*row, group),
                // Of one process, however long it does this.
                _ => of_one(group) || group.distance(ns) <= NEAR_NS,
            };
            row_of(key).filter(joins).map(|(row, _)| (row, alike, key))
        });
        let near = |(_, group): &(Id, Group)| group.distance(ns) <= NEAR_NS;
        let crowd = |(alike, key)| row_of(key).filter(near).map(|(row, _)| (row, alike, key));
        part.or_else(|| keys.crowd.and_then(crowd))
    }

    /// Drops groups if there are many: first the events without a group.
    fn make_room(&mut self, store: &Store) {
        let Groups { groups, rows, crowds, most, .. } = self;
        if rows.len().max(crowds.len()) <= OPEN && groups.len() <= most[0] {
            return;
        }
        groups.retain(|row, group| group.events > 1 && store.get(*row).is_some());
        most[0] = OPEN + 2 * groups.len();
        groups.shrink_to(most[0]);
        *crowds = HashMap::default();
        rows.retain(|_, row| groups.contains_key(row));
        if rows.len() > OPEN / 2 {
            rows.clear();
        }
        rows.shrink_to(OPEN);
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
            self.rows.values_mut().filter(|at| **at == row).for_each(|at| *at = older.id);
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
        let mut continued = keys.all().filter_map(|key| self.groups.get_key_value(self.rows.get(&key)?));
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
            + self.rows.capacity() * size_of::<(u64, Id)>()
            + self.crowds.capacity() * (size_of::<(u64, Vec<Id>)>() + CROWD * size_of::<Id>())
    }
}

#[cfg(test)]
mod tests;
