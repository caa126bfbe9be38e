//! The frames of a recording, in the form that the pipeline takes.

use super::block::Damage;
use super::block::OpenError;
use super::holes::Holes;
use super::reader::{Ending, Item, Reader};
use crate::frame::Batch;
use crate::frame::host::{self, HostFrame};
use std::io::{self, Read};
use tracetui_shared::time::BootNanos;

pub enum Next {
    /// The initial state, for a new pipeline.
    State(Batch),
    Frames(Batch),
}

/// Reads frames. A frame reports each unreadable part, including a missing end. After missing frames, the next state is among the
/// frames, so that the pipeline can count the events in between ([`Pipeline::feed`]).
///
/// [`Pipeline::feed`]: crate::pipeline::Pipeline::feed
pub struct FrameReader<R> {
    pub reader: Reader<R>,
    /// The unreadable parts so far.
    pub holes: Holes,
    started: bool,
    /// Whether frames are missing and no state has been read since.
    pub(crate) behind: bool,
    /// Whether the frames after an early end were reported as missing.
    cut: bool,
}

impl<R: Read> FrameReader<R> {
    /// Reads from the start of a file.
    pub fn new(input: R) -> Result<FrameReader<R>, OpenError> {
        Ok(FrameReader::of(Reader::new(input)?))
    }

    /// Continues with an existing reader.
    pub fn of(reader: Reader<R>) -> FrameReader<R> {
        FrameReader { reader, holes: Holes::default(), started: false, behind: false, cut: false }
    }

    pub fn ended_early(&self) -> bool {
        matches!(self.reader.ending, Some(Ending::Early(_)))
    }

    /// The next frames; `None` at the end.
    #[expect(clippy::should_implement_trait, reason = "an error ends it")]
    pub fn next(&mut self) -> io::Result<Option<Next>> {
        loop {
            let item = self.reader.next()?;
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
                    // Without the initial state, everything before it is unknown.
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

/// A frame that reports missing frames, of this many bytes.
pub fn missing(bytes: u64) -> Batch {
    let mut batch = Batch::default();
    HostFrame::Hole(host::Hole { bytes }).push(BootNanos(0), &mut batch);
    batch
}
