//! The mouse: the wheel scrolls, and a click selects a row.

use super::device::{MouseButton, MouseEvent, MouseEventKind};
use super::keymap::Action;
use crate::app::App;
use crate::app::screen::layout::Position;

impl App {
    /// Returns whether the screen changes. The wheel scrolls the area under it. A click selects the row of the list under it.
    pub(in crate::app) fn mouse(&mut self, mouse: &MouseEvent) -> bool {
        let at = Position { x: mouse.column, y: mouse.row };
        match mouse.kind {
            MouseEventKind::ScrollUp => self.scroll(-3, at),
            MouseEventKind::ScrollDown => self.scroll(3, at),
            MouseEventKind::Down(MouseButton::Left) => return self.click(at),
            _ => return false,
        }
        true
    }

    fn scroll(&mut self, rows: isize, at: Position) {
        if self.screen.overlay.is_some() {
            let action = if rows < 0 { Action::Up } else { Action::Down };
            (0..rows.unsigned_abs()).for_each(|_| _ = self.act_on_overlay(action));
            return;
        }
        if self.areas().detail.contains(at) {
            return self.detail.scroll_by(rows, self.extent.detail);
        }
        match self.views.current() {
            Some(view) => view.move_by(rows, self.now),
            None => self.events.move_by(rows, self.list_height(), &self.store),
        }
    }

    /// During typing, or with an overlay over the list, a click does nothing.
    fn click(&mut self, at: Position) -> bool {
        let (list, height) = (self.areas().list, self.list_height());
        if self.is_typing() || self.screen.overlay.is_some() || !list.contains(at) {
            return false;
        }
        self.screen.clear_message();
        let row = usize::from(at.y - list.y);
        match self.views.current() {
            Some(view) => view.click(row, self.now),
            None => {
                let first = self.extent.first.unwrap_or_default();
                self.events.select_row(self.events.place(first) + row, height, &self.store);
            }
        }
        true
    }
}
