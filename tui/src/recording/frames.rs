//! The frames of a recording as the pipeline takes them.

use super::block::Damage;
use super::reader::{Ending, Hole, Item, OpenError, Reader};
use crate::frame::Batch;
use crate::frame::host::{self, HostFrame};
use crate::limits;
use std::io::{self, Read};
use tracetui_shared::time::BootNanos;

/// What the pipeline takes.
#[derive(Debug)]
pub enum Next {
    /// The state with which it begins, for a pipeline that took nothing yet.
    State(Batch),
    /// Frames.
    Frames(Batch),
    /// Nothing yet: all that is written so far was read.
    NotYet,
}

/// What could not be read. Of many holes, the first are listed and the others are counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holes {
    /// The first ones, at most [`limits::HOLES`].
    pub first: Vec<Hole>,
    /// The number of the others.
    pub others: u64,
}

impl Holes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Adds a hole.
    pub fn add(&mut self, hole: Hole) {
        match self.first.len() < limits::HOLES {
            true => self.first.push(hole),
            false => self.others = self.others.saturating_add(1),
        }
    }

    /// Adds the holes of another reader. One that is listed already is the same.
    pub fn append(&mut self, others: &Holes) {
        for hole in &others.first {
            if !self.first.contains(hole) {
                self.add(*hole);
            }
        }
        self.others = self.others.saturating_add(others.others);
    }
}

/// Reads frames. What cannot be read, also what is missing at the end, is said in a frame. After frames that are missing, the next
/// state is among the frames, so that the pipeline can count what was in them ([`Pipeline::feed`]).
///
/// [`Pipeline::feed`]: crate::pipeline::Pipeline::feed
#[derive(Debug)]
pub struct FrameReader<R> {
    reader: Reader<R>,
    holes: Holes,
    started: bool,
    /// Frames are missing, and no state was read since.
    behind: bool,
    /// The input is a file that is followed.
    follows: bool,
    /// The frames after an early end were reported as missing.
    cut: bool,
}

impl<R: Read> FrameReader<R> {
    /// Reads from the start of a file.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn new(input: R) -> Result<FrameReader<R>, OpenError> {
        Ok(FrameReader::of(Reader::new(input)?))
    }

    /// Reads on with a reader.
    pub fn of(reader: Reader<R>) -> FrameReader<R> {
        FrameReader { reader, holes: Holes::default(), started: false, behind: false, follows: false, cut: false }
    }

    /// Of an input that would block ([`io::ErrorKind::WouldBlock`]), gives [`Next::NotYet`].
    pub fn following(self) -> FrameReader<R> {
        FrameReader { follows: true, ..self }
    }

    /// Takes only states of so many bytes ([`Reader::limit_states`]).
    pub fn limit_states(&mut self, bytes: usize) {
        self.reader.limit_states(bytes);
    }

    /// The reader.
    pub fn reader(&self) -> &Reader<R> {
        &self.reader
    }

    /// Takes an empty batch for the next frames, if it has none.
    pub fn lend(&mut self, batch: impl FnOnce() -> Batch) {
        self.reader.lend(batch);
    }

    /// What could not be read so far.
    pub fn holes(&self) -> &Holes {
        &self.holes
    }

    /// Whether frames are missing and no state was read since.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Whether it ended early.
    pub fn ended_early(&self) -> bool {
        matches!(self.reader.ending(), Some(Ending::Early(_)))
    }

    /// The next frames; `None` at the end.
    ///
    /// # Errors
    /// If the input cannot be read.
    #[expect(clippy::should_implement_trait, reason = "an error ends it")]
    pub fn next(&mut self) -> io::Result<Option<Next>> {
        loop {
            let item = match self.reader.next() {
                Err(error) if self.follows && error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Some(Next::NotYet));
                }
                item => item?,
            };
            let fresh = !std::mem::replace(&mut self.started, true);
            if fresh {
                self.reader.skip_states(true);
            }
            match item {
                Some(Item::Batch(batch)) => return Ok(Some(Next::Frames(batch))),
                Some(Item::State(state)) if fresh => return Ok(Some(Next::State(state))),
                Some(Item::State(state) | Item::End(state)) if std::mem::take(&mut self.behind) => {
                    self.reader.skip_states(true);
                    return Ok(Some(Next::Frames(state)));
                }
                Some(Item::State(_) | Item::End(_)) => {}
                Some(Item::Hole(hole)) => {
                    self.holes.add(hole);
                    // What was before the state with which it begins is not known without it.
                    if !(hole.frames || fresh && hole.why == Damage::StateTooLarge) {
                        continue;
                    }
                    if !std::mem::replace(&mut self.behind, true) {
                        self.reader.skip_states(false);
                    }
                    return Ok(Some(Next::Frames(missing(hole.bytes))));
                }
                None if self.ended_early() && !std::mem::replace(&mut self.cut, true) => {
                    return Ok(Some(Next::Frames(missing(0))));
                }
                None => return Ok(None),
            }
        }
    }
}

/// A frame that says that others are missing, in so many bytes.
pub(crate) fn missing(bytes: u64) -> Batch {
    let mut batch = Batch::default();
    HostFrame::Hole(host::Hole { bytes }).push(BootNanos(0), &mut batch);
    batch
}
