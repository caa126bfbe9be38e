//! The Top view.

#[cfg(test)]
mod tests;

use super::event_list::{marked, selected};
use super::header::bar;
use super::theme::Theme;
use super::{Piece, aligned, clock, duration, fit, is_zero, moment, put};
use crate::app::App;
use crate::app::keys::keymap::Action;
use crate::app::search::Pattern;
use crate::app::views::View;
use crate::app::views::columns::{TopColumn as Column, automatic};
use crate::app::views::top::{By, Figures, Group, SECONDS, Window};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use tracetui_events::event::names;
use tracetui_events::event::parts::Role;
use tracetui_events::text::{self, Charset, short, size};
use tracetui_shared::kind::Kind;

/// The width of the bars in cells.
const BAR: usize = 10;

/// The width in cells of values that are not paths.
const SHORT: usize = 24;

/// The cells of the tabs, the label of the filter, and the word before the properties.
const TABS: usize = 48;

/// The minimum width of the value in cells.
const LEAST: usize = 12;

/// The columns of a table of this width. Everything counted by errno failed, and FAILED is the part that no search answers. Without a
/// choice it therefore comes first.
fn columns_of(width: u16, by: By, chosen: Option<&[&str]>, says: impl Fn(Column) -> bool) -> Vec<Column> {
    let names = chosen.map_or_else(
        || {
            let mut names = automatic(View::Top, width);
            names.sort_by_key(|name| by == By::Errno && *name != "failed");
            names
        },
        <[_]>::to_vec,
    );
    let columns = names.into_iter().filter_map(Column::from_name).filter(|column| says(*column));
    let columns = columns.map(|column| (column, column.cells()));
    fit(columns, usize::from(width).saturating_sub(LEAST), None).map(|(column, _)| column).collect()
}

/// Draws the titles and the rows. Returns the names of the columns.
pub(super) fn draw(frame: &mut Frame<'_>, titles: Rect, area: Rect, app: &App, theme: Theme) -> Vec<&'static str> {
    let top = &app.views.top;
    let chosen = app.screen.columns.of(app.views.shown);
    let visible = || top.groups().enumerate().skip(top.list.top).take(area.height.into());
    // A column of zeros says nothing, unless the user chose it.
    let all = chosen.is_some() || visible().next().is_none();
    let says = |column| visible().any(|(_, group)| !is_zero(&piece(group, column, app, theme)));
    let columns = columns_of(area.width, top.by, chosen, |column| all || column == Column::Failed || says(column));
    let used: usize = columns.iter().map(|column| column.cells() + 1).sum();
    let room = usize::from(area.width).saturating_sub(used + 2);
    // The figures are near short values.
    let room = if matches!(top.by, By::Path | By::Dir | By::Cgroup | By::Peer) { room } else { room.min(SHORT) };
    let title = format!(" {}", text::left(&top.by.name().to_ascii_uppercase(), room, theme.charset));
    let title = columns.iter().fold(title, |title, column| {
        format!("{title} {}", aligned(column.title(), column.cells(), column.is_right(), theme.charset))
    });
    put(frame, titles, Line::styled(text::cut(&title, titles.width.into(), theme.charset), theme.quiet()));
    for (y, (at, group)) in (area.y..area.bottom()).zip(visible()) {
        let line = line(group, &columns, room, app, theme);
        let line = if at == top.list.at { selected(&line, area.width, theme) } else { line };
        put(frame, Rect { y, height: 1, ..area }, line);
    }
    if top.groups().next().is_none() {
        let what = match top.counted_since() {
            _ if app.busy() => "counting...".to_owned(),
            Some(ns) => {
                let (time, key) = (clock(ns, app.world().clock_offset, app), app.key_of(Action::TopZero));
                format!("no shown event has a {} since {time}; {key} counts all", top.by.name())
            }
            None => format!("no shown event has a {}", top.by.name()),
        };
        put(frame, area, Line::raw(format!("  {what}")));
    }
    columns.iter().map(|column| column.name()).collect()
}

fn line(group: &Group, columns: &[Column], room: usize, app: &App, theme: Theme) -> Line<'static> {
    let value = text::value_in(&group.value_text(app.views.top.by, app.world()), theme.charset, 4096);
    let found =
        app.search.pattern.as_ref().and_then(Pattern::marked).filter(|pattern| pattern.is_match(value.as_bytes()));
    let value = text::cut_middle(&value, room, theme.charset);
    let mut line = Line::from(" ");
    let style = match app.views.top.by {
        By::Errno if names::is_expected(&group.value) => theme.part(Role::Expected),
        By::Errno => theme.part(Role::Failure),
        _ => theme.strong(),
    };
    let value = vec![Piece::new(text::left(&value, room, theme.charset), style)];
    let value = found.map_or(value.clone(), |pattern| marked(value, pattern, theme));
    value.into_iter().for_each(|part| line.push_span(part));
    for column in columns {
        let piece = piece(group, *column, app, theme);
        let text = aligned(&piece.text, column.cells(), column.is_right(), theme.charset);
        line.push_span(" ");
        line.push_span(Piece::new(text, piece.style));
    }
    line
}

fn piece(group: &Group, column: Column, app: &App, theme: Theme) -> Piece {
    let (now, most) = (app.views.top.now_ns(), app.views.top.most);
    let Figures { events, kinds, failed, cpu_ns, memory } = group.figures(now);
    let of_kind = |column: Column| {
        let mut counts = Kind::PROBED.into_iter().zip(kinds);
        counts.find(|(kind, _)| kind.name() == column.name()).map_or(0, |(_, count)| count)
    };
    match column {
        Column::Events => Piece::plain(short(events)),
        Column::Share => Piece::new(share(events, most, theme.charset), theme.note()),
        Column::Rate => count(group.rate(now, app.views.top.since_ns().unwrap_or_default()), theme),
        Column::Peak => count(group.history(now, 60).max().unwrap_or_default().into(), theme),
        Column::Cpu => used(cpu_ns, of_kind(Column::Exit), duration, theme),
        Column::Memory => used(memory, of_kind(Column::Exit), size, theme),
        Column::Failed => count(failed, theme),
        Column::Last => Piece::new(ago(now.saturating_sub(group.last_ns)), theme.quiet()),
        Column::History => Piece::new(history(group, now, theme.charset), theme.note()),
        // The others are named for kinds.
        column => count(of_kind(column), theme),
    }
}

/// A count; a dot for zero.
fn count(count: u64, theme: Theme) -> Piece {
    match count {
        0 => Piece::new(theme.dot(), theme.quiet()),
        _ => Piece::plain(short(count)),
    }
}

/// What the processes of so many exits used: known only when they end.
fn used(amount: u64, exits: u64, text: impl FnOnce(u64) -> String, theme: Theme) -> Piece {
    match (exits, amount) {
        (0, _) => Piece::new("-", theme.quiet()),
        (_, 0) => count(0, theme),
        _ => Piece::plain(text(amount)),
    }
}

/// A bar: the share relative to the most frequent value.
fn share(events: u64, most: u64, charset: Charset) -> String {
    let cells = (events * BAR as u64).div_ceil(most.max(1)).min(BAR as u64) as usize;
    if charset == Charset::Utf8 { "━".repeat(cells) } else { "=".repeat(cells) }
}

fn ago(ns: u64) -> String {
    match ns {
        0..1_000_000_000 => "now".to_owned(),
        _ => duration(ns / 1_000_000_000 * 1_000_000_000),
    }
}

/// The number of events in the last seconds as bars, three seconds per bar.
fn history(group: &Group, now: u64, charset: Charset) -> String {
    let seconds: Vec<u32> = group.history(now, SECONDS as u64).collect();
    let cells: Vec<u64> = seconds.chunks(3).map(|three| three.iter().map(|count| u64::from(*count)).sum()).collect();
    let most = cells.iter().max().copied().unwrap_or_default();
    cells.iter().map(|count| bar(*count, most, charset)).collect()
}

/// The property counted by, and the start of the count, for the filter line.
pub(super) fn choice(app: &App, width: u16, theme: Theme) -> Vec<Piece> {
    let top = &app.views.top;
    let clock = |ns| clock(ns, app.world().clock_offset, app);
    let mut pieces = Vec::new();
    pieces.extend(moment(app, width, theme));
    pieces.extend(super::filter_line::failures(app, theme));
    if let Some(ns) = top.counted_since() {
        let clock = clock(ns);
        pieces.push(Piece::new(format!("from {}", clock.get(..8).unwrap_or_default()), theme.note()));
    }
    if top.window == Window::Recent {
        pieces.push(Piece::new(format!("{SECONDS} s"), theme.note()));
    } else if width >= 130 {
        let since = top.since_ns().map(|ns| format!("since {}", clock(ns)));
        pieces.extend(since.map(|text| Piece::new(text, theme.quiet())));
    }
    if width >= 130 && top.others > 0 {
        pieces.push(Piece::new(format!("others {}", short(top.others)), theme.note()));
    }
    // The tabs are more important than the other properties.
    let mut room = usize::from(width).saturating_sub(TABS + super::width_of(&pieces));
    let [many, one] = top.properties();
    pieces.push(Piece::new("by", theme.quiet()));
    for by in many.into_iter().chain(one.contains(&top.by).then_some(top.by)) {
        let piece = match by == top.by {
            true => Piece::new(format!("[{}]", by.name()), theme.strong()),
            false => Piece::new(by.name(), theme.quiet()),
        };
        let fits = piece.width() + 2 <= room;
        if fits || by == top.by {
            room = room.saturating_sub(piece.width() + 2);
            pieces.push(piece);
        }
    }
    let others: String = one.into_iter().filter(|by| *by != top.by).map(|by| format!(" {}", by.name())).collect();
    let others = Piece::new(format!("one value each:{others}"), theme.quiet());
    if others.text.ends_with(':') || others.width() + 2 > room {
        return pieces;
    }
    pieces.push(others);
    pieces
}
