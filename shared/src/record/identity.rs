//! What identifies the contents of a file.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The inode of a file (`struct inode`, include/linux/fs.h) at the time of an event. All zero if the probe did not look.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Identity {
    /// `i_ino`.
    pub ino: u64,
    /// `i_size`, in bytes.
    pub size: u64,
    /// `i_ctime`, seconds since the epoch.
    pub changed: i64,
    /// `i_ctime`, nanoseconds; the bit 31 is the kernel's own (`I_CTIME_QUERIED`).
    pub changed_ns: u32,
    /// `i_sb->s_dev`: 12 bits of the major number, then 20 bits of the minor number.
    pub device: u32,
}

const _: () = assert!(size_of::<Identity>() == 32);
