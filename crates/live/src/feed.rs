//! A [`Source`] of frames on its own thread, and the queue between it and the pipeline.

use super::wake::Waker;
use std::cell::Cell;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracetui_events::budget::Budget;
use tracetui_events::frame::Batch;
use tracetui_events::limits;
use tracetui_host::priority::{is_lent, take_back};

/// An origin of frames: the running kernel ([`crate::engine`]), or a function ([`super::synthetic`]).
pub trait Source: Send + 'static {
    /// A waker for [`run`](Self::run), which then reads [`FrameSender::control`]. `None` if `run` waits in
    /// [`FrameSender::control_within`].
    fn waker(&self) -> Option<Waker>;

    /// Sends frames until there are no more, until [`Control::Stop`], or until the receiver is dropped. The last frames
    /// are the final counters, if the source has any.
    fn run(self, out: FrameSender);
}

/// A running source. It stops when this is dropped.
#[derive(Debug)]
pub struct Feed {
    /// Frames in the order of the source. Closed after the last one.
    batches: mpsc::Receiver<Batch>,
    spares: Arc<Mutex<Vec<Batch>>>,
    control: std_mpsc::Sender<Control>,
    waker: Option<Waker>,
    budget: Budget,
}

#[derive(Debug)]
pub struct FrameSender {
    batches: mpsc::Sender<Batch>,
    spares: Arc<Mutex<Vec<Batch>>>,
    control: std_mpsc::Receiver<Control>,
    pub budget: Budget,
    /// The start of the time for which every call of [`urge`](Self::urge) has found queued batches or lent CPU time. `None` if the
    /// last call found neither.
    behind: Cell<Option<Instant>>,
}

#[derive(Debug)]
pub enum Control {
    Stop,
    CountRuns(bool),
}

/// Reads the running processes and passes them in batches to a function, until it returns `false`.
pub type Scan = Box<dyn FnOnce(&mut dyn FnMut(Batch) -> bool) + Send>;

impl Feed {
    /// Starts a source. The batches of `first` are sent before all others. `scan` runs once, concurrently with the
    /// source.
    pub fn start(source: impl Source, first: Vec<Batch>, scan: Option<Scan>, budget: Budget) -> io::Result<Feed> {
        let (out, batches) = mpsc::channel(limits::BATCHES_QUEUED);
        let spares = Arc::<Mutex<Vec<Batch>>>::default();
        let (control, controls) = std_mpsc::channel();
        let (sent_first, wait_for_first) = std_mpsc::channel::<()>();
        if let Some(scan) = scan {
            // The sender is weak, so that stopping the trace does not wait for the scan.
            let out = out.downgrade();
            let run = move || {
                // Nothing is ever sent on this channel. The call returns when the other end is dropped.
                let _ = wait_for_first.recv();
                scan(&mut |batch| out.upgrade().is_some_and(|out| out.blocking_send(batch).is_ok()));
            };
            std::thread::Builder::new().name("scan".into()).spawn(run)?;
        }
        let waker = source.waker();
        let (spared, behind) = (Arc::clone(&spares), Cell::new(None));
        let out = FrameSender { batches: out, spares: spared, control: controls, budget, behind };
        let run = move || {
            if first.into_iter().all(|batch| out.send(batch)) {
                drop(sent_first);
                source.run(out);
            }
        };
        std::thread::Builder::new().name("source".into()).spawn(run)?;
        Ok(Feed { batches, spares, control, waker, budget })
    }

    /// Waits for the next frames; `None` when the source has stopped. Cancel safe.
    pub async fn next(&mut self) -> Option<Batch> {
        self.batches.recv().await
    }

    pub fn waiting(&mut self) -> Option<Batch> {
        self.batches.try_recv().ok()
    }

    pub fn queued(&self) -> usize {
        self.batches.len()
    }

    /// Returns a processed batch for reuse. It is freed if a large record made it grow, or if enough are spare.
    pub fn recycle(&self, mut batch: Batch) {
        batch.clear();
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        if self.budget.is_batch(batch.room()) && spares.len() < limits::BATCHES_SPARE {
            spares.push(batch);
        }
    }

    /// Stops the source. The kernel's source detaches the probes, empties the ring and reads the last counters.
    pub fn stop(&self) {
        self.ask(Control::Stop);
    }

    /// Starts or stops counting the runs of BPF programs. Only the running kernel's source does this; others ignore it.
    pub fn count_runs(&self, on: bool) {
        self.ask(Control::CountRuns(on));
    }

    fn ask(&self, control: Control) {
        // An error means that the source has stopped already.
        let _ = self.control.send(control);
        self.waker.iter().for_each(Waker::wake);
    }
}

impl FrameSender {
    /// An empty batch: if possible the one used last, because most of it is in the caches.
    pub fn batch(&self) -> Batch {
        let room = self.budget.batch() + limits::BATCH_SLACK;
        let spare = self.spares.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Batch::with_capacity(room))
    }

    /// Sends a batch, and waits while the queue is full. Returns `false` if the receiver is dropped.
    pub fn send(&self, batch: Batch) -> bool {
        batch.is_empty() || self.batches.blocking_send(batch).is_ok()
    }

    /// Takes back the CPU time that the pipeline lends to the traced processes. It does so if the queue is three
    /// quarters full, or if every call has found it non-empty, or the pipeline busy with a batch, for too long.
    pub fn urge(&self) {
        let behind = (self.busy() || is_lent()).then(|| self.behind.get().unwrap_or_else(Instant::now));
        self.behind.set(behind);
        let (room, most) = (self.batches.capacity(), self.batches.max_capacity());
        if room < most / 4 || behind.is_some_and(|since| since.elapsed() > limits::LENT) {
            take_back();
        }
    }

    pub fn busy(&self) -> bool {
        self.batches.capacity() < self.batches.max_capacity()
    }

    pub fn is_closed(&self) -> bool {
        self.batches.is_closed()
    }

    pub fn control(&self) -> Option<Control> {
        self.control.try_recv().ok()
    }

    pub fn control_within(&self, time: Duration) -> Option<Control> {
        self.control.recv_timeout(time).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Source for Nothing {
        fn waker(&self) -> Option<Waker> {
            None
        }

        fn run(self, _: FrameSender) {}
    }

    #[test]
    fn spare_batches_are_bounded() {
        let budget = Budget::default();
        let feed = Feed::start(Nothing, Vec::new(), None, budget).expect("a thread");
        let spares = || feed.spares.lock().expect("no panic").len();
        for _ in 0..2 * limits::BATCHES_QUEUED {
            feed.recycle(Batch::with_capacity(budget.batch() + limits::BATCH_SLACK));
        }
        assert_eq!(spares(), limits::BATCHES_SPARE);
        feed.spares.lock().expect("no panic").clear();
        feed.recycle(Batch::with_capacity(limits::FRAME_MAX));
        assert_eq!(spares(), 0, "a large record made it grow");
    }
}
