//! The causes in the EXIT lines of `print --unanswered`.

use foldhash::HashMap;
use std::collections::VecDeque;
use tracetui_events::event::EventContext;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::limits;
use tracetui_events::search::{Failure, ended_soon, words};
use tracetui_events::store::Id;
use tracetui_events::text::{Charset, escape, shell};
use tracetui_shared::time::BootNanos;

/// How many failed calls are kept, and how many ended children.
const MOST: usize = limits::SEARCH_OF_PROCESS;

/// Bytes of a command in a line.
const COMMAND: usize = 120;

#[derive(Default)]
pub(super) struct Causes {
    charset: Charset,
    /// Failed calls with their times: in words with the path, and with the last name only.
    failed: VecDeque<(Id, BootNanos, [Vec<u8>; 2])>,
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
            if event.failed()
                && let Some(path) = event.body.sought()
            {
                if self.failed.len() >= MOST {
                    self.failed.pop_front();
                }
                let failure = Failure::of(id, event.body.error());
                self.failed.push_back((id, event.header.time, words(&event.body, path, failure, &process.image.argv)));
            }
            return None;
        }
        let child = self.children.remove(&process.key);
        if !event.failed() {
            return None;
        }
        let end = event.header.time;
        let own = cause.and_then(|cause| {
            let at = self.failed.binary_search_by_key(&cause.id, |(id, ..)| *id).ok()?;
            let (_, time, words) = self.failed.get(at)?;
            Some((*time, words.get(usize::from(cause.searched))?.clone()))
        });
        let child = child.filter(|(at, _)| ended_soon(process, *at, end));
        // What failed last.
        let is_own = |(time, _): &(BootNanos, Vec<u8>)| child.as_ref().is_none_or(|(at, _)| at < time);
        let own = own.filter(is_own).map(|(_, text)| text);
        let child = child.map(|(_, text)| text);
        let text = own.clone().or(child.clone());
        if let (Some(text), Some(parent)) = (&text, process.parent) {
            if self.children.len() >= MOST {
                self.children = HashMap::default();
            }
            let named = own.map(|own| [&process.comm, b": ".as_slice(), &own].concat());
            self.children.insert(parent, (end, named.unwrap_or_else(|| text.clone())));
        }
        let mut raw = Vec::new();
        raw.extend(text.iter().flat_map(|text| [b"  ".as_slice(), text].concat()));
        raw.extend_from_slice(b"  ");
        shell::words(&process.image.argv, &mut raw);
        raw.truncate(raw.len().min(COMMAND + text.map_or(0, |text| text.len())));
        let mut out = Vec::new();
        escape(&raw, self.charset.reversible(), &mut out);
        Some(out)
    }
}
