//! The mouse: the wheel and clicks.

use super::device::{KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use super::keymap::{Action, Press};
use crate::app::App;
use crate::app::screen::layout::Position;
use crate::app::views::View;
use crate::app::views::detail::Tab;
use tracetui_shared::kind::Kind;

impl App {
    /// Returns whether the screen changes. The wheel scrolls the area under it. A click selects the row under it, shows the view or page of the tab under it, goes to a time in
    /// the density strip, or does what a key in the footer does.
    pub(in crate::app) fn mouse(&mut self, mouse: &MouseEvent) -> bool {
        let at = Position { x: mouse.column, y: mouse.row };
        match mouse.kind {
            MouseEventKind::ScrollUp => self.scroll(-3, at),
            MouseEventKind::ScrollDown => self.scroll(3, at),
            MouseEventKind::Down(MouseButton::Left) => self.click(at),
            _ => false,
        }
    }

    fn scroll(&mut self, rows: isize, at: Position) -> bool {
        if self.screen.overlay.is_some() {
            let action = if rows < 0 { Action::Up } else { Action::Down };
            (0..rows.unsigned_abs()).for_each(|_| _ = self.act_on_overlay(action));
            return true;
        }
        if self.areas().detail.contains(at) {
            self.detail.scroll_by(rows, self.extent.detail);
            return true;
        }
        match self.views.current() {
            Some(view) => view.move_by(rows, self.now),
            None => self.events.move_by(rows, self.list_height(), &self.store),
        }
        true
    }

    /// During typing, or with an overlay over the list, a click does nothing outside the footer.
    fn click(&mut self, at: Position) -> bool {
        let (areas, height) = (self.areas(), self.list_height());
        if areas.footer.contains(at) {
            let key = self.extent.keys.iter().find(|(_, (from, to))| (*from..*to).contains(&at.x));
            let Some((Press { code, ctrl }, _)) = key.copied() else { return false };
            let modifiers = if ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
            return self.key(&KeyEvent::new(code, modifiers));
        }
        if self.is_typing() || self.screen.overlay.is_some() {
            return false;
        }
        let hit = |cells: &[(u16, u16)]| cells.iter().position(|(from, to)| (*from..*to).contains(&at.x));
        if areas.filter.contains(at) {
            let action = match (hit(&self.extent.tabs), hit(&self.extent.chips)) {
                (Some(view), _) if View::ALL[view] == View::Diff && self.views.shown == View::Diff => {
                    return false;
                }
                (Some(view), _) => View::ALL[view].action(),
                (None, Some(kind)) => Action::Toggle(Kind::DEFAULT_FIRST[kind]),
                (None, None) => return false,
            };
            self.screen.clear_message();
            self.act(action);
            return true;
        }
        if let Some(tab) = hit(&self.extent.pane_tabs).filter(|_| areas.detail.contains(at) && at.y == areas.detail.y) {
            self.screen.clear_message();
            self.detail.show(Tab::ALL[tab]);
            return true;
        }
        if areas.status.contains(at) {
            let (from, to) = self.extent.strip;
            let span = self.loaded().span().filter(|_| (from..to).contains(&at.x));
            let Some((start, end)) = span else { return false };
            let passed = u128::from(end.saturating_sub(start)) + 1;
            let passed = (passed * u128::from(at.x - from)).div_ceil(u128::from(to - from));
            self.screen.clear_message();
            self.jump(start.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)));
            return true;
        }
        if areas.side.contains(at) {
            self.screen.clear_message();
            self.click_side(usize::from(at.y - areas.side.y));
            return true;
        }
        if !areas.list.contains(at) {
            return false;
        }
        self.screen.clear_message();
        let row = usize::from(at.y - areas.list.y);
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
