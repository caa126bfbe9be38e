//! A [`Source`] of frames on a thread of its own, and the queue behind it.

use super::priority::take_back;
use super::wake::Waker;
use crate::budget::Budget;
use crate::frame::Batch;
use crate::limits;
use std::io;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What frames come from: the running kernel ([`super::live`]), or a function that makes them ([`super::synthetic`]).
pub trait Source: Send + 'static {
    /// Wakes [`run`](Self::run), so that it looks at [`FrameSender::control`]; `None` when it waits there.
    fn waker(&self) -> Option<Waker>;

    /// Sends frames until there are no more, until [`Control::Stop`], or until nobody listens. The last frames are the final
    /// counters, if the source has any.
    fn run(self, out: FrameSender);
}

/// A running source. It ends by itself when this is dropped.
#[derive(Debug)]
pub struct Feed {
    /// Frames, in the order of the source. Closed after its last ones.
    batches: mpsc::Receiver<Batch>,
    spare: std_mpsc::SyncSender<Batch>,
    control: std_mpsc::Sender<Control>,
    waker: Option<Waker>,
    budget: Budget,
}

/// Where a source sends to, and what is asked of it.
#[derive(Debug)]
pub struct FrameSender {
    batches: mpsc::Sender<Batch>,
    spares: std_mpsc::Receiver<Batch>,
    control: std_mpsc::Receiver<Control>,
    budget: Budget,
}

/// What can be asked of a running source.
#[derive(Debug)]
pub enum Control {
    /// To send what is left, and to end.
    Stop,
}

/// Reads what runs already, and hands it on in batches until the function that takes them returns `false`.
pub type Scan = Box<dyn FnOnce(&mut dyn FnMut(Batch) -> bool) + Send>;

impl Feed {
    /// Starts a source. `first` is sent before anything else; `scan` runs beside the source, once.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(source: impl Source, first: Vec<Batch>, scan: Option<Scan>, budget: Budget) -> io::Result<Feed> {
        let (out, batches) = mpsc::channel(limits::BATCHES_QUEUED);
        let (spare, spares) = std_mpsc::sync_channel(limits::BATCHES_SPARE);
        let (control, controls) = std_mpsc::channel();
        let (sent_first, wait_for_first) = std_mpsc::channel::<()>();
        if let Some(scan) = scan {
            // Weak: a process can hold up the scan (a FUSE page under its command line), and the end does not wait for it.
            let out = out.downgrade();
            let run = move || {
                // Nothing is sent, but the other end goes away.
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

    /// Waits for the next frames; `None` when the source has ended. Can be given up and called again.
    pub async fn next(&mut self) -> Option<Batch> {
        self.batches.recv().await
    }

    /// Frames that wait already.
    pub fn waiting(&mut self) -> Option<Batch> {
        self.batches.try_recv().ok()
    }

    /// How many batches wait.
    pub fn queued(&self) -> usize {
        self.batches.len()
    }

    /// Gives back a batch whose events are done with, to be filled again. It is freed when enough wait for that, when one large
    /// record made it grow, and when the source has ended.
    pub fn recycle(&self, batch: Batch) {
        if self.budget.is_batch(batch.room()) {
            let _ = self.spare.try_send(batch);
        }
    }

    /// Asks the source to end: the kernel's detaches the probes, empties the ring and reads the last counters.
    pub fn stop(&self) {
        // The source may have ended already.
        let _ = self.control.send(Control::Stop);
        self.waker.iter().for_each(Waker::wake);
    }
}

impl FrameSender {
    /// An empty batch.
    pub fn batch(&self) -> Batch {
        let room = self.budget.batch() + limits::BATCH_SLACK;
        self.spares.try_recv().unwrap_or_else(|_| Batch::with_capacity(room))
    }

    /// How memory is divided.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// Sends a batch, and waits where the queue is full; `false` when nobody listens.
    pub fn send(&self, batch: Batch) -> bool {
        if self.batches.capacity() < limits::BATCHES_QUEUED / 2 {
            take_back();
        }
        batch.is_empty() || self.batches.blocking_send(batch).is_ok()
    }

    /// Whether batches wait in the queue.
    pub fn busy(&self) -> bool {
        self.batches.capacity() < self.batches.max_capacity()
    }

    /// Whether nobody listens.
    pub fn is_closed(&self) -> bool {
        self.batches.is_closed()
    }

    /// What was asked for next.
    pub fn control(&self) -> Option<Control> {
        self.control.try_recv().ok()
    }

    /// The same, waiting for it.
    pub fn control_within(&self, time: Duration) -> Option<Control> {
        self.control.recv_timeout(time).ok()
    }
}
