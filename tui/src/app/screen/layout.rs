//! The layout of the screen, used for drawing and for moving by a page.

use crate::app::views::detail::Size;
pub(crate) use ratatui::layout::{Position, Rect};
use tracetui_events::limits;

/// The screen width from which the detail pane is on the right.
const SIDE_BY_SIDE: u16 = 140;

/// The minimum screen width for the side strip beside the list.
pub(crate) const WITH_SIDE: u16 = 160;

/// The maximum width of the strip.
const SIDE: u16 = 64;

/// The areas of the screen. An area that does not fit is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Areas {
    /// State, event rates and losses.
    pub header: Rect,
    /// The filter and the kinds.
    pub filter: Rect,
    pub titles: Rect,
    pub list: Rect,
    /// The side strip with its border.
    pub side: Rect,
    /// The detail pane with its title.
    pub detail: Rect,
    /// Memory, ring and hidden events.
    pub status: Rect,
    pub footer: Rect,
}

impl Areas {
    /// The area between the filter line and the status line, where overlays are drawn.
    pub fn body(&self) -> Rect {
        let parts = [self.titles, self.list, self.side, self.detail].into_iter().filter(|part| !part.is_empty());
        parts.reduce(Rect::union).unwrap_or_default()
    }

    /// The columns and rows of COMMAND's terminal: the body without the title of the pane.
    pub(crate) fn command_window(&self) -> (u16, u16) {
        let body = self.body();
        let (columns, rows) = limits::COMMAND_SCREEN;
        (body.width.min(columns), body.height.saturating_sub(1).min(rows))
    }
}

/// Divides a screen of this many columns and rows. `side`: the strip is shown where it fits.
pub(crate) fn areas(width: u16, height: u16, detail: Option<Size>, side: bool) -> Areas {
    let mut rest = Rect::new(0, 0, width, height);
    let header = take_top(&mut rest, 1);
    let filter = if height >= 3 { take_top(&mut rest, 1) } else { Rect::default() };
    let footer = if height >= 5 { take_bottom(&mut rest, 1) } else { Rect::default() };
    let status = if height >= 4 { take_bottom(&mut rest, 1) } else { Rect::default() };
    let side = if side { take_side(&mut rest, detail) } else { Rect::default() };
    let pane = detail.map_or(Rect::default(), |size| take_detail(&mut rest, size));
    let titles = if rest.height >= 3 { take_top(&mut rest, 1) } else { Rect::default() };
    Areas { header, filter, titles, list: rest, side, detail: pane, status, footer }
}

fn take_top(rest: &mut Rect, rows: u16) -> Rect {
    let rows = rows.min(rest.height);
    let taken = Rect { height: rows, ..*rest };
    *rest = Rect { y: rest.y + rows, height: rest.height - rows, ..*rest };
    taken
}

fn take_bottom(rest: &mut Rect, rows: u16) -> Rect {
    let rows = rows.min(rest.height);
    rest.height -= rows;
    Rect { y: rest.y + rest.height, height: rows, ..*rest }
}

/// The pane goes first where there is no room for both.
fn take_side(rest: &mut Rect, detail: Option<Size>) -> Rect {
    let columns = (rest.width * 2 / 7).min(SIDE);
    if rest.width < WITH_SIDE || detail.is_some() && rest.width - columns < SIDE_BY_SIDE {
        return Rect::default();
    }
    rest.width -= columns;
    Rect { x: rest.x + rest.width, width: columns, ..*rest }
}

fn take_detail(rest: &mut Rect, size: Size) -> Rect {
    match size {
        Size::Part if rest.width >= SIDE_BY_SIDE => {
            let columns = rest.width * 3 / 8;
            rest.width -= columns;
            Rect { x: rest.x + rest.width, width: columns, ..*rest }
        }
        Size::Part if rest.height >= 8 => take_bottom(rest, rest.height.div_ceil(2)),
        _ => take_bottom(rest, rest.height),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_divided_without_overlap() {
        for (width, height) in [(1, 1), (1, 2), (2, 3), (10, 4), (40, 10), (80, 24), (160, 50), (500, 200), (0, 0)] {
            for detail in [None, Some(Size::Part), Some(Size::Full)] {
                for side in [false, true] {
                    let a = areas(width, height, detail, side);
                    let all = [a.header, a.filter, a.titles, a.list, a.side, a.detail, a.status, a.footer];
                    let cells: u32 = all.iter().map(|area| area.area()).sum();
                    assert_eq!(cells, u32::from(width) * u32::from(height), "{width}x{height} {detail:?} {side}");
                }
            }
        }
    }
}
