//! A recording as a source.

use super::feed::{FrameSender, Source};
use super::wake::Waker;
use crate::recording::frames::{FrameReader, Holes, Next};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

/// Sends the frames of a recording as fast as they are taken.
#[derive(Debug)]
pub struct Replay<R> {
    frames: FrameReader<R>,
    troubles: Troubles,
}

/// What could not be read. Shared with the source, which runs on a thread of its own.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<(Holes, Option<io::Error>)>>);

impl Troubles {
    /// The damaged parts, and the error that ended the reading, since they were last taken.
    pub fn take(&self) -> (Holes, Option<io::Error>) {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, holes: &Holes, error: Option<io::Error>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.0.append(holes);
        all.1 = all.1.take().or(error);
    }
}

impl<R: Read + Send + 'static> Replay<R> {
    /// A source of what `frames` reads from now on.
    pub fn new(frames: FrameReader<R>, troubles: Troubles) -> Replay<R> {
        Replay { frames, troubles }
    }
}

impl<R: Read + Send + 'static> Source for Replay<R> {
    fn waker(&self) -> Option<Waker> {
        None
    }

    fn run(mut self, out: FrameSender) {
        let error = loop {
            match self.frames.next() {
                Ok(Some(Next::Frames(batch) | Next::State(batch))) => {
                    if !out.send(batch) || out.control().is_some() {
                        break None;
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        self.troubles.add(self.frames.holes(), error);
    }
}
