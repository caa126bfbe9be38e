//! Failures that nothing answered: `print --unanswered`.
//!
//! A later call of the process may answer a failure ([`Searches`]), so the line of each failure waits: of a recording until its end, live
//! for as long as a search may take. All lines wait equally long, so they stay in order.

use foldhash::HashMap;
use std::collections::VecDeque;
use tracetui_events::budget::Budget;
use tracetui_events::event::EventContext;
use tracetui_events::search::{ExitCause, Failure, Searches, words};
use tracetui_events::sink::{Line, Sink};
use tracetui_events::store::Id;
use tracetui_events::text::{Charset, escape, shell};
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// How long a line waits live, in nanoseconds.
pub(in crate::command) const LIVE_NS: u64 = 5_000_000_000;

/// Bytes of a command in a line.
const COMMAND: usize = 120;

/// How many causes are kept for the exits of parents.
const CAUSES: usize = 4096;

/// A failure.
struct Waiting {
    id: Id,
    time: BootNanos,
    /// `None` if it is only kept as the possible cause of an exit.
    line: Option<Line>,
    answered: bool,
    /// In lines of text, the call in words: with its path, and as the last one of a search.
    words: [Vec<u8>; 2],
}

impl Waiting {
    fn bytes(&self) -> usize {
        let line = self.line.as_ref().map_or(0, |line| line.text.len());
        size_of::<Waiting>() + line + self.words.iter().map(Vec::len).sum::<usize>()
    }
}

pub(in crate::command) struct Unanswered {
    searches: Searches,
    next: Id,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The causes of exits in words, with the name of the process, by [`ExitCause::id`].
    causes: HashMap<Id, Vec<u8>>,
    /// Bytes of lines that may wait. Beyond it, the oldest ones wait no longer.
    most: usize,
    /// How long lines wait; `None`: until the end.
    patience_ns: Option<u64>,
    /// The time that the trace has reached.
    now: BootNanos,
    /// If lines are text. Their exits then have the cause and the command.
    charset: Option<Charset>,
}

impl Unanswered {
    /// `charset`: of lines of text. Their exits then have the cause and the command.
    pub(in crate::command) fn new(patience_ns: Option<u64>, budget: Budget, charset: Option<Charset>) -> Unanswered {
        let (searches, waiting, causes) = (Searches::default(), VecDeque::new(), HashMap::default());
        let (most, now) = (budget.share(4), BootNanos(0));
        Unanswered { searches, next: 0, waiting, bytes: 0, causes, most, patience_ns, now, charset }
    }

    /// Takes an event. Returns whether its line waits. `wanted`: whether it passes the filter.
    pub(in crate::command) fn hold(&mut self, seen: &EventContext<'_>, wanted: bool, sink: &mut dyn Sink) -> bool {
        let id = self.next;
        self.next += 1;
        let mut own = false;
        let taken = self.searches.take(id, seen);
        let cause = taken.cause;
        for answered in taken.answered {
            own |= answered.id == id;
            let at = self.waiting.binary_search_by_key(&answered.id, |waiting| waiting.id);
            let waiting = at.ok().and_then(|at| self.waiting.get_mut(at));
            waiting.into_iter().for_each(|waiting| waiting.answered = true);
        }
        let (event, failed) = (seen.event, seen.event.failed());
        self.reach(event.header.time);
        let shown = wanted && !own && (failed || event.kind() == Kind::Lost);
        let mut line = shown.then(|| sink.line(seen)).flatten();
        let mut words = Default::default();
        if let (Some(charset), true) = (self.charset, failed) {
            match event.body.exit() {
                Some(_) => {
                    let more = self.about_exit(id, seen, cause, charset);
                    if let Some(line) = &mut line {
                        let end = line.text.len() - 1;
                        line.text.splice(end..end, more);
                    }
                }
                None if event.body.ret().is_some() => words = in_words(id, seen),
                None => {}
            }
        }
        let waits = line.is_some();
        if waits || !words[0].is_empty() {
            let waiting = Waiting { id, time: event.header.time, line, answered: own, words };
            self.bytes += waiting.bytes();
            self.waiting.push_back(waiting);
        }
        waits
    }

    /// The end of the line of an exit: its cause and the command.
    fn about_exit(&mut self, id: Id, seen: &EventContext<'_>, cause: Option<ExitCause>, charset: Charset) -> Vec<u8> {
        let Some(process) = seen.process else { return Vec::new() };
        let own = cause.filter(|cause| cause.child.is_none()).and_then(|cause| cause.failure);
        let at = own.and_then(|own| self.waiting.binary_search_by_key(&own.id, |waiting| waiting.id).ok());
        let own = own.and_then(|own| self.waiting.get(at?)?.words.get(usize::from(own.searched)).cloned());
        let taken_over = || self.causes.get(&cause.filter(|cause| cause.child.is_some())?.id);
        let text = own.as_ref().or_else(taken_over);
        let mut raw = text.map_or_else(Vec::new, |text| [b"  ", text.as_slice()].concat());
        if taken_over().is_none() {
            let mut why = b"exit ".to_vec();
            seen.result(&mut why);
            if self.causes.len() >= CAUSES {
                self.causes = HashMap::default();
            }
            let why = [&process.comm, b": ".as_slice(), &own.unwrap_or(why)].concat();
            self.causes.insert(cause.map_or(id, |cause| cause.id), why);
        }
        raw.extend_from_slice(b"  ");
        let most = raw.len() + COMMAND;
        shell::words(&process.image.argv, &mut raw);
        raw.truncate(most);
        let mut out = Vec::new();
        escape(&raw, charset.reversible(), &mut out);
        out
    }

    /// Notes that the trace has reached a time.
    pub(in crate::command) fn reach(&mut self, time: BootNanos) {
        self.now = self.now.max(time);
    }

    /// The next line that has waited long enough, and whether it was answered. `all`: each line has.
    pub(in crate::command) fn next(&mut self, all: bool) -> Option<(Option<Line>, bool)> {
        let waited = |first: &Waiting| self.patience_ns.is_some_and(|patience| self.now.since(first.time) >= patience);
        self.waiting.front().filter(|first| all || self.bytes > self.most || waited(first))?;
        let first = self.waiting.pop_front()?;
        self.bytes -= first.bytes();
        Some((first.line, first.answered))
    }
}

/// A failed call in words: with its path, and as the last one of a search.
fn in_words(id: Id, seen: &EventContext<'_>) -> [Vec<u8>; 2] {
    let (body, argv) = (&seen.event.body, seen.process.map_or(&[][..], |process| &process.image.argv));
    let of = |searched| words(body, Failure { searched, ..Failure::of(id, body.error()) }, argv);
    let ([whole, _], [_, name]) = (of(false), of(true));
    [whole, name]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tracetui_events::pipeline::{Disposition, Pipeline};
    use tracetui_events::sink::{FormatName, to_writer};
    use tracetui_events::synthetic::Maker;

    /// The paths of the lines, and how many events there were before each.
    fn shown(patience_ns: Option<u64>, memory: u64, make: impl FnOnce(&mut Maker)) -> Vec<(usize, String)> {
        let (mut made, mut pipeline) = (Maker::default(), Pipeline::default());
        make(&mut made);
        pipeline.feed(made.batch());
        pipeline.end();
        let mut sink = to_writer(FormatName::Text, io::sink());
        let mut unanswered = Unanswered::new(patience_ns, Budget::new(memory), None);
        let (mut lines, mut events) = (Vec::new(), 0);
        let mut release = |unanswered: &mut Unanswered, events: usize, all: bool| {
            while let Some((Some(line), answered)) = unanswered.next(all) {
                let text = String::from_utf8(line.text).expect("UTF-8");
                lines.extend((!answered).then(|| (events, text.rsplit(' ').next().unwrap_or("").trim().to_owned())));
            }
        };
        pipeline.next(None, &mut |seen, _| {
            events += 1;
            unanswered.hold(seen, true, &mut *sink);
            release(&mut unanswered, events, false);
            Disposition::Delivered
        });
        release(&mut unanswered, events, true);
        lines
    }

    #[test]
    fn a_line_waits_for_an_answer_in_order() {
        let make = |made: &mut Maker| {
            made.open(7, "cc1", "/a/x.h", -2);
            made.open(8, "sh", "/etc/key", -libc::EMFILE);
            made.open(7, "cc1", "/b/x.h", 4);
            made.open(7, "cc1", "/a/y.h", -2);
            made.ns += LIVE_NS;
            made.open(9, "sh", "/bin/true", 3);
            // This answer is late.
            made.open(8, "sh", "/etc/key", 3);
        };
        let named =
            |lines: &[(usize, &str)]| lines.iter().map(|(at, path)| (*at, (*path).to_owned())).collect::<Vec<_>>();
        assert_eq!(shown(Some(LIVE_NS), 1 << 20, make), named(&[(5, "/etc/key"), (5, "/a/y.h")]));
        assert_eq!(shown(None, 1 << 20, make), named(&[(6, "/a/y.h")]), "of a recording all is known");
        let refused = |made: &mut Maker| (0..3).for_each(|at| made.open(8, "sh", &format!("/{at}"), -13));
        assert_eq!(shown(None, 0, refused), named(&[(1, "/0"), (2, "/1"), (3, "/2")]), "without room, none waits");
    }
}
