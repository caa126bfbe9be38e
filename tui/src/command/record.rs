//! `tracetui record`: frames into a file, without a screen.

use super::say::say;
use super::session::{self, Frames, Happening, Request, RunningTrace};
use super::signals::{self, Addressee, Second, Signals};
use super::write;
use crate::cli;
use crate::frame::Batch;
use crate::pipeline::{Disposition, Pipeline};
use crate::recording::Recorder;
use crate::recording::recorder::Failed;
use crate::source::command::{Happened, Streams};
use crate::source::host::clock;
use crate::source::host::machine::Machine;
use anyhow::{Context, Result};
use std::future::pending;
use std::process::ExitCode;
use std::time::Duration;
use tracetui_shared::kind::KindSet;

/// `128 + SIGINT`: the second signal ends at once.
const INTERRUPTED: i32 = 130;

/// Records until a signal, until a limit is reached, or until the COMMAND has ended.
///
/// # Errors
/// If nothing can be traced, or the recording cannot be written.
pub async fn run(args: &cli::Record) -> Result<ExitCode> {
    let path =
        args.output.clone().unwrap_or_else(|| write::default_name(&Machine::read().host().name, clock::now_real_ns()));
    let existing = write::check(&path, args.force)?;
    let Request { filters, held, options } = Request::read(&args.trace, &args.run, Streams::Inherited, KindSet::NONE)?;
    let signals = Signals::take(Second::Ends(INTERRUPTED), &[]).context("cannot handle signals")?;
    signals::ignore_file_size();
    args.trace.ring_size.note().into_iter().for_each(say);
    let recorder = write::start(&path, existing)?;
    let started = session::start(&options)?;
    started.notes.iter().for_each(say);
    if !filters.rest.is_everything() {
        say("the kernel cannot apply the whole filter: it is kept as the display filter of the recording");
    }
    let mut pipeline = Pipeline::default();
    pipeline.set_budget(options.budget);
    say(&started.ready);
    let held_one = held.is_some();
    let command = session::release(held)?;
    let not_run = held_one && command.is_none();
    if let Some(pidfd) = command.as_ref().and_then(|command| command.pidfd().ok()) {
        signals::pass_on_to(pidfd);
    }
    let mut recording = Recording {
        trace: RunningTrace::new(started.feed, command, signals),
        pipeline,
        recorder: Some(recorder),
        most: args.max_size.map(|size| size.0),
        stopped: false,
        failed: false,
        not_run,
        signal: None,
    };
    recording.run(args.duration).await;
    let code = recording.outcome().await;
    let account = recording.pipeline.account();
    session::remarks(&options, &account, recording.pipeline.discrepancy()).iter().for_each(say);
    say(account.line());
    Ok(code)
}

/// A trace that is recorded.
struct Recording {
    trace: RunningTrace,
    pipeline: Pipeline,
    /// `None` after it failed.
    recorder: Option<Recorder>,
    /// Bytes of the file.
    most: Option<u64>,
    stopped: bool,
    failed: bool,
    /// A signal came before the COMMAND was released, so it was not run.
    not_run: bool,
    /// The first signal.
    signal: Option<libc::c_int>,
}

impl Recording {
    async fn run(&mut self, duration: Option<Duration>) {
        let mut over = Box::pin(async move {
            match duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => pending().await,
            }
        });
        loop {
            tokio::select! {
                happening = self.trace.next_recorded(Frames::Taken, self.recorder.as_ref()) => match happening {
                    Ok(Happening::Signal(signal)) => self.signalled(signal),
                    Ok(Happening::Command(Happened::Ended(_))) => self.stop(),
                    Ok(Happening::Command(Happened::Wrote(_))) => {}
                    Ok(Happening::Frames(batch)) => self.take(batch),
                    Ok(Happening::SourceEnded) => break,
                    Err(failed) => self.fail(&failed),
                },
                () = &mut over, if !self.stopped => self.stop(),
            }
        }
        self.pipeline.finish(&mut |_, _| Disposition::Delivered);
        if let Some(recorder) = self.recorder.take() {
            self.failed |= !write::end(recorder, &self.pipeline).await;
        }
    }

    fn take(&mut self, batch: Batch) {
        self.pipeline.feed(batch);
        self.pipeline.release(&mut |_, _| Disposition::Delivered);
        while let Some(spare) = self.pipeline.spare() {
            self.trace.feed().recycle(spare);
        }
        let Some(recorder) = &self.recorder else { return };
        recorder.state_if_due(&self.pipeline);
        if self.most.is_some_and(|most| recorder.written() >= most) {
            self.stop();
        }
    }

    /// Without a file there is nothing left to do.
    fn fail(&mut self, failed: &Failed) {
        if let Some(recorder) = self.recorder.take() {
            write::say_failed(recorder.name(), failed);
        }
        self.failed = true;
        self.stop();
    }

    fn signalled(&mut self, signal: libc::c_int) {
        self.signal.get_or_insert(signal);
        match (self.trace.command(), signals::addressee(signal)) {
            (None, _) | (_, Addressee::Tracetui) => self.stop(),
            (Some(command), Addressee::CommandByUs) => command.signal(signal),
            (Some(_), Addressee::CommandToo) => {}
        }
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.trace.stop();
        }
    }

    /// The status to exit with. Waits for a COMMAND that still runs: it was sent SIGTERM.
    async fn outcome(&mut self) -> ExitCode {
        self.trace.say_what_is_waited_for();
        while self.trace.command_runs() {
            if let Happening::Signal(signal) = self.trace.next(Frames::Left).await
                && signals::addressee(signal) == Addressee::CommandByUs
            {
                self.trace.signal_command(signal);
            }
        }
        match (self.failed, self.trace.command_end()) {
            (true, _) => ExitCode::FAILURE,
            (_, None) if self.not_run => {
                say("tracetui: interrupted before the COMMAND was started");
                session::killed_by(self.signal.unwrap_or(libc::SIGTERM))
            }
            (_, None) => ExitCode::SUCCESS,
            (_, Some(ended)) => session::exit_code(ended),
        }
    }
}
