//! Says of each event that is printed why it failed: `print --why`.

use super::session::BadUsage;
use crate::cli;
use crate::sink::FormatName;
use crate::sink::explained::Explain;
use crate::source::host::confine::Spawner;
use crate::source::host::{clock, lookup};
use crate::why::{self, Answer, Question};
use anyhow::Result;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// The time after which a lookup is given up. Its thread goes on.
const PATIENCE: Duration = Duration::from_millis(500);

/// Threads that may be given up. Then nothing more is looked up.
const THREADS: u32 = 4;

/// The time that may be spent on lookups in each [`SPAN`]. More would hold up the trace, and lose events.
const MOST: Duration = Duration::from_millis(750);

/// See [`MOST`].
const SPAN: Duration = Duration::from_secs(1);

/// # Errors
/// If the format has no place for reasons.
pub(super) fn check(args: &cli::Print) -> Result<()> {
    match args.why && args.format == FormatName::Csv {
        true => Err(BadUsage("--why: csv has no column for it; use --format json".to_owned()).into()),
        false => Ok(()),
    }
}

/// What events prove: for recordings.
pub(super) fn from_events() -> Explain {
    Box::new(|seen| {
        why::is_asked_of(seen)
            .then(|| why::proven(seen).unwrap_or_else(|| Answer::not_looked_up("the recording does not say")))
    })
}

/// What events prove, and lookups on threads that `spawner` starts.
pub(super) fn live(spawner: Spawner) -> Explain {
    let mut lookups = Lookups { spawner, thread: None, given_up: 0, since: Instant::now(), spent: Duration::ZERO };
    Box::new(move |seen| {
        if !why::is_asked_of(seen) {
            return None;
        }
        let age = clock::now_boot().since(seen.event.header.time);
        Some(match why::question(seen) {
            Some(question) => lookups.ask(question, age),
            None => why::proven(seen).unwrap_or_else(|| Answer::unknown("the path could not be read", age)),
        })
    })
}

/// A thread that looks up, so that a file system that does not answer holds up nothing.
struct Lookups {
    spawner: Spawner,
    thread: Option<(SyncSender<Question>, Receiver<Answer>)>,
    given_up: u32,
    /// The start of the span, and the time spent in it.
    since: Instant,
    spent: Duration,
}

impl Lookups {
    fn ask(&mut self, question: Question, age: u64) -> Answer {
        if self.since.elapsed() >= SPAN {
            (self.since, self.spent) = (Instant::now(), Duration::ZERO);
        }
        if self.spent > MOST {
            return Answer::unknown("not looked up: too many failures at once", age);
        }
        let begun = Instant::now();
        let answer = self.look(question);
        self.spent += begun.elapsed();
        answer.unwrap_or_else(|| Answer::unknown(why::NO_ANSWER, age))
    }

    fn look(&mut self, question: Question) -> Option<Answer> {
        if self.given_up >= THREADS {
            return None;
        }
        let (ask, answers) = match self.thread.take() {
            Some(thread) => thread,
            None => start(&self.spawner)?,
        };
        let answer = ask.send(question).ok().and_then(|()| answers.recv_timeout(PATIENCE).ok());
        match answer {
            Some(_) => self.thread = Some((ask, answers)),
            None => self.given_up += 1,
        }
        answer
    }
}

fn start(spawner: &Spawner) -> Option<(SyncSender<Question>, Receiver<Answer>)> {
    let (ask, questions) = sync_channel::<Question>(1);
    let (out, answers) = sync_channel(1);
    let run = move || {
        for question in questions {
            if out.send(lookup::look(&question)).is_err() {
                return;
            }
        }
    };
    spawner.spawn("why", run).ok()?;
    Some((ask, answers))
}
