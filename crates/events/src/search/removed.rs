//! Who removed the file that a call did not find.

use super::places::Searched;
use super::related::{absolute, absolute_paths};
use crate::event::{Event, changes_files};
use crate::limits;
use crate::store::{Id, Store};
use crate::text::time::short_duration;
use foldhash::HashMap;
use tracetui_shared::id::NsInum;
use tracetui_shared::time::BootNanos;

/// How many events before the call are examined.
const MOST: u64 = 1 << 20;

/// A change that removed a name.
#[derive(Debug)]
struct Removal {
    time: BootNanos,
    /// `unlink by rm[411]`, `rename to b by mv[412]`. Raw bytes, not escaped.
    by: Vec<u8>,
}

impl Removal {
    /// The removal that an event is about, with the path.
    fn of(event: &Event<'_>) -> Option<(Vec<u8>, Removal)> {
        let file = event.body.change()?;
        let op = Some(file.op()).filter(|op| matches!(*op, "unlink" | "rmdir" | "rename"))?;
        let mut by = op.as_bytes().to_vec();
        if op == "rename" {
            by.extend([b" to ", file.texts[1]].concat());
        }
        by.extend([b" by ", event.header.comm(), format!("[{}]", event.header.tgid.0).as_bytes()].concat());
        Some((absolute_paths(event).into_iter().next()?, Removal { time: event.header.time, by }))
    }

    /// `unlink by rm[411] 2.1 s before`.
    fn before(&self, call: &Event<'_>) -> Vec<u8> {
        let mut text = [&self.by, b" ".as_slice()].concat();
        short_duration(call.header.time.since(self.time), &mut text);
        text.extend(b" before");
        text
    }
}

/// The path that a call did not find.
fn sought(call: &Event<'_>) -> Option<Vec<u8>> {
    let missing = call.body.ret() == Some(-libc::ENOENT);
    missing.then(|| absolute_paths(call).into_iter().next())?
}

/// The last kept event before a failed call, and before the calls of its search, that removed the file or a directory above: `unlink by
/// rm[411] 2.1 s before`. Raw bytes, not escaped.
pub fn removed(store: &Store, id: Id, search: Option<&Searched>) -> Option<Vec<u8>> {
    let stored = store.get(id).filter(|stored| stored.failed)?;
    let call = stored.event().ok()?;
    let mut paths = vec![sought(&call)?];
    if let Some(search) = search {
        paths.extend(search.first.iter().filter_map(|dir| absolute(&dir.path(&search.name), dir.start.clone())));
    }
    let before = store.range(store.first_id().max(id.saturating_sub(MOST))..id).rev();
    before.filter(|other| changes_files(other.kind) && !other.failed).find_map(|other| {
        let change = other.event().ok().filter(|change| change.header.mnt_ns == call.header.mnt_ns)?;
        let (gone, removal) = Removal::of(&change)?;
        let is_gone = |path: &Vec<u8>| path.strip_prefix(&gone[..]).is_some_and(is_below);
        paths.iter().any(is_gone).then(|| removal.before(&call))
    })
}

/// The last removals of paths in a stream of events.
#[derive(Debug, Default)]
pub struct Removals(HashMap<(NsInum, Vec<u8>), Removal>);

impl Removals {
    pub fn take(&mut self, event: &Event<'_>) {
        let Some((path, removal)) = Removal::of(event) else { return };
        if self.0.len() >= limits::REMOVALS {
            self.0 = HashMap::default();
        }
        self.0.insert((event.header.mnt_ns, path), removal);
    }

    /// What removed the file that a call did not find, or a directory above ([`removed`]).
    pub fn before(&self, call: &Event<'_>) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        let (mut path, mut last) = (sought(call)?, None::<&Removal>);
        loop {
            let key = (call.header.mnt_ns, path);
            let found = self.0.get(&key).filter(|found| last.is_none_or(|last| last.time < found.time));
            (last, path) = (found.or(last), key.1);
            let Some(slash) = memchr::memrchr(b'/', &path) else { break };
            path.truncate(slash);
        }
        last.map(|last| last.before(call))
    }
}

/// Whether the rest of a path after a directory is empty or below it.
fn is_below(rest: &[u8]) -> bool {
    rest.first().is_none_or(|byte| *byte == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_removed_directory_is_gone() {
        for (path, gone, expected) in [("/a/b", "/a/b", true), ("/a/b/c", "/a/b", true), ("/a/bc", "/a/b", false)] {
            let rest = path.as_bytes().strip_prefix(gone.as_bytes());
            assert_eq!(rest.is_some_and(is_below), expected, "{path}");
        }
    }
}
