//! Recordings as input: their events, in order of time, through the pipeline that was used live.

use super::rotate;
use super::say::{name, say};
use super::session::BadUsage;
use super::skip::{Odd, Over, Skip, Span};
use crate::account::Account;
use crate::budget::Budget;
use crate::cli;
use crate::enrich::World;
use crate::enrich::process::Ran;
use crate::event::EventContext;
use crate::event::describe::args;
use crate::event::exit::{Ended, Exit};
use crate::filter::{Compiled, FilterOptions, Needs, Scratch};
use crate::frame::Batch;
use crate::frame::FrameRef;
use crate::frame::host::{HostFrame, Trace};
use crate::limits;
use crate::pipeline::{Disposition, Pipeline};
use crate::recording::Reader;
use crate::recording::block::{Damage, HEADER};
use crate::recording::disk::Unreadable;
use crate::recording::follow::{self, FileFrom, RecordingFile, Writing};
use crate::recording::frames::{FrameReader, Holes, Next};
use crate::recording::reader::{Ending, Hole};
use crate::source::replay::Recorded;
use crate::text::time::Moment;
use crate::text::{counted, grouped, json, shell};
use anyhow::{Context, Result, anyhow, bail};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tracetui_shared::header::FrameHeader;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::record::exit::ExitRecord;
use tracetui_shared::time::BootNanos;

/// Recordings that are read together, merged by wall-clock time.
pub struct Playback {
    recordings: Vec<Recording>,
    /// Of several: the wall-clock time of the next event of each that has one, and its number.
    next: BinaryHeap<Reverse<(i128, usize)>>,
    started: bool,
    common: Common,
}

/// The events that are in two recordings, such as a trace and a part of it.
#[derive(Default)]
struct Common {
    /// The latest events, which have the same time: the recording and the header of each.
    latest: Vec<(usize, FrameHeader)>,
    /// How many events two recordings have in common.
    counts: BTreeMap<(usize, usize), u64>,
}

impl Common {
    /// Events of the same time that are compared.
    const MOST: usize = 64;

    /// Takes an event that is passed on. They come in order of time.
    fn take(&mut self, played: &Played<'_>) {
        let header = &played.frame.header;
        if self.latest.first().is_none_or(|(_, latest)| latest.time != header.time) {
            self.latest.clear();
        }
        // The probes number the events of a CPU, so that no two events have the same number at the same time.
        let place = |header: &FrameHeader| (header.kind, header.slot, header.cpu, header.seq, header.tid);
        let same = |(other, known): &&(usize, FrameHeader)| *other != played.recording && place(known) == place(header);
        if played.context.event.kind() == Kind::Lost || self.latest.len() >= Common::MOST {
            return;
        }
        if let Some((other, _)) = self.latest.iter().find(same) {
            let both = (played.recording.min(*other), played.recording.max(*other));
            *self.counts.entry(both).or_default() += 1;
        }
        self.latest.push((played.recording, *header));
    }
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

/// What is done at the end of a file that is still being written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtEnd {
    /// It is taken as it is.
    Stop,
    /// More is waited for. A trace goes on in its next file.
    Wait,
}

/// Whether there is more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// There may be more events.
    More,
    /// All that is written so far was passed on ([`AtEnd::Wait`]).
    NotYet,
    /// All events were passed on.
    End,
}

/// A recording, its pipeline and its filters. The files of one trace are one recording.
pub struct Recording {
    input: Input,
    pipeline: Pipeline,
    /// What was known before the first event.
    start: World,
    trace: Trace,
    /// The filter with which it was recorded, and the one of this reading.
    recorded: Compiled,
    wanted: Compiled,
    scratch: (Scratch, Scratch),
    span: Span,
    skip: Option<Skip>,
    roots: Vec<Tgid>,
    budget: Budget,
    /// Events of the trace up to here, also those that a filter of this reading rejected.
    events: u64,
    /// The account of what was read before files that were not read.
    before: Account,
    /// The account that was in the state with which the reading began, or went on after such files.
    elsewhere: Account,
    /// The time of the last event whose turn it was.
    reached_ns: u64,
    /// All batches were fed.
    fed: bool,
    finished: bool,
}

impl Playback {
    /// Opens recordings, at least one. `filters` apply to each, beside the filter with which it was recorded. Names of users
    /// are those of the recording.
    ///
    /// # Errors
    /// If one is no recording or cannot be read, or a filter is wrong. If a file is named twice, or more than one recording is to be
    /// followed.
    pub fn open(files: &[PathBuf], filters: &FilterOptions, budget: Budget, at_end: AtEnd) -> Result<Playback> {
        let inputs = inputs(open_parts(files, at_end)?, at_end);
        if at_end == AtEnd::Wait && inputs.len() > 1 {
            bail!(BadUsage("--follow: only one recording, or the files of one trace, can be followed".to_owned()));
        }
        let open = |input| Recording::open(input, filters, budget, OddFilter::Refused);
        let recordings = inputs.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Playback { recordings, next: BinaryHeap::new(), started: false, common: Common::default() })
    }

    /// The files of one trace that are open already, in their order, as [`open`](Self::open) opens them.
    ///
    /// # Errors
    /// If one cannot be read, or a filter is wrong.
    pub fn of(files: &[(PathBuf, RecordingFile)], filters: &FilterOptions, budget: Budget) -> Result<Playback> {
        let part = |(path, file): &(PathBuf, RecordingFile)| Part::of(path, file.clone(), AtEnd::Stop, HEADER as u64);
        let input = Input::of_parts(files.iter().map(part).collect(), AtEnd::Stop);
        let recording = Recording::open(input, filters, budget, OddFilter::Refused)?;
        Ok(Playback { recordings: vec![recording], next: BinaryHeap::new(), started: false, common: Common::default() })
    }

    /// Opens a recording to look at all of it, also if its filter is none that this version understands: then all events are
    /// passed on.
    ///
    /// # Errors
    /// If it is no recording or cannot be read.
    pub fn look(file: &Path, budget: Budget) -> Result<Playback> {
        let (part, _) = Part::open(file, AtEnd::Stop)?;
        let input = Input::of_parts(vec![part], AtEnd::Stop);
        let recording = Recording::open(input, &FilterOptions::default(), budget, OddFilter::Ignored)?;
        Ok(Playback { recordings: vec![recording], next: BinaryHeap::new(), started: false, common: Common::default() })
    }

    /// Passes on only the events of a time span. Call it before the first step.
    ///
    /// # Errors
    /// If it ends before it begins.
    pub fn between(&mut self, from: Option<Moment>, to: Option<Moment>, zone_s: i32) -> Result<()> {
        if from.is_none() && to.is_none() {
            return Ok(());
        }
        let starts = self.recordings.iter().map(Recording::first_ns);
        let start = starts.reduce(|a, b| Some(a?.min(b?))).flatten();
        if let (Some(from), Some(to)) = (from, to) {
            check_order(from, to, start, zone_s)?;
        }
        for recording in &mut self.recordings {
            recording.span = Span { from, to, zone_s, bounds: None, ..recording.span };
            if let Some(start) = start {
                recording.span.start_at(start);
            }
            recording.skip = recording.new_skip();
        }
        Ok(())
    }

    /// Passes on only the events from a time to another one (CLOCK_BOOTTIME, ns), and no account. Call it before the first step.
    pub fn within(&mut self, from_ns: u64, to_ns: u64) {
        for recording in &mut self.recordings {
            recording.span.bounds = Some((from_ns, to_ns));
            recording.skip = recording.new_skip();
            recording.skip.iter_mut().for_each(|skip| skip.end_at(to_ns));
        }
    }

    /// The time of the last event whose turn it was (CLOCK_BOOTTIME, ns).
    pub fn reached_ns(&self) -> u64 {
        self.recordings.iter().map(|recording| recording.reached_ns).min().unwrap_or_default()
    }

    /// The recordings, in the order in which they were named. The files of one trace are one recording.
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
            let common = &mut self.common;
            recording.pass_on_until(limit, first, &mut |played| {
                let taken = to(played);
                if taken == Disposition::Delivered {
                    common.take(played);
                }
                taken
            });
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

    /// Says what could not be read, and which recordings have events in common; whether there was damage, not only an early end.
    pub fn remarks(&self) -> bool {
        for ((one, other), count) in &self.common.counts {
            let name = |number: usize| self.recordings.get(number).map_or("", Recording::name);
            let (one, other, count) = (name(*one), name(*other), grouped(*count));
            say(format_args!(
                "{one} and {other} have {count} events in common: each of these appears and is counted twice"
            ));
        }
        self.recordings.iter().fold(false, |damaged, recording| recording.remarks() | damaged)
    }

    /// Whether nothing is missing from the recordings that were read to their end.
    pub fn is_complete(&self) -> bool {
        !self.ended_early() && !self.recordings.iter().any(Recording::damaged)
    }

    /// Whether a recording ends early.
    pub fn ended_early(&self) -> bool {
        self.recordings.iter().any(|recording| recording.input.ended_early())
    }

    /// Whether an account does not add up.
    pub fn is_wrong(&self) -> bool {
        self.recordings.iter().any(Recording::is_wrong)
    }

    /// Whether a trace continues in a file that was not read.
    pub fn goes_on(&self) -> bool {
        self.recordings.iter().any(|recording| recording.pipeline.continues())
    }

    /// The account of what was read of all recordings.
    pub fn account(&self) -> Account {
        let accounts = self.recordings.iter().map(Recording::account);
        accounts.reduce(|sum, account| sum.and(&account)).unwrap_or_default()
    }
}

/// The times that are easily taken for each other.
pub(super) const SORTS_OF_TIME: &str = "16:30 is 16 minutes and 30 seconds after the start, 16:30:00 a time of day";

/// Refuses a time span that ends before it begins. `start` is when the recording starts (nanoseconds since 1970), unless it is a pipe
/// or has no events.
fn check_order(from: Moment, to: Moment, start: Option<i128>, zone_s: i32) -> Result<()> {
    let same_sort = std::mem::discriminant(&from) == std::mem::discriminant(&to);
    // A time of day is on the day of the start or on the next one.
    let comparable = start.is_some() || same_sort && !matches!(from, Moment::OfDay(_));
    let start = start.unwrap_or_default();
    if !comparable || from.unix_ns(start, zone_s) <= to.unix_ns(start, zone_s) {
        return Ok(());
    }
    let sorts = if same_sort { String::new() } else { format!(" ({SORTS_OF_TIME})") };
    bail!(BadUsage(format!("--from is later than --to, and no event is between them: exchange the two times{sorts}")));
}

impl Recording {
    fn open(mut input: Input, filters: &FilterOptions, budget: Budget, odd: OddFilter) -> Result<Recording> {
        input.limit(budget);
        let trace = input.trace()?;
        let mut start = Pipeline::default();
        start.set_budget(budget);
        match input.ahead.back() {
            Some(Next::Frames(batch)) if input.ahead.len() == 1 => start.feed(batch.clone()),
            Some(Next::Frames(state) | Next::State(state)) => start.restore(state),
            Some(Next::NotYet) | None => {}
        }
        let start = start.into_world();
        let text = Some(trace.filter.clone()).filter(|text| !text.is_empty());
        let options = FilterOptions { filter: text.into_iter().collect(), ..FilterOptions::default() };
        let recorded = options.compile(&start);
        let recorded = match (recorded, odd) {
            (Err(error), OddFilter::Refused) => bail!("{}: its filter: {}", input.name(), error.render()),
            (Err(_), OddFilter::Ignored) => {
                say(format_args!("{}: its filter cannot be read: all events are counted", input.name()));
                FilterOptions::default().compile(&start).map_err(|error| anyhow!(error.render()))?
            }
            (Ok(recorded), _) => recorded,
        };
        let recorded = Compiled { kinds: trace.kinds(), ..recorded };
        let wanted = filters.compile(&start);
        let mut wanted = wanted.map_err(|error| BadUsage(error.render()))?;
        if !wanted.whole.names_kinds() {
            wanted.kinds = recorded.kinds;
        }
        let mut pipeline = Pipeline::default();
        pipeline.set_budget(budget);
        pipeline.leave_out_terminal();
        let roots = [recorded.whole.roots(), wanted.whole.roots()].concat();
        pipeline.follow(&roots);
        let clock_offset = start.clock_offset();
        let span = Span { clock_offset, bounds: Some((0, u64::MAX)), ..Span::default() };
        let mut recording = Recording {
            input,
            pipeline,
            start,
            trace,
            recorded,
            wanted,
            scratch: Default::default(),
            span,
            skip: None,
            roots,
            budget,
            events: 0,
            before: Account::default(),
            elsewhere: Account::default(),
            reached_ns: 0,
            fed: false,
            finished: false,
        };
        recording.skip = recording.new_skip();
        Ok(recording)
    }

    fn new_skip(&self) -> Option<Skip> {
        let [part @ Part { at_end: AtEnd::Stop, .. }] = self.input.parts.as_slice() else { return None };
        let file = part.regular()?;
        let all = self.wanted.whole.text().is_empty() && self.recorded.kinds & self.wanted.kinds == self.recorded.kinds;
        if all && self.span.bounds.is_none() {
            // Then the index can only be wrong.
            return None;
        }
        let needs = Needs::of(&[&self.recorded, &self.wanted], &self.start)?;
        Skip::new(file, &part.unreadable, needs, self.span.bounds.unwrap_or((0, u64::MAX)))
    }

    /// The time of the first event that passes the filter of the recording: nanoseconds since 1970. `None` for a pipe, and without
    /// events.
    fn first_ns(&self) -> Option<i128> {
        let part = self.input.parts.first().filter(|part| part.regular().is_some())?;
        let mut playback = Playback::look(&part.path, self.budget).ok()?;
        let mut first = None;
        while first.is_none() {
            let step = playback.step(&mut |played| {
                first.get_or_insert(played.context.event.header.time.0);
                Disposition::Filtered
            });
            if step.ok()? == Step::End {
                break;
            }
        }
        Some(i128::from(first?) + i128::from(self.span.clock_offset))
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        self.input.name()
    }

    /// The account of what was read. Of a trace in several files, what is in files that were not read is in none of its counts but
    /// [`Account::not_read`].
    pub fn account(&self) -> Account {
        let account = self.pipeline.account();
        // The counters may be older or newer than the last event before the next file.
        let account = if self.pipeline.continues() { account.settled() } else { account };
        self.before.clone().and(&account.since(&self.elsewhere))
    }

    /// The pipeline: host, processes, and the account of the whole trace.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// What the first frames say: the host, and what was known before the first event.
    pub fn start(&self) -> &World {
        &self.start
    }

    /// The filter with which it was recorded and the one of this reading, as one.
    pub fn filter_text(&self) -> String {
        both_filters(&self.trace.filter, self.wanted.whole.text())
    }

    /// The options with which it was recorded.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The arguments of the COMMAND and how it ended, as far as is known; `None` without a COMMAND.
    pub fn command(&self) -> Option<(&[u8], Option<Ended>)> {
        let Ran { argv, status } = self.pipeline.world().processes.ran();
        let ended = status.map(|status| Exit { record: ExitRecord { status, signal_flags: 0 } }.ended());
        (self.trace.command != Tgid(0) && !argv.is_empty()).then_some((argv, ended))
    }

    /// [`Self::command`] as JSON.
    pub fn command_json(&self) -> String {
        let Some((argv, ended)) = self.command() else { return "null".to_owned() };
        let argv: Vec<_> = args(argv).map(|arg| json::ascii(&String::from_utf8_lossy(arg))).collect();
        let (code, signal) = match ended {
            Some(Ended::Code(code)) => (code.to_string(), "null".to_owned()),
            Some(ended) => ("null".to_owned(), json::ascii(&ended.to_string())),
            None => ("null".to_owned(), "null".to_owned()),
        };
        format!(r#"{{"argv":[{}],"exit_code":{code},"signal":{signal}}}"#, argv.join(","))
    }

    /// The kinds that were recorded, and those of them that this reading wants.
    pub fn kinds(&self) -> (KindSet, KindSet) {
        (self.recorded.kinds, self.wanted.kinds)
    }

    /// Version of the format, bytes and blocks that were read so far.
    pub fn read_so_far(&self) -> (u16, u64, u64) {
        let readers = || self.input.parts.iter().map(|part| part.frames.reader());
        let blocks = self.input.parts.iter().map(|part| part.blocks + part.frames.reader().blocks());
        let version = readers().map(|reader| reader.header().version).max().unwrap_or_default();
        (version, readers().map(Reader::offset).sum(), blocks.sum())
    }

    /// Whether parts of it could not be read so far.
    pub fn damaged(&self) -> bool {
        self.input.damaged()
    }

    /// Whether it is not known how many events are in the parts that could not be read: no state follows them.
    pub fn lost_unknown(&self) -> bool {
        self.damaged() && self.pipeline.is_behind()
    }

    /// Bytes after its end, which do not belong to it, once all of it was read.
    pub fn after_end(&self) -> u64 {
        self.input.part().frames.reader().after_end()
    }

    /// How it ends, once all of it was read.
    pub fn ending(&self) -> Option<Ending> {
        self.input.part().frames.reader().ending()
    }

    /// Whether a process was writing it when it was opened.
    pub fn writing(&self) -> Writing {
        self.input.part().writing
    }

    /// Feeds the next batch.
    fn feed(&mut self) -> Result<Step> {
        self.pass_over();
        // Of the size that the ring's reader has: what waits for its order takes as much as in the live trace.
        let room = self.budget.batch() + limits::BATCH_SLACK;
        let Recording { input, pipeline, .. } = self;
        input.part_mut().frames.lend(|| {
            pipeline.spare().filter(|spare| spare.room() <= room).unwrap_or_else(|| Batch::with_capacity(room))
        });
        match self.input.next()? {
            Some(Next::State(state)) => self.begin(&state),
            Some(Next::Frames(batch)) => self.pipeline.feed(batch),
            Some(Next::NotYet) => return Ok(Step::NotYet),
            None => {
                self.fed = true;
                return Ok(Step::End);
            }
        }
        Ok(Step::More)
    }

    /// Passes over frames of which no event passes the filters. Where something is odd, the rest is read.
    fn pass_over(&mut self) {
        let Recording { input, skip, pipeline, .. } = self;
        let Some(passing) = skip.as_mut().filter(|_| input.ahead.is_empty()) else { return };
        let part = input.part_mut();
        let damaged = !part.holes().is_empty();
        let over = passing.over(part.frames.reader().offset(), pipeline);
        part.blocks += passing.take_read();
        match over {
            _ if damaged => *skip = None,
            Ok(Over::Nothing) => {}
            Ok(Over::To(there)) => part.blocks += std::mem::replace(&mut part.frames, *there).reader().blocks(),
            Err(Odd) => *skip = None,
        }
    }

    /// Begins with a state: at the start, or where files in between were not read. Events that wait are in the state.
    fn begin(&mut self, state: &Batch) {
        self.before = self.account().settled();
        self.pipeline = Pipeline::default();
        self.pipeline.set_budget(self.budget);
        self.pipeline.leave_out_terminal();
        self.pipeline.restore(state);
        self.pipeline.follow(&self.roots);
        self.elsewhere = self.pipeline.account().settled();
        let events = self.elsewhere.sum().delivered;
        let not_read = events.saturating_sub(self.events);
        self.input.part_mut().elsewhere = not_read;
        // The kinds are those of the pipeline.
        self.before.asked = KindSet::NONE;
        self.before.not_read = self.before.not_read.saturating_add(not_read);
        self.events = events;
    }

    /// Says what could not be read and what was not there; whether there was damage, not only an early end.
    fn remarks(&self) -> bool {
        self.input.parts.iter().filter_map(|part| earlier(&part.name, part.elsewhere)).for_each(say);
        let damaged = self.damage();
        if self.pipeline.continues() {
            say(continues(&self.input.part().name));
        }
        damaged
    }

    /// Says what could not be read; whether there was damage, not only an early end.
    pub(super) fn damage(&self) -> bool {
        let damaged = self.input.damage();
        if self.lost_unknown() {
            say(format_args!("{}: how many events are in the damaged parts is not known", self.name()));
        }
        if self.is_wrong() {
            say(format_args!(
                "{}: the account does not add up: blocks are missing, twice or in another order, or their contents are wrong",
                self.name()
            ));
        }
        damaged
    }

    /// Whether the account does not add up. No damage is needed for that: whole blocks may be missing.
    fn is_wrong(&self) -> bool {
        !self.pipeline.account().discrepancies.is_empty()
    }

    /// Which events of its trace a file has, if the trace was recorded in several files and one of them was read.
    pub(super) fn stretch(&self) -> Option<Stretch> {
        let [part] = self.input.parts.as_slice() else { return None };
        let (trace, number) = part.place()?;
        let (first, end, continues) = (part.elsewhere, self.events, self.pipeline.continues());
        Some(Stretch { trace, number, name: part.name.clone(), first, end, continues })
    }

    /// The number of the file in its trace, from 0, if the trace was recorded in several files; whether it continues in the next
    /// one.
    pub fn part(&self) -> Option<(u32, bool)> {
        let (_, part) = self.input.part().frames.reader().header().part()?;
        Some((part, self.pipeline.continues()))
    }

    /// One step of a recording that is read alone.
    fn step(&mut self, number: usize, to: &mut dyn FnMut(&Played<'_>) -> Disposition) -> Result<Step> {
        let step = self.feed()?;
        match step {
            Step::More => self.pass_on_until(i128::MAX, number, to),
            Step::NotYet => {}
            Step::End => self.finish(number, to),
        }
        Ok(step)
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
        let Recording { pipeline, recorded, wanted, scratch, span, fed, events, reached_ns, .. } = self;
        let limit = ns.saturating_sub(i128::from(pipeline.world().clock_offset()));
        let limit = BootNanos(u64::try_from(limit.max(0)).unwrap_or(u64::MAX));
        let mut pass = |context: &EventContext<'_>, frame: &FrameRef<'_>| {
            *events += u64::from(context.event.kind() != Kind::Lost);
            *reached_ns = context.event.header.time.0;
            pass_on((recorded, wanted), scratch, span, &Played { context, frame, recording: number }, to)
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
        let Recording { pipeline, recorded, wanted, scratch, span, .. } = self;
        pipeline.finish(&mut |context, frame| {
            pass_on((recorded, wanted), scratch, span, &Played { context, frame, recording: number }, to)
        });
    }
}

fn pass_on(
    (recorded, wanted): (&Compiled, &Compiled),
    scratch: &mut (Scratch, Scratch),
    span: &mut Span,
    played: &Played<'_>,
    to: &mut dyn FnMut(&Played<'_>) -> Disposition,
) -> Disposition {
    let of_recording = recorded.passes_whole(played.context, &mut scratch.0);
    let passes = of_recording
        && span.has(played.context.event.header.time.0)
        && wanted.passes_whole(played.context, &mut scratch.1);
    if passes { to(played) } else { Disposition::Filtered }
}

/// Which events of its trace a file has.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Stretch {
    trace: [u8; 8],
    /// The number of the file.
    number: u32,
    name: String,
    /// The events of the trace before those of this file, and with them.
    first: u64,
    end: u64,
    continues: bool,
}

/// What of the traces is in none of these files, one line each.
pub(super) fn missing(mut files: Vec<Stretch>) -> Vec<String> {
    files.sort();
    let mut lines = Vec::new();
    for files in files.chunk_by(|one, other| one.trace == other.trace) {
        let mut known = 0;
        for file in files {
            lines.extend(earlier(&file.name, file.first.saturating_sub(known)));
            known = file.end;
            if file.continues && files.iter().all(|next| Some(next.number) != file.number.checked_add(1)) {
                lines.push(continues(&file.name));
            }
        }
    }
    lines
}

fn earlier(name: &str, events: u64) -> Option<String> {
    let events = Some(events).filter(|events| *events > 0).map(grouped)?;
    Some(format!("{name}: {events} earlier events of the trace are in files that were not read"))
}

fn continues(name: &str) -> String {
    format!("{name}: the trace continues in the next file")
}

/// A file.
pub(super) struct Part {
    path: PathBuf,
    name: String,
    /// Unless it is a pipe.
    file: Option<RecordingFile>,
    unreadable: Unreadable,
    frames: FrameReader<Box<dyn Read + Send>>,
    /// When it was opened.
    writing: Writing,
    at_end: AtEnd,
    /// Blocks that were read to pass over others, and before that.
    blocks: u64,
    /// Events of the trace that are in files before this one that are not read.
    elsewhere: u64,
}

impl Part {
    /// Opens a file. What it is comes with it.
    fn open(path: &Path, at_end: AtEnd) -> Result<(Part, Metadata)> {
        let name = name(path);
        let file = if cli::is_stream(path) { None } else { Some(open_file(path, &name)?) };
        let found = match &file {
            Some(file) => file.metadata()?,
            None => File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata()?,
        };
        let input: Box<dyn Read + Send> = match file {
            Some(file) if found.is_file() || found.file_type().is_block_device() => {
                let file = RecordingFile::open(file).map_err(|error| anyhow!("{name}: {error}"))?;
                return Ok((Part::of(path, file, at_end, HEADER as u64), found));
            }
            _ if at_end == AtEnd::Wait => bail!(BadUsage(format!("--follow needs a recording file: {name} is a pipe"))),
            Some(file) => Box::new(file),
            None => Box::new(io::stdin()),
        };
        let frames = FrameReader::new(input).map_err(|error| anyhow!("{name}: {error}"))?;
        let (path, file, unreadable) = (path.to_owned(), None, Unreadable::default());
        let part =
            Part { path, name, file, unreadable, frames, writing: Writing::Unknown, at_end, blocks: 0, elsewhere: 0 };
        Ok((part, found))
    }

    /// A file from an offset on, where a block begins.
    pub(super) fn of(path: &Path, file: RecordingFile, at_end: AtEnd, offset: u64) -> Part {
        let (header, writing) = (*file.header(), file.writing());
        let unreadable = Unreadable::default();
        let from = FileFrom::new(file.clone(), offset, unreadable.clone());
        let from = if at_end == AtEnd::Wait { from.following() } else { from };
        let holes = from.holes();
        let reader = Reader::resume(Box::new(from) as Box<dyn Read + Send>, header, offset).over_holes(holes);
        let frames = FrameReader::of(reader);
        let frames = if at_end == AtEnd::Wait { frames.following() } else { frames };
        let (path, name) = (path.to_owned(), name(path));
        Part { path, name, file: Some(file), unreadable, frames, writing, at_end, blocks: 0, elsewhere: 0 }
    }

    /// The file, unless it is a pipe or a block device.
    fn regular(&self) -> Option<&RecordingFile> {
        let is_file = |file: &&RecordingFile| file.file().metadata().is_ok_and(|found| found.is_file());
        self.file.as_ref().filter(is_file)
    }

    /// The trace of which it is a part, and its number.
    fn place(&self) -> Option<([u8; 8], u32)> {
        self.frames.reader().header().part()
    }

    /// What could not be read so far.
    fn holes(&self) -> Holes {
        let mut holes = self.unreadable.holes();
        holes.append(self.frames.holes());
        holes
    }

    /// The cause of an early end.
    fn why_early(&self) -> &'static str {
        match (self.writing, self.at_end) {
            (Writing::Now, AtEnd::Stop) => "the trace is still running",
            (Writing::Unknown, _) => "the trace was killed, or is still running",
            _ => "the trace was killed, or this is a copy of a part",
        }
    }

    fn next(&mut self) -> Result<Option<Next>> {
        self.frames.next().with_context(|| format!("cannot read {}", self.name))
    }
}

/// Opens files. One that is named twice, also by two names, is refused.
fn open_parts(files: &[PathBuf], at_end: AtEnd) -> Result<Vec<Part>> {
    let mut known: BTreeMap<(u64, u64), &Path> = BTreeMap::new();
    let mut parts = Vec::new();
    for path in files {
        let (part, found) = Part::open(path, at_end)?;
        match known.insert((found.dev(), found.ino()), path) {
            Some(other) if other == path => bail!(BadUsage(format!("{} is named twice", part.name))),
            Some(other) => bail!(BadUsage(format!("{} and {} are the same file", name(other), part.name))),
            None => parts.push(part),
        }
    }
    Ok(parts)
}

/// The files of each trace together, in their order. A copy of one is a recording of its own.
fn inputs(parts: Vec<Part>, at_end: AtEnd) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    for part in parts {
        let fits = |input: &Input| {
            let place = |part: &Part| part.place();
            let (Some((run, number)), places) = (part.place(), input.parts.iter().filter_map(place)) else {
                return false;
            };
            let mut others = places.peekable();
            others.peek().is_some_and(|(other, _)| *other == run) && others.all(|(_, other)| other != number)
        };
        match inputs.iter_mut().find(|input| fits(input)) {
            Some(input) => input.parts.push(part),
            None => inputs.push(Input::of_parts(vec![part], at_end)),
        }
    }
    inputs.iter_mut().for_each(|input| input.parts.sort_by_key(Part::place));
    inputs
}

/// A recording that is read: one file, or the files of a trace.
pub(super) struct Input {
    /// At least one.
    parts: Vec<Part>,
    /// The one that is read.
    at: usize,
    /// Read ahead, as for [`Self::trace`].
    ahead: VecDeque<Next>,
    at_end: AtEnd,
    /// The file that is read begins where the one before ended, and nothing of it was read yet.
    joins: bool,
    budget: Budget,
}

impl Input {
    /// The files of one trace, in their order; at least one.
    ///
    /// # Errors
    /// If one is no recording or cannot be read, or if they are several recordings: the error of `several`.
    pub(super) fn open(files: &[PathBuf], at_end: AtEnd, several: &str) -> Result<Input> {
        let mut inputs = inputs(open_parts(files, at_end)?, at_end);
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Ok(input),
            _ => bail!(BadUsage(several.to_owned())),
        }
    }

    /// Files of one trace in their order, from the place of the first one on; at least one.
    pub(super) fn of_parts(parts: Vec<Part>, at_end: AtEnd) -> Input {
        Input { parts, at: 0, ahead: VecDeque::new(), at_end, joins: false, budget: Budget::default() }
    }

    /// Takes only states that fit in memory. Call it before anything is read.
    pub(super) fn limit(&mut self, budget: Budget) {
        self.budget = budget;
        self.parts.iter_mut().for_each(|part| part.frames.limit_states(budget.state()));
    }

    /// The files, in the order of the trace; without pipes.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, &RecordingFile)> {
        self.parts.iter().filter_map(|part| Some((part.path.as_path(), part.file.as_ref()?)))
    }

    /// Gives this next.
    pub(super) fn put_back(&mut self, next: Next) {
        self.ahead.push_front(next);
    }

    fn part(&self) -> &Part {
        &self.parts[self.at]
    }

    fn part_mut(&mut self) -> &mut Part {
        &mut self.parts[self.at]
    }

    /// The name of the first file.
    fn name(&self) -> &str {
        self.parts.first().map_or("", |part| &part.name)
    }

    /// The options of the trace, which are in its first frames. If these cannot be read, they are in the next state.
    pub(super) fn trace(&mut self) -> Result<Trace> {
        let mut bytes = 0;
        while bytes < limits::AHEAD
            && let Some(next) = self.read()?
        {
            let (Next::State(batch) | Next::Frames(batch)) = &next else {
                // A recording that just began has its first frames within a second.
                std::thread::sleep(follow::POLL);
                continue;
            };
            bytes += batch.len();
            let trace = trace_of(&next);
            self.ahead.push_back(next);
            if trace.is_some() || !self.part().frames.is_behind() {
                return Ok(trace.unwrap_or_else(no_trace));
            }
        }
        Ok(no_trace())
    }

    /// What [`trace`](Self::trace) has read.
    pub(super) fn take_ahead(&mut self) -> VecDeque<Next> {
        std::mem::take(&mut self.ahead)
    }

    pub(super) fn next(&mut self) -> Result<Option<Next>> {
        match self.ahead.pop_front() {
            Some(next) => Ok(Some(next)),
            None => self.read(),
        }
    }

    fn read(&mut self) -> Result<Option<Next>> {
        loop {
            match self.part_mut().next()? {
                Some(Next::State(state)) if std::mem::take(&mut self.joins) => {
                    // It is that at the end of the file before. An empty batch says that the trace continues, also if no frames
                    // follow.
                    let before = self.at.checked_sub(1).and_then(|before| self.parts.get(before));
                    let behind = before.is_some_and(|before| before.frames.is_behind());
                    return Ok(Some(Next::Frames(if behind { state } else { Batch::default() })));
                }
                Some(next) => {
                    self.joins &= matches!(next, Next::NotYet);
                    return Ok(Some(next));
                }
                // Also a file that has nothing.
                None => {}
            }
            if self.at + 1 == self.parts.len() && !self.find_next() {
                return Ok(None);
            }
            self.joins = self.next_follows();
            self.at += 1;
        }
    }

    /// Adds the next file of a trace that is followed, if there is one. It was begun before the one before it ended.
    fn find_next(&mut self) -> bool {
        let Some(file) = self.part().file.as_ref().filter(|_| self.at_end == AtEnd::Wait) else { return false };
        let Some((path, next)) = next_file(&self.part().path, file) else { return false };
        let mut part = Part::of(&path, next, self.at_end, HEADER as u64);
        part.frames.limit_states(self.budget.state());
        self.parts.push(part);
        true
    }

    /// Whether the next file begins where this one ends.
    fn next_follows(&self) -> bool {
        let number = |part: Option<&Part>| part.and_then(Part::place).map(|(_, number)| u64::from(number));
        let ends = self.part().frames.reader().ending() == Some(Ending::Complete);
        ends && number(self.parts.get(self.at + 1)) == number(Some(self.part())).map(|number| number + 1)
    }

    fn ended_early(&self) -> bool {
        self.parts.iter().any(|part| part.frames.ended_early())
    }

    /// Says what could not be read; whether that was damage, not only an early end.
    fn damage(&self) -> bool {
        for part in &self.parts {
            let name = &part.name;
            say_holes(name, &part.holes());
            if let Some(Ending::Early(at)) = part.frames.reader().ending() {
                say(format_args!("{name}: ends early, at offset {at}: {}", part.why_early()));
            }
            let after = part.frames.reader().after_end();
            if after > 0 {
                let bytes = counted(after, ["byte after the end does", "bytes after the end do"]);
                say(format_args!("{name}: {bytes} not belong to the recording"));
            }
        }
        self.damaged()
    }

    /// Whether some of it could not be read so far.
    fn damaged(&self) -> bool {
        self.parts.iter().any(|part| !part.holes().is_empty())
    }
}

/// The next file of a trace that is there, after this one.
pub(super) fn next_file(path: &Path, file: &RecordingFile) -> Option<(PathBuf, RecordingFile)> {
    let (run, number) = file.header().part()?;
    rotate::later(path).into_iter().find_map(|path| {
        // Another trace may have files with these names, and older files are removed at any time.
        let next = RecordingFile::open(open_regular(&path)?).ok()?;
        let follows = next.header().part().is_some_and(|(other, later)| other == run && later > number);
        follows.then_some((path, next))
    })
}

fn open_regular(path: &Path) -> Option<File> {
    let is_file = |found: &std::fs::Metadata| found.is_file();
    path.metadata().ok().filter(is_file)?;
    File::open(path).ok()
}

impl Recorded for Input {
    fn next(&mut self) -> Result<Option<Next>, String> {
        Input::next(self).map_err(|error| format!("{error:#}"))
    }

    fn holes(&self) -> Vec<(String, Holes)> {
        let holes = self.parts.iter().map(|part| (part.name.clone(), part.holes()));
        holes.filter(|(_, holes)| !holes.is_empty()).collect()
    }
}

/// The text of two filters as one: the one with which a recording was made, and the one of its reading.
pub(super) fn both_filters(recorded: &str, own: &str) -> String {
    match (recorded, own) {
        ("", text) | (text, "") => text.to_owned(),
        (recorded, own) => format!("({recorded}) ({own})"),
    }
}

/// The options of the trace in the first frames.
pub(super) fn trace_of(first: &Next) -> Option<Trace> {
    let (Next::State(batch) | Next::Frames(batch)) = first else { return None };
    batch.frames().find_map(|frame| match HostFrame::decode(&frame) {
        Some(HostFrame::Trace(trace)) => Some(trace),
        Some(HostFrame::StatePart(part)) => trace_in(&Batch::from_bytes(part.frames)),
        _ => None,
    })
}

fn trace_in(state: &Batch) -> Option<Trace> {
    state.frames().find_map(|frame| match HostFrame::decode(&frame) {
        Some(HostFrame::Trace(trace)) => Some(trace),
        _ => None,
    })
}

/// Says what could not be read.
pub(super) fn say_holes(name: &str, holes: &Holes) {
    for Hole { offset, bytes, why, .. } in &holes.first {
        match why {
            Damage::StateTooLarge => say(format_args!("{name}: at offset {offset}: {why}")),
            _ => say(format_args!("{name}: {bytes} bytes at offset {offset} cannot be read: {why}")),
        }
    }
    if holes.others > 0 {
        let parts = counted(holes.others, ["further part", "further parts"]);
        say(format_args!("{name}: {parts} cannot be read"));
    }
}

/// There is no file of this name.
#[derive(Debug, thiserror::Error)]
#[error("{0}: no such recording")]
pub(super) struct NoSuchRecording(pub(super) String);

/// The command that shows a recording, if a word seems to be meant as the name of one.
pub fn replay_of(word: &str) -> Option<String> {
    let is_recording = |path| Some(RecordingFile::open(open_regular(path)?).is_ok());
    let meant = word.ends_with(".ttr") || is_recording(Path::new(word)).unwrap_or(false);
    meant.then(|| format!("tracetui replay {}", shell::word(word.as_bytes())))
}

pub(super) fn open_file(file: &Path, name: &str) -> Result<File> {
    File::open(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow!(NoSuchRecording(name.to_owned())),
        _ => anyhow!("cannot open {name}: {error}"),
    })
}

fn no_trace() -> Trace {
    Trace { kinds: KindSet::ALL.bits(), command: tracetui_shared::id::Tgid(0), filter: String::new() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::event::keys::keys_of;
    use crate::recording::Writer;
    use crate::recording::block::{BlockHeader, Contents, FileHeader};
    use crate::source::synthetic::Maker;
    use std::fs;

    /// The batches of a trace. Events wait at the end of each; some are lost.
    pub(in crate::command) fn batches() -> Vec<Batch> {
        let mut maker = Maker::default();
        let mut trace = Batch::default();
        HostFrame::Trace(no_trace()).push(BootNanos(0), &mut trace);
        let mut batches = vec![trace];
        for number in 0..40 {
            maker.fork(100 + number, "sh", 101 + number);
            maker.exec(101 + number, "sh", &["cc", "-c"], 0);
            (0..30).for_each(|open| maker.open(100 + number, "cc", &format!("/src/{number}/{open}"), 3));
            if number % 7 == 3 {
                maker.lose(2);
            }
            if number % 3 == 0 {
                maker.counters(false);
            }
            batches.push(std::mem::take(&mut maker.made));
        }
        maker.counters(true);
        batches.push(maker.batch());
        batches
    }

    pub(in crate::command) fn write(dir: &Path, name: &str, batches: &[Batch], part_every: usize) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut next = || {
            let path = dir.join(format!("{name}.{}", files.len()));
            let header = FileHeader::new([files.len() as u8; 16], 0);
            let header = if part_every < usize::MAX { header.part_of([9; 8], files.len() as u32) } else { header };
            files.push(path.clone());
            (File::create(path).expect("room"), header)
        };
        let (file, header) = next();
        let mut writer = Writer::new(file, &header, keys_of).expect("room");
        let mut part = 0;
        let mut pipeline = Pipeline::default();
        for (number, batch) in (1..).zip(batches) {
            writer.batch(batch.bytes()).expect("room");
            pipeline.feed(batch.clone());
            pipeline.release(&mut |_, _| Disposition::Delivered);
            if number % part_every == 0 {
                let (file, header) = next();
                let state = pipeline.state();
                let new = writer.next(file, &header, &state).expect("room");
                writer.end_part(part, &state).expect("room");
                (writer, part) = (new, part + 1);
            }
        }
        pipeline.finish(&mut |_, _| Disposition::Delivered);
        writer.end(&pipeline.state()).expect("room");
        files
    }

    /// The events of files, and what is known when they are read.
    fn read(files: &[PathBuf], filter: &str) -> (Vec<String>, Playback) {
        let filters = FilterOptions { filter: vec![filter.to_owned()], ..FilterOptions::default() };
        let mut playback = Playback::open(files, &filters, Budget::default(), AtEnd::Stop).expect("recordings");
        let mut lines = Vec::new();
        let mut take = |played: &Played<'_>| {
            let process = played.context.process.map(|process| (process.key, process.execs, process.parent));
            lines.push(format!("{:?} {process:?}", played.frame.header));
            Disposition::Delivered
        };
        while playback.step(&mut take).expect("readable") == Step::More {}
        (lines, playback)
    }

    #[test]
    fn the_files_of_a_trace_are_read_as_one() {
        check_files(5);
    }

    #[test]
    fn the_last_file_may_have_no_frames() {
        assert!(batches().len().is_multiple_of(7));
        check_files(7);
    }

    #[track_caller]
    fn check_files(batches_in_file: usize) {
        let dir = std::env::temp_dir().join(format!("tracetui-playback-{batches_in_file}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("room");
        let batches = batches();
        let one = write(&dir, "one", &batches, usize::MAX);
        let mut parts = write(&dir, "part", &batches, batches_in_file);
        for filter in ["", "comm=sh", "tree=101"] {
            let (whole, one) = read(&one, filter);
            assert!(!whole.is_empty() && !one.goes_on() && one.recordings()[0].part().is_none());
            let (lines, playback) = read(&parts, filter);
            assert!(lines == whole, "{filter}");
            assert_eq!(playback.account(), one.account(), "{filter}");
            assert!(!playback.goes_on() && !playback.ended_early() && playback.recordings().len() == 1);
            // In any order of names.
            parts.rotate_left(3);
            assert!(read(&parts, filter).0 == whole, "{filter}");
            parts.sort();
        }
        let (whole, one) = read(&one, "");
        // Each by itself: nothing twice, nothing missing.
        let each: Vec<_> = parts.iter().map(|part| read(std::slice::from_ref(part), "")).collect();
        assert!(each.iter().flat_map(|(lines, _)| lines).eq(&whole));
        assert!(each.iter().rev().skip(1).all(|(_, playback)| playback.goes_on()));
        let last = &each[each.len() - 1].1;
        assert!(!last.goes_on());
        assert_eq!(last.recordings()[0].part(), Some((parts.len() as u32 - 1, false)));
        // Without some: the others are as they were.
        let some: Vec<_> = parts.iter().enumerate().filter(|(number, _)| ![0, 3, 4].contains(number)).collect();
        let (lines, _) = read(&some.iter().map(|(_, part)| (*part).clone()).collect::<Vec<_>>(), "");
        assert!(some.iter().flat_map(|(number, _)| &each[*number].0).eq(&lines));
        check_accounts(&parts, &one.account());
        // A copy of a file is read too, which is said; a file that is named twice is an error.
        let copy = dir.join("copy");
        fs::copy(&parts[1], &copy).expect("room");
        let (lines, playback) = read(&[&parts[..2], &[copy]].concat(), "");
        assert_eq!((lines.len(), playback.recordings().len()), (each[0].0.len() + 2 * each[1].0.len(), 2));
        let events = events_of(&each[1].0);
        assert_eq!(playback.common.counts, BTreeMap::from([((0, 1), events)]));
        assert!(read(&some.iter().map(|(_, part)| (*part).clone()).collect::<Vec<_>>(), "").1.common.counts.is_empty());
        let link = dir.join("link");
        std::os::unix::fs::symlink(&parts[1], &link).expect("room");
        for (other, text) in [(&parts[1], "is named twice"), (&link, "are the same file")] {
            let files = [parts[1].clone(), other.clone()];
            let refused = Playback::open(&files, &FilterOptions::default(), Budget::default(), AtEnd::Stop)
                .err()
                .expect("bad usage");
            assert!(refused.to_string().contains(text) && refused.is::<BadUsage>(), "{refused}");
        }
        fs::remove_dir_all(&dir).expect("ours");
    }

    fn events_of(lines: &[String]) -> u64 {
        lines.iter().filter(|line| !line.contains(" kind: 6,")).count() as u64
    }

    /// The account of some files of a trace is that of what is printed of them, under a filter too.
    fn check_accounts(parts: &[PathBuf], whole: &Account) {
        let numbers = 0..parts.len();
        let some = |wanted: &dyn Fn(usize) -> bool| -> Vec<PathBuf> {
            numbers.clone().filter(|number| wanted(*number)).map(|number| parts[number].clone()).collect()
        };
        for filter in ["", "comm=sh", "kind=exec"] {
            let of = |files: &[PathBuf]| {
                let (lines, playback) = read(files, filter);
                let account = playback.account();
                let sum = account.sum();
                assert_eq!((sum.delivered, sum.off_by()), (events_of(&lines), 0), "{filter}: {account:?}");
                (account, playback)
            };
            // All the files, each by itself, are the trace.
            let each: Vec<_> = parts.iter().map(|part| of(std::slice::from_ref(part)).0).collect();
            let all = of(parts).0;
            let mut sum = each.iter().fold(Account::default(), |sum, account| sum.and(account));
            sum.not_read = 0;
            assert_eq!(sum, all, "{filter}");
            assert_eq!((all.not_read, all.sum().seen), (0, whole.sum().seen), "{filter}");
            let events = |number: usize| events_of(&read(&parts[number..=number], "").0);
            for (what, wanted) in [
                ("the newest", (&|number: usize| number > 2) as &dyn Fn(usize) -> bool),
                ("some", &|number| ![0, 3, 4].contains(&number)),
                ("the first and the last", &|number| number == 0 || number + 1 == parts.len()),
            ] {
                let (account, playback) = of(&some(wanted));
                let elsewhere: u64 = numbers.clone().filter(|number| !wanted(*number)).map(events).sum();
                assert_eq!(account.not_read, elsewhere, "{what} {filter}");
                assert!(!playback.goes_on() && account.discrepancies.is_empty());
                let read = numbers.clone().filter(|number| wanted(*number)).map(|number| &each[number]);
                let mut sum = read.fold(Account::default(), |sum, account| sum.and(account));
                sum.not_read = elsewhere;
                assert_eq!(sum, account, "{what} {filter}");
            }
        }
    }

    #[test]
    fn only_what_is_in_none_of_the_files_is_missing() {
        let dir = std::env::temp_dir().join(format!("tracetui-playback-missing-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("room");
        let parts = write(&dir, "part", &batches(), 5);
        let looked_at = parts.iter().map(|part| {
            let mut playback = Playback::look(part, Budget::default()).expect("a recording");
            while playback.step(&mut |_| Disposition::Delivered).expect("readable") == Step::More {}
            (playback.recordings[0].stretch().expect("a part"), playback.recordings[0].events)
        });
        let (files, ends): (Vec<_>, Vec<_>) = looked_at.unzip();
        let of = |numbers: &[usize]| missing(numbers.iter().map(|number| files[*number].clone()).collect());
        let last = parts.len() - 1;
        assert!(last > 5);
        assert_eq!(of(&(0..=last).rev().collect::<Vec<_>>()), [""; 0]);
        let name = |number: usize| name(&parts[number]);
        let earlier = |number: usize, events: u64| earlier(&name(number), events).expect("some");
        assert_eq!(of(&[2, 1]), [earlier(1, ends[0]), continues(&name(2))]);
        assert_eq!(of(&[last, 0, 1]), [continues(&name(1)), earlier(last, ends[last - 1] - ends[1])]);
        let other = Stretch { trace: [1; 8], ..files[0].clone() };
        assert_eq!(missing(vec![other, files[1].clone()]).len(), 3);
        assert!(
            Playback::look(&write(&dir, "one", &batches(), usize::MAX)[0], Budget::default())
                .is_ok_and(|playback| playback.recordings[0].stretch().is_none())
        );
        fs::remove_dir_all(&dir).expect("ours");
    }

    #[test]
    fn a_time_span_that_ends_before_it_begins_is_refused() {
        let moment = |text: &str| Moment::parse(text).expect("a moment");
        let start = Some(1_795_183_331_000_000_000); // 14:02:11 UTC
        for (from, to, start, refused) in [
            ("3s", "1s", start, true),
            ("3s", "3s", start, false),
            ("3s", "1s", None, true),
            ("14:05:00", "14:04:00", start, true),
            // After midnight.
            ("14:05:00", "14:01:00", start, false),
            ("14:05:00", "14:04:00", None, false),
            ("1h", "14:03:00", start, true),
            ("1h", "14:03:00", None, false),
            ("2026-11-20T14:05:00Z", "2026-11-20T14:04:00Z", None, true),
        ] {
            let checked = check_order(moment(from), moment(to), start, 0);
            assert_eq!(checked.is_err(), refused, "{from} {to}");
            assert!(checked.err().is_none_or(|error| error.is::<BadUsage>() && error.to_string().contains("--to")));
        }
    }

    #[test]
    fn only_a_whole_file_that_is_not_followed_is_passed_over() {
        let dir = std::env::temp_dir().join(format!("tracetui-playback-over-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("room");
        let (one, parts) = (write(&dir, "one", &batches(), usize::MAX), write(&dir, "part", &batches(), 9));
        let filters = FilterOptions { filter: vec!["comm=nobody".to_owned()], ..FilterOptions::default() };
        let skips = |files: &[PathBuf], at_end| {
            let mut playback = Playback::open(files, &filters, Budget::default(), at_end).expect("recordings");
            let before = playback.recordings[0].skip.is_some();
            playback.between(Some(Moment::Since(0)), None, 0).expect("a time span");
            (before, playback.recordings[0].skip.is_some())
        };
        assert_eq!(skips(&one, AtEnd::Stop), (true, true));
        assert_eq!(skips(&one, AtEnd::Wait), (false, false));
        assert_eq!(skips(&parts, AtEnd::Stop), (false, false));
        assert_eq!(skips(&parts[1..2], AtEnd::Stop), (false, false));
        let file = File::options().write(true).open(&one[0]).expect("there");
        file.set_len(file.metadata().expect("there").len() / 2).expect("ours");
        assert_eq!(skips(&one, AtEnd::Stop), (false, false));
        fs::remove_dir_all(&dir).expect("ours");
    }

    /// A recording in blocks of a few batches, with a state in the middle, and where its blocks begin.
    fn write_blocks(path: &Path, batches: &[Batch]) -> Vec<(u64, Contents)> {
        let header = FileHeader::new([5; 16], 0);
        let mut writer = Writer::new(File::create(path).expect("room"), &header, keys_of).expect("room");
        let mut pipeline = Pipeline::default();
        for (number, batch) in (1..).zip(batches) {
            writer.batch(batch.bytes()).expect("room");
            pipeline.feed(batch.clone());
            pipeline.release(&mut |_, _| Disposition::Delivered);
            if number % 6 == 0 {
                writer.flush().expect("room");
            }
            if number == 20 {
                writer.state(&pipeline.state()).expect("room");
            }
        }
        pipeline.finish(&mut |_, _| Disposition::Delivered);
        let (_, written) = writer.end(&pipeline.state()).expect("room");
        let bytes = fs::read(path).expect("there");
        let (mut at, mut blocks) = (64, Vec::new());
        while at < written {
            let block = BlockHeader::read(&bytes[at as usize..], header.short_id()).expect("a block");
            blocks.push((at, Contents::from(block.contents)));
            at += (64 + block.padded()) as u64;
        }
        blocks
    }

    #[test]
    fn what_was_in_a_damaged_block_is_counted() {
        let dir = std::env::temp_dir().join(format!("tracetui-playback-damage-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("room");
        let (path, damaged) = (dir.join("whole"), dir.join("damaged"));
        let blocks = write_blocks(&path, &batches());
        let (whole, before) = read(std::slice::from_ref(&path), "");
        let seen = before.account().sum().seen;
        assert!(blocks.len() > 9 && seen > 1000, "{blocks:?}");
        let bytes = fs::read(&path).expect("there");
        for (number, (at, contents)) in blocks.iter().enumerate() {
            for place in [at + 2, at + 70] {
                let mut changed = bytes.clone();
                changed[place as usize] ^= 1;
                fs::write(&damaged, &changed).expect("room");
                let (lines, playback) = read(std::slice::from_ref(&damaged), "");
                let sum = playback.account().sum();
                // The last block without a header looks like an end.
                let frames = *contents == Contents::Frames;
                let last = number + 1 == blocks.len() && place == at + 2;
                assert_eq!(playback.remarks(), !last, "{place}");
                assert_eq!((sum.seen, sum.off_by()), (seen, 0), "{place} of {contents:?}: {sum:?}");
                assert_eq!(sum.lost.read > 0, frames, "{place} of {contents:?}");
                assert!(lines.len() <= whole.len() && !playback.recordings()[0].lost_unknown(), "{place}");
            }
        }
        // Without a state after it, what was in the last block of frames is not known.
        let ends: Vec<_> = blocks.iter().filter(|(_, contents)| !matches!(contents, Contents::State)).collect();
        let mut changed = bytes;
        for (at, contents) in &ends[ends.len() - 4..] {
            let place = if *contents == Contents::Summary { continue } else { at + 70 };
            changed[place as usize] ^= 1;
        }
        fs::write(&damaged, &changed).expect("room");
        let (_, playback) = read(std::slice::from_ref(&damaged), "");
        let sum = playback.account().sum();
        assert!(playback.recordings()[0].lost_unknown() && sum.off_by() == 0 && sum.seen < seen, "{sum:?}");
        fs::remove_dir_all(&dir).expect("ours");
    }

    #[test]
    fn a_trace_that_is_followed_goes_on_in_its_next_file() {
        let dir = std::env::temp_dir().join(format!("tracetui-playback-next-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("room");
        let batches = batches();
        let (whole, _) = read(&write(&dir, "one", &batches, usize::MAX), "");
        let name = |number: usize| dir.join(format!("x.{number:06}.ttr"));
        for (number, part) in (1..).zip(write(&dir, "part", &batches, 5)) {
            fs::rename(part, name(number + number / 4)).expect("ours");
        }
        // One of another trace in between, and what is no recording.
        fs::rename(dir.join("one.0"), name(4)).expect("ours");
        fs::write(name(3).with_extension("txt"), "text").expect("room");
        let follow = |from: usize| {
            let filters = FilterOptions::default();
            let mut playback = Playback::open(&[name(from)], &filters, Budget::default(), AtEnd::Wait).expect("files");
            let mut events = 0;
            let mut take = |_: &Played<'_>| {
                events += 1;
                Disposition::Delivered
            };
            while playback.step(&mut take).expect("readable") == Step::More {}
            (events, playback.goes_on())
        };
        assert_eq!(follow(1), (whole.len(), false));
        // Without some in between, as when they are removed before they are read.
        fs::remove_file(name(3)).expect("ours");
        let (some, goes_on) = follow(2);
        assert!(some > 0 && some < whole.len() && !goes_on);
        fs::remove_dir_all(&dir).expect("ours");
    }

    #[test]
    fn a_file_whose_end_was_not_written_is_not_read_twice() {
        let dir = std::env::temp_dir().join(format!("tracetui-playback-cut-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("room");
        let batches = batches();
        let (whole, _) = read(&write(&dir, "one", &batches, usize::MAX), "");
        let parts = write(&dir, "part", &batches, 20);
        // Killed after the second file was begun: the first one has its frames, but no end.
        let first = fs::read(&parts[0]).expect("there");
        let mut ends = None;
        for length in (64..first.len()).rev().step_by(61) {
            fs::write(&parts[0], &first[..length]).expect("room");
            let (lines, playback) = read(&parts, "");
            assert!(lines.len() <= whole.len(), "{length}");
            let mut rest = whole.iter();
            assert!(lines.iter().all(|line| rest.any(|other| other == line)), "{length}");
            if playback.ended_early() && lines == whole {
                ends = Some(length);
            }
            if length + 3_000 < first.len() {
                break;
            }
        }
        assert!(ends.is_some());
        fs::remove_dir_all(&dir).expect("ours");
    }
}
