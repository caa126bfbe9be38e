//! The process tree: which processes are shown, each below its parent, the folded ones, the selected one, and the visible part.
//!
//! The rows are made from the processes when these have changed, at most once before each screen that is drawn.

pub(crate) mod columns;
mod nodes;

use crate::app::keymap::Action;
use crate::app::searches::Failure;
use crate::app::views::{motion, next_match};
use crate::budget::Budget;
use crate::enrich::process::ProcessTable;
use crate::event::EventContext;
use crate::event::process::ProcessKey;
use crate::store::{Id, Store};
pub(crate) use nodes::{Counts, Moment, Seen};
use nodes::{Flags, Nodes, Place};
use std::time::Duration;

/// Up to so many processes, nothing is folded unless the user does it. With more, what has ended as it should is.
const FEW: usize = 48;

/// The time after a movement of the selection in which the rows keep an order that changes with the counts.
const HELD: Duration = Duration::from_secs(3);

/// The time between two orders by counts.
const SORTED: Duration = Duration::from_secs(1);

/// The descendants among which the cause of an exit is looked for.
const LINE: usize = 64;

/// The levels whose lines are drawn.
const LEVELS: u16 = 64;

/// The orders of processes with the same parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Sort {
    /// By their starts.
    #[default]
    Start,
    /// By the time that they ran.
    Lived,
    /// By their opens.
    Opens,
    /// By their failed calls.
    Failed,
}

impl Sort {
    const ALL: [Sort; 4] = [Sort::Start, Sort::Lived, Sort::Opens, Sort::Failed];

    fn next(self) -> Sort {
        let at = Sort::ALL.iter().position(|sort| *sort == self).unwrap_or_default();
        Sort::ALL[(at + 1) % Sort::ALL.len()]
    }

    /// The name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Sort::Start => "start",
            Sort::Lived => "lived",
            Sort::Opens => "opens",
            Sort::Failed => "failed",
        }
    }
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    place: Place,
    /// The number of its ancestors that have rows.
    pub depth: u16,
    /// The levels of which another row follows below; the level of the row itself is its depth.
    more: u64,
    /// Processes below it.
    pub below: u32,
    /// Those of them that failed.
    pub failed_below: u32,
    /// Whether those are hidden.
    pub folded: bool,
    /// It is shown because of others: it has no event, or none that passes the filter.
    pub context: bool,
}

impl Row {
    /// Whether another row of a level follows below.
    pub(crate) fn continues(&self, level: u16) -> bool {
        level < LEVELS && self.more & (1 << level) != 0
    }
}

/// Counts of the processes that the rows stand for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// All.
    pub all: u32,
    /// Those that run.
    pub running: u32,
    /// Those that failed.
    pub failed: u32,
    matched: u32,
    active: u32,
}

impl Tally {
    fn of(flags: Flags) -> Tally {
        Tally {
            all: 1,
            running: flags.running.into(),
            failed: flags.failed.into(),
            matched: flags.matched.into(),
            active: flags.active.into(),
        }
    }

    fn add(&mut self, other: Tally) {
        self.all += other.all;
        self.running += other.running;
        self.failed += other.failed;
        self.matched += other.matched;
        self.active += other.active;
    }
}

/// Which processes are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Shown {
    /// As they were at this moment.
    pub moment: Option<Moment>,
    /// Those with events that pass the filter, their ancestors and their descendants.
    pub filtered: bool,
    /// Those that failed, and their ancestors.
    pub failures: bool,
}

/// A process in depth-first order.
#[derive(Clone, Copy, Debug)]
struct Met {
    place: Place,
    /// Its parent's position in the order.
    above: Option<u32>,
    depth: u16,
    own: Flags,
    age: u32,
    /// Processes from this one on that are below it, with itself.
    size: u32,
    /// Of itself and all below.
    sum: Tally,
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Nodes,
    shown: Shown,
    sort: Sort,
    reverse: bool,
    /// Whether processes without events are shown.
    idle: bool,
    rows: Vec<Row>,
    tally: Tally,
    /// Processes that are not shown because they have no events.
    idle_hidden: u32,
    /// Room for making the rows.
    met: Vec<Met>,
    /// The selected process; `None` selects the one that is of most interest now.
    cursor: Option<ProcessKey>,
    /// The row of the selected process.
    at: usize,
    /// The row of the process that failed last, of those without others below that failed; if none failed, of the one that was added
    /// last.
    latest: usize,
    top: usize,
    moved: Option<Duration>,
    /// When the rows were made, and whether they are to be made at once.
    made: Duration,
    again: bool,
}

impl Tree {
    /// A tree without processes.
    pub(crate) fn new(budget: Budget) -> Tree {
        Tree {
            nodes: Nodes::new(budget),
            shown: Shown::default(),
            sort: Sort::default(),
            reverse: false,
            idle: false,
            rows: Vec::new(),
            tally: Tally::default(),
            idle_hidden: 0,
            met: Vec::new(),
            cursor: None,
            at: 0,
            latest: 0,
            top: 0,
            made: Duration::ZERO,
            again: false,
            moved: None,
        }
    }

    /// The memory in use, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.nodes.bytes()
    }

    /// Adds an event that was just stored. `matched`: it passes the filter. `cause`: of an exit, the failed call.
    pub(crate) fn append(&mut self, id: Id, seen: &EventContext<'_>, matched: bool, cause: Option<Failure>) {
        self.nodes.append(id, seen, matched, cause);
    }

    /// Counts a failed call no more: this event of the same process found what it did not find.
    pub(crate) fn answered(&mut self, id: Id, by: &EventContext<'_>) {
        by.process.into_iter().for_each(|process| self.nodes.answered(id, process.key));
    }

    /// Ends the processes that have ended without an event here.
    pub(crate) fn settle(&mut self, processes: &ProcessTable) {
        self.nodes.settle(processes);
    }

    /// Marks a process one of whose kept events passes the filter.
    pub(crate) fn matched(&mut self, process: ProcessKey) {
        self.nodes.matched(process);
    }

    /// Forgets which processes have events that pass the filter.
    pub(crate) fn unmatch(&mut self) {
        self.nodes.unmatch();
    }

    /// Goes on to the counts of the moment that is shown, by up to `budget` events.
    pub(crate) fn travel(&mut self, moment: Option<Moment>, store: &Store, budget: usize) {
        self.nodes.travel(moment, store, budget);
    }

    /// Whether the counts are not yet those of the moment.
    pub(crate) fn travelling(&self, moment: Option<Moment>, store: &Store) -> bool {
        self.nodes.travelling(moment, store)
    }

    /// Makes the rows, if they have changed, for a screen of `height` rows.
    pub(crate) fn refresh(&mut self, shown: Shown, height: usize, now: Duration) {
        let sorted = self.sort != Sort::Start;
        let held = sorted && (self.moved.is_some_and(|moved| now < moved + HELD) || now < self.made + SORTED);
        // An order by counts may change with each event.
        if self.shown != shown || self.again || (self.nodes.stale || sorted) && !held {
            self.shown = shown;
            (self.nodes.stale, self.again, self.made) = (false, false, now);
            let offset = self.at.saturating_sub(self.top);
            self.make_rows();
            self.find_cursor();
            self.top = self.at.saturating_sub(offset);
        }
        self.reveal(height);
    }

    fn make_rows(&mut self) {
        let mut met = std::mem::take(&mut self.met);
        met.clear();
        self.walk(&mut met);
        for at in (0..met.len()).rev() {
            let Met { above, sum, size, .. } = met[at];
            if let Some(above) = above.and_then(|above| met.get_mut(above as usize)) {
                above.sum.add(sum);
                above.size += size;
            }
        }
        self.rows.clear();
        (self.tally, self.idle_hidden) = (Tally::default(), 0);
        let line = self.line_of_cursor();
        let few = met.iter().filter(|met| self.idle || met.own.active).count() <= FEW;
        let (mut at, mut below_match) = (0, 0);
        let mut latest = None;
        while let Some(met) = met.get(at).copied() {
            let after = at + met.size as usize;
            let passes = !self.shown.filtered || met.sum.matched > 0 || at < below_match;
            let fails = !self.shown.failures || met.sum.failed > 0;
            let active = self.idle || met.sum.active > 0;
            if !passes || !fails || !active {
                self.idle_hidden += if active { 0 } else { met.sum.all };
                at = after;
                continue;
            }
            if self.shown.filtered && met.own.matched {
                below_match = below_match.max(after);
            }
            let own = Tally::of(met.own);
            let context = !met.own.active
                || self.shown.filtered && !met.own.matched && at >= below_match
                || self.shown.failures && !met.own.failed;
            let below = if self.idle { met.sum.all - 1 } else { met.sum.active - own.active };
            let failed_below = met.sum.failed - own.failed;
            let ended_well = failed_below == 0 && met.sum.running == own.running;
            let hides_match = self.shown.filtered && met.sum.matched > own.matched;
            let quiet = ended_well && !hides_match;
            let folded = below > 0 && met.own.fold.unwrap_or(!few && quiet && !line.contains(&met.place));
            self.rows.push(Row { place: met.place, depth: met.depth, more: 0, below, failed_below, folded, context });
            if !context {
                let failed = met.own.failed && failed_below == 0;
                latest = latest.max(Some((
                    failed,
                    if failed { self.ended(met.place) } else { met.age.into() },
                    self.rows.len() - 1,
                )));
            }
            let counted = if folded { met.sum } else { own };
            self.tally.add(Tally { all: if self.idle { counted.all } else { counted.active }, ..counted });
            at = if folded { after } else { at + 1 };
        }
        let mut more = 0u64;
        for row in self.rows.iter_mut().rev() {
            let own = 1u64.checked_shl(row.depth.into()).unwrap_or(0);
            // Of the levels below, no row follows.
            more &= own.wrapping_mul(2).wrapping_sub(1);
            row.more = more;
            more |= own;
        }
        self.met = met;
        self.latest = latest.map_or(0, |(_, _, row)| row);
    }

    /// The time at which a process ended, in nanoseconds.
    fn ended(&self, place: Place) -> u64 {
        let end = self.nodes.seen(place, self.shown.moment).and_then(|seen| seen.end);
        end.map_or(u64::MAX, |end| end.time.0)
    }

    /// Puts the processes of the moment into depth-first order.
    fn walk(&self, met: &mut Vec<Met>) {
        if self.sort != Sort::Start {
            return self.walk_sorted(met);
        }
        let back = self.reverse;
        // The positions of the ancestors of the next process.
        let mut line: Vec<u32> = Vec::new();
        let mut next = self.nodes.first(None, back);
        while let Some(at) = next {
            let below = match self.meet(at, line.last().copied(), line.len(), met) {
                true => self.nodes.first(Some(at), back),
                false => None,
            };
            if below.is_some() {
                line.push((met.len() - 1) as u32);
                next = below;
                continue;
            }
            let mut last = Some(at);
            next = None;
            while let Some(at) = last.filter(|_| next.is_none()) {
                next = self.nodes.next(at, back);
                if next.is_none() {
                    line.pop();
                    last = self.nodes.parent(at);
                }
            }
        }
    }

    /// The same, where processes with the same parent are sorted.
    fn walk_sorted(&self, met: &mut Vec<Met>) {
        let mut waiting: Vec<(Place, Option<u32>, u16)> = Vec::new();
        let push = |waiting: &mut Vec<_>, of: Option<Place>, above, depth: u16| {
            let from = waiting.len();
            waiting.extend(self.nodes.children(of).map(|place| (place, above, depth)));
            let pushed: &mut [(Place, Option<u32>, u16)] = waiting.get_mut(from..).unwrap_or_default();
            // The first one is taken from the end.
            pushed.reverse();
            pushed.sort_by_cached_key(|(place, ..)| self.measure(*place));
            if self.reverse {
                pushed.reverse();
            }
        };
        push(&mut waiting, None, None, 0);
        while let Some((place, above, depth)) = waiting.pop() {
            if self.meet(place, above, depth.into(), met) {
                let at = (met.len() - 1) as u32;
                push(&mut waiting, Some(place), Some(at), depth.saturating_add(1));
            }
        }
    }

    /// Adds a process to the order; `false` if it started after the moment.
    fn meet(&self, place: Place, above: Option<u32>, depth: usize, met: &mut Vec<Met>) -> bool {
        let links = self.nodes.links(place);
        let own = match self.shown.moment {
            None => Some(links.flags),
            moment => self.nodes.flags_at(place, moment),
        };
        let Some(own) = own else { return false };
        let depth = u16::try_from(depth).unwrap_or(u16::MAX);
        met.push(Met { place, above, depth, own, age: links.age, size: 1, sum: Tally::of(own) });
        true
    }

    /// What processes are sorted by, the largest first.
    fn measure(&self, place: Place) -> u64 {
        let Some(seen) = self.nodes.seen(place, self.shown.moment) else { return 0 };
        match self.sort {
            Sort::Start => 0,
            Sort::Lived => self.lived(&seen),
            Sort::Opens => seen.counts.opens,
            Sort::Failed => seen.counts.failed,
        }
    }

    /// The ancestors of the selected process, which are not folded by themselves.
    fn line_of_cursor(&self) -> Vec<Place> {
        let mut line = Vec::new();
        let mut next = self.cursor.and_then(|key| self.nodes.place(key));
        while let Some(parent) = next.and_then(|at| self.nodes.parent(at)) {
            line.push(parent);
            next = Some(parent);
        }
        line
    }

    /// Finds the row of the selected process. If it has none, its nearest ancestor is selected.
    fn find_cursor(&mut self) {
        let Some(cursor) = self.cursor else {
            self.at = self.latest;
            return;
        };
        let mut place = self.nodes.place(cursor);
        while let Some(at) = place {
            if let Some(row) = self.rows.iter().position(|row| row.place == at) {
                self.at = row;
                return;
            }
            place = self.nodes.parent(at);
        }
        self.at = self.at.min(self.rows.len().saturating_sub(1));
    }

    /// The rows.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The processes that the rows stand for.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// The number of processes that are not shown because they have no events.
    pub(crate) fn idle_hidden(&self) -> u32 {
        self.idle_hidden
    }

    /// The number of processes that were removed or not added, for want of room.
    pub(crate) fn left_out(&self) -> u64 {
        self.nodes.left_out
    }

    /// The process of a row, as it was at the moment that is shown.
    pub(crate) fn seen(&self, row: &Row) -> Option<Seen<'_>> {
        self.nodes.seen(row.place, self.shown.moment)
    }

    /// A process as it is now. `None` if it is not in the tree.
    pub(crate) fn process(&self, key: ProcessKey) -> Option<Seen<'_>> {
        self.nodes.seen(self.nodes.place(key)?, None)
    }

    /// The failed call that a process exited for, and the processes from the child that failed for it to the one that made the call. The
    /// call is `None` if the last of these processes has none.
    pub(crate) fn cause(&self, of: &Seen<'_>) -> (Option<Failure>, Vec<Seen<'_>>) {
        let (mut cause, mut next, mut line) = (of.failure(), of.from, Vec::new());
        while let Some(child) = next.and_then(|child| self.process(child)).filter(|_| line.len() < LINE) {
            (cause, next) = (child.failure(), child.from);
            line.push(child);
        }
        (cause, line)
    }

    /// The time up to which a process ran, in nanoseconds.
    pub(crate) fn lived(&self, seen: &Seen<'_>) -> u64 {
        let now = self.shown.moment.map_or(self.nodes.last, |moment| moment.time);
        seen.process.ran_ns(seen.end.map_or(now, |end| end.time))
    }

    /// The order.
    pub(crate) fn sort(&self) -> (Sort, bool) {
        (self.sort, self.reverse)
    }

    /// The selected row.
    pub(crate) fn cursor(&self) -> usize {
        self.at
    }

    /// The first row on the screen.
    pub(crate) fn first_row(&self) -> usize {
        self.top
    }

    /// The selected process.
    pub(crate) fn selected(&self) -> Option<Seen<'_>> {
        self.rows.get(self.at).and_then(|row| self.seen(row))
    }

    /// Selects the process that is of most interest, now and later.
    pub(crate) fn follow(&mut self) {
        self.cursor = None;
        self.again();
    }

    /// Restores the order of the start.
    pub(crate) fn reset_order(&mut self) {
        (self.sort, self.reverse) = Default::default();
        self.again();
    }

    /// Selects a row, and keeps its process selected.
    pub(crate) fn select(&mut self, row: usize, now: Duration) {
        self.at = row.min(self.rows.len().saturating_sub(1));
        self.cursor = self.rows.get(self.at).and_then(|row| self.nodes.get(row.place)).map(|node| node.process.key);
        self.moved = Some(now);
    }

    /// Selects a process, and unfolds its ancestors.
    pub(crate) fn go_to(&mut self, process: ProcessKey, now: Duration) {
        (self.cursor, self.moved) = (Some(process), Some(now));
        for above in self.line_of_cursor() {
            self.nodes.unfold(above);
        }
        self.again();
    }

    fn reveal(&mut self, height: usize) {
        let most = self.rows.len().saturating_sub(height);
        self.top = self.top.min(most).clamp((self.at + 1).saturating_sub(height.max(1)), self.at);
    }

    /// Performs an action on a screen of `height` rows; `false` if it is none of the tree.
    pub(crate) fn act(&mut self, action: Action, height: usize, now: Duration) -> bool {
        match action {
            Action::Fold => self.fold(now),
            Action::Unfold => self.unfold(now),
            Action::Sort => {
                self.sort = self.sort.next();
                self.again();
            }
            Action::Reverse => {
                self.reverse = !self.reverse;
                self.again();
            }
            Action::Idle => {
                self.idle = !self.idle;
                self.again();
            }
            _ => match motion(action, height) {
                Some(rows) => self.move_by(rows, now),
                None => return false,
            },
        }
        self.reveal(height);
        true
    }

    /// Makes the rows again at once.
    fn again(&mut self) {
        self.again = true;
        self.moved = None;
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

    /// Folds the selected process, or goes to its parent if there is nothing to fold.
    fn fold(&mut self, now: Duration) {
        let Some(row) = self.rows.get(self.at).copied() else { return };
        self.select(self.at, now);
        if row.below > 0 && !row.folded {
            self.set_fold(row.place, true);
        } else if let Some(parent) = self.rows.iter().take(self.at).rposition(|above| above.depth < row.depth) {
            self.select(parent, now);
        }
    }

    /// Unfolds the selected process, or goes to its first child.
    fn unfold(&mut self, now: Duration) {
        let Some(row) = self.rows.get(self.at).copied() else { return };
        self.select(self.at, now);
        if row.folded {
            self.set_fold(row.place, false);
        } else if row.below > 0 {
            self.move_by(1, now);
        }
    }

    fn set_fold(&mut self, place: Place, fold: bool) {
        self.nodes.fold(place, fold);
        self.again();
    }

    /// Selects the next row for which `is` holds, round the end; the selected one too if `here`. `false` if there is none.
    pub(crate) fn find(&mut self, down: bool, here: bool, now: Duration, is: impl Fn(&Tree, &Row) -> bool) -> bool {
        let found =
            next_match(self.rows.len(), self.at, (down, here), |at| self.rows.get(at).is_some_and(|row| is(self, row)));
        found.map(|at| self.select(at, now)).is_some()
    }
}
