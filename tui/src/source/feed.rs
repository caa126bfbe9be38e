//! A [`Source`] of frames on its own thread, and the queue between it and the pipeline.

use super::priority::take_back;
use super::wake::Waker;
use crate::budget::Budget;
use crate::frame::Batch;
use crate::limits;
use std::io;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;
use tokio::sync::mpsc;

/// An origin of frames: the running kernel ([`super::live`]), or a function ([`super::synthetic`]).
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
    spare: std_mpsc::SyncSender<Batch>,
    control: std_mpsc::Sender<Control>,
    waker: Option<Waker>,
    budget: Budget,
}

/// The output of a source, and the requests to it.
#[derive(Debug)]
pub struct FrameSender {
    batches: mpsc::Sender<Batch>,
    spares: std_mpsc::Receiver<Batch>,
    control: std_mpsc::Receiver<Control>,
    budget: Budget,
}

/// A request to a running source.
#[derive(Debug)]
pub enum Control {
    /// Sends the remaining frames, and stops.
    Stop,
}

/// Reads the running processes, and passes them in batches to a function until that returns `false`.
pub type Scan = Box<dyn FnOnce(&mut dyn FnMut(Batch) -> bool) + Send>;

impl Feed {
    /// Starts a source. The batches of `first` are sent before all others; `scan` runs once, concurrently with the
    /// source.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(source: impl Source, first: Vec<Batch>, scan: Option<Scan>, budget: Budget) -> io::Result<Feed> {
        let (out, batches) = mpsc::channel(limits::BATCHES_QUEUED);
        let (spare, spares) = std_mpsc::sync_channel(limits::BATCHES_SPARE);
        let (control, controls) = std_mpsc::channel();
        let (sent_first, wait_for_first) = std_mpsc::channel::<()>();
        if let Some(scan) = scan {
            // A weak sender: the stop of the trace must not wait for the scan, which a process can block (for example
            // by a FUSE page in its command line).
            let out = out.downgrade();
            let run = move || {
                // Nothing is ever sent. The call returns when the other end is dropped.
                let _ = wait_for_first.recv();
                scan(&mut |batch| out.upgrade().is_some_and(|out| out.blocking_send(batch).is_ok()));
            };
            std::thread::Builder::new().name("scan".into()).spawn(run)?;
        }
        let waker = source.waker();
        let out = FrameSender { batches: out, spares, control: controls, budget };
        let run = move || {
            if first.into_iter().all(|batch| out.send(batch)) {
                drop(sent_first);
                source.run(out);
            }
        };
        std::thread::Builder::new().name("source".into()).spawn(run)?;
        Ok(Feed { batches, spare, control, waker, budget })
    }

    /// Waits for the next frames; `None` when the source has stopped. Cancel safe.
    pub async fn next(&mut self) -> Option<Batch> {
        self.batches.recv().await
    }

    /// The next frames, if any are queued.
    pub fn waiting(&mut self) -> Option<Batch> {
        self.batches.try_recv().ok()
    }

    /// The number of queued batches.
    pub fn queued(&self) -> usize {
        self.batches.len()
    }

    /// Returns a processed batch for reuse. It is freed if there are enough spare ones, if a large record made it grow,
    /// or if the source has stopped.
    pub fn recycle(&self, batch: Batch) {
        if self.budget.is_batch(batch.room()) {
            let _ = self.spare.try_send(batch);
        }
    }

    /// Stops the source. The kernel's source detaches the probes, empties the ring and reads the last counters.
    pub fn stop(&self) {
        // An error means that the source has stopped already.
        let _ = self.control.send(Control::Stop);
        self.waker.iter().for_each(Waker::wake);
    }
}

impl FrameSender {
    /// An empty batch: a reused one if possible.
    pub fn batch(&self) -> Batch {
        let room = self.budget.batch() + limits::BATCH_SLACK;
        self.spares.try_recv().unwrap_or_else(|_| Batch::with_capacity(room))
    }

    /// The division of memory.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Sends a batch, and waits while the queue is full. Returns `false` if the receiver is dropped.
    pub fn send(&self, batch: Batch) -> bool {
        if self.batches.capacity() < limits::BATCHES_QUEUED / 2 {
            take_back();
        }
        batch.is_empty() || self.batches.blocking_send(batch).is_ok()
    }

    /// Sends a batch without frames: there are no more for now. Returns `false` if the receiver is dropped.
    pub fn send_pause(&self) -> bool {
        self.batches.blocking_send(Batch::default()).is_ok()
    }

    /// Whether batches are queued.
    pub fn busy(&self) -> bool {
        self.batches.capacity() < self.batches.max_capacity()
    }

    /// Whether the receiver is dropped.
    pub fn is_closed(&self) -> bool {
        self.batches.is_closed()
    }

    /// The next request, if any.
    pub fn control(&self) -> Option<Control> {
        self.control.try_recv().ok()
    }

    /// Waits for the next request, at most for `time`.
    pub fn control_within(&self, time: Duration) -> Option<Control> {
        self.control.recv_timeout(time).ok()
    }
}
