//! Draws the dashboard's state without changing it. Only visible rows are formatted.

mod bpf;
mod column_chooser;
mod detail;
mod diff;
mod event_list;
mod filter_line;
mod footer;
mod gap;
mod header;
mod help;
mod loss;
pub(crate) mod output;
pub mod palette;
mod replay;
mod side;
#[cfg(test)]
pub(crate) mod tests;
pub mod theme;
mod top;
mod tree;

use crate::app::views::View;
use crate::app::views::event_list::row::{TimeBase, TimeMode, time_text};
use crate::app::{App, Extent, OverlayKind};
use ratatui::Frame;
use ratatui::buffer::Cell;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use theme::Theme;
use tracetui_events::event::parts::Role;
use tracetui_events::text::time::short_duration;
use tracetui_events::text::{self, Charset};
use unicode_width::UnicodeWidthChar;

/// Draws the dashboard, and returns the scroll limits of the panes.
pub fn draw(frame: &mut Frame<'_>, app: &App, theme: Theme) -> Extent {
    let areas = app.areas();
    let screen = frame.area();
    frame.buffer_mut().set_style(screen, theme.base());
    match app.replay.as_ref() {
        Some(replay) => replay::header(frame, areas.header, app, replay, theme),
        None => header::draw(frame, areas.header, app, theme),
    }
    let counts = match app.views.shown {
        View::Events => Vec::new(),
        View::Tree => tree::counts(app, areas.filter.width, theme),
        View::Top => top::choice(app, areas.filter.width, theme),
        View::Bpf => bpf::counts(app, areas.filter.width, theme),
        View::Diff => diff::counts(app, theme),
    };
    filter_line::draw(frame, areas.filter, app, counts, theme);
    let mut extent = Extent { scroll: app.detail.scroll, ..Extent::default() };
    let draw_view = |frame: &mut Frame<'_>, extent: &mut Extent| {
        let drawn = match app.views.shown {
            View::Events => event_list::draw(frame, areas.titles, areas.list, app, theme, extent),
            View::Top => top::draw(frame, areas.titles, areas.list, app, theme),
            View::Bpf => bpf::draw(frame, areas.titles, areas.list, app, theme),
            View::Diff => diff::draw(frame, areas.titles, areas.list, app, theme),
            View::Tree => tree::draw(frame, areas.titles, areas.list, app, theme),
        };
        side::draw(frame, areas.side, app, theme);
        match app.views.shown {
            _ if areas.detail.is_empty() => {}
            View::Bpf => extent.detail = bpf::detail(frame, areas.detail, app, theme),
            View::Diff => extent.detail = diff::detail(frame, areas.detail, app, theme),
            View::Events | View::Tree | View::Top => detail::draw(frame, areas.detail, app, theme, extent),
        }
        drawn
    };
    match app.screen.overlay {
        Some(overlay) => {
            let (body, scroll) = (areas.body(), overlay.scroll);
            extent.overlay = match overlay.kind {
                OverlayKind::Help => page(frame, body, help::lines(app, body.width, theme), scroll),
                OverlayKind::Columns => {
                    let drawn = draw_view(frame, &mut extent);
                    column_chooser::draw(frame, body, app, &drawn, scroll, theme);
                    0
                }
                OverlayKind::Strip => {
                    side::over(frame, body, app, theme);
                    0
                }
                OverlayKind::Gantt => tree::gantt::draw(frame, body, app, scroll, theme),
                OverlayKind::Loss => page(frame, body, loss::lines(app, body.width, theme), scroll),
                OverlayKind::Output => {
                    app.output.as_ref().map_or(0, |o| output::draw(frame, body, app, o, scroll, theme))
                }
            };
        }
        None => {
            draw_view(frame, &mut extent);
        }
    }
    filter_line::offers(frame, areas.body(), app, theme);
    footer::status(frame, areas.status, app, theme);
    footer::keys(frame, areas.footer, app, theme);
    extent
}

/// Draws the lines starting at `scroll`, and returns the scroll limit.
fn page(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'static>>, scroll: usize) -> usize {
    let most = lines.len().saturating_sub(usize::from(area.height));
    let visible = lines.into_iter().skip(scroll.min(most)).take(area.height.into());
    for (y, line) in (area.y..).zip(visible) {
        put(frame, Rect { y, height: 1, ..area }, line);
    }
    most
}

/// The moment that a view shows, for the filter line: `AS OF`, or that the view covers the whole recording.
fn moment(app: &App, width: u16, theme: Theme) -> Option<Piece> {
    let text = match app.loaded().moment() {
        Some(moment) => {
            let time = clock(moment.time.0, app.world().clock_offset, app);
            let time = if width < 60 { time.get(3..).unwrap_or_default() } else { &time };
            format!(" AS OF {time} ")
        }
        None if !app.loaded().is_of_all() => return None,
        None if width >= 110 => " WHOLE RECORDING ".to_owned(),
        // In Top it does not fit beside the properties on offer.
        None if width < 60 || app.views.shown != View::Tree => return None,
        None => " WHOLE ".to_owned(),
    };
    Some(Piece::new(text, theme.paused()))
}

/// The columns that fit, each with its cells and a space: those before the first that does not, and the flexible one.
fn fit<C: PartialEq>(
    columns: impl Iterator<Item = (C, usize)>,
    mut room: usize,
    rest: Option<C>,
) -> impl Iterator<Item = (C, usize)> {
    let mut fits = true;
    columns.filter(move |(column, cells)| {
        if rest.as_ref() == Some(column) {
            return true;
        }
        fits &= *cells < room;
        room = room.saturating_sub(cells + 1);
        fits
    })
}

/// Draws a line in an area one row high. The part outside the screen is clipped.
///
/// Each character has its own cells. Marks share those of the previous character, even if that is in another span. [`text::width`] measures
/// and terminals write in the same way. The widgets of ratatui go by syllables, and measure a whole span. Where letters join, they leave
/// out cells, or put marks where the terminal adds them again with each screen.
fn put(frame: &mut Frame<'_>, area: Rect, line: Line<'_>) {
    let area = area.intersection(frame.area());
    if area.is_empty() {
        return;
    }
    let buffer = frame.buffer_mut();
    buffer.set_style(area, line.style);
    let start = buffer.index_of(area.x, area.y);
    let row = &mut buffer.content[start..start + usize::from(area.width)];
    let (mut x, mut last) = (0, None::<usize>);
    for span in &line.spans {
        let style = line.style.patch(span.style);
        for letter in span.content.chars() {
            // Most of a screen is ASCII, whose width needs no lookup.
            let width = if matches!(letter, ' '..='~') { Some(1) } else { letter.width() };
            match (width, last) {
                // Controls are already escaped.
                (None, _) | (Some(0), None) => {}
                (Some(0), Some(at)) => {
                    let symbol = format!("{}{letter}", row[at].symbol());
                    row[at].set_symbol(&symbol);
                }
                (Some(width), _) => {
                    let cells = row.get_mut(x..x + width).and_then(<[Cell]>::split_first_mut);
                    let Some((first, rest)) = cells else { return };
                    first.set_char(letter).set_style(style);
                    rest.iter_mut().for_each(Cell::reset);
                    (x, last) = (x + width, Some(x));
                }
            }
        }
    }
}

/// An escaped text with a style.
#[derive(Clone, Debug, Default)]
struct Piece {
    text: String,
    style: Style,
    /// Whether these are the directories of a path, which are cut first.
    directories: bool,
}

impl Piece {
    fn new(text: impl Into<String>, style: Style) -> Piece {
        Piece { text: text.into(), style, directories: false }
    }

    /// A part of a column, with an escaped text.
    fn of_part(text: impl Into<String>, role: Role, theme: Theme) -> Piece {
        Piece { directories: role == Role::Directory, ..Piece::new(text, theme.part(role)) }
    }

    fn plain(text: impl Into<String>) -> Piece {
        Piece::new(text, Style::new())
    }

    fn width(&self) -> usize {
        text::width(&self.text)
    }
}

impl From<Piece> for Span<'static> {
    fn from(piece: Piece) -> Span<'static> {
        Span::styled(piece.text, piece.style)
    }
}

/// A wall-clock time in the list's format.
fn clock(boot_ns: u64, offset: i64, app: &App) -> String {
    let base = TimeBase { mode: TimeMode::Clock, zone: app.settings.zone, ..TimeBase::default() };
    time_text(boot_ns, offset, &base)
}

fn duration(ns: u64) -> String {
    let mut out = Vec::new();
    short_duration(ns, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn aligned(text: &str, cells: usize, right: bool, charset: Charset) -> String {
    if right { text::right(text, cells, charset) } else { text::left(text, cells, charset) }
}

/// The width of pieces in cells, with the spaces after them.
fn width_of(pieces: &[Piece]) -> usize {
    pieces.iter().filter(|piece| !piece.text.is_empty()).map(|piece| piece.width() + 2).sum()
}

/// Whether a cell is a zero, or unknown. A column of them says nothing.
fn is_zero(piece: &Piece) -> bool {
    ["·", "-", ""].contains(&piece.text.as_str())
}

/// Draws a line with pieces at both ends, and a space between those at the left. The right pieces take precedence.
fn ends(frame: &mut Frame<'_>, area: Rect, left: &[Piece], right: &[Piece], theme: Theme) {
    apart(frame, area, left, 1, right, theme);
}

/// Like [`ends`], with `space` cells between the pieces at the left.
fn apart(frame: &mut Frame<'_>, area: Rect, left: &[Piece], space: usize, right: &[Piece], theme: Theme) {
    let right: Vec<_> = right.iter().filter(|piece| !piece.text.is_empty()).collect();
    let right_width: usize = right.iter().map(|piece| piece.width()).sum::<usize>() + right.len().saturating_sub(1) * 2;
    let mut room = usize::from(area.width).saturating_sub(right_width + 1 + usize::from(right_width > 0));
    let mut line = Line::default();
    let mut used = 0;
    for piece in left.iter().filter(|piece| !piece.text.is_empty()) {
        let gap = if used > 0 { space } else { 0 };
        if room <= gap {
            break;
        }
        let cut = text::cut(&piece.text, room - gap, theme.charset);
        let width = text::width(&cut) + gap;
        line.push_span(" ".repeat(gap));
        line.push_span(Span::styled(cut, piece.style));
        (used, room) = (used + width, room - width);
    }
    let fill = usize::from(area.width).saturating_sub(used + right_width + usize::from(right_width > 0 && used > 0));
    line.push_span(" ".repeat(fill));
    for (at, piece) in right.into_iter().enumerate() {
        line.push_span(if at > 0 { "  " } else { "" });
        line.push_span(Span::styled(piece.text.clone(), piece.style));
    }
    put(frame, area, line);
}
