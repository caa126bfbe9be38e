//! Where a replay is in its recording, and how it goes to another place.

use super::{Playing, Replay, Target, Transport};
use crate::app::command::output::Output;
use crate::app::keys::device::KeyCode;
use crate::app::keys::keymap::{Action, Press};
use crate::app::prompt::Purpose;
use crate::app::search::Way;
use crate::app::time::Aim;
use crate::app::{App, Effect, SourceState};
use tracetui_events::frame::Batch;
use tracetui_events::playback::pipeline;
use tracetui_events::store::Store;

const SECOND: u64 = 1_000_000_000;

impl App {
    /// Continues from a state of the pipeline, or from the start of the recording.
    pub(in crate::app) fn restore(&mut self, state: Option<&Batch>, from_start: bool) {
        self.pipeline = pipeline(self.settings.budget, state, &[self.filter.roots(), self.watches.roots()].concat());
        self.pipeline.world_mut().ends_at = self.replay.as_ref().and_then(Replay::ends_at);
        self.watches.recount();
        self.side.restart();
        self.output = self.pipeline.world().terminal().map(Output::restored);
        if self.output.is_none() && self.screen.shows_output() {
            self.screen.overlay = None;
        }
        self.store = Store::new(self.settings.budget.kept_bytes(0)).by_age();
        self.events.empty();
        self.rates = Default::default();
        self.source = SourceState::Live;
        self.detail.close();
        self.searches = Default::default();
        self.views.empty(self.settings.budget);
        self.search.stop();
        self.search.recount();
        self.time.strip.restart();
        let before = self.loaded().events_read();
        if let Some(replay) = &mut self.replay {
            replay.restored(from_start, before);
        }
    }

    /// Goes to the target once it is loaded. The list follows only at the end of a pipe.
    pub(in crate::app) fn settle_replay(&mut self) {
        let awaits = self.replay.as_ref().is_none_or(|replay| replay.transport.awaits());
        if awaits || self.look_for_any_row() {
            return;
        }
        let edits_filter = self.line_for(Purpose::Filter).is_some();
        let Some(replay) = &mut self.replay else { return };
        let (ended, grows, target) = (replay.at_end(), replay.grows(), replay.transport.target());
        let follows = grows && self.events.follows;
        if follows && (target == Some(Target::Last) || target.is_none() && !replay.plays()) {
            replay.transport = Transport::Following;
            return;
        }
        if matches!(replay.transport, Transport::Following) {
            replay.transport = Transport::default();
        }
        let Some(target) = target else {
            if self.events.rows() == 0 && !ended && !edits_filter {
                // The loaded part has no shown rows, so look further.
                replay.transport.aim(Target::First);
            } else if self.events.follows && !grows {
                self.events.stay(self.list_height(), &self.store);
            }
            return;
        };
        let found = self.loaded().row_of(target, ended);
        let Some(replay) = &mut self.replay else { return };
        match found {
            Some(_) if target == Target::Last && grows => self.follow_end(),
            Some(id) => {
                replay.transport.arrive();
                self.events.select(id, self.list_height(), &self.store);
            }
            None if ended && !self.events.scanning(&self.store) => replay.transport.arrive(),
            None => {}
        }
    }

    fn follow_end(&mut self) {
        if let Some(replay) = &mut self.replay {
            replay.transport = Transport::Following;
            self.events.follow();
        }
    }

    pub(in crate::app) fn act_on_replay(&mut self, action: Action) -> bool {
        let beyond = match action {
            Action::Down | Action::PageDown | Action::HalfDown | Action::EventForward => self.move_beyond(Way::Down),
            Action::Up | Action::PageUp | Action::HalfUp | Action::EventBack => self.move_beyond(Way::Up),
            _ => false,
        };
        beyond || self.act_on_transport(action)
    }

    fn act_on_transport(&mut self, action: Action) -> bool {
        let Some(replay) = &mut self.replay else { return false };
        match action {
            Action::Play | Action::Pause => self.toggle_play(),
            Action::Slower | Action::Faster => replay.speed = replay.speed.next(action == Action::Faster),
            Action::EventBack | Action::EventForward => {
                let rows = if action == Action::EventBack { -1 } else { 1 };
                self.events.move_by(rows, self.list_height(), &self.store);
            }
            Action::Start => self.seek(0),
            Action::End | Action::Follow => self.seek(u64::MAX),
            _ => return false,
        }
        true
    }

    pub(in crate::app) fn act_on_time(&mut self, action: Action) -> bool {
        let at = self.loaded().position().unwrap_or_default();
        match action {
            Action::GoTo => self.ask(Purpose::Time, ""),
            Action::Mark | Action::GoToMark => self.await_mark(action),
            Action::Back10 => self.seek(self.back_to(at.saturating_sub(10 * SECOND))),
            Action::Back60 => self.seek(self.back_to(at.saturating_sub(60 * SECOND))),
            Action::Forward10 => self.seek(at.saturating_add(10 * SECOND)),
            Action::Forward60 => self.seek(at.saturating_add(60 * SECOND)),
            _ => return false,
        }
        true
    }

    /// A time to go back to, or that of the row above if no row lies between.
    fn back_to(&self, ns: u64) -> u64 {
        let Some(row) = self.events.cursor().filter(|row| *row == self.loaded().row_at(ns)) else { return ns };
        let above = row.checked_sub(1).and_then(|above| self.events.row(above));
        above.and_then(|id| self.loaded().time_of(id)).unwrap_or(ns)
    }

    fn await_mark(&mut self, action: Action) {
        let aimed = self.aimed_at().and_then(|id| self.loaded().time_of(id));
        if action == Action::Mark && aimed.is_none() {
            return self.notify("no event is shown yet");
        }
        self.time.awaited = Some((action, aimed));
        let what = if action == Action::Mark { "mark this event as" } else { "go to mark" };
        let known: String = self.time.marks().map(|(letter, _)| format!(" {letter}")).collect();
        let known = if known.is_empty() { known } else { format!(" (set:{known})") };
        self.notify(format!("{what}: press a letter{known}"));
    }

    /// Takes the key after that of a mark, as in vim: a letter, or the key again for the place before the last jump.
    pub(in crate::app) fn mark(&mut self, press: Press) {
        let (Some((action, aimed)), KeyCode::Char(letter)) = (self.time.awaited.take(), press.code) else { return };
        let known = self.time.marks.get(&letter).copied().or(self.time.before.filter(|_| letter == '\''));
        match (action, aimed, known) {
            (Action::Mark, Some(ns), _) if letter.is_ascii_alphanumeric() => {
                self.time.marks.insert(letter, ns);
                let key = self.key_of(Action::GoToMark);
                self.notify(format!("mark {letter} is set; {key}{letter} goes to it"));
            }
            (Action::GoToMark, _, Some(ns)) => self.jump(ns),
            (Action::GoToMark, ..) if letter.is_ascii_alphanumeric() || letter == '\'' => {
                self.notify(format!("mark {letter} is not set"));
            }
            _ => {}
        }
    }

    /// Goes to a time, and keeps the place before.
    pub(in crate::app) fn jump(&mut self, ns: u64) {
        self.time.before = self.loaded().position();
        self.seek(ns);
    }

    /// Selects the first row at or after a time, live. A later time is the newest row.
    fn select_time(&mut self, ns: u64) {
        let (row, rows) = (self.loaded().row_at(ns), self.events.rows());
        let first = self.loaded().first_ns().is_some_and(|first| ns < first);
        match self.events.row(row) {
            Some(id) => self.events.select(id, self.list_height(), &self.store),
            None if rows > 0 => self.events.go_to_end(self.list_height(), &self.store),
            None => {}
        }
        if first && self.store.evicted() > 0 {
            self.notify("earlier events were evicted");
        }
    }

    /// Pauses or resumes. To resume at the row where following was paused means to follow again. From any other row, the replay plays.
    fn toggle_play(&mut self) {
        let (at, now, row) = (self.loaded().selected_ns().unwrap_or_default(), self.now, self.events.chosen);
        let height = self.list_height();
        let Some(replay) = &mut self.replay else { return };
        let (ended, grows) = (replay.at_end(), replay.grows());
        let held = match replay.transport.rest() {
            Transport::Following => {
                self.events.stay(height, &self.store);
                *replay.transport.rest() = Transport::Paused { held: self.events.chosen };
                if self.events.follows {
                    self.notify("no event is shown yet");
                }
                return;
            }
            playing @ Transport::Playing(_) => {
                *playing = Transport::default();
                return;
            }
            Transport::Paused { held } => held.take(),
            Transport::Loading { .. } => None,
        };
        if grows && held.is_some() && held == row {
            return self.seek(u64::MAX);
        }
        let rows = self.events.rows();
        if ended && rows > 1 && self.events.cursor().is_some_and(|row| row + 1 >= rows) {
            let start = self.key_of(Action::Start);
            self.notify(format!("the recording ends here; {start} goes to its start"));
        } else {
            *replay.transport.rest() = Transport::Playing(Playing::new(at, now, row));
        }
    }

    /// Goes to a time of the recording. `u64::MAX` is the last event, 0 the first.
    pub(in crate::app) fn seek(&mut self, ns: u64) {
        if self.replay.is_none() {
            return self.select_time(ns);
        }
        self.replay.iter_mut().for_each(|replay| _ = replay.stop_finding());
        let first = self.loaded().first_ns().unwrap_or(u64::MAX);
        let last = self.loaded().last_ns().unwrap_or_default();
        let after_start = ns >= first || self.loaded().begins_at_start();
        let read = self.loaded().events_read();
        let Some(replay) = &mut self.replay else { return };
        let is_loaded = after_start && (ns <= last || replay.reads_on(read));
        let follows = ns == u64::MAX && is_loaded && replay.grows();
        replay.nothing_passes = false;
        replay.transport.aim(match ns {
            0 => Target::First,
            u64::MAX => Target::Last,
            ns => Target::At(ns),
        });
        if !is_loaded && replay.facts.seekable {
            replay.transport.set_awaited(true);
            self.effects.push(Effect::Seek(ns));
        } else if follows {
            self.follow_end();
        } else if !after_start {
            replay.transport.arrive();
            self.notify("earlier events were evicted, and a pipe cannot be rewound");
        }
    }

    /// Advances the position during playback. Returns whether it moved.
    pub(in crate::app) fn play(&mut self) -> bool {
        let last = self.loaded().last_ns().unwrap_or_default();
        let at = self.replay.as_mut().and_then(|replay| replay.play(self.now, last));
        let Some(at) = at else { return false };
        let (row, rows) = (self.loaded().row_at(at.saturating_add(1)), self.events.rows());
        if let Some(id) = row.checked_sub(1).and_then(|row| self.events.row(row)) {
            self.events.select(id, self.list_height(), &self.store);
        }
        let chosen = self.events.chosen;
        let Some(replay) = &mut self.replay else { return true };
        replay.transport.playing_mut().into_iter().for_each(|playing| playing.row = chosen);
        if at >= last && row == rows && replay.at_end() {
            replay.transport.stop();
            self.notify("the recording ends here");
        }
        true
    }

    pub(in crate::app) fn go_to_time(&mut self, aim: Aim) {
        let Some(span) = self.loaded().span() else { return };
        let ns = aim.boot_ns(span, i128::from(self.world().clock_offset), self.settings.zone);
        if ns > span.1 {
            let ends = "the recording ends before that";
            return self.notify(if self.replay.is_some() { ends } else { "that time is still to come" });
        }
        self.jump(ns);
    }
}
