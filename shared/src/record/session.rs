//! The session of a process, in the records of `exec` and `exit`.

use crate::id::{Tgid, Uid};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a terminal's name. The names of the kernel's drivers are shorter.
pub const TTY_LEN: usize = 15;

/// The terminal, the session and the login of a process. Only the fields in `known` have a meaning.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Session {
    /// The name of the controlling terminal, `signal->tty->name`, padded with NULs: `pts3`, `ttyS0`. Empty without a
    /// terminal.
    pub tty: [u8; TTY_LEN],
    /// Bits of [`known`].
    pub known: u8,
    /// The process id of the session's leader, in the initial pid namespace: `signal->pids[PIDTYPE_SID]`.
    pub id: Tgid,
    /// The user that logged in: `task->loginuid`. `u32::MAX`: nobody did.
    pub login_uid: Uid,
}

const _: () = assert!(size_of::<Session>() == 24);

/// Bits of [`Session::known`].
pub mod known {
    /// The probe looked at the session.
    pub const SEEN: u8 = 1;
    /// The kernel has the field of `tty`.
    pub const TTY: u8 = 2;
    /// The kernel has the field of `id`.
    pub const ID: u8 = 4;
    /// The kernel has the field of `login_uid` (`CONFIG_AUDIT`).
    pub const LOGIN: u8 = 8;
}
