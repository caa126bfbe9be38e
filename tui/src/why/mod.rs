//! Why an open or an exec failed. What the event itself proves is said here; the rest is looked up
//! ([`crate::source::host::lookup`]), with the rules of this module.

pub(crate) mod access;
pub(crate) mod image;
pub(crate) mod name;

use crate::event::process::{Process, ProcessKey};
use crate::event::{Body, EventContext, names};
use std::sync::Arc;
use tracetui_shared::id::{NsInum, Tgid, Tid};
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{PATH_MAX, UNKNOWN, uring, via};
use tracetui_shared::time::BootNanos;

/// `AT_FDCWD`: a relative path starts at the working directory.
pub(crate) const AT_FDCWD: i32 = -100;

/// The longest name of a file in bytes: `NAME_MAX`.
pub(crate) const NAME_MAX: usize = 255;

/// What is said of a lookup that was given up.
pub(crate) const NO_ANSWER: &str = "the file system did not answer";

/// The ancestors of an ended process that are tried in its place.
const ANCESTORS: usize = 16;

macro_rules! causes {
    ($($cause:ident $word:literal,)+) => {
        /// What refused an open or an exec.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs)] // The words describe them.
        pub enum Cause {
            $($cause,)+
        }

        impl Cause {
            /// Every cause.
            pub const ALL: &[Cause] = &[$(Cause::$cause,)+];

            /// The word in JSON.
            pub fn word(self) -> &'static str {
                match self {
                    $(Cause::$cause => $word,)+
                }
            }
        }
    };
}

causes! {
    Missing "missing",
    NotADirectory "not_a_directory",
    NoSearchPermission "no_search_permission",
    NoPermission "no_permission",
    NotExecutable "not_executable",
    DanglingLink "dangling_link",
    Loop "loop",
    ReadOnly "read_only",
    Noexec "noexec",
    NoInterpreter "no_interpreter",
    WrongFormat "wrong_format",
    TooLong "too_long",
    TooManyFiles "too_many_files",
    Busy "busy",
    TextBusy "text_busy",
    IsADirectory "is_a_directory",
    Exists "exists",
    BadDescriptor "bad_descriptor",
    NoDevice "no_device",
    Unknown "unknown",
}

/// How an answer is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// The event alone proves it.
    Proven,
    /// It was looked up so many nanoseconds after the event.
    Checked(u64),
    /// Nothing says it.
    Nothing,
}

/// Why a call failed. Texts are raw bytes, not escaped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// In words.
    pub text: Vec<u8>,
    /// The part of the path that refused.
    pub component: Option<Vec<u8>>,
    /// What refused.
    pub cause: Cause,
    /// The nearest name that exists, if one is missing.
    pub near: Option<Vec<u8>>,
    /// Where it was looked up, if not at the process itself.
    pub place: Option<Vec<u8>>,
    /// How it is known.
    pub basis: Basis,
}

impl Answer {
    fn proven(cause: Cause, text: impl Into<Vec<u8>>) -> Answer {
        Answer { text: text.into(), component: None, cause, near: None, place: None, basis: Basis::Proven }
    }

    /// That the reason is not known, and why: nothing was looked up.
    pub(crate) fn not_looked_up(text: impl Into<Vec<u8>>) -> Answer {
        Answer { basis: Basis::Nothing, ..Answer::proven(Cause::Unknown, text) }
    }

    /// That the reason is not known, and why, so many nanoseconds after the event.
    pub(crate) fn unknown(text: impl Into<Vec<u8>>, after_ns: u64) -> Answer {
        Answer { basis: Basis::Checked(after_ns), ..Answer::proven(Cause::Unknown, text) }
    }
}

/// The call that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    Exec,
    Open {
        /// The flags with the numbers that most architectures use.
        flags: u64,
        /// `how.resolve`.
        resolve: u64,
        /// The directory at which a relative path starts.
        dirfd: i32,
    },
}

/// The working directory, as far as the event has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cwd {
    /// It was this one, as a path in the mount namespace.
    AtEvent(Vec<u8>),
    /// It was this one when the process started its program, and at the opens before and after the event. That is said with the
    /// answer: the process may have been elsewhere between them.
    Around(Vec<u8>),
    /// It was this one when the process started its program. It may have changed since: `chdir` has no event. It
    /// is shown, and no answer depends on it.
    AtExec(Vec<u8>),
    Unknown,
}

/// A process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Who {
    pub key: ProcessKey,
    pub comm: Vec<u8>,
}

/// What a lookup needs to know of an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    pub(crate) process: Who,
    pub(crate) tid: Tid,
    /// Its parents, the nearest first.
    pub(crate) ancestors: Vec<Who>,
    pub(crate) mnt_ns: NsInum,
    /// Its id in its own pid namespace.
    pub(crate) ns_pid: Tgid,
    pub(crate) time: BootNanos,
    pub(crate) call: Call,
    pub(crate) path: Vec<u8>,
    /// The error, positive.
    pub(crate) errno: i32,
    /// The caller's root; `None` if not known. Only opens have it.
    pub(crate) root: Option<Vec<u8>>,
    pub(crate) cwd: Cwd,
    /// The effective ids of an exec, the real ones of an open.
    pub(crate) ids: (u32, u32),
    /// What the event proves; for when the lookup finds nothing.
    pub(crate) proven: Option<Answer>,
    /// The other places of the search that the call belongs to, if it found nothing.
    pub(crate) others: Vec<Place>,
    /// The number of all places of this search: no more than some are kept.
    pub(crate) places: usize,
}

/// A directory in which a search looked for a name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// As passed.
    pub dir: Vec<u8>,
    /// The descriptor at which it starts; [`AT_FDCWD`] if it is absolute.
    pub(crate) dirfd: i32,
}

impl Place {
    /// The path of a name in it.
    pub(crate) fn path(&self, name: &[u8]) -> Vec<u8> {
        match self.dir.as_slice() {
            b"." => name.to_vec(),
            dir if dir.ends_with(b"/") => [dir, name].concat(),
            dir => [dir, b"/", name].concat(),
        }
    }
}

/// Whether it is an open or an exec that failed.
pub(crate) fn is_asked_of(seen: &EventContext<'_>) -> bool {
    matches!(&seen.event.body, Body::Open(_) | Body::Exec(_)) && seen.event.failed()
}

/// The name and the description of an error.
pub(crate) fn error_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.rsplit_once(" (os error").map_or(text.clone(), |(text, _)| text.to_owned())
}

/// What the event alone proves, and whether a lookup may show more.
pub(crate) fn proven(seen: &EventContext<'_>) -> Option<Answer> {
    match &seen.event.body {
        Body::Open(open) => {
            let fault = open.record.path_marks & (mark::FAULT | mark::NOT_COLLECTED) != 0;
            let known = !fault && open.record.via != via::OPEN_BY_HANDLE_AT;
            // Slots of the ring's own table have limits of their own.
            let direct = open.record.uring & uring::DIRECT != 0;
            if direct && matches!(open.record.ret.saturating_neg(), libc::ENFILE | libc::EMFILE | libc::EBADF) {
                return None;
            }
            let how_known = open.record.how_marks & (mark::FAULT | UNKNOWN) == 0;
            let call = Call::Open {
                flags: if how_known { open.flags() } else { 0 },
                resolve: open.record.resolve,
                dirfd: if how_known { open.record.dirfd } else { AT_FDCWD },
            };
            proven_by(
                open.record.ret.saturating_neg(),
                &call,
                known.then_some(open.path),
                open.record.path_marks & mark::CUT != 0,
            )
        }
        Body::Exec(exec) => {
            let known = exec.record.filename_marks & mark::FAULT == 0;
            let cut = exec.record.filename_marks & mark::CUT != 0;
            proven_by(exec.record.ret.saturating_neg(), &Call::Exec, known.then_some(exec.filename), cut)
        }
        _ => None,
    }
}

pub(crate) fn proven_by(errno: i32, call: &Call, path: Option<&[u8]>, cut: bool) -> Option<Answer> {
    let (flags, dirfd) = match call {
        Call::Exec => (0, AT_FDCWD),
        Call::Open { flags, dirfd, .. } => (*flags, *dirfd),
    };
    let is_exec = *call == Call::Exec;
    let relative = path.is_some_and(|path| !path.starts_with(b"/"));
    Some(match errno {
        libc::ENAMETOOLONG => too_long(path?, cut)?,
        libc::EMFILE => Answer::proven(
            Cause::TooManyFiles,
            "the process has as many open files as its limit allows (RLIMIT_NOFILE)",
        ),
        libc::ENFILE => {
            Answer::proven(Cause::TooManyFiles, "the system has as many open files as it allows (fs.file-max)")
        }
        libc::EBADF if !is_exec && relative && dirfd != AT_FDCWD => {
            Answer::proven(Cause::BadDescriptor, format!("descriptor {dirfd}, at which the path starts, is not open"))
        }
        libc::ETXTBSY if is_exec => {
            Answer::proven(Cause::TextBusy, "the program, or its interpreter, is open for writing")
        }
        libc::ETXTBSY => Answer::proven(Cause::TextBusy, "the file is a running program, or in use by the kernel"),
        libc::E2BIG if is_exec => {
            Answer::proven(Cause::TooLong, "the arguments and the environment are longer than the kernel allows")
        }
        libc::ENOENT if path == Some(b"") && !cut => Answer::proven(Cause::Missing, "the path is empty"),
        libc::EEXIST if flags & names::O_EXCL != 0 => Answer {
            component: path.map(<[u8]>::to_vec),
            ..Answer::proven(Cause::Exists, "it exists, and O_EXCL asks for a new file")
        },
        libc::EISDIR if path.is_some_and(|path| path.ends_with(b"/")) && flags & names::O_CREAT != 0 => {
            Answer::proven(Cause::IsADirectory, "the path ends with a slash, and O_CREAT makes no directories")
        }
        libc::EROFS => Answer::proven(Cause::ReadOnly, "what the path leads to is read-only"),
        _ => return None,
    })
}

/// `ENAMETOOLONG`: the path, or one of its names.
fn too_long(path: &[u8], cut: bool) -> Option<Answer> {
    if cut || path.len() >= PATH_MAX as usize - 1 {
        return Some(Answer::proven(Cause::TooLong, "the path has 4,096 bytes or more; 4,095 are allowed"));
    }
    let name = path.split(|byte| *byte == b'/').find(|name| name.len() > NAME_MAX)?;
    let text = format!("a name in the path has {} bytes; {NAME_MAX} are allowed", name.len());
    Some(Answer { component: Some(name.to_vec()), ..Answer::proven(Cause::TooLong, text) })
}

/// The question for a lookup; `None` if the event proves the answer, or has no path.
pub(crate) fn question(seen: &EventContext<'_>) -> Option<Question> {
    let header = &seen.event.header;
    let proven = proven(seen);
    // The others say what refused, but not where.
    if proven.as_ref().is_some_and(|answer| answer.cause != Cause::ReadOnly) {
        return None;
    }
    let at_exec = |process: Option<&Arc<Process>>| match process.map(|process| &process.image.cwd) {
        Some(cwd) if !cwd.is_empty() => Cwd::AtExec(cwd.to_vec()),
        _ => Cwd::Unknown,
    };
    let written = |names: crate::event::Components<'_>| {
        let mut path = Vec::new();
        names.write(&mut path);
        path
    };
    let (call, path, errno, root, cwd, ids) = match &seen.event.body {
        Body::Open(open) => {
            let record = &open.record;
            let unread = record.path_marks & (mark::FAULT | mark::NOT_COLLECTED | mark::CUT) != 0
                || record.how_marks & (mark::FAULT | UNKNOWN) != 0
                || record.via == via::OPEN_BY_HANDLE_AT;
            if unread {
                return None;
            }
            let root = match open.root() {
                Some(root) => Some(written(root)),
                None if open.names.absent().is_some() || record.root_off == u16::MAX => None,
                None => Some(b"/".to_vec()),
            };
            let call = Call::Open { flags: open.flags(), resolve: record.resolve, dirfd: record.dirfd };
            (call, open.path, record.ret.saturating_neg(), root, at_exec(seen.process), (header.uid.0, header.gid.0))
        }
        Body::Exec(exec) => {
            let record = &exec.record;
            if record.filename_marks & (mark::FAULT | mark::CUT) != 0 {
                return None;
            }
            let known = exec.cwd.absent().is_none() && !exec.cwd.bytes.is_empty() && !exec.cwd.deleted();
            let cwd = if known { Cwd::AtEvent(written(exec.cwd)) } else { Cwd::Unknown };
            (Call::Exec, exec.filename, record.ret.saturating_neg(), None, cwd, (record.euid, record.egid))
        }
        _ => return None,
    };
    let mut next = seen.process.and_then(|process| process.parent);
    let ancestors = std::iter::from_fn(|| {
        let process = seen.world.process(next?)?;
        next = process.parent;
        Some(Who { key: process.key, comm: process.comm.to_vec() })
    });
    Some(Question {
        process: Who { key: ProcessKey { tgid: header.tgid, start: header.start }, comm: header.comm().to_vec() },
        tid: header.tid,
        ancestors: ancestors.take(ANCESTORS).collect(),
        mnt_ns: header.mnt_ns,
        ns_pid: header.ns_pid,
        time: header.time,
        call,
        path: path.to_vec(),
        errno,
        root,
        cwd,
        ids,
        proven,
        others: Vec::new(),
        places: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample;
    use proptest::prelude::*;

    const OPEN: Call = Call::Open { flags: 0, resolve: 0, dirfd: AT_FDCWD };

    #[track_caller]
    fn check(errno: i32, call: &Call, path: &[u8], expected: Option<Cause>) {
        let answer = proven_by(errno, call, Some(path), false);
        assert_eq!(answer.as_ref().map(|answer| answer.cause), expected, "{answer:?}");
        assert!(answer.is_none_or(|answer| answer.basis == Basis::Proven));
    }

    #[test]
    fn some_errors_are_explained_by_the_event_alone() {
        let long = [b"/tmp/".as_slice(), &[b'x'; 256]].concat();
        check(libc::ENAMETOOLONG, &OPEN, &long, Some(Cause::TooLong));
        check(libc::ENAMETOOLONG, &Call::Exec, &long, Some(Cause::TooLong));
        check(libc::ENAMETOOLONG, &OPEN, &[b'/'; 4095], Some(Cause::TooLong));
        // A file system may allow less.
        check(libc::ENAMETOOLONG, &OPEN, b"/tmp/x", None);
        check(libc::EMFILE, &OPEN, b"/x", Some(Cause::TooManyFiles));
        let at = Call::Open { flags: 0, resolve: 0, dirfd: 9 };
        check(libc::EBADF, &at, b"x", Some(Cause::BadDescriptor));
        check(libc::EBADF, &at, b"/x", None);
        check(libc::ENOENT, &OPEN, b"", Some(Cause::Missing));
        check(libc::ENOENT, &OPEN, b"/x", None);
        check(libc::EACCES, &OPEN, b"/x", None);
        check(libc::ETXTBSY, &Call::Exec, b"/x", Some(Cause::TextBusy));
        check(libc::E2BIG, &Call::Exec, b"/x", Some(Cause::TooLong));
        check(libc::E2BIG, &OPEN, b"/x", None);
        let new = Call::Open { flags: names::O_CREAT | names::O_EXCL, resolve: 0, dirfd: AT_FDCWD };
        check(libc::EEXIST, &new, b"/x", Some(Cause::Exists));
    }

    proptest! {
        #[test]
        fn any_event_is_asked_about((header, payload) in sample::any()) {
            sample::with_seen(header, &payload, |seen| {
                let _ = (proven(seen), question(seen));
            });
        }
    }

    #[test]
    fn errors_are_described_without_their_number() {
        assert_eq!(error_text(libc::EACCES), "Permission denied");
        assert_eq!(error_text(libc::ENOENT), "No such file or directory");
    }
}
