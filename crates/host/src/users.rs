//! Names of users and groups, from /etc/passwd and /etc/group, read again when these files change. The name service is not
//! used, because its modules may access the network and block. It is only used for a typed name that is not in these files.

use super::{decimal, read_bounded};
use nix::unistd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tracetui_events::frame::host::{Group, HostFrame, User};
use tracetui_events::limits;
use tracetui_shared::id::{Gid, Uid};

/// The maximum number of bytes read from /etc/passwd and from /etc/group. Accounts beyond it are shown as numbers.
const FILE_MAX: u64 = 16 << 20;

/// The maximum length of a kept name in bytes. useradd allows 32, the name service 256.
const NAME_MAX: usize = 256;

const FILES: [&str; 2] = ["/etc/passwd", "/etc/group"];

/// What differs after each change of a file: device, inode, size, time of the change.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamps(files: [&Path; 2]) -> [Stamp; 2] {
    files.map(|file| {
        let found = std::fs::metadata(file).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
    })
}

/// The accounts of the machine, which are read again when a file changes.
#[derive(Debug)]
pub struct Accounts {
    files: [PathBuf; 2],
    stamps: [Stamp; 2],
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts { files: FILES.map(PathBuf::from), stamps: Default::default() }
    }
}

impl Accounts {
    /// All accounts at the first call, and if a file has changed since the last one. An id without an account keeps its last name.
    pub fn changed(&mut self) -> Vec<HostFrame> {
        let [passwd, group] = &self.files;
        let stamps = stamps([passwd, group]);
        if stamps == std::mem::replace(&mut self.stamps, stamps) {
            return Vec::new();
        }
        let read = |file| read_bounded(file, FILE_MAX).unwrap_or_default();
        let names = AccountNames::parse(&read(passwd), &read(group));
        let users = names.users().into_iter().map(HostFrame::User);
        users.chain(names.groups().into_iter().map(HostFrame::Group)).collect()
    }
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
            &read_bounded(FILES[0], FILE_MAX).unwrap_or_default(),
            &read_bounded(FILES[1], FILE_MAX).unwrap_or_default(),
        )
    }

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

    pub fn groups(&self) -> Vec<Group> {
        first_of_each(&self.groups, |group| group.gid)
    }

    /// The name of a user, or the number.
    pub fn user(&self, uid: u32) -> String {
        let user = self.users.iter().find(|user| user.uid.0 == uid);
        user.map_or_else(|| uid.to_string(), |user| user.name.clone())
    }

    /// The name of a group, or the number.
    pub fn group(&self, gid: u32) -> String {
        let group = self.groups.iter().find(|group| group.gid.0 == gid);
        group.map_or_else(|| gid.to_string(), |group| group.name.clone())
    }

    /// The id of the user with a name. If /etc/passwd does not contain the name, asks the name service, which may
    /// block.
    pub fn uid(&self, name: &str) -> Option<Uid> {
        let known = self.users.iter().find(|user| user.name == name).map(|user| user.uid);
        let ask = || Some(Uid(unistd::User::from_name(name).ok()??.uid.as_raw()));
        known.or_else(ask)
    }

    /// The id of the group with a name. If /etc/group does not contain the name, asks the name service, which may
    /// block.
    pub fn gid(&self, name: &str) -> Option<Gid> {
        let known = self.groups.iter().find(|group| group.name == name).map(|group| group.gid);
        let ask = || Some(Gid(unistd::Group::from_name(name).ok()??.gid.as_raw()));
        known.or_else(ask)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tracetui_events::synthetic::Scratch;

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
        let none = AccountNames::default();
        assert_eq!(none.uid("root").expect("everywhere"), Uid(0));
        assert_eq!(none.gid("root").expect("everywhere"), Gid(0));
        assert_eq!(none.uid("no such user here"), None);
        assert_eq!(none.uid("nul\0in it"), None);
        assert_eq!(none.gid("no such group here"), None);
    }

    #[test]
    fn accounts_are_read_again_when_a_file_changes() {
        let dir = Scratch::new("users");
        let files = ["passwd", "group"].map(|name| dir.join(name));
        let write = |at: usize, text: &str| {
            std::fs::write(files[at].with_extension("new"), text).expect("room");
            std::fs::rename(files[at].with_extension("new"), &files[at]).expect("ours");
        };
        let mut accounts = Accounts { files: files.clone(), ..Accounts::default() };
        let mut check = |expected: &[(u32, &str)]| {
            let found = accounts.changed().into_iter().map(|frame| match frame {
                HostFrame::User(user) => (user.uid.0, user.name),
                HostFrame::Group(group) => (group.gid.0, group.name),
                other => panic!("{other:?}"),
            });
            let expected: Vec<_> = expected.iter().map(|(id, name)| (*id, (*name).to_owned())).collect();
            assert_eq!(found.collect::<Vec<_>>(), expected);
        };
        write(0, "ana:x:5:\n");
        write(1, "wheel:x:10:\n");
        check(&[(5, "ana"), (10, "wheel")]);
        check(&[]);
        write(0, "eve:x:5:\nben:x:6:\n");
        check(&[(5, "eve"), (6, "ben"), (10, "wheel")]);
    }

    proptest! {
        #[test]
        fn any_text_is_read(passwd: Vec<u8>, group in "[a:0-9\n+#]{0,200}") {
            let names = AccountNames::parse(&passwd, group.as_bytes());
            prop_assert!(names.users().len() + names.groups().len() <= passwd.len() + group.len());
        }
    }
}
