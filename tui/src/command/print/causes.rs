//! The causes in the EXIT lines of `print --unanswered`.

use foldhash::HashMap;
use tracetui_events::event::EventContext;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::search::{Failure, ended_soon, words};
use tracetui_events::store::Id;
use tracetui_events::text::{Charset, escape, shell};
use tracetui_shared::time::BootNanos;

/// How many failed calls are kept: of a process, and of all.
const OF_PROCESS: usize = 32;
const OF_ALL: usize = 4096;

/// Bytes of a command in a line.
const COMMAND: usize = 120;

/// A failed call in words: with its path, and as the last one of a search.
struct Failed {
    id: Id,
    time: BootNanos,
    words: [Vec<u8>; 2],
}

#[derive(Default)]
pub(super) struct Causes {
    charset: Charset,
    failed: HashMap<ProcessKey, Vec<Failed>>,
    /// The number of them.
    all: usize,
    /// For a process, the last of its children that failed, with the cause.
    children: HashMap<ProcessKey, (BootNanos, Vec<u8>)>,
}

impl Causes {
    pub(super) fn new(charset: Charset) -> Causes {
        Causes { charset, ..Causes::default() }
    }

    /// Takes an event, and the call that caused it if it is an exit. Returns the end of its line.
    pub(super) fn take(&mut self, id: Id, seen: &EventContext<'_>, cause: Option<Failure>) -> Option<Vec<u8>> {
        let (event, process) = (seen.event, seen.process?);
        if event.body.exit().is_none() {
            if event.failed() && event.body.ret().is_some() {
                self.keep(id, seen, process.key);
            }
            return None;
        }
        let child = self.children.remove(&process.key);
        let failed = self.failed.remove(&process.key).unwrap_or_default();
        self.all -= failed.len();
        if !event.failed() {
            return None;
        }
        let end = event.header.time;
        let own = cause.map(|cause| (cause, failed.iter().find(|failed| failed.id == cause.id)));
        let child = child.filter(|(at, _)| ended_soon(process, *at, end));
        let (own, text) = match (own, child) {
            // What failed last. The words of an own cause may be forgotten.
            (Some((cause, Some(own))), child) if child.as_ref().is_none_or(|(at, _)| *at < own.time) => {
                (true, own.words.get(usize::from(cause.searched)).cloned())
            }
            (Some((_, None)), _) => (true, None),
            (_, child) => (false, child.map(|(_, text)| text)),
        };
        if let Some(parent) = process.parent {
            if self.children.len() >= OF_ALL {
                self.children = HashMap::default();
            }
            let mut result = Vec::new();
            seen.result(&mut result);
            let told = match (&text, own) {
                (Some(text), false) => text.clone(),
                (Some(text), true) => [&process.comm, b": ".as_slice(), text].concat(),
                (None, _) => [&process.comm, b": exit ".as_slice(), &result].concat(),
            };
            self.children.insert(parent, (end, told));
        }
        let mut raw = Vec::new();
        raw.extend(text.iter().flat_map(|text| [b"  ".as_slice(), text].concat()));
        raw.extend_from_slice(b"  ");
        let most = raw.len() + COMMAND;
        shell::words(&process.image.argv, &mut raw);
        raw.truncate(most);
        let mut out = Vec::new();
        escape(&raw, self.charset.reversible(), &mut out);
        Some(out)
    }

    fn keep(&mut self, id: Id, seen: &EventContext<'_>, process: ProcessKey) {
        if self.all >= OF_ALL {
            (self.failed, self.all) = (HashMap::default(), 0);
        }
        let failure = Failure::of(id, seen.event.body.error());
        let argv = seen.process.map_or(&[][..], |process| &process.image.argv);
        let words = [false, true].map(|searched| {
            let [whole, name] = words(&seen.event.body, Failure { searched, ..failure }, argv);
            if searched { name } else { whole }
        });
        let failed = Failed { id, time: seen.event.header.time, words };
        let of_process = self.failed.entry(process).or_default();
        if of_process.len() >= OF_PROCESS {
            of_process.remove(0);
            self.all -= 1;
        }
        of_process.push(failed);
        self.all += 1;
    }
}
