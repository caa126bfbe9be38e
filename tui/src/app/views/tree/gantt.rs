//! A Gantt chart of a process and its descendants: what ran at the same time, and the chain of processes that determined the end.
//!
//! A process ends after the child that it waited for last. Before that child started, its parent waited for the one that ended last
//! until then, and so on. Nobody recorded the waiting itself: a child that ended shortly before the next one began counts as waited for.

use super::{Seen, Tree};
use crate::app::App;
use crate::app::command::summary::Slowest;
use crate::app::views::View;
use crate::app::views::state::Moment;
use std::cmp::Reverse;
use tracetui_events::event::process::ProcessKey;

/// The most processes of a chart.
const MOST: usize = 2_000;

/// A process of the chart. Times are CLOCK_BOOTTIME in ns.
#[derive(Clone, Debug)]
pub(crate) struct Bar<'a> {
    pub(crate) seen: Seen<'a>,
    pub(crate) depth: usize,
    pub(crate) from: u64,
    /// Its end, or now.
    pub(crate) to: u64,
    /// The end of the part that others waited for, which begins at its start. `None` if nobody did.
    pub(crate) waited: Option<u64>,
    /// The place of its parent.
    above: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Chart<'a> {
    /// In the order of the tree.
    pub(crate) bars: Vec<Bar<'a>>,
    /// Whether processes were left out.
    pub(crate) is_cut: bool,
    /// The most processes without children that ran at the same time.
    pub(crate) parallel: usize,
}

impl<'a> Chart<'a> {
    pub(crate) fn of(root: ProcessKey, tree: &'a Tree, moment: Option<Moment>) -> Chart<'a> {
        let mut chart = Chart::default();
        let mut waiting: Vec<_> = tree.process_at(root, moment).map(|seen| (seen, 0, None)).into_iter().collect();
        let now = tree.time(moment);
        while let Some((seen, depth, above)) = waiting.pop() {
            if chart.bars.len() == MOST {
                chart.is_cut = true;
                break;
            }
            let process = seen.process;
            let from = process.key.start.0.saturating_add(process.held_ns);
            let to = from + process.ran_ns(seen.end.map_or(now, |end| end.time));
            let at = chart.bars.len();
            let first = waiting.len();
            waiting.extend(tree.children(process.key, moment).map(|child| (child, depth + 1, Some(at))));
            // Popped from the end.
            waiting.get_mut(first..).unwrap_or_default().reverse();
            chart.bars.push(Bar { seen, depth, from, to, waited: None, above });
        }
        chart.find_chain();
        chart.parallel = chart.most_parallel();
        chart
    }

    /// The first and the last time.
    pub(crate) fn span(&self) -> (u64, u64) {
        let from = self.bars.first().map_or(0, |bar| bar.from);
        (from, self.bars.iter().map(|bar| bar.to).max().unwrap_or(from))
    }

    /// The processes of the chain without children in it, in the order of their starts.
    pub(crate) fn chain(&self) -> Vec<&Bar<'a>> {
        let mut ends = self.leaves(|bar| bar.waited.is_some());
        ends.sort_by_key(|bar| bar.from);
        ends
    }

    /// The process of the chain with the longest wait.
    fn slowest(&self) -> Slowest {
        let waited = |bar: &&Bar<'a>| bar.waited.unwrap_or(bar.from).saturating_sub(bar.from);
        let Some(longest) = self.chain().into_iter().max_by_key(waited) else { return Slowest::default() };
        let name = if longest.depth > 0 { longest.seen.process.short_command() } else { Vec::new() };
        Slowest { name, waited: waited(&longest) }
    }

    fn find_chain(&mut self) {
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.bars.len()];
        for (at, bar) in self.bars.iter().enumerate() {
            bar.above.and_then(|above| children.get_mut(above)).into_iter().for_each(|children| children.push(at));
        }
        let mut waiting: Vec<(usize, u64)> = self.bars.first().map(|bar| (0, bar.to)).into_iter().collect();
        while let Some((at, until)) = waiting.pop() {
            self.bars[at].waited = Some(until);
            let mut of: Vec<usize> = std::mem::take(&mut children[at]);
            of.sort_by_key(|child| Reverse(self.bars[*child].to));
            let mut until = until;
            for child in of {
                let Bar { from, to, .. } = self.bars[child];
                if to <= until {
                    waiting.push((child, to));
                    until = from;
                }
            }
        }
    }

    /// The bars of which `is_one` holds, without those that have such a child.
    fn leaves(&self, is_one: impl Fn(&Bar<'a>) -> bool) -> Vec<&Bar<'a>> {
        let mut parents = vec![false; self.bars.len()];
        let above = self.bars.iter().filter(|bar| is_one(bar)).filter_map(|bar| bar.above);
        above.for_each(|above| parents[above] = true);
        let leaves = self.bars.iter().zip(parents).filter(|(bar, parent)| is_one(bar) && !parent);
        leaves.map(|(bar, _)| bar).collect()
    }

    fn most_parallel(&self) -> usize {
        let mut changes: Vec<(u64, i32)> =
            self.leaves(|_| true).into_iter().flat_map(|bar| [(bar.from, 1), (bar.to, -1)]).collect();
        changes.sort_unstable();
        let (mut now, mut most) = (0, 0);
        for (_, change) in changes {
            now += change;
            most = most.max(now);
        }
        usize::try_from(most).unwrap_or_default()
    }
}

impl App {
    /// The chart of the process that the tree selects.
    pub(crate) fn chart(&self) -> Chart<'_> {
        let tree = &self.views.tree;
        let root = tree.selected().map(|seen| seen.process.key);
        root.map(|root| Chart::of(root, tree, self.loaded().moment())).unwrap_or_default()
    }

    /// Finds the process that COMMAND waited for longest, once COMMAND has ended.
    pub(in crate::app) fn settle_slowest(&mut self) {
        if let (Some(process), None) = (self.summary.process, &self.summary.slowest) {
            self.summary.slowest = Some(Chart::of(process, &self.views.tree, None).slowest());
        }
    }

    /// Selects the process of a bar in the tree.
    pub(in crate::app) fn go_to_bar(&mut self, at: usize) {
        let process = self.chart().bars.get(at).map(|bar| bar.seen.process.key);
        if let Some(process) = process {
            self.views.tree.go_to(process);
            self.show(View::Tree);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::{app, feed, keys};
    use crate::view::tests::screen;
    use tracetui_events::synthetic::Maker;
    use tracetui_shared::id::Tgid;

    /// Two compilers that run at the same time. Each process starts just before its first event.
    fn build() -> Maker {
        let mut made = Maker::default();
        made.start_ns = made.ns - 100;
        made.exec(100, "make", &["make"], 0);
        made.like.ppid = Tgid(100);
        for compiler in [101, 102] {
            made.start_ns = made.ns - u64::from(compiler);
            made.exec(compiler, "cc1", &["cc1"], 0);
        }
        made.ns += 10_000_000;
        made
    }

    #[test]
    fn the_chain_goes_back_from_the_end_and_what_ran_beside_it_is_not_in_it() {
        let mut made = build();
        let begin = made.ns;
        let end = |made: &mut Maker, pid: u32, started: u64| {
            made.start_ns = started - u64::from(pid);
            made.exit(pid, "x", 0);
        };
        // 102 ends first, then 101, which the linker waited for.
        let (first, second) = (100_001_000_000, 100_002_000_000);
        end(&mut made, 102, second);
        end(&mut made, 101, first);
        let linker = made.ns;
        made.start_ns = linker - 103;
        made.exec(103, "ld", &["ld"], 0);
        made.start_ns = made.ns - 104;
        made.exec(104, "daemon", &["daemon"], 0);
        made.ns += 5_000_000;
        end(&mut made, 103, linker);
        made.like.ppid = Tgid(1);
        end(&mut made, 100, 100_000_000_000);
        made.ns += 5_000_000;
        made.open(104, "daemon", "/x", 3);
        let mut app = app(160, 45, 64 << 20);
        keys(feed(&mut app, &mut made), "2");
        app.prepare();
        keys(&mut app, "g");
        let tree = &app.views.tree;
        let root = tree.selected().expect("a process").process.key;
        assert_eq!(root.tgid, Tgid(100));
        let chart = Chart::of(root, tree, None);
        let pid = |bar: &Bar<'_>| bar.seen.process.key.tgid.0;
        assert_eq!(chart.bars.iter().map(pid).collect::<Vec<_>>(), [100, 101, 102, 103, 104]);
        assert_eq!(chart.chain().into_iter().map(pid).collect::<Vec<_>>(), [101, 103]);
        let Slowest { name, waited } = chart.slowest();
        // The chain has two processes: 101, and the linker.
        assert_eq!(name, chart.bars[1].seen.process.command());
        assert_eq!(waited, chart.bars[1].to - chart.bars[1].from);
        assert!((10_000_000..20_000_000).contains(&waited), "{waited}");
        assert!(chart.parallel >= 2 && !chart.is_cut && chart.span().0 < begin);
        let shown = screen(keys(&mut app, "V")).join("\n");
        assert!(shown.contains("waited for") && shown.contains("█") && shown.contains("━"), "{shown}");
        // Enter leads to the process of the selected bar.
        assert!(keys(&mut app, "jjj\n").screen.overlay.is_none());
        app.prepare();
        assert_eq!(app.views.tree.selected().map(|seen| seen.process.key.tgid), Some(Tgid(103)));
    }
}
