//! A recording as a source.

use super::feed::{FrameSender, Source};
use super::wake::Waker;
use tracetui_events::playback::Files;
use tracetui_events::recording::follow;
use tracetui_events::recording::frames::{Next, missing};

/// Sends the frames as fast as the receiver takes them. An empty batch follows when everything written so far was sent.
impl Source for Files {
    fn waker(&self) -> Option<Waker> {
        None
    }

    fn run(mut self, out: FrameSender) {
        let mut waits = false;
        let error = loop {
            let sent = match self.read_next() {
                Ok(Some(Next::NotYet)) => {
                    let sent = std::mem::replace(&mut waits, true) || out.send_pause();
                    sent && !out.is_closed() && out.control_within(follow::POLL).is_none()
                }
                Ok(Some(Next::Frames(batch))) => {
                    waits = false;
                    out.send(batch)
                }
                // Files in between were skipped. The pipeline takes the state at this point, and counts the events in
                // the skipped files.
                Ok(Some(Next::State(state))) => {
                    waits = false;
                    out.send(missing(0)) && out.send(state)
                }
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
