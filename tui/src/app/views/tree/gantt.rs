//! A Gantt chart of a process and its descendants: what ran at the same time.

use super::{Seen, Tree};
use crate::app::App;
use crate::app::views::View;
use crate::app::views::state::Moment;
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
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Chart<'a> {
    /// In the order of the tree.
    pub(crate) bars: Vec<Bar<'a>>,
    /// Whether processes were left out.
    pub(crate) is_cut: bool,
}

impl<'a> Chart<'a> {
    fn of(root: ProcessKey, tree: &'a Tree, moment: Option<Moment>) -> Chart<'a> {
        let mut chart = Chart::default();
        let mut waiting: Vec<_> = tree.process_at(root, moment).map(|seen| (seen, 0)).into_iter().collect();
        let now = tree.time(moment);
        while let Some((seen, depth)) = waiting.pop() {
            if chart.bars.len() == MOST {
                chart.is_cut = true;
                break;
            }
            let process = seen.process;
            let from = process.key.start.0.saturating_add(process.held_ns);
            let to = from + process.ran_ns(seen.end.map_or(now, |end| end.time));
            // Popped from the end.
            let children: Vec<_> = tree.children(process.key, moment).collect();
            waiting.extend(children.into_iter().rev().map(|child| (child, depth + 1)));
            chart.bars.push(Bar { seen, depth, from, to });
        }
        chart
    }

    /// The first and the last time.
    pub(crate) fn span(&self) -> (u64, u64) {
        let from = self.bars.first().map_or(0, |bar| bar.from);
        (from, self.bars.iter().map(|bar| bar.to).max().unwrap_or(from))
    }
}

impl App {
    /// The chart of the process that the tree selects.
    pub(crate) fn chart(&self) -> Chart<'_> {
        let tree = &self.views.tree;
        let root = tree.selected().map(|seen| seen.process.key);
        root.map(|root| Chart::of(root, tree, self.loaded().moment())).unwrap_or_default()
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
    fn each_process_has_a_bar_and_enter_leads_to_the_selected_one() {
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
        let ran = chart.bars[1].to - chart.bars[1].from;
        assert!((10_000_000..20_000_000).contains(&ran), "{ran}");
        assert!(!chart.is_cut && chart.span().0 < begin);
        let shown = screen(keys(&mut app, "V")).join("\n");
        assert!(shown.contains("5 processes") && shown.contains("━"), "{shown}");
        // Enter leads to the process of the selected bar.
        assert!(keys(&mut app, "jjj\n").screen.overlay.is_none());
        app.prepare();
        assert_eq!(app.views.tree.selected().map(|seen| seen.process.key.tgid), Some(Tgid(103)));
    }
}
