//! The common part of all commands that trace: the options, the COMMAND, the attach, the reader thread, and the
//! messages at the end.

use super::recorded::RecordedOutput;
use super::relay::{Relay, stop_job};
use super::say::{self, name, say};
use super::selftest::SelfTest;
use super::signals::{self, INTERRUPTED, Second, Signals};
use super::write;
use crate::account::{Account, Shortage};
use crate::budget::{self, Budget};
use crate::capture::CaptureFilter;
use crate::cli;
use crate::cli::size::ByteSize;
use crate::filter::{self, Compiled};
use crate::frame::Batch;
use crate::frame::host::{Cgroup, HostFrame, Layout, Probe, ProcessSeed, Scanned, Trace, Unfinished};
use crate::limits;
use crate::pipeline::Pipeline;
use crate::recording::Recorder;
use crate::recording::index::KINDS;
use crate::recording::recorder::Failed;
use crate::source::NO_THREAD;
use crate::source::command::{Ended, Happened, HeldCommand, Running, Streams};
use crate::source::feed::{Feed, Scan};
use crate::source::host::btf::{Btf, BtfError};
use crate::source::host::cgroup::CgroupResolver;
use crate::source::host::clock;
use crate::source::host::confine::{Role, STARTING, Spawner, denied, enter, hold};
use crate::source::host::machine::Machine;
use crate::source::host::own_id::own_tgid;
use crate::source::host::privilege::{self, Cause, Facts, Severity};
use crate::source::host::procfs::Scanner;
use crate::source::host::users::AccountNames;
use crate::source::live::engine::LiveSource;
use crate::source::live::inventory::Inventories;
use crate::source::live::{Begun, BtfOrigin, KernelFacts, Live, LiveOptions, ProbeStatus, StartError, Started, Way};
use crate::source::priority::{raise_priority, set_priority};
use crate::text::{counted, grouped};
use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Pid;
use rustix::stdio::stdin;
use rustix::termios::tcgetwinsize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tracetui_shared::capture::{MAX_TREE, test};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{Kind, KindSet, shows_most};
use tracetui_shared::time::BootNanos;

/// What to trace.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// Bytes of the ring, a power of two.
    pub ring_size: u32,
    /// The memory limit.
    pub budget: Budget,
    /// The requested kinds.
    pub kinds: KindSet,
    /// The kinds whose events have the kernel stack.
    pub stacks: KindSet,
    /// The capture filter.
    pub capture: CaptureFilter,
    /// The BTF file for offsets, if it is not the kernel's own BTF.
    pub btf: Option<PathBuf>,
    /// The filter options, as one expression.
    pub filter: String,
    /// The COMMAND, held until all probes are attached. The pipeline restricts the output to its tree; so does the
    /// kernel side, unless it has another tree.
    pub command: Option<Tgid>,
    /// Whether tracetui sends signals: to the COMMAND, or to its job.
    pub signals: bool,
    /// The process id of the COMMAND as tracetui has to name it to the kernel.
    pub command_pid: Option<Pid>,
}

/// The time after which it is said that a COMMAND that was asked to end is waited for.
const OVERDUE: Duration = Duration::from_secs(1);

/// The parsed options of a command that traces.
#[derive(Debug)]
pub(crate) struct Request {
    /// The filter options.
    pub filters: Compiled,
    /// The COMMAND.
    pub(crate) held: Option<HeldCommand>,
    /// What to trace.
    pub options: TraceOptions,
}

impl Request {
    /// Parses the options, and forks the COMMAND before anything that it would inherit: limits, signal handlers,
    /// dropped privileges. If no kinds are named, those of `beside` are collected too.
    ///
    /// # Errors
    /// [`BadUsage`], or when the COMMAND cannot be forked.
    pub(crate) fn read(args: &cli::TraceArgs, run: &cli::Run, streams: Streams, beside: KindSet) -> Result<Request> {
        let filters = compile(&args.filters)?;
        let held = match run.command.as_slice() {
            [] => None,
            argv => Some(HeldCommand::start(argv, streams).context("cannot start the command")?),
        };
        let kinds = if args.filters.kind.is_empty() { filters.kinds | beside } else { filters.kinds };
        let mut capture = filters.capture.clone();
        capture.capture.kinds = kinds.bits();
        let options = TraceOptions {
            ring_size: u32::try_from(args.ring_size.bytes()).context("--ring-size")?,
            budget: Budget::new(args.memory().0),
            kinds,
            stacks: args.stacks(),
            capture,
            btf: args.btf.file.clone(),
            filter: filters.whole.text().to_owned(),
            command: held.as_ref().map(HeldCommand::tgid),
            signals: held.is_some() || streams == Streams::Captured,
            command_pid: held.as_ref().and_then(HeldCommand::pid),
        };
        Ok(Request { filters, held, options })
    }
}

/// Releases the COMMAND, if there is one, unless tracetui is already terminating.
///
/// # Errors
/// When the event loop does not take its descriptors.
pub(crate) fn release(held: Option<HeldCommand>) -> Result<Option<Running>> {
    let held = held.filter(|_| !signals::asked_to_end());
    held.map(HeldCommand::release).transpose().context("cannot start the command")
}

/// The signals of a command without a screen. The second one that asks it to end ends it at once.
///
/// # Errors
/// When a handler cannot be set.
pub(super) fn signals(has_command: bool) -> Result<Signals> {
    let job: &[libc::c_int] = if has_command { &[libc::SIGTSTP, libc::SIGCONT, libc::SIGWINCH] } else { &[] };
    let signals = Signals::take(Second::Ends(INTERRUPTED.into()), job).context("cannot handle signals")?;
    signals::ignore_file_size();
    if has_command {
        signals::run_in_background();
    }
    Ok(signals)
}

/// The messages before the account at the end, one line each.
pub(crate) fn remarks(options: &TraceOptions, account: &Account, discrepancy: Option<String>) -> Vec<String> {
    let doubtful = doubtful_btf(options, account).map(str::to_owned);
    let more = shortage(account, options.budget);
    [discrepancy, doubtful, overgrown_tree(account), account.unread_text(), denied()]
        .into_iter()
        .flatten()
        .chain(more)
        .collect()
}

/// What happens while a trace runs.
#[derive(Debug)]
pub(super) enum Happening {
    /// A signal came.
    Signal(libc::c_int),
    /// The COMMAND wrote or ended.
    Command(Happened),
    /// Frames came.
    Frames(Batch),
    /// There will be no more frames.
    SourceEnded,
    /// The recording failed, as the message says. The trace continues without it.
    NotRecorded(String),
}

/// Whether frames are to be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Frames {
    /// They are.
    Taken,
    /// They stay in the queue.
    Left,
}

/// A trace that runs: its source, the COMMAND, and the signals.
#[derive(Debug)]
pub(super) struct RunningTrace {
    feed: Feed,
    command: Option<Running>,
    /// The user's terminal, if the COMMAND has one of its own.
    relay: Option<Relay>,
    signals: Signals,
    source_ended: bool,
    /// The recording; `None` after it ended or failed.
    recorder: Option<Recorder>,
    /// Whether frames are recorded as they come.
    tapped: bool,
    /// The recording failed, after these events ([`Recorder::events`]).
    failed_after: Option<[u64; KINDS]>,
    /// A signal came before the COMMAND was released, so it was not run.
    not_run: bool,
    /// The COMMAND writes to stderr too.
    shares_stderr: bool,
    first_signal: Option<libc::c_int>,
    /// When the COMMAND was asked to end.
    asked: Option<Instant>,
    /// Whether it was said that it is waited for.
    said_to_wait: bool,
    /// COMMAND's output, if it is recorded.
    output: Option<RecordedOutput>,
    /// What the last inventory of BPF programs could not look at.
    unseen: Vec<String>,
    /// The probes that see nothing, as far as that was said; `None` before the first frames.
    silent: Option<Vec<Probe>>,
}

impl RunningTrace {
    pub(super) fn new(feed: Feed, command: Option<Running>, signals: Signals) -> RunningTrace {
        let (recorder, failed_after, not_run) = (None, None, false);
        RunningTrace {
            feed,
            command,
            relay: None,
            signals,
            source_ended: false,
            recorder,
            tapped: true,
            failed_after,
            not_run,
            shares_stderr: false,
            first_signal: None,
            asked: None,
            said_to_wait: false,
            output: None,
            unseen: Vec::new(),
            silent: None,
        }
    }

    /// Releases the COMMAND, which has tracetui's stderr, and to which signals are passed on from now on, and records the frames if
    /// there is a recorder.
    ///
    /// # Errors
    /// As [`release`].
    pub(super) fn start(
        feed: Feed,
        held: Option<HeldCommand>,
        signals: Signals,
        recorder: Option<Recorder>,
    ) -> Result<RunningTrace> {
        let held_one = held.is_some();
        let mut command = release(held)?;
        let relay = command.as_mut().map(Relay::start).transpose().context("cannot use the terminal")?.flatten();
        if let Some(pidfd) = command.as_ref().and_then(|command| command.pidfd().ok()) {
            signals::pass_on_to(pidfd);
        }
        let not_run = held_one && command.is_none();
        let shares_stderr = command.is_some();
        Ok(RunningTrace { relay, recorder, not_run, shares_stderr, ..RunningTrace::new(feed, command, signals) })
    }

    /// Records COMMAND's output too, unless an option forbids that.
    pub(super) fn with_output(self, run: &cli::Run) -> RunningTrace {
        RunningTrace { output: (!run.no_output).then(RecordedOutput::default), ..self }
    }

    /// Records what COMMAND wrote. The caller feeds the frames to the pipeline.
    pub(super) fn record_output(&mut self, bytes: &[u8]) -> Option<Batch> {
        let RunningTrace { output, recorder, shares_stderr, .. } = self;
        let output = output.as_mut().filter(|_| recorder.is_some())?;
        if *shares_stderr && let Ok(window) = tcgetwinsize(stdin()) {
            output.window = (window.ws_col, window.ws_row);
        }
        let batch = output.frames(bytes);
        self.record(&batch);
        (!batch.is_empty()).then_some(batch)
    }

    /// Whether COMMAND's output is recorded where there is a recording.
    pub(super) fn keeps_output(&self) -> bool {
        self.output.is_some()
    }

    /// Continues with another feed.
    pub(super) fn replace_feed(&mut self, feed: Feed) {
        (self.feed, self.source_ended) = (feed, false);
    }

    /// Waits for what happens next, signals first. Frames are recorded as they come, and are taken only if the recorder has
    /// room; without it once it failed. Says that a COMMAND that was asked to end goes on. Can be given up and called again.
    pub(super) async fn next(&mut self, frames: Frames) -> Happening {
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
                        say::others_wrote();
                    }
                    Happening::Command(happened)
                }
                () = until(overdue) => {
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

    /// Answers a signal of the shell's job control, or of the terminal: `true` if it was one. A COMMAND with a terminal is stopped
    /// first, and stops tracetui by that; one without has no parent in its session, and so ignores Ctrl-Z.
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

    /// When it is to be said that the COMMAND is waited for.
    fn overdue(&self) -> Option<Instant> {
        self.asked.filter(|_| self.command_runs() && !self.said_to_wait).map(|asked| asked + OVERDUE)
    }

    fn say_what_is_waited_for(&mut self) {
        self.said_to_wait = true;
        signals::end_by_next();
        if let Some(command) = self.running_command() {
            say(format_args!("waiting for {command} to exit; Ctrl-C ends tracetui, even if it goes on"));
        }
    }

    /// The COMMAND that has not ended, in words: its name and its process id.
    pub(super) fn running_command(&self) -> Option<String> {
        let command = self.command.as_ref().filter(|command| command.end().is_none())?;
        Some(format!("{} (pid {})", name(command.name()), command.pid()))
    }

    fn not_recorded(&mut self, failed: &Failed) -> String {
        let Some(recorder) = self.recorder.take() else { return String::new() };
        self.failed_after = Some(recorder.events());
        write::failed_text(&recorder, failed)
    }

    /// Frames that wait already, unless the recording has no room for them.
    pub(super) fn waiting(&mut self) -> Option<Batch> {
        if self.recorder.as_ref().is_some_and(|recorder| !recorder.has_room()) {
            return None;
        }
        let batch = self.feed.waiting()?;
        self.record(&batch);
        Some(batch)
    }

    /// Starts a recording. Frames go into it after [`tap`](Self::tap).
    pub(super) fn set_recorder(&mut self, recorder: Option<Recorder>) {
        (self.recorder, self.failed_after, self.tapped) = (recorder, None, false);
    }

    /// Records the frames that come from now on.
    pub(super) fn tap(&mut self) {
        self.tapped = true;
    }

    /// Records no frames that come from now on: the recording ends here, while the trace continues.
    pub(super) fn untap(&mut self, pipeline: &mut Pipeline) {
        let mut batch = Batch::default();
        HostFrame::Unfinished(Unfinished { at: BootNanos(0) }).push(BootNanos(0), &mut batch);
        self.record(&batch);
        pipeline.feed(batch);
        self.tapped = false;
    }

    /// Whether frames are recorded as they come.
    pub(super) fn is_tapped(&self) -> bool {
        self.tapped
    }

    /// The recording.
    pub(super) fn recorder(&self) -> Option<&Recorder> {
        self.recorder.as_ref()
    }

    /// Waits for room in the recording.
    ///
    /// # Errors
    /// The message, if the recording failed. Then it has ended.
    pub(super) async fn room(&mut self) -> Result<(), String> {
        let Some(recorder) = &mut self.recorder else { return Ok(()) };
        let ready = recorder.ready().await;
        ready.map_err(|failed| self.not_recorded(&failed))
    }

    /// Ends the recording with the final state. The recorder and the bytes that it wrote, or why it failed.
    pub(super) async fn finish_recording(&mut self, pipeline: &Pipeline) -> Option<Result<(Recorder, u64), String>> {
        let recorder = self.recorder.take()?;
        if !self.source_ended {
            let mut batch = Batch::default();
            HostFrame::Unfinished(Unfinished { at: BootNanos(0) }).push(BootNanos(0), &mut batch);
            recorder.frames(&batch);
        }
        Some(match recorder.end(pipeline).await {
            Ok(bytes) => Ok((recorder, bytes)),
            Err(failed) => {
                self.failed_after = Some(recorder.events());
                Err(write::failed_text(&recorder, &failed))
            }
        })
    }

    fn record(&self, batch: &Batch) {
        if let Some(recorder) = self.recorder.as_ref().filter(|_| self.tapped) {
            recorder.frames(batch);
        }
    }

    /// Records the state of the pipeline that was fed all frames so far, if one is due.
    pub(super) fn record_state(&self, pipeline: &Pipeline) {
        self.recorder.iter().filter(|_| self.tapped).for_each(|recorder| recorder.state_if_due(pipeline));
    }

    /// What is to be said of the frames so far: which probes see nothing any more, and what the inventory of BPF programs cannot
    /// look at any more.
    pub(super) fn notices(&mut self, pipeline: &Pipeline) -> Vec<String> {
        let mut notices = silenced(&mut self.silent, pipeline.world().probes());
        notices.extend(self.output.as_mut().and_then(RecordedOutput::remark));
        let now = pipeline.world().bpf.unseen();
        if now != self.unseen {
            let new = now.iter().filter(|text| !self.unseen.contains(text));
            notices.extend(new.map(|text| format!("BPF inventory: not seen: {text}")));
            self.unseen = now.to_vec();
        }
        notices
    }

    /// Bytes of the recording so far.
    pub(super) fn recorded(&self) -> u64 {
        self.recorder.as_ref().map_or(0, Recorder::written)
    }

    /// Removes the recording of a COMMAND that did not run, and says so.
    pub(super) async fn withdraw_recording(&mut self) {
        if let Some(Ended::NotRun(..)) = self.command_end()
            && let Some(recorder) = &self.recorder
            && recorder.withdraw().await
        {
            say(format_args!("{}: removed: nothing was recorded", recorder.name()));
            self.recorder = None;
        }
    }

    /// Ends the recording, if there is one, with the final state, and prints its size or why it failed.
    /// Of a COMMAND that did not run, nothing is left.
    pub(super) async fn end_recording(&mut self, pipeline: &Pipeline) {
        self.withdraw_recording().await;
        match self.finish_recording(pipeline).await {
            None => {}
            Some(Ok((recorder, bytes))) => write::say_written(&recorder, bytes),
            Some(Err(why)) => say(why),
        }
    }

    /// Whether a recording stopped before its end.
    pub(super) fn recording_failed(&self) -> bool {
        self.failed_after.is_some()
    }

    /// The events of a recording that stopped before its end, by the number of their kind.
    pub(super) fn failed_after(&self) -> Option<&[u64; KINDS]> {
        self.failed_after.as_ref()
    }

    /// Waits for frames; for ever when the source has ended.
    pub(super) async fn frames(&mut self) -> Happening {
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
        batch.iter().for_each(|batch| self.record(batch));
        batch.map_or(Happening::SourceEnded, Happening::Frames)
    }

    /// Where the frames come from.
    pub(super) fn feed(&mut self) -> &mut Feed {
        &mut self.feed
    }

    /// Whether there will be no more frames.
    pub(super) fn source_ended(&self) -> bool {
        self.source_ended
    }

    /// The COMMAND.
    pub(super) fn command(&mut self) -> Option<&mut Running> {
        self.command.as_mut()
    }

    /// Passes a signal on to the COMMAND, whose end then ends the trace. `false` if tracetui is to end by itself.
    pub(super) fn pass_on(&mut self, signal: libc::c_int) -> bool {
        let passed = self.command.is_some() && signals::is_for_command(signal);
        if passed {
            self.signal_command(signal);
        }
        passed
    }

    /// Waits for the COMMAND if it still runs. Signals are passed on to it.
    pub(super) async fn wait_for_command(&mut self) {
        while self.command_runs() {
            if let Happening::Signal(signal) = self.next(Frames::Left).await
                && signals::is_for_command(signal)
            {
                self.signal_command(signal);
            }
        }
    }

    /// The exit status by the COMMAND. Prints the reason if it did not run.
    pub(super) fn status(&self) -> ExitCode {
        match self.command_end() {
            Some(ended) => exit_code(ended),
            None if self.not_run => {
                say("tracetui: interrupted before the COMMAND was started");
                let signal = self.first_signal.unwrap_or(libc::SIGTERM);
                ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
            }
            None => ExitCode::SUCCESS,
        }
    }

    /// How the COMMAND ended, once that is known.
    pub(super) fn command_end(&self) -> Option<&Ended> {
        self.command.as_ref().and_then(Running::end)
    }

    /// Whether there is a COMMAND that has not ended.
    pub(super) fn command_runs(&self) -> bool {
        self.command.as_ref().is_some_and(|command| command.end().is_none())
    }

    /// Types keys into COMMAND's terminal.
    pub(super) fn type_into_command(&mut self, keys: Vec<u8>) {
        self.command.iter_mut().for_each(|command| command.send(keys.clone()));
    }

    /// Gives COMMAND's terminal a size.
    pub(super) fn resize_command(&mut self, columns: u16, rows: u16) {
        self.output.iter_mut().for_each(|output| output.window = (columns, rows));
        self.command.iter().for_each(|command| command.resize(columns, rows));
    }

    /// Stops or continues the COMMAND, with the process group that it leads.
    pub(super) fn signal_command_group(&self, signal: libc::c_int) {
        self.command.iter().for_each(|command| command.signal_group(signal));
    }

    /// Sends the COMMAND, with the process group that it leads, a signal that asks it to end, unless it has ended.
    pub(super) fn signal_command(&mut self, signal: libc::c_int) {
        self.command.iter().for_each(|command| command.signal(signal));
        self.asked.get_or_insert_with(Instant::now);
    }

    /// Asks the source to end, and the COMMAND: nobody would see any more what it does.
    pub(super) fn stop(&mut self) {
        raise_priority();
        self.feed.stop();
        self.recorder.iter().for_each(Recorder::stopping);
        self.signal_command(libc::SIGTERM);
    }
}

/// The messages about probes that see nothing since they were last looked at, one line for each reason. What was so at the start
/// was said then.
fn silenced(known: &mut Option<Vec<Probe>>, probes: &[Probe]) -> Vec<String> {
    let silent = || probes.iter().filter(|probe| !probe.attached);
    let Some(known) = known else {
        *known = (!probes.is_empty()).then(|| silent().cloned().collect());
        return Vec::new();
    };
    if silent().eq(known.iter()) {
        return Vec::new();
    }
    let new: Vec<&Probe> = silent().filter(|probe| !known.contains(probe)).collect();
    let lines = new.chunk_by(|one, other| (&one.why, &one.remedy) == (&other.why, &other.remedy)).map(|probes| {
        let names = probes.iter().map(|probe| probe.name.as_str()).collect::<Vec<_>>().join(", ");
        let missing = probes.iter().map(|probe| probe.missing.as_str()).collect::<Vec<_>>().join("; ");
        let why = probes[0].why.as_deref().unwrap_or("not attached any more");
        let remedy = probes[0].remedy.iter().map(|remedy| format!("; {remedy}")).collect::<String>();
        format!("{names}: {why}; not seen, and not counted: {missing}{remedy}")
    });
    let lines = lines.collect();
    *known = silent().cloned().collect();
    lines
}

/// Waits until a time; for ever if there is none.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits for what happens to a COMMAND; for ever if there is none. `ends`: Ctrl-C ends tracetui.
async fn happened(command: &mut Option<Running>, relay: &mut Option<Relay>, ends: bool) -> Happened {
    match (command, relay) {
        (Some(command), Some(relay)) => relay.next(command, ends).await,
        (Some(command), None) => command.next().await,
        (None, _) => std::future::pending().await,
    }
}

/// Invalid filter options: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadUsage(pub(super) String);

/// Reads the filter options.
///
/// # Errors
/// [`BadUsage`], with a caret under the place.
pub(crate) fn compile(filters: &cli::FilterArgs) -> Result<Compiled, BadUsage> {
    let options = filter::FilterOptions::from(filters);
    options.compile(&HostNames::read()).map_err(|error| BadUsage(error.render()))
}

/// The names of users and groups of this machine.
pub(super) struct HostNames(AccountNames);

impl HostNames {
    pub(super) fn read() -> HostNames {
        HostNames(AccountNames::read())
    }
}

impl filter::NameLookup for HostNames {
    fn uid(&self, name: &str) -> Option<u32> {
        self.0.uid(name).ok().map(|uid| uid.0)
    }
    fn gid(&self, name: &str) -> Option<u32> {
        self.0.gid(name).ok().map(|gid| gid.0)
    }
}

/// A running trace.
#[derive(Debug)]
pub struct Session {
    /// The source of its frames.
    pub feed: Feed,
    /// The line that reports that all probes are attached.
    pub ready: String,
    /// Notes about missing probes and restrictions of the machine, one line each.
    pub notes: Vec<String>,
    /// Starts threads that look up why calls failed.
    pub spawner: Spawner,
}

/// The criterion by which `doctor` decides that a probe works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// It attaches.
    Attach,
    /// It reports a test event.
    Event,
}

/// The state of the probes.
#[derive(Debug)]
pub struct Examined {
    /// Causes that are independent of a probe.
    pub causes: Vec<Cause>,
    /// Each probe.
    pub probes: Vec<Probe>,
    /// The programs that reported a test event; `None` if no test event was made.
    pub seen: Option<Vec<&'static str>>,
}

/// Tests every probe, for `doctor`, with offsets from a BTF file if there is one.
pub fn examine(machine: &Machine, btf: Option<&Path>, proof: Proof) -> Examined {
    let mut causes = privilege::verdict(&Facts::of(machine, btf.is_some()));
    causes.extend(foreign_btf(btf));
    let mut examined = Examined { causes, probes: Vec::new(), seen: None };
    if privilege::is_fatal(&examined.causes) {
        return examined;
    }
    // Forked before anything is attached, which would count its fork as ours.
    let selftest = if proof == Proof::Event { SelfTest::new().ok() } else { None };
    let mut capture = CaptureFilter::NOTHING;
    let kinds = KindSet::PROBED;
    if let Some(selftest) = &selftest {
        capture.capture.kinds = kinds.bits();
        capture.capture.tests = test::TREE;
        capture.trees = vec![selftest.tgid()];
    }
    let options = TraceOptions {
        ring_size: limits::RING_MIN as u32,
        budget: Budget::default(),
        kinds,
        stacks: KindSet::from(Kind::Bpf),
        capture,
        btf: btf.map(Path::to_owned),
        filter: String::new(),
        command: None,
        signals: false,
        command_pid: None,
    };
    match attach(&options) {
        Ok(mut live) => {
            examined.probes = live.probes().iter().map(ProbeStatus::frame).collect();
            examined.seen = selftest.map(|selftest| selftest.seen(&mut live));
        }
        Err(error) => examined.causes.push(Cause {
            severity: Severity::Fatal,
            what: format!("{error:#}"),
            missing: None,
            remedy: match error.is::<StartError>() {
                true => "the kernel rejected the probes; please report this message".into(),
                false => "follow the message above; if it names no remedy, please report it".into(),
            },
        }),
    }
    examined
}

/// Loads and attaches the probes.
fn attach(options: &TraceOptions) -> Result<Live> {
    let mut capture = options.capture.clone();
    if let Some(command) = options.command.filter(|_| capture.capture.tests & test::TREE == 0) {
        capture.capture.tests |= test::TREE;
        capture.trees = vec![command.0];
    }
    let live_options = LiveOptions {
        ring_size: options.ring_size,
        kinds: options.kinds,
        stacks: options.stacks,
        capture,
        tree_size: MAX_TREE,
        way: Way::Auto,
    };
    let (begun, facts) = std::thread::scope(|scope| {
        let begun = std::thread::Builder::new().spawn_scoped(scope, || Begun::new(&live_options));
        // All else that takes a thread would panic without one: after `unshare -p` without `-f` there can be none.
        let begun = begun.context(NO_THREAD)?;
        let facts = kernel_facts(options.btf.as_deref());
        anyhow::Ok((begun.join(), facts))
    })?;
    let begun = begun.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let mut live = Live::start(&live_options, begun, &facts?)?;
    live.freeze_capture()?;
    Ok(live)
}

/// What the probes need to know of the kernel: from its own BTF, or as far as possible from a file.
fn kernel_facts(file: Option<&Path>) -> Result<KernelFacts> {
    let own = Btf::running().map(|btf| KernelFacts::of(&btf, BtfOrigin::Kernel));
    let facts = match (file, own) {
        (None, own) => own,
        (Some(file), Ok(own)) => Ok(file_facts(file)?.with_own(own)),
        (Some(file), Err(BtfError::NotInKernel)) => Ok(file_facts(file)?),
        (Some(_), Err(error)) => Err(error),
    };
    facts.map_err(|error| anyhow!("cannot use the kernel's BTF: {error}"))
}

fn file_facts(file: &Path) -> Result<KernelFacts> {
    let btf = Btf::from_file(file).map_err(|error| anyhow!("--btf {}: {error}", name(file)))?;
    Ok(KernelFacts::of(&btf, BtfOrigin::File))
}

/// Checks a BTF file against the kernel's own BTF. With the BTF of another kernel, the probes attach but report wrong
/// data or nothing.
fn foreign_btf(file: Option<&Path>) -> Option<Cause> {
    let facts = file_facts(file?).ok()?;
    let own = KernelFacts::of(&Btf::running().ok()?, BtfOrigin::File);
    let field = facts.differs_from(&own)?;
    Some(Cause {
        severity: Severity::Partial,
        what: format!("--btf does not match this kernel ({field} differs): events may be wrong or missing"),
        missing: None,
        remedy: "omit --btf: this kernel has its own BTF".to_owned(),
    })
}

/// The message if offsets from a file did not show tracetui's own opens, of which there are always some.
fn doubtful_btf(options: &TraceOptions, account: &Account) -> Option<&'static str> {
    let doubtful = options.btf.is_some() && options.kinds.contains(Kind::Open) && account.own == 0;
    doubtful.then_some("tracetui's own file opens did not arrive: does --btf match this kernel?")
}

/// The message if a tree had too many processes.
fn overgrown_tree(account: &Account) -> Option<String> {
    let left_out = account.tree_full;
    (left_out > 0).then(|| {
        format!(
            "--tree: more than {} live processes; {} were not traced; choose a smaller tree",
            grouped(MAX_TREE.into()),
            grouped(left_out)
        )
    })
}

/// The messages about evicted process and cgroup data, one line each.
fn shortage(account: &Account, budget: Budget) -> Vec<String> {
    let Shortage { processes, cgroups, unsettled } = account.shortage;
    let memory = size_of_memory(budget);
    let said = [
        (processes, ["live process was", "live processes were"], "evicted; parents and commands may be missing"),
        (cgroups, ["cgroup was", "cgroups were"], "evicted and looked up again; paths may be missing"),
        (unsettled, ["event was", "events were"], "delivered early; the order may be wrong"),
    ];
    let said = said.into_iter().filter(|(count, ..)| *count > 0);
    said.map(|(count, of, what)| format!("--memory {memory} is too small: {} {what}", counted(count, of))).collect()
}

fn size_of_memory(budget: Budget) -> ByteSize {
    ByteSize(budget.bytes() as u64)
}

/// Attaches the probes and starts reading.
///
/// # Errors
/// If nothing can be traced: every cause with its remedy, one line each.
pub fn start(options: &TraceOptions) -> Result<Session> {
    budget::give_back_when_freed();
    let machine = Machine::read();
    let mut causes = privilege::verdict(&Facts::of(&machine, options.btf.is_some()));
    causes.extend(foreign_btf(options.btf.as_deref()));
    if privilege::is_fatal(&causes) {
        let fatal = causes.iter().filter(|cause| cause.severity == Severity::Fatal);
        bail!(fatal.map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    // Whoever keeps the machine busy does not hold up the start.
    let niceness = raise_priority();
    let live = attach(options);
    set_priority(niceness);
    let mut live = live?;
    let mut notes: Vec<String> = causes.iter().map(ToString::to_string).collect();
    // These threads need privileges that the others do not have.
    let streams = live.open_streams_aside().context(NO_THREAD)?;
    let inventories = options.kinds.contains(Kind::Bpf).then(|| Inventories::start(&live, streams)).transpose();
    let inventories = inventories.unwrap_or_else(|why| {
        notes.push(format!(
            "BPF inventory: {why}; not seen: programs that are attached without a system call of their own"
        ));
        None
    });
    // Before the threads that read what others wrote.
    hold(STARTING).context("cannot drop privileges")?;
    notes.extend(live.probes().iter().filter_map(note));
    notes.extend(live.unnamed_stacks().map(|why| format!("stacks: {why}; functions have no names")));
    let ready = ready_line(live.probes(), options);
    let mut cgroups = CgroupResolver::new().ok();
    if let Some(cgroups) = &mut cgroups {
        cgroups.set_budget(options.budget);
    }
    let (known, all) = cgroups.as_ref().map_or((Vec::new(), true), CgroupResolver::tree);
    if live.asks_for_cgroups() {
        if !all {
            let known = known.len();
            notes.push(format!("--cgroup: only {known} cgroups fit; others match from their next fork, exec or exit"));
        }
        live.name_all_cgroups(&known).context("--cgroup")?;
    }
    let mut first = vec![first_batch(options, &machine, live.probes(), known)];
    let starts = live.take_started();
    let (budget, size) = (options.budget, options.budget.batch());
    let scan: Option<Scan> = match live.asks_for_cgroups() {
        // Where the v2 hierarchy is not in use, only the scan finds the cgroup that a filter asks for: then before any event.
        true => {
            let mut room = budget.processes();
            scan_processes(&starts, size, &mut |batch| {
                room = room.saturating_sub(batch.len());
                first.push(batch);
                room > 0
            });
            if room == 0 {
                notes.push(format!(
                    "--memory {} is too small: some running processes are unknown",
                    size_of_memory(budget)
                ));
            }
            None
        }
        false => {
            first.extend(options.command.map(|command| own_processes(command, &starts)));
            Some(Box::new(move |send: &mut dyn FnMut(Batch) -> bool| {
                if enter(Role::Processes).is_ok() {
                    scan_processes(&starts, size, send);
                }
            }))
        }
    };
    if let Some(cgroups) = &mut cgroups {
        cgroups.open_aside().context(NO_THREAD)?;
    }
    let spawner = Spawner::start("lookups", Role::Processes).context(NO_THREAD)?;
    let source = LiveSource::new(live, inventories, cgroups, &first, budget);
    let feed = Feed::start(source, first, scan, budget).context(NO_THREAD)?;
    // Last, since threads inherit it.
    let role = Role::Events { signals: options.signals, command: options.command_pid };
    enter(role).context("cannot drop privileges")?;
    Ok(Session { feed, ready, notes, spawner })
}

/// `tracing: exec exit open bpf; ring 16 MiB`: the requested kinds with a working probe.
fn ready_line(probes: &[ProbeStatus], options: &TraceOptions) -> String {
    let shows = |probe: &ProbeStatus, kind| probe.kinds.contains(kind) && shows_most(probe.name, kind);
    let works = |kind: &Kind| probes.iter().any(|probe| probe.attached && shows(probe, *kind));
    let asked = (options.kinds & KindSet::PROBED).iter();
    let kinds: Vec<&str> = asked.filter(works).map(Kind::name).collect();
    format!("tracing: {}; ring {}", kinds.join(" "), crate::cli::size::ByteSize(options.ring_size.into()))
}

fn note(probe: &ProbeStatus) -> Option<String> {
    let why = probe.why.as_ref()?;
    let remedy = probe.remedy.as_ref().map(|remedy| format!("; {remedy}"));
    match (probe.attached, remedy) {
        // What it does not see is the same on every such kernel, and nothing is to be done, or each event has it: doctor
        // says it.
        (true, None) => None,
        (false, _) if probe.optional => None,
        (true, Some(remedy)) => Some(format!("{}: {why}{remedy}", probe.name)),
        (false, remedy) => {
            Some(format!("{}: {why}; not seen: {}{}", probe.name, probe.missing, remedy.unwrap_or_default()))
        }
    }
}

/// The frames that the pipeline needs before the first event.
fn first_batch(options: &TraceOptions, machine: &Machine, probes: &[ProbeStatus], cgroups: Vec<Cgroup>) -> Batch {
    let mut batch = Batch::default();
    let now = clock::now_boot();
    let names = AccountNames::read();
    let trace = Trace {
        kinds: options.kinds.bits(),
        command: options.command.unwrap_or(Tgid(0)),
        filter: options.filter.clone(),
    };
    let layout = HostFrame::Layout(Layout::own());
    let host = [layout, HostFrame::Trace(trace), HostFrame::Host(machine.host()), HostFrame::Clock(clock::sample())];
    let probes = probes.iter().map(|probe| HostFrame::Probe(probe.frame()));
    let users = names.users().into_iter().map(HostFrame::User);
    let groups = names.groups().into_iter().map(HostFrame::Group);
    let cgroups = cgroups.into_iter().map(HostFrame::Cgroup);
    for frame in host.into_iter().chain(probes).chain(users).chain(groups).chain(cgroups) {
        frame.push(now, &mut batch);
    }
    batch
}

/// The running processes, in batches of about `size` bytes. Called after the attach, so that none is missed.
///
/// If the kernel listed the processes at the attach, these are used, with their parents: later processes have a fork
/// event, and the events of processes that have ended since are still to come.
fn scan_processes(started: &[Started], size: usize, send: &mut dyn FnMut(Batch) -> bool) {
    let Ok(scanner) = Scanner::new() else { return };
    let mut batch = Batch::default();
    let mut unread = 0;
    let mut take = |seed: ProcessSeed| {
        if scanner.unread() > unread {
            unread = scanner.unread();
            HostFrame::Scanned(Scanned { unread }).push(clock::now_boot(), &mut batch);
        }
        HostFrame::ProcessSeed(seed).push(clock::now_boot(), &mut batch);
        batch.len() < size || send(std::mem::take(&mut batch))
    };
    if started.is_empty() {
        // A /proc that cannot be listed has no processes.
        let _ = scanner.scan(|_| None, &mut take);
    }
    for process in started {
        if let Some(seed) = seed_of(process, &scanner)
            && !take(seed)
        {
            break;
        }
    }
    if !batch.is_empty() {
        send(batch);
    }
}

/// tracetui, its COMMAND, which is held, and the parent of the COMMAND. The scan may find them after the first events, when the COMMAND has ended.
fn own_processes(command: Tgid, started: &[Started]) -> Batch {
    let mut batch = Batch::default();
    let Ok(scanner) = Scanner::new() else { return batch };
    let seed = |tgid| match started.iter().find(|process| process.tgid == tgid) {
        Some(process) => seed_of(process, &scanner),
        None => scanner.process(tgid, |_| None),
    };
    let command = seed(command);
    // The COMMAND's parent may be its monitor, which ends with it.
    let own = [own_tgid(), command.as_ref().map(|command| command.ppid)];
    let own = own.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().filter_map(seed);
    for seed in own.chain(command) {
        HostFrame::ProcessSeed(seed).push(clock::now_boot(), &mut batch);
    }
    batch
}

/// A process that the kernel listed; `None` if it has ended.
fn seed_of(process: &Started, scanner: &Scanner) -> Option<ProcessSeed> {
    let found = scanner.process(process.tgid, |_| Some(process.start.0)).filter(|seed| seed.start_exact);
    let bare = || ProcessSeed { tgid: process.tgid, start: process.start, start_exact: true, ..ProcessSeed::default() };
    let seed = found.or_else(|| (!process.ended).then(bare))?;
    Some(ProcessSeed { ppid: process.parent, parent_start: process.parent_start, ..seed })
}

/// The exit status after a COMMAND. Prints the reason if it did not run.
pub fn exit_code(ended: &Ended) -> ExitCode {
    if let Ended::NotRun(why, _) = ended {
        say(format_args!("tracetui: {why}"));
    }
    ExitCode::from(ended.status())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_that_fall_silent_are_said_once() {
        let probe = |name: &str, attached: bool, why: Option<&str>| Probe {
            name: name.into(),
            attached,
            why: why.map(str::to_owned),
            missing: format!("what {name} sees"),
            ..Probe::default()
        };
        let mut known = None;
        let (mut a, mut b) = (probe("a", true, None), probe("b", true, None));
        let absent = probe("c", false, Some("not here"));
        let mut look = |a: &Probe, b: &Probe| silenced(&mut known, &[a.clone(), b.clone(), absent.clone()]);
        assert_eq!(look(&a, &b), Vec::<String>::new(), "the start says it");
        assert_eq!(look(&a, &b), Vec::<String>::new());
        (a, b) = (probe("a", false, Some("off")), probe("b", false, Some("off")));
        assert_eq!(look(&a, &b), ["a, b: off; not seen, and not counted: what a sees; what b sees"]);
        assert_eq!(look(&a, &b), Vec::<String>::new());
        a = Probe { why: Some("was off".into()), remedy: Some("wait".into()), ..a };
        assert_eq!(look(&a, &b), ["a: was off; not seen, and not counted: what a sees; wait"]);
    }
}
