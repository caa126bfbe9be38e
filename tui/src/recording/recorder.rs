//! Writes a recording on a thread of its own, so that a slow disk delays neither the ring's reader nor the screen at once.
//!
//! The queue is bounded. If the disk is slower than the trace, no more frames are taken from the source, and events are lost
//! where they are counted: in the kernel's ring.

use super::Writer;
use super::block::FileHeader;
use super::index::KeysOf;
use crate::frame::Batch;
use crate::limits;
use crate::pipeline::Pipeline;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A write of the recording that takes longer than this has failed: the disk or the mount does not answer.
const STALLED: Duration = Duration::from_secs(2);

/// Frames wait at most so long for a full block.
const FLUSH: Duration = Duration::from_secs(1);

/// A recording that is being written.
#[derive(Debug)]
pub struct Recorder {
    jobs: Sender<Queued>,
    shared: Arc<Shared>,
    name: String,
    /// Since when there has been no room.
    full_since: Option<Instant>,
}

#[derive(Debug)]
enum Job {
    Frames(Vec<u8>),
    State(Batch),
    End(Batch),
}

/// A job and the room that it takes until it is done. A state may go beyond the room: then no frames are taken until there is
/// room again.
type Queued = (Job, Option<OwnedSemaphorePermit>);

#[derive(Debug)]
struct Shared {
    room: Arc<Semaphore>,
    failure: Mutex<Option<io::Error>>,
    written: AtomicU64,
    state_due: AtomicBool,
    ended: Semaphore,
    /// Buffers that are free again: to map a large one anew for each batch costs as much as the copy.
    spares: Mutex<Vec<Vec<u8>>>,
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
    /// Starts writing. `name` is the name of the output, for messages; `keys` finds the keys for the index.
    ///
    /// # Errors
    /// If the file header cannot be written, or no thread can be started.
    pub fn start(
        out: impl Write + Send + 'static,
        name: String,
        header: &FileHeader,
        keys: KeysOf,
    ) -> io::Result<Recorder> {
        let writer = Writer::new(out, header, keys)?;
        let (jobs, todo) = channel();
        let shared = Arc::new(Shared {
            room: Arc::new(Semaphore::new(limits::BLOCKS_QUEUED)),
            failure: Mutex::new(None),
            written: AtomicU64::new(writer.written()),
            state_due: AtomicBool::new(false),
            ended: Semaphore::new(0),
            spares: Mutex::default(),
        });
        let its = Arc::clone(&shared);
        std::thread::Builder::new().name("recording".into()).spawn(move || write(writer, &todo, &its))?;
        Ok(Recorder { jobs, shared, name, full_since: None })
    }

    /// The name of the output.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Waits until frames can be added. Can be cancelled and called again: the time without room goes on.
    ///
    /// # Errors
    /// If writing failed. Then the recording has ended.
    pub async fn ready(&mut self) -> Result<(), Failed> {
        let patience = *self.full_since.get_or_insert_with(Instant::now) + STALLED;
        let room = tokio::time::timeout_at(patience.into(), self.shared.room.acquire()).await;
        self.failure()?;
        drop(room.map_err(|_| Failed::Stalled)?);
        self.full_since = None;
        Ok(())
    }

    /// Adds frames, as they came, before the pipeline takes them.
    pub fn frames(&self, batch: &Batch) {
        let mut frames = self.shared.spare();
        frames.extend_from_slice(batch.bytes());
        self.add(Job::Frames(frames));
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
            if self.written() == written {
                return Err(Failed::Stalled);
            }
            written = self.written();
        }
        self.failure()?;
        Ok(self.written())
    }

    fn add(&self, job: Job) {
        let room = Arc::clone(&self.shared.room).try_acquire_owned().ok();
        // An error means that writing failed, which `ready` and `end` report.
        let _ = self.jobs.send((job, room));
    }

    fn failure(&self) -> io::Result<()> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

impl Shared {
    /// An empty buffer.
    fn spare(&self) -> Vec<u8> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keeps a buffer for the next batch, unless a large record made it grow.
    fn keep(&self, mut buffer: Vec<u8>) {
        let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        if spares.len() < limits::BLOCKS_QUEUED && buffer.capacity() <= limits::BATCH + limits::BATCH_SLACK {
            buffer.clear();
            spares.push(buffer);
        }
    }
}

fn write(mut writer: Writer<impl Write>, jobs: &Receiver<Queued>, shared: &Shared) {
    // When the frames that are not in a block yet are written.
    let mut flush_at = Instant::now() + FLUSH;
    let result = loop {
        let received = jobs.recv_timeout(flush_at.saturating_duration_since(Instant::now()));
        let (job, _room) = match received {
            Ok((job, room)) => (Some(job), room),
            Err(RecvTimeoutError::Timeout) => (None, None),
            // Without an end, as after a kill.
            Err(RecvTimeoutError::Disconnected) => break writer.flush(),
        };
        let mut done = match job {
            Some(Job::Frames(frames)) => {
                let done = writer.batch(&frames);
                shared.keep(frames);
                done
            }
            Some(Job::State(state)) => writer.state(&state),
            Some(Job::End(state)) => {
                break writer.end(&state).map(|(_, written)| shared.written.store(written, Ordering::Relaxed));
            }
            None => Ok(()),
        };
        if Instant::now() >= flush_at {
            done = done.and_then(|()| writer.flush());
            flush_at = Instant::now() + FLUSH;
        }
        shared.written.store(writer.written(), Ordering::Relaxed);
        shared.state_due.store(writer.state_is_due(), Ordering::Relaxed);
        if let Err(error) = done {
            break Err(error);
        }
    };
    *shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = result.err();
    shared.room.close();
    shared.ended.add_permits(1);
}
