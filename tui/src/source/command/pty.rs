//! The terminal of a COMMAND.

use crate::source::host::invoker::Invoker;
use nix::unistd::Group;
use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, fcntl_setfl};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What to do where there is no terminal for it.
const REMEDY: &str = "mount devpts on /dev/pts and check kernel.pty.max, or run print or record with </dev/null";

/// A pseudoterminal.
#[derive(Debug)]
pub(super) struct Pty {
    /// The end of tracetui. Reads and writes do not block.
    pub(super) master: OwnedFd,
    /// The end of the COMMAND.
    pub(super) slave: OwnedFd,
}

impl Pty {
    /// Opens a terminal that belongs to `user`, with the modes and the size of the terminal on stdin, if it is one.
    ///
    /// # Errors
    /// If the system has no terminal left: the error says what to do.
    pub(super) fn open(user: Option<&Invoker>) -> io::Result<Pty> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let open = || {
            let master = openpt(flags)?;
            unlockpt(&master)?;
            fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
            let slave = ioctl_tiocgptpeer(&master, flags)?;
            Ok(Pty { master, slave })
        };
        let pty =
            open().map_err(|error: io::Error| io::Error::other(format!("no terminal for it: {error}; {REMEDY}")))?;
        pty.give_to(user);
        copy_modes(&pty.master);
        follow(&pty.master);
        Ok(pty)
    }

    /// Gives the slave to a user, as grantpt(3) does: others may at most write to it.
    fn give_to(&self, user: Option<&Invoker>) {
        let group = Group::from_name("tty").ok().flatten().map(|group| Gid::from_raw(group.gid.as_raw()));
        let user = user.map(|user| Uid::from_raw(user.uid.0));
        // Without the right to do it, it stays as the kernel made it: it belongs to the caller.
        let _ = fchown(&self.slave, user, group);
        let mode = if group.is_some() { Mode::RUSR | Mode::WUSR | Mode::WGRP } else { Mode::RUSR | Mode::WUSR };
        let _ = fchmod(&self.slave, mode);
    }
}

/// Sets the modes of the terminal of a master to those of the terminal on stdin. Without one, those of a new terminal are sensible.
pub(super) fn copy_modes(master: impl AsFd) {
    if let Ok(modes) = tcgetattr(stdin()) {
        let _ = tcsetattr(master, OptionalActions::Now, &modes);
    }
}

/// Sets the size of the terminal of a master to that of the terminal on stdin.
pub(super) fn follow(master: impl AsFd) {
    if let Ok(size) = tcgetwinsize(stdin()) {
        let _ = tcsetwinsize(master, size);
    }
}

/// Sets the size of the terminal of a master.
pub(super) fn resize(master: impl AsFd, columns: u16, rows: u16) {
    let _ = tcsetwinsize(master, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 });
}

/// The number of a terminal; `None` if the descriptor is none. Also that of `/dev/tty` is the number of the terminal behind it.
pub(crate) fn device(fd: impl AsFd) -> Option<u32> {
    let mut device = 0_u32;
    // SAFETY: the kernel writes a number to the live local.
    let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCGDEV, &raw mut device) };
    (done == 0).then_some(device)
}
