//! The COMMAND of the dashboard: its terminal, and how it ended.

use super::keymap::Action;
use super::replay::Replay;
use super::{App, Effect, Effects, Overlay, OverlayKind};
use crate::frame::host::{CommandOutput, FIRST_KIND, HostFrame};
use crate::frame::{Batch, FrameRef};
use crate::limits;
use crate::terminal::{Terminal, keys};
use crossterm::event::KeyEvent;
use std::collections::VecDeque;
use tracetui_shared::time::BootNanos;

/// Bytes of output between two terminals that a replay keeps.
const APART: usize = 1 << 20;

/// The output of a replay, by time.
#[derive(Debug, Default)]
struct Replayed {
    /// The terminal before `parts`.
    base: Terminal,
    /// The output since then, with the time of each part.
    parts: VecDeque<(BootNanos, Part)>,
    bytes: usize,
    /// The number of parts before `parts`.
    first: usize,
    /// Terminals after as many parts, so that the way back to an earlier time is short.
    kept: Vec<(usize, Terminal)>,
    /// The parts that the terminal has which is shown, and their bytes since the last one that was kept.
    shown: usize,
    since: usize,
}

/// A part of recorded output.
#[derive(Debug)]
enum Part {
    Wrote(CommandOutput),
    /// A state that replaces what was before.
    State(Box<Terminal>),
}

impl Part {
    fn bytes(&self) -> usize {
        size_of::<(BootNanos, Part)>()
            + match self {
                Part::Wrote(output) => output.bytes.len(),
                Part::State(terminal) => terminal.bytes(),
            }
    }

    fn apply(&self, terminal: &mut Terminal) {
        match self {
            Part::Wrote(output) => terminal.apply(output),
            Part::State(state) => terminal.clone_from(state),
        }
    }
}

impl Replayed {
    fn push(&mut self, time: BootNanos, part: Part) {
        self.bytes += part.bytes();
        self.parts.push_back((time, part));
        while self.bytes > limits::OUTPUT_REPLAYED
            && let Some((_, part)) = self.parts.pop_front()
        {
            self.bytes -= part.bytes();
            self.first += 1;
            part.apply(&mut self.base);
        }
        self.kept.retain(|(at, _)| *at > self.first);
    }

    /// Makes `terminal` what it was at a time.
    fn show(&mut self, until: BootNanos, terminal: &mut Terminal) {
        let wanted = self.first + self.parts.partition_point(|(time, _)| *time <= until);
        if wanted < self.shown || self.shown < self.first {
            let kept = self.kept.iter().rfind(|(at, _)| *at <= wanted);
            let (at, from) = kept.map_or((self.first, &self.base), |(at, kept)| (*at, kept));
            terminal.clone_from(from);
            (self.shown, self.since) = (at, 0);
        }
        let (skip, count) = (self.shown - self.first, wanted - self.shown);
        for (_, part) in self.parts.iter().skip(skip).take(count) {
            part.apply(terminal);
            self.shown += 1;
            self.since += part.bytes();
            if self.since > APART && self.kept.last().is_none_or(|(at, _)| *at < self.shown) {
                self.kept.push((self.shown, terminal.clone()));
                self.since = 0;
            }
        }
    }

    fn bytes(&self) -> usize {
        self.bytes + self.base.bytes() + self.kept.iter().map(|(_, terminal)| terminal.bytes()).sum::<usize>()
    }
}

/// A COMMAND with its terminal and its status.
#[derive(Debug, Default)]
pub struct Output {
    name: String,
    terminal: Terminal,
    ended: Option<String>,
    /// Whether keys go to it.
    typed: bool,
    /// Whether its screen was shown without being asked for.
    offered: bool,
    /// The output of a replay.
    replayed: Option<Box<Replayed>>,
}

impl Output {
    /// A running COMMAND without output.
    pub fn new(name: impl Into<String>) -> Output {
        Output { name: name.into(), ..Output::default() }
    }

    /// The COMMAND's name, as it was typed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A description of the exit status; `None` while the COMMAND runs.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Whether the COMMAND runs. One of a replay does not.
    pub(crate) fn runs(&self) -> bool {
        self.ended.is_none() && self.replayed.is_none()
    }

    /// Its terminal.
    pub(crate) fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// Whether keys go to it.
    pub(crate) fn is_typed(&self) -> bool {
        self.typed
    }

    /// The memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.terminal.bytes() + self.replayed.as_ref().map_or(0, |replayed| replayed.bytes())
    }

    /// Whether it seems to wait for keys: it uses the whole screen or edits lines, or stands behind a prompt.
    pub(crate) fn wants_keys(&self) -> bool {
        let screen = self.terminal.screen();
        let prompts = !screen.hide_cursor() && screen.cursor_position().1 > 0;
        self.runs() && (self.wants_all_keys() || prompts)
    }

    /// Whether it uses the whole screen or edits lines.
    fn wants_all_keys(&self) -> bool {
        let screen = self.terminal.screen();
        screen.alternate_screen() || screen.bracketed_paste() || screen.application_cursor()
    }
}

/// The frames of a recording that have output of COMMAND, or may.
pub(super) fn frames_of(batch: &Batch) -> Option<Batch> {
    let kind = |frame: &FrameRef<'_>| frame.header.kind;
    let mut of_output = Batch::default();
    for frame in batch.frames().filter(|frame| kind(frame) >= FIRST_KIND) {
        if let Some(HostFrame::CommandOutput(_) | HostFrame::Restart(_)) = HostFrame::decode(&frame) {
            of_output.push(frame.header, frame.payload);
        }
    }
    (!of_output.is_empty()).then_some(of_output)
}

impl App {
    /// Columns and rows of COMMAND's terminal: the body without the title of the pane.
    pub(crate) fn command_window(&self) -> (u16, u16) {
        let body = self.areas().body();
        (body.width, body.height.saturating_sub(1))
    }

    /// Resizes the terminal to its area on the screen. COMMAND gets SIGWINCH if the size has changed.
    pub(super) fn fit_command(&mut self) -> Effects {
        let (columns, rows) = self.command_window();
        let Some(output) = self.output.as_mut().filter(|output| output.runs()) else { return Vec::new() };
        let before = output.terminal.size();
        output.terminal.resize(columns, rows);
        let (columns, rows) = output.terminal.size();
        if (columns, rows) == before { Vec::new() } else { vec![Effect::CommandWindow(columns, rows)] }
    }

    /// COMMAND wrote.
    pub(super) fn wrote(&mut self, bytes: &[u8]) -> Effects {
        let Some(output) = &mut self.output else { return Vec::new() };
        output.terminal.feed(bytes);
        let answers = output.terminal.take_answers();
        let running = output.runs();
        let offers = running && !output.offered && output.wants_all_keys();
        let mut effects = Vec::new();
        if running && !answers.is_empty() {
            effects.push(Effect::Type(answers));
        }
        // Once: COMMAND must not take the keys from the user again and again.
        if offers && self.view.overlay.is_none() && !self.is_typing() {
            self.show_output();
            self.output.iter_mut().for_each(|output| (output.typed, output.offered) = (true, true));
        }
        if self.shows_output() {
            effects.push(Effect::Redraw);
        }
        effects
    }

    pub(super) fn shows_output(&self) -> bool {
        matches!(self.view.overlay, Some(Overlay { kind: OverlayKind::Output, .. }))
    }

    /// Whether keys go to COMMAND's terminal.
    pub(crate) fn types(&self) -> bool {
        self.shows_output() && self.output.as_ref().is_some_and(Output::is_typed)
    }

    pub(super) fn command_ended(&mut self, how: String) -> Effects {
        let key = self.key_of(Action::Output);
        let close = self.types() && self.output.as_ref().is_some_and(|output| output.offered);
        if let Some(output) = &mut self.output {
            output.ended = Some(how.clone());
            output.typed = false;
            let said = format!("{} ended: {how}; press {key} for its output", output.name());
            self.say(said);
        }
        if close {
            self.view.overlay = None;
        }
        vec![Effect::Redraw]
    }

    /// COMMAND's terminal is to be in the states of a recording from now on.
    pub(crate) fn keep_output(&mut self) {
        if let Some(output) = &self.output {
            self.pipeline.set_terminal(&output.terminal);
        }
    }

    /// Takes the output in recorded frames, which the pipeline was fed.
    pub(super) fn replay_output(&mut self, batch: &Batch) {
        for frame in batch.frames().filter(|frame| frame.header.kind >= FIRST_KIND) {
            let part = match HostFrame::decode(&frame) {
                Some(HostFrame::CommandOutput(output)) => Part::Wrote(output),
                Some(HostFrame::Restart(_)) => match self.pipeline.world().terminal() {
                    Some(terminal) => Part::State(Box::new(terminal.clone())),
                    None => continue,
                },
                _ => continue,
            };
            let output = self.output.get_or_insert_default();
            output.replayed.get_or_insert_default().push(frame.header.time, part);
        }
    }

    /// Another part of the recording is loaded, from a state on.
    pub(super) fn restore_output(&mut self) {
        self.output = self.pipeline.world().terminal().map(|terminal| {
            let replayed = Replayed { base: terminal.clone(), ..Replayed::default() };
            Output { terminal: terminal.clone(), replayed: Some(Box::new(replayed)), ..Output::default() }
        });
        if self.output.is_none() && self.shows_output() {
            self.view.overlay = None;
        }
    }

    /// Makes the screen of a replay that of its time, if it is shown.
    pub(super) fn settle_output(&mut self) {
        if !self.shows_output() {
            return;
        }
        let until = self.replayed_until();
        let Some(Output { terminal, replayed: Some(replayed), .. }) = &mut self.output else { return };
        replayed.show(until, terminal);
    }

    /// The time of a replay: that of the row. After the last event it is the end.
    fn replayed_until(&self) -> BootNanos {
        let playing = self.replay.as_ref().and_then(Replay::playing_at);
        let last = self.store.next_id().saturating_sub(1);
        match (playing, self.selected()) {
            (Some(at), _) => BootNanos(at),
            (None, Some(selected)) if selected.id != last => selected.time,
            _ => BootNanos(u64::MAX),
        }
    }

    /// Shows the output of the COMMAND and follows it.
    pub(super) fn show_output(&mut self) {
        match self.output {
            Some(_) => self.view.overlay = Some(Overlay { kind: OverlayKind::Output, scroll: usize::MAX }),
            None if self.replay.is_some() => self.say("the recording has no output of a COMMAND"),
            None => self.say("no COMMAND was given: tracetui -- COMMAND"),
        }
    }

    /// Gives the keys to COMMAND, whose newest output is shown.
    pub(super) fn type_into_output(&mut self) {
        let Some(output) = &mut self.output else { return };
        if output.runs() {
            (output.typed, output.offered) = (true, true);
            self.show_output();
        }
    }

    /// A key for COMMAND, unless it is the one that leaves its terminal.
    pub(super) fn type_key(&mut self, key: &KeyEvent) -> Effects {
        let Some(output) = &mut self.output else { return Vec::new() };
        if keys::leaves(key) {
            output.typed = false;
            return vec![Effect::Redraw];
        }
        let bytes = keys::encode(key, output.terminal.screen().application_cursor());
        if bytes.is_empty() { Vec::new() } else { vec![Effect::Type(bytes)] }
    }

    /// A text for COMMAND.
    pub(super) fn type_paste(&mut self, text: &str) -> Effects {
        let Some(output) = &self.output else { return Vec::new() };
        vec![Effect::Type(keys::paste(text, output.terminal.screen().bracketed_paste()))]
    }
}
