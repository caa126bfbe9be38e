//! Names of users and groups, from /etc/passwd and /etc/group, read once at the start. The name service is not used,
//! because its modules may access the network and block. It is only used for a typed name that is not in these files.

use super::{decimal, read_bounded};
use nix::errno::Errno;
use nix::unistd;
use std::io;
use tracetui_events::frame::host::{Group, User};
use tracetui_events::limits;
use tracetui_shared::id::{Gid, Uid};

/// The maximum number of bytes read from /etc/passwd and from /etc/group. Accounts beyond it are shown as numbers.
const FILE_MAX: u64 = 16 << 20;

/// The maximum length of a kept name in bytes. useradd allows 32, the name service 256.
const NAME_MAX: usize = 256;

/// The reason why a name has no id.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    #[error("unknown user `{0}`")]
    NoUser(String),
    #[error("unknown group `{0}`")]
    NoGroup(String),
    #[error("cannot look up `{0}`: {1}")]
    Service(String, io::Error),
}

/// The accounts of /etc/passwd and /etc/group in the order of the files, at most [`limits::ACCOUNTS`] of each.
#[derive(Clone, Debug, Default)]
pub struct AccountNames {
    users: Vec<User>,
    groups: Vec<Group>,
}

impl AccountNames {
    /// Reads both files. A file that is missing or unreadable has no accounts, and their ids are shown as numbers.
    pub fn read() -> AccountNames {
        AccountNames::parse(
            &read_bounded("/etc/passwd", FILE_MAX).unwrap_or_default(),
            &read_bounded("/etc/group", FILE_MAX).unwrap_or_default(),
        )
    }

    /// Parses the content of the files. Lines that are not accounts are skipped.
    pub fn parse(passwd: &[u8], group: &[u8]) -> AccountNames {
        AccountNames {
            users: accounts(passwd).map(|(uid, name)| User { uid: Uid(uid), name }).collect(),
            groups: accounts(group).map(|(gid, name)| Group { gid: Gid(gid), name }).collect(),
        }
    }

    /// The users, each id once. If several names have the same id, the first one counts, as in getpwuid(3).
    pub fn users(&self) -> Vec<User> {
        first_of_each(&self.users, |user| user.uid)
    }

    /// The groups, each id once.
    pub fn groups(&self) -> Vec<Group> {
        first_of_each(&self.groups, |group| group.gid)
    }

    /// The id of the user with a name. If /etc/passwd does not contain the name, asks the name service, which may
    /// block.
    pub fn uid(&self, name: &str) -> Result<Uid, NameError> {
        if let Some(user) = self.users.iter().find(|user| user.name == name) {
            return Ok(user.uid);
        }
        match found(unistd::User::from_name(name)) {
            Ok(Some(user)) => Ok(Uid(user.uid.as_raw())),
            Ok(None) => Err(NameError::NoUser(name.to_owned())),
            Err(error) => Err(NameError::Service(name.to_owned(), error)),
        }
    }

    /// The id of the group with a name. If /etc/group does not contain the name, asks the name service, which may
    /// block.
    pub fn gid(&self, name: &str) -> Result<Gid, NameError> {
        if let Some(group) = self.groups.iter().find(|group| group.name == name) {
            return Ok(group.gid);
        }
        match found(unistd::Group::from_name(name)) {
            Ok(Some(group)) => Ok(Gid(group.gid.as_raw())),
            Ok(None) => Err(NameError::NoGroup(name.to_owned())),
            Err(error) => Err(NameError::Service(name.to_owned(), error)),
        }
    }
}

/// Parses the lines `name:password:id:…` of both files. Comments and lines of NIS (`+…`, `-…`) are skipped.
fn accounts(text: &[u8]) -> impl Iterator<Item = (u32, String)> {
    let accounts = text.split(|b| *b == b'\n').filter_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next().filter(|name| !matches!(name.first(), None | Some(b'+' | b'-' | b'#')))?;
        let id = decimal(fields.nth(1)?)?;
        (name.len() <= NAME_MAX).then(|| Some((id, str::from_utf8(name).ok()?.to_owned())))?
    });
    accounts.take(limits::ACCOUNTS)
}

fn first_of_each<T: Clone, K: Ord + Copy>(accounts: &[T], key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = std::collections::BTreeSet::new();
    accounts.iter().filter(|account| seen.insert(key(account))).cloned().collect()
}

/// The answer of the name service. `Ok(None)` means an unknown name.
fn found<T>(answer: nix::Result<Option<T>>) -> io::Result<Option<T>> {
    match answer {
        // getpwnam(3): an unknown name gives no error or one of these, depending on the module of the name service.
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        answer => Ok(answer?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/root:/bin/sh\n# note\n+@nis::::::\n\
        short:x\nnot:x:number:5\n\xff\xfe:x:7:7:::\nlast:x:4294967294:1:::/bin/false";

    #[test]
    fn accounts_are_read_and_odd_lines_are_skipped() {
        let names = AccountNames::parse(PASSWD, b"wheel:x:10:ana,ben\n");
        let users: Vec<_> = names.users().into_iter().map(|user| (user.uid.0, user.name)).collect();
        assert_eq!(users, [(0, "root".to_owned()), (4_294_967_294, "last".to_owned())]);
        assert_eq!(names.groups(), [Group { gid: Gid(10), name: "wheel".to_owned() }]);
        assert_eq!(names.uid("toor").expect("a second name of root"), Uid(0));
        assert_eq!(names.gid("wheel").expect("in the file"), Gid(10));
    }

    #[test]
    fn the_name_service_is_asked_for_names_that_the_files_lack() {
        let none = AccountNames::default();
        assert_eq!(none.uid("root").expect("everywhere"), Uid(0));
        assert_eq!(none.gid("root").expect("everywhere"), Gid(0));
        assert!(matches!(none.uid("no such user here"), Err(NameError::NoUser(_))));
        assert!(matches!(none.uid("nul\0in it"), Err(NameError::NoUser(_))));
        assert!(matches!(none.gid("no such group here"), Err(NameError::NoGroup(_))));
    }

    proptest! {
        #[test]
        fn any_text_is_read(passwd: Vec<u8>, group in "[a:0-9\n+#]{0,200}") {
            let names = AccountNames::parse(&passwd, group.as_bytes());
            prop_assert!(names.users().len() + names.groups().len() <= passwd.len() + group.len());
        }
    }
}
