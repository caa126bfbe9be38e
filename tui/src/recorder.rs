//! Writes a recording on its own thread, so that a slow disk does not at once delay the ring's reader or the screen.
//!
//! The queue is bounded. If the disk is slower than the trace, the recorder stops taking frames from the source. Events are then
//! lost in the kernel's ring, which counts them.
//!
//! A recording may consist of several consecutive files ([`RecordingFiles`]).

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{HostFrame, Unfinished};
use tracetui_events::limits;
use tracetui_events::pipeline::Pipeline;
use tracetui_events::recording::Writer;
use tracetui_events::recording::block::FileHeader;
use tracetui_events::recording::index::Totals;
use tracetui_host::priority::give_up_raised;
use tracetui_shared::kind::KINDS;
use tracetui_shared::time::BootNanos;

#[cfg(test)]
mod tests;

/// How long a write to a file may take. After that it has failed: the disk or the mount does not respond. A busy disk, or a machine
/// whose processors are all taken, needs seconds.
const STALLED: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });

/// How long a write to a stream may take. A network may pause, so this is longer.
const STREAM_STALLED: Duration = Duration::from_secs(60);

/// Bytes of one write to a stream. Each write that succeeds shows that the reader still reads.
const PIECE: usize = 4096;

/// How often to check that the output makes progress.
const LOOK: Duration = Duration::from_millis(50);

/// How long frames may wait for a full block.
const FLUSH: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 1000 });

#[derive(Debug)]
pub struct Recorder {
    jobs: Sender<Queued>,
    shared: Arc<Shared>,
    name: String,
    /// Set while the queue has no room.
    full: Option<Stall>,
}

/// The start of a pause of the output, and the bytes it had taken by then.
#[derive(Debug)]
struct Stall {
    since: Instant,
    taken: u64,
}

/// A stream that is written in pieces of [`PIECE`] bytes, and counts the bytes taken.
struct Stream<W> {
    out: W,
    taken: Arc<AtomicU64>,
}

impl<W: Write> Write for Stream<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes.get(..PIECE).unwrap_or(bytes))?;
        self.taken.fetch_add(taken as u64, Ordering::Relaxed);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[derive(Debug)]
enum Job {
    Frames(Vec<u8>),
    State(Batch),
    /// Begins the next file with this state.
    Next(Batch),
    /// Replaces the metrics beside the files.
    Metrics(String),
    End(Batch),
    /// Removes the file, since there is nothing to record. The answer is whether it was removed; if not, the recording continues.
    Withdraw(oneshot::Sender<bool>),
}

/// A job, and its place in the queue until it is done. A state is queued without room too, which then delays frames.
type Queued = (Job, Option<OwnedSemaphorePermit>);

#[derive(Debug)]
struct Shared {
    room: Arc<Semaphore>,
    failure: Mutex<Option<io::Error>>,
    written: AtomicU64,
    /// Events in the complete blocks of the output, by kind number.
    events: Mutex<[u64; KINDS]>,
    /// Bytes that a stream has taken.
    taken: Arc<AtomicU64>,
    /// For a stream: whether the time that its reader has after a signal is over.
    overdue: Option<fn() -> bool>,
    stopping: AtomicBool,
    state_due: AtomicBool,
    next_due: AtomicBool,
    remarks: Mutex<Vec<String>>,
    ended: Semaphore,
    /// Free buffers, for reuse. Mapping a large buffer for each batch would cost as much as the copy.
    spares: Mutex<Vec<Vec<u8>>>,
}

/// Opens the files of a recording, on the thread that writes them.
pub trait RecordingFiles: Send + 'static {
    type File: Write;

    fn next(&mut self) -> io::Result<(Self::File, FileHeader)>;

    /// The size in bytes at which the next file is due; `None` if there is only one file.
    fn size(&self) -> Option<u64> {
        None
    }

    /// The time after which the next file is due; `None` if only its size matters.
    fn time(&self) -> Option<Duration> {
        None
    }

    /// Replaces the metrics beside the files.
    fn metrics(&mut self, _text: &str) {}

    /// Called when the second-to-last file opened is fully written.
    fn ended(&mut self, _: Self::File) -> io::Result<()> {
        Ok(())
    }

    /// Removes the last file opened, and returns whether it did. A removed file is not written to any more.
    fn withdraw(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    /// The messages about the files of a recording that ended after `written` bytes in all, one line each. Empty if there is nothing
    /// to report but the size.
    fn remarks(&self, _written: u64) -> Vec<String> {
        Vec::new()
    }
}

/// A single file.
impl<W: Write + Send + 'static> RecordingFiles for Option<(W, FileHeader)> {
    type File = W;

    fn next(&mut self) -> io::Result<(W, FileHeader)> {
        self.take().ok_or_else(|| io::Error::other("there is only one file"))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The output took nothing for this many seconds.
    #[error("no progress for {0} s")]
    Stalled(u64),
}

impl Recorder {
    /// Starts writing consecutive files. `prepare` runs first, on the thread that opens and writes them.
    pub fn start_files<F: RecordingFiles>(
        files: F,
        name: String,
        prepare: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<Recorder> {
        Recorder::start_with(files, name, prepare, Arc::default(), None)
    }

    /// Starts writing to a stream. Its reader may pause; events lost meanwhile are counted. Once the trace is ending and `overdue`
    /// reports that a signal came long enough ago, a pause of [`limits::PATIENCE`] ends the recording.
    pub fn start_stream(
        out: impl Write + Send + 'static,
        name: String,
        header: &FileHeader,
        overdue: fn() -> bool,
    ) -> io::Result<Recorder> {
        let taken = Arc::default();
        let stream = Some((Stream { out, taken: Arc::clone(&taken) }, *header));
        Recorder::start_with(stream, name, || Ok(()), taken, Some(overdue))
    }

    fn start_with<F: RecordingFiles>(
        mut files: F,
        name: String,
        prepare: impl FnOnce() -> io::Result<()> + Send + 'static,
        taken: Arc<AtomicU64>,
        overdue: Option<fn() -> bool>,
    ) -> io::Result<Recorder> {
        let (jobs, todo) = channel();
        let shared = Arc::new(Shared {
            room: Arc::new(Semaphore::new(limits::BLOCKS_QUEUED)),
            failure: Mutex::new(None),
            written: AtomicU64::new(0),
            events: Mutex::default(),
            taken,
            overdue,
            stopping: AtomicBool::new(false),
            state_due: AtomicBool::new(false),
            next_due: AtomicBool::new(false),
            remarks: Mutex::new(Vec::new()),
            ended: Semaphore::new(0),
            spares: Mutex::default(),
        });
        let its = Arc::clone(&shared);
        let (started, start) = channel();
        let run = move || {
            // The main thread may have a raised one.
            give_up_raised();
            let first = prepare().and_then(|()| files.next());
            let begun = first.and_then(|(file, header)| {
                let writer = Writer::new(file, &header).inspect_err(|_| {
                    // If this fails, an empty file remains. The first error is the one to report.
                    let _ = files.withdraw();
                })?;
                Ok((writer, header))
            });
            match begun {
                Ok((writer, header)) => {
                    its.written.store(writer.written(), Ordering::Relaxed);
                    let _ = started.send(Ok(()));
                    let (begun_at, totals) = (Instant::now(), Totals::default());
                    let writing = Writing { begun: 0, begun_at, before: 0, totals, part: header.part, files };
                    write(writing, writer, &todo, &its);
                }
                Err(error) => drop(started.send(Err(error))),
            }
        };
        std::thread::Builder::new().name("recording".into()).spawn(run)?;
        start.recv().map_err(|_| io::Error::other("the thread panicked"))??;
        Ok(Recorder { jobs, shared, name, full: None })
    }

    /// Notes that the trace is ending. After a signal, the recorder then waits less long for the reader of a stream.
    pub fn stopping(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Events in the written blocks, by kind number. After a failure, these are the readable events. The number of `bpf` events may be
    /// a little too high, since several frames may become one event.
    pub fn events(&self) -> [u64; KINDS] {
        *self.shared.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until frames can be added. If it is cancelled and called again, the time without room continues to count.
    /// After an error, the recording has ended.
    pub async fn ready(&mut self) -> Result<(), Failed> {
        let Recorder { shared, full, .. } = self;
        let room = shared.patiently(full.get_or_insert_with(|| shared.stall()), shared.room.acquire()).await;
        let room = room.map(drop);
        self.failure()?;
        room?;
        self.full = None;
        Ok(())
    }

    pub fn has_room(&self) -> bool {
        self.shared.room.available_permits() > 0
    }

    /// Adds a batch of frames, unchanged. Call it before the pipeline takes the batch.
    pub fn frames(&self, batch: &Batch) {
        let mut frames = self.shared.spare();
        frames.extend_from_slice(batch.bytes());
        self.add(Job::Frames(frames));
    }

    /// Replaces the metrics beside the files of `record --rotate`.
    pub fn metrics(&self, text: String) {
        self.add(Job::Metrics(text));
    }

    /// The messages about the files, once the recording has ended or failed.
    pub fn remarks(&self) -> Vec<String> {
        self.shared.remarks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds the state of `pipeline`, which has taken all frames so far, if one is due, and begins the next file if that is due.
    pub fn state_if_due(&self, pipeline: &Pipeline) {
        if self.shared.next_due.swap(false, Ordering::Relaxed) {
            self.add(Job::Next(pipeline.state()));
        } else if self.shared.state_due.swap(false, Ordering::Relaxed) {
            self.add(Job::State(pipeline.state()));
        }
    }

    /// Adds the final state, and waits until everything is written.
    pub async fn end(&self, pipeline: &Pipeline) -> Result<u64, Failed> {
        self.stopping();
        self.add(Job::End(pipeline.state()));
        let ended = self.shared.patiently(&mut self.shared.stall(), self.shared.ended.acquire()).await;
        ended.map(drop)?;
        self.failure()?;
        Ok(self.written())
    }

    /// Removes the file of a recording that has nothing to record, and returns whether it did. It removes only a file that is new and
    /// still has its name. Otherwise the recording continues.
    pub async fn withdraw(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.add(Job::Withdraw(answer));
        matches!(self.shared.patiently(&mut self.shared.stall(), answered).await, Ok(Ok(true)))
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

/// The files of a recording while they are written.
struct Writing<F> {
    files: F,
    /// Bytes of the file after its first state.
    begun: u64,
    begun_at: Instant,
    /// Bytes of the earlier files. `totals` has the sums of their blocks.
    before: u64,
    totals: Totals,
    part: u32,
}

impl<F: RecordingFiles> Writing<F> {
    /// Whether the next file is due. This leaves room for the final state, which is about as large as the first one.
    fn next_is_due(&self, writer: &Writer<F::File>) -> bool {
        if self.files.time().is_some_and(|time| self.begun_at.elapsed() >= time) {
            return true;
        }
        // Otherwise the states at both ends would be most of the file.
        let has_frames = writer.written() - self.begun > self.begun;
        has_frames && self.files.size().is_some_and(|size| writer.written().saturating_add(self.begun) >= size)
    }

    /// Begins the next file with the state after the frames so far, and ends the current file. If the next file cannot be begun, the
    /// recording ends with the current one.
    fn next(&mut self, mut writer: Writer<F::File>, state: &Batch) -> io::Result<Writer<F::File>> {
        let next = self.files.next().and_then(|(file, header)| {
            let next = writer.next(file, &header, state);
            if next.is_err() {
                // If this fails, the file remains. The first error is the one to report.
                let _ = self.files.withdraw();
            }
            next
        });
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                if writer.batch(unfinished().bytes()).is_ok() {
                    // The first error is the one to report.
                    let _ = writer.end(state);
                }
                return Err(error);
            }
        };
        let totals = self.totals.and(writer.totals());
        let (file, written) = writer.end_part(self.part, state)?;
        self.files.ended(file)?;
        self.before += written;
        self.totals = totals;
        (self.begun, self.begun_at) = (next.written(), Instant::now());
        self.part += 1;
        Ok(next)
    }
}

/// The frame of a recording that ends before its trace.
pub(crate) fn unfinished() -> Batch {
    let mut batch = Batch::default();
    HostFrame::Unfinished(Unfinished { at: BootNanos(0) }).push(BootNanos(0), &mut batch);
    batch
}

impl Shared {
    /// What the output has taken, as far as the recorder knows. It grows if the output makes progress.
    fn bytes_taken(&self) -> u64 {
        self.written.load(Ordering::Relaxed) + self.taken.load(Ordering::Relaxed)
    }

    /// Updates the number of written events, from the earlier files and the current one.
    fn count<F, W: Write>(&self, writing: &Writing<F>, writer: &Writer<W>) {
        let events = writing.totals.and(writer.totals()).events;
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) = events;
    }

    fn stall(&self) -> Stall {
        Stall { since: Instant::now(), taken: self.bytes_taken() }
    }

    fn patience(&self) -> Duration {
        match self.overdue {
            None => STALLED,
            Some(overdue) if self.stopping.load(Ordering::Relaxed) && overdue() => limits::PATIENCE,
            Some(_) => STREAM_STALLED,
        }
    }

    /// Waits for `what` as long as the output makes progress.
    async fn patiently<T>(&self, stall: &mut Stall, what: impl Future<Output = T>) -> Result<T, Failed> {
        let mut what = std::pin::pin!(what);
        loop {
            if stall.taken != self.bytes_taken() {
                *stall = self.stall();
            }
            let patience = self.patience();
            let over = stall.since.elapsed() >= patience;
            match tokio::time::timeout(if over { Duration::ZERO } else { LOOK }, &mut what).await {
                Ok(done) => return Ok(done),
                Err(_) if over => return Err(Failed::Stalled(patience.as_secs())),
                Err(_) => {}
            }
        }
    }

    /// An empty buffer with room for any usual batch. A buffer that has to grow is freed instead of reused.
    fn spare(&self) -> Vec<u8> {
        let spare = self.spares.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(limits::BATCH + limits::BATCH_SLACK))
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

/// Writes and counts the waiting frames, before a later step that may fail.
fn flush<F: RecordingFiles>(writer: &mut Writer<F::File>, writing: &Writing<F>, shared: &Shared) -> io::Result<()> {
    let flushed = writer.flush();
    shared.count(writing, writer);
    flushed
}

fn write<F: RecordingFiles>(
    mut writing: Writing<F>,
    mut writer: Writer<F::File>,
    jobs: &Receiver<Queued>,
    shared: &Shared,
) {
    let mut state_asked = false;
    // When to write the frames that do not fill a block yet.
    let mut flush_at = Instant::now() + FLUSH;
    let result = loop {
        let received = jobs.recv_timeout(flush_at.saturating_duration_since(Instant::now()));
        let (job, _room) = match received {
            Ok((job, room)) => (Some(job), room),
            Err(RecvTimeoutError::Timeout) => (None, None),
            // The recording has no end, as after a kill.
            Err(RecvTimeoutError::Disconnected) => break writer.flush(),
        };
        let mut done = match job {
            Some(Job::Frames(frames)) => {
                let done = writer.batch(&frames);
                shared.keep(frames);
                done
            }
            Some(Job::State(state)) => writer.state(&state),
            Some(Job::Metrics(text)) => {
                writing.files.metrics(&text);
                Ok(())
            }
            // The next file may have been requested twice.
            Some(Job::Next(_)) if !writing.next_is_due(&writer) => Ok(()),
            Some(Job::Next(state)) => {
                if let Err(error) = flush(&mut writer, &writing, shared) {
                    break Err(error);
                }
                match writing.next(writer, &state) {
                    Ok(next) => {
                        writer = next;
                        Ok(())
                    }
                    Err(error) => break Err(error),
                }
            }
            Some(Job::End(state)) => {
                let ended = flush(&mut writer, &writing, shared).and_then(|()| writer.end(&state));
                break ended.map(|(_, written)| shared.written.store(writing.before + written, Ordering::Relaxed));
            }
            Some(Job::Withdraw(answer)) => {
                let removed = writing.files.withdraw().unwrap_or(false);
                // An error means that nobody waits for the answer any more.
                let _ = answer.send(removed);
                if removed {
                    break Ok(());
                }
                Ok(())
            }
            None => Ok(()),
        };
        if Instant::now() >= flush_at {
            done = done.and_then(|()| writer.flush());
            flush_at = Instant::now() + FLUSH;
        }
        shared.written.store(writing.before + writer.written(), Ordering::Relaxed);
        shared.count(&writing, &writer);
        // Frames that were queued before the requested state must not request another one.
        if !std::mem::replace(&mut state_asked, writer.state_is_due()) {
            shared.state_due.fetch_or(state_asked, Ordering::Relaxed);
        }
        shared.next_due.store(writing.next_is_due(&writer), Ordering::Relaxed);
        if let Err(error) = done {
            break Err(error);
        }
    };
    let remarks = writing.files.remarks(shared.written.load(Ordering::Relaxed));
    *shared.remarks.lock().unwrap_or_else(PoisonError::into_inner) = remarks;
    *shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = result.err();
    shared.room.close();
    shared.ended.add_permits(1);
}
