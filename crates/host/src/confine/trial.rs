//! Tries acts that a trace must not be able to do, for `doctor`. The kernel may deny less than it was asked to.

use super::{Enforced, FileAccess, ROLES, Role, enter, enter_files, later_recordings};
use crate::invoker::Invoker;
use rustix::thread::{CapabilitySet, capabilities};
use std::ffi::CStr;
use std::io;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    pub user: u32,
    /// Whether the kernel restricts their system calls (seccomp).
    pub calls: bool,
    /// Whether the kernel restricts where they write (Landlock).
    pub writes: bool,
    pub threads: Vec<Threads>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threads {
    pub names: &'static str,
    pub held: CapabilitySet,
    /// Whether they use files with the ids of root.
    pub root_files: bool,
    pub denied: Vec<&'static str>,
    /// The acts that they can do because their work requires it.
    pub able: Vec<&'static str>,
    /// The acts that they can do, but should not.
    pub allowed: Vec<&'static str>,
}

/// The name of an act, and a function that tries it and returns whether it was denied. No act has an effect if it is
/// allowed.
type Act = (&'static str, fn() -> bool);

const READ_SECRETS: &str = "read /etc/shadow";

const ACTS: [Act; 6] = [
    ("execute a program", || denied(call(libc::SYS_execve, [0; 3]))),
    // PTRACE_SEIZE without a process.
    ("trace a process", || denied(call(libc::SYS_ptrace, [0x4206, 0, 0]))),
    ("open a socket", || denied(call(libc::SYS_socket, [libc::AF_INET as u64, libc::SOCK_DGRAM as u64, 0]))),
    // BPF_PROG_LOAD without a program.
    ("load a BPF program", || denied(call(libc::SYS_bpf, [5, 0, 0]))),
    (READ_SECRETS, || denied(open(c"/etc/shadow", libc::O_RDONLY))),
    ("write a file of root", || denied(open(c"/etc/passwd", libc::O_WRONLY))),
];

impl Trial {
    /// Tries all acts on separate threads, one for each role.
    pub fn run() -> io::Result<Trial> {
        let root = rustix::process::geteuid().is_root();
        let mut threads = Vec::new();
        let mut main = None;
        for (names, role) in ROLES {
            let takes = Takes { secrets: role.reads_all(), root_files: root && role == Role::Inspector };
            let (found, enforced) = on_a_thread(names, takes, move || enter(role))?;
            threads.push(found);
            main = main.or(Some(enforced));
        }
        // If the user is unknown, nothing is recorded.
        if let Ok(invoker) = Invoker::of_environment() {
            let root = root && invoker.is_none();
            let takes = Takes { secrets: root, root_files: root };
            let work = move || enter_files(invoker.as_ref(), FileAccess::Create(&[later_recordings()]));
            threads.push(on_a_thread("recording, opener", takes, work)?.0);
        }
        let (Enforced { writes, calls }, user) = main.ok_or(io::ErrorKind::NotFound)?;
        Ok(Trial { user, calls, writes, threads })
    }

    pub fn denied_to_all(&self) -> Vec<&'static str> {
        let all = |name: &&str| self.threads.iter().all(|threads| threads.denied.contains(name));
        ACTS.iter().map(|(name, _)| *name).filter(all).collect()
    }
}

#[derive(Clone, Copy)]
struct Takes {
    secrets: bool,
    root_files: bool,
}

fn has_secrets() -> bool {
    std::fs::exists("/etc/shadow").unwrap_or(false)
}

/// The acts that a thread is denied after `enter`, the result of `enter`, and the thread's user id.
fn on_a_thread<T: Send + 'static>(
    names: &'static str,
    Takes { secrets, root_files }: Takes,
    enter: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<(Threads, (T, u32))> {
    let has_secrets = has_secrets();
    let thread = std::thread::Builder::new().spawn(move || {
        let entered = enter()?;
        let held = capabilities(None)?.effective;
        let mut threads = Threads { names, held, root_files, denied: vec![], able: vec![], allowed: vec![] };
        for (name, is_denied) in ACTS.iter().filter(|(name, _)| has_secrets || *name != READ_SECRETS) {
            match is_denied() {
                true => threads.denied.push(name),
                false if secrets && *name == READ_SECRETS => threads.able.push(name),
                false => threads.allowed.push(name),
            }
        }
        Ok((threads, (entered, rustix::process::geteuid().as_raw())))
    })?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread failed")))
}

fn denied(result: io::Result<i64>) -> bool {
    result.is_err_and(|error| matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)))
}

fn open(path: &CStr, flags: libc::c_int) -> io::Result<i64> {
    // SAFETY: the path is a C string. A descriptor that is returned belongs to nothing else.
    let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) };
    closed(fd.into())
}

/// A system call with numbers only. Its result is an error or a descriptor.
fn call(number: libc::c_long, [a, b, c]: [u64; 3]) -> io::Result<i64> {
    // SAFETY: where the kernel expects an address, it is null, which the kernel refuses.
    closed(unsafe { libc::syscall(number, a, b, c) })
}

fn closed(result: i64) -> io::Result<i64> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just returned, and belongs to nothing else.
    unsafe { libc::close(result as libc::c_int) };
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_trace_must_not_do_is_denied() {
        let trial = Trial::run().expect("rights can always be given up");
        if !trial.calls {
            return crate::not_checked("system calls cannot be restricted");
        }
        for threads in &trial.threads {
            assert_eq!(threads.allowed, Vec::<&str>::new(), "{threads:?}");
            assert_eq!(threads.denied.len() + threads.able.len(), ACTS.len(), "{threads:?}");
            assert!(!threads.denied.contains(&READ_SECRETS) || !threads.root_files, "{threads:?}");
        }
        let able = |name: &str| trial.threads.iter().find(|threads| threads.names == name).map(|found| &found.able);
        assert_eq!(able("main"), Some(&vec![]));
        if rustix::process::geteuid().is_root() {
            assert_eq!(able("inspector"), Some(&vec![READ_SECRETS]), "it has root's ids for files");
            assert_eq!(
                able("scan, lookups, why, cgroups, containers"),
                Some(&vec![READ_SECRETS]),
                "they have CAP_DAC_READ_SEARCH"
            );
        }
        // Each act is possible here, where nothing was given up.
        if rustix::process::geteuid().is_root() {
            let denied: Vec<_> = ACTS.iter().filter(|(_, is_denied)| is_denied()).map(|(name, _)| name).collect();
            assert_eq!(denied, Vec::<&&str>::new());
        }
    }
}
