//! The summary of the process that is selected in the tree. It takes the place of the strip there.
//!
//! The kept events of the process are counted in slices, newest first; new ones when they arrive.

use super::{Content, Line, Target};
use crate::app::App;
use crate::app::views::top::By;
use foldhash::HashMap;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use tracetui_events::enrich::World;
use tracetui_events::event::process::ProcessKey;
use tracetui_events::event::{EventContext, Takes, takes};
use tracetui_events::store::{Id, Store, Stored};
use tracetui_events::text::{counted, grouped};
use tracetui_shared::kind::KindSet;

/// The most values of each property that are counted. Those of older events are left out.
const MOST: usize = 1024;

/// How many of the newest events are looked at at once.
const FIRST: usize = 4_000;

/// The number of events with a value, and the newest of these.
type Counted = HashMap<Box<[u8]>, (u64, Id)>;

#[derive(Debug, Default)]
pub(super) struct Summary {
    /// The process, and the first event after the shown moment.
    of: Option<(ProcessKey, Option<Id>)>,
    /// Events from this one on are counted.
    from: Id,
    /// Successful opens by their directories.
    directories: Counted,
    written: Counted,
    peers: Counted,
    /// The newest failures.
    failures: BTreeSet<Id>,
    scratch: Vec<u8>,
    pub(super) bytes: usize,
}

impl Summary {
    /// Chooses the process. Its events are counted again if it or the moment is another one: the newest at once.
    pub(super) fn about(&mut self, of: Option<(ProcessKey, Option<Id>)>, store: &Store, world: &World) {
        if self.of != of {
            let from = of.map_or(0, |(_, until)| until.unwrap_or(store.next_id()));
            *self = Summary { of, from, ..Summary::default() };
            self.scan(store, world, FIRST);
        }
    }

    pub(super) fn append(&mut self, stored: &Stored<'_>, seen: &EventContext<'_>) {
        let key = self.of.filter(|(_, until)| until.is_none()).map(|(key, _)| key);
        if key.is_some() && key == seen.process.map(|process| process.key) {
            self.count(stored, seen);
        }
    }

    /// Counts up to `budget` older events.
    pub(super) fn scan(&mut self, store: &Store, world: &World, budget: usize) {
        let Some((key, _)) = self.of.filter(|_| self.scanning(store)) else { return };
        let (mut left, mut from) = (budget, store.first_id());
        for stored in store.range(store.first_id()..self.from).rev() {
            // Nothing of the process is older. Events are only nearly in time order.
            if left == 0 || stored.time.0 + 1_000_000_000 < key.start.0 {
                from = if left == 0 { stored.id + 1 } else { 0 };
                break;
            }
            left -= 1;
            if stored.process.is_some_and(|process| process.key == key) {
                stored.with(world, |seen| self.count(&stored, seen));
            }
        }
        self.from = from;
    }

    pub(super) fn scanning(&self, store: &Store) -> bool {
        self.of.is_some() && self.from > store.first_id()
    }

    fn count(&mut self, stored: &Stored<'_>, seen: &EventContext<'_>) {
        let id = stored.id;
        if stored.failed && KindSet::CALLS.contains(stored.kind) {
            self.failures.insert(id);
            if self.failures.len() > MOST {
                self.failures.pop_first();
            }
            return;
        }
        let mut value = std::mem::take(&mut self.scratch);
        value.clear();
        let body = &seen.event.body;
        if let Some(file) = body.file().filter(|_| takes(stored.kind) == Takes::Contents) {
            file.write(&mut value);
            if body.file_use().is_some_and(|used| used.written) {
                self.bytes += add(&mut self.written, &value, id);
            }
            value.truncate(memchr::memrchr(b'/', &value).map_or(0, |slash| slash.max(1)));
            self.bytes += add(&mut self.directories, if value.is_empty() { b"." } else { &value }, id);
        }
        let socket = body.socket().filter(|_| !body.is_close());
        if socket.is_some_and(|socket| socket.service(&mut value)) {
            self.bytes += add(&mut self.peers, &value, id);
        }
        self.scratch = value;
    }
}

/// Counts a value, and returns the memory that this takes.
fn add(to: &mut Counted, value: &[u8], id: Id) -> usize {
    if let Some((events, last)) = to.get_mut(value) {
        (*events, *last) = (*events + 1, (*last).max(id));
        return 0;
    }
    if to.len() >= MOST {
        return 0;
    }
    to.insert(value.into(), (1, id));
    value.len() + 2 * size_of::<(Box<[u8]>, (u64, Id))>()
}

/// The most frequent values first, or the newest.
fn ordered(counted: &Counted, newest: bool) -> Vec<(&[u8], u64, Id)> {
    let mut all: Vec<_> = counted.iter().map(|(value, (events, last))| (&**value, *events, *last)).collect();
    all.sort_unstable_by_key(|(value, events, last)| {
        (Reverse(if newest { 0 } else { *events }), Reverse(*last), *value)
    });
    all
}

impl App {
    pub(super) fn process_lines(&self, height: usize) -> Vec<Line<'_>> {
        let Some(seen) = self.views.tree.selected() else {
            return vec![Line::of(Content::None("no process is selected"))];
        };
        let (summary, few) = (&self.side.summary, (height / 8).clamp(2, 8));
        let mut lines: Vec<Line<'_>> =
            [Content::Who(seen), Content::Command(seen), Content::Life(seen)].map(Line::of).into();
        if let Some(parent) = seen.process.parent.and_then(|parent| self.views.tree.process(parent)) {
            lines.push(Line::to(Content::Parent(parent), Target::Process(parent.process.key)));
        }
        let title = |lines: &mut Vec<Line<'_>>, name, about: String| {
            lines.extend([Line::of(Content::Blank), Line::of(Content::Title(name, about.into()))]);
        };
        let pid = format!("pid={}", seen.process.key.tgid.0);
        let looking = if summary.scanning(&self.store) { ", counting" } else { "" };
        let evicted = if self.store.evicted() > 0 { ", kept ones below" } else { "" };
        title(&mut lines, "OPENS", format!("{}{evicted}{looking}", grouped(seen.counts.opens)));
        for (directory, events, _) in ordered(&summary.directories, false).into_iter().take(few) {
            let part = format!("{pid} {}", By::Dir.term(directory));
            lines.push(Line::to(Content::Count(directory, events), Target::Part(part)));
        }
        if !summary.written.is_empty() {
            title(&mut lines, "WRITTEN", counted(summary.written.len() as u64, ["file", "files"]));
            for (path, events, id) in ordered(&summary.written, true).into_iter().take(few) {
                lines.push(Line::to(Content::Count(path, events), Target::Event(id)));
            }
        }
        let children: Vec<_> = self.views.tree.children(seen.process.key, self.loaded().moment()).collect();
        if !children.is_empty() {
            let failed = match children.iter().filter(|child| child.failed()).count() {
                0 => String::new(),
                failed => format!(", {} failed", grouped(failed as u64)),
            };
            title(&mut lines, "CHILDREN", format!("{}{failed}", grouped(children.len() as u64)));
            // Those that failed first, then the newest.
            let mut children = children;
            children.reverse();
            children.sort_by_key(|child| !child.failed());
            let line = |child| Line::to(Content::Child(child), Target::Process(child.process.key));
            lines.extend(children.into_iter().take(few).map(line));
        }
        if !summary.peers.is_empty() {
            title(&mut lines, "PEERS", grouped(summary.peers.len() as u64));
            for (peer, events, id) in ordered(&summary.peers, true).into_iter().take(few) {
                lines.push(Line::to(Content::Count(peer, events), Target::Event(id)));
            }
        }
        if seen.counts.failed > 0 {
            title(&mut lines, "FAILED", format!("{}, unanswered", grouped(seen.counts.failed)));
            let failures = summary.failures.iter().rev().filter_map(|id| self.store.get(*id));
            let room = height.saturating_sub(lines.len()).max(1);
            lines.extend(
                failures
                    .filter(|stored| !stored.answered)
                    .take(room)
                    .map(|stored| Line::to(Content::Call(stored), Target::Event(stored.id))),
            );
        }
        lines.truncate(height);
        lines
    }
}
