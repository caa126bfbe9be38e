//! The choice of columns, as an overlay.

use super::put;
use super::theme::Theme;
use crate::app::App;
use crate::text;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

/// Draws the columns that can be chosen.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, cursor: usize, theme: Theme) {
    let columns = app.listed_columns();
    let title = format!(" COLUMNS of {}", app.view().title());
    let title = text::cut(&title, area.width.into(), theme.charset);
    put(frame, Rect { height: area.height.min(1), ..area }, Line::styled(title, theme.strong()));
    let rows = usize::from(area.height.saturating_sub(1));
    let first = (cursor + 1).saturating_sub(rows);
    for (y, (at, (name, shown))) in
        (area.y.saturating_add(1)..area.bottom()).zip(columns.iter().enumerate().skip(first))
    {
        let row = format!("  [{}] {name}", if *shown { 'x' } else { ' ' });
        let line = match at == cursor {
            true => super::events::selected(&Line::raw(row), area.width, theme),
            false if *shown => Line::raw(row),
            false => Line::styled(row, theme.quiet()),
        };
        put(frame, Rect { y, height: 1, ..area }, line);
    }
}
