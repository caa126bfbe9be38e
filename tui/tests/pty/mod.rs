//! Pseudoterminals.

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use std::os::fd::OwnedFd;

/// A pseudoterminal: the master, and the slave for the program. No program inherits the master: it would never see it close.
pub(crate) fn open() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).expect("a pseudoterminal");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("the slave can be opened");
    let theirs = ioctl_tiocgptpeer(&ours, flags).expect("a slave");
    (ours, theirs)
}
