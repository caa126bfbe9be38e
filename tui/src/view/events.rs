//! The event list.

use super::theme::Theme;
use super::{gap, put};
use crate::app::App;
use crate::app::keymap::Action;
use crate::app::row::{Column, TimeBase, TimeMode, time_text};
use crate::app::search::Pattern;
use crate::event::EventContext;
use crate::text;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use tracetui_shared::kind::{Kind, KindSet};

/// The columns and their widths in cells. DETAIL takes the rest.
type Widths = Vec<(Column, usize)>;

/// The columns of a list of this width, in order.
fn columns(width: u16) -> Widths {
    let mut columns =
        vec![(Column::Time, if width >= 90 { 12 } else { 9 }), (Column::Kind, Kind::NAME_LEN), (Column::Pid, 7)];
    if width >= 100 {
        columns.push((Column::Ppid, 7));
    }
    if width >= 100 {
        columns.push((Column::User, 8));
    }
    columns.push((Column::Comm, if (100..110).contains(&width) { 11 } else { 15 }));
    columns.push((Column::Result, if width >= 130 { 10 } else { 7 }));
    let fixed: usize = columns.iter().map(|(_, cells)| cells + 1).sum::<usize>() + 1;
    let extra = if width >= 190 { 50 } else { 25 };
    let cwd = if width >= 140 { extra } else { 0 };
    let cgroup = if width >= 190 { extra } else { 0 };
    let taken = fixed + [cwd, cgroup].iter().filter(|cells| **cells > 0).map(|cells| cells + 2).sum::<usize>();
    columns.push((Column::Detail, usize::from(width).saturating_sub(taken)));
    columns.extend([(Column::Cwd, cwd), (Column::Cgroup, cgroup)].into_iter().filter(|(_, cells)| *cells > 0));
    columns
}

/// Draws the titles and the rows.
pub(super) fn draw(frame: &mut Frame<'_>, titles: Rect, area: Rect, app: &App, theme: Theme) {
    let columns = columns(area.width);
    put(frame, titles, Line::styled(title_line(&columns, app, theme), theme.title()));
    let height = usize::from(area.height);
    let first = app.events().first_row(height);
    let cursor = app.events().cursor();
    for (y, row) in (area.y..area.bottom()).zip(first..) {
        let Some(line) = row_line(row, &columns, area.width, app, theme) else { break };
        let selected = cursor == Some(row);
        put(frame, Rect { y, height: 1, ..area }, marked(line, selected, theme));
    }
    if app.events().rows() == 0 {
        put(frame, area, Line::raw(format!("  {}", empty(app))));
    }
}

fn empty(app: &App) -> String {
    match app.store().kept() {
        _ if app.events().scanning(app.store()) => "looking...".to_owned(),
        0 => "no events yet".to_owned(),
        _ => {
            let key = |action| app.key_of(action);
            let kinds: Vec<_> = KindSet::BY_DEFAULT.iter().map(|kind| key(Action::Toggle(kind))).collect();
            let (kinds, back, reset) = (kinds.join(" "), key(Action::Back), key(Action::Reset));
            format!("all events hidden: {back} removes a filter, {kinds} toggle kinds, {reset} resets")
        }
    }
}

fn title_line(columns: &Widths, app: &App, theme: Theme) -> String {
    let mut line = String::from(" ");
    for (column, cells) in columns {
        let title = match (column, app.time_mode()) {
            (Column::Time, TimeMode::SinceStart) => "SINCE",
            (Column::Time, TimeMode::Delta) => "DELTA",
            _ => column.title(),
        };
        let right = matches!(column, Column::Time | Column::Pid | Column::Ppid);
        line.push_str(&if right {
            text::right(title, *cells, theme.charset)
        } else {
            text::left(title, *cells, theme.charset)
        });
        line.push_str(if *column == Column::Detail { "  " } else { " " });
    }
    line
}

/// The row with the mark of the selected row, or without it.
fn marked(line: Line<'static>, selected: bool, theme: Theme) -> Line<'static> {
    let mut spans = vec![Span::raw(if selected { ">" } else { " " })];
    spans.extend(line.spans);
    let line = Line::from(spans);
    if selected { line.patch_style(theme.selected()) } else { line }
}

fn row_line(row: usize, columns: &Widths, width: u16, app: &App, theme: Theme) -> Option<Line<'static>> {
    let stored = app.store().get(app.events().row(row)?)?;
    let base = app.time_base(row);
    stored.with(app.world(), |seen| match seen.event.kind() {
        Kind::Lost => Line::styled(gap::text(seen, &base, usize::from(width).saturating_sub(2), theme), theme.gap()),
        _ => event_line(seen, columns, &base, app, theme),
    })
}

fn event_line(seen: &EventContext<'_>, columns: &Widths, base: &TimeBase, app: &App, theme: Theme) -> Line<'static> {
    let mut line = Line::default();
    let found = app.search().pattern().and_then(Pattern::marked);
    for (column, cells) in columns {
        let mut raw = Vec::new();
        column.write(seen, &mut raw);
        let text = cell(*column, *cells, &raw, seen, base, app, theme);
        let matched = found.is_some_and(|pattern| !raw.is_empty() && pattern.is_match(&raw));
        let style = style_of(*column, seen, theme);
        line.push_span(Span::styled(text, if matched { style.patch(theme.found()) } else { style }));
        line.push_span(if *column == Column::Detail { "  " } else { " " });
    }
    line
}

fn style_of(column: Column, seen: &EventContext<'_>, theme: Theme) -> Style {
    match column {
        _ if seen.event.is_alarm() => theme.gap(),
        Column::Kind => theme.kind(seen.event.kind()),
        Column::Result if seen.event.failed() => theme.failure(),
        _ => Style::new(),
    }
}

/// The content of a column, padded to its width.
fn cell(
    column: Column,
    cells: usize,
    raw: &[u8],
    seen: &EventContext<'_>,
    base: &TimeBase,
    app: &App,
    theme: Theme,
) -> String {
    let charset = theme.charset;
    match column {
        Column::Time => {
            let text = time_text(seen.event.header.time.0, seen.clock_offset, base);
            // The short time omits the hour.
            let short = base.mode == TimeMode::Clock && cells < 12;
            let text = if short { text.get(3..).unwrap_or_default() } else { &text };
            text::right(text, cells, charset)
        }
        Column::Pid | Column::Ppid => text::right(&text::escape_in(raw, charset, cells), cells, charset),
        Column::Detail => detail(raw, cells, app.events().sideways(), theme),
        Column::Cwd | Column::Cgroup => {
            let text = text::escape_in(raw, charset, 4096);
            text::left(&text::cut_middle(&text, cells, charset), cells, charset)
        }
        _ => text::left(&text::escape_in(raw, charset, cells), cells, charset),
    }
}

/// DETAIL, scrolled sideways if requested. Otherwise a long path is cut in its middle, so that the file name and the
/// text after it are visible.
fn detail(raw: &[u8], cells: usize, sideways: usize, theme: Theme) -> String {
    let text = text::escape_in(raw, theme.charset, 4096.max(sideways + cells));
    if sideways > 0 {
        return text::left(text::skip(&text, sideways), cells, theme.charset);
    }
    text::left(&squeezed(&text, cells, theme), cells, theme.charset)
}

/// The path at the start, cut in its middle as far as needed.
fn squeezed(text: &str, cells: usize, theme: Theme) -> String {
    let start = text.find('/').filter(|slash| *slash <= 3).unwrap_or(text.len());
    let (before, rest) = text.split_at(start);
    let (path, after) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    let room = cells.saturating_sub(text::width(before) + text::width(after));
    // The path keeps up to half of the cells: beside long arguments, cutting it further would gain little.
    let room = room.max(text::width(path).min(cells / 2));
    format!("{before}{}{after}", text::cut_middle(path, room, theme.charset))
}
