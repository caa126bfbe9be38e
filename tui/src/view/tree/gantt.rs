//! The Gantt chart of a tree's processes.

use crate::app::App;
use crate::app::views::tree::gantt::{Bar, Chart};
use crate::view::theme::Theme;
use crate::view::{Piece, duration, page};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use tracetui_events::text::{self, Charset, counted};

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
    let processes = counted(chart.bars.len() as u64, ["process", "processes"]);
    let cut = if chart.is_cut { ", others left out" } else { "" };
    let head = Piece::new(format!(" {}", label(first, theme)), theme.strong());
    let about = Piece::plain(format!("  {}, {processes}{cut}", duration(to - from)));
    let names = (width / 3).clamp(12, 44);
    let cells = width.saturating_sub(names + 10);
    let total = duration(to - from);
    let axis = format!("{}0{total:>1$}", " ".repeat(names + 10), cells.saturating_sub(1));
    let head = [Line::from_iter([head, about]), Line::styled(axis, theme.quiet())];
    head.into_iter().chain(chart.bars.iter().map(|bar| line(bar, (from, to), names, cells, theme))).collect()
}

fn label(bar: &Bar<'_>, theme: Theme) -> String {
    let process = bar.seen.process;
    format!("{} {}", text::value_in(&process.short_command(), theme.charset, 40), process.key.tgid.0)
}

fn line(bar: &Bar<'_>, (from, to): (u64, u64), names: usize, cells: usize, theme: Theme) -> Line<'static> {
    let style = match bar.seen.end {
        _ if bar.seen.failed() => theme.failure(),
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
    let sign = if theme.charset == Charset::Utf8 { "━" } else { "=" };
    let look = if bar.seen.failed() { theme.failure() } else { theme.note() };
    Line::from_iter([name, lived, Piece::plain(" ".repeat(2 + begin)), Piece::new(sign.repeat(end - begin), look)])
}
