//! Restricts where a thread may write, by Landlock (5.13+).
//!
//! Landlock also keeps a thread from reading processes that are not restricted in the same way, but reading /proc of
//! others requires that. The threads that do so ([`Role::Reader`](super::Role::Reader),
//! [`Role::Inspector`](super::Role::Inspector)) therefore have no such restriction. Their filter of system calls only
//! allows opening files for reading.

use super::ShipperDirectories;
use landlock::{
    ABI, AccessFs, BitFlags, PathBeneath, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
};
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// The newest version whose kinds of access are known here. An older kernel does not restrict some of them.
const KNOWN: ABI = ABI::V5;

#[derive(Clone, Copy, Debug)]
pub(super) enum WriteAccess<'a> {
    Nowhere,
    /// The terminal. The thread cannot open directories either.
    Terminal,
    /// Files that are already open. Files in this directory may be removed.
    Removals(&'a Path),
    /// Files in these directories. The thread may create, write and remove them.
    Directories(&'a [&'a Path]),
    Shipper(ShipperDirectories<'a>),
}

enum PathOrFd<'a> {
    Path(&'a Path),
    Open(BorrowedFd<'a>),
}

impl PathOrFd<'_> {
    fn open(&self) -> Option<OwnedFd> {
        match self {
            PathOrFd::Path(path) => rustix::fs::open(*path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok(),
            PathOrFd::Open(directory) => directory.try_clone_to_owned().ok(),
        }
    }
}

/// The access to files of a directory that may be created, written and removed.
fn changes() -> BitFlags<AccessFs> {
    AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::RemoveFile
}

impl<'a> WriteAccess<'a> {
    fn places(self) -> Vec<(PathOrFd<'a>, BitFlags<AccessFs>)> {
        match self {
            WriteAccess::Nowhere => Vec::new(),
            WriteAccess::Terminal => {
                vec![(PathOrFd::Path(Path::new("/dev/tty")), AccessFs::WriteFile | AccessFs::IoctlDev)]
            }
            WriteAccess::Removals(dir) => vec![(PathOrFd::Path(dir), AccessFs::RemoveFile.into())],
            WriteAccess::Directories(dirs) => dirs.iter().map(|dir| (PathOrFd::Path(dir), changes())).collect(),
            WriteAccess::Shipper(ShipperDirectories { spool, state, target }) => {
                let spool = spool.map(|dir| (PathOrFd::Open(dir), AccessFs::RemoveFile.into()));
                let target = target.map(|dir| (PathOrFd::Path(dir), changes() | AccessFs::MakeDir));
                spool.into_iter().chain([(PathOrFd::Open(state), changes())]).chain(target).collect()
            }
        }
    }
}

/// Forbids the calling thread, and the threads that it starts, to write anywhere else, and to execute. Open files are
/// not affected. Returns `false` if the kernel has no Landlock, or it is turned off.
pub(super) fn restrict(place: WriteAccess<'_>) -> io::Result<bool> {
    let mut restricted = AccessFs::from_write(KNOWN) | AccessFs::Execute;
    if matches!(place, WriteAccess::Terminal) {
        // A directory of /proc identifies a process for pidfd_send_signal(2).
        restricted |= AccessFs::ReadDir;
    }
    // If the place does not exist, nothing can be written there. The error of that write is then reported.
    let places = place.places().into_iter();
    let rules = places.filter_map(|(place, access)| Some(PathBeneath::new(place.open()?, access)));
    let ruleset = Ruleset::default().handle_access(restricted).and_then(Ruleset::create);
    let ruleset = ruleset.and_then(|ruleset| ruleset.add_rules(rules.map(Ok::<_, landlock::RulesetError>)));
    let status = ruleset.and_then(|ruleset| ruleset.restrict_self()).map_err(io::Error::other)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
