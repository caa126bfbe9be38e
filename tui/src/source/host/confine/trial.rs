//! Tries what a trace must not be able to do, for `doctor`: what the kernel really denies may differ from what was asked for.

use super::{Enforced, Role, enter};
use std::ffi::CStr;
use std::io;

/// What a thread with the role of the main thread of a trace can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Its user id.
    pub user: u32,
    /// Whether the kernel restricts its system calls (seccomp).
    pub calls: bool,
    /// Whether the kernel restricts where it writes (Landlock).
    pub writes: bool,
    /// What it cannot do.
    pub denied: Vec<&'static str>,
    /// What it can do, and should not.
    pub allowed: Vec<&'static str>,
}

/// An act, and whether it was denied. None has an effect where it is allowed.
type Act = (&'static str, fn() -> bool);

const ACTS: [Act; 6] = [
    ("execute a program", || denied(call(libc::SYS_execve, [0; 3]))),
    // PTRACE_SEIZE of no process.
    ("trace a process", || denied(call(libc::SYS_ptrace, [0x4206, 0, 0]))),
    ("open a socket", || denied(call(libc::SYS_socket, [libc::AF_INET as u64, libc::SOCK_DGRAM as u64, 0]))),
    // BPF_PROG_LOAD of nothing.
    ("load a BPF program", || denied(call(libc::SYS_bpf, [5, 0, 0]))),
    ("read /etc/shadow", || denied(open(c"/etc/shadow", libc::O_RDONLY))),
    ("write a file of root", || denied(open(c"/etc/passwd", libc::O_WRONLY))),
];

impl Trial {
    /// Tries all on a thread of its own.
    ///
    /// # Errors
    /// If no thread can be started, or rights cannot be given up.
    pub fn run() -> io::Result<Trial> {
        let thread = std::thread::Builder::new().spawn(|| {
            let Enforced { writes, calls } = enter(Role::Events { signals: false })?;
            let (denied, allowed): (Vec<Act>, Vec<Act>) = ACTS.iter().partition(|(_, is_denied)| is_denied());
            let names = |acts: Vec<Act>| acts.into_iter().map(|(name, _)| name).collect();
            let user = rustix::process::geteuid().as_raw();
            Ok(Trial { user, calls, writes, denied: names(denied), allowed: names(allowed) })
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread failed")))
    }
}

fn denied(result: io::Result<i64>) -> bool {
    result.is_err_and(|error| matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)))
}

fn open(path: &CStr, flags: libc::c_int) -> io::Result<i64> {
    // SAFETY: the path is a C string. A descriptor that is returned belongs to nothing else.
    let fd = unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) };
    closed(fd.into())
}

/// A system call with numbers only, of which the result is an error or a descriptor.
fn call(number: libc::c_long, [a, b, c]: [u64; 3]) -> io::Result<i64> {
    // SAFETY: where an address is expected, it is null, which the kernel refuses.
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
            return;
        }
        assert_eq!(trial.allowed, Vec::<&str>::new());
        assert_eq!(trial.denied.len(), ACTS.len());
        // Each act is possible here, where nothing was given up.
        if rustix::process::geteuid().is_root() {
            let denied: Vec<_> = ACTS.iter().filter(|(_, is_denied)| is_denied()).map(|(name, _)| name).collect();
            assert_eq!(denied, Vec::<&&str>::new());
        }
    }
}
