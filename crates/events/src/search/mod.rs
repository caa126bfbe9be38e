//! Searches: a process looks for a name in one directory after another, and every call but the last fails. A failure that a later
//! call answers does not count as a failure ([`answers`]).
//!
//! | file | purpose |
//! |---|---|
//! | this one | the rules on one event, and on two |
//! | [`answers`] | a fold over all events: which failures are answered, and which of them may be the cause of an exit |
//! | [`exits`] | a fold over exits: their causes, and which of them are routine |
//! | [`places`] | the search that a kept event belongs to |
//! | [`related`] | the events of a connection, and those of a file |
//! | [`removed`] | who removed the file that a call did not find |
//! | [`wanted`] | what a call asks for, and whether programs can do without it |
//! | [`words`] | a failed call in words |

pub mod answers;
mod exits;
pub mod places;
mod related;
mod removed;
#[cfg(test)]
mod tests;
mod wanted;
mod words;

pub use answers::{Searches, Taken, WAYS};
pub use exits::{Answered, ExitCause};
pub use places::{Searched, found_later, place_of, search_dir, searched};
pub use related::Related;
pub use removed::{Removals, removed};
pub use words::{included, text, words};

use crate::event::{Body, names};
use crate::store::Id;
use crate::text::command::leaf;
use memchr::memmem;

/// The option that names a library.
pub const LIBRARY: &[u8] = b"-l";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    pub id: Id,
    pub err: &'static str,
    /// Whether the failure is unusual, that is, not part of ordinary work.
    pub real: bool,
    /// How many of the last components of its path were looked up in other directories too.
    pub searched: u8,
}

impl Failure {
    pub fn of(id: Id, ret: i32) -> Failure {
        let err = names::err(ret).unwrap_or("failed");
        Failure { id, err, real: !names::is_expected(err.as_bytes()), searched: 0 }
    }
}

/// Whether a call did not find its file. `None` if it failed in another way, or may create the file.
pub fn missed(body: &Body<'_>) -> Option<bool> {
    body.sought().filter(|_| !body.may_create())?;
    match body.ret()? {
        0.. => Some(false),
        ret => (ret == -libc::ENOENT || ret == -libc::ENOTDIR).then_some(true),
    }
}

/// The target of a call: the directory and the last name of the path as passed, without slashes at its end. `None` if the path
/// has no such name.
pub fn place<'a>(body: &Body<'a>) -> Option<(&'a [u8], &'a [u8])> {
    split(body.sought()?)
}

/// The same for a path.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let path = path.get(..=path.iter().rposition(|byte| *byte != b'/')?)?;
    let (dir, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (&b"/"[..], path.get(1..).unwrap_or_default()),
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (&b"."[..], path),
    };
    (!matches!(name, b"" | b"." | b"..")).then_some((dir, name))
}

/// Whether a path names a descriptor, such as `/dev/fd/3/x`: the next time, it may name another file.
pub fn names_descriptor(path: &[u8]) -> bool {
    memmem::find(path, b"/fd/").is_some()
}

/// The name that the calls of one search share: the [`stem`] of the last name. `None` if the call cannot be part of a search: it
/// may create its file, or it found the file but was refused.
pub fn common_name<'a>(body: &Body<'a>) -> Option<&'a [u8]> {
    // execvp(3) continues its walk of PATH after a file that it may not execute.
    let walks = matches!(body, Body::Exec(exec) if exec.record.ret == -libc::EACCES && exec.filename.starts_with(b"/"));
    Some(stem(place(body).filter(|_| walks || missed(body).is_some())?.1))
}

/// Whether the first call did not find a name and the second one looks for the same name elsewhere. The list joins two calls
/// by this rule alone.
pub fn looks_further(body: &Body<'_>, other: &Body<'_>) -> bool {
    let (Some((dir, name)), Some((next_dir, next_name))) = (place(body), place(other)) else { return false };
    dir != next_dir && name == next_name && missed(body) == Some(true) && missed(other).is_some()
}

/// The argument that names a path: as its end, as the value of an option, or as a library (`-lz`).
pub fn argument<'a>(path: &[u8], argv: &'a [u8]) -> Option<&'a [u8]> {
    let name = leaf(path);
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    let is_library = name.ends_with(b".a") || memmem::find(name, b".so").is_some();
    let library = stem.strip_prefix(b"lib").filter(|_| is_library).or(is_library.then_some(stem)).unwrap_or_default();
    let ends = |with: &[u8]| path == with || path.strip_suffix(with).is_some_and(|dir| dir.ends_with(b"/"));
    argv.split(|byte| *byte == 0).skip(1).find(|arg| {
        let value = memchr::memchr(b'=', arg).and_then(|at| arg.get(at + 1..));
        let named = [Some(*arg), value].into_iter().flatten().any(|arg| !arg.is_empty() && ends(arg));
        named || !library.is_empty() && arg.strip_prefix(LIBRARY) == Some(library)
    })
}

/// The part of a name that all names of one search share. Compilers look for `x.h.gch` before `x.h`, and linkers accept a static
/// library in place of a shared one and vice versa.
fn stem(name: &[u8]) -> &[u8] {
    let library = library_stem(name).filter(|stem| stem.len() > b"lib".len());
    library.unwrap_or_else(|| name.strip_suffix(b".gch").unwrap_or(name))
}

/// The name of a library without its suffixes; `None` if the file is not a library.
fn library_stem(name: &[u8]) -> Option<&[u8]> {
    name.split(|byte| *byte == b'.').next().filter(|stem| stem.starts_with(b"lib"))
}
