//! Failures that nothing answered: `print --unanswered`.
//!
//! A later call of the process may answer a failure ([`Searches`]), so the line of each failure waits: of a recording until its end, live
//! for as long as a search may take. All lines wait equally long, so they stay in order.
//!
//! In text, the calls of one search that found nothing are one line. A failed call and the exits that it caused are one line too: that of
//! the last exit, with the cause, its reason and the processes. An exit after that line was printed only names the child that failed.
//! Lookups of causes come first, then those of failures that still have no answer when their lines are printed.

use super::explain::{AT_END, MOST, Reason, Reasons};
use foldhash::HashMap;
use foldhash::fast::RandomState;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use tracetui_events::budget::Budget;
use tracetui_events::event::EventContext;
use tracetui_events::event::exit::Ended;
use tracetui_events::limits::SEARCH_DIRECTORIES;
use tracetui_events::search::{
    ExitCause, Failure, LIBRARY, Removals, Searches, WAYS, argument, common_name, missed, search_dir, text,
};
use tracetui_events::sink::{Line, Sink};
use tracetui_events::store::Id;
use tracetui_events::text::{Charset, escape, grouped, shell};
use tracetui_events::why::{Answer, Lookup, SearchDir};
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// How long a line waits live, in nanoseconds.
pub(in crate::command) const LIVE_NS: u64 = 5_000_000_000;

/// Bytes of a command in a line.
const COMMAND: usize = 120;

/// How many causes are kept for the exits of parents.
const CAUSES: usize = 4096;

/// The longest time between the first and the last call of a line, in nanoseconds.
const SEARCH_NS: u64 = 1_000_000_000;

/// How many of the latest failures may continue a search.
const RECENT: usize = 64;

/// Bytes of a question, roughly.
const QUESTION: usize = 1024;

/// The calls of a search that found nothing.
#[derive(Clone, Default)]
struct Search {
    /// What they have in common.
    key: u64,
    began: BootNanos,
    calls: u64,
    /// The first directories.
    dirs: Vec<SearchDir>,
    /// What removed the file from one of them.
    removed: Option<Vec<u8>>,
}

/// A failure.
struct Waiting {
    id: Id,
    time: BootNanos,
    /// `None` if it is only kept as the possible cause of an exit.
    line: Option<Line>,
    /// Whether it has no line of its own, because a later call answered it or continued its search.
    answered: bool,
    /// In lines of text, the call in words, by [`Failure::searched`].
    words: [Vec<u8>; WAYS],
    search: Option<Search>,
    reason: Option<Reason>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        let line = self.line.as_ref().map_or(0, |line| line.text.len());
        let search = self.search.as_ref().map_or(0, |search| search.dirs.len() * 2 * size_of::<SearchDir>());
        size_of::<Waiting>() + QUESTION + line + search + self.words.iter().map(Vec::len).sum::<usize>()
    }
}

/// Why a process exited.
#[derive(Clone, Default)]
struct Cause {
    words: Vec<u8>,
    reason: Option<Answer>,
    /// The names of the processes that exited because of it.
    chain: Vec<Vec<u8>>,
    /// The last of their exits.
    exit: Id,
}

#[derive(Default)]
pub(in crate::command) struct Unanswered {
    searches: Searches,
    removals: Removals,
    next: Id,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The causes of exits, by [`ExitCause::id`].
    causes: HashMap<Id, Cause>,
    hasher: RandomState,
    /// If lines have reasons.
    pub(in crate::command) reasons: Option<Reasons>,
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
    pub(in crate::command) fn new(
        patience_ns: Option<u64>,
        budget: Budget,
        charset: Option<Charset>,
        reasons: Option<Reasons>,
    ) -> Unanswered {
        Unanswered { reasons, most: budget.share(4), patience_ns, charset, ..Unanswered::default() }
    }

    fn place(&self, id: Id) -> Option<usize> {
        self.waiting.binary_search_by_key(&id, |waiting| waiting.id).ok()
    }

    /// Takes an event. Returns whether its line waits. `wanted`: whether it passes the filter.
    pub(in crate::command) fn hold(&mut self, seen: &EventContext<'_>, wanted: bool, sink: &mut dyn Sink) -> bool {
        let id = self.next;
        self.next += 1;
        let taken = self.searches.take(id, seen);
        let (cause, mut answered) = (taken.cause, false);
        for other in taken.answered {
            answered |= other.id == id;
            let at = self.waiting.binary_search_by_key(&other.id, |waiting| waiting.id);
            let waiting = at.ok().and_then(|at| self.waiting.get_mut(at));
            if let Some(waiting) = waiting {
                (waiting.answered, waiting.search) = (true, None);
            }
        }
        let (event, failed, time) = (seen.event, seen.event.failed(), seen.event.header.time);
        self.reach(time);
        self.removals.take(event);
        let shown = wanted && (failed || event.kind() == Kind::Lost);
        let line = shown.then(|| sink.line(seen)).flatten();
        let waits = line.is_some();
        let words = Default::default();
        let mut waiting = Waiting { id, time, line, answered, words, search: None, reason: None };
        match self.charset.filter(|_| failed) {
            Some(charset) if event.body.exit().is_some() => self.finish_exit(seen, cause, charset, &mut waiting),
            Some(_) if event.body.ret().is_some() => {
                waiting.words = in_words(id, seen);
                self.search(seen, &mut waiting);
                if let Some(search) = &mut waiting.search {
                    search.removed = self.removals.before(event).or(search.removed.take());
                    let removed = search.removed.as_ref().map(|removed| [b" (", removed.as_slice(), b")"].concat());
                    removed.iter().for_each(|removed| waiting.words.iter_mut().for_each(|words| words.extend(removed)));
                }
            }
            _ => {}
        }
        if !waits && waiting.words[0].is_empty() {
            return false;
        }
        if let Some(reasons) = &self.reasons {
            waiting.reason = waiting.reason.or_else(|| reasons.of(seen));
            let question = waiting.reason.as_mut().and_then(|reason| reason.question.as_deref_mut());
            match (question, &waiting.search) {
                (Some(Lookup::Path(question)), Some(search)) if search.dirs.len() > 1 => {
                    (question.others, question.places) = (search.dirs.clone(), search.dirs.len());
                }
                // While the process still runs.
                (Some(_), _) if !answered => {
                    waiting.reason.iter_mut().for_each(|reason| reasons.look(reason, MOST / 2))
                }
                _ => {}
            }
        }
        self.bytes += waiting.bytes();
        self.waiting.push_back(waiting);
        waits
    }

    /// Joins the calls of a search. Only the last one has a line. Of a library it is the line of the first, which has the usual name.
    fn search(&mut self, seen: &EventContext<'_>, waiting: &mut Waiting) {
        let (body, time) = (&seen.event.body, waiting.time);
        let (Some(process), Some((dir, _)), Some(true)) = (seen.process, search_dir(body), missed(body)) else {
            return;
        };
        let library = argument(body.sought().unwrap_or_default(), &process.image.argv);
        let library = library.filter(|arg| arg.starts_with(LIBRARY));
        let key = self.hasher.hash_one((process.key, seen.event.kind(), library.or(common_name(body))));
        let continues = |other: &&mut Waiting| {
            let same = |search: &Search| search.key == key && time.since(search.began) <= SEARCH_NS;
            other.search.as_ref().is_some_and(same)
        };
        let mut search = Search { key, began: time, ..Search::default() };
        if let Some(before) = self.waiting.iter_mut().rev().take(RECENT).find(continues) {
            before.answered = true;
            search = before.search.take().unwrap_or(search);
            if library.is_some() {
                std::mem::swap(&mut before.line, &mut waiting.line);
                waiting.reason = before.reason.take().map(|reason| Reason { answer: None, ..reason });
            }
        }
        search.calls += 1;
        if search.dirs.len() < SEARCH_DIRECTORIES && !search.dirs.contains(&dir) {
            search.dirs.push(dir);
        }
        waiting.search = Some(search);
    }

    /// Adds to an exit its cause with the reason, and the command.
    fn finish_exit(&mut self, seen: &EventContext<'_>, cause: Option<ExitCause>, charset: Charset, exit: &mut Waiting) {
        let Some(process) = seen.process else { return };
        // A process that went on may have exited for another reason.
        let cause = cause.filter(|cause| !cause.went_on);
        let id = cause.map_or(exit.id, |cause| cause.id);
        let own = cause.filter(|cause| cause.child.is_none()).and_then(|cause| cause.failure);
        let mut cause = self.causes.get(&id).cloned().unwrap_or_else(|| Cause { exit: exit.id, ..Cause::default() });
        if let Some((words, reason)) = own.and_then(|own| self.own_cause(own, exit.line.is_some())) {
            (cause.words, cause.reason) = (words, reason);
        }
        let child = self.place(cause.exit);
        if let Some(line) = &mut exit.line {
            let mut raw = b"  ".to_vec();
            match cause.chain.last() {
                Some(name) if child.is_none() => raw.extend([b"via ", name.as_slice(), b"  "].concat()),
                _ => {
                    let words = Some(&cause.words).filter(|words| !words.is_empty());
                    words.into_iter().for_each(|words| raw.extend([words, b"  ".as_slice()].concat()));
                    let arrow = if charset == Charset::Ascii { " > " } else { " › " };
                    cause.chain.iter().for_each(|name| raw.extend([name, arrow.as_bytes()].concat()));
                    exit.reason = cause.reason.clone().map(|answer| Reason { answer: Some(answer), question: None });
                }
            }
            let most = raw.len() + COMMAND;
            shell::words(&process.image.argv, &mut raw);
            raw.truncate(most);
            add(&raw, charset, line);
            child.and_then(|at| self.waiting.get_mut(at)).into_iter().for_each(|child| child.answered = true);
            cause.exit = exit.id;
        }
        // The line of a parent says how the process ended whose failure no call explains.
        if let (true, Some(exit)) = (cause.words.is_empty() && cause.chain.is_empty(), seen.event.body.exit()) {
            cause.words = match exit.ended() {
                Ended::Code(code) => format!("exit {code}").into_bytes(),
                signal => {
                    let mut words = format!("{signal} ").into_bytes();
                    if !exit.by(&mut words) {
                        words.pop();
                    }
                    words
                }
            };
        }
        let name = if cause.chain.is_empty() { process.short_command() } else { process.comm.to_vec() };
        cause.chain.push(name);
        if self.causes.len() >= CAUSES {
            self.causes = HashMap::default();
        }
        self.causes.insert(id, cause);
    }

    /// The failed call that made its process exit, in words and with its reason. `replaced`: the line of the exit says this.
    fn own_cause(&mut self, own: Failure, replaced: bool) -> Option<(Vec<u8>, Option<Answer>)> {
        let at = self.place(own.id)?;
        let call = self.waiting.get_mut(at)?;
        call.answered = replaced;
        if let (Some(reason), Some(reasons)) = (&mut call.reason, &self.reasons) {
            reasons.look(reason, MOST);
        }
        let answer = call.reason.as_ref().and_then(|reason| reason.answer.clone());
        Some((call.words.get(usize::from(own.searched))?.clone(), answer))
    }

    /// Notes that the trace has reached a time.
    pub(in crate::command) fn reach(&mut self, time: BootNanos) {
        self.now = self.now.max(time);
    }

    /// The next line that has waited long enough, whether it was answered, and its reason. `all`: each has waited enough.
    pub(in crate::command) fn next(&mut self, all: bool) -> Option<(Option<Line>, bool, Option<Answer>)> {
        let waited = |first: &Waiting| self.patience_ns.is_some_and(|patience| self.now.since(first.time) >= patience);
        self.waiting.front().filter(|first| all || self.bytes > self.most || waited(first))?;
        let first = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(first.bytes());
        let Waiting { mut line, answered, search, reason, .. } = first;
        if let (Some(line), Some(charset), Some(search)) = (&mut line, self.charset, search) {
            let word = if search.dirs.len() > 1 { "searched " } else { "x" };
            let calls = Some(format!("  {word}{}", grouped(search.calls))).filter(|_| search.calls > 1);
            calls.iter().for_each(|calls| add(calls.as_bytes(), charset, line));
            let removed = search.removed.map(|removed| [b"  (", removed.as_slice(), b")"].concat());
            removed.iter().for_each(|removed| add(removed, charset, line));
        }
        let reasons = self.reasons.as_ref().filter(|_| line.is_some() && !answered);
        let answer =
            reasons.zip(reason).map(|(reasons, reason)| reasons.known(reason, if all { AT_END } else { MOST }));
        Some((line, answered, answer))
    }
}

/// Adds text to the end of a line.
fn add(raw: &[u8], charset: Charset, line: &mut Line) {
    let mut text = Vec::new();
    escape(raw, charset.reversible(), &mut text);
    let end = line.text.len() - usize::from(line.text.ends_with(b"\n"));
    line.text.splice(end..end, text);
}

/// A failed call in words, by [`Failure::searched`].
fn in_words(id: Id, seen: &EventContext<'_>) -> [Vec<u8>; WAYS] {
    let (body, argv) = (&seen.event.body, seen.process.map_or(&[][..], |process| &process.image.argv));
    let failure = Failure::of(id, body.error());
    std::array::from_fn(|searched| text(body, Failure { searched: searched as u8, ..failure }, argv, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tracetui_events::pipeline::{Disposition, Pipeline};
    use tracetui_events::sink::{FormatName, to_writer};
    use tracetui_events::synthetic::{Maker, payload};
    use tracetui_shared::calls::file::{RMDIR, UNLINK};
    use tracetui_shared::calls::lookup::STAT;
    use tracetui_shared::id::Tgid;
    use tracetui_shared::kind::Slot;

    /// The paths of the lines, and how many events there were before each.
    fn shown(patience_ns: Option<u64>, memory: u64, make: impl FnOnce(&mut Maker)) -> Vec<(usize, String)> {
        let (mut made, mut pipeline) = (Maker::default(), Pipeline::default());
        make(&mut made);
        pipeline.feed(made.batch());
        pipeline.end();
        let mut sink = to_writer(FormatName::Text, io::sink());
        let mut unanswered = Unanswered::new(patience_ns, Budget::new(memory), None, None);
        let (mut lines, mut events) = (Vec::new(), 0);
        let mut release = |unanswered: &mut Unanswered, events: usize, all: bool| {
            while let Some((Some(line), answered, _)) = unanswered.next(all) {
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
    fn in_text_a_failure_and_the_exits_that_it_caused_are_one_line() {
        let mut made = Maker::default();
        made.acts("7 ld exec ld -lzz, open /a/libzz.so:-2 /b/libzz.so:-2 /b/libzz.a:-2, exit 1");
        // Of a search, any file may have been removed.
        made.call(Slot::File, 6, "rm", UNLINK, "/a/p/q/x.h", 0);
        made.call(Slot::File, 6, "rm", RMDIR, "/a/p/q", 0);
        made.call(Slot::File, 6, "rm", RMDIR, "/b/p/qq", 0);
        made.acts("8 cc1 exec cc1, open /a/p/q/x.h:-2 /b/p/q/x.h:-2, exit 1; 9 sh exec sh");
        // It is optional, unless the process fails because of it.
        made.acts("9 sh open /dev/video0:-2, exit 1");
        // A shell walks along PATH.
        made.exec(10, "sh", &["sh"], 0);
        for dir in ["/usr/bin", "/bin"] {
            made.call(Slot::Lookup, 10, "sh", STAT, &format!("{dir}/gen"), -2);
        }
        made.acts("10 sh exit 127; 11 make exec make, fork 12");
        made.like.ppid = Tgid(11);
        made.acts("12 cc1 exec cc1, open /a/a.h:-2 /b/a.h:-2, exit 1");
        made.like.ppid = Tgid(1);
        made.acts("11 make exit 2; 13 sh exec sh, fork 14");
        made.like.ppid = Tgid(13);
        made.acts("14 cc1 exec cc1, open /a/b.h:-2 /b/b.h:-2, exit 1");
        made.like.ppid = Tgid(1);
        // It started another child, which may have been the cause.
        let start = BootNanos(made.ns + 1);
        made.event(Slot::Fork, 13, "sh", &payload::fork((13, made.start_of(13)), (15, start)));
        made.exit(13, "sh", 3 << 8);
        let mut pipeline = Pipeline::default();
        pipeline.feed(made.batch());
        pipeline.end();
        let mut sink = to_writer(FormatName::Text, io::sink());
        let mut unanswered = Unanswered::new(None, Budget::default(), Some(Charset::Utf8), None);
        pipeline.next(None, &mut |seen, _| {
            unanswered.hold(seen, true, &mut *sink);
            Disposition::Delivered
        });
        let lines = std::iter::from_fn(|| unanswered.next(true)).filter(|(_, answered, _)| !answered);
        let text = |line: Option<Line>| String::from_utf8(line.expect("a line").text).expect("UTF-8");
        let ends = lines.map(|(line, ..)| text(line).trim_end().rsplit("   ").next().unwrap_or_default().to_owned());
        let want = [
            "ran 10.0 s  -lzz not found  ld -lzz",
            "ran 10.0 s  p/q/x.h not found (rmdir by rm[6] 3 ms before)  cc1",
            "ran 10.0 s  /dev/video0 not found  sh",
            "ran 10.0 s  gen not found  sh",
            "ran 10.0 s  a.h not found  cc1 › make",
            "ran 10.0 s  b.h not found  cc1",
            "ran 10.0 s  sh",
        ];
        assert_eq!(ends.map(|end| end.trim().to_owned()).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_line_waits_for_an_answer_in_order() {
        let make = |made: &mut Maker| {
            made.open(7, "cc1", "/a/x.h", -2);
            made.open(8, "sh", "/etc/key", -libc::EMFILE);
            made.acts("7 cc1 open /b/x.h:4 /a/y.h:-2");
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
