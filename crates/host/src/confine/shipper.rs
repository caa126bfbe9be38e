//! The rights of `tracetui-ship`, a process of its own: it reads closed recordings and has a network, but traces nothing.

use super::landlock::{self, WriteAccess};
use super::seccomp::{self, For};
use super::{ROOT, hold_as};
use rustix::thread::CapabilitySet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// The directories in which the shipper may write.
#[derive(Clone, Copy, Debug)]
pub struct ShipperDirectories<'a> {
    /// Files in it may be removed, if the shipper bounds it.
    pub spool: Option<BorrowedFd<'a>>,
    /// Files in it may be created, replaced and removed.
    pub state: BorrowedFd<'a>,
    /// The same, and directories may be made, if the store is a directory.
    pub target: Option<&'a Path>,
}

/// Permanently gives up all capabilities and other rights, for the calling thread and the threads that it starts: no other places
/// to write, no program to execute, no signals to others, no listening socket. Root keeps its ids for files. After an error, the
/// process must not continue.
pub fn enter_shipper(directories: ShipperDirectories<'_>) -> io::Result<()> {
    hold_as(Some(ROOT), CapabilitySet::empty())?;
    landlock::restrict(WriteAccess::Shipper(directories))?;
    seccomp::restrict(For::Shipper).map(drop)
}
