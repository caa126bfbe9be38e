//! The process tree: each shown process below its parent, the folded processes, the selected one, and the visible part.
//!
//! The rows are built from the processes before each drawn screen.

pub(crate) mod columns;
pub(crate) mod ended;
pub(crate) mod gantt;
mod node;
mod nodes;
mod pipelines;
mod usage;

use super::state::{Context, Moment, Rows, ViewState, motion};
use crate::app::copy;
use crate::app::keys::keymap::Action;
use crate::app::named_enum::{named, step};
use crate::app::views::sorted_list::{List, sorted_by};
pub(crate) use node::{Counts, End, Seen};
use node::{Fold, Node};
use nodes::Nodes;
use regex::bytes::Regex;
use std::time::Duration;
use tracetui_events::budget::Budget;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::search::Failure;
use tracetui_shared::time::BootNanos;

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
        Cpu "cpu",
        Memory "memory",
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Shows {
    #[default]
    Process,
    /// The ancestors without events of the processes below, in one line: the last of them, and those above it.
    Ancestors,
    /// The children of a process that ended without a failure, with their descendants.
    Ended,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The process. Of ended ones, their parent.
    key: ProcessKey,
    /// Its position in `Tree::met`.
    at: usize,
    pub shows: Shows,
    pub depth: u16,
    pub below: u32,
    pub failed_below: u32,
    pub folded: bool,
    /// Shown only for its relatives: it has no event, or none that passes the filter.
    pub context: bool,
}

impl Row {
    /// A row of several processes.
    fn of(key: ProcessKey, at: usize, shows: Shows, depth: u16) -> Row {
        Row { key, at, shows, depth, below: 0, failed_below: 0, folded: false, context: true }
    }
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
    fn of(node: &Node, seen: &Seen<'_>) -> Tally {
        let active = node.is_active();
        Tally {
            all: 1,
            running: (active && seen.end.is_none()).into(),
            failed: seen.failed().into(),
            matched: node.matched.into(),
            active: active.into(),
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

/// A process in depth-first order. The processes of its subtree, `sum.all` with itself, follow it.
#[derive(Clone, Copy, Debug)]
struct Met {
    key: ProcessKey,
    /// The position of its parent in the order.
    above: Option<usize>,
    depth: u16,
    fold: Fold,
    age: u32,
    own: Tally,
    sum: Tally,
    /// Whether it and its descendants ended without a failure, and the user has not unfolded it.
    quiet: bool,
    /// Whether it may be in one row with its siblings that ended without a failure, and how many of its children may.
    joins: bool,
    joining: u32,
    /// Whether it is in such a row.
    joined: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: Nodes,
    conditions: TreeConditions,
    /// Whether processes without events are shown.
    idle: bool,
    /// Whether the ancestors of the processes with events have rows of their own.
    above: bool,
    /// The rows. Without a key, the process of most interest at the moment is selected. A key is that of a process, or of the row of its
    /// ended children.
    pub(crate) list: List<Row, (ProcessKey, bool), Sort>,
    pub(crate) tally: Tally,
    /// The number of processes hidden because they have no events.
    pub(crate) idle_hidden: u32,
    /// The processes in the order of the rows.
    met: Vec<Met>,
    /// The row of the process that failed last and has no failed process below it. If none failed, that of the process added last.
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
        if self.conditions != shown || self.again || !held {
            self.conditions = shown;
            self.again = false;
            self.built = now;
            let rows = self.make_rows();
            let at = self.row_of_cursor(&rows);
            self.list.show(rows, at);
        }
    }

    fn make_rows(&mut self) -> Vec<Row> {
        let mut met = self.walk();
        let (line, cursor) = (self.line_of_cursor(), self.cursor());
        for at in (0..met.len()).rev() {
            let Met { key, above, own, sum, fold, .. } = met[at];
            let hides_match = |matched| self.conditions.filtered && matched > 0;
            let ended = sum.running + sum.failed == 0 && (!self.idle || sum.active == sum.all);
            let quiet = ended && !hides_match(sum.matched - own.matched) && !line.contains(&key);
            let joins = quiet && fold == Fold::Auto && !hides_match(sum.matched) && cursor != Some(key);
            (met[at].quiet, met[at].joins) = (quiet, joins);
            if let Some(above) = above {
                met[above].sum.add(sum);
                met[above].joining += u32::from(joins && (self.idle || sum.active > 0));
            }
        }
        let mut rows = Vec::new();
        (self.tally, self.idle_hidden) = (Tally::default(), 0);
        // The rows of ended children, with the end of the subtree that each is the last row of.
        let mut ended: Vec<(usize, Row)> = Vec::new();
        let (mut at, mut below_match) = (0, 0);
        // The end of a tree of processes with events, the depth of its root, and the last line of ancestors.
        let (mut end, mut root, mut line) = (0, 0, None);
        while let Some(here) = met.get(at).copied() {
            let Met { key, above, own, sum, fold, .. } = here;
            let after = at + sum.all as usize;
            while let Some((_, row)) = ended.pop_if(|(after, _)| *after <= at) {
                rows.push(row);
            }
            let passes = !self.conditions.filtered || sum.matched > 0 || at < below_match;
            let fails = !self.conditions.failures || sum.failed > 0;
            let active = self.idle || sum.active > 0;
            if !passes || !fails || !active {
                self.idle_hidden += if active { 0 } else { sum.all };
                at = after;
                continue;
            }
            if at >= end && !self.idle && !self.above {
                if own.active == 0 {
                    at += 1;
                    continue;
                }
                // The line of its ancestors is one level above it.
                (end, root) = (after, here.depth.saturating_sub(1));
                if line != above {
                    line = above;
                    for (_, row) in ended.drain(..).rev() {
                        // The children after it have rows of their own.
                        met[row.at].joining = 0;
                        rows.push(row);
                    }
                    rows.extend(above.map(|above| Row::of(met[above].key, above, Shows::Ancestors, 0)));
                }
            }
            if self.conditions.filtered && own.matched > 0 {
                below_match = below_match.max(after);
            }
            let depth = here.depth - if at < end { root } else { 0 };
            let joins = |above: &usize| here.joins && met[*above].joining > 1 && met[*above].fold != Fold::All;
            if let Some(above) = above.filter(joins) {
                met[at].joined = true;
                self.count(sum);
                if ended.last().is_none_or(|(_, row)| row.at != above) {
                    let of = met[above];
                    ended.push((above + of.sum.all as usize, Row::of(of.key, above, Shows::Ended, depth)));
                }
                at = after;
                continue;
            }
            let context = own.active == 0
                || self.conditions.filtered && own.matched == 0 && at >= below_match
                || self.conditions.failures && own.failed == 0;
            let below = if self.idle { sum.all - 1 } else { sum.active - own.active };
            let failed_below = sum.failed - own.failed;
            let folded = below > 0
                && match fold {
                    Fold::Auto => here.quiet && above.is_some(),
                    fold => fold == Fold::Folded,
                };
            rows.push(Row { key, at, shows: Shows::Process, depth, below, failed_below, folded, context });
            self.count(if folded { sum } else { own });
            at = if folded { after } else { at + 1 };
        }
        rows.extend(ended.into_iter().rev().map(|(_, row)| row));
        self.met = met;
        let shown = rows.iter().enumerate().filter(|(_, row)| !row.context);
        self.latest = shown.max_by_key(|(_, row)| self.interest(row)).map_or(0, |(at, _)| at);
        rows
    }

    /// Failures come first, the last one at the top; then processes, the one added last at the top.
    fn interest(&self, row: &Row) -> (bool, u64) {
        let Some(met) = self.met.get(row.at) else { return (false, 0) };
        match met.own.failed > 0 && row.failed_below == 0 {
            true => (true, self.seen(row).and_then(|seen| seen.end).map_or(u64::MAX, |end| end.time.0)),
            false => (false, met.age.into()),
        }
    }

    fn count(&mut self, sum: Tally) {
        self.tally.add(Tally { all: if self.idle { sum.all } else { sum.active }, ..sum });
    }

    /// The processes of the moment in depth-first order.
    fn walk(&self) -> Vec<Met> {
        let (mut met, mut waiting): (Vec<Met>, Vec<_>) = Default::default();
        let push = |waiting: &mut Vec<(ProcessKey, Option<usize>, u16)>, of, above, depth| {
            let mut children: Vec<ProcessKey> = self.nodes.children(of).collect();
            // Reversed, because processes are popped from the end.
            children.reverse();
            if self.list.order != Sort::Start {
                children.sort_by_cached_key(|key| self.measure(*key));
            }
            if self.list.reverse {
                children.reverse();
            }
            waiting.extend(children.into_iter().map(|key| (key, above, depth)));
        };
        push(&mut waiting, None, None, 0);
        while let Some((key, above, depth)) = waiting.pop() {
            let moment = self.conditions.moment;
            let Some((node, seen)) = self.nodes.get(key).zip(self.nodes.seen(key, moment)) else { continue };
            let (own, fold, age) = (Tally::of(node, &seen), node.fold, node.age);
            push(&mut waiting, Some(key), Some(met.len()), depth.saturating_add(1));
            let (quiet, joins, joining, joined) = Default::default();
            met.push(Met { key, above, depth, fold, age, own, sum: own, quiet, joins, joining, joined });
        }
        met
    }

    fn measure(&self, key: ProcessKey) -> u64 {
        let Some(seen) = self.nodes.seen(key, self.conditions.moment) else { return 0 };
        match self.list.order {
            Sort::Start => 0,
            Sort::Lived => self.lived(&seen),
            Sort::Cpu => seen.cpu(),
            Sort::Memory => seen.used.map(|used| used.resident).or(seen.cost().map(|cost| cost.max_rss)).unwrap_or(0),
            Sort::Opens => seen.counts.opens,
        }
    }

    /// The ancestors of the selected process. Only the user can fold them.
    fn line_of_cursor(&self) -> Vec<ProcessKey> {
        let selected = self.list.key.map(|(key, _)| key);
        let line = std::iter::successors(selected, |key| self.nodes.parent(*key));
        // The row of its ended children may be selected.
        line.skip(usize::from(self.cursor().is_some())).collect()
    }

    /// The selected process, unless the row of its ended children is selected.
    fn cursor(&self) -> Option<ProcessKey> {
        self.list.key.filter(|(key, ended)| !ended && self.nodes.get(*key).is_some()).map(|(key, _)| key)
    }

    /// The row of the selected process, or of its nearest ancestor that has one.
    fn row_of_cursor(&self, rows: &[Row]) -> usize {
        let Some((cursor, ended)) = self.list.key else { return self.latest };
        let line = std::iter::successors(Some(cursor), |key| self.nodes.parent(*key)).map(|key| (key, false));
        let mut line = ended.then_some((cursor, true)).into_iter().chain(line);
        let row = line.find_map(|(key, ended)| {
            rows.iter().position(|row| row.key == key && (row.shows == Shows::Ended) == ended)
        });
        row.unwrap_or(self.list.at)
    }

    /// The process of a row, as it was at the shown moment.
    pub(crate) fn seen(&self, row: &Row) -> Option<Seen<'_>> {
        self.nodes.seen(row.key, self.conditions.moment)
    }

    /// A process as it is now. `None` if it is not in the tree.
    pub(crate) fn process(&self, key: ProcessKey) -> Option<Seen<'_>> {
        self.process_at(key, None)
    }

    /// The children of a process that had started at a moment, in the order of their starts.
    pub(crate) fn children(&self, of: ProcessKey, moment: Option<Moment>) -> impl Iterator<Item = Seen<'_>> {
        self.nodes.children(Some(of)).filter_map(move |key| self.nodes.seen(key, moment))
    }

    /// The running descendants of a process that have no running child, oldest first.
    pub(crate) fn working(&self, of: ProcessKey) -> impl Iterator<Item = Seen<'_>> {
        let (mut waiting, mut left) = (vec![of], LINE);
        let runs = |key: &ProcessKey| self.nodes.get(*key).is_some_and(|node| node.end.is_none());
        std::iter::from_fn(move || {
            while let Some(key) = waiting.pop().filter(|_| left > 0) {
                left -= 1;
                let before = waiting.len();
                waiting.extend(self.nodes.children(Some(key)).rev().take(LINE).filter(runs));
                if waiting.len() == before && key != of {
                    return self.process(key);
                }
            }
            None
        })
    }

    pub(crate) fn process_at(&self, key: ProcessKey, moment: Option<Moment>) -> Option<Seen<'_>> {
        self.nodes.seen(key, moment)
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
        let mut failed = self.nodes.failed().filter_map(|key| self.process(key));
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
        self.list.key = None;
        self.again();
    }

    pub(crate) fn go_to(&mut self, process: ProcessKey) {
        self.list.key = Some((process, false));
        for above in self.line_of_cursor() {
            let folded = self.nodes.get_mut(above).filter(|node| node.fold == Fold::Folded);
            folded.into_iter().for_each(|node| node.fold = Fold::Open);
        }
        self.again();
    }

    fn again(&mut self) {
        self.again = true;
        self.list.moved = None;
    }

    /// Folds the selected process by one step, or goes to its parent if there is nothing to fold. Shows the ancestors in a line.
    fn fold(&mut self, now: Duration) {
        let Some(row) = self.list.selected().copied() else { return };
        let is_all = self.nodes.get(row.key).is_some_and(|node| node.fold == Fold::All);
        let folds = row.shows == Shows::Process && row.below > 0 && !row.folded;
        match row.shows {
            Shows::Ancestors if is_all => self.set_fold(row.key, Fold::Open),
            Shows::Ancestors => {
                self.above = true;
                self.again();
            }
            _ if folds => {
                self.select(self.list.at, now);
                self.set_fold(row.key, if is_all { Fold::Open } else { Fold::Folded });
            }
            _ => {
                let above = self.list.rows.iter().take(self.list.at).rposition(|above| above.depth < row.depth);
                self.select(above.unwrap_or(self.list.at), now);
            }
        }
    }

    /// Unfolds the selected row, or goes to the first child. Puts ancestors into one line.
    fn unfold(&mut self, now: Duration) {
        let Some(row) = self.list.selected().copied() else { return };
        match row.shows {
            Shows::Ended => self.set_fold(row.key, Fold::All),
            Shows::Process if row.folded => self.set_fold(row.key, Fold::Open),
            Shows::Process if self.above && self.nodes.get(row.key).is_some_and(|node| !node.is_active()) => {
                self.above = false;
                self.again();
            }
            Shows::Process if row.below == 0 => {}
            Shows::Process | Shows::Ancestors => self.move_by(1, now),
        }
    }

    fn set_fold(&mut self, key: ProcessKey, fold: Fold) {
        self.nodes.get_mut(key).into_iter().for_each(|node| node.fold = fold);
        self.again();
    }
}

impl ViewState for Tree {
    fn prepare(&mut self, context: &Context<'_>) {
        let Context { moment, filtered, failures, .. } = *context;
        self.nodes.travel(moment, context.store);
        self.refresh(TreeConditions { moment, filtered, failures }, context.now);
        self.list.reveal(context.height);
    }

    fn act(&mut self, action: Action, context: &mut Context<'_>) -> bool {
        match action {
            Action::Fold => self.fold(context.now),
            Action::Unfold => self.unfold(context.now),
            Action::Sort => self.list.order = step(Sort::ALL, self.list.order, 1),
            Action::Reverse => self.list.reverse = !self.list.reverse,
            Action::Idle => self.idle = !self.idle,
            // The list of events also follows.
            Action::Follow => self.list.key = None,
            _ => match motion(action, context.height) {
                Some(rows) => self.move_by(rows, context.now),
                None => return false,
            },
        }
        if matches!(action, Action::Sort | Action::Reverse | Action::Idle | Action::Follow) {
            self.again();
        }
        if matches!(action, Action::Sort | Action::Reverse) {
            context.notify(sorted_by(self.list.order.name(), self.list.reverse));
        }
        self.list.reveal(context.height);
        action != Action::Follow
    }

    fn rows(&self) -> Rows {
        Rows::of(&self.list)
    }

    fn select(&mut self, row: usize, now: Duration) {
        self.list.select(row, now, |row| Some((row.key, row.shows == Shows::Ended)));
    }

    fn searched(&self) -> &'static str {
        "search the tree for text: a process id or part of the command"
    }

    /// Finds folded processes too.
    fn find(&mut self, pattern: &Regex, down: bool, here: bool, context: &mut Context<'_>) {
        let (mut all, mut at) = (Vec::new(), 0);
        for (number, row) in self.list.rows.iter().enumerate() {
            at = if number == self.list.at { all.len() } else { at };
            all.extend(self.processes(row));
        }
        let rows = Rows { count: all.len(), at, top: 0 };
        let found = rows.next((down, here), |at| self.is_match(all[at], pattern, context));
        match found.and_then(|at| self.seen_in(all[at]..all[at] + 1).next()) {
            Some(seen) => self.go_to(seen.process.key),
            None => context.notify("no match"),
        }
    }

    /// `at`: the position of a process in the order of the rows.
    fn is_match(&self, at: usize, pattern: &Regex, context: &Context<'_>) -> bool {
        let seen = self.seen_in(at..at + 1).next();
        seen.is_some_and(|seen| pattern.is_match(&columns::line(self, &seen, context)))
    }

    fn copied(&self, context: &Context<'_>) -> (Option<String>, &'static str) {
        (self.selected().map(|seen| copy::line(&columns::line(self, &seen, context))), "line")
    }
}
