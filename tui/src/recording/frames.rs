//! The frames of a recording as the pipeline takes them.

use super::reader::{Ending, Hole, Item, OpenError, Reader};
use crate::frame::Batch;
use crate::frame::host::{self, HostFrame};
use std::io::{self, Read};
use tracetui_shared::time::BootNanos;

/// What the pipeline takes.
#[derive(Debug)]
pub enum Next {
    /// The state with which it begins, for a pipeline that took nothing yet.
    State(Batch),
    /// Frames.
    Frames(Batch),
}

/// Reads frames. What cannot be read, also what is missing at the end, is said in a frame.
#[derive(Debug)]
pub struct FrameReader<R> {
    reader: Reader<R>,
    holes: Vec<Hole>,
    started: bool,
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
        FrameReader { reader, holes: Vec::new(), started: false, cut: false }
    }

    /// The reader.
    pub fn reader(&self) -> &Reader<R> {
        &self.reader
    }

    /// What could not be read so far.
    pub fn holes(&self) -> &[Hole] {
        &self.holes
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
            let item = self.reader.next()?;
            let fresh = !std::mem::replace(&mut self.started, true);
            match item {
                Some(Item::Batch(batch)) => return Ok(Some(Next::Frames(batch))),
                Some(Item::State(state)) if fresh => return Ok(Some(Next::State(state))),
                Some(Item::State(_) | Item::End(_)) => {}
                Some(Item::Hole(hole)) => {
                    self.holes.push(hole);
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

/// A frame that says that others are missing.
fn missing(bytes: u64) -> Batch {
    let mut batch = Batch::default();
    HostFrame::Hole(host::Hole { bytes }).push(BootNanos(0), &mut batch);
    batch
}
