//! Frames made by a function: for tests, benchmarks and demonstrations.

use super::feed::{Control, FrameSender, Source};
use super::wake::Waker;
use std::time::Duration;
use tracetui_events::synthetic::Maker;

/// A source that takes its frames from a function.
#[derive(Debug)]
pub struct Synthetic<F> {
    maker: Maker,
    make: F,
}

impl<F: FnMut(&mut Maker) -> Option<Duration>> Synthetic<F> {
    /// Creates a source. It calls `make` until that returns `None`. After each call it sends the frames, and waits for
    /// the returned time.
    pub fn new(maker: Maker, make: F) -> Synthetic<F> {
        Synthetic { maker, make }
    }
}

impl<F: FnMut(&mut Maker) -> Option<Duration> + Send + 'static> Source for Synthetic<F> {
    fn waker(&self) -> Option<Waker> {
        None
    }

    fn run(mut self, out: FrameSender) {
        while let Some(pause) = (self.make)(&mut self.maker) {
            if !out.send(self.maker.batch_for(out.batch())) {
                return;
            }
            if let Some(Control::Stop) = out.control_within(pause) {
                break;
            }
        }
        self.maker.counters(true);
        out.send(self.maker.batch());
    }
}
