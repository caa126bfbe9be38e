//! `tracetui print`: live events as lines.

pub mod expect;
pub(super) mod explain;
pub mod recordings;
pub(super) mod unanswered;

use super::messages::{say, style};
use super::output_file;
use super::trace::remarks::remarks;
use super::trace::request::Request;
use super::trace::running::{Frames, Happening, RunningTrace, signals};
use super::trace::start::start;
use super::writer_thread::{POLL_INTERVAL, Patience, WriterThread};
use crate::cli;
use crate::cli::size::RingSize;
use anyhow::{Context, Result};
use explain::Reasons;
use rustix::thread::{CapabilitySet, capabilities};
use std::io::{self, ErrorKind};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tracetui_events::account::ByKind;
use tracetui_events::event::EventContext;
use tracetui_events::filter::Scratch;
use tracetui_events::frame::Batch;
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::sink::{self, FormatName, LineOptions, Sink, Unwritten};
use tracetui_host::priority;
use tracetui_live::command::{Happened, Streams};
use tracetui_shared::kind::{Kind, KindSet};
use unanswered::Unanswered;

/// How long after a signal an output that nobody reads is abandoned while the COMMAND still runs. A COMMAND that continues longer has
/// handled the signal in its own way, and its output may wait again.
const GIVING_UP: Duration = Duration::from_secs(3);

/// Prints live events until a signal, the end of COMMAND, the requested number, or the end of the output. The account is of the end.
pub async fn run(args: &cli::Print) -> Result<Printed> {
    let format = explain::format(args)?;
    let Request { filters, held, options } =
        Request::read(&args.trace, &args.run, Streams::StdoutToStderr, KindSet::NONE)?;
    let signals = signals(held.is_some())?;
    args.trace.ring_size.and_then(RingSize::note).into_iter().for_each(say);
    if args.format == FormatName::Text && (args.trace.env.is_some() || args.trace.fds) {
        say("text has no environments and no other descriptors: use --format json, or the dashboard");
    }
    let recorder = args.write.as_deref().map(output_file::start_beside).transpose()?;
    let started = output_file::or_withdraw(start(&options), recorder.as_ref()).await?;
    started.notes.iter().for_each(say);
    // Do this after privileges were dropped, since it starts a thread.
    let stdout = WriterThread::to(rustix::stdio::stdout()).context("cannot write to stdout")?;
    let reasons = args.why.then(|| Reasons::live(format, started.lookups.clone()));
    // Lines that wait get their reasons later.
    let explain = reasons.clone().filter(|_| !args.unanswered).map(Reasons::explain);
    let lines = LineOptions { explain, written: Some(stdout.progress()), several: false };
    let mut sink = sink::lines(format, lines, stdout.queue());
    sink.set_style(style(args.color));
    let mut scratch = Scratch::default();
    let mut pipeline = Pipeline::new(options.budget);
    pipeline.world_mut().processes.follow(&filters.rest.roots());
    let wanted = Box::new(move |seen: &EventContext<'_>| filters.passes(seen, &mut scratch));
    let mut printer = Printer::new(pipeline, sink, wanted, args.count);
    let texts = (format == FormatName::Text).then(|| style(args.color).charset);
    let unanswered = || Unanswered::new(Some(unanswered::LIVE_NS), options.budget, texts, reasons.clone());
    printer.lines.unanswered = args.unanswered.then(unanswered);
    say(&started.ready);
    let mut pump = Pump {
        trace: RunningTrace::start(started.feed, held, signals, recorder, &args.run)?,
        printer: &mut printer,
        stdout,
        printed: false,
        signalled: None,
        may_lend: capabilities(None).is_ok_and(|held| held.effective.contains(CapabilitySet::SYS_NICE)),
        given_up: false,
    };
    let printed = pump.run().await;
    pump.trace.end_recording(&pump.printer.pipeline).await;
    let code = pump.outcome().await;
    let (given_up, unrecorded) = (pump.given_up, pump.trace.failed_after.is_some());
    let unwritten = printer.settle();
    let were = if unwritten == 1 { "event was" } else { "events were" };
    let account = printer.pipeline.account();
    let code = match printed {
        Ok(()) if unrecorded => ExitCode::FAILURE,
        Ok(()) => code,
        Err(_) if given_up => {
            say(format_args!("stdout is not being read: {unwritten} {were} not written"));
            code
        }
        Err(error) => {
            say(format_args!("tracetui: cannot write output: {error}: {unwritten} {were} not written"));
            ExitCode::FAILURE
        }
    };
    let reasons = reasons.filter(|_| args.format == FormatName::Text);
    reasons.and_then(|reasons| reasons.remark()).into_iter().for_each(say);
    remarks(&options, &account, printer.pipeline.discrepancy()).iter().for_each(say);
    match args.format {
        FormatName::Json => say(account.json()),
        _ => say(account.line()),
    }
    let matched = printer.lines.is_done();
    Ok(Printed { code, matched, doubt: account.doubt().map(str::to_owned) })
}

/// How printing ended.
#[derive(Debug)]
pub struct Printed {
    pub code: ExitCode,
    /// Whether the requested number of events was printed.
    pub matched: bool,
    /// Why there may have been other events.
    pub doubt: Option<String>,
}

/// Feeds a printer until the source has ended.
struct Pump<'a> {
    trace: RunningTrace,
    printer: &'a mut Printer<'static>,
    /// The queue that the printer writes to.
    stdout: WriterThread,
    /// Whether the source was asked to end because everything requested is printed, or nothing more can be printed.
    printed: bool,
    /// When the latest signal came. After it, waits for the output are short.
    signalled: Option<(Instant, Patience)>,
    /// Whether lent CPU time can be taken back (CAP_SYS_NICE).
    may_lend: bool,
    given_up: bool,
}

impl Pump<'_> {
    async fn run(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        loop {
            tokio::select! {
                happening = self.trace.next(if self.stdout.full() { Frames::Left } else { Frames::Taken }) => {
                    match happening {
                        Happening::Signal(signal) => self.signalled(signal),
                        Happening::Command(happened) => result = result.and(self.happened(&happened)),
                        Happening::Frames(batch) => result = result.and(self.print(batch)),
                        Happening::NotRecorded(why) => say(why),
                        Happening::SourceEnded => break,
                    }
                }
                () = self.stdout.changed() => result = result.and(self.went_on()),
                () = tokio::time::sleep(POLL_INTERVAL), if self.waits_impatiently() => self.look(),
            }
        }
        result = result.and(self.printer.finish());
        self.write_out().await;
        // This includes failures since the last check.
        result.and(self.went_on())
    }

    fn happened(&mut self, happened: &Happened) -> io::Result<()> {
        let printed = self.trace.record_output(happened.output()).map_or(Ok(()), |batch| self.print(batch));
        if let Happened::Ended(_) = happened {
            self.trace.stop();
        }
        printed
    }

    /// Waits until everything is written, the output fails, or it stalls after a signal.
    async fn write_out(&mut self) {
        while self.stdout.pending() {
            tokio::select! {
                happening = self.trace.next(Frames::Left) => if let Happening::Signal(signal) = happening {
                    self.signalled(signal);
                },
                () = self.stdout.changed() => {}
                () = tokio::time::sleep(POLL_INTERVAL), if self.waits_impatiently() => self.look(),
            }
        }
    }

    /// Handles a write to the output, or its failure.
    fn went_on(&mut self) -> io::Result<()> {
        let Some(error) = self.stdout.failure() else { return Ok(()) };
        let flow = self.printer.output_failed(error);
        self.heed(&flow);
        flow.map(|_| ())
    }

    fn waits_impatiently(&self) -> bool {
        let lately = |(at, _): &(Instant, _)| self.trace.stopped || at.elapsed() < GIVING_UP;
        self.signalled.as_ref().is_some_and(lately) && self.stdout.pending()
    }

    /// Drops the queued output if its reader stalls.
    fn look(&mut self) {
        if let Some((_, patience)) = &mut self.signalled
            && patience.over(&self.stdout)
        {
            self.given_up = true;
            self.stdout.abandon();
        }
    }

    fn heed(&mut self, flow: &io::Result<Flow>) {
        if !matches!(flow, Ok(Flow::Continue)) {
            self.printed |= !self.trace.stopped;
            // Do this before printing a message, since that may have to wait.
            self.trace.stop();
        }
    }

    fn print(&mut self, batch: Batch) -> io::Result<()> {
        // While many events come and the queue has room, the traced processes get the CPU time: the events can be shown later. The
        // source takes it back if that lasts too long ([`FrameSender::urge`](tracetui_live::feed::FrameSender::urge)).
        if self.may_lend && batch.len() >= priority::LARGE && self.trace.feed.queued() == 0 {
            priority::lend();
        }
        let flow = self.printer.feed(batch);
        // Events that are no longer printed are in the recording, and a state would count them as filtered.
        if !self.trace.stopped && matches!(flow, Ok(Flow::Continue)) {
            self.trace.record_state(&self.printer.pipeline);
        }
        self.trace.notices(&mut self.printer.pipeline).iter().for_each(say);
        self.heed(&flow);
        flow.map(|_| ())
    }

    /// Ends the trace after a signal. A COMMAND ends the trace by its own end, so it gets the signal, unless the terminal has sent it
    /// already. The second signal ends the process ([`signals`]).
    fn signalled(&mut self, signal: libc::c_int) {
        self.signalled = Some((Instant::now(), Patience::new(&self.stdout)));
        if !self.trace.pass_on(signal) {
            self.trace.stop();
        }
    }

    /// The status to exit with. Waits for a COMMAND that still runs: it was sent SIGTERM.
    async fn outcome(&mut self) -> ExitCode {
        if !self.trace.stopped {
            self.trace.signal_command(libc::SIGTERM);
        }
        self.trace.wait_for_command().await;
        // A COMMAND that was sent SIGTERM has not failed.
        let has_succeeded = self.printed && self.trace.command_end().is_some();
        if has_succeeded { ExitCode::SUCCESS } else { self.trace.status() }
    }
}

/// Whether to print an event or a `lost` row (the filter language defines when those are hidden).
pub type Predicate = Box<dyn FnMut(&EventContext<'_>) -> bool>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    Continue,
    /// The requested number of events is printed.
    Done,
    Closed,
}

/// Batches in, lines out.
///
/// After the last requested line, batches can still be fed (and must be, for an exact account): their events count as
/// filtered. The same applies after the reader has closed the output: it wants no more. After the output has failed, wanted
/// events count as lost. [`settle`](Self::settle) applies this to lines that were still queued. Lines in a pipe count as
/// delivered.
pub struct Printer<'s> {
    pipeline: Pipeline,
    lines: Lines<'s>,
}

/// Events in, lines out.
pub(super) struct Lines<'s> {
    pub(super) sink: Box<dyn Sink + 's>,
    wanted: Predicate,
    /// How many events may still be printed.
    remaining: Option<u64>,
    /// The failures that wait for an answer, if only those without one are wanted.
    pub(super) unanswered: Option<Unanswered>,
    error: Option<io::Error>,
    /// Why nothing more is written; `None` while the output works.
    ended: Option<End>,
    unwritten: ByKind,
    /// Failures that were answered while their lines waited. They count as filtered.
    pub(super) answered: ByKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The reader wants no more.
    Closed,
    Failed,
}

impl<'s> Printer<'s> {
    /// A printer of the events of `pipeline` that match `wanted`, at most `count`.
    pub fn new(pipeline: Pipeline, sink: Box<dyn Sink + 's>, wanted: Predicate, count: Option<u64>) -> Printer<'s> {
        Printer { pipeline, lines: Lines::new(sink, wanted, count) }
    }

    /// Feeds a batch, and prints the events whose order is now final. If the source is empty
    /// ([`Pipeline::drained`]), the lines are written at once, otherwise in larger pieces.
    /// A closed output is not an error, but [`Flow::Closed`].
    pub fn feed(&mut self, batch: Batch) -> io::Result<Flow> {
        self.pipeline.feed(batch);
        let Printer { pipeline, lines } = self;
        pipeline.next(None, &mut |seen, _| lines.queue_line(seen));
        lines.unanswered.iter_mut().for_each(|unanswered| unanswered.reach(pipeline.world().counted_at));
        lines.release(false);
        if pipeline.drained || lines.is_done() {
            lines.flush();
        }
        lines.outcome()
    }

    /// Prints all remaining events.
    pub fn finish(&mut self) -> io::Result<()> {
        let Printer { pipeline, lines } = self;
        pipeline.end();
        pipeline.next(None, &mut |seen, _| lines.queue_line(seen));
        lines.finish();
        lines.outcome().map(|_| ())
    }

    /// Records that the queued output cannot be written.
    pub fn output_failed(&mut self, error: io::Error) -> io::Result<Flow> {
        if self.lines.ended.is_none() {
            self.lines.check(Err(error));
        }
        self.lines.outcome()
    }

    /// At the end, subtracts events whose lines were not written from `delivered`, and returns their number.
    pub fn settle(&mut self) -> u64 {
        let Printer { pipeline, lines } = self;
        let queued = lines.sink.unwritten();
        queued.iter().for_each(|line| count(&mut lines.unwritten, *line));
        pipeline.ledger().not_delivered(&std::mem::take(&mut lines.answered), false);
        let unwritten = std::mem::take(&mut lines.unwritten);
        pipeline.ledger().not_delivered(&unwritten, lines.ended != Some(End::Closed))
    }
}

fn count(counts: &mut ByKind, line: Unwritten) {
    if let Some(counted) = counts.of(line.kind) {
        counted.delivered += 1;
        counted.cut += u64::from(line.cut);
    }
}

impl<'s> Lines<'s> {
    /// A writer of lines for the wanted events, at most `count`.
    pub(super) fn new(sink: Box<dyn Sink + 's>, wanted: Predicate, count: Option<u64>) -> Lines<'s> {
        let (unwritten, answered) = (ByKind::default(), ByKind::default());
        Lines { sink, wanted, remaining: count, unanswered: None, error: None, ended: None, unwritten, answered }
    }

    /// Queues the line of an event if the event is wanted.
    pub(super) fn queue_line(&mut self, seen: &EventContext<'_>) -> Disposition {
        if self.ended == Some(End::Closed) || self.is_done() {
            return Disposition::Filtered;
        }
        let wanted = (self.wanted)(seen);
        if let Some(unanswered) = &mut self.unanswered {
            let waits = unanswered.hold(seen, wanted, &mut *self.sink);
            self.release(false);
            return if waits { Disposition::Delivered } else { Disposition::Filtered };
        }
        if !wanted {
            return Disposition::Filtered;
        }
        // If the line is not written, the event is subtracted at the end.
        if self.ended.is_some() {
            count(&mut self.unwritten, Unwritten { kind: seen.event.kind(), cut: seen.event.body.cut() });
        } else {
            let written = self.sink.event(seen);
            self.check(written);
        }
        if seen.event.kind() != Kind::Lost {
            self.remaining = self.remaining.map(|left| left.saturating_sub(1));
        }
        Disposition::Delivered
    }

    /// Writes the lines that waited long enough for an answer and got none, or `all` without one.
    pub(super) fn release(&mut self, all: bool) {
        while let Some((line, answered, why)) = self.unanswered.as_mut().and_then(|unanswered| unanswered.next(all)) {
            let Some(line) = line else { continue };
            if answered || self.ended == Some(End::Closed) || self.is_done() {
                count(&mut self.answered, line.of);
            } else if self.ended.is_some() {
                count(&mut self.unwritten, line.of);
            } else {
                let written = self.sink.put(&line, why.as_ref());
                self.check(written);
                let counts = line.of.kind != Kind::Lost;
                self.remaining = self.remaining.map(|left| left.saturating_sub(counts.into()));
            }
        }
    }

    /// Whether the requested number of events came.
    pub(super) fn is_done(&self) -> bool {
        self.remaining == Some(0)
    }

    pub(super) fn flush(&mut self) {
        if self.ended.is_none() {
            let flushed = self.sink.flush();
            self.check(flushed);
        }
    }

    pub(super) fn finish(&mut self) {
        self.release(true);
        if self.ended.is_none() {
            let finished = self.sink.finish();
            self.check(finished);
        }
    }

    /// Notes an error. After it nothing more is written, since a line would be missing in the middle.
    fn check(&mut self, written: io::Result<()>) {
        let Err(error) = written else { return };
        self.ended = Some(if error.kind() == ErrorKind::BrokenPipe { End::Closed } else { End::Failed });
        self.error = Some(error).filter(|_| self.ended == Some(End::Failed));
    }

    /// Whether to continue. Returns an error only once.
    pub(super) fn outcome(&mut self) -> io::Result<Flow> {
        match self.error.take() {
            Some(error) => Err(error),
            None if self.ended.is_some() => Ok(Flow::Closed),
            None if self.is_done() => Ok(Flow::Done),
            None => Ok(Flow::Continue),
        }
    }
}

#[cfg(test)]
mod tests;
