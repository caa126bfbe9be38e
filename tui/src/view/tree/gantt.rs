//! The Gantt chart of a tree's processes.

use crate::app::App;
use crate::app::views::tree::gantt::{Bar, Chart};
use crate::view::theme::Theme;
use crate::view::{Piece, duration, page};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use std::cmp::Reverse;
use tracetui_events::text::{self, Charset, counted, grouped};

/// The most processes of the chain that are named. A `configure` waits for thousands.
const LONGEST: usize = 12;

/// Draws the chart, with the bar at the cursor selected. Returns the last place of the cursor.
pub(in crate::view) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, cursor: usize, theme: Theme) -> usize {
    let chart = app.chart();
    let mut lines = lines(&chart, area.width.into(), theme);
    let most = chart.bars.len().saturating_sub(1);
    let at = lines.len().saturating_sub(most + 1) + cursor.min(most);
    if let Some(line) = lines.get_mut(at).filter(|_| !chart.bars.is_empty()) {
        *line = crate::view::event_list::selected(line, area.width, theme);
    }
    page(frame, area, lines, (at + 1).saturating_sub(area.height.into()));
    most
}

fn lines(chart: &Chart<'_>, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let Some(first) = chart.bars.first() else { return vec![Line::raw("  no process is selected")] };
    let (from, to) = chart.span();
    let mut lines: Vec<Line<'static>> = Vec::new();
    let processes = counted(chart.bars.len() as u64, ["process", "processes"]);
    let cut = if chart.is_cut { ", others left out" } else { "" };
    let about = format!("{}, {processes}{cut}, at most {} at once", duration(to - from), chart.parallel);
    let head = Piece::new(format!(" {}", label(first, theme)), theme.strong());
    lines.push(Line::from_iter([head, Piece::plain(format!("  {about}"))]));
    let mut chain = chart.chain();
    let others = chain.len().saturating_sub(LONGEST);
    if others > 0 {
        chain.sort_by_key(|bar| Reverse(bar.to - bar.from));
        chain.truncate(LONGEST);
        chain.sort_by_key(|bar| bar.from);
    }
    let named = chain.iter().map(|bar| format!("{} {}", label(bar, theme), duration(bar.to - bar.from)));
    let others = (others > 0).then(|| format!("{} shorter ones", grouped(others as u64)));
    let waited = format!("waited for: {}", named.chain(others).collect::<Vec<_>>().join(", "));
    lines.extend(
        text::wrap(&waited, width.saturating_sub(2))
            .into_iter()
            .map(|line| Line::styled(format!(" {line}"), theme.note())),
    );
    let names = (width / 3).clamp(12, 44);
    let cells = width.saturating_sub(names + 10);
    let total = duration(to - from);
    let axis = format!("{}0{total:>1$}", " ".repeat(names + 10), cells.saturating_sub(1));
    lines.push(Line::styled(axis, theme.quiet()));
    lines.extend(chart.bars.iter().map(|bar| line(bar, (from, to), names, cells, theme)));
    lines
}

fn label(bar: &Bar<'_>, theme: Theme) -> String {
    let process = bar.seen.process;
    format!("{} {}", text::value_in(&process.short_command(), theme.charset, 40), process.key.tgid.0)
}

fn line(bar: &Bar<'_>, (from, to): (u64, u64), names: usize, cells: usize, theme: Theme) -> Line<'static> {
    let style = match bar.seen.end {
        _ if bar.seen.failed() => theme.failure(),
        _ if bar.waited.is_some() => theme.strong(),
        Some(_) => theme.quiet(),
        None => ratatui::style::Style::new(),
    };
    let command = text::value_in(&bar.seen.process.command(), theme.charset, names);
    let name = format!(" {}{} {command}", "  ".repeat(bar.depth.min(8)), bar.seen.process.key.tgid.0);
    let name = Piece::new(text::left(&name, names, theme.charset), style);
    let lived = Piece::new(text::right(&duration(bar.to - bar.from), 8, theme.charset), theme.quiet());
    let at = |ns: u64| {
        let part = u128::from(ns.clamp(from, to) - from) * cells as u128;
        usize::try_from(part / u128::from((to - from).max(1))).unwrap_or_default()
    };
    let begin = at(bar.from).min(cells.saturating_sub(1));
    let end = at(bar.to).clamp(begin + 1, cells.max(begin + 1));
    let waited = bar.waited.map_or(begin, |until| at(until).clamp(begin + 1, end));
    let (heavy, light) = if theme.charset == Charset::Utf8 { ("█", "━") } else { ("#", "=") };
    let look = if bar.seen.failed() { theme.failure() } else { theme.note() };
    Line::from_iter([
        name,
        lived,
        Piece::plain(" ".repeat(2 + begin)),
        Piece::new(heavy.repeat(waited - begin), look),
        Piece::new(light.repeat(end - waited), look),
    ])
}
