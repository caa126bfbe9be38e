//! The actions of the overlays: help, the report on lost events, COMMAND's output, and the choice of columns.

use super::OverlayKind;
use crate::app::App;
use crate::app::command::output::Output;
use crate::app::keys::keymap::Action;
use crate::app::prompt::Purpose;
use crate::app::search::Way;
use crate::app::views::columns;

impl App {
    /// Scrolls, replaces or closes the overlay. A key of a view also shows that view. Other actions only close the overlay.
    /// `false`: it does the same as without an overlay.
    pub(in crate::app) fn act_on_overlay(&mut self, action: Action) -> bool {
        let (page, view) = (isize::from(self.areas().body().height as i16).max(1), self.views.shown);
        let Some(overlay) = &mut self.screen.overlay else { return false };
        let by = match (overlay.kind, action) {
            (OverlayKind::Columns, Action::Pause | Action::Enter) => {
                let message = self.screen.toggle_column(view);
                message.into_iter().for_each(|text| self.notify(text));
                return true;
            }
            (OverlayKind::Columns, Action::Reset) => {
                self.screen.columns.reset(view, &self.settings.preferences.columns);
                return true;
            }
            (OverlayKind::Columns, Action::Left | Action::Right) => {
                self.screen.move_column(view, action == Action::Right);
                return true;
            }
            // The overlay shows the other view's columns.
            (
                OverlayKind::Columns,
                Action::ShowEvents
                | Action::ShowTree
                | Action::ShowTop
                | Action::ShowBpf
                | Action::NextView
                | Action::PreviousView,
            ) => {
                overlay.scroll = 0;
                return false;
            }
            (_, Action::ShowEvents | Action::ShowTree | Action::ShowTop | Action::ShowBpf) => {
                self.screen.overlay = None;
                return false;
            }
            (OverlayKind::Output, Action::Enter) => {
                if self.output.as_mut().is_some_and(Output::takes_keys) {
                    self.show_output();
                }
                return true;
            }
            // The time changes, and the screen with it.
            (
                OverlayKind::Output,
                Action::EventBack
                | Action::EventForward
                | Action::Back10
                | Action::Forward10
                | Action::Back60
                | Action::Forward60
                | Action::Slower
                | Action::Faster,
            ) => return false,
            (OverlayKind::Help, Action::Search) => {
                overlay.scroll = 0;
                self.screen.help.clear();
                self.ask(Purpose::Help, "");
                return true;
            }
            (OverlayKind::Help, Action::Back) if !self.screen.help.is_empty() => {
                self.screen.help.clear();
                return true;
            }
            (OverlayKind::Loss, Action::Next | Action::Previous) => {
                // Closes the report and searches for the next gap row.
                let (selected, way) =
                    (self.events.selected(), if action == Action::Next { Way::Down } else { Way::Up });
                self.screen.overlay = None;
                self.search.look_for("kind=lost", selected.unwrap_or_default(), way, self.pipeline.world());
                self.work();
                return true;
            }
            (OverlayKind::Strip, Action::Up | Action::PageUp) => return self.act_on_side(Action::StripUp),
            (OverlayKind::Strip, Action::Down | Action::PageDown) => return self.act_on_side(Action::StripDown),
            (
                OverlayKind::Strip,
                Action::Strip | Action::StripUp | Action::StripDown | Action::Enter | Action::SubtreeEvents,
            ) => {
                self.act_on_side(action);
                return true;
            }
            (OverlayKind::Gantt, Action::Enter | Action::SubtreeEvents | Action::TopEvents | Action::BpfEvents) => {
                let at = overlay.scroll;
                self.screen.overlay = None;
                self.go_to_bar(at);
                return true;
            }
            (_, Action::Up) => -1,
            (_, Action::Down) => 1,
            (_, Action::PageUp | Action::HalfUp) => -page / 2,
            (_, Action::PageDown | Action::HalfDown) => page / 2,
            (_, Action::Start) => isize::MIN,
            (OverlayKind::Output, Action::End) => isize::MAX,
            (_, Action::End) => 1 << 16,
            (_, Action::Redraw | Action::Suspend | Action::Pause | Action::Play) => return false,
            (kind, action) if OverlayKind::of(action).is_some_and(|other| other != kind) => return false,
            _ => {
                self.screen.overlay = None;
                return true;
            }
        };
        let most = match overlay.kind {
            OverlayKind::Columns => columns::all(view).len().saturating_sub(1),
            _ => self.extent.overlay,
        };
        overlay.scroll = match (overlay.scroll.min(most).saturating_add_signed(by), overlay.kind) {
            // An output overlay scrolled to its end follows the output.
            (to, OverlayKind::Output) if to >= most => usize::MAX,
            (to, _) => to.min(most),
        };
        true
    }
}
