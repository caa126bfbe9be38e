//! Who removed the file that a call did not find.

use super::related::absolute_paths;
use crate::store::{Id, Store};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;

/// The last removal of a path before a call that did not find it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Removed {
    /// unlink, rmdir or rename.
    pub op: &'static str,
    pub pid: Tgid,
    /// The name of the thread.
    pub comm: Vec<u8>,
    /// How long before the call, in nanoseconds.
    pub before_ns: u64,
    /// The new path as passed, of a rename.
    pub to: Option<Vec<u8>>,
}

/// How many events before the call are examined.
const MOST: u64 = 1 << 20;

/// The last kept event before a failed call that removed its file, or a directory above.
pub fn removed(store: &Store, id: Id) -> Option<Removed> {
    let stored = store.get(id).filter(|stored| stored.failed)?;
    let event = stored.event().ok()?;
    if event.body.ret()? != -libc::ENOENT {
        return None;
    }
    let path = absolute_paths(&event.body).into_iter().next()?;
    let before = store.range(store.first_id().max(id.saturating_sub(MOST))..id).rev();
    before.filter(|other| other.kind == Kind::File && !other.failed).find_map(|other| {
        let change = other.event().ok().filter(|change| change.header.mnt_ns == event.header.mnt_ns)?;
        let file = change.body.paths()?;
        let op = file.op();
        let first = || absolute_paths(&change.body).into_iter().next();
        let gone = || first().filter(|gone| path.strip_prefix(&gone[..]).is_some_and(is_below));
        matches!(op, "unlink" | "rmdir" | "rename").then(gone)??;
        Some(Removed {
            op,
            pid: change.header.tgid,
            comm: change.header.comm().to_vec(),
            before_ns: event.header.time.since(change.header.time),
            to: (op == "rename").then(|| file.texts[1].to_vec()),
        })
    })
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
