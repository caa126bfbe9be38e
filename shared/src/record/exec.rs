//! `exec`: a program was started, or failed to start.

use super::identity::Identity;
use super::session::Session;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Limit of the bytes of arguments and environment that an event carries. The kernel's own limit is a quarter of the
/// stack rlimit, 2 MiB by default.
pub const ARGV_MAX: u32 = 2 << 20;
/// Limit of argument bytes in the first record.
pub const ARGV_FIRST: u32 = 8 << 10;
/// Limit of argument bytes in each continuation.
pub const ARGV_CHUNK: u32 = 16 << 10;

/// A bit of `argv_marks` and of [`ExecChunk::marks`], next to those of [`super::mark`]: the ring had no room for all of
/// the event, so arguments or long paths are cut.
pub const NO_ROOM: u8 = 16;

/// A bit of `filename_marks` of a failed exec: the path starts at a descriptor, whose number is in the file name
/// (`/dev/fd/N/PATH`). The names of `exe` are those of its directory. If the descriptor is not open, they have
/// [`super::mark::NOT_COLLECTED`].
pub const BELOW: u8 = 128;

/// Bits of [`ExecChunk::marks`]: the bytes are of the environment, and they are its last ones.
pub const ENVIRONMENT: u32 = 32;
pub const LAST: u32 = 64;

/// Fixed part of `exec`. The variable parts are: [`Stdio`] of stdin, stdout and stderr, filename, interp, names of `exe`,
/// names of `cwd` (lengths below), names of the three, the other descriptors ([`Further`], each with its names), then as much of
/// argv as the first record holds. If all of it and the environment fit, the environment follows (`env_joined`).
///
/// Otherwise continuations ([`ExecChunk`]) carry the rest, up to `argv_len` or up to one that marks the end, and then the environment.
/// A bookkeeping record has none: its `argv_len` is the length in the first record.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecRecord {
    /// 0, or −errno of the system call that failed.
    pub ret: i32,
    /// `linux_binprm.argc` (include/linux/binfmts.h); for a script it includes the arguments of the interpreter.
    /// `u32::MAX`: not known.
    pub argc: u32,
    /// Bytes of `mm->arg_start..arg_end` (include/linux/mm_types.h): the arguments as the kernel laid them out.
    pub argv_total: u32,
    /// Bytes of the arguments that this event carries, in all its records.
    pub argv_len: u32,
    /// The calling thread (`tid`) if it was not the leader, which it becomes; else 0.
    pub old_tid: u32,
    /// `cred->euid` after the exec: the effective user id.
    pub euid: u32,
    /// `cred->egid` after the exec: the effective group id.
    pub egid: u32,
    /// Bytes of `bprm->filename`, without NUL.
    pub filename_len: u16,
    /// Bytes of `bprm->interp`, without NUL; 0 if it equals the filename (no script).
    pub interp_len: u16,
    /// Bytes of the names of `mm->exe_file`, or of a directory ([`BELOW`]).
    pub exe_len: u16,
    /// Bytes of the names of `fs->pwd`.
    pub cwd_len: u16,
    /// Bits of [`super::mark`] for `exe`.
    pub exe_marks: u8,
    /// Bits of [`super::mark`] for `cwd`.
    pub cwd_marks: u8,
    /// Bits of [`super::mark`] for `argv`, and [`NO_ROOM`].
    pub argv_marks: u8,
    /// Bits of [`super::mark`] for `filename`, and [`BELOW`]. `NOT_COLLECTED` means that `interp` is not known.
    pub filename_marks: u8,
    /// Bytes of the [`Stdio`]s: those of [`STDIO`], or 0.
    pub stdio_len: u16,
    /// The reason why the environment, which was requested, is not in the event or not whole: bits of [`super::mark`], and
    /// [`NO_ROOM`]. Else 0.
    pub env_marks: u8,
    /// 1: the bytes after the arguments are the environment. If it came in continuations, they are joined.
    pub env_joined: u8,
    /// Bytes of the environment (`mm->env_start..env_end`) in continuations. 0: none follow.
    pub env_len: u32,
    /// The session of the process.
    pub session: Session,
    /// The program's file.
    pub file: Identity,
    /// Bytes of the other descriptors.
    pub fds_len: u32,
    /// [`super::mark::NOT_COLLECTED`]: the other descriptors were not requested, or the program was not started. There is still the
    /// one by which a script was passed as `/dev/fd/N` or `/proc/self/fd/N`, unless it is a standard one. `CUT` or
    /// [`NO_ROOM`]: some of them are missing.
    pub fds_marks: u32,
}

const _: () = assert!(size_of::<ExecRecord>() == 112);

/// Standard descriptors: stdin, stdout, stderr.
pub const STDIO: usize = 3;

/// An open file of a new program. Meaningless, except for `state`, unless it is [`stdio::OPEN`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Stdio {
    /// `inode->i_ino`.
    pub ino: u64,
    /// `inode->i_rdev`: 12 bits of the major number, then 20 bits of the minor number.
    pub device: u32,
    /// `inode->i_mode`.
    pub mode: u16,
    /// The lower bits of `file->f_flags`: access mode and `O_APPEND`.
    pub flags: u16,
    /// Bytes of the names of `file->f_path`.
    pub names_len: u16,
    /// Bits of [`super::mark`] for the names.
    pub names_marks: u8,
    /// One of [`stdio`].
    pub state: u8,
    /// Of a socket: `sock->sk_family`; else 0.
    pub family: u16,
    /// Of an IP socket: the peer's port, or 0.
    pub port: u16,
    /// Of an IP socket: the peer's address. An IPv4 address has 4 bytes. Of a Unix socket: the inode of its peer, 8 bytes. The names
    /// are then the address of the peer (`unix_sock.addr`), without a length or NUL.
    pub address: [u8; 16],
}

const _: () = assert!(size_of::<Stdio>() == 40);

/// Limit of the other descriptors: those below this number.
pub const FDS: u64 = 64;

/// An open file of a new program other than stdin, stdout and stderr. The names of its file follow.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Further {
    /// The descriptor.
    pub number: u64,
    /// Its file.
    pub file: Stdio,
}

const _: () = assert!(size_of::<Further>() == 48);

/// The values of [`Stdio::state`].
pub mod stdio {
    /// Nothing looked at it.
    pub const NOT_COLLECTED: u8 = 0;
    /// The descriptor is closed.
    pub const CLOSED: u8 = 1;
    /// It is open.
    pub const OPEN: u8 = 2;
    /// It is the same open file as stdin; one more, as stdout.
    pub const SAME: u8 = 3;
}

/// Fixed part of a continuation of `exec`; `len` argument bytes follow.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecChunk {
    /// Offset of these bytes in argv, or behind it for the environment, in bytes.
    pub offset: u32,
    /// Number of bytes. May be 0 if `marks` give the reason.
    pub len: u32,
    /// The reason if these bytes are the last because the next ones are missing: `FAULT` if they could not be read, or
    /// [`NO_ROOM`]. Also [`ENVIRONMENT`] and [`LAST`].
    pub marks: u32,
    /// Not used; 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<ExecChunk>() == 16);
