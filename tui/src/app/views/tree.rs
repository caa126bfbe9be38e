//! The process tree: each shown process below its parent, the folded processes, the selected one, and the visible part.
//!
//! The rows are built from the processes when these have changed, at most once per drawn screen.

pub(crate) mod columns;
pub(crate) mod gantt;
mod node;
mod nodes;
mod pipelines;
mod pipes;
mod usage;

use super::state::{Context, Moment, Rows, ViewState, motion};
use crate::app::copy;
use crate::app::input::Handled;
use crate::app::keys::keymap::Action;
use crate::app::named_enum::{named, step};
use crate::app::views::sorted_list::{List, sorted_by};
use crate::app::views::tree_lines::{Branch, connect};
pub(crate) use node::{Counts, End, Seen};
use node::{Flags, NodeIndex};
use nodes::Nodes;
use regex::bytes::Regex;
use std::time::Duration;
use tracetui_events::budget::Budget;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::search::Failure;
use tracetui_shared::time::BootNanos;

/// With at most this many processes, only the user folds. With more, processes that ended without a failure are folded.
const FEW: usize = 48;

/// The minimum time between two sorts by counts.
const SORTED: Duration = Duration::from_secs(1);

/// How many descendants the search for the cause of an exit follows.
const LINE: usize = 64;

named! {
    #[derive(Default)]
    enum Sort name {
        #[default]
        Start "start",
        Lived "lived",
        Opens "opens",
        Failed "failed",
        Cpu "cpu",
        Memory "memory",
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    place: NodeIndex,
    pub branch: Branch,
    pub below: u32,
    pub failed_below: u32,
    pub folded: bool,
    /// Shown only for its relatives: it has no event, or none that passes the filter.
    pub context: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub all: u32,
    pub running: u32,
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

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct TreeConditions {
    pub moment: Option<Moment>,
    /// Show only processes with events that pass the filter, their ancestors and their descendants.
    pub filtered: bool,
    pub failures: bool,
}

/// A process in depth-first order.
#[derive(Clone, Copy, Debug)]
struct Met {
    place: NodeIndex,
    /// The position of its parent in the order.
    above: Option<u32>,
    depth: u16,
    own: Flags,
    age: u32,
    /// The number of processes in its subtree, which follow it in the order; it counts itself.
    size: u32,
    sum: Tally,
}

#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: Nodes,
    conditions: TreeConditions,
    /// Whether processes without events are shown.
    idle: bool,
    /// The rows. Without a key, the process of most interest at the moment is selected.
    pub(crate) list: List<Row, ProcessKey, Sort>,
    pub(crate) tally: Tally,
    /// The number of processes hidden because they have no events.
    pub(crate) idle_hidden: u32,
    /// Buffer for building the rows.
    met: Vec<Met>,
    /// The row of the process that failed last and has no failed process below it. If none failed, the row of the process added last.
    latest: usize,
    /// When the rows were built, and whether to rebuild them at once.
    built: Duration,
    again: bool,
}

impl Tree {
    pub(crate) fn new(budget: Budget) -> Tree {
        Tree { nodes: Nodes::new(budget), ..Tree::default() }
    }

    fn refresh(&mut self, shown: TreeConditions, now: Duration) {
        let sorted = self.list.order != Sort::Start;
        let held = sorted && (self.list.is_held(now) || now < self.built + SORTED);
        // Each event may change an order by counts.
        if self.conditions != shown || self.again || (self.nodes.stale || sorted) && !held {
            self.conditions = shown;
            self.nodes.stale = false;
            self.again = false;
            self.built = now;
            let rows = self.make_rows();
            let at = self.row_of_cursor(&rows);
            self.list.show(rows, at);
        }
    }

    fn make_rows(&mut self) -> Vec<Row> {
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
        let mut rows = self.list.take_rows();
        rows.clear();
        self.tally = Tally::default();
        self.idle_hidden = 0;
        let line = self.line_of_cursor();
        let few = met.iter().filter(|met| self.idle || met.own.active).count() <= FEW;
        let (mut at, mut below_match) = (0, 0);
        let mut latest = None;
        while let Some(met) = met.get(at).copied() {
            let after = at + met.size as usize;
            let passes = !self.conditions.filtered || met.sum.matched > 0 || at < below_match;
            let fails = !self.conditions.failures || met.sum.failed > 0;
            let active = self.idle || met.sum.active > 0;
            if !passes || !fails || !active {
                self.idle_hidden += if active { 0 } else { met.sum.all };
                at = after;
                continue;
            }
            if self.conditions.filtered && met.own.matched {
                below_match = below_match.max(after);
            }
            let own = Tally::of(met.own);
            let context = !met.own.active
                || self.conditions.filtered && !met.own.matched && at >= below_match
                || self.conditions.failures && !met.own.failed;
            let below = if self.idle { met.sum.all - 1 } else { met.sum.active - own.active };
            let failed_below = met.sum.failed - own.failed;
            let ended_well = failed_below == 0 && met.sum.running == own.running;
            let hides_match = self.conditions.filtered && met.sum.matched > own.matched;
            let quiet = ended_well && !hides_match;
            let folded = below > 0 && met.own.fold.unwrap_or(!few && quiet && !line.contains(&met.place));
            let branch = Branch::at(met.depth);
            rows.push(Row { place: met.place, branch, below, failed_below, folded, context });
            if !context {
                let failed = met.own.failed && failed_below == 0;
                latest = latest.max(Some((
                    failed,
                    if failed { self.ended(met.place) } else { met.age.into() },
                    rows.len() - 1,
                )));
            }
            let counted = if folded { met.sum } else { own };
            self.tally.add(Tally { all: if self.idle { counted.all } else { counted.active }, ..counted });
            at = if folded { after } else { at + 1 };
        }
        connect(rows.iter_mut().map(|row| &mut row.branch));
        self.met = met;
        self.latest = latest.map_or(0, |(_, _, row)| row);
        rows
    }

    fn ended(&self, place: NodeIndex) -> u64 {
        let end = self.nodes.seen(place, self.conditions.moment).and_then(|seen| seen.end);
        end.map_or(u64::MAX, |end| end.time.0)
    }

    /// Lists the processes of the moment in depth-first order.
    fn walk(&self, met: &mut Vec<Met>) {
        if self.list.order != Sort::Start {
            return self.walk_sorted(met);
        }
        let back = self.list.reverse;
        // The positions of the next process's ancestors.
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

    /// The same as [`walk`](Self::walk), with siblings sorted.
    fn walk_sorted(&self, met: &mut Vec<Met>) {
        let mut waiting: Vec<(NodeIndex, Option<u32>, u16)> = Vec::new();
        let busiest = if self.list.order == Sort::Cpu { self.busiest() } else { Vec::new() };
        let push = |waiting: &mut Vec<_>, of: Option<NodeIndex>, above, depth: u16| {
            let from = waiting.len();
            waiting.extend(self.nodes.children(of).map(|place| (place, above, depth)));
            let pushed: &mut [(NodeIndex, Option<u32>, u16)] = waiting.get_mut(from..).unwrap_or_default();
            // Reversed, because processes are popped from the end.
            pushed.reverse();
            pushed.sort_by_cached_key(|(place, ..)| self.measure(*place, &busiest));
            if self.list.reverse {
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

    /// Appends a process to the order. `false` if it started after the moment.
    fn meet(&self, place: NodeIndex, above: Option<u32>, depth: usize, met: &mut Vec<Met>) -> bool {
        let links = self.nodes.links(place);
        let own = match self.conditions.moment {
            None => Some(links.flags),
            moment => self.nodes.flags_at(place, moment),
        };
        let Some(own) = own else { return false };
        let depth = u16::try_from(depth).unwrap_or(u16::MAX);
        met.push(Met { place, above, depth, own, age: links.age, size: 1, sum: Tally::of(own) });
        true
    }

    /// For each process, the CPU of the busiest one in its branch.
    fn busiest(&self) -> Vec<u64> {
        let mut all: Vec<NodeIndex> = self.nodes.children(None).collect();
        let mut at = 0;
        while let Some(place) = all.get(at).copied() {
            all.extend(self.nodes.children(Some(place)));
            at += 1;
        }
        let mut busiest = vec![0; self.nodes.len()];
        let mut at_least = |place: NodeIndex, cpu: u64| {
            let most = busiest.get_mut(place as usize)?;
            *most = cpu.max(*most);
            Some(*most)
        };
        for place in all.into_iter().rev() {
            let own = self.nodes.seen(place, self.conditions.moment).map_or(0, |seen| seen.cpu());
            let most = at_least(place, own).unwrap_or(0);
            self.nodes.parent(place).into_iter().for_each(|parent| _ = at_least(parent, most));
        }
        busiest
    }

    /// The sort key of a process. The largest comes first.
    fn measure(&self, place: NodeIndex, busiest: &[u64]) -> u64 {
        let Some(seen) = self.nodes.seen(place, self.conditions.moment) else { return 0 };
        match self.list.order {
            Sort::Start => 0,
            Sort::Lived => self.lived(&seen),
            Sort::Cpu => busiest.get(place as usize).copied().unwrap_or(0),
            Sort::Memory => seen.used.map(|used| used.resident).or(seen.cost().map(|cost| cost.max_rss)).unwrap_or(0),
            Sort::Opens => seen.counts.opens,
            Sort::Failed => seen.counts.failed,
        }
    }

    /// The ancestors of the selected process. Only the user can fold them.
    fn line_of_cursor(&self) -> Vec<NodeIndex> {
        let mut line = Vec::new();
        let mut next = self.list.key().and_then(|key| self.nodes.place(*key));
        while let Some(parent) = next.and_then(|at| self.nodes.parent(at)) {
            line.push(parent);
            next = Some(parent);
        }
        line
    }

    /// The row of the selected process, or of its nearest ancestor that has one.
    fn row_of_cursor(&self, rows: &[Row]) -> usize {
        let Some(cursor) = self.list.key() else { return self.latest };
        let mut place = self.nodes.place(*cursor);
        while let Some(at) = place {
            if let Some(row) = rows.iter().position(|row| row.place == at) {
                return row;
            }
            place = self.nodes.parent(at);
        }
        self.list.cursor()
    }

    /// The number of processes removed or never added for lack of memory.
    pub(crate) fn left_out(&self) -> u64 {
        self.nodes.left_out
    }

    /// The process of a row, as it was at the shown moment.
    pub(crate) fn seen(&self, row: &Row) -> Option<Seen<'_>> {
        self.nodes.seen(row.place, self.conditions.moment)
    }

    /// A process as it is now. `None` if it is not in the tree.
    pub(crate) fn process(&self, key: ProcessKey) -> Option<Seen<'_>> {
        self.process_at(key, None)
    }

    /// The children of a process that had started at a moment, in the order of their starts.
    pub(crate) fn children(&self, of: ProcessKey, moment: Option<Moment>) -> impl Iterator<Item = Seen<'_>> {
        let children = self.nodes.place(of).into_iter().flat_map(|at| self.nodes.children(Some(at)));
        children.filter_map(move |at| self.nodes.seen(at, moment))
    }

    /// The running descendants of a process that have no running child, oldest first.
    pub(crate) fn working(&self, of: ProcessKey) -> impl Iterator<Item = Seen<'_>> {
        let of = self.nodes.place(of);
        let mut waiting: Vec<NodeIndex> = of.into_iter().collect();
        let mut left = LINE;
        std::iter::from_fn(move || {
            while let Some(at) = waiting.pop().filter(|_| left > 0) {
                left -= 1;
                let newest = std::iter::successors(self.nodes.first(Some(at), true), |at| self.nodes.next(*at, true));
                let before = waiting.len();
                waiting.extend(newest.take(LINE).filter(|at| self.nodes.links(*at).flags.running));
                if waiting.len() == before && Some(at) != of {
                    return self.nodes.seen(at, None);
                }
            }
            None
        })
    }

    /// A process as it was at a moment.
    pub(crate) fn process_at(&self, key: ProcessKey, moment: Option<Moment>) -> Option<Seen<'_>> {
        self.nodes.seen(self.nodes.place(key)?, moment)
    }

    /// The time of a moment, or the time that the trace has reached.
    pub(crate) fn time(&self, moment: Option<Moment>) -> BootNanos {
        moment.map_or(self.nodes.last, |moment| moment.time)
    }

    /// The failed call that made a process exit, and the processes from the child that failed down to the one that made the call. The call
    /// is `None` if the last of these processes has none.
    pub(crate) fn cause(&self, of: &Seen<'_>) -> (Option<Failure>, Vec<Seen<'_>>) {
        let (mut cause, mut next, mut line) = (of.failure(), of.from, Vec::new());
        while let Some(child) = next.and_then(|child| self.process(child)).filter(|_| line.len() < LINE) {
            (cause, next) = (child.failure(), child.from);
            line.push(child);
        }
        (cause, line)
    }

    /// The process that exited first because of a call of its own after COMMAND began, whatever its parent did then.
    pub(crate) fn first_failed(&self, command: &Seen<'_>) -> Option<Seen<'_>> {
        let since = BootNanos(command.process.key.start.0.saturating_add(command.process.held_ns));
        let mut failed = self.nodes.failed().filter_map(|at| self.nodes.seen(at, None));
        let is_later = |end: &End| end.time > since && end.is_error();
        failed.find(|seen| seen.cause.is_some() && seen.end.as_ref().is_some_and(is_later))
    }

    /// Notes that the trace has reached this time, perhaps without an event.
    pub(crate) fn reached(&mut self, time: BootNanos) {
        self.nodes.last = self.nodes.last.max(time);
    }

    /// The lifetime of a process so far, in nanoseconds.
    pub(crate) fn lived(&self, seen: &Seen<'_>) -> u64 {
        seen.process.ran_ns(seen.end.map_or(self.time(self.conditions.moment), |end| end.time))
    }

    pub(crate) fn selected(&self) -> Option<Seen<'_>> {
        self.list.selected().and_then(|row| self.seen(row))
    }

    /// Restores the initial order, and selects the process of most interest from now on.
    pub(crate) fn reset(&mut self) {
        self.list.reset_order();
        self.list.keep(None);
        self.again();
    }

    pub(crate) fn go_to(&mut self, process: ProcessKey) {
        self.list.keep(Some(process));
        for above in self.line_of_cursor() {
            self.nodes.unfold(above);
        }
        self.again();
    }

    fn again(&mut self) {
        self.again = true;
        self.list.release();
    }

    /// Folds the selected process, or goes to its parent if there is nothing to fold.
    fn fold(&mut self, now: Duration) {
        let (at, rows) = (self.list.cursor(), self.list.rows());
        let Some(row) = rows.get(at).copied() else { return };
        let folds = row.below > 0 && !row.folded;
        let parent = rows.iter().take(at).rposition(|above| above.branch.depth < row.branch.depth).filter(|_| !folds);
        self.select(parent.unwrap_or(at), now);
        if folds {
            self.set_fold(row.place, true);
        }
    }

    /// Unfolds the selected process, or goes to its first child.
    fn unfold(&mut self, now: Duration) {
        let Some(row) = self.list.selected().copied() else { return };
        self.move_by(isize::from(row.below > 0 && !row.folded), now);
        if row.folded {
            self.set_fold(row.place, false);
        }
    }

    fn set_fold(&mut self, place: NodeIndex, fold: bool) {
        self.nodes.fold(place, fold);
        self.again();
    }
}

impl ViewState for Tree {
    fn prepare(&mut self, context: &Context<'_>) {
        let Context { moment, filtered, failures, .. } = *context;
        self.refresh(TreeConditions { moment, filtered, failures }, context.now);
        self.list.reveal(context.height);
    }

    fn act(&mut self, action: Action, context: &mut Context<'_>) -> Handled {
        match action {
            Action::Fold => self.fold(context.now),
            Action::Unfold => self.unfold(context.now),
            Action::Sort => self.list.order = step(Sort::ALL, self.list.order, 1),
            Action::Reverse => self.list.reverse = !self.list.reverse,
            Action::Idle => self.idle = !self.idle,
            // The list of events also follows.
            Action::Follow => self.list.keep(None),
            _ => match motion(action, context.height) {
                Some(rows) => self.move_by(rows, context.now),
                None => return Handled::No,
            },
        }
        if matches!(action, Action::Sort | Action::Reverse | Action::Idle | Action::Follow) {
            self.again();
        }
        if matches!(action, Action::Sort | Action::Reverse) {
            context.notify(sorted_by(self.list.order.name(), self.list.reverse));
        }
        self.list.reveal(context.height);
        if action == Action::Follow { Handled::No } else { Handled::Redraw }
    }

    fn rows(&self) -> Rows {
        Rows::of(&self.list)
    }

    fn select(&mut self, row: usize, now: Duration) {
        let nodes = &self.nodes;
        self.list.select(row, now, |row| nodes.get(row.place).map(|node| node.process.key));
    }

    fn searched(&self) -> &'static str {
        "search the tree for text: a process id or part of the command"
    }

    fn is_match(&self, row: usize, pattern: &Regex, context: &Context<'_>) -> bool {
        let seen = self.list.rows().get(row).and_then(|row| self.seen(row));
        seen.is_some_and(|seen| pattern.is_match(&columns::line(self, &seen, context.without_end)))
    }

    fn copied(&self, context: &Context<'_>) -> (Option<String>, &'static str) {
        (self.selected().map(|seen| copy::line(&columns::line(self, &seen, context.without_end))), "line")
    }
}
