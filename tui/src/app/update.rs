//! The effect of each input on the state.

use super::columns;
use super::edit::{Edited, History, Line};
use super::keymap::{self, Action, Press};
use super::output;
use super::search::{Found, Rows, Way, Wrapped};
use super::views::{View, motion};
use super::{
    App, Effect, Effects, Extent, HelpSearch, Input, Overlay, OverlayKind, Recorded, Signal, SourceState, Tick, Usage,
};
use super::{copy, row};
use crate::app::filter::{Change, FilterInputError};
use crate::app::replay::Replay;
use crate::app::views::detail::{Size, Subject, Tab};
use crate::app::views::events::Shown;
use crate::app::views::top::By;
use crate::event::EventContext;
use crate::event::process::ProcessKey;
use crate::filter;
use crate::frame::Batch;
use crate::frame::FrameRef;
use crate::pipeline::{Disposition, Pipeline};
use crate::store::Id;
use crate::store::index::Answer;
use crate::text::{self, counted, grouped};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;
use std::time::Duration;
use tracetui_shared::id::{Tgid, Uid};
use tracetui_shared::kind::Kind;

/// The function to which the pipeline delivers events.
type Receiver<'a> = dyn FnMut(&EventContext<'_>, &FrameRef<'_>) -> Disposition + 'a;

/// The number of kept events that one slice filters, and of rows that one slice of a search checks.
const SLICE: usize = 4_000;

/// The display time of a message.
const MESSAGE: Duration = Duration::from_secs(4);

impl App {
    /// Handles an input and returns the actions.
    pub fn update(&mut self, input: Input) -> Effects {
        let more = matches!(input, Input::KeyOfMany(_));
        let mut effects = match input {
            Input::Batch(batch) => self.batch(batch),
            Input::Restore(state, from_start) => self.restore(state.as_ref(), from_start),
            Input::Replayed(recording) => self.recording_changed(recording),
            Input::ReadFailed(why) => self.read_failed(why),
            Input::Finding(ns) => {
                self.find_went_on(ns);
                vec![Effect::Redraw]
            }
            Input::Found(Ok(found)) => [self.found_in_recording(found), vec![Effect::Redraw]].concat(),
            Input::Found(Err(why)) => {
                self.stop_finding();
                self.say(why);
                vec![Effect::Redraw]
            }
            Input::Looked(id, answer) => {
                self.looked(id, answer);
                vec![Effect::Redraw]
            }
            Input::Key(key) | Input::KeyOfMany(key) if key.kind == KeyEventKind::Release => Vec::new(),
            Input::Key(key) | Input::KeyOfMany(key) => self.key(&key, more),
            Input::Paste(text) => self.paste(&text),
            Input::Mouse(mouse) => self.mouse(&mouse),
            Input::Resize(width, height) => self.resize(width, height),
            Input::Tick(tick) => self.tick(tick),
            Input::Signal(signal) => signalled(signal),
            Input::Output(bytes) => self.wrote(&bytes),
            Input::CommandEnded(how) => self.command_ended(how),
            Input::SourceEnded => self.ended(),
            Input::Recording(name) => self.recording_began(name),
            Input::KeptEvicted(events) => self.kept_evicted(events),
            Input::Recorded(bytes) => {
                self.recording.iter_mut().for_each(|recording| recording.bytes = bytes);
                Vec::new()
            }
            Input::RecordingEnded(bytes) => self.recording_ended(bytes),
            Input::NotRecorded(why) => self.not_recorded(why),
        };
        if !more {
            self.read_typed();
        }
        self.settle();
        let counts = self.view.current == View::Bpf && self.replay.is_none();
        if std::mem::replace(&mut self.counts_runs, counts) != counts {
            effects.push(Effect::CountRuns(counts));
        }
        effects.extend(self.take_question().map(|(id, question)| Effect::Look(id, question)));
        effects.extend(self.replay.as_mut().and_then(|replay| replay.asked.take()).map(Effect::Find));
        effects
    }

    /// Keeps the selected row on the screen and the detail pane on its process.
    fn settle(&mut self) {
        self.settle_replay();
        self.play_from_selected();
        self.settle_output();
        self.events.reveal(self.list_height(), &self.store);
        self.hold_rows();
        if self.view.current == View::Top {
            self.count_top();
        }
        let of_event = self.detail.size().is_some() && self.view.current == View::Events;
        self.detail.belong_to(self.events.selected());
        let process = self.subject_process().map(|process| process.key);
        self.detail.about(process.filter(|_| of_event), &self.store);
        if of_event {
            self.look_at_subject();
        }
    }

    fn batch(&mut self, batch: Batch) -> Effects {
        let caught_up = self.replay.as_mut().is_some_and(|replay| replay.took(&batch));
        let output = self.replay.as_ref().and_then(|_| output::frames_of(&batch));
        self.pipeline.feed(batch);
        output.iter().for_each(|frames| self.replay_output(frames));
        let mut effects = self.take(Pipeline::release);
        effects.extend(caught_up.then_some(Effect::Redraw));
        effects
    }

    /// Stores the events that the pipeline delivers.
    fn take(&mut self, hand_on: for<'r> fn(&mut Pipeline, &'r mut Receiver<'r>)) -> Effects {
        let App {
            pipeline,
            store,
            events,
            detail,
            tree,
            top,
            rates,
            summary,
            filter,
            view,
            replay,
            search,
            searches,
            ..
        } = self;
        let command = pipeline.command();
        let shown = Shown { kinds: view.kinds, failures: view.failures, filter: filter.applied() };
        let before = store.next_id();
        hand_on(pipeline, &mut |seen, frame| {
            rates.count(seen.event, frame.header.time.0);
            command.into_iter().for_each(|command| summary.count(seen, command));
            if let Some(replay) = replay {
                replay.count(seen);
            }
            let id = store.push(seen, frame);
            let answer = shown.answer(seen);
            events.append(id, answer);
            let taken = searches.take(id, seen);
            tree.append(id, seen, answer == Answer::Yes, taken.cause);
            if answer != Answer::No {
                search.append(id, seen);
            }
            for (failed, kind) in taken.answered {
                store.answer(*failed);
                tree.answered(*failed, seen);
                summary.answered(*kind);
                // This event is not counted yet.
                if let Some(failed) = store.get(*failed).filter(|failed| failed.id < id && events.has(failed.id)) {
                    top.answered(&failed, seen.world);
                }
            }
            if let Some(stored) = store.get(id) {
                if answer == Answer::Yes {
                    top.append(&stored, seen.world);
                }
                if detail.files().is_some() {
                    detail.append(&stored);
                }
            }
            Disposition::Delivered
        });
        self.bound_events();
        self.evict();
        if self.store.next_id() == before { Vec::new() } else { vec![Effect::Redraw] }
    }

    /// Forgets what the store evicted.
    fn evict(&mut self) {
        let App { store, events, detail, search, .. } = self;
        events.evict(store);
        detail.evict(store);
        search.evict(store);
    }

    /// While the view is paused, keeps the rows on the screen and around it in memory.
    fn hold_rows(&mut self) {
        let rows = match self.events.paused() {
            true => self.events.rows_to_hold(self.list_height(), &self.store),
            false => self.store.pinned().map(|_| 0..0),
        };
        if let Some(rows) = rows {
            self.store.pin(rows.filter_map(|at| self.events.row(at)));
            self.evict();
        }
    }

    /// Limits the kept events to the memory that nothing else uses.
    fn bound_events(&mut self) {
        let others = self.memory().others();
        self.store.set_bound(self.settings.budget.kept(others));
    }

    fn ended(&mut self) -> Effects {
        self.source = SourceState::Ended;
        self.take(Pipeline::finish);
        vec![Effect::Redraw]
    }

    /// Quits. While the COMMAND runs, this takes a second press, which terminates the COMMAND.
    fn quit(&mut self) -> Effects {
        let running = self.output.as_ref().filter(|output| output.runs());
        let Some(name) = running.map(|output| output.name().to_owned()).filter(|_| !self.asked_to_quit) else {
            return vec![Effect::Quit];
        };
        self.asked_to_quit = true;
        self.say(format!("{name} is still running; quit again to stop it"));
        vec![Effect::Redraw]
    }

    fn recording_began(&mut self, name: String) -> Effects {
        let key = self.key_of(Action::Record);
        let kept = counted(self.store.kept(), ["event", "events"]);
        self.say(format!("recording to {name}, with {kept} kept so far; {key} stops"));
        self.recording = Some(Recorded { name, bytes: 0, evicted: 0 });
        self.not_recorded = None;
        vec![Effect::Redraw]
    }

    fn recording_ended(&mut self, bytes: u64) -> Effects {
        if let Some(recording) = self.recording.take() {
            self.say(format!("{}: {} bytes", recording.name, grouped(bytes)));
            self.recordings.push(Recorded { bytes, ..recording });
        }
        vec![Effect::Redraw]
    }

    fn kept_evicted(&mut self, events: u64) -> Effects {
        if let Some(recording) = &mut self.recording {
            recording.evicted = events;
            let evicted = counted(events, ["event was", "events were"]);
            self.say(format!("{evicted} evicted from memory before the recording had them"));
        }
        vec![Effect::Redraw]
    }

    fn not_recorded(&mut self, why: String) -> Effects {
        let text = why.strip_prefix("tracetui: ").unwrap_or(&why);
        let stopped = if self.recording.take().is_some() { "recording stopped: " } else { "" };
        self.say(format!("{stopped}{text}"));
        self.not_recorded = Some(why);
        vec![Effect::Redraw]
    }

    /// Stores what was drawn: the selected row, and the scroll limits of the panes.
    pub fn drew(&mut self, extent: Extent) {
        self.extent = extent;
        self.detail.drew(extent.scroll, extent.row_hidden);
        self.drawn = self.events.selected();
    }

    fn resize(&mut self, width: u16, height: u16) -> Effects {
        (self.view.width, self.view.height) = (width, height);
        [self.fit_command(), vec![Effect::Redraw]].concat()
    }

    fn tick(&mut self, tick: Tick) -> Effects {
        self.now = tick.now;
        let second = self.rates.tick(tick.now);
        let expired = self.view.message.take_if(|(_, until)| *until <= tick.now).is_some();
        if let Some(usage) = tick.usage {
            self.measure(tick.now, usage);
        }
        let released = !self.take(Pipeline::release).is_empty() | self.play();
        if second {
            self.tree.settle(&self.pipeline.world().processes);
        }
        let worked = self.work();
        if second || expired || released || worked { vec![Effect::Redraw] } else { Vec::new() }
    }

    fn measure(&mut self, now: Duration, usage: Usage) {
        if let Some((then, before)) = self.usage.last {
            let passed = now.saturating_sub(then).as_secs_f64();
            let spent = usage.cpu.saturating_sub(before.cpu).as_secs_f64();
            self.usage.cpu_percent = (passed > 0.0).then(|| 100.0 * spent / passed);
        }
        self.usage.last = Some((now, usage));
    }

    /// Continues long-running work; `false` if nothing is left.
    fn work(&mut self) -> bool {
        let busy = self.busy();
        let rows = if self.replay.is_none() || self.all_loaded() { Rows::All } else { Rows::Some };
        let moment = self.moment().filter(|_| self.view.current == View::Tree);
        let App { pipeline, store, events, detail, tree, top, filter, view, search, .. } = self;
        let world = pipeline.world();
        let shown = Shown { kinds: view.kinds, failures: view.failures, filter: filter.applied() };
        events.scan(store, SLICE, |stored| {
            let answer = shown.answer_stored(stored, world);
            if let (Answer::Yes, Some(process), Some(_)) = (answer, stored.process, shown.filter) {
                tree.matched(process.key);
            }
            answer
        });
        // No frame is looked at.
        tree.travel(moment, store, SLICE * 16);
        top.scan(events, store, world, SLICE);
        detail.scan(store, SLICE * 4);
        let found = search.hunt(events, rows, store, world, SLICE);
        search.count(events, store, world, SLICE);
        self.found(found);
        busy
    }

    fn found(&mut self, found: Found) {
        match found {
            Found::Nothing => {}
            Found::None(back) => {
                self.go_back(back);
                self.say("no match");
            }
            Found::Edge(way, back) => {
                self.go_back(back);
                if self.search.line().is_none() {
                    self.look_further(way, self.search.pattern().cloned());
                }
            }
            Found::Row(id, wrapped) => {
                // What was aimed at before and is still to come is not wanted any more.
                self.replay.iter_mut().for_each(Replay::found);
                self.events.select(id, self.list_height(), &self.store);
                if wrapped == Wrapped::Yes {
                    self.say("search wrapped around");
                }
            }
        }
    }

    /// Selects the row from before a search that found nothing.
    fn go_back(&mut self, to: Option<Id>) {
        if let Some(id) = to {
            self.events.select(id, self.list_height(), &self.store);
        }
    }

    /// Shows a message for some seconds.
    pub fn notice(&mut self, text: String) {
        self.say(text);
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.view.message = Some((text.into(), self.now + MESSAGE));
    }

    /// The wheel scrolls what is under it; a click selects the row under it, or shows the view or the page of the tab under it.
    fn mouse(&mut self, mouse: &MouseEvent) -> Effects {
        let at = Position { x: mouse.column, y: mouse.row };
        match mouse.kind {
            MouseEventKind::ScrollUp => self.scroll(-3, at),
            MouseEventKind::ScrollDown => self.scroll(3, at),
            MouseEventKind::Down(MouseButton::Left) => self.click(at),
            _ => Vec::new(),
        }
    }

    fn scroll(&mut self, rows: isize, at: Position) -> Effects {
        if self.view.overlay.is_some() {
            let action = if rows < 0 { Action::Up } else { Action::Down };
            return (0..rows.unsigned_abs()).flat_map(|_| self.act_on_overlay(action)).collect();
        }
        if self.areas().detail.contains(at) {
            self.scroll_pane(rows);
            return vec![Effect::Redraw];
        }
        match self.view.current {
            View::Events => self.move_by(rows),
            View::Tree => self.tree.move_by(rows, self.now),
            View::Top => self.top.move_by(rows, self.now),
            View::Bpf => self.bpf.move_by(rows, self.now),
        }
        vec![Effect::Redraw]
    }

    /// While text is typed or something covers the list, a click does nothing.
    fn click(&mut self, at: Position) -> Effects {
        let (areas, height) = (self.areas(), self.list_height());
        if self.is_typing() || self.view.overlay.is_some() {
            return Vec::new();
        }
        let tab = || self.extent.tabs.iter().position(|(from, to)| (*from..*to).contains(&at.x));
        if let Some(view) = Some(at).filter(|at| areas.filter.contains(*at)).and_then(|_| tab()) {
            self.view.message = None;
            return self.act(View::ALL[view].action());
        }
        let chip = || self.extent.chips.iter().position(|(from, to)| (*from..*to).contains(&at.x));
        if let Some(kind) = Some(at).filter(|at| areas.filter.contains(*at)).and_then(|_| chip()) {
            self.view.message = None;
            return self.act(Action::Toggle(Kind::DEFAULT_FIRST[kind]));
        }
        let title = areas.detail.contains(at) && at.y == areas.detail.y;
        let tab = || self.extent.pane_tabs.iter().position(|(from, to)| (*from..*to).contains(&at.x));
        if let Some(tab) = Some(title).filter(|title| *title).and_then(|_| tab()) {
            self.view.message = None;
            self.detail.show(Tab::ALL[tab]);
            return vec![Effect::Redraw];
        }
        if !areas.list.contains(at) {
            return Vec::new();
        }
        self.view.message = None;
        let row = usize::from(at.y - areas.list.y);
        match self.view.current {
            View::Events => {
                let first = self.extent.first.unwrap_or_default();
                self.events.select_line(first, row, height, &self.store);
            }
            View::Tree => self.tree.click(row, self.now),
            View::Top => self.top.click(row, self.now),
            View::Bpf => self.bpf.click(row, self.now),
        }
        vec![Effect::Redraw]
    }

    /// Whether keys are text.
    pub(super) fn is_typing(&self) -> bool {
        let in_help = self.view.help.line.is_some();
        in_help || self.filter.line().is_some() || self.search.line().is_some() || self.types_time()
    }

    /// `more`: another key follows at once.
    fn key(&mut self, key: &KeyEvent, more: bool) -> Effects {
        if self.types() {
            return self.type_key(key);
        }
        let press = keymap::pressed(key);
        self.view.message = None;
        let asked = self.asked_to_quit;
        // A terminal reports Esc and a key right after it as that key with Alt. No action is bound to Alt.
        let mut effects = match key.modifiers.contains(KeyModifiers::ALT) {
            true => self.press(Press { code: KeyCode::Esc, ctrl: false }, more),
            false => Vec::new(),
        };
        effects.extend(self.press(press, more));
        // The next key may be meant for what this one shows.
        self.drawn = None;
        // Any other key withdraws the request to quit.
        self.asked_to_quit &= !asked;
        effects
    }

    fn press(&mut self, press: Press, more: bool) -> Effects {
        let typing = self.is_typing();
        match self.keymap().lookup(press, self.scopes()) {
            // These actions also work while text is typed, by keys that are not text.
            Some(action @ (Action::Quit | Action::Suspend | Action::Redraw)) if !press.is_text() => self.act(action),
            _ if typing => self.typed(press, more),
            Some(action) if self.view.overlay.is_some() => self.act_on_overlay(action),
            Some(action) => self.act(action),
            None => self.unbound(press),
        }
    }

    fn typed(&mut self, press: Press, more: bool) -> Effects {
        if let Some(line) = &mut self.view.help.line {
            match line.key(press, &History::default()) {
                Edited::Same => {}
                Edited::Changed => self.view.help.text = line.text(),
                Edited::Done => self.view.help.line = None,
                Edited::Cancelled => self.view.help = HelpSearch::default(),
            }
            return vec![Effect::Redraw];
        }
        if self.types_time() {
            return self.typed_time(press);
        }
        if self.filter.line().is_some() {
            self.typed_in_filter(press, more);
        } else {
            self.search.key(press, more, self.pipeline.world());
            // While another key follows, only a key that ends the line has an effect here.
            if !more || self.search.line().is_none() {
                self.search_typed();
            }
        }
        vec![Effect::Redraw]
    }

    /// Selects what a search that is being typed finds first.
    fn search_typed(&mut self) {
        match self.view.current {
            View::Events => _ = self.work(),
            View::Tree | View::Top | View::Bpf => self.found_in_view(),
        }
    }

    /// Reads what was typed by keys that followed each other at once.
    fn read_typed(&mut self) {
        let change = self.filter.read(self.pipeline.world());
        self.changed(Ok(change));
        if self.search.read(self.pipeline.world()) {
            self.search_typed();
        }
    }

    fn typed_in_filter(&mut self, press: Press, more: bool) {
        let world = self.pipeline.world();
        let change = match press.code {
            KeyCode::Tab | KeyCode::BackTab => self.filter.complete(press.code == KeyCode::Tab, &self.store, world),
            _ => Some(self.filter.key(press, more, world)),
        };
        match change {
            Some(change) => self.changed(Ok(change)),
            None => self.say("nothing is known that could stand here"),
        }
    }

    /// Inserts pasted text where text is typed. Elsewhere its characters are no keys.
    fn paste(&mut self, text: &str) -> Effects {
        if self.types() {
            return self.type_paste(text);
        }
        self.view.message = None;
        if let Some(line) = &mut self.view.help.line {
            line.paste(text);
            self.view.help.text = line.text();
        } else if self.types_time() {
            self.replay.iter_mut().for_each(|replay| replay.paste(text));
        } else if self.filter.line().is_some() {
            let change = self.filter.paste(text, self.pipeline.world());
            self.changed(Ok(change));
        } else if self.search.line().is_some() {
            self.search.paste(text, self.pipeline.world());
            self.search_typed();
        } else {
            let (filter, search) = (self.key_of(Action::EditFilter), self.key_of(Action::Search));
            self.say(format!("press {filter} or {search} first to paste into a filter or a search"));
        }
        vec![Effect::Redraw]
    }

    fn unbound(&mut self, press: Press) -> Effects {
        self.say(format!(
            "{} is not bound here; press {} for the keys",
            text::escaped(press.name().as_bytes(), text::Mode::Screen),
            self.key_of(Action::Help)
        ));
        vec![Effect::Redraw]
    }

    /// Scrolls, replaces or closes the overlay. An action without a meaning there only closes it.
    fn act_on_overlay(&mut self, action: Action) -> Effects {
        let page = isize::from(self.areas().body().height as i16).max(1);
        let Some(overlay) = &mut self.view.overlay else { return Vec::new() };
        if overlay.kind == OverlayKind::Columns {
            match action {
                Action::Pause | Action::Enter => return self.redraw_after(App::toggle_column),
                Action::Reset => {
                    self.view.columns.reset(self.view.current, &self.settings.preferences.columns);
                    return vec![Effect::Redraw];
                }
                Action::Left | Action::Right => {
                    return self.redraw_after(|app| app.move_column(action == Action::Right));
                }
                // The choice of the other view.
                Action::ShowEvents
                | Action::ShowTree
                | Action::ShowTop
                | Action::ShowBpf
                | Action::NextView
                | Action::PreviousView => {
                    overlay.scroll = 0;
                    return self.act(action);
                }
                _ => {}
            }
        }
        let by = match action {
            Action::Up => -1,
            Action::Down => 1,
            Action::PageUp | Action::HalfUp => -page / 2,
            Action::PageDown | Action::HalfDown => page / 2,
            Action::Start => isize::MIN,
            Action::End if overlay.kind == OverlayKind::Output => isize::MAX,
            Action::End => 1 << 16,
            Action::Quit | Action::Redraw | Action::Suspend | Action::Pause | Action::Play => return self.act(action),
            Action::Help if overlay.kind != OverlayKind::Help => return self.act(action),
            Action::LossReport if overlay.kind != OverlayKind::Loss => return self.act(action),
            Action::Output if overlay.kind != OverlayKind::Output => return self.act(action),
            Action::Enter if overlay.kind == OverlayKind::Output => return self.redraw_after(App::type_into_output),
            Action::Columns if overlay.kind != OverlayKind::Columns => return self.act(action),
            // The screen of another time.
            Action::EventBack
            | Action::EventForward
            | Action::Back10
            | Action::Forward10
            | Action::Back60
            | Action::Forward60
            | Action::Slower
            | Action::Faster
                if overlay.kind == OverlayKind::Output =>
            {
                return self.act(action);
            }
            Action::Search if overlay.kind == OverlayKind::Help => {
                overlay.scroll = 0;
                self.view.help = HelpSearch { line: Some(Line::default()), text: String::new() };
                return vec![Effect::Redraw];
            }
            Action::Back if overlay.kind == OverlayKind::Help && !self.view.help.text.is_empty() => {
                self.view.help = HelpSearch::default();
                return vec![Effect::Redraw];
            }
            Action::Next | Action::Previous if overlay.kind == OverlayKind::Loss => {
                return self.go_to_gap(if action == Action::Next { Way::Down } else { Way::Up });
            }
            _ => {
                self.view.overlay = None;
                return vec![Effect::Redraw];
            }
        };
        let most = match overlay.kind {
            OverlayKind::Columns => columns::all(self.view.current).len() - 1,
            _ => self.extent.overlay,
        };
        overlay.scroll = match (overlay.scroll.min(most).saturating_add_signed(by), overlay.kind) {
            // An output overlay that is at its end follows the output.
            (to, OverlayKind::Output) if to >= most => usize::MAX,
            (to, _) => to.min(most),
        };
        vec![Effect::Redraw]
    }

    fn redraw_after(&mut self, change: impl FnOnce(&mut App)) -> Effects {
        change(self);
        vec![Effect::Redraw]
    }

    /// Closes the report and searches for the next gap row.
    fn go_to_gap(&mut self, way: Way) -> Effects {
        self.view.overlay = None;
        let selected = self.events.selected().unwrap_or_default();
        self.search.look_for("kind=lost", selected, way, self.pipeline.world());
        self.work();
        vec![Effect::Redraw]
    }

    fn act(&mut self, action: Action) -> Effects {
        let done = match self.view.current {
            View::Events => false,
            View::Tree => self.act_on_tree(action),
            View::Top => self.act_on_top(action),
            View::Bpf => self.act_on_bpf(action),
        };
        if done {
            return vec![Effect::Redraw];
        }
        if let Some(effects) = self.act_on_replay(action) {
            return effects;
        }
        match action {
            Action::Quit => return self.quit(),
            Action::Suspend => return vec![Effect::Suspend],
            Action::Redraw => return vec![Effect::Clear],
            Action::CopyLine => return self.copy_line(),
            Action::CopyCommand => return self.copy_command(),
            Action::CopyJson => return self.copy_json(),
            Action::Help => {
                self.view.help = HelpSearch::default();
                self.view.overlay = Some(Overlay { kind: OverlayKind::Help, scroll: 0 });
            }
            Action::LossReport => self.view.overlay = Some(Overlay { kind: OverlayKind::Loss, scroll: 0 }),
            Action::Output => self.show_output(),
            Action::Columns => self.view.overlay = Some(Overlay { kind: OverlayKind::Columns, scroll: 0 }),
            Action::Record => return vec![Effect::Record, Effect::Redraw],
            Action::Pause => self.events.pause(&self.store),
            Action::TimeMode => self.next_time_mode(),
            Action::Reset => self.reset(),
            Action::Back => self.back(),
            Action::Search => {
                self.stop_finding();
                self.search.edit(self.events.selected().unwrap_or_default());
            }
            Action::ShowEvents => self.show(View::Events),
            Action::ShowTree => self.show(View::Tree),
            Action::ShowTop => self.show(View::Top),
            Action::ShowBpf => self.show(View::Bpf),
            Action::NextView => self.show(self.view.current.step(1)),
            Action::PreviousView => self.show(self.view.current.step(View::ALL.len() - 1)),
            Action::Next => self.search_on(Way::Down),
            Action::Previous => self.search_on(Way::Up),
            _ => self.act_on_rows(action),
        }
        vec![Effect::Redraw]
    }

    pub(super) fn act_on_rows(&mut self, action: Action) {
        match action {
            Action::Enter
            | Action::Why
            | Action::NextTab
            | Action::PreviousTab
            | Action::ToParent
            | Action::PaneDown
            | Action::PaneUp => self.act_on_detail(action),
            Action::EditFilter => self.filter.edit(),
            Action::OnlyPid
            | Action::OnlyTree
            | Action::OnlyComm
            | Action::OnlyDir
            | Action::OnlyUser
            | Action::NotComm => self.add_part(action),
            Action::Toggle(kind) => self.toggle(kind),
            Action::Failures => {
                self.view.failures = !self.view.failures;
                self.refilter();
            }
            Action::FoldAll => self.fold_all(),
            _ => self.act_on_place(action),
        }
    }

    fn fold_all(&mut self) {
        self.events.fold_all(!self.events.folds());
        let folded = "repeats and searches of a process are folded into one row";
        self.say(if self.events.folds() { folded } else { "every event has a row" });
    }

    fn act_on_place(&mut self, action: Action) {
        match (action, motion(action, self.list_height())) {
            (Action::PageUp | Action::PageDown | Action::HalfUp | Action::HalfDown, Some(rows)) => self.page(rows),
            _ => self.events.act(action, self.list_height(), &self.store),
        }
    }

    fn move_by(&mut self, rows: isize) {
        self.events.move_by(rows, self.list_height(), &self.store);
    }

    /// Moves by a page in the list, or in the detail pane if that fills the body.
    fn page(&mut self, rows: isize) {
        if self.detail.size() != Some(Size::Full) {
            return self.move_by(rows);
        }
        let page = isize::from(self.areas().detail.height as i16) / 2;
        self.scroll_pane(rows.signum() * page.max(1));
    }

    /// Stops following, at the row that was under the cursor.
    pub(super) fn stay(&mut self) {
        if let Some(id) = self.aimed_at().filter(|_| self.events.follows()) {
            self.events.select(id, self.list_height(), &self.store);
        }
    }

    fn search_on(&mut self, way: Way) {
        if self.search.pattern().is_none() {
            return self.say(format!("no search pattern (press {})", self.key_of(Action::Search)));
        }
        self.stop_finding();
        let from = self.events.selected().unwrap_or_default();
        self.search.next(from, way);
        self.work();
    }

    fn next_time_mode(&mut self) {
        self.view.time = self.view.time.next();
        self.say(format!("time: {}", self.view.time.name()));
    }

    fn reset(&mut self) {
        self.filter.clear();
        self.search.clear();
        self.detail.close();
        self.tree.follow();
        self.bpf.follow();
        self.tree.reset_order();
        self.top.reset_order();
        self.bpf.reset_order();
        self.events.follow();
        self.events.scroll_sideways(isize::MIN);
        self.events.fold_all(self.settings.preferences.folds);
        self.view.kinds = self.settings.kinds;
        self.view.failures = false;
        self.view.time = self.settings.preferences.time;
        self.view.columns = self.settings.preferences.columns.clone();
        self.refilter();
    }

    /// Goes one step back: closes the detail pane, clears the search, or removes the newest part of the filter.
    fn back(&mut self) {
        if self.stop_finding() {
            return self.say("the search of the recording was stopped");
        }
        if self.detail.back(self.events.selected()) {
            return self.select_behind_pane();
        }
        if self.search.clear() || self.back_to_view() {
            return;
        }
        let peeled = self.filter.peel(self.pipeline.world());
        self.changed(peeled);
    }

    pub(super) fn changed(&mut self, change: Result<Change, FilterInputError>) {
        match change {
            Ok(Change::Applied) => self.refilter(),
            Ok(Change::None) => {}
            Err(error) => self.say(format!("filter: {}", error.message)),
        }
    }

    fn toggle(&mut self, kind: Kind) {
        self.view.kinds = self.view.kinds.toggled(kind);
        self.refilter();
    }

    /// Filters all kept events again; the newest slice is filtered immediately.
    pub(super) fn refilter(&mut self) {
        self.stop_finding();
        self.replay.iter_mut().for_each(|replay| replay.nothing_passes = false);
        self.pipeline.follow(&self.filter.roots());
        self.events.restart(&self.store);
        self.tree.unmatch();
        self.top.stop();
        self.count_top();
        self.search.recount();
        self.work();
    }

    fn add_part(&mut self, action: Action) {
        let of = self.acted_on();
        if action == Action::OnlyTree
            && let Some(process) = of.as_ref().and_then(|of| of.process)
            && self.pipeline.follow_process(process)
        {
            // The same part as before may denote another process now.
            self.refilter();
        }
        if action == Action::OnlyDir && self.view.current == View::Events {
            return match self.directory() {
                Some(directory) => self.add_to_filter(&By::Dir.term(&directory)),
                None => self.say("this event has no path with a directory"),
            };
        }
        let part = of.and_then(|ActedOn { pid, uid, comm, .. }| match action {
            Action::OnlyPid => Some(format!("pid={}", pid.0)),
            Action::OnlyTree => Some(format!("tree={}", pid.0)),
            Action::OnlyUser => Some(format!("uid={}", uid.0)),
            Action::OnlyComm => Some(filter::exactly("comm", &comm)),
            Action::NotComm => Some(format!("not {}", filter::exactly("comm", &comm))),
            _ => None,
        });
        match part {
            Some(part) => self.add_to_filter(&part),
            None if self.view.current == View::Top => {
                self.say(format!("{} shows the events of the row", self.key_of(Action::TopEvents)));
            }
            None if self.view.current == View::Bpf => {
                self.say(format!("{} shows the events of the program", self.key_of(Action::BpfEvents)));
            }
            None if action == Action::OnlyDir => self.say("this is for events with a path"),
            None => self.say("nothing is selected"),
        }
    }

    /// The directory of the file of the selected event.
    fn directory(&self) -> Option<Vec<u8>> {
        let stored = self.aimed_at().and_then(|id| self.store.get(id))?;
        stored.with(self.world(), |seen| {
            let mut directory = Vec::new();
            By::Dir.of(seen, &mut directory).then_some(directory)
        })?
    }

    /// Adds a part to the filter, and says what it did.
    pub(super) fn add_to_filter(&mut self, part: &str) {
        let before = self.filter.parts().to_vec();
        // The key goes back one step: while something else is open, that is closed first.
        let next = self.detail.size().is_none() && self.search.pattern().is_none();
        if let Some(only) = before.iter().find(|only| filter::shows_only(only, part)) {
            let remedy = match next && before.last() == Some(only) {
                true => format!("{} removes that filter", self.key_of(Action::Back)),
                false => format!("{} edits the filter", self.key_of(Action::EditFilter)),
            };
            return self.say(format!("all rows are {only}: {remedy}"));
        }
        let added = self.filter.add(part, self.pipeline.world());
        let applied = matches!(added, Ok(Change::Applied));
        let good = added.is_ok();
        self.changed(added);
        if !applied {
            if good {
                self.say(format!("{part} is in the filter"));
            }
            return;
        }
        let now = self.filter.parts();
        let stays = |part: &&String| now.iter().any(|now| now == *part || *now == format!("({part})"));
        let gone: Vec<&str> = before.iter().filter(|part| !stays(part)).map(String::as_str).collect();
        let gone = if gone.is_empty() { String::new() } else { format!(" in place of {}", gone.join(" ")) };
        let undoes = if next { format!("  {} undoes", self.key_of(Action::Back)) } else { String::new() };
        self.say(format!("+ {part}{gone}{undoes}"));
    }

    /// The event in the row that was under the cursor when the key was pressed: others may have arrived since it was drawn.
    pub(super) fn aimed_at(&self) -> Option<Id> {
        let drawn = self.drawn.filter(|id| self.events.follows() && self.store.get(*id).is_some());
        drawn.or_else(|| self.events.selected())
    }

    /// What an action on the selected row is about.
    fn acted_on(&self) -> Option<ActedOn> {
        match self.view.current {
            View::Events => {
                let stored = self.aimed_at().and_then(|id| self.store.get(id))?;
                let stored = Some(stored).filter(|stored| stored.kind != Kind::Lost)?;
                let header = stored.header();
                let process = stored.process.map(|process| process.key);
                Some(ActedOn { pid: header.tgid, uid: header.uid, comm: header.comm().to_vec(), process })
            }
            View::Tree => {
                let process = self.tree.selected()?.process;
                let (pid, uid) = (process.key.tgid, process.uid);
                Some(ActedOn { pid, uid, comm: process.comm.to_vec(), process: Some(process.key) })
            }
            View::Top | View::Bpf => None,
        }
    }

    fn copy_line(&mut self) -> Effects {
        match self.view.current {
            View::Events => {}
            View::Tree => return self.copy(self.tree_line(), "line"),
            View::Bpf => return self.copy(self.bpf.selected(self.pipeline.world()).map(|seen| seen.line()), "line"),
            View::Top => {
                let value = self.top.selected().map(|group| group.value.clone());
                return self.copy(value.map(|value| copy::line(&value)), "value");
            }
        }
        let base = self.time_base(0);
        let line = self.aimed_at().and_then(|id| self.store.get(id)).and_then(|stored| {
            let remark = self.remark(stored.id);
            stored.with(self.world(), |seen| {
                let mut out = Vec::new();
                row::line(seen, &base, &mut out);
                format!("{}{remark}", copy::line(&out))
            })
        });
        self.copy(line, "line")
    }

    /// What the list says beside the row of an event, with the space before it: of the rows that are folded into it, and of its search.
    fn remark(&self, id: Id) -> String {
        let found = self.found_in_hidden(id).map(|dir| copy::line(&dir));
        let remarks = self.events.line_of(id, &self.store).map(|line| line.remarks(found.as_deref()));
        remarks.and_then(|remarks| Some(format!("  {}", remarks.first()?))).unwrap_or_default()
    }

    fn copy_json(&mut self) -> Effects {
        let id = (self.view.current == View::Events).then(|| self.aimed_at()).flatten();
        let json = id.and_then(|id| self.store.get(id)).and_then(|stored| stored.with(self.world(), copy::json));
        self.copy(json, "event as JSON")
    }

    fn copy_command(&mut self) -> Effects {
        let subject = match self.subject() {
            Some(Subject::Event(id)) if Some(id) == self.events.selected() => self.aimed_at().map(Subject::Event),
            subject => subject,
        };
        let command = match subject {
            _ if matches!(self.view.current, View::Top | View::Bpf) => None,
            _ if self.view.current == View::Tree => self.tree.selected().and_then(|seen| match seen.tried {
                // The row shows that one, in parts; the event has all of it.
                Some(tried) => self.command_of_event(tried.failure.id),
                None => copy::command_of(seen.process),
            }),
            Some(Subject::Event(id)) => self.command_of_event(id),
            Some(Subject::Process(_)) => self.subject_process().and_then(|process| copy::command_of(&process)),
            None => None,
        };
        self.copy(command, "command")
    }

    fn command_of_event(&self, id: Id) -> Option<String> {
        self.store.get(id).and_then(|stored| stored.with(self.world(), copy::command)).flatten()
    }

    fn copy(&mut self, text: Option<String>, what: &str) -> Effects {
        let effect = match text {
            None => {
                self.say(format!("no {what} to copy"));
                None
            }
            // A truncated command is a different command, so a text that is too long is not copied.
            Some(text) if text.len() > copy::MOST => {
                self.say(format!("the {what} is too long for the clipboard: {} KiB", text.len() >> 10));
                None
            }
            Some(text) => {
                let bytes = grouped(text.len() as u64);
                self.say(format!("{what} sent to the terminal's clipboard (OSC 52): {bytes} bytes"));
                Some(Effect::Copy(text.into_bytes()))
            }
        };
        effect.into_iter().chain([Effect::Redraw]).collect()
    }
}

/// The process that an action on the selected row is about.
struct ActedOn {
    pid: Tgid,
    uid: Uid,
    comm: Vec<u8>,
    process: Option<ProcessKey>,
}

fn signalled(signal: Signal) -> Effects {
    match signal {
        Signal::End => vec![Effect::Quit],
        Signal::Suspend => vec![Effect::Suspend],
        Signal::Continue => vec![Effect::Clear],
    }
}
