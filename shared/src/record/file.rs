//! `file`: a name or the attributes of a file were changed, or failed to be. `lookup`: a path was looked up, and the lookup failed.
//! `unix`: a Unix socket was connected to.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The payload of `file`, `lookup` and `unix` ([`unix`]). The variable part contains the directories at which the two paths start, as names, the two paths as
/// passed, and a third text.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FileRecord {
    /// The values that were passed ([`Places`](crate::calls::Places)): a mode, owner and group, a size; 0 without.
    pub values: [u64; 2],
    /// The result: 0 or −errno.
    pub ret: i32,
    /// The effective user id: `cred->euid`.
    pub euid: u32,
    /// The flags that were passed; 0 without.
    pub flags: u32,
    /// The descriptors at which the two paths start, or that name the file; `AT_FDCWD` without.
    pub dirfds: [i32; 2],
    /// Which call: one of [`file`](crate::calls::file) or [`lookup`](crate::calls::lookup), or [`WRITTEN`].
    pub op: u8,
    /// The table: one of [`abi`](super::open::abi).
    pub abi: u8,
    /// [`start`] of the paths.
    pub starts: u8,
    /// Bits of [`mark`](super::mark) of the directories, and of the texts.
    pub dir_marks: [u8; 2],
    pub text_marks: [u8; 3],
    /// The lengths of the directories, and of the texts, in bytes.
    pub dir_lens: [u16; 2],
    pub text_lens: [u16; 3],
    /// Not used; 0.
    pub reserved: [u8; 2],
}

const _: () = assert!(size_of::<FileRecord>() == 56);

/// In place of a call: the file was closed, and its content has changed since it was opened.
pub const WRITTEN: u8 = 41;

/// Limit of a path in bytes, with its NUL: `PATH_MAX` (include/uapi/linux/limits.h).
pub const PATH_MAX: u32 = 4096;
/// Limit of the third text in bytes, with its NUL: `XATTR_NAME_MAX` and 1 (same file).
pub const TEXT_MAX: u32 = 256;

/// How the directories of the paths were found. Bits of [`FileRecord::starts`].
pub mod start {
    /// The first path is relative: its directory follows.
    pub const PATH: u8 = 1;
    /// The second path is relative.
    pub const NEW_PATH: u8 = 2;
    /// The call names the file by a descriptor. The first directory is that file.
    pub const FILE: u8 = 4;
    /// The second path starts where the first one does: only the first directory follows.
    pub const SAME: u8 = 8;
}

/// What a record of `unix` has in the fields of [`FileRecord`]: in `values` the type of the socket (`sock.sk_type`) with the [`form`] of
/// the address in the upper half, and the peer's process with its user in the upper half; in the second of `dirfds` the descriptor
/// of the socket; in the first text the address; in the third the name of the peer's process.
pub mod unix {
    /// Limit of a path in bytes: `sizeof(sun_path)` (include/uapi/linux/un.h).
    pub const PATH_MAX: u32 = 108;

    /// How an address was passed.
    pub mod form {
        pub use crate::record::socket::form::{OTHER_FAMILY, TOO_SHORT, UNREADABLE};
        /// A path.
        pub const PATH: u8 = 0;
        /// A name in the abstract namespace. Its first byte, a NUL, is `@` in the record.
        pub const ABSTRACT: u8 = 1;
    }
}
