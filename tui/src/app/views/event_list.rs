//! The event list: the shown events, the selected event, and the visible part.
//!
//! Of the events that pass the filter, some have a row ([`groups`]). A position is an index into the rows. The selected event keeps its
//! row.

mod groups;
mod keys;
pub(crate) mod row;

use crate::app::filter::DisplayFilter;
use crate::app::watch::Watches;
use groups::Groups;
pub(crate) use groups::{Added, Group, Job, Listing, Quiet};
pub(crate) use keys::Alike;
use std::ops::Range;
use tracetui_events::enrich::World;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::event::{EventContext, Tables};
use tracetui_events::store::index::{Answer, Index};
use tracetui_events::store::{Id, Store, Stored};
use tracetui_shared::kind::{Kind, KindSet};

/// The conditions under which an event is shown: kind, failure, and the filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShowConditions<'a> {
    pub kinds: KindSet,
    pub failures: bool,
    pub filter: Option<&'a DisplayFilter>,
}

impl ShowConditions<'_> {
    /// Whether an event is shown, as far as its kind and result say, and else by `matches`. Gap rows are shown unless the filter requires
    /// kinds other than `lost`.
    pub(crate) fn answer(&self, kind: Kind, failed: bool, matches: impl FnOnce(&DisplayFilter) -> bool) -> Answer {
        let is_gap = kind == Kind::Lost;
        let may_be = is_gap || self.kinds.contains(kind) && (failed || !self.failures);
        match may_be && self.filter.is_none_or(matches) {
            false => Answer::No,
            true if is_gap => Answer::Marked,
            true => Answer::Yes,
        }
    }

    /// Whether a stored event is shown. Decodes the event only if the filter needs it.
    pub(crate) fn answer_stored(&self, stored: &Stored<'_>, world: &dyn Tables) -> Answer {
        let matches = |filter: &DisplayFilter| stored.with(world, |seen| filter.matches(seen)) == Some(true);
        self.answer(stored.kind, stored.failed, matches)
    }

    /// The job, if its row is shown.
    pub(crate) fn shown_job(&self, job: Job, store: &Store, world: &dyn Tables) -> Option<ProcessKey> {
        let shown = self.answer_stored(&store.get(job.exec)?, world) == Answer::Yes;
        shown.then_some(job.process)
    }
}

/// How many screens of rows a pause keeps above and below the visible one.
const HELD: usize = 4;

/// How many of the newest events are filtered first.
const NEWEST: u64 = 4_000;

/// The events that pass the filter and their rows, from an event on.
#[derive(Debug, Default)]
struct Filtered {
    passing: Index,
    listed: Groups,
    /// The failures that nothing answered, if they are kept apart.
    failures: Option<Groups>,
    /// The first event that was not examined.
    next: Id,
}

impl Filtered {
    /// Without rows, to add the events from `next` on. What is unfolded stays so.
    fn again(&self, next: Id, store: &Store) -> Filtered {
        let failures = self.failures.as_ref().map(|failures| failures.again(store));
        Filtered { passing: Index::new(store), listed: self.listed.again(store), failures, next }
    }

    fn groups(&self) -> impl Iterator<Item = &Groups> {
        self.failures.iter().chain([&self.listed])
    }

    /// Adds the next event.
    fn add(&mut self, added: Added, seen: &EventContext<'_>, store: &Store, is_pinned: impl Fn(Id) -> bool) {
        self.next = added.id + 1;
        self.passing.append(added.id, added.answer);
        if let Some(rows) = self.failures.as_mut().filter(|_| added.answer == Answer::Yes && seen.event.failed()) {
            rows.add(Added { watched: false, ..added }, seen, store, |_| false);
        }
        if added.answer != Answer::No {
            self.listed.add(added, seen, store, is_pinned);
        }
    }

    fn passes(&self, id: Id) -> bool {
        self.passing.get(self.passing.place(id)) == Some(id)
    }

    fn answered(&mut self, stored: &Stored<'_>, store: &Store, stays: bool) {
        if self.passes(stored.id) {
            self.failures.iter_mut().for_each(|rows| rows.answered(stored, store, false));
            self.listed.answered(stored, store, stays);
        }
    }

    fn evict(&mut self, store: &Store) {
        self.passing.evict(store);
        self.failures.iter_mut().for_each(|rows| rows.evict(store, &self.passing));
        self.listed.evict(store, &self.passing);
    }
}

#[derive(Debug, Default)]
pub struct EventList {
    shown: Filtered,
    /// The rows of all events while they are made. Until then, the rows of the newest ones are shown.
    whole: Option<Filtered>,
    /// The first event that arrived after all events were to be filtered again.
    again_from: Id,
    /// The event that was selected last. If it is hidden or evicted, the nearest row is selected.
    pub(crate) chosen: Option<Id>,
    /// The first row on the screen.
    top: Id,
    /// Whether the view follows the newest row.
    pub(crate) follows: bool,
    /// The row at which the list stopped to follow for the detail pane.
    pub(crate) stayed: Option<Id>,
    /// The first event that arrived after the view was paused. Those from it on are added when the view resumes.
    pub(crate) frozen: Option<Id>,
    /// How many events that pass the filter arrived during the pause.
    arrived: usize,
    /// Failures of the paused list that were answered.
    answered: Vec<Id>,
    /// The first event that arrived after following ended.
    unseen: Id,
    /// The number of cells by which DETAIL is scrolled.
    pub(crate) sideways: usize,
}

impl EventList {
    /// An empty list that follows the newest row.
    pub fn new() -> EventList {
        let shown = Filtered { listed: Groups::new(Listing::All, true), ..Filtered::default() };
        EventList { follows: true, shown, ..EventList::default() }
    }

    /// Empties the list, to hold other events.
    pub(crate) fn empty(&mut self) {
        let listed = Groups::new(self.listing(), self.folds());
        let failures = self.shown.failures.as_ref().map(|_| Groups::new(Listing::Unanswered, true));
        let shown = Filtered { listed, failures, ..Filtered::default() };
        *self = EventList { sideways: self.sideways, shown, ..EventList::new() };
    }

    /// Chooses the events with a row. The events are then filtered again.
    pub(crate) fn list(&mut self, listing: Listing) {
        if self.listing() != listing {
            self.shown.listed = Groups::new(listing, self.folds());
        }
    }

    /// Keeps the failures that nothing answered apart, whatever has a row. The events are then filtered again.
    pub(crate) fn keep_failures(&mut self, keeps: bool) {
        self.shown.failures = keeps.then(|| Groups::new(Listing::Unanswered, true));
    }

    /// The failures that nothing answered before an event, the newest first, each with the texts beside its row.
    pub(crate) fn failures(&self, until: Option<Id>) -> impl Iterator<Item = (Id, Vec<String>)> {
        self.shown.failures.iter().flat_map(move |rows| {
            let end = until.map_or(rows.index.len(), |until| rows.index.place(until));
            (0..end).rev().filter_map(|at| rows.index.get(at)).map(|id| (id, rows.remarks(id)))
        })
    }

    pub(crate) fn listing(&self) -> Listing {
        self.shown.listed.listing
    }

    /// The events with a row.
    fn index(&self) -> &Index {
        &self.shown.listed.index
    }

    /// The events that are counted as shown: those with a row or in the group of one.
    fn counted(&self) -> &Index {
        if self.listing() == Listing::All { &self.shown.passing } else { self.index() }
    }

    pub(crate) fn append(&mut self, added: Added, seen: &EventContext<'_>, store: &Store) {
        if self.paused() {
            self.arrived += usize::from(added.answer == Answer::Yes);
        } else if self.shown.next == added.id {
            let is_pinned = self.pinned();
            self.shown.add(added, seen, store, is_pinned);
        }
    }

    /// The row that no other may replace: the selected one.
    fn pinned(&self) -> impl Fn(Id) -> bool + Copy + use<> {
        let selected = self.chosen.filter(|_| !self.follows);
        move |id| selected == Some(id)
    }

    /// Handles a failure that a later event answered.
    pub(crate) fn answered(&mut self, stored: &Stored<'_>, store: &Store) {
        if self.paused() {
            self.answered.extend(Some(stored.id).filter(|id| self.passes(*id)));
            return;
        }
        let stays = self.pinned()(stored.id);
        [&mut self.shown].into_iter().chain(&mut self.whole).for_each(|rows| rows.answered(stored, store, stays));
    }

    /// The events without a row that a row counts.
    pub(crate) fn quiet(&self, id: Id, process: ProcessKey) -> Option<Quiet> {
        self.shown.listed.quiet_at(id, process)
    }

    /// The group of a row, if it has several events.
    pub(crate) fn group(&self, id: Id) -> Option<Group> {
        self.shown.listed.group(id)
    }

    /// The texts beside a row about its group, longest first. `found`: where its search found the name if the list does not show that.
    pub(crate) fn remarks(&self, id: Id, found: Option<&str>) -> Vec<String> {
        let own = self.shown.listed.remarks(id);
        let Some(dir) = found else { return own };
        let place = format!("found in {dir}");
        let all =
            own.first().into_iter().flat_map(|own| [&place, "found later"].map(|found| format!("{own}, {found}")));
        all.chain([place.clone(), "found later".to_owned(), "found".to_owned()]).collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        let groups = [&self.shown].into_iter().chain(&self.whole).flat_map(Filtered::groups);
        groups.map(Groups::bytes).sum::<usize>() + size_of_val(&*self.answered)
    }

    pub fn evict(&mut self, store: &Store) {
        [&mut self.shown].into_iter().chain(&mut self.whole).for_each(|rows| rows.evict(store));
    }

    /// During a pause, keeps the rows on and around the screen in memory. Returns whether the rows to keep have changed.
    pub(crate) fn hold(&self, height: usize, store: &mut Store) -> bool {
        let rows = match self.paused() {
            true => self.rows_to_hold(height, store),
            false => store.pinned().map(|_| 0..0),
        };
        let changes = rows.is_some();
        rows.into_iter().for_each(|rows| store.pin(rows.filter_map(|at| self.row(at))));
        changes
    }

    /// The positions of the rows to keep during a pause, on and around the screen. `None` if those on the screen are kept already.
    fn rows_to_hold(&self, height: usize, store: &Store) -> Option<Range<usize>> {
        let rows = self.screen(height);
        let (first, last) = (rows.start, rows.end.checked_sub(1)?);
        let is_held = |(from, to): (Id, Id)| self.row(first) >= Some(from) && self.row(last) <= Some(to);
        if store.pinned().is_some_and(is_held) {
            return None;
        }
        Some(first.saturating_sub(HELD * height)..(last + HELD * height).min(self.rows()))
    }

    /// Filters all events again: first the newest, then all of them, the oldest first.
    pub fn restart(&mut self, store: &Store) {
        let first = store.pinned().map_or(store.first_id(), |(pinned, _)| pinned.min(store.first_id()));
        let newest = self.end(store).saturating_sub(NEWEST);
        self.whole = (newest > first).then(|| self.shown.again(0, store));
        self.shown = self.shown.again(if newest > first { newest } else { 0 }, store);
        self.again_from = store.next_id();
        self.answered.clear();
    }

    /// The first event that is not to be examined.
    fn end(&self, store: &Store) -> Id {
        self.frozen.unwrap_or(store.next_id())
    }

    /// Examines up to `budget` events. `ask` says whether an event passes the filter, and its job; its second argument is whether the
    /// event arrived before all events were filtered again. Returns whether all are examined now.
    pub(crate) fn scan(
        &mut self,
        store: &Store,
        world: &World,
        budget: usize,
        watches: &Watches,
        mut ask: impl FnMut(&Stored<'_>, bool) -> (Answer, Option<ProcessKey>),
    ) -> bool {
        if !self.scanning(store) {
            return false;
        }
        if !self.paused() {
            for id in std::mem::take(&mut self.answered) {
                store.get(id).into_iter().for_each(|stored| self.answered(&stored, store));
            }
        }
        let (end, is_pinned) = (self.end(store), self.pinned());
        let of_newest = self.whole.is_some() && self.shown.next < end;
        let rows = self.whole.as_mut().filter(|_| !of_newest).unwrap_or(&mut self.shown);
        let from = rows.next;
        let pins = store.pinned_before(end).filter(|stored| stored.id >= from);
        rows.next = end;
        for (at, stored) in pins.chain(store.range(from..end)).enumerate() {
            if at == budget {
                rows.next = stored.id;
                break;
            }
            let (answer, job) = ask(&stored, !of_newest && stored.id < self.again_from);
            if answer != Answer::No {
                stored.with(world, |seen| {
                    let (watched, answered) = (watches.of(seen).is_some(), stored.answered);
                    rows.add(Added { id: stored.id, answer, watched, answered, job }, seen, store, is_pinned);
                });
                rows.next = end;
            }
        }
        if let Some(whole) = self.whole.take_if(|whole| whole.next == end) {
            self.shown = whole;
        }
        !self.scanning(store)
    }

    pub fn scanning(&self, store: &Store) -> bool {
        let answers = !self.paused() && !self.answered.is_empty();
        self.whole.is_some() || self.shown.next < self.end(store) || answers
    }

    /// The share of the kept events that are filtered, in percent. `None` if all are.
    pub fn scanned(&self, store: &Store) -> Option<u64> {
        let first = store.first_id();
        let next = self.whole.as_ref().unwrap_or(&self.shown).next;
        let (done, all) = (next.saturating_sub(first), self.end(store).saturating_sub(first));
        self.scanning(store).then(|| (100 * done).checked_div(all).unwrap_or(0))
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.index().len()
    }

    /// The number of events in the rows, without gaps. In a list that leaves events out, the number of rows.
    pub fn events(&self) -> u64 {
        (self.counted().len() - self.counted().marked()) as u64
    }

    pub fn gaps(&self) -> usize {
        self.index().marked()
    }

    pub fn newest_gaps(&self) -> impl Iterator<Item = Id> {
        (0..self.gaps()).rev().filter_map(|at| self.index().marked_at(at))
    }

    /// The same as [`events`](Self::events), with those after a pause.
    pub fn all_events(&self) -> u64 {
        self.events() + self.arrived as u64
    }

    pub fn row(&self, at: usize) -> Option<Id> {
        self.index().get(at)
    }

    /// The shown event with this number, with or without a row.
    pub(crate) fn passing(&self, at: usize) -> Option<Id> {
        self.shown.passing.get(at)
    }

    /// The number of the first shown event at or after `id`.
    pub(crate) fn passing_place(&self, id: Id) -> usize {
        self.shown.passing.place(id)
    }

    /// Whether an event passes the filter, with or without a row.
    pub(crate) fn passes(&self, id: Id) -> bool {
        self.shown.passes(id)
    }

    /// The position of the first row at or after `id`.
    pub fn place(&self, id: Id) -> usize {
        self.index().place(id)
    }

    pub fn cursor(&self) -> Option<usize> {
        let last = self.rows().checked_sub(1)?;
        match self.chosen {
            Some(id) if !self.follows => Some(self.index().place(id).min(last)),
            _ => Some(last),
        }
    }

    pub fn selected(&self) -> Option<Id> {
        self.cursor().and_then(|at| self.row(at))
    }

    /// The first event after the shown state: after the selected event, or after the pause. `None` if the view follows the newest.
    pub fn until(&self) -> Option<Id> {
        match (self.follows, self.frozen) {
            (true, frozen) => frozen,
            (false, _) => self.selected().map(|id| id + 1),
        }
    }

    /// Whether an event has a row.
    pub fn has(&self, id: Id) -> bool {
        self.index().get(self.index().place(id)) == Some(id)
    }

    /// The positions of the rows on a screen of `height` rows.
    pub(crate) fn screen(&self, height: usize) -> Range<usize> {
        let rows = self.rows();
        // Leave no space below the last row.
        let last = rows.saturating_sub(height);
        let first = if self.follows { last } else { self.index().place(self.top).min(last) };
        first..rows.min(first + height)
    }

    /// Whether an event has a row, or is in the group of one.
    pub(crate) fn shows(&self, id: Id) -> bool {
        self.has(id) || self.listing() == Listing::All && self.passes(id)
    }

    /// Whether the first row is selected.
    pub(crate) fn at_top(&self) -> bool {
        self.cursor() == Some(0)
    }

    pub fn folds(&self) -> bool {
        self.shown.listed.folds
    }

    /// Folds events into groups, or gives each its row. The events are then filtered again.
    pub fn fold_all(&mut self, folds: bool) {
        self.shown.listed.fold_all(folds);
    }

    /// Unfolds or folds the selected row. `job` is the job of its process. Returns whether the list must be filtered again.
    pub(crate) fn open(&mut self, opens: bool, job: Option<Job>, store: &Store) -> bool {
        let stored = self.selected().and_then(|id| store.get(id)).filter(|_| self.sideways == 0);
        stored.is_some_and(|stored| self.shown.listed.open(&stored, opens, job))
    }

    /// Whether the processes of a job have rows.
    pub(crate) fn unfolds(&self, job: Job) -> bool {
        self.listing() != Listing::Calm || self.shown.listed.is_unfolded(job.process)
    }

    pub fn paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// The number of events that arrived since the view was paused, or of rows since following ended.
    pub fn unseen(&self) -> usize {
        match self.frozen {
            Some(_) => self.arrived,
            None if self.follows => 0,
            None => self.index().len() - self.index().place(self.unseen),
        }
    }

    pub fn scroll_sideways(&mut self, cells: isize) {
        self.sideways = self.sideways.saturating_add_signed(cells).min(1 << 16);
    }

    pub fn pause(&mut self, store: &Store) {
        self.frozen = Some(store.next_id()).filter(|_| !self.paused());
        (self.unseen, self.arrived) = (store.next_id(), 0);
    }

    /// Follows the newest row, and ends a pause.
    pub fn follow(&mut self) {
        (self.frozen, self.arrived) = (None, 0);
        self.follows = true;
    }

    /// Stops following, and selects an event.
    pub fn select(&mut self, id: Id, height: usize, store: &Store) {
        if self.follows {
            self.top = self.row(self.screen(height).start).unwrap_or_default();
            self.follows = false;
            self.unseen = store.next_id();
        }
        self.chosen = Some(id);
        self.reveal(height);
    }

    /// Stops following and keeps the selected row.
    pub fn stay(&mut self, height: usize, store: &Store) {
        if let Some(id) = self.selected().filter(|_| self.follows) {
            self.select(id, height, store);
        }
    }

    /// Follows again if the row is selected at which the list stopped for the pane.
    pub(crate) fn resume(&mut self) {
        self.follows |= self.stayed.is_some() && self.stayed.take() == self.chosen;
    }

    pub fn move_by(&mut self, rows: isize, height: usize, store: &Store) {
        let Some(at) = self.cursor().filter(|_| !self.follows || rows < 0) else { return };
        self.select_row(at.saturating_add_signed(rows).min(self.rows() - 1), height, store);
    }

    /// Selects the row at a position, if there is one.
    pub(crate) fn select_row(&mut self, at: usize, height: usize, store: &Store) {
        if let Some(id) = self.row(at) {
            self.select(id, height, store);
        }
    }

    /// Selects the newest row, and follows unless paused.
    pub fn go_to_end(&mut self, height: usize, store: &Store) {
        match self.frozen {
            None => self.follows = true,
            Some(_) => self.select_row(self.rows().saturating_sub(1), height, store),
        }
    }

    /// Scrolls so that the selected row is on a screen of `height` rows.
    pub fn reveal(&mut self, height: usize) {
        let (Some(at), screen) = (self.cursor().filter(|_| !self.follows), self.screen(height.max(1))) else { return };
        let first = if at < screen.start { at } else { (at + 1).saturating_sub(height.max(1)).max(screen.start) };
        self.top = self.row(first).unwrap_or(self.top);
    }
}
