//! Pseudoterminals.

use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio::stdin;
use rustix::termios::Winsize;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// A pseudoterminal: the master, and the slave for the program. No program inherits the master: it would never see it close.
pub(crate) fn open() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).expect("a pseudoterminal");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("the slave can be opened");
    let theirs = ioctl_tiocgptpeer(&ours, flags).expect("a slave");
    (ours, theirs)
}

/// Gives a command a new pseudoterminal as stdin, stdout and stderr.
pub(crate) fn give(command: &mut Command) -> (OwnedFd, OwnedFd) {
    let (ours, theirs) = open();
    let to = || Stdio::from(theirs.try_clone().expect("a descriptor"));
    command.stdin(to()).stdout(to()).stderr(to());
    (ours, theirs)
}

pub(crate) fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Makes a command the leader of a session on the terminal that is its stdin.
pub(crate) fn lead_session(command: &mut Command) {
    // SAFETY: between fork and exec the closure only makes system calls.
    unsafe { command.pre_exec(|| Ok(setsid().and_then(|_| ioctl_tiocsctty(stdin()))?)) };
}
