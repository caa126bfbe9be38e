//! A recording as a source.

use super::feed::{FrameSender, Source};
use super::wake::Waker;
use crate::recording::follow;
use crate::recording::frames::{Holes, Next, missing};
use std::sync::{Arc, Mutex, PoisonError};

/// The frames of a recording, which may be in several files.
pub trait Recorded: Send + 'static {
    /// The next frames; `None` at the end. A state says that files before it were not read.
    ///
    /// # Errors
    /// If a file cannot be read: the message.
    fn next(&mut self) -> Result<Option<Next>, String>;

    /// What could not be read so far, with the names of the files.
    fn holes(&self) -> Vec<(String, Holes)>;
}

/// Sends the frames of a recording as fast as they are taken. When all that is written so far was sent, an empty batch follows.
#[derive(Debug)]
pub struct Replay<R> {
    recorded: R,
    troubles: Troubles,
}

/// What could not be read. Shared with the source, which runs on a thread of its own.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    holes: Vec<(String, Holes)>,
    error: Option<String>,
}

impl Troubles {
    /// The damaged parts of each file, and the error that ended the reading, since they were last taken.
    pub fn take(&self) -> (Vec<(String, Holes)>, Option<String>) {
        let found = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        (found.holes, found.error)
    }

    /// The error that ended the reading.
    pub fn error(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }

    /// It is read from another place.
    pub fn forget_error(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).error = None;
    }

    fn add(&self, holes: Vec<(String, Holes)>, error: Option<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, holes) in holes {
            match all.holes.iter_mut().find(|(other, _)| *other == name) {
                Some((_, before)) => before.append(&holes),
                None => all.holes.push((name, holes)),
            }
        }
        all.error = all.error.take().or(error);
    }
}

impl<R: Recorded> Replay<R> {
    /// A source of what `recorded` gives from now on.
    pub fn new(recorded: R, troubles: Troubles) -> Replay<R> {
        Replay { recorded, troubles }
    }
}

impl<R: Recorded> Source for Replay<R> {
    fn waker(&self) -> Option<Waker> {
        None
    }

    fn run(mut self, out: FrameSender) {
        let mut waits = false;
        let error = loop {
            match self.recorded.next() {
                Ok(Some(Next::Frames(batch))) => {
                    waits = false;
                    if !out.send(batch) {
                        break None;
                    }
                }
                // Files in between were not read. The pipeline takes what is known there, and counts what was in them.
                Ok(Some(Next::State(state))) => {
                    waits = false;
                    if !out.send(missing(0)) || !out.send(state) {
                        break None;
                    }
                }
                Ok(Some(Next::NotYet)) => {
                    if !std::mem::replace(&mut waits, true) && !out.send_pause() {
                        break None;
                    }
                    if out.is_closed() || out.control_within(follow::POLL).is_some() {
                        break None;
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
            if out.control().is_some() {
                break None;
            }
        };
        self.troubles.add(self.recorded.holes(), error);
    }
}
