//! The user who invoked `sudo`, `doas` or `pkexec`: the user of the COMMAND.

use nix::unistd::{self, User, getgrouplist};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use tracetui_events::text::{Charset, escaped};
use tracetui_shared::id::{Gid, Uid};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoker {
    pub uid: Uid,
    /// The group of the invoking shell if known, otherwise the user's group.
    pub gid: Gid,
    pub groups: Vec<u32>,
    pub name: OsString,
    pub home: OsString,
}

pub const VARIABLES: [&str; 3] = ["SUDO_UID", "DOAS_USER", "PKEXEC_UID"];

impl Invoker {
    /// The user who invoked sudo, doas or pkexec (run0 sets the same variables as sudo). `None` if there is no such
    /// user, if it was root, or if the target was not root.
    /// Fails if the variables are invalid or contradictory, so that no command runs as root by mistake.
    pub fn of_environment() -> io::Result<Option<Invoker>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let uid = uid(|name| std::env::var_os(name), uid_of_name).map_err(io::Error::other)?;
        let Some(uid) = uid else { return Ok(None) };
        let account = account(uid);
        let variable = |name: &str| std::env::var_os(name);
        let by_sudo = variable("SUDO_UID").is_some_and(|by_sudo| by_sudo == uid.to_string().as_str());
        let gid = match (variable("SUDO_GID").filter(|_| by_sudo), &account) {
            (Some(gid), _) => id("SUDO_GID", gid).map_err(io::Error::other)?,
            (None, Some(account)) => account.gid.as_raw(),
            // The name service does not know the account, so no other group is known.
            (None, None) => uid,
        };
        let (name, home) = account.map(|account| (account.name.into(), account.dir.into())).unzip();
        let or_variable = |known: Option<OsString>, name: &str| known.or_else(|| variable(name).filter(|_| by_sudo));
        let name = or_variable(name, "SUDO_USER").unwrap_or_else(|| uid.to_string().into());
        let home = or_variable(home, "SUDO_HOME").unwrap_or_else(|| "/".into());
        Ok(Some(Invoker { uid: Uid(uid), gid: Gid(gid), groups: groups(&name, gid), name, home }))
    }

    /// Permanently gives the calling thread the file-system ids and the groups of this user. Root's capabilities on
    /// files are then not in effect (setfsuid(2)). Other threads keep theirs: unlike the functions of the C library,
    /// the system calls apply to one thread.
    pub fn take_file_ids(&self) -> io::Result<()> {
        take_file_ids(self.uid, self.gid, &self.groups)
    }
}

pub(super) fn take_file_ids(uid: Uid, gid: Gid, groups: &[u32]) -> io::Result<()> {
    // SAFETY: setgroups(2) reads as many ids as there are in the list, which lives through the call.
    if unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for (call, id) in [(libc::SYS_setfsgid, gid.0), (libc::SYS_setfsuid, uid.0)] {
        // SAFETY: the calls take a number. They return the id that was in force before, so the second one shows whether the
        // first one took effect.
        let now = unsafe {
            libc::syscall(call, id);
            libc::syscall(call, id)
        };
        if now as u32 != id {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
    }
    Ok(())
}

/// The single user other than root that the variables name.
fn uid(
    variable: impl Fn(&str) -> Option<OsString>,
    by_name: impl Fn(&OsString) -> Option<u32>,
) -> Result<Option<u32>, String> {
    let mut found: Option<(&'static str, u32)> = None;
    for name in VARIABLES {
        let Some(value) = variable(name) else { continue };
        let uid = match name {
            "DOAS_USER" => by_name(&value).ok_or_else(|| invalid(name, &value, "user"))?,
            _ => id(name, value)?,
        };
        match found {
            // This root shell was started by the user of another variable, which is more specific.
            _ if uid == 0 => {}
            Some((first, other)) if other != uid => {
                let what = format!("{first} and {name} name different users");
                return Err(format!("{what}: the invoking user is unknown; unset one of them"));
            }
            _ => found = Some((name, uid)),
        }
    }
    Ok(found.map(|(_, uid)| uid))
}

fn id(name: &str, value: OsString) -> Result<u32, String> {
    // `u32::MAX` is not a user, because setuid(2) treats it as "unchanged".
    let id = value.to_str().and_then(|text| text.parse().ok()).filter(|id| *id != u32::MAX);
    id.ok_or_else(|| invalid(name, &value, "id"))
}

fn invalid(name: &str, value: &OsStr, what: &str) -> String {
    let value = escaped(value.as_bytes(), Charset::Utf8.mode());
    format!("{name}={value} is not a valid {what}: the invoking user is unknown; unset {name} to run COMMAND as root")
}

/// The account with a user id. If its name is not UTF-8, nix replaces the invalid bytes by U+FFFD. The COMMAND then
/// gets the changed name, and the user's supplementary groups are not found.
fn account(uid: u32) -> Option<User> {
    User::from_uid(unistd::Uid::from_raw(uid)).ok().flatten()
}

/// The id of the user with a name. A name that is not UTF-8 is unknown, because nix takes names as text.
fn uid_of_name(name: &OsString) -> Option<u32> {
    let user = User::from_name(name.to_str()?).ok().flatten();
    user.map(|user| user.uid.as_raw())
}

/// The groups that initgroups(3) would set. If they are unknown, only `gid`.
fn groups(name: &OsString, gid: u32) -> Vec<u32> {
    let name = CString::new(name.as_bytes()).ok();
    let groups = name.and_then(|name| getgrouplist(&name, unistd::Gid::from_raw(gid)).ok());
    groups.map_or_else(|| vec![gid], |groups| groups.into_iter().map(unistd::Gid::as_raw).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid_by(variables: &[(&str, &str)]) -> Result<Option<u32>, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let by_name = |name: &OsString| match name.to_str() {
            Some("root") => Some(0),
            Some("ana") => Some(1000),
            _ => None,
        };
        uid(variable, by_name)
    }

    #[test]
    fn whoever_made_it_root_says_who_it_was() {
        assert_eq!(uid_by(&[]), Ok(None));
        assert_eq!(uid_by(&[("SUDO_UID", "1000")]), Ok(Some(1000)));
        assert_eq!(uid_by(&[("DOAS_USER", "ana")]), Ok(Some(1000)));
        assert_eq!(uid_by(&[("PKEXEC_UID", "1001")]), Ok(Some(1001)));
        assert_eq!(uid_by(&[("DOAS_USER", "root"), ("PKEXEC_UID", "0"), ("SUDO_UID", "0")]), Ok(None));
        // One tool was run within another.
        assert_eq!(uid_by(&[("SUDO_UID", "0"), ("DOAS_USER", "ana")]), Ok(Some(1000)));
        assert_eq!(uid_by(&[("SUDO_UID", "1000"), ("DOAS_USER", "ana")]), Ok(Some(1000)));
        // Root has an account and groups.
        let root = account(0).expect("every system has a root");
        assert_eq!((root.name.as_str(), root.uid.as_raw(), root.gid.as_raw()), ("root", 0, 0));
        assert!(root.dir.is_absolute());
        assert!(groups(&root.name.into(), 0).contains(&0));
        assert_eq!(uid_of_name(&"root".into()), Some(0));
        let nobody = "no such user of this machine".into();
        assert_eq!((uid_of_name(&nobody), account(u32::MAX - 7)), (None, None));
        assert_eq!(groups(&nobody, 17), [17]);
        // Nothing runs as root by mistake.
        for (variables, says) in [
            (&[("DOAS_USER", "eve\x1b")][..], "DOAS_USER=eve\\x1b is not a valid user"),
            (&[("PKEXEC_UID", "")], "PKEXEC_UID= is not a valid id"),
            (&[("SUDO_UID", "1000"), ("PKEXEC_UID", "1001")], "SUDO_UID and PKEXEC_UID name different users"),
        ] {
            let error = uid_by(variables).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
        // What is no id is refused.
        assert_eq!(id("SUDO_UID", "1000".into()), Ok(1000));
        for wrong in ["", "-1", "4294967295", "4294967296", "ana", " 1"] {
            let error = id("SUDO_UID", wrong.into()).expect_err(wrong);
            assert!(error.contains("SUDO_UID"), "{error}");
        }
    }
}
