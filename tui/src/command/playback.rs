//! Recordings as input: their events, in order of time, through the pipeline that was used live.

use super::say::{name, say};
use crate::account::Account;
use crate::budget::Budget;
use crate::cli;
use crate::event::EventContext;
use crate::filter::{Compiled, FilterOptions, Scratch};
use crate::frame::FrameRef;
use crate::frame::host::{HostFrame, Trace};
use crate::pipeline::{Disposition, Pipeline};
use crate::recording::frames::{FrameReader, Holes, Next};
use crate::recording::reader::{Ending, Hole};
use crate::text::grouped;
use anyhow::{Context, Result, anyhow, bail};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tracetui_shared::kind::KindSet;
use tracetui_shared::time::BootNanos;

/// Recordings that are read together, merged by wall-clock time.
pub struct Playback {
    recordings: Vec<Recording>,
    /// Of several: the wall-clock time of the next event of each that has one, and its number.
    next: BinaryHeap<Reverse<(i128, usize)>>,
    started: bool,
}

/// An event of a recording that passes the filters.
pub struct Played<'a> {
    /// The event.
    pub context: &'a EventContext<'a>,
    /// Its frame.
    pub frame: &'a FrameRef<'a>,
    /// Which recording it is of, from 0.
    pub recording: usize,
}

/// What is done about the filter of a recording that this version does not understand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OddFilter {
    /// An error: the wrong events would be shown.
    Refused,
    /// It is ignored.
    Ignored,
}

/// Whether there is more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// There may be more events.
    More,
    /// All events were passed on.
    End,
}

/// A recording, its pipeline and its filters.
pub struct Recording {
    input: Input,
    pipeline: Pipeline,
    trace: Trace,
    /// The filter with which it was recorded, and the one of this reading.
    recorded: Compiled,
    wanted: Compiled,
    scratch: (Scratch, Scratch),
    /// All batches were fed.
    fed: bool,
    finished: bool,
}

impl Playback {
    /// Opens recordings, at least one. `filters` apply to each, beside the filter with which it was recorded. Names of users
    /// are those of the recording.
    ///
    /// # Errors
    /// If one is no recording or cannot be read, or a filter is wrong.
    pub fn open(files: &[PathBuf], filters: &FilterOptions, budget: Budget) -> Result<Playback> {
        let open = |file: &PathBuf| Recording::open(file, filters, budget, OddFilter::Refused);
        let recordings = files.iter().map(open).collect::<Result<_>>()?;
        Ok(Playback { recordings, next: BinaryHeap::new(), started: false })
    }

    /// Opens a recording to look at all of it, also if its filter is none that this version understands: then all events are
    /// passed on.
    ///
    /// # Errors
    /// If it is no recording or cannot be read.
    pub fn look(file: &Path, budget: Budget) -> Result<Playback> {
        let recording = Recording::open(file, &FilterOptions::default(), budget, OddFilter::Ignored)?;
        Ok(Playback { recordings: vec![recording], next: BinaryHeap::new(), started: false })
    }

    /// The recordings, in the order in which they were named.
    pub fn recordings(&self) -> &[Recording] {
        &self.recordings
    }

    /// Reads a part, and passes on the events whose place in the order is known by then.
    ///
    /// # Errors
    /// If a recording cannot be read.
    pub fn step(&mut self, to: &mut dyn FnMut(&Played<'_>) -> Disposition) -> Result<Step> {
        match self.recordings.as_mut_slice() {
            [one] => one.step(0, to),
            _ => self.merge(to),
        }
    }

    /// Passes on events of the recording with the earliest one, until another recording has an earlier one.
    fn merge(&mut self, to: &mut dyn FnMut(&Played<'_>) -> Disposition) -> Result<Step> {
        if !std::mem::replace(&mut self.started, true) {
            (0..self.recordings.len()).try_for_each(|number| self.line_up(number))?;
        }
        let Some(Reverse((_, first))) = self.next.pop() else {
            self.recordings.iter_mut().enumerate().for_each(|(number, recording)| recording.finish(number, to));
            return Ok(Step::End);
        };
        let limit = self.next.peek().map_or(i128::MAX, |Reverse((ns, _))| *ns);
        if let Some(recording) = self.recordings.get_mut(first) {
            recording.pass_on_until(limit, first, to);
        }
        self.line_up(first)?;
        Ok(Step::More)
    }

    /// Reads a recording up to its next event.
    fn line_up(&mut self, number: usize) -> Result<()> {
        if let Some(recording) = self.recordings.get_mut(number) {
            recording.feed_until_ready()?;
            self.next.extend(recording.next_time().map(|ns| Reverse((ns, number))));
        }
        Ok(())
    }

    /// Says what could not be read; whether that was damage, not only an early end.
    pub fn remarks(&self) -> bool {
        self.recordings.iter().fold(false, |damaged, recording| recording.input.remarks() | damaged)
    }

    /// Whether a recording ends early.
    pub fn ended_early(&self) -> bool {
        self.recordings.iter().any(|recording| recording.input.frames.ended_early())
    }

    /// The account of all recordings.
    pub fn account(&self) -> Account {
        let accounts = self.recordings.iter().map(|recording| recording.pipeline.account());
        accounts.reduce(|sum, account| sum.and(&account)).unwrap_or_default()
    }
}

impl Recording {
    fn open(file: &Path, filters: &FilterOptions, budget: Budget, odd: OddFilter) -> Result<Recording> {
        let mut input = Input::open(file)?;
        let trace = input.trace()?;
        let mut start = Pipeline::default();
        match &input.first {
            Some(Next::Frames(batch)) => start.feed(batch.clone()),
            Some(Next::State(state)) => start.restore(state),
            None => {}
        }
        let text = Some(trace.filter.clone()).filter(|text| !text.is_empty());
        let options = FilterOptions { filter: text.into_iter().collect(), ..FilterOptions::default() };
        let recorded = options.compile(start.world());
        let recorded = match (recorded, odd) {
            (Err(error), OddFilter::Refused) => bail!("{}: its filter: {}", input.name, error.render()),
            (Err(_), OddFilter::Ignored) => {
                say(format_args!("{}: its filter cannot be read: all events are counted", input.name));
                FilterOptions::default().compile(start.world()).map_err(|error| anyhow!(error.render()))?
            }
            (Ok(recorded), _) => recorded,
        };
        let recorded = Compiled { kinds: trace.kinds(), ..recorded };
        let wanted = filters.compile(start.world());
        let mut wanted = wanted.map_err(|error| super::session::BadUsage(error.render()))?;
        if !wanted.whole.names_kinds() {
            wanted.kinds = recorded.kinds;
        }
        let mut pipeline = Pipeline::default();
        pipeline.set_budget(budget);
        pipeline.follow(&[recorded.whole.roots(), wanted.whole.roots()].concat());
        Ok(Recording {
            input,
            pipeline,
            trace,
            recorded,
            wanted,
            scratch: Default::default(),
            fed: false,
            finished: false,
        })
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        &self.input.name
    }

    /// The pipeline: host, account, processes.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The options with which it was recorded.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Version of the format, bytes and blocks that were read so far.
    pub fn read_so_far(&self) -> (u16, u64, u64) {
        let reader = self.input.frames.reader();
        (reader.header().version, reader.offset(), reader.blocks())
    }

    /// How it ends, once all of it was read.
    pub fn ending(&self) -> Option<Ending> {
        self.input.frames.reader().ending()
    }

    /// Feeds the next batch. `false` at the end.
    fn feed(&mut self) -> Result<bool> {
        match self.input.next()? {
            Some(Next::State(state)) => self.pipeline.restore(&state),
            Some(Next::Frames(batch)) => self.pipeline.feed(batch),
            None => self.fed = true,
        }
        Ok(!self.fed)
    }

    /// One step of a recording that is read alone.
    fn step(&mut self, number: usize, to: &mut dyn FnMut(&Played<'_>) -> Disposition) -> Result<Step> {
        if self.feed()? {
            self.pass_on_until(i128::MAX, number, to);
            return Ok(Step::More);
        }
        self.finish(number, to);
        Ok(Step::End)
    }

    fn feed_until_ready(&mut self) -> Result<()> {
        while !self.fed && self.pipeline.next_release().is_none() {
            // No event is due, but what the counters say is compared.
            self.pipeline.release(&mut |_, _| Disposition::Filtered);
            self.feed()?;
        }
        Ok(())
    }

    /// The wall-clock time of the event that would be passed on next, nanoseconds since 1970.
    fn next_time(&mut self) -> Option<i128> {
        let next = if self.fed { self.pipeline.next_of_rest() } else { self.pipeline.next_release() };
        next.map(|time| i128::from(time.0) + i128::from(self.pipeline.world().clock_offset()))
    }

    /// Passes on the events up to this wall-clock time whose order is known.
    fn pass_on_until(&mut self, ns: i128, number: usize, to: &mut dyn FnMut(&Played<'_>) -> Disposition) {
        let Recording { pipeline, recorded, wanted, scratch, fed, .. } = self;
        let limit = ns.saturating_sub(i128::from(pipeline.world().clock_offset()));
        let limit = BootNanos(u64::try_from(limit.max(0)).unwrap_or(u64::MAX));
        let mut pass = |context: &EventContext<'_>, frame: &FrameRef<'_>| {
            pass_on(recorded, wanted, scratch, &Played { context, frame, recording: number }, to)
        };
        match *fed {
            false => pipeline.release_up_to(limit, &mut pass),
            true => pipeline.finish_up_to(limit, &mut pass),
        }
    }

    fn finish(&mut self, number: usize, to: &mut dyn FnMut(&Played<'_>) -> Disposition) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let Recording { pipeline, recorded, wanted, scratch, .. } = self;
        pipeline.finish(&mut |context, frame| {
            pass_on(recorded, wanted, scratch, &Played { context, frame, recording: number }, to)
        });
    }
}

fn pass_on(
    recorded: &Compiled,
    wanted: &Compiled,
    scratch: &mut (Scratch, Scratch),
    played: &Played<'_>,
    to: &mut dyn FnMut(&Played<'_>) -> Disposition,
) -> Disposition {
    let passes =
        recorded.passes_whole(played.context, &mut scratch.0) && wanted.passes_whole(played.context, &mut scratch.1);
    if passes { to(played) } else { Disposition::Filtered }
}

/// A recording that is read from its start.
struct Input {
    frames: FrameReader<Box<dyn Read>>,
    name: String,
    /// Read ahead for [`Self::trace`].
    first: Option<Next>,
}

impl Input {
    fn open(file: &Path) -> Result<Input> {
        let name = name(file);
        let input: Box<dyn Read> = match cli::is_stream(file) {
            true => Box::new(io::stdin()),
            false => Box::new(open_file(file, &name)?),
        };
        let frames = FrameReader::new(input).map_err(|error| anyhow!("{name}: {error}"))?;
        Ok(Input { frames, name, first: None })
    }

    /// The options of the trace, which are in its first frames.
    fn trace(&mut self) -> Result<Trace> {
        self.first = self.next()?;
        Ok(self.first.as_ref().and_then(trace_of).unwrap_or_else(no_trace))
    }

    fn next(&mut self) -> Result<Option<Next>> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.frames.next().with_context(|| format!("cannot read {}", self.name)),
        }
    }

    /// Says what could not be read; whether that was damage, not only an early end.
    fn remarks(&self) -> bool {
        say_holes(&self.name, self.frames.holes());
        if let Some(Ending::Early(at)) = self.frames.reader().ending() {
            say(format_args!("{}: ends early, at offset {at}: the trace was killed, or is still running", self.name));
        }
        !self.frames.holes().is_empty()
    }
}

/// The options of the trace in the first frames.
pub(super) fn trace_of(first: &Next) -> Option<Trace> {
    let (Next::State(batch) | Next::Frames(batch)) = first;
    batch.frames().find_map(|frame| match HostFrame::decode(&frame) {
        Some(HostFrame::Trace(trace)) => Some(trace),
        _ => None,
    })
}

/// Says what could not be read.
pub(super) fn say_holes(name: &str, holes: &Holes) {
    for Hole { offset, bytes, why } in &holes.first {
        say(format_args!("{name}: {bytes} bytes at offset {offset} cannot be read: {why}"));
    }
    if holes.others > 0 {
        say(format_args!("{name}: {} further parts cannot be read", grouped(holes.others)));
    }
}

pub(super) fn open_file(file: &Path, name: &str) -> Result<File> {
    File::open(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            anyhow!("{name}: no such recording; to trace a command, write -- before it: -- {name}")
        }
        _ => anyhow!("cannot open {name}: {error}"),
    })
}

fn no_trace() -> Trace {
    Trace { kinds: KindSet::ALL.bits(), command: tracetui_shared::id::Tgid(0), filter: String::new() }
}
