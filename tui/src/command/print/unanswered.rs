//! Failures that nothing answered: `print --unanswered`.
//!
//! A later call of the process may answer a failure ([`Searches`]), so the line of each failure waits: of a recording until its end, live
//! for as long as a search may take. All lines wait equally long, so they stay in order.

use super::causes::Causes;
use std::collections::VecDeque;
use tracetui_events::budget::Budget;
use tracetui_events::event::EventContext;
use tracetui_events::search::Searches;
use tracetui_events::sink::{Line, Sink};
use tracetui_events::store::Id;
use tracetui_events::text::Charset;
use tracetui_shared::kind::Kind;
use tracetui_shared::time::BootNanos;

/// How long a line waits live, in nanoseconds.
pub(in crate::command) const LIVE_NS: u64 = 5_000_000_000;

struct Waiting {
    id: Id,
    time: BootNanos,
    line: Line,
    answered: bool,
}

pub(in crate::command) struct Unanswered {
    searches: Searches,
    next: Id,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Bytes of lines that may wait. Beyond it, the oldest ones wait no longer.
    most: usize,
    /// How long lines wait; `None`: until the end.
    patience_ns: Option<u64>,
    /// The time that the trace has reached.
    now: BootNanos,
    /// If lines are text, what their exits say.
    causes: Option<Causes>,
}

impl Unanswered {
    pub(in crate::command) fn new(patience_ns: Option<u64>, budget: Budget) -> Unanswered {
        let (searches, waiting, most) = (Searches::default(), VecDeque::new(), budget.share(4));
        Unanswered { searches, next: 0, waiting, bytes: 0, most, patience_ns, now: BootNanos(0), causes: None }
    }

    /// For lines of text: exits have their cause and their command.
    pub(in crate::command) fn with_causes(self, charset: Option<Charset>) -> Unanswered {
        Unanswered { causes: charset.map(Causes::new), ..self }
    }

    /// Takes an event. Returns whether its line waits. `wanted`: whether it passes the filter.
    pub(in crate::command) fn hold(&mut self, seen: &EventContext<'_>, wanted: bool, sink: &mut dyn Sink) -> bool {
        let id = self.next;
        self.next += 1;
        let mut own = false;
        let taken = self.searches.take(id, seen);
        let more = self.causes.as_mut().and_then(|causes| causes.take(id, seen, taken.cause));
        for answered in taken.answered {
            own |= answered.id == id;
            let at = self.waiting.binary_search_by_key(&answered.id, |waiting| waiting.id);
            let waiting = at.ok().and_then(|at| self.waiting.get_mut(at));
            waiting.into_iter().for_each(|waiting| waiting.answered = true);
        }
        let time = seen.event.header.time;
        self.reach(time);
        let shown = wanted && !own && (seen.event.failed() || seen.event.kind() == Kind::Lost);
        let Some(mut line) = shown.then(|| sink.line(seen)).flatten() else { return false };
        if let Some(more) = more {
            let end = line.text.len() - usize::from(line.text.ends_with(b"\n"));
            line.text.splice(end..end, more);
        }
        self.bytes += line.text.len() + size_of::<Waiting>();
        self.waiting.push_back(Waiting { id, time, line, answered: false });
        true
    }

    /// Notes that the trace has reached a time.
    pub(in crate::command) fn reach(&mut self, time: BootNanos) {
        self.now = self.now.max(time);
    }

    /// The next line that has waited long enough, and whether it was answered. `all`: each line has.
    pub(in crate::command) fn next(&mut self, all: bool) -> Option<(Line, bool)> {
        let waited = |first: &Waiting| self.patience_ns.is_some_and(|patience| self.now.since(first.time) >= patience);
        self.waiting.front().filter(|first| all || self.bytes > self.most || waited(first))?;
        let first = self.waiting.pop_front()?;
        self.bytes -= first.line.text.len() + size_of::<Waiting>();
        Some((first.line, first.answered))
    }
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
        let mut unanswered = Unanswered::new(patience_ns, Budget::new(memory));
        let (mut lines, mut events) = (Vec::new(), 0);
        let mut release = |unanswered: &mut Unanswered, events: usize, all: bool| {
            while let Some((line, answered)) = unanswered.next(all) {
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
