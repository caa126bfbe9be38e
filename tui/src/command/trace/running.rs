//! A running trace.

use super::command_output::RecordedOutput;
use super::remarks::silenced;
use crate::cli;
use crate::command::messages::{self, name, say};
use crate::command::output_file;
use crate::command::signals::{self, INTERRUPTED, Second, Signals};
use crate::command::terminal::relay::{Relay, stop_job};
use crate::recorder::{Failed, Recorder, unfinished};
use anyhow::{Context, Result};
use rustix::stdio::stdin;
use rustix::termios::tcgetwinsize;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::time::sleep_until;
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::Probe;
use tracetui_events::pipeline::Pipeline;
use tracetui_host::priority;
use tracetui_live::command::{Ended, Happened, HeldCommand, Running};
use tracetui_live::feed::Feed;
use tracetui_shared::kind::KINDS;
/// How long COMMAND may take to end after a signal before a message says that tracetui waits for it.
const OVERDUE: Duration = Duration::from_secs(1);

/// Releases the COMMAND, if there is one, unless tracetui is already terminating.
pub(crate) fn release(held: Option<HeldCommand>) -> Result<Option<Running>> {
    let held = held.filter(|_| !signals::asked_to_end());
    held.map(HeldCommand::release).transpose().context("cannot start the command")
}

/// The signals of a command without a screen. The second request to end ends tracetui at once.
pub(crate) fn signals(has_command: bool) -> Result<Signals> {
    let job: &[libc::c_int] = if has_command { &[libc::SIGTSTP, libc::SIGCONT, libc::SIGWINCH] } else { &[] };
    let signals = Signals::install(Second::Ends(INTERRUPTED.into()), job).context("cannot install signal handlers")?;
    signals::ignore_file_size();
    if has_command {
        signals::run_in_background();
    }
    Ok(signals)
}

#[derive(Debug)]
pub(crate) enum Happening {
    Signal(libc::c_int),
    /// The COMMAND wrote or ended.
    Command(Happened),
    Frames(Batch),
    /// No more frames will come.
    SourceEnded,
    /// The recording failed; the message says why. The trace continues without it.
    NotRecorded(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frames {
    Taken,
    /// Frames stay in the queue.
    Left,
}

#[derive(Debug)]
pub(crate) struct RunningTrace {
    pub(crate) feed: Feed,
    pub(crate) command: Option<Running>,
    /// The user's terminal, if the COMMAND has one of its own.
    relay: Option<Relay>,
    signals: Signals,
    pub(crate) source_ended: bool,
    /// Whether the source was asked to end.
    pub(crate) stopped: bool,
    /// The recording; `None` after it ended or failed.
    pub(crate) recorder: Option<Recorder>,
    /// Whether frames are recorded as they come.
    pub(crate) tapped: bool,
    /// The events recorded before the recording failed ([`Recorder::events`]); `None` if it did not.
    pub(crate) failed_after: Option<[u64; KINDS]>,
    /// Whether a signal came before the COMMAND was released. The COMMAND then did not run.
    not_run: bool,
    /// Whether the COMMAND writes to tracetui's stderr.
    shares_stderr: bool,
    first_signal: Option<libc::c_int>,
    /// When the COMMAND first got a signal that asks it to end.
    asked: Option<Instant>,
    /// Whether a message said that tracetui waits for the COMMAND.
    said_to_wait: bool,
    pub(crate) output: Option<RecordedOutput>,
    /// The parts of BPF that the last inventory could not read.
    unseen: Vec<String>,
    /// The probes already reported as seeing nothing; `None` before the first frames.
    silent: Option<Vec<Probe>>,
}

impl RunningTrace {
    /// COMMAND's output is recorded too, unless an option forbids it.
    pub(crate) fn new(feed: Feed, command: Option<Running>, signals: Signals, run: &cli::Run) -> RunningTrace {
        RunningTrace {
            feed,
            command,
            relay: None,
            signals,
            source_ended: false,
            stopped: false,
            recorder: None,
            tapped: true,
            failed_after: None,
            not_run: false,
            shares_stderr: false,
            first_signal: None,
            asked: None,
            said_to_wait: false,
            output: (!run.no_output).then(RecordedOutput::default),
            unseen: Vec::new(),
            silent: None,
        }
    }

    /// Releases the COMMAND, which shares stderr and from now on gets tracetui's signals. A recorder gets the frames.
    pub(crate) fn start(
        feed: Feed,
        held: Option<HeldCommand>,
        signals: Signals,
        recorder: Option<Recorder>,
        run: &cli::Run,
    ) -> Result<RunningTrace> {
        let held_one = held.is_some();
        let mut command = release(held)?;
        let relay = command.as_mut().map(Relay::start).transpose().context("cannot use the terminal")?.flatten();
        if let Some(pidfd) = command.as_ref().and_then(|command| command.pidfd().ok()) {
            signals::pass_on_to(pidfd);
        }
        let not_run = held_one && command.is_none();
        let shares_stderr = command.is_some();
        Ok(RunningTrace { relay, recorder, not_run, shares_stderr, ..RunningTrace::new(feed, command, signals, run) })
    }

    /// Records a piece of COMMAND's output. The caller feeds the returned frames to the pipeline.
    pub(crate) fn record_output(&mut self, bytes: &[u8]) -> Option<Batch> {
        let RunningTrace { output, recorder, shares_stderr, .. } = self;
        let output = output.as_mut().filter(|_| recorder.is_some())?;
        if *shares_stderr && let Ok(window) = tcgetwinsize(stdin()) {
            output.window = (window.ws_col, window.ws_row);
        }
        let batch = output.frames(bytes);
        self.record(&batch);
        (!batch.is_empty()).then_some(batch)
    }

    /// Waits for the next [`Happening`], signals first. Frames are recorded as they come, and taken only if the recorder has room. Once
    /// the recorder has failed, they are taken without it. Prints a message if a COMMAND continues after a signal to end. Can be
    /// cancelled and called again.
    pub(crate) async fn next(&mut self, frames: Frames) -> Happening {
        // Signals and COMMAND's end arrive only while the runtime waits. In a storm, a batch is always there.
        tokio::task::yield_now().await;
        loop {
            let overdue = self.overdue();
            let RunningTrace {
                feed, command, relay, signals, recorder, source_ended, shares_stderr, said_to_wait, ..
            } = self;
            let batch = async {
                if let Some(recorder) = recorder {
                    recorder.ready().await?;
                }
                Ok::<_, Failed>(feed.next().await)
            };
            return tokio::select! {
                biased;
                signal = signals.next() => {
                    if self.minds_job(signal) {
                        continue;
                    }
                    self.first_signal.get_or_insert(signal);
                    Happening::Signal(signal)
                }
                happened = happened(command, relay, *said_to_wait) => {
                    if *shares_stderr && matches!(happened, Happened::Ended(Ended::Exited(_) | Ended::Killed(_))) {
                        messages::command_ended();
                    }
                    Happening::Command(happened)
                }
                () = or_never(overdue.map(|time| sleep_until(time.into()))) => {
                    self.say_what_is_waited_for();
                    continue;
                }
                batch = batch, if frames == Frames::Taken && !*source_ended => match batch {
                    Ok(batch) => self.came(batch),
                    Err(failed) => Happening::NotRecorded(self.not_recorded(&failed)),
                },
            };
        }
    }

    /// Handles a signal of the shell's job control or of the terminal, and returns whether it was one. A COMMAND with a terminal is
    /// stopped first, which then stops tracetui. A COMMAND without one has no parent in its session, and so ignores Ctrl-Z.
    fn minds_job(&mut self, signal: libc::c_int) -> bool {
        let RunningTrace { command, relay, shares_stderr: true, .. } = self else { return false };
        let command = command.as_ref().filter(|command| command.end().is_none());
        match (signal, relay, command) {
            (libc::SIGTSTP, Some(_), Some(command)) => command.signal_group(signal),
            (libc::SIGTSTP, _, command) => {
                command.iter().for_each(|command| command.signal_group(libc::SIGSTOP));
                stop_job(signal);
                command.iter().for_each(|command| command.signal_group(libc::SIGCONT));
            }
            (libc::SIGCONT, Some(relay), Some(command)) => relay.continued(command),
            (libc::SIGWINCH, _, command) => command.iter().for_each(|command| command.follow_size()),
            (libc::SIGCONT, ..) => {}
            (_, Some(relay), _) => {
                relay.signalled();
                return false;
            }
            _ => return false,
        }
        true
    }

    /// When to print that tracetui waits for the COMMAND; `None` if that is not due, or already printed.
    fn overdue(&self) -> Option<Instant> {
        self.asked.filter(|_| self.command_runs() && !self.said_to_wait).map(|asked| asked + OVERDUE)
    }

    fn say_what_is_waited_for(&mut self) {
        self.said_to_wait = true;
        signals::end_by_next();
        if let Some(command) = self.running_command() {
            say(format_args!("waiting for {command} to exit; Ctrl-C ends tracetui without waiting"));
        }
    }

    /// The name and process id of the COMMAND, as text; `None` if it has ended.
    pub(crate) fn running_command(&self) -> Option<String> {
        let command = self.command.as_ref().filter(|command| command.end().is_none())?;
        Some(format!("{} (pid {})", name(command.name()), command.pid()))
    }

    fn not_recorded(&mut self, failed: &Failed) -> String {
        let Some(recorder) = self.recorder.take() else { return String::new() };
        self.failed_after = Some(recorder.events());
        output_file::failed_text(&recorder, failed)
    }

    /// Frames that are already in the queue; `None` if the recording has no room for them.
    pub(crate) fn waiting(&mut self) -> Option<Batch> {
        if self.recorder.as_ref().is_some_and(|recorder| !recorder.has_room()) {
            return None;
        }
        let batch = self.feed.waiting()?;
        priority::main_takes(batch.len());
        self.record(&batch);
        Some(batch)
    }

    /// Sets the recorder. It gets frames once `tapped` is set.
    pub(crate) fn set_recorder(&mut self, recorder: Option<Recorder>) {
        self.recorder = recorder;
        self.failed_after = None;
        self.tapped = false;
    }

    /// Stops recording frames. The recording ends here, and the trace continues.
    pub(crate) fn untap(&mut self, pipeline: &mut Pipeline) {
        let batch = unfinished();
        self.record(&batch);
        pipeline.feed(batch);
        self.tapped = false;
    }

    /// Waits for room in the recording. An error is the message that the recording failed. Then it has ended.
    pub(crate) async fn room(&mut self) -> Result<(), String> {
        let Some(recorder) = &mut self.recorder else { return Ok(()) };
        let ready = recorder.ready().await;
        ready.map_err(|failed| self.not_recorded(&failed))
    }

    /// Ends the recording with the final state. Returns the recorder and the bytes written, or why the recording failed.
    pub(crate) async fn finish_recording(&mut self, pipeline: &Pipeline) -> Option<Result<(Recorder, u64), String>> {
        let recorder = self.recorder.take()?;
        if !self.source_ended {
            recorder.frames(&unfinished());
        }
        Some(match recorder.end(pipeline).await {
            Ok(bytes) => Ok((recorder, bytes)),
            Err(failed) => {
                self.failed_after = Some(recorder.events());
                Err(output_file::failed_text(&recorder, &failed))
            }
        })
    }

    fn record(&self, batch: &Batch) {
        if let Some(recorder) = self.recorder.as_ref().filter(|_| self.tapped) {
            recorder.frames(batch);
        }
    }

    /// Records the state of `pipeline` if one is due. The pipeline must have taken all frames so far.
    pub(crate) fn record_state(&self, pipeline: &Pipeline) {
        self.recorder.iter().filter(|_| self.tapped).for_each(|recorder| recorder.state_if_due(pipeline));
    }

    /// Takes back the buffers of the frames so far. Returns the new messages after these frames: probes that stopped seeing events, parts
    /// of BPF that the inventory cannot read any more, and the remark about COMMAND's output.
    pub(crate) fn notices(&mut self, pipeline: &mut Pipeline) -> Vec<String> {
        while let Some(batch) = pipeline.spare() {
            self.feed.recycle(batch);
        }
        let mut notices = silenced(&mut self.silent, &pipeline.world().probes);
        notices.extend(self.output.as_mut().and_then(RecordedOutput::remark));
        let now = pipeline.world().bpf.unseen();
        if now != self.unseen {
            let new = now.iter().filter(|text| !self.unseen.contains(text));
            notices.extend(new.map(|text| format!("BPF inventory incomplete: {text}")));
            self.unseen = now.to_vec();
        }
        notices
    }

    /// Removes the recording if the COMMAND did not run, and prints a message.
    pub(crate) async fn withdraw_recording(&mut self) {
        if let Some(Ended::NotRun(..)) = self.command_end()
            && let Some(recorder) = &self.recorder
            && recorder.withdraw().await
        {
            say(format_args!("{}: removed: nothing was recorded", recorder.name()));
            self.recorder = None;
        }
    }

    /// Ends the recording with the final state, and prints its size or why it failed. Removes it if the COMMAND did not run.
    pub(crate) async fn end_recording(&mut self, pipeline: &Pipeline) {
        self.withdraw_recording().await;
        match self.finish_recording(pipeline).await {
            None => {}
            Some(Ok((recorder, bytes))) => output_file::say_written(&recorder, bytes),
            Some(Err(why)) => say(why),
        }
    }

    /// Waits for frames; forever once the source has ended.
    pub(crate) async fn frames(&mut self) -> Happening {
        match self.source_ended {
            false => {
                let batch = self.feed.next().await;
                self.came(batch)
            }
            true => std::future::pending().await,
        }
    }

    fn came(&mut self, batch: Option<Batch>) -> Happening {
        self.source_ended = batch.is_none();
        batch.iter().for_each(|batch| {
            priority::main_takes(batch.len());
            self.record(batch);
        });
        batch.map_or(Happening::SourceEnded, Happening::Frames)
    }

    /// Passes a signal on to the COMMAND, whose end then ends the trace. Returns `false` if tracetui has to end by itself.
    pub(crate) fn pass_on(&mut self, signal: libc::c_int) -> bool {
        let passed = self.command.is_some() && signals::is_for_command(signal);
        if passed {
            self.signal_command(signal);
        }
        passed
    }

    /// Waits until the COMMAND has ended, and passes signals on to it meanwhile.
    pub(crate) async fn wait_for_command(&mut self) {
        while self.command_runs() {
            if let Happening::Signal(signal) = self.next(Frames::Left).await
                && signals::is_for_command(signal)
            {
                self.signal_command(signal);
            }
        }
    }

    /// The exit status that follows from the COMMAND's end. If the COMMAND did not run, prints why.
    pub(crate) fn status(&self) -> ExitCode {
        match self.command_end() {
            Some(ended) => exit_code(ended),
            None if self.not_run => {
                say("tracetui: interrupted before COMMAND was started");
                let signal = self.first_signal.unwrap_or(libc::SIGTERM);
                ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
            }
            None => ExitCode::SUCCESS,
        }
    }

    /// How the COMMAND ended; `None` until that is known.
    pub(crate) fn command_end(&self) -> Option<&Ended> {
        self.command.as_ref().and_then(Running::end)
    }

    pub(crate) fn command_runs(&self) -> bool {
        self.command.as_ref().is_some_and(|command| command.end().is_none())
    }

    pub(crate) fn resize_command(&mut self, columns: u16, rows: u16) {
        self.output.iter_mut().for_each(|output| output.window = (columns, rows));
        self.command.iter().for_each(|command| command.resize(columns, rows));
    }

    /// Sends a signal to end to the COMMAND and the process group that it leads, unless it has ended.
    pub(crate) fn signal_command(&mut self, signal: libc::c_int) {
        self.command.iter().for_each(|command| command.signal(signal));
        self.asked.get_or_insert_with(Instant::now);
    }

    /// Asks the source and the COMMAND to end, once. Nobody would see any more what the COMMAND does.
    pub(crate) fn stop(&mut self) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        priority::hasten_end();
        self.feed.stop();
        self.recorder.iter().for_each(Recorder::stopping);
        self.signal_command(libc::SIGTERM);
    }
}

/// Waits for `what`; forever if it is `None`.
pub(crate) async fn or_never<F: Future>(what: Option<F>) -> F::Output {
    match what {
        Some(what) => what.await,
        None => std::future::pending().await,
    }
}

/// Waits for output or the end of the COMMAND; forever if there is none. `ends` is whether Ctrl-C ends tracetui.
async fn happened(command: &mut Option<Running>, relay: &mut Option<Relay>, ends: bool) -> Happened {
    match (command, relay) {
        (Some(command), Some(relay)) => relay.next(command, ends).await,
        (Some(command), None) => command.next().await,
        (None, _) => std::future::pending().await,
    }
}

/// The exit status after a COMMAND. Prints the reason if it did not run.
pub(crate) fn exit_code(ended: &Ended) -> ExitCode {
    if let Ended::NotRun(why, _) = ended {
        say(format_args!("tracetui: {why}"));
    }
    ExitCode::from(ended.status())
}
