//! The process tree: each shown process below its parent, the folded processes, the selected one, and the visible part.
//!
//! The rows are built from the processes when these have changed, at most once per drawn screen.

pub(crate) mod columns;
pub(crate) mod ended;
pub(crate) mod gantt;
mod node;
mod nodes;
mod pipelines;
mod pipes;
mod usage;

use super::state::{Context, Moment, Rows, ViewState, motion};
use crate::app::copy;
use crate::app::keys::keymap::Action;
use crate::app::named_enum::{named, step};
use crate::app::views::sorted_list::{List, sorted_by};
use foldhash::HashMap;
use foldhash::fast::RandomState;
pub(crate) use node::{Counts, End, Seen};
use node::{Flags, Fold, NodeIndex};
use nodes::Nodes;
use regex::bytes::Regex;
use std::hash::BuildHasher;
use std::time::Duration;
use tracetui_events::budget::Budget;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::search::Failure;
use tracetui_shared::time::BootNanos;

/// The minimum time between two sorts by counts.
const SORTED: Duration = Duration::from_secs(1);

/// The most equal failures of a process that have a row each.
const FEW: u32 = 3;

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
    /// Children of a process that ended alike, with their descendants: a part of `Tree::ended`. Either all ended without a failure, or
    /// equal programs failed with the same status.
    Ended { from: usize, to: usize },
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Row {
    place: NodeIndex,
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

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub all: u32,
    pub running: u32,
    pub failed: u32,
    matched: u32,
    active: u32,
}

impl Row {
    fn is_ended(&self) -> bool {
        matches!(self.shows, Shows::Ended { .. })
    }

    /// Whether it shows equal failures. Its process is then the first of them, otherwise their parent.
    pub(crate) fn is_failures(&self) -> bool {
        self.is_ended() && self.failed_below > 0
    }
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
#[derive(Clone, Copy, Debug, Default)]
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
    /// Whether it and its descendants ended without a failure, and the user has not unfolded it.
    quiet: bool,
    /// Whether it may be in one row with siblings that ended without a failure, and how many of its children may.
    joins: bool,
    joining: u32,
    /// A hash that it shares with equal failures of its parent.
    failure: Option<u64>,
}

/// A process whose children are being listed. Those that are in one row come last.
struct Open {
    /// The position of the first process after its subtree.
    after: usize,
    of: Row,
    /// The children in each row, by what they share.
    ended: Vec<(Option<u64>, Vec<usize>)>,
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
    /// The positions in `met` of the children that rows of ended processes begin with.
    ended: Vec<usize>,
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
        let (line, cursor) = (self.line_of_cursor(), self.cursor());
        let (hasher, mut failures) = (RandomState::default(), HashMap::<u64, u32>::default());
        for at in (0..met.len()).rev() {
            let Met { place, above, own, sum, size, .. } = met[at];
            let hides_match = |matched| self.conditions.filtered && matched > 0;
            let ended = sum.running == 0 && (!self.idle || sum.active == sum.all);
            let quiet = ended
                && sum.failed == 0
                && !hides_match(sum.matched - u32::from(own.matched))
                && !line.contains(&place);
            let may_join = own.fold == Fold::Auto && !hides_match(sum.matched) && cursor != Some(place);
            let joins = quiet && may_join;
            (met[at].quiet, met[at].joins) = (quiet, joins);
            if ended && may_join && own.failed && sum.failed == 1 {
                let seen = self.nodes.seen(place, self.conditions.moment);
                let alike = |seen: Seen<'_>| Some(hasher.hash_one((above, seen.end?.status, ended::program(&seen))));
                met[at].failure = seen.and_then(alike);
                met[at].failure.into_iter().for_each(|alike| *failures.entry(alike).or_default() += 1);
            }
            if let Some(above) = above.and_then(|above| met.get_mut(above as usize)) {
                above.sum.add(sum);
                above.size += size;
                above.joining += u32::from(joins && (self.idle || sum.active > 0));
            }
        }
        let mut rows = std::mem::take(&mut self.list.rows);
        rows.clear();
        self.ended.clear();
        self.tally = Tally::default();
        self.idle_hidden = 0;
        let (mut at, mut below_match) = (0, 0);
        // The end of a tree of processes with events, and the depth of its root.
        let (mut end, mut root) = (0, 0);
        let (mut open, mut above_root): (Vec<Open>, _) = (Vec::new(), None);
        while let Some(here) = met.get(at).copied() {
            let Met { place, own, sum, .. } = here;
            let after = at + here.size as usize;
            self.close(&mut open, at, &mut rows, &met);
            let passes = !self.conditions.filtered || sum.matched > 0 || at < below_match;
            let fails = !self.conditions.failures || sum.failed > 0;
            let active = self.idle || sum.active > 0;
            if !passes || !fails || !active {
                self.idle_hidden += if active { 0 } else { sum.all };
                at = after;
                continue;
            }
            let above = here.above.and_then(|above| met.get(above as usize));
            if at >= end && !self.idle && !self.above {
                if !own.active {
                    at += 1;
                    continue;
                }
                // The line of its ancestors is one level above it.
                (end, root) = (after, here.depth.saturating_sub(1));
                if above_root != here.above {
                    self.close(&mut open, usize::MAX, &mut rows, &met);
                    above_root = here.above;
                    if let (Some(at), Some(above)) = (above_root, above) {
                        let (place, at, shows) = (above.place, at as usize, Shows::Ancestors);
                        let of = Row { place, at, shows, context: true, ..Row::default() };
                        rows.push(of);
                        open.push(Open { after: usize::MAX, of, ended: Vec::new() });
                    }
                }
            }
            if self.conditions.filtered && own.matched {
                below_match = below_match.max(after);
            }
            let equal = here.failure.filter(|alike| failures.get(alike).is_some_and(|equal| *equal > FEW));
            let joins =
                |above: &Met| above.own.fold != Fold::All && (equal.is_some() || here.joins && above.joining > 1);
            if let Some(open) = open.last_mut().filter(|_| above.is_some_and(joins)) {
                match open.ended.iter_mut().find(|(alike, _)| *alike == equal) {
                    Some((_, children)) => children.push(at),
                    None => open.ended.push((equal, vec![at])),
                }
                self.count(sum);
                at = after;
                continue;
            }
            let context = !own.active
                || self.conditions.filtered && !own.matched && at >= below_match
                || self.conditions.failures && !own.failed;
            let below = if self.idle { sum.all - 1 } else { sum.active - u32::from(own.active) };
            let failed_below = sum.failed - u32::from(own.failed);
            let folded = below > 0
                && match own.fold {
                    Fold::Auto => here.quiet && above.is_some(),
                    fold => fold == Fold::Folded,
                };
            let depth = here.depth.saturating_sub(if at < end { root } else { 0 });
            let row = Row { place, at, shows: Shows::Process, depth, below, failed_below, folded, context };
            rows.push(row);
            self.count(if folded { sum } else { Tally::of(own) });
            if !folded {
                open.push(Open { after, of: row, ended: Vec::new() });
            }
            at = if folded { after } else { at + 1 };
        }
        self.close(&mut open, usize::MAX, &mut rows, &met);
        self.met = met;
        let shown = rows.iter().enumerate().filter(|(_, row)| !row.context);
        self.latest = shown.max_by_key(|(_, row)| self.interest(row)).map_or(0, |(at, _)| at);
        rows
    }

    /// Failures come first, the last one at the top; then processes, the one added last at the top.
    fn interest(&self, row: &Row) -> (bool, u64) {
        let met = self.met.get(row.at);
        if row.is_failures() || row.failed_below == 0 && met.is_some_and(|met| met.own.failed) {
            let ends = self.processes(row).into_iter().filter_map(|at| self.met.get(at));
            return (true, ends.map(|met| self.ended_at(met.place)).max().unwrap_or_default());
        }
        (false, met.map_or(0, |met| met.age.into()))
    }

    fn count(&mut self, sum: Tally) {
        self.tally.add(Tally { all: if self.idle { sum.all } else { sum.active }, ..sum });
    }

    /// Ends the lists of children that a position is after. A row of those that ended without a failure is the last of each list.
    fn close(&mut self, open: &mut Vec<Open>, at: usize, rows: &mut Vec<Row>, met: &[Met]) {
        while let Some(Open { of, mut ended, .. }) = open.pop_if(|open| open.after <= at) {
            ended.sort_by_key(|(failure, _)| failure.is_none());
            for (failure, children) in ended {
                let shows = Shows::Ended { from: self.ended.len(), to: self.ended.len() + children.len() };
                let first = children.first().filter(|_| failure.is_some()).and_then(|at| met.get(*at));
                let (place, context) = (first.map_or(of.place, |first| first.place), first.is_none());
                let failed_below = first.map_or(0, |_| children.len() as u32);
                self.ended.extend(children);
                rows.push(Row { place, shows, depth: of.depth + 1, failed_below, context, ..Row::default() });
            }
        }
    }

    fn ended_at(&self, place: NodeIndex) -> u64 {
        let end = self.nodes.seen(place, self.conditions.moment).and_then(|seen| seen.end);
        end.map_or(u64::MAX, |end| end.time.0)
    }

    /// Lists the processes of the moment in depth-first order.
    fn walk(&self, met: &mut Vec<Met>) {
        let mut waiting: Vec<(NodeIndex, Option<u32>, u16)> = Vec::new();
        let busiest = if self.list.order == Sort::Cpu { self.busiest() } else { Vec::new() };
        let push = |waiting: &mut Vec<_>, of: Option<NodeIndex>, above, depth: u16| {
            let from = waiting.len();
            waiting.extend(self.nodes.children(of).map(|place| (place, above, depth)));
            let pushed: &mut [(NodeIndex, Option<u32>, u16)] = waiting.get_mut(from..).unwrap_or_default();
            // Reversed, because processes are popped from the end.
            pushed.reverse();
            if self.list.order != Sort::Start {
                pushed.sort_by_cached_key(|(place, ..)| self.measure(*place, &busiest));
            }
            if self.list.reverse {
                pushed.reverse();
            }
        };
        push(&mut waiting, None, None, 0);
        while let Some((place, above, depth)) = waiting.pop() {
            if self.meet(place, above, depth, met) {
                let at = (met.len() - 1) as u32;
                push(&mut waiting, Some(place), Some(at), depth.saturating_add(1));
            }
        }
    }

    /// Appends a process to the order. `false` if it started after the moment.
    fn meet(&self, place: NodeIndex, above: Option<u32>, depth: u16, met: &mut Vec<Met>) -> bool {
        let links = self.nodes.links(place);
        let own = match self.conditions.moment {
            None => Some(links.flags),
            moment => self.nodes.flags_at(place, moment),
        };
        let Some(own) = own else { return false };
        let (sum, age) = (Tally::of(own), links.age);
        met.push(Met { place, above, depth, own, age, size: 1, sum, ..Met::default() });
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

    fn measure(&self, place: NodeIndex, busiest: &[u64]) -> u64 {
        let Some(seen) = self.nodes.seen(place, self.conditions.moment) else { return 0 };
        match self.list.order {
            Sort::Start => 0,
            Sort::Lived => self.lived(&seen),
            Sort::Cpu => busiest.get(place as usize).copied().unwrap_or(0),
            Sort::Memory => seen.used.map(|used| used.resident).or(seen.cost().map(|cost| cost.max_rss)).unwrap_or(0),
            Sort::Opens => seen.counts.opens,
        }
    }

    /// The ancestors of the selected process. Only the user can fold them.
    fn line_of_cursor(&self) -> Vec<NodeIndex> {
        let mut line = Vec::new();
        let mut next = self.list.key.as_ref().and_then(|(key, _)| self.nodes.place(*key));
        // The row of its ended children may be selected.
        line.extend(next.filter(|_| self.cursor().is_none()));
        while let Some(parent) = next.and_then(|at| self.nodes.parent(at)) {
            line.push(parent);
            next = Some(parent);
        }
        line
    }

    /// The selected process, unless the row of its ended children is selected.
    fn cursor(&self) -> Option<NodeIndex> {
        self.list.key.as_ref().filter(|(_, ended)| !ended).and_then(|(key, _)| self.nodes.place(*key))
    }

    /// The row of the selected process, or of its nearest ancestor that has one.
    fn row_of_cursor(&self, rows: &[Row]) -> usize {
        let Some((cursor, mut ended)) = self.list.key else { return self.latest };
        let mut place = self.nodes.place(cursor);
        while let Some(at) = place {
            if let Some(row) = rows.iter().position(|row| row.place == at && row.is_ended() == ended) {
                return row;
            }
            place = if ended { place } else { self.nodes.parent(at) };
            ended = false;
        }
        self.list.at
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
                let newest = self.nodes.children(Some(at)).rev();
                let before = waiting.len();
                waiting.extend(newest.take(LINE).filter(|at| self.nodes.links(*at).flags.running));
                if waiting.len() == before && Some(at) != of {
                    return self.nodes.seen(at, None);
                }
            }
            None
        })
    }

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
        self.list.key = None;
        self.again();
    }

    pub(crate) fn go_to(&mut self, process: ProcessKey) {
        self.list.key = Some((process, false));
        for above in self.line_of_cursor() {
            if self.nodes.links(above).flags.fold == Fold::Folded {
                self.nodes.fold(above, Fold::Open);
            }
        }
        self.again();
    }

    fn again(&mut self) {
        self.again = true;
        self.list.moved = None;
    }

    /// Folds the selected process by one step, or goes to its parent if there is nothing to fold. Shows the ancestors in a line.
    fn fold(&mut self, now: Duration) {
        let (at, rows) = (self.list.at, &self.list.rows);
        let Some(row) = rows.get(at).copied() else { return };
        let is_all = self.nodes.links(row.place).flags.fold == Fold::All;
        match row.shows {
            Shows::Ancestors if !is_all => {
                self.above = true;
                return self.again();
            }
            Shows::Ancestors => return self.set_fold(row.place, Fold::Open),
            Shows::Process | Shows::Ended { .. } => {}
        }
        let folds = row.below > 0 && !row.folded && !row.is_ended();
        let parent = rows.iter().take(at).rposition(|above| above.depth < row.depth).filter(|_| !folds);
        self.select(parent.unwrap_or(at), now);
        if folds {
            self.set_fold(row.place, if is_all { Fold::Open } else { Fold::Folded });
        }
    }

    /// Unfolds the selected row, or goes to the first child. Puts ancestors into one line.
    fn unfold(&mut self, now: Duration) {
        let Some(row) = self.list.selected().copied() else { return };
        match row.shows {
            Shows::Ended { .. } => {
                let parent = self.nodes.parent(row.place).filter(|_| row.is_failures());
                self.set_fold(parent.unwrap_or(row.place), Fold::All);
            }
            Shows::Process if row.folded => self.set_fold(row.place, Fold::Open),
            Shows::Process if self.above && !self.nodes.links(row.place).flags.active => {
                self.above = false;
                self.again();
            }
            Shows::Process if row.below == 0 => {}
            Shows::Process | Shows::Ancestors => self.move_by(1, now),
        }
    }

    fn set_fold(&mut self, place: NodeIndex, fold: Fold) {
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
        let nodes = &self.nodes;
        self.list.select(row, now, |row| nodes.get(row.place).map(|node| (node.process.key, row.is_ended())));
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
