//! Explains why each printed event failed: `print --why`.

use crate::cli;
use crate::command::usage::BadUsage;
use anyhow::Result;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tracetui_events::sink::{Explain, FormatName};
use tracetui_events::why::{self, Answer, Lookup};
use tracetui_host::clock;
use tracetui_live::reason_lookup;

/// How long to wait for a lookup. After that its thread continues, but nobody waits for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// How many threads may be given up. After that, nothing more is looked up.
const THREADS: u32 = 4;

/// How long lookups may take in each [`SPAN`]. More would delay the trace and lose events.
const MOST: Duration = Duration::from_millis(750);

/// See [`MOST`].
const SPAN: Duration = Duration::from_secs(1);

/// The format of the lines. Refuses one that has no place for reasons, or for JSON.
pub(in crate::command) fn format(args: &cli::Print) -> Result<FormatName, BadUsage> {
    match args.format {
        FormatName::Csv if args.why => {
            Err(BadUsage("--why: csv has no column for reasons; use --format json".to_owned()))
        }
        FormatName::Csv if args.json_column => Ok(FormatName::CsvWithJson),
        _ if args.json_column => Err(BadUsage(JSON_COLUMN.to_owned())),
        format => Ok(format),
    }
}

pub(in crate::command) const JSON_COLUMN: &str = "--json-column: only --format csv has columns";

/// What events prove: for recordings. Only JSON says of each other event that its reason is unknown.
pub(in crate::command) fn from_events(format: FormatName) -> Explain {
    Box::new(move |seen| {
        let unknown = || (format == FormatName::Json).then(|| Answer::not_looked_up("only looked up live"));
        why::is_asked_of(seen).then(|| why::proven(seen).or_else(unknown))?
    })
}

/// What events prove, and lookups on threads that `threads` starts.
pub(in crate::command) fn live(threads: reason_lookup::Threads) -> Explain {
    let mut lookups = Lookups { threads, thread: None, given_up: 0, since: Instant::now(), spent: Duration::ZERO };
    Box::new(move |seen| {
        if !why::is_asked_of(seen) {
            return None;
        }
        let age = clock::now_boot().since(seen.event.header.time);
        Some(match why::question(seen) {
            Some(question) => lookups.ask(question, age),
            None => why::proven(seen).unwrap_or_else(|| Answer::unknown("its path or address was not read", age)),
        })
    })
}

/// A thread for lookups, so that a file system that does not respond delays nothing else.
struct Lookups {
    threads: reason_lookup::Threads,
    thread: Option<(SyncSender<Lookup>, Receiver<Answer>)>,
    given_up: u32,
    /// The start of the span, and the time spent in it.
    since: Instant,
    spent: Duration,
}

impl Lookups {
    fn ask(&mut self, question: Lookup, age: u64) -> Answer {
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

    fn look(&mut self, question: Lookup) -> Option<Answer> {
        if self.given_up >= THREADS {
            return None;
        }
        let (ask, answers) = match self.thread.take() {
            Some(thread) => thread,
            None => start(&self.threads)?,
        };
        let answer = ask.send(question).ok().and_then(|()| answers.recv_timeout(PATIENCE).ok());
        match answer {
            Some(_) => self.thread = Some((ask, answers)),
            None => self.given_up += 1,
        }
        answer
    }
}

fn start(threads: &reason_lookup::Threads) -> Option<(SyncSender<Lookup>, Receiver<Answer>)> {
    let (ask, questions) = sync_channel::<Lookup>(1);
    let (out, answers) = sync_channel(1);
    let run = move |look: &dyn Fn(&Lookup) -> Answer| {
        for question in questions {
            if out.send(look(&question)).is_err() {
                return;
            }
        }
    };
    threads.spawn(run).ok()?;
    Some((ask, answers))
}
