//! Keys, and the actions that they start.

use super::device::{KeyCode, KeyEvent, KeyModifiers};
use super::keymap::{self, Action, Press, Scope, Section};
use crate::app::named_enum::step;
use crate::app::prompt::Purpose;
use crate::app::replay::Replay;
use crate::app::screen::OverlayKind;
use crate::app::search::Way;
use crate::app::verdict::Verdict;
use crate::app::views::View;
use crate::app::views::detail::Size;
use crate::app::views::event_list::row::TimeMode;
use crate::app::views::state::motion;
use crate::app::{App, Effect, Failures, SourceState};
use std::time::Duration;
use tracetui_events::text;
use tracetui_shared::kind::{Kind, KindSet};

/// A trace that ran for longer, and is not recorded, ends only if it is asked to twice.
const WORTH_ASKING: Duration = Duration::from_secs(60);

/// The number of cells per step of sideways scrolling.
const SIDEWAYS: isize = 8;

impl App {
    /// The scopes of keys in effect, first one first.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        let (view, overlay) = (self.views.shown, self.screen.overlay.map(|overlay| overlay.kind));
        // Enter goes to COMMAND's terminal, not to the row behind it.
        let of_view = view != View::Events && !matches!(overlay, Some(OverlayKind::Columns | OverlayKind::Output));
        let has_detail =
            matches!(view, View::Events | View::Bpf | View::Diff) && overlay.is_none() && self.detail.size.is_some();
        let replays = self.replay.is_some() && overlay != Some(OverlayKind::Columns);
        let scopes = [(of_view, view.section()), (has_detail, Section::Detail), (replays, Section::Replay)];
        scopes.into_iter().filter(|(on, _)| *on).map(|(_, section)| Some(section)).chain([None]).collect()
    }

    /// Returns whether the screen changes.
    pub(in crate::app) fn key(&mut self, key: &KeyEvent) -> bool {
        if self.types() {
            let bytes = self.output.as_mut().map(|output| output.key(key)).unwrap_or_default();
            self.send(bytes);
            return !self.types();
        }
        let press = keymap::pressed(key);
        if self.replay.is_some() && self.verdict == Verdict::Awaited {
            self.verdict = Verdict::Over;
        }
        if self.time.awaited.is_some() {
            self.screen.clear_message();
            // A key with Ctrl, such as Ctrl-C, has its own meaning.
            if !press.ctrl {
                self.mark(press);
                return true;
            }
            self.time.awaited = None;
        }
        self.screen.clear_message();
        let asked = self.asked_to_quit;
        // A terminal reports Esc and a key right after it as that key with Alt. No action is bound to Alt.
        if key.modifiers.contains(KeyModifiers::ALT) {
            self.press(Press { code: KeyCode::Esc, ctrl: false });
        }
        self.press(press);
        // The next key may refer to the message that this one shows.
        self.drawn = None;
        // Any other key withdraws the request to quit.
        self.asked_to_quit &= !asked;
        true
    }

    fn press(&mut self, press: Press) {
        let typing = self.is_typing();
        match self.settings.preferences.keymap.lookup(press, &self.scopes()) {
            // These actions also work during typing, because their keys are not text.
            Some(action @ (Action::Quit | Action::Suspend | Action::Redraw)) if !press.is_text() => self.act(action),
            _ if typing => self.typed(press),
            Some(action) if self.act_on_overlay(action) => {}
            Some(action) => self.act(action),
            None => {
                let name = press.name();
                let name = text::escaped(name.as_bytes(), text::Charset::Utf8.mode());
                self.notify(format!("{name} is not bound here; press {} for the keys", self.key_of(Action::Help)));
            }
        }
    }

    pub(in crate::app) fn is_typing(&self) -> bool {
        self.prompt.is_some()
    }

    pub(in crate::app) fn act(&mut self, action: Action) {
        let _ = self.act_on_side(action)
            || self.act_in_view(action)
            || self.act_on_replay(action)
            || self.act_on_time(action)
            || self.act_on_program(action)
            || self.act_on_events_of_row(action)
            || self.act_on_rows(action)
            || self.act_on_detail(action)
            || self.act_on_list(action);
    }

    fn act_on_program(&mut self, action: Action) -> bool {
        match action {
            Action::Quit => self.quit(),
            Action::Suspend => self.effects.push(Effect::Suspend),
            Action::Redraw => self.effects.push(Effect::Clear),
            Action::CopyLine => self.copy_line(),
            Action::CopyCommand => self.copy_command(),
            Action::CopyJson => self.copy_json(),
            Action::Record => self.effects.push(Effect::Record),
            Action::Help => {
                self.screen.help.clear();
                self.screen.open(OverlayKind::Help);
            }
            Action::LossReport => self.screen.open(OverlayKind::Loss),
            Action::Output => self.show_output(),
            Action::RunAgain => self.run_again(),
            Action::Gantt => self.screen.open(OverlayKind::Gantt),
            Action::Columns => self.screen.open(OverlayKind::Columns),
            Action::TimeMode => {
                self.screen.time = step(TimeMode::ALL, self.screen.time, 1);
                self.notify(format!("time: {}", self.screen.time.name()));
            }
            Action::Reset => self.reset(),
            Action::Back => self.back(),
            Action::ShowEvents => self.show(View::Events),
            Action::ShowTree => self.show(View::Tree),
            Action::ShowTop => self.show(View::Top),
            Action::ShowBpf => self.show(View::Bpf),
            Action::Diff => self.show_diff(),
            Action::NextView => self.show_next(1),
            Action::PreviousView => self.show_next(-1),
            _ => return false,
        }
        true
    }

    fn act_on_rows(&mut self, action: Action) -> bool {
        match action {
            Action::Pause => self.events.pause(&self.store),
            Action::Search => {
                self.replay.iter_mut().for_each(|replay| _ = replay.stop_finding());
                self.search.begin(self.events.selected().unwrap_or_default());
                self.ask(Purpose::Search, "");
            }
            Action::Next => self.search_on(Way::Down),
            Action::Previous => self.search_on(Way::Up),
            Action::EditFilter => {
                let text = self.filter.begin();
                self.ask(Purpose::Filter, &text);
            }
            Action::OnlyPid
            | Action::OnlyTree
            | Action::OnlyComm
            | Action::OnlyDir
            | Action::OnlyUser
            | Action::NotComm => self.add_part(action),
            Action::Watch => self.toggle_watch(),
            Action::Toggle(Kind::HUSHED) if self.settings.calm && !self.filter.asks() => {
                self.screen.calm = !self.screen.calm;
                self.screen.kinds = self.screen.kinds | KindSet::from(Kind::HUSHED);
                let key = self.key_of(action);
                self.notify(match self.screen.calm {
                    true => format!("quiet events are counted, not listed; {key} lists all opens"),
                    false => format!("all events are listed; {key} leaves out what is quiet"),
                });
                self.refilter();
            }
            Action::Toggle(kind) => {
                self.screen.kinds = self.screen.kinds.toggled(kind);
                self.refilter();
            }
            Action::Failures => {
                // Other views have no answered failures.
                let in_list = self.views.shown == View::Events;
                self.screen.failures = match self.screen.failures {
                    Failures::Off => Failures::Unanswered,
                    Failures::Unanswered if in_list => Failures::All,
                    _ => Failures::Off,
                };
                let key = self.key_of(action);
                match self.screen.failures {
                    Failures::Unanswered if in_list => {
                        self.notify(format!("failures that nothing answered; {key} shows all failures"));
                    }
                    Failures::All => self.notify(format!("all failures, even answered ones; {key} shows all events")),
                    _ => {}
                }
                self.refilter();
            }
            Action::FoldAll => {
                // The row that is shown as selected stays, not the event that was selected last.
                if let Some(id) = self.events.selected().filter(|_| !self.events.follows) {
                    self.events.select(id, self.list_height(), &self.store);
                }
                self.events.fold_all(!self.events.folds());
                let folded = "equal events, and searches, are folded into one row";
                self.notify(if self.events.folds() { folded } else { "every event has its own row" });
                self.refilter();
            }
            _ => return false,
        }
        true
    }

    fn act_on_list(&mut self, action: Action) -> bool {
        let height = self.list_height();
        match (action, motion(action, height)) {
            // In the detail pane, if the pane fills the body.
            (Action::PageUp | Action::PageDown | Action::HalfUp | Action::HalfDown, Some(rows))
                if self.detail.size == Some(Size::Full) =>
            {
                let page = isize::from(self.areas().detail.height as i16) / 2;
                self.detail.scroll_by(rows.signum() * page.max(1), self.extent.detail);
            }
            (Action::End, _) => self.events.go_to_end(height, &self.store),
            (_, Some(rows)) => self.events.move_by(rows, height, &self.store),
            (Action::Follow, _) => self.events.follow(),
            (Action::Left | Action::Right, _) => {
                let right = action == Action::Right;
                if !self.unfold(right) {
                    self.events.scroll_sideways(if right { SIDEWAYS } else { -SIDEWAYS });
                }
            }
            _ => {}
        }
        true
    }

    /// Unfolds or folds the selected row, and lists the events again. The row stays selected, or that of its job.
    fn unfold(&mut self, opens: bool) -> bool {
        let stored = self.events.selected().and_then(|id| self.store.get(id));
        let job = stored.and_then(|stored| self.views.tree.nodes.job(stored.process?.key));
        let changes = self.events.open(opens, job, &self.store);
        if changes {
            self.stay();
            self.refilter();
            if let Some(job) = job.filter(|job| !opens && !self.events.unfolds(*job)) {
                self.events.select(job.exec, self.list_height(), &self.store);
            }
        }
        changes
    }

    /// Quits. While COMMAND runs, this takes a second press, which terminates COMMAND.
    fn quit(&mut self) {
        let running = self.output.as_ref().filter(|output| output.runs());
        let saved = self.recordings.written.is_some() || !self.recordings.done.is_empty();
        let lost = self.replay.is_none() && self.source == SourceState::Live && self.now > WORTH_ASKING && !saved;
        let question = match running {
            Some(output) => format!("{} is still running; quit again to stop it", output.name),
            None if lost => {
                format!("this trace is not recorded: quit again, or {} records it", self.key_of(Action::Record))
            }
            None => return self.effects.push(Effect::Quit),
        };
        match std::mem::replace(&mut self.asked_to_quit, true) {
            true => self.effects.push(Effect::Quit),
            false => self.notify(question),
        }
    }

    /// Stops following, at the row that was under the cursor.
    pub(in crate::app) fn stay(&mut self) {
        if let Some(id) = self.aimed_at().filter(|_| self.events.follows) {
            self.events.select(id, self.list_height(), &self.store);
            self.events.stayed = Some(id);
        }
    }

    fn search_on(&mut self, way: Way) {
        if self.search.pattern.is_none() {
            return self.notify(format!("no search pattern (press {})", self.key_of(Action::Search)));
        }
        self.replay.iter_mut().for_each(|replay| _ = replay.stop_finding());
        let from = self.events.selected().unwrap_or_default();
        self.search.next(from, way);
        self.work();
    }

    fn reset(&mut self) {
        self.filter.clear();
        self.search.clear();
        self.detail.close();
        self.views.reset();
        self.events.follow();
        self.events.scroll_sideways(isize::MIN);
        self.events.fold_all(self.settings.preferences.folds);
        self.screen.kinds = self.settings.kinds;
        self.screen.failures = Failures::Off;
        self.screen.calm = self.settings.calm;
        self.screen.strip = self.settings.preferences.strip;
        self.screen.time = self.settings.preferences.time;
        self.screen.columns = self.settings.preferences.columns.clone();
        self.refilter();
    }

    /// Goes one step back: closes the detail pane, clears the search, removes the newest part of the filter, or shows more than failures.
    fn back(&mut self) {
        if self.replay.as_mut().is_some_and(Replay::stop_finding) {
            return self.notify("stopped searching the recording");
        }
        if self.leave_verdict() {
            return;
        }
        if self.detail.back(self.events.selected()) {
            if self.detail.size.is_none() && self.replay.is_none() {
                self.events.resume();
            }
            return self.select_behind_pane();
        }
        // The search for the event of a difference is part of the step.
        let from_diff = self.return_to.as_ref().is_some_and(|left| left.view == View::Diff);
        if from_diff && self.back_to_view() {
            self.search.clear();
            return;
        }
        if self.search.clear() || self.back_to_view() {
            return;
        }
        if self.views.shown == View::Diff {
            return self.leave_diff();
        }
        if self.filter.parts.is_empty() && self.screen.failures.only() {
            self.screen.failures = Failures::Off;
            return self.refilter();
        }
        let peeled = self.filter.peel(self.pipeline.world());
        self.changed(peeled);
    }
}

#[cfg(test)]
mod tests {
    use crate::app::testing::{app, feed, keys};
    use tracetui_events::synthetic::Maker;

    #[test]
    fn escape_goes_back_step_by_step() {
        let (mut app, mut made) = (app(120, 24, 64 << 20), Maker::default());
        made.acts("7 cat open /a:-13 /b; 8 dog open /c:-13 /d");
        feed(&mut app, &mut made);
        let mut rows = |typed: &str| keys(&mut app, typed).events.rows();
        assert_eq!((rows("e"), rows("p"), rows("\x1b"), rows("\x1b")), (2, 1, 2, 4));
        assert_eq!((rows("ee"), rows("\x1b")), (2, 4));
        // A list that followed follows again when the pane closes.
        let (mut app, mut made) = (self::app(120, 24, 64 << 20), Maker::default());
        made.open_all(7, "cat", "/a /b /c");
        feed(&mut app, &mut made);
        let mut follows = |typed: &str| keys(&mut app, typed).events.follows;
        assert!(!follows("\n") && follows("\u{1b}"));
        // Not if the user moved.
        assert!(!follows("\nk\u{1b}") && follows("F") && follows("F"));
    }
}
