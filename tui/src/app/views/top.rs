//! Top: the shown events, counted by one of their properties. Kept events are counted in slices, newest first. New events are counted when
//! they arrive. Nothing is counted while another view is shown.

mod by;

use super::state::{Context, Rows, ViewState, motion};
use crate::app::copy;
use crate::app::keys::keymap::Action;
use crate::app::named_enum::{named, step};
use crate::app::views::event_list::{EventList, Listing};
use crate::app::views::sorted_list::{List, sorted_by};
pub(crate) use by::By;
use foldhash::HashMap;
use foldhash::fast::RandomState;
use regex::bytes::Regex;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::hash::BuildHasher;
use std::time::Duration;
use tracetui_events::enrich::World;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::event::{Home, Tables};
use tracetui_events::limits;
use tracetui_events::store::{FileHash, Id, Store, Stored};
use tracetui_shared::id::Uid;
use tracetui_shared::kind::{Kind, KindSet};

/// How many seconds back events are counted per second.
pub(crate) const SECONDS: usize = 60;

/// The number of seconds over which the rate is averaged.
const RATE: u64 = 10;

/// The largest step between two moments, in events, that is counted at once.
const STEP: usize = 4_000;

const SECOND: u64 = 1_000_000_000;

named! {
    enum Order name {
        Events "events",
        Rate "rate",
        Failed "failed",
        Last "last event",
        Cpu "CPU",
        Memory "memory",
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Window {
    #[default]
    All,
    /// The last [`SECONDS`] seconds.
    Recent,
    /// The rate at the end: events of the last [`RATE`] seconds, and any counted before.
    Rate,
}

impl Window {
    /// How many seconds before the end events are counted from; `None` means all.
    fn seconds(self) -> Option<u64> {
        match self {
            Window::All => None,
            Window::Recent => Some(SECONDS as u64),
            Window::Rate => Some(RATE),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Figures {
    pub events: u64,
    /// Events by kind, in the order of [`Kind::PROBED`].
    pub kinds: [u64; Kind::PROBED.len()],
    /// Failed calls that no later call of the same search answered.
    pub failed: u64,
    /// CPU time of the processes that ended, in nanoseconds.
    pub cpu_ns: u64,
    /// The largest resident set of a process that ended, in bytes.
    pub memory: u64,
}

impl Figures {
    /// Those of an event.
    fn of(stored: &Stored<'_>) -> Figures {
        let exit = stored.ended().and_then(|_| stored.event().ok());
        let cost = exit.and_then(|event| event.body.exit()?.cost().copied()).unwrap_or_default();
        Figures {
            events: 1,
            kinds: Kind::PROBED.map(|kind| u64::from(kind == stored.kind)),
            failed: u64::from(stored.failed && !stored.answered && KindSet::CALLS.contains(stored.kind)),
            cpu_ns: cost.runtime,
            memory: cost.max_rss,
        }
    }

    fn add(&mut self, other: &Figures) {
        self.events += other.events;
        self.kinds.iter_mut().zip(other.kinds).for_each(|(count, more)| *count += more);
        self.failed += other.failed;
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.memory = self.memory.max(other.memory);
    }

    /// Removes the counts of a failed call.
    fn take_off(&mut self, other: &Figures) {
        self.events = self.events.saturating_sub(other.events);
        self.kinds.iter_mut().zip(other.kinds).for_each(|(count, less)| *count = count.saturating_sub(less));
        self.failed = self.failed.saturating_sub(other.failed);
    }
}

/// How many values the counted events have of a property.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Values {
    #[default]
    None,
    /// One, with this hash.
    One(u64),
    Many,
}

/// The events with one value. The fields that each event changes share a cache line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Group {
    all: Figures,
    /// The time of the last event (CLOCK_BOOTTIME, ns).
    pub last_ns: u64,
    /// The newest second in `seconds`.
    latest: u64,
    pub value: Box<[u8]>,
    /// Whether an event is from where a user's name would be a guess.
    elsewhere: bool,
    /// The counts of each second, if only the last seconds are shown.
    recent: Option<Box<[Figures; SECONDS]>>,
    /// Events per second, in a ring indexed by the second.
    seconds: [u32; SECONDS],
}

impl Group {
    fn new(value: &[u8], ns: u64, window: Window) -> Group {
        let recent = (window == Window::Recent).then(|| Box::new([Figures::default(); SECONDS]));
        let (latest, seconds) = (ns / SECOND, [0; SECONDS]);
        Group { value: value.into(), all: Figures::default(), last_ns: 0, latest, seconds, recent, elsewhere: false }
    }

    fn count(&mut self, event: &Figures, ns: u64) {
        self.all.add(event);
        self.last_ns = self.last_ns.max(ns);
        let second = ns / SECOND;
        while self.latest < second {
            // After a long pause all slots are zero.
            self.latest = (self.latest + 1).max(second.saturating_sub(SECONDS as u64));
            let at = self.latest as usize % SECONDS;
            self.seconds[at] = 0;
            self.recent.iter_mut().for_each(|recent| recent[at] = Figures::default());
        }
        if second + SECONDS as u64 > self.latest {
            let at = second as usize % SECONDS;
            self.seconds[at] += 1;
            self.recent.iter_mut().for_each(|recent| recent[at].add(event));
        }
    }

    /// Takes what was counted at this time off the counts.
    fn answered(&mut self, counted: &Figures, ns: u64) {
        self.all.take_off(counted);
        let second = ns / SECOND;
        if second <= self.latest && second + SECONDS as u64 > self.latest {
            let at = second as usize % SECONDS;
            self.seconds[at] = self.seconds[at].saturating_sub(counted.events as u32);
            self.recent.iter_mut().for_each(|recent| recent[at].take_off(counted));
        }
    }

    /// The counts to show at a time: of the last seconds, or of all events.
    pub(crate) fn figures(&self, now_ns: u64) -> Figures {
        let Some(recent) = &self.recent else { return self.all };
        let now = now_ns / SECOND;
        let oldest = (now + 1).saturating_sub(SECONDS as u64).max((self.latest + 1).saturating_sub(SECONDS as u64));
        let mut sum = Figures::default();
        (oldest..=self.latest.min(now)).for_each(|second| sum.add(&recent[second as usize % SECONDS]));
        sum
    }

    /// The value as the view shows it: a user id with the user's name, if it is that of all events.
    pub(crate) fn value_text(&self, by: By, world: &World) -> Cow<'_, [u8]> {
        let value = &*self.value;
        let uid = std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|uid| by.is_user() && (*uid == 0 || !self.elsewhere));
        match uid.and_then(|uid| world.user(Uid(uid)).map(|name| format!("{name} ({uid})"))) {
            Some(named) => Cow::Owned(named.into_bytes()),
            None => Cow::Borrowed(value),
        }
    }

    fn in_second(&self, second: u64) -> u32 {
        let known = second <= self.latest && second + SECONDS as u64 > self.latest;
        if known { self.seconds[second as usize % SECONDS] } else { 0 }
    }

    /// The number of events in each of the last `count` seconds up to a time, oldest first.
    pub(crate) fn history(&self, now_ns: u64, count: u64) -> impl Iterator<Item = u32> {
        let now = now_ns / SECOND;
        (0..count).rev().map(move |ago| now.checked_sub(ago).map_or(0, |second| self.in_second(second)))
    }

    /// The recent rate in events per second, for a time span that began at `since_ns`.
    pub(crate) fn rate(&self, now_ns: u64, since_ns: u64) -> u64 {
        let seconds = (now_ns / SECOND).saturating_sub(since_ns / SECOND).saturating_add(1).min(RATE);
        self.history(now_ns, seconds).map(u64::from).sum::<u64>().div_ceil(seconds)
    }
}

/// Memory of a group in bytes, without its value: its entry in the list (which may be half full), in the two tables, and in the rows.
const GROUP: usize = 2 * size_of::<Group>() + 8 * size_of::<(u64, u32)>() + 32;

#[derive(Debug, Default)]
pub(crate) struct Top {
    pub(crate) by: By,
    pub(crate) window: Window,
    /// The first event to count, and its time.
    since: Option<(Id, u64)>,
    /// Whether only failures that nothing answered are counted.
    unanswered: bool,
    /// In the order of [`By::ALL`].
    values: [Values; By::ALL.len()],
    /// The process whose values were examined last.
    examined: Option<ProcessKey>,
    /// The places of the groups in `groups`, in the order that the user chose.
    pub(crate) list: List<u32, Box<[u8]>, Option<Order>>,
    groups: Vec<Group>,
    /// The groups by hashes of their values. Nobody who chooses values knows the key of the hash, so they do not collide.
    places: HashMap<u64, u32>,
    /// The same groups by the files of opens ([`Stored::file`]).
    files: HashMap<FileHash, u32>,
    hasher: RandomState,
    /// The memory in use, in bytes.
    pub(crate) bytes: usize,
    bound: usize,
    /// Events of removed groups.
    pub(crate) others: u64,
    /// Events from this one on are counted.
    from: Id,
    /// The first event that is not counted, because it came after the moment shown.
    until: Option<Id>,
    running: bool,
    /// The times of the first and the last counted event (CLOCK_BOOTTIME, ns).
    span: Option<(u64, u64)>,
    pub(crate) most: u64,
    scratch: Vec<u8>,
}

impl Top {
    pub(crate) fn new(bound: usize) -> Top {
        Top { bound, ..Top::default() }
    }

    /// The rates of the commands, instead of all counts.
    pub(crate) fn of_rates(bound: usize) -> Top {
        Top { bound, window: Window::Rate, ..Top::default() }
    }

    /// Drops all counts, and counts again while the view is shown.
    fn restart(&mut self, until: Option<Id>, list: &EventList, store: &Store) {
        self.stop();
        self.unanswered = self.window != Window::Rate && list.listing() == Listing::Unanswered;
        self.from = until.unwrap_or(store.next_id());
        self.until = until;
        self.running = true;
    }

    /// Advances to a later moment. `false` if the moment is not later, or is too far away.
    fn advance(&mut self, until: Option<Id>, list: &EventList, store: &Store, world: &World) -> bool {
        let (Some(before), Some(after)) = (self.until.filter(|_| self.running), until) else { return false };
        let (from, to) = (list.passing_place(before), list.passing_place(after));
        if after < before || to - from > STEP {
            return false;
        }
        for stored in (from..to).filter_map(|at| list.passing(at)).filter_map(|id| store.get(id)) {
            self.count(&stored, world);
        }
        self.until = until;
        true
    }

    pub(crate) fn stop(&mut self) {
        let mut list = std::mem::take(&mut self.list);
        list.clear();
        let Top { by, window, since, bound, .. } = *self;
        let hasher = self.hasher.clone();
        *self = Top { by, window, since, bound, hasher, list, ..Top::default() };
    }

    /// Counts the events up to a moment, unless they are counted.
    pub(crate) fn count_until(&mut self, until: Option<Id>, list: &EventList, store: &Store, world: &World) {
        let counted = self.running && self.until == until;
        if !counted && !self.advance(until, list, store, world) {
            self.restart(until, list, store);
        }
    }

    /// Adds an event that was just stored and passes the filter.
    pub(crate) fn append(&mut self, stored: &Stored<'_>, world: &dyn Tables) {
        if self.running && self.until.is_none() {
            // A later event is always within the time span.
            self.count(stored, world);
        }
    }

    /// Takes a shown failed call off the failures, because its search found the name.
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
            let event = if self.unanswered { Figures::of(stored) } else { Figures::default() };
            let counted = Figures { failed: 1, ..event };
            group.into_iter().for_each(|group| group.answered(&counted, stored.time.0));
        }
        self.scratch = scratch;
    }

    fn count(&mut self, stored: &Stored<'_>, world: &dyn Tables) {
        if stored.kind == Kind::Lost || self.unanswered && stored.answered {
            return;
        }
        if self.window != Window::Rate {
            self.examine(stored, world);
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
            group.count(&Figures::of(stored), ns);
            let home = || Home { process: stored.process, ..Home::of(&stored.header()) };
            group.elsewhere |= self.by.is_user() && home().is_elsewhere(world);
        }
    }

    /// Notes how many values the events have of each property.
    fn examine(&mut self, stored: &Stored<'_>, world: &dyn Tables) {
        let process = stored.process.map(|process| process.key);
        let same = std::mem::replace(&mut self.examined, process) == process;
        let mut scratch = std::mem::take(&mut self.scratch);
        for (by, values) in By::ALL.into_iter().zip(&mut self.values) {
            if *values == Values::Many || same && by.is_of_process() {
                continue;
            }
            scratch.clear();
            if by.of_stored(stored, world, &mut scratch) {
                let hash = self.hasher.hash_one(scratch.as_slice());
                *values = match *values {
                    Values::None => Values::One(hash),
                    Values::One(known) if known == hash => *values,
                    _ => Values::Many,
                };
            }
        }
        self.scratch = scratch;
    }

    /// The properties with several values, then those with one. The chosen one is among them.
    pub(crate) fn properties(&self) -> [Vec<By>; 2] {
        let with = |is: fn(Values) -> bool, chosen: bool| {
            let all = By::ALL.into_iter().zip(self.values);
            let with = all.filter(|(by, values)| is(*values) || chosen && *by == self.by && *values == Values::None);
            with.map(|(by, _)| by).collect()
        };
        [with(|values| values == Values::Many, true), with(|values| matches!(values, Values::One(_)), false)]
    }

    /// The group of an event, added if it is new. `None` if the event has no value.
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

    /// Removes half of the groups: those with the fewest events.
    fn prune(&mut self) {
        let mut groups = std::mem::take(&mut self.groups);
        groups.sort_by_key(|group| Reverse(group.all.events));
        let removed = groups.split_off(groups.len() / 2);
        self.others += removed.iter().map(|group| group.all.events).sum::<u64>();
        self.bytes = groups.iter().map(|group| self.bytes_of(&group.value)).sum();
        self.places = (0..).zip(&groups).map(|(at, group)| (self.hasher.hash_one(&*group.value), at)).collect();
        self.files.clear();
        self.groups = groups;
        std::mem::take(&mut self.list.rows);
    }

    /// Counts up to `budget` older events of the list.
    pub(crate) fn scan(&mut self, list: &EventList, store: &Store, world: &World, budget: usize) {
        // The list must have all events.
        if !self.running || list.scanning(store) {
            return;
        }
        let first = self.first_id(store);
        let mut place = list.passing_place(self.from);
        for _ in 0..budget {
            let Some(id) = place.checked_sub(1).and_then(|at| list.passing(at)) else {
                self.from = first;
                return;
            };
            if id < first {
                self.from = first;
                return;
            }
            place -= 1;
            self.from = id;
            let Some(stored) = store.get(id) else { continue };
            // Events are only nearly in time order: an event that is a second older may still be followed by one in the window.
            let oldest = self.window.seconds().map(|seconds| self.now_ns().saturating_sub((seconds + 1) * SECOND));
            if oldest.is_some_and(|oldest| stored.time.0 < oldest) {
                self.from = first;
                return;
            }
            self.count(&stored, world);
        }
    }

    /// The first event to count that is still kept.
    fn first_id(&self, store: &Store) -> Id {
        self.since.map_or(store.first_id(), |(since, _)| since.max(store.first_id()))
    }

    pub(crate) fn scanning(&self, store: &Store) -> bool {
        self.running && self.from > self.first_id(store)
    }

    fn refresh(&mut self, now: Duration) {
        let held = self.list.is_held(now) && !self.list.rows.is_empty();
        if !held {
            let (start, end, order) = (self.since_ns().unwrap_or_default(), self.now_ns(), self.order().0);
            let groups = (0u32..).zip(&self.groups).map(|(at, group)| (at, group, group.figures(end)));
            let measured = groups.filter(|(.., figures)| figures.events > 0).map(|(at, group, figures)| {
                let measure = match order {
                    Order::Events => figures.events,
                    Order::Rate => group.rate(end, start),
                    Order::Failed => figures.failed,
                    Order::Cpu => figures.cpu_ns,
                    Order::Memory => figures.memory,
                    Order::Last => group.last_ns,
                };
                (Reverse(measure), Reverse(figures.events), &group.value, at)
            });
            let mut rows: Vec<_> = measured.collect();
            rows.sort_unstable();
            self.most = rows.iter().map(|(_, Reverse(events), ..)| *events).max().unwrap_or_default();
            let mut rows: Vec<u32> = rows.into_iter().map(|(.., at)| at).collect();
            if self.list.reverse {
                rows.reverse();
            }
            let has = |at: &u32, value: &[u8]| self.group(*at).is_some_and(|group| *group.value == *value);
            let row = self.list.key.as_ref().and_then(|value| rows.iter().position(|at| has(at, value)));
            let at = row.unwrap_or(self.list.at);
            self.list.show(rows, at);
        }
    }

    /// The time of the last counted event.
    pub(crate) fn now_ns(&self) -> u64 {
        self.span.map_or(0, |(_, last)| last)
    }

    /// The time of the first counted event.
    pub(crate) fn since_ns(&self) -> Option<u64> {
        self.span.map(|(first, _)| first)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.list.rows.iter().filter_map(|at| self.group(*at))
    }

    /// The values with the highest rates at a time, and these rates.
    pub(crate) fn busiest(&self, now_ns: u64, most: usize) -> Vec<(&Group, u64)> {
        let since = self.since_ns().unwrap_or_default();
        let rates = self.groups.iter().map(|group| (group, group.rate(now_ns, since)));
        let mut rates: Vec<_> = rates.filter(|(_, rate)| *rate > 0).collect();
        rates.sort_unstable_by_key(|(group, rate)| (Reverse(*rate), Reverse(group.last_ns), &group.value));
        rates.truncate(most);
        rates
    }

    fn group(&self, at: u32) -> Option<&Group> {
        self.groups.get(at as usize)
    }

    /// The time of the first event to count. `None` if all events are counted.
    pub(crate) fn counted_since(&self) -> Option<u64> {
        self.since.map(|(_, ns)| ns)
    }

    pub(crate) fn order(&self) -> (Order, bool) {
        // Errors are sorted by the failed calls that no search answered.
        let usual = if self.by == By::Errno { Order::Failed } else { Order::Events };
        (self.list.order.unwrap_or(usual), self.list.reverse)
    }

    pub(crate) fn selected(&self) -> Option<&Group> {
        self.list.selected().and_then(|at| self.group(*at))
    }

    /// Counts by the property beside the chosen one, as they are shown; by any before events are counted.
    fn next_by(&mut self, next: bool, context: &Context<'_>) {
        let knows = self.values.iter().any(|values| *values != Values::None);
        let all = if knows { self.properties().concat() } else { By::ALL.to_vec() };
        let at = all.iter().position(|by| *by == self.by).unwrap_or_default();
        let to = if next { at + 1 } else { at + all.len() - 1 };
        self.by = all.get(to % all.len()).copied().unwrap_or_default();
        self.list.unselect();
        let values = self.values;
        self.count_again(context);
        self.values = values;
    }

    fn count_again(&mut self, context: &Context<'_>) {
        self.restart(context.moment.map(|moment| moment.until), context.events, context.store);
    }

    /// Counts from the selected event on, or from now on if none is selected. A second call counts all events again.
    fn count_from_here(&mut self, context: &Context<'_>) -> String {
        let Context { events, store, .. } = *context;
        let next = store.next_id();
        let from = events.selected().filter(|_| !events.follows).unwrap_or(next);
        let time = store.get(from.min(next.saturating_sub(1))).map(|event| event.time.0);
        self.since = time.filter(|_| self.since.is_none()).map(|time| (from, time));
        match self.since {
            Some(_) => format!("counting from here; {} counts all again", context.keymap.first(Action::TopZero)),
            None => "counting all kept events".to_owned(),
        }
    }
}

impl ViewState for Top {
    fn prepare(&mut self, context: &Context<'_>) {
        self.refresh(context.now);
        self.list.reveal(context.height);
    }

    fn act(&mut self, action: Action, context: &mut Context<'_>) -> bool {
        match action {
            Action::TopSort => self.list.order = Some(step(Order::ALL, self.order().0, 1)),
            Action::TopReverse => self.list.reverse = !self.list.reverse,
            Action::NextBy | Action::PreviousBy => self.next_by(action == Action::NextBy, context),
            Action::TopWindow => {
                let (window, what) = match self.window {
                    Window::All => (Window::Recent, "counting the last 60 s"),
                    _ => (Window::All, "counting all kept events"),
                };
                self.window = window;
                context.notify(what);
            }
            Action::TopZero => {
                let what = self.count_from_here(context);
                context.notify(what);
            }
            _ => match motion(action, context.height) {
                Some(rows) => self.move_by(rows, context.now),
                None => return false,
            },
        }
        match action {
            Action::TopSort | Action::TopReverse => {
                let (order, reverse) = self.order();
                self.list.moved = None;
                context.notify(sorted_by(order.name(), reverse));
            }
            Action::TopWindow | Action::TopZero => self.count_again(context),
            _ => {}
        }
        true
    }

    fn rows(&self) -> Rows {
        Rows::of(&self.list)
    }

    fn select(&mut self, row: usize, now: Duration) {
        let groups = &self.groups;
        self.list.select(row, now, |at| groups.get(*at as usize).map(|group| group.value.clone()));
    }

    fn searched(&self) -> &'static str {
        "search here for text: part of the value"
    }

    fn is_match(&self, row: usize, pattern: &Regex, context: &Context<'_>) -> bool {
        let group = self.list.rows.get(row).and_then(|at| self.group(*at));
        group.is_some_and(|group| pattern.is_match(&group.value_text(self.by, context.world)))
    }

    fn copied(&self, _context: &Context<'_>) -> (Option<String>, &'static str) {
        (self.selected().map(|group| copy::line(&group.value)), "value")
    }
}
