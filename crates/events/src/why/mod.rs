//! Why a call of a path or of a socket failed. This module gives the reasons that the event itself proves. `reason_lookup` of the crate
//! `tracetui-live` looks up the rest, with the rules of this module.

pub mod access;
pub mod image;
pub mod similar_name;
mod tcp;

pub use crate::event::asked::{FailedCall, Need};
pub use tcp::{FailedConnect, SocketCall};

use crate::event::describe::Value;
use crate::event::process::ProcessKey;
use crate::event::{Body, Components, EventContext, names};
use crate::text::without_codes;
use memchr::memmem;
use std::hash::{Hash, Hasher};
use tracetui_shared::id::{NsInum, Tgid, Tid};
use tracetui_shared::record::open::PATH_MAX;
use tracetui_shared::time::BootNanos;

/// The longest name of a file in bytes: `NAME_MAX`.
pub const NAME_MAX: usize = 255;

/// The reason shown for an abandoned lookup.
pub const NO_ANSWER: &str = "no answer in time";

/// How many ancestors of an ended process are tried in its place.
const ANCESTORS: usize = 16;

macro_rules! causes {
    ($($cause:ident $word:literal,)+) => {
        /// What refused an open, an exec, a connect or a bind.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs)] // The words describe them.
        pub enum Cause {
            $($cause,)+
        }

        impl Cause {
            pub const ALL: &[Cause] = &[$(Cause::$cause,)+];

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
    NotEmpty "not_empty",
    OtherFileSystem "other_file_system",
    NotOwner "not_owner",
    BadDescriptor "bad_descriptor",
    NothingListens "nothing_listens",
    ListensElsewhere "listens_elsewhere",
    WrongFamily "wrong_family",
    WrongType "wrong_type",
    BacklogFull "backlog_full",
    RefusedRemotely "refused_remotely",
    NoRoute "no_route",
    Prohibited "prohibited",
    Blackhole "blackhole",
    NoNeighbour "no_neighbour",
    Firewall "firewall",
    Timeout "timeout",
    NoPort "no_port",
    InUse "in_use",
    NoAddress "no_address",
    Unknown "unknown",
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// The event alone proves it.
    Proven,
    /// A lookup this many nanoseconds after the event.
    Checked(u64),
    Nothing,
}

/// Why a call failed. Texts are raw bytes, not escaped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub text: Vec<u8>,
    /// The part of the path at which access was refused, or the remote address and port.
    pub component: Option<Vec<u8>>,
    pub cause: Cause,
    /// The nearest existing name, if a name is missing. If nothing listens on a port, the nearest address and port on which
    /// something does.
    pub near: Option<Vec<u8>>,
    /// The place of the lookup, if it was not the process itself.
    pub place: Option<Vec<u8>>,
    pub basis: Basis,
}

impl Answer {
    fn proven(cause: Cause, text: impl Into<Vec<u8>>) -> Answer {
        Answer { text: text.into(), component: None, cause, near: None, place: None, basis: Basis::Proven }
    }

    /// An answer without a reason, and why there is none. Nothing was looked up.
    pub fn not_looked_up(text: impl Into<Vec<u8>>) -> Answer {
        Answer { basis: Basis::Nothing, ..Answer::proven(Cause::Unknown, text) }
    }

    /// An answer without a reason, and why there is none, this many nanoseconds after the event.
    pub fn unknown(text: impl Into<Vec<u8>>, after_ns: u64) -> Answer {
        Answer { basis: Basis::Checked(after_ns), ..Answer::proven(Cause::Unknown, text) }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    pub key: ProcessKey,
    pub comm: Vec<u8>,
}

/// What a lookup looks up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    Path(Question),
    Connect(FailedConnect),
}

impl Lookup {
    pub fn time(&self) -> BootNanos {
        match self {
            Lookup::Path(question) => question.time,
            Lookup::Connect(connect) => connect.time,
        }
    }
}

/// The facts about a failed open or exec that a lookup needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    pub process: Who,
    pub tid: Tid,
    /// Its parents, the nearest first.
    pub ancestors: Vec<Who>,
    pub mnt_ns: NsInum,
    /// Its id in its own pid namespace.
    pub ns_pid: Tgid,
    pub time: BootNanos,
    pub call: FailedCall,
    pub path: Vec<u8>,
    /// The error, positive.
    pub errno: i32,
    /// The caller's root; `None` if unknown. Only opens have it.
    pub root: Option<Vec<u8>>,
    /// The directory at which a relative path started, in the mount namespace; `None` if unknown.
    pub start: Option<Vec<u8>>,
    /// The effective user id, or the real one if the event lacks it; the effective group id for an exec, the real one for an open.
    pub ids: (u32, u32),
    /// The answer that the event proves. Used if the lookup finds nothing.
    pub proven: Option<Answer>,
    /// The first places of the call's search, in order, if the call did not find its file.
    pub others: Vec<SearchDir>,
    /// The number of all places of this search. Not all of them are kept.
    pub places: usize,
    /// The same call with its second path, which the kernel looks up after the first.
    pub next: Option<Box<Question>>,
}

/// A directory in which a search looked for a name.
#[derive(Clone, Debug)]
pub struct SearchDir {
    pub dir: Vec<u8>,
    /// The directory at which it starts if it is relative, in the mount namespace; `None` if unknown.
    pub start: Option<Vec<u8>>,
}

/// Two spellings of a directory are equal.
impl PartialEq for SearchDir {
    fn eq(&self, other: &SearchDir) -> bool {
        self.names().eq(other.names())
    }
}

impl Eq for SearchDir {}

impl Hash for SearchDir {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.names().for_each(|name| name.hash(state));
    }
}

impl SearchDir {
    /// The names of its path, from the root if that is known. `..` is a name.
    fn names(&self) -> impl Iterator<Item = &[u8]> {
        let unknown: &[u8] = if self.dir.starts_with(b"/") { b"" } else { b".." };
        let parts = [self.start.as_deref().unwrap_or(unknown), &self.dir];
        let names = parts.into_iter().flat_map(|part| part.split(|byte| *byte == b'/'));
        names.filter(|name| !matches!(*name, b"" | b"."))
    }

    pub fn path(&self, name: &[u8]) -> Vec<u8> {
        match self.dir.as_slice() {
            b"." => name.to_vec(),
            dir if dir.ends_with(b"/") => [dir, name].concat(),
            dir => [dir, b"/", name].concat(),
        }
    }
}

/// The directory at which a path starts, unless it was removed.
pub fn start_of(start: Value<'_>) -> Option<Vec<u8>> {
    match start {
        Value::Path(dir) if !dir.deleted() => Some(dir.to_vec()),
        _ => None,
    }
}

/// Whether failures of a kind are explained: those of calls of paths, and of sockets.
pub fn explains(body: &Body<'_>) -> bool {
    body.asked().is_some() || body.socket().is_some()
}

/// Whether it is a failed call that is explained.
pub fn is_asked_of(seen: &EventContext<'_>) -> bool {
    explains(&seen.event.body) && seen.event.failed()
}

/// The description of an error: `Permission denied`.
pub fn error_text(errno: i32) -> String {
    without_codes(&std::io::Error::from_raw_os_error(errno).to_string())
}

/// The answer that the event alone proves, and whether a lookup may show more.
pub fn proven(seen: &EventContext<'_>) -> Option<Answer> {
    let body = &seen.event.body;
    if let Some(socket) = body.socket() {
        return socket.proven();
    }
    let asked = body.asked()?;
    let errno = body.error().saturating_neg();
    if asked.own_table && matches!(errno, libc::ENFILE | libc::EMFILE | libc::EBADF) {
        return None;
    }
    let relative = |path: &[u8]| !path.starts_with(b"/") && memmem::find(path, b"..").is_none();
    let at_cwd = asked.call.dirfd == libc::AT_FDCWD;
    let deleted = matches!(body.dir(), Value::Path(dir) if dir.deleted());
    if errno == libc::ENOENT
        && asked.path.is_some_and(relative)
        && (deleted || at_cwd && body.cwd().is_some_and(Components::deleted))
    {
        let start = if at_cwd { "working directory" } else { "directory where the path starts" };
        return Some(Answer::proven(Cause::Missing, format!("the {start} was deleted")));
    }
    proven_by(errno, &asked.call, asked.path, asked.cut)
}

pub fn proven_by(errno: i32, call: &FailedCall, path: Option<&[u8]>, cut: bool) -> Option<Answer> {
    let FailedCall { dirfd, need, .. } = *call;
    let flags = if let Need::Flags { flags, .. } = need { flags } else { 0 };
    let (is_exec, is_socket) = (need == Need::Program, matches!(need, Need::Socket | Need::AbstractSocket));
    let changes = matches!(need, Need::New | Need::Removable | Need::Owned | Need::Linkable);
    let relative = path.is_some_and(|path| !path.starts_with(b"/"));
    Some(match errno {
        libc::ENAMETOOLONG => too_long(path?, cut)?,
        libc::EMFILE => {
            Answer::proven(Cause::TooManyFiles, "the process reached its limit of open files (RLIMIT_NOFILE)")
        }
        libc::ENFILE => Answer::proven(Cause::TooManyFiles, "the system reached its limit of open files (fs.file-max)"),
        libc::EBADF if relative && dirfd != libc::AT_FDCWD => {
            Answer::proven(Cause::BadDescriptor, format!("descriptor {dirfd} (dirfd) is not open"))
        }
        libc::ETXTBSY if is_exec => {
            Answer::proven(Cause::TextBusy, "the program, or its interpreter, is open for writing")
        }
        libc::ETXTBSY => Answer::proven(Cause::TextBusy, "the file is a running program, or in use by the kernel"),
        libc::E2BIG if is_exec => {
            Answer::proven(Cause::TooLong, "the arguments and the environment exceed the limit of the kernel")
        }
        libc::ENOENT if path == Some(b"") && !cut && !(is_exec && dirfd != libc::AT_FDCWD) => {
            Answer::proven(Cause::Missing, "the path is empty")
        }
        libc::EEXIST if flags & names::O_EXCL != 0 => Answer {
            component: path.map(<[u8]>::to_vec),
            ..Answer::proven(Cause::Exists, "the file exists, and O_EXCL requires a new one")
        },
        libc::EISDIR if path.is_some_and(|path| path.ends_with(b"/")) && flags & names::O_CREAT != 0 => {
            Answer::proven(Cause::IsADirectory, "the path ends with a slash, and O_CREAT does not create directories")
        }
        libc::EBUSY if changes => Answer::proven(Cause::Busy, "the file is a mount point, or in use by the kernel"),
        libc::ENOTEMPTY if changes => Answer::proven(Cause::NotEmpty, "the directory is not empty"),
        libc::EXDEV if changes => {
            Answer::proven(Cause::OtherFileSystem, "the two paths are on different file systems or mounts")
        }
        libc::ECONNREFUSED if need == Need::AbstractSocket => Answer::proven(
            Cause::NothingListens,
            "no socket of this type listened on this name in this network namespace",
        ),
        libc::EPROTOTYPE if is_socket => {
            Answer::proven(Cause::WrongType, "the socket that listens has another type (stream, dgram, seqpacket)")
        }
        libc::EAGAIN if is_socket => Answer::proven(Cause::BacklogFull, "the queue of the socket that listens is full"),
        libc::EROFS => Answer::proven(Cause::ReadOnly, "the file system or mount is read-only"),
        _ => return None,
    })
}

/// The reason for `ENAMETOOLONG`: the whole path, or one of its names.
fn too_long(path: &[u8], cut: bool) -> Option<Answer> {
    if cut || path.len() >= PATH_MAX as usize - 1 {
        return Some(Answer::proven(Cause::TooLong, "the path is longer than 4,095 bytes"));
    }
    let name = path.split(|byte| *byte == b'/').find(|name| name.len() > NAME_MAX)?;
    let text = format!("a name in the path has {} bytes; the maximum is {NAME_MAX}", name.len());
    Some(Answer { component: Some(name.to_vec()), ..Answer::proven(Cause::TooLong, text) })
}

/// What to look up; `None` if the event proves the answer, or has no path.
pub fn question(seen: &EventContext<'_>) -> Option<Lookup> {
    match seen.event.body.socket() {
        Some(socket) => socket.question(&seen.event.header).map(Lookup::Connect),
        None => path_question(seen).map(Lookup::Path),
    }
}

fn path_question(seen: &EventContext<'_>) -> Option<Question> {
    let header = &seen.event.header;
    let proven = proven(seen);
    // A read-only file system is known from the event, but not its place. All other proven answers are complete.
    if proven.as_ref().is_some_and(|answer| answer.cause != Cause::ReadOnly) {
        return None;
    }
    let asked = seen.event.body.asked()?;
    let path = asked.path.filter(|_| asked.whole && !asked.cut)?;
    let mut next = seen.process.and_then(|process| process.parent);
    let ancestors = std::iter::from_fn(|| {
        let process = seen.world.process(next?)?;
        next = process.parent;
        Some(Who { key: process.key, comm: process.comm.to_vec() })
    });
    let question = Question {
        process: Who { key: ProcessKey { tgid: header.tgid, start: header.start }, comm: header.comm().to_vec() },
        tid: header.tid,
        ancestors: ancestors.take(ANCESTORS).collect(),
        mnt_ns: header.mnt_ns,
        ns_pid: header.ns_pid,
        time: header.time,
        call: asked.call,
        path: path.to_vec(),
        errno: seen.event.body.error().saturating_neg(),
        root: asked.root,
        start: start_of(asked.start),
        ids: (asked.ids.0.unwrap_or(header.uid.0), asked.ids.1.unwrap_or(header.gid.0)),
        proven,
        others: Vec::new(),
        places: 1,
        next: None,
    };
    let next = asked.next.map(|(call, path, start)| {
        Box::new(Question { call, path: path.to_vec(), start: start_of(start), ..question.clone() })
    });
    Some(Question { next, ..question })
}

#[cfg(test)]
mod tests;
