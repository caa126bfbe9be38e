//! The events that belong together beyond their processes: those of a connection, and those that made, changed or removed a file.

use crate::event::connection::{Connection, End};
use crate::event::describe::Value;
use crate::event::{Event, Takes, changes_files, connects, takes};
use crate::store::Stored;
use crate::store::index::Answer;
use tracetui_shared::id::NsInum;

/// What such events have in common.
#[derive(Clone, Debug)]
pub enum Related {
    Connection(Connection),
    /// The absolute paths of a file in a mount namespace, without links followed: one, or two of a rename or link.
    File {
        mnt_ns: NsInum,
        paths: Vec<Vec<u8>>,
    },
}

impl Related {
    /// What an event has in common with others; `None` if that is only its process.
    pub fn of(stored: &Stored<'_>) -> Option<Related> {
        let may_be = connects(stored.kind) || changes_files(stored.kind) || takes(stored.kind) == Takes::Contents;
        may_be.then(|| stored.event())?.ok().and_then(|event| Related::of_event(&event))
    }

    fn of_event(event: &Event<'_>) -> Option<Related> {
        if let Some(connection) = event.body.connection() {
            return Some(Related::Connection(*connection));
        }
        let paths = absolute_paths(event);
        (!paths.is_empty()).then_some(Related::File { mnt_ns: event.header.mnt_ns, paths })
    }

    /// Whether an event belongs to it. Events of the other end of a connection are marked. Of the opens of a file, only those that
    /// created it belong to it.
    pub fn answer(&self, stored: &Stored<'_>) -> Answer {
        let is_open = takes(stored.kind) == Takes::Contents;
        let may_be = match self {
            Related::Connection(_) => connects(stored.kind),
            Related::File { .. } => changes_files(stored.kind) || is_open && !stored.failed,
        };
        let creates = |event: &Event<'_>| event.body.file_use().is_some_and(|used| used.created);
        let event = may_be.then(|| stored.event().ok()).flatten().filter(|event| !is_open || creates(event));
        event.and_then(|event| Related::of_event(&event)).map_or(Answer::No, |other| self.meets(&other))
    }

    /// Whether both are about the same connection or file; [`Answer::Marked`] for the other end of a connection.
    fn meets(&self, other: &Related) -> Answer {
        match (self, other) {
            (Related::Connection(one), Related::Connection(other)) => match one.end_of(other) {
                None => Answer::No,
                Some(End::Same) => Answer::Yes,
                Some(End::Other) => Answer::Marked,
            },
            (Related::File { mnt_ns, paths }, Related::File { mnt_ns: there, paths: others }) => {
                let meets = mnt_ns == there && paths.iter().any(|path| others.contains(path));
                if meets { Answer::Yes } else { Answer::No }
            }
            _ => Answer::No,
        }
    }

    /// Whether this has the same events as another.
    pub fn is_same(&self, other: &Related) -> bool {
        match (self, other) {
            (Related::File { mnt_ns, paths }, Related::File { mnt_ns: there, paths: others }) => {
                mnt_ns == there && paths == others
            }
            _ => self.meets(other) == Answer::Yes,
        }
    }
}

/// The absolute paths of a call, without links followed, `.` and `..`; of an opened file its own.
pub(super) fn absolute_paths(event: &Event<'_>) -> Vec<Vec<u8>> {
    if let Some(names) = event.body.found().filter(|_| takes(event.kind()) == Takes::Contents) {
        return Some(names.to_vec()).filter(|path| !path.is_empty()).into_iter().collect();
    }
    let Some(asked) = event.body.asked() else { return Vec::new() };
    let at = |start: Value<'_>| if let Value::Path(dir) = start { Some(dir.to_vec()) } else { None };
    let first = asked.path.and_then(|path| absolute(path, at(asked.start)));
    let second = asked.next.and_then(|(_, path, start)| absolute(path, at(start)));
    first.into_iter().chain(second).collect()
}

/// A path without `.` and `..`. `None` if it is relative and its start unknown.
pub(super) fn absolute(path: &[u8], start: Option<Vec<u8>>) -> Option<Vec<u8>> {
    let start = start.or_else(|| path.starts_with(b"/").then(Vec::new))?;
    let mut names: Vec<&[u8]> = Vec::new();
    for name in start.split(|byte| *byte == b'/').chain(path.split(|byte| *byte == b'/')) {
        match name {
            b"" | b"." => {}
            b".." => _ = names.pop(),
            name => names.push(name),
        }
    }
    Some(names.iter().flat_map(|name| [b"/".as_slice(), name].concat()).collect())
}
