//! Host data, apart from the probes.
pub mod bpf;
pub mod btf;
pub mod cgroup;
pub(crate) mod clock;
pub(crate) mod confine;
pub mod files;
pub(crate) mod ftrace;
pub(crate) mod invoker;
pub mod kallsyms;
pub(crate) mod lockdown;
pub(crate) mod lookup;
pub(crate) mod machine;
pub(crate) mod maps;
pub(crate) mod named;
pub(crate) mod own_id;
pub(crate) mod privilege;
pub(crate) mod procfs;
pub(crate) mod program;
pub(crate) mod symbol;
pub(crate) mod users;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

/// The first `most` bytes of a file. Files that other processes write are never read without a limit.
fn read_bounded(path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What is at a mount point, not opened for reading, if it is the mount with this number of mountinfo. `None` if another mount
/// covers it: that may be anything, also what blocks when it is opened.
fn at_mount(point: &Path, number: u64) -> io::Result<Option<OwnedFd>> {
    let found = openat(CWD, point, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let info = read_bounded(format!("/proc/self/fdinfo/{}", found.as_raw_fd()), 1024)?;
    let of_line = |line: &[u8]| decimal(line.strip_prefix(b"mnt_id:")?.trim_ascii());
    let mount: Option<u64> = info.split(|byte| *byte == b'\n').find_map(of_line);
    Ok((mount == Some(number)).then_some(found))
}

/// Opens a path below a directory. It fails with EXDEV where another file system is mounted: that may not answer. Before Linux 5.6
/// such a mount is entered.
fn open_below(dir: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let (path, flags) = (if path.as_os_str().is_empty() { Path::new(".") } else { path }, flags | OFlags::CLOEXEC);
    match openat2(&dir, path, flags, Mode::empty(), ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS) {
        // EPERM: a seccomp filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => Ok(openat(dir, path, flags | OFlags::NOFOLLOW, Mode::empty())?),
        opened => Ok(opened?),
    }
}

/// Text without surrounding white space, which the kernel appends to single values.
fn trimmed(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

/// Parses a decimal number.
fn decimal<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
