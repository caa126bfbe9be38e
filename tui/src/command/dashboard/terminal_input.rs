//! The input from the terminal: keys, pastes, the mouse, size changes and the end of the terminal.

use super::terminal;
use crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The maximum number of events to read ahead of the loop, and that the loop takes before it draws.
pub(super) const READ_AHEAD: usize = 256;

/// How long to wait for the rest of a burst.
///
/// `crossterm::event::poll` (0.29) tests its timeout before it looks at the events that it has already read. If the thread does not run
/// for this time, it reports none. So [`pass_on`] polls once more after a burst.
const BURST: Duration = Duration::from_millis(10);

/// When to poll once more after a burst.
const AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// How often to check whether this job has the terminal again while keys wait.
const BACKGROUND: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The events of the terminal. A separate thread reads them, since a read of an incomplete sequence waits for the rest.
pub(super) struct Keys {
    events: Receiver<io::Result<Event>>,
    resized: Signal,
    /// Ends the thread when dropped.
    _held: OwnedFd,
}

impl Keys {
    /// Begins to read. Must be called in the runtime.
    pub(super) fn read() -> io::Result<Keys> {
        let other = terminal::keys()?;
        let (dropped, held) = pipe_with(PipeFlags::CLOEXEC)?;
        let (sender, events) = channel(READ_AHEAD);
        std::thread::Builder::new().name("keys".into()).spawn(move || {
            // Otherwise a job that reads in the background would be stopped.
            block_stops();
            let terminal = other.as_ref().map_or(stdio::stdin(), AsFd::as_fd);
            if let Err(error) = pass_on(terminal, &dropped, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        })?;
        Ok(Keys { events, resized: signal(SignalKind::window_change())?, _held: held })
    }

    /// Waits for the next event. Can be cancelled and called again.
    pub(super) async fn next(&mut self) -> io::Result<Event> {
        tokio::select! {
            event = self.events.recv() => event.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into())),
            Some(()) = self.resized.recv() => {
                let (width, height) = terminal::window()?;
                Ok(Event::Resize(width, height))
            }
        }
    }

    pub(super) fn are_waiting(&self) -> bool {
        !self.events.is_empty()
    }

    pub(super) fn waiting(&mut self) -> Option<io::Result<Event>> {
        self.events.try_recv().ok()
    }
}

/// Passes events on until `dropped` has no writer any more.
///
/// A read by a job in the background fails with EIO. Then nothing is read until this job has the terminal.
fn pass_on(terminal: BorrowedFd<'_>, dropped: &OwnedFd, sender: &Sender<io::Result<Event>>) -> io::Result<()> {
    let (mut read, mut timeout, mut again) = (PollFlags::IN, None, false);
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
        let due = again || terminal.contains(PollFlags::IN);
        read = PollFlags::IN;
        timeout = None;
        again = false;
        if due {
            let passed = if terminal::in_foreground() { burst(sender) } else { Err(Errno::IO.into()) };
            match passed {
                // poll(2) reports whether the terminal is gone.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                    (read, timeout) = (PollFlags::empty(), Some(&BACKGROUND))
                }
                passed => {
                    again = passed?;
                    timeout = again.then_some(&AGAIN);
                }
            }
        }
    }
}

/// Blocks SIGTTIN in this thread, so that a read in the background fails instead of stopping the job.
fn block_stops() {
    // SAFETY: the set is a live local that sigemptyset initialises.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTTIN);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Passes on a burst of events; whether there were any.
fn burst(sender: &Sender<io::Result<Event>>) -> io::Result<bool> {
    let mut any = false;
    while event::poll(BURST)? {
        if sender.blocking_send(Ok(event::read()?)).is_err() {
            // The loop has ended, which ends the thread.
            return Ok(false);
        }
        any = true;
    }
    Ok(any)
}
