//! `exec`: a program was started, or failed to start.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Limit of argument bytes that an event carries. The kernel's own limit is a quarter of the stack rlimit, 2 MiB by
/// default.
pub const ARGV_MAX: u32 = 2 << 20;
/// Limit of argument bytes in the first record.
pub const ARGV_FIRST: u32 = 8 << 10;
/// Limit of argument bytes in each continuation.
pub const ARGV_CHUNK: u32 = 16 << 10;

/// A bit of `argv_marks` and of [`ExecChunk::marks`], next to those of [`super::mark`]: the ring had no room for all of
/// the event, so arguments or long paths are cut.
pub const NO_ROOM: u8 = 16;

/// Fixed part of `exec`. The variable parts are: filename, interp, names of `exe`, names of `cwd` (lengths below), then
/// as much of argv as the first record holds.
///
/// Continuations ([`ExecChunk`]) carry the rest, up to `argv_len` or up to one that marks the end. A bookkeeping record
/// has none: its `argv_len` is the length in the first record.
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
    /// Bytes of the names of `mm->exe_file`.
    pub exe_len: u16,
    /// Bytes of the names of `fs->pwd`.
    pub cwd_len: u16,
    /// Bits of [`super::mark`] for `exe`.
    pub exe_marks: u8,
    /// Bits of [`super::mark`] for `cwd`.
    pub cwd_marks: u8,
    /// Bits of [`super::mark`] for `argv`, and [`NO_ROOM`].
    pub argv_marks: u8,
    /// Bits of [`super::mark`] for `filename`. `NOT_COLLECTED` means that `interp` is not known.
    pub filename_marks: u8,
}

const _: () = assert!(size_of::<ExecRecord>() == 40);

/// Fixed part of a continuation of `exec`; `len` argument bytes follow.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExecChunk {
    /// Offset of these bytes in argv, in bytes.
    pub offset: u32,
    /// Number of bytes. May be 0 if `marks` give the reason.
    pub len: u32,
    /// The reason if these bytes are the last: `FAULT` if the next ones could not be read, or [`NO_ROOM`]. Else 0.
    pub marks: u32,
    /// Not used; 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<ExecChunk>() == 16);
