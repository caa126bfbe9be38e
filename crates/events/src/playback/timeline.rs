//! A recording that is read from any time: the facts from the indexes of its files, and the places at which reading can begin.

use super::files::{Files, Part, Troubles};
use super::{Error, Result, first_event, name};
use crate::budget::Budget;
use crate::frame::Batch;
use crate::recording::Map;
use crate::recording::block::{HEADER, OpenError};
use crate::recording::file::RecordingFile;
use crate::recording::frames::Next;
use crate::recording::index::{IndexEntry, Totals};
use std::io;
use std::path::{Path, PathBuf};

/// A recording with fewer events is read from its start, whatever time is wanted. Filters and searches then see all of it.
pub const WHOLE_EVENTS: u64 = 200_000;

/// The most index blocks whose entries are all read for the density. Of a larger index, only the sums are read.
const WHOLE: usize = 64;

/// The most files whose indexes are read for the density. Of more files, only the sums are read.
const FILES: usize = 16;

/// The number of events in a file below which its sum is enough for the density.
const FEW_EVENTS: u64 = WHOLE_EVENTS / FILES as u64;

/// The first block of the first file.
const START: (usize, u64) = (0, HEADER as u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum End {
    /// The source is a pipe, so its end is unknown before it is read. More may come until it ends.
    #[default]
    Unknown,
    Complete,
    /// It has an end, but the trace began in a file that is not read.
    StartsLate,
    /// The recording has no end: the trace was killed, or still runs.
    Early,
}

/// The facts about a recording that are known without reading all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    pub name: String,
    /// The times of its first and last event (CLOCK_BOOTTIME, ns), if they are known before it is read.
    pub span: Option<(u64, u64)>,
    /// The number of its events according to the index; 0 if unknown. Includes a few that are not delivered, such as tracetui's own.
    pub events: u64,
    pub lost: u64,
    pub end: End,
    /// Whether reading can start at places other than the start.
    pub seekable: bool,
    /// The density of its events. Empty for a small recording, whose loaded events are counted instead.
    pub density: Vec<Density>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Density {
    /// The time of the first event (CLOCK_BOOTTIME, ns).
    pub first_ns: u64,
    pub last_ns: u64,
    pub events: u64,
    pub lost: u64,
}

impl Density {
    fn of(entry: &IndexEntry) -> Density {
        let events = entry.events.iter().fold(0u64, |sum, count| sum.saturating_add((*count).into()));
        Density { first_ns: entry.first_ns, last_ns: entry.last_ns, events, lost: entry.lost.into() }
    }

    fn between(before: &Totals, after: &Totals) -> Density {
        let first_ns = if before.sum() == 0 { after.first_ns } else { before.last_ns };
        let events = after.sum().saturating_sub(before.sum());
        Density { first_ns, last_ns: after.last_ns, events, lost: after.lost.saturating_sub(before.lost) }
    }
}

/// A place from which a recording is read.
pub struct StartPoint {
    /// The state at this place. At the start there may be none.
    pub state: Option<Batch>,
    pub from_start: bool,
    /// The frames after the state.
    pub rest: Files,
}

/// The files of a recording, in the order of the trace. A pipe has none.
#[derive(Debug)]
pub struct Timeline {
    files: Vec<Known>,
    /// [`first_event`] of the first file.
    first_ns: Option<u64>,
    pub budget: Budget,
    /// The parts that could not be read so far.
    pub troubles: Troubles,
}

impl Timeline {
    /// Reads the indexes. Also returns the frames from the start.
    pub fn new(mut input: Files, budget: Budget) -> Result<(Timeline, Files)> {
        input.limit(budget);
        let files = input.files().map(|(path, file)| Known::read(path, file)).collect::<Result<Vec<_>>>()?;
        let first_ns = files.first().and_then(|first| first_event(&first.path, budget));
        let troubles = input.troubles.clone();
        Ok((Timeline { files, first_ns, budget, troubles }, input))
    }

    pub fn files(&self) -> Vec<(PathBuf, RecordingFile)> {
        self.files.iter().map(|file| (file.path.clone(), file.file.clone())).collect()
    }

    pub fn facts(&self) -> Facts {
        let (Some(first), Some(last)) = (self.files.first(), self.files.last()) else {
            return Facts { name: "stdin".to_owned(), ..Facts::default() };
        };
        let name = match self.files.len() - 1 {
            0 => name(&first.path),
            others => format!("{} and {others} more", name(&first.path)),
        };
        let totals = self.totals();
        // The first frame may be needed only by the process table.
        let span = (totals.first_ns <= totals.last_ns)
            .then(|| (self.first_ns.unwrap_or(totals.first_ns).min(totals.last_ns), totals.last_ns));
        let density = match totals.sum() < WHOLE_EVENTS {
            true => Vec::new(),
            false if self.files.len() > FILES => {
                self.files.iter().map(|file| Density::between(&Totals::default(), &file.totals)).collect()
            }
            false => self.files.iter().flat_map(|file| file.density.iter().copied()).collect(),
        };
        let end = match (last.end(), first.file.header.part()) {
            (End::Complete, Some((_, 1..))) => End::StartsLate,
            (end, _) => end,
        };
        Facts { name, span, events: totals.sum(), lost: totals.lost, end, seekable: true, density }
    }

    /// The sums of all files.
    fn totals(&self) -> Totals {
        self.files.iter().fold(Totals::default(), |sum, file| sum.and(&file.totals))
    }

    /// Finds where to begin reading for a time (CLOCK_BOOTTIME, ns): at a state before which all events are earlier, or at the start.
    pub fn seek(&mut self, ns: u64) -> Result<StartPoint> {
        let place = self.read_from(self.place(ns)?)?;
        self.troubles.found().error = None;
        Ok(place)
    }

    /// The number of a file, and the offset of a state or of the start in it.
    fn place(&self, ns: u64) -> Result<(usize, u64)> {
        let totals = self.totals();
        if totals.sum() < WHOLE_EVENTS {
            return Ok(START);
        }
        let ns = if ns == u64::MAX { totals.last_ns } else { ns };
        let earlier = self.files.iter().take_while(|file| file.totals.last_ns < ns).count();
        let at = earlier.min(self.files.len().saturating_sub(1));
        let Some(file) = self.files.get(at) else { return Ok(START) };
        let map = Map::of(file.file.clone()).map_err(|error| Error::Open(error.to_string()))?;
        Ok(map.state_before(ns)?.map_or(START, |offset| (at, offset)))
    }

    /// The frames from a place on.
    fn input(&self, (at, offset): (usize, u64)) -> Files {
        let offsets = std::iter::once(offset).chain(std::iter::repeat(HEADER as u64));
        let parts = self.files.iter().skip(at).zip(offsets);
        let parts = parts.map(|(file, offset)| Part::of(&file.path, file.file.clone(), offset));
        let mut input = Files::of_parts(parts.collect());
        input.troubles = self.troubles.clone();
        input.limit(self.budget);
        input
    }

    fn read_from(&self, mut place: (usize, u64)) -> Result<StartPoint> {
        loop {
            let mut rest = self.input(place);
            match rest.read_next()? {
                Some(Next::State(state)) => {
                    return Ok(StartPoint { state: Some(state), from_start: place == START, rest });
                }
                first if place == START => {
                    rest.ahead.extend(first);
                    return Ok(StartPoint { state: None, from_start: true, rest });
                }
                // The state cannot be read.
                _ => place = START,
            }
        }
    }

    /// Why the recording cannot be read any further.
    pub fn failure(&self) -> Option<String> {
        self.troubles.found().error.clone()
    }
}

/// A file and the facts from its index.
#[derive(Debug)]
struct Known {
    path: PathBuf,
    file: RecordingFile,
    complete: bool,
    totals: Totals,
    /// The density of the file's events. For a file with few events, only their sum.
    density: Vec<Density>,
}

impl Known {
    fn read(path: &Path, file: &RecordingFile) -> Result<Known> {
        let map = Map::of(file.clone()).map_err(|error| unreadable(path, error))?;
        let (complete, totals) = (map.complete, map.totals);
        let density = match totals.sum() < FEW_EVENTS {
            true => vec![Density::between(&Totals::default(), &totals)],
            false => density(&map).map_err(|error| unreadable(path, error.into()))?,
        };
        Ok(Known { path: path.to_owned(), file: file.clone(), complete, totals, density })
    }

    fn end(&self) -> End {
        if self.complete { End::Complete } else { End::Early }
    }
}

fn unreadable(path: &Path, error: OpenError) -> Error {
    Error::Open(format!("{}: {error}", name(path)))
}

fn density(map: &Map) -> io::Result<Vec<Density>> {
    let (spine, mut parts) = (map.spine()?, Vec::new());
    if spine.len() <= WHOLE {
        for (at, _) in &spine {
            parts.extend(map.index_block(*at)?.unwrap_or_default().entries.iter().map(Density::of));
        }
    } else {
        let ends = spine.iter().skip(1).map(|(_, totals)| *totals).chain([map.totals]);
        parts.extend(spine.iter().zip(ends).map(|((_, before), after)| Density::between(before, &after)));
    }
    parts.extend(map.rest.iter().map(Density::of));
    Ok(parts)
}

#[cfg(test)]
mod tests;
