//! A failed call in words.

use super::{Failure, LIBRARY, argument, missed, place};
use crate::event::Body;
use crate::text::command::leaf;
use std::borrow::Cow;

/// A name that a program looked for in several directories, as it asked for it: the C++ header `<memory>`.
pub fn included<'n>(name: &'n [u8], argv: &[u8]) -> Cow<'n, [u8]> {
    let program = leaf(argv.split(|byte| *byte == 0).next().unwrap_or_default());
    let compiles = [&b"cc1"[..], b"clang"].iter().any(|compiler| program.starts_with(compiler));
    if compiles && !name.contains(&b'.') { [b"<", name, b">"].concat().into() } else { name.into() }
}

/// `zlibx.h not found`, `EACCES /etc/shadow`, `127.0.0.1:80 is in use`: once with the path as passed, once with its last component
/// only. A name that was looked for in several places has no path. A library is written as the arguments name it. A program may do
/// without a file that it only asked for, so this is only the last one. Raw bytes, not escaped.
pub fn words(body: &Body<'_>, failure: Failure, argv: &[u8]) -> [Vec<u8>; 2] {
    [false, true].map(|short| text(body, failure, argv, short))
}

/// One of the [`words`]: with the path as passed, or the short one.
pub fn text(body: &Body<'_>, failure: Failure, argv: &[u8], short: bool) -> Vec<u8> {
    let err = failure.err.as_bytes();
    let Some(path) = body.sought() else {
        let mut subject = Vec::new();
        body.subject(&mut subject);
        return match failure.err {
            "EADDRINUSE" => [&subject, &b" is in use"[..]].concat(),
            _ => [err, b" ", &subject].concat(),
        };
    };
    if let Some(file) = body.paths().filter(|file| file.has_second() || file.op() == "mount") {
        let joint = if file.has_second() { b" to " } else { b" of " };
        return [err, b" ", file.op().as_bytes(), b" ", file.texts[0], joint, file.texts[1]].concat();
    }
    let name = place(body).map_or(path, |(dir, name)| {
        let path = path.get(..dir.len() + 1 + name.len()).filter(|path| path.ends_with(name)).unwrap_or(name);
        let start = memchr::memrchr_iter(b'/', path).nth(failure.searched.saturating_sub(1).into());
        path.get(start.map_or(0, |slash| slash + 1)..).unwrap_or(name)
    });
    let argument = argument(path, argv);
    let what = match argument.filter(|arg| arg.starts_with(LIBRARY)) {
        Some(library) => Cow::Borrowed(library),
        None if failure.searched > 0 => included(name, argv),
        None => Cow::Borrowed(if short { name } else { path }),
    };
    // The file itself may exist, and its interpreter be missing.
    let by_path = matches!(body, Body::Exec(_)) && failure.searched == 0 && path.contains(&b'/');
    let only_asked = body.is_question() && failure.searched == 0 && argument.is_none();
    match missed(body) {
        _ if body.is_unnamed() => [err, b" \"\""].concat(),
        _ if what.is_empty() => err.to_vec(),
        Some(true) if by_path => [b"cannot run ", &*what].concat(),
        Some(true) if only_asked => [b"last missing: ", &*what].concat(),
        Some(true) => [&*what, b" not found"].concat(),
        _ => [err, b" ", &*what].concat(),
    }
}
