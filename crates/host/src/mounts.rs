//! The mounts of tracetui's mount namespace, and ways to them that wait for no other file system.

use super::{decimal, read_bounded};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat, openat2, statx};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// The maximum number of bytes read from /proc/self/mountinfo.
const MOST: u64 = 16 << 20;

/// The types of file systems that ask a process or another machine, which may not answer. Those of FUSE start with `fuse`.
const REMOTE: [&[u8]; 13] = [
    b"virtiofs",
    b"nfs",
    b"nfs4",
    b"cifs",
    b"smb3",
    b"9p",
    b"ceph",
    b"afs",
    b"coda",
    b"lustre",
    b"ocfs2",
    b"gfs2",
    b"orangefs",
];

/// A mount: its number, its root in the file system, its mount point, the type of the file system, the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub number: u64,
    pub root: Vec<u8>,
    pub point: PathBuf,
    pub fs_type: Vec<u8>,
    pub device: Vec<u8>,
}

impl Mount {
    /// Whether a walk through it may wait for ever. The root is walked through anyway.
    fn may_be_silent(&self) -> bool {
        (self.fs_type.starts_with(b"fuse") || REMOTE.contains(&self.fs_type.as_slice())) && self.point != Path::new("/")
    }
}

#[derive(Debug, Default)]
pub struct Mounts(pub Vec<Mount>);

impl Mounts {
    pub fn read() -> io::Result<Mounts> {
        read_bounded("/proc/self/mountinfo", MOST).map(|text| Mounts::parse(&text))
    }

    /// Reads the lines of mountinfo: `ID PARENT DEV ROOT POINT OPTIONS [TAG…] - TYPE SOURCE OPTIONS`.
    pub fn parse(text: &[u8]) -> Mounts {
        let mount = |line: &[u8]| {
            let mut fields = line.split(|byte| *byte == b' ');
            let number = decimal(fields.next()?)?;
            let device = fields.nth(1)?.to_vec();
            let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
            fields.find(|field| *field == b"-")?;
            let fs_type = fields.next()?.to_vec();
            Some(Mount { number, root, point: PathBuf::from(OsString::from_vec(point)), fs_type, device })
        };
        Mounts(text.split(|byte| *byte == b'\n').filter_map(mount).collect())
    }

    pub fn of_type(&self, fs_type: &[u8]) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |mount| mount.fs_type == fs_type)
    }

    /// Whether a walk from the root may wait for ever.
    pub fn may_be_silent(&self) -> bool {
        self.0.iter().any(Mount::may_be_silent)
    }

    /// The directory or file at a mount point, not opened for reading. `None` if it is gone, or another mount covers it.
    /// That mount may be anything, even something that blocks when it is opened. Fails if the mount is below one that may
    /// not answer: the wait could not be interrupted, not even by SIGKILL.
    pub fn open(&self, mount: &Mount) -> io::Result<Option<OwnedFd>> {
        let is_above = |other: &&Mount| other.point != mount.point && mount.point.starts_with(&other.point);
        if let Some(above) = self.0.iter().filter(|other| other.may_be_silent()).find(is_above) {
            let [below, at] = [mount, above].map(|mount| mount.point.display());
            let fs_type = String::from_utf8_lossy(&above.fs_type);
            return Err(io::Error::other(format!("not entered: {below}, because {at} ({fs_type}) may not answer")));
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The mount point has no symbolic links, unless it was moved meanwhile.
        let found = match openat(CWD, &mount.point, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            found => found?,
        };
        Ok((number_of(&found, b"mnt_id:")? == Some(mount.number)).then_some(found))
    }
}

/// The number in the line of a descriptor's fdinfo that starts with `name`.
fn number_of(file: &OwnedFd, name: &[u8]) -> io::Result<Option<u64>> {
    let info = read_bounded(format!("/proc/self/fdinfo/{}", file.as_raw_fd()), 1024)?;
    Ok(info.split(|byte| *byte == b'\n').find_map(|line| decimal(line.strip_prefix(name)?.trim_ascii())))
}

/// A file found by a path below a root directory, not opened, with its device and inode.
///
/// Unless it `may_wait`, it is only found if the kernel has the whole path in memory (5.12+): no file system is asked. The inspector
/// of a trace may not call openat2(2), and then finds none.
pub fn found_below(root: &OwnedFd, path: &str, may_wait: bool) -> Option<(OwnedFd, (u32, u32, u64))> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let open = |how| openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | how);
    let found = match open(ResolveFlags::CACHED) {
        Err(Errno::NOSYS | Errno::PERM) if may_wait => {
            openat(CWD, format!("/proc/self/fd/{}{path}", root.as_raw_fd()), flags, Mode::empty())
        }
        Err(_) if may_wait => open(ResolveFlags::empty()),
        found => found,
    };
    let found = found.ok()?;
    let cached = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let status = statx(&found, c"", cached, StatxFlags::INO).ok()?;
    Some((found, (status.stx_dev_major, status.stx_dev_minor, status.stx_ino)))
}

/// Undoes the escapes of mountinfo, which writes white space and backslashes as `\` and three octal digits.
pub fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.first_chunk::<3>().filter(|_| *first == b'\\').and_then(|digits| {
            let value = digits
                .iter()
                .try_fold(0u32, |value, d| matches!(d, b'0'..=b'7').then(|| value * 8 + u32::from(d - b'0')));
            value.and_then(|value| u8::try_from(value).ok())
        });
        out.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mounts_are_read() {
        let text = b"29 25 0:26 / /sys/fs/bpf rw,nosuid shared:5 - bpf bpf rw,mode=700\n\
            80 25 0:4 net:[4026532177] /run/netns/a\\040b rw - nsfs nsfs rw\nbad\n";
        let Mounts(found) = Mounts::parse(text);
        assert_eq!(found.iter().map(|mount| mount.number).collect::<Vec<_>>(), [29, 80]);
        assert_eq!((found[0].fs_type.as_slice(), found[0].point.as_path()), (&b"bpf"[..], Path::new("/sys/fs/bpf")));
        assert_eq!((found[1].root.as_slice(), found[1].device.as_slice()), (&b"net:[4026532177]"[..], &b"0:4"[..]));
        assert_eq!(found[1].point, Path::new("/run/netns/a b"));
        for (text, plain) in
            [("a\\040b", "a b"), ("\\04", "\\04"), ("\\999", "\\999"), ("\\777x", "\\777x"), ("\\", "\\")]
        {
            assert_eq!(unescape(text.as_bytes()), plain.as_bytes());
        }
    }

    #[test]
    fn a_mount_below_one_that_may_be_silent_is_not_opened() {
        let line =
            |number: u32, point: &str, fs_type: &str| format!("{number} 1 0:{number} / {point} rw - {fs_type} x rw\n");
        let text = [
            line(1, "/", "virtiofs"),
            line(2, "/a", "fuse.sshfs"),
            line(3, "/a/b/bpf", "bpf"),
            line(4, "/ab", "bpf"),
            line(5, "/a", "bpf"),
            line(6, "/n", "nfs4"),
            line(7, "/n/bpf", "bpf"),
        ];
        let mounts = Mounts::parse(text.concat().as_bytes());
        let refused = mounts.of_type(b"bpf").map(|mount| mounts.open(mount).err().map(|error| error.to_string()));
        let of = |point, at| Some(format!("not entered: {point}, because {at} may not answer"));
        let expected = [of("/a/b/bpf", "/a (fuse.sshfs)"), None, None, of("/n/bpf", "/n (nfs4)")];
        assert_eq!(refused.collect::<Vec<_>>(), expected);
        assert!(mounts.may_be_silent() && !Mounts::parse(line(1, "/", "fuse").as_bytes()).may_be_silent());
    }

    proptest! {
        #[test]
        fn any_mountinfo_is_read(text in "([0-9 /\\\\:a-z-]|cgroup2|\n){0,200}", bytes: Vec<u8>) {
            let _ = (Mounts::parse(text.as_bytes()), Mounts::parse(&bytes));
        }
    }
}
