//! A thread that works for the dashboard: a search of a recording, or a comparison.

use crate::app::Input;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracetui_host::priority::give_up_raised;

/// It stops when this is dropped.
#[derive(Debug)]
pub(super) struct Background {
    messages: UnboundedReceiver<Input>,
    stop: Arc<AtomicBool>,
}

/// The way of the thread to the dashboard.
#[derive(Debug)]
pub(super) struct Progress {
    out: UnboundedSender<Input>,
    stop: Arc<AtomicBool>,
}

impl Progress {
    pub(super) fn send(&self, message: Input) {
        // Nobody waits for it if it was stopped.
        let _ = self.out.send(message);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Background {
    pub(super) fn new() -> (Background, Progress) {
        let (out, messages) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        (Background { messages, stop: Arc::clone(&stop) }, Progress { out, stop })
    }

    /// Starts a thread, whose result is the last message.
    pub(super) fn start(
        name: &str,
        run: impl FnOnce(&Progress) -> Input + Send + 'static,
    ) -> io::Result<(Background, JoinHandle<()>)> {
        let (background, progress) = Background::new();
        let run = move || {
            // The main thread may have a raised one.
            give_up_raised();
            progress.send(run(&progress));
        };
        Ok((background, std::thread::Builder::new().name(name.into()).spawn(run)?))
    }

    /// The next message. The last one ends it. Without a thread, waits forever. Cancel safe.
    pub(super) async fn next(running: &mut Option<Background>) -> Option<Input> {
        let Some(background) = running else { return std::future::pending().await };
        let message = background.messages.recv().await;
        if !matches!(message, Some(Input::Finding(_) | Input::Comparing(_))) {
            *running = None;
        }
        message
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
