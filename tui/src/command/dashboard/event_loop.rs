//! The dashboard's event loop: takes input, applies effects, and draws the screen if something changed.

use super::background::Background;
use super::comparer::{self, Comparer};
use super::lookups::Lookups;
use super::process_usage;
use super::recording_search;
use super::terminal::{self, Mouse, Screen};
use super::terminal_input::{Keys, READ_AHEAD};
use crate::app::command::output::Output;
use crate::app::copy::{self, Wrap};
use crate::app::recordings::kept_events::KeptEvents;
use crate::app::search::Find;
use crate::app::{App, Effect, Effects, ExitLine, Input, Signal, Tick};
use crate::cli;
use crate::command::messages::{self, name, say};
use crate::command::output_file;
use crate::command::signals::{self, Second, Signals};
use crate::command::trace::running::{Frames, Happening, RunningTrace, release};
use crate::command::user_files::{self, Opener};
use crate::command::writer_thread::{POLL_INTERVAL, Patience};
use crate::recorder::Recorder;
use crate::view;
use crate::view::theme::Theme;
use crossterm::event::Event;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracetui_events::event::names;
use tracetui_events::limits;
use tracetui_events::pipeline::excerpt::restart;
use tracetui_events::playback::timeline::{StartPoint, Timeline};
use tracetui_host::clock;
use tracetui_live::command::{Ended, Happened, HeldCommand, Running};
use tracetui_live::feed::Feed;
use tracetui_live::reason_lookup::Threads;

/// The message for a user who starts a recording in a replay.
const NO_TRACE: &str = "this is already a recording; tracetui cut extracts part of it";

/// The minimum time between two screens of a live trace. Drawing takes most of the CPU time while few events arrive.
const LIVE_FRAME: Duration = Duration::from_millis(100);

/// The minimum time between two screens of a recording, or of a COMMAND that takes keys.
const FRAME: Duration = Duration::from_millis(33);

/// The minimum time between two screens after a key. The effect of a key is on the screen within 16 ms, even while events arrive.
const KEY_FRAME: Duration = Duration::from_millis(8);

/// The time between two ticks if no work is left to continue.
const SECOND: Duration = Duration::from_secs(1);

/// Bytes of batches to take before drawing and reading keys, within [`FRAME`]. A small batch counts as [`SMALL`].
const TAKEN: usize = 4 * limits::BATCH;

/// The minimum bytes that a batch counts for. A recording may consist of many small batches.
const SMALL: usize = 16 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Appearance {
    pub theme: Theme,
    pub mouse: Mouse,
}

#[derive(Debug)]
pub struct Trace {
    pub feed: Feed,
    /// The COMMAND. It is released once the dashboard has the terminal.
    pub command: Option<HeldCommand>,
    pub timeline: Option<Timeline>,
    /// Records the frames from the start.
    pub recorder: Option<Recorder>,
    pub opener: Option<Opener>,
    /// The home directory, for `~/` in the path that `D` asks for.
    pub home: Option<PathBuf>,
    /// Starts threads that look up why calls failed.
    pub lookups: Option<Threads>,
    pub run: cli::Run,
}

#[derive(Debug)]
pub struct DashboardExit {
    pub line: ExitLine,
    /// How the COMMAND ended; `None` if tracetui did not wait for it.
    pub command: Option<Ended>,
    /// Whether a second signal ended the dashboard at once.
    pub interrupted: bool,
}

/// Shows the dashboard until the user leaves it. Then sends SIGTERM to a COMMAND that still runs, writes COMMAND's output to stdout,
/// and takes what the source sends until it ends, so that the account is exact. A second signal ends this at once.
/// An error of the terminal or a panic is returned after the terminal is restored and the panic reported.
pub async fn run(mut app: App, look: Appearance, trace: Trace) -> io::Result<DashboardExit> {
    let Trace { feed, command: held, timeline, recorder, opener, home, lookups, run } = trace;
    app.screen.wrap = Wrap::of(|name| std::env::var_os(name));
    let signals = Signals::install(Second::Counts, &[libc::SIGTSTP, libc::SIGCONT])?;
    // If this fails, the account is closed all the same. The COMMAND is then not released.
    let screen = Screen::open(look.mouse);
    let held = held.filter(|_| screen.is_ok());
    if let (Some(held), Ok((columns, rows))) = (&held, terminal::window()) {
        app.update(Input::Resize(columns, rows));
        let (columns, rows) = app.areas().command_window();
        held.resize(columns, rows);
    }
    let command = release(held).map_err(io::Error::other)?;
    if let Some(command) = &command {
        app.set_command(command.name().to_string_lossy());
    }
    let mut dashboard = Loop {
        app,
        look,
        trace: RunningTrace::new(feed, command, signals, &run),
        timeline,
        finder: None,
        lookups: Lookups::new(lookups),
        comparer: Comparer::default(),
        opener,
        home,
        past_events: None,
        started: Instant::now(),
        next_tick: Duration::ZERO,
        apart: FRAME,
        interrupted: false,
    };
    let (columns, rows) = dashboard.app.areas().command_window();
    dashboard.trace.resize_command(columns, rows);
    if recorder.is_some() {
        dashboard.record_with(recorder);
        dashboard.trace.tapped = true;
    }
    let (screen, left) = match screen {
        Ok(mut screen) => {
            let left = dashboard.show(&mut screen).await;
            (Some(screen), left)
        }
        Err(error) => (None, Err(error)),
    };
    // Stop before writing anything, since a write may have to wait.
    dashboard.trace.stop();
    if let Some(screen) = screen {
        dashboard.leave(screen).await;
    }
    dashboard.wait_until(|trace| trace.source_ended, Frames::Taken).await;
    dashboard.trace.withdraw_recording().await;
    dashboard.end_recording().await;
    dashboard.end_command().await;
    match left {
        // A closed terminal ends the dashboard as a closed pipe does, whatever error came first.
        Err(error) if is_gone(&error) || terminal::hung_up() => {}
        left => left?,
    }
    dashboard.write_output();
    match terminal::panicked() {
        true => Err(io::Error::other("a thread panicked")),
        false => {
            let command = dashboard.trace.command_end().cloned();
            let interrupted = dashboard.interrupted;
            Ok(DashboardExit { line: ExitLine::of(&dashboard.app), command, interrupted })
        }
    }
}

struct Loop {
    app: App,
    look: Appearance,
    trace: RunningTrace,
    timeline: Option<Timeline>,
    finder: Option<Background>,
    lookups: Lookups,
    comparer: Comparer,
    opener: Option<Opener>,
    home: Option<PathBuf>,
    /// The kept events still to write into a recording that began after them.
    past_events: Option<KeptEvents>,
    started: Instant,
    next_tick: Duration,
    /// The minimum time between the last screen and the next one.
    apart: Duration,
    /// Whether a signal came after the dashboard left the screen.
    interrupted: bool,
}

/// Sleeps for `time`. If it is zero, only yields: a timer would take a millisecond, or many on a busy machine.
async fn pause(time: Duration) {
    match time.is_zero() {
        true => tokio::task::yield_now().await,
        false => tokio::time::sleep(time).await,
    }
}

impl Loop {
    async fn show(&mut self, screen: &mut Screen) -> io::Result<()> {
        let mut keys = Keys::read()?;
        let (width, height) = terminal::window()?;
        self.app.update(Input::Resize(width, height));
        let mut dirty = true;
        let mut drawn = None::<Instant>;
        loop {
            let due = drawn.map_or(Duration::ZERO, |at| self.apart.saturating_sub(at.elapsed()));
            if dirty && due.is_zero() && screen.ready() {
                self.draw(screen)?;
                let moves = self.timeline.is_some() || self.app.types();
                dirty = false;
                drawn = Some(Instant::now());
                self.apart = if moves { FRAME } else { LIVE_FRAME };
            }
            let due = async {
                match (dirty, screen.ready()) {
                    (false, _) => std::future::pending().await,
                    (true, true) => tokio::time::sleep(due).await,
                    // The terminal has not taken the last screen yet.
                    (true, false) => screen.writer.changed().await,
                }
            };
            let input = self.input(&mut keys, due).await?;
            let Some(input) = input else { continue };
            let effects = self.take_waiting(input, &mut keys)?;
            if !self.perform(effects, screen, &mut dirty).await? || terminal::panicked() {
                return Ok(());
            }
        }
    }

    fn draw(&mut self, screen: &mut Screen) -> io::Result<()> {
        let mut extent = Default::default();
        // Apply a changed size first, so that the screen fits.
        let size = terminal::window()?;
        if size != (self.app.screen.width, self.app.screen.height) {
            self.app.update(Input::Resize(size.0, size.1));
            // COMMAND gets SIGWINCH if its size has changed.
            if let Some(output) = &self.app.output {
                let (columns, rows) = output.terminal.size();
                self.trace.resize_command(columns, rows);
            }
        }
        self.app.prepare();
        screen.draw(|frame| extent = view::draw(frame, &self.app, self.look.theme))?;
        self.app.drew(extent);
        Ok(())
    }

    /// Waits for an input, fairly for all sources. Returns `None` if one does not concern the state, and when it is time to draw.
    async fn input(&mut self, keys: &mut Keys, due: impl Future<Output = ()>) -> io::Result<Option<Input>> {
        let frames = if self.app.loaded().wants_frames() { Frames::Taken } else { Frames::Left };
        let tick = self.next_tick.saturating_sub(self.started.elapsed());
        if tick.is_zero() {
            // A recording that is loading always has frames ready, while a timer that is due is not ready at once.
            return Ok(Some(self.tick()));
        }
        let writes = self.past_events.is_some() && self.trace.recorder.as_ref().is_some_and(Recorder::has_room);
        let (until_tick, frames) =
            match (self.app.busy() || writes, self.app.replay.as_ref().is_some_and(|replay| replay.plays())) {
                (true, _) => (Duration::ZERO, Frames::Left),
                (false, true) => (tick.min(FRAME), frames),
                (false, false) => (tick, frames),
            };
        tokio::select! {
            happening = self.trace.next(frames) => Ok(Some(of_trace(happening))),
            found = Background::next(&mut self.finder) => Ok(found),
            looked = self.lookups.next() => Ok(Some(looked)),
            compared = Background::next(&mut self.comparer.running) => Ok(compared),
            key = keys.next() => key.map(of_terminal),
            () = pause(until_tick) => Ok(Some(self.tick())),
            () = due => Ok(None),
        }
    }

    /// Takes an input and all inputs that already wait, so that the next screen shows all of them.
    fn take_waiting(&mut self, first: Input, keys: &mut Keys) -> io::Result<Effects> {
        let mut effects = self.apply(first);
        for _ in 0..READ_AHEAD {
            let Some(event) = keys.waiting() else { break };
            effects.extend(of_terminal(event?).into_iter().flat_map(|input| self.apply(input)));
        }
        let (mut left, began) = (TAKEN, Instant::now());
        while left > 0 && began.elapsed() < FRAME.min(self.apart) {
            // A batch takes time, so answer a signal or a key first.
            if signals::asked_to_end() || keys.are_waiting() || !self.app.loaded().wants_frames() {
                break;
            }
            let Some(batch) = self.trace.waiting() else { break };
            left = left.saturating_sub(batch.len().max(SMALL));
            effects.extend(self.apply(Input::Batch(batch)));
        }
        Ok(effects)
    }

    fn apply(&mut self, input: Input) -> Effects {
        match input {
            Input::NotRecorded(_) => self.past_events = None,
            Input::SourceEnded => self.look(),
            Input::Key(_) | Input::Paste(_) | Input::Mouse(_) | Input::Resize(..) => self.apart = KEY_FRAME,
            _ => {}
        }
        let busy = self.app.busy();
        let mut effects = Vec::new();
        if let Input::Output(_) | Input::CommandEnded(_) = &input {
            let wrote = if let Input::Output(bytes) = &input { bytes.as_slice() } else { &[] };
            let batch = self.trace.record_output(wrote);
            effects = batch.map_or_else(Vec::new, |batch| self.app.update(Input::Batch(batch)));
        }
        effects.extend(self.app.update(input));
        if busy && !self.app.busy() {
            // The work that a key began is done.
            self.apart = KEY_FRAME;
        }
        self.trace.record_state(&self.app.pipeline);
        for notice in self.trace.notices(&mut self.app.pipeline) {
            self.app.notify(notice);
        }
        self.write_kept();
        self.comparer.feed(&self.app);
        effects
    }

    fn tick(&mut self) -> Input {
        let now = self.started.elapsed();
        let second = now >= self.next_tick;
        if second {
            if let Some(recorder) = self.trace.recorder.as_ref() {
                self.app.update(Input::Recorded(recorder.written()));
            }
            self.next_tick = now + SECOND;
        }
        Input::Tick(Tick { now, usage: if second { process_usage::own() } else { None } })
    }

    /// Checks whether the recording on the screen can still be read.
    fn look(&mut self) {
        let known = self.app.replay.as_ref().is_some_and(|replay| replay.failure.is_some());
        if let Some(why) = self.timeline.as_ref().filter(|_| !known).and_then(Timeline::failure) {
            self.app.update(Input::ReadFailed(why));
        }
    }

    fn seek(&mut self, ns: u64) {
        let Some(timeline) = &mut self.timeline else { return };
        let budget = timeline.budget;
        let place = timeline.seek(ns).map_err(|error| error.to_string());
        let sought = place.and_then(|StartPoint { state, from_start, rest }| {
            let feed = Feed::start(rest, Vec::new(), None, budget).map_err(|error| error.to_string())?;
            (self.trace.feed, self.trace.source_ended) = (feed, false);
            Ok(Input::Restore(state, from_start))
        });
        self.app.update(sought.unwrap_or_else(Input::ReadFailed));
    }

    /// Returns `false` if the user leaves the dashboard.
    async fn perform(&mut self, effects: Effects, screen: &mut Screen, dirty: &mut bool) -> io::Result<bool> {
        for effect in effects {
            *dirty |= !matches!(
                effect,
                Effect::Copy(_) | Effect::Bell | Effect::Look(..) | Effect::Type(_) | Effect::CountRuns(_)
            );
            match effect {
                Effect::Quit => return Ok(false),
                Effect::Redraw => {}
                Effect::Record => self.toggle_recording().await,
                Effect::Bell => screen.send(b"\x07")?,
                Effect::Copy(text) => screen.send(&copy::osc52(&text, self.app.screen.wrap))?,
                Effect::Seek(ns) => self.seek(ns),
                Effect::Find(find) => self.find(find)?,
                Effect::Look(id, question) => self.lookups.ask(id, question),
                Effect::Compare(with) => self.compare(with).await,
                Effect::Type(bytes) => self.trace.command.iter_mut().for_each(|command| command.send(bytes.clone())),
                Effect::RunAgain => self.run_again(),
                Effect::CountRuns(on) => self.trace.feed.count_runs(on),
                Effect::Measure(keys) => self.app.measured(&process_usage::of(&keys)),
                Effect::Suspend => {
                    // The COMMAND does not belong to this job.
                    let command = &self.trace.command;
                    command.iter().for_each(|command| command.signal_group(libc::SIGSTOP));
                    let resumed = screen.suspend();
                    command.iter().for_each(|command| command.signal_group(libc::SIGCONT));
                    resumed?;
                }
                Effect::Clear => screen.resume()?,
            }
        }
        Ok(true)
    }

    fn run_again(&mut self) {
        let (columns, rows) = self.app.areas().command_window();
        self.trace.resize_command(columns, rows);
        let runs = self.trace.command.as_mut().is_some_and(Running::again);
        let reset = self.app.output.as_ref().map(Output::between_runs).unwrap_or_default();
        self.app.update(Input::RunsAgain(runs));
        if runs {
            self.apply(Input::Output(reset));
        }
    }

    fn find(&mut self, find: Option<Find>) -> io::Result<()> {
        self.finder = match (find, &self.timeline) {
            (Some(find), Some(timeline)) => Some(recording_search::start(timeline.files(), timeline.budget, find)?),
            _ => None,
        };
        Ok(())
    }

    async fn compare(&mut self, with: Option<String>) {
        self.comparer.stop();
        let Some(path) = with.map(|path| comparer::whole(&path, self.home.as_deref())) else { return };
        let own = path.clone();
        let opened = user_files::act(self.opener.as_ref(), move || comparer::open(&own)).await;
        let recording = self.timeline.as_ref().map(Timeline::files);
        let started = match recording {
            Some(files) if files.is_empty() => Err(io::Error::other("the recording on the screen is a pipe")),
            recording => opened.and_then(|file| self.comparer.start((path, file), recording, &self.app)),
        };
        match started {
            Ok(()) => self.comparer.feed(&self.app),
            Err(error) => _ = self.app.update(Input::Compared(Err(error.to_string()))),
        }
    }

    fn record_with(&mut self, recorder: Option<Recorder>) {
        if let Some(recorder) = &recorder {
            self.app.update(Input::Recording(recorder.name().to_owned()));
            if self.trace.output.is_some() {
                // The saved states of the recording include COMMAND's terminal.
                let terminal = self.app.output.as_ref().map(|output| &output.terminal);
                terminal.into_iter().for_each(|terminal| self.app.pipeline.world_mut().set_terminal(terminal));
            }
        }
        self.trace.set_recorder(recorder);
    }

    /// Starts a recording with the kept events, or ends the current recording.
    async fn toggle_recording(&mut self) {
        if self.trace.recorder.is_some() {
            return self.end_recording().await;
        }
        if let Some(recorder) = self.new_recording().await {
            self.record_with(Some(recorder));
            self.past_events = Some(KeptEvents::new(&self.app));
        }
    }

    /// A recording in a new file. If that fails, the screen says why.
    async fn new_recording(&mut self) -> Option<Recorder> {
        let Some(opener) = &self.opener else {
            self.app.update(Input::NotRecorded(NO_TRACE.to_owned()));
            return None;
        };
        let file = opener.path(&output_file::default_name(&self.app.world().host.name, clock::now_real_ns()));
        let started = output_file::start_with(opener, &file).await.map_err(|error| {
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied => "; start tracetui in a directory that you can write to",
                _ => "",
            };
            self.app.update(Input::NotRecorded(format!("cannot create {}: {error}{remedy}", name(&file))));
        });
        started.ok()
    }

    /// Ends the recording, after writing the kept events.
    async fn end_recording(&mut self) {
        while self.past_events.is_some() && self.trace.recorder.is_some() {
            if let Err(why) = self.trace.room().await {
                self.apply(Input::NotRecorded(why));
                return;
            }
            self.write_kept();
        }
        match self.trace.finish_recording(&self.app.pipeline).await {
            None => Vec::new(),
            Some(Ok((_, bytes))) => self.app.update(Input::RecordingEnded(bytes)),
            Some(Err(why)) => self.app.update(Input::NotRecorded(why)),
        };
    }

    /// Writes kept events while there is room. After the last one, frames are recorded as they come.
    fn write_kept(&mut self) {
        while let Some(kept) = &mut self.past_events
            && let Some(recorder) = self.trace.recorder.as_ref().filter(|recorder| recorder.has_room())
        {
            let (batch, done) = kept.next(&self.app);
            recorder.frames(&batch);
            if done {
                recorder.frames(&restart(&self.app.pipeline.state()));
                let evicted = kept.evicted;
                self.past_events = None;
                self.trace.tapped = true;
                if evicted > 0 {
                    self.app.update(Input::KeptEvicted(evicted));
                }
            }
        }
    }

    /// Restores the terminal once it has accepted the last screen or stalled. Frames are still received meanwhile.
    async fn leave(&mut self, screen: Screen) {
        let mut patience = Patience::new(&screen.writer);
        while !screen.given_up(&mut patience) {
            tokio::select! {
                happening = self.trace.frames() => self.take_in(happening),
                () = screen.writer.changed() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
        }
        drop(screen);
    }

    /// Takes what comes until the wait is over or a signal comes.
    async fn wait_until(&mut self, is_over: impl Fn(&RunningTrace) -> bool, frames: Frames) {
        while !is_over(&self.trace) && !self.interrupted {
            match self.trace.next(frames).await {
                Happening::Signal(signal) if ends(signal) => self.interrupted = true,
                happening => self.take_in(happening),
            }
        }
    }

    /// Waits until the COMMAND, which got SIGTERM, ends or a signal comes.
    async fn end_command(&mut self) {
        self.wait_until(|trace| !trace.command_runs(), Frames::Left).await;
        if let Some(command) = self.trace.running_command() {
            say(format_args!("{command} is still running"));
        }
        if let Some(left) = self.trace.command.as_mut().map(Running::output_left) {
            self.app.update(Input::Output(left));
        }
    }

    /// Takes a happening after the dashboard left the screen. Nobody would see the rest of a recording.
    fn take_in(&mut self, happening: Happening) {
        if self.timeline.is_none() || !matches!(happening, Happening::Frames(_)) {
            self.apply(of_trace(happening));
        }
    }

    /// Writes the contents of COMMAND's terminal as text, after the screen is restored.
    fn write_output(&self) {
        let Some(output) = self.app.output.as_ref() else { return };
        if output.terminal.dropped() > 0 {
            let (dropped, name) = (output.terminal.dropped(), name(&output.name));
            say(format_args!("{name}: dropped the first {dropped} lines of its output"));
        }
        let text = view::output::lines(&output.terminal, self.look.theme);
        messages::write(rustix::stdio::stdout(), text.as_bytes(), signals::asked_to_end);
    }
}

/// Whether an error means that the terminal is closed, rather than that it failed.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
        || matches!(error.raw_os_error(), Some(libc::EIO | libc::ENXIO | libc::ENOTTY))
}

fn of_trace(happening: Happening) -> Input {
    match happening {
        Happening::Signal(libc::SIGTSTP) => Input::Signal(Signal::Suspend),
        Happening::Signal(libc::SIGCONT) => Input::Signal(Signal::Continue),
        Happening::Signal(_) => Input::Signal(Signal::End),
        Happening::Command(happened) => of_command(happened),
        Happening::Frames(batch) => Input::Batch(batch),
        Happening::SourceEnded => Input::SourceEnded,
        Happening::NotRecorded(why) => Input::NotRecorded(why),
    }
}

fn ends(signal: libc::c_int) -> bool {
    !matches!(signal, libc::SIGTSTP | libc::SIGCONT)
}

fn of_command(happened: Happened) -> Input {
    match happened {
        Happened::Wrote(bytes) => Input::Output(bytes),
        // This happens only if the user's terminal is relayed.
        Happened::Stopped(_) => Input::Output(Vec::new()),
        Happened::Ended(Ended::Killed(signal)) => {
            let name = names::signal(u32::from(signal)).map(str::to_owned);
            Input::CommandEnded(name.unwrap_or_else(|| format!("signal {signal}")))
        }
        // Nothing was traced, so only the reason and the status matter.
        Happened::Ended(Ended::NotRun(..)) => Input::Signal(Signal::End),
        Happened::Ended(ended) => Input::CommandEnded(ended.to_string()),
    }
}

fn of_terminal(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) => Some(Input::Key(key)),
        Event::Mouse(mouse) => Some(Input::Mouse(mouse)),
        Event::Paste(text) => Some(Input::Paste(text)),
        // [`Keys::next`] knows the size.
        Event::Resize(..) | Event::FocusGained | Event::FocusLost => None,
    }
}
