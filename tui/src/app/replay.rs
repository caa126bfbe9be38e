//! The state of a replay: where in the recording the screen is, and where it goes.
//!
//! A part of the recording is loaded: from a state on, as many events as memory holds. The selected row is the position. Playing
//! moves it on with time.

use super::edit::{Edited, History, Line};
use super::find::{Find, Finding};
use super::keymap::{Action, Press};
use super::search::Way;
use super::views::tree::Tree;
use super::{App, Effect, Effects, SourceState};
use crate::event::{Body, EventContext};
use crate::frame::Batch;
use crate::pipeline::Pipeline;
use crate::recording::index::Entry;
use crate::store::{Id, Store};
use crate::text::time::Moment;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// The speeds of the keys.
const SPEEDS: [Speed; 9] = [
    Speed(1, 8),
    Speed(1, 4),
    Speed(1, 2),
    Speed(1, 1),
    Speed(2, 1),
    Speed(4, 1),
    Speed(16, 1),
    Speed(64, 1),
    Speed(256, 1),
];

/// Bins of the density strip.
const BINS: usize = 512;

/// A recording with fewer events is loaded from its start, wherever the screen goes.
pub const WHOLE_EVENTS: u64 = 200_000;

/// As many events are sooner read than another part is loaded.
const NEAR_EVENTS: u64 = 20_000;

/// How fast a recording is played: a numerator and a denominator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Speed(u32, u32);

impl Default for Speed {
    fn default() -> Speed {
        Speed(1, 1)
    }
}

impl Display for Speed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Speed(by, 1) => write!(f, "{by}x"),
            Speed(by, of) => write!(f, "{by}/{of}x"),
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    /// Reads `2x`, `1/4x`, with or without the `x`.
    fn from_str(text: &str) -> Result<Speed, String> {
        let (by, of) =
            text.strip_suffix('x').unwrap_or(text).split_once('/').unwrap_or((text.trim_end_matches('x'), "1"));
        match (by.parse(), of.parse()) {
            (Ok(by @ 1..=1_000_000), Ok(of @ 1..=1_000)) => Ok(Speed(by, of)),
            _ => Err("write a speed such as 2x, 16x or 1/4x".to_owned()),
        }
    }
}

/// How a recording ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum End {
    /// That is not known before it is read: it is a pipe. More may come until it ends.
    #[default]
    Unknown,
    /// As it should.
    Complete,
    /// It is cut off, and no process writes it.
    Early,
    /// Not yet: a process writes it.
    Growing,
    /// It has no end. Whether a process writes it is not known.
    Open,
}

impl End {
    /// Whether more may come.
    pub fn is_open(self) -> bool {
        matches!(self, End::Unknown | End::Growing | End::Open)
    }
}

/// What is known of a recording without reading all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Its name.
    pub name: String,
    /// The time of its first and its last event (CLOCK_BOOTTIME, ns), if they are known before it is read.
    pub span: Option<(u64, u64)>,
    /// Its events, as the index says; 0 if that is not known.
    pub events: u64,
    /// Its lost events.
    pub lost: u64,
    /// How it ends.
    pub end: End,
    /// Whether it can be read from other places than the start.
    pub seekable: bool,
    /// The density of its events. Empty if it is small: then the events that are loaded are counted.
    pub density: Vec<Density>,
}

/// Events of a time span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Density {
    /// The time of the first one (CLOCK_BOOTTIME, ns).
    pub first_ns: u64,
    /// The time of the last one.
    pub last_ns: u64,
    /// How many.
    pub events: u64,
    /// Lost events.
    pub lost: u64,
}

impl Density {
    /// Of a block.
    pub fn of(entry: &Entry) -> Density {
        let events = entry.events.iter().fold(0u64, |sum, count| sum.saturating_add((*count).into()));
        Density { first_ns: entry.first_ns, last_ns: entry.last_ns, events, lost: entry.lost.into() }
    }
}

/// What a replay does now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// It goes to a place that is not loaded yet.
    Loading,
    /// It shows what is written, as it comes.
    Following,
    /// It moves on with time.
    Playing,
    /// It stays where it is.
    Paused,
}

/// The number of the selected event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Number {
    /// From 1.
    pub at: u64,
    /// Of all events so far. `None` if not all are loaded.
    pub of: Option<u64>,
}

/// A position that moves on with time.
#[derive(Clone, Copy, Debug)]
struct Playing {
    /// The position (CLOCK_BOOTTIME, ns).
    at: u64,
    /// The time of the last step.
    then: Duration,
    /// When the measurement of the speed began, and the position then.
    measured: (Duration, u64),
    /// The speed in the second before.
    reached: Option<f64>,
    /// The row of the last step. Another row that is selected is the position from which it goes on.
    row: Option<Id>,
}

/// Where the screen goes when enough is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The first event that is shown.
    First,
    /// The first event at this time or later (CLOCK_BOOTTIME, ns).
    At(u64),
    /// The last event.
    Last,
}

impl Playing {
    fn new(at: u64, now: Duration, row: Option<Id>) -> Playing {
        Playing { at, then: now, measured: (now, at), reached: None, row }
    }

    /// Measures the speed once a second.
    fn measure(&mut self, now: Duration) {
        let (since, from) = self.measured;
        let passed = now.saturating_sub(since);
        if passed >= Duration::from_secs(1) {
            self.reached = Some(self.at.saturating_sub(from) as f64 / passed.as_nanos() as f64);
            self.measured = (now, self.at);
        }
    }
}

/// A bin of the density strip.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bin {
    /// Events.
    pub events: u64,
    /// Lost events.
    pub lost: u64,
}

impl Bin {
    /// The sum of two.
    pub fn and(self, other: &Bin) -> Bin {
        Bin { events: self.events.saturating_add(other.events), lost: self.lost.saturating_add(other.lost) }
    }
}

/// The bin of a time, of [`BINS`] that cover a time span. `None` if the span has no length.
fn bin((from, to): (u64, u64), ns: u64) -> Option<usize> {
    let length = u128::from(to.checked_sub(from)?) + 1;
    let at = u128::from(ns.clamp(from, to) - from) * BINS as u128 / length;
    Some(at.min(BINS as u128 - 1) as usize)
}

/// A replay.
#[derive(Debug)]
pub struct Replay {
    recording: Recording,
    bins: Vec<Bin>,
    /// The time that the bins cover (CLOCK_BOOTTIME, ns).
    extent: Option<(u64, u64)>,
    /// The bins count the events that are loaded.
    counts: bool,
    /// All that is written so far is loaded.
    caught_up: bool,
    /// All that was written at some time was loaded. What is written since comes as long as frames are wanted.
    reached_end: bool,
    /// Events that the pipeline knew at the start of the recording: those of removed files.
    before_start: u64,
    /// Why it cannot be read any further.
    failure: Option<String>,
    /// The loaded part begins at the start of the recording.
    from_start: bool,
    target: Option<Target>,
    /// Another part was asked for and is not there yet.
    awaiting: bool,
    speed: Speed,
    playing: Option<Playing>,
    /// The row at which following was paused.
    held: Option<Id>,
    line: Option<Line>,
    history: History,
    /// What is looked for in the part that is not loaded, and what is to be started or stopped.
    pub(super) finding: Option<Finding>,
    pub(super) asked: Option<Option<Find>>,
    /// No further event passes the filter.
    pub(super) nothing_passes: bool,
}

impl Replay {
    /// A replay that goes to `target` first.
    pub fn new(recording: Recording, target: Target, speed: Speed) -> Replay {
        let mut replay = Replay {
            bins: vec![Bin::default(); BINS],
            extent: recording.span,
            counts: recording.density.is_empty(),
            caught_up: false,
            reached_end: false,
            before_start: 0,
            failure: None,
            from_start: true,
            target: Some(target),
            awaiting: false,
            speed,
            playing: None,
            held: None,
            line: None,
            history: History::default(),
            finding: None,
            asked: None,
            nothing_passes: false,
            recording: Recording::default(),
        };
        replay.set(recording);
        replay
    }

    /// Takes what is known of the recording now.
    pub(super) fn set(&mut self, recording: Recording) {
        self.recording = recording;
        let density = std::mem::take(&mut self.recording.density);
        if !density.is_empty() {
            (self.counts, self.extent) = (false, self.recording.span);
            self.bins.fill(Bin::default());
            density.into_iter().for_each(|part| self.spread(part));
        }
    }

    /// What is known of the recording.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// The density of the events from the start to a time (CLOCK_BOOTTIME, ns). Empty if the start is not known.
    pub fn bins(&self, end: u64) -> &[Bin] {
        let used = self.extent.and_then(|extent| Some(bin(extent, end)? + 1));
        self.bins.get(..used.unwrap_or(0)).unwrap_or_default()
    }

    /// Why it cannot be read any further.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(super) fn fail(&mut self, why: String) {
        (self.failure, self.target, self.awaiting) = (Some(why), None, false);
    }

    /// Frames arrived. Whether all that is written so far is loaded: so says a batch without frames.
    pub(super) fn took(&mut self, batch: &Batch) -> bool {
        self.caught_up = batch.is_empty();
        self.reached_end |= self.caught_up;
        self.caught_up
    }

    /// Where the screen goes when enough is loaded.
    pub fn target(&self) -> Option<Target> {
        self.target
    }

    /// Whether it plays.
    pub fn plays(&self) -> bool {
        self.playing.is_some()
    }

    /// The position while it plays (CLOCK_BOOTTIME, ns).
    pub(super) fn playing_at(&self) -> Option<u64> {
        self.playing.map(|playing| playing.at)
    }

    /// The speed.
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// The speed that is reached, if it is clearly less than the chosen one: the events are not read as fast.
    pub fn reached(&self) -> Option<f64> {
        let Speed(by, of) = self.speed;
        self.playing?.reached.filter(|reached| *reached < 0.8 * f64::from(by) / f64::from(of))
    }

    /// Whether the loaded part begins at the start of the recording.
    pub fn from_start(&self) -> bool {
        self.from_start
    }

    /// The time that is being typed.
    pub fn line(&self) -> Option<&Line> {
        self.line.as_ref()
    }

    pub(super) fn paste(&mut self, text: &str) {
        self.line.iter_mut().for_each(|line| line.paste(text));
    }

    pub(super) fn aim(&mut self, target: Target) {
        self.target = Some(target);
    }

    pub(super) fn arrived(&mut self) {
        self.target = None;
    }

    /// A row was found in the loaded part: it stays, unless another part was asked for.
    pub(super) fn found(&mut self) {
        self.target = self.target.filter(|_| self.awaiting);
    }

    /// Another part is loaded, of which the pipeline knows so many events before.
    pub(super) fn restored(&mut self, from_start: bool, before: u64) {
        (self.from_start, self.awaiting, self.failure) = (from_start, false, None);
        (self.caught_up, self.reached_end) = (false, false);
        if from_start {
            self.before_start = before;
        }
        if self.counts {
            self.bins.fill(Bin::default());
        }
    }

    pub(super) fn stop(&mut self) {
        self.playing = None;
    }

    /// The next slower speed of the keys, or the next faster one.
    pub(super) fn change_speed(&mut self, faster: bool) {
        let Speed(by, of) = self.speed;
        let order = |other: &Speed| (u64::from(other.0) * u64::from(of)).cmp(&(u64::from(by) * u64::from(other.1)));
        let next = match faster {
            true => SPEEDS.iter().find(|speed| order(speed).is_gt()),
            false => SPEEDS.iter().rfind(|speed| order(speed).is_lt()),
        };
        self.speed = next.copied().unwrap_or(self.speed);
        // A speed that was reached with another choice says nothing.
        self.playing
            .iter_mut()
            .for_each(|playing| (playing.measured, playing.reached) = ((playing.then, playing.at), None));
    }

    /// The position after the time until now passed; not after `last`. `None` if it does not play.
    pub(super) fn play(&mut self, now: Duration, last: u64) -> Option<u64> {
        let Speed(by, of) = self.speed;
        let playing = self.playing.as_mut()?;
        let passed = now.saturating_sub(playing.then).as_nanos().min(u128::from(u64::MAX)) as u64;
        let to = playing.at.saturating_add(passed.saturating_mul(by.into()) / u64::from(of));
        (playing.at, playing.then) = (to.min(last.max(playing.at)), now);
        playing.measure(now);
        Some(playing.at)
    }

    /// Counts an event that is loaded.
    pub(super) fn count(&mut self, seen: &EventContext<'_>) {
        if self.counts {
            let ns = seen.event.header.time.0;
            let (events, lost) = match &seen.event.body {
                Body::Lost(lost) => (0, lost.record.count),
                _ => (1, 0),
            };
            self.extend_to(ns);
            self.spread(Density { first_ns: ns, last_ns: ns, events, lost });
        }
    }

    /// Makes the bins longer until they cover a time.
    fn extend_to(&mut self, ns: u64) {
        let (from, to) = self.extent.get_or_insert((ns, ns));
        while *to < ns {
            let merged =
                |at: usize| self.bins.get(2 * at..2 * at + 2).unwrap_or_default().iter().fold(Bin::default(), Bin::and);
            self.bins = (0..BINS).map(merged).collect();
            *to = to.saturating_add(*to - *from + 1);
        }
    }

    /// Adds events to the bins of a time span.
    fn spread(&mut self, part: Density) {
        let Density { first_ns, last_ns, events, lost } = part;
        let extent = self.extent.filter(|_| first_ns <= last_ns);
        let place = |ns| extent.and_then(|extent| bin(extent, ns));
        let (Some(start), Some(end)) = (place(first_ns), place(last_ns)) else { return };
        let bins = (end - start + 1) as u64;
        for (at, place) in (0u64..).zip(&mut self.bins[start..=end]) {
            let share = events / bins + u64::from(at < events % bins);
            place.events = place.events.saturating_add(share);
        }
        let place = &mut self.bins[end].lost;
        *place = place.saturating_add(lost);
    }

    /// Opens the line for a time.
    pub(super) fn edit(&mut self) {
        self.line = Some(Line::default());
    }

    /// Handles a key in the line. The time, once it is typed; an error if it is none.
    pub(super) fn key(&mut self, press: Press) -> Option<Result<Moment, String>> {
        let line = self.line.as_mut()?;
        match line.key(press, &self.history) {
            Edited::Same | Edited::Changed => None,
            Edited::Cancelled => {
                self.line = None;
                None
            }
            Edited::Done => {
                let text = line.text();
                let moment = Moment::parse(&text);
                // What is wrong can be corrected.
                if moment.is_none() && !text.trim().is_empty() {
                    return Some(Err(format!("{text} is not a time; write 14:02:11, 3:12, 0.05 or 1h 5m")));
                }
                self.line = None;
                moment.map(|moment| {
                    self.history.add(&text);
                    Ok(moment)
                })
            }
        }
    }
}

impl App {
    /// What is known of the recording has changed.
    pub(super) fn recording_changed(&mut self, recording: Recording) -> Effects {
        let Some(replay) = &mut self.replay else { return Vec::new() };
        let (before, now) = (replay.recording().end, recording.end);
        replay.set(recording);
        match now {
            End::Complete if before != now => self.say("the recording is complete"),
            End::Early if before != now => self.say("the recording ends early: it is not written any more"),
            _ => {}
        }
        vec![Effect::Redraw]
    }

    /// The recording cannot be read any further.
    pub(super) fn read_failed(&mut self, why: String) -> Effects {
        self.replay.iter_mut().for_each(|replay| replay.fail(why.clone()));
        self.say(why);
        vec![Effect::Redraw]
    }

    /// Whether more may be written to the recording, all of it so far being loaded or not.
    pub(crate) fn grows(&self) -> bool {
        let open = self.replay.as_ref().is_some_and(|replay| replay.recording().end.is_open());
        open && self.source == SourceState::Live
    }

    /// Whether all of the recording that is after the loaded part is loaded, as far as it is written.
    pub(super) fn at_end(&self) -> bool {
        self.source == SourceState::Ended || self.replay.as_ref().is_some_and(|replay| replay.caught_up)
    }

    /// Continues from a state of the pipeline, or from the start of the recording.
    pub(super) fn restore(&mut self, state: Option<&Batch>, from_start: bool) -> Effects {
        let mut pipeline = Pipeline::default();
        pipeline.set_budget(self.settings.budget);
        if let Some(state) = state {
            pipeline.restore(state);
        }
        pipeline.follow(&self.filter.roots());
        self.pipeline = pipeline;
        self.restore_output();
        self.store = Store::new(self.settings.budget.kept(0));
        self.events.empty();
        self.rates = Default::default();
        self.source = SourceState::Live;
        self.detail.close();
        self.tree = Tree::new(self.settings.budget);
        self.searches = Default::default();
        self.top.stop();
        self.bpf.again();
        self.search.stop();
        self.search.recount();
        let before = self.events_read();
        if let Some(replay) = &mut self.replay {
            replay.restored(from_start, before);
        }
        vec![Effect::Redraw]
    }

    /// Goes to the place that was aimed at, once that is loaded. The selected row is the position; the list only follows at the
    /// end of a recording that is still being written.
    pub(super) fn settle_replay(&mut self) {
        if self.replay.as_ref().is_some_and(|replay| !replay.awaiting) && self.look_for_any_row() {
            return;
        }
        let (ended, grows) = (self.at_end(), self.grows());
        let Some(replay) = self.replay.as_ref().filter(|replay| !replay.awaiting) else { return };
        if let Some(target) = replay.target() {
            let scanning = self.events.scanning(&self.store);
            let rows = self.events.rows();
            let found = match target {
                _ if scanning || rows == 0 => None,
                Target::First => self.events.first(&self.store),
                Target::Last => ended.then(|| self.events.row(rows - 1)).flatten(),
                Target::At(ns) => {
                    let at = self.row_at(ns);
                    if at < rows { self.events.row(at) } else { ended.then(|| self.events.row(rows - 1)).flatten() }
                }
            };
            let Some(replay) = &mut self.replay else { return };
            match found {
                Some(_) if target == Target::Last && grows => self.follow_end(),
                Some(id) => {
                    replay.arrived();
                    self.select(id);
                }
                None if ended && !scanning => replay.arrived(),
                None => {}
            }
        } else if self.events.rows() == 0 && !ended && self.filter.line().is_none() {
            // Nothing of what is loaded is shown: look further.
            let target = if grows && self.events.follows() { Target::Last } else { Target::First };
            self.replay.iter_mut().for_each(|replay| replay.aim(target));
        } else if self.events.follows() && !grows {
            self.events.stay(self.list_height(), &self.store);
        }
    }

    /// What the replay does now.
    pub fn transport(&self) -> Option<Transport> {
        let replay = self.replay.as_ref()?;
        let follows = self.events.follows() && self.grows();
        Some(match replay.target() {
            None | Some(Target::Last) if follows => Transport::Following,
            Some(_) => Transport::Loading,
            None if replay.plays() => Transport::Playing,
            None => Transport::Paused,
        })
    }

    /// Follows what is still written.
    fn follow_end(&mut self) {
        if let Some(replay) = &mut self.replay {
            replay.arrived();
            replay.stop();
            self.events.follow();
        }
    }

    /// If another row was selected while it plays, it plays from there.
    pub(super) fn play_from_selected(&mut self) {
        let (chosen, at, now) = (self.events.chosen(), self.selected_time(), self.now);
        let playing = self.replay.as_mut().and_then(|replay| replay.playing.as_mut());
        if let (Some(playing), Some(at)) = (playing.filter(|playing| playing.row != chosen), at) {
            *playing = Playing::new(at, now, chosen);
        }
    }

    fn select(&mut self, id: Id) {
        self.events.select(id, self.list_height(), &self.store);
    }

    /// The first row at this time or later; the number of rows if there is none.
    fn row_at(&self, ns: u64) -> usize {
        let time = |row: usize| self.events.row(row).and_then(|id| self.time_of(id)).unwrap_or(u64::MAX);
        let (mut from, mut to) = (0, self.events.rows());
        while from < to {
            let middle = from + (to - from) / 2;
            if time(middle) < ns { from = middle + 1 } else { to = middle }
        }
        from
    }

    pub(super) fn time_of(&self, id: Id) -> Option<u64> {
        self.store.get(id).map(|stored| stored.time.0)
    }

    /// The position in a replay, or the time to which it goes: CLOCK_BOOTTIME in nanoseconds.
    pub fn replay_position(&self) -> Option<u64> {
        let replay = self.replay.as_ref()?;
        match (replay.target(), replay.playing) {
            (Some(Target::At(ns)), _) => Some(self.replay_span().map_or(ns, |(start, end)| ns.clamp(start, end))),
            (_, Some(playing)) => Some(playing.at),
            _ => self.selected_time(),
        }
    }

    fn selected_time(&self) -> Option<u64> {
        self.events.selected().and_then(|id| self.time_of(id))
    }

    /// The number of the selected event. `None` if it is not known how many are before it.
    pub fn replay_number(&self) -> Option<Number> {
        let from_start = self.replay.as_ref().is_some_and(Replay::from_start);
        let at = self.events.selected().filter(|_| from_start)?;
        let evicted = self.store.evicted();
        let of = self.up_to_date().then(|| evicted + self.store.kept());
        Some(Number { at: evicted + self.store.events_before(at + 1), of })
    }

    /// Whether the loaded part goes to the end of what is written, or is about to.
    fn up_to_date(&self) -> bool {
        let follows = self.replay.as_ref().is_some_and(|replay| replay.reached_end && self.wants_frames());
        self.at_end() || self.grows() && follows
    }

    /// Whether there may be rows that are not in memory and can be loaded.
    pub fn has_unloaded_rows(&self) -> bool {
        let seekable = self.replay.as_ref().is_some_and(|replay| replay.recording().seekable);
        seekable && !(self.loaded_from_start() && self.up_to_date())
    }

    /// The events of the recording that the pipeline knows, loaded or before the loaded part.
    fn events_read(&self) -> u64 {
        let sum = self.account().sum();
        sum.delivered.saturating_add(sum.filtered)
    }

    /// Whether what follows the loaded part is there sooner by reading on than by loading another part.
    fn reads_on(&self) -> bool {
        let Some(replay) = &self.replay else { return true };
        let events = replay.recording().events;
        let read = self.events_read().saturating_sub(replay.before_start);
        self.at_end() || replay.from_start() && events < WHOLE_EVENTS || events.saturating_sub(read) < NEAR_EVENTS
    }

    /// Goes to a time once it is loaded (CLOCK_BOOTTIME, ns).
    pub fn aim(&mut self, ns: u64) {
        self.replay.iter_mut().for_each(|replay| replay.aim(Target::At(ns)));
    }

    /// The time span of the recording, as far as it is known: CLOCK_BOOTTIME in nanoseconds.
    pub fn replay_span(&self) -> Option<(u64, u64)> {
        let known = self.replay.as_ref().and_then(|replay| replay.recording().span);
        let loaded = || Some((self.rates.start_ns()?, self.time_of(self.store.next_id().checked_sub(1)?)?));
        match (known, loaded()) {
            (Some((start, end)), Some((_, latest))) => Some((start, end.max(latest))),
            // The times of a pipe are not known to follow each other.
            (known, loaded) => known.or(loaded.map(|(start, latest)| (start, latest.max(start)))),
        }
    }

    /// Performs an action that has another meaning in a replay. `None` if it has not.
    pub(super) fn act_on_replay(&mut self, action: Action) -> Option<Effects> {
        let at = self.replay_position().unwrap_or_default();
        let top = self.events.row(0).filter(|_| self.events.at_top(&self.store) && !self.loaded_from_start());
        let before_top = top.and_then(|first| self.time_of(first)).map(|first| first.saturating_sub(1));
        let beyond = match action {
            Action::Down | Action::PageDown | Action::HalfDown | Action::EventForward => self.move_beyond(Way::Down),
            Action::Up | Action::PageUp | Action::HalfUp | Action::EventBack => self.move_beyond(Way::Up),
            _ => false,
        };
        if beyond {
            return Some(vec![Effect::Redraw]);
        }
        if let (Some(ns), Action::Up | Action::PageUp | Action::HalfUp | Action::EventBack) = (before_top, action) {
            return Some(self.seek(ns));
        }
        let replay = self.replay.as_mut()?;
        match action {
            Action::Play | Action::Pause => return Some(self.toggle_play()),
            Action::Slower => replay.change_speed(false),
            Action::Faster => replay.change_speed(true),
            Action::Back10 => return Some(self.seek(at.saturating_sub(10 * SECOND))),
            Action::Forward10 => return Some(self.seek(at.saturating_add(10 * SECOND))),
            Action::Back60 => return Some(self.seek(at.saturating_sub(60 * SECOND))),
            Action::Forward60 => return Some(self.seek(at.saturating_add(60 * SECOND))),
            Action::GoTo => replay.edit(),
            Action::Start => return Some(self.seek(0)),
            Action::End | Action::Follow => return Some(self.seek(u64::MAX)),
            Action::EventBack => self.events.move_by(-1, self.list_height(), &self.store),
            Action::EventForward => self.events.move_by(1, self.list_height(), &self.store),
            _ => return None,
        }
        Some(vec![Effect::Redraw])
    }

    /// Pauses what it does, or continues that: it follows again from the row at which following was paused, and plays from any
    /// other one.
    fn toggle_play(&mut self) -> Effects {
        if self.transport() == Some(Transport::Following) {
            return self.pause_following();
        }
        let (at, now, grows) = (self.selected_time().unwrap_or_default(), self.now, self.grows());
        let row = self.events.chosen();
        let over = self.source == SourceState::Ended
            && self.events.rows() > 1
            && self.events.cursor().is_some_and(|row| row + 1 >= self.events.rows());
        let Some(replay) = &mut self.replay else { return Vec::new() };
        let (held, played) = (replay.held.take(), replay.playing.take().is_some());
        if played {
            return vec![Effect::Redraw];
        }
        if grows && held.is_some() && held == row {
            return self.seek(u64::MAX);
        }
        if over {
            let start = self.key_of(Action::Start);
            self.say(format!("the recording ends here; {start} goes to its start"));
        } else {
            replay.playing = Some(Playing::new(at, now, row));
        }
        vec![Effect::Redraw]
    }

    fn pause_following(&mut self) -> Effects {
        self.events.stay(self.list_height(), &self.store);
        if self.events.follows() {
            self.say("no event is shown yet");
        }
        let row = self.events.chosen();
        self.replay.iter_mut().for_each(|replay| replay.held = row);
        vec![Effect::Redraw]
    }

    /// Whether nothing before the kept events is in the recording.
    pub(super) fn loaded_from_start(&self) -> bool {
        self.replay.as_ref().is_none_or(Replay::from_start) && self.store.evicted() == 0
    }

    /// Goes to a time of the recording: `u64::MAX` is its last event, 0 its first.
    pub(super) fn seek(&mut self, ns: u64) -> Effects {
        self.stop_finding();
        let first = self.time_of(self.store.first_id()).unwrap_or(u64::MAX);
        let last = self.store.next_id().checked_sub(1).and_then(|id| self.time_of(id)).unwrap_or_default();
        let after_start = ns >= first || self.loaded_from_start();
        let is_loaded = after_start && (ns <= last || self.reads_on());
        let follows = ns == u64::MAX && is_loaded && self.grows();
        let Some(replay) = &mut self.replay else { return Vec::new() };
        replay.nothing_passes = false;
        replay.aim(match ns {
            0 => Target::First,
            u64::MAX => Target::Last,
            ns => Target::At(ns),
        });
        if is_loaded {
            if follows {
                self.follow_end();
            }
            return vec![Effect::Redraw];
        }
        if !replay.recording().seekable {
            if !after_start {
                replay.arrived();
                self.say("what was before is not in memory any more, and a pipe cannot be read again");
            }
            return vec![Effect::Redraw];
        }
        replay.awaiting = true;
        vec![Effect::Seek(ns), Effect::Redraw]
    }

    /// Moves the position on while the replay plays; whether it moved.
    pub(super) fn play(&mut self) -> bool {
        let last = self.store.next_id().checked_sub(1).and_then(|id| self.time_of(id)).unwrap_or_default();
        let now = self.now;
        let Some(replay) = self.replay.as_mut().filter(|replay| replay.target().is_none()) else { return false };
        let Some(at) = replay.play(now, last) else { return false };
        let (row, rows) = (self.row_at(at.saturating_add(1)), self.events.rows());
        if let Some(id) = row.checked_sub(1).and_then(|row| self.events.row(row)) {
            self.select(id);
        }
        let chosen = self.events.chosen();
        if let Some(playing) = self.replay.as_mut().and_then(|replay| replay.playing.as_mut()) {
            playing.row = chosen;
        }
        if at >= last && row == rows && self.source == SourceState::Ended {
            self.replay.iter_mut().for_each(Replay::stop);
            self.say("the recording ends here");
        }
        true
    }

    /// Whether a time is being typed.
    pub(super) fn types_time(&self) -> bool {
        self.replay.as_ref().is_some_and(|replay| replay.line().is_some())
    }

    pub(super) fn typed_time(&mut self, press: Press) -> Effects {
        let typed = self.replay.as_mut().and_then(|replay| replay.key(press));
        match (typed, self.replay_span()) {
            (Some(Ok(moment)), Some((start, _))) => {
                let offset = i128::from(self.world().clock_offset());
                let unix = moment.unix_ns(i128::from(start) + offset, self.settings.zone_s);
                let ns = u64::try_from((unix - offset).max(1)).unwrap_or(u64::MAX - 1);
                if self.replay_span().is_some_and(|(_, end)| ns > end) {
                    self.say("the recording ends before that");
                    return vec![Effect::Redraw];
                }
                return self.seek(ns);
            }
            (Some(Err(error)), _) => self.say(error),
            _ => {}
        }
        vec![Effect::Redraw]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::testing::{app, keys, work};
    use crate::app::{Input, Tick};
    use crate::source::synthetic::Maker;

    fn press(app: &mut App, letter: char) -> Effects {
        app.update(Input::Key(crossterm::event::KeyCode::Char(letter).into()))
    }

    fn seeks(effects: &[Effect]) -> bool {
        effects.iter().any(|effect| matches!(effect, Effect::Seek(_)))
    }

    fn number(at: u64, of: u64) -> Option<Number> {
        Some(Number { at, of: Some(of) })
    }

    /// Of a pipe, nothing is known before it is read; and its times may be anything.
    #[test]
    fn times_that_go_back_have_a_position() {
        let mut app = app(80, 24, 64 << 20);
        app.set_replay(Replay::new(Recording::default(), Target::At(1), Speed::default()));
        for ns in [200_000_000_000, 100_000_000_000] {
            let mut made = Maker { ns, ..Maker::default() };
            made.open(7, "cc1", "/x", 3);
            app.update(Input::Batch(made.batch()));
            app.update(Input::Batch(Maker { ns: ns + 50_000_000, ..Maker::default() }.batch()));
            work(&mut app);
        }
        app.update(Input::SourceEnded);
        let (start, end) = app.replay_span().expect("events");
        assert!(start <= end, "{start} to {end}");
        app.aim(1);
        assert_eq!(app.replay_position(), Some(start));
    }

    /// A recording of 10,000 opens, 10 ms apart, from which batches are taken.
    fn opened(memory: u64) -> (App, Maker) {
        let mut app = app(80, 24, memory);
        let maker = Maker { step_ns: 10_000_000, ..Maker::default() };
        let span = Some((maker.ns + maker.step_ns, maker.ns + 10_000 * maker.step_ns));
        let recording = Recording {
            name: "x.ttr".into(),
            span,
            events: 10_000,
            end: End::Complete,
            seekable: true,
            ..Recording::default()
        };
        app.set_replay(Replay::new(recording, Target::First, Speed::default()));
        (app, maker)
    }

    fn load(app: &mut App, maker: &mut Maker, opens: u32) {
        for number in 0..opens {
            maker.open(
                100 + number % 7,
                if number % 100 == 50 { "rare" } else { "cat" },
                &format!("/file-{number}"),
                3,
            );
        }
        app.update(Input::Batch(maker.batch()));
        work(app);
    }

    fn tick(app: &mut App, ms: u64) {
        app.update(Input::Tick(Tick { now: Duration::from_millis(ms), usage: None }));
    }

    fn row(app: &App) -> usize {
        app.events().cursor().expect("a row")
    }

    #[test]
    fn it_opens_paused_at_the_first_event() {
        let (mut app, mut maker) = opened(64 << 20);
        load(&mut app, &mut maker, 1000);
        assert_eq!((row(&app), app.plays(), app.events().follows()), (0, false, false));
        load(&mut app, &mut maker, 1000);
        assert_eq!(row(&app), 0);
        assert_eq!(app.replay().map(|replay| replay.bins(u64::MAX).iter().map(|bin| bin.events).sum()), Some(2000));
    }

    #[test]
    fn playing_follows_the_time_and_stops_at_the_end() {
        let (mut app, mut maker) = opened(64 << 20);
        load(&mut app, &mut maker, 1000);
        keys(&mut app, " ");
        tick(&mut app, 2_000);
        let start = row(&app);
        tick(&mut app, 3_000);
        assert_eq!(row(&app) - start, 100, "a second of events 10 ms apart");
        keys(&mut app, ">>");
        tick(&mut app, 4_000);
        assert_eq!(row(&app) - start, 500, "four times as fast");
        keys(&mut app, " ");
        tick(&mut app, 5_000);
        assert_eq!(row(&app) - start, 500);
        app.update(Input::SourceEnded);
        keys(&mut app, " ");
        tick(&mut app, 60_000);
        assert_eq!((row(&app), app.plays()), (999, false));
        assert_eq!(app.replay_number(), number(1000, 1000));
    }

    #[test]
    fn it_goes_to_times_that_are_loaded_at_once() {
        let (mut app, mut maker) = opened(64 << 20);
        load(&mut app, &mut maker, 9_000);
        keys(&mut app, "]");
        assert_eq!(row(&app), 1000);
        keys(&mut app, "}.");
        assert_eq!(row(&app), 7001);
        keys(&mut app, "[,");
        assert_eq!(row(&app), 6000);
        keys(&mut app, "T0:15\n");
        assert_eq!(row(&app), 1500);
        keys(&mut app, "g");
        assert_eq!(row(&app), 0);
        keys(&mut app, "Tx\n");
        assert!(app.message().is_some_and(|message| message.contains("not a time")), "{:?}", app.message());
        // It can be corrected.
        assert!(app.replay().is_some_and(|replay| replay.line().is_some()));
        keys(&mut app, "\x1b");
        // Not loaded yet: it is loaded, and no other part is asked for when the end is in reach.
        load(&mut app, &mut maker, 1_000);
        app.update(Input::SourceEnded);
        keys(&mut app, "G");
        assert_eq!(row(&app), 9_999);
    }

    #[test]
    fn it_asks_for_parts_that_are_not_loaded() {
        let (mut app, mut maker) = opened(64 << 20);
        let recording = app.replay().expect("a replay").recording().clone();
        app.update(Input::Replayed(Recording { events: WHOLE_EVENTS, ..recording }));
        load(&mut app, &mut maker, 500);
        let from = app.replay_position().expect("a position");
        let wanted = from + 60 * SECOND;
        assert!(press(&mut app, '}').contains(&Effect::Seek(wanted)));
        assert_eq!((app.replay_position(), app.transport()), (Some(wanted), Some(Transport::Loading)));
        // What still comes from the old place is no answer.
        load(&mut app, &mut maker, 100);
        assert!(app.replay().is_some_and(|replay| replay.target().is_some()));
        app.update(Input::Restore(Some(Pipeline::default().state()), false));
        maker.ns = from + 55 * SECOND;
        load(&mut app, &mut maker, 1000);
        assert!(app.replay_position().is_some_and(|at| (wanted..wanted + 20_000_000).contains(&at)));
        // Before what is loaded.
        assert!(seeks(&press(&mut app, '{')));
        assert_eq!(app.replay_number(), None, "what is before is not known");
    }

    #[test]
    fn up_from_folded_rows_at_the_top_asks_for_what_is_before_all_of_them() {
        let (mut app, mut maker) = opened(64 << 20);
        let recording = app.replay().expect("a replay").recording().clone();
        app.update(Input::Replayed(Recording { events: WHOLE_EVENTS, ..recording }));
        app.update(Input::Restore(Some(Pipeline::default().state()), false));
        maker.ns += 60 * SECOND;
        let first = maker.ns + maker.step_ns;
        (0..3).for_each(|_| maker.open(100, "cat", "/same", 3));
        load(&mut app, &mut maker, 10);
        assert_eq!(row(&app), 2, "the first line shows the last of its rows");
        assert!(press(&mut app, 'k').contains(&Effect::Seek(first - 1)));
    }

    #[test]
    fn a_short_recording_is_read_on_to_a_place_behind_what_is_loaded() {
        let (mut app, mut maker) = opened(64 << 20);
        load(&mut app, &mut maker, 500);
        assert_eq!(app.replay_number(), Some(Number { at: 1, of: None }));
        for (letter, at) in [('}', 6_000), ('G', 9_999)] {
            assert!(!seeks(&press(&mut app, letter)));
            assert_eq!((app.store().kept() < 9_999, app.transport()), (true, Some(Transport::Loading)));
            let rest = at - app.store().kept() as u32 + 1;
            load(&mut app, &mut maker, rest);
            if letter == 'G' {
                app.update(Input::SourceEnded);
            }
            assert_eq!((row(&app), app.transport()), (at as usize, Some(Transport::Paused)));
        }
        assert_eq!(app.replay_number(), number(10_000, 10_000));
    }

    #[test]
    fn a_match_stays_while_the_place_that_was_aimed_at_is_still_to_come() {
        let (mut app, mut maker) = opened(64 << 20);
        load(&mut app, &mut maker, 1_000);
        keys(&mut app, "}/file-7\n");
        assert_eq!((row(&app), app.transport()), (7, Some(Transport::Paused)));
        load(&mut app, &mut maker, 8_000);
        assert_eq!(row(&app), 7);
    }

    #[test]
    fn playing_goes_on_from_a_row_that_is_selected_meanwhile() {
        let (mut app, mut maker) = opened(64 << 20);
        load(&mut app, &mut maker, 2_000);
        keys(&mut app, "]k ");
        tick(&mut app, 1_000);
        let start = row(&app);
        keys(&mut app, "kkk");
        tick(&mut app, 1_100);
        assert_eq!((row(&app), app.plays()), (start - 3 + 10, true), "up by three rows");
        keys(&mut app, "g/file-500\n");
        tick(&mut app, 1_200);
        assert_eq!((row(&app), app.plays()), (510, true), "a match");
        keys(&mut app, "T0:07\n");
        tick(&mut app, 1_300);
        assert_eq!((row(&app), app.plays()), (710, true), "a time");
    }

    /// A recording that is still being written, of which 1,000 events are there.
    fn growing() -> (App, Maker) {
        let (mut app, mut maker) = opened(64 << 20);
        let recording = Recording { end: End::Growing, seekable: true, ..Recording::default() };
        app.set_replay(Replay::new(recording, Target::First, Speed::default()));
        load(&mut app, &mut maker, 1000);
        app.update(Input::Batch(Batch::default()));
        (app, maker)
    }

    #[test]
    fn a_recording_that_grows_is_followed_from_its_end() {
        let (mut app, mut maker) = growing();
        assert_eq!((row(&app), app.replay_number()), (0, number(1, 1000)));
        keys(&mut app, "G");
        assert_eq!((row(&app), app.events().follows()), (999, true));
        load(&mut app, &mut maker, 500);
        assert_eq!((row(&app), app.wants_frames()), (1499, true));
        app.update(Input::Batch(Batch::default()));
        assert_eq!(app.replay_number(), number(1500, 1500));
        // A row that is chosen stays.
        keys(&mut app, "k");
        load(&mut app, &mut maker, 500);
        assert_eq!((row(&app), app.events().follows()), (1498, false));
        app.update(Input::Batch(Batch::default()));
        keys(&mut app, "F");
        assert_eq!(row(&app), 1999);
        // Its end is its last event.
        app.update(Input::Replayed(Recording { end: End::Complete, seekable: true, ..Recording::default() }));
        assert_eq!(app.message(), Some("the recording is complete"));
        app.update(Input::SourceEnded);
        assert_eq!((row(&app), app.events().follows()), (1999, false));
    }

    #[test]
    fn space_pauses_following_and_continues_it() {
        let (mut app, mut maker) = growing();
        assert_eq!(app.transport(), Some(Transport::Paused));
        keys(&mut app, "G");
        assert_eq!(app.transport(), Some(Transport::Following));
        keys(&mut app, " ");
        load(&mut app, &mut maker, 500);
        tick(&mut app, 2_000);
        assert_eq!((row(&app), app.transport()), (999, Some(Transport::Paused)));
        assert_eq!(app.replay_number(), number(1000, 1500));
        keys(&mut app, " ");
        assert_eq!((row(&app), app.transport()), (1499, Some(Transport::Following)));
        // From another row, it plays; then Space pauses and continues that.
        let steps = [(" k ", Transport::Playing), (" ", Transport::Paused), (" ", Transport::Playing)];
        for (letters, transport) in steps {
            keys(&mut app, letters);
            assert_eq!(app.transport(), Some(transport));
        }
        for letter in ["F", "G"] {
            load(&mut app, &mut maker, 500);
            keys(&mut app, letter);
            assert_eq!((row(&app) + 1, app.plays()), (app.events().rows(), false));
            tick(&mut app, 3_000);
            load(&mut app, &mut maker, 500);
            assert_eq!((row(&app) + 1, app.transport()), (app.events().rows(), Some(Transport::Following)), "{letter}");
            keys(&mut app, "[ ");
            assert_eq!(app.transport(), Some(Transport::Playing));
        }
        // A filter that hides the row at which it was paused changes nothing.
        keys(&mut app, "F fcomm=rare\n ");
        assert_eq!(app.transport(), Some(Transport::Following));
        // Without a row, there is none to stay at.
        keys(&mut app, "fcomm=none\n ");
        app.update(Input::Batch(Batch::default()));
        assert_eq!((app.message(), app.transport()), (Some("no event is shown yet"), Some(Transport::Following)));
    }

    #[test]
    fn the_end_of_a_recording_that_grows_is_reached_without_loading_it_again() {
        let (mut app, mut maker) = growing();
        let recording = Recording { events: 5_000, end: End::Growing, seekable: true, ..Recording::default() };
        app.update(Input::Replayed(recording.clone()));
        // Not all that is written so far is loaded.
        load(&mut app, &mut maker, 500);
        for letter in ['G', 'F', 'G'] {
            let kept = app.store().kept();
            assert!(!seeks(&press(&mut app, letter)), "{letter}");
            assert_eq!((app.store().kept(), row(&app)), (kept, kept as usize - 1));
            load(&mut app, &mut maker, 500);
            assert_eq!(app.replay_number(), number(kept + 500, kept + 500));
            keys(&mut app, "k");
        }
        // Only of a long one, the end is loaded sooner than what is before it.
        app.update(Input::Replayed(Recording { events: 10 * WHOLE_EVENTS, ..recording.clone() }));
        assert!(seeks(&press(&mut app, 'G')));
        app.update(Input::Restore(Some(Pipeline::default().state()), false));
        load(&mut app, &mut maker, 500);
        assert_eq!((app.transport(), app.replay_number()), (Some(Transport::Following), None));
        // What the pipeline of a state knows counts as read.
        let near = app.events_read() + NEAR_EVENTS / 2;
        app.update(Input::Replayed(Recording { events: near.max(WHOLE_EVENTS), ..recording }));
        assert!(!app.reads_on(), "the state was empty");
    }

    #[test]
    fn a_pipe_is_followed_until_it_ends() {
        let (mut app, mut maker) = opened(64 << 20);
        app.set_replay(Replay::new(Recording::default(), Target::First, Speed::default()));
        load(&mut app, &mut maker, 1_000);
        assert_eq!((row(&app), app.transport()), (0, Some(Transport::Paused)));
        keys(&mut app, "G");
        load(&mut app, &mut maker, 1_000);
        assert_eq!((row(&app), app.transport()), (1_999, Some(Transport::Following)));
        app.update(Input::SourceEnded);
        load(&mut app, &mut maker, 1);
        assert_eq!((row(&app), app.transport()), (1_999, Some(Transport::Paused)));
    }

    #[test]
    fn playing_goes_on_where_a_recording_grows() {
        let (mut app, mut maker) = growing();
        keys(&mut app, ">>>>>> ");
        tick(&mut app, 1_000);
        tick(&mut app, 60_000);
        assert_eq!((row(&app), app.plays()), (999, true));
        load(&mut app, &mut maker, 500);
        tick(&mut app, 120_000);
        assert_eq!((row(&app), app.plays()), (1499, true));
        app.update(Input::SourceEnded);
        tick(&mut app, 180_000);
        assert!(!app.plays());
    }

    #[test]
    fn the_density_grows_with_the_recording() {
        let (mut app, mut maker) = growing();
        for _ in 0..20 {
            load(&mut app, &mut maker, 1000);
        }
        let (start, end) = app.replay_span().expect("events");
        assert_eq!(end - start, 20_999 * 10_000_000);
        let bins = app.replay().map(|replay| replay.bins(end).to_vec()).expect("a replay");
        assert_eq!(bins.iter().map(|bin| bin.events).sum::<u64>(), 21_000);
        // Evenly, but for the last one.
        let events = bins.iter().take(bins.len() - 1).map(|bin| bin.events);
        assert!(bins.len() > BINS / 2 && events.clone().max() <= events.min().map(|least| least + 1), "{bins:?}");
        // What the index says of a large one replaces what was counted.
        let part = Density { first_ns: start, last_ns: end, events: 1 << 20, lost: 3 };
        let recording = Recording { span: Some((start, end)), density: vec![part], ..Recording::default() };
        app.update(Input::Replayed(recording));
        let bins = app.replay().map(|replay| replay.bins(end).to_vec()).expect("a replay");
        assert_eq!(bins.iter().fold(Bin::default(), Bin::and).events, 1 << 20);
    }

    #[test]
    fn a_recording_that_cannot_be_read_says_so() {
        let (mut app, _) = growing();
        keys(&mut app, "}");
        app.update(Input::ReadFailed("x.ttr: it was cut to 0 bytes while it was read".into()));
        assert!(app.message().is_some_and(|message| message.contains("cut to 0 bytes")));
        let replay = app.replay().expect("a replay");
        assert!(replay.failure().is_some() && replay.target().is_none());
    }

    #[test]
    fn a_filter_without_a_match_looks_further() {
        let (mut app, mut maker) = opened(64 << 20);
        load(&mut app, &mut maker, 40);
        keys(&mut app, "fcomm=rare\n");
        assert_eq!(app.events().rows(), 0);
        assert!(app.wants_frames());
        load(&mut app, &mut maker, 100);
        assert_eq!((row(&app), app.events().rows()), (0, 1));
    }

    #[test]
    fn no_more_is_loaded_than_memory_holds() {
        let (mut app, mut maker) = opened(8 << 20);
        let mut loaded = 0;
        while app.wants_frames() && loaded < 1_000_000 {
            load(&mut app, &mut maker, 1000);
            loaded += 1000;
        }
        assert!((5_000..500_000).contains(&loaded), "{loaded}");
        assert_eq!((app.store().evicted(), row(&app)), (0, 0));
        // Near the end of what is loaded, more is wanted.
        for _ in 0..loaded / 18 {
            app.update(Input::Key(crossterm::event::KeyCode::PageDown.into()));
        }
        assert!(app.wants_frames());
    }

    #[test]
    fn speeds_are_read_and_written() {
        for (text, speed) in [("1x", Speed(1, 1)), ("16", Speed(16, 1)), ("1/4x", Speed(1, 4))] {
            assert_eq!(text.parse(), Ok(speed));
        }
        for wrong in ["", "x", "0", "-1", "1/0", "fast", "1e9"] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
        assert_eq!((Speed(16, 1).to_string(), Speed(1, 4).to_string()), ("16x".into(), "1/4x".into()));
    }
}
