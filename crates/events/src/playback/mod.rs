//! Recordings as input. Their events go, in order of time, through the pipeline that is also used live.

pub mod files;
mod merge;
mod metadata;
mod recording;
pub mod remarks;
mod scan;
mod skip;
mod span;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod timeline;

pub use files::{Files, is_recording};
pub use recording::{Recording, pipeline};
pub use span::SORTS_OF_TIME;

use crate::account::Account;
use crate::budget::Budget;
use crate::event::EventContext;
use crate::filter::FilterOptions;
use crate::frame::FrameRef;
use crate::pipeline::Disposition;
use crate::recording::block::HEADER;
use crate::recording::file::RecordingFile;
use crate::text::time::{Moment, Zone};
use crate::text::{Charset, escaped};
use files::{Part, inputs, open_parts};
use recording::OddFilter;
use span::{Span, check_order};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why recordings cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files, the filter or the times do not fit together.
    #[error("{0}")]
    Usage(String),
    #[error("{0}: no such recording")]
    NoSuchRecording(String),
    #[error("{0}")]
    Open(String),
    #[error("cannot read {0}: {1}")]
    Read(String, io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

type Result<T> = std::result::Result<T, Error>;

/// Several recordings, merged by wall-clock time.
pub struct Playback {
    recordings: Vec<Recording>,
    /// For several recordings: the wall-clock time of each recording's next event, and the number of the recording.
    next: BinaryHeap<Reverse<(i128, usize)>>,
    started: bool,
}

/// An event of a recording that passes the filters.
pub struct Played<'a> {
    pub context: &'a EventContext<'a>,
    pub frame: &'a FrameRef<'a>,
    /// The number of its recording, from 0.
    pub recording: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// There may be more events.
    More,
    /// All events were delivered.
    End,
}

impl Playback {
    /// Opens recordings, at least one. `filters` apply to each, in addition to the filter with which it was recorded. User names
    /// are those of the recording.
    /// Fails also if a file is named twice.
    pub fn open(files: &[PathBuf], filters: &FilterOptions, budget: Budget) -> Result<Playback> {
        let inputs = inputs(open_parts(files)?);
        let open = |input| Recording::open(input, filters, budget, OddFilter::Refused);
        let recordings = inputs.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Playback::new(recordings))
    }

    fn new(recordings: Vec<Recording>) -> Playback {
        Playback { recordings, next: BinaryHeap::new(), started: false }
    }

    /// Reads the files of one trace that are open already, in their order. Otherwise like [`open`](Self::open).
    pub fn of(files: &[(PathBuf, RecordingFile)], filters: &FilterOptions, budget: Budget) -> Result<Playback> {
        let part = |(path, file): &(PathBuf, RecordingFile)| Part::of(path, file.clone(), HEADER as u64);
        let input = Files::of_parts(files.iter().map(part).collect());
        let recording = Recording::open(input, filters, budget, OddFilter::Refused)?;
        Ok(Playback::new(vec![recording]))
    }

    /// Opens a whole recording. If this version cannot parse its filter, every event passes.
    pub fn look(file: &Path, budget: Budget) -> Result<Playback> {
        let (part, _) = Part::open(file)?;
        let input = Files::of_parts(vec![part]);
        let mut recording = Recording::open(input, &FilterOptions::default(), budget, OddFilter::Ignored)?;
        // Its blocks are counted.
        recording.skip = None;
        Ok(Playback::new(vec![recording]))
    }

    /// Continues at the last state of a whole file that was recorded without a filter, and delivers the events after it. The blocks
    /// before the state are checked but not decompressed. Returns `false` and changes nothing if that is not possible. Call it
    /// between two steps.
    pub fn pass_to_end(&mut self) -> Result<bool> {
        match self.recordings.as_mut_slice() {
            [one] => one.pass_to_end(),
            _ => Ok(false),
        }
    }

    /// Limits the events to a time span. Call it before the first step.
    /// Fails if the span ends before it begins.
    pub fn between(&mut self, from: Option<Moment>, to: Option<Moment>, zone: Zone) -> Result<()> {
        if from.is_none() && to.is_none() {
            return Ok(());
        }
        let spans = self.recordings.iter().map(Recording::span);
        let all = spans.reduce(|a, b| a.zip(b).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1)))).flatten();
        if let (Some(from), Some(to)) = (from, to) {
            check_order(from, to, all, zone)?;
        }
        for recording in &mut self.recordings {
            recording.span = Span { from, to, zone, bounds: None, ..recording.span };
            if let Some(all) = all {
                recording.span.set(all);
            }
            recording.skip = recording.new_skip();
        }
        Ok(())
    }

    /// Limits the events to those from `from_ns` to `to_ns` (CLOCK_BOOTTIME, ns). There is then no account. Call it before the
    /// first step.
    pub fn within(&mut self, from_ns: u64, to_ns: u64) {
        for recording in &mut self.recordings {
            recording.span.bounds = Some((from_ns, to_ns));
            recording.skip = recording.new_skip();
        }
    }

    /// Allows events to be skipped whose rows do not contain this text, in smart case as a bare word of a filter. There is then no
    /// account. Call it before [`within`](Self::within).
    pub fn containing(&mut self, text: &str) {
        self.recordings.iter_mut().for_each(|recording| recording.text = Some(text.to_owned()));
    }

    /// Skips the rest as far as the recordings allow, because the caller filters all later events. The account stays the same.
    pub fn filter_rest(&mut self) {
        self.recordings.iter_mut().for_each(Recording::filter_rest);
    }

    /// The time of the last event delivered or filtered (CLOCK_BOOTTIME, ns); of several recordings, the earliest such time.
    pub fn reached_ns(&self) -> u64 {
        self.recordings.iter().map(|recording| recording.reached_ns).min().unwrap_or_default()
    }

    /// The recordings, in the order in which they were named. The files of one trace are one recording.
    pub fn recordings(&self) -> &[Recording] {
        &self.recordings
    }

    /// Reads a part and delivers the events whose order is then final.
    pub fn step(&mut self, to: &mut dyn FnMut(&Played<'_>) -> Disposition) -> Result<Step> {
        match self.recordings.as_mut_slice() {
            [one] => one.step(0, to),
            _ => self.merge(to),
        }
    }

    pub fn is_of_one_boot(&self) -> bool {
        let mut boots = self.recordings().iter().map(|recording| &recording.start.host.boot_id);
        let first = boots.next();
        boots.all(|boot| Some(boot) == first)
    }

    /// Whether the recordings read to their end are complete.
    pub fn is_complete(&self) -> bool {
        !self.ended_early() && !self.damaged()
    }

    /// Whether a recording is damaged. An early end alone is not damage.
    pub fn damaged(&self) -> bool {
        self.recordings.iter().any(Recording::damaged)
    }

    pub fn ended_early(&self) -> bool {
        self.recordings.iter().any(|recording| recording.input.ended_early())
    }

    /// Whether an account does not add up.
    pub fn is_wrong(&self) -> bool {
        self.recordings.iter().any(Recording::is_wrong)
    }

    /// Whether a trace continues in an unread file.
    pub fn goes_on(&self) -> bool {
        self.recordings.iter().any(|recording| recording.pipeline.continues)
    }

    /// The account of the events read so far, over all recordings.
    pub fn account(&self) -> Account {
        let accounts = self.recordings.iter().map(Recording::account);
        accounts.reduce(|sum, account| sum.and(&account)).unwrap_or_default()
    }
}

/// The time of the first event of a file that passes the filter of the recording (CLOCK_BOOTTIME, ns). Times such as `30s` count
/// from it. `None` if there is no such event or the file cannot be read.
pub fn first_event(path: &Path, budget: Budget) -> Option<u64> {
    let mut playback = Playback::look(path, budget).ok()?;
    let mut first = None;
    for _ in 0..FIRST_STEPS {
        let step = playback.step(&mut |played| {
            first.get_or_insert(played.context.event.header.time.0);
            Disposition::Filtered
        });
        if first.is_some() || step.ok()? == Step::End {
            break;
        }
    }
    first
}

/// The number of batches that are searched for the first event.
const FIRST_STEPS: u32 = 1024;

/// Two filters combined into one text: the one with which a recording was made, and the one of its reading.
pub fn both_filters(recorded: &str, own: &str) -> String {
    match (recorded, own) {
        ("", text) | (text, "") => text.to_owned(),
        (recorded, own) => format!("({recorded}) ({own})"),
    }
}

/// The name of a file in a message.
fn name(path: impl AsRef<Path>) -> String {
    escaped(path.as_ref().as_os_str().as_bytes(), Charset::Utf8.mode()).into_owned()
}
