//! The terminal of a COMMAND.

use nix::unistd::Group;
use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, fcntl_setfl};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use tracetui_host::invoker::Invoker;

/// The remedy if a COMMAND cannot get a terminal.
const REMEDY: &str = "mount devpts on /dev/pts and check kernel.pty.max, or run print or record with </dev/null";

#[derive(Debug)]
pub(super) struct Pty {
    /// tracetui's end. Reads and writes do not block.
    pub(super) master: OwnedFd,
    /// The COMMAND's end.
    pub(super) slave: OwnedFd,
}

impl Pty {
    /// Opens a terminal that belongs to `user`. It gets the modes and the size of the terminal on stdin, if there is
    /// one.
    pub(super) fn open(user: Option<&Invoker>) -> io::Result<Pty> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let open = || {
            let master = openpt(flags)?;
            unlockpt(&master)?;
            fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
            let slave = ioctl_tiocgptpeer(&master, flags)?;
            Ok(Pty { master, slave })
        };
        let pty = open()
            .map_err(|error: io::Error| io::Error::other(format!("cannot open a pseudoterminal: {error}; {REMEDY}")))?;
        pty.give_to(user);
        copy_modes(&pty.master);
        follow(&pty.master);
        Ok(pty)
    }

    /// Gives the slave to a user, as grantpt(3) does. Other users may at most write to it.
    fn give_to(&self, user: Option<&Invoker>) {
        let group = Group::from_name("tty").ok().flatten().map(|group| Gid::from_raw(group.gid.as_raw()));
        let user = user.map(|user| Uid::from_raw(user.uid.0));
        // Without the right to do this, the terminal still belongs to the caller, as the kernel created it.
        let _ = fchown(&self.slave, user, group);
        let mode = if group.is_some() { Mode::RUSR | Mode::WUSR | Mode::WGRP } else { Mode::RUSR | Mode::WUSR };
        let _ = fchmod(&self.slave, mode);
    }
}

/// Copies the modes of the terminal on stdin to the terminal of a master. If stdin is no terminal, the default modes of
/// a new terminal stay.
pub(super) fn copy_modes(master: impl AsFd) {
    if let Ok(modes) = tcgetattr(stdin()) {
        let _ = tcsetattr(master, OptionalActions::Now, &modes);
    }
}

/// Copies the size of the terminal on stdin to the terminal of a master.
pub(super) fn follow(master: impl AsFd) {
    if let Ok(size) = tcgetwinsize(stdin()) {
        let _ = tcsetwinsize(master, size);
    }
}

/// Sets the size of the terminal of a master.
pub(super) fn resize(master: impl AsFd, columns: u16, rows: u16) {
    let _ = tcsetwinsize(master, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 });
}

/// The device number of a terminal. `None` if the descriptor is not a terminal. For `/dev/tty`, this is the number of
/// the terminal behind it.
pub fn device(fd: impl AsFd) -> Option<u32> {
    let mut device = 0_u32;
    // SAFETY: the kernel writes a number to the live local.
    let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCGDEV, &raw mut device) };
    (done == 0).then_some(device)
}
