//! The dashboard's COMMAND: its terminal, and how it ended.

use super::key_bytes as keys;
use super::summary::Summary;
use crate::app::keys::device::KeyEvent;
use crate::app::keys::keymap::Action;
use crate::app::verdict::Verdict;
use crate::app::{App, Effect, Overlay, OverlayKind};
use std::collections::VecDeque;
use tracetui_events::frame::host::{CommandOutput, FIRST_KIND, HostFrame};
use tracetui_events::frame::{Batch, FrameRef};
use tracetui_events::limits;
use tracetui_events::terminal::Terminal;
use tracetui_shared::time::BootNanos;

/// How many bytes of output lie between two terminal states that a replay keeps.
const APART: usize = 1 << 20;

/// How many lines above the screen are searched for an error.
const RECENT: usize = 256;

/// What a line that reports an error contains.
const ERRORS: [&str; 10] =
    ["error:", "error[", "error ", "fatal", "cannot ", "not found", "no such ", "denied", "panicked", "traceback"];

const NO_COMMAND: &str = "no COMMAND was given: tracetui -- COMMAND";

/// The output of a replay, by time.
#[derive(Debug, Default)]
struct Replayed {
    /// The terminal state before `parts`.
    base: Terminal,
    /// The output after `base`, each part with its time.
    parts: VecDeque<(BootNanos, TerminalUpdate)>,
    bytes: usize,
    /// The number of parts before `parts`.
    first: usize,
    /// Terminal states after a number of parts, so that going back in time is fast.
    checkpoints: Vec<(usize, Terminal)>,
    /// The number of parts in the shown terminal, and the number of their bytes since the last kept state.
    applied: usize,
    since: usize,
}

#[derive(Debug)]
enum TerminalUpdate {
    Wrote(CommandOutput),
    /// A state that replaces the previous terminal.
    State(Box<Terminal>),
}

impl TerminalUpdate {
    fn bytes(&self) -> usize {
        size_of::<(BootNanos, TerminalUpdate)>()
            + match self {
                TerminalUpdate::Wrote(output) => output.bytes.len(),
                TerminalUpdate::State(terminal) => terminal.bytes(),
            }
    }

    fn apply(&self, terminal: &mut Terminal) {
        match self {
            TerminalUpdate::Wrote(output) => terminal.apply(output),
            TerminalUpdate::State(state) => terminal.clone_from(state),
        }
    }
}

impl Replayed {
    fn push(&mut self, time: BootNanos, part: TerminalUpdate) {
        self.bytes += part.bytes();
        self.parts.push_back((time, part));
        while self.bytes > limits::OUTPUT_REPLAYED
            && let Some((_, part)) = self.parts.pop_front()
        {
            self.bytes -= part.bytes();
            self.first += 1;
            part.apply(&mut self.base);
        }
        self.checkpoints.retain(|(at, _)| *at > self.first);
    }

    /// Brings `terminal` to its state at a time.
    fn show(&mut self, until: BootNanos, terminal: &mut Terminal) {
        let wanted = self.first + self.parts.partition_point(|(time, _)| *time <= until);
        if wanted < self.applied || self.applied < self.first {
            let kept = self.checkpoints.iter().rfind(|(at, _)| *at <= wanted);
            let (at, from) = kept.map_or((self.first, &self.base), |(at, kept)| (*at, kept));
            terminal.clone_from(from);
            (self.applied, self.since) = (at, 0);
        }
        let (skip, count) = (self.applied - self.first, wanted - self.applied);
        for (_, part) in self.parts.iter().skip(skip).take(count) {
            part.apply(terminal);
            self.applied += 1;
            self.since += part.bytes();
            if self.since > APART && self.checkpoints.last().is_none_or(|(at, _)| *at < self.applied) {
                self.checkpoints.push((self.applied, terminal.clone()));
                self.since = 0;
            }
        }
    }

    fn bytes(&self) -> usize {
        self.bytes + self.base.bytes() + self.checkpoints.iter().map(|(_, terminal)| terminal.bytes()).sum::<usize>()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The COMMAND's name, as it was typed.
    pub(crate) name: String,
    pub(crate) terminal: Terminal,
    /// A description of the exit status; `None` while the COMMAND runs.
    pub(crate) ended: Option<String>,
    /// Whether keys go to COMMAND.
    pub(crate) typed: bool,
    /// Whether the screen was shown without a request by the user.
    offered: bool,
    replayed: Option<Box<Replayed>>,
}

impl Output {
    pub(crate) fn new(name: impl Into<String>) -> Output {
        Output { name: name.into(), ..Output::default() }
    }

    /// The output of a replay that begins at a saved state.
    pub(in crate::app) fn restored(terminal: &Terminal) -> Output {
        let replayed = Replayed { base: terminal.clone(), ..Replayed::default() };
        Output { terminal: terminal.clone(), replayed: Some(Box::new(replayed)), ..Output::default() }
    }

    /// Takes the output from recorded frames. `state`: the terminal of the pipeline, which has the frames.
    pub(in crate::app) fn replay(output: &mut Option<Output>, batch: &Batch, state: Option<&Terminal>) {
        for frame in batch.frames().filter(|frame| frame.header.kind >= FIRST_KIND) {
            let part = match (HostFrame::decode(&frame), state) {
                (Some(HostFrame::CommandOutput(output)), _) => TerminalUpdate::Wrote(output),
                (Some(HostFrame::Restart(_)), Some(terminal)) => TerminalUpdate::State(Box::new(terminal.clone())),
                _ => continue,
            };
            output.get_or_insert_default().replayed.get_or_insert_default().push(frame.header.time, part);
        }
    }

    pub(in crate::app) fn show(&mut self, until: BootNanos) {
        self.replayed.iter_mut().for_each(|replayed| replayed.show(until, &mut self.terminal));
    }

    /// Sends the keys to COMMAND, if it runs. Returns whether it does.
    pub(in crate::app) fn takes_keys(&mut self) -> bool {
        if self.runs() {
            (self.typed, self.offered) = (true, true);
        }
        self.runs()
    }

    /// Whether COMMAND runs. In a replay it does not.
    pub(crate) fn runs(&self) -> bool {
        self.ended.is_none() && self.replayed.is_none()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.terminal.bytes() + self.replayed.as_ref().map_or(0, |replayed| replayed.bytes())
    }

    /// The last lines. After one that reports an error, the first lines and the last one: it ends a traceback.
    pub(crate) fn telling(&self, most: usize) -> Vec<String> {
        let (above, screen) = (self.terminal.above(), self.terminal.screen().contents());
        // These have the sequences of their colours.
        let plain = |text: &str| {
            let parts = text.split('\x1b').enumerate();
            parts.filter_map(|(at, part)| if at == 0 { Some(part) } else { Some(part.split_once('m')?.1) }).collect()
        };
        let above = above.iter().skip(above.len().saturating_sub(RECENT)).map(|line| plain(&line.text));
        let mut lines: Vec<String> = above.chain(screen.lines().map(str::to_owned)).collect();
        lines.retain(|line| !line.trim().is_empty());
        let first = lines.iter().position(|line| {
            let line = line.to_ascii_lowercase();
            ERRORS.iter().any(|error| line.contains(error)) || line.trim_end().ends_with("error")
        });
        lines.drain(..first.unwrap_or(lines.len().saturating_sub(most)));
        if lines.len() > most {
            lines.drain(most - 1..lines.len() - 1);
        }
        lines
    }

    /// Whether COMMAND seems to wait for keys: it uses the whole screen, edits lines, or shows a prompt.
    pub(crate) fn wants_keys(&self) -> bool {
        let screen = self.terminal.screen();
        let prompts = !screen.hide_cursor() && screen.cursor_position().1 > 0;
        self.runs() && (self.wants_all_keys() || prompts)
    }

    /// The bytes of a key for COMMAND, unless it is the key that leaves the terminal.
    pub(in crate::app) fn key(&mut self, key: &KeyEvent) -> Vec<u8> {
        self.typed = !keys::leaves(key);
        if self.typed { keys::encode(key, self.terminal.screen().application_cursor()) } else { Vec::new() }
    }

    pub(in crate::app) fn paste(&self, text: &str) -> Vec<u8> {
        keys::paste(text, self.terminal.screen().bracketed_paste())
    }

    /// What its terminal takes before the next run, in the state that the last run left it in.
    pub(crate) fn between_runs(&self) -> Vec<u8> {
        // The scroll region, colours and the charset; the cursor is visible; plain keys, no reports of the mouse.
        const PLAIN: &str =
            "\x1b7\x1b[r\x1b8\x1b[m\x1b(B\x0f\x1b[?25h\x1b[?1l\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l";
        let screen = self.terminal.screen();
        let main = if screen.alternate_screen() { "\x1b[?1049l" } else { "" };
        let line = if screen.cursor_position().1 > 0 { "\r\n" } else { "" };
        [main, PLAIN, line].concat().into_bytes()
    }

    /// Whether COMMAND uses the whole screen or edits lines.
    fn wants_all_keys(&self) -> bool {
        let screen = self.terminal.screen();
        screen.alternate_screen() || screen.bracketed_paste() || screen.application_cursor()
    }
}

/// The frames of a batch that contain output of COMMAND, or may contain it.
pub(in crate::app) fn frames_of(batch: &Batch) -> Option<Batch> {
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
    /// Resizes the terminal to its area on the screen.
    pub(in crate::app) fn fit_command(&mut self) {
        let (columns, rows) = self.areas().command_window();
        if let Some(output) = self.output.as_mut().filter(|output| output.runs()) {
            output.terminal.resize(columns, rows);
        }
    }

    /// Sends bytes to COMMAND as if they were typed.
    pub(in crate::app) fn send(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.effects.push(Effect::Type(bytes));
        }
    }

    /// Takes output of COMMAND. Returns whether it is on the screen.
    pub(in crate::app) fn wrote(&mut self, bytes: &[u8]) -> bool {
        let Some(output) = &mut self.output else { return false };
        output.terminal.feed(bytes);
        let answers = output.terminal.take_answers();
        let running = output.runs();
        let offers = running && !output.offered && output.wants_all_keys();
        if running {
            self.send(answers);
        }
        // Only once: COMMAND must not take the keys from the user again and again.
        if offers && self.screen.overlay.is_none() && !self.is_typing() {
            self.show_output();
            self.output.iter_mut().for_each(|output| (output.typed, output.offered) = (true, true));
        }
        self.screen.shows_output()
    }

    pub(crate) fn types(&self) -> bool {
        self.screen.shows_output() && self.output.as_ref().is_some_and(|output| output.typed)
    }

    pub(in crate::app) fn command_ended(&mut self, how: String) {
        let (key, again) = (self.key_of(Action::Output), self.key_of(Action::RunAgain));
        let close = self.types() && self.output.as_ref().is_some_and(|output| output.offered);
        if let Some(output) = &mut self.output {
            output.ended = Some(how.clone());
            output.typed = false;
            let said = format!("{} ended: {how}; {key}: its output, {again}: run it again", output.name);
            self.notify(said);
        }
        if close {
            self.screen.overlay = None;
        }
    }

    pub(in crate::app) fn run_again(&mut self) {
        match &self.output {
            _ if self.replay.is_some() => self.notify("a recording does not run"),
            None => self.notify(NO_COMMAND),
            Some(output) if output.runs() => self.notify(format!("{} still runs", output.name)),
            Some(_) => self.effects.push(Effect::RunAgain),
        }
    }

    pub(in crate::app) fn runs_again(&mut self, runs: bool) {
        let Some(output) = &mut self.output else { return };
        let said = match runs {
            true => format!("{} runs again", output.name),
            false => format!("{} cannot run again: the process for it is gone", output.name),
        };
        if runs {
            output.ended = None;
            output.offered = false;
            if self.leave_verdict() {
                self.events.follow();
            }
            self.verdict = Verdict::default();
            self.summary = Summary::of_next_run(&self.pipeline.account());
        }
        self.notify(said);
    }

    pub(in crate::app) fn show_output(&mut self) {
        match self.output {
            Some(_) => self.screen.overlay = Some(Overlay { kind: OverlayKind::Output, scroll: usize::MAX }),
            None if self.replay.is_some() => self.notify("the recording has no output of a COMMAND"),
            None => self.notify(NO_COMMAND),
        }
    }
}
