//! The mouse: the wheel and clicks.

use super::device::{MouseButton, MouseEvent, MouseEventKind};
use super::keymap::Action;
use super::layout::Position;
use super::views::View;
use super::views::detail::Tab;
use super::{App, Effect, Effects};
use tracetui_shared::kind::Kind;

impl App {
    /// Handles the mouse. The wheel scrolls the area under it. A click selects the row under it, or shows the view or page of the tab under
    /// it.
    pub(super) fn mouse(&mut self, mouse: &MouseEvent) -> Effects {
        let at = Position { x: mouse.column, y: mouse.row };
        match mouse.kind {
            MouseEventKind::ScrollUp => self.scroll(-3, at),
            MouseEventKind::ScrollDown => self.scroll(3, at),
            MouseEventKind::Down(MouseButton::Left) => self.click(at),
            _ => Vec::new(),
        }
    }

    fn scroll(&mut self, rows: isize, at: Position) -> Effects {
        if self.screen.overlay.is_some() {
            let action = if rows < 0 { Action::Up } else { Action::Down };
            (0..rows.unsigned_abs()).for_each(|_| _ = self.act_on_overlay(action));
            return vec![Effect::Redraw];
        }
        if self.areas().detail.contains(at) {
            self.detail.scroll_by(rows, self.extent.detail);
            return vec![Effect::Redraw];
        }
        match self.views.current() {
            Some(view) => view.move_by(rows, self.now),
            None => self.events.move_by(rows, self.list_height(), &self.store),
        }
        vec![Effect::Redraw]
    }

    /// During typing, or with an overlay over the list, a click does nothing.
    fn click(&mut self, at: Position) -> Effects {
        let (areas, height) = (self.areas(), self.list_height());
        if self.is_typing() || self.screen.overlay.is_some() {
            return Vec::new();
        }
        let tab = || self.extent.tabs.iter().position(|(from, to)| (*from..*to).contains(&at.x));
        if let Some(view) = Some(at).filter(|at| areas.filter.contains(*at)).and_then(|_| tab()) {
            self.screen.clear_message();
            return self.act(View::ALL[view].action());
        }
        let chip = || self.extent.chips.iter().position(|(from, to)| (*from..*to).contains(&at.x));
        if let Some(kind) = Some(at).filter(|at| areas.filter.contains(*at)).and_then(|_| chip()) {
            self.screen.clear_message();
            return self.act(Action::Toggle(Kind::DEFAULT_FIRST[kind]));
        }
        let title = areas.detail.contains(at) && at.y == areas.detail.y;
        let tab = || self.extent.pane_tabs.iter().position(|(from, to)| (*from..*to).contains(&at.x));
        if let Some(tab) = Some(title).filter(|title| *title).and_then(|_| tab()) {
            self.screen.clear_message();
            self.detail.show(Tab::ALL[tab]);
            return vec![Effect::Redraw];
        }
        if !areas.list.contains(at) {
            return Vec::new();
        }
        self.screen.clear_message();
        let row = usize::from(at.y - areas.list.y);
        match self.views.current() {
            Some(view) => view.click(row, self.now),
            None => {
                let first = self.extent.first.unwrap_or_default();
                self.events.select_line(first, row, height, &self.store);
            }
        }
        vec![Effect::Redraw]
    }
}
