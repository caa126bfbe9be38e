//! One file per kind of event: the payload that follows the [`crate::header::FrameHeader`].
//!
//! A payload is a fixed part, followed by the variable parts whose lengths it states, in the order of its `_len`
//! fields.
//!
//! **Names** are the form in which the probes carry an absolute path: the components, leaf first, each followed by NUL,
//! up to the root of the caller's mount namespace. `lib\0` `usr\0` is `/usr/lib`; user space reverses them. If the file
//! is not in that namespace ([`mark::UNREACHABLE`]), they lead up to the root of its file system, and a [`FileSystem`]
//! follows them.

pub mod bpf;
pub mod exec;
pub mod exit;
pub mod file;
pub mod fork;
pub mod identity;
pub mod open;
pub mod session;
pub mod socket;
pub mod stack;
pub mod task;
pub mod tcp;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The file system of a file that is not in the caller's mount namespace, at the end of its names. It begins with a byte
/// that no name contains, so it is distinguished from the names of older recordings, which end without it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FileSystem {
    /// [`FileSystem::MARK`].
    pub mark: u32,
    /// `super_block.s_dev`: 12 bits of the major number, then 20 bits of the minor number.
    pub device: u32,
    /// `mount.mnt_id` (fs/mount.h).
    pub mount_id: u32,
    /// `file_system_type.name`, NUL-terminated.
    pub name: [u8; FileSystem::NAME_MAX],
}

impl FileSystem {
    /// The first four bytes.
    pub const MARK: u32 = b'/' as u32;
    /// Limit of the name of a type in bytes with its NUL.
    pub const NAME_MAX: usize = 20;
}

const _: () = assert!(size_of::<FileSystem>() == 32);

/// Defects of a walk from a dentry to the root, or of the read of a string. Bits of `*_marks` fields.
pub mod mark {
    /// The walk ran out of levels or of room: the path lacks its beginning.
    pub const CUT: u8 = 1;
    /// The file no longer has a name (`d_unhashed`,
    /// [`include/linux/dcache.h`](https://elixir.bootlin.com/linux/v6.12/source/include/linux/dcache.h)).
    pub const DELETED: u8 = 2;
    /// The walk did not end at the first mount of the caller's mount namespace: the file is not in it. The names are those
    /// within its file system.
    pub const UNREACHABLE: u8 = 4;
    /// The read of user memory faulted.
    pub const FAULT: u8 = 8;
    /// Another thread closed or reused the descriptor before the probe could read its file.
    pub const RACED: u8 = 16;
    /// The file's path is not in the directory tree (pipe, socket, memfd, anonymous inode).
    pub const PSEUDO: u8 = 32;
    /// There is nothing to walk from: a direct descriptor of io_uring is in no table of the process.
    pub const NOT_COLLECTED: u8 = 64;
    /// The file behind a new descriptor has other references: a fork copied the descriptor, or the file is another
    /// thread's. User space accepts the path if it ends like the one that was passed.
    pub const SHARED: u8 = 128;
}
