//! The event list: the shown events, the selected event, and the visible part.
//!
//! A position is an index into the shown events, folded or not. Lines ([`Line`]) are found when the list is drawn or the selection moves.
//! Folding therefore changes neither counts nor positions. The selected event always ends its line, so it is never hidden.
//!
//! Of the shown events, only some may have a row ([`listing`]).

mod fold;
mod listing;
pub(crate) mod row;
mod runs;

use crate::app::filter::DisplayFilter;
use crate::app::keys::keymap::Action;
use crate::app::watch::Watches;
pub(crate) use fold::{Fold, Line};
pub(crate) use listing::Added;
use listing::Rows;
pub(crate) use listing::{Listing, Quiet};
use runs::At;
pub(crate) use runs::Run;
use std::collections::BTreeSet;
use std::ops::Range;
use tracetui_events::enrich::World;
use tracetui_events::event::EventContext;
use tracetui_events::event::process::ProcessKey;
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
    /// Whether an event is shown. Gap rows are shown unless the filter requires kinds other than `lost`.
    pub(crate) fn answer(&self, seen: &EventContext<'_>) -> Answer {
        let kind = seen.event.kind();
        if kind == Kind::Lost {
            let hidden = self.filter.is_some_and(|filter| !filter.matches(seen));
            return if hidden { Answer::No } else { Answer::Marked };
        }
        let belongs = self.cheap(kind, seen.event.failed()) && self.filter.is_none_or(|filter| filter.matches(seen));
        if belongs { Answer::Yes } else { Answer::No }
    }

    /// Whether a stored event is shown. Decodes the event only if the filter needs it.
    pub(crate) fn answer_stored(&self, stored: &Stored<'_>, world: &World) -> Answer {
        match (stored.kind, self.filter) {
            (Kind::Lost, None) => Answer::Marked,
            (kind, None) if self.cheap(kind, stored.failed) => Answer::Yes,
            (kind, Some(_)) if kind == Kind::Lost || self.cheap(kind, stored.failed) => {
                stored.with(world, |seen| self.answer(seen)).unwrap_or(Answer::No)
            }
            _ => Answer::No,
        }
    }

    fn cheap(&self, kind: Kind, failed: bool) -> bool {
        self.kinds.contains(kind) && (failed || !self.failures)
    }
}

/// How many screens of rows a pause keeps above and below the visible one, and the maximum number of rows that it keeps.
const HELD: (usize, usize) = (4, 4096);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct EvictedRows {
    /// Evicted above the first row.
    pub above: usize,
    /// Evicted among the other rows of the pause.
    pub between: usize,
    /// Evicted rows that came after the pause.
    pub new: usize,
}

/// The time between two rows from which a line shows how long it was.
const PAUSE_NS: u64 = 10_000_000_000;

/// The number of cells per step of sideways scrolling.
const SIDEWAYS: isize = 8;

#[derive(Debug, Default)]
pub struct EventList {
    /// The shown events.
    passing: Index,
    /// Those with a row; `None` if all have one.
    listed: Option<Rows>,
    /// The failures that nothing answered, folded, if they are kept apart.
    failures: Option<Rows>,
    /// The selected event. If it is hidden or evicted, the nearest row is selected.
    selected: Option<Id>,
    /// The first row on the screen.
    top: Id,
    follow: bool,
    /// The first event that arrived after the view was paused.
    frozen: Option<Id>,
    pub(crate) evicted: EvictedRows,
    /// The first event that arrived after following ended.
    unseen: Id,
    /// The number of cells by which DETAIL is scrolled.
    pub(crate) sideways: usize,
    /// Whether repeats and searches are folded.
    folds: bool,
    /// Events whose repeats or searches are unfolded.
    unfolded: BTreeSet<Id>,
}

impl EventList {
    /// An empty list that follows the newest row.
    pub fn new() -> EventList {
        EventList { follow: true, folds: true, ..EventList::default() }
    }

    /// Empties the list, to hold other events.
    pub(crate) fn empty(&mut self) {
        let listed = self.listed.as_ref().map(|rows| Rows::new(rows.listing, self.folds));
        let failures = self.failures.as_ref().map(|_| Rows::new(Listing::Unanswered, true));
        *self = EventList { sideways: self.sideways, folds: self.folds, listed, failures, ..EventList::new() };
    }

    /// Chooses the events with a row. The events are then filtered again.
    pub(crate) fn list(&mut self, listing: Listing) {
        if self.listing() != listing {
            self.listed = (listing != Listing::All).then(|| Rows::new(listing, self.folds));
        }
    }

    /// Keeps the failures that nothing answered apart, whatever has a row. The events are then filtered again.
    pub(crate) fn keep_failures(&mut self, keeps: bool) {
        self.failures = keeps.then(|| Rows::new(Listing::Unanswered, true));
    }

    /// The failures that nothing answered before an event, the newest first, each with its run.
    pub(crate) fn failures(&self, until: Option<Id>) -> impl Iterator<Item = (Id, Option<Run>)> {
        self.failures.iter().flat_map(move |rows| {
            let end = until.map_or(rows.index.len(), |until| rows.index.place(until));
            (0..end).rev().filter_map(|at| rows.index.get(at)).map(|id| (id, rows.runs.run(id)))
        })
    }

    pub(crate) fn listing(&self) -> Listing {
        self.listed.as_ref().map_or(Listing::All, |rows| rows.listing)
    }

    /// The events with a row.
    fn index(&self) -> &Index {
        self.listed.as_ref().map_or(&self.passing, |rows| &rows.index)
    }

    /// Adds an event that was just stored.
    pub(crate) fn append(&mut self, added: Added, seen: &EventContext<'_>, store: &Store) {
        self.passing.append(added.id, added.answer);
        let stays = self.pinned_rows();
        if let Some(rows) = self.failures.as_mut().filter(|_| added.answer == Answer::Yes && seen.event.failed()) {
            rows.add(Added { watched: false, ..added }, seen, At::End, store, |_| false);
        }
        if let Some(rows) = self.listed.as_mut().filter(|_| added.answer != Answer::No) {
            rows.add(added, seen, At::End, store, stays);
        }
    }

    /// The rows that nothing may replace: the selected one, and those of a pause.
    fn pinned_rows(&self) -> impl Fn(Id) -> bool + use<> {
        let (selected, frozen) = (self.selected.filter(|_| !self.follow), self.frozen);
        move |id| selected == Some(id) || frozen.is_some_and(|frozen| id < frozen)
    }

    /// Handles a failure that a later event answered.
    pub(crate) fn answered(&mut self, stored: &Stored<'_>, store: &Store) {
        let stays = self.pinned_rows()(stored.id);
        let passes = self.passes(stored.id);
        self.failures.iter_mut().filter(|_| passes).for_each(|rows| rows.answered(stored, store, false));
        self.listed.iter_mut().filter(|_| passes).for_each(|rows| rows.answered(stored, store, stays));
    }

    /// The events without a row that a row counts.
    pub(crate) fn quiet(&self, id: Id, process: ProcessKey) -> Option<Quiet> {
        self.listed.as_ref()?.quiet_at(id, process)
    }

    /// The run of a row, if it has several events.
    pub(crate) fn run_of(&self, id: Id) -> Option<Run> {
        self.listed.as_ref()?.runs.run(id)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.listed.iter().chain(&self.failures).map(Rows::bytes).sum()
    }

    pub fn evict(&mut self, store: &Store) {
        let first = store.pinned().map_or(store.first_id(), |(pinned, _)| pinned);
        let (above, rows, all) = (self.index().place(first), self.rows(), self.index().len());
        self.passing.evict(store);
        self.listed.iter_mut().chain(&mut self.failures).for_each(|rows| rows.evict(store));
        self.unfolded.retain(|id| store.get(*id).is_some());
        let above = above - self.index().place(first);
        let (of_pause, all) = (rows - self.rows(), all - self.index().len());
        self.evicted.above += above.min(of_pause);
        self.evicted.between += of_pause.saturating_sub(above);
        self.evicted.new += all - of_pause;
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
        let lines = self.screen(height, store);
        let (first, last) = (lines.first()?.first, lines.last()?.last);
        let is_held = |(from, to): (Id, Id)| self.row(first) >= Some(from) && self.row(last) <= Some(to);
        if store.pinned().is_some_and(is_held) {
            return None;
        }
        let (screens, most) = HELD;
        let end = Some((last + screens * height).min(self.rows())).filter(|end| end - first < most).unwrap_or(last + 1);
        Some(first.saturating_sub(screens * height).max(end.saturating_sub(most))..end)
    }

    /// Filters all events again, the newest first.
    pub fn restart(&mut self, store: &Store) {
        self.passing = Index::new(store);
        self.listed.iter_mut().chain(&mut self.failures).for_each(|rows| rows.again(store));
        self.evicted = EvictedRows::default();
    }

    pub(crate) fn scan(
        &mut self,
        store: &Store,
        world: &World,
        budget: usize,
        watches: &Watches,
        mut ask: impl FnMut(&Stored<'_>) -> Answer,
    ) {
        let (listed, selected) = (&mut self.listed, self.selected.filter(|_| !self.follow));
        let failures = &mut self.failures;
        self.passing.scan(store, budget, |stored| {
            let answer = ask(stored);
            let failed = answer == Answer::Yes && stored.failed && !stored.answered;
            if let Some(rows) = failures.as_mut().filter(|_| failed) {
                let added = Added { id: stored.id, answer, watched: false, answered: false };
                stored.with(world, |seen| rows.add(added, seen, At::Start, store, |_| false));
            }
            if let Some(rows) = listed.as_mut().filter(|_| answer != Answer::No) {
                stored.with(world, |seen| {
                    let watched = watches.of(seen).is_some();
                    let added = Added { id: stored.id, answer, watched, answered: stored.answered };
                    rows.add(added, seen, At::Start, store, |id| selected == Some(id))
                });
            }
            answer
        });
    }

    pub fn scanning(&self, store: &Store) -> bool {
        self.passing.scanning(store)
    }

    /// The number of rows. In a paused view, the number at the time of the pause.
    pub fn rows(&self) -> usize {
        self.frozen.map_or(self.index().len(), |frozen| self.index().place(frozen))
    }

    /// The number of event rows, without gap rows.
    pub fn events(&self) -> u64 {
        (self.rows() - self.gaps()) as u64
    }

    pub fn gaps(&self) -> usize {
        self.frozen.map_or(self.index().marked(), |frozen| self.index().marked_before(frozen))
    }

    pub fn newest_gaps(&self) -> impl Iterator<Item = Id> {
        (0..self.gaps()).rev().filter_map(|at| self.index().marked_at(at))
    }

    /// The number of rows with an event, including rows after a pause.
    pub fn event_rows(&self) -> u64 {
        (self.index().len() - self.index().marked()) as u64
    }

    pub fn row(&self, at: usize) -> Option<Id> {
        self.index().get(at).filter(|_| at < self.rows())
    }

    /// The shown event with this number, with or without a row, which may be after the pause.
    pub(crate) fn passing(&self, at: usize) -> Option<Id> {
        self.passing.get(at)
    }

    /// The number of the first shown event at or after `id`.
    pub(crate) fn passing_place(&self, id: Id) -> usize {
        self.passing.place(id)
    }

    /// Whether an event passes the filter, with or without a row.
    pub(crate) fn passes(&self, id: Id) -> bool {
        self.passing.get(self.passing.place(id)) == Some(id)
    }

    /// The oldest event that the filter has examined.
    pub(crate) fn asked_from(&self) -> Id {
        self.passing.tested_from()
    }

    /// The position of the first row at or after `id`.
    pub fn place(&self, id: Id) -> usize {
        self.index().place(id)
    }

    pub fn cursor(&self) -> Option<usize> {
        let last = self.rows().checked_sub(1)?;
        match self.selected {
            Some(id) if !self.follow => Some(self.index().place(id).min(last)),
            _ => Some(last),
        }
    }

    pub fn selected(&self) -> Option<Id> {
        self.cursor().and_then(|at| self.row(at))
    }

    /// The first event after the shown state: after the selected event, or after the pause. `None` if the view follows the newest.
    pub fn until(&self) -> Option<Id> {
        match (self.follow, self.frozen) {
            (true, frozen) => frozen,
            (false, _) => self.selected().map(|id| id + 1),
        }
    }

    /// The first event after a pause.
    pub(crate) fn end(&self) -> Option<Id> {
        self.frozen
    }

    /// The event that was selected last, shown or not.
    pub fn chosen(&self) -> Option<Id> {
        self.selected
    }

    /// Whether an event has a row.
    pub(crate) fn lists(&self, id: Id) -> bool {
        self.row(self.place(id)) == Some(id)
    }

    /// Whether an event has a row, even if a pause hides it.
    pub fn has(&self, id: Id) -> bool {
        self.index().get(self.index().place(id)) == Some(id)
    }

    /// The lines on a screen of `height` lines.
    pub(crate) fn screen(&self, height: usize, store: &Store) -> Vec<Line> {
        let mut lines = Vec::new();
        if !self.follow {
            lines.extend(self.lines_down(self.index().place(self.top), store).take(height));
        }
        // Leave no space below the last line.
        if lines.len() < height {
            lines = self.lines_up(self.rows().checked_sub(1), store).take(height).collect();
            lines.reverse();
        }
        // A click counts lines from the first row.
        if lines.first().is_some_and(|line| line.quiet) {
            lines.remove(0);
        }
        lines
    }

    /// The line that ends with an event, as the list shows it. `None` if the line continues after the event, or the event is not listed.
    pub(crate) fn line_of(&self, id: Id, store: &Store) -> Option<Line> {
        let at = self.place(id);
        let line = self.lists(id).then(|| self.line(at, store))?;
        (line.last == at).then_some(line)
    }

    /// The line of a row, and the lines below.
    fn lines_down(&self, at: usize, store: &Store) -> impl Iterator<Item = Line> {
        let line = move |at: usize| (at < self.rows()).then(|| self.line(at, store));
        std::iter::successors(line(at), move |above| match above.last + 1 {
            _ if above.quiet => line(above.last),
            at if self.pause_before(at, store).is_some() => Some(Line::quiet(at)),
            at => line(at),
        })
    }

    /// The line of a row, and the lines above.
    fn lines_up(&self, at: Option<usize>, store: &Store) -> impl Iterator<Item = Line> {
        let line = |at| self.line(at, store);
        std::iter::successors(at.map(line), move |below| match below.first {
            at if !below.quiet && self.pause_before(at, store).is_some() => Some(Line::quiet(at)),
            at => at.checked_sub(1).map(line),
        })
    }

    /// How long no other event has a row before a row, in nanoseconds. `None` if it is not long, or if no events passed the filter then.
    pub(crate) fn pause_before(&self, at: usize, store: &Store) -> Option<u64> {
        let rows = self.listed.as_ref().filter(|rows| rows.listing == Listing::Calm)?;
        let (above, below) = (rows.index.get(at.checked_sub(1)?)?, self.row(at)?);
        let long = store.get(below)?.time.0.saturating_sub(store.get(above)?.time.0);
        let events = (self.passing.place(below) - self.passing.place(above)).saturating_sub(1);
        (long >= PAUSE_NS && events > 0).then_some(long)
    }

    /// The line of a row. The selected row is always the last one of its line.
    fn line(&self, at: usize, store: &Store) -> Line {
        let run = self.run(at, store);
        match self.cursor() {
            _ if self.is_unfolded(run) => Line::of(at),
            Some(cursor) if at <= cursor => run.cut(0, cursor),
            Some(cursor) => run.cut(cursor + 1, usize::MAX),
            None => run,
        }
    }

    /// The range of rows around a row that can be folded with it.
    fn run(&self, at: usize, store: &Store) -> Line {
        let mut run = Line::of(at);
        if !self.folds {
            return run;
        }
        // A row joins the row before if their fold continues the fold of that row with the one before it.
        let own = self.common(at, store);
        let mut up = own;
        while let Some(fold) = up {
            up = self.common(run.first - 1, store);
            if up.is_some_and(|above| !fold.continues(above)) {
                break;
            }
            (run.first, run.fold) = (run.first - 1, Some(fold.with(run.fold)));
        }
        let mut last = own;
        while let Some(fold) = self.common(run.last + 1, store)
            && last.is_none_or(|above| fold.continues(above))
        {
            (run.last, run.fold, last) = (run.last + 1, Some(fold.with(run.fold)), Some(fold));
        }
        run
    }

    /// The fold of a row and the row before. At every [`fold::MOST`]th row it is `None` if the rows before it are one long run.
    fn common(&self, at: usize, store: &Store) -> Option<Fold> {
        let row = |at| self.row(at).and_then(|id| store.get(id));
        let own = |at: usize| fold::common(&row(at.checked_sub(1)?)?, &row(at)?);
        let divides = self.index().number(at).rem_euclid(fold::MOST as i64) == 0;
        if divides && (at.saturating_sub(fold::LONG) + 1..at).all(|above| own(above).is_some()) {
            return None;
        }
        own(at)
    }

    fn is_unfolded(&self, run: Line) -> bool {
        let ids = self.row(run.first).zip(self.row(run.last));
        ids.is_some_and(|(first, last)| self.unfolded.range(first..=last).next().is_some())
    }

    /// The number of evicted opens counted in the rows of a line.
    pub(crate) fn evicted_in(&self, line: &Line, store: &Store) -> u64 {
        let rows = (line.first..=line.last).filter_map(|at| store.get(self.row(at)?));
        rows.map(|stored| u64::from(stored.evicted)).sum()
    }

    /// Whether the selected line is the first one.
    pub(crate) fn at_top(&self, store: &Store) -> bool {
        self.cursor().is_some_and(|at| self.line(at, store).first == 0)
    }

    /// The event that the first line shows.
    pub(crate) fn first(&self, store: &Store) -> Option<Id> {
        self.lines_down(0, store).next().and_then(|line| self.row(line.last))
    }

    pub fn folds(&self) -> bool {
        self.folds
    }

    pub fn fold_all(&mut self, folds: bool) {
        self.folds = folds;
        self.unfolded.clear();
        self.listed.iter_mut().for_each(|rows| rows.fold_all(folds));
    }

    /// Unfolds or folds the events that the selected row stands for. `true` if the events have to be filtered again.
    pub(crate) fn open(&mut self, opens: bool, store: &Store) -> bool {
        let Some(stored) = self.selected().and_then(|id| store.get(id)) else { return false };
        let (key, id) = (stored.process.map(|process| process.key), stored.id);
        let Some(rows) = self.listed.as_mut().filter(|_| self.sideways == 0) else { return false };
        let counts = |key: &ProcessKey| !opens || rows.quiet_at(id, *key).is_some();
        let of_process = key.filter(counts).is_some_and(|key| rows.open(key, opens));
        let is_run = !opens || rows.runs.run(id).is_some();
        of_process || is_run && rows.runs.open(&stored, opens)
    }

    /// Gives each event of the selected line its own line. `false` if the line has only one event.
    fn unfold(&mut self, height: usize, store: &Store) -> bool {
        let Some((at, id)) = self.cursor().zip(self.selected()) else { return false };
        let run = self.run(at, store);
        if run.fold.is_none() || self.is_unfolded(run) {
            return false;
        }
        self.unfolded.insert(id);
        self.select(id, height, store);
        true
    }

    /// Folds the line that the selected row was unfolded from. `false` if it was not unfolded.
    fn fold(&mut self, height: usize, store: &Store) -> bool {
        let Some(run) = self.cursor().map(|at| self.run(at, store)) else { return false };
        let Some((first, last)) = self.row(run.first).zip(self.row(run.last)) else { return false };
        let before = self.unfolded.len();
        self.unfolded.retain(|id| !(first..=last).contains(id));
        let folded = self.unfolded.len() < before;
        if folded {
            self.select(last, height, store);
        }
        folded
    }

    pub fn follows(&self) -> bool {
        self.follow
    }

    pub fn paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// The number of rows added since the view was paused, or since following ended.
    pub fn unseen(&self) -> usize {
        match self.frozen {
            Some(frozen) => self.index().len() - self.index().place(frozen) + self.evicted.new,
            None if self.follow => 0,
            None => self.index().len() - self.index().place(self.unseen),
        }
    }

    /// Performs an action that moves the selection on a screen of `height` rows. Other actions are ignored.
    pub(crate) fn act(&mut self, action: Action, height: usize, store: &Store) {
        match action {
            Action::Up => self.move_by(-1, height, store),
            Action::Down => self.move_by(1, height, store),
            Action::Start => self.go_to_start(height, store),
            Action::End => self.go_to_end(height, store),
            Action::Follow if self.follow && self.frozen.is_none() => self.stay(height, store),
            Action::Follow => self.follow(),
            Action::Left if self.sideways == 0 && self.fold(height, store) => {}
            Action::Right if self.sideways == 0 && self.unfold(height, store) => {}
            Action::Left => self.scroll_sideways(-SIDEWAYS),
            Action::Right => self.scroll_sideways(SIDEWAYS),
            _ => {}
        }
    }

    pub fn scroll_sideways(&mut self, cells: isize) {
        self.sideways = self.sideways.saturating_add_signed(cells).min(1 << 16);
    }

    pub fn pause(&mut self, store: &Store) {
        self.frozen = match self.frozen {
            Some(_) => None,
            None => {
                self.unseen = store.next_id();
                self.evicted = EvictedRows::default();
                Some(store.next_id())
            }
        };
    }

    /// Follows the newest row, and ends a pause.
    pub fn follow(&mut self) {
        self.frozen = None;
        self.follow = true;
    }

    /// Stops following, and selects an event.
    pub fn select(&mut self, id: Id, height: usize, store: &Store) {
        if self.follow {
            self.top = self.screen(height, store).first().and_then(|line| self.row(line.first)).unwrap_or_default();
            self.follow = false;
            self.unseen = store.next_id();
        }
        self.selected = Some(id);
        self.reveal(height, store);
    }

    /// Stops following and keeps the selected row.
    pub fn stay(&mut self, height: usize, store: &Store) {
        if let Some(id) = self.selected().filter(|_| self.follow) {
            self.select(id, height, store);
        }
    }

    pub fn move_by(&mut self, lines: isize, height: usize, store: &Store) {
        let Some(at) = self.cursor() else { return };
        if self.follow && lines > 0 {
            return;
        }
        let steps = lines.unsigned_abs() + 1;
        let to = match lines {
            ..0 => self.lines_up(Some(at), store).filter(|line| !line.quiet).take(steps).last(),
            0.. => self.lines_down(at, store).filter(|line| !line.quiet).take(steps).last(),
        };
        if let Some(id) = to.and_then(|line| self.row(line.last)) {
            self.select(id, height, store);
        }
    }

    /// Selects the line this many lines below the line of an event, if there is one.
    pub(crate) fn select_line(&mut self, first: Id, lines: usize, height: usize, store: &Store) {
        let line = self.lines_down(self.place(first), store).nth(lines);
        if let Some(id) = line.and_then(|line| self.row(line.last)) {
            self.select(id, height, store);
        }
    }

    pub fn go_to_start(&mut self, height: usize, store: &Store) {
        if let Some(id) = self.first(store) {
            self.select(id, height, store);
        }
    }

    /// Selects the newest row, and follows unless paused.
    pub fn go_to_end(&mut self, height: usize, store: &Store) {
        match self.frozen {
            None => self.follow = true,
            Some(_) => {
                if let Some(id) = self.rows().checked_sub(1).and_then(|last| self.row(last)) {
                    self.select(id, height, store);
                }
            }
        }
    }

    /// Scrolls so that the selected line is on a screen of `height` lines.
    pub fn reveal(&mut self, height: usize, store: &Store) {
        let Some(at) = self.cursor().filter(|_| !self.follow) else { return };
        let screen = self.screen(height.max(1), store);
        if screen.iter().any(|line| line.has(at)) {
            return;
        }
        let above = screen.first().is_some_and(|line| at < line.first);
        let lines = if above { 1 } else { height.max(1) };
        let first = self.lines_up(Some(at), store).take(lines).last();
        self.top = first.and_then(|line| self.row(line.first)).unwrap_or(self.top);
    }
}
