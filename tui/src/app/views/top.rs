//! What is most frequent: the shown events counted by one of their properties. Kept events are counted in slices, the newest first;
//! new ones when they arrive. Nothing is counted while the view is not shown.

use crate::app::keymap::Action;
use crate::app::row;
use crate::app::views::events::EventList;
use crate::app::views::{motion, next_match};
use crate::enrich::World;
use crate::event::open::Open;
use crate::event::{Body, EventContext, Tables};
use crate::filter;
use crate::limits;
use crate::store::{FileHash, Id, Store, Stored};
use foldhash::fast::RandomState;
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::hash::BuildHasher;
use std::time::Duration;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::Uid;
use tracetui_shared::kind::Kind;

/// The seconds whose events are counted one by one.
pub(crate) const SECONDS: usize = 60;

/// The seconds whose mean is the rate.
const RATE: u64 = 10;

/// The time after a movement of the selection in which the order stays.
const HELD: Duration = Duration::from_secs(3);

/// The events between two moments that are counted at once.
const STEP: usize = 4_000;

const SECOND: u64 = 1_000_000_000;

/// The property by which events are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum By {
    #[default]
    Comm,
    Path,
    Dir,
    Uid,
    Cgroup,
    Errno,
    Kind,
}

impl By {
    /// All, in order.
    pub(crate) const ALL: [By; 7] = [By::Comm, By::Path, By::Dir, By::Uid, By::Cgroup, By::Errno, By::Kind];

    /// The name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            By::Comm => "comm",
            By::Path => "path",
            By::Dir => "dir",
            By::Uid => "uid",
            By::Cgroup => "cgroup",
            By::Errno => "errno",
            By::Kind => "kind",
        }
    }

    /// A value as it is shown: with the name of a user.
    pub(crate) fn shown<'a>(self, value: &'a [u8], world: &World) -> Cow<'a, [u8]> {
        let uid = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).filter(|_| self == By::Uid);
        match uid.and_then(|uid| world.user(Uid(uid)).map(|name| format!("{name} ({uid})"))) {
            Some(named) => Cow::Owned(named.into_bytes()),
            None => Cow::Borrowed(value),
        }
    }

    fn step(self, by: usize) -> By {
        let at = By::ALL.iter().position(|known| *known == self).unwrap_or_default();
        By::ALL[(at + by) % By::ALL.len()]
    }

    /// Appends the value of a kept event. `false` if it has none. It is decoded only if that is needed.
    fn of_stored(self, stored: &Stored<'_>, world: &dyn Tables, out: &mut Vec<u8>) -> bool {
        if let (By::Path | By::Dir, Some(open)) = (self, stored.open()) {
            return self.of_open(&open, out);
        }
        let may_have = match self {
            By::Comm | By::Uid | By::Kind => return self.of_header(stored.kind, &stored.header(), out),
            By::Errno => stored.failed,
            By::Path | By::Dir => stored.kind == Kind::Exec,
            By::Cgroup => true,
        };
        may_have && stored.with(world, |seen| self.of(seen, out)).unwrap_or_default()
    }

    /// Appends the value of an event. `false` if it has none.
    pub(crate) fn of(self, seen: &EventContext<'_>, out: &mut Vec<u8>) -> bool {
        match self {
            By::Comm | By::Uid | By::Kind => return self.of_header(seen.event.kind(), &seen.event.header, out),
            By::Errno => {
                if seen.event.kind() == Kind::Exit || !seen.event.failed() {
                    return false;
                }
                seen.result(out);
            }
            By::Cgroup => out.extend_from_slice(&row::field(seen, "cgroup").text().unwrap_or_default()),
            By::Path | By::Dir => match &seen.event.body {
                Body::Open(open) => return self.of_open(open, out),
                Body::Exec(exec) if exec.record.ret == 0 && exec.exe.is_known() => exec.exe.write(out),
                Body::Exec(exec) => out.extend_from_slice(exec.filename),
                _ => return false,
            },
        }
        self.of_path(out)
    }

    /// Appends the path of an open, or its directory. `false` if it has none.
    fn of_open(self, open: &Open<'_>, out: &mut Vec<u8>) -> bool {
        open.file().write(out);
        self.of_path(out)
    }

    /// Cuts a path to its directory, if that is the property. `false` if nothing is left.
    fn of_path(self, out: &mut Vec<u8>) -> bool {
        if self == By::Dir {
            match memchr::memrchr(b'/', out) {
                Some(slash) => out.truncate(slash.max(1)),
                None => return false,
            }
        }
        !out.is_empty()
    }

    /// Appends the value of an event that its header has. `false` if it has none.
    fn of_header(self, kind: Kind, header: &FrameHeader, out: &mut Vec<u8>) -> bool {
        match self {
            By::Comm => out.extend_from_slice(header.comm()),
            By::Uid => out.extend_from_slice(itoa::Buffer::new().format(header.uid.0).as_bytes()),
            By::Kind => out.extend_from_slice(kind.name().as_bytes()),
            By::Path | By::Dir | By::Cgroup | By::Errno => {}
        }
        !out.is_empty()
    }

    /// The filter that events with a value pass.
    pub(crate) fn term(self, value: &[u8]) -> String {
        match self {
            By::Comm => filter::exactly("comm", value),
            By::Path => filter::exactly("path", value),
            By::Dir => filter::directly_in(value),
            By::Uid => filter::exactly("uid", value),
            By::Cgroup => filter::exactly("cgroup", value),
            By::Errno => filter::exactly("err", value),
            By::Kind => filter::exactly("kind", value),
        }
    }
}

/// The orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    Events,
    Rate,
    Failed,
    Last,
}

impl Order {
    const ALL: [Order; 4] = [Order::Events, Order::Rate, Order::Failed, Order::Last];

    /// The name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Order::Events => "events",
            Order::Rate => "rate",
            Order::Failed => "failed",
            Order::Last => "last event",
        }
    }

    fn next(self) -> Order {
        let at = Order::ALL.iter().position(|order| *order == self).unwrap_or_default();
        Order::ALL[(at + 1) % Order::ALL.len()]
    }
}

/// The time whose events are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Window {
    /// All that is kept.
    #[default]
    All,
    /// The last [`SECONDS`].
    Recent,
}

/// The counts of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Figures {
    /// Its events.
    pub events: u64,
    /// By kind: exec, exit, open, bpf.
    pub kinds: [u64; 4],
    /// Calls that failed and that nothing answered.
    pub failed: u64,
}

impl Figures {
    fn count(&mut self, kind: Kind, failed: bool) {
        self.events += 1;
        if let Some(count) = KINDS.iter().position(|known| *known == kind).and_then(|at| self.kinds.get_mut(at)) {
            *count += 1;
        }
        self.failed += u64::from(failed);
    }

    fn add(&mut self, other: &Figures) {
        self.events += other.events;
        self.kinds.iter_mut().zip(other.kinds).for_each(|(count, more)| *count += more);
        self.failed += other.failed;
    }
}

/// The events with one value. What each event changes lies in one cache line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Group {
    /// The counts of all that was counted.
    all: Figures,
    /// The time of the last one (CLOCK_BOOTTIME, ns).
    pub last_ns: u64,
    /// The last second of `seconds`.
    latest: u64,
    /// The value.
    pub value: Box<[u8]>,
    /// The counts of each second, if only those of the last ones are shown.
    recent: Option<Box<[Figures; SECONDS]>>,
    /// Events per second, at the place of the second.
    seconds: [u32; SECONDS],
}

/// The kinds that are counted one by one.
const KINDS: [Kind; 4] = [Kind::Exec, Kind::Exit, Kind::Open, Kind::Bpf];

impl Group {
    fn new(value: &[u8], ns: u64, window: Window) -> Group {
        let recent = (window == Window::Recent).then(|| Box::new([Figures::default(); SECONDS]));
        let (latest, seconds) = (ns / SECOND, [0; SECONDS]);
        Group { value: value.into(), all: Figures::default(), last_ns: 0, latest, seconds, recent }
    }

    fn count(&mut self, kind: Kind, failed: bool, ns: u64) {
        self.all.count(kind, failed);
        self.last_ns = self.last_ns.max(ns);
        let second = ns / SECOND;
        while self.latest < second {
            // After a long pause, all of them are zero.
            self.latest = (self.latest + 1).max(second.saturating_sub(SECONDS as u64));
            let at = self.latest as usize % SECONDS;
            self.seconds[at] = 0;
            self.recent.iter_mut().for_each(|recent| recent[at] = Figures::default());
        }
        if second + SECONDS as u64 > self.latest {
            let at = second as usize % SECONDS;
            self.seconds[at] += 1;
            self.recent.iter_mut().for_each(|recent| recent[at].count(kind, failed));
        }
    }

    /// Counts one fewer that failed at this time.
    fn answered(&mut self, ns: u64) {
        self.all.failed = self.all.failed.saturating_sub(1);
        let second = ns / SECOND;
        if second <= self.latest && second + SECONDS as u64 > self.latest {
            let recent = self.recent.as_mut().map(|recent| &mut recent[second as usize % SECONDS]);
            recent.into_iter().for_each(|figures| figures.failed = figures.failed.saturating_sub(1));
        }
    }

    /// What is shown at a time: the counts of the last seconds, or of all.
    pub(crate) fn figures(&self, now_ns: u64) -> Figures {
        let Some(recent) = &self.recent else { return self.all };
        let now = now_ns / SECOND;
        let oldest = (now + 1).saturating_sub(SECONDS as u64).max((self.latest + 1).saturating_sub(SECONDS as u64));
        let mut sum = Figures::default();
        (oldest..=self.latest.min(now)).for_each(|second| sum.add(&recent[second as usize % SECONDS]));
        sum
    }

    /// The events of a second.
    fn in_second(&self, second: u64) -> u32 {
        let known = second <= self.latest && second + SECONDS as u64 > self.latest;
        if known { self.seconds[second as usize % SECONDS] } else { 0 }
    }

    /// The events of each of the last `count` seconds until a time, the oldest first.
    pub(crate) fn history(&self, now_ns: u64, count: u64) -> impl Iterator<Item = u32> {
        let now = now_ns / SECOND;
        (0..count).rev().map(move |ago| now.checked_sub(ago).map_or(0, |second| self.in_second(second)))
    }

    /// The events per second of late, of a time that began at `since_ns`.
    pub(crate) fn rate(&self, now_ns: u64, since_ns: u64) -> u64 {
        let seconds = (now_ns / SECOND).saturating_sub(since_ns / SECOND).saturating_add(1).min(RATE);
        self.history(now_ns, seconds).map(u64::from).sum::<u64>().div_ceil(seconds)
    }
}

/// Bytes of a group beside its value: its place in the list, which may be half full, those in the two tables, and that in the rows.
const GROUP: usize = 2 * size_of::<Group>() + 8 * size_of::<(u64, u32)>() + 32;

/// The view.
#[derive(Debug, Default)]
pub(crate) struct Top {
    by: By,
    window: Window,
    /// Events from here on are counted: the first one, and its time.
    since: Option<(Id, u64)>,
    /// The order that the user chose.
    order: Option<Order>,
    reverse: bool,
    groups: Vec<Group>,
    /// The groups by the hashes of their values. Values with one hash would be one group, but nobody who chooses values knows the
    /// key of the hash.
    places: FxHashMap<u64, u32>,
    /// The same by the files of opens ([`Stored::file`]).
    files: FxHashMap<FileHash, u32>,
    hasher: RandomState,
    bytes: usize,
    bound: usize,
    /// Events whose groups were removed.
    pub(crate) others: u64,
    /// Events from here on have been counted.
    from: Id,
    /// Events from here on are not counted: they came after the moment that is shown.
    until: Option<Id>,
    running: bool,
    /// The times of the first and of the last event that was counted (CLOCK_BOOTTIME, ns).
    span: Option<(u64, u64)>,
    rows: Vec<u32>,
    /// The most events of a row.
    most: u64,
    cursor: Option<Box<[u8]>>,
    at: usize,
    top: usize,
    moved: Option<Duration>,
    scratch: Vec<u8>,
}

impl Top {
    /// Nothing counted, within so many bytes.
    pub(crate) fn new(bound: usize) -> Top {
        Top { bound, ..Top::default() }
    }

    /// The memory in use, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets what was counted, and counts again while the view is shown.
    pub(crate) fn restart(&mut self, until: Option<Id>, store: &Store) {
        self.stop();
        (self.from, self.until, self.running) = (until.unwrap_or(store.next_id()), until, true);
    }

    /// Goes on to a later moment; `false` if it is none, or too far away.
    pub(crate) fn advance(&mut self, until: Option<Id>, list: &EventList, store: &Store, world: &World) -> bool {
        let (Some(before), Some(after)) = (self.until.filter(|_| self.running), until) else { return false };
        let (from, to) = (list.place(before), list.place(after));
        if after < before || to - from > STEP {
            return false;
        }
        for stored in (from..to).filter_map(|at| list.listed(at)).filter_map(|id| store.get(id)) {
            self.count(&stored, world);
        }
        self.until = until;
        true
    }

    /// Forgets what was counted.
    pub(crate) fn stop(&mut self) {
        *self = Top {
            by: self.by,
            window: self.window,
            since: self.since,
            order: self.order,
            reverse: self.reverse,
            bound: self.bound,
            cursor: self.cursor.take(),
            ..Top::default()
        };
    }

    /// Counts the events of the last seconds only, or all again.
    pub(crate) fn next_window(&mut self) {
        self.window = if self.window == Window::All { Window::Recent } else { Window::All };
    }

    /// Counts from this event on, of this time; without one, all.
    pub(crate) fn count_since(&mut self, since: Option<(Id, u64)>) {
        self.since = since;
    }

    /// Whether the events of this moment are counted.
    pub(crate) fn is_of(&self, until: Option<Id>) -> bool {
        self.running && self.until == until
    }

    /// Adds an event that was just stored and that is shown.
    pub(crate) fn append(&mut self, stored: &Stored<'_>, world: &dyn Tables) {
        if self.running && self.until.is_none() {
            // A later event is always within the time that is counted.
            self.count(stored, world);
        }
    }

    /// A failed call that is shown is counted as failed no more: its search found the name.
    pub(crate) fn answered(&mut self, stored: &Stored<'_>, world: &dyn Tables) {
        let counted = self.running && stored.id >= self.from && self.until.is_none_or(|until| stored.id < until);
        if !counted || self.since.is_some_and(|(since, _)| stored.id < since) {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        if self.by.of_stored(stored, world, &mut scratch) {
            let at = self.places.get(&self.hasher.hash_one(scratch.as_slice())).copied();
            let group = at.and_then(|at| self.groups.get_mut(at as usize));
            group.into_iter().for_each(|group| group.answered(stored.time.0));
        }
        self.scratch = scratch;
    }

    fn count(&mut self, stored: &Stored<'_>, world: &dyn Tables) {
        if stored.kind == Kind::Lost {
            return;
        }
        let ns = stored.time.0;
        let (first, last) = self.span.get_or_insert((ns, ns));
        (*first, *last) = ((*first).min(ns), (*last).max(ns));
        let file = stored.file.filter(|_| matches!(self.by, By::Path | By::Dir));
        let known = file.and_then(|file| self.files.get(&file).copied());
        let Some(at) = known.or_else(|| self.place_of(stored, world)) else { return };
        if let (Some(file), None) = (file, known) {
            self.files.insert(file, at);
        }
        if let Some(group) = self.groups.get_mut(at as usize) {
            // An exit is no call: what failed before it is counted.
            let failed = stored.failed && !stored.answered && stored.kind != Kind::Exit;
            group.count(stored.kind, failed, ns);
        }
    }

    /// The group of an event, which is added if it is new. `None` if the event has no value.
    fn place_of(&mut self, stored: &Stored<'_>, world: &dyn Tables) -> Option<u32> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let at = self.by.of_stored(stored, world, &mut scratch).then(|| {
            let hash = self.hasher.hash_one(scratch.as_slice());
            self.places.get(&hash).copied().unwrap_or_else(|| self.add(hash, &scratch, stored.time.0))
        });
        self.scratch = scratch;
        at
    }

    fn add(&mut self, hash: u64, value: &[u8], ns: u64) -> u32 {
        let bytes = self.bytes_of(value);
        if self.bytes + bytes > self.bound || self.groups.len() >= limits::TOP_GROUPS {
            self.prune();
        }
        let at = self.groups.len() as u32;
        self.groups.push(Group::new(value, ns, self.window));
        self.places.insert(hash, at);
        self.bytes += bytes;
        at
    }

    fn bytes_of(&self, value: &[u8]) -> usize {
        GROUP + value.len() + if self.window == Window::Recent { size_of::<[Figures; SECONDS]>() } else { 0 }
    }

    /// Removes the half of the groups that has the fewest events.
    fn prune(&mut self) {
        let mut groups = std::mem::take(&mut self.groups);
        groups.sort_by_key(|group| Reverse(group.all.events));
        let removed = groups.split_off(groups.len() / 2);
        self.others += removed.iter().map(|group| group.all.events).sum::<u64>();
        self.bytes = groups.iter().map(|group| self.bytes_of(&group.value)).sum();
        self.places = (0..).zip(&groups).map(|(at, group)| (self.hasher.hash_one(&*group.value), at)).collect();
        self.files.clear();
        self.groups = groups;
        self.rows.clear();
    }

    /// Counts up to `budget` older events of the list.
    pub(crate) fn scan(&mut self, list: &EventList, store: &Store, world: &World, budget: usize) {
        if !self.running {
            return;
        }
        let first = self.first_id(store);
        let mut place = list.place(self.from);
        for _ in 0..budget {
            let Some(id) = place.checked_sub(1).and_then(|at| list.listed(at)) else {
                // Those before were not asked yet, or are not shown.
                self.from = self.from.min(list.asked_from()).max(first);
                return;
            };
            if id < first {
                self.from = first;
                return;
            }
            place -= 1;
            self.from = id;
            let Some(stored) = store.get(id) else { continue };
            // Events are nearly in the order of time: what is a second older still may be followed by what is not.
            let oldest = self.now_ns().saturating_sub((SECONDS as u64 + 1) * SECOND);
            if self.window == Window::Recent && stored.time.0 < oldest {
                self.from = first;
                return;
            }
            self.count(&stored, world);
        }
    }

    /// The first event that is to be counted, if that is kept.
    fn first_id(&self, store: &Store) -> Id {
        self.since.map_or(store.first_id(), |(since, _)| since.max(store.first_id()))
    }

    /// Whether older events are to be counted.
    pub(crate) fn scanning(&self, store: &Store) -> bool {
        self.running && self.from > self.first_id(store)
    }

    /// Puts the groups in order, for a screen of `height` rows.
    pub(crate) fn refresh(&mut self, height: usize, now: Duration) {
        let held = self.moved.is_some_and(|moved| now < moved + HELD) && !self.rows.is_empty();
        if !held {
            let offset = self.at.saturating_sub(self.top);
            let (start, end, order) = (self.since_ns().unwrap_or_default(), self.now_ns(), self.order().0);
            let groups = (0u32..).zip(&self.groups).map(|(at, group)| (at, group, group.figures(end)));
            let measured = groups.filter(|(.., figures)| figures.events > 0).map(|(at, group, figures)| {
                let measure = match order {
                    Order::Events => figures.events,
                    Order::Rate => group.rate(end, start),
                    Order::Failed => figures.failed,
                    Order::Last => group.last_ns,
                };
                (Reverse(measure), Reverse(figures.events), &group.value, at)
            });
            let mut rows: Vec<_> = measured.collect();
            rows.sort_unstable();
            self.most = rows.iter().map(|(_, Reverse(events), ..)| *events).max().unwrap_or_default();
            let mut rows: Vec<u32> = rows.into_iter().map(|(.., at)| at).collect();
            if self.reverse {
                rows.reverse();
            }
            self.rows = rows;
            let row = self.cursor.as_ref().and_then(|value| {
                self.rows.iter().position(|at| self.groups.get(*at as usize).is_some_and(|group| group.value == *value))
            });
            self.at = row.unwrap_or(self.at).min(self.rows.len().saturating_sub(1));
            self.top = self.at.saturating_sub(offset);
        }
        let most = self.rows.len().saturating_sub(height);
        self.top = self.top.min(most).clamp((self.at + 1).saturating_sub(height.max(1)), self.at);
    }

    /// The time up to which events were counted.
    pub(crate) fn now_ns(&self) -> u64 {
        self.span.map_or(0, |(_, last)| last)
    }

    /// The time of the first event that was counted.
    pub(crate) fn since_ns(&self) -> Option<u64> {
        self.span.map(|(first, _)| first)
    }

    /// The groups, in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Group> {
        self.rows.iter().filter_map(|at| self.groups.get(*at as usize))
    }

    /// The most events of a group.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// The time whose events are counted.
    pub(crate) fn window(&self) -> Window {
        self.window
    }

    /// The time of the first event that is to be counted, if not all are.
    pub(crate) fn counted_since(&self) -> Option<u64> {
        self.since.map(|(_, ns)| ns)
    }

    /// The property by which events are counted.
    pub(crate) fn by(&self) -> By {
        self.by
    }

    /// The order.
    pub(crate) fn order(&self) -> (Order, bool) {
        // Of errors, those count most that no search answers.
        let usual = if self.by == By::Errno { Order::Failed } else { Order::Events };
        (self.order.unwrap_or(usual), self.reverse)
    }

    /// The selected row.
    pub(crate) fn cursor(&self) -> usize {
        self.at
    }

    /// The first row on the screen.
    pub(crate) fn first_row(&self) -> usize {
        self.top
    }

    /// The selected group.
    pub(crate) fn selected(&self) -> Option<&Group> {
        self.rows.get(self.at).and_then(|at| self.groups.get(*at as usize))
    }

    /// Restores the order of the start.
    pub(crate) fn reset_order(&mut self) {
        (self.order, self.reverse) = Default::default();
    }

    fn select(&mut self, row: usize, now: Duration) {
        self.at = row.min(self.rows.len().saturating_sub(1));
        self.cursor = self.selected().map(|group| group.value.clone());
        self.moved = Some(now);
    }

    /// Selects a row of the screen, if there is one.
    pub(crate) fn click(&mut self, row: usize, now: Duration) {
        let row = self.top + row;
        if row < self.rows.len() {
            self.select(row, now);
        }
    }

    /// Moves the selection down by `rows`.
    pub(crate) fn move_by(&mut self, rows: isize, now: Duration) {
        self.select(self.at.saturating_add_signed(rows), now);
    }

    /// Selects the next row for which `is` holds, round the end; the selected one too if `here`. `false` if there is none.
    pub(crate) fn find(&mut self, down: bool, here: bool, now: Duration, is: impl Fn(&Group) -> bool) -> bool {
        let found = next_match(self.rows.len(), self.at, (down, here), |at| {
            self.rows.get(at).and_then(|at| self.groups.get(*at as usize)).is_some_and(&is)
        });
        found.map(|at| self.select(at, now)).is_some()
    }

    /// Counts by the next property, or by the one before.
    pub(crate) fn next_by(&mut self, next: bool) {
        self.by = self.by.step(if next { 1 } else { By::ALL.len() - 1 });
        (self.cursor, self.at, self.moved) = (None, 0, None);
    }

    /// Performs an action on a screen of `height` rows; `false` if it is none of the view.
    pub(crate) fn act(&mut self, action: Action, height: usize, now: Duration) -> bool {
        match action {
            Action::TopSort => {
                self.order = Some(self.order().0.next());
                self.moved = None;
            }
            Action::TopReverse => {
                self.reverse = !self.reverse;
                self.moved = None;
            }
            _ => match motion(action, height) {
                Some(rows) => self.move_by(rows, now),
                None => return false,
            },
        }
        true
    }
}
