//! Access to this machine: bpf(2), programs and maps, BTF, kallsyms, /proc, cgroups, users, mounts and namespaces.

pub mod arch;
pub mod bpf;
pub mod btf;
pub mod cgroup;
pub mod clock;
pub mod confine;
pub mod container;
pub mod files;
pub mod ftrace;
pub mod invoker;
pub mod kallsyms;
pub mod ksymbols;
pub mod lockdown;
pub mod machine;
pub mod mapping;
pub mod maps;
pub mod mounts;
pub mod named;
pub mod own_id;
pub mod pace;
pub mod packages;
pub mod priority;
pub mod privilege;
pub mod procfs;
pub mod program;
pub mod symbol;
pub mod users;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The first `most` bytes of a file. Files that other processes write are never read without a limit.
pub fn read_bounded(path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a path below a directory. Fails with EXDEV at a mount of another file system, because that may not answer.
/// Before Linux 5.6, such a mount is entered.
pub fn open_below(dir: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let (path, flags) = (if path.as_os_str().is_empty() { Path::new(".") } else { path }, flags | OFlags::CLOEXEC);
    match openat2(&dir, path, flags, Mode::empty(), ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS) {
        // EPERM comes from a seccomp filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => Ok(openat(dir, path, flags | OFlags::NOFOLLOW, Mode::empty())?),
        opened => Ok(opened?),
    }
}

/// Text without surrounding white space, which the kernel appends to single values.
pub fn trimmed(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

pub fn decimal<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Reports what the running test does not check on this machine, and why. The message bypasses the output capture of
/// the harness.
#[cfg(any(test, feature = "testing"))]
pub fn not_checked(why: &str) {
    let thread = std::thread::current();
    let line = format!("not checked: {}: {why}\n", thread.name().unwrap_or("a thread"));
    let _ = io::Write::write_all(&mut io::stderr(), line.as_bytes());
}
