//! Where a thread may write, by Landlock (5.13+).
//!
//! Landlock also keeps a thread from looking into processes that are not restricted in the same way, which reading /proc of others
//! takes. So the threads that do that ([`Role::Processes`](super::Role::Processes), [`Role::Inventory`](super::Role::Inventory))
//! have no such restriction: their filter of system calls allows opening files for reading only.

use landlock::{
    ABI, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
};
use std::io;
use std::path::Path;

/// The newest version whose kinds of access are known here. With an older kernel, some of them are not restricted.
const KNOWN: ABI = ABI::V5;

/// Where the calling thread may still write.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// Nowhere.
    Nowhere,
    /// The terminal. Directories are not opened either.
    Terminal,
    /// Files that are open, and those in a directory may be removed.
    Removals(&'a Path),
    /// Files in a directory: it may create, write and remove them.
    Directory(&'a Path),
}

/// Forbids the calling thread, and those that it starts, to write anywhere else, and to execute. Files that are open stay as they
/// are. `false` if the kernel has no Landlock, or it is turned off.
///
/// # Errors
/// The error of the kernel.
pub(super) fn restrict(place: Place<'_>) -> io::Result<bool> {
    let mut restricted = AccessFs::from_write(KNOWN) | AccessFs::Execute;
    if matches!(place, Place::Terminal) {
        // A directory of /proc names a process for pidfd_send_signal(2).
        restricted |= AccessFs::ReadDir;
    }
    let (path, access): (_, BitFlags<AccessFs>) = match place {
        Place::Nowhere => (None, BitFlags::EMPTY),
        Place::Terminal => (Some(Path::new("/dev/tty")), AccessFs::WriteFile | AccessFs::IoctlDev),
        Place::Removals(dir) => (Some(dir), AccessFs::RemoveFile.into()),
        Place::Directory(dir) => {
            (Some(dir), AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::RemoveFile)
        }
    };
    // Without the place, nothing can be written there: the error of that write is what is said.
    let rule = path.and_then(|path| PathFd::new(path).ok()).map(|place| PathBeneath::new(place, access));
    let ruleset = Ruleset::default().handle_access(restricted).and_then(Ruleset::create);
    let ruleset = ruleset.and_then(|ruleset| match rule {
        Some(rule) => ruleset.add_rule(rule),
        None => Ok(ruleset),
    });
    let status = ruleset.and_then(|ruleset| ruleset.restrict_self()).map_err(io::Error::other)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
