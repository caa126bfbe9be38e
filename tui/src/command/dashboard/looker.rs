//! Looks up why calls failed, each on a thread of its own: a file system may not answer.

use crate::app::Input;
use crate::source::host::confine::Spawner;
use crate::source::host::{clock, lookup};
use crate::store::Id;
use crate::why::{self, Answer, Question};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The time after which a lookup is given up. Its thread goes on.
const PATIENCE: Duration = Duration::from_secs(2);

/// Threads of lookups that were given up, and that of the current one. With so many, nothing more is looked up.
const THREADS: usize = 4;

/// The lookups. One runs at a time; of those that wait, only the newest one does.
#[derive(Debug)]
pub(super) struct Looker {
    out: mpsc::UnboundedSender<(Id, Answer)>,
    answers: mpsc::UnboundedReceiver<(Id, Answer)>,
    running: Option<(Id, u64, Instant)>,
    next: Option<(Id, Box<Question>)>,
    /// Each thread has a reference.
    threads: Arc<()>,
    /// Starts them. `None`: nothing is looked up, as of a recording.
    spawner: Option<Spawner>,
}

impl Looker {
    pub(super) fn new(spawner: Option<Spawner>) -> Looker {
        let (out, answers) = mpsc::unbounded_channel();
        Looker { out, answers, running: None, next: None, threads: Arc::new(()), spawner }
    }

    /// Looks up why an event failed. A lookup that waits is dropped: its event is asked about again when it is shown.
    pub(super) fn ask(&mut self, id: Id, question: Box<Question>) {
        match self.running {
            Some(_) => self.next = Some((id, question)),
            None => self.start(id, question),
        }
    }

    fn start(&mut self, id: Id, question: Box<Question>) {
        let event_ns = question.time.0;
        if Arc::strong_count(&self.threads) > THREADS {
            self.no_answer(id, event_ns);
            return;
        }
        let (out, alive) = (self.out.clone(), Arc::clone(&self.threads));
        let run = move || {
            let _alive = alive;
            // Nobody waits for it if the dashboard ended.
            let _ = out.send((id, lookup::look(&question)));
        };
        match self.spawner.as_ref().map(|spawner| spawner.spawn("why", run)) {
            Some(Ok(())) => self.running = Some((id, event_ns, Instant::now())),
            _ => self.no_answer(id, event_ns),
        }
    }

    fn no_answer(&self, id: Id, event_ns: u64) {
        let answer = Answer::unknown(why::NO_ANSWER, clock::now_boot().0.saturating_sub(event_ns));
        // The receiver is ours.
        let _ = self.out.send((id, answer));
    }

    /// Waits for an answer. Cancel safe.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            let left = self.running.map(|(.., since)| PATIENCE.saturating_sub(since.elapsed()));
            let given_up = async {
                match left {
                    Some(left) => tokio::time::sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((id, answer)) = self.answers.recv() => {
                    if self.running.is_some_and(|(running, ..)| running == id) {
                        self.go_on();
                    }
                    return Input::Looked(id, answer);
                }
                () = given_up => {
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
