//! The files of recordings, as sequences of frames.

use super::{Error, Result, name};
use crate::budget::Budget;
use crate::frame::host::{HostFrame, Trace};
use crate::frame::{Batch, Frames};
use crate::limits;
use crate::recording::Map;
use crate::recording::block::HEADER;
use crate::recording::file::{FileFrom, RecordingFile, is_being_written};
use crate::recording::frames::{FrameReader, Next};
use crate::recording::holes::Holes;
use crate::recording::reader::{Ending, Reader};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracetui_shared::time::BootNanos;

pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) name: String,
    /// `None` for a pipe.
    pub(super) file: Option<RecordingFile>,
    pub(super) frames: FrameReader<Box<dyn Read + Send>>,
    /// Whether a process was writing the file when it was opened.
    pub(super) is_written: bool,
    /// Blocks read by earlier readers.
    pub(super) blocks: u64,
    /// Events of the trace in unread files before this one.
    pub(super) elsewhere: u64,
}

impl Part {
    /// Opens a file. Also returns its metadata.
    pub(super) fn open(path: &Path) -> Result<(Part, Metadata)> {
        let name = name(path);
        let file = if path == "-" { None } else { Some(open_file(path, &name)?) };
        let found = match &file {
            Some(file) => file.metadata()?,
            None => File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata()?,
        };
        let input: Box<dyn Read + Send> = match file {
            Some(file) if found.is_file() || found.file_type().is_block_device() => {
                let file = RecordingFile::open(file).map_err(|error| Error::Open(format!("{name}: {error}")))?;
                return Ok((Part::of(path, file, HEADER as u64), found));
            }
            Some(file) => Box::new(file),
            None => Box::new(io::stdin()),
        };
        let frames = FrameReader::new(input).map_err(|error| Error::Open(format!("{name}: {error}")))?;
        Ok((
            Part { path: path.to_owned(), name, file: None, frames, is_written: false, blocks: 0, elsewhere: 0 },
            found,
        ))
    }

    /// A file from the block that begins at `offset`.
    pub(super) fn of(path: &Path, file: RecordingFile, offset: u64) -> Part {
        let is_written = is_being_written(&file.file).unwrap_or(false);
        let frames = FrameReader::of(reader_at(&file, offset));
        let (path, name) = (path.to_owned(), name(path));
        Part { path, name, file: Some(file), frames, is_written, blocks: 0, elsewhere: 0 }
    }

    /// The file, unless it is a pipe or a block device.
    pub(super) fn regular(&self) -> Option<&RecordingFile> {
        let is_file = |file: &&RecordingFile| file.file.metadata().is_ok_and(|found| found.is_file());
        self.file.as_ref().filter(is_file)
    }

    /// The trace that the file belongs to, and the number of the file in it.
    pub(super) fn place(&self) -> Option<([u8; 8], u32)> {
        self.frames.reader.header.part()
    }

    /// The cause of an early end.
    pub(super) fn why_early(&self) -> &'static str {
        match self.is_written {
            true => "the trace is still running",
            false => "the trace was killed or is still running, or this is a partial copy",
        }
    }

    fn next(&mut self) -> Result<Option<Next>> {
        self.frames.next().map_err(|error| Error::Read(self.name.clone(), error))
    }
}

/// A reader of a file from the block that begins at `offset`.
pub(super) fn reader_at(file: &RecordingFile, offset: u64) -> Reader<Box<dyn Read + Send>> {
    let from = FileFrom::new(file.clone(), offset);
    Reader::resume(Box::new(from), file.header, file.unsealer_at(offset), offset)
}

/// Opens files. Refuses a file that is named twice, even under two names.
pub(super) fn open_parts(files: &[PathBuf]) -> Result<Vec<Part>> {
    let mut known: BTreeMap<(u64, u64), &Path> = BTreeMap::new();
    let mut parts = Vec::new();
    for path in files {
        let (part, found) = Part::open(path)?;
        match known.insert((found.dev(), found.ino()), path) {
            Some(other) if other == path => return Err(Error::Usage(format!("{} is given twice", part.name))),
            Some(other) => return Err(Error::Usage(format!("{} and {} are the same file", name(other), part.name))),
            None => parts.push(part),
        }
    }
    Ok(parts)
}

/// Groups the files by trace, in the order of each trace. A copy of a file is a recording of its own.
pub(super) fn inputs(parts: Vec<Part>) -> Vec<Files> {
    let mut inputs: Vec<Files> = Vec::new();
    for part in parts {
        let fits = |input: &Files| {
            let place = |part: &Part| part.place();
            let (Some((run, number)), places) = (part.place(), input.parts.iter().filter_map(place)) else {
                return false;
            };
            let mut others = places.peekable();
            others.peek().is_some_and(|(other, _)| *other == run) && others.all(|(_, other)| other != number)
        };
        match inputs.iter_mut().find(|input| fits(input)) {
            Some(input) => input.parts.push(part),
            None => inputs.push(Files::of_parts(vec![part])),
        }
    }
    inputs.iter_mut().for_each(|input| input.parts.sort_by_key(Part::place));
    inputs
}

/// A recording being read: one file, or the files of a trace.
pub struct Files {
    pub(super) parts: Vec<Part>,
    /// The index of the file being read.
    pub(super) at: usize,
    /// Items read ahead to find [`Self::trace`].
    pub ahead: VecDeque<Next>,
    /// Whether the current file begins where the previous one ended and nothing of it has been read yet.
    pub(super) joins: bool,
    /// The unreadable parts. Several readers of a recording may share the list.
    pub(super) troubles: Troubles,
}

/// The unreadable parts of a recording, and the error that ended the reading. Clones share them: a recording may be read from
/// several places, each on a thread.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
pub struct Found {
    pub holes: Vec<(String, Holes)>,
    pub error: Option<String>,
}

impl Troubles {
    pub fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    /// The files of one trace, in their order; at least one.
    /// Fails with `several` if the files are of several recordings.
    pub fn open(files: &[PathBuf], several: &str) -> Result<Files> {
        let mut inputs = inputs(open_parts(files)?);
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Ok(input),
            _ => Err(Error::Usage(several.to_owned())),
        }
    }

    /// Files of one trace in their order, starting at the position of the first one; at least one.
    pub(super) fn of_parts(parts: Vec<Part>) -> Files {
        Files { parts, at: 0, ahead: VecDeque::new(), joins: false, troubles: Troubles::default() }
    }

    /// Lists the unreadable parts found so far, and the error that ended the reading.
    pub fn report(&self, error: Option<String>) {
        let mut found = self.troubles.found();
        for part in &self.parts {
            match found.holes.iter_mut().find(|(name, _)| *name == part.name) {
                Some((_, before)) => before.append(&part.frames.holes),
                None => found.holes.push((part.name.clone(), part.frames.holes.clone())),
            }
        }
        found.error = found.error.take().or(error);
    }

    /// Accepts only states that fit in memory. Call it before reading.
    pub(super) fn limit(&mut self, budget: Budget) {
        self.parts.iter_mut().for_each(|part| part.frames.reader.state_max = budget.state());
    }

    /// The files in the order of the trace, without pipes.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, &RecordingFile)> {
        self.parts.iter().filter_map(|part| Some((part.path.as_path(), part.file.as_ref()?)))
    }

    pub(super) fn part(&self) -> &Part {
        &self.parts[self.at]
    }

    pub(super) fn part_mut(&mut self) -> &mut Part {
        &mut self.parts[self.at]
    }

    pub(super) fn name(&self) -> &str {
        self.parts.first().map_or("", |part| &part.name)
    }

    /// The options of the trace. They are in its first frames, or, if these are unreadable, in the next state.
    pub fn trace(&mut self) -> Result<Trace> {
        let mut bytes = 0;
        while bytes < limits::AHEAD
            && let Some(next) = self.read()?
        {
            let (Next::State(batch) | Next::Frames(batch)) = &next;
            bytes += batch.len();
            let trace = trace_of(batch.frames(), false);
            self.ahead.push_back(next);
            if trace.is_some() || !self.part().frames.behind {
                return Ok(trace.unwrap_or_else(Trace::unreadable));
            }
        }
        Ok(Trace::unreadable())
    }

    /// The next state or batch; `None` at the end of the last file.
    pub fn read_next(&mut self) -> Result<Option<Next>> {
        match self.ahead.pop_front() {
            Some(next) => Ok(Some(next)),
            None => self.read(),
        }
    }

    fn read(&mut self) -> Result<Option<Next>> {
        loop {
            match self.part_mut().next()? {
                Some(Next::State(state)) if std::mem::take(&mut self.joins) => {
                    // This state equals the one at the end of the previous file. An empty batch marks that the trace continues,
                    // even if no frames follow.
                    let before = self.at.checked_sub(1).and_then(|before| self.parts.get(before));
                    let behind = before.is_some_and(|before| before.frames.behind);
                    return Ok(Some(Next::Frames(if behind { state } else { Batch::default() })));
                }
                Some(next) => {
                    self.joins = false;
                    return Ok(Some(next));
                }
                // Also reached for an empty file.
                None => {}
            }
            if self.at + 1 == self.parts.len() {
                return Ok(None);
            }
            self.joins = self.next_follows();
            self.at += 1;
        }
    }

    /// Whether the next file begins where this one ends.
    fn next_follows(&self) -> bool {
        let number = |part: Option<&Part>| part.and_then(Part::place).map(|(_, number)| u64::from(number));
        let ends = self.part().frames.reader.ending == Some(Ending::Complete);
        ends && number(self.parts.get(self.at + 1)) == number(Some(self.part())).map(|number| number + 1)
    }

    /// The time of the last event. `None` for a pipe, or if there are no events.
    pub(super) fn end(&self) -> Option<BootNanos> {
        let map = Map::of(self.parts.last()?.regular()?.clone()).ok()?;
        Some(BootNanos(map.totals.last_ns)).filter(|last| last.0 > 0)
    }

    pub(super) fn ended_early(&self) -> bool {
        self.parts.iter().any(|part| part.frames.ended_early())
    }

    /// Whether unreadable parts were found so far.
    pub(super) fn damaged(&self) -> bool {
        self.parts.iter().any(|part| !part.frames.holes.is_empty())
    }
}

fn open_regular(path: &Path) -> Option<File> {
    let is_file = |found: &std::fs::Metadata| found.is_file();
    path.metadata().ok().filter(is_file)?;
    File::open(path).ok()
}

pub fn is_recording(path: &Path) -> bool {
    open_regular(path).is_some_and(|file| RecordingFile::open(file).is_ok())
}

fn open_file(file: &Path, name: &str) -> Result<File> {
    File::open(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NoSuchRecording(name.to_owned()),
        _ => Error::Open(format!("cannot open {name}: {error}")),
    })
}

/// The options of the trace in the first frames, or in a state among them.
fn trace_of(mut frames: Frames<'_>, in_state: bool) -> Option<Trace> {
    frames.find_map(|frame| match HostFrame::decode(&frame) {
        Some(HostFrame::Trace(trace)) => Some(trace),
        Some(HostFrame::StatePart(part)) if !in_state => trace_of(Frames::of(&part.frames), true),
        _ => None,
    })
}
