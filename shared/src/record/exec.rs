//! `exec`: a program was started, or failed to start.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most argument bytes that are carried; the kernel's own limit is a quarter of the stack rlimit, 2 MiB by default.
pub const ARGV_MAX: u32 = 2 << 20;
/// Argument bytes in the first record.
pub const ARGV_FIRST: u32 = 8 << 10;
/// Argument bytes in each continuation.
pub const ARGV_CHUNK: u32 = 16 << 10;

/// In `argv_marks` and in [`ExecChunk::marks`], beside [`super::mark`]s: the ring had no room for all of the event, so
/// arguments, or long paths, are cut.
pub const NO_ROOM: u8 = 16;

/// Fixed part of `exec`. Then: filename, interp, exe names, cwd names (lengths below), then as much of argv as the
/// first record takes; continuations ([`ExecChunk`]) carry the rest up to `argv_len`, or up to one that says that no more
/// comes. A bookkeeping record has none: its `argv_len` is what the first record takes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecRecord {
    /// 0, or −errno of the system call.
    pub ret: i32,
    /// `linux_binprm.argc`; for a script the count with the interpreter's arguments. `u32::MAX`: not known.
    pub argc: u32,
    /// Bytes of `mm->arg_start..arg_end`, as the kernel laid the arguments out.
    pub argv_total: u32,
    /// Bytes of them that this event carries, over all its records.
    pub argv_len: u32,
    /// The calling thread when it was not the leader (it becomes the leader); else 0.
    pub old_tid: u32,
    /// `cred->euid` after the exec.
    pub euid: u32,
    /// `cred->egid` after the exec.
    pub egid: u32,
    /// Bytes of `bprm->filename`, without NUL.
    pub filename_len: u16,
    /// Bytes of `bprm->interp`, without NUL; 0 when it is the filename (no script).
    pub interp_len: u16,
    /// Bytes of the names of `mm->exe_file`.
    pub exe_len: u16,
    /// Bytes of the names of `fs->pwd`.
    pub cwd_len: u16,
    /// [`super::mark`]s of `exe`.
    pub exe_marks: u8,
    /// [`super::mark`]s of `cwd`.
    pub cwd_marks: u8,
    /// [`super::mark`]s of `argv`, and [`NO_ROOM`].
    pub argv_marks: u8,
    /// [`super::mark`]s of `filename`; `NOT_COLLECTED` is about `interp`, which is not known then.
    pub filename_marks: u8,
}

const _: () = assert!(size_of::<ExecRecord>() == 40);

/// Fixed part of a continuation of `exec`; `len` argument bytes follow.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecChunk {
    /// Where in argv these bytes stand.
    pub offset: u32,
    /// How many they are. May be 0 where `marks` say why.
    pub len: u32,
    /// Why no more comes after these bytes, if none does: `FAULT` when what follows could not be read, [`NO_ROOM`].
    pub marks: u32,
    /// Not used; 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<ExecChunk>() == 16);
