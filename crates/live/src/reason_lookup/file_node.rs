//! Opens files without effects, and collects their properties.

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, StatxFlags, fstatfs, getxattr, openat, readlinkat, statx};
use rustix::io::{Errno, Result};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use tracetui_events::why::access::{self, Rights};
use tracetui_events::why::image::HEAD;
use tracetui_events::why::similar_name::Nearest;
use tracetui_host::mounts::unescape;
use tracetui_host::read_bounded;

/// The maximum number of names of a directory that are compared with a missing one.
const NAMES: usize = 20_000;

/// The maximum size of an ACL in bytes.
const ACL_MAX: usize = 64 << 10;

/// The maximum number of bytes read from /proc/PID/mountinfo.
const MOUNTS_MAX: u64 = 4 << 20;

/// Flags of a mount, as statfs(2) returns them.
pub(super) mod mounted {
    pub(crate) const READ_ONLY: u64 = 1;
    pub(crate) const NOEXEC: u64 = 8;
    pub(crate) const NOSYMFOLLOW: u64 = 0x2000;
}

/// Types of file systems ([magic.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/magic.h)).
mod magic {
    pub(super) const PROC: u64 = 0x9fa0;
    pub(super) const AUTOFS: u64 = 0x0187;
    /// File systems on which a server or a process decides access: FUSE, NFS, 9P, CIFS, SMB2, AFS, Ceph.
    pub(super) const REMOTE: [u64; 8] =
        [0x6573_5546, 0x6969, 0x0102_1997, 0xff53_4d42, 0xfe53_4d42, 0x517b, 0x5346_414f, 0x00c3_6400];
    pub(super) const EFIVARFS: u64 = 0xde5e_81e4;
    /// File systems whose files are generated when they are read: sysfs, debugfs, tracefs, securityfs, cgroup, cgroup2,
    /// bpf, selinux, efivarfs, configfs.
    pub(super) const MADE: [u64; 10] = [
        0x6265_6572,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0x0027_e0eb,
        0x6367_7270,
        0xcafe_4a11,
        0xf97c_ff8c,
        EFIVARFS,
        0x6265_6570,
    ];
}

/// A file, with the path from the caller's root at which it was found.
#[derive(Debug)]
pub(super) struct FileNode {
    fd: OwnedFd,
    pub path: Vec<u8>,
    pub rights: Rights,
    pub links: u32,
    /// `STATX_ATTR_…`.
    pub attributes: u64,
    pub mount_flags: u64,
    /// The device, the inode and the mount.
    identity: (u32, u32, u64, u64),
    kind_of_fs: u64,
}

/// `STATX_ATTR_IMMUTABLE`: nobody may change the file.
pub(super) const IMMUTABLE: u64 = 0x10;
/// `STATX_ATTR_APPEND`: the file may only be appended to.
pub(super) const APPEND_ONLY: u64 = 0x20;

impl FileNode {
    /// Opens a file of a directory in /proc: `root`, `cwd` or `fd/N`.
    pub(super) fn of_process(path: &str, shown: Vec<u8>) -> Result<FileNode> {
        FileNode::new(openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?, shown)
    }

    /// Opens a name in this directory. Opens a link itself, not its target.
    pub(super) fn child(&self, name: &[u8]) -> Result<FileNode> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::empty())?;
        let mut path = self.path.clone();
        match name {
            b".." => path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0).max(1)),
            name => {
                if path.last() != Some(&b'/') {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
            }
        }
        FileNode::new(fd, path)
    }

    fn new(fd: OwnedFd, path: Vec<u8>) -> Result<FileNode> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let facts = statx(&fd, c"", AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT, wanted)?;
        let fs = fstatfs(&fd)?;
        let mode = u32::from(facts.stx_mode);
        let mut rights = Rights { mode, uid: facts.stx_uid, gid: facts.stx_gid, acl: None };
        if !FileType::from_raw_mode(mode).is_symlink() {
            rights.acl = acl(&fd);
        }
        Ok(FileNode {
            fd,
            path,
            rights,
            links: facts.stx_nlink,
            attributes: facts.stx_attributes.bits(),
            mount_flags: fs.f_flags as u64,
            identity: (facts.stx_dev_major, facts.stx_dev_minor, facts.stx_ino, facts.stx_mnt_id),
            kind_of_fs: fs.f_type as u64,
        })
    }

    pub(super) fn try_clone(&self) -> Result<FileNode> {
        let fd = self.fd.try_clone().map_err(|_| Errno::MFILE)?;
        Ok(FileNode { fd, path: self.path.clone(), rights: self.rights.clone(), ..*self })
    }

    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.rights.mode)
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind().is_dir()
    }

    pub(super) fn is(&self, other: &FileNode) -> bool {
        self.identity == other.identity
    }

    pub(super) fn is_on(&self, flag: u64) -> bool {
        self.mount_flags & flag != 0
    }

    pub(super) fn is_of_proc(&self) -> bool {
        self.kind_of_fs == magic::PROC
    }

    /// Whether the node is the root of a /proc.
    pub(super) fn is_proc(&self) -> bool {
        self.is_of_proc() && self.identity.2 == 1
    }

    /// Whether a lookup in this directory may mount something.
    pub(super) fn mounts_on_demand(&self) -> bool {
        self.kind_of_fs == magic::AUTOFS
    }

    /// Whether the file system has only the files that it makes itself.
    pub(super) fn creates_no_files(&self) -> bool {
        self.is_of_proc() || magic::MADE.contains(&self.kind_of_fs) && self.kind_of_fs != magic::EFIVARFS
    }

    /// Whether access depends on more than the mode and the ACL.
    pub(super) fn has_own_rules(&self) -> bool {
        self.is_of_proc() || magic::REMOTE.contains(&self.kind_of_fs)
    }

    pub(super) fn target(&self) -> Result<Vec<u8>> {
        readlinkat(&self.fd, c"", Vec::new()).map(std::ffi::CString::into_bytes)
    }

    /// The first bytes of a regular file on a file system that stores files. `None` for other files, and on failure.
    pub(super) fn head(&self) -> Option<Vec<u8>> {
        if !self.kind().is_file() || self.is_of_proc() || magic::MADE.contains(&self.kind_of_fs) {
            return None;
        }
        let mut file = File::from(self.reopen(OFlags::empty()).ok()?);
        // The file is still the same one, because a descriptor cannot become another file.
        let mut head = vec![0; HEAD];
        let mut len = 0;
        while len < HEAD {
            match file.read(&mut head[len..]).ok()? {
                0 => break,
                more => len += more,
            }
        }
        head.truncate(len);
        Some(head)
    }

    /// The name in this directory that is most similar to a missing one.
    pub(super) fn nearest(&self, missing: &[u8]) -> Option<Vec<u8>> {
        let names = Dir::new(self.reopen(OFlags::DIRECTORY).ok()?).ok()?;
        let mut nearest = Nearest::to(missing);
        for entry in names.take(NAMES) {
            let Ok(entry) = entry else { break };
            let name = entry.file_name().to_bytes();
            // The number of a process is no misspelled one.
            let is_number = self.is_of_proc() && name.iter().all(u8::is_ascii_digit);
            if !matches!(name, b"." | b"..") && !is_number {
                nearest.offer(name);
            }
        }
        nearest.found()
    }

    /// Opens the file for reading, if possible without changing its access time.
    fn reopen(&self, flags: OFlags) -> Result<OwnedFd> {
        let open = |more: OFlags| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | flags | more;
            openat(CWD, in_proc(self.fd.as_fd()), flags, Mode::empty())
        };
        open(OFlags::NOATIME).or_else(|_| open(OFlags::empty()))
    }

    /// The mount point of the file's file system, as seen by the process in this directory of /proc.
    pub(super) fn mount_point(&self, dir: &str) -> Option<Vec<u8>> {
        let text = read_bounded(format!("{dir}/mountinfo"), MOUNTS_MAX).ok()?;
        let number = self.identity.3.to_string();
        let line = text
            .split(|byte| *byte == b'\n')
            .find(|line| line.strip_prefix(number.as_bytes()).is_some_and(|rest| rest.starts_with(b" ")))?;
        line.split(|byte| *byte == b' ').nth(4).map(unescape)
    }
}

/// The path of a descriptor of tracetui.
fn in_proc(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn acl(fd: &OwnedFd) -> Option<Vec<access::AclEntry>> {
    let mut value = [0u8; 1024];
    let name = c"system.posix_acl_access";
    match getxattr(in_proc(fd.as_fd()), name, &mut value) {
        Ok(len) => access::acl(&value[..len]),
        Err(Errno::RANGE) => {
            let mut value = vec![0; ACL_MAX];
            let len = getxattr(in_proc(fd.as_fd()), name, &mut value).ok()?;
            access::acl(&value[..len])
        }
        Err(_) => None,
    }
}
