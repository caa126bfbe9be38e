//! `tracetui record`: writes frames to a file, without a screen.

mod around;
mod metrics;
mod progress;
mod rotate;

use super::messages::{self, say};
use super::output_file::{self, Existing};
use super::trace::remarks::remarks;
use super::trace::request::{Request, TraceOptions, check_ids};
use super::trace::running::{Frames, Happening, RunningTrace, or_never, signals};
use super::trace::start::start;
use super::usage::{BadUsage, compile};
use crate::cli;
use crate::cli::size::{ByteSize, RingSize};
use crate::recorder::Recorder;
use anyhow::Result;
use around::{Around, Counts, Wanted};
use progress::{EVERY, Figures, Progress};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tracetui_events::budget::Budget;
use tracetui_events::filter::Compiled;
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::Label;
use tracetui_events::limits;
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::text::counted;
use tracetui_host::clock;
use tracetui_host::machine::Machine;
use tracetui_host::procfs::namespace;
use tracetui_live::command::{Happened, Streams};
use tracetui_shared::kind::KindSet;

/// How often metrics are written.
const METRICS_EVERY: Duration = Duration::from_secs(10);

/// Records until a signal, until a limit is reached, or until the COMMAND has ended.
pub async fn run(args: &cli::Record) -> Result<ExitCode> {
    let unnamed = || output_file::free(output_file::default_name(&Machine::read().host().name, clock::now_real_ns()));
    let path = args.output.clone().unwrap_or_else(unnamed);
    if args.rotate.is_some() && cli::is_stream(&path) {
        return Err(BadUsage("--rotate needs files: stdout is one stream".to_owned()).into());
    }
    let matches = args.around.around.as_ref().map(|expr| matching(expr)).transpose()?;
    let beside = matches.as_ref().filter(|matches| matches.whole.kind_named).map_or(KindSet::NONE, |m| m.kinds);
    // COMMAND's output would damage a recording on stdout.
    let streams = if cli::is_stream(&path) { Streams::StdoutToStderr } else { Streams::Inherited };
    let Request { filters, held, mut options } = Request::read(&args.trace, &args.run, streams, beside)?;
    options.labels = labels(&args.label)?;
    // In a recording they take 2 bytes per open.
    options.live.identities = args.trace.identity == Some(cli::Switch::On);
    let signals = signals(held.is_some())?;
    args.trace.ring_size.and_then(RingSize::note).into_iter().for_each(say);
    let recorder = match args.rotate {
        Some(rotate) => rotate::start(&path, rotate, args)?,
        None => output_file::start(&path, if args.force { Existing::Replace } else { Existing::Refuse })?,
    };
    let started = output_file::or_withdraw(start(&options), Some(&recorder)).await?;
    started.notes.iter().for_each(say);
    if !filters.rest.is_empty() && matches.is_none() {
        say("the kernel cannot apply the whole filter: the rest becomes the display filter of the recording");
    }
    let mut pipeline = Pipeline::new(options.budget);
    let wanted = matches.map(|matches| {
        pipeline.world_mut().processes.follow(&[filters.rest.roots(), matches.whole.roots()].concat());
        wanted(args, matches, filters, &options)
    });
    say(&started.ready);
    let mut trace = RunningTrace::start(started.feed, held, signals, Some(recorder), &args.run)?;
    trace.tapped = wanted.is_none();
    let mut recording = Recording {
        trace,
        pipeline,
        around: wanted.map(|wanted| AroundState::Announced(Box::new(wanted))),
        budget: options.budget,
        most: args.max_size.map(|size| size.0),
        full: false,
        limited: false,
        // A COMMAND writes to the same terminal, and so does what reads stdout.
        metrics: args.metrics.is_some().then(|| interval_at(Instant::now().into(), METRICS_EVERY)),
        progress: Progress::new().filter(|_| args.run.command.is_empty() && !cli::is_stream(&path)),
    };
    recording.run(args.duration).await;
    let code = recording.outcome().await;
    if let Some(events) = &recording.trace.failed_after {
        let lost = recording.pipeline.ledger().recorded_only(events, recording.around.is_none());
        if lost > 0 {
            say(format_args!("{} not recorded", counted(lost, ["event was", "events were"])));
        }
    }
    let account = recording.pipeline.account();
    recording.around_remarks(args.trace.memory()).into_iter().for_each(say);
    remarks(&options, &account, recording.pipeline.discrepancy()).iter().for_each(say);
    say(account.line());
    Ok(code)
}

fn labels(given: &[Label]) -> Result<Vec<Label>> {
    let twice = given.iter().enumerate().find(|(at, label)| given[..*at].iter().any(|other| other.name == label.name));
    match twice {
        Some((_, label)) => Err(BadUsage(format!("--label {}: given twice", label.name)).into()),
        None => Ok(given.to_vec()),
    }
}

/// The filter of `--around`.
fn matching(expr: &str) -> Result<Compiled> {
    let filters = cli::FilterArgs { filter: vec![expr.to_owned()], ..cli::FilterArgs::default() };
    check_ids(&filters, namespace("/proc/self", "pid"))
        .and_then(|()| compile(&filters))
        .map_err(|BadUsage(text)| BadUsage(text.replacen("--filter", "--around", 1)).into())
}

fn wanted(args: &cli::Record, mut matches: Compiled, filters: Compiled, options: &TraceOptions) -> Wanted {
    let shown = Compiled { kinds: options.live.kinds, ..filters };
    if !matches.whole.kind_named {
        matches.kinds = shown.kinds;
    }
    let cli::AroundArgs { before, after, .. } = args.around;
    Wanted { wanted: shown, matches, before, after, room: options.budget.share(limits::AROUND_SHARE) }
}

enum AroundState {
    /// Before the first frames.
    Announced(Box<Wanted>),
    /// The surroundings of some events, and a pipeline that reads the recording. States in the recording come from that pipeline.
    Around(Box<(Around, Pipeline)>),
}

struct Recording {
    trace: RunningTrace,
    pipeline: Pipeline,
    /// `None` records the whole trace.
    around: Option<AroundState>,
    budget: Budget,
    most: Option<u64>,
    /// Whether the recording has reached `most`. Later frames are not recorded.
    full: bool,
    limited: bool,
    /// When to write the metrics; `None` if they are not wanted.
    metrics: Option<Interval>,
    progress: Option<Progress>,
}

impl Recording {
    async fn run(&mut self, duration: Option<Duration>) {
        let mut over = Box::pin(or_never(duration.map(tokio::time::sleep)));
        let mut ticks = interval_at((Instant::now() + EVERY).into(), EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                happening = self.trace.next(Frames::Taken) => match happening {
                    Happening::Signal(signal) if self.trace.pass_on(signal) => {}
                    Happening::Signal(_) => self.stop(),
                    Happening::Command(happened) => self.happened(&happened),
                    Happening::Frames(batch) if self.full => self.trace.feed.recycle(batch),
                    Happening::Frames(batch) => {
                        self.write_batch(batch);
                        self.mind_the_size();
                    }
                    Happening::NotRecorded(why) => {
                        say(why);
                        self.stop();
                    }
                    Happening::SourceEnded => break,
                },
                () = &mut over, if !self.trace.stopped => self.reached("--duration"),
                _ = or_never(self.metrics.as_mut().map(Interval::tick)) => self.write_metrics(),
                _ = ticks.tick(), if self.progress.is_some() => self.show_progress(),
            }
        }
        self.begin_part();
        self.pipeline.end();
        let Some(AroundState::Around(mut part)) = self.around.take() else {
            self.pipeline.next(None, &mut |_, _| Disposition::Delivered);
            self.write_metrics();
            return self.trace.end_recording(&self.pipeline).await;
        };
        let (around, reader) = part.as_mut();
        self.pipeline.next(None, &mut |seen, frame| around.take_event(seen, frame));
        around.close();
        write_part(&self.trace, &mut self.pipeline, around, reader);
        reader.end();
        reader.next(None, &mut |_, _| Disposition::Delivered);
        self.write_metrics();
        self.trace.end_recording(reader).await;
        self.around = Some(AroundState::Around(part));
    }

    fn happened(&mut self, happened: &Happened) {
        if !self.full
            && let Some(batch) = self.trace.record_output(happened.output())
        {
            self.write_batch(batch);
        }
        if let Happened::Ended(_) = happened {
            self.stop();
        }
    }

    /// Begins recording a part of the trace, once the first frames have described the machine.
    fn begin_part(&mut self) {
        self.around = match self.around.take() {
            Some(AroundState::Announced(wanted)) => {
                let reader = Pipeline::new(self.budget);
                Some(AroundState::Around(Box::new((Around::new(*wanted, self.pipeline.world()), reader))))
            }
            part => part,
        };
    }

    /// The messages about the recorded parts.
    fn around_remarks(&self, memory: ByteSize) -> Vec<String> {
        let Some(AroundState::Around(part)) = &self.around else { return Vec::new() };
        let Counts { matches, windows, short } = part.0.counts;
        let (matches, windows) = (counted(matches, ["match", "matches"]), counted(windows, ["window", "windows"]));
        let mut lines = vec![format!("--around: {matches} in {windows}")];
        if short > 0 {
            let short = counted(short, ["window starts", "windows start"]);
            lines.push(format!("--memory {memory} is too small for --before: {short} late"));
        }
        lines
    }

    fn write_batch(&mut self, batch: Batch) {
        self.pipeline.feed(batch);
        self.begin_part();
        let Recording { trace, pipeline, around: part, .. } = self;
        match part {
            Some(AroundState::Around(part)) => {
                let (around, reader) = part.as_mut();
                pipeline.next(None, &mut |seen, frame| around.take_event(seen, frame));
                write_part(trace, pipeline, around, reader);
            }
            _ => pipeline.next(None, &mut |_, _| Disposition::Delivered),
        }
        self.trace.record_state(&self.pipeline);
        self.trace.notices(&mut self.pipeline).iter().for_each(say);
        // Without a recording there is nothing left to do.
        if self.trace.failed_after.is_some() {
            self.stop();
        }
    }

    /// Ends the recording at its maximum size.
    fn mind_the_size(&mut self) {
        let (Some(most), Some(recorder)) = (self.most, self.trace.recorder.as_ref()) else { return };
        if recorder.written() < most {
            return;
        }
        self.full = true;
        if self.trace.tapped {
            self.trace.untap(&mut self.pipeline);
        }
        if !self.trace.stopped {
            self.reached("--max-size");
        }
    }

    /// Ends the recording because of an option, and prints which one.
    fn reached(&mut self, option: &str) {
        self.limited = true;
        self.stop();
        say(format_args!("ended: {option} reached"));
    }

    fn write_metrics(&mut self) {
        let Some(recorder) = self.trace.recorder.as_ref().filter(|_| self.metrics.is_some()) else { return };
        let (at, account) = self.pipeline.account_then();
        let lag = at.map_or(0, |at| clock::now_boot().0.saturating_sub(at.0)) as f64 / 1e9;
        let counters = &self.pipeline.world().counters;
        recorder.metrics(metrics::of_trace(&account, &metrics::Figures { bytes: recorder.written(), lag, counters }));
    }

    fn show_progress(&mut self) {
        let (sum, bytes) = (self.pipeline.account().sum(), self.trace.recorder.as_ref().map_or(0, Recorder::written));
        if let Some(progress) = &mut self.progress {
            progress.show(Figures { events: sum.delivered, bytes, lost: sum.lost.sum() });
        }
    }

    fn stop(&mut self) {
        if self.progress.take().is_some() {
            messages::clear_progress();
        }
        self.trace.stop();
    }

    /// The status to exit with. Waits for a COMMAND that still runs: it was sent SIGTERM.
    async fn outcome(&mut self) -> ExitCode {
        self.trace.wait_for_command().await;
        match self.trace.failed_after.is_some() {
            true => ExitCode::FAILURE,
            // A COMMAND that was sent SIGTERM has not failed.
            false if self.limited => ExitCode::SUCCESS,
            false => self.trace.status(),
        }
    }
}

/// Writes the parts taken from the trace since the last call.
fn write_part(trace: &RunningTrace, pipeline: &mut Pipeline, around: &mut Around, reader: &mut Pipeline) {
    pipeline.ledger().deliver_late(&around.late());
    while let Some(batch) = around.batch() {
        trace.recorder.as_ref().into_iter().for_each(|recorder| recorder.frames(&batch));
        reader.feed(batch);
        reader.next(None, &mut |_, _| Disposition::Delivered);
    }
    trace.recorder.as_ref().into_iter().for_each(|recorder| recorder.state_if_due(reader));
}
