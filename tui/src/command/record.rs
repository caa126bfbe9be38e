//! `tracetui record`: frames into a file, without a screen.

use super::progress::{EVERY, Figures, Progress};
use super::rotate;
use super::say::{self, say};
use super::session::{self, BadUsage, Frames, Happening, Request, RunningTrace};
use super::signals::{self, Second, Signals};
use super::write::{self, Existing};
use crate::cli;
use crate::frame::Batch;
use crate::pipeline::{Disposition, Pipeline};
use crate::source::command::{Happened, Streams};
use crate::source::host::clock;
use crate::source::host::machine::Machine;
use anyhow::{Context, Result};
use std::future::pending;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval_at};
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
    if args.rotate.is_some() && cli::is_stream(&path) {
        return Err(BadUsage("--rotate needs files: stdout is one stream".to_owned()).into());
    }
    let Request { filters, held, options } = Request::read(&args.trace, &args.run, Streams::Inherited, KindSet::NONE)?;
    let signals = Signals::take(Second::Ends(INTERRUPTED), &[]).context("cannot handle signals")?;
    signals::ignore_file_size();
    args.trace.ring_size.note().into_iter().for_each(say);
    let recorder = match args.rotate {
        Some(rotate) => rotate::start(&path, rotate)?,
        None => write::start(&path, if args.force { Existing::Replace } else { Existing::Refuse })?,
    };
    let started = session::start(&options)?;
    started.notes.iter().for_each(say);
    if !filters.rest.is_everything() {
        say("the kernel cannot apply the whole filter: it is kept as the display filter of the recording");
    }
    let mut pipeline = Pipeline::default();
    pipeline.set_budget(options.budget);
    say(&started.ready);
    let mut recording = Recording {
        trace: RunningTrace::start(started.feed, held, signals, Some(recorder))?,
        pipeline,
        most: args.max_size.map(|size| size.0),
        stopped: false,
        // A COMMAND writes to the same terminal.
        progress: Progress::new().filter(|_| args.run.command.is_empty()),
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
    /// Bytes of the recording.
    most: Option<u64>,
    stopped: bool,
    progress: Option<Progress>,
}

impl Recording {
    async fn run(&mut self, duration: Option<Duration>) {
        let mut over = Box::pin(async move {
            match duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => pending().await,
            }
        });
        let mut ticks = interval_at((Instant::now() + EVERY).into(), EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                happening = self.trace.next(Frames::Taken) => match happening {
                    Happening::Signal(signal) if self.trace.pass_on(signal) => {}
                    Happening::Signal(_) | Happening::Command(Happened::Ended(_)) => self.stop(),
                    Happening::Command(Happened::Wrote(_)) => {}
                    Happening::Frames(batch) => self.take(batch),
                    Happening::NotRecorded(why) => {
                        say(why);
                        self.stop();
                    }
                    Happening::SourceEnded => break,
                },
                () = &mut over, if !self.stopped => self.stop(),
                _ = ticks.tick(), if self.progress.is_some() => self.show_progress(),
            }
        }
        self.pipeline.finish(&mut |_, _| Disposition::Delivered);
        self.trace.end_recording(&self.pipeline).await;
    }

    fn take(&mut self, batch: Batch) {
        self.pipeline.feed(batch);
        self.pipeline.release(&mut |_, _| Disposition::Delivered);
        while let Some(spare) = self.pipeline.spare() {
            self.trace.feed().recycle(spare);
        }
        self.trace.record_state(&self.pipeline);
        // Without a file there is nothing left to do.
        if self.trace.recording_failed() || self.most.is_some_and(|most| self.trace.recorded() >= most) {
            self.stop();
        }
    }

    fn show_progress(&mut self) {
        let (sum, bytes) = (self.pipeline.account().sum(), self.trace.recorded());
        if let Some(progress) = &mut self.progress {
            progress.show(Figures { events: sum.delivered, bytes, lost: sum.lost.sum() });
        }
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) {
            if self.progress.take().is_some() {
                say::clear_progress();
            }
            self.trace.stop();
        }
    }

    /// The status to exit with. Waits for a COMMAND that still runs: it was sent SIGTERM.
    async fn outcome(&mut self) -> ExitCode {
        self.trace.wait_for_command().await;
        if self.trace.recording_failed() { ExitCode::FAILURE } else { self.trace.status() }
    }
}
