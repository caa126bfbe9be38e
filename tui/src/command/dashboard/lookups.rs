//! Looks up why calls failed. Each lookup has its own thread, since a file system may not respond.

use crate::app::Input;
use crate::command::trace::running::or_never;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracetui_events::store::Id;
use tracetui_events::why::{self, Answer, Lookup};
use tracetui_host::clock;
use tracetui_live::reason_lookup::Threads;

/// How long to wait for a lookup. After that its thread continues, but nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The maximum number of lookup threads: those given up and the current one. At this number, nothing more is looked up.
const THREADS: usize = 4;

/// The lookups. One runs at a time, and only the newest of the others waits.
#[derive(Debug)]
pub(super) struct Lookups {
    out: mpsc::UnboundedSender<(Id, Answer)>,
    answers: mpsc::UnboundedReceiver<(Id, Answer)>,
    running: Option<(Id, u64, Instant)>,
    next: Option<(Id, Box<Lookup>)>,
    /// Each thread has a reference.
    threads: Arc<()>,
    /// Starts the threads. With `None` nothing is looked up, as for a recording.
    starts: Option<Threads>,
}

impl Lookups {
    pub(super) fn new(starts: Option<Threads>) -> Lookups {
        let (out, answers) = mpsc::unbounded_channel();
        Lookups { out, answers, running: None, next: None, threads: Arc::new(()), starts }
    }

    /// Looks up why an event failed. Drops a lookup that still waits; the dashboard asks again when it shows that event.
    pub(super) fn ask(&mut self, id: Id, question: Box<Lookup>) {
        match self.running {
            Some(_) => self.next = Some((id, question)),
            None => self.start(id, question),
        }
    }

    fn start(&mut self, id: Id, question: Box<Lookup>) {
        let event_ns = question.time().0;
        if Arc::strong_count(&self.threads) > THREADS {
            self.no_answer(id, event_ns);
            return;
        }
        let (out, alive) = (self.out.clone(), Arc::clone(&self.threads));
        let run = move |look: &dyn Fn(&Lookup) -> Answer| {
            let _alive = alive;
            // Nobody waits for the answer if the dashboard has ended.
            let _ = out.send((id, look(&question)));
        };
        match self.starts.as_ref().map(|starts| starts.spawn(run)) {
            Some(Ok(())) => self.running = Some((id, event_ns, Instant::now())),
            _ => self.no_answer(id, event_ns),
        }
    }

    fn no_answer(&self, id: Id, event_ns: u64) {
        let answer = Answer::unknown(why::NO_ANSWER, clock::now_boot().0.saturating_sub(event_ns));
        // The receiver belongs to `self`, so this cannot fail.
        let _ = self.out.send((id, answer));
    }

    /// Waits for an answer. Cancel safe.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            let left = self.running.map(|(.., since)| PATIENCE.saturating_sub(since.elapsed()));
            tokio::select! {
                Some((id, answer)) = self.answers.recv() => {
                    if self.running.is_some_and(|(running, ..)| running == id) {
                        self.go_on();
                    }
                    return Input::Looked(id, answer);
                }
                () = or_never(left.map(tokio::time::sleep)) => {
                    if let Some((id, event_ns, _)) = self.running {
                        self.no_answer(id, event_ns);
                        self.go_on();
                    }
                }
            }
        }
    }

    fn go_on(&mut self) {
        self.running = None;
        if let Some((id, question)) = self.next.take() {
            self.start(id, question);
        }
    }
}
