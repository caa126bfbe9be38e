//! The choice of columns, as an overlay. It is beside the view if there is room.

use super::detail::border;
use super::put;
use super::theme::Theme;
use crate::app::App;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Clear;
use tracetui_events::text;

/// The width of the overlay beside the view, in cells.
const PANEL: u16 = 26;

/// The width from which the overlay leaves room for the view.
const BESIDE: u16 = 60;

/// Draws the columns on offer. `drawn`: those that the view has room for. Without a choice, it also leaves out columns that are the same
/// in all rows.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, drawn: &[&str], cursor: usize, theme: Theme) {
    let columns = app.screen.listed_columns(app.views.shown);
    let rows = u16::try_from(columns.len() + 1).unwrap_or(u16::MAX);
    let beside = area.width >= BESIDE;
    let (width, height) = if beside { (PANEL, rows.min(area.height)) } else { (area.width, area.height) };
    let area = Rect { x: area.right() - width, width, height, ..area };
    frame.render_widget(Clear, area);
    frame.buffer_mut().set_style(area, theme.base());
    let area = if beside { border(frame, area, theme) } else { area };
    let title = format!(" COLUMNS of {}", app.views.shown.title());
    let title = text::cut(&title, area.width.into(), theme.charset);
    put(frame, Rect { height: area.height.min(1), ..area }, Line::styled(title, theme.strong()));
    let first = (cursor + 1).saturating_sub(usize::from(area.height.saturating_sub(1)));
    let why = if app.screen.columns.of(app.views.shown).is_some() { "  no room" } else { "  left out" };
    let listed = columns.iter().enumerate().skip(first);
    for (y, (at, (name, shown))) in (area.y.saturating_add(1)..area.bottom()).zip(listed) {
        let why = if *shown && !drawn.contains(name) { why } else { "" };
        let row = format!("  [{}] {name}{why}", if *shown { 'x' } else { ' ' });
        let line = match at == cursor {
            true => super::event_list::selected(&Line::raw(row), area.width, theme),
            false if *shown => Line::raw(row),
            false => Line::styled(row, theme.quiet()),
        };
        put(frame, Rect { y, height: 1, ..area }, line);
    }
}
