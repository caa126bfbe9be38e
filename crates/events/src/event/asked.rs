//! What a failed call of a path asked for: the facts that explain its failure.

use super::describe::Value;

/// Bits of what a call asks of its file ([`rights`](super::Payload::rights)).
pub(crate) const READ: u8 = 1;
pub(crate) const WRITE: u8 = 2;
/// A file that does not exist yet (`O_EXCL`).
pub(super) const NEW: u8 = 4;
/// The path alone. Every call asks for it; `O_PATH` asks for nothing else. An exec has no other bits.
pub(crate) const PATH: u8 = 8;

/// A call that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailedCall {
    /// The descriptor at which a relative path starts, or `AT_FDCWD`. For an exec, an empty path is the file of the descriptor.
    pub dirfd: i32,
    /// Whether it follows a link that is the last name.
    pub follow: bool,
    pub need: Need,
}

/// What a call needs of the file of its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// That it can be executed.
    Program,
    /// What the flags of openat2(2) ask for, whether the file exists or not.
    Flags {
        /// With the numbers that most architectures use.
        flags: u64,
        resolve: u64,
    },
    /// That it exists, and permissions as access(2) takes them.
    Access(u8),
    /// That it does not exist, and can be created.
    New,
    /// That it exists, and its name can be removed.
    Removable,
    /// That it belongs to the caller.
    Owned,
    /// That it can get another name.
    Linkable,
    /// That it is a socket to which the caller may write, and that somebody listens.
    Socket,
    /// The same of a socket that has no file.
    AbstractSocket,
}

impl FailedCall {
    /// The exec of a path, and the path without the descriptor at which it starts: the kernel names a file below a descriptor
    /// `/dev/fd/N/PATH` ([`alloc_bprm`](https://elixir.bootlin.com/linux/v6.12/source/fs/exec.c)).
    pub fn exec(filename: &[u8]) -> (FailedCall, &[u8]) {
        let exec = |dirfd| FailedCall { dirfd, follow: true, need: Need::Program };
        let below = || {
            let rest = filename.strip_prefix(b"/dev/fd/")?;
            let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
            let dirfd = str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
            Some((exec(dirfd), rest.get(end + 1..).unwrap_or_default()))
        };
        below().unwrap_or((exec(libc::AT_FDCWD), filename))
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    pub call: FailedCall,
    /// The path; `None` if the call has none, or if it was not read.
    pub path: Option<&'a [u8]>,
    /// Whether the path is cut.
    pub cut: bool,
    /// Whether all other arguments are known.
    pub whole: bool,
    /// Whether descriptors are those of the table of an io_uring.
    pub own_table: bool,
    /// The directory at which the path starts if it is relative.
    pub start: Value<'a>,
    /// The caller's root; `None` if unknown.
    pub root: Option<Vec<u8>>,
    /// The user and the group that the kernel checks; the real ones of the event without.
    pub ids: (Option<u32>, Option<u32>),
    /// The second path, with the call that it is in and the directory at which it starts.
    pub next: Option<(FailedCall, &'a [u8], Value<'a>)>,
}

impl<'a> Asked<'a> {
    /// A call without a second path whose arguments are known.
    pub fn new(call: FailedCall, path: Option<&'a [u8]>, cut: bool, start: Value<'a>) -> Asked<'a> {
        Asked { call, path, cut, whole: true, own_table: false, start, root: None, ids: (None, None), next: None }
    }
}
