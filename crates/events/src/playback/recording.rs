//! One recording: its files, its pipeline and its filters.

use super::files::{Files, reader_at};
use super::skip::{Over, Skip};
use super::span::Span;
use super::{Error, Played, Result, Step, both_filters, first_event};
use crate::account::Account;
use crate::budget::Budget;
use crate::enrich::World;
use crate::event::EventContext;
use crate::event::describe::args;
use crate::event::exit::{Ended, Exit};
use crate::filter::{Compiled, FilterOptions, Needs, Scratch};
use crate::frame::host::{Label, Trace};
use crate::frame::state::TableState;
use crate::frame::{Batch, FrameRef};
use crate::limits;
use crate::pipeline::{Disposition, Pipeline};
use crate::recording::file::FileFrom;
use crate::recording::frames::{FrameReader, Next};
use crate::recording::reader::Ending;
use crate::recording::{Item, Map, Reader};
use serde_json::{Value, json};
use std::path::Path;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{KINDS, Kind, KindSet};
use tracetui_shared::time::BootNanos;

/// A recording, its pipeline and its filters. The files of one trace are one recording.
pub struct Recording {
    pub(super) input: Files,
    /// The pipeline: host, processes, and the account of the whole trace.
    pub pipeline: Pipeline,
    /// The tables from the first frames: the host, and the state before the first event.
    pub start: World,
    pub trace: Trace,
    /// Whether this version cannot parse the recording's filter.
    pub(super) odd_filter: bool,
    /// The filter of the recording, and the one of this reading.
    pub(super) recorded: Compiled,
    pub(super) wanted: Compiled,
    pub(super) scratch: (Scratch, Scratch),
    pub(super) span: Span,
    pub(super) skip: Option<Skip>,
    /// A text in the row of each event that is looked for. Other events may be skipped.
    pub(super) text: Option<String>,
    pub(super) roots: Vec<Tgid>,
    pub(super) budget: Budget,
    /// The number of events of the trace up to here, including those that a filter of this reading rejected.
    pub(super) events: u64,
    /// The account of the events read before unread files.
    pub(super) before: Account,
    /// The account in the state with which the reading began, or continued after unread files.
    pub(super) elsewhere: Account,
    /// The time of the last event delivered or filtered.
    pub(super) reached_ns: u64,
    pub(super) fed: bool,
    pub(super) finished: bool,
}

/// What to do with a recording's filter that this version cannot parse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OddFilter {
    /// Report an error: the wrong events would be shown.
    Refused,
    Ignored,
}

impl Recording {
    pub(super) fn open(mut input: Files, filters: &FilterOptions, budget: Budget, odd: OddFilter) -> Result<Recording> {
        input.limit(budget);
        let trace = input.trace()?;
        let mut start = Pipeline::new(budget);
        match input.ahead.back() {
            Some(Next::Frames(batch)) if input.ahead.len() == 1 => start.feed(batch.clone()),
            Some(Next::Frames(state) | Next::State(state)) => start.restore(state),
            None => {}
        }
        let mut start = start.world;
        start.zone = filters.zone;
        if filters.filter.iter().any(|text| text.contains("time")) {
            start.ends_at = input.end();
        }
        let text = Some(trace.filter.clone()).filter(|text| !text.is_empty());
        let options = FilterOptions { filter: text.into_iter().collect(), ..FilterOptions::default() };
        let (recorded, mut odd_filter) = (options.compile(&start), false);
        let recorded = match (recorded, odd) {
            (Err(error), OddFilter::Refused) => {
                return Err(Error::Open(format!(
                    "{}: cannot parse the filter of the recording: {}",
                    input.name(),
                    error.render()
                )));
            }
            (Err(_), OddFilter::Ignored) => {
                odd_filter = true;
                FilterOptions::default().compile(&start).map_err(|error| Error::Open(error.render()))?
            }
            (Ok(recorded), _) => recorded,
        };
        let recorded = Compiled { kinds: trace.kinds(), ..recorded };
        let mut wanted = filters.compile(&start).map_err(|error| Error::Usage(error.render()))?;
        if !wanted.whole.kind_named {
            wanted.kinds = recorded.kinds;
        }
        let roots = [recorded.whole.roots(), wanted.whole.roots()].concat();
        let pipeline = pipeline(budget, None, &roots);
        let clock_offset = start.clock_offset;
        let span = Span { clock_offset, bounds: Some((0, u64::MAX)), ..Span::default() };
        let mut recording = Recording {
            input,
            pipeline,
            start,
            trace,
            odd_filter,
            recorded,
            wanted,
            scratch: Default::default(),
            span,
            skip: None,
            text: None,
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

    /// See [`Playback::pass_to_end`].
    pub(super) fn pass_to_end(&mut self) -> Result<bool> {
        let Files { parts, ahead, .. } = &mut self.input;
        let [part] = parts.as_mut_slice() else { return Ok(false) };
        let Some(file) = part.regular().filter(|file| file.header.part().is_none()) else { return Ok(false) };
        // The counts of an excerpt include events that are not in it.
        let excerpt = self.pipeline.excerpt().is_some() || !self.pipeline.windows.is_empty();
        if excerpt || !ahead.is_empty() || !self.trace.filter.is_empty() || !part.frames.holes.is_empty() {
            return Ok(false);
        }
        let (file, begin, header) = (file.clone(), part.frames.reader.offset(), file.header);
        let map = Map::of(file.clone()).map_err(|error| Error::Open(format!("{}: {error}", part.name)))?;
        let state = if map.complete { map.state_before(map.totals.last_ns)? } else { None };
        let Some(state) = state.filter(|state| *state > begin) else { return Ok(false) };
        let from = FileFrom::new(file.clone(), begin);
        let mut between = Reader::resume(from, header, file.unsealer_at(begin), begin);
        if !between.pass_to(state)? {
            return Ok(false);
        }
        let mut reader = reader_at(&file, state);
        reader.state_max = self.budget.state();
        let Some(Item::State(state)) = reader.next()? else { return Ok(false) };
        let before = std::mem::replace(&mut part.frames, FrameReader::of(reader));
        part.blocks = before.reader.blocks + between.blocks;
        self.pipeline = pipeline(self.budget, Some(&state), &self.roots);
        Ok(true)
    }

    /// The numbers of events of the requested kinds in a whole file, indexed by the number of their kind, from its index.
    pub fn indexed(&self) -> Option<[u64; KINDS]> {
        let [part] = self.input.parts.as_slice() else { return None };
        Map::of(part.regular()?.clone()).ok().map(|map| map.totals.events)
    }

    pub(super) fn new_skip(&self) -> Option<Skip> {
        let all = self.wanted.whole.text().is_empty() && self.recorded.kinds & self.wanted.kinds == self.recorded.kinds;
        if all && self.text.is_none() && self.span.bounds.is_none_or(|bounds| bounds == (0, u64::MAX)) {
            // In that case the index can only be wrong.
            return None;
        }
        let needs = Needs::of(&[&self.recorded, &self.wanted], &self.start)?;
        let needs = self.text.iter().fold(needs, |needs, text| needs.containing(text.as_bytes()));
        self.skip_to(needs)
    }

    /// See [`Playback::filter_rest`].
    pub(super) fn filter_rest(&mut self) {
        self.skip = self.skip_to(Needs::nothing());
    }

    fn skip_to(&self, needs: Needs) -> Option<Skip> {
        let [part] = self.input.parts.as_slice() else { return None };
        Skip::new(part.regular()?, needs, self.span.bounds.unwrap_or((0, u64::MAX)))
    }

    /// The time of [`first_event`] and the last time, in nanoseconds since 1970. `None` for a pipe, or if there are no events.
    pub(super) fn span(&self) -> Option<(i128, i128)> {
        let part = self.input.parts.first().filter(|part| part.regular().is_some())?;
        let unix = |boot_ns: u64| i128::from(boot_ns) + i128::from(self.span.clock_offset);
        let first = first_event(&part.path, self.budget)?;
        let last = self.input.end().map_or(first, |end| end.0.max(first));
        Some((unix(first), unix(last)))
    }

    pub fn name(&self) -> &str {
        self.input.name()
    }

    /// The path of the first file.
    pub fn path(&self) -> &Path {
        &self.input.parts[0].path
    }

    /// The account of the events read so far. In a trace of several files, events in unread files count only in
    /// [`Account::not_read`].
    pub fn account(&self) -> Account {
        let account = self.pipeline.account();
        // The counters may be older or newer than the last event before the next file.
        let account = if self.pipeline.continues { account.settled() } else { account };
        self.before.clone().and(&account.since(&self.elsewhere))
    }

    /// How many events the trace had seen before the files that are read, by the state with which they begin.
    pub fn seen_before(&self) -> u64 {
        self.elsewhere.sum().seen
    }

    pub fn labels_json(&self) -> Value {
        let label = |Label { name, value }: &Label| (name.clone(), Value::from(value.as_str()));
        Value::Object(self.trace.labels.iter().map(label).collect())
    }

    /// The filters of the recording and of this reading, combined into one.
    pub fn filter_text(&self) -> String {
        both_filters(&self.trace.filter, self.wanted.whole.text())
    }

    /// The arguments of the COMMAND, and how it ended if that is known; `None` without a COMMAND.
    pub fn command(&self) -> Option<(&[u8], Option<Ended>)> {
        let TableState { command_argv: argv, command_status: status, .. } = &self.pipeline.world().processes.state;
        let ended = status.map(|status| Exit::of_status(status).ended());
        (self.trace.command != Tgid(0) && !argv.is_empty()).then_some((argv.as_slice(), ended))
    }

    pub fn command_json(&self) -> Value {
        let Some((argv, ended)) = self.command() else { return Value::Null };
        let (code, signal) = match ended {
            Some(Ended::Code(code)) => (Some(code), None),
            Some(ended) => (None, Some(ended.to_string())),
            None => (None, None),
        };
        let argv: Value = args(argv).map(String::from_utf8_lossy).collect();
        json!({ "argv": argv, "exit_code": code, "signal": signal })
    }

    /// The recorded kinds, and those of them that this reading wants.
    pub fn kinds(&self) -> (KindSet, KindSet) {
        (self.recorded.kinds, self.wanted.kinds)
    }

    /// The version of the format, and the bytes and blocks read so far.
    pub fn read_so_far(&self) -> (u16, u64, u64) {
        let readers = || self.input.parts.iter().map(|part| &part.frames.reader);
        let blocks = self.input.parts.iter().map(|part| part.blocks + part.frames.reader.blocks);
        let version = readers().map(|reader| reader.header.version).max().unwrap_or_default();
        (version, readers().map(Reader::offset).sum(), blocks.sum())
    }

    /// Whether unreadable parts were found so far.
    pub fn damaged(&self) -> bool {
        self.input.damaged()
    }

    /// Whether the number of events in the unreadable parts is unknown, because no state follows them.
    pub fn lost_unknown(&self) -> bool {
        self.damaged() && self.pipeline.is_behind()
    }

    /// Bytes after the end of the recording that do not belong to it. Known once all of it is read.
    pub fn after_end(&self) -> u64 {
        self.input.part().frames.reader.after_end()
    }

    /// How the recording ends, once all of it is read.
    pub fn ending(&self) -> Option<Ending> {
        self.input.part().frames.reader.ending
    }

    /// Whether a process was writing the file when it was opened.
    pub fn is_written(&self) -> bool {
        self.input.part().is_written
    }

    pub(super) fn feed(&mut self) -> Result<Step> {
        if self.pass_over() {
            return Ok(Step::More);
        }
        // Batches have the size that the ring's reader uses, so that waiting events take as much memory as in the live trace.
        let room = self.budget.batch() + limits::BATCH_SLACK;
        let Recording { input, pipeline, .. } = self;
        input.part_mut().frames.reader.lend(|| {
            pipeline.spare().filter(|spare| spare.room() <= room).unwrap_or_else(|| Batch::with_capacity(room))
        });
        match self.input.read_next()? {
            Some(Next::State(state)) => self.begin(&state),
            Some(Next::Frames(batch)) => self.pipeline.feed(batch),
            None => {
                self.pipeline.end();
                self.fed = true;
                return Ok(Step::End);
            }
        }
        Ok(Step::More)
    }

    /// Skips frames in which no event passes the filters. If something is inconsistent, the rest is read. Returns whether the next
    /// frames to read are not known yet.
    fn pass_over(&mut self) -> bool {
        let Recording { input, skip, pipeline, reached_ns, .. } = self;
        let Some(passing) = skip.as_mut().filter(|_| input.ahead.is_empty()) else { return false };
        let part = input.part_mut();
        let damaged = !part.frames.holes.is_empty();
        match passing.over(part.frames.reader.offset(), pipeline) {
            _ if damaged => *skip = None,
            Some(Over::Nothing) => {}
            Some(Over::Searching(ns)) => {
                *reached_ns = ns.max(*reached_ns);
                return true;
            }
            Some(Over::To(there)) => part.blocks += std::mem::replace(&mut part.frames, *there).reader.blocks,
            None => *skip = None,
        }
        false
    }

    /// Begins with a state: at the start, or after unread files. The state contains the waiting events.
    pub(super) fn begin(&mut self, state: &Batch) {
        self.before = self.account().settled();
        self.pipeline = pipeline(self.budget, Some(state), &self.roots);
        self.elsewhere = self.pipeline.account().settled();
        let events = self.elsewhere.sum().delivered;
        let not_read = events.saturating_sub(self.events);
        self.input.part_mut().elsewhere = not_read;
        // The pipeline has the kinds.
        self.before.asked = KindSet::NONE;
        self.before.not_read = self.before.not_read.saturating_add(not_read);
        self.events = events;
    }

    /// Whether the account does not add up. This can happen without damage: whole blocks may be missing.
    pub(super) fn is_wrong(&self) -> bool {
        !self.pipeline.account().discrepancies.is_empty()
    }

    /// The number of the file in its trace, from 0, and whether the trace continues in the next file. `None` if the trace was
    /// recorded in one file.
    pub fn part(&self) -> Option<(u32, bool)> {
        let (_, part) = self.input.part().frames.reader.header.part()?;
        Some((part, self.pipeline.continues))
    }

    /// Performs one step of a recording that is read alone.
    pub(super) fn step(&mut self, number: usize, to: &mut dyn FnMut(&Played<'_>) -> Disposition) -> Result<Step> {
        let step = self.feed()?;
        match step {
            Step::More => self.pass_on_until(i128::MAX, number, to),
            Step::End => self.finish(number, to),
        }
        Ok(step)
    }

    pub(super) fn feed_until_ready(&mut self) -> Result<()> {
        while !self.fed && self.pipeline.peek().is_none() {
            // Delivers no event, but compares the counters.
            self.pipeline.next(None, &mut |_, _| Disposition::Filtered);
            self.feed()?;
        }
        Ok(())
    }

    /// The wall-clock time of the next event to deliver, in nanoseconds since 1970.
    pub(super) fn next_time(&mut self) -> Option<i128> {
        self.pipeline.peek().map(|time| i128::from(time.0) + i128::from(self.pipeline.world().clock_offset))
    }

    /// Delivers the events up to this wall-clock time whose order is final.
    pub(super) fn pass_on_until(&mut self, ns: i128, number: usize, to: &mut dyn FnMut(&Played<'_>) -> Disposition) {
        let Recording { pipeline, recorded, wanted, scratch, span, events, reached_ns, .. } = self;
        let limit = ns.saturating_sub(i128::from(pipeline.world().clock_offset));
        let limit = BootNanos(u64::try_from(limit.max(0)).unwrap_or(u64::MAX));
        let mut pass = |context: &EventContext<'_>, frame: &FrameRef<'_>| {
            *events += u64::from(context.event.kind() != Kind::Lost);
            *reached_ns = context.event.header.time.0;
            pass_on((recorded, wanted), scratch, span, &Played { context, frame, recording: number }, to)
        };
        pipeline.next(Some(limit), &mut pass);
    }

    pub(super) fn finish(&mut self, number: usize, to: &mut dyn FnMut(&Played<'_>) -> Disposition) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let Recording { pipeline, recorded, wanted, scratch, span, .. } = self;
        pipeline.end();
        pipeline.next(None, &mut |context, frame| {
            pass_on((recorded, wanted), scratch, span, &Played { context, frame, recording: number }, to)
        });
    }
}

/// A pipeline at the start of a recording, or at a state, for filters with these roots of trees. COMMAND's output does not go through it.
pub fn pipeline(budget: Budget, state: Option<&Batch>, roots: &[Tgid]) -> Pipeline {
    let mut pipeline = Pipeline::new(budget);
    pipeline.world.without_terminal = true;
    state.into_iter().for_each(|state| pipeline.restore(state));
    pipeline.world.processes.follow(roots);
    pipeline
}

fn pass_on(
    (recorded, wanted): (&Compiled, &Compiled),
    scratch: &mut (Scratch, Scratch),
    span: &mut Span,
    played: &Played<'_>,
    to: &mut dyn FnMut(&Played<'_>) -> Disposition,
) -> Disposition {
    let of_recording = recorded.passes_whole(played.context, &mut scratch.0);
    let passes = of_recording && span.has(played.context.event) && wanted.passes_whole(played.context, &mut scratch.1);
    if passes { to(played) } else { Disposition::Filtered }
}
