//! What comes from the terminal: keys, pastes, the mouse, its size, and its end.

use super::terminal;
use crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Events that are read before the loop takes them, and that it takes before it draws.
pub(super) const READ_AHEAD: usize = 256;

/// How long the rest of a burst is waited for. Zero would leave events that are read already.
const BURST: Duration = Duration::from_millis(1);

/// How often it is asked whether the terminal is this job's again, when keys wait.
const BACKGROUND: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The events of the terminal. A thread of their own reads them: a read of a sequence that is not complete waits for the rest.
pub(super) struct Keys {
    events: Receiver<io::Result<Event>>,
    resized: Signal,
    /// Ends the thread when dropped.
    _held: OwnedFd,
}

impl Keys {
    /// Begins to read. To be called in the runtime.
    ///
    /// # Errors
    /// If there is no terminal, or no thread or descriptor for it.
    pub(super) fn read() -> io::Result<Keys> {
        // As crossterm chooses it.
        let other = if io::stdin().is_terminal() { None } else { Some(File::open("/dev/tty")?) };
        let (dropped, held) = pipe_with(PipeFlags::CLOEXEC)?;
        let (sender, events) = channel(READ_AHEAD);
        std::thread::Builder::new().name("keys".into()).spawn(move || {
            // A job that reads in the background is stopped otherwise.
            block_stops();
            let terminal = other.as_ref().map_or(stdio::stdin(), AsFd::as_fd);
            if let Err(error) = pass_on(terminal, &dropped, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        })?;
        Ok(Keys { events, resized: signal(SignalKind::window_change())?, _held: held })
    }

    /// Waits for the next event. Can be given up and called again.
    ///
    /// # Errors
    /// If the terminal failed, or is gone.
    pub(super) async fn next(&mut self) -> io::Result<Event> {
        tokio::select! {
            event = self.events.recv() => event.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into())),
            Some(()) = self.resized.recv() => {
                let (width, height) = terminal::window()?;
                Ok(Event::Resize(width, height))
            }
        }
    }

    /// An event that waits already.
    pub(super) fn waiting(&mut self) -> Option<io::Result<Event>> {
        self.events.try_recv().ok()
    }
}

/// Passes events on until `dropped` has no writer any more.
///
/// A read by a job in the background fails with EIO: then nothing is read until the terminal is this job's.
///
/// # Errors
/// If the terminal failed, or is gone.
fn pass_on(terminal: BorrowedFd<'_>, dropped: &OwnedFd, sender: &Sender<io::Result<Event>>) -> io::Result<()> {
    let mut read = PollFlags::IN;
    let mut timeout = None;
    loop {
        let mut entries = [PollFd::from_borrowed_fd(terminal, read), PollFd::new(dropped, PollFlags::empty())];
        retry_on_intr(|| poll(&mut entries, timeout))?;
        let [terminal, dropped] = entries.map(|entry| entry.revents());
        if !dropped.is_empty() {
            return Ok(());
        }
        if terminal.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (read, timeout) = (PollFlags::IN, None);
        if terminal.contains(PollFlags::IN) {
            let passed = if terminal::in_foreground() { burst(sender) } else { Err(Errno::IO.into()) };
            match passed {
                // Whether the terminal is gone is said by poll(2).
                Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                    (read, timeout) = (PollFlags::empty(), Some(&BACKGROUND))
                }
                passed => passed?,
            }
        }
    }
}

/// Blocks SIGTTIN in this thread: a read in the background fails then.
fn block_stops() {
    // SAFETY: the set is a live local that sigemptyset initialises.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTTIN);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Passes on what was typed.
fn burst(sender: &Sender<io::Result<Event>>) -> io::Result<()> {
    while event::poll(BURST)? {
        if sender.blocking_send(Ok(event::read()?)).is_err() {
            // The loop is left, which ends the thread.
            return Ok(());
        }
    }
    Ok(())
}
