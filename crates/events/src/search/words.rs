//! A failed call in words.

use super::{Failure, LIBRARY, argument, missed, place};
use crate::event::Body;

/// `zlibx.h not found`, `EACCES /etc/shadow`: once with the path as passed, once with its last component only. A name that was looked for in
/// several places has no path. A library is written as the arguments name it. Raw bytes, not escaped.
pub fn words(body: &Body<'_>, path: &[u8], failure: Failure, argv: &[u8]) -> [Vec<u8>; 2] {
    let name = place(body).map_or(path, |(_, name)| name);
    let library = argument(path, argv).filter(|arg| arg.starts_with(LIBRARY));
    let whole = if failure.searched { name } else { path };
    // The file itself may exist, and its interpreter be missing.
    let by_path = matches!(body, Body::Exec(_)) && !failure.searched && path.contains(&b'/');
    [library.unwrap_or(whole), library.unwrap_or(name)].map(|what| match missed(body) {
        _ if matches!(body, Body::Open(open) if open.is_unnamed()) => [failure.err.as_bytes(), b" \"\""].concat(),
        _ if what.is_empty() => failure.err.as_bytes().to_vec(),
        Some(true) if by_path => [b"cannot run ", what].concat(),
        Some(true) => [what, b" not found"].concat(),
        _ => [failure.err.as_bytes(), b" ", what].concat(),
    })
}
