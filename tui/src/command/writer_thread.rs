//! A descriptor with a writer thread: if its reader stalls, only that thread waits.
//!
//! Output waits in a queue. The producer checks [`WriterThread::full`] first, and [`WriterThread::written`] returns what the system
//! has accepted. [`Patience`] detects a stalled reader. [`WriterThread::abandon`] then ends the thread, even during a write;
//! the accepted part of that write is counted.
//!
//! Regular files need no thread: a write to them does not wait for a reader.

use super::terminal::raw_mode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracetui_events::limits;
use tracetui_host::priority::give_up_raised;

/// Whether the last line on stderr may lack its end.
pub(super) static UNENDED: AtomicBool = AtomicBool::new(false);

const SPARE: usize = 8;

/// How often to check whether the system took anything.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long the thread may take to end.
const ENDING: Duration = Duration::from_millis(300);

/// The signal that ends a waiting write. The kernel ignores it by default, and nothing else in tracetui uses it.
const KICK: libc::c_int = libc::SIGURG;

#[derive(Debug)]
pub(super) struct WriterThread {
    shared: Arc<Shared>,
}

/// A writer into the queue. If the descriptor fails, the next write or flush returns the error.
#[derive(Clone, Debug)]
pub(super) struct QueueWriter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: File,
    /// Whether the producer itself writes, without a thread.
    direct: bool,
    /// Whether the output is tracetui's own lines, for a terminal that may be raw.
    lines: bool,
    state: Mutex<State>,
    /// Wakes the thread if there is work.
    work: Condvar,
    /// Wakes the owner after a write or a failure.
    changed: tokio::sync::Notify,
    /// Bytes that the system has taken.
    written: Arc<AtomicU64>,
    abandoned: AtomicBool,
    ended: AtomicBool,
    /// The id of the thread; 0 until it runs.
    thread: AtomicI32,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    /// Bytes handed over.
    handed: u64,
    closed: bool,
    failed: Option<io::Error>,
}

/// The same error once more.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

impl WriterThread {
    /// A writer to one of the process's own descriptors.
    pub(super) fn to(fd: BorrowedFd<'_>) -> io::Result<WriterThread> {
        WriterThread::with(File::from(fd.try_clone_to_owned()?), fd.is_terminal())
    }

    pub(super) fn new(file: File) -> io::Result<WriterThread> {
        WriterThread::with(file, false)
    }

    fn with(file: File, lines: bool) -> io::Result<WriterThread> {
        let direct = file.metadata().is_ok_and(|about| about.is_file() || is_memory(&about));
        let shared = Arc::new(Shared {
            file,
            direct,
            lines,
            state: Mutex::default(),
            work: Condvar::new(),
            changed: tokio::sync::Notify::new(),
            written: Arc::default(),
            abandoned: AtomicBool::new(false),
            ended: AtomicBool::new(direct),
            thread: AtomicI32::new(0),
        });
        if !direct {
            start(&shared)?;
        }
        Ok(WriterThread { shared })
    }

    pub(super) fn queue(&self) -> QueueWriter {
        QueueWriter(Arc::clone(&self.shared))
    }

    /// The counter of bytes that the system has taken, which keeps growing.
    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.written)
    }

    pub(super) fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Acquire)
    }

    /// Whether output waits that can still be written.
    pub(super) fn pending(&self) -> bool {
        let state = self.shared.lock();
        state.failed.is_none() && state.handed > self.written()
    }

    /// Whether the queue is full, so that nothing more should be handed over.
    pub(super) fn full(&self) -> bool {
        let state = self.shared.lock();
        state.failed.is_none() && state.handed.saturating_sub(self.written()) >= limits::OUTPUT_QUEUED as u64
    }

    pub(super) fn failure(&self) -> Option<io::Error> {
        self.shared.lock().failed.as_ref().map(copy)
    }

    /// Waits for a write or a failure. Can be cancelled and called again.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// Waits until all output is written, or the descriptor fails. Abandons the rest and returns `false` if nothing is taken for
    /// `patience` and `may_give_up` agrees.
    pub(super) fn finish(&self, patience: Duration, may_give_up: impl Fn() -> bool) -> bool {
        let mut patience = Patience::of(self, patience);
        let mut looked = Instant::now();
        while self.pending() {
            std::thread::sleep(Duration::from_millis(1));
            if looked.elapsed() >= POLL_INTERVAL {
                looked = Instant::now();
                if patience.over(self) && may_give_up() {
                    self.abandon();
                    return false;
                }
            }
        }
        true
    }

    /// Drops the queued output. Only the bytes that the system accepted count as written.
    pub(super) fn abandon(&self) {
        self.shared.fail(ErrorKind::TimedOut.into());
        self.shared.abandoned.store(true, Ordering::Release);
        self.shared.work.notify_all();
        let began = Instant::now();
        // A kick just before the write has no effect, so kick more than once.
        while !self.shared.ended.load(Ordering::Acquire) && began.elapsed() < ENDING {
            self.kick();
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Interrupts a blocked write, so that it returns the accepted bytes.
    fn kick(&self) {
        let thread = self.shared.thread.load(Ordering::Acquire);
        if thread != 0 && !self.shared.ended.load(Ordering::Acquire) {
            // pthread_kill(3) of musl is tkill(2), which the thread may not call: it reaches other processes too.
            // SAFETY: the call takes integers. Should the thread have ended just now, another one of this process may have its id,
            // for which the handler does nothing.
            unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, KICK) };
        }
    }
}

impl Drop for WriterThread {
    /// The thread ends by itself once all is written. It is not waited for: it may never be.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl Write for QueueWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if let Some(failed) = &state.failed {
            return Err(copy(failed));
        }
        if self.0.direct {
            drop(state);
            let written = self.0.write(bytes);
            let mut state = self.0.lock();
            return match written {
                Ok(written) => {
                    state.handed += written as u64;
                    Ok(written)
                }
                Err(error) => {
                    state.failed = (error.kind() != ErrorKind::Interrupted).then(|| copy(&error));
                    Err(error)
                }
            };
        }
        let mut buffer = state.spare.pop().unwrap_or_default();
        buffer.extend_from_slice(bytes);
        state.handed += bytes.len() as u64;
        state.waiting.push_back(buffer);
        self.0.work.notify_one();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().failed.as_ref().map_or(Ok(()), |failed| Err(copy(failed)))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One write, counted.
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self.lines && raw_mode::is_raw() {
            true => self.write_line(bytes)?,
            false => (&self.file).write(bytes)?,
        };
        if self.lines && bytes.get(..written).is_some_and(|written| written.ends_with(b"\n")) {
            UNENDED.store(false, Ordering::Relaxed);
        }
        if written == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WriteZero.into());
        }
        self.written.fetch_add(written as u64, Ordering::Release);
        Ok(written)
    }

    /// One write of a line, or of its end: a raw terminal needs a CR too.
    fn write_line(&self, bytes: &[u8]) -> io::Result<usize> {
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(0) => match (&self.file).write(b"\r\n")? {
                1 => Err(ErrorKind::Interrupted.into()),
                written => Ok(written.min(1)),
            },
            Some(end) => (&self.file).write(bytes.get(..end).unwrap_or_default()),
            None => (&self.file).write(bytes),
        }
    }

    /// The first failure stays.
    fn fail(&self, failure: io::Error) {
        self.lock().failed.get_or_insert(failure);
        self.changed.notify_one();
    }

    fn run(&self) {
        // The main thread may have a raised one.
        give_up_raised();
        // SAFETY: gettid(2) takes nothing.
        self.thread.store(unsafe { libc::gettid() }, Ordering::Release);
        while let Some(buffer) = self.next() {
            if let Err(error) = self.write_all(&buffer) {
                self.fail(error);
                break;
            }
            self.recycle(buffer);
            self.changed.notify_one();
        }
        self.ended.store(true, Ordering::Release);
    }

    fn next(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        loop {
            if self.abandoned.load(Ordering::Acquire) {
                return None;
            }
            if let Some(buffer) = state.waiting.pop_front() {
                return Some(buffer);
            }
            if state.closed {
                return None;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.abandoned.load(Ordering::Acquire) {
                return Err(ErrorKind::TimedOut.into());
            }
            match self.write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody else made the descriptor non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait_for_room(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wait_for_room(&self) {
        let mut fd = [PollFd::new(&self.file, PollFlags::OUT)];
        // Whatever comes of it, a write is tried next.
        let _ = poll(&mut fd, Timespec::try_from(POLL_INTERVAL).ok().as_ref());
    }

    fn recycle(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut state = self.lock();
        if state.spare.len() < SPARE && buffer.capacity() <= limits::OUTPUT_QUEUED {
            state.spare.push(buffer);
        }
    }
}

/// Detects a reader that stalls. The time counts from the creation of this value, or from the last progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    limit: Duration,
    written: u64,
    since: Instant,
}

impl Patience {
    pub(super) fn new(writer: &WriterThread) -> Patience {
        Patience::of(writer, limits::PATIENCE)
    }

    fn of(writer: &WriterThread, limit: Duration) -> Patience {
        Patience { limit, written: writer.written(), since: Instant::now() }
    }

    /// Whether output waits and nothing of it was taken for the time limit. Call it about every [`POLL_INTERVAL`].
    pub(super) fn over(&mut self, writer: &WriterThread) -> bool {
        let written = writer.written();
        if written != self.written || !writer.pending() {
            (self.written, self.since) = (written, Instant::now());
            return false;
        }
        // This makes a large write return if a slow reader has read part of it.
        writer.kick();
        self.since.elapsed() >= self.limit
    }
}

/// Whether a device takes any output at once.
fn is_memory(about: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    /// The major number of null, zero and full.
    const MEMORY: u32 = 1;
    about.file_type().is_char_device() && libc::major(about.rdev()) == MEMORY
}

fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let action: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: a zeroed sigaction has no flags, so the system call that is met returns, and an empty mask; the handler does
    // nothing.
    unsafe {
        let mut kicked: libc::sigaction = std::mem::zeroed();
        kicked.sa_sigaction = action as libc::sighandler_t;
        libc::sigaction(KICK, &raw const kicked, std::ptr::null_mut());
    }
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name("writer".into()).spawn(move || shared.run()).map(drop)
}

extern "C" fn nothing(_: libc::c_int) {}
