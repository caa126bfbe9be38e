//! Writes a recording on a thread of its own, so that a slow disk delays neither the ring's reader nor the screen at once.
//!
//! The queue is bounded. If the disk is slower than the trace, no more frames are taken from the source, and events are lost
//! where they are counted: in the kernel's ring.

use super::Writer;
use super::block::FileHeader;
use crate::frame::Batch;
use crate::limits;
use crate::pipeline::Pipeline;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A write of the recording that takes longer than this has failed: the disk or the mount does not answer.
const STALLED: Duration = Duration::from_secs(2);

/// Frames wait at most so long for a full block.
const FLUSH: Duration = Duration::from_secs(1);

/// A recording that is being written.
#[derive(Debug)]
pub struct Recorder {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
    name: String,
}

#[derive(Debug)]
enum Job {
    Frames(Vec<u8>),
    State(Batch),
    End(Batch),
}

#[derive(Debug)]
struct Shared {
    /// Room for jobs.
    room: Semaphore,
    failure: Mutex<Option<io::Error>>,
    written: AtomicU64,
    state_due: AtomicBool,
    ended: Semaphore,
}

/// The reason why a recording stopped.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The output cannot be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The output did not take anything for two seconds.
    #[error("no progress for {} s", STALLED.as_secs())]
    Stalled,
}

impl Recorder {
    /// Starts writing. `name` is the name of the output, for messages.
    ///
    /// # Errors
    /// If the file header cannot be written, or no thread can be started.
    pub fn start(out: impl Write + Send + 'static, name: String, header: &FileHeader) -> io::Result<Recorder> {
        let writer = Writer::new(out, header)?;
        let (jobs, todo) = channel();
        let shared = Arc::new(Shared {
            room: Semaphore::new(limits::BLOCKS_QUEUED),
            failure: Mutex::new(None),
            written: AtomicU64::new(writer.written()),
            state_due: AtomicBool::new(false),
            ended: Semaphore::new(0),
        });
        let its = Arc::clone(&shared);
        std::thread::Builder::new().name("recording".into()).spawn(move || write(writer, &todo, &its))?;
        Ok(Recorder { jobs, shared, name })
    }

    /// The name of the output.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Waits until frames can be added. Can be cancelled.
    ///
    /// # Errors
    /// If writing failed. Then the recording has ended.
    pub async fn ready(&self) -> Result<(), Failed> {
        let room = tokio::time::timeout(STALLED, self.shared.room.acquire()).await;
        self.failure()?;
        drop(room.map_err(|_| Failed::Stalled)?);
        Ok(())
    }

    /// Adds frames, as they came, before the pipeline takes them.
    pub fn frames(&self, batch: &Batch) {
        self.add(Job::Frames(batch.bytes().to_vec()));
    }

    /// Adds the state of the pipeline that was fed all frames so far, if one is due.
    pub fn state_if_due(&self, pipeline: &Pipeline) {
        if self.shared.state_due.swap(false, Ordering::Relaxed) {
            self.add(Job::State(pipeline.state()));
        }
    }

    /// Adds the final state, and waits until everything is written.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn end(self, pipeline: &Pipeline) -> Result<u64, Failed> {
        self.add(Job::End(pipeline.state()));
        let mut written = self.written();
        while tokio::time::timeout(STALLED, self.shared.ended.acquire()).await.is_err() {
            if std::mem::replace(&mut written, self.written()) == self.written() {
                return Err(Failed::Stalled);
            }
        }
        self.failure()?;
        Ok(self.written())
    }

    fn add(&self, job: Job) {
        // What goes beyond the room waits too: the next frames are taken when there is room again.
        if let Ok(room) = self.shared.room.try_acquire() {
            room.forget();
        }
        // An error means that writing failed, which `ready` and `end` report.
        let _ = self.jobs.send(job);
    }

    fn failure(&self) -> io::Result<()> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

fn write(mut writer: Writer<impl Write>, jobs: &Receiver<Job>, shared: &Shared) {
    let result = loop {
        let done = match jobs.recv_timeout(FLUSH) {
            Ok(Job::Frames(frames)) => writer.batch(&frames),
            Ok(Job::State(state)) => writer.state(&state),
            Ok(Job::End(state)) => {
                break writer.end(&state).map(|(_, written)| shared.written.store(written, Ordering::Relaxed));
            }
            Err(RecvTimeoutError::Timeout) => writer.flush(),
            // Without an end, as after a kill.
            Err(RecvTimeoutError::Disconnected) => break writer.flush(),
        };
        shared.written.store(writer.written(), Ordering::Relaxed);
        shared.state_due.store(writer.state_is_due(), Ordering::Relaxed);
        if let Err(error) = done {
            break Err(error);
        }
        shared.room.add_permits(1);
    };
    *shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = result.err();
    shared.room.close();
    shared.ended.add_permits(1);
}
