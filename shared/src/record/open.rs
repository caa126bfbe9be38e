//! `open`: a file was opened, or failed to open.

use super::identity::Identity;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Limit of a path as passed, in bytes with its NUL: `PATH_MAX` (include/uapi/linux/limits.h).
pub const PATH_MAX: u32 = 4096;

/// The way in which a file was opened ([`OpenRecord::via`]).
pub mod via {
    /// open(2).
    pub const OPEN: u8 = 0;
    /// openat(2).
    pub const OPENAT: u8 = 1;
    /// openat2(2).
    pub const OPENAT2: u8 = 2;
    /// creat(2).
    pub const CREAT: u8 = 3;
    /// open_by_handle_at(2).
    pub const OPEN_BY_HANDLE_AT: u8 = 4;
    /// `IORING_OP_OPENAT`, `IORING_OP_OPENAT2`.
    pub const IO_URING: u8 = 5;
    /// Any other way.
    pub const OTHER: u8 = 6;
}

/// The system call table that the caller used ([`OpenRecord::abi`]).
pub mod abi {
    /// x86-64, 64-bit.
    pub const X86_64: u8 = 0;
    /// x86, 32-bit (`int 0x80`, `sysenter`).
    pub const I386: u8 = 1;
    /// x86-64 with 32-bit pointers (x32).
    pub const X32: u8 = 2;
    /// aarch64, 64-bit.
    pub const AARCH64: u8 = 3;
    /// 32-bit ARM (EABI), on a 64-bit kernel.
    pub const ARM: u8 = 4;

    /// Whether pointers in the caller's memory have 4 bytes.
    pub const fn is_narrow(abi: u8) -> bool {
        matches!(abi, I386 | X32 | ARM)
    }
}

/// Properties of opens through io_uring ([`OpenRecord::uring`]).
pub mod uring {
    /// The file is opened into a slot of the ring's own file table (`file_index`): the result is not a descriptor.
    pub const DIRECT: u8 = 1;
    /// The opcode is `IORING_OP_OPENAT2`, not `IORING_OP_OPENAT`.
    pub const OPENAT2: u8 = 2;
    /// No completion is posted on success (`IOSQE_CQE_SKIP_SUCCESS`, include/uapi/linux/io_uring.h).
    pub const QUIET: u8 = 4;
}

/// The part of an io_uring record between the fixed part and the names. User space uses it to join the report of a
/// request ([`crate::header::flag::REQUEST`]) with the report of its end, and then drops it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RequestPart {
    /// Address of the `struct io_kiocb` (include/linux/io_uring_types.h). The kernel reuses it after the request has
    /// ended.
    pub request: u64,
    /// In the report of a request: address of the dentry of the directory at which a relative path starts. In the
    /// report of its end: that of the opened file's directory. 0 if not known.
    pub place: u64,
}

/// A bit of `how_marks`: the file is directly in the directory at which a relative path starts. Only determined if
/// [`super::mark::SHARED`] is set.
pub const NEAR: u8 = 64;

/// A bit of `how_marks`: `dirfd`, flags, mode and resolve are not known, because io_uring refused the request before it
/// read them.
pub const UNKNOWN: u8 = 128;

/// A bit of `how_marks`: the call created the file (`FMODE_CREATED` in `f_mode`, include/linux/fs.h).
pub const CREATED: u8 = 1;

/// A bit of `how_marks`: the file was there before the call. If neither this nor [`CREATED`] is set, the probe did not look:
/// the call was not asked to create one.
pub const EXISTED: u8 = 2;

/// A bit of `how_marks`: nothing was opened, and the names are those of the directory at which the relative path starts.
/// If its descriptor is not open, they have [`super::mark::NOT_COLLECTED`].
pub const STARTS: u8 = 4;

/// Fixed part of `open`. The variable parts are: names of the opened file, then the path as passed. If no file was opened,
/// the names are those of the directory at which the path starts ([`STARTS`]), or of the caller's root. The names from
/// `root_off` on lead from the caller's root to the root of its mount namespace.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct OpenRecord {
    /// The descriptor, or −errno.
    pub ret: i32,
    /// The directory descriptor as passed; `AT_FDCWD` (−100) for open and creat.
    pub dirfd: i32,
    /// The flags as passed (`O_*`): for creat those that it implies, for openat2 `how.flags`.
    pub flags: u64,
    /// `how.resolve` of openat2 (`RESOLVE_*`, include/uapi/linux/openat2.h), else 0.
    pub resolve: u64,
    /// The mode of a new file as passed.
    pub mode: u32,
    /// Bytes of the names.
    pub names_len: u16,
    /// Offset in bytes in the names at which the caller's root was met; `u16::MAX` if it was not met.
    pub root_off: u16,
    /// Bytes of the path as passed, without NUL.
    pub path_len: u16,
    /// One of [`via`].
    pub via: u8,
    /// One of [`abi`].
    pub abi: u8,
    /// Bits of [`super::mark`] for the names.
    pub names_marks: u8,
    /// Bits of [`super::mark`] for the path as passed.
    pub path_marks: u8,
    /// Bits of [`super::mark`] for `how` (openat2), [`NEAR`], [`UNKNOWN`], [`CREATED`], [`EXISTED`] and [`STARTS`].
    pub how_marks: u8,
    /// Bits of [`uring`].
    pub uring: u8,
    /// The opened file.
    pub file: Identity,
    /// `cred->euid`: the effective user id.
    pub euid: u32,
    /// 1 if `euid` is known, else 0.
    pub has_euid: u32,
}

const _: () = assert!(size_of::<OpenRecord>() == 80);
