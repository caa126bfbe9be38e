//! Why each printed event failed: `print --why`.

use crate::cli;
use crate::command::usage::BadUsage;
use anyhow::Result;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tracetui_events::event::EventContext;
use tracetui_events::sink::{Explain, FormatName};
use tracetui_events::text::time::short_duration;
use tracetui_events::why::{self, Answer, Basis, Lookup};
use tracetui_host::clock;
use tracetui_live::reason_lookup;

/// How long to wait for a lookup. After that its thread continues, but nobody waits for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// The same for the first lookup of a thread, which gives up its rights before.
const STARTING: Duration = Duration::from_secs(2);

/// How many threads may be given up. After that, nothing more is looked up.
const THREADS: u32 = 4;

/// How long lookups may take in each [`SPAN`]. More would delay the trace and lose events.
pub(super) const MOST: Duration = Duration::from_millis(750);

/// How long lookups may take at the end of the trace.
pub(super) const AT_END: Duration = Duration::from_secs(3);

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

/// The reason of a failure.
#[derive(Default)]
pub(in crate::command) struct Reason {
    /// `None` until it is looked up.
    pub(super) answer: Option<Answer>,
    pub(super) question: Option<Box<Lookup>>,
}

/// Where reasons come from: what events prove and, live, lookups.
#[derive(Clone)]
pub(in crate::command) struct Reasons {
    /// Only JSON says of each other event of a recording that its reason is unknown.
    format: FormatName,
    lookups: Option<Rc<RefCell<Lookups>>>,
}

impl Reasons {
    pub(in crate::command) fn of_recording(format: FormatName) -> Reasons {
        Reasons { format, lookups: None }
    }

    /// With lookups on threads that `threads` starts.
    pub(in crate::command) fn live(format: FormatName, threads: reason_lookup::Threads) -> Reasons {
        let (since, spent) = (Instant::now(), Duration::ZERO);
        let lookups = Lookups { threads, thread: None, given_up: 0, since, spent, latest_ns: 0, elsewhere: false };
        Reasons { format, lookups: Some(Rc::new(RefCell::new(lookups))) }
    }

    /// For lines that do not wait.
    pub(in crate::command) fn explain(self) -> Explain {
        Box::new(move |seen| self.of(seen).map(|reason| self.known(reason, MOST)))
    }

    pub(in crate::command) fn of(&self, seen: &EventContext<'_>) -> Option<Reason> {
        if !why::is_asked_of(seen) {
            return None;
        }
        let question = why::question(seen).filter(|_| self.lookups.is_some()).map(Box::new);
        let age = || clock::now_boot().since(seen.event.header.time);
        let unknown = || match (&self.lookups, self.format) {
            (Some(_), _) => Some(Answer::unknown("its path or address was not read", age())),
            (None, FormatName::Json) => Some(Answer::not_looked_up("only looked up live")),
            (None, _) => None,
        };
        let known = || why::proven(seen).or_else(unknown);
        Some(Reason { answer: if question.is_some() { None } else { Some(known()?) }, question })
    }

    /// Looks up a reason, unless lookups have taken longer than `most` in this [`SPAN`].
    pub(in crate::command) fn look(&self, reason: &mut Reason, most: Duration) {
        if let (None, Some(question), Some(lookups)) = (&reason.answer, &reason.question, &self.lookups) {
            reason.answer = lookups.borrow_mut().ask(question, most);
        }
    }

    /// Like [`look`](Self::look), and returns the reason, or why there is none.
    pub(in crate::command) fn known(&self, mut reason: Reason, most: Duration) -> Answer {
        self.look(&mut reason, most);
        let Some(answer) = reason.answer else {
            let time = reason.question.map_or_else(clock::now_boot, |question| question.time());
            return Answer::unknown("not looked up: too many failures at once", clock::now_boot().since(time));
        };
        if let (Basis::Checked(after), Some(lookups)) = (answer.basis, &self.lookups) {
            let mut lookups = lookups.borrow_mut();
            lookups.latest_ns = lookups.latest_ns.max(after);
            lookups.elsewhere |= answer.place.is_some();
        }
        answer
    }

    /// What lines of text leave out: when and where the reasons were looked up.
    pub(in crate::command) fn remark(&self) -> Option<String> {
        let lookups = self.lookups.as_ref()?.borrow();
        let mut later = Vec::new();
        short_duration(lookups.latest_ns, &mut later);
        let later = String::from_utf8_lossy(&later);
        let root = if lookups.elsewhere { "; of processes that were gone, from the root of another one" } else { "" };
        (lookups.latest_ns > 0).then(|| format!("--why: looked up at most {later} after the failure{root}"))
    }
}

/// A thread for lookups, so that a file system that does not respond delays nothing else.
struct Lookups {
    threads: reason_lookup::Threads,
    thread: Option<(SyncSender<Lookup>, Receiver<Answer>)>,
    given_up: u32,
    /// The start of the span, and the time spent in it.
    since: Instant,
    spent: Duration,
    /// The longest time between a failure and the lookup of its printed reason.
    latest_ns: u64,
    /// Whether a printed reason was not looked up from the root of the process itself.
    elsewhere: bool,
}

impl Lookups {
    /// `None` if lookups have taken longer than `most` in this span.
    fn ask(&mut self, question: &Lookup, most: Duration) -> Option<Answer> {
        if self.since.elapsed() >= SPAN && most < AT_END {
            (self.since, self.spent) = (Instant::now(), Duration::ZERO);
        }
        if self.spent > most {
            return None;
        }
        let begun = Instant::now();
        let answer = self.look(question.clone());
        self.spent += begun.elapsed();
        let age = || clock::now_boot().since(question.time());
        Some(answer.unwrap_or_else(|| Answer::unknown(why::NO_ANSWER, age())))
    }

    fn look(&mut self, question: Lookup) -> Option<Answer> {
        if self.given_up >= THREADS {
            return None;
        }
        let (patience, (ask, answers)) = match self.thread.take() {
            Some(thread) => (PATIENCE, thread),
            None => (STARTING, start(&self.threads)?),
        };
        let answer = ask.send(question).ok().and_then(|()| answers.recv_timeout(patience).ok());
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
