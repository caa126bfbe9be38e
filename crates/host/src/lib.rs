//! Access to this machine: bpf(2), programs and maps, BTF, kallsyms, /proc, cgroups, users, mounts and namespaces.

pub mod arch;
pub mod background;
pub mod bpf;
pub mod btf;
pub mod cgroup;
pub mod clock;
pub mod confine;
pub mod container;
pub mod fd_limit;
pub mod ftrace;
pub mod invoker;
pub mod kallsyms;
pub mod ksymbols;
pub mod lockdown;
pub mod machine;
pub mod maps;
pub mod mmap;
pub mod mounts;
pub mod own_id;
pub mod printed_symbols;
pub mod priority;
pub mod privilege;
pub mod procfs;
pub mod program;
pub mod symbol_address;
pub mod users;

#[cfg(any(test, feature = "testing"))]
mod testing;
#[cfg(any(test, feature = "testing"))]
pub use testing::not_checked;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The first `most` bytes of a file. Files that other processes write are never read without a limit.
pub fn read_bounded(path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a path below a directory, which no symbolic link leads to. Fails with EXDEV at a mount of another file system, because that
/// may not answer. Goes component by component: no role of a trace may call openat2(2).
pub fn open_below(dir: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let (path, flags) = (if path.as_os_str().is_empty() { Path::new(".") } else { path }, flags | OFlags::CLOEXEC);
    let dir = dir.as_fd();
    let found = |at: BorrowedFd<'_>| {
        let asks_no_server = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        statx(at, c"", asks_no_server, StatxFlags::TYPE | StatxFlags::MNT_ID)
    };
    let mount = found(dir)?.stx_mnt_id;
    let (mut at, mut names) = (None, path.components().peekable());
    while let Some(name) = names.next() {
        let above = at.as_ref().map_or(dir, AsFd::as_fd);
        let open = |flags| openat(above, name.as_os_str(), flags | OFlags::NOFOLLOW, Mode::empty());
        let below = open(OFlags::PATH | OFlags::CLOEXEC)?;
        let found = found(below.as_fd())?;
        if found.stx_mnt_id != mount {
            return Err(Errno::XDEV.into());
        }
        if FileType::from_raw_mode(found.stx_mode.into()) == FileType::Symlink {
            return Err(Errno::LOOP.into());
        }
        if names.peek().is_none() {
            return Ok(open(flags)?);
        }
        at = Some(below);
    }
    Err(Errno::NOENT.into())
}

/// Text without surrounding white space, which the kernel appends to single values.
pub fn trimmed(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

/// The number at an offset, as this machine writes it; 0 beyond the end.
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u16::from_ne_bytes(*bytes))
}

/// See [`u16_at`].
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// See [`u16_at`].
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

pub fn decimal<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{ResolveFlags, openat2};

    #[test]
    fn a_walk_follows_no_link_and_enters_no_mount() {
        let dir = std::env::temp_dir().join(format!("tracetui-below-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("a/b")).expect("room");
        std::fs::write(dir.join("a/b/file"), "x").expect("room");
        std::os::unix::fs::symlink("a", dir.join("link")).expect("room");
        let (flags, root) = (OFlags::RDONLY | OFlags::CLOEXEC, File::open("/").expect("readable"));
        let below = File::open(&dir).expect("readable");
        let errno = |error: io::Error| error.raw_os_error().unwrap_or(0);
        for (top, path, expected) in [
            (&below, "a/b/file", Ok(())),
            (&below, "./a//b/../b/file", Ok(())),
            (&below, ".", Ok(())),
            (&below, "link/b/file", Err(libc::ELOOP)),
            (&below, "link", Err(libc::ELOOP)),
            (&below, "a/c", Err(libc::ENOENT)),
            (&below, "a/b/file/x", Err(libc::ENOTDIR)),
            (&root, "proc/version", Err(libc::EXDEV)),
        ] {
            let walked = open_below(top, Path::new(path), flags);
            let how = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
            let opened = openat2(top, path, flags, Mode::empty(), how);
            let inode = |file: &OwnedFd| rustix::fs::fstat(file).expect("open").st_ino;
            assert_eq!(walked.as_ref().ok().map(inode), opened.as_ref().ok().map(inode), "{path}");
            assert_eq!(opened.map(drop).map_err(Errno::raw_os_error), expected, "{path}");
            assert_eq!(walked.map(drop).map_err(errno), expected, "{path}");
        }
        let _ = std::fs::remove_dir_all(dir);
    }
}
