//! The user who typed `sudo`: whose the COMMAND is to be.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use tracetui_shared::id::{Gid, Uid};

/// The most supplementary groups that the kernel takes (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// Bytes of the largest account that is read.
const ACCOUNT_MAX: usize = 1 << 20;

/// The user who typed `sudo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoker {
    /// The user.
    pub uid: Uid,
    /// The group of the shell in which it was typed.
    pub gid: Gid,
    /// All groups.
    pub groups: Vec<u32>,
    /// The name.
    pub name: OsString,
    /// The home directory.
    pub home: OsString,
}

/// `SUDO_UID` or `SUDO_GID` is no number: who typed `sudo` is not known, and nothing is run as root by mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value:?}, which is no id: cannot tell who typed sudo; unset SUDO_UID to run the command as root")]
pub struct UnknownInvoker {
    name: &'static str,
    value: OsString,
}

impl Invoker {
    /// Who typed `sudo`; `None` when nobody did, when root did, and when sudo was not to root, so that there is no user to
    /// change to.
    ///
    /// # Errors
    /// When sudo's variables make no sense.
    pub fn of_sudo() -> Result<Option<Invoker>, UnknownInvoker> {
        // SAFETY: takes no pointers.
        let root = unsafe { libc::geteuid() } == 0;
        let Some(uid) = std::env::var_os("SUDO_UID").filter(|_| root) else { return Ok(None) };
        let uid = id("SUDO_UID", uid)?;
        let gid = id("SUDO_GID", std::env::var_os("SUDO_GID").unwrap_or_default())?;
        if uid == 0 {
            return Ok(None);
        }
        let account = account(uid);
        let or_variable = |known: Option<OsString>, name: &str| known.or_else(|| std::env::var_os(name));
        let (name, home) = account.map_or((None, None), |(name, home)| (Some(name), Some(home)));
        let name = or_variable(name, "SUDO_USER").unwrap_or_else(|| uid.to_string().into());
        let home = or_variable(home, "SUDO_HOME").unwrap_or_else(|| "/".into());
        Ok(Some(Invoker { uid: Uid(uid), gid: Gid(gid), groups: groups(&name, gid), name, home }))
    }
}

fn id(name: &'static str, value: OsString) -> Result<u32, UnknownInvoker> {
    // The last number stands for no user: setuid(2) would take it as "unchanged".
    let id = value.to_str().and_then(|text| text.parse().ok()).filter(|id| *id != u32::MAX);
    id.ok_or(UnknownInvoker { name, value })
}

/// Name and home directory, by the name service.
fn account(uid: u32) -> Option<(OsString, OsString)> {
    let mut bytes = vec![0 as libc::c_char; 4096];
    loop {
        let mut found = std::ptr::null_mut();
        // SAFETY: all zeros are a `passwd` of null pointers.
        let mut account: libc::passwd = unsafe { std::mem::zeroed() };
        // SAFETY: the pointers are to live locals, and the length is the buffer's.
        let error = unsafe { libc::getpwuid_r(uid, &raw mut account, bytes.as_mut_ptr(), bytes.len(), &raw mut found) };
        if error == libc::ERANGE && bytes.len() < ACCOUNT_MAX {
            bytes.resize(bytes.len() * 2, 0);
            continue;
        }
        if error != 0 || found.is_null() || account.pw_name.is_null() || account.pw_dir.is_null() {
            return None;
        }
        // SAFETY: both are strings in `bytes`, which getpwuid_r ended with NUL.
        let (name, home) = unsafe { (CStr::from_ptr(account.pw_name), CStr::from_ptr(account.pw_dir)) };
        let owned = |text: &CStr| OsString::from_vec(text.to_bytes().to_vec());
        return Some((owned(name), owned(home)));
    }
}

/// The groups that initgroups(3) would set; where they cannot be known, the one that is.
fn groups(name: &OsString, gid: u32) -> Vec<u32> {
    let Ok(name) = CString::new(name.as_bytes()) else { return vec![gid] };
    let mut groups = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the name ends with NUL, and `groups` has room for `count`.
        let fits = unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        if fits >= 0 {
            groups.truncate(usize::try_from(count).unwrap_or(0));
            return groups;
        }
        if groups.len() >= GROUPS_MAX {
            return vec![gid];
        }
        groups.resize((groups.len() * 4).min(GROUPS_MAX), 0);
    }
}

impl From<UnknownInvoker> for io::Error {
    fn from(error: UnknownInvoker) -> io::Error {
        io::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_an_account_and_groups() {
        let (name, home) = account(0).expect("every system has a root");
        assert_eq!(name, "root");
        assert!(!home.is_empty());
        assert!(groups(&name, 0).contains(&0));
    }

    #[test]
    fn who_has_no_account_has_the_one_group() {
        assert_eq!(account(u32::MAX - 7), None);
        assert_eq!(groups(&"no such user of this machine".into(), 17), [17]);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        assert_eq!(id("SUDO_UID", "1000".into()), Ok(1000));
        for wrong in ["", "-1", "4294967295", "4294967296", "ana", " 1"] {
            let error = id("SUDO_UID", wrong.into()).expect_err(wrong).to_string();
            assert!(error.contains("SUDO_UID"), "{error}");
        }
    }
}
