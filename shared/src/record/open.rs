//! `open`: a file was opened, or failed to open.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most bytes of a path as asked, with its NUL: `PATH_MAX`.
pub const PATH_MAX: u32 = 4096;

/// Which way a file was opened ([`OpenRecord::via`]).
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

/// Which system call table the caller used ([`OpenRecord::abi`]).
pub mod abi {
    /// 64-bit.
    pub const X86_64: u8 = 0;
    /// 32-bit (`int 0x80`, `sysenter`).
    pub const I386: u8 = 1;
    /// 64-bit with 32-bit pointers.
    pub const X32: u8 = 2;
    /// aarch64.
    pub const AARCH64: u8 = 3;
    /// 32-bit ARM (EABI), on a 64-bit kernel.
    pub const ARM: u8 = 4;

    /// Whether pointers in the caller's memory have 4 bytes.
    pub const fn is_narrow(abi: u8) -> bool {
        matches!(abi, I386 | X32 | ARM)
    }
}

/// What is particular to opens through io_uring ([`OpenRecord::uring`]).
pub mod uring {
    /// Into a slot of the ring's own table of files (`file_index`): the result is no descriptor.
    pub const DIRECT: u8 = 1;
    /// By `IORING_OP_OPENAT2`.
    pub const OPENAT2: u8 = 2;
    /// No completion when it succeeds (`IOSQE_CQE_SKIP_SUCCESS`).
    pub const QUIET: u8 = 4;
}

/// What a record of io_uring has between the fixed part and the names: user space joins the report of a request
/// ([`crate::header::flag::REQUEST`]) with the report of its end by it, and drops it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RequestPart {
    /// The address of `struct io_kiocb`. The kernel uses it again after the request has ended.
    pub request: u64,
    /// Of a request, the dentry of the directory where a relative path starts; of its end, that of the opened file's
    /// directory. 0 when not known.
    pub place: u64,
}

/// The file is in the very directory from which a relative path starts. Only looked for where [`super::mark::SHARED`] is.
pub const NEAR: u8 = 64;

/// Where the path starts, flags, mode and resolve are not known: io_uring refused the request before it read them.
pub const UNKNOWN: u8 = 128;

/// Fixed part of `open`. Then: names of the opened file (of which those from `root_off` on lead from the caller's root
/// to the root of its mount namespace), names of the caller's root when there is no opened file, and the path as asked.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct OpenRecord {
    /// The descriptor, or −errno.
    pub ret: i32,
    /// The directory descriptor as passed; `AT_FDCWD` (−100) for open and creat.
    pub dirfd: i32,
    /// The flags as passed (creat: what it stands for; openat2: `how.flags`).
    pub flags: u64,
    /// `how.resolve` of openat2, else 0.
    pub resolve: u64,
    /// The mode as passed.
    pub mode: u32,
    /// Bytes of the names of the opened file.
    pub names_len: u16,
    /// Where in the names the caller's root was met; `u16::MAX` when it was not met.
    pub root_off: u16,
    /// Bytes of the path as asked, without NUL.
    pub path_len: u16,
    /// [`via`].
    pub via: u8,
    /// [`abi`].
    pub abi: u8,
    /// [`super::mark`]s of the opened file's path.
    pub names_marks: u8,
    /// [`super::mark`]s of the path as asked.
    pub path_marks: u8,
    /// [`super::mark`]s of `how` (openat2), [`NEAR`] and [`UNKNOWN`].
    pub how_marks: u8,
    /// [`uring`] bits.
    pub uring: u8,
}

const _: () = assert!(size_of::<OpenRecord>() == 40);
