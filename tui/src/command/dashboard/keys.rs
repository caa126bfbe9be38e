//! What comes from the terminal: keys, pastes, the mouse, its size.

use crossterm::event::{Event, EventStream};
use futures_core::Stream;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinSet;

/// Events that are read before the loop takes them.
const READ_AHEAD: usize = 64;

/// The events of the terminal. They are read by a task of their own: each poll of crossterm's stream contends for a lock that its
/// thread holds, so it is polled only if it was woken, and not with everything else that the loop waits for.
pub(super) struct Keys {
    events: Receiver<io::Result<Event>>,
    /// Ends the task when dropped.
    _task: JoinSet<()>,
}

impl Keys {
    /// Begins to read.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(super) fn read() -> io::Result<Keys> {
        // The stream panics where the terminal is gone already; this says so.
        crossterm::event::poll(Duration::ZERO).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let mut stream = EventStream::new();
        let (sender, events) = channel(READ_AHEAD);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Some(event) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        Ok(Keys { events, _task: task })
    }

    /// Waits for the next event. Can be given up and called again.
    ///
    /// # Errors
    /// If the terminal failed, or is gone.
    pub(super) async fn next(&mut self) -> io::Result<Event> {
        self.events.recv().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
    }

    /// An event that waits already.
    pub(super) fn waiting(&mut self) -> Option<io::Result<Event>> {
        self.events.try_recv().ok()
    }
}
