//! Whether mode bits and an ACL permit a use of a file: the kernel's own check
//! ([`generic_permission`](https://elixir.bootlin.com/linux/v6.12/source/fs/namei.c)), for the ids of another process.

use super::similar_name::octal;

/// The right to read a file or to list a directory.
pub const READ: u8 = 4;
/// The right to write to a file, or to change the names in a directory.
pub const WRITE: u8 = 2;
/// The right to execute a file, or to look up a name in a directory.
pub const EXECUTE: u8 = 1;

const CAP_DAC_OVERRIDE: u64 = 1 << 1;
const CAP_DAC_READ_SEARCH: u64 = 1 << 2;

/// The ids and capabilities of a process that the check uses. Unknown ones are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user id for files (`fsuid`).
    pub uid: u32,
    /// The group id for files (`fsgid`).
    pub gid: u32,
    pub groups: Option<Vec<u32>>,
    pub capabilities: Option<u64>,
    /// The user and group ids, as in our namespace, for which the capabilities count: those that the process's user namespace has.
    /// `None` stands for all.
    pub mapped: Option<[Vec<(u32, u32)>; 2]>,
}

/// The owner and the rights of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// `st_mode`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// The access ACL, if there is one: `system.posix_acl_access`.
    pub acl: Option<Vec<AclEntry>>,
}

/// An entry of an ACL ([posix_acl_xattr.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/posix_acl_xattr.h)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclEntry {
    tag: u16,
    rights: u8,
    id: u32,
}

// The owner's entry, 1, repeats the mode.
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;

/// Reads the value of `system.posix_acl_access`.
pub fn acl(value: &[u8]) -> Option<Vec<AclEntry>> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    let entry = |bytes: &[u8]| {
        let [tag0, tag1, rights, _, id @ ..] = bytes else { return None };
        let id = u32::from_le_bytes(id.try_into().ok()?);
        Some(AclEntry { tag: u16::from_le_bytes([*tag0, *tag1]), rights: rights & 7, id })
    };
    if u32::from_le_bytes(*version) != 2 || !entries.len().is_multiple_of(8) {
        return None;
    }
    entries.chunks(8).map(entry).collect()
}

/// The result of a check that may depend on unknown facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Granted,
    Denied,
    /// It depends on the groups or the capabilities, which are unknown.
    Unknown,
}

use Verdict::{Denied, Granted, Unknown};

fn yes(granted: bool) -> Verdict {
    if granted { Granted } else { Denied }
}

impl Rights {
    pub(crate) fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// Whether a process may use the file in this way: a set of [`READ`], [`WRITE`] and [`EXECUTE`].
    pub fn allow(&self, want: u8, who: &Credentials) -> Verdict {
        match self.by_mode(want, who) {
            Granted => Granted,
            by_mode => match (by_mode, self.by_capability(want, who)) {
                (_, Granted) => Granted,
                (Denied, Denied) => Denied,
                _ => Unknown,
            },
        }
    }

    fn by_mode(&self, want: u8, who: &Credentials) -> Verdict {
        let bits = |shift: u32| (self.mode >> shift) as u8 & 7;
        let has = |rights: u8| yes(rights & want == want);
        if who.uid == self.uid {
            return has(bits(6));
        }
        // The kernel checks an ACL only if the group bits, which are its mask, are not all 0.
        if let Some(acl) = self.acl.as_ref().filter(|_| bits(3) != 0) {
            return by_acl(acl, want, who, self.gid);
        }
        match who.is_in(self.gid) {
            Some(true) => has(bits(3)),
            Some(false) => has(bits(0)),
            None if has(bits(3)) == has(bits(0)) => has(bits(0)),
            None => Unknown,
        }
    }

    fn by_capability(&self, want: u8, who: &Credentials) -> Verdict {
        let inside =
            |ranges: &[(u32, u32)], id: u32| ranges.iter().any(|(from, count)| id.wrapping_sub(*from) < *count);
        if let Some([uids, gids]) = &who.mapped
            && !(inside(uids, self.uid) && inside(gids, self.gid))
        {
            return Denied;
        }
        let is_dir = self.is_dir();
        let only = |rights: u8| want & !rights == 0;
        let searches = if is_dir { only(READ | EXECUTE) } else { only(READ) };
        // Not even root can execute a file without any execute bit.
        let overrides = is_dir || want & EXECUTE == 0 || self.mode & 0o111 != 0;
        if !searches && !overrides {
            return Denied;
        }
        let Some(held) = who.capabilities else { return Unknown };
        yes(searches && held & CAP_DAC_READ_SEARCH != 0 || overrides && held & CAP_DAC_OVERRIDE != 0)
    }

    /// `mode 0640`, and whether there is an ACL.
    pub fn text(&self) -> String {
        let acl = if self.acl.is_some() { " with an ACL" } else { "" };
        format!("mode {}{acl}", octal(self.mode & 0o7777))
    }
}

impl Credentials {
    fn is_in(&self, gid: u32) -> Option<bool> {
        match &self.groups {
            _ if self.gid == gid => Some(true),
            Some(groups) => Some(groups.contains(&gid)),
            None => None,
        }
    }
}

/// The check of an ACL
/// ([`posix_acl_permission`](https://elixir.bootlin.com/linux/v6.12/source/fs/posix_acl.c)) for a process that does not own the file.
fn by_acl(acl: &[AclEntry], want: u8, who: &Credentials, owner: u32) -> Verdict {
    let mask = acl.iter().find(|entry| entry.tag == MASK).map_or(7, |entry| entry.rights);
    let has = |rights: u8| yes(rights & want == want);
    if let Some(user) = acl.iter().find(|entry| entry.tag == USER && entry.id == who.uid) {
        return has(user.rights & mask);
    }
    let groups = acl.iter().filter_map(|entry| match entry.tag {
        GROUP_OBJ => Some((owner, entry.rights)),
        GROUP => Some((entry.id, entry.rights)),
        _ => None,
    });
    let (mut found, mut unsure) = (false, false);
    for (gid, rights) in groups {
        match who.is_in(gid) {
            Some(true) if has(rights) == Granted => return has(rights & mask),
            Some(true) => found = true,
            Some(false) => {}
            None => unsure = true,
        }
    }
    if unsure {
        return Unknown;
    }
    let other = acl.iter().find(|entry| entry.tag == OTHER).map_or(0, |entry| entry.rights);
    if found { Denied } else { has(other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(uid: u32, gid: u32, groups: &[u32], capabilities: u64) -> Credentials {
        Credentials { uid, gid, groups: Some(groups.to_vec()), capabilities: Some(capabilities), mapped: None }
    }

    fn file(mode: u32) -> Rights {
        Rights { mode: libc::S_IFREG | mode, uid: 1000, gid: 50, acl: None }
    }

    #[test]
    fn owner_groups_acls_and_capabilities_grant_rights() {
        let (owner, member, other) = (who(1000, 1, &[], 0), who(7, 1, &[50], 0), who(7, 1, &[], 0));
        let rights = file(0o640);
        assert_eq!(rights.allow(READ | WRITE, &owner), Granted);
        assert_eq!((rights.allow(READ, &member), rights.allow(WRITE, &member)), (Granted, Denied));
        assert_eq!(rights.allow(READ, &other), Denied);
        // The owner's bits count even if others have more rights.
        assert_eq!(file(0o077).allow(READ, &owner), Denied);
        assert_eq!(file(0o707).allow(READ, &member), Denied);
        // What depends on unknown groups is unknown.
        let stranger = Credentials { groups: None, ..who(7, 1, &[], 0) };
        assert_eq!(file(0o640).allow(READ, &stranger), Unknown);
        assert_eq!(file(0o600).allow(READ, &stranger), Denied);
        assert_eq!(file(0o644).allow(READ, &stranger), Granted);
        assert_eq!(file(0o600).allow(READ, &Credentials { capabilities: None, ..who(0, 0, &[], 0) }), Unknown);
        // An acl counts with its mask and capabilities override.
        let root = who(0, 0, &[], u64::MAX);
        assert_eq!(file(0o000).allow(READ | WRITE, &root), Granted);
        assert_eq!(file(0o644).allow(EXECUTE, &root), Denied);
        assert_eq!(file(0o100).allow(EXECUTE, &root), Granted);
        // If no capability grants it, the capabilities need not be known.
        assert_eq!(file(0o644).allow(EXECUTE, &Credentials { capabilities: None, ..who(0, 0, &[], 0) }), Denied);
        let dir = Rights { mode: libc::S_IFDIR, ..file(0) };
        let reader = who(7, 7, &[], CAP_DAC_READ_SEARCH);
        assert_eq!((dir.allow(EXECUTE, &reader), dir.allow(WRITE, &reader)), (Granted, Denied));
        let inside = Credentials { mapped: Some([vec![(100_000, 65_536)], vec![(100_000, 65_536)]]), ..root };
        assert_eq!(file(0o000).allow(READ, &inside), Denied);
        assert_eq!(Rights { uid: 100_005, gid: 100_005, ..file(0) }.allow(READ, &inside), Granted);
        // An ACL counts with its mask.
        let rights = Rights { acl: acl(&sample()), ..file(0o640) };
        assert_eq!(rights.acl.as_ref().map(Vec::len), Some(6));
        let user = who(7, 1, &[], 0);
        assert_eq!((rights.allow(READ, &user), rights.allow(WRITE, &user)), (Granted, Denied));
        let group = who(8, 1, &[60], 0);
        assert_eq!((rights.allow(READ, &group), rights.allow(WRITE, &group)), (Granted, Denied));
        assert_eq!(rights.allow(READ, &who(8, 1, &[], 0)), Denied);
        assert_eq!(rights.allow(READ, &Credentials { groups: None, ..who(8, 1, &[], 0) }), Unknown);
        assert_eq!(acl(&sample()[..11]), None);
        assert_eq!(acl(b""), None);
    }

    /// `user::rw- user:7:rw- group::r-- group:60:rw- mask::r-- other::---`
    fn sample() -> Vec<u8> {
        let entries: [(u16, u16, u32); 6] = [(1, 6, !0), (2, 6, 7), (4, 4, !0), (8, 6, 60), (16, 4, !0), (32, 0, !0)];
        let mut value = 2u32.to_le_bytes().to_vec();
        for (tag, rights, id) in entries {
            value.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
            value.extend(id.to_le_bytes());
        }
        value
    }
}
