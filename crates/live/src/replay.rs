//! A recording as a source.

use super::feed::{FrameSender, Source};
use super::wake::Waker;
use tracetui_events::playback::Files;
use tracetui_events::recording::frames::{Next, missing};

/// Sends the frames as fast as the receiver takes them.
impl Source for Files {
    fn waker(&self) -> Option<Waker> {
        None
    }

    fn run(mut self, out: FrameSender) {
        let error = loop {
            let sent = match self.read_next() {
                Ok(Some(Next::Frames(batch))) => out.send(batch),
                // Files in between were skipped. The pipeline takes the state at this point, and counts the events in
                // the skipped files.
                Ok(Some(Next::State(state))) => out.send(missing(0)) && out.send(state),
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            };
            if !sent || out.control().is_some() {
                break None;
            }
        };
        self.report(error);
    }
}
