//! One kind, one file: the payload that follows the [`crate::header::FrameHeader`].
//!
//! A payload is a fixed part and the variable parts that it gives the lengths of, in the order of its `_len` fields.
//!
//! **Names** are how the probes carry an absolute path: the components leaf first, each followed by NUL, up to the root
//! of the caller's mount namespace. `usr\0` + `lib\0` reversed is `/lib/usr`; user space turns them round.

pub mod bpf;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod open;
pub mod task;

/// What is wrong with a walk from a dentry to the root, or with the read of a string. Bits of `*_marks` fields.
pub mod mark {
    /// The walk ran out of levels or room: the path is missing its beginning.
    pub const CUT: u8 = 1;
    /// The file has no name any more (`d_unhashed`).
    pub const DELETED: u8 = 2;
    /// The walk did not end at the first mount of the caller's mount namespace: the file is not in it.
    pub const UNREACHABLE: u8 = 4;
    /// The read of user memory faulted.
    pub const FAULT: u8 = 8;
    /// The descriptor was closed, or reused, by another thread before the probe could look behind it.
    pub const RACED: u8 = 16;
    /// The file's path is not in the directory tree (pipe, socket, memfd, anonymous inode).
    pub const PSEUDO: u8 = 32;
    /// There is nothing to walk from: a direct descriptor of io_uring is in no table of the process.
    pub const NOT_COLLECTED: u8 = 64;
    /// The file behind a new descriptor has other references: a fork copied the descriptor, or it is another thread's file.
    /// User space believes the path if it ends as the one that was asked for.
    pub const SHARED: u8 = 128;
}
