use super::*;

#[test]
fn a_directory_of_a_search_is_one_however_it_is_spelled() {
    let dir = |start: Option<&str>, dir: &str| SearchDir { dir: dir.into(), start: start.map(Into::into) };
    for (same, other) in [(dir(Some("/a/b"), "."), true), (dir(Some("/a"), "b/"), true), (dir(None, "b"), false)] {
        assert_eq!(same == dir(None, "/a/b"), other, "{same:?}");
    }
}

use crate::sink::testing;
use proptest::prelude::*;

const EXEC: FailedCall = exec(libc::AT_FDCWD);
const OPEN: FailedCall = open(0, libc::AT_FDCWD);

const fn exec(dirfd: i32) -> FailedCall {
    FailedCall { dirfd, follow: true, need: Need::Program }
}

const fn open(flags: u64, dirfd: i32) -> FailedCall {
    FailedCall { dirfd, follow: true, need: Need::Flags { flags, resolve: 0 } }
}

#[track_caller]
fn check(errno: i32, call: &FailedCall, path: &[u8], expected: Option<Cause>) {
    let answer = proven_by(errno, call, Some(path), false);
    assert_eq!(answer.as_ref().map(|answer| answer.cause), expected, "{answer:?}");
    assert!(answer.is_none_or(|answer| answer.basis == Basis::Proven));
}

#[test]
fn some_errors_are_explained_by_the_event_alone() {
    let long = [b"/tmp/".as_slice(), &[b'x'; 256]].concat();
    check(libc::ENAMETOOLONG, &OPEN, &long, Some(Cause::TooLong));
    check(libc::ENAMETOOLONG, &EXEC, &long, Some(Cause::TooLong));
    check(libc::ENAMETOOLONG, &OPEN, &[b'/'; 4095], Some(Cause::TooLong));
    // A file system may allow less.
    check(libc::ENAMETOOLONG, &OPEN, b"/tmp/x", None);
    check(libc::EMFILE, &OPEN, b"/x", Some(Cause::TooManyFiles));
    let at = open(0, 9);
    check(libc::EBADF, &at, b"x", Some(Cause::BadDescriptor));
    check(libc::EBADF, &at, b"/x", None);
    check(libc::ENOENT, &OPEN, b"", Some(Cause::Missing));
    check(libc::ENOENT, &OPEN, b"/x", None);
    check(libc::EACCES, &OPEN, b"/x", None);
    check(libc::ETXTBSY, &EXEC, b"/x", Some(Cause::TextBusy));
    check(libc::E2BIG, &EXEC, b"/x", Some(Cause::TooLong));
    check(libc::E2BIG, &OPEN, b"/x", None);
    let below = |filename| FailedCall::exec(filename);
    assert_eq!(below(b"/dev/fd/9/x"), (exec(9), &b"x"[..]));
    assert_eq!(below(b"/dev/fd/9"), (exec(9), &b""[..]));
    assert_eq!(below(b"/dev/fd/-7/a/b"), (exec(-7), &b"a/b"[..]));
    assert_eq!(below(b"/dev/fd/x/b"), (EXEC, &b"/dev/fd/x/b"[..]));
    check(libc::EBADF, &exec(9), b"x", Some(Cause::BadDescriptor));
    check(libc::ENOENT, &exec(9), b"", None);
    let new = open(names::O_CREAT | names::O_EXCL, libc::AT_FDCWD);
    check(libc::EEXIST, &new, b"/x", Some(Cause::Exists));
    assert_eq!(error_text(libc::EACCES), "Permission denied");
    assert_eq!(error_text(libc::ENOENT), "No such file or directory");
}

proptest! {
    #[test]
    fn any_event_is_asked_about((header, payload) in testing::any()) {
        testing::with_seen(header, &payload, |seen| {
            let _ = (proven(seen), question(seen));
        });
    }
}
